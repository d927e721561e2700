//! Repeats and choices: `Expand`, `Tile`, `Where`.

use crate::dispatch;
use crate::ops::broadcast::{Rows, broadcast, broadcast_all};
use crate::ops::dims::{checked_type, sizes_input};
use crate::ops::take::take_axis;
use crate::ops::{Bodies, Inputs, OpDef, OpError, Operator, QuantRole, Reads};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("Expand", 8, |_| Ok(Box::new(Expand))),
    OpDef::onnx("Tile", 6, |_| Ok(Box::new(Tile))),
    OpDef::onnx("Where", 9, |_| Ok(Box::new(Where))),
];

const INPUT: usize = 0;
const SHAPE: usize = 1;
const REPEATS: usize = 1;

/// Broadcasts the input with a shape.
#[derive(Debug)]
struct Expand;

impl Operator for Expand {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let input = inputs.require(INPUT, "input")?;
        let shape = sizes_input("shape", &inputs.require(SHAPE, "shape")?.i64s()?)?;
        let wrong = || input.wrong_shape(format!("broadcastable with {shape:?}"));
        let joined = broadcast(input.shape(), &shape).ok_or_else(wrong)?;
        Ok(vec![checked_type(input.dtype(), joined)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let ty = self.infer(inputs)?.remove(0);
        let x = inputs.tensor(INPUT);
        let rows = Rows::new(&ty.shape, [x.shape()]);
        Ok(vec![dispatch!(ty.dtype, T => {
            let x = x.slice::<T>();
            let mut wide = Vec::with_capacity(ty.len());
            rows.for_each(|[i], [step], n| match step {
                1 => wide.extend_from_slice(&x[i..i + n]),
                _ => wide.extend(std::iter::repeat_n(x[i], n)),
            });
            Tensor::from_vec(&ty.shape, wide)
        })])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::passes(INPUT)
    }
}

/// Repeats the whole input along each axis.
#[derive(Debug)]
struct Tile;

impl Operator for Tile {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let input = inputs.require(INPUT, "input")?;
        let found = inputs.require(REPEATS, "repeats")?.i64s()?;
        let repeats = sizes_input("repeats", &found)?;
        if repeats.len() != input.rank() {
            let expected = format!("one for each of {} axes", input.rank());
            return Err(OpError::value("repeats", format!("{found:?}"), expected));
        }
        let dims = input.shape().iter().zip(&repeats);
        let shape = dims.map(|(&dim, &n)| dim.saturating_mul(n)).collect();
        Ok(vec![checked_type(input.dtype(), shape)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let shape = self.infer(inputs)?.remove(0).shape;
        let mut x = inputs.tensor(INPUT).clone();
        if shape.contains(&0) {
            return Ok(vec![dispatch!(x.dtype(), T => Tensor::from_vec::<T>(&shape, Vec::new()))]);
        }
        for (axis, &dim) in shape.iter().enumerate() {
            let n = x.shape()[axis];
            if n != dim {
                x = take_axis(&x, axis, &(0..dim).map(|k| k % n).collect::<Vec<usize>>());
            }
        }
        Ok(vec![x])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::passes(INPUT)
    }
}

const CONDITION: usize = 0;
const X: usize = 1;
const Y: usize = 2;

/// `X` where the condition holds, else `Y`; all three broadcast.
#[derive(Debug)]
struct Where;

impl Operator for Where {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(3)?;
        let condition = inputs.require(CONDITION, "condition")?;
        let (x, y) = (inputs.require(X, "X")?, inputs.require(Y, "Y")?);
        condition.expect_dtype(DType::Bool)?;
        y.expect_dtype(x.dtype())?;
        Ok(vec![checked_type(x.dtype(), broadcast_all(&[condition, x, y])?)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let ty = self.infer(inputs)?.remove(0);
        let rows =
            Rows::new(&ty.shape, [inputs.shape(CONDITION), inputs.shape(X), inputs.shape(Y)]);
        let condition = inputs.tensor(CONDITION).slice::<bool>();
        Ok(vec![dispatch!(ty.dtype, T => {
            let (x, y) = (inputs.tensor(X).slice::<T>(), inputs.tensor(Y).slice::<T>());
            let mut chosen = Vec::with_capacity(ty.len());
            rows.for_each(|[c, i, j], [c_step, x_step, y_step], n| {
                chosen.extend((0..n).map(|k| match condition[c + k * c_step] {
                    true => x[i + k * x_step],
                    false => y[j + k * y_step],
                }));
            });
            Tensor::from_vec(&ty.shape, chosen)
        })])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole { reads: Reads::Only(vec![X, Y]), ..QuantRole::OWN_RANGE }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use crate::ops::testing::op;
    use crate::tensor::Tensor;

    #[test]
    fn expand() {
        let x = array![[1.], [2.]];
        op("Expand").input(&x).i64s(&[3]).gives(array![[1., 1., 1.], [2., 2., 2.]]);
        op("Expand").input(&x).i64s(&[2, 1, 1]).gives(array![[[1.], [2.]], [[1.], [2.]]]);
        op("Expand").input(&x).i64s(&[]).gives(x.clone());
        op("Expand").input(&ndarray::arr0(7.)).i64s(&[2]).gives(array![7., 7.]);
        op("Expand").input(&x).i64s(&[2, 0]).gives(Array2::zeros((2, 0)));
        op("Expand")
            .input(&x)
            .i64s(&[3, 1])
            .fails("input `input` has shape [2, 1], expected broadcastable with [3, 1]");
        op("Expand")
            .input(&x)
            .i64s(&[-1])
            .fails("input `shape` is [-1], expected no negative size");
        op("Expand").input(&array![1.]).i64s(&[i64::MAX, 4]).fails(
            "the output would have 9223372036854775807 x 4 elements, more than can be addressed",
        );
    }

    #[test]
    fn tile() {
        let x = array![[1., 2.], [3., 4.]];
        op("Tile").input(&x).i64s(&[1, 2]).gives(array![[1., 2., 1., 2.], [3., 4., 3., 4.]]);
        op("Tile").input(&array![[1., 2.]]).i64s(&[2, 1]).gives(array![[1., 2.], [1., 2.]]);
        op("Tile").input(&x).i64s(&[0, 1]).gives(Array2::zeros((0, 2)));
        op("Tile").input(&x).i64s(&[1 << 27, 0]).gives(Array2::zeros((1 << 28, 0)));
        op("Tile").input(&Array2::zeros((0, 2))).i64s(&[3, 1]).gives(Array2::zeros((0, 2)));
        op("Tile").input(&ndarray::arr0(7.)).i64s(&[]).gives(ndarray::arr0(7.));
        op("Tile")
            .input(&x)
            .i64s(&[2])
            .fails("input `repeats` is [2], expected one for each of 2 axes");
        op("Tile")
            .input(&x)
            .i64s(&[1 << 40, 0])
            .fails("the output would have 2199023255552 x 0 elements, more than can be addressed");
    }

    #[test]
    fn where_chooses() {
        let condition = array![[true], [false]];
        let (x, y) = (array![1_f32, 2.], Tensor::scalar(9_f32));
        let base = || op("Where").tensor(condition.clone()).tensor(x.clone());
        base().tensor(y).gives(array![[1., 2.], [9., 9.]]);
        base().tensor(Tensor::scalar(1_i64)).fails("input `Y` is int64, expected float32");
        base()
            .input(&array![1., 2., 3.])
            .fails("input `Y` has shape [3], expected broadcastable with [2, 2]");
        let empty = Tensor::full(&[0], true);
        op("Where")
            .tensor(empty.clone())
            .tensor(empty.clone())
            .tensor(empty.clone())
            .gives_tensor(empty);
        let role = op("Where").quant();
        assert!(!role.reads(0) && role.reads(1) && role.reads(2));
    }
}
