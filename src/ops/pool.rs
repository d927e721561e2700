//! Pools over windows: `MaxPool`, `AveragePool`, `LpPool`.
//!
//! <https://onnx.ai/onnx/operators/onnx__MaxPool.html> and its siblings

use half::{bf16, f16};

use crate::dispatch;
use crate::kernels::Axis;
use crate::ops::conv::expect_spatial;
use crate::ops::floats::{expect_any_float, rounded};
use crate::ops::number::Scalar;
use crate::ops::window::Window;
use crate::ops::{Attrs, Bodies, Inputs, Lowering, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Element, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("AveragePool", 1, AveragePool::read),
    OpDef::onnx("LpPool", 1, LpPool::read),
    OpDef::onnx("MaxPool", 1, MaxPool::read),
];

const X: usize = 0;

/// The shape of the output, `[N, C, ...]`, and the geometry.
fn pooled(window: &Window, x: &[usize]) -> Result<(Vec<usize>, [Axis; 3]), OpError> {
    expect_spatial(x)?;
    let kernel = window.kernel(x.len() - 2)?;
    let axes = window.axes(&x[2..], &kernel)?;
    // Windows on nothing but padding have nothing to pool.
    if axes.iter().any(|axis| axis.input == 0 && 0 < axis.output) {
        return Err(OpError::shape("X", x, "spatial axes with elements"));
    }
    let mut shape = x[..2].to_vec();
    shape.extend(axes[5 - x.len()..].iter().map(|axis| axis.output));
    Ok((shape, axes))
}

/// Calls `visit` with an accumulator row, the input row and the tap's reach, for every row and tap
/// of one channel, then `finish` with the row of accumulators.
fn for_each_row<A: Copy, T: Copy>(
    axes: &[Axis; 3],
    x: &[T],
    start: A,
    visit: impl Fn(&mut A, T),
    mut finish: impl FnMut([usize; 2], &[A]),
) {
    let [a, b, c] = axes;
    let inside: Vec<_> = (0..c.kernel).map(|k| c.inside(k)).collect();
    let mut row = vec![start; c.output];
    for (oa, ob) in (0..a.output).flat_map(|i| (0..b.output).map(move |j| (i, j))) {
        row.fill(start);
        for (ka, kb) in (0..a.kernel).flat_map(|i| (0..b.kernel).map(move |j| (i, j))) {
            let Some((i, j)) = a.source(oa, ka).zip(b.source(ob, kb)) else { continue };
            let x = &x[(i * b.input + j) * c.input..][..c.input];
            for (k, inside) in inside.iter().enumerate().filter(|(_, inside)| !inside.is_empty()) {
                let x = &x[inside.start * c.stride + k * c.dilation - c.pads[0]..];
                let row = &mut row[inside.clone()];
                match c.stride {
                    1 => row.iter_mut().zip(x).for_each(|(y, &x)| visit(y, x)),
                    stride => {
                        row.iter_mut()
                            .zip(x.iter().step_by(stride))
                            .for_each(|(y, &x)| visit(y, x));
                    }
                }
            }
        }
        finish([oa, ob], &row);
    }
}

/// The channels of `x`; none if a plane has no elements.
fn planes<'a, T>(axes: &[Axis; 3], x: &'a [T]) -> impl Iterator<Item = &'a [T]> {
    x.chunks_exact(axes.iter().map(|axis| axis.input).product::<usize>().max(1))
}

/// The largest element; a NaN in the window wins.
#[derive(Debug)]
struct MaxPool {
    window: Window,
    /// How positions count.
    column_major: bool,
}

impl MaxPool {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let column_major = attrs.flag("storage_order", false)?;
        Ok(Box::new(MaxPool { window: Window::read_pool(attrs)?, column_major }))
    }

    /// The maxima and their positions in the whole of `x`; the first of equal ones counts.
    fn indexed_max<T: Pooled>(&self, axes: &[Axis; 3], x: &[T], shape: &[usize]) -> Vec<Tensor> {
        let positions: Vec<usize> = (0..x.len()).collect();
        let plane: usize = axes.iter().map(|axis| axis.input).product();
        let (mut y, mut indices) = (Vec::new(), Vec::new());
        for positions in planes(axes, &positions) {
            let visit = |best: &mut Option<usize>, position: usize| {
                let value = best.map(|best| x[best]);
                if value.is_none_or(|y| !is_nan(y) && beats(x[position], y)) {
                    *best = Some(position);
                }
            };
            for_each_row(axes, positions, None, visit, |_, row: &[Option<usize>]| {
                y.extend(row.iter().map(|best| best.map_or(T::LOWEST, |best| x[best])));
                indices.extend(row.iter().map(|best| match *best {
                    None => -1,
                    Some(best) if self.column_major => {
                        (best / plane * plane + column_major(axes, best % plane)) as i64
                    }
                    Some(best) => best as i64,
                }));
            });
        }
        vec![Tensor::from_vec(shape, y), Tensor::from_vec(shape, indices)]
    }
}

