//! Biases that can be corrected: a layer without one gets one of zeros, and one that others have too gets
//! its own.

use crate::graph::{Graph, NodeId, Rewrite, Types};
use crate::quant::rounding::layer::matrices;
use crate::tensor::{DType, Tensor};

/// The same network, where Conv, ConvTranspose and Gemm with a constant weight have a bias that no one
/// else reads.
pub fn with_own_biases(graph: Graph, types: &Types) -> Graph {
    let mut n_reads = vec![0_usize; graph.n_values()];
    let read = graph.nodes().flat_map(|(_, node)| node.present_inputs());
    read.for_each(|(_, id)| n_reads[id.index()] += 1);
    let ids: Vec<NodeId> = graph.nodes().map(|(id, _)| id).collect();
    let mut rewrite = Rewrite::new(graph);
    for id in ids {
        let graph = rewrite.graph();
        let Some((position, n_channels)) = place(graph, types, id) else { continue };
        let node = graph.node(id);
        let bias = match node.input(position) {
            None => Tensor::full(&[n_channels], 0_f32),
            Some(bias) if 1 < n_reads[bias.index()] || graph.is_output(bias) => {
                let Some(constant) = graph.constant(bias) else { continue };
                constant.tensor().clone()
            }
            Some(_) => continue,
        };
        let name = format!("{}.bias", node.name);
        let bias = rewrite.constant(&name, bias);
        rewrite.set_input(id, position, bias);
    }
    rewrite.finish()
}

/// Where a layer with a constant weight takes its bias, and how many channels it makes.
fn place(graph: &Graph, types: &Types, id: NodeId) -> Option<(usize, usize)> {
    let node = graph.node(id);
    let (role, lowering) = types
        .with_inputs(node, |inputs| (node.operator.quant(inputs), node.operator.lower(inputs)))?;
    let [weight] = role.weights.as_slice() else { return None };
    let constant = graph.constant(node.input(weight.input)?)?;
    let matrices = matrices(&lowering?, weight.input)?;
    let is_float = constant.ty().dtype == DType::F32;
    is_float.then_some((role.bias?, matrices.groups * matrices.rows))
}
