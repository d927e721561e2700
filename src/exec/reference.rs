//! The reference engine: node by node, each operator's `eval`.

use std::collections::BTreeMap;

use crate::exec::values::Stored;
use crate::exec::{Changes, Engine, Keep, RunError, Values, Visit};
use crate::graph::{Dim, Graph, GraphInput, Node, NodeId, ValueId};
use crate::ops::{self, Bodies, Input, Inputs, OpError};
use crate::tensor::{DType, Tensor, TensorType};

/// Evaluates one node after the other; what tests trust.
#[derive(Debug)]
pub struct Reference<'g> {
    main: Scope<'g>,
    limit_bytes: usize,
}

/// A graph with what is worth knowing before it runs.
#[derive(Debug)]
struct Scope<'g> {
    graph: &'g Graph,
    /// For every value the last node that reads it.
    last_reader: Vec<Option<NodeId>>,
    /// Of the nodes that have subgraphs.
    bodies: BTreeMap<NodeId, Vec<Scope<'g>>>,
}

impl<'g> Scope<'g> {
    fn new(graph: &'g Graph) -> Scope<'g> {
        let last_reader = graph.readers().iter().map(|list| list.last().copied()).collect();
        let with_bodies = graph.nodes().filter(|(_, node)| !node.bodies.is_empty());
        let scopes =
            |node: &'g Node| node.bodies.iter().map(|body| Scope::new(&body.graph)).collect();
        let bodies = with_bodies.map(|(id, node)| (id, scopes(node))).collect();
        Scope { graph, last_reader, bodies }
    }

    /// Frees what no later node reads.
    fn drop_unneeded(&self, id: NodeId, node: &Node, values: &mut [Option<Tensor>]) {
        let is_dead = |last: Option<NodeId>, value: ValueId| {
            self.last_reader[value.index()] == last && !self.graph.is_output(value)
        };
        let read = node.present_inputs().map(|(_, input)| input);
        let read = read.filter(|&input| is_dead(Some(id), input));
        let unread = node.present_outputs().filter(|&output| is_dead(None, output));
        read.chain(unread).for_each(|value| values[value.index()] = None);
    }

    fn constant(&self, id: ValueId, changes: &Changes<'_>) -> Option<Tensor> {
        let changed = changes.constants.get(&id).map(|changed| changed.tensor().into_owned());
        changed.or_else(|| self.graph.constant(id).map(|c| c.tensor().clone()))
    }

    /// Constants that are outputs of the graph themselves.
    fn add_constant_outputs(&self, values: &mut [Option<Tensor>], changes: &Changes<'_>) {
        for &output in self.graph.outputs() {
            if values[output.index()].is_none() {
                values[output.index()] = self.constant(output, changes);
            }
        }
    }
}

impl<'g> Reference<'g> {
    /// A pass may not hold more than `limit_bytes` at once of what its nodes make.
    pub fn new(graph: &'g Graph, limit_bytes: usize) -> Reference<'g> {
        Reference { main: Scope::new(graph), limit_bytes }
    }

    /// The type of every value in a pass; what no node needs any more is dropped.
    pub fn types(&self, inputs: &[Tensor]) -> Result<Vec<Option<TensorType>>, RunError> {
        let graph = self.main.graph;
        check_inputs(graph, inputs)?;
        let mut values: Vec<Option<Tensor>> = vec![None; graph.n_values()];
        let mut types: Vec<Option<TensorType>> = vec![None; graph.n_values()];
        for (input, tensor) in graph.inputs().iter().zip(inputs) {
            types[input.value.index()] = Some(tensor.ty());
            values[input.value.index()] = Some(tensor.clone());
        }
        let mut seen = |id: ValueId, tensor: &Tensor| types[id.index()] = Some(tensor.ty());
        self.pass(&self.main, values, &Changes::default(), Keep::Outputs, &mut seen)?;
        Ok(types)
    }

    /// All nodes in turn; `values` holds what is given, `seen` is shown what is made.
    fn pass(
        &self,
        scope: &Scope<'_>,
        mut values: Vec<Option<Tensor>>,
        changes: &Changes<'_>,
        keep: Keep,
        seen: &mut dyn FnMut(ValueId, &Tensor),
    ) -> Result<Vec<Option<Tensor>>, RunError> {
        let mut held = Held::new(values.len());
        for (id, node) in scope.graph.nodes() {
            let value =
                |id: ValueId| values[id.index()].clone().or_else(|| scope.constant(id, changes));
            let outputs = self.evaluate(scope, id, node, held.bytes, value)?;
            for (output, tensor) in node.outputs.iter().zip(outputs) {
                let Some(output) = output else { continue };
                let tensor = hooked(*output, tensor, changes);
                seen(*output, &tensor);
                held.add(*output, tensor.size_bytes());
                values[output.index()] = Some(tensor);
            }
            if keep == Keep::Outputs {
                scope.drop_unneeded(id, node, &mut values);
                let touched = node.present_inputs().map(|(_, input)| input);
                let touched = touched.chain(node.present_outputs());
                touched.filter(|id| values[id.index()].is_none()).for_each(|id| held.remove(id));
            }
        }
        scope.add_constant_outputs(&mut values, changes);
        Ok(values)
    }

    /// One node of the main graph, where there are `held` bytes of values.
    pub(super) fn node(
        &self,
        id: NodeId,
        held: usize,
        value: impl Fn(ValueId) -> Option<Tensor>,
    ) -> Result<Vec<Tensor>, RunError> {
        self.evaluate(&self.main, id, self.main.graph.node(id), held, value)
    }

    fn evaluate(
        &self,
        scope: &Scope<'_>,
        id: NodeId,
        node: &Node,
        held: usize,
        value: impl Fn(ValueId) -> Option<Tensor>,
    ) -> Result<Vec<Tensor>, RunError> {
        self.expect_room_for_pass(held)?;
        let tensors: Vec<Option<Tensor>> =
            node.inputs.iter().map(|id| id.and_then(&value)).collect();
        let types: Vec<Option<TensorType>> =
            tensors.iter().map(|t| t.as_ref().map(Tensor::ty)).collect();
        let items: Vec<Option<Input<'_>>> = types
            .iter()
            .zip(&tensors)
            .map(|(ty, value)| Some(Input { ty: ty.as_ref()?, value: value.as_ref() }))
            .collect();
        let scopes = scope.bodies.get(&id).map_or(&[][..], Vec::as_slice);
        let mut bodies = Running { engine: self, node, scopes, tensors: &tensors };
        let body_types = node.body_types(&items);
        let inputs = Inputs::new(&items[..node.n_operands], node.n_outputs());
        let inputs = inputs.with_bodies(&body_types);
        let outputs = match node.operator.infer(&inputs) {
            Ok(types) => inputs
                .expect_outputs(types.len())
                .and_then(|()| self.expect_room(&types))
                .and_then(|()| ops::evaluate(&*node.operator, &inputs, &types, &mut bodies)),
            Err(OpError::NeedsRun) => node.operator.eval(&inputs, &mut bodies),
            Err(error) => Err(error),
        };
        outputs.map_err(|error| RunError::of_node(node, &tensors, error))
    }

    /// One node more may make as much as there is room for: what is held comes to no more than twice
    /// the limit.
    fn expect_room_for_pass(&self, held: usize) -> Result<(), RunError> {
        if held <= self.limit_bytes {
            return Ok(());
        }
        Err(RunError::OverLimit { found: held, limit: self.limit_bytes })
    }

    fn expect_room(&self, types: &[TensorType]) -> Result<(), OpError> {
        let found = types.iter().fold(0, |sum: usize, ty| sum.saturating_add(ty.span_bytes()));
        if found <= self.limit_bytes {
            return Ok(());
        }
        Err(OpError::OverLimit { found, limit: self.limit_bytes })
    }
}

/// What nodes have made and a pass still holds.
struct Held {
    bytes: usize,
    sizes: Vec<usize>,
}

impl Held {
    fn new(n_values: usize) -> Held {
        Held { bytes: 0, sizes: vec![0; n_values] }
    }

