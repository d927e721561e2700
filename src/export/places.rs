//! Where activations of different widths meet, for people: what the cost `conversions` counts.

use crate::graph::ValueId;
use crate::pipeline::Configured;
use crate::quant::Bits;

/// A unit whose output has another width than what it reads first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversionPlace {
    /// What is read.
    pub tensor: String,
    /// The first node of the unit.
    pub node: String,
    pub from: Bits,
    pub to: Bits,
}

/// All of them, in the order of the model.
pub fn conversion_places(net: &Configured) -> Vec<ConversionPlace> {
    let (graph, placement) = (&net.graph, &net.placement);
    let bits = |value: ValueId| net.activations.get(&value).map_or(Bits::FLOAT, |e| e.bits);
    let place = |unit: &crate::graph::patterns::Unit| {
        let read = unit.nodes.iter().flat_map(|&id| placement.reads(graph, id)).next()?;
        let made = placement.root(unit.output).filter(|&root| root == unit.output)?;
        (bits(read) != bits(made)).then(|| ConversionPlace {
            tensor: graph.value_name(read).to_owned(),
            node: graph.node(unit.nodes[0]).name.clone(),
            from: bits(read),
            to: bits(made),
        })
    };
    placement.units.iter().filter_map(place).collect()
}
