//! The curve: what every point of the walk costs, and how good it is.

mod chart;
mod series;

pub(in crate::report::document) use chart::points as point_titles;

use crate::artifact::CurvePoint;
use crate::report::Align;
use crate::report::document::Report;
use crate::report::document::parts::Part;
use crate::report::document::parts::summary::noise;
use crate::report::document::sheet::{Cell, Sheet};
use crate::report::evaluation::cell;
use crate::report::number::{bytes, count, percent, plural};

pub(super) const PART: Part = Part {
    name: "curve",
    title: "Cost against quality",
    doc: |report| {
        let n_points = plural(report.config.curve.len() as u64, "point");
        let n_measured =
            report.config.curve.iter().filter(|point| point.measured.is_some()).count();
        format!(
            "{n_points} of the strategy, from precise to cheap, {n_measured} of them measured; each takes one step from the point before."
        )
    },
    sheet,
    charts: Some(chart::charts),
    is_table: false,
};

fn sheet(report: &Report<'_>) -> Sheet {
    let config = report.config;
    let mut sheet = Sheet::new(&[
        ("point", "point", Align::Right),
        ("group", "group", Align::Left),
        ("from", "from", Align::Left),
        ("to", "to", Align::Left),
        ("bops", "BOPs", Align::Right),
        ("relative_bops", "relative", Align::Right),
        ("weight_bytes", "weights", Align::Right),
        ("predicted_sqnr_db", "predicted", Align::Right),
        ("sqnr_db", "measured", Align::Right),
    ]);
    let metrics = series::metrics(config);
    metrics.iter().for_each(|name| sheet.column(name, name, Align::Right));
    for (at, point) in config.curve.iter().enumerate() {
        let flip = point.flip.as_ref();
        let is_chosen = config.chosen_point == Some(at as u64);
        let several = if at == 0 || flip.is_some() { "" } else { "several" };
        let mut cells = vec![
            Cell::text(&at.to_string()),
            Cell::text(flip.map_or(several, |flip| &flip.group)),
            Cell::text(&flip.map(|flip| flip.from.to_string()).unwrap_or_default()),
            Cell::text(&flip.map(|flip| flip.to.to_string()).unwrap_or_default()),
            Cell::of(Some(point.cost.bops), count),
            Cell::of(point.cost.relative_bops, percent),
            Cell::of(Some(point.cost.weight_bytes), bytes),
            noise(point.predicted_sqnr_db, true),
            measured(point),
        ];
        cells.extend(metrics.iter().map(|name| {
            let value = point.measured.as_ref().and_then(|found| found.metrics.get(name).copied());
            Cell::of(value, |value| cell(name, Some(value)))
        }));
        sheet.row(is_chosen, cells);
    }
    sheet
}

fn measured(point: &CurvePoint) -> Cell {
    let found = point.measured.as_ref();
    found.map_or_else(|| Cell::text(""), |found| noise(found.sqnr_db, true))
}
