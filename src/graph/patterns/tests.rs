//! Chains, composites and what does not match.

use super::*;
use crate::graph::testing::{Net, net};

fn chain() -> Vec<Chain> {
    let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let activations = list(&["Relu", "Clip", "HardSwish", "HardSigmoid", "Gelu"]);
    vec![Chain {
        heads: list(&["Conv", "MatMul"]),
        then: vec![list(&["BatchNormalization"]), list(&["Add"]), activations],
        whole: false,
    }]
}

/// `kind: nodes` of every unit.
fn units_of(graph: &Graph) -> Vec<String> {
    let name = |id: &NodeId| graph.node(*id).name.as_str();
    units(graph, &chain(), |_| false)
        .iter()
        .map(|unit| {
            let nodes: Vec<&str> = unit.nodes.iter().map(name).collect();
            format!("{}: {}", unit.kind, nodes.join(" "))
        })
        .collect()
}

fn conv() -> Net {
    net(&[("x", &[1, 3, 8, 8])])
        .weight("w", &[4, 3, 3, 3])
        .scalar("3", 3.)
        .scalar("0", 0.)
        .scalar("6", 6.)
        .node("Conv", &["x", "w"], "conv")
}

#[test]
fn activation_joins_its_convolution() {
    let graph = conv().node("Relu", &["conv"], "y").outputs(&["y"]);
    assert_eq!(units_of(&graph), ["Conv: conv y"]);
}

#[test]
fn a_whole_chain_misses_no_stage() {
    let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let chain = |stages: &[&str]| Chain {
        heads: list(&["Conv"]),
        then: stages.iter().map(|&stage| list(&[stage])).collect(),
        whole: true,
    };
    let chains = [chain(&["Add", "Relu"]), chain(&["Clip"])];
    let kinds = |graph: &Graph| {
        let units = units(graph, &chains, |_| false);
        units.iter().map(|unit| unit.nodes.len()).collect::<Vec<_>>()
    };
    let add = || conv().node("Add", &["conv", "3"], "add");
    assert_eq!(kinds(&add().node("Relu", &["add"], "y").outputs(&["y"])), [3]);
    assert_eq!(kinds(&add().outputs(&["add"])), [1, 1]);
    assert_eq!(kinds(&conv().node("Relu", &["conv"], "y").outputs(&["y"])), [1, 1]);
    let clip = conv().node("Clip", &["conv", "0", "6"], "y").outputs(&["y"]);
    assert_eq!(kinds(&clip), [2]);
}

#[test]
fn what_is_read_elsewhere_or_put_out_is_not_inner() {
    let graph =
        conv().node("Relu", &["conv"], "relu").node("Add", &["conv", "relu"], "y").outputs(&["y"]);
    assert_eq!(units_of(&graph), ["Conv: conv", "Relu: relu", "Add: y"]);
    let graph = conv().node("Relu", &["conv"], "y").outputs(&["y", "conv"]);
    assert_eq!(units_of(&graph), ["Conv: conv", "Relu: y"]);
}

#[test]
fn hard_swish_in_small_operators() {
    let graph = conv()
        .node("Add", &["conv", "3"], "add")
        .node("Clip", &["add", "0", "6"], "clip")
        .node("Mul", &["conv", "clip"], "mul")
        .node("Div", &["mul", "6"], "y")
        .outputs(&["y"]);
    assert_eq!(units_of(&graph), ["Conv: conv add clip mul y"]);
    let graph = conv()
        .node("HardSigmoid", &["conv"], "gate")
        .node("Mul", &["gate", "conv"], "y")
        .outputs(&["y"]);
    assert_eq!(units_of(&graph), ["Conv: conv gate y"]);
}

#[test]
fn a_residual_add_is_no_bias() {
    let graph = conv()
        .weight("v", &[4, 4, 1, 1])
        .node("Relu", &["conv"], "relu")
        .node("Conv", &["relu", "v"], "conv2")
        .node("Add", &["conv2", "relu"], "y")
        .outputs(&["y"]);
    assert_eq!(units_of(&graph), ["Conv: conv relu", "Conv: conv2", "Add: y"]);
}

#[test]
fn bias_before_a_softmax_is_no_mask() {
    let graph = net(&[("x", &[2, 3])])
        .weight("w", &[3, 4])
        .weight("b", &[4])
        .node("MatMul", &["x", "w"], "product")
        .node("Add", &["product", "b"], "sum")
        .node("Softmax", &["sum"], "y")
        .outputs(&["y"]);
    assert_eq!(units_of(&graph), ["MatMul: product sum", "Softmax: y"]);
    let graph = net(&[("x", &[2, 4])])
        .weight("mask", &[1, 4])
        .node("Add", &["x", "mask"], "sum")
        .node("Softmax", &["sum"], "y")
        .outputs(&["y"]);
    assert_eq!(units_of(&graph), ["Softmax: sum y"]);
}

#[test]
fn layer_norm_and_gelu_spelled_out() {
    let graph = net(&[("x", &[2, 5])])
        .i64s("axis", &[-1])
        .scalar("2", 2.)
        .scalar("eps", 1e-5)
        .weight("scale", &[5])
        .weight("bias", &[5])
        .node("ReduceMean", &["x", "axis"], "mean")
        .node("Sub", &["x", "mean"], "centered")
        .node("Pow", &["centered", "2"], "squared")
        .node("ReduceMean", &["squared", "axis"], "var")
        .node("Add", &["var", "eps"], "var_eps")
        .node("Sqrt", &["var_eps"], "std")
        .node("Div", &["centered", "std"], "normal")
        .node("Mul", &["normal", "scale"], "scaled")
        .node("Add", &["scaled", "bias"], "norm")
        .scalar("sqrt2", 1.414)
        .scalar("1", 1.)
        .scalar("half", 0.5)
        .node("Div", &["norm", "sqrt2"], "g1")
        .node("Erf", &["g1"], "g2")
        .node("Add", &["g2", "1"], "g3")
        .node("Mul", &["norm", "g3"], "g4")
        .node("Mul", &["g4", "half"], "y")
        .outputs(&["y"]);
    let expected = [
        "LayerNormalization: mean centered squared var var_eps std normal scaled norm",
        "Gelu: g1 g2 g3 g4 y",
    ];
    assert_eq!(units_of(&graph), expected);
}
