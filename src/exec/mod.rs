//! Runs a graph, whole or from changed values on. Knows nothing of bit-widths: it is handed values
//! that replace constants, and hooks that see a value when it is made.

mod fast;
mod prepared;
mod reference;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub use fast::Fast;
pub use prepared::Prepared;
pub use reference::Reference;
pub use values::Values;

use crate::graph::{Graph, Node, ValueId};
use crate::kernels::sum_squared_difference;
use crate::ops::OpError;
use crate::tensor::{Tensor, TensorType};

/// Changes a float32 value when it is made, each element on its own (fake quantization). Called from
/// several threads.
pub trait ValueHook: Send + Sync {
    /// `x` is any part of the value, in any order; there may be elements between that no one reads.
    fn apply(&self, x: &mut [f32]);
}

/// What differs from the network as loaded.
#[derive(Default, Clone)]
pub struct Changes<'a> {
    /// Constants with other values, of the same type.
    pub constants: BTreeMap<ValueId, Arc<Prepared>>,
    /// Applied to inputs and to what nodes make, where it is float32.
    pub hooks: BTreeMap<ValueId, &'a dyn ValueHook>,
}

impl Changes<'_> {
    /// Whether a value is changed in another way by others.
    fn differ(&self, id: ValueId, others: &Changes<'_>) -> bool {
        self.hooks_differ(id, others)
            || match (self.constants.get(&id), others.constants.get(&id)) {
                (None, None) => false,
                (Some(mine), Some(theirs)) => !Arc::ptr_eq(mine, theirs),
                _ => true,
            }
    }

    fn hooks_differ(&self, id: ValueId, others: &Changes<'_>) -> bool {
        match (self.hooks.get(&id), others.hooks.get(&id)) {
            (None, None) => false,
            (Some(mine), Some(theirs)) => !std::ptr::addr_eq(*mine, *theirs),
            _ => true,
        }
    }

    /// Every value that is changed in another way by others.
    fn differences(&self, others: &Changes<'_>) -> BTreeSet<ValueId> {
        let mine = self.hooks.keys().chain(self.constants.keys());
        let all = mine.chain(others.hooks.keys()).chain(others.constants.keys());
        all.copied().filter(|&id| self.differ(id, others)).collect()
    }

    /// Whether others change the same values in the same way.
    pub fn are_same(&self, others: &Changes<'_>) -> bool {
        self.hooks.len() == others.hooks.len()
            && self.constants.len() == others.constants.len()
            && self.differences(others).is_empty()
    }
}

/// Which values a pass keeps besides the outputs of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Outputs,
    /// What a pass from there on may begin with: inputs, and every value that the engine stores.
    All,
}

/// Is shown parts of values.
pub type Visit<'a> = &'a mut dyn FnMut(ValueId, &[f32]);

/// Runs a graph. Implementations differ in speed, not in meaning.
pub trait Engine: Send + Sync {
    /// One pass from the inputs, in the order of the graph's inputs.
    fn run(&self, inputs: &[Tensor], changes: &Changes<'_>, keep: Keep)
    -> Result<Values, RunError>;

    /// One pass that gives `visit` the elements of every float32 value that the engine stores, inputs
    /// too, in parts, in no particular order, and holds no value for longer than it is needed.
    fn observe(&self, inputs: &[Tensor], visit: Visit<'_>) -> Result<(), RunError>;

    /// A pass with the inputs of `base`, which kept all values under the changes `before`: recomputes
    /// only what depends on a difference between these and `changes`.
    fn rerun(
        &self,
        base: &Values,
        before: &Changes<'_>,
        changes: &Changes<'_>,
        keep: Keep,
    ) -> Result<Values, RunError>;

    /// How much the float32 `outputs` of passes with the inputs of `bases` under `changes` differ from
    /// the bases', in `n_parts` equal parts of each output. All bases kept all values without any
    /// change.
    fn differences(
        &self,
        bases: &[&Values],
        changes: &Changes<'_>,
        outputs: &[ValueId],
        n_parts: usize,
    ) -> Vec<Result<Vec<Difference>, RunError>> {
        let one = |base: &&Values| {
            let changed = self.rerun(base, &Changes::default(), changes, Keep::Outputs)?;
            Ok(Difference::all(base, &changed, outputs, n_parts))
        };
        bases.iter().map(one).collect()
    }
}

/// How an output differs from that of another pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Its own shape.
    pub shape: Vec<usize>,
    /// Sums of squared differences, part by part; none if the other's shape is another.
    pub sums: Vec<f64>,
}

impl Difference {
    /// Of every one of the float32 `outputs`, in `n_parts` equal parts each.
    pub fn all(a: &Values, b: &Values, outputs: &[ValueId], n_parts: usize) -> Vec<Difference> {
        let difference = |&output: &ValueId| {
            let tensors = [a, b].map(|values| values.get(output));
            let [a, b] = tensors.map(|tensor| tensor.expect("a pass gives all outputs"));
            Difference::new(a, b.shape(), b.slice(), n_parts)
        };
        outputs.iter().map(difference).collect()
    }

    fn new(a: &Tensor, shape: &[usize], b: &[f32], n_parts: usize) -> Difference {
        let per_part = (a.len() / n_parts).max(1);
        let parts = a.slice::<f32>().chunks(per_part).zip(b.chunks(per_part));
        let parts = parts.filter(|_| a.shape() == shape);
        let sums = parts.map(|(a, b)| sum_squared_difference(a, b)).collect();
        Difference { shape: shape.to_vec(), sums }
    }
}

/// The engines by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    Fast,
    Reference,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("engine is `{found}`, expected `fast` or `reference`")]
pub struct EngineError {
    pub found: String,
}

impl EngineKind {
    /// An engine for a graph, see [`Fast::new`].
    pub fn start<'g>(
        self,
        graph: &'g Graph,
        limit_bytes: usize,
        observed: &[ValueId],
    ) -> Box<dyn Engine + 'g> {
        match self {
            EngineKind::Fast => Box::new(Fast::new(graph, limit_bytes, observed)),
            EngineKind::Reference => Box::new(Reference::new(graph, limit_bytes)),
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EngineKind::Fast => "fast",
            EngineKind::Reference => "reference",
        })
    }
}

impl FromStr for EngineKind {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<EngineKind, EngineError> {
        match text {
            "fast" => Ok(EngineKind::Fast),
            "reference" => Ok(EngineKind::Reference),
            _ => Err(EngineError { found: text.to_owned() }),
        }
    }
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

    #[error(
        "a pass would hold {found} bytes at once, more than the limit of {limit}\nhint: a larger --memory holds them"
    )]
    OverLimit { found: usize, limit: usize },
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
