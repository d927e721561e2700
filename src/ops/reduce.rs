//! Reductions along axes: `ReduceSum`, `ReduceMean`, `ReduceMax`, ...
//!
//! Floats accumulate in f64, in 16 lanes that are combined in a fixed order; integers in 128 bits, of which
//! the result keeps the low ones. Over nothing, a sum is 0, a product 1, a maximum the least value of
//! the type, a mean NaN (0 for integers). NaN passes through.

use ndarray::IxDyn;

use crate::dispatch;
use crate::ops::dims::{axes_input, checked_type};
use crate::ops::number::{Scalar, dispatch_numbers};
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

macro_rules! reductions {
    ($($name:literal: $kind:ident),* $(,)?) => {
        &[$(OpDef::onnx($name, 1, |attrs| Reduce::read(Kind::$kind, attrs))),*]
    };
}

pub(super) const OPS: &[OpDef] = reductions! {
    "ReduceSum": Sum,
    "ReduceMean": Mean,
    "ReduceMax": Max,
    "ReduceMin": Min,
    "ReduceProd": Prod,
    "ReduceL1": L1,
    "ReduceL2": L2,
    "ReduceSumSquare": SumSquare,
    "ReduceLogSum": LogSum,
    "ReduceLogSumExp": LogSumExp,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
    L1,
    L2,
    SumSquare,
    LogSum,
    LogSumExp,
}

/// Without axes it reduces all, or each element alone if `is_noop_without_axes`.
#[derive(Debug)]
struct Reduce {
    kind: Kind,
    keeps_dims: bool,
    is_noop_without_axes: bool,
}

const DATA: usize = 0;
const AXES: usize = 1;

impl Reduce {
    fn read(kind: Kind, attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(Reduce {
            kind,
            keeps_dims: attrs.flag("keepdims", true)?,
            is_noop_without_axes: attrs.flag("noop_with_empty_axes", false)?,
        }))
    }

    /// For each axis, whether it is reduced.
    fn is_reduced(&self, inputs: &Inputs<'_>) -> Result<Vec<bool>, OpError> {
        let rank = inputs.require(DATA, "data")?.rank();
        let axes = match inputs.optional(AXES, "axes") {
            Some(axes) => axes_input("axes", &axes.i64s()?, rank)?,
            None => Vec::new(),
        };
        let all = axes.is_empty() && !self.is_noop_without_axes;
        Ok((0..rank).map(|axis| all || axes.contains(&axis)).collect())
    }

    fn accepts(&self, dtype: DType) -> bool {
        let is_extreme = matches!(self.kind, Kind::Max | Kind::Min);
        dtype.is_number() || (is_extreme && dtype == DType::Bool)
    }
}

