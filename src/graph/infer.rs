//! Shape inference: the type of every value, and the values of what is small and known.

use crate::graph::{Graph, Node, ValueId};
use crate::ops::{self, ErrorKind, Input, Inputs, NoBodies, OpError};
use crate::tensor::{Tensor, TensorType};

/// Larger tensors are not looked into: shapes, axes, scales and the like are small.
const LARGEST_LOOKED_INTO: usize = 4096;

/// One bad node. [`OpError`] says what is wrong; this adds where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node `{node}` ({op_type}, opset {opset}): {error}")]
pub struct NodeError {
    pub node: String,
    pub op_type: String,
    pub opset: u16,
    pub error: OpError,
}

impl NodeError {
    pub(crate) fn new(node: &Node, error: OpError) -> NodeError {
        NodeError {
            node: node.name.clone(),
            op_type: node.op_type.clone(),
            opset: node.opset,
            error,
        }
    }
}

/// What is known without running the network.
#[derive(Debug, Clone)]
pub struct Types {
    types: Vec<Option<TensorType>>,
    values: Vec<Option<Tensor>>,
    /// Every node that cannot be evaluated, with the reason.
    pub errors: Vec<NodeError>,
}

impl Types {
    /// The type of a value; `None` where it depends on values that are not known.
    pub fn get(&self, id: ValueId) -> Option<&TensorType> {
        self.types[id.index()].as_ref()
    }

    /// A value that is small and known.
    pub fn value(&self, id: ValueId) -> Option<&Tensor> {
        self.values[id.index()].as_ref()
    }

    /// Whether the type of everything that nodes make is known.
    pub fn are_complete(&self, graph: &Graph) -> bool {
        let mut made = graph.nodes().flat_map(|(_, node)| node.present_outputs());
        made.all(|id| self.get(id).is_some())
    }

    /// Adds types that a pass has shown; those that are known stay.
    pub fn observe(&mut self, seen: impl Fn(ValueId) -> Option<TensorType>) {
        for (index, ty) in self.types.iter_mut().enumerate() {
            if ty.is_none() {
                *ty = seen(ValueId::new(index));
            }
        }
    }

    /// The inputs of a node as its operator sees them; `None` if a type is not known.
    pub fn with_inputs<R>(&self, node: &Node, f: impl FnOnce(&Inputs<'_>) -> R) -> Option<R> {
        let input = |id: &Option<ValueId>| match id {
            None => Some(None),
            Some(id) => {
                let ty = self.types[id.index()].as_ref()?;
                Some(Some(Input { ty, value: self.values[id.index()].as_ref() }))
            }
        };
        let items: Option<Vec<Option<Input<'_>>>> = node.inputs.iter().map(input).collect();
        let items = items?;
        let bodies = node.body_types(&items);
        let operands = &items[..node.n_operands];
        Some(f(&Inputs::new(operands, node.n_outputs()).with_bodies(&bodies)))
    }

    /// The types of all outputs of a node, also of those left out; `None` if one is not known.
    pub fn outputs(&self, node: &Node) -> Option<Vec<TensorType>> {
        let known = node.outputs.iter().map(|id| self.types[(*id)?.index()].clone()).collect();
        let inferred =
            || self.with_inputs(node, |inputs| ops::infer(&*node.operator, inputs).ok())?;
        Option::or_else(known, inferred)
    }
}

/// Types of all values, given those of the inputs. Goes on behind a bad node as far as it can.
///
/// # Panics
/// If there are not as many types as inputs.
pub fn infer(graph: &Graph, inputs: &[TensorType]) -> Types {
    assert_eq!(inputs.len(), graph.inputs().len(), "a type for each input");
    let mut types = of_constants(graph);
    for (input, ty) in graph.inputs().iter().zip(inputs) {
        types.types[input.value.index()] = Some(ty.clone());
    }
    infer_nodes(graph, &mut types);
    types
}

/// The same for a subgraph, given what is passed to it or captured.
pub(super) fn infer_body<'a>(
    graph: &Graph,
    given: impl Iterator<Item = (ValueId, Input<'a>)>,
) -> Types {
    let mut types = of_constants(graph);
    for (id, input) in given {
        types.types[id.index()] = Some(input.ty.clone());
        types.values[id.index()] =
            input.value.filter(|value| value.len() <= LARGEST_LOOKED_INTO).cloned();
    }
    infer_nodes(graph, &mut types);
    types
}

fn of_constants(graph: &Graph) -> Types {
    Types {
        types: graph.values.iter().map(|v| v.constant.as_ref().map(|c| c.ty().clone())).collect(),
        values: graph.values.iter().map(|v| small_value(v.constant.as_ref())).collect(),
        errors: Vec::new(),
    }
}

fn infer_nodes(graph: &Graph, types: &mut Types) {
    for (_, node) in graph.nodes() {
        let result = types.with_inputs(node, |inputs| infer_node(node, inputs));
        match result {
            None => {}
            Some(Err(error)) if error.kind() == ErrorKind::NeedsValue => {}
            Some(Err(error)) => types.errors.push(NodeError::new(node, error)),
            Some(Ok((output_types, output_values))) => {
                let ids = node.outputs.iter();
                for ((id, ty), value) in ids.zip(output_types).zip(output_values) {
                    let Some(id) = id else { continue };
                    types.types[id.index()] = Some(ty);
                    types.values[id.index()] = value;
                }
            }
        }
    }
}

fn small_value(constant: Option<&crate::graph::Constant>) -> Option<Tensor> {
    let constant = constant?;
    (constant.ty().len() <= LARGEST_LOOKED_INTO).then(|| constant.tensor().clone())
}

type Known = (Vec<TensorType>, Vec<Option<Tensor>>);

fn infer_node(node: &Node, inputs: &Inputs<'_>) -> Result<Known, OpError> {
    let types = ops::infer(&*node.operator, inputs)?;
    inputs.expect_outputs(types.len())?;
    let small = types.iter().all(|ty| ty.span() <= LARGEST_LOOKED_INTO);
    let all_known = (0..inputs.len())
        .all(|i| inputs.get(i).is_none_or(|input| input.value.is_some()))
        || !node.operator.reads_values();
    if !small || !all_known || !node.bodies.is_empty() {
        let values = vec![None; types.len()];
        return Ok((types, values));
    }
    let values = ops::evaluate(&*node.operator, inputs, &types, &mut NoBodies)?;
    Ok((types, values.into_iter().map(Some).collect()))
}
