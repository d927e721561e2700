//! Pools over regions of interest: `RoiAlign`, `MaxRoiPool`.
//!
//! <https://onnx.ai/onnx/operators/onnx__RoiAlign.html>

use crate::ops::dims::{checked_type, resolve};
use crate::ops::floats::{doubles, expect_any_float, expect_same, rounded};
use crate::ops::stencil::{self, Taps};
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("RoiAlign", 10, |attrs| RoiAlign::read(attrs, false)),
    OpDef::onnx("RoiAlign", 16, |attrs| {
        let modes = [("half_pixel", true), ("output_half_pixel", false)];
        let is_half_pixel = attrs.choice("coordinate_transformation_mode", &modes)?;
        RoiAlign::read(attrs, is_half_pixel)
    }),
    OpDef::onnx("MaxRoiPool", 1, MaxRoiPool::read),
];

/// Each region is cut into bins, each bin's value taken from points inside it.
#[derive(Debug)]
struct RoiAlign {
    is_half_pixel: bool,
    pool: Pool,
    output: [usize; 2],
    /// Points per bin along each axis; 0 for as many as it spans elements.
    sampling_ratio: usize,
    spatial_scale: f32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pool {
    Average,
    /// Of the weighted elements around all points, not of the values at the points.
    Max,
}

const X: usize = 0;
const ROIS: usize = 1;
const BATCH_INDICES: usize = 2;

/// More points in one bin, or along one axis, than any detector has: wild coordinates and attributes
/// alone give them.
const MOST_POINTS: f64 = (1 << 20) as f64;

impl RoiAlign {
    fn read(attrs: &mut Attrs, is_half_pixel: bool) -> Result<Box<dyn Operator>, OpError> {
        let mut size = |name: &str, default: i64, least: i64| {
            let found = attrs.int(name, default)?;
            let expected = || format!("{least} or more");
            let size = usize::try_from(found).ok().filter(|_| least <= found);
            size.ok_or_else(|| OpError::invalid_attribute(name, found, expected()))
        };
        let output = [size("output_height", 1, 1)?, size("output_width", 1, 1)?];
        Ok(Box::new(RoiAlign {
            is_half_pixel,
            output,
            sampling_ratio: size("sampling_ratio", 0, 0)?,
            pool: attrs.choice("mode", &[("avg", Pool::Average), ("max", Pool::Max)])?,
            spatial_scale: attrs.float("spatial_scale", 1.)?,
        }))
    }

    /// The points along one axis of `n` elements, bin by bin.
    fn bins(&self, [start, end]: [f64; 2], n: usize, n_bins: usize) -> Result<Vec<Bin>, OpError> {
        let offset = if self.is_half_pixel { 0.5 } else { 0. };
        let scale = f64::from(self.spatial_scale);
        let (start, end) = (start * scale - offset, end * scale - offset);
        // Without the half pixel, a region is at least one element large.
        let size = if self.is_half_pixel { end - start } else { (end - start).max(1.) };
        let bin = size / n_bins as f64;
        let n_points =
            if self.sampling_ratio == 0 { bin.ceil() } else { self.sampling_ratio as f64 };
        if !(..=MOST_POINTS).contains(&(n_points * n_bins as f64)) {
            let expected = format!("regions of at most {MOST_POINTS} points along an axis");
            let found = format!("{start} to {end}, {n_bins} x {n_points} points");
            return Err(OpError::value("rois", found, expected));
        }
        let point = |b: usize, i: usize| start + (b as f64 + (i as f64 + 0.5) / n_points) * bin;
        let bins =
            (0..n_bins).map(|b| (0..n_points as usize).map(|i| taps(point(b, i), n)).collect());
        Ok(bins.collect())
    }