/// A position in a plane, counted with the first axis fastest.
fn column_major([a, b, c]: &[Axis; 3], position: usize) -> usize {
    let (i, j, k) =
        (position / c.input / b.input, position / c.input % b.input, position % c.input);
    i + a.input * (j + b.input * k)
}

impl Operator for MaxPool {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let x = inputs.require(X, "X")?;
        let is_pooled = |dtype: DType| dtype.is_float() || matches!(dtype, DType::I8 | DType::U8);
        x.expect_dtype_that(is_pooled, "a float type, int8 or uint8")?;
        let (shape, _) = pooled(&self.window, x.shape())?;
        let mut types = vec![TensorType { dtype: x.dtype(), shape: shape.clone() }];
        if inputs.n_outputs() == 2 {
            types.push(TensorType { dtype: DType::I64, shape });
        }
        Ok(types)
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let x = inputs.tensor(X);
        let (shape, axes) = pooled(&self.window, x.shape())?;
        if inputs.n_outputs() == 2 {
            return Ok(
                dispatch!(x.dtype(), T in [F32 f32, F64 f64, F16 f16, BF16 bf16, I8 i8, U8 u8]
                => self.indexed_max(&axes, x.slice::<T>(), &shape),
                _ => Vec::new()),
            );
        }
        Ok(dispatch!(x.dtype(), T in [F32 f32, F64 f64, F16 f16, BF16 bf16, I8 i8, U8 u8]
            => vec![Tensor::from_vec(&shape, max(&axes, x.slice::<T>()))],
            _ => Vec::new()))
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::passes(X)
    }

    fn lower(&self, inputs: &Inputs<'_>) -> Option<Lowering> {
        let (_, axes) = pooled(&self.window, inputs.shape(X)).ok()?;
        (inputs.n_outputs() == 1).then_some(Lowering::MaxPool(axes))
    }

    fn proportional_to(&self) -> Option<usize> {
        Some(X)
    }
}

/// A type with a smallest value, which a window of nothing but padding gives.
trait Pooled: Element + PartialOrd {
    const LOWEST: Self;
}

macro_rules! pooled {
    ($($ty:ty),*) => { $(impl Pooled for $ty { const LOWEST: $ty = <$ty>::MIN; })* };
}

pooled!(f32, f64, f16, bf16, i8, u8);

/// Whether `x` replaces `y`: it is larger, or the first NaN.
fn beats<T: Pooled>(x: T, y: T) -> bool {
    x > y || is_nan(x)
}

#[allow(clippy::eq_op)]
fn is_nan<T: Pooled>(x: T) -> bool {
    x != x
}

fn max<T: Pooled>(axes: &[Axis; 3], x: &[T]) -> Vec<T> {
    let mut y = Vec::new();
    for x in planes(axes, x) {
        let visit = |y: &mut T, x: T| *y = if beats(x, *y) { x } else { *y };
        for_each_row(axes, x, T::LOWEST, visit, |_, row| y.extend_from_slice(row));
    }
    y
}

/// The one output of `$pool`'s method `$values` on the geometry and the elements.
macro_rules! pool_floats {
    ($pool:ident, $inputs:ident, $values:ident) => {{
        let x = $inputs.tensor(X);
        let (shape, axes) = pooled(&$pool.window, x.shape())?;
        let y = dispatch!(x.dtype(), T in [F32 f32, F64 f64, F16 f16, BF16 bf16]
            => $pool.$values(&axes, x.slice::<T>()),
            _ => Vec::new());
        Ok(vec![rounded(x.dtype(), &shape, y)])
    }};
}

/// The mean; padding counts if `count_include_pad`, what lies beyond it never.
#[derive(Debug)]
struct AveragePool {
    window: Window,
    count_include_pad: bool,
}

impl AveragePool {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let count_include_pad = attrs.flag("count_include_pad", false)?;
        Ok(Box::new(AveragePool { window: Window::read_pool(attrs)?, count_include_pad }))
    }

    /// How many taps of each output count along one axis.
    fn counts(&self, axis: &Axis) -> Vec<usize> {
        let end = axis.input + axis.pads.iter().sum::<usize>();
        let counts = |o: usize, k: usize| match self.count_include_pad {
            true => o * axis.stride + k * axis.dilation < end,
            false => axis.source(o, k).is_some(),
        };
        (0..axis.output).map(|o| (0..axis.kernel).filter(|&k| counts(o, k)).count()).collect()
    }

    fn means<T: Scalar>(&self, axes: &[Axis; 3], x: &[T]) -> Vec<f64> {
        let [a, b, c] = axes.map(|axis| self.counts(&axis));
        let mut y = Vec::new();
        for x in planes(axes, x) {
            let visit = |sum: &mut f64, x: T| *sum += x.to_f64();
            for_each_row(axes, x, 0., visit, |[i, j], sums| {
                let counts = c.iter().map(|c| a[i] * b[j] * c);
                let means = sums.iter().zip(counts);
                y.extend(means.map(|(sum, n)| if n == 0 { 0. } else { sum / n as f64 }));
            });
        }
        y
    }
}

