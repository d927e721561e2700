//! Other shapes for the same elements: `Reshape`, `Flatten`, `Squeeze`, `Unsqueeze`.

use crate::ops::dims::{axes_input, checked_type, resolve};
use crate::ops::{Attrs, Bodies, Inputs, Lowering, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("Reshape", 1, Reshape::read),
    OpDef::onnx("Flatten", 1, |attrs| Ok(Box::new(Flatten { axis: attrs.int("axis", 1)? }))),
    OpDef::onnx("Squeeze", 1, |_| Ok(Box::new(Squeeze))),
    OpDef::onnx("Unsqueeze", 1, |_| Ok(Box::new(Unsqueeze))),
];

const DATA: usize = 0;
/// The new shape, or the axes.
const SHAPE: usize = 1;

/// What the operators of this family have in common: `eval` gives the elements the inferred shape.
macro_rules! reshaping {
    ($ty:ty, $infer:expr) => {
        impl Operator for $ty {
            fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
                let data = inputs.require(DATA, "data")?;
                let infer: fn(&$ty, &Inputs<'_>) -> Result<Vec<usize>, OpError> = $infer;
                Ok(vec![checked_type(data.dtype(), infer(self, inputs)?)?])
            }

            fn eval(
                &self,
                inputs: &Inputs<'_>,
                _bodies: &mut dyn Bodies,
            ) -> Result<Vec<Tensor>, OpError> {
                Ok(vec![inputs.tensor(DATA).reshaped(&self.infer(inputs)?[0].shape)])
            }

            fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
                QuantRole::passes(DATA)
            }

            fn lower(&self, _inputs: &Inputs<'_>) -> Option<Lowering> {
                Some(Lowering::View)
            }
        }
    };
}

reshaping!(Reshape, Reshape::shape);
reshaping!(Flatten, Flatten::shape);
reshaping!(Squeeze, Squeeze::shape);
reshaping!(Unsqueeze, Unsqueeze::shape);

/// One dimension may be -1: what is left. A 0 copies the input's dimension unless `allow_zero`.
#[derive(Debug)]
struct Reshape {
    allow_zero: bool,
}

impl Reshape {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(Reshape { allow_zero: attrs.flag("allowzero", false)? }))
    }

    fn shape(&self, inputs: &Inputs<'_>) -> Result<Vec<usize>, OpError> {
        inputs.expect_at_most(2)?;
        let data = inputs.require(DATA, "data")?;
        let shape = inputs.require(SHAPE, "shape")?;
        shape.expect_rank::<1>()?;
        let wanted = shape.i64s()?;
        let wrong = |expected: String| OpError::value("shape", format!("{wanted:?}"), expected);
        let mut dims = Vec::with_capacity(wanted.len());
        let mut left_over = None;
        for (axis, &dim) in wanted.iter().enumerate() {
            dims.push(match (dim, usize::try_from(dim)) {
                (0, _) if !self.allow_zero => *data
                    .shape()
                    .get(axis)
                    .ok_or_else(|| wrong(format!("a 0 only below rank {}", data.rank())))?,
                (_, Ok(dim)) => dim,
                (-1, _) if left_over.is_none() => {
                    left_over = Some(axis);
                    1
                }
                _ => return Err(wrong("sizes, at most one of them -1".to_owned())),
            });
        }
        let n = data.ty().len();
        let n_known = dims.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim));
        let whole = || wrong(format!("{n} elements, those of {:?}", data.shape()));
        let n_known = n_known.ok_or_else(whole)?;
        if let Some(axis) = left_over {
            if n_known == 0 || !n.is_multiple_of(n_known) {
                return Err(whole());
            }
            dims[axis] = n / n_known;
        } else if n_known != n {
            return Err(whole());
        }
        Ok(dims)
    }
}

/// A matrix: the dimensions before `axis`, and those from it on.
#[derive(Debug)]
struct Flatten {
    axis: i64,
}

impl Flatten {
    fn shape(&self, inputs: &Inputs<'_>) -> Result<Vec<usize>, OpError> {
        inputs.expect_at_most(1)?;
        let shape = inputs.require(DATA, "input")?.shape();
        let rank = shape.len();
        let axis = match resolve(self.axis, rank) {
            Some(axis) => axis,
            None if usize::try_from(self.axis) == Ok(rank) => rank,
            None => {
                let expected = format!("from -{rank} to {rank}");
                return Err(OpError::invalid_attribute("axis", self.axis, expected));
            }
        };
        let product = |dims: &[usize]| dims.iter().fold(1_usize, |n, &dim| n.saturating_mul(dim));
        Ok(vec![product(&shape[..axis]), product(&shape[axis..])])
    }
}

/// Drops dimensions of 1: those at `axes`, or all.
#[derive(Debug)]
struct Squeeze;

impl Squeeze {
    fn shape(&self, inputs: &Inputs<'_>) -> Result<Vec<usize>, OpError> {
        inputs.expect_at_most(2)?;
        let data = inputs.require(DATA, "data")?;
        let dims = data.shape().iter().enumerate();
        let Some(axes) = inputs.optional(SHAPE, "axes") else {
            return Ok(dims.filter(|&(_, &dim)| dim != 1).map(|(_, &dim)| dim).collect());
        };
        let axes = axes_input("axes", &axes.i64s()?, data.rank())?;
        if let Some(axis) = axes.iter().find(|&&axis| data.shape()[axis] != 1) {
            return Err(data.wrong_shape(format!("1 at axis {axis}, which is squeezed")));
        }
        Ok(dims.filter(|(axis, _)| !axes.contains(axis)).map(|(_, &dim)| dim).collect())
    }
}

