//! Simplification: what needs no input is computed once, an `If` with a known condition gives way
//! to its branch, what does nothing is dropped, and a BatchNormalization behind a linear operator is
//! folded into its weights.
//!
//! `BN(x) = scale * (x - mean) / sqrt(var + epsilon) + bias`, so with `a = scale / sqrt(var +
//! epsilon)` the weights of output channel c become `a_c w_c` and the bias `a_c (b_c - mean_c) +
//! bias_c`; in f64, rounded once.

use crate::graph::inline::inline_known_branches;
use crate::graph::{Constant, Graph, Node, NodeId, Value, ValueId};
use crate::ops::{self, AttrValue, Input, Inputs, NoBodies};
use crate::tensor::{DType, Tensor, TensorType};

/// A folded constant may not be larger than this and what it is made from, whichever is more.
const LARGEST_FOLDED_BYTES: usize = 16 << 20;

/// The same for its elements: those of a small type may be calculated in 8 bytes each.
const LARGEST_FOLDED_LEN: usize = LARGEST_FOLDED_BYTES / 4;

/// All folded constants together may be larger than the network's own by this.
const MOST_FOLDED_BYTES: usize = 256 << 20;

/// The same network with less to do; outputs differ by roundings only.
pub fn simplify(mut graph: Graph) -> Graph {
    let own = graph.values.iter().filter_map(|value| value.constant.as_ref());
    let own_bytes = own.map(|constant| constant.ty().size_bytes()).fold(0, usize::saturating_add);
    // A weight may go through several nodes on its way to where it is read.
    let mut room_bytes = own_bytes.saturating_mul(4).saturating_add(MOST_FOLDED_BYTES);
    fold_constants(&mut graph, &mut room_bytes);
    while inline_known_branches(&mut graph) {
        fold_constants(&mut graph, &mut room_bytes);
    }
    drop_identities(&mut graph);
    fold_batch_normalizations(&mut graph);
    drop_dead_nodes(&mut graph);
    graph
}

fn fold_constants(graph: &mut Graph, room_bytes: &mut usize) {
    for index in 0..graph.nodes.len() {
        if let Some(outputs) = evaluate_constant(graph, &graph.nodes[index], *room_bytes) {
            let made: usize = outputs.iter().map(Tensor::size_bytes).sum();
            *room_bytes = room_bytes.saturating_sub(made);
            let ids = graph.nodes[index].outputs.clone();
            for (id, tensor) in ids.into_iter().zip(outputs) {
                if let Some(id) = id {
                    graph.values[id.index()].constant = Some(Constant::from(tensor));
                }
            }
        }
    }
    let values = &graph.values;
    graph.nodes.retain(|node| {
        !node.present_outputs().all(|output| values[output.index()].constant.is_some())
    });
}

fn evaluate_constant(graph: &Graph, node: &Node, room_bytes: usize) -> Option<Vec<Tensor>> {
    if !node.bodies.is_empty() {
        return None;
    }
    let constants: Option<Vec<Option<&Constant>>> = node
        .inputs
        .iter()
        .map(|id| id.map(|id| graph.constant(id)).map_or(Some(None), |c| c.map(Some)))
        .collect();
    let constants = constants?;
    let size_before: usize = constants.iter().flatten().map(|c| c.ty().size_bytes()).sum();
    let len_before: usize = constants.iter().flatten().map(|c| c.ty().len()).sum();
    let types: Vec<Option<&TensorType>> = constants.iter().map(|c| c.map(Constant::ty)).collect();
    let items: Vec<Option<Input<'_>>> = constants
        .iter()
        .zip(&types)
        .map(|(c, ty)| Some(Input { ty: (*ty)?, value: Some((*c)?.tensor()) }))
        .collect();
    let inputs = Inputs::new(&items[..node.n_operands], node.n_outputs());
    let outputs = ops::infer(&*node.operator, &inputs).ok()?;
    let all = |of: fn(&TensorType) -> usize| outputs.iter().map(of).fold(0, usize::saturating_add);
    let fits = all(TensorType::span_bytes) <= LARGEST_FOLDED_BYTES.max(size_before).min(room_bytes)
        && all(TensorType::span) <= LARGEST_FOLDED_LEN.max(len_before);
    if !fits {
        return None;
    }
    ops::evaluate(&*node.operator, &inputs, &outputs, &mut NoBodies).ok()
}

