//! Where activations of different widths meet.

use crate::report::Align;
use crate::report::document::Report;
use crate::report::document::parts::Part;
use crate::report::document::sheet::{Cell, Sheet};
use crate::report::number::plural;

pub(super) const PART: Part = Part {
    name: "conversions",
    title: "Conversions",
    doc: |report| match report.config.cost.conversions {
        0 => "Every operator makes what it reads first at the same width.".to_owned(),
        n => format!(
            "{} where an operator's output has another width than what it reads first.",
            plural(n, "place")
        ),
    },
    sheet,
    charts: None,
    is_table: true,
};

fn sheet(report: &Report<'_>) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("node", "operator", Align::Left),
        ("reads", "reads", Align::Left),
        ("makes", "makes", Align::Left),
        ("from_bits", "from bits", Align::Right),
        ("to_bits", "to bits", Align::Right),
    ]);
    for place in &report.config.conversions {
        let [from, to] = [place.from_bits, place.to_bits].map(|bits| Cell::text(&bits.to_string()));
        let [node, reads, makes] =
            [&place.node, &place.reads, &place.makes].map(|name| Cell::text(name));
        sheet.row(false, vec![node, reads, makes, from, to]);
    }
    sheet
}
