//! Largest and smallest along an axis: `TopK`, `ArgMax`, `ArgMin`.

use std::cmp::Ordering;

use crate::ops::dims::{Along, axis_attribute, checked_type, with_dim};
use crate::ops::generate::expect_single;
use crate::ops::number::dispatch_numbers;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Element, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("TopK", 1, TopK::read),
    OpDef::onnx("ArgMax", 1, |attrs| Arg::read(Ordering::Greater, attrs)),
    OpDef::onnx("ArgMin", 1, |attrs| Arg::read(Ordering::Less, attrs)),
];

const X: usize = 0;
const K: usize = 1;

/// NaN is greater than every number.
pub(super) fn compare<T: PartialOrd>(a: T, b: T) -> Ordering {
    let is_nan = |x: &T| x.partial_cmp(x).is_none();
    a.partial_cmp(&b).unwrap_or_else(|| is_nan(&a).cmp(&is_nan(&b)))
}

/// The numbers below `n` in an order, equal ones as they are. One sort serves all types of elements.
pub(super) fn sorted(n: usize, order: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut sorted: Vec<usize> = (0..n).collect();
    sorted.sort_by(|&a, &b| order(a, b));
    sorted
}

/// The `k` largest or smallest, in order (also if `sorted` is 0); among equals the first ones.
#[derive(Debug)]
struct TopK {
    axis: i64,
    largest: bool,
}

impl TopK {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        attrs.flag("sorted", true)?;
        let axis = attrs.int("axis", -1)?;
        Ok(Box::new(TopK { axis, largest: attrs.flag("largest", true)? }))
    }

    fn order<T: PartialOrd>(&self, a: T, b: T) -> Ordering {
        if self.largest { compare(b, a) } else { compare(a, b) }
    }
}

