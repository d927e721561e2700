//! `conversions`: how often activations of different widths meet; `conversion-cost`: what the target
//! asks for that.
//!
//! Converted is the output of a unit that has another width than what the unit reads first. Two
//! neighbors of the same width need no conversion, however wide they are: so these costs rise where a
//! group between two others goes down alone, and fall when the others follow.

use crate::cost::{CostModel, Metric, Unit};
use crate::graph::patterns::Unit as Computed;
use crate::graph::{Graph, Types};
use crate::quant::{Candidate, ConversionPrice, Placement};

pub(super) const NUMBER: Metric = Metric {
    name: "conversions",
    doc: "units whose output has another width than what they read; may rise where bits fall",
    unit: Unit::Plain { most: f64::INFINITY },
    is_sum: false,
    needs_sizes: false,
    of: |model, candidates| Some(model.conversions(candidates) as f64),
};

pub(super) const PRICE: Metric = Metric {
    name: "conversion-cost",
    doc: "what the target asks for conversions, in its unit; may rise where bits fall",
    unit: Unit::Plain { most: f64::INFINITY },
    is_sum: false,
    needs_sizes: true,
    of: |model, candidates| model.conversion_cost(candidates),
};

/// Where the width of a unit's output meets that of what it reads first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seam {
    /// The groups of both.
    read: usize,
    made: usize,
    /// Of the output.
    elements: u64,
}

impl CostModel<'_> {
    /// The same for a target with these prices.
    pub fn with_prices<'p>(self, prices: &'p [ConversionPrice]) -> CostModel<'p>
    where
        Self: 'p,
    {
        CostModel { prices, ..self }
    }

    pub fn conversions(&self, candidates: &[Candidate]) -> u64 {
        self.converted(candidates).count() as u64
    }

    /// In the target's own unit; `None` where it has no prices.
    pub fn conversion_cost(&self, candidates: &[Candidate]) -> Option<f64> {
        let price = |seam: &Seam| {
            let [from, to] = [seam.read, seam.made].map(|group| candidates[group].activation);
            let price = self.prices.iter().find(|price| price.is_for(from, to));
            price.map_or(0., |price| price.of(seam.elements))
        };
        (!self.prices.is_empty()).then(|| self.converted(candidates).map(price).sum())
    }

    fn converted(&self, candidates: &[Candidate]) -> impl Iterator<Item = &Seam> {
        let bits = |group: usize| candidates[group].activation;
        self.seams.iter().filter(move |seam| bits(seam.read) != bits(seam.made))
    }
}

/// One for every unit that reads and makes what is rounded.
pub(super) fn seams(
    graph: &Graph,
    types: &Types,
    placement: &Placement,
    group_of: &[Option<usize>],
) -> Vec<Seam> {
    let seam = |unit: &Computed| {
        let reads = unit.nodes.iter().flat_map(|&id| placement.reads(graph, id));
        let read = reads.map(|value| group_of[value.index()]).next()??;
        let made = group_of[unit.output.index()]?;
        let elements = types.get(unit.output).map_or(0, |ty| ty.len() as u64);
        let is_rounded = placement.root(unit.output) == Some(unit.output);
        is_rounded.then_some(Seam { read, made, elements })
    };
    placement.units.iter().filter_map(seam).collect()
}