impl Operator for Reduce {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let data = inputs.require(DATA, "data")?;
        data.expect_dtype_that(|dtype| self.accepts(dtype), "a numeric type")?;
        let mut shape = Vec::new();
        for (&dim, is_reduced) in data.shape().iter().zip(self.is_reduced(inputs)?) {
            match is_reduced {
                false => shape.push(dim),
                true if self.keeps_dims => shape.push(1),
                true => (),
            }
        }
        Ok(vec![checked_type(data.dtype(), shape)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let shape = self.infer(inputs)?.remove(0).shape;
        Ok(vec![reduce(self.kind, inputs.tensor(DATA), &self.is_reduced(inputs)?, &shape)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        match self.kind {
            Kind::Max | Kind::Min => QuantRole::passes(DATA),
            _ => QuantRole::reads_only(DATA),
        }
    }
}

/// The sum over the axes for which `is_reduced` holds, which disappear.
///
/// # Panics
/// If the elements are bool.
pub(super) fn sum_axes(x: &Tensor, is_reduced: &[bool]) -> Tensor {
    let kept = std::iter::zip(x.shape(), is_reduced).filter(|(_, is_reduced)| !**is_reduced);
    let shape: Vec<usize> = kept.map(|(&dim, _)| dim).collect();
    reduce(Kind::Sum, x, is_reduced, &shape)
}

fn reduce(kind: Kind, x: &Tensor, is_reduced: &[bool], shape: &[usize]) -> Tensor {
    let n: usize = std::iter::zip(x.shape(), is_reduced)
        .filter_map(|(&dim, &is_reduced)| is_reduced.then_some(dim))
        .product();
    reduce_rows(kind, &reduced_last(x, is_reduced), n, shape)
}

/// The tensor with the axes to reduce moved behind the others.
fn reduced_last(x: &Tensor, is_reduced: &[bool]) -> Tensor {
    if is_reduced.is_sorted() {
        return x.clone();
    }
    let axes = |wanted: bool| (0..is_reduced.len()).filter(move |&axis| is_reduced[axis] == wanted);
    let order: Vec<usize> = axes(false).chain(axes(true)).collect();
    dispatch!(x.dtype(), T => {
        Tensor::new(x.view::<T>().permuted_axes(IxDyn(&order)).as_standard_layout().into_owned())
    })
}

fn reduce_rows(kind: Kind, x: &Tensor, n: usize, shape: &[usize]) -> Tensor {
    if x.dtype() == DType::Bool {
        let all = kind == Kind::Min;
        let reduced = rows(x.slice::<bool>(), n, shape, |row| match all {
            true => !row.contains(&false),
            false => row.contains(&true),
        });
        return Tensor::from_vec(shape, reduced);
    }
    let is_float =
        x.dtype().is_float() || matches!(kind, Kind::L2 | Kind::LogSum | Kind::LogSumExp);
    dispatch_numbers!(x.dtype(), T => {
        let x = x.slice::<T>();
        let reduced = match is_float {
            true => rows(x, n, shape, |row| T::nearest(reduce_floats(kind, row))),
            false => {
                let least = T::nearest(f64::NEG_INFINITY).to_i128();
                let most = T::nearest(f64::INFINITY).to_i128();
                rows(x, n, shape, |row| T::wrapped(reduce_integers(kind, row, [least, most])))
            }
        };
        Tensor::from_vec(shape, reduced)
    })
}

fn rows<T, O>(x: &[T], n: usize, shape: &[usize], reduce: impl Fn(&[T]) -> O) -> Vec<O> {
    let n_rows = shape.iter().product();
    (0..n_rows).map(|row| reduce(&x[row * n..(row + 1) * n])).collect()
}

fn reduce_floats<T: Scalar>(kind: Kind, row: &[T]) -> f64 {
    match kind {
        Kind::Sum => sum(row, |x| x),
        Kind::Mean => sum(row, |x| x) / row.len() as f64,
        Kind::Max => extreme(row, f64::NEG_INFINITY, |x, max| max < x),
        Kind::Min => extreme(row, f64::INFINITY, |x, min| x < min),
        Kind::Prod => row.iter().map(|x| x.to_f64()).product(),
        Kind::L1 => sum(row, f64::abs),
        Kind::L2 => sum(row, |x| x * x).sqrt(),
        Kind::SumSquare => sum(row, |x| x * x),
        Kind::LogSum => sum(row, |x| x).ln(),
        Kind::LogSumExp => {
            let max = extreme(row, f64::NEG_INFINITY, |x, max| max < x);
            // All of the sum, if it is infinite; `x - max` would be NaN.
            if max.is_finite() { max + sum(row, |x| (x - max).exp()).ln() } else { max }
        }
    }
}

fn sum<T: Scalar>(row: &[T], f: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.; 16];
    let chunks = row.chunks_exact(lanes.len());
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += f(x.to_f64());
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += f(x.to_f64());
    }
    lanes.into_iter().sum()
}

/// The element that no other is `beyond`; NaN if there is one.
fn extreme<T: Scalar>(row: &[T], start: f64, beyond: impl Fn(f64, f64) -> bool) -> f64 {
    row.iter()
        .map(|x| x.to_f64())
        .fold(start, |extreme, x| if beyond(x, extreme) || x.is_nan() { x } else { extreme })
}

fn reduce_integers<T: Scalar>(kind: Kind, row: &[T], [least, most]: [i128; 2]) -> i128 {
    let elements = row.iter().map(|x| x.to_i128());
    match kind {
        Kind::Max => elements.fold(least, i128::max),
        Kind::Min => elements.fold(most, i128::min),
        Kind::Prod => elements.fold(1, i128::wrapping_mul),
        Kind::L1 => elements.map(i128::abs).sum(),
        Kind::SumSquare => elements.fold(0, |sum: i128, x| sum.wrapping_add(x.wrapping_mul(x))),
        Kind::Mean => elements.sum::<i128>() / (row.len() as i128).max(1),
        _ => elements.sum(),
    }
}

#[cfg(test)]
mod tests {
    use std::f32::consts::LN_2;

    use ndarray::{Array1, Array2, Array3, array};

    use crate::ops::QuantRole;
    use crate::ops::testing::op;
    use crate::tensor::Tensor;

    #[test]
    fn every_kind() {
        let x = array![[1., -2., 3.], [4., 5., -6.]];
        let rows = |name| op(name).input(&x).i64s(&[1]).int("keepdims", 0);
        rows("ReduceSum").gives(array![2., 3.]);
        rows("ReduceMean").gives(array![2. / 3., 1.]);
        rows("ReduceMax").gives(array![3., 5.]);
        rows("ReduceMin").gives(array![-2., -6.]);
        rows("ReduceProd").gives(array![-6., -120.]);
        rows("ReduceL1").gives(array![6., 15.]);
        rows("ReduceL2").gives(array![3.741_657_3, 8.774_964]);
        rows("ReduceSumSquare").gives(array![14., 77.]);
        rows("ReduceLogSum").gives(array![LN_2, 1.098_612_3]);
        rows("ReduceLogSumExp").gives(array![3.132_845_2, 5.313_274]);
    }

