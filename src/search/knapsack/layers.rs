//! [`Layers`]: the items of least noise within limits, by dynamic programming over partial choices.
//!
//! A price for every cost ([`Dual`]) bounds the noise of whatever a partial choice can become; what
//! is worse than a configuration already known is dropped, and so is a partial choice that another
//! one is at least as good as in noise and every cost. Groups whose second best item is nearly as
//! good as the best come first; most groups have no second item left that could be part of an
//! optimum.

use std::cmp::Ordering;

use super::dual::Dual;
use super::items::{Cost, DIMS, Item, Items, add, is_within};

/// A choice for the first few of the open groups.
#[derive(Debug, Clone, Copy)]
struct State {
    noise: u128,
    /// With the base, and the items of all groups that are not open.
    cost: Cost,
    /// How much the bound has risen.
    regret: f64,
    parent: usize,
    item: usize,
}

/// A group with more than one item that may be part of an optimum.
pub(super) struct Open {
    pub(super) group: usize,
    /// Least regret first.
    pub(super) items: Vec<(usize, f64)>,
    /// Of the groups after it: the cost and noise of the picks, and the least cost.
    rest: Rest,
}

#[derive(Clone, Copy)]
struct Rest {
    cost: Cost,
    noise: u128,
    least: Cost,
}

pub(super) struct Layers<'a> {
    items: &'a Items,
    limits: &'a Cost,
    dual: &'a Dual,
    rounding: f64,
    /// Of these items the best known, if any is.
    pub(super) best: Option<Vec<usize>>,
    /// The least noise known, of these items or others.
    most: u128,
    pub(super) open: Vec<Open>,
    layers: Vec<Vec<State>>,
}

