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
//! An item of a group that another one is at least as good as in everything is left out. A price
//! for every budgeted cost gives a bound on the noise; a dynamic program over partial
//! configurations keeps those that the bound does not rule out and no other one dominates. Where
//! they are too many, the group that most is between is decided first, one item after the other. The
//! answer is the optimum for one budget, and within 1e-6 of its noise for several, unless that takes
//! more than a fixed number of steps; [`Outcome::gap`] says how far off it is at most.
//!
//! # Its curve
//!
//! What the price of the first budget's cost alone (BOPs without any) leads to as it rises: each
//! point is the optimum at its own cost, and differs from its neighbor in one group. For a single
//! budget the answer stands between them, which mostly is an optimum that no price leads to.

mod dual;
mod hull;
mod items;
mod layers;
mod solve;

use crate::search::{
    Amount, Answer, Budget, Configuration, CostMetric, Costs, Curve, Goal, Least, Outcome, Problem,
    SearchError, Strategy, list, walk,
};

use super::walk::kept_groups;
use dual::size;
use hull::hull;
use items::{Cost, DIMS, Items, costs};
use solve::{Effort, Solution, solve};

pub(super) const STRATEGY: Strategy =
    Strategy { name: "knapsack", doc: "the least predicted noise within the budgets", search };

fn search(problem: &mut dyn Problem, goal: &Goal) -> Result<Outcome, SearchError> {
    let problem = &*problem;
    expect_sums(goal)?;
    let walked = walk(problem, &list(problem)?, goal)?;
    let start = Configuration::most_precise(problem.choices());
    let kept = kept_groups(problem, &start, goal)?;
    let items = Items::new(problem, metrics(goal, &walked.full), &start, &kept)?;
    let limits = limits(&items, goal, &walked.full)?;
    let found = solve_within(problem, goal, &walked.full, &items, &limits)?;
    let configurations = match items.metrics.len() {
        0 => vec![start],
        1 => optima(&items, found.as_ref()),
        _ => optima(&items, None),
    };
    let curve = Curve::of(problem, &configurations);
    let gap = found.as_ref().map(|found| found.gap);
    let answer = match found {
        Some(found) => {
            let configuration = found.configuration;
            let point = configurations.iter().position(|point| *point == configuration);
            Answer::Found { configuration, point }
        }
        None => Answer::Unreachable(leasts(problem, &items, goal, &limits, &walked.full)?),
    };
    Ok(Outcome { gap, ..Outcome::new(curve, answer) })
}

/// Solves it. A sum of fractions is rounded, so there is a little more room at first, and less where
/// the answer then is beyond a budget.
fn solve_within(
    problem: &dyn Problem,
    goal: &Goal,
    full: &Costs,
    items: &Items,
    limits: &Cost,
) -> Result<Option<Solution>, SearchError> {
    let n_bounded = limits.iter().filter(|limit| limit.is_finite()).count();
    let effort = if n_bounded < 2 { Effort::ONE } else { Effort::SEVERAL };
    for room in [1., 0., -1., -10., -100.] {
        let limits: Cost = std::array::from_fn(|dim| match limits[dim] {
            limit if limit.is_finite() => limit + room * ROUNDING * size(items, limits, dim),
            limit => limit,
        });
        let Some(found) = solve(items, &limits, effort) else { return Ok(None) };
        expect_sum(problem, items, &found)?;
        let costs = problem.costs(&found.configuration);
        if goal.budgets.iter().all(|budget| budget.is_met(&costs, full)) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// More than the rounding of a sum, as a part of its size.
const ROUNDING: f64 = 1e-13;

/// Those that have a budget, in order; BOPs if none has.
fn metrics(goal: &Goal, full: &Costs) -> Vec<CostMetric> {
    let mut metrics = Vec::new();
    for budget in &goal.budgets {
        if !metrics.contains(&budget.metric) {
            metrics.push(budget.metric);
        }
    }
    if metrics.is_empty() {
        metrics.extend(full.get(CostMetric::BOPS).map(|_| CostMetric::BOPS));
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

/// The optima along the hull, with the answer among them.
fn optima(items: &Items, answer: Option<&Solution>) -> Vec<Configuration> {
    let points = hull(items).into_iter();
    let mut points: Vec<(f64, Configuration)> =
        points.map(|picks| (items.cost(&picks)[0], items.configuration(&picks))).collect();
    if let Some(answer) = answer {
        let cost = answer.cost[0];
        points.retain(|(other, _)| *other != cost);
        let place = points.partition_point(|(other, _)| cost < *other);
        points.insert(place, (cost, answer.configuration.clone()));
    }
    points.into_iter().map(|(_, configuration)| configuration).collect()
}

/// What every cost can be on its own; if each is within its budget, then also what costs are where
/// their sum, each as a fraction of its limit, is least.
fn leasts(
    problem: &dyn Problem,
    items: &Items,
    goal: &Goal,
    limits: &Cost,
    full: &Costs,
) -> Result<Vec<Least>, SearchError> {
    let cheapest = |cost: &dyn Fn(&Cost) -> f64| {
        let of_group = |group: &Vec<items::Item>| {
            let costs = group.iter().map(|item| cost(&item.cost)).enumerate();
            costs.min_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(0, |(index, _)| index)
        };
        let picks: Vec<usize> = items.groups.iter().map(of_group).collect();
        problem.costs(&items.configuration(&picks))
    };
    let least = |(dim, &metric): (usize, &CostMetric)| {
        Some((metric, cheapest(&|cost: &Cost| cost[dim]).get(metric)?))
    };
    let each: Costs = items.metrics.iter().enumerate().filter_map(least).collect();
    let mut alone = Least::of(&goal.budgets, &each, full)?;
    if alone.iter().any(|least| !least.is_met()) {
        alone.iter_mut().for_each(|least| least.together = None);
        return Ok(alone);
    }
    let fraction = |cost: &Cost| -> f64 {
        let bounded = cost.iter().zip(limits).filter(|(_, limit)| limit.is_finite());
        bounded.map(|(cost, limit)| cost / limit.max(f64::MIN_POSITIVE)).sum()
    };
    let nearest = cheapest(&fraction);
    Least::together(&mut alone, &nearest, full)?;
    Ok(alone)
}

/// That every budget limits a sum over groups.
fn expect_sums(goal: &Goal) -> Result<(), SearchError> {
    let mut metrics: Vec<CostMetric> = goal.budgets.iter().map(|budget| budget.metric).collect();
    metrics.retain(|metric| !metric.is_sum());
    metrics.sort();
    metrics.dedup();
    let strategy = STRATEGY.name;
    if metrics.is_empty() { Ok(()) } else { Err(SearchError::NoSums { strategy, metrics }) }
}

/// That a configuration costs what the problem says, which is so if costs are sums.
fn expect_sum(
    problem: &dyn Problem,
    items: &Items,
    solution: &Solution,
) -> Result<(), SearchError> {
    let costs = costs(problem, &items.metrics, &solution.configuration)?;
    let sums = costs.into_iter().zip(solution.cost).zip(items.base);
    for (&metric, ((found, expected), base)) in items.metrics.iter().zip(sums) {
        // Costs that are sums may still have been rounded on the way.
        let size = found.abs().max(expected.abs()).max(base.abs());
        if 1e-9 * size < (found - expected).abs() {
            return Err(SearchError::NotASum { metric, found, expected });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
