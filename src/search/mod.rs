//! Phase 2: which candidate every group gets. Knows nothing of networks, only of a [`Problem`].
//!
//! A strategy is a function from a `Problem` and a [`Goal`] to an [`Outcome`]; [`STRATEGIES`] lists
//! ours, [`Strategy`] is all that one from elsewhere needs. A [`Probe`] finds the point of a strategy's
//! curve where a [`QualityGoal`] is only just met; [`PROBES`] lists them.

mod best;
mod budget;
mod cost;
mod curve;
mod error;
mod knapsack;
mod list;
mod pareto;
mod probe;
mod problem;
mod refine;
mod strategy;
#[cfg(test)]
mod toy;
mod walk;

pub use budget::{Amount, Budget, BudgetError};
pub use cost::{CostMetric, Costs};
pub use curve::{Curve, Flip, Point};
pub use error::SearchError;
pub use list::{Entry, list, sort};
pub use probe::{Missed, PROBES, Probe, Probed, QualityGoal, expect_probed, probe};
pub use problem::{Choice, Configuration, Problem, Quality};
pub use strategy::{Answer, Goal, Least, Outcome, Strategy, Tried};
pub use walk::walk;

/// Every strategy, by name. The one list to extend.
pub const STRATEGIES: &[Strategy] =
    &[pareto::STRATEGY, knapsack::STRATEGY, refine::STRATEGY, best::STRATEGY];
