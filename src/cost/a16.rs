//! `a16`: the share of activations, by elements, that are held at 16 bits or more.
//!
//! Counted are those that are rounded; what stays float in any case is no part of it. "Or more"
//! because 32 bits are no less of a burden, and the share must not rise where bits fall.

use crate::cost::{CostModel, Metric, Unit};
use crate::graph::{Types, ValueId};
use crate::quant::{Candidate, Group, Groups};

pub(super) const METRIC: Metric = Metric {
    name: "a16",
    doc: "share of the activations' elements that have 16 bits or more",
    unit: Unit::Plain { most: 1. },
    is_sum: true,
    needs_sizes: true,
    of: |model, candidates| Some(model.a16_share(candidates)),
};

/// By group the elements of its activations.
pub(super) fn elements(types: &Types, groups: &Groups) -> Vec<u64> {
    let len = |&id: &ValueId| types.get(id).map_or(0, |ty| ty.len() as u64);
    let of_group = |group: &Group| group.activations.iter().map(len).sum();
    groups.groups.iter().map(of_group).collect()
}

impl CostModel<'_> {
    pub fn a16_share(&self, candidates: &[Candidate]) -> f64 {
        let all: u64 = self.elements.iter().sum();
        let pairs = self.elements.iter().zip(candidates);
        let wide = pairs.filter(|(_, candidate)| 16 <= candidate.activation.get());
        let wide: u64 = wide.map(|(elements, _)| elements).sum();
        if all == 0 { 0. } else { wide as f64 / all as f64 }
    }
}
