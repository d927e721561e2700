//! `GridSample`: values at the points of a grid. `AffineGrid`: such a grid.
//!
//! <https://onnx.ai/onnx/operators/onnx__GridSample.html>

use crate::ops::dims::{checked_type, sizes_input};
use crate::ops::floats::{doubles, expect_any_float, rounded};
use crate::ops::stencil::{self, Taps};
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("GridSample", 16, |attrs| {
        let modes =
            [("bilinear", Mode::Linear), ("nearest", Mode::Nearest), ("bicubic", Mode::Cubic)];
        GridSample::read(attrs, &modes)
    }),
    OpDef::onnx("GridSample", 20, |attrs| {
        let modes = [("linear", Mode::Linear), ("nearest", Mode::Nearest), ("cubic", Mode::Cubic)];
        GridSample::read(attrs, &modes)
    }),
    OpDef::onnx("AffineGrid", 20, |attrs| {
        Ok(Box::new(AffineGrid { align_corners: attrs.flag("align_corners", false)? }))
    }),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Linear,
    /// A tie goes to the even index.
    Nearest,
    Cubic,
}

/// What stands outside the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

/// `X` is `[N, C, ...]`, `grid` is `[N, ..., r]` with the last of the `r` axes first.
#[derive(Debug)]
struct GridSample {
    mode: Mode,
    padding: Padding,
    /// Whether -1 and 1 mean the centers of the corner elements, not their outer edges.
    align_corners: bool,
}

const X: usize = 0;
const GRID: usize = 1;

impl GridSample {
    fn read(attrs: &mut Attrs, modes: &[(&str, Mode)]) -> Result<Box<dyn Operator>, OpError> {
        let paddings = [
            ("zeros", Padding::Zeros),
            ("border", Padding::Border),
            ("reflection", Padding::Reflection),
        ];
        Ok(Box::new(GridSample {
            mode: attrs.choice("mode", modes)?,
            padding: attrs.choice("padding_mode", &paddings)?,
            align_corners: attrs.flag("align_corners", false)?,
        }))
    }

    /// The coordinate, in elements, of a point of the grid; each step is rounded as the grid is, for
    /// at a tie the last bit decides.
    fn coordinate(&self, point: f64, n: usize, round: fn(f64) -> f64) -> f64 {
        let (n, shifted) = (n as f64, round(point + 1.));
        match self.align_corners {
            true => round(shifted / 2. * (n - 1.)),
            false => round(round(shifted * n) - 1.) / 2.,
        }
    }

    /// The elements along an axis of length `n` that make the value at a point.
    fn taps(&self, point: f64, n: usize, round: fn(f64) -> f64) -> Taps {
        let x = self.coordinate(point, n, round);
        let x = if self.mode == Mode::Nearest { x.round_ties_even() } else { x };
        let x = match self.padding {
            // The cubic is that of the repeated border, not of the nearest point inside.
            Padding::Border if self.mode != Mode::Cubic => x.clamp(0., n as f64 - 1.),
            Padding::Zeros | Padding::Border => x,
            Padding::Reflection => self.reflected(x, n),
        };
        let place = |i: i64| match self.padding {
            Padding::Zeros => stencil::inside(i, n),
            Padding::Border => Some(i.clamp(0, n as i64 - 1) as usize),
            Padding::Reflection => Some((self.reflected(i as f64, n) as usize).min(n - 1)),
        };
        match self.mode {
            Mode::Linear => stencil::linear(x, place),
            Mode::Nearest => place(x as i64).into_iter().map(|i| (i, 1.)).collect(),
            Mode::Cubic => stencil::cubic(x, place),
        }
    }

    /// Thrown back at the borders until inside them.
    fn reflected(&self, x: f64, n: usize) -> f64 {
        let [low, high] = match self.align_corners {
            true => [0., n as f64 - 1.],
            false => [-0.5, n as f64 - 0.5],
        };
        if (low..=high).contains(&x) {
            return x;
        }
        if low == high {
            return low;
        }
        let along = (x - low).rem_euclid(2. * (high - low));
        low + along.min(2. * (high - low) - along)
    }
}

fn round_to_f32(x: f64) -> f64 {
    f64::from(x as f32)
}

