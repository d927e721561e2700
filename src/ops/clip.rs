//! `Clip`: no less than `min`, no more than `max`, either of which may be absent.

use crate::kernels::Map;
use crate::ops::number::dispatch_numbers;
use crate::ops::pad::{expect_scalar_like, scalar_as};
use crate::ops::{Bodies, Inputs, Lowering, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("Clip", 1, |_| Ok(Box::new(Clip)))];

/// NaN stays NaN; where `max < min`, everything is `max`.
#[derive(Debug)]
struct Clip;

const INPUT: usize = 0;
const MIN: usize = 1;
const MAX: usize = 2;

impl Operator for Clip {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(3)?;
        let input = inputs.require(INPUT, "input")?;
        input.expect_dtype_that(DType::is_number, "a numeric type")?;
        for (position, name) in [(MIN, "min"), (MAX, "max")] {
            if let Some(bound) = inputs.optional(position, name) {
                expect_scalar_like(&bound, input.dtype())?;
            }
        }
        Ok(vec![input.ty().clone()])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let mut x = inputs.tensor(INPUT).clone();
        let bound = |position: usize| {
            let bound = inputs.get(position).map(|_| inputs.tensor(position));
            bound.map(|bound| scalar_as(bound, x.dtype()))
        };
        let (min, max) = (bound(MIN), bound(MAX));
        dispatch_numbers!(x.dtype(), T => {
            let elements = x.slice_mut::<T>();
            if let Some(min) = min {
                let min = min.slice::<T>()[0];
                elements.iter_mut().for_each(|x| *x = if *x < min { min } else { *x });
            }
            if let Some(max) = max {
                let max = max.slice::<T>()[0];
                elements.iter_mut().for_each(|x| *x = if max < *x { max } else { *x });
            }
        });
        Ok(vec![x])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::reads_only(INPUT)
    }

    fn lower(&self, inputs: &Inputs<'_>) -> Option<Lowering> {
        let bound = |position: usize, default: f32| match inputs.get(position) {
            None => Some(default),
            Some(bound) => bound.value?.try_slice::<f32>()?.first().copied(),
        };
        let (low, high) = (bound(MIN, f32::NEG_INFINITY)?, bound(MAX, f32::INFINITY)?);
        Some(Lowering::Map(Map::Clip { low, high }))
    }
}

#[cfg(test)]
mod tests {
    use half::f16;
    use ndarray::array;

    use crate::ops::testing::op;
    use crate::tensor::Tensor;

    #[test]
    fn clip() {
        let x = array![-2., 0.5, f32::NAN, 7.];
        let scalar = |x: f32| Tensor::scalar(x);
        op("Clip").input(&x).gives(x.clone());
        let both = op("Clip").input(&x).tensor(scalar(0.)).tensor(scalar(6.));
        both.gives(array![0., 0.5, f32::NAN, 6.]);
        op("Clip").input(&x).absent().tensor(scalar(1.)).gives(array![-2., 0.5, f32::NAN, 1.]);
        op("Clip")
            .input(&array![0., 9.])
            .tensor(scalar(5.))
            .tensor(scalar(3.))
            .gives(array![3., 3.]);
        op("Clip").i64s(&[-3, 3]).tensor(Tensor::scalar(0_i64)).gives_tensor(array![0_i64, 3]);
        let halves = array![f16::from_f32(-1.), f16::from_f32(2.)];
        let zero = array![f16::ZERO, f16::from_f32(2.)];
        op("Clip").tensor(halves).tensor(scalar(0.)).gives_tensor(zero);
        op("Clip").input(&x).i64s(&[0]).fails("input `min` is int64, expected float32");
        op("Clip")
            .input(&x)
            .input(&array![1., 2.])
            .fails("input `min` has shape [2], expected one element");
        op("Clip").tensor(array![true]).fails("input `input` is bool, expected a numeric type");
    }
}