    #[test]
    fn axes() {
        let x = array![[[1., 2.], [3., 4.]], [[5., 6.], [7., 8.]]];
        let sum = || op("ReduceSum").input(&x);
        sum().gives(array![[[36.]]]);
        sum().int("keepdims", 0).gives(ndarray::arr0(36.));
        sum().i64s(&[0]).gives(array![[[6., 8.], [10., 12.]]]);
        sum().i64s(&[-2]).int("keepdims", 0).gives(array![[4., 6.], [12., 14.]]);
        sum().i64s(&[2, 0]).int("keepdims", 0).gives(array![14., 22.]);
        sum().i64s(&[]).gives(array![[[36.]]]);
        sum().i64s(&[]).int("noop_with_empty_axes", 1).gives(x.clone());
        op("ReduceL1").input(&array![-1., 2.]).int("noop_with_empty_axes", 1).gives(array![1., 2.]);
        op("ReduceSum").input(&ndarray::arr0(3.)).gives(ndarray::arr0(3.));
        sum().i64s(&[3]).fails("input `axes` is 3, expected axes from -3 to 2");
        sum().i64s(&[1, -2]).fails("input `axes` is [1, -2], expected distinct axes");
        sum().int("keepdims", 2).fails("attribute `keepdims` is 2; supported: 0 or 1");
    }

    #[test]
    fn over_nothing() {
        let x = Array2::zeros((2, 0));
        let rows = |name| op(name).input(&x).i64s(&[1]).int("keepdims", 0);
        let twice = |x: f32| array![x, x];
        rows("ReduceSum").gives(twice(0.));
        rows("ReduceProd").gives(twice(1.));
        rows("ReduceMax").gives(twice(f32::NEG_INFINITY));
        rows("ReduceMin").gives(twice(f32::INFINITY));
        rows("ReduceMean").gives(twice(f32::NAN));
        rows("ReduceLogSumExp").gives(twice(f32::NEG_INFINITY));
        op("ReduceSum").input(&x).i64s(&[0]).gives(Array2::zeros((1, 0)));
        op("ReduceMax").i64s(&[]).gives_tensor(array![i64::MIN]);
        op("ReduceMin").tensor(Tensor::full(&[0], 0_u8)).gives_tensor(array![255_u8]);
    }

    #[test]
    fn nan_and_infinity() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let x = array![[nan, 1.], [1., nan], [inf, 0.], [-inf, -inf]];
        let rows = |name| op(name).input(&x).i64s(&[1]).int("keepdims", 0);
        rows("ReduceMax").gives(array![nan, nan, inf, -inf]);
        rows("ReduceMin").gives(array![nan, nan, 0., -inf]);
        rows("ReduceLogSumExp").gives(array![nan, nan, inf, -inf]);
        op("ReduceLogSumExp").input(&array![1000., 1000.]).gives(array![1_000.693_1]);
    }

    #[test]
    fn integers_and_bool() {
        op("ReduceSum").i64s(&[i64::MAX, 1]).gives_tensor(array![i64::MIN]);
        op("ReduceMean").i64s(&[-3, -4]).gives_tensor(array![-3_i64]);
        op("ReduceL2").tensor(array![3_i32, 4]).gives_tensor(array![5_i32]);
        op("ReduceMax").tensor(array![u64::MAX, 1]).gives_tensor(array![u64::MAX]);
        op("ReduceMin").tensor(array![true, false]).gives_tensor(array![false]);
        op("ReduceSum").tensor(array![true]).fails("input `data` is bool, expected a numeric type");
    }

    #[test]
    fn long_rows_lose_nothing() {
        let x = Array1::from_elem(100_003, 0.1_f32);
        op("ReduceMean").input(&x).gives(array![0.1]);
        let x = Array3::from_shape_fn((3, 17, 5), |(i, j, k)| (i * 100 + j * 10 + k) as f32);
        let expected = x.sum_axis(ndarray::Axis(1));
        op("ReduceSum").input(&x).i64s(&[1]).int("keepdims", 0).gives(expected);
    }

    #[test]
    fn reduce_quant() {
        assert_eq!(op("ReduceMax").quant(), QuantRole::passes(0));
        assert_eq!(op("ReduceMean").quant(), QuantRole::reads_only(0));
    }
}