impl Operator for GridSample {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let x = inputs.require(X, "X")?;
        let grid = inputs.require(GRID, "grid")?;
        expect_any_float(&grid)?;
        let r = x.rank().saturating_sub(2);
        if r == 0 || x.shape()[2..].contains(&0) {
            return Err(x.wrong_shape("[N, C, ...] with elements along each spatial axis"));
        }
        let n = x.shape()[0];
        if grid.rank() != r + 2 || grid.shape()[0] != n || grid.shape()[r + 1] != r {
            return Err(
                grid.wrong_shape(format!("[{n}, ..., {r}] of rank {}, to go with `X`", r + 2))
            );
        }
        let mut shape = x.shape()[..2].to_vec();
        shape.extend(&grid.shape()[1..=r]);
        Ok(vec![checked_type(x.dtype(), shape)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let output = &self.infer(inputs)?[0];
        let (channels, dims) = (inputs.shape(X)[1], &inputs.shape(X)[2..]);
        let is_f64 = inputs.tensor(GRID).dtype() == DType::F64;
        let round = if is_f64 { std::convert::identity } else { round_to_f32 };
        let n_points: usize = output.shape[2..].iter().product();
        let (x, grid) = (doubles(inputs.tensor(X)), doubles(inputs.tensor(GRID)));
        let (plane, rank) = (dims.iter().product::<usize>(), dims.len());
        let mut y = vec![0.; output.len()];
        if y.is_empty() {
            return Ok(vec![rounded(output.dtype, &output.shape, y)]);
        }
        let images = x.chunks_exact(channels * plane).zip(grid.chunks_exact(n_points * rank));
        for ((x, grid), y) in images.zip(y.chunks_exact_mut(channels * n_points)) {
            for (i, point) in grid.chunks_exact(rank).enumerate() {
                let axes = point.iter().rev().zip(dims);
                let axes: Vec<Taps> = axes.map(|(&x, &n)| self.taps(x, n, round)).collect();
                let taps = stencil::over_plane(&axes, dims);
                for (x, y) in x.chunks_exact(plane).zip(y[i..].iter_mut().step_by(n_points)) {
                    *y = stencil::value(&taps, x);
                }
            }
        }
        Ok(vec![rounded(output.dtype, &output.shape, y)])
    }

    /// The zeros outside are in every encoding; the grid is a place, not an activation.
    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        match self.mode {
            Mode::Nearest => QuantRole::passes(X),
            Mode::Linear | Mode::Cubic => QuantRole::reads_only(X),
        }
    }
}

/// The points of an image after an affine map: `theta` is `[N, r, r + 1]`, the result `[N, ..., r]`.
#[derive(Debug)]
struct AffineGrid {
    align_corners: bool,
}

const THETA: usize = 0;
const SIZE: usize = 1;

impl AffineGrid {
    /// The position of element `i` of `n`, the image reaching from -1 to 1.
    fn position(&self, i: usize, n: usize) -> f64 {
        match self.align_corners {
            true if n == 1 => 0.,
            true => 2. * i as f64 / (n - 1) as f64 - 1.,
            false => (2 * i + 1) as f64 / n as f64 - 1.,
        }
    }
}

