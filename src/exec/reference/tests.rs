//! Passes, reruns, limits and errors of the reference.

use std::sync::Arc;

use super::*;
use crate::exec::{Prepared, ValueHook};
use crate::graph::testing::{evaluate, inputs, net};

struct Round;

impl ValueHook for Round {
    fn apply(&self, x: &mut [f32]) {
        x.iter_mut().for_each(|x| *x = (*x * 4.).round() / 4.);
    }
}

/// Two branches from one convolution, so that a change leaves part of the graph alone.
fn branches() -> Graph {
    net(&[("x", &[1, 3, 6, 6])])
        .weight("w1", &[4, 3, 3, 3])
        .weight("w2", &[4, 4, 1, 1])
        .weight("w3", &[4, 4, 1, 1])
        .node("Conv", &["x", "w1"], "stem")
        .node("Conv", &["stem", "w2"], "left")
        .node("Relu", &["left"], "left_relu")
        .node("Conv", &["stem", "w3"], "right")
        .node("Add", &["left_relu", "right"], "y")
        .outputs(&["y", "right"])
}

fn values(graph: &Graph, values: &Values) -> Vec<Tensor> {
    graph.outputs().iter().map(|&id| values.get(id).unwrap().clone()).collect()
}

#[test]
fn a_pass_evaluates_every_node() {
    let graph = branches();
    let engine = Reference::new(&graph, usize::MAX);
    for keep in [Keep::Outputs, Keep::All] {
        let run = engine.run(&inputs(&graph), &Changes::default(), keep).unwrap();
        assert_eq!(values(&graph, &run), evaluate(&graph, &inputs(&graph)));
        let is_kept = run.get(graph.find_value("stem").unwrap()).is_some();
        assert_eq!(is_kept, keep == Keep::All);
    }
}

#[test]
fn a_rerun_is_a_whole_run_with_the_same_changes() {
    let graph = branches();
    let engine = Reference::new(&graph, usize::MAX);
    let base = engine.run(&inputs(&graph), &Changes::default(), Keep::All).unwrap();
    let id = |name: &str| graph.find_value(name).unwrap();
    for (hooked, replaced) in [
        (vec![], vec!["w3"]),
        (vec!["x"], vec![]),
        (vec!["stem"], vec!["w2", "w3"]),
        (vec!["left_relu", "right"], vec!["w1"]),
        (vec!["y"], vec![]),
        (vec!["left"], vec!["w1", "w2", "w3"]),
    ] {
        let mut changes = Changes::default();
        changes.hooks.extend(hooked.iter().map(|name| (id(name), &Round as &dyn ValueHook)));
        for name in &replaced {
            let mut tensor = graph.constant(id(name)).unwrap().tensor().clone();
            Round.apply(tensor.slice_mut::<f32>());
            changes.constants.insert(id(name), Arc::new(Prepared::new(tensor)));
        }
        let whole = engine.run(&inputs(&graph), &changes, Keep::Outputs).unwrap();
        let partial = engine.rerun(&base, &Changes::default(), &changes, Keep::Outputs).unwrap();
        assert_eq!(values(&graph, &partial), values(&graph, &whole), "{hooked:?} {replaced:?}");
    }
}

#[test]
fn only_what_depends_on_a_change_is_recomputed() {
    let graph = branches();
    let engine = Reference::new(&graph, usize::MAX);
    let mut base = engine.run(&inputs(&graph), &Changes::default(), Keep::All).unwrap();
    // A wrong value that only an unneeded recomputation would mend.
    let stem = graph.find_value("right").unwrap();
    base.values[stem.index()] = Some(Tensor::full(&[1, 4, 4, 4], 7_f32).into());
    let mut changes = Changes::default();
    changes.hooks.insert(graph.find_value("left").unwrap(), &Round);
    let rerun = engine.rerun(&base, &Changes::default(), &changes, Keep::Outputs).unwrap();
    assert_eq!(rerun.get(stem), base.get(stem));
}