    /// The value of a bin that has these points along each axis.
    fn pool(&self, rows: &Bin, columns: &Bin, x: &[f64], width: usize) -> f64 {
        let points = rows.iter().flat_map(|row| columns.iter().map(move |column| (row, column)));
        match self.pool {
            Pool::Average => {
                let values = points.map(|(row, column)| at(row, column, x, width).sum::<f64>());
                values.sum::<f64>() / (rows.len() * columns.len()).max(1) as f64
            }
            Pool::Max => {
                let greatest = |(row, column)| {
                    // A point outside the input counts as 0.
                    at(row, column, x, width).reduce(f64::max).unwrap_or(0.)
                };
                points.map(greatest).reduce(f64::max).unwrap_or(0.)
            }
        }
    }
}

/// The points of one bin along one axis, none outside the input.
type Bin = Vec<Taps>;

/// The two elements around `x`; up to one element beyond the edge it counts as the edge.
fn taps(x: f64, n: usize) -> Taps {
    if !(-1. ..=n as f64).contains(&x) {
        return Vec::new();
    }
    let x = x.clamp(0., (n - 1) as f64);
    stencil::linear(x, |i| Some((i as usize).min(n - 1)))
}

/// The weighted elements around a point.
fn at<'a>(
    row: &'a Taps,
    column: &'a Taps,
    x: &'a [f64],
    width: usize,
) -> impl Iterator<Item = f64> + 'a {
    row.iter().flat_map(move |&(i, weight)| {
        column.iter().map(move |&(j, other)| weight * other * x[i * width + j])
    })
}

impl Operator for RoiAlign {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(3)?;
        let [n_rois, channels] = expect_regions(inputs, 4)?;
        let indices = inputs.require(BATCH_INDICES, "batch_indices")?;

