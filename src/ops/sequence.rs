//! Along a time axis: `CumSum`, `CumProd`, `ReverseSequence`.

use crate::dispatch;
use crate::ops::dims::{Along, axes_input, axis_attribute, strides};
use crate::ops::generate::expect_single;
use crate::ops::inputs::Named;
use crate::ops::number::{Scalar, dispatch_numbers};
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("CumSum", 11, |attrs| Cumulative::read(attrs, Operation::Sum)),
    OpDef::onnx("CumProd", 26, |attrs| Cumulative::read(attrs, Operation::Product)),
    OpDef::onnx("ReverseSequence", 10, ReverseSequence::read),
];

const X: usize = 0;
const AXIS: usize = 1;

#[derive(Debug, Clone, Copy)]
enum Operation {
    Sum,
    Product,
}

/// Running sums or products along an axis: f64 for floats, wrapping for integers.
#[derive(Debug)]
struct Cumulative {
    operation: Operation,
    /// Whether a result leaves out the element it stands at.
    exclusive: bool,
    reverse: bool,
}

impl Cumulative {
    fn read(attrs: &mut Attrs, operation: Operation) -> Result<Box<dyn Operator>, OpError> {
        let exclusive = attrs.flag("exclusive", false)?;
        Ok(Box::new(Cumulative { operation, exclusive, reverse: attrs.flag("reverse", false)? }))
    }

    fn run<T: Scalar, S: Copy>(
        &self,
        x: &Tensor,
        axis: usize,
        start: S,
        join: impl Fn(S, T) -> S,
        round: impl Fn(S) -> T,
    ) -> Tensor {
        let Along { outer, n, inner } = Along::new(x.shape(), axis);
        let mut results = x.clone();
        let elements = results.slice_mut::<T>();
        for (outer_idx, inner_idx) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
            let mut result = start;
            for step in 0..n {
                let k = if self.reverse { n - 1 - step } else { step };
                let at = (outer_idx * n + k) * inner + inner_idx;
                let next = join(result, elements[at]);
                elements[at] = round(if self.exclusive { result } else { next });
                result = next;
            }
        }
        results
    }
}

fn axis(input: &Named<'_>, rank: usize) -> Result<usize, OpError> {
    Ok(axes_input("axis", &input.i64s()?, rank)?[0])
}

impl Operator for Cumulative {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let x = inputs.require(X, "x")?;
        x.expect_dtype_that(DType::is_number, "a numeric type")?;
        let axis_input = inputs.require(AXIS, "axis")?;
        axis_input.expect_dtype_that(|d| matches!(d, DType::I32 | DType::I64), "int32 or int64")?;
        expect_single(&axis_input)?;
        if axis_input.value().is_ok() {
            axis(&axis_input, x.rank())?;
        }
        Ok(vec![x.ty().clone()])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let x = inputs.tensor(X);
        let axis = axis(&inputs.require(AXIS, "axis")?, x.rank())?;
        let is_float = x.dtype().is_float();
        Ok(vec![dispatch_numbers!(x.dtype(), T => match (self.operation, is_float) {
            (Operation::Sum, true) => {
                self.run(x, axis, 0., |sum, x: T| sum + x.to_f64(), T::nearest)
            }
            (Operation::Sum, false) => {
                self.run(x, axis, 0, |sum: i128, x: T| sum.wrapping_add(x.to_i128()), T::wrapped)
            }
            (Operation::Product, true) => {
                self.run(x, axis, 1., |product, x: T| product * x.to_f64(), T::nearest)
            }
            (Operation::Product, false) => {
                let join = |product: i128, x: T| product.wrapping_mul(x.to_i128());
                self.run(x, axis, 1, join, T::wrapped)
            }
        })])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::reads_only(X)
    }
}

const LENGTHS: usize = 1;

/// Reverses the first `sequence_lens[b]` steps of each batch element `b`.
#[derive(Debug)]
struct ReverseSequence {
    batch_axis: i64,
    time_axis: i64,
}

impl ReverseSequence {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let batch_axis = attrs.int("batch_axis", 1)?;
        Ok(Box::new(ReverseSequence { batch_axis, time_axis: attrs.int("time_axis", 0)? }))
    }

    fn axes(&self, rank: usize) -> Result<(usize, usize), OpError> {
        let batch = axis_attribute("batch_axis", self.batch_axis, rank)?;
        let time = axis_attribute("time_axis", self.time_axis, rank)?;
        if batch == time {
            return Err(OpError::invalid_attribute("time_axis", time, "not the batch axis"));
        }
        Ok((batch, time))
    }
}

