//! [`Items`]: groups as classes of a knapsack, of each of which exactly one item is taken.

use crate::search::{Configuration, CostMetric, Problem, SearchError};

pub(super) const DIMS: usize = CostMetric::N_SUMS;

/// In the metrics of [`Items`], in their order; 0 beyond the last.
pub(super) type Cost = [f64; DIMS];

/// More than this is as bad as can be.
const INFINITE_NOISE: f64 = 1e100;

/// One choice of one group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Item {
    pub(super) choice: usize,
    /// Noise-to-signal ratio in steps so small that rounding to them loses nothing that `f64` has:
    /// sums are exact, in whatever order.
    pub(super) noise: u128,
    /// What the configuration's cost grows by.
    pub(super) cost: Cost,
}

#[derive(Debug, Clone)]
pub(super) struct Items {
    pub(super) metrics: Vec<CostMetric>,
    /// By group: those that no other item of the group is at least as good as, in everything.
    pub(super) groups: Vec<Vec<Item>>,
    /// The cost that those of the items are added to.
    pub(super) base: Cost,
}

impl Items {
    /// `kept` are the groups that stay as they are in `start`.
    pub(super) fn new(
        problem: &dyn Problem,
        metrics: Vec<CostMetric>,
        start: &Configuration,
        kept: &[bool],
    ) -> Result<Items, SearchError> {
        let noises = noises(problem);
        let base = costs(problem, &metrics, start)?;
        let mut groups = Vec::with_capacity(kept.len());
        for (group, noises) in noises.iter().enumerate() {
            let mut items = Vec::with_capacity(noises.len());
            for (choice, &noise) in noises.iter().enumerate() {
                if !kept[group] || choice == start.0[group] {
                    let total = costs(problem, &metrics, &start.with(group, choice))?;
                    let cost = std::array::from_fn(|dim| total[dim] - base[dim]);
                    items.push(Item { choice, noise, cost });
                }
            }
            groups.push(undominated(&items));
        }
        Ok(Items { metrics, groups, base })
    }

    /// What taking one item of each group costs; `picks` are indices into `groups`.
    pub(super) fn cost(&self, picks: &[usize]) -> Cost {
        self.groups
            .iter()
            .zip(picks)
            .fold(self.base, |sum, (items, &pick)| add(&sum, &items[pick].cost))
    }

    pub(super) fn noise(&self, picks: &[usize]) -> u128 {
        self.groups.iter().zip(picks).map(|(items, &pick)| items[pick].noise).sum()
    }

    pub(super) fn configuration(&self, picks: &[usize]) -> Configuration {
        let chosen = self.groups.iter().zip(picks).map(|(items, &pick)| items[pick].choice);
        Configuration(chosen.collect())
    }

    /// The least that each metric can be, on its own.
    pub(super) fn least(&self) -> Cost {
        let cost = |items: &Vec<Item>, dim: usize| {
            items.iter().map(|item| item.cost[dim]).fold(f64::INFINITY, f64::min)
        };
        std::array::from_fn(|dim| {
            self.groups.iter().fold(self.base[dim], |sum, items| sum + cost(items, dim))
        })
    }
}

pub(super) fn add(a: &Cost, b: &Cost) -> Cost {
    std::array::from_fn(|dim| a[dim] + b[dim])
}

pub(super) fn is_within(cost: &Cost, limits: &Cost) -> bool {
    cost.iter().zip(limits).all(|(cost, limit)| cost <= limit)
}

/// The costs of a configuration in the given metrics.
pub(super) fn costs(
    problem: &dyn Problem,
    metrics: &[CostMetric],
    configuration: &Configuration,
) -> Result<Cost, SearchError> {
    let known = problem.costs(configuration);
    let mut costs = [0.; DIMS];
    for (cost, &metric) in costs.iter_mut().zip(metrics) {
        *cost = known.get(metric).ok_or(SearchError::UnknownCost { metric })?;
    }
    Ok(costs)
}

fn undominated(items: &[Item]) -> Vec<Item> {
    let is_beaten = |index: usize| {
        let item = &items[index];
        items.iter().enumerate().any(|(other, by)| {
            let no_worse = by.noise <= item.noise && is_within(&by.cost, &item.cost);
            let is_same = by.noise == item.noise && by.cost == item.cost;
            no_worse && (other < index || !is_same)
        })
    };
    (0..items.len()).filter(|&index| !is_beaten(index)).map(|index| items[index]).collect()
}

/// The noise of every choice. One that is infinite outweighs all finite ones together.
fn noises(problem: &dyn Problem) -> Vec<Vec<u128>> {
    let ratio = |sqnr_db: Option<f64>| match sqnr_db {
        None => Some(0.),
        Some(sqnr_db) => Some(10_f64.powf(-sqnr_db / 10.)).filter(|&ratio| ratio < INFINITE_NOISE),
    };
    let ratios: Vec<Vec<Option<f64>>> = problem
        .choices()
        .iter()
        .map(|choices| choices.iter().map(|choice| ratio(choice.sqnr_db)).collect())
        .collect();
    let largest = |ratios: &Vec<Option<f64>>| ratios.iter().flatten().copied().fold(0., f64::max);
    let total: f64 = ratios.iter().map(largest).sum();
    let infinite_log2 = 126 - (ratios.len() as u64 + 1).ilog2();
    let total_log2 = if total == 0. { 0 } else { total.log2().ceil() as i32 };
    let step = 2_f64.powi(infinite_log2 as i32 - 1 - total_log2);
    let fixed = |ratio: &Option<f64>| match ratio {
        Some(ratio) => (ratio * step) as u128,
        None => 1 << infinite_log2,
    };
    ratios.iter().map(|ratios| ratios.iter().map(fixed).collect()).collect()
}
