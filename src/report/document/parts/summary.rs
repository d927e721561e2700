//! What was found, beside the uniform candidates.

use crate::artifact::{Config, Quality};
use crate::report::document::Report;
use crate::report::document::parts::Part;
use crate::report::document::sheet::{Cell, Sheet};
use crate::report::evaluation::cell;
use crate::report::number::{bytes, count, decibels, percent, plain};
use crate::report::{Align, better_baseline, cheaper_baseline};

pub(super) const PART: Part = Part {
    name: "summary",
    title: "The result beside uniform candidates",
    doc: |report| {
        format!(
            "Every row is a whole configuration; relative costs are fractions of {} everywhere.",
            report.full
        )
    },
    sheet,
    charts: None,
    is_table: true,
};

/// A number that a reader looks for first.
pub(in crate::report::document) struct Fact {
    pub(in crate::report::document) name: String,
    pub(in crate::report::document) value: String,
    pub(in crate::report::document) more: String,
}

fn fact(name: &str, value: String, more: String) -> Fact {
    Fact { name: name.to_owned(), value, more }
}

/// Costs, then qualities, then the shape of the answer.
pub(in crate::report::document) fn facts(report: &Report<'_>) -> Vec<Fact> {
    let Config { cost, quality, groups, .. } = report.config;
    let of_full = |relative: Option<f64>| match relative {
        Some(relative) => format!("{} of {}", percent(relative), report.full),
        None => String::new(),
    };
    let predicted = format!("predicted {}", decibels(quality.predicted_sqnr_db));
    let mut facts = vec![
        fact("BOPs", count(cost.bops), of_full(cost.relative_bops)),
        fact("weights", bytes(cost.weight_bytes), of_full(cost.relative_weight_bytes)),
        match report.is_measured {
            true => fact("SQNR", decibels(quality.sqnr_db), predicted),
            false => fact(
                "SQNR, predicted",
                decibels(quality.predicted_sqnr_db),
                "not measured".to_owned(),
            ),
        },
    ];
    facts.extend(quality.metrics.iter().map(|(name, &value)| {
        let first = report.config.baselines.first();
        let before =
            first.and_then(|baseline| Some((baseline, baseline.quality.metrics.get(name)?)));
        let more = before.map(|(baseline, &value)| {
            format!("{} with {}", cell(name, Some(value)), baseline.candidate)
        });
        fact(name, cell(name, Some(value)), more.unwrap_or_default())
    }));
    facts
        .extend(cost.latency_ms.map(|ms| {
            fact("latency", format!("{} ms", plain(ms)), "by the cost table".to_owned())
        }));
    let n_pinned = groups.iter().filter(|group| group.pinned).count();
    let pinned =
        if n_pinned == 0 { "none pinned".to_owned() } else { format!("{n_pinned} pinned") };
    facts.push(fact("groups", groups.len().to_string(), pinned));
    let price = cost.conversion_cost.map(|price| format!("cost {}", plain(price)));
    facts.push(fact("conversions", cost.conversions.to_string(), price.unwrap_or_default()));
    facts.extend(cost.a16_share.map(|share| {
        fact("16-bit activations", percent(share), "of elements, or wider".to_owned())
    }));
    facts
}

/// What a reader should know before trusting the result.
pub(in crate::report::document) fn notes(report: &Report<'_>) -> Vec<String> {
    let better = better_baseline(report.config).map(|baseline| {
        format!("Uniform {} is within the budget and has a higher SQNR.", baseline.candidate)
    });
    let cheaper = cheaper_baseline(report.config).map(|baseline| {
        format!("Uniform {} meets the goal as well, for fewer BOPs.", baseline.candidate)
    });
    let unmeasured = (!report.is_measured).then(|| {
        "Nothing was measured on samples: qualities are predictions from the groups alone."
            .to_owned()
    });
    let off_curve = (report.config.chosen_point.is_none() && !report.config.curve.is_empty())
        .then(|| "The chosen configuration is not a point of the curve.".to_owned());
    [better, cheaper, unmeasured, off_curve].into_iter().flatten().collect()
}

fn sheet(report: &Report<'_>) -> Sheet {
    let config = report.config;
    let mut sheet = Sheet::new(&[
        ("configuration", "configuration", Align::Left),
        ("bops", "BOPs", Align::Right),
        ("relative_bops", "relative", Align::Right),
        ("weight_bytes", "weights", Align::Right),
        ("sqnr_db", "SQNR", Align::Right),
        ("predicted_sqnr_db", "predicted", Align::Right),
    ]);
    let metrics: Vec<&str> = config.quality.metrics.iter().map(|(name, _)| name).collect();
    metrics.iter().for_each(|name| sheet.column(name, name, Align::Right));
    let within = config.goal.requested.len();
    sheet.column("within_budgets", "within budgets", Align::Left);
    let cells = |name: &str, cost: (u64, Option<f64>, u64), quality: &Quality, is_within: bool| {
        let mut cells = vec![
            Cell::text(name),
            Cell::of(Some(cost.0), count),
            Cell::of(cost.1, percent),
            Cell::of(Some(cost.2), bytes),
            noise(quality.sqnr_db, report.is_measured),
            noise(quality.predicted_sqnr_db, true),
        ];
        let value = |name: &&str| {
            Cell::of(quality.metrics.get(name).copied(), |value| cell(name, Some(value)))
        };
        cells.extend(metrics.iter().map(value));
        cells.push(Cell::text(match (within, is_within) {
            (0, _) => "",
            (_, true) => "yes",
            (_, false) => "no",
        }));
        cells
    };
    for baseline in &config.baselines {
        let cost = &baseline.cost;
        let cost = (cost.bops, cost.relative_bops, cost.weight_bytes);
        let name = baseline.candidate.to_string();
        sheet.row(false, cells(&name, cost, &baseline.quality, baseline.within_budgets));
    }
    let cost = (config.cost.bops, config.cost.relative_bops, config.cost.weight_bytes);
    sheet.row(true, cells("chosen", cost, &config.quality, true));
    sheet
}

/// An SQNR; where there is no number there is no noise, if it is `known`.
pub(super) fn noise(sqnr_db: Option<f64>, known: bool) -> Cell {
    match sqnr_db {
        None if !known => Cell::text(""),
        None => Cell { text: decibels(None), value: String::new() },
        Some(db) => Cell::of(Some(db), |db| decibels(Some(db))),
    }
}

/// Groups at each candidate: `5 at W8A16, 6 at A8`.
pub(super) fn choices(counts: &[(crate::quant::Candidate, usize)]) -> String {
    let counts = counts.iter().map(|(candidate, n)| format!("{n} at {candidate}"));
    counts.collect::<Vec<_>>().join(", ")
}