#[test]
fn wrong_inputs_and_too_large_outputs_are_refused() {
    let graph = branches();
    let run = |limit: usize, inputs: &[Tensor]| {
        let engine = Reference::new(&graph, limit);
        engine.run(inputs, &Changes::default(), Keep::Outputs).unwrap_err().to_string()
    };
    assert_eq!(run(1 << 20, &[]), "found 0 inputs, expected 1");
    let wrong = Tensor::full(&[1, 3, 5, 6], 0_f32);
    let text = "input `x` is float32 [1, 3, 5, 6], expected float32 [1, 3, 6, 6]";
    assert_eq!(run(1 << 20, &[wrong]), text);
    let text = "node `stem` (Conv) with inputs float32 [1, 3, 6, 6], float32 [4, 3, 3, 3]: would make 256 bytes, more than the limit of 255";
    assert_eq!(run(255, &inputs(&graph)), text);
}

/// Eight values of 4 KB, each small enough, that are all needed in the end.
#[test]
fn what_a_pass_holds_at_once_is_limited() {
    let mut net = net(&[("x", &[1024])]);
    let names: Vec<String> = (0..8).map(|index| format!("y{index}")).collect();
    for name in &names {
        net = net.node("Neg", &["x"], name);
    }
    let graph = net.outputs(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let runs = |limit: usize| {
        let engines: [Box<dyn Engine + '_>; 2] = [
            Box::new(Reference::new(&graph, limit)),
            Box::new(crate::exec::Fast::new(&graph, limit, &[])),
        ];
        engines.map(|engine| engine.run(&inputs(&graph), &Changes::default(), Keep::Outputs))
    };
    assert!(runs(8 << 12).iter().all(Result::is_ok));
    for run in runs(4 << 12) {
        let error = run.unwrap_err();
        assert!(matches!(error, RunError::OverLimit { limit: 16384, .. }), "{error}");
    }
}

/// Positions along an axis need memory too.
#[test]
fn an_empty_array_may_not_be_endless() {
    let graph = net(&[("x", &[1, 3])])
        .constant("repeats", Tensor::from_vec(&[2], vec![1_i64 << 28, 0]))
        .node("Tile", &["x", "repeats"], "y")
        .outputs(&["y"]);
    let engine = Reference::new(&graph, (1 << 30) - 4);
    let error = engine.run(&inputs(&graph), &Changes::default(), Keep::All).unwrap_err();
    let text = error.to_string();
    let expected = "would make 1073741824 bytes, more than the limit of 1073741820";
    assert!(text.ends_with(expected), "{text}");
}

/// `Col2Im` makes a list of its block's places, of which an input without data says nothing.
#[test]
fn what_has_no_elements_is_not_computed() {
    let sizes = Tensor::from_vec(&[2], vec![1_i64 << 20, 1 << 7]);
    let graph = net(&[("x", &[1, 0, 1])])
        .constant("image", sizes.clone())
        .constant("block", sizes)
        .node("Col2Im", &["x", "image", "block"], "y")
        .outputs(&["y"]);
    let engine = Reference::new(&graph, 1 << 30);
    let values = engine.run(&inputs(&graph), &Changes::default(), Keep::All).unwrap();
    let y = values.get(graph.outputs()[0]).unwrap();
    assert_eq!(y.ty(), TensorType::f32(&[1, 0, 1 << 20, 1 << 7]));
}

#[test]
fn a_failing_node_is_named_with_what_it_was_given() {
    let graph =
        net(&[("x", &[2, 3]), ("z", &[2, 4])]).node("Add", &["x", "z"], "y").outputs(&["y"]);
    let engine = Reference::new(&graph, usize::MAX);
    let error = engine.run(&inputs(&graph), &Changes::default(), Keep::All).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("node `y` (Add) with inputs float32 [2, 3], float32 [2, 4]: "),
        "{text}"
    );
}
