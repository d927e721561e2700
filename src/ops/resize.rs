//! `Resize` and its predecessor `Upsample`: one axis after the other, any number of axes.
//!
//! <https://onnx.ai/onnx/operators/onnx__Resize.html>

use crate::dispatch;
use crate::ops::floats::{self, doubles, floats, rounded};
use crate::ops::interpolate::{Coordinates, Filter, Line, Mode, Nearest, Taps};
use crate::ops::lanes::resolve_axis;
use crate::ops::number::Number;
use crate::ops::window::checked;
use crate::ops::{Attrs, Bodies, Inputs, Lowering, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("Resize", 10, |attrs| Resize::read_old(attrs, Scales::Input(1))),
    OpDef::onnx("Resize", 11, Resize::read),
    OpDef::onnx("Upsample", 1, |attrs| {
        let missing = || OpError::MissingAttribute { name: "scales".to_owned() };
        let scales = attrs.opt_floats("scales")?.ok_or_else(missing)?;
        Resize::read_old(attrs, Scales::Attribute(scales))
    }),
    OpDef::onnx("Upsample", 9, |attrs| Resize::read_old(attrs, Scales::Input(1))),
];

#[derive(Debug)]
struct Resize {
    mode: Mode,
    coordinates: Coordinates,
    filter: Filter,
    extrapolation_value: f32,
    axes: Option<Vec<i64>>,
    policy: Policy,
    scales: Scales,
}

/// Where the scales are; only the newer form, with them in input 2, has `roi` and `sizes`.
#[derive(Debug, Clone, PartialEq)]
enum Scales {
    Attribute(Vec<f32>),
    Input(usize),
}

/// What `sizes` mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Stretch,
    /// The largest of the same proportions that fits.
    NotLarger,
    /// The smallest of the same proportions that covers.
    NotSmaller,
}

const X: usize = 0;
const ROI: usize = 1;
const SIZES: usize = 3;

