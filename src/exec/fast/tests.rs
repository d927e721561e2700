//! The fast engine against the reference.

use std::sync::Arc;

use super::*;
use crate::exec::ValueHook;
use crate::exec::fast::plan::{Head, Step};
use crate::graph::testing::{Net, inputs, net};
use crate::ops::{AttrValue, Lowering};

struct Round;

impl ValueHook for Round {
    fn apply(&self, x: &mut [f32]) {
        x.iter_mut().for_each(|x| *x = (*x * 16.).round_ties_even() / 16.);
    }
}

fn ints(values: &[i64]) -> AttrValue {
    AttrValue::Ints(values.to_vec())
}

fn conv(net: Net, x: &str, y: &str, w: [usize; 4], stride: i64) -> Net {
    let weight = format!("{y}.w");
    let pads = w[2] as i64 / 2;
    net.weight(&weight, &w)
        .node("Conv", &[x, &weight], y)
        .attr("strides", ints(&[stride, stride]))
        .attr("pads", ints(&[pads, pads, pads, pads]))
}

/// Convolutions of every kind, squeeze and excite, a residual sum, pools, a head.
fn images() -> Graph {
    let net = conv(net(&[("x", &[1, 3, 13, 11])]), "x", "stem", [20, 3, 3, 3], 2);
    let net = net.scalar("zero", 0.).scalar("six", 6.).node("Clip", &["stem", "zero", "six"], "c1");
    let net = conv(net, "c1", "wide", [40, 20, 1, 1], 1).node("HardSwish", &["wide"], "h1");
    let net = conv(net, "h1", "depth", [40, 1, 5, 5], 1).attr("group", AttrValue::Int(40));
    let net = net.node("Relu", &["depth"], "d1").node("GlobalAveragePool", &["d1"], "pooled");
    let net = conv(net, "pooled", "squeezed", [10, 40, 1, 1], 1).node("Relu", &["squeezed"], "s1");
    let net = conv(net, "s1", "excited", [40, 10, 1, 1], 1).node("HardSigmoid", &["excited"], "e1");
    let net = conv(net.node("Mul", &["d1", "e1"], "scaled"), "scaled", "narrow", [20, 40, 1, 1], 1);
    let net = net.node("Add", &["narrow", "c1"], "sum");
    let net = conv(net, "sum", "grouped", [32, 20, 3, 3], 1).weight("bn", &[32, 1, 1]);
    let net = net.node("Mul", &["grouped", "bn"], "affine").node("Sigmoid", &["affine"], "gate");
    let net = net.node("Mul", &["affine", "gate"], "swish");
    let net = net
        .node("MaxPool", &["swish"], "max")
        .attr("kernel_shape", ints(&[3, 2]))
        .attr("strides", ints(&[2, 1]));
    let net = net
        .node("AveragePool", &["max"], "average")
        .attr("kernel_shape", ints(&[2, 2]))
        .attr("pads", ints(&[1, 0, 0, 1]));
    let net = conv(net, "average", "left", [16, 32, 3, 3], 1);
    let net = conv(net, "average", "right", [24, 32, 1, 1], 1);
    let net = net.node("Concat", &["left", "right"], "joined").attr("axis", AttrValue::Int(1));
    net.node("GlobalAveragePool", &["joined"], "mean")
        .node("Flatten", &["mean"], "flat")
        .weight("fc", &[7, 40])
        .weight("fc.b", &[7])
        .node("Gemm", &["flat", "fc", "fc.b"], "logits")
        .attr("transB", AttrValue::Int(1))
        .scalar("cool", 0.001)
        .node("Mul", &["logits", "cool"], "cooled")
        .node("Softmax", &["cooled"], "y")
        .outputs(&["y", "sum", "logits"])
}

