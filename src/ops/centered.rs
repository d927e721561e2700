//! Quantized operands of products: numbers minus their zero points, exact in `f64`; and back.

use crate::dispatch;
use crate::kernels::quantize;
use crate::ops::cast::small_floats;
use crate::ops::inputs::Named;
use crate::ops::number::Scalar;
use crate::ops::quantize_linear::{integer_range, integers};
use crate::ops::{Inputs, OpError, broadcast};
use crate::tensor::{DType, Rounding, Tensor};

/// `x - zero_point`; the zero points broadcast to the shape of `x`.
pub(super) fn centered(x: &Tensor, zero_point: Option<&Tensor>) -> Vec<f64> {
    let Some(zero_point) = zero_point else {
        return dispatch!(x.dtype(), T => x.slice::<T>().iter().map(|x| x.to_f64()).collect());
    };
    let difference = dispatch!(x.dtype(), T => {
        broadcast::zip(x, zero_point, x.shape(), |x: T, zero_point: T| {
            x.to_f64() - zero_point.to_f64()
        })
    });
    difference.slice::<f64>().to_vec()
}

/// A sum of integers as a 32-bit accumulator holds it: the low bits.
pub(super) fn wrapped(sum: f64) -> i32 {
    // Exact: such sums are far below 2^53.
    sum as i64 as i32
}

/// The numbers `y / scale` as a quantized type.
pub(super) fn requantized(quotients: &[f32], zero_point: &Tensor, shape: &[usize]) -> Tensor {
    let dtype = zero_point.dtype();
    let zero_point = dispatch!(dtype, T => zero_point.slice::<T>()[0].to_f64());
    let Some((q_min, q_max)) = integer_range(dtype) else {
        let numbers: Vec<f64> = quotients.iter().map(|&x| f64::from(x) + zero_point).collect();
        return small_floats(shape, &numbers, dtype, Rounding::DEFAULT);
    };
    let mut q = vec![0; quotients.len()];
    quantize(quotients, 1., zero_point as i32, q_min, q_max, &mut q);
    integers(dtype, shape, &q)
}

/// An operand and its zero point, of the same type.
pub(super) fn expect_operand<'a>(
    inputs: &Inputs<'a>,
    [x, zero_point]: [(usize, &'static str); 2],
    accepts: fn(DType) -> bool,
    expected: &str,
) -> Result<(Named<'a>, Option<Named<'a>>), OpError> {
    let x = inputs.require(x.0, x.1)?;
    x.expect_dtype_that(accepts, expected)?;
    let zero_point = inputs.optional(zero_point.0, zero_point.1);
    if let Some(zero_point) = zero_point {
        zero_point.expect_dtype(x.dtype())?;
    }
    Ok((x, zero_point))
}

pub(super) fn is_byte(dtype: DType) -> bool {
    matches!(dtype, DType::I8 | DType::U8)
}

pub(super) fn expect_single(input: &Named<'_>) -> Result<(), OpError> {
    match input.ty().len() {
        1 => Ok(()),
        _ => Err(input.wrong_shape("one element")),
    }
}
