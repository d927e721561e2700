//! Copies with elements replaced: `ScatterElements`, `ScatterND`.
//!
//! Where updates meet, they are applied in row-major order of the indices.

use crate::dispatch;
use crate::ops::dims::axis_attribute;
use crate::ops::gather::{
    element_offsets, expect_indices, expect_within, index_depth, tuple_offsets,
};
use crate::ops::inputs::Named;
use crate::ops::number::{Number, dispatch_numbers};
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole, Reads};
use crate::tensor::{DType, Element, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    // The first name of `ScatterElements`.
    OpDef::onnx("Scatter", 9, ScatterElements::read),
    OpDef::onnx("ScatterElements", 11, ScatterElements::read),
    OpDef::onnx("ScatterND", 11, |attrs| {
        Ok(Box::new(ScatterNd { reduction: Reduction::read(attrs)? }))
    }),
];

const DATA: usize = 0;
const INDICES: usize = 1;
const UPDATES: usize = 2;

/// What an update does to the element it meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reduction {
    Replace,
    Add,
    Mul,
    Min,
    Max,
}

impl Reduction {
    fn read(attrs: &mut Attrs) -> Result<Reduction, OpError> {
        let choices = [
            ("none", Reduction::Replace),
            ("add", Reduction::Add),
            ("mul", Reduction::Mul),
            ("min", Reduction::Min),
            ("max", Reduction::Max),
        ];
        attrs.choice("reduction", &choices)
    }

    fn scatter(self, inputs: &Inputs<'_>, offsets: &[usize], block: usize) -> Tensor {
        let mut data = inputs.tensor(DATA).clone();
        let updates = inputs.tensor(UPDATES);
        if self == Reduction::Replace {
            dispatch!(data.dtype(), T => apply(&mut data, updates, offsets, block, |_, new: T| new));
            return data;
        }
        dispatch_numbers!(data.dtype(), T => {
            let join: fn(T, T) -> T = match self {
                Reduction::Replace => |_, new| new,
                Reduction::Add => T::plus,
                Reduction::Mul => T::times,
                Reduction::Min => T::lesser,
                Reduction::Max => T::greater,
            };
            apply(&mut data, updates, offsets, block, join);
        });
        data
    }
}

fn apply<T: Element>(
    data: &mut Tensor,
    updates: &Tensor,
    offsets: &[usize],
    block: usize,
    join: impl Fn(T, T) -> T,
) {
    let data = data.slice_mut::<T>();
    let updates = updates.slice::<T>();
    for (&offset, updates) in offsets.iter().zip(updates.chunks_exact(block.max(1))) {
        for (old, &new) in data[offset..offset + block].iter_mut().zip(updates) {
            *old = join(*old, new);
        }
    }
}

fn require<'a>(inputs: &Inputs<'a>, reduction: Reduction) -> Result<[Named<'a>; 3], OpError> {
    inputs.expect_at_most(3)?;
    let data = inputs.require(DATA, "data")?;
    let indices = inputs.require(INDICES, "indices")?;
    let updates = inputs.require(UPDATES, "updates")?;
    expect_indices(&indices)?;
    updates.expect_dtype(data.dtype())?;
    if reduction != Reduction::Replace {
        data.expect_dtype_that(DType::is_number, "a numeric type")?;
    }
    Ok([data, indices, updates])
}

fn role() -> QuantRole {
    QuantRole { reads: Reads::Only(vec![DATA, UPDATES]), ..QuantRole::OWN_RANGE }
}

/// `output[indices[i][j]][j] = updates[i][j]` for axis 0, and so on.
#[derive(Debug)]
struct ScatterElements {
    axis: i64,
    reduction: Reduction,
}

impl ScatterElements {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let axis = attrs.int("axis", 0)?;
        Ok(Box::new(ScatterElements { axis, reduction: Reduction::read(attrs)? }))
    }
}