/// A block of a transformer in small operators.
fn tokens() -> Graph {
    let net = net(&[("x", &[1, 9, 24])])
        .i64s("last", &[-1])
        .scalar("two", 2.)
        .scalar("eps", 1e-5)
        .weight("gamma", &[24])
        .weight("beta", &[24])
        .node("ReduceMean", &["x", "last"], "mean")
        .node("Sub", &["x", "mean"], "centered")
        .node("Pow", &["centered", "two"], "squared")
        .node("ReduceMean", &["squared", "last"], "variance")
        .node("Add", &["variance", "eps"], "shifted")
        .node("Sqrt", &["shifted"], "deviation")
        .node("Div", &["centered", "deviation"], "normal")
        .node("Mul", &["normal", "gamma"], "scaled")
        .node("Add", &["scaled", "beta"], "ln");
    let head = |net: Net, name: &str| {
        let [w, b, t, y, z] = ["w", "b", "t", "y", "z"].map(|part| format!("{name}.{part}"));
        net.weight(&w, &[24, 24])
            .weight(&b, &[24])
            .node("MatMul", &["ln", &w], &t)
            .node("Add", &[&b, &t], &y)
            .node("Reshape", &[&y, "heads"], &z)
    };
    let net = head(head(head(net.i64s("heads", &[1, 9, 3, 8]), "q"), "k"), "v");
    let perm = |net: Net, x: &str, y: &str, perm: &[i64]| {
        net.node("Transpose", &[x], y).attr("perm", ints(perm))
    };
    let net = perm(net, "q.z", "q", &[0, 2, 1, 3]);
    let net = perm(net, "k.z", "k", &[0, 2, 3, 1]);
    let net = perm(net, "v.z", "v", &[0, 2, 1, 3])
        .scalar("root", 2.83)
        .weight("mask", &[1, 1, 1, 9])
        .node("MatMul", &["q", "k"], "scores")
        .node("Div", &["scores", "root"], "scaled_scores")
        .node("Add", &["scaled_scores", "mask"], "masked")
        .node("Softmax", &["masked"], "weights")
        .node("MatMul", &["weights", "v"], "mixed");
    perm(net, "mixed", "back", &[0, 2, 1, 3])
        .i64s("flat", &[1, 9, 24])
        .node("Reshape", &["back", "flat"], "attended")
        .weight("up.w", &[24, 40])
        .node("MatMul", &["attended", "up.w"], "up")
        .scalar("sqrt2", std::f32::consts::SQRT_2)
        .scalar("one", 1.)
        .scalar("half", 0.5)
        .node("Div", &["up", "sqrt2"], "g1")
        .node("Erf", &["g1"], "g2")
        .node("Add", &["g2", "one"], "g3")
        .node("Mul", &["up", "g3"], "g4")
        .node("Mul", &["g4", "half"], "gelu")
        .weight("down.w", &[40, 24])
        .node("MatMul", &["gelu", "down.w"], "down")
        .node("Add", &["x", "down"], "y")
        .outputs(&["y"])
}

pub(super) fn outputs(graph: &Graph, values: &Values) -> Vec<Tensor> {
    graph.outputs().iter().map(|&id| values.get(id).unwrap().clone()).collect()
}

/// Within 1e-5 of the largest element.
#[track_caller]
fn assert_close(name: &str, found: &Tensor, expected: &Tensor) {
    assert_eq!(found.ty(), expected.ty());
    if expected.dtype() != crate::tensor::DType::F32 {
        return assert!(found == expected);
    }
    let expected = expected.slice::<f32>();
    let largest = expected.iter().fold(0., |largest: f32, x| largest.max(x.abs()));
    for (i, (found, expected)) in found.slice::<f32>().iter().zip(expected).enumerate() {
        let is_close = (found - expected).abs() <= 1e-5 * largest;
        assert!(
            is_close,
            "{name}: element {i} is {found}, expected {expected}, the largest is {largest}"
        );
    }
}