/// `Identity` and `Dropout` whose mask no one reads; those that name an output of the graph stay.
fn drop_identities(graph: &mut Graph) {
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let is_identity = matches!(node.op_type.as_str(), "Identity" | "Dropout")
            && node.domain.is_empty()
            && node.present_outputs().count() == 1;
        let (Some(from), Some(to)) = (node.output(0), node.input(0)) else { continue };
        if is_identity && !graph.is_output(from) {
            replace_reads(graph, from, to);
        }
    }
}

fn replace_reads(graph: &mut Graph, from: ValueId, to: ValueId) {
    let inputs = graph.nodes.iter_mut().flat_map(|node| node.inputs.iter_mut());
    inputs.filter(|input| **input == Some(from)).for_each(|input| *input = Some(to));
}

/// Drops what no output needs.
pub fn drop_dead_nodes(graph: &mut Graph) {
    let mut is_live = vec![false; graph.values.len()];
    graph.outputs.iter().for_each(|output| is_live[output.index()] = true);
    let mut keep = vec![false; graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        if node.present_outputs().any(|output| is_live[output.index()]) {
            keep[index] = true;
            node.present_inputs().for_each(|(_, input)| is_live[input.index()] = true);
        }
    }
    let mut keep = keep.into_iter();
    graph.nodes.retain(|_| keep.next().expect("a flag for each node"));
}

fn fold_batch_normalizations(graph: &mut Graph) {
    let ids: Vec<NodeId> = graph.nodes().map(|(id, _)| id).collect();
    let mut dropped = Vec::new();
    for bn in ids {
        if let Some(fold) = plan_fold(graph, bn) {
            apply_fold(graph, fold);
            dropped.push(bn);
        }
    }
    let mut index = 0;
    graph.nodes.retain(|_| {
        index += 1;
        !dropped.contains(&NodeId::new(index - 1))
    });
}

/// Scale and shift per output channel, and where they go.
struct Fold {
    linear: NodeId,
    bn: NodeId,
    weight: Tensor,
    bias: Tensor,
}

const W: usize = 1;
const B: usize = 2;

/// The axis of a linear operator's weight that output channels run along.
fn output_channel_axis(node: &Node) -> Option<usize> {
    let int = |name: &str, default| match node.attr(name) {
        Some(AttrValue::Int(value)) => *value,
        _ => default,
    };
    let is_one = |name: &str| !matches!(node.attr(name), Some(AttrValue::Float(x)) if *x != 1.);
    match node.op_type.as_str() {
        "Conv" => Some(0),
        "ConvTranspose" if int("group", 1) == 1 => Some(1),
        "Gemm" if is_one("alpha") && is_one("beta") => {
            Some(if int("transB", 0) == 1 { 0 } else { 1 })
        }
        _ => None,
    }
}

fn plan_fold(graph: &Graph, bn: NodeId) -> Option<Fold> {
    let node = graph.node(bn);
    let is_bn = node.op_type == "BatchNormalization" && node.domain.is_empty();
    if !is_bn || node.present_outputs().count() != 1 {
        return None;
    }
    let x = node.input(0)?;
    let (linear, linear_node) =
        graph.nodes().find(|(_, candidate)| candidate.output(0) == Some(x))?;
    let is_read_elsewhere = graph.is_output(x)
        || graph.nodes().any(|(id, other)| id != bn && other.inputs.contains(&Some(x)));
    let axis = output_channel_axis(linear_node)?;
    if is_read_elsewhere {
        return None;
    }
    let constant = |id: Option<ValueId>| {
        let tensor = graph.constant(id?)?;
        (tensor.ty().dtype == DType::F32).then(|| tensor.tensor())
    };
    let weight = constant(linear_node.input(W))?;
    let channels = *weight.shape().get(axis)?;
    let params: Option<Vec<&Tensor>> = (1..=4).map(|i| constant(node.input(i))).collect();
    let params = params?;
    if params.iter().any(|param| param.len() != channels) {
        return None;
    }
    let bias = match linear_node.input(B) {
        None => vec![0.; channels],
        Some(id) => broadcast_bias(constant(Some(id))?, channels)?,
    };
    let epsilon = match node.attr("epsilon") {
        Some(AttrValue::Float(epsilon)) => f64::from(*epsilon),
        _ => 1e-5,
    };
    let params: Vec<&[f32]> = params.into_iter().map(Tensor::slice::<f32>).collect();
    let (factors, bias) = affine(&params, &bias, epsilon);
    Some(Fold {
        linear,
        bn,
        weight: scaled(weight, axis, &factors),
        bias: Tensor::from_vec(&[channels], bias),
    })
}