impl Operator for ScatterElements {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        let [data, indices, updates] = require(inputs, self.reduction)?;
        let axis = axis_attribute("axis", self.axis, data.rank())?;
        expect_within(&indices, data.shape(), axis)?;
        if updates.shape() != indices.shape() {
            return Err(updates.wrong_shape(format!("{:?}, that of `indices`", indices.shape())));
        }
        Ok(vec![data.ty().clone()])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let shape = inputs.shape(DATA);
        let axis = axis_attribute("axis", self.axis, shape.len())?;
        let offsets = element_offsets(shape, inputs.tensor(INDICES), axis)?;
        Ok(vec![self.reduction.scatter(inputs, &offsets, 1)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        role()
    }
}

/// The last axis of `indices` holds positions along the first axes of `data`.
#[derive(Debug)]
struct ScatterNd {
    reduction: Reduction,
}

impl Operator for ScatterNd {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        let [data, indices, updates] = require(inputs, self.reduction)?;
        let depth = index_depth(&indices, data.rank())?;
        let index_shape = &indices.shape()[..indices.rank() - 1];
        let expected = [index_shape, &data.shape()[depth..]].concat();
        if updates.shape() != expected {
            return Err(updates.wrong_shape(format!("{expected:?}")));
        }
        Ok(vec![data.ty().clone()])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let (offsets, block) = tuple_offsets(inputs.shape(DATA), inputs.tensor(INDICES), 0)?;
        Ok(vec![self.reduction.scatter(inputs, &offsets, block)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        role()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use crate::ops::testing::op;

    #[test]
    fn scatter_elements() {
        let (x, updates) = (array![[1., 2., 3.]], array![[10., 20.]]);
        let base = |[a, b]: [i64; 2]| {
            op("ScatterElements").input(&x).tensor(array![[a, b]]).input(&updates).int("axis", 1)
        };
        base([2, -3]).gives(array![[20., 2., 10.]]);
        base([1, 1]).gives(array![[1., 20., 3.]]);
        base([1, 1]).string("reduction", "add").gives(array![[1., 32., 3.]]);
        base([1, 1]).string("reduction", "mul").gives(array![[1., 400., 3.]]);
        base([1, 0]).string("reduction", "max").gives(array![[20., 10., 3.]]);
        base([1, 0]).string("reduction", "min").gives(array![[1., 2., 3.]]);
        base([0, 3]).fails("input `indices` is 3, expected from -3 to 2");
        base([0, 0])
            .string("reduction", "sub")
            .fails("attribute `reduction` is `sub`; supported: `none`, `add`, `mul`, `min`, `max`");
        op("Scatter").opset(10).i64s(&[1, 2]).i64s(&[0]).i64s(&[9]).gives_tensor(array![9_i64, 2]);
        op("ScatterElements")
            .i64s(&[1, 2])
            .i64s(&[0])
            .i64s(&[9, 9])
            .fails("input `updates` has shape [2], expected [1], that of `indices`");
    }

    #[test]
    fn scatter_nd() {
        let x = array![[1., 2.], [3., 4.]];
        let base = || op("ScatterND").input(&x);
        base().tensor(array![[1_i64]]).input(&array![[7., 8.]]).gives(array![[1., 2.], [7., 8.]]);
        base()
            .tensor(array![[0_i64, 1], [1, 0]])
            .input(&array![7., 8.])
            .gives(array![[1., 7.], [8., 4.]]);
        base()
            .tensor(array![[0_i64], [0]])
            .input(&array![[1., 1.], [2., 2.]])
            .string("reduction", "add")
            .gives(array![[4., 5.], [3., 4.]]);
        base()
            .tensor(ndarray::Array2::<i64>::zeros((0, 1)))
            .input(&Array2::zeros((0, 2)))
            .gives(x.clone());
        base()
            .tensor(array![[2_i64]])
            .input(&array![[7., 8.]])
            .fails("input `indices` is 2, expected from -2 to 1");
        base()
            .tensor(array![[0_i64]])
            .input(&array![7.])
            .fails("input `updates` has shape [1], expected [1, 2]");
    }
}
