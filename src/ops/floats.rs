//! Float types for operators that compute in one: widen, compute, round once.
//!
//! [`floats`] and [`tensor`] compute in float32, [`doubles`] and [`rounded`] in float64.

use std::borrow::Cow;

use half::{bf16, f16};

use crate::dispatch;
use crate::ops::inputs::Named;
use crate::ops::number::Scalar;
use crate::ops::{Inputs, OpError};
use crate::tensor::{DType, Tensor};

/// The shape, if the elements are of a float type that float32 holds exactly.
pub(super) fn expect_float(input: &Named<'_>) -> Result<Vec<usize>, OpError> {
    let fits = |dtype| matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
    input.expect_dtype_that(fits, "float32, float16 or bfloat16").map(<[usize]>::to_vec)
}

/// The shape, if the elements are of `dtype`, that of input `other`.
pub(super) fn expect_same<'a>(
    input: &Named<'a>,
    dtype: DType,
    other: &str,
) -> Result<&'a [usize], OpError> {
    let expected = format!("{dtype}, that of `{other}`");
    input.expect_dtype_that(|found| found == dtype, &expected)
}

/// The elements of an input that [`expect_float`] accepted.
///
/// # Panics
/// If the input is absent.
pub(super) fn floats<'a>(inputs: &Inputs<'a>, position: usize) -> Cow<'a, [f32]> {
    let tensor = inputs.tensor(position);
    match tensor.try_slice() {
        Some(slice) => Cow::Borrowed(slice),
        None => Cow::Owned(tensor.to_f32().expect("`infer` checked that it is a float")),
    }
}

/// The same for an input that may be absent.
pub(super) fn optional_floats<'a>(inputs: &Inputs<'a>, position: usize) -> Option<Cow<'a, [f32]>> {
    inputs.get(position).map(|_| floats(inputs, position))
}

/// A tensor of `dtype`, the elements rounded to it.
pub(super) fn tensor(dtype: DType, shape: &[usize], elements: Vec<f32>) -> Tensor {
    match dtype {
        DType::F16 => {
            Tensor::from_vec(shape, elements.into_iter().map(f16::from_f32).collect::<Vec<_>>())
        }
        DType::BF16 => {
            Tensor::from_vec(shape, elements.into_iter().map(bf16::from_f32).collect::<Vec<_>>())
        }
        _ => Tensor::from_vec(shape, elements),
    }
}

/// The shape, if the elements are of a float type.
pub(super) fn expect_any_float<'a>(input: &Named<'a>) -> Result<&'a [usize], OpError> {
    input.expect_dtype_that(DType::is_float, "a float type")
}

/// The elements of a tensor of any number type, as f64.
pub(super) fn doubles(tensor: &Tensor) -> Vec<f64> {
    dispatch!(tensor.dtype(), T => tensor.slice::<T>().iter().map(|x| x.to_f64()).collect())
}

/// A tensor of `dtype`, the elements rounded to it as [`Scalar::nearest`] does.
pub(super) fn rounded(dtype: DType, shape: &[usize], elements: Vec<f64>) -> Tensor {
    dispatch!(dtype, T => {
        Tensor::from_vec(shape, elements.into_iter().map(T::nearest).collect())
    })
}