/// Inserts dimensions of 1, so that they are at `axes` of the result.
#[derive(Debug)]
struct Unsqueeze;

impl Unsqueeze {
    fn shape(&self, inputs: &Inputs<'_>) -> Result<Vec<usize>, OpError> {
        inputs.expect_at_most(2)?;
        let data = inputs.require(DATA, "data")?;
        let axes = inputs.require(SHAPE, "axes")?.i64s()?;
        let rank = data.rank() + axes.len();
        let axes = axes_input("axes", &axes, rank)?;
        let mut dims = data.shape().iter();
        let shape = (0..rank).map(|axis| match axes.contains(&axis) {
            true => 1,
            false => *dims.next().expect("there are `rank` axes in all"),
        });
        Ok(shape.collect())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3, ArrayD, IxDyn, array};

    use crate::ops::QuantRole;
    use crate::ops::testing::op;

    fn zeros(shape: &[usize]) -> ArrayD<f32> {
        ArrayD::zeros(IxDyn(shape))
    }

    #[test]
    fn reshape() {
        let x = array![[1., 2., 3.], [4., 5., 6.]];
        let y = array![[1., 2.], [3., 4.], [5., 6.]];
        op("Reshape").input(&x).i64s(&[3, 2]).gives(y.clone());
        op("Reshape").input(&x).i64s(&[3, -1]).gives(y);
        op("Reshape").input(&x).i64s(&[0, 1, -1]).gives(array![[[1., 2., 3.]], [[4., 5., 6.]]]);
        op("Reshape").input(&array![7.]).i64s(&[]).gives(ndarray::arr0(7.));
        op("Reshape")
            .input(&zeros(&[0, 3]))
            .i64s(&[3, 0])
            .int("allowzero", 1)
            .gives(zeros(&[3, 0]));
        op("Reshape").input(&zeros(&[2, 0])).i64s(&[2, -1]).gives(zeros(&[2, 0]));
        assert_eq!(op("Reshape").input(&x).i64s(&[6]).quant(), QuantRole::passes(0));
    }

    #[test]
    fn reshape_refuses() {
        let x = Array2::<f32>::zeros((2, 3));
        let fails = |shape: &[i64], message: &str| {
            op("Reshape").input(&x).i64s(shape).fails(message);
        };
        fails(&[4, -1], "input `shape` is [4, -1], expected 6 elements, those of [2, 3]");
        fails(&[7], "input `shape` is [7], expected 6 elements, those of [2, 3]");
        fails(&[-1, -1], "input `shape` is [-1, -1], expected sizes, at most one of them -1");
        fails(&[-2, 3], "input `shape` is [-2, 3], expected sizes, at most one of them -1");
        fails(&[2, 3, 0], "input `shape` is [2, 3, 0], expected a 0 only below rank 2");
        fails(
            &[i64::MAX, i64::MAX],
            "input `shape` is [9223372036854775807, 9223372036854775807], expected 6 elements, \
             those of [2, 3]",
        );
    }

    #[test]
    fn flatten() {
        let x = Array3::<f32>::zeros((2, 3, 4));
        op("Flatten").input(&x).gives(zeros(&[2, 12]));
        op("Flatten").input(&x).int("axis", 0).gives(zeros(&[1, 24]));
        op("Flatten").input(&x).int("axis", 3).gives(zeros(&[24, 1]));
        op("Flatten").input(&x).int("axis", -1).gives(zeros(&[6, 4]));
        op("Flatten").input(&zeros(&[])).int("axis", 0).gives(zeros(&[1, 1]));
        op("Flatten")
            .input(&x)
            .int("axis", 4)
            .fails("attribute `axis` is 4, expected from -3 to 3");
    }

    #[test]
    fn squeeze() {
        let x = zeros(&[1, 3, 1, 2]);
        op("Squeeze").input(&x).gives(zeros(&[3, 2]));
        op("Squeeze").input(&x).i64s(&[-2]).gives(zeros(&[1, 3, 2]));
        op("Squeeze").input(&x).i64s(&[0, 2]).gives(zeros(&[3, 2]));
        op("Squeeze").input(&zeros(&[])).gives(zeros(&[]));
        op("Squeeze")
            .input(&x)
            .i64s(&[1])
            .fails("input `data` has shape [1, 3, 1, 2], expected 1 at axis 1, which is squeezed");
        op("Squeeze").input(&x).i64s(&[4]).fails("input `axes` is 4, expected axes from -4 to 3");
        op("Squeeze")
            .input(&x)
            .i64s(&[0, -4])
            .fails("input `axes` is [0, -4], expected distinct axes");
    }

    #[test]
    fn unsqueeze() {
        op("Unsqueeze").input(&zeros(&[3])).i64s(&[0]).gives(zeros(&[1, 3]));
        op("Unsqueeze").input(&zeros(&[3])).i64s(&[-1, 0]).gives(zeros(&[1, 3, 1]));
        op("Unsqueeze").input(&zeros(&[])).i64s(&[0, 1]).gives(zeros(&[1, 1]));
        op("Unsqueeze")
            .input(&zeros(&[3]))
            .i64s(&[2])
            .fails("input `axes` is 2, expected axes from -2 to 1");
        op("Unsqueeze").input(&zeros(&[3])).fails("input `axes` is missing");
    }
}
