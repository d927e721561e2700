//! [`Layer`]: a weight that is multiplied with patches of an activation.
//!
//! Such are the weights of Conv (grouped and depthwise too), ConvTranspose, Gemm and MatMul. Embedding
//! tables, weights of recurrent and fused operators, and those that several operators use in different
//! ways are none, and stay rounded to nearest.

use crate::graph::{Graph, Node, NodeId, Types, ValueId};
use crate::kernels::{ConvShape, add_gram, unfold_patches, unfold_transposed};
use crate::ops::{Input, Inputs, Lowering, Product};
use crate::quant::{Placement, WeightSite};
use crate::tensor::{Tensor, TensorType};

/// How the elements of a weight make a matrix `[rows, depth]` for each group: element `[g, r, k]`
/// stands at `g * group_step + r * row_step + k / inner * outer_step + k % inner`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Matrices {
    pub(super) groups: usize,
    pub(super) rows: usize,
    pub(super) depth: usize,
    group_step: usize,
    row_step: usize,
    inner: usize,
    outer_step: usize,
}

impl Matrices {
    pub(super) fn position(&self, group: usize, row: usize, k: usize) -> usize {
        let within = k / self.inner * self.outer_step + k % self.inner;
        group * self.group_step + row * self.row_step + within
    }

    /// Bytes of the Gram matrices of all groups.
    pub(super) fn gram_bytes(&self) -> usize {
        let elements = self.depth.saturating_mul(self.depth).saturating_mul(self.groups);
        elements.saturating_mul(size_of::<f64>())
    }
}

/// A weight of the placement, with the nodes that multiply it.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// Position among the placement's weights.
    pub(super) site: usize,
    pub(super) matrices: Matrices,
    uses: Vec<Use>,
}

#[derive(Debug, Clone, Copy)]
struct Use {
    node: NodeId,
    activation: ValueId,
    /// Of the weight among the node's inputs, 0 or 1.
    position: usize,
}

impl Layer {
    /// Every weight that is one.
    pub(super) fn all(graph: &Graph, types: &Types, placement: &Placement) -> Vec<Layer> {
        let sites = placement.weights.iter().enumerate();
        sites.filter_map(|(index, site)| Layer::new(graph, types, index, site)).collect()
    }

    fn new(graph: &Graph, types: &Types, index: usize, site: &WeightSite) -> Option<Layer> {
        let mut layer: Option<Layer> = None;
        for &id in &site.nodes {
            let node = graph.node(id);
            let position = node.inputs.iter().position(|&input| input == Some(site.value))?;
            let activation = node.input(1_usize.checked_sub(position)?)?;
            let lowering = types.with_inputs(node, |inputs| node.operator.lower(inputs))??;
            let matrices = matrices(&lowering, position)?;
            let used = Use { node: id, activation, position };
            match &mut layer {
                None => layer = Some(Layer { site: index, matrices, uses: vec![used] }),
                Some(layer) if layer.matrices == matrices => layer.uses.push(used),
                Some(_) => return None,
            }
        }
        layer
    }

    /// What it reads.
    pub(super) fn activations(&self) -> impl Iterator<Item = ValueId> {
        self.uses.iter().map(|used| used.activation)
    }

    /// Adds what one pass shows to the sums of all groups, `[groups, depth, depth]`; gives the number
    /// of patches of a group.
    pub(super) fn add(
        &self,
        graph: &Graph,
        value: &dyn Fn(ValueId) -> Option<Tensor>,
        sums: &mut [f64],
    ) -> u64 {
        let mut n = 0;
        for used in &self.uses {
            let Some(x) = value(used.activation) else { continue };
            let lowering = lowering(graph, graph.node(used.node), used, &x.ty());
            let (x, depth) = (x.slice::<f32>(), self.matrices.depth);
            let mut add = |group: usize, patches: &[f32]| {
                n += if group == 0 { patches.len() / depth.max(1) } else { 0 };
                add_gram(patches, depth, &mut sums[group * depth * depth..][..depth * depth]);
            };
            match lowering {
                Some(Lowering::Conv(shape)) => {
                    let per_group = x.len() / (shape.batch * shape.groups).max(1);
                    for (at, x) in x.chunks_exact(per_group.max(1)).enumerate() {
                        unfold_patches(&shape, x, &mut |patches| add(at % shape.groups, patches));
                    }
                }
                Some(Lowering::ConvTranspose(shape)) => {
                    let per_group = x.len() / (shape.batch * shape.groups).max(1);
                    for (at, x) in x.chunks_exact(per_group.max(1)).enumerate() {
                        add(at % shape.groups, &unfold_transposed(&shape, x));
                    }
                }
                Some(Lowering::Product(product)) => {
                    unfold_product(&product, used.position, x, &mut add);
                }
                _ => {}
            }
        }
        n as u64
    }
}

