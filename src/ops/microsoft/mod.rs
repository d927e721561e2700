//! The fused operators of the domain `com.microsoft` that exporters and onnxruntime's optimizer leave in
//! models. Most are a few operators of the standard in a row: those do the work.
//!
//! <https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>

pub(super) mod attention;
pub(super) mod embed;
pub(super) mod fused;
pub(super) mod gelu;
pub(super) mod group_query;
mod heads;
pub(super) mod multi_head;
pub(super) mod skip_norm;

use crate::ops::{
    self, AttrValue, Attrs, DEFAULT_DOMAIN, Input, Inputs, NEWEST_OPSET, NoBodies, OpError,
    Operator,
};
use crate::tensor::{Tensor, TensorType};

/// An operator of the standard with these attributes.
fn standard(name: &str, attrs: &[(&str, AttrValue)]) -> Result<Box<dyn Operator>, OpError> {
    let attrs = attrs.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    ops::read(DEFAULT_DOMAIN, name, NEWEST_OPSET, Attrs::new(attrs))
}

/// The same, which takes its attributes from those of the node.
fn read_standard(name: &str, attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
    let def = ops::find(DEFAULT_DOMAIN, name, NEWEST_OPSET).ok_or(OpError::UnknownOperator)?;
    (def.read)(attrs)
}

/// The first `n` inputs.
fn first<'a>(inputs: &Inputs<'a>, n: usize) -> Vec<Option<Input<'a>>> {
    (0..inputs.len().min(n)).map(|position| inputs.get(position)).collect()
}

/// The first output of an operator, from the values of its inputs.
fn apply(operator: &dyn Operator, inputs: &[Option<&Tensor>]) -> Result<Tensor, OpError> {
    Ok(apply_all(operator, inputs, 1)?.remove(0))
}

/// The first `n_outputs` outputs; the inputs are checked as those of a node are.
fn apply_all(
    operator: &dyn Operator,
    inputs: &[Option<&Tensor>],
    n_outputs: usize,
) -> Result<Vec<Tensor>, OpError> {
    let types: Vec<Option<TensorType>> =
        inputs.iter().map(|tensor| tensor.map(Tensor::ty)).collect();
    let items = types.iter().zip(inputs);
    let items = items.map(|(ty, value)| ty.as_ref().map(|ty| Input { ty, value: *value }));
    let items: Vec<Option<Input<'_>>> = items.collect();
    let inputs = Inputs::new(&items, n_outputs);
    operator.infer(&inputs)?;
    operator.eval(&inputs, &mut NoBodies)
}

/// The value of an input that may be absent.
fn value<'a>(inputs: &Inputs<'a>, position: usize) -> Option<&'a Tensor> {
    inputs.get(position).map(|_| inputs.tensor(position))
}
