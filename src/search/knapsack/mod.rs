//! `knapsack`: the least predicted noise within the budgets.
//!
//! Every group takes exactly one of its choices; a choice has the noise-to-signal ratio
//! `10^(-sqnr_db / 10)` and a cost in every budgeted metric, and both are summed over the groups.
//! So this is a multiple-choice knapsack. Of configurations with the same noise it takes that of the
//! least cost, in the order of the budgets, and of these the first in lexicographic order.
//!
//! # When it wins
//!
//! `pareto` orders steps by how good a choice is in all, whatever the step saves; a group with much
//! work and little noise waits for its turn behind many that save nothing. `knapsack` weighs what a
//! step adds against what it saves, and looks back: what was given up early is taken back if another
//! group can pay for it. It wins where groups differ much in cost, where few have most of the cost,
//! and where the budget cuts deep. It also takes a cheaper choice that was measured with less noise
//! than a dearer one, which is mostly luck and never harm.
//!
//! It trusts the prediction: where noise does not add up (groups that cancel or amplify each other,
//! outputs that saturate) its lead on paper may be lost in the network. It minimizes the sum of the
//! ratios of the choices' SQNRs, even where a problem predicts in another way. Every budgeted cost
//! has to be a sum over the groups; another is refused.
//!
//! # How
//!
//! A price for every budgeted cost gives a bound on the noise; a dynamic program over partial
//! configurations keeps those that the bound does not rule out and no other one dominates. Where
//! they are too many, the group that most is between is decided first, one item after the other. The
//! answer is the optimum unless that takes more than a fixed number of steps; then [`Outcome::gap`]
//! says how far off it is at most.
//!
//! # Its curve
//!
//! The optimum, in the metric of the first budget alone (BOPs without any), at the cost of every
//! point of the walk and at the budget; equal neighbors are one point. Neighbors may differ in
//! several groups, so most points have no flip.

mod dual;
mod items;
mod layers;
mod solve;

use crate::search::{
    Amount, Answer, Budget, Configuration, CostMetric, Costs, Curve, Goal, Least, Outcome, Problem,
    SearchError, Strategy, list, walk,
};

use super::walk::kept_groups;
use items::{Cost, DIMS, Items, costs};
use solve::{Effort, Solution, solve};

pub(super) const STRATEGY: Strategy =
    Strategy { name: "knapsack", doc: "the least predicted noise within the budgets", search };

fn search(problem: &mut dyn Problem, goal: &Goal) -> Result<Outcome, SearchError> {
    let problem = &*problem;
    let walked = walk(problem, &list(problem)?, goal)?;
    let start = Configuration::most_precise(problem.choices());
    let kept = kept_groups(problem, &start, goal)?;
    let items = Items::new(problem, metrics(goal, &walked.full), &start, &kept)?;
    let limits = limits(&items, goal, &walked.full)?;
    let found = solve(&items, &limits, Effort::FULL);
    let configurations = optima(&items, &walked, limits)?;
    let curve = Curve::of(problem, &configurations);
    let gap = found.as_ref().map(|found| found.gap);
    let answer = match found {
        Some(found) => {
            expect_sum(problem, &items, &found)?;
            let configuration = found.configuration;
            let point = configurations.iter().position(|point| *point == configuration);
            Answer::Found { configuration, point }
        }
        None => Answer::Unreachable(leasts(&items, goal, &limits, &walked.full)?),
    };
    Ok(Outcome { gap, ..Outcome::new(curve, answer) })
}

/// Those that have a budget, in order; BOPs if none has.
fn metrics(goal: &Goal, full: &Costs) -> Vec<CostMetric> {
    let mut metrics = Vec::new();
    for budget in &goal.budgets {
        if !metrics.contains(&budget.metric) {
            metrics.push(budget.metric);
        }
    }
    if metrics.is_empty() {
        metrics.extend(full.get(CostMetric::Bops).map(|_| CostMetric::Bops));
    }
    metrics
}