        if indices.expect_dtype(DType::I64)? != [n_rois] {
            return Err(indices.wrong_shape(format!("[{n_rois}], one per region")));
        }
        let dtype = inputs.require(X, "X")?.dtype();
        let [height, width] = self.output;
        Ok(vec![checked_type(dtype, vec![n_rois, channels, height, width])?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let output = &self.infer(inputs)?[0];
        let [n, channels, height, width] = dims(inputs);
        let x = doubles(inputs.tensor(X));
        let rois = doubles(inputs.tensor(ROIS));
        let mut y = Vec::with_capacity(output.len());
        let indices = inputs.tensor(BATCH_INDICES).slice::<i64>();
        for (roi, &index) in rois.chunks_exact(4).zip(indices) {
            let image = image(index, n, "batch_indices")?;
            let rows = self.bins([roi[1], roi[3]], height, self.output[0])?;
            let columns = self.bins([roi[0], roi[2]], width, self.output[1])?;
            if rows[0].len() as f64 * columns[0].len() as f64 > MOST_POINTS {
                let expected = format!("regions of at most {MOST_POINTS} points per bin");
                return Err(OpError::value("rois", format!("{roi:?}"), expected));
            }
            let planes = x.chunks_exact(height * width).skip(image * channels);
            for x in planes.take(channels) {
                let bins = rows.iter().flat_map(|row| columns.iter().map(move |c| (row, c)));
                y.extend(bins.map(|(row, column)| self.pool(row, column, x, width)));
            }
        }
        Ok(vec![rounded(output.dtype, &output.shape, y)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::reads_only(X)
    }
}

/// The maximum of each bin, regions and bins on whole elements; a bin of none is 0.
#[derive(Debug)]
struct MaxRoiPool {
    output: [usize; 2],
    spatial_scale: f32,
}

impl MaxRoiPool {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let missing = || OpError::MissingAttribute { name: "pooled_shape".to_owned() };
        let shape = attrs.opt_sizes("pooled_shape", 1)?.ok_or_else(missing)?;
        let wrong =
            || OpError::invalid_attribute("pooled_shape", format!("{shape:?}"), "height and width");
        Ok(Box::new(MaxRoiPool {
            output: shape.as_slice().try_into().map_err(|_| wrong())?,
            spatial_scale: attrs.float("spatial_scale", 1.)?,
        }))
    }

    /// The elements of each bin along one axis of length `n`.
    fn bins(&self, [start, end]: [f64; 2], n: usize, n_bins: usize) -> Vec<std::ops::Range<usize>> {
        let scaled = |x: f64| f64::from((x as f32 * self.spatial_scale).round());
        let (start, end) = (scaled(start), scaled(end));
        let bin = (end - start + 1.).max(1.) as f32 / n_bins as f32;
        let edge = |x: f64| (x + start).clamp(0., n as f64) as usize;
        let bins = (0..n_bins).map(|b| {
            let first = edge(f64::from((b as f32 * bin).floor()));
            first..edge(f64::from(((b + 1) as f32 * bin).ceil())).max(first)
        });
        bins.collect()
    }
}

impl Operator for MaxRoiPool {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let [n_rois, channels] = expect_regions(inputs, 5)?;
        let dtype = inputs.require(X, "X")?.dtype();
        let [height, width] = self.output;
        Ok(vec![checked_type(dtype, vec![n_rois, channels, height, width])?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let output = &self.infer(inputs)?[0];
        let [n, channels, height, width] = dims(inputs);
        let x = doubles(inputs.tensor(X));
        let mut y = Vec::with_capacity(output.len());
        for roi in doubles(inputs.tensor(ROIS)).chunks_exact(5) {
            let image = image(roi[0] as i64, n, "rois")?;
            let rows = self.bins([roi[2], roi[4]], height, self.output[0]);
            let columns = self.bins([roi[1], roi[3]], width, self.output[1]);
            let planes = x.chunks_exact(height * width).skip(image * channels);
            for x in planes.take(channels) {
                let bins = rows.iter().flat_map(|row| columns.iter().map(move |c| (row, c)));
                y.extend(bins.map(|(row, column)| {
                    let lines = row.clone().map(|i| &x[i * width..][column.clone()]);
                    lines.flatten().copied().reduce(greater).unwrap_or(0.)
                }));
            }
        }
        Ok(vec![rounded(output.dtype, &output.shape, y)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::passes(X)
    }
}

/// NaN wins.
fn greater(a: f64, b: f64) -> f64 {
    if b > a || b.is_nan() { b } else { a }
}

fn dims(inputs: &Inputs<'_>) -> [usize; 4] {
    <[usize; 4]>::try_from(inputs.shape(X)).expect("`infer` checked the rank")
}

/// Checks `X` and `rois` with so many numbers each; how many regions and channels there are.
fn expect_regions(inputs: &Inputs<'_>, n_numbers: usize) -> Result<[usize; 2], OpError> {
    let x = inputs.require(X, "X")?;
    expect_any_float(&x)?;
    let [_, channels, height, width] = x.expect_rank()?;
    if height == 0 || width == 0 {
        return Err(x.wrong_shape("elements along each spatial axis"));
    }
    let rois = inputs.require(ROIS, "rois")?;
    expect_same(&rois, x.dtype(), "X")?;
    match rois.expect_rank()? {
        [n_rois, found] if found == n_numbers => Ok([n_rois, channels]),
        _ => Err(rois.wrong_shape(format!("[number of regions, {n_numbers}]"))),
    }
}

/// The image that a region lies in.
fn image(index: i64, n: usize, name: &str) -> Result<usize, OpError> {
    let image = resolve(index, n).filter(|_| 0 <= index);
    image.ok_or_else(|| OpError::value(name, index, format!("the number of one of {n} images")))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::QuantRole;
    use crate::ops::testing::{OpTest, counting, op};
    use crate::tensor::Tensor;

    fn align(roi: [f32; 4]) -> OpTest {
        op("RoiAlign")
            .tensor(counting(&[1, 1, 4, 4]))
            .tensor(Tensor::from_vec(&[1, 4], roi.to_vec()))
    }

    #[test]
    fn averages() {
        let whole = || align([0., 0., 4., 4.]).i64s(&[0]);
        whole().gives(array![[[[7.5]]]]);
        let quarters = || whole().int("output_height", 2).int("output_width", 2);
        quarters().gives(array![[[[2.5, 4.5], [10.5, 12.5]]]]);
        quarters().int("sampling_ratio", 1).gives(array![[[[2.5, 4.5], [10.5, 12.5]]]]);
        // Half an element further on; the last points are beyond the edge.
        whole().opset(10).int("output_width", 2).gives(array![[[[8.5, 10.25]]]]);
        whole().float("spatial_scale", 0.5).gives(array![[[[2.5]]]]);
    }

    /// Regions of no size: one element large before opset 16, nothing after.
    #[test]
    fn degenerate_regions() {
        align([1., 1., 1., 1.]).i64s(&[0]).gives(array![[[[0.]]]]);
        align([1., 1., 1., 1.]).i64s(&[0]).opset(10).gives(array![[[[7.5]]]]);
        align([9., 9., 10., 10.]).i64s(&[0]).gives(array![[[[0.]]]]);
    }

    #[test]
    fn maximum_of_weighted_elements() {
        let base = || align([1.5, 1.5, 2.5, 2.5]).i64s(&[0]).string("mode", "max");
        // The point is in the middle of 5, 6, 9 and 10.
        base().string("coordinate_transformation_mode", "half_pixel").gives(array![[[[2.5]]]]);
        base()
            .string("coordinate_transformation_mode", "output_half_pixel")
            .gives(array![[[[10.]]]]);
    }

    #[test]
    fn max_roi_pool() {
        let pool = |rois: &[[f32; 5]]| {
            op("MaxRoiPool")
                .tensor(counting(&[2, 1, 4, 4]))
                .tensor(Tensor::from_vec(&[rois.len(), 5], rois.concat()))
        };
        let rois = [[0., 0., 0., 2., 3.], [1., 2., 1., 3., 3.]];
        pool(&rois)
            .ints("pooled_shape", &[2, 2])
            .gives(array![[[[5., 6.], [13., 14.]]], [[[26., 27.], [30., 31.]]]]);
        let outside = [[0., 6., 6., 8., 8.]];
        pool(&outside).ints("pooled_shape", &[1, 1]).gives(array![[[[0.]]]]);
        pool(&outside)
            .ints("pooled_shape", &[1, 1])
            .float("spatial_scale", 0.25)
            .gives(array![[[[10.]]]]);
        pool(&[[2., 0., 0., 1., 1.]])
            .ints("pooled_shape", &[1, 1])
            .fails("input `rois` is 2, expected the number of one of 2 images");
        pool(&[[0.; 5]])
            .ints("pooled_shape", &[1])
            .fails("attribute `pooled_shape` is [1], expected height and width");
        pool(&[[0.; 5]]).fails("attribute `pooled_shape` is missing");
    }

    #[test]
    fn refuses() {
        align([0.; 4])
            .i64s(&[1])
            .fails("input `batch_indices` is 1, expected the number of one of 1 images");
        align([0.; 4])
            .i64s(&[0, 0])
            .fails("input `batch_indices` has shape [2], expected [1], one per region");
        align([0., 0., 1e30, 1.]).i64s(&[0]).fails(
            "input `rois` is -0.5 to 1000000015047466200000000000000, 1 x 1000000015047466200000000000000 points, expected regions of at most 1048576 points along an axis",
        );
        align([0., 0., f32::NAN, 1.]).i64s(&[0]).fails(
            "input `rois` is -0.5 to NaN, 1 x NaN points, expected regions of at most 1048576 points along an axis",
        );
        align([0.; 4]).i64s(&[0]).int("output_height", 4095).int("sampling_ratio", 1 << 16).fails(
            "input `rois` is -0.5 to -0.5, 4095 x 65536 points, expected regions of at most 1048576 points along an axis",
        );
        align([0.; 4])
            .i64s(&[0])
            .int("output_width", 0)
            .fails("attribute `output_width` is 0, expected 1 or more");
        op("RoiAlign")
            .tensor(counting(&[1, 1, 4, 4]))
            .tensor(counting(&[1, 5]))
            .i64s(&[0])
            .fails("input `rois` has shape [1, 5], expected [number of regions, 4]");
    }

    #[test]
    fn quantization() {
        assert_eq!(align([0.; 4]).quant(), QuantRole::reads_only(0));
        assert_eq!(op("MaxRoiPool").ints("pooled_shape", &[1, 1]).quant(), QuantRole::passes(0));
    }
}