impl Resize {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let nearest = [
            ("round_prefer_floor", Nearest::RoundPreferFloor),
            ("round_prefer_ceil", Nearest::RoundPreferCeil),
            ("floor", Nearest::Floor),
            ("ceil", Nearest::Ceil),
        ];
        let nearest = Mode::Nearest(attrs.choice("nearest_mode", &nearest)?);
        let cubic = Mode::Cubic { a: attrs.float("cubic_coeff_a", -0.75)? };
        let modes = [("nearest", nearest), ("linear", Mode::Linear), ("cubic", cubic)];
        let coordinates = [
            ("half_pixel", Coordinates::HalfPixel),
            ("half_pixel_symmetric", Coordinates::HalfPixelSymmetric),
            ("pytorch_half_pixel", Coordinates::PytorchHalfPixel),
            ("tf_half_pixel_for_nn", Coordinates::TfHalfPixelForNn),
            ("align_corners", Coordinates::AlignCorners),
            ("asymmetric", Coordinates::Asymmetric),
            ("tf_crop_and_resize", Coordinates::TfCropAndResize),
        ];
        let policies = [
            ("stretch", Policy::Stretch),
            ("not_larger", Policy::NotLarger),
            ("not_smaller", Policy::NotSmaller),
        ];
        Ok(Box::new(Resize {
            mode: attrs.choice("mode", &modes)?,
            coordinates: attrs.choice("coordinate_transformation_mode", &coordinates)?,
            filter: Filter {
                antialias: attrs.flag("antialias", false)?,
                exclude_outside: attrs.flag("exclude_outside", false)?,
            },
            extrapolation_value: attrs.float("extrapolation_value", 0.)?,
            axes: attrs.opt_ints("axes")?,
            policy: attrs.choice("keep_aspect_ratio_policy", &policies)?,
            scales: Scales::Input(2),
        }))
    }

    /// Opset 10 and `Upsample`.
    fn read_old(attrs: &mut Attrs, scales: Scales) -> Result<Box<dyn Operator>, OpError> {
        let nearest = Mode::Nearest(Nearest::FloorUnlessShrinking);
        let modes = [("nearest", nearest), ("linear", Mode::Linear), ("bilinear", Mode::Linear)];
        Ok(Box::new(Resize {
            mode: attrs.choice("mode", &modes)?,
            coordinates: Coordinates::Asymmetric,
            filter: Filter { antialias: false, exclude_outside: false },
            extrapolation_value: 0.,
            axes: None,
            policy: Policy::Stretch,
            scales,
        }))
    }

    fn axes(&self, rank: usize) -> Result<Vec<usize>, OpError> {
        let Some(axes) = &self.axes else { return Ok((0..rank).collect()) };
        let resolved: Result<Vec<usize>, _> =
            axes.iter().map(|&axis| resolve_axis("axes", axis, rank)).collect();
        let resolved = resolved?;
        if (1..resolved.len()).any(|i| resolved[..i].contains(&resolved[i])) {
            return Err(OpError::invalid_attribute("axes", format!("{axes:?}"), "each axis once"));
        }
        Ok(resolved)
    }

    /// Every axis; those that are not resized have scale 1.
    fn lines(&self, inputs: &Inputs<'_>) -> Result<Vec<Line>, OpError> {
        let x = inputs.shape(X);
        let whole = |&input: &usize| Line { input, output: input, scale: 1., region: [0., 1.] };
        let mut lines: Vec<Line> = x.iter().map(whole).collect();
        let axes = self.axes(x.len())?;
        let targets = match self.sizes(inputs, axes.len())? {
            Some(sizes) => self.targets(&axes.iter().map(|&i| x[i]).collect::<Vec<_>>(), &sizes)?,
            None => {
                let scales = self.scales(inputs, axes.len())?;
                let target = |(&axis, scale): (&usize, f32)| {
                    Ok((checked(Some((x[axis] as f32 * scale) as usize))?, scale))
                };
                axes.iter().zip(scales).map(target).collect::<Result<Vec<_>, OpError>>()?
            }
        };
        for (&axis, (output, scale)) in axes.iter().zip(targets) {
            if x[axis] == 0 && output != 0 {
                return Err(OpError::shape("X", x, format!("elements along axis {axis}")));
            }
            (lines[axis].output, lines[axis].scale) = (output, scale);
        }
        Ok(lines)
    }

    /// Output length and scale of each axis that is resized, from its input length and size.
    fn targets(&self, inputs: &[usize], sizes: &[usize]) -> Result<Vec<(usize, f32)>, OpError> {
        let ratios = inputs.iter().zip(sizes).map(|(&input, &size)| size as f32 / input as f32);
        let common = match self.policy {
            Policy::Stretch => {
                return Ok(sizes.iter().copied().zip(ratios).collect());
            }
            Policy::NotLarger => ratios.fold(f32::INFINITY, f32::min),
            Policy::NotSmaller => ratios.fold(0., f32::max),
        };
        let target =
            |&input: &usize| Ok((checked(Some((input as f32 * common).round() as usize))?, common));
        inputs.iter().map(target).collect()
    }

    /// The values of `sizes`; `None` if it is absent or empty, as it is when there are scales.
    fn sizes(&self, inputs: &Inputs<'_>, n: usize) -> Result<Option<Vec<usize>>, OpError> {
        let sizes = inputs.optional(SIZES, "sizes").filter(|sizes| sizes.shape() != [0]);
        let Some(sizes) = sizes.filter(|_| self.scales == Scales::Input(2)) else {
            return Ok(None);
        };
        if inputs.optional(2, "scales").is_some_and(|scales| scales.shape() != [0]) {
            return Err(sizes.wrong_shape("[0], as there are `scales`"));
        }
        if sizes.shape() != [n] {
            return Err(sizes.wrong_shape(format!("[{n}], one per axis")));
        }
        let found = sizes.i64s()?;
        let wrong = || OpError::value("sizes", format!("{found:?}"), "sizes of at least 1");
        let size = |&size: &i64| usize::try_from(size).ok().filter(|&size| 0 < size);
        let sizes: Option<Vec<usize>> = found.iter().map(size).collect();
        sizes
            .ok_or_else(wrong)?
            .into_iter()
            .map(|size| checked(Some(size)))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    fn scales(&self, inputs: &Inputs<'_>, n: usize) -> Result<Vec<f32>, OpError> {
        let scales = match &self.scales {
            Scales::Attribute(scales) if scales.len() == n => scales.clone(),
            Scales::Attribute(scales) => {
                let (found, expected) =
                    (format!("{scales:?}"), format!("{n} scales, one per axis"));
                return Err(OpError::invalid_attribute("scales", found, expected));
            }
            &Scales::Input(position) => {
                let scales = inputs.require(position, "scales")?;
                if scales.expect_f32()? != [n] {
                    return Err(scales.wrong_shape(format!("[{n}], one per axis")));
                }
                scales.value()?.slice::<f32>().to_vec()
            }
        };
        match scales.iter().all(|&scale| 0. < scale && scale.is_finite()) {
            true => Ok(scales),
            false => Err(OpError::value("scales", format!("{scales:?}"), "positive scales")),
        }
    }

    /// Puts the part of the input that `roi` names into the lines: all starts, then all ends.
    fn set_regions(&self, inputs: &Inputs<'_>, lines: &mut [Line]) -> Result<(), OpError> {
        let roi = inputs.require(ROI, "roi")?;
        let axes = self.axes(lines.len())?;
        if roi.shape() != [2 * axes.len()] {
            let expected = format!("[{}], a start and an end per axis", 2 * axes.len());
            return Err(roi.wrong_shape(expected));
        }
        let found = roi.dtype();
        let values = roi.value()?.to_f32();
        let values = values.ok_or_else(|| OpError::dtype("roi", found, "a float type"))?;
        for (i, &axis) in axes.iter().enumerate() {
            lines[axis].region = [values[i], values[i + axes.len()]];
        }
        Ok(())
    }

    /// Whether the output holds elements of the input and nothing else.
    fn picks(&self) -> bool {
        matches!(self.mode, Mode::Nearest(_)) && self.coordinates != Coordinates::TfCropAndResize
    }

    fn interpolate<T: Number>(&self, x: Vec<T>, lines: &[Line]) -> Vec<T> {
        let mut y = x;
        let mut shape: Vec<usize> = lines.iter().map(|line| line.input).collect();
        // Shrinking first: what lies between is then never larger than the result or the input.
        let (shrinking, others): (Vec<usize>, Vec<usize>) =
            (0..lines.len()).partition(|&axis| lines[axis].output < lines[axis].input);
        for axis in shrinking.into_iter().chain(others) {
            let line = &lines[axis];
            let taps = self.taps(line);
            if !taps.is_identity(line.input) {
                let inner = shape[axis + 1..].iter().product();
                y = taps.apply(&y, line.input, inner);
            }
            shape[axis] = line.output;
        }
        if self.coordinates == Coordinates::TfCropAndResize {
            self.extrapolate(&mut y, lines);
        }
        y
    }

    fn taps(&self, line: &Line) -> Taps {
        Taps::new(line, self.coordinates, self.mode, self.filter)
    }

    /// Overwrites what lies outside the input along any axis.
    fn extrapolate<T: Number>(&self, y: &mut [T], lines: &[Line]) {
        let mut inner = 1;
        for line in lines.iter().rev() {
            let outside = line.outside(self.coordinates);
            for (slab, _) in y
                .chunks_exact_mut(inner)
                .zip(outside.iter().cycle())
                .filter(|(_, is_outside)| **is_outside)
            {
                slab.fill(T::nearest(f64::from(self.extrapolation_value)));
            }
            inner *= line.output;
        }
    }
}