/// Hooks on some values and rounded copies of some constants.
pub(super) fn changes<'a>(graph: &Graph, is_chosen: impl Fn(usize) -> bool) -> Changes<'a> {
    let mut changes = Changes::default();
    for id in graph.value_ids().filter(|id| is_chosen(id.index())) {
        match graph.constant(id).map(|constant| constant.tensor()) {
            None => {
                changes.hooks.insert(id, &Round as &dyn ValueHook);
            }
            Some(tensor) if tensor.dtype() == crate::tensor::DType::F32 => {
                let mut tensor = tensor.clone();
                Round.apply(tensor.slice_mut::<f32>());
                changes.constants.insert(id, Arc::new(Prepared::new(tensor)));
            }
            Some(_) => {}
        }
    }
    changes
}

/// Every third value, counted from somewhere, and every one of some single values.
fn choices(graph: &Graph) -> Vec<Changes<'static>> {
    let n = graph.n_values();
    let every = |step: usize, start: usize| changes(graph, move |i| i % step == start);
    let mut all: Vec<Changes<'static>> = vec![Changes::default(), every(1, 0)];
    all.extend((0..3).map(|start| every(3, start)));
    all.extend((0..n).map(|only| changes(graph, move |i| i == only)));
    all
}

#[test]
fn agrees_with_the_reference() {
    for graph in [images(), tokens()] {
        let observed: Vec<ValueId> = graph.value_ids().collect();
        let fast = Fast::new(&graph, usize::MAX, &observed);
        let reference = Reference::new(&graph, usize::MAX);
        let inputs = inputs(&graph);
        let all = fast.run(&inputs, &Changes::default(), Keep::All).unwrap();
        let expected = reference.run(&inputs, &Changes::default(), Keep::All).unwrap();
        for id in graph.value_ids() {
            let (Some(found), Some(expected)) = (&all.values[id.index()], expected.get(id)) else {
                continue;
            };
            assert_close(graph.value_name(id), &found.tensor(), expected);
        }
        // Without hooks: a value that the engines round differently may fall on another grid point.
        for changes in choices(&graph).into_iter().filter(|changes| changes.hooks.is_empty()) {
            let expected = reference.run(&inputs, &changes, Keep::Outputs).unwrap();
            let found = fast.run(&inputs, &changes, Keep::Outputs).unwrap();
            for &id in graph.outputs() {
                let (found, expected) = (found.get(id).unwrap(), expected.get(id).unwrap());
                assert_close(graph.value_name(id), found, expected);
            }
        }
    }
}

#[test]
fn a_rerun_is_a_whole_run_with_the_same_changes_to_the_last_bit() {
    for graph in [images(), tokens()] {
        let inputs = inputs(&graph);
        let all: Vec<ValueId> = graph.value_ids().collect();
        for observed in [&all[..], &[]] {
            let fast = Fast::new(&graph, usize::MAX, observed);
            let base = fast.run(&inputs, &Changes::default(), Keep::All).unwrap();
            for changes in choices(&graph) {
                let whole = fast.run(&inputs, &changes, Keep::Outputs).unwrap();
                let kept = fast.run(&inputs, &changes, Keep::All).unwrap();
                let partial =
                    fast.rerun(&base, &Changes::default(), &changes, Keep::Outputs).unwrap();
                let hooked: Vec<&str> = (changes.hooks.keys().chain(changes.constants.keys()))
                    .map(|&id| graph.value_name(id))
                    .collect();
                let expected = outputs(&graph, &whole);
                assert!(outputs(&graph, &partial) == expected, "rerun, changed {hooked:?}");
                assert!(outputs(&graph, &kept) == expected, "keeping all, changed {hooked:?}");
            }
        }
    }
}

