//! Outputs as long as the values say: `NonZero`, `Compress`.

use crate::dispatch;
use crate::ops::dims::{axis_attribute, strides, with_dim};
use crate::ops::number::Scalar;
use crate::ops::take::take_axis;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("NonZero", 9, |_| Ok(Box::new(NonZero))),
    OpDef::onnx("Compress", 9, Compress::read),
];

const X: usize = 0;
const CONDITION: usize = 1;

/// The indices of what is not 0, `[rank, n]`, in row-major order.
#[derive(Debug)]
struct NonZero;

impl NonZero {
    fn positions(x: &Tensor) -> Vec<usize> {
        dispatch!(x.dtype(), T => {
            let elements = x.slice::<T>().iter().enumerate();
            elements.filter(|(_, x)| x.to_f64() != 0.).map(|(position, _)| position).collect()
        })
    }
}

impl Operator for NonZero {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let x = inputs.require(X, "X")?;
        let n = NonZero::positions(x.value()?).len();
        Ok(vec![TensorType::new(DType::I64, &[x.rank(), n])])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let x = inputs.tensor(X);
        let positions = NonZero::positions(x);
        let mut indices = Vec::with_capacity(x.rank() * positions.len());
        for (axis, stride) in strides(x.shape()).into_iter().enumerate() {
            let dim = x.shape()[axis];
            indices.extend(positions.iter().map(|position| (position / stride % dim) as i64));
        }
        Ok(vec![Tensor::from_vec(&[x.rank(), positions.len()], indices)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

/// The slices along `axis`, or the elements, for which the condition holds; it may be shorter.
#[derive(Debug)]
struct Compress {
    axis: Option<i64>,
}

impl Compress {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(Compress { axis: attrs.opt_int("axis")? }))
    }

    /// The input's shape and the axis of it that is compressed.
    fn view(&self, shape: &[usize]) -> Result<(Vec<usize>, usize), OpError> {
        Ok(match self.axis {
            Some(axis) => (shape.to_vec(), axis_attribute("axis", axis, shape.len())?),
            None => (vec![shape.iter().product()], 0),
        })
    }
}

fn chosen(condition: &Tensor) -> Vec<usize> {
    let flags = condition.slice::<bool>().iter().enumerate();
    flags.filter(|&(_, &holds)| holds).map(|(position, _)| position).collect()
}

impl Operator for Compress {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let input = inputs.require(X, "input")?;
        let condition = inputs.require(CONDITION, "condition")?;
        condition.expect_dtype(DType::Bool)?;
        let [n_flags] = condition.expect_rank()?;
        let (shape, axis) = self.view(input.shape())?;
        if shape[axis] < n_flags {
            return Err(condition.wrong_shape(format!("at most [{}]", shape[axis])));
        }
        let n = chosen(condition.value()?).len();
        Ok(vec![TensorType::new(input.dtype(), &with_dim(&shape, axis, n))])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let input = inputs.tensor(X);
        let (shape, axis) = self.view(input.shape())?;
        Ok(vec![take_axis(&input.reshaped(&shape), axis, &chosen(inputs.tensor(CONDITION)))])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::passes(X)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use crate::ops::testing::op;
    use crate::tensor::Tensor;

    #[test]
    fn non_zero() {
        let x = array![[1., 0., -2.], [0., f32::NAN, 0.]];
        op("NonZero").input(&x).gives_tensor(array![[0_i64, 0, 1], [0, 2, 1]]);
        op("NonZero").tensor(array![false, true]).gives_tensor(array![[1_i64]]);
        op("NonZero").tensor(Tensor::scalar(5_i64)).gives_tensor(Array2::<i64>::zeros((0, 1)));
        op("NonZero").input(&Array2::zeros((0, 3))).gives_tensor(Array2::<i64>::zeros((2, 0)));
    }

    #[test]
    fn compress() {
        let x = array![[1., 2.], [3., 4.], [5., 6.]];
        let base = |flags: &[bool]| {
            op("Compress").input(&x).tensor(Tensor::from_vec(&[flags.len()], flags.to_vec()))
        };
        base(&[false, true, true]).int("axis", 0).gives(array![[3., 4.], [5., 6.]]);
        base(&[false, true]).int("axis", -1).gives(array![[2.], [4.], [6.]]);
        base(&[true, false, false, true]).gives(array![1., 4.]);
        base(&[]).int("axis", 0).gives(Array2::zeros((0, 2)));
        base(&[true; 4])
            .int("axis", 0)
            .fails("input `condition` has shape [4], expected at most [3]");
    }
}