impl Operator for TopK {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let x = inputs.require(X, "X")?;
        x.expect_dtype_that(DType::is_number, "a numeric type")?;
        let axis = axis_attribute("axis", self.axis, x.rank())?;
        let k = inputs.require(K, "K")?;
        expect_single(&k)?;
        let (found, n) = (k.i64s()?[0], x.shape()[axis]);
        let k = usize::try_from(found).ok().filter(|&k| k <= n);
        let k = k.ok_or_else(|| OpError::value("K", found, format!("from 0 to {n}")))?;
        let shape = with_dim(x.shape(), axis, k);
        Ok(vec![checked_type(x.dtype(), shape.clone())?, checked_type(DType::I64, shape)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let shape = self.infer(inputs)?.remove(0).shape;
        let x = inputs.tensor(X);
        let axis = axis_attribute("axis", self.axis, x.rank())?;
        let along = Along::new(x.shape(), axis);
        let k = shape[axis];
        let mut indices = vec![0; along.outer * k * along.inner];
        let values = dispatch_numbers!(x.dtype(), T => {
            let x = x.slice::<T>();
            let mut values = vec![T::default(); indices.len()];
            for_each_line(along, x, |outer, inner, line: &[T]| {
                let order = sorted(line.len(), &|a, b| self.order(line[a], line[b]));
                for (rank, &at) in order[..k].iter().enumerate() {
                    let to = (outer * k + rank) * along.inner + inner;
                    values[to] = line[at];
                    indices[to] = at as i64;
                }
            });
            Tensor::from_vec(&shape, values)
        });
        Ok(vec![values, Tensor::from_vec(&shape, indices)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::passes(X)
    }
}

/// Calls `f` with the outer index, the inner index and the elements of every line along the axis.
fn for_each_line<T: Element>(along: Along, x: &[T], mut f: impl FnMut(usize, usize, &[T])) {
    // Without lines, their length may be anything.
    let mut line = Vec::with_capacity(if x.is_empty() { 0 } else { along.n });
    for outer in 0..along.outer {
        for inner in 0..along.inner {
            line.clear();
            line.extend((0..along.n).map(|k| x[(outer * along.n + k) * along.inner + inner]));
            f(outer, inner, &line);
        }
    }
}

/// Where the extreme is; a NaN is extreme whichever is looked for.
#[derive(Debug)]
struct Arg {
    extreme: Ordering,
    axis: i64,
    keeps_dims: bool,
    selects_last: bool,
}

impl Arg {
    fn read(extreme: Ordering, attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(Arg {
            extreme,
            axis: attrs.int("axis", 0)?,
            keeps_dims: attrs.flag("keepdims", true)?,
            selects_last: attrs.flag("select_last_index", false)?,
        }))
    }

    fn position<T: PartialOrd + Copy>(&self, line: &[T]) -> usize {
        let is_nan = |x: T| x.partial_cmp(&x).is_none();
        let mut best = 0;
        for (at, &x) in line.iter().enumerate() {
            let order = x.partial_cmp(&line[best]);
            let order = order.unwrap_or_else(|| match (is_nan(x), is_nan(line[best])) {
                (true, false) => self.extreme,
                (false, true) => self.extreme.reverse(),
                _ => Ordering::Equal,
            });
            if order == self.extreme || (order.is_eq() && self.selects_last) {
                best = at;
            }
        }
        best
    }
}

impl Operator for Arg {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let x = inputs.require(X, "data")?;
        x.expect_dtype_that(DType::is_number, "a numeric type")?;
        let axis = axis_attribute("axis", self.axis, x.rank())?;
        let mut shape = with_dim(x.shape(), axis, 1);
        if x.shape()[axis] == 0 && !shape.contains(&0) {
            return Err(x.wrong_shape(format!("at least 1 at axis {axis}")));
        }
        if !self.keeps_dims {
            shape.remove(axis);
        }
        Ok(vec![checked_type(DType::I64, shape)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let shape = self.infer(inputs)?.remove(0).shape;
        let x = inputs.tensor(X);
        let along = Along::new(x.shape(), axis_attribute("axis", self.axis, x.rank())?);
        let mut positions = Vec::with_capacity(along.outer * along.inner);
        dispatch_numbers!(x.dtype(), T => {
            for_each_line(along, x.slice::<T>(), |_, _, line| positions.push(self.position(line) as i64));
        });
        Ok(vec![Tensor::from_vec(&shape, positions)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use crate::ops::testing::op;
    use crate::tensor::Tensor;

    #[test]
    fn topk() {
        let x = array![[3., 1., 3., 2.], [-1., -2., f32::NAN, 0.]];
        let base = |k: i64| op("TopK").input(&x).i64s(&[k]).outputs(2);
        base(2).gives_tensors(&[
            array![[3_f32, 3.], [f32::NAN, 0.]].into(),
            array![[0_i64, 2], [2, 3]].into(),
        ]);
        base(2).int("largest", 0).gives_tensors(&[
            array![[1_f32, 2.], [-2., -1.]].into(),
            array![[1_i64, 3], [1, 0]].into(),
        ]);
        base(1).int("axis", 0).int("sorted", 0).gives_tensors(&[
            array![[3_f32, 1., f32::NAN, 2.]].into(),
            array![[0_i64, 0, 1, 0]].into(),
        ]);
        let none = [Tensor::full(&[2, 0], 0_f32), Tensor::full(&[2, 0], 0_i64)];
        base(0).gives_tensors(&none);
        base(5).fails("input `K` is 5, expected from 0 to 4");
        base(-1).fails("input `K` is -1, expected from 0 to 4");
        op("TopK").input(&x).i64s(&[1, 1]).fails("input `K` has shape [2], expected one element");
    }

    #[test]
    fn arg() {
        let x = array![[3., 1., 3.], [0., 5., 0.]];
        op("ArgMax").input(&x).gives_tensor(array![[0_i64, 1, 0]]);
        let rows = |name| op(name).input(&x).int("axis", -1).int("keepdims", 0);
        rows("ArgMax").gives_tensor(array![0_i64, 1]);
        rows("ArgMin").gives_tensor(array![1_i64, 0]);
        rows("ArgMax").int("select_last_index", 1).gives_tensor(array![2_i64, 1]);
        rows("ArgMin").int("select_last_index", 1).gives_tensor(array![1_i64, 2]);
        let nan = array![1., f32::NAN, 5., -5.];
        op("ArgMax").input(&nan).gives_tensor(array![1_i64]);
        op("ArgMin").input(&nan).gives_tensor(array![1_i64]);
        op("ArgMax").i64s(&[4, 9]).int("keepdims", 0).gives_tensor(Tensor::scalar(1_i64));
        let endless = Tensor::from_vec::<i8>(&[1 << 60, 0], Vec::new());
        let no_positions = Tensor::full(&[1, 0], 0_i64);
        op("ArgMax").tensor(endless).int("axis", 0).gives_tensor(no_positions);
        op("ArgMax").input(&Array2::zeros((2, 0))).gives_tensor(Tensor::full(&[1, 0], 0_i64));
        op("ArgMax")
            .input(&Array2::zeros((2, 0)))
            .int("axis", 1)
            .fails("input `data` has shape [2, 0], expected at least 1 at axis 1");
    }
}
