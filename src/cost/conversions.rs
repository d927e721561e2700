//! `conversions`: how often activations of different widths meet.
//!
//! Counted are the units whose output has another width than what they read first. Two neighbors
//! of the same width need none, however wide they are: so this cost rises where a group between two
//! others goes down alone, and falls when the others follow.

use crate::cost::{CostModel, Metric, Unit};
use crate::graph::Graph;
use crate::graph::patterns::Unit as Computed;
use crate::quant::{Candidate, Placement};

pub(super) const METRIC: Metric = Metric {
    name: "conversions",
    doc: "units whose output has another width than what they read; may rise where bits fall",
    unit: Unit::Plain { most: f64::INFINITY },
    is_sum: false,
    of: |model, candidates| Some(model.conversions(candidates) as f64),
};

impl CostModel<'_> {
    pub fn conversions(&self, candidates: &[Candidate]) -> u64 {
        let bits = |group: usize| candidates[group].activation;
        self.seams.iter().filter(|(read, made)| bits(*read) != bits(*made)).count() as u64
    }
}

/// By unit: the groups of what it reads first and of what it makes.
pub(super) fn seams(
    graph: &Graph,
    placement: &Placement,
    group_of: &[Option<usize>],
) -> Vec<(usize, usize)> {
    let seam = |unit: &Computed| {
        let reads = unit.nodes.iter().flat_map(|&id| placement.reads(graph, id));
        let read = reads.map(|value| group_of[value.index()]).next()??;
        let made = group_of[unit.output.index()]?;
        (placement.root(unit.output) == Some(unit.output)).then_some((read, made))
    };
    placement.units.iter().filter_map(seam).collect()
}