    fn add(&mut self, id: ValueId, bytes: usize) {
        self.remove(id);
        self.sizes[id.index()] = bytes;
        self.bytes += bytes;
    }

    fn remove(&mut self, id: ValueId) {
        self.bytes -= std::mem::take(&mut self.sizes[id.index()]);
    }
}

/// The subgraphs of a node that is being evaluated.
struct Running<'a, 'g> {
    engine: &'a Reference<'g>,
    node: &'a Node,
    scopes: &'a [Scope<'g>],
    /// All inputs of the node, captured ones too.
    tensors: &'a [Option<Tensor>],
}

impl Bodies for Running<'_, '_> {
    fn run(&mut self, body: usize, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, OpError> {
        let (Some(scope), Some(spec)) = (self.scopes.get(body), self.node.bodies.get(body)) else {
            return Err(OpError::MissingBody { body });
        };
        let mut values: Vec<Option<Tensor>> = vec![None; scope.graph.n_values()];
        for (id, tensor) in spec.inputs.iter().zip(inputs) {
            values[id.index()] = Some(tensor);
        }
        for &(position, id) in &spec.captures {
            values[id.index()] = self.tensors[position].clone();
        }
        let values =
            self.engine.pass(scope, values, &Changes::default(), Keep::Outputs, &mut |_, _| ());
        let values = values.map_err(RunError::in_body)?;
        let output = |id: &ValueId| {
            values[id.index()].clone().ok_or_else(|| OpError::MissingInput {
                name: scope.graph.value_name(*id).to_owned(),
            })
        };
        scope.graph.outputs().iter().map(output).collect()
    }

    fn limit_bytes(&self) -> usize {
        self.engine.limit_bytes
    }
}

impl Engine for Reference<'_> {
    fn run(
        &self,
        inputs: &[Tensor],
        changes: &Changes<'_>,
        keep: Keep,
    ) -> Result<Values, RunError> {
        let graph = self.main.graph;
        check_inputs(graph, inputs)?;
        let mut values: Vec<Option<Tensor>> = vec![None; graph.n_values()];
        for (input, tensor) in graph.inputs().iter().zip(inputs) {
            values[input.value.index()] = Some(hooked(input.value, tensor.clone(), changes));
        }
        let values = self.pass(&self.main, values, changes, keep, &mut |_, _| ())?;
        Ok(stored(values, inputs.to_vec()))
    }

