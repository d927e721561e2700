//! `Unique`: the distinct elements of a tensor, or its distinct slices along an axis.
//!
//! <https://onnx.ai/onnx/operators/onnx__Unique.html>

use std::cmp::Ordering;

use crate::ops::cast::cast;
use crate::ops::dims::{Along, axis_attribute, with_dim};
use crate::ops::einsum::is_number;
use crate::ops::number::dispatch_numbers;
use crate::ops::order::{compare, sorted};
use crate::ops::take::take_axis;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("Unique", 11, Unique::read)];

/// Without an axis the tensor is taken as a vector. A NaN equals another and is greater than all numbers.
#[derive(Debug)]
struct Unique {
    axis: Option<i64>,
    /// Whether the result ascends; if not, it is in order of first appearance.
    is_sorted: bool,
}

const X: usize = 0;

/// Equal slices, of which there is at least one.
#[derive(Debug)]
struct Class {
    first: usize,
    members: Vec<usize>,
}

impl Unique {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let is_sorted = attrs.flag("sorted", true)?;
        Ok(Box::new(Unique { axis: attrs.opt_int("axis")?, is_sorted }))
    }

    /// The tensor and the axis that its slices lie along.
    fn slices(&self, x: &Tensor) -> Result<(Tensor, usize), OpError> {
        Ok(match self.axis {
            Some(axis) => (x.clone(), axis_attribute("axis", axis, x.rank())?),
            None => (x.reshaped(&[x.len()]), 0),
        })
    }

    /// The slices that equal each other, in the order of the result.
    fn classes(&self, x: &Tensor, axis: usize) -> Vec<Class> {
        // Bool orders as the integers that it becomes.
        let x = if x.dtype() == DType::Bool { cast(x, DType::U8) } else { x.clone() };
        let along = Along::new(x.shape(), axis);
        let mut classes: Vec<Class> = dispatch_numbers!(x.dtype(), T => {
            let x = x.slice::<T>();
            let order = |a, b| compare_slices(x, along, a, b);
            // The first member of a class is the first in the tensor.
            let sorted = sorted(along.n, &order);
            let equal = sorted.chunk_by(|&a, &b| order(a, b).is_eq());
            equal.map(|members| Class { first: members[0], members: members.to_vec() }).collect()
        });
        if !self.is_sorted {
            classes.sort_by_key(|class| class.first);
        }
        classes
    }
}

/// Element by element, in row-major order.
fn compare_slices<T: PartialOrd + Copy>(x: &[T], along: Along, a: usize, b: usize) -> Ordering {
    let Along { outer, n, inner } = along;
    let at = |outer: usize, slice: usize, inner_idx| x[(outer * n + slice) * inner + inner_idx];
    let positions = (0..outer).flat_map(|i| (0..inner).map(move |j| (i, j)));
    let orders = positions.map(|(i, j)| compare(at(i, a, j), at(i, b, j)));
    orders.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

impl Operator for Unique {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let x = inputs.require(X, "X")?;
        let has_order = |dtype| is_number(dtype) || dtype == DType::Bool;
        x.expect_dtype_that(has_order, "a numeric type or bool")?;
        if let Some(axis) = self.axis {
            axis_attribute("axis", axis, x.rank())?;
        }
        let (slices, axis) = self.slices(x.value()?)?;
        let (n_slices, n) = (slices.shape()[axis], self.classes(&slices, axis).len());
        let unique = TensorType::new(x.dtype(), &with_dim(slices.shape(), axis, n));
        let vectors = [n, n_slices, n].map(|n| TensorType::new(DType::I64, &[n]));
        let types = std::iter::once(unique).chain(vectors);
        Ok(types.take(inputs.n_outputs().max(1)).collect())
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let (x, axis) = self.slices(inputs.tensor(X))?;
        let classes = self.classes(&x, axis);
        let firsts: Vec<usize> = classes.iter().map(|class| class.first).collect();
        let mut inverse = vec![0; x.shape()[axis]];
        for (number, class) in classes.iter().enumerate() {
            class.members.iter().for_each(|&member| inverse[member] = number as i64);
        }
        let indices: Vec<i64> = firsts.iter().map(|&first| first as i64).collect();
        let counts: Vec<i64> = classes.iter().map(|class| class.members.len() as i64).collect();
        let vectors = [indices, inverse, counts];
        let vectors = vectors.into_iter().map(|vector| Tensor::from_vec(&[vector.len()], vector));
        let outputs = std::iter::once(take_axis(&x, axis, &firsts)).chain(vectors);
        Ok(outputs.take(inputs.n_outputs().max(1)).collect())
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::passes(X)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::QuantRole;
    use crate::ops::testing::{counting, op};
    use crate::tensor::Tensor;

    #[test]
    fn elements() {
        let base = || op("Unique").input(&array![[2., 1.], [1., 3.]]).outputs(4);
        base().gives_tensors(&[
            array![1_f32, 2., 3.].into(),
            array![1_i64, 0, 3].into(),
            array![1_i64, 0, 0, 2].into(),
            array![2_i64, 1, 1].into(),
        ]);
        base().int("sorted", 0).gives_tensors(&[
            array![2_f32, 1., 3.].into(),
            array![0_i64, 1, 3].into(),
            array![0_i64, 1, 1, 2].into(),
            array![1_i64, 2, 1].into(),
        ]);
        op("Unique").input(&ndarray::arr0(4.)).gives(array![4.]);
        op("Unique").tensor(array![true, false, true]).gives_tensor(array![false, true]);
        op("Unique").i64s(&[3, -3, 3]).gives_tensor(array![-3_i64, 3]);
        let nan = f32::NAN;
        op("Unique").input(&array![nan, 1., nan, 0., -0.]).gives(array![0., 1., nan]);
        assert_eq!(op("Unique").quant(), QuantRole::passes(0));
    }

    #[test]
    fn slices() {
        let x = array![[2., 0., 2.], [1., 3., 1.]];
        op("Unique").input(&x).int("axis", 1).outputs(4).gives_tensors(&[
            array![[0_f32, 2.], [3., 1.]].into(),
            array![1_i64, 0].into(),
            array![1_i64, 0, 1].into(),
            array![1_i64, 2].into(),
        ]);
        op("Unique").input(&x).int("axis", -2).gives(array![[1., 3., 1.], [2., 0., 2.]]);
    }

    #[test]
    fn of_nothing() {
        op("Unique")
            .tensor(counting(&[0, 2]))
            .outputs(2)
            .gives_tensors(&[counting(&[0]), Tensor::full(&[0], 0_i64)]);
        op("Unique").tensor(counting(&[0, 2])).int("axis", 0).gives_tensor(counting(&[0, 2]));
        op("Unique").tensor(counting(&[0, 2])).int("axis", 1).gives_tensor(counting(&[0, 1]));
    }

    #[test]
    fn refuses() {
        op("Unique")
            .tensor(counting(&[2]))
            .int("axis", 1)
            .fails("attribute `axis` is 1, expected from -1 to 0");
        op("Unique")
            .tensor(counting(&[]))
            .int("axis", 0)
            .fails("attribute `axis` is 0, expected none, as the input has rank 0");
        op("Unique").int("sorted", 2).fails("attribute `sorted` is 2; supported: 0 or 1");
    }
}
