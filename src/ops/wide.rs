//! Any element type by way of float64, for operators whose time does not lie in their arithmetic.

use crate::dispatch;
use crate::ops::inputs::Named;
use crate::ops::number::Scalar;
use crate::ops::{Inputs, OpError};
use crate::tensor::{DType, Tensor};

/// The shape, if the elements are of any float type.
pub(super) fn expect_any_float<'a>(input: &Named<'a>) -> Result<&'a [usize], OpError> {
    input.expect_dtype_that(DType::is_float, "a float type")
}

/// The elements of an input.
///
/// # Panics
/// If the input is absent.
pub(super) fn wide(inputs: &Inputs<'_>, position: usize) -> Vec<f64> {
    widened(inputs.tensor(position))
}

pub(super) fn widened(x: &Tensor) -> Vec<f64> {
    dispatch!(x.dtype(), T => x.slice::<T>().iter().map(|x| x.to_f64()).collect())
}

/// A tensor of `dtype`: floats are rounded once, integers truncated, bool is what is not 0.
pub(super) fn narrowed(dtype: DType, shape: &[usize], elements: Vec<f64>) -> Tensor {
    dispatch!(dtype, T => {
        Tensor::from_vec(shape, elements.into_iter().map(T::nearest).collect::<Vec<T>>())
    })
}