impl Operator for AveragePool {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        infer_float(&self.window, inputs)
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        pool_floats!(self, inputs, means)
    }

    fn lower(&self, inputs: &Inputs<'_>) -> Option<Lowering> {
        let (_, axes) = pooled(&self.window, inputs.shape(X)).ok()?;
        Some(Lowering::AveragePool { axes, count_include_pad: self.count_include_pad })
    }

    fn proportional_to(&self) -> Option<usize> {
        Some(X)
    }
}

/// `(sum of |x|^p)^(1/p)`
#[derive(Debug)]
struct LpPool {
    window: Window,
    p: i64,
}

impl LpPool {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let p = read_norm_order(attrs)?;
        Ok(Box::new(LpPool { window: Window::read_pool(attrs)?, p }))
    }

    fn norms<T: Scalar>(&self, axes: &[Axis; 3], x: &[T]) -> Vec<f64> {
        let p = self.p as f64;
        let mut y = Vec::new();
        for x in planes(axes, x) {
            let visit = |sum: &mut f64, x: T| *sum += x.to_f64().abs().powf(p);
            for_each_row(axes, x, 0., visit, |_, sums| {
                y.extend(sums.iter().map(|sum| sum.powf(p.recip())));
            });
        }
        y
    }
}

/// The attribute `p`, at least 1.
pub(super) fn read_norm_order(attrs: &mut Attrs) -> Result<i64, OpError> {
    match attrs.int("p", 2)? {
        p if 1 <= p => Ok(p),
        p => Err(OpError::invalid_attribute("p", p, "at least 1")),
    }
}

impl Operator for LpPool {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        infer_float(&self.window, inputs)
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        pool_floats!(self, inputs, norms)
    }
}