/// A bias as one number per channel: `[C]`, `[1, C]` or a single element.
fn broadcast_bias(bias: &Tensor, channels: usize) -> Option<Vec<f32>> {
    match bias.slice::<f32>() {
        [single] => Some(vec![*single; channels]),
        many if many.len() == channels && bias.shape().last() == Some(&channels) => {
            Some(many.to_vec())
        }
        _ => None,
    }
}

fn affine(params: &[&[f32]], bias: &[f32], epsilon: f64) -> (Vec<f64>, Vec<f32>) {
    let &[scale, shift, mean, variance] = params else { unreachable!("four parameters") };
    let factor = |c: usize| f64::from(scale[c]) / (f64::from(variance[c]) + epsilon).sqrt();
    let factors: Vec<f64> = (0..bias.len()).map(factor).collect();
    let folded = |c: usize| {
        let centered = f64::from(bias[c]) - f64::from(mean[c]);
        (factors[c] * centered + f64::from(shift[c])) as f32
    };
    let bias = (0..bias.len()).map(folded).collect();
    (factors, bias)
}

fn scaled(weight: &Tensor, axis: usize, factors: &[f64]) -> Tensor {
    let inner: usize = weight.shape()[axis + 1..].iter().product();
    let mut weight = weight.clone();
    if inner > 0 {
        for (block, elements) in weight.slice_mut::<f32>().chunks_mut(inner).enumerate() {
            let factor = factors[block % factors.len()];
            elements.iter_mut().for_each(|w| *w = (factor * f64::from(*w)) as f32);
        }
    }
    weight
}

fn apply_fold(graph: &mut Graph, fold: Fold) {
    let output = graph.node(fold.bn).output(0);
    let linear = fold.linear.index();
    let name = graph.nodes[linear].name.clone();
    let weight =
        replace_constant(graph, graph.nodes[linear].input(W), fold.weight, &name, "weight");
    let bias = replace_constant(graph, graph.nodes[linear].input(B), fold.bias, &name, "bias");
    let node = &mut graph.nodes[linear];
    node.inputs.resize(node.inputs.len().max(B + 1), None);
    node.inputs[W] = Some(weight);
    node.inputs[B] = Some(bias);
    node.n_operands = node.inputs.len();
    node.outputs[0] = output;
}

