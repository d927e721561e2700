//! The map of bit-widths: weights above activations, in the order of the network.

use crate::artifact::Group;
use crate::quant::Bits;
use crate::report::Align;
use crate::report::document::Report;
use crate::report::document::chart::{Anchor, Bands, Chart, Key, legend, width_class};
use crate::report::document::parts::Part;
use crate::report::document::parts::summary::choices;
use crate::report::document::sheet::{Cell, Sheet};

pub(super) const PART: Part = Part {
    name: "bits",
    title: "Bit-widths through the network",
    doc: |report| {
        let counts = Report::counts(report.config.groups.iter().map(|group| group.candidate));
        format!("A column for each group, in the order of the network: {}.", choices(&counts))
    },
    sheet,
    charts: Some(|report, width| vec![chart(report, width)]),
    is_table: false,
};

const CELL: f64 = 24.;

fn chart(report: &Report<'_>, width: f64) -> Chart {
    let groups = &report.config.groups;
    let label = format!("Bit-widths of {} groups, weights above activations", groups.len());
    let mut chart = Chart::new("", label, width);
    let top = legend(&mut chart, &keys(report)) + 14.;
    let (left, names) =
        if width < 600. { (18., ["W", "A"]) } else { (78., ["weights", "activations"]) };
    let bands = Bands::new(groups.len(), width - left - 4., [16., 88.]);
    let height = 2. * CELL + 40.;
    for band in 0..bands.n_bands {
        let y = top + band as f64 * height;
        for (row, name) in names.into_iter().enumerate() {
            let y = y + row as f64 * CELL + CELL / 2. + 4.;
            chart.text("soft", [left - 6., y], Anchor::End, name);
        }
    }
    for (at, group) in groups.iter().enumerate() {
        let (band, x) = bands.place(at);
        let place = [left + x, top + band as f64 * height];
        column(&mut chart, report, (at, group), place, bands.pitch);
        if bands.is_numbered(at) {
            let x = left + x + bands.pitch / 2.;
            let number = (at + 1).to_string();
            chart.text("name", [x, place[1] + 2. * CELL + 19.], Anchor::Middle, &number);
        }
    }
    chart.height = top + bands.n_bands as f64 * height - 12.;
    chart
}

fn keys(report: &Report<'_>) -> Vec<(Key, String)> {
    let groups = &report.config.groups;
    let widths = groups.iter().flat_map(|group| [group.weight_bits, Some(group.activation_bits)]);
    let mut widths: Vec<Bits> = widths.flatten().collect();
    widths.sort_unstable();
    widths.dedup();
    let name =
        |bits: Bits| if bits.is_float() { "float".to_owned() } else { format!("{bits} bits") };
    let mut keys: Vec<_> =
        widths.into_iter().map(|bits| (Key::Swatch(width_class(bits)), name(bits))).collect();
    if groups.iter().any(|group| group.pinned) {
        keys.push((Key::Dash("pin"), "pinned".to_owned()));
    }
    if !report.config.conversions.is_empty() {
        keys.push((Key::Dash("seam"), "made by a conversion".to_owned()));
    }
    keys
}

fn column(
    chart: &mut Chart,
    report: &Report<'_>,
    (at, group): (usize, &Group),
    [x, y]: [f64; 2],
    pitch: f64,
) {
    let pinned = if group.pinned { "\npinned" } else { "" };
    let is_made = |place: &crate::artifact::Conversion| group.activations.contains(&place.makes);
    let made = report.config.conversions.iter().find(|place| is_made(place));
    let from =
        made.map(|place| format!("\nconverted at {} from {} bits", place.node, place.from_bits));
    let from = from.unwrap_or_default();
    chart.begin(&format!("{} {}\n{}{pinned}{from}", at + 1, group.id, group.candidate), None);
    for (row, bits) in [group.weight_bits, Some(group.activation_bits)].into_iter().enumerate() {
        let y = y + row as f64 * CELL;
        let size = [pitch - 1.5, CELL - 1.5];
        let Some(bits) = bits else {
            chart.rect("none", [x + 0.5, y + 0.5], [size[0] - 1., size[1] - 1.]);
            continue;
        };
        chart.rect(width_class(bits), [x, y], size);
        let class = format!("cell {}t", width_class(bits));
        let middle = [x + size[0] / 2., y + CELL / 2. + 3.];
        chart.text(&class, middle, Anchor::Middle, &bits.to_string());
    }
    if group.pinned {
        let y = y + 2. * CELL + 2.;
        chart.line("pin", [x + 1., y], [x + pitch - 2.5, y]);
    }
    if made.is_some() {
        chart.line("seam", [x + 1., y - 4.], [x + pitch - 2.5, y - 4.]);
    }
    chart.rect("touch", [x, y - 6.], [pitch, 2. * CELL + 10.]);
    chart.end();
}

fn sheet(report: &Report<'_>) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("number", "#", Align::Right),
        ("group", "group", Align::Left),
        ("candidate", "choice", Align::Left),
        ("weight_bits", "weight bits", Align::Right),
        ("activation_bits", "activation bits", Align::Right),
        ("pinned", "pinned", Align::Left),
    ]);
    for (at, group) in report.config.groups.iter().enumerate() {
        let pinned = if group.pinned { "yes" } else { "" };
        sheet.row(
            false,
            vec![
                Cell::text(&(at + 1).to_string()),
                Cell::text(&group.id),
                Cell::text(&group.candidate.to_string()),
                Cell::of(group.weight_bits, |bits| bits.to_string()),
                Cell::text(&group.activation_bits.to_string()),
                Cell { text: pinned.to_owned(), value: group.pinned.to_string() },
            ],
        );
    }
    sheet
}