fn infer_float(window: &Window, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
    inputs.expect_at_most(1)?;
    let x = inputs.require(X, "X")?;
    expect_any_float(&x)?;
    Ok(vec![TensorType { dtype: x.dtype(), shape: pooled(window, x.shape())?.0 }])
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::testing::{OpTest, counting, mixed, op};
    use crate::tensor::Tensor;

    fn pool(name: &'static str, x: Tensor, kernel: &[i64]) -> OpTest {
        op(name).tensor(x).ints("kernel_shape", kernel)
    }

    #[test]
    fn max_pool() {
        let max = |x, kernel| pool("MaxPool", x, kernel).macs(0);
        max(mixed(&[1, 1, 4, 5]), &[2, 2])
            .ints("strides", &[2, 2])
            .gives(array![[[[0., 2.], [0., 2.]]]]);
        let ceil = |x, kernel, stride| max(x, kernel).ints("strides", stride).int("ceil_mode", 1);
        ceil(counting(&[1, 1, 5]), &[2], &[2]).gives(array![[[1., 3., 4.]]]);
        // The only window sticks out.
        ceil(counting(&[1, 1, 2]), &[3], &[2]).gives(array![[[1.]]]);
        // The second window would start in nothing.
        ceil(counting(&[1, 1, 4]), &[1], &[4]).gives(array![[[0.]]]);
        max(mixed(&[1, 1, 2, 2, 3]), &[2, 2, 2])
            .ints("dilations", &[1, 1, 2])
            .gives(array![[[[[2.]]]]]);
        max(Tensor::from_vec(&[1, 1, 3], vec![7_u8, 9, 8]), &[2])
            .gives_tensor(Tensor::from_vec(&[1, 1, 2], vec![9_u8, 9]));
        max(Tensor::from_vec(&[1, 1, 3], vec![1., f32::NAN, 2.]), &[2])
            .gives(array![[[f32::NAN, f32::NAN]]]);
    }

    #[test]
    fn max_pool_indices() {
        let y = [-2_f32, 2., 0., 2., 1., 0., 2., 2.];
        let indices = [0_i64, 2, 6, 7, 9, 11, 12, 17];
        pool("MaxPool", mixed(&[1, 2, 3, 3]), &[2, 2])
            .ints("pads", &[1, 1, 0, 0])
            .ints("strides", &[2, 2])
            .outputs(2)
            .gives_tensors(&[
                Tensor::from_vec(&[1, 2, 2, 2], y.to_vec()),
                Tensor::from_vec(&[1, 2, 2, 2], indices.to_vec()),
            ]);
    }

    #[test]
    fn max_pool_indices_in_column_major_order() {
        let indices = |shape: &[usize], kernel: &[i64], y: &[f32], indices: &[i64]| {
            let shape_out = [&shape[..2], &vec![1; kernel.len()]].concat();
            pool("MaxPool", counting(shape), kernel)
                .int("storage_order", 1)
                .outputs(2)
                .gives_tensors(&[
                    Tensor::from_vec(&shape_out, y.to_vec()),
                    Tensor::from_vec(&shape_out, indices.to_vec()),
                ]);
        };
        indices(&[1, 2, 2], &[2], &[1., 3.], &[1, 3]);
        // The last of two rows and three columns, and the one before it, in the second plane.
        indices(&[1, 2, 2, 3], &[2, 3], &[5., 11.], &[5, 11]);
        pool("MaxPool", counting(&[1, 2, 2, 3]), &[1, 2])
            .ints("strides", &[1, 2])
            .int("storage_order", 1)
            .outputs(2)
            .gives_tensors(&[
                Tensor::from_vec(&[1, 2, 2, 1], vec![1_f32, 4., 7., 10.]),
                Tensor::from_vec(&[1, 2, 2, 1], vec![2_i64, 3, 8, 9]),
            ]);
        indices(&[1, 1, 2, 2, 2], &[2, 2, 2], &[7.], &[7]);
    }

    #[test]
    fn float64() {
        let x = || Tensor::from_vec(&[1, 1, 2], vec![16_777_217_f64, -16_777_216.]);
        let gives = |name, y: f64| {
            pool(name, x(), &[2]).gives_tensor(Tensor::from_vec(&[1, 1, 1], vec![y]))
        };
        gives("AveragePool", 0.5);
        gives("LpPool", 23_726_566.8);
        gives("MaxPool", 16_777_217.);
    }

    #[test]
    fn average_pool() {
        let base =
            || pool("AveragePool", counting(&[1, 1, 3, 3]), &[2, 2]).ints("pads", &[1, 1, 0, 0]);
        base().gives(array![[[[0., 0.5, 1.5], [1.5, 2., 3.], [4.5, 5., 6.]]]]);
        base().int("count_include_pad", 1).gives(array![[[
            [0., 0.25, 0.75],
            [0.75, 2., 3.],
            [2.25, 5., 6.]
        ]]]);
        let line = |length, kernel| pool("AveragePool", counting(&[1, 1, length]), &[kernel]);
        line(5, 2).ints("dilations", &[3]).gives(array![[[1.5, 2.5]]]);
        line(4, 2)
            .string("auto_pad", "SAME_LOWER")
            .int("count_include_pad", 1)
            .gives(array![[[0., 0.5, 1.5, 2.5]]]);
    }

    /// What sticks out of the padding is not counted.
    #[test]
    fn average_pool_ceil_mode() {
        let base = |length, stride| {
            let base = pool("AveragePool", counting(&[1, 1, length]), &[3]);
            base.ints("strides", &[stride]).int("ceil_mode", 1).int("count_include_pad", 1)
        };
        base(6, 2).ints("pads", &[1, 0]).gives(array![[[1. / 3., 2., 4.]]]);
        base(5, 3).gives(array![[[1., 3.5]]]);
        base(2, 2).gives(array![[[0.5]]]);
    }

    #[test]
    fn lp_pool() {
        let base = || pool("LpPool", counting(&[1, 1, 4]), &[2]).ints("strides", &[2]);
        base().int("p", 3).gives(array![[[1., 3.271_066_4]]]);
        base().gives(array![[[1., 13_f32.sqrt()]]]);
        base().int("p", 0).fails("attribute `p` is 0, expected at least 1");
    }

    #[test]
    fn pools_refuse() {
        op("MaxPool").tensor(counting(&[1, 1, 4])).fails("attribute `kernel_shape` is missing");
        pool("AveragePool", counting(&[1, 1, 0, 4]), &[2, 2])
            .string("auto_pad", "SAME_UPPER")
            .fails("input `X` has shape [1, 1, 0, 4], expected spatial axes with elements");
        pool("MaxPool", counting(&[1, 1, 4, 4]), &[1 << 31, 1 << 31])
            .ints("pads", &[1 << 30; 4])
            .fails("attribute `kernel_shape` is [2147483648, 2147483648]; supported: at most 4194304 positions");
        pool("MaxPool", counting(&[1, 1, 4]), &[2, 2])
            .fails("attribute `kernel_shape` is [2, 2], expected 1 values for this input");
        pool("MaxPool", counting(&[1, 1, 2]), &[3]).ints("strides", &[2]).fails(
            "input `X` has shape [2], expected at least 3 along each axis, padding included, to fit a window",
        );
        pool("AveragePool", Tensor::from_vec(&[1, 1, 2], vec![1_u8, 2]), &[2])
            .fails("input `X` is uint8, expected a float type");
    }
}