/// For every metric, the most that all its budgets allow.
fn limits(items: &Items, goal: &Goal, full: &Costs) -> Result<Cost, SearchError> {
    let mut limits = [f64::INFINITY; DIMS];
    for budget in &goal.budgets {
        let metric = budget.metric;
        let full = full.get(metric).ok_or(SearchError::UnknownCost { metric })?;
        for (limit, _) in limits.iter_mut().zip(&items.metrics).filter(|(_, at)| **at == metric) {
            *limit = limit.min(most(budget, full));
        }
    }
    Ok(limits)
}

/// The largest cost that meets a budget, to the last bit.
fn most(budget: &Budget, full: f64) -> f64 {
    match budget.limit {
        Amount::Absolute(value) => value,
        Amount::Relative(_) if full == 0. => 0.,
        Amount::Relative(fraction) => {
            let mut most = fraction * full;
            while most / full <= fraction && most < f64::MAX {
                most = most.next_up();
            }
            while fraction < most / full {
                most = most.next_down();
            }
            most
        }
    }
}

/// The optimum at the cost of every point of the walk, and at the limit if there is but one.
fn optima(items: &Items, walked: &Curve, limits: Cost) -> Result<Vec<Configuration>, SearchError> {
    let Some(&metric) = items.metrics.first() else {
        return Ok(vec![walked.start().clone()]);
    };
    let cost = |costs: &Costs| costs.get(metric).ok_or(SearchError::UnknownCost { metric });
    let walked = walked.points.iter().map(|point| cost(&point.costs));
    let mut steps = walked.collect::<Result<Vec<f64>, _>>()?;
    if items.metrics.len() == 1 {
        steps.push(limits[0]);
    }
    steps.sort_by(|a, b| b.total_cmp(a));
    let mut optima: Vec<Solution> = Vec::new();
    for step in steps {
        // What is the least of more is the least of fewer, if it is among them.
        if optima.last().is_some_and(|last| last.cost[0] <= step) {
            continue;
        }
        let mut limits = [f64::INFINITY; DIMS];
        limits[0] = step;
        optima.extend(solve(items, &limits, Effort::FULL));
    }
    Ok(optima.into_iter().map(|found| found.configuration).collect())
}

/// What every cost can be on its own; if each is within its budget, then what costs are where their
/// sum, each as a fraction of its limit, is least.
fn leasts(
    items: &Items,
    goal: &Goal,
    limits: &Cost,
    full: &Costs,
) -> Result<Vec<Least>, SearchError> {
    let of = |cost: Cost| {
        let costs = items.metrics.iter().copied().zip(cost).collect();
        Least::of(&goal.budgets, &costs, full)
    };
    let alone = of(items.least())?;
    if alone.iter().any(|least| !least.is_met()) {
        return Ok(alone);
    }
    let fraction = |cost: &Cost| -> f64 {
        let bounded = cost.iter().zip(limits).filter(|(_, limit)| limit.is_finite());
        bounded.map(|(cost, limit)| cost / limit.max(f64::MIN_POSITIVE)).sum()
    };
    let cheapest = |group: &Vec<items::Item>| {
        let fractions = group.iter().map(|item| fraction(&item.cost)).enumerate();
        fractions.min_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(0, |(index, _)| index)
    };
    let picks: Vec<usize> = items.groups.iter().map(cheapest).collect();
    of(items.cost(&picks))
}

/// That a configuration costs what the problem says, which is so if costs are sums.
fn expect_sum(
    problem: &dyn Problem,
    items: &Items,
    solution: &Solution,
) -> Result<(), SearchError> {
    let costs = costs(problem, &items.metrics, &solution.configuration)?;
    for ((&metric, found), expected) in items.metrics.iter().zip(costs).zip(solution.cost) {
        // Costs that are sums may still have been rounded on the way.
        if 1e-9 * found.abs().max(expected.abs()) < (found - expected).abs() {
            return Err(SearchError::NotASum { metric, found, expected });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