impl<'a> Layers<'a> {
    /// `most` is the noise of the best configuration known.
    pub(super) fn new(
        items: &'a Items,
        limits: &'a Cost,
        dual: &'a Dual,
        most: u128,
    ) -> Layers<'a> {
        let mut layers = Layers {
            items,
            limits,
            rounding: dual.rounding(items, limits),
            dual,
            most,
            best: None,
            open: Vec::new(),
            layers: Vec::new(),
        };
        let (mut noise, mut cost) = (0, items.base);
        for (group, choices) in items.groups.iter().enumerate() {
            let pick = layers.dual.picks[group];
            let regrets = (0..choices.len())
                .map(|item| (item, layers.dual.regret(choices, pick, item)))
                .filter(|&(item, regret)| item == pick || layers.may_be_best(regret));
            let mut left: Vec<(usize, f64)> = regrets.collect();
            if left.len() == 1 {
                noise += choices[pick].noise;
                cost = add(&cost, &choices[pick].cost);
                continue;
            }
            left.sort_by(|a, b| a.1.total_cmp(&b.1));
            let rest = Rest { cost: [0.; DIMS], noise: 0, least: [0.; DIMS] };
            layers.open.push(Open { group, items: left, rest });
        }
        layers.open.sort_by(|a, b| a.items[1].1.total_cmp(&b.items[1].1));
        layers.sum_rests();
        layers.layers.push(vec![State { noise, cost, regret: 0., parent: 0, item: 0 }]);
        layers
    }

    fn sum_rests(&mut self) {
        let mut rest = Rest { cost: [0.; DIMS], noise: 0, least: [0.; DIMS] };
        for open in self.open.iter_mut().rev() {
            open.rest = rest;
            let choices = &self.items.groups[open.group];
            let pick = &choices[self.dual.picks[open.group]];
            let least = |dim: usize| {
                let costs = open.items.iter().map(|&(item, _)| choices[item].cost[dim]);
                costs.fold(f64::INFINITY, f64::min)
            };
            rest = Rest {
                cost: add(&rest.cost, &pick.cost),
                noise: rest.noise + pick.noise,
                least: add(&rest.least, &std::array::from_fn(least)),
            };
        }
    }

    pub(super) fn may_be_best(&self, regret: f64) -> bool {
        self.dual.value + regret - self.rounding <= self.most as f64 * (1. + 1e-12)
    }

    /// Of all that may be as good as what is known the best, if any; `None` if it takes
    /// more than `most_states` partial choices at once.
    pub(super) fn run(&mut self, most_states: usize) -> Option<Option<Vec<usize>>> {
        for depth in 0..self.open.len() {
            self.extend(depth);
            if most_states < self.layers[depth + 1].len() {
                return None;
            }
        }
        Some(self.last())
    }

    /// Adds the items of one more group to all states.
    fn extend(&mut self, depth: usize) {
        let Open { group, items, rest } = &self.open[depth];
        let choices = &self.items.groups[*group];
        let mut states = Vec::new();
        let mut better: Option<State> = None;
        let mut most = self.most;
        for (parent, state) in self.layers[depth].iter().enumerate() {
            for &(item, regret) in items {
                let Item { noise, cost, .. } = &choices[item];
                let state = State {
                    noise: state.noise + noise,
                    cost: add(&state.cost, cost),
                    regret: state.regret + regret,
                    parent,
                    item,
                };
                if !is_within(&add(&state.cost, &rest.least), self.limits) {
                    continue;
                }
                let completed = state.noise + rest.noise;
                if completed < most && is_within(&add(&state.cost, &rest.cost), self.limits) {
                    (most, better) = (completed, Some(state));
                }
                states.push(state);
            }
        }
        if let Some(state) = better {
            self.most = most;
            self.best = Some(self.picks(depth, &state));
        }
        states.retain(|state| self.may_be_best(state.regret));
        self.layers.push(self.undominated(depth, states));
    }

    /// The states that no other is at least as good as.
    fn undominated(&self, depth: usize, mut states: Vec<State>) -> Vec<State> {
        states.sort_unstable_by(|a, b| {
            by_cost(a, b).then(a.noise.cmp(&b.noise)).then_with(|| self.in_order(depth, a, b))
        });
        // Those before are no dearer in the first cost, so only the others are looked at.
        let mut front: Vec<State> = Vec::new();
        let is_no_worse = |a: &State, b: &State| {
            a.noise <= b.noise && a.cost[1..].iter().zip(&b.cost[1..]).all(|(a, b)| a <= b)
        };
        states.retain(|state| {
            if front.iter().rev().any(|before| is_no_worse(before, state)) {
                return false;
            }
            front.retain(|before| !is_no_worse(state, before));
            front.push(*state);
            true
        });
        states
    }

    /// Lexicographic order of the choices that led to two states after group `depth`.
    fn in_order(&self, depth: usize, a: &State, b: &State) -> Ordering {
        let mut first = (usize::MAX, Ordering::Equal);
        let (mut a, mut b) = (a, b);
        for depth in (0..=depth).rev() {
            let group = self.open[depth].group;
            if a.item != b.item && group < first.0 {
                first = (group, a.item.cmp(&b.item));
            }
            if a.parent == b.parent {
                break;
            }
            (a, b) = (&self.layers[depth][a.parent], &self.layers[depth][b.parent]);
        }
        first.1
    }

    /// A state after group `depth`, with the picks for all that is still open.
    fn picks(&self, depth: usize, state: &State) -> Vec<usize> {
        let mut picks = self.dual.picks.clone();
        let mut state = state;
        for depth in (0..=depth).rev() {
            picks[self.open[depth].group] = state.item;
            state = &self.layers[depth][state.parent];
        }
        picks
    }

    fn last(&self) -> Option<Vec<usize>> {
        let depth = self.open.len();
        let within = self.layers[depth].iter().filter(|state| is_within(&state.cost, self.limits));
        let order = |a: &&State, b: &&State| a.noise.cmp(&b.noise).then(by_cost(a, b));
        let state = within.min_by(order)?;
        Some(if depth == 0 { self.dual.picks.clone() } else { self.picks(depth - 1, state) })
    }
}

fn by_cost(a: &State, b: &State) -> Ordering {
    let costs = a.cost.iter().zip(&b.cost);
    costs.map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}