fn lowering(graph: &Graph, node: &Node, used: &Use, x: &TensorType) -> Option<Lowering> {
    let ty = |id: ValueId| match graph.constant(id) {
        Some(constant) => Some(constant.ty().clone()),
        None => (id == used.activation).then(|| x.clone()),
    };
    let types: Vec<Option<TensorType>> = node.inputs.iter().map(|id| id.and_then(ty)).collect();
    let items: Vec<Option<Input<'_>>> =
        types.iter().map(|ty| ty.as_ref().map(|ty| Input { ty, value: None })).collect();
    node.operator.lower(&Inputs::new(&items[..node.n_operands], node.n_outputs()))
}

/// `None` where the input at `position` is no weight that makes matrices.
fn matrices(lowering: &Lowering, position: usize) -> Option<Matrices> {
    let taps = |shape: &ConvShape| shape.axes.iter().map(|axis| axis.kernel).product::<usize>();
    let matrices = match (lowering, position) {
        (Lowering::Conv(shape), 1) => {
            let (rows, depth) =
                (shape.c_out / shape.groups, shape.c_in / shape.groups * taps(shape));
            Matrices {
                groups: shape.groups,
                rows,
                depth,
                group_step: rows * depth,
                row_step: depth,
                inner: depth,
                outer_step: 0,
            }
        }
        (Lowering::ConvTranspose(shape), 1) => {
            let (rows, c_in) = (shape.c_out / shape.groups, shape.c_in / shape.groups);
            Matrices {
                groups: shape.groups,
                rows,
                depth: c_in * taps(shape),
                group_step: c_in * rows * taps(shape),
                row_step: taps(shape),
                inner: taps(shape),
                outer_step: rows * taps(shape),
            }
        }
        (Lowering::Product(product), _) => {
            let rows = if position == 0 { product.m } else { product.n };
            let groups = product.stack.iter().map(|pair| pair[position] + 1).max()?;
            // Whether the elements of a row lie side by side.
            let is_row_major = (position == 0) != product.is_transposed[position];
            Matrices {
                groups,
                rows,
                depth: product.k,
                group_step: rows * product.k,
                row_step: if is_row_major { product.k } else { 1 },
                inner: if is_row_major { product.k } else { 1 },
                outer_step: rows,
            }
        }
        _ => return None,
    };
    (0 < matrices.groups * matrices.rows * matrices.depth).then_some(matrices)
}

/// Columns of an activation's matrices, for every pair of the stack.
fn unfold_product(
    product: &Product,
    position: usize,
    x: &[f32],
    visit: &mut dyn FnMut(usize, &[f32]),
) {
    let other = 1 - position;
    let (n, depth) = (if other == 0 { product.m } else { product.n }, product.k);
    // Whether `x` is `[depth, n]` as it lies.
    let is_columns = (other == 1) != product.is_transposed[other];
    let mut columns = Vec::new();
    for pair in &product.stack {
        let x = &x[pair[other] * n * depth..][..n * depth];
        if is_columns {
            visit(pair[position], x);
            continue;
        }
        columns.clear();
        columns.extend((0..depth).flat_map(|k| x[k..].iter().step_by(depth.max(1))).copied());
        visit(pair[position], &columns);
    }
}