impl Operator for Resize {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(match &self.scales {
            Scales::Attribute(_) => 1,
            &Scales::Input(position) => {
                if position == 1 {
                    2
                } else {
                    4
                }
            }
        })?;
        let x = inputs.require(X, "X")?;
        if self.coordinates == Coordinates::TfCropAndResize {
            inputs.require(ROI, "roi")?;
        }
        let shape = self.lines(inputs)?.iter().map(|line| line.output).collect();
        Ok(vec![TensorType { dtype: x.dtype(), shape }])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let mut lines = self.lines(inputs)?;
        let shape: Vec<usize> = lines.iter().map(|line| line.output).collect();
        let x = inputs.tensor(X);
        if shape.contains(&0) {
            return Ok(vec![dispatch!(x.dtype(), T => Tensor::from_vec::<T>(&shape, Vec::new()))]);
        }
        if self.picks() {
            return Ok(vec![dispatch!(x.dtype(), T => {
                Tensor::from_vec(&shape, pick(self, x.slice::<T>(), &lines))
            })]);
        }
        if self.coordinates == Coordinates::TfCropAndResize {
            self.set_regions(inputs, &mut lines)?;
        }
        if x.dtype().is_float() && x.dtype() != DType::F64 {
            let y = self.interpolate(floats(inputs, X).into_owned(), &lines);
            return Ok(vec![floats::tensor(x.dtype(), &shape, y)]);
        }
        let mut y = self.interpolate(doubles(inputs.tensor(X)), &lines);
        if x.dtype() != DType::F64 {
            let rounded = if self.filter.antialias { f64::round } else { whole };
            y.iter_mut().for_each(|y| *y = rounded(*y));
        }
        Ok(vec![rounded(x.dtype(), &shape, y)])
    }

    fn lower(&self, inputs: &Inputs<'_>) -> Option<Lowering> {
        let lines = self.lines(inputs).ok()?;
        let [n, channels, rows, columns] = lines.as_slice() else { return None };
        let is_whole = |line: &Line| line.input == line.output && line.scale == 1.;
        let is_cropped = self.coordinates == Coordinates::TfCropAndResize;
        if is_cropped || !is_whole(n) || !is_whole(channels) {
            return None;
        }
        let rows = self.taps(rows).pairs()?;
        Some(Lowering::Resize { rows, columns: self.taps(columns).pairs()? })
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        if self.picks() { QuantRole::passes(X) } else { QuantRole::reads_only(X) }
    }
}

/// Truncated, save what only rounding keeps from being a whole number.
fn whole(x: f64) -> f64 {
    let nearest = x.round();
    if (x - nearest).abs() <= 1e-6 * nearest.abs().max(1.) { nearest } else { x.trunc() }
}

/// The nearest elements, whatever their type.
fn pick<T: Copy>(resize: &Resize, x: &[T], lines: &[Line]) -> Vec<T> {
    let mut y = x.to_vec();
    for (axis, line) in lines.iter().enumerate() {
        let taps = resize.taps(line);
        if !taps.is_identity(line.input) {
            let inner = lines[axis + 1..].iter().map(|line| line.input).product();
            y = taps.gather(&y, line.input, inner);
        }
    }
    y
}

#[cfg(test)]
mod tests;