    fn observe(&self, inputs: &[Tensor], visit: Visit<'_>) -> Result<(), RunError> {
        check_inputs(self.main.graph, inputs)?;
        let mut values: Vec<Option<Tensor>> = vec![None; self.main.graph.n_values()];
        for (input, tensor) in self.main.graph.inputs().iter().zip(inputs) {
            values[input.value.index()] = Some(tensor.clone());
        }
        let mut seen = |id: ValueId, tensor: &Tensor| {
            if let Some(elements) = tensor.try_slice::<f32>() {
                visit(id, elements);
            }
        };
        for (input, tensor) in self.main.graph.inputs().iter().zip(inputs) {
            seen(input.value, tensor);
        }
        self.pass(&self.main, values, &Changes::default(), Keep::Outputs, &mut seen).map(|_| ())
    }

    fn rerun(
        &self,
        base: &Values,
        before: &Changes<'_>,
        changes: &Changes<'_>,
        keep: Keep,
    ) -> Result<Values, RunError> {
        let (scope, graph) = (&self.main, self.main.graph);
        let different = changes.differences(before);
        let mut fresh: Vec<Option<Tensor>> = vec![None; graph.n_values()];
        for (input, tensor) in graph.inputs().iter().zip(&base.inputs) {
            let is_different = different.contains(&input.value);
            fresh[input.value.index()] =
                is_different.then(|| hooked(input.value, tensor.clone(), changes));
        }
        for (id, node) in graph.nodes() {
            let is_changed = node
                .present_inputs()
                .any(|(_, input)| fresh[input.index()].is_some() || different.contains(&input));
            // A value that was rounded in another way has to be made again.
            let is_lost =
                |output: ValueId| different.contains(&output) && before.hooks.contains_key(&output);
            if is_changed || node.present_outputs().any(is_lost) {
                let value = |id: ValueId| {
                    let known = fresh[id.index()].clone().or_else(|| base.get(id).cloned());
                    known.or_else(|| scope.constant(id, changes))
                };
                let outputs = self.evaluate(scope, id, node, 0, value)?;
                for (output, tensor) in node.outputs.iter().zip(outputs) {
                    let Some(output) = output else { continue };
                    fresh[output.index()] = Some(hooked(*output, tensor, changes));
                }
                if keep == Keep::Outputs {
                    scope.drop_unneeded(id, node, &mut fresh);
                }
            } else {
                for output in node.present_outputs().filter(|output| different.contains(output)) {
                    let value = base.get(output).expect("`base` kept all values").clone();
                    fresh[output.index()] = Some(hooked(output, value, changes));
                }
            }
        }
        let kept = graph.value_ids().filter(|&id| keep == Keep::All || graph.is_output(id));
        for id in kept {
            let slot = &mut fresh[id.index()];
            *slot = slot.take().or_else(|| base.get(id).cloned());
        }
        scope.add_constant_outputs(&mut fresh, changes);
        Ok(stored(fresh, base.inputs.clone()))
    }
}

fn stored(values: Vec<Option<Tensor>>, inputs: Vec<Tensor>) -> Values {
    Values { values: values.into_iter().map(|value| value.map(Stored::from)).collect(), inputs }
}

pub(super) fn hooked(id: ValueId, mut value: Tensor, changes: &Changes<'_>) -> Tensor {
    if let Some(hook) = changes.hooks.get(&id).filter(|_| value.dtype() == DType::F32) {
        hook.apply(value.slice_mut::<f32>());
    }
    value
}

pub(super) fn check_inputs(graph: &Graph, inputs: &[Tensor]) -> Result<(), RunError> {
    if inputs.len() != graph.inputs().len() {
        let expected = graph.inputs().len();
        return Err(RunError::InputCount { found: inputs.len(), expected });
    }
    for (input, tensor) in graph.inputs().iter().zip(inputs) {
        if !fits(input, tensor) {
            return Err(RunError::Input {
                name: graph.value_name(input.value).to_owned(),
                found: tensor.ty(),
                expected: format!("{} {}", input.dtype, input.shape_text()),
            });
        }
    }
    Ok(())
}

fn fits(input: &GraphInput, tensor: &Tensor) -> bool {
    let dim_fits = |(dim, &size): (&Dim, &usize)| dim.fixed().is_none_or(|fixed| fixed == size);
    input.dtype == tensor.dtype()
        && input.dims.len() == tensor.rank()
        && input.dims.iter().zip(tensor.shape()).all(dim_fits)
}

#[cfg(test)]
mod tests {
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
            let partial =
                engine.rerun(&base, &Changes::default(), &changes, Keep::Outputs).unwrap();
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
}
