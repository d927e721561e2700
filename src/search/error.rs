//! Why a search could not be done. That a goal cannot be reached is an [`Outcome`](super::Outcome).

use crate::search::CostMetric;

#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// `group` is the index in model order.
    #[error("group {group} has no choices, expected at least one")]
    NoChoices { group: usize },

    #[error("cost `{metric}` has a budget but is not known here")]
    UnknownCost { metric: CostMetric },

    /// `expected` is the sum of what the groups' choices cost.
    #[error(
        "cost `{metric}` of a configuration is {found}, expected {expected}, the sum over its groups"
    )]
    NotASum { metric: CostMetric, found: f64, expected: f64 },

    #[error("this goal needs measuring, which is not possible here")]
    NoMeasuring,

    #[error("cannot measure a configuration")]
    Measure { source: Box<dyn std::error::Error + Send + Sync> },
}
