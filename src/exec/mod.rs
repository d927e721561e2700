//! Runs a graph, whole or from changed values on. Knows nothing of bit-widths: it is handed values
//! that replace constants, and hooks that see a value when it is made.

mod reference;

use std::collections::BTreeMap;

pub use reference::Reference;

use crate::graph::{Node, ValueId};
use crate::ops::OpError;
use crate::tensor::{Tensor, TensorType};

/// Changes a value when it is made (fake quantization). Called from several threads.
pub trait ValueHook: Send + Sync {
    fn apply(&self, value: &mut Tensor);
}

/// What differs from the network as loaded.
#[derive(Default, Clone)]
pub struct Changes<'a> {
    /// Constants with other values, of the same type.
    pub constants: BTreeMap<ValueId, Tensor>,
    /// Applied to inputs and to what nodes make.
    pub hooks: BTreeMap<ValueId, &'a dyn ValueHook>,
}

/// The values of one pass, by id.
#[derive(Debug, Clone)]
pub struct Values(Vec<Option<Tensor>>);

impl Values {
    pub fn get(&self, id: ValueId) -> Option<&Tensor> {
        self.0[id.index()].as_ref()
    }

    /// Bytes held; tensors that share storage count each.
    pub fn size_bytes(&self) -> usize {
        self.0.iter().flatten().map(Tensor::size_bytes).sum()
    }
}

/// Which values a pass keeps besides the outputs of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Outputs,
    All,
}

/// Runs a graph. Implementations differ in speed, not in meaning.
pub trait Engine: Send + Sync {
    /// One pass from the inputs, in the order of the graph's inputs.
    fn run(&self, inputs: &[Tensor], changes: &Changes<'_>, keep: Keep)
    -> Result<Values, RunError>;

    /// What changes do to a pass that kept all values: recomputes only what depends on them.
    /// Holds the outputs of the graph, recomputed or shared with `base`.
    fn rerun(&self, base: &Values, changes: &Changes<'_>) -> Result<Values, RunError>;
}

/// Why a pass failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    #[error("node `{node}` ({op_type}) with inputs {}: {error}", types_text(inputs))]
    Node { node: String, op_type: String, inputs: Vec<Option<TensorType>>, error: OpError },

    #[error("input `{name}` is {found}, expected {expected}")]
    Input { name: String, found: TensorType, expected: String },

    #[error("found {found} inputs, expected {expected}")]
    InputCount { found: usize, expected: usize },
}

impl RunError {
    fn of_node(node: &Node, inputs: &[Option<Tensor>], error: OpError) -> RunError {
        let inputs = &inputs[..node.n_operands];
        let inputs = inputs.iter().map(|input| input.as_ref().map(Tensor::ty)).collect();
        RunError::Node { node: node.name.clone(), op_type: node.op_type.clone(), inputs, error }
    }

    /// The error as the node that has the subgraph sees it.
    fn in_body(self) -> OpError {
        match self {
            RunError::Node { node, op_type, error, .. } => OpError::body(&node, &op_type, error),
            // A subgraph is passed what its node has checked.
            other => OpError::NotSupported { what: other.to_string() },
        }
    }
}

fn types_text(types: &[Option<TensorType>]) -> String {
    let text = |ty: &Option<TensorType>| match ty {
        Some(ty) => ty.to_string(),
        None => "nothing".to_owned(),
    };
    types.iter().map(text).collect::<Vec<_>>().join(", ")
}