#[test]
fn a_rerun_begins_with_other_changes_too() {
    for graph in [images(), tokens()] {
        let inputs = inputs(&graph);
        let observed: Vec<ValueId> = graph.value_ids().collect();
        let choices = choices(&graph);
        let engines: [&dyn Engine; 2] = [
            &Fast::new(&graph, usize::MAX, &observed[..observed.len() / 2]),
            &Reference::new(&graph, usize::MAX),
        ];
        for engine in engines {
            let mut before = &choices[0];
            let mut base = engine.run(&inputs, before, Keep::All).unwrap();
            for index in (0..choices.len()).map(|i| i * 7 % choices.len()) {
                let changes = &choices[index];
                let whole = engine.run(&inputs, changes, Keep::Outputs).unwrap();
                for keep in [Keep::Outputs, Keep::All] {
                    let partial = engine.rerun(&base, before, changes, keep).unwrap();
                    let is_same = outputs(&graph, &partial) == outputs(&graph, &whole);
                    assert!(is_same, "{:?} behind {:?}", changes.hooks.keys(), before.hooks.keys());
                }
                base = engine.rerun(&base, before, changes, Keep::All).unwrap();
                before = changes;
            }
        }
    }
}

#[test]
fn every_level_gives_the_same_bits() {
    for graph in [images(), tokens()] {
        let fast = Fast::new(&graph, usize::MAX, &[]);
        let inputs = inputs(&graph);
        for changes in [Changes::default(), changes(&graph, |i| i % 3 == 0)] {
            let found = crate::kernels::at_each_level(|| {
                outputs(&graph, &fast.run(&inputs, &changes, Keep::Outputs).unwrap())
            });
            for (level, tensors) in &found {
                assert!(*tensors == found[0].1, "{level:?}");
            }
        }
    }
}

#[test]
fn every_hook_changes_something() {
    for graph in [images(), tokens()] {
        let fast = Fast::new(&graph, usize::MAX, &[]);
        let inputs = inputs(&graph);
        let float = fast.run(&inputs, &Changes::default(), Keep::Outputs).unwrap();
        for changes in choices(&graph).into_iter().filter(|changes| changes.hooks.len() == 1) {
            let run = fast.run(&inputs, &changes, Keep::Outputs).unwrap();
            let name = changes.hooks.keys().map(|&id| graph.value_name(id)).next();
            assert!(outputs(&graph, &run) != outputs(&graph, &float), "{name:?}");
        }
    }
}

#[test]
fn observed_values_are_kept() {
    let graph = images();
    let observed = ["wide", "narrow", "sum"].map(|name| graph.find_value(name).unwrap());
    let fast = Fast::new(&graph, usize::MAX, &observed);
    let values = fast.run(&inputs(&graph), &Changes::default(), Keep::All).unwrap();
    for id in observed {
        let mut n_elements = 0;
        assert!(values.for_each_part(id, |part| n_elements += part.len()));
        let expected = values.values[id.index()].as_ref().unwrap().tensor().len();
        assert_eq!(n_elements, expected, "{}", graph.value_name(id));
        let mut sum = 0.;
        let visit = &mut |seen: ValueId, part: &[f32]| {
            sum += if seen == id { part.iter().map(|&x| f64::from(x)).sum() } else { 0. };
        };
        fast.observe(&inputs(&graph), visit).unwrap();
        let tensor = values.values[id.index()].as_ref().unwrap().tensor();
        let expected: f64 = tensor.slice::<f32>().iter().map(|&x| f64::from(x)).sum();
        assert!((sum - expected).abs() < 1e-9 * expected.abs(), "{}", graph.value_name(id));
    }
}

#[test]
fn everything_has_a_kernel() {
    for graph in [images(), tokens()] {
        let is_made = |id: &ValueId| graph.constant(*id).is_none();
        let observed: Vec<ValueId> = graph.value_ids().filter(is_made).collect();
        for keep in [Keep::Outputs, Keep::All] {
            let fast = Fast::new(&graph, usize::MAX, &observed);
            let types = inputs(&graph).iter().map(Tensor::ty).collect();
            let plan = fast.plan(types, keep, &Changes::default());
            let slow = plan.steps.iter().filter(|step| matches!(step.head, Head::Reference));
            let slow: Vec<&str> = slow.map(|step| graph.value_name(step.output)).collect();
            // What the network is observed inside of is not computed as one.
            let inside = ["mean", "squared", "variance", "deviation", "centered", "normal"];
            assert!(slow.iter().all(|name| inside.contains(name)), "{slow:?}");
        }
        let fast = Fast::new(&graph, usize::MAX, &[]);
        let types = inputs(&graph).iter().map(Tensor::ty).collect();
        let plan = fast.plan(types, Keep::Outputs, &Changes::default());
        assert!(plan.steps.iter().all(|step| !matches!(step.head, Head::Reference)));
    }
}

