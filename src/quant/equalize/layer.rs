//! [`Layer`]: a linear operator whose channels can be scaled.

use crate::graph::{Graph, Node, NodeId, Rewrite, Types, ValueId};
use crate::ops::Lowering;
use crate::quant::rounding::layer::{Matrices, matrices};
use crate::tensor::{DType, Tensor};

const W: usize = 1;
const B: usize = 2;

/// Conv, ConvTranspose, Gemm or the product of two matrices, with channels along axis 1 of what it
/// reads and makes, and a weight that no one else reads.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) node: NodeId,
    pub(super) weight: ValueId,
    bias: Option<ValueId>,
    matrices: Matrices,
    /// Input channels of a group.
    n_read: usize,
}

impl Layer {
    pub(super) fn all(graph: &Graph, types: &Types) -> Vec<Layer> {
        let mut n_reads = vec![0_usize; graph.n_values()];
        let read = graph.nodes().flat_map(|(_, node)| node.present_inputs());
        read.for_each(|(_, id)| n_reads[id.index()] += 1);
        graph.outputs().iter().for_each(|id| n_reads[id.index()] += 1);
        let nodes = graph.nodes();
        nodes.filter_map(|(id, node)| Layer::new(graph, types, id, node, &n_reads)).collect()
    }

    fn new(
        graph: &Graph,
        types: &Types,
        id: NodeId,
        node: &Node,
        n_reads: &[usize],
    ) -> Option<Layer> {
        let lowering = types.with_inputs(node, |inputs| node.operator.lower(inputs))??;
        let n_read = match &lowering {
            Lowering::Conv(shape) | Lowering::ConvTranspose(shape) => shape.c_in / shape.groups,
            Lowering::Product(product) if !product.is_transposed[0] => product.k,
            _ => return None,
        };
        let rank = |id: ValueId| types.get(id).map(|ty| ty.shape.len());
        let is_matrix = |position| Some(rank(node.input(position)?)? == 2);
        if matches!(lowering, Lowering::Product(_)) && !(is_matrix(0)? && is_matrix(W)?) {
            return None;
        }
        let matrices = matrices(&lowering, W)?;
        let n_made = matrices.groups * matrices.rows;
        let floats =
            |id: ValueId| graph.constant(id).filter(|constant| constant.ty().dtype == DType::F32);
        let weight =
            node.input(W).filter(|&id| n_reads[id.index()] == 1 && floats(id).is_some())?;
        let bias = node.input(B);
        let is_per_channel = |id: ValueId| {
            floats(id).is_some_and(|constant| {
                constant.ty().len() == n_made && constant.ty().shape.last() == Some(&n_made)
            })
        };
        let is_layer = graph.constant(node.input(0)?).is_none()
            && 0 < n_read
            && bias.is_none_or(is_per_channel)
            && node.present_outputs().count() == 1;
        is_layer.then_some(Layer { node: id, weight, bias, matrices, n_read })
    }

    /// Channels that it makes.
    pub(super) fn n_made(&self) -> usize {
        self.matrices.groups * self.matrices.rows
    }

    /// Channels that it reads.
    pub(super) fn n_read(&self) -> usize {
        self.matrices.groups * self.n_read
    }

    /// Of every element of the weight the channel made, the channel read, and its position.
    fn elements(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let Matrices { groups, rows, depth, .. } = self.matrices;
        let n_taps = depth / self.n_read;
        (0..groups * rows).flat_map(move |made| {
            let (group, row) = (made / rows, made % rows);
            (0..depth).map(move |k| {
                let read = group * self.n_read + k / n_taps;
                (made, read, self.matrices.position(group, row, k))
            })
        })
    }

    /// The largest magnitude of all taps from one channel to another: channel made, channel read,
    /// magnitude.
    pub(super) fn magnitudes(&self, graph: &Graph) -> Vec<(usize, usize, f64)> {
        let weight = graph.constant(self.weight).expect("a layer's weight is one").tensor();
        let weight = weight.slice::<f32>();
        let mut found: Vec<(usize, usize, f64)> = Vec::new();
        for (made, read, position) in self.elements() {
            let magnitude = f64::from(weight[position].abs());
            match found.last_mut() {
                Some(last) if (last.0, last.1) == (made, read) => last.2 = last.2.max(magnitude),
                _ => found.push((made, read, magnitude)),
            }
        }
        found
    }

    /// Multiplies the weight by the factors of what is read, divides weight and bias by those of what
    /// is made.
    pub(super) fn scale(
        &self,
        rewrite: &mut Rewrite,
        reads: Option<&[f64]>,
        makes: Option<&[f64]>,
    ) {
        if reads.is_none() && makes.is_none() {
            return;
        }
        let factor = |factors: Option<&[f64]>, channel: usize| {
            factors.map_or(1., |factors| factors[channel * factors.len() / self.n_read()])
        };
        let mut weight = self.tensor(rewrite, self.weight);
        let elements = weight.slice_mut::<f32>();
        for (made, read, position) in self.elements() {
            let scale = factor(reads, read) / makes.map_or(1., |factors| factors[made]);
            elements[position] = (f64::from(elements[position]) * scale) as f32;
        }
        rewrite.set_constant(self.weight, weight);
        let (Some(bias), Some(makes)) = (self.bias, makes) else { return };
        let mut scaled = self.tensor(rewrite, bias);
        let elements = scaled.slice_mut::<f32>().iter_mut().zip(makes);
        elements.for_each(|(b, factor)| *b = (f64::from(*b) / factor) as f32);
        // Other layers may have the same one.
        let name = format!("{}_equalized", rewrite.graph().value_name(bias));
        let own = rewrite.constant(&name, scaled);
        rewrite.replace_reads(self.node, bias, own);
    }

    fn tensor(&self, rewrite: &Rewrite, id: ValueId) -> Tensor {
        rewrite.graph().constant(id).expect("checked when the layer was found").tensor().clone()
    }
}
