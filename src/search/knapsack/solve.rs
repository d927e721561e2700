//! [`solve`]: the items of least noise within limits, by branch and bound.
//!
//! Most problems are solved by [`Layers`] at once. Where prices bound the noise badly, which is where
//! a large group is neither here nor there, its items are looked at one by one.

use std::cmp::Ordering;

use crate::search::Configuration;

use super::dual::{Dual, greedy};
use super::items::{Cost, DIMS, Item, Items, is_within};
use super::layers::Layers;

/// How much is looked at before giving up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// The most partial choices that are held at once; with more a group is decided first.
    pub(super) states: usize,
    /// The most problems with some groups decided; beyond it the answer may not be the optimum.
    pub(super) nodes: usize,
    /// What less noise is not worth looking for, as a fraction.
    pub(super) gap: f64,
}

impl Effort {
    /// For the optimum within one limit. Measured on networks of 300 groups: ten times as many
    /// states take ten times as long.
    pub(super) const ONE: Effort = Effort { states: 300, nodes: 2_000, gap: 0. };
    pub(super) const SEVERAL: Effort = Effort { gap: 1e-6, ..Effort::ONE };
}

/// Of the configurations within the limits one with the least noise; of these the one of the least
/// cost, metric by metric; of these the first in lexicographic order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Solution {
    pub(super) configuration: Configuration,
    pub(super) noise: u128,
    pub(super) cost: Cost,
    /// How much less noise there might be at most, as a fraction of the noise; 0 is the optimum.
    pub(super) gap: f64,
}

/// `None` where nothing is within the limits, or nothing was found with this effort.
pub(super) fn solve(items: &Items, limits: &Cost, effort: Effort) -> Option<Solution> {
    let mut best: Option<Solution> = None;
    let mut stack = vec![Node { items: items.clone(), bound: f64::NEG_INFINITY }];
    let mut unseen = f64::INFINITY;
    let mut n_nodes = 0;
    while let Some(node) = stack.pop() {
        if best.as_ref().is_some_and(|best| best.noise as f64 * (1. - effort.gap) < node.bound) {
            unseen = unseen.min(node.bound);
            continue;
        }
        if n_nodes == effort.nodes {
            unseen = unseen.min(node.bound);
            continue;
        }
        n_nodes += 1;
        stack.extend(node.visit(limits, effort.states, &mut best));
    }
    let best = best?;
    let noise = best.noise as f64;
    let gap = if noise == 0. { 0. } else { ((noise - unseen) / noise).clamp(0., 1.) };
    Some(Solution { gap, ..best })
}

/// A problem with some of its items left out.
struct Node {
    items: Items,
    /// No less noise than this.
    bound: f64,
}

impl Node {
    /// Solves it, or says what is left to be solved, the most promising last.
    fn visit(&self, limits: &Cost, most_states: usize, best: &mut Option<Solution>) -> Vec<Node> {
        let items = &self.items;
        if !is_within(&items.least(), limits) {
            return Vec::new();
        }
        let dual = Dual::new(items, limits);
        offer(items, greedy(items, limits, &dual), best);
        let most = best.as_ref().map_or(u128::MAX, |best| best.noise);
        let mut layers = Layers::new(items, limits, &dual, most);
        match layers.run(most_states) {
            Some(found) => {
                offer(items, found, best);
                Vec::new()
            }
            None => {
                offer(items, layers.best.take(), best);
                self.branch(&dual, &layers, limits)
            }
        }
    }

    fn branch(&self, dual: &Dual, layers: &Layers<'_>, limits: &Cost) -> Vec<Node> {
        let mut left: Vec<Vec<Item>> = self.items.groups.clone();
        for (items, &pick) in left.iter_mut().zip(&dual.picks) {
            *items = vec![items[pick]];
        }
        for open in &layers.open {
            let mut indices: Vec<usize> = open.items.iter().map(|&(item, _)| item).collect();
            indices.sort_unstable();
            let items = &self.items.groups[open.group];
            left[open.group] = indices.into_iter().map(|item| items[item]).collect();
        }
        let split = dual.split(&self.items, layers);
        let rounding = dual.rounding(&self.items, limits);
        let node = |&(item, regret): &(usize, f64)| {
            let mut groups = left.clone();
            groups[split.group] = vec![self.items.groups[split.group][item]];
            let bound = dual.value + regret - rounding;
            Node { items: Items { groups, ..self.items.clone() }, bound }
        };
        split.items.iter().rev().map(node).collect()
    }
}

/// Takes `picks` if they are better than the best so far.
fn offer(items: &Items, picks: Option<Vec<usize>>, best: &mut Option<Solution>) {
    let Some(picks) = picks else { return };
    let offered = Solution {
        configuration: items.configuration(&picks),
        noise: items.noise(&picks),
        cost: items.cost(&picks),
        gap: 0.,
    };
    if best.as_ref().is_none_or(|best| order(&offered, best).is_lt()) {
        *best = Some(offered);
    }
}

fn order(a: &Solution, b: &Solution) -> Ordering {
    let costs = (0..DIMS).map(|dim| a.cost[dim].total_cmp(&b.cost[dim]));
    let cost = costs.fold(Ordering::Equal, Ordering::then);
    a.noise.cmp(&b.noise).then(cost).then_with(|| a.configuration.cmp(&b.configuration))
}
