//! Probes: how to find the point of a curve where a quality goal is only just met.
//!
//! The answer is a point that was measured and meets the goal, while its cheaper neighbor was
//! measured and misses it; points that are not within the budgets are left out. Two points are
//! measured at once: if the most precise misses, nothing is found; if the cheapest meets it, that is
//! the answer (`sequential` comes to the cheapest last). From then on there is a bracket: its
//! precise end was measured and meets the goal, its cheap end was measured and misses it, and the
//! next point to measure is inside, until nothing is.
//!
//! # Curves that are not monotone
//!
//! Quality may rise from a point to a cheaper one, so several points may be answers. The ends of the
//! bracket are what they are however the curve runs between them, so what is found always is one of
//! these. `sequential` finds the most precise of them; the others find whichever their bracket
//! closes on, and do not look for all.

mod bracket;
mod goal;

use crate::search::{Answer, Curve, Goal, Least, Outcome, Problem, SearchError, Strategy};

use bracket::{Bracket, End, narrow};
pub use goal::{Missed, QualityGoal};

/// Every probe, by name. The one list to extend.
pub const PROBES: &[Probe] = &[
    Probe {
        name: "sequential",
        doc: "one point after the other, from the most precise",
        needs_ends: false,
        next: |bracket| bracket.first(),
    },
    Probe {
        name: "binary",
        doc: "the middle of the bracket",
        needs_ends: true,
        next: |bracket| bracket.middle(),
    },
    Probe {
        name: "interpolation",
        doc: "where the line between the ends of the bracket, over the predicted SQNR, crosses the goal",
        needs_ends: true,
        next: |bracket| bracket.crossing(),
    },
    Probe {
        name: "hybrid",
        doc: "interpolates as far from the middle as bisection can still end within two evaluations more than it takes alone",
        needs_ends: true,
        next: |bracket| bracket.crossing_within_reach(),
    },
];

/// One row of the table of probes.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    pub name: &'static str,
    /// What it measures next, in a line.
    pub doc: &'static str,
    /// Whether the cheapest point is measured before it is asked.
    needs_ends: bool,
    /// A point inside the bracket.
    next: fn(&Bracket<'_>) -> usize,
}

impl Probe {
    /// The one of [`PROBES`] that has this name.
    pub fn find(name: &str) -> Option<&'static Probe> {
        PROBES.iter().find(|probe| probe.name == name)
    }
}

/// Those of ours whose curve runs from precise to cheap with each point the strategy's answer to
/// some budget; the others have no second best to step to. A strategy from elsewhere is trusted.
const PROBED: &[&str] = &["pareto", "knapsack"];

/// What a search for a quality came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Probed {
    /// The answer is a point of the curve.
    Found(Outcome),
    /// No point is within the budgets.
    Unreachable(Vec<Least>),
    /// The most precise point within the budgets misses the goal.
    Missed(Missed),
}

/// That a strategy can serve a quality goal together with these budgets.
///
/// # Errors
/// If it cannot, with the reason.
pub fn expect_probed(strategy: &Strategy, goal: &Goal) -> Result<(), SearchError> {
    if Strategy::find(strategy.name).is_some() && !PROBED.contains(&strategy.name) {
        let expected = PROBED;
        return Err(SearchError::NotProbed { strategy: strategy.name, expected });
    }
    let mut metrics = goal.budgets.iter().map(|budget| budget.metric);
    let first = metrics.next();
    match metrics.find(|&metric| Some(metric) != first) {
        Some(second) if strategy.name == "knapsack" => Err(SearchError::OneCurve {
            strategy: strategy.name,
            metrics: [first.unwrap_or(second), second],
        }),
        _ => Ok(()),
    }
}

/// The cheapest point of a strategy's curve that `probe` finds to meet `quality` and all budgets.
pub fn probe(
    problem: &mut dyn Problem,
    strategy: &Strategy,
    goal: &Goal,
    quality: &QualityGoal,
    probe: &Probe,
) -> Result<Probed, SearchError> {
    expect_probed(strategy, goal)?;
    let Outcome { curve, answer, .. } = (strategy.search)(problem, goal)?;
    let within = within(&curve, goal);
    if within.is_empty() {
        let leasts = match answer {
            Answer::Unreachable(leasts) => leasts,
            Answer::Found { .. } => Least::of(&goal.budgets, &curve.last().costs, &curve.full)?,
        };
        return Ok(Probed::Unreachable(leasts));
    }
    let predicted = |&index: &usize| sqnr(curve.points[index].predicted_sqnr_db);
    let predicted: Vec<f64> = within.iter().map(predicted).collect();
    let mut evaluations = 0;
    let mut value = |at: usize| -> Result<f64, SearchError> {
        evaluations += 1;
        Ok(quality.value(&problem.measure(&curve.points[within[at]].configuration)?))
    };
    let found = narrow(&predicted, quality.wanted(), probe, &mut value)?;
    let End { at, value } = match found {
        Ok(end) => end,
        Err(best) => {
            let is_budgeted = !goal.budgets.is_empty();
            let goal = quality.clone();
            return Ok(Probed::Missed(Missed { goal, best, is_budgeted }));
        }
    };
    debug_assert!(quality.wanted() <= value, "the precise end of a bracket meets the goal");
    let point = within[at];
    let answer = Answer::Found { configuration: curve.configuration(point), point: Some(point) };
    Ok(Probed::Found(Outcome { evaluations, ..Outcome::new(curve, answer) }))
}

/// The points within all budgets, in order.
fn within(curve: &Curve, goal: &Goal) -> Vec<usize> {
    let is_met = |&index: &usize| {
        let costs = &curve.points[index].costs;
        goal.budgets.iter().all(|budget| budget.is_met(costs, &curve.full))
    };
    (0..curve.points.len()).filter(is_met).collect()
}

/// As a number that can be compared: no noise is infinite, what is no number is the worst.
fn sqnr(sqnr_db: Option<f64>) -> f64 {
    match sqnr_db {
        None => f64::INFINITY,
        Some(sqnr_db) if sqnr_db.is_nan() => f64::NEG_INFINITY,
        Some(sqnr_db) => sqnr_db,
    }
}

#[cfg(test)]
mod tests;
