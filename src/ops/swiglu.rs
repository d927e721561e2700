//! `SwiGLU`: a gate by `Swish`.
//!
//! <https://onnx.ai/onnx/operators/onnx__SwiGLU.html>

use crate::ops::attend::{Real, in_real};
use crate::ops::floats::expect_same;
use crate::ops::{Bodies, Inputs, OpDef, OpError, Operator};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] =
    &[OpDef::onnx("SwiGLU", 28, |attrs| Ok(Box::new(SwiGlu { alpha: attrs.float("alpha", 1.)? })))];

/// `Y = A / (1 + exp(-alpha * A)) * B`
#[derive(Debug)]
struct SwiGlu {
    alpha: f32,
}

const A: usize = 0;
const B: usize = 1;

impl Operator for SwiGlu {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let (a, b) = (inputs.require(A, "A")?, inputs.require(B, "B")?);
        a.expect_dtype_that(DType::is_float, "a float type")?;
        if expect_same(&b, a.dtype(), "A")? != a.shape() {
            return Err(b.wrong_shape(format!("{:?}, that of `A`", a.shape())));
        }
        Ok(vec![a.ty().clone()])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let (a, b) = (inputs.tensor(A), inputs.tensor(B));
        Ok(vec![in_real!(a.dtype() == DType::F64, T => {
            let alpha = T::from(self.alpha);
            let gate = |(&a, &b): (&T, &T)| a / (1. + Real::exp(-alpha * a)) * b;
            let pairs = T::elements(a);
            let y = pairs.iter().zip(T::elements(b).iter()).map(gate).collect();
            T::tensor(a.dtype(), a.shape(), y)
        })])
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::testing::op;

    #[test]
    fn swiglu() {
        let (a, b) = (array![-2., 0., 3.], array![1., 2., -2.]);
        op("SwiGLU").input(&a).input(&b).gives(array![-0.238_405_84, 0., -5.715_445]);
        op("SwiGLU").input(&a).input(&b).float("alpha", 0.).gives(array![-1., 0., -3.]);
        let wide = array![3_f64];
        op("SwiGLU").tensor(wide.clone()).tensor(wide).gives_tensor(array![8.573_167_180_559_23]);
        op("SwiGLU")
            .input(&a)
            .input(&array![1.])
            .fails("input `B` has shape [1], expected [3], that of `A`");
        assert!(op("SwiGLU").input(&a).input(&b).quant().reads(1));
    }
}
