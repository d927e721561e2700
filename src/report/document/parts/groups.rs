//! Every group: what it chose, who is in it and why they share a choice.

use crate::report::Align;
use crate::report::document::Report;
use crate::report::document::parts::Part;
use crate::report::document::sheet::{Cell, Sheet};
use crate::report::number::count;

pub(super) const PART: Part = Part {
    name: "groups",
    title: "Groups and their members",
    doc: |_| {
        "A group is an activation, all that is tied to it, and the weights of the operators that read them; all share one choice.".to_owned()
    },
    sheet,
    charts: None,
    is_table: true,
};

fn sheet(report: &Report<'_>) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("number", "#", Align::Right),
        ("group", "group", Align::Left),
        ("candidate", "choice", Align::Left),
        ("pinned", "pinned", Align::Left),
        ("macs", "MACs", Align::Right),
        ("weight_elements", "weights", Align::Right),
        ("nodes", "operators", Align::Left),
        ("activations", "other activations", Align::Left),
        ("weights", "weight tensors", Align::Left),
        ("tied_by", "tied by", Align::Left),
    ]);
    for (at, group) in report.config.groups.iter().enumerate() {
        sheet.row(
            false,
            vec![
                Cell::text(&(at + 1).to_string()),
                Cell::text(&group.id),
                Cell::text(&group.candidate.to_string()),
                Cell {
                    text: if group.pinned { "yes" } else { "" }.to_owned(),
                    value: group.pinned.to_string(),
                },
                Cell::of(Some(group.macs), count),
                Cell::of(Some(group.weight_elements), count),
                Cell::names(&group.nodes),
                others(&group.id, &group.activations),
                Cell::names(&group.weights),
                Cell::names(&group.tied_by),
            ],
        );
    }
    sheet
}

/// People have read the group's own name already.
fn others(id: &str, activations: &[String]) -> Cell {
    let others = activations.iter().map(String::as_str).filter(|name| *name != id);
    Cell { text: others.collect::<Vec<_>>().join("\n"), value: activations.join(" ") }
}
