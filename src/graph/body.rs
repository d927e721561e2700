//! [`Body`]: a subgraph of a node (`If`, `Loop`, `Scan`).

use crate::graph::{Graph, Node, ValueId, infer};
use crate::ops::{BodyTypes, Input, OpError};
use crate::tensor::TensorType;

/// A graph that a node runs, with values of the graph around it.
#[derive(Debug, Clone)]
pub struct Body {
    /// Has no inputs in the sense of [`Graph::inputs`]: their types are those of what is passed.
    pub graph: Graph,
    /// What the node passes at each run, by position.
    pub inputs: Vec<ValueId>,
    /// What is read of the graph around: the position among the node's inputs, the value here.
    pub captures: Vec<(usize, ValueId)>,
}

impl Node {
    /// The subgraphs for shape inference; `inputs` are all inputs of the node, captured ones too.
    pub fn body_types<'a>(&'a self, inputs: &'a [Option<Input<'a>>]) -> impl BodyTypes {
        NodeBodies { node: self, inputs }
    }
}

#[derive(Debug)]
struct NodeBodies<'a> {
    node: &'a Node,
    inputs: &'a [Option<Input<'a>>],
}

impl BodyTypes for NodeBodies<'_> {
    fn arity(&self, body: usize) -> Option<(usize, usize)> {
        let body = self.node.bodies.get(body)?;
        Some((body.inputs.len(), body.graph.outputs().len()))
    }

    fn infer(&self, body: usize, inputs: &[Option<Input<'_>>]) -> Result<Vec<TensorType>, OpError> {
        let body = self.node.bodies.get(body).ok_or(OpError::MissingBody { body })?;
        let passed = body.inputs.iter().copied().zip(inputs.iter().copied());
        let captured = body.captures.iter().map(|&(position, id)| (id, self.inputs[position]));
        let given = passed.chain(captured).filter_map(|(id, input)| Some((id, input?)));
        let types = infer::infer_body(&body.graph, given);
        if let Some(error) = types.errors.first() {
            return Err(OpError::body(&error.node, &error.op_type, error.error.clone()));
        }
        let ty = |&id: &ValueId| types.get(id).cloned();
        let known: Option<Vec<TensorType>> = body.graph.outputs().iter().map(ty).collect();
        known.ok_or(OpError::NeedsRun)
    }
}
