//! Where activations of different widths meet: what the cost `conversions` counts, by place.

use crate::artifact::Conversion;
use crate::graph::patterns::Unit;
use crate::graph::{Graph, ValueId};
use crate::pipeline::Configured;
use crate::quant::{Bits, Placement};

/// The units whose output has another width than what they read first, in the order of the model;
/// `bits` are those of an activation that is rounded.
pub(super) fn conversions(
    graph: &Graph,
    placement: &Placement,
    bits: impl Fn(ValueId) -> Bits,
) -> Vec<Conversion> {
    let place = |unit: &Unit| {
        let read = unit.nodes.iter().flat_map(|&id| placement.reads(graph, id)).next()?;
        let made = placement.root(unit.output).filter(|&root| root == unit.output)?;
        (bits(read) != bits(made)).then(|| Conversion {
            node: graph.node(unit.nodes[0]).name.clone(),
            reads: graph.value_name(read).to_owned(),
            makes: graph.value_name(made).to_owned(),
            from_bits: bits(read),
            to_bits: bits(made),
        })
    };
    placement.units.iter().filter_map(place).collect()
}

impl Configured {
    /// Where activations of different widths meet.
    pub fn conversions(&self) -> Vec<Conversion> {
        let bits = |value| self.activations.get(&value).map_or(Bits::FLOAT, |e| e.bits);
        conversions(&self.graph, &self.placement, bits)
    }
}
