//! Cross-layer equalization (Nagel et al. 2019, arXiv 1906.04721): channels between two layers are scaled
//! so that a channel has the same range in the weights that make it and in those that read it.
//!
//! For `W2 f(W1 x + b1)` with `f` proportional to its input, `W2 S f(S^-1 W1 x + S^-1 b1)` is the
//! same function. With `r1` and `r2` the ranges of a channel in `W1` and `W2`, the best factor for
//! weights with one scale in all is `s = sqrt(r1 / r2)`, found for all links of a network in turn until
//! nothing moves: so a depthwise layer between two others ends with the three ranges equal. A channel
//! without a range stays as it is.
//!
//! Unlike there, no factor is further than [`MOST`] from 1: the range of an activation is what its largest
//! channel has, and a channel with next to no weights would blow it up. A Clip from 0 to a bound gives way
//! to a Relu and a Min with a bound for each channel, as the network would be another one without the
//! bound. Biases are not absorbed, which holds only approximately.

mod layer;
mod link;
mod solve;
#[cfg(test)]
mod tests;

use crate::graph::{Graph, NewNode, NodeId, Rewrite, Types, ValueId, drop_dead_nodes};
use crate::ops::OpError;
use crate::quant::equalize::layer::Layer;
use crate::quant::equalize::link::links;
use crate::quant::equalize::solve::factors;
use crate::tensor::Tensor;

/// The largest factor; its inverse is the smallest.
const MOST: f64 = 8.;

/// The same network with equalized channels; what it puts out differs by roundings of floats only.
/// `types` may be those of any sizes of free dimensions.
///
/// # Errors
/// If a node that takes the place of a Clip cannot be made.
pub fn equalize(graph: Graph, types: &Types) -> Result<Graph, OpError> {
    let layers = Layer::all(&graph, types);
    let links = links(&graph, types, &layers);
    let factors = factors(&graph, &layers, &links);
    let mut rewrite = Rewrite::new(graph);
    for (index, layer) in layers.iter().enumerate() {
        let of = |found: Option<usize>| found.map(|link| &factors[link][..]);
        let makes = of(links.iter().position(|link| link.from == index));
        let reads = of(links.iter().position(|link| link.to == index));
        layer.scale(&mut rewrite, reads, makes);
    }
    for (link, factors) in links.iter().zip(&factors) {
        for &clip in &link.clips {
            bound_channels(&mut rewrite, types, clip, factors)?;
        }
    }
    let mut graph = rewrite.finish();
    drop_dead_nodes(&mut graph);
    Ok(graph)
}

/// Replaces a Clip from 0 by a Relu and a Min.
fn bound_channels(
    rewrite: &mut Rewrite,
    types: &Types,
    clip: NodeId,
    factors: &[f64],
) -> Result<(), OpError> {
    let graph = rewrite.graph();
    let node = graph.node(clip);
    let (Some(x), Some(y), Some(most)) = (node.input(0), node.output(0), link::bound(graph, node))
    else {
        return Ok(());
    };
    if factors.iter().all(|&factor| factor == 1.) {
        return Ok(());
    }
    let rank = types.get(y).map_or(2, |ty| ty.shape.len());
    let shape: Vec<usize> = [factors.len()].into_iter().chain(vec![1; rank - 2]).collect();
    let bounds = factors.iter().map(|factor| (f64::from(most) / factor) as f32).collect();
    let (name, value) = (node.name.clone(), graph.value_name(y).to_owned());
    let readers: Vec<NodeId> = graph.readers()[y.index()].clone();
    let opset = node.opset;
    let node = |rewrite: &mut Rewrite, op_type, part: &str, inputs: &[ValueId]| {
        let (name, output) = (format!("{name}_{part}"), format!("{value}_{part}"));
        let (name, output) = (name.as_str(), output.as_str());
        rewrite.node(NewNode { domain: "", op_type, opset, attrs: &[], name, output }, inputs)
    };
    let relu = node(rewrite, "Relu", "relu", &[x])?;
    let bounds = rewrite.constant(&format!("{value}_bounds"), Tensor::from_vec(&shape, bounds));
    let min = node(rewrite, "Min", "min", &[relu, bounds])?;
    for reader in readers {
        rewrite.replace_reads(reader, y, min);
    }
    rewrite.replace_output(y, min, &format!("{value}_clip"));
    Ok(())
}