impl Operator for AffineGrid {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let theta = inputs.require(THETA, "theta")?;
        expect_any_float(&theta)?;
        let [n, rank, columns] = theta.expect_rank()?;
        if !(2..=3).contains(&rank) || columns != rank + 1 {
            return Err(theta.wrong_shape("[N, 2, 3] or [N, 3, 4]"));
        }
        let size = inputs.require(SIZE, "size")?.i64s()?;
        let sizes = sizes_input("size", &size)?;
        if sizes.len() != rank + 2 || sizes[0] != n {
            let expected = format!("{} sizes, those of {n} images", rank + 2);
            return Err(OpError::value("size", format!("{size:?}"), expected));
        }
        let shape = [&[n], &sizes[2..], &[rank]].concat();
        Ok(vec![checked_type(theta.dtype(), shape)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let output = &self.infer(inputs)?[0];
        let rank = inputs.shape(THETA)[1];
        let dims = &output.shape[1..=rank];
        let mut y = Vec::with_capacity(output.len());
        for theta in doubles(inputs.tensor(THETA)).chunks_exact(rank * (rank + 1)) {
            for mut index in 0..dims.iter().product() {
                let mut point = Vec::with_capacity(rank + 1);
                for &dim in dims.iter().rev() {
                    point.push(self.position(index % dim, dim));
                    index /= dim;
                }
                point.push(1.);
                let rows = theta.chunks_exact(rank + 1);
                y.extend(rows.map(|row| row.iter().zip(&point).map(|(a, x)| a * x).sum::<f64>()));
            }
        }
        Ok(vec![rounded(output.dtype, &output.shape, y)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::QuantRole;
    use crate::ops::testing::{OpTest, counting, op};
    use crate::tensor::Tensor;

    /// Of 0, 1, 2, 3 in a row, at these points.
    fn sample(mode: &str, padding: &str, points: &[f32]) -> OpTest {
        op("GridSample")
            .tensor(counting(&[1, 1, 4]))
            .tensor(Tensor::from_vec(&[1, points.len(), 1], points.to_vec()))
            .string("mode", mode)
            .string("padding_mode", padding)
    }

    #[test]
    fn linear() {
        let points = [-1.5, -1., 0., 0.5, 1., 1.25];
        sample("linear", "zeros", &points).gives(array![[[0., 0., 1.5, 2.5, 1.5, 0.]]]);
        sample("linear", "border", &points).gives(array![[[0., 0., 1.5, 2.5, 3., 3.]]]);
        sample("linear", "reflection", &points).gives(array![[[0.5, 0., 1.5, 2.5, 3., 3.]]]);
        let aligned = |padding| sample("linear", padding, &points).int("align_corners", 1);
        aligned("zeros").gives(array![[[0., 0., 1.5, 2.25, 3., 1.875]]]);
        aligned("reflection").gives(array![[[0.75, 0., 1.5, 2.25, 3., 2.625]]]);
    }

    #[test]
    fn nearest() {
        // Elements -1.5, -0.5, 0.5, 1.5, 2.5, 4.
        let points = [-1.5, -1., -0.5, 0., 0.5, 1.25];
        sample("nearest", "zeros", &points).gives(array![[[0., 0., 0., 2., 2., 0.]]]);
        sample("nearest", "border", &points).gives(array![[[0., 0., 0., 2., 2., 3.]]]);
        sample("nearest", "reflection", &points).gives(array![[[1., 0., 0., 2., 2., 3.]]]);
    }

    #[test]
    fn cubic() {
        sample("cubic", "zeros", &[0.]).gives(array![[[1.5]]]);
        let aligned = sample("cubic", "border", &[-1., -2. / 3.]).int("align_corners", 1);
        aligned.gives(array![[[0., 0.406_25]]]);
        // The row -1, 0, 1, 2 of -0.09375, 0.59375, 0.59375, -0.09375.
        sample("cubic", "zeros", &[-0.5]).gives(array![[[0.406_25]]]);
        sample("cubic", "reflection", &[-0.5]).gives(array![[[0.406_25]]]);
        // At -0.75: the row 0, 0, 0, 1, of which the last weighs -0.03515625.
        sample("cubic", "border", &[-1.125]).gives(array![[[-0.035_156_25]]]);
    }

    /// The last axis comes first in the grid.
    #[test]
    fn planes_and_volumes() {
        let plane = array![[[[0., 0.], [1., 0.], [0., 1.]]]];
        op("GridSample")
            .tensor(counting(&[1, 2, 3, 3]))
            .input(&plane)
            .int("align_corners", 1)
            .gives(array![[[[4., 5., 7.]], [[13., 14., 16.]]]]);
        op("GridSample")
            .tensor(counting(&[1, 1, 3, 3, 3]))
            .tensor(Tensor::from_vec(&[1, 1, 1, 2, 3], vec![0_f32, 0., 0., 1., 0., -0.5]))
            .string("mode", "linear")
            .int("align_corners", 1)
            .gives(array![[[[[13., 9.5]]]]]);
    }

    #[test]
    fn types_and_opsets() {
        let base = |mode| op("GridSample").opset(16).string("mode", mode);
        for mode in ["bilinear", "bicubic"] {
            base(mode)
                .tensor(Tensor::from_vec(&[1, 1, 1, 2], vec![1_i32, 4]))
                .input(&array![[[[0., 0.]]]])
                .string("padding_mode", "border")
                .gives_tensor(Tensor::from_vec(&[1, 1, 1, 1], vec![2_i32]));
        }
        base("linear")
            .fails("attribute `mode` is `linear`; supported: `bilinear`, `nearest`, `bicubic`");
    }

    #[test]
    fn points_far_away_and_nowhere() {
        let points = [f32::NEG_INFINITY, -1e38, 1e38, f32::INFINITY, f32::NAN];
        let far = |mode, padding| sample(mode, padding, &points);
        let nan = f32::NAN;
        far("linear", "zeros").gives(array![[[0., 0., 0., 0., nan]]]);
        far("cubic", "zeros").gives(array![[[0., 0., 0., 0., nan]]]);
        far("nearest", "zeros").gives(array![[[0., 0., 0., 0., 0.]]]);
        far("linear", "border").gives(array![[[0., 0., 3., 3., nan]]]);
        far("nearest", "border").gives(array![[[0., 0., 3., 3., 0.]]]);
        sample("linear", "reflection", &[nan, f32::INFINITY]).gives(array![[[nan, nan]]]);
    }

    #[test]
    fn refuses() {
        op("GridSample").tensor(counting(&[1, 1, 2, 2])).tensor(counting(&[1, 2, 2, 3])).fails(
            "input `grid` has shape [1, 2, 2, 3], expected [1, ..., 2] of rank 4, to go with `X`",
        );
        op("GridSample")
            .tensor(counting(&[1, 1, 0]))
            .tensor(counting(&[1, 2, 1]))
            .fails("input `X` has shape [1, 1, 0], expected [N, C, ...] with elements along each spatial axis");
        op("AffineGrid")
            .tensor(counting(&[1, 2, 2]))
            .i64s(&[1, 1, 2, 2])
            .fails("input `theta` has shape [1, 2, 2], expected [N, 2, 3] or [N, 3, 4]");
        op("AffineGrid")
            .tensor(counting(&[1, 2, 3]))
            .i64s(&[2, 1, 2, 2])
            .fails("input `size` is [2, 1, 2, 2], expected 4 sizes, those of 1 images");
    }

    #[test]
    fn affine_grids() {
        let grid = |theta: Tensor, size: &[i64]| op("AffineGrid").tensor(theta).i64s(size);
        let identity = || Tensor::from_vec(&[1, 2, 3], vec![1_f32, 0., 0., 0., 1., 0.]);
        grid(identity(), &[1, 9, 1, 2]).gives(array![[[[-0.5, 0.], [0.5, 0.]]]]);
        grid(identity(), &[1, 9, 2, 1])
            .int("align_corners", 1)
            .gives(array![[[[0., -1.]], [[0., 1.]]]]);
        // x + 2 y + 3 and 4 x + 5 y + 6.
        let theta = Tensor::from_vec(&[1, 2, 3], vec![1_f32, 2., 3., 4., 5., 6.]);
        grid(theta, &[1, 1, 2, 2])
            .int("align_corners", 1)
            .gives(array![[[[0., -3.], [2., 5.]], [[4., 7.], [6., 15.]]]]);
        // x, y, z weighted by 1, 10 and 100.
        let row = [1_f32, 10., 100., 0.];
        let theta = Tensor::from_vec(&[1, 3, 4], [row, [0.; 4], [0.; 4]].concat());
        grid(theta, &[1, 1, 2, 1, 2]).gives(array![[
            [[[-50.5, 0., 0.], [-49.5, 0., 0.]]],
            [[[49.5, 0., 0.], [50.5, 0., 0.]]]
        ]]);
    }

    #[test]
    fn quantization() {
        assert_eq!(sample("linear", "zeros", &[0.]).quant(), QuantRole::reads_only(0));
        assert_eq!(sample("nearest", "zeros", &[0.]).quant(), QuantRole::passes(0));
        assert_eq!(op("AffineGrid").quant(), QuantRole::NOT_QUANTIZED);
    }
}
