//! The reference engine: node by node, each operator's `eval`.

use crate::exec::{Changes, Engine, Keep, RunError, Values};
use crate::graph::{Dim, Graph, GraphInput, Node, NodeId, ValueId};
use crate::ops::{Input, Inputs, NoBodies};
use crate::tensor::{Tensor, TensorType};

/// Evaluates one node after the other; what tests trust.
#[derive(Debug)]
pub struct Reference<'g> {
    graph: &'g Graph,
    /// For every value the last node that reads it.
    last_reader: Vec<Option<NodeId>>,
    limit_bytes: usize,
}

impl<'g> Reference<'g> {
    /// No node may make more than `limit_bytes` at once.
    pub fn new(graph: &'g Graph, limit_bytes: usize) -> Reference<'g> {
        let last_reader = graph.readers().iter().map(|list| list.last().copied()).collect();
        Reference { graph, last_reader, limit_bytes }
    }

    fn evaluate(
        &self,
        node: &Node,
        value: impl Fn(ValueId) -> Option<Tensor>,
    ) -> Result<Vec<Tensor>, RunError> {
        let tensors: Vec<Option<Tensor>> =
            node.inputs.iter().map(|id| id.and_then(&value)).collect();
        let types: Vec<Option<TensorType>> =
            tensors.iter().map(|t| t.as_ref().map(Tensor::ty)).collect();
        let items: Vec<Option<Input<'_>>> = types
            .iter()
            .zip(&tensors)
            .map(|(ty, value)| Some(Input { ty: ty.as_ref()?, value: value.as_ref() }))
            .collect();
        let inputs = Inputs::new(&items, node.n_outputs());
        let outputs = node.operator.infer(&inputs).and_then(|output_types| {
            inputs.expect_outputs(output_types.len())?;
            let found =
                output_types.iter().fold(0, |sum: usize, ty| sum.saturating_add(ty.size_bytes()));
            if self.limit_bytes < found {
                return Ok(Err(found));
            }
            node.operator.eval(&inputs, &mut NoBodies).map(Ok)
        });
        match outputs {
            Ok(Ok(outputs)) => Ok(outputs),
            Ok(Err(found)) => Err(RunError::TooLarge {
                node: node.name.clone(),
                op_type: node.op_type.clone(),
                found,
                limit: self.limit_bytes,
            }),
            Err(error) => Err(RunError::Node {
                node: node.name.clone(),
                op_type: node.op_type.clone(),
                inputs: types,
                error,
            }),
        }
    }

    /// Frees what no later node reads.
    fn drop_unneeded(&self, id: NodeId, node: &Node, values: &mut [Option<Tensor>]) {
        for (_, input) in node.present_inputs() {
            if self.last_reader[input.index()] == Some(id) && !self.graph.is_output(input) {
                values[input.index()] = None;
            }
        }
        for output in node.present_outputs() {
            if self.last_reader[output.index()].is_none() && !self.graph.is_output(output) {
                values[output.index()] = None;
            }
        }
    }

    fn constant(&self, id: ValueId, changes: &Changes<'_>) -> Option<Tensor> {
        let changed = changes.constants.get(&id);
        changed.or_else(|| self.graph.constant(id).map(|c| c.tensor())).cloned()
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

impl Engine for Reference<'_> {
    fn run(
        &self,
        inputs: &[Tensor],
        changes: &Changes<'_>,
        keep: Keep,
    ) -> Result<Values, RunError> {
        check_inputs(self.graph, inputs)?;
        let mut values: Vec<Option<Tensor>> = vec![None; self.graph.n_values()];
        for (input, tensor) in self.graph.inputs().iter().zip(inputs) {
            values[input.value.index()] = Some(hooked(input.value, tensor.clone(), changes));
        }
        for (id, node) in self.graph.nodes() {
            let value =
                |id: ValueId| values[id.index()].clone().or_else(|| self.constant(id, changes));
            let outputs = self.evaluate(node, value)?;
            for (output, tensor) in node.outputs.iter().zip(outputs) {
                let Some(output) = output else { continue };
                values[output.index()] = Some(hooked(*output, tensor, changes));
            }
            if keep == Keep::Outputs {
                self.drop_unneeded(id, node, &mut values);
            }
        }
        self.add_constant_outputs(&mut values, changes);
        Ok(Values(values))
    }

    fn rerun(&self, base: &Values, changes: &Changes<'_>) -> Result<Values, RunError> {
        let mut fresh: Vec<Option<Tensor>> = vec![None; self.graph.n_values()];
        let rehooked = |id: ValueId| {
            changes.hooks.contains_key(&id).then(|| {
                let value = base.get(id).expect("`base` kept all values").clone();
                hooked(id, value, changes)
            })
        };
        for input in self.graph.inputs() {
            fresh[input.value.index()] = rehooked(input.value);
        }
        for (id, node) in self.graph.nodes() {
            let is_changed = node.present_inputs().any(|(_, input)| {
                fresh[input.index()].is_some() || changes.constants.contains_key(&input)
            });
            if is_changed {
                let value = |id: ValueId| {
                    let known = fresh[id.index()].clone().or_else(|| base.get(id).cloned());
                    known.or_else(|| self.constant(id, changes))
                };
                let outputs = self.evaluate(node, value)?;
                for (output, tensor) in node.outputs.iter().zip(outputs) {
                    let Some(output) = output else { continue };
                    fresh[output.index()] = Some(hooked(*output, tensor, changes));
                }
                self.drop_unneeded(id, node, &mut fresh);
            } else {
                for output in node.present_outputs() {
                    fresh[output.index()] = rehooked(output);
                }
            }
        }
        for &output in self.graph.outputs() {
            let slot = &mut fresh[output.index()];
            *slot = slot.take().or_else(|| base.get(output).cloned());
        }
        self.add_constant_outputs(&mut fresh, changes);
        Ok(Values(fresh))
    }
}

fn hooked(id: ValueId, mut value: Tensor, changes: &Changes<'_>) -> Tensor {
    if let Some(hook) = changes.hooks.get(&id) {
        hook.apply(&mut value);
    }
    value
}

fn check_inputs(graph: &Graph, inputs: &[Tensor]) -> Result<(), RunError> {
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
    use super::*;
    use crate::exec::ValueHook;
    use crate::graph::testing::{evaluate, inputs, net};

    struct Round;

    impl ValueHook for Round {
        fn apply(&self, value: &mut Tensor) {
            value.slice_mut::<f32>().iter_mut().for_each(|x| *x = (*x * 4.).round() / 4.);
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
                Round.apply(&mut tensor);
                changes.constants.insert(id(name), tensor);
            }
            let whole = engine.run(&inputs(&graph), &changes, Keep::Outputs).unwrap();
            let partial = engine.rerun(&base, &changes).unwrap();
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
        base.0[stem.index()] = Some(Tensor::full(&[1, 4, 4, 4], 7_f32));
        let mut changes = Changes::default();
        changes.hooks.insert(graph.find_value("left").unwrap(), &Round);
        let rerun = engine.rerun(&base, &changes).unwrap();
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
        let text = "node `stem` (Conv) would make 256 bytes, more than the limit of 255";
        assert_eq!(run(255, &inputs(&graph)), text);
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
