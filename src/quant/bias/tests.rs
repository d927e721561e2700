use super::*;
use crate::exec::Reference;
use crate::graph::testing::{Net, assert_same_outputs, evaluate, inputs, net, types};
use crate::ops::AttrValue::{Int, Ints};
use crate::quant::{Range, Target};

/// The mean of each channel of the output over all its positions, `[1, channels, ...]`.
fn channel_means(y: &Tensor) -> Vec<f64> {
    let elements = y.slice::<f32>();
    let positions = elements.len() / y.shape()[1];
    let mean =
        |channel: &[f32]| channel.iter().map(|&y| f64::from(y)).sum::<f64>() / positions as f64;
    elements.chunks_exact(positions).map(mean).collect()
}

/// Rounds `w` of a network of one layer to 3 bits, with and without a corrected bias.
#[track_caller]
fn check(network: impl Fn(Net) -> Net, x: &[usize]) {
    let graph = network(net(&[("x", x)])).outputs(&["y"]);
    let graph = with_own_biases(graph.clone(), &types(&graph));
    let (types, target) = (types(&graph), Target::built_in("generic").unwrap());
    let placement = Placement::new(&graph, &types, &target);
    let bits = Bits::new(3).unwrap();
    let encoding = Encoding::new(bits, target.weights, None, &[Range::new(-1., 1.)]);
    let encodings = Encodings {
        activations: Vec::new(),
        weights: vec![[(bits, encoding.clone())].into()],
        operands: Vec::new(),
        biases: vec![BTreeMap::new()],
    };
    let correcting = Correcting {
        graph: &graph,
        types: &types,
        placement: &placement,
        encodings: &encodings,
        rounded: None,
    };
    let corrections = Corrections::new(correcting);
    let values = inputs(&graph);
    let engine = Reference::new(&graph, usize::MAX);
    let passed = engine.run(&values, &Changes::default(), Keep::All).unwrap();
    let (layer, bias) = &corrections.layers[0];
    let mut means = vec![0.; layer.matrices.groups * layer.matrices.depth];
    let n = corrections.add(layer, &passed, &mut means);
    means.iter_mut().for_each(|mean| *mean /= n as f64);
    let corrected = corrections.corrected_by(&[means]).remove(0).remove(&bits).unwrap();

    let mut rewrite = crate::graph::Rewrite::new(graph.clone());
    let weight = placement.weights[0].value;
    let mut rounded = tensor(&graph, weight).clone();
    encoding.fake_quantize(&mut rounded);
    rewrite.set_constant(weight, rounded);
    let plain = rewrite.finish();
    let shape = tensor(&graph, *bias).shape().to_vec();
    let mut rewrite = crate::graph::Rewrite::new(plain.clone());
    rewrite.set_constant(*bias, Tensor::from_vec(&shape, corrected));
    let [float, plain, corrected] =
        [graph, plain, rewrite.finish()].map(|graph| channel_means(&evaluate(&graph, &values)[0]));
    let largest = |other: &[f64]| {
        let errors = float.iter().zip(other).map(|(a, b)| (a - b).abs());
        errors.fold(0., f64::max)
    };
    // What is left are roundings of float32 sums of magnitude 10.
    assert!(largest(&corrected) < 1e-5, "{}", largest(&corrected));
    assert!(1e-2 < largest(&plain), "{}", largest(&plain));
}

#[test]
fn the_mean_of_a_layers_output_is_restored() {
    let conv = |net: Net| {
        let net = net.weight("w", &[6, 2, 3, 3]).weight("b", &[6]);
        let net = net.node("Conv", &["x", "w", "b"], "y").attr("group", Int(2));
        net.attr("pads", Ints(vec![1, 0, 2, 1]))
    };
    check(conv, &[1, 4, 7, 6]);
    let depthwise = |net: Net| {
        net.weight("w", &[4, 1, 3, 3]).node("Conv", &["x", "w"], "y").attr("group", Int(4))
    };
    check(depthwise, &[1, 4, 7, 6]);
    let transposed = |net: Net| {
        let net = net.weight("w", &[4, 3, 3, 2]).node("ConvTranspose", &["x", "w"], "y");
        net.attr("group", Int(2))
    };
    check(transposed, &[1, 4, 5, 5]);
    check(|net| net.weight("w", &[5, 4]).node("Gemm", &["x", "w"], "y"), &[1, 5]);
}

#[test]
fn the_mean_behind_a_matmul_and_its_add() {
    let product = |net: Net| net.weight("w", &[5, 4]).node("MatMul", &["x", "w"], "m");
    check(|net| product(net).weight("b", &[4]).node("Add", &["b", "m"], "y"), &[1, 5]);
    check(|net| product(net).weight("b", &[1, 4]).node("Add", &["m", "b"], "y"), &[1, 5]);
}

/// What is added to rows, or along another axis, is no bias.
#[test]
fn biases_of_a_matmul() {
    let bias = |w: &[usize], inputs: [&str; 2], b: &[usize]| {
        let net = net(&[("x", &[1, 4, 4])]).weight("w", w).node("MatMul", &inputs, "m");
        let graph = net.weight("b", b).node("Add", &["m", "b"], "y").outputs(&["y"]);
        let target = Target::built_in("generic").unwrap();
        Placement::new(&graph, &types(&graph), &target).bias(0).is_some()
    };
    assert!(bias(&[4, 4], ["x", "w"], &[4]));
    assert!(bias(&[4, 4], ["x", "w"], &[1, 1, 4]));
    assert!(!bias(&[4, 4], ["x", "w"], &[4, 1]));
    assert!(!bias(&[4, 4], ["x", "w"], &[4, 4]));
    assert!(!bias(&[4, 4], ["w", "x"], &[4]));
}

#[test]
fn layers_get_biases_of_their_own() {
    let graph = net(&[("x", &[1, 3, 5, 5])])
        .weight("w1", &[3, 3, 1, 1])
        .weight("b", &[3])
        .node("Conv", &["x", "w1", "b"], "a")
        .weight("w2", &[3, 3, 1, 1])
        .node("Conv", &["a", "w2", "b"], "c")
        .weight("w3", &[3, 3, 1, 1])
        .node("Conv", &["c", "w3"], "y")
        .outputs(&["y"]);
    let own = with_own_biases(graph.clone(), &types(&graph));
    let name = |(_, node): (_, &crate::graph::Node)| own.value_name(node.input(2).unwrap());
    let names: Vec<&str> = own.nodes().map(name).collect();
    assert_eq!(names, ["a.bias", "c.bias", "y.bias"]);
    assert_same_outputs(&graph, &own, 0.);
}
