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
        let outputs = match ops::infer(&*node.operator, &inputs) {
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
mod tests;
