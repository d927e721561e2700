//! [`Layer`]: a weight that is multiplied with patches of an activation.
//!
//! Such are the weights of Conv (grouped and depthwise too), ConvTranspose, Gemm and MatMul. Embedding
//! tables, weights of recurrent and fused operators, and those that several operators use in different
//! ways are none, and stay rounded to nearest.

use crate::graph::{Graph, Node, NodeId, Types, ValueId};
use crate::kernels::{ConvShape, add_gram, unfold_patches, unfold_transposed};
use crate::ops::{Input, Inputs, Lowering, Product};
use crate::quant::{Placement, WeightSite, node_macs};
use crate::tensor::{Tensor, TensorType};

/// How the elements of a weight make a matrix `[rows, depth]` for each group: element `[g, r, k]`
/// stands at `g * group_step + r * row_step + k / inner * outer_step + k % inner`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::quant) struct Matrices {
    pub(in crate::quant) groups: usize,
    pub(in crate::quant) rows: usize,
    pub(in crate::quant) depth: usize,
    group_step: usize,
    row_step: usize,
    inner: usize,
    outer_step: usize,
}

impl Matrices {
    pub(in crate::quant) fn position(&self, group: usize, row: usize, k: usize) -> usize {
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
pub(in crate::quant) struct Layer {
    /// Position among the placement's weights.
    pub(in crate::quant) site: usize,
    pub(in crate::quant) matrices: Matrices,
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
    pub(in crate::quant) fn all(graph: &Graph, types: &Types, placement: &Placement) -> Vec<Layer> {
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
    pub(in crate::quant) fn activations(&self) -> impl Iterator<Item = ValueId> {
        self.uses.iter().map(|used| used.activation)
    }

    /// Multiply-accumulates of adding up one pass.
    pub(super) fn gram_macs(&self, graph: &Graph, types: &Types) -> u64 {
        let Matrices { rows, depth, .. } = self.matrices;
        let macs: u64 = self.uses.iter().map(|used| node_macs(types, graph.node(used.node))).sum();
        macs / rows as u64 * depth as u64
    }

    /// Multiply-accumulates of multiplying all rows with their Gram matrices.
    pub(super) fn product_macs(&self) -> u64 {
        let Matrices { groups, rows, depth, .. } = self.matrices;
        [groups, rows, depth, depth].iter().fold(1, |all, &n| all * n as u64)
    }

    /// Whether what a node adds to the products is added to them as they are.
    pub(in crate::quant) fn is_unscaled(&self, graph: &Graph, types: &Types) -> bool {
        self.uses.iter().all(|used| {
            let node = graph.node(used.node);
            let lowering = types.with_inputs(node, |inputs| node.operator.lower(inputs)).flatten();
            match lowering {
                Some(Lowering::Product(product)) => {
                    product.alpha == 1. && product.beta.is_none_or(|beta| beta == 1.)
                }
                lowering => lowering.is_some(),
            }
        })
    }

    /// Adds what one pass shows to the sums of all groups, `[groups, depth, depth]`; gives the number
    /// of patches of a group.
    pub(super) fn add(
        &self,
        graph: &Graph,
        value: &dyn Fn(ValueId) -> Option<Tensor>,
        sums: &mut [f64],
    ) -> u64 {
        let depth = self.matrices.depth;
        self.visit_patches(graph, value, &mut |group, patches| {
            add_gram(patches, depth, &mut sums[group * depth * depth..][..depth * depth]);
        })
    }

    /// Shows `visit` the patches that the groups see in one pass, `[depth, n]` at a time; gives the
    /// number of patches of a group.
    pub(in crate::quant) fn visit_patches(
        &self,
        graph: &Graph,
        value: &dyn Fn(ValueId) -> Option<Tensor>,
        visit: &mut dyn FnMut(usize, &[f32]),
    ) -> u64 {
        let mut n = 0;
        for used in &self.uses {
            let Some(x) = value(used.activation) else { continue };
            let lowering = lowering(graph, graph.node(used.node), used, &x.ty());
            let (x, depth) = (x.slice::<f32>(), self.matrices.depth);
            let mut add = |group: usize, patches: &[f32]| {
                n += if group == 0 { patches.len() / depth.max(1) } else { 0 };
                visit(group, patches);
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
pub(in crate::quant) fn matrices(lowering: &Lowering, position: usize) -> Option<Matrices> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::{Net, evaluate, inputs, net, scattered, types};
    use crate::ops::AttrValue::{Int, Ints};
    use crate::quant::Target;

    fn layers(graph: &Graph) -> Vec<Layer> {
        let (types, target) = (types(graph), Target::built_in("generic").unwrap());
        Layer::all(graph, &types, &Placement::new(graph, &types, &target))
    }

    /// The sums tell how much the outputs change with the weight `w`.
    #[track_caller]
    fn check(shape: &[usize], n: u64, network: impl Fn(Net) -> Net, x: &[usize]) {
        let weights = [7, 8].map(|seed| scattered(shape, seed));
        let graphs =
            weights.clone().map(|w| network(net(&[("x", x)]).constant("w", w)).outputs(&["y"]));
        let layers = layers(&graphs[0]);
        let [layer] = &layers[..] else { panic!("{} layers", layers.len()) };
        let values = inputs(&graphs[0]);
        let Matrices { groups, rows, depth, .. } = layer.matrices;
        assert_eq!(groups * rows * depth, weights[0].len());
        let mut sums = vec![0.; layer.matrices.gram_bytes() / 8];
        assert_eq!(layer.add(&graphs[0], &|_| Some(values[0].clone()), &mut sums), n);
        let [a, b] = weights.each_ref().map(|w| w.slice::<f32>());
        let mut told = 0.;
        for (group, sums) in sums.chunks(depth * depth).enumerate() {
            for row in 0..rows {
                let difference = |k| {
                    f64::from(a[layer.matrices.position(group, row, k)])
                        - f64::from(b[layer.matrices.position(group, row, k)])
                };
                let d: Vec<f64> = (0..depth).map(difference).collect();
                let terms = sums.iter().enumerate();
                told += terms.map(|(at, s)| s * d[at / depth] * d[at % depth]).sum::<f64>();
            }
        }
        let [a, b] = graphs.each_ref().map(|graph| evaluate(graph, &values).remove(0));
        let pairs = a.slice::<f32>().iter().zip(b.slice::<f32>());
        let found: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
        // Outputs and sums are rounded to f32.
        assert!((told - found).abs() < 1e-5 * found, "{told} {found}");
    }

    #[test]
    fn convolutions() {
        let conv =
            |net: Net| net.node("Conv", &["x", "w"], "y").attr("pads", Ints(vec![1, 0, 2, 1]));
        check(&[6, 2, 3, 3], 2 * 8 * 5, |net| conv(net).attr("group", Int(2)), &[2, 4, 7, 6]);
        let strided = |net| conv(net).attr("group", Int(3)).attr("strides", Ints(vec![2, 3]));
        check(&[6, 1, 3, 3], 4 * 2, strided, &[1, 3, 7, 6]);
        check(&[5, 3, 1], 9, |net| net.node("Conv", &["x", "w"], "y"), &[1, 3, 9]);
    }

    #[test]
    fn transposed_convolutions() {
        let conv = |net: Net| net.node("ConvTranspose", &["x", "w"], "y").attr("group", Int(2));
        check(&[4, 3, 3, 2], 2 * 7 * 6, conv, &[2, 4, 5, 5]);
        let strided =
            |net| conv(net).attr("strides", Ints(vec![2, 3])).attr("pads", Ints(vec![1; 4]));
        check(&[4, 3, 3, 2], 9 * 12, strided, &[1, 4, 5, 5]);
    }

    #[test]
    fn products() {
        let gemm = |net: Net| net.node("Gemm", &["x", "w"], "y");
        check(&[5, 4], 3, gemm, &[3, 5]);
        check(&[4, 5], 3, |net| gemm(net).attr("transB", Int(1)), &[3, 5]);
        check(&[5, 4], 3, |net| gemm(net).attr("transA", Int(1)), &[5, 3]);
        let product = |net: Net| net.node("MatMul", &["x", "w"], "y");
        check(&[5, 4], 6, product, &[2, 3, 5]);
        check(&[2, 5, 4], 3, product, &[2, 3, 5]);
        check(&[4, 5], 6, |net| net.node("MatMul", &["w", "x"], "y"), &[2, 5, 3]);
    }

    #[test]
    fn what_is_no_layer() {
        let table = net(&[]).i64_input("x", &[3]).weight("w", &[9, 4]);
        let graph = table.node("Gather", &["w", "x"], "y").outputs(&["y"]);
        assert!(layers(&graph).is_empty());
        // Used in two ways.
        let shared = net(&[("x", &[4, 4])]).weight("w", &[4, 4]);
        let shared = shared.node("MatMul", &["x", "w"], "a").node("MatMul", &["w", "a"], "y");
        assert!(layers(&shared.outputs(&["y"])).is_empty());
    }
}