#[test]
fn attention_is_not_copied() {
    let graph = tokens();
    let fast = Fast::new(&graph, usize::MAX, &[]);
    let types = inputs(&graph).iter().map(Tensor::ty).collect();
    let plan = fast.plan(types, Keep::Outputs, &Changes::default());
    let is_moved = |step: &&Step| matches!(step.head, Head::Other(Lowering::Permute(_)));
    let moved = plan.steps.iter().filter(is_moved).map(|step| graph.value_name(step.output));
    assert_eq!(moved.collect::<Vec<_>>(), [""; 0]);
}

/// A matrix that does not stay in cache, and a head of one row.
fn classifier() -> Graph {
    net(&[("x", &[1, 8, 12, 12])])
        .weight("w", &[30, 8, 3, 3])
        .node("Conv", &["x", "w"], "c")
        .node("Relu", &["c"], "r")
        .i64s("flat", &[1, -1])
        .node("Reshape", &["r", "flat"], "f")
        .weight("fc", &[3000, 100])
        .weight("fc.b", &[100])
        .node("Gemm", &["f", "fc", "fc.b"], "logits")
        .node("Relu", &["logits"], "positive")
        .outputs(&["positive", "r", "logits"])
}

#[test]
fn passes_together_differ_as_each_alone() {
    let graph = classifier();
    let types = inputs(&graph).iter().map(Tensor::ty).collect();
    let fast = Fast::new(&graph, usize::MAX, &[]);
    let plan = fast.plan(types, Keep::Outputs, &Changes::default());
    assert_eq!(plan.side_by_side, 0, "the classifier's matrix is large");
    for graph in [images(), tokens(), classifier()] {
        let observed: Vec<ValueId> = graph.value_ids().collect();
        let fast = Fast::new(&graph, usize::MAX, &observed[..observed.len() / 2]);
        let float = Changes::default();
        let bases: Vec<Values> = (0..3)
            .map(|number| {
                let mut inputs = inputs(&graph);
                let all = inputs.iter_mut().flat_map(|input| input.slice_mut::<f32>());
                all.for_each(|x| *x = (*x * (number as f32 + 1.)).sin());
                fast.run(&inputs, &float, Keep::All).unwrap()
            })
            .collect();
        let bases: Vec<&Values> = bases.iter().collect();
        let ids = graph.outputs();
        for changes in choices(&graph) {
            let together = fast.differences(&bases, &changes, ids, 1);
            for (base, found) in bases.iter().zip(together) {
                let alone = fast.rerun(base, &float, &changes, Keep::Outputs).unwrap();
                let alone = Difference::all(base, &alone, ids, 1);
                assert_eq!(found.unwrap(), alone, "{:?}", changes.hooks.keys());
            }
        }
    }
}

/// Wide convolutions with a depthwise one between them, as [kernel, stride, dilation, pads of rows].
fn bottleneck([kernel, stride, dilation, top, bottom]: [i64; 5]) -> Graph {
    let pads = ints(&[top, kernel / 2, bottom, kernel / 2]);
    let window = kernel as usize;
    net(&[("x", &[1, 3, 67, 61])])
        .weight("w0", &[20, 3, 3, 3])
        .node("Conv", &["x", "w0"], "stem")
        .weight("w1", &[60, 20, 1, 1])
        .weight("b1", &[60])
        .node("Conv", &["stem", "w1", "b1"], "wide")
        .node("Relu", &["wide"], "wide.r")
        .weight("w2", &[60, 1, window, window])
        .node("Conv", &["wide.r", "w2"], "deep")
        .attr("group", AttrValue::Int(60))
        .attr("strides", ints(&[stride, stride]))
        .attr("dilations", ints(&[dilation, dilation]))
        .attr("pads", pads)
        .node("HardSwish", &["deep"], "deep.h")
        .weight("w3", &[20, 60, 1, 1])
        .node("Conv", &["deep.h", "w3"], "narrow")
        .node("GlobalAveragePool", &["narrow"], "mean")
        .node("Mul", &["narrow", "mean"], "y")
        .outputs(&["y"])
}