impl Operator for ReverseSequence {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let input = inputs.require(X, "input")?;
        let lengths = inputs.require(LENGTHS, "sequence_lens")?;
        lengths.expect_dtype(DType::I64)?;
        let (batch, _) = self.axes(input.rank())?;
        if lengths.shape() != [input.shape()[batch]] {
            return Err(lengths.wrong_shape(format!("[{}], the batch", input.shape()[batch])));
        }
        Ok(vec![input.ty().clone()])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let input = inputs.tensor(X);
        let shape = input.shape();
        let (batch, time) = self.axes(shape.len())?;
        let n = shape[time];
        let length = |&length: &i64| {
            let in_range = usize::try_from(length).ok().filter(|&length| length <= n);
            in_range
                .ok_or_else(|| OpError::value("sequence_lens", length, format!("from 0 to {n}")))
        };
        let lengths = inputs.tensor(LENGTHS).slice::<i64>().iter().map(length);
        let lengths: Vec<usize> = lengths.collect::<Result<_, _>>()?;
        let strides = strides(shape);
        let source = |at: usize| {
            let length = lengths[at / strides[batch] % shape[batch]];
            let step = at / strides[time] % n;
            let from = if step < length { length - 1 - step } else { step };
            at - step * strides[time] + from * strides[time]
        };
        Ok(vec![dispatch!(input.dtype(), T => {
            let x = input.slice::<T>();
            Tensor::from_vec(shape, (0..x.len()).map(|at| x[source(at)]).collect())
        })])
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
    fn cum_sum() {
        let x = array![[1., 2., 3.], [4., 5., 6.]];
        let base = |axis: i64| op("CumSum").input(&x).tensor(Tensor::scalar(axis));
        base(1).gives(array![[1., 3., 6.], [4., 9., 15.]]);
        base(-2).gives(array![[1., 2., 3.], [5., 7., 9.]]);
        base(1).int("exclusive", 1).gives(array![[0., 1., 3.], [0., 4., 9.]]);
        base(1).int("reverse", 1).gives(array![[6., 5., 3.], [15., 11., 6.]]);
        base(1).int("reverse", 1).int("exclusive", 1).gives(array![[5., 3., 0.], [11., 6., 0.]]);
        op("CumSum").i64s(&[i64::MAX, 1]).i64s(&[0]).gives_tensor(array![i64::MAX, i64::MIN]);
        op("CumSum").input(&Array2::zeros((2, 0))).i64s(&[1]).gives(Array2::zeros((2, 0)));
        base(2).fails("input `axis` is 2, expected axes from -2 to 1");
    }

    #[test]
    fn cum_prod() {
        let x = array![[1., 2., 3.], [4., 5., 6.]];
        let base = |axis: i64| op("CumProd").input(&x).tensor(Tensor::scalar(axis));
        base(1).gives(array![[1., 2., 6.], [4., 20., 120.]]);
        base(0).int("exclusive", 1).gives(array![[1., 1., 1.], [1., 2., 3.]]);
        base(1).int("reverse", 1).gives(array![[6., 6., 3.], [120., 30., 6.]]);
        base(1).int("reverse", 1).int("exclusive", 1).gives(array![[6., 3., 1.], [30., 6., 1.]]);
        op("CumProd").i64s(&[i64::MAX, 2, -3]).i64s(&[0]).gives_tensor(array![i64::MAX, -2, 6]);
        base(2).fails("input `axis` is 2, expected axes from -2 to 1");
    }

    #[test]
    fn reverse_sequence() {
        let x = array![[1., 2., 3.], [4., 5., 6.]];
        let base = || op("ReverseSequence").input(&x);
        let batch_first = || base().int("batch_axis", 0).int("time_axis", 1);
        batch_first().i64s(&[2, 3]).gives(array![[2., 1., 3.], [6., 5., 4.]]);
        base().i64s(&[1, 2, 0]).gives(array![[1., 5., 3.], [4., 2., 6.]]);
        batch_first().i64s(&[4, 1]).fails("input `sequence_lens` is 4, expected from 0 to 3");
        base().i64s(&[1]).fails("input `sequence_lens` has shape [1], expected [3], the batch");
        base()
            .int("time_axis", 1)
            .i64s(&[1, 1, 1])
            .fails("attribute `time_axis` is 1, expected not the batch axis");
    }
}
