//! Why a search could not be done. That a goal cannot be reached is an [`Outcome`](super::Outcome).

use std::fmt;

use crate::search::CostMetric;

#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// `group` is the index in model order.
    #[error("group {group} has no choices, expected at least one")]
    NoChoices { group: usize },

    #[error("cost `{metric}` has a budget but is not known here{}", cure(*metric))]
    UnknownCost { metric: CostMetric },

    /// `expected` is the sum of what the groups' choices cost.
    #[error(
        "cost `{metric}` of a configuration is {found}, expected {expected}, the sum over its groups"
    )]
    NotASum { metric: CostMetric, found: f64, expected: f64 },

    #[error(
        "`{strategy}` adds up what groups cost, and budgeted {} no such sum\nhint: use --strategy pareto, refine or best",
        Names(metrics)
    )]
    NoSums { strategy: &'static str, metrics: Vec<CostMetric> },

    #[error(
        "strategy `{strategy}` cannot serve a quality goal: it has no curve to step along, expected {}",
        either(expected)
    )]
    NotProbed { strategy: &'static str, expected: &'static [&'static str] },

    #[error(
        "strategy `{strategy}` cannot serve a quality goal with budgets for `{}` and `{}`: its curve is that of one cost\nhint: use --strategy pareto, or budgets for one of them",
        metrics[0],
        metrics[1]
    )]
    OneCurve { strategy: &'static str, metrics: [CostMetric; 2] },

    #[error(
        "this needs measuring, which is not possible without samples\nhint: give them with --calib"
    )]
    NoMeasuring,

    #[error("cannot measure a configuration")]
    Measure { source: Box<dyn std::error::Error + Send + Sync> },
}

fn cure(metric: CostMetric) -> &'static str {
    match metric.name() {
        "conversion-cost" => {
            "\nhint: a target tells it under the key `conversions`; see `mpq schema target`"
        }
        _ => "",
    }
}

/// `` `a` is `` or `` `a` and `b` are ``.
struct Names<'a>(&'a [CostMetric]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(|metric| format!("`{metric}`")).collect();
        write!(f, "{} {}", names.join(" and "), if names.len() == 1 { "is" } else { "are" })
    }
}

fn either(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}
