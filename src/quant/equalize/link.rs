//! [`Link`]: two layers with nothing between them but what is proportional to its input.

use std::collections::BTreeMap;

use crate::graph::{Graph, Node, NodeId, Types, ValueId};
use crate::ops::Lowering;
use crate::quant::equalize::layer::Layer;

/// Min broadcasts from this opset on.
const OPSET_OF_BOUNDS: u16 = 8;

/// What one layer makes and one other reads, by their numbers.
#[derive(Debug, PartialEq)]
pub(super) struct Link {
    pub(super) from: usize,
    pub(super) to: usize,
    /// Clips on the way.
    pub(super) clips: Vec<NodeId>,
}

/// All of them, in the order of the layers they begin with.
pub(super) fn links(graph: &Graph, types: &Types, layers: &[Layer]) -> Vec<Link> {
    let by_node = layers.iter().enumerate().map(|(index, layer)| (layer.node, index));
    let walk = Walk { graph, types, readers: graph.readers(), layers, by_node: by_node.collect() };
    (0..layers.len()).filter_map(|from| walk.link(from)).collect()
}

/// The upper bound of a Clip from 0.
pub(super) fn bound(graph: &Graph, node: &Node) -> Option<f32> {
    let scalar = |position: usize| match graph.constant(node.input(position)?)?.tensor() {
        tensor if tensor.len() == 1 => tensor.try_slice::<f32>().map(|values| values[0]),
        _ => None,
    };
    let is_clip = node.op_type == "Clip" && node.domain.is_empty();
    let fits = is_clip && OPSET_OF_BOUNDS <= node.opset && scalar(1) == Some(0.);
    scalar(2).filter(|&most| fits && 0. < most && most.is_finite())
}

struct Walk<'a> {
    graph: &'a Graph,
    types: &'a Types,
    readers: Vec<Vec<NodeId>>,
    layers: &'a [Layer],
    by_node: BTreeMap<NodeId, usize>,
}

impl Walk<'_> {
    fn link(&self, from: usize) -> Option<Link> {
        let mut value = self.graph.node(self.layers[from].node).output(0)?;
        let mut n_channels = self.layers[from].n_made();
        let mut clips = Vec::new();
        loop {
            let (id, node) = self.only_reader(value)?;
            if let Some(&to) = self.by_node.get(&id) {
                let fits = node.input(0) == Some(value) && self.layers[to].n_read() == n_channels;
                return fits.then_some(Link { from, to, clips });
            }
            let next = node.output(0).filter(|_| node.present_outputs().count() == 1)?;
            let is_first = node.input(0) == Some(value);
            if is_first
                && bound(self.graph, node).is_some()
                && n_channels == self.layers[from].n_made()
            {
                clips.push(id);
            } else if node.operator.proportional_to().and_then(|at| node.input(at)) != Some(value) {
                n_channels = self.regrouped(node, value, next, n_channels).filter(|_| is_first)?;
            }
            value = next;
        }
    }

    /// The node that alone reads a value, once.
    fn only_reader(&self, value: ValueId) -> Option<(NodeId, &Node)> {
        let &[id] = self.readers[value.index()].as_slice() else { return None };
        let node = self.graph.node(id);
        let n_reads = node.present_inputs().filter(|(_, input)| *input == value).count();
        (n_reads == 1 && !self.graph.is_output(value)).then_some((id, node))
    }

    /// How many channels there are along axis 1 of the same elements in another shape, if each of them
    /// has elements of one of those before, and as many of each.
    fn regrouped(&self, node: &Node, from: ValueId, to: ValueId, n: usize) -> Option<usize> {
        let lowering = self.types.with_inputs(node, |inputs| node.operator.lower(inputs))??;
        let [before, after] = [from, to].map(|id| self.types.get(id).map(|ty| &ty.shape[..]));
        let (&[batch, ..], &[batch_after, n_after, ..]) = (before?, after?) else { return None };
        let fits = lowering == Lowering::View && batch == batch_after && 0 < n && n_after % n == 0;
        fits.then_some(n_after)
    }
}
