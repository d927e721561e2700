//! [`Real`]: the types that float operators compute in: float64 for itself, float32 for the others.

use std::borrow::Cow;
use std::ops::{AddAssign, Neg};

use ndarray::LinalgScalar;

use crate::kernels;
use crate::ops::Inputs;
use crate::ops::floats;
use crate::ops::number::Number;
use crate::tensor::{DType, Tensor};

/// `f32` or `f64`.
pub(super) trait Real:
    Number + Into<f64> + LinalgScalar + AddAssign + Neg<Output = Self>
{
    fn exp(self) -> Self;
    /// The elements of a float tensor that this type holds.
    fn elements(tensor: &Tensor) -> Cow<'_, [Self]>;
    /// A tensor of the float type `dtype`, the elements rounded to it.
    fn tensor(dtype: DType, shape: &[usize], elements: Vec<Self>) -> Tensor;
    /// Mean and variance, computed in f64.
    fn moments(x: &[Self]) -> (f64, f64);
    /// The sum of all squares, computed in f64.
    fn sum_squares(x: &[Self]) -> f64;
}

impl Real for f32 {
    fn exp(self) -> f32 {
        self.exp()
    }

    fn elements(tensor: &Tensor) -> Cow<'_, [f32]> {
        match tensor.try_slice() {
            Some(slice) => Cow::Borrowed(slice),
            None => Cow::Owned(tensor.to_f32().expect("`infer` checked that it is a float")),
        }
    }

    fn tensor(dtype: DType, shape: &[usize], elements: Vec<f32>) -> Tensor {
        floats::tensor(dtype, shape, elements)
    }

    fn moments(x: &[f32]) -> (f64, f64) {
        kernels::moments(x)
    }

    fn sum_squares(x: &[f32]) -> f64 {
        kernels::sum_squares(x)
    }
}

impl Real for f64 {
    fn exp(self) -> f64 {
        self.exp()
    }

    fn elements(tensor: &Tensor) -> Cow<'_, [f64]> {
        match tensor.try_slice() {
            Some(slice) => Cow::Borrowed(slice),
            None => Cow::Owned(floats::doubles(tensor)),
        }
    }

    fn tensor(dtype: DType, shape: &[usize], elements: Vec<f64>) -> Tensor {
        match dtype {
            DType::F64 => Tensor::from_vec(shape, elements),
            _ => floats::rounded(dtype, shape, elements),
        }
    }

    fn moments(x: &[f64]) -> (f64, f64) {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / x.len() as f64;
        (mean, variance)
    }

    fn sum_squares(x: &[f64]) -> f64 {
        x.iter().map(|x| x * x).sum()
    }
}

/// The elements of a float input.
///
/// # Panics
/// If the input is absent.
pub(super) fn reals<'a, T: Real>(inputs: &Inputs<'a>, position: usize) -> Cow<'a, [T]> {
    T::elements(inputs.tensor(position))
}

/// The same for an input that may be absent.
pub(super) fn optional_reals<'a, T: Real>(
    inputs: &Inputs<'a>,
    position: usize,
) -> Option<Cow<'a, [T]>> {
    inputs.get(position).map(|_| reals(inputs, position))
}

/// Runs an expression with the type name `$t` bound to the [`Real`] that the float type computes in.
macro_rules! dispatch_reals {
    ($dtype:expr, $t:ident => $body:expr) => {
        $crate::dispatch!($dtype, $t in [F64 f64] => $body, _ => { type $t = f32; $body })
    };
}

pub(super) use dispatch_reals;

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn widened_and_rounded_once() {
        let halves = Tensor::from_vec(&[2], vec![f16::from_f32(1.5), f16::from_f32(-2.)]);
        assert_eq!(*f32::elements(&halves), [1.5, -2.]);
        assert_eq!(*f64::elements(&halves), [1.5, -2.]);
        // One rounding goes up; over f32 it would meet a tie and go down to the even neighbor.
        let above_half = 1. + 2_f64.powi(-11) + 2_f64.powi(-40);
        let rounded = f64::tensor(DType::F16, &[1], vec![above_half]);
        assert_eq!(rounded.slice::<f16>()[0].to_f32(), 1. + 2_f32.powi(-10));
    }

    #[test]
    fn moments_of_both_types() {
        assert_eq!(f64::moments(&[1., 2., 3., 6.]), (3., 3.5));
        assert_eq!(f32::moments(&[1., 2., 3., 6.]), (3., 3.5));
        assert_eq!(f64::sum_squares(&[1., -2.]), 5.);
    }
}