#[test]
fn strips_do_not_change_a_bit() {
    let windows = [
        [3, 1, 1, 1, 1],
        [3, 2, 1, 0, 1],
        [5, 2, 1, 2, 2],
        [5, 1, 1, 4, 3],
        [3, 1, 4, 6, 2],
        [1, 3, 1, 0, 0],
        [2, 3, 2, 5, 7],
    ];
    for window in windows {
        let graph = bottleneck(window);
        let fast = Fast::new(&graph, usize::MAX, &[]);
        let inputs = inputs(&graph);
        let types = inputs.iter().map(Tensor::ty).collect();
        let plan = fast.plan(types, Keep::Outputs, &Changes::default());
        assert!(!plan.strips.is_empty(), "{window:?}");
        let base = fast.run(&inputs, &Changes::default(), Keep::All).unwrap();
        for changes in
            [Changes::default(), changes(&graph, |i| i % 2 == 0), changes(&graph, |_| true)]
        {
            let whole = fast.run(&inputs, &changes, Keep::All).unwrap();
            let strips = fast.run(&inputs, &changes, Keep::Outputs).unwrap();
            assert!(outputs(&graph, &strips) == outputs(&graph, &whole), "{window:?}");
            let again = fast.rerun(&base, &Changes::default(), &changes, Keep::Outputs).unwrap();
            assert!(outputs(&graph, &again) == outputs(&graph, &whole), "{window:?}");
        }
    }
}

/// What `simplify` leaves alone because the result would be large.
#[test]
fn operators_on_constants() {
    let graph = net(&[("x", &[1, 8, 4, 4])])
        .weight("c", &[1, 8, 2, 2])
        .constant("roi", Tensor::from_vec(&[0], Vec::<f32>::new()))
        .constant("scales", Tensor::from_vec(&[4], vec![1_f32, 1., 2., 2.]))
        .node("Resize", &["c", "roi", "scales"], "resized")
        .node("GlobalAveragePool", &["c"], "mean")
        .node("Add", &["x", "resized"], "sum")
        .node("Mul", &["sum", "mean"], "y")
        .outputs(&["y", "mean"]);
    let inputs = inputs(&graph);
    let run = |engine: &dyn Engine| {
        outputs(&graph, &engine.run(&inputs, &Changes::default(), Keep::Outputs).unwrap())
    };
    let found = run(&Fast::new(&graph, usize::MAX, &[]));
    let expected = run(&Reference::new(&graph, usize::MAX));
    found.iter().zip(&expected).for_each(|(found, expected)| assert_close("y", found, expected));
}

#[test]
fn errors_are_those_of_the_reference() {
    let graph =
        net(&[("x", &[2, 3]), ("z", &[2, 4])]).node("Add", &["x", "z"], "y").outputs(&["y"]);
    let error = |engine: &dyn Engine, inputs: &[Tensor]| {
        engine.run(inputs, &Changes::default(), Keep::Outputs).unwrap_err().to_string()
    };
    let engines = |limit: usize| (Fast::new(&graph, limit, &[]), Reference::new(&graph, limit));
    let (fast, reference) = engines(usize::MAX);
    assert_eq!(error(&fast, &inputs(&graph)), error(&reference, &inputs(&graph)));
    assert_eq!(error(&fast, &[]), error(&reference, &[]));
    let graph = images();
    let fast = Fast::new(&graph, 255, &[]);
    let reference = Reference::new(&graph, 255);
    assert_eq!(error(&fast, &inputs(&graph)), error(&reference, &inputs(&graph)));
}