/// In place where no other node reads the constant, else under a name of its own.
fn replace_constant(
    graph: &mut Graph,
    old: Option<ValueId>,
    tensor: Tensor,
    node: &str,
    part: &str,
) -> ValueId {
    let n_reads = |id: ValueId| {
        let inputs = graph.nodes.iter().flat_map(|node| &node.inputs);
        inputs.filter(|input| **input == Some(id)).count()
    };
    match old {
        Some(id) if n_reads(id) == 1 && !graph.is_output(id) => {
            graph.values[id.index()].constant = Some(Constant::from(tensor));
            id
        }
        _ => {
            let id = ValueId::new(graph.values.len());
            let mut name = format!("{node}.{part}");
            while graph.find_value(&name).is_some() {
                name.push('_');
            }
            graph.values.push(Value { name, constant: Some(Constant::from(tensor)) });
            id
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::{Net, assert_same_outputs, net, scattered};

    fn op_types(graph: &Graph) -> Vec<&str> {
        graph.nodes().map(|(_, node)| node.op_type.as_str()).collect()
    }

    /// BatchNormalization parameters `s b m v` for `n` channels; a variance is positive.
    fn with_bn(net: Net, n: usize) -> Net {
        let variance: Vec<f32> = (0..n).map(|c| 0.3 + c as f32).collect();
        net.weight("s", &[n])
            .weight("b", &[n])
            .weight("m", &[n])
            .constant("v", Tensor::from_vec(&[n], variance))
    }

    #[test]
    fn batch_normalization_is_folded_into_linear_operators() {
        let conv = net(&[("x", &[1, 3, 5, 5])])
            .weight("w", &[4, 3, 2, 2])
            .weight("bias", &[4])
            .node("Conv", &["x", "w", "bias"], "lin");
        let depthwise = net(&[("x", &[1, 4, 5, 5])])
            .weight("w", &[4, 1, 2, 2])
            .node("Conv", &["x", "w"], "lin")
            .attr("group", AttrValue::Int(4));
        let transposed = net(&[("x", &[1, 3, 5, 5])]).weight("w", &[3, 4, 2, 2]).node(
            "ConvTranspose",
            &["x", "w"],
            "lin",
        );
        let gemm = net(&[("x", &[2, 3])])
            .weight("w", &[4, 3])
            .node("Gemm", &["x", "w"], "lin")
            .attr("transB", AttrValue::Int(1));
        for net in [conv, depthwise, transposed, gemm] {
            let graph = with_bn(net, 4)
                .node("BatchNormalization", &["lin", "s", "b", "m", "v"], "y")
                .attr("epsilon", AttrValue::Float(1e-3))
                .outputs(&["y"]);
            let simple = simplify(graph.clone());
            assert_eq!(simple.n_nodes(), 1, "{:?}", op_types(&simple));
            assert_eq!(simple.value_name(simple.outputs()[0]), "y");
            // Two roundings more or less on values around 1.
            assert_same_outputs(&graph, &simple, 1e-5);
        }
    }

    #[test]
    fn batch_normalization_stays_where_the_product_is_read_elsewhere() {
        let net = net(&[("x", &[1, 3, 5, 5])]).weight("w", &[4, 3, 2, 2]);
        let graph = with_bn(net.node("Conv", &["x", "w"], "lin"), 4)
            .node("BatchNormalization", &["lin", "s", "b", "m", "v"], "bn")
            .node("Add", &["lin", "bn"], "y")
            .outputs(&["y"]);
        let simple = simplify(graph);
        assert_eq!(op_types(&simple), ["Conv", "BatchNormalization", "Add"]);
    }

    #[test]
    fn a_shared_weight_is_not_changed_for_the_other() {
        let net = net(&[("x", &[1, 3, 5, 5])])
            .weight("w", &[4, 3, 2, 2])
            .node("Conv", &["x", "w"], "lin")
            .node("Conv", &["x", "w"], "other");
        let graph = with_bn(net, 4)
            .node("BatchNormalization", &["lin", "s", "b", "m", "v"], "bn")
            .node("Add", &["bn", "other"], "y")
            .outputs(&["y"]);
        let simple = simplify(graph.clone());
        assert_eq!(op_types(&simple), ["Conv", "Conv", "Add"]);
        assert_same_outputs(&graph, &simple, 1e-5);
        assert!(simple.find_value("lin.weight").is_some());
    }

    #[test]
    fn constants_are_computed_and_dead_nodes_dropped() {
        let graph = net(&[("x", &[4])])
            .constant("a", scattered(&[4], 1))
            .constant("b", scattered(&[4], 2))
            .node("Add", &["a", "b"], "sum")
            .node("Mul", &["x", "sum"], "product")
            .node("Identity", &["product"], "same")
            .node("Relu", &["same"], "y")
            .node("Neg", &["x"], "unused")
            .outputs(&["y"]);
        let simple = simplify(graph.clone());
        assert_eq!(op_types(&simple), ["Mul", "Relu"]);
        assert_same_outputs(&graph, &simple, 0.);
    }

    /// 16 MiB at each of 40 nodes of a few bytes.
    #[test]
    fn small_files_do_not_become_large_constants() {
        let mut net = net(&[("x", &[1])]).constant("c0", scattered(&[4 << 20], 1));
        let names: Vec<String> = (0..40).map(|index| format!("c{index}")).collect();
        for pair in names.windows(2) {
            net = net.node("Neg", &[pair[0].as_str()], &pair[1]);
        }
        let graph = net.node("ReduceMax", &["c39"], "top").node("Add", &["x", "top"], "y");
        let simple = simplify(graph.outputs(&["y"]));
        let constants = simple.value_ids().filter_map(|id| simple.constant(id));
        let bytes: usize = constants.map(|constant| constant.ty().size_bytes()).sum();
        assert!(bytes <= (16 << 20) * 5 + MOST_FOLDED_BYTES, "{bytes}");
    }

    #[test]
    fn an_identity_that_names_an_output_stays() {
        let graph = net(&[("x", &[4])])
            .node("Relu", &["x"], "relu")
            .node("Identity", &["relu"], "y")
            .outputs(&["y"]);
        assert_eq!(op_types(&simplify(graph)), ["Relu", "Identity"]);
    }
}
