//! [`Encoding`]: all that maps real numbers to integers and back.
//!
//! `q = clamp(round_half_even(x / scale) + zero_point, q_min, q_max)`,
//! `dequantized = (q - zero_point) * scale`.
//!
//! Asymmetric: the range is widened to contain 0, `scale = (max - min) / (2^b - 1)`, `zero_point =
//! round_half_even(-min / scale)` clamped, so 0 is exact. Symmetric: `zero_point = 0`, `scale =
//! max|x| / (2^(b-1) - 1)`. These are ONNX QuantizeLinear and DequantizeLinear
//! (<https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html>).

use crate::cache::{Digest, Digester};
use crate::kernels;
use crate::quant::Bits;
use crate::tensor::Tensor;

/// The real interval that an encoding is made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    pub min: f32,
    pub max: f32,
}

impl Range {
    pub fn new(min: f32, max: f32) -> Range {
        Range { min, max }
    }

    pub fn max_abs(&self) -> f32 {
        self.min.abs().max(self.max.abs())
    }
}

/// How integers are chosen, apart from the width and the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scheme {
    pub signed: bool,
    /// Zero point 0; only for signed integers.
    pub symmetric: bool,
    /// Leaves out the least signed integer, so that the grid is symmetric too.
    #[serde(default)]
    pub narrow: bool,
}

impl Scheme {
    /// What hardware uses for activations.
    pub const UNSIGNED: Scheme = Scheme { signed: false, symmetric: false, narrow: false };
    /// What hardware uses for weights.
    pub const SYMMETRIC: Scheme = Scheme { signed: true, symmetric: true, narrow: false };

    /// The least and the largest integer.
    pub fn limits(&self, bits: Bits) -> (i32, i32) {
        let levels = 1_i32 << bits.get();
        match (self.signed, self.narrow) {
            (false, _) => (0, levels - 1),
            (true, false) => (-levels / 2, levels / 2 - 1),
            (true, true) => (1 - levels / 2, levels / 2 - 1),
        }
    }
}

/// Scale and zero point, per tensor or per slice along an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoding {
    pub bits: Bits,
    pub scheme: Scheme,
    /// The axis of per-channel scales; `None` for a single one.
    pub axis: Option<usize>,
    /// One, or one a channel; positive and finite.
    pub scales: Vec<f32>,
    /// As many as scales.
    pub zero_points: Vec<i32>,
}

impl Encoding {
    /// From one range, or one a slice along `axis`. `bits` are 2 to 16.
    pub fn new(bits: Bits, scheme: Scheme, axis: Option<usize>, ranges: &[Range]) -> Encoding {
        let pairs = ranges.iter().map(|range| scale_and_zero_point(bits, scheme, *range));
        let (scales, zero_points) = pairs.unzip();
        Encoding { bits, scheme, axis, scales, zero_points }
    }

    /// Whether it could have been made for a tensor of this shape: a file may say anything.
    pub fn fits(&self, shape: &[usize]) -> bool {
        let n_channels = match self.axis {
            None => Some(1),
            Some(axis) => shape.get(axis).copied(),
        };
        if self.bits.is_float() || n_channels != Some(self.scales.len()) {
            return false;
        }
        let (q_min, q_max) = self.scheme.limits(self.bits);
        self.zero_points.len() == self.scales.len()
            && self.scales.iter().all(|scale| scale.is_finite() && 0. < *scale)
            && self.zero_points.iter().all(|zero_point| (q_min..=q_max).contains(zero_point))
    }

    /// Over all of it.
    pub fn digest(&self) -> Digest {
        let Scheme { signed, symmetric, narrow } = self.scheme;
        let scales: Vec<u8> = self.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        let zero_points = self.zero_points.iter().flat_map(|zero_point| zero_point.to_le_bytes());
        Digester::new("encoding")
            .bytes(&[self.bits.get(), signed.into(), symmetric.into(), narrow.into()])
            .number(self.axis.map_or(u64::MAX, |axis| axis as u64))
            .bytes(&scales)
            .bytes(&zero_points.collect::<Vec<u8>>())
            .finish()
    }

    /// The channel of element `at` of a tensor of this shape.
    pub fn channel(&self, shape: &[usize], at: usize) -> usize {
        let Some(axis) = self.axis else { return 0 };
        let inner: usize = shape[axis + 1..].iter().product();
        at / inner % self.scales.len()
    }

    /// The real interval of slice `channel` that is represented: the ends of the grid.
    pub fn grid(&self, channel: usize) -> Range {
        let (q_min, q_max) = self.scheme.limits(self.bits);
        let zero_point = self.zero_points[channel];
        let value = |q: i32| (q - zero_point) as f32 * self.scales[channel];
        Range { min: value(q_min), max: value(q_max) }
    }

    /// Rounds any elements of a tensor that has one scale.
    pub fn fake_quantize_slice(&self, x: &mut [f32]) {
        let (q_min, q_max) = self.scheme.limits(self.bits);
        kernels::fake_quantize(x, self.scales[0], self.zero_points[0], q_min, q_max);
    }

    /// The integers that a float32 tensor is rounded to, in its order; NaN becomes the zero point.
    pub fn quantize(&self, x: &Tensor) -> Vec<i32> {
        let (q_min, q_max) = self.scheme.limits(self.bits);
        let inner: usize = self.axis.map_or(x.len(), |axis| x.shape()[axis + 1..].iter().product());
        let integer = |(index, &x): (usize, &f32)| {
            let channel = index / inner.max(1) % self.scales.len();
            let q = f64::from((x / self.scales[channel]).round_ties_even());
            let q = if q.is_nan() { 0. } else { q };
            let shifted = q + f64::from(self.zero_points[channel]);
            shifted.clamp(f64::from(q_min), f64::from(q_max)) as i32
        };
        x.slice::<f32>().iter().enumerate().map(integer).collect()
    }

    /// Rounds a float32 tensor to the grid. NaN stays NaN, infinities saturate.
    pub fn fake_quantize(&self, x: &mut Tensor) {
        let (q_min, q_max) = self.scheme.limits(self.bits);
        let inner: usize = match self.axis {
            None => x.len(),
            Some(axis) => x.shape()[axis + 1..].iter().product(),
        };
        let (scales, zero_points) = (&self.scales, &self.zero_points);
        let elements = x.slice_mut::<f32>();
        kernels::fake_quantize_per_channel(elements, inner, scales, zero_points, q_min, q_max);
    }
}

/// Of one range.
pub(super) fn scale_and_zero_point(bits: Bits, scheme: Scheme, range: Range) -> (f32, i32) {
    let (q_min, q_max) = scheme.limits(bits);
    if scheme.symmetric {
        return (scale_of(f64::from(range.max_abs()), q_max), 0);
    }
    let (min, max) = (f64::from(range.min.min(0.)), f64::from(range.max.max(0.)));
    let scale = scale_of(max - min, q_max - q_min);
    let zero_point = f64::from(q_min) + (-min / f64::from(scale)).round_ties_even();
    (scale, zero_point.clamp(f64::from(q_min), f64::from(q_max)) as i32)
}

fn scale_of(width: f64, steps: i32) -> f32 {
    if width == 0. {
        return 1.;
    }
    let scale = (width / f64::from(steps)) as f32;
    if scale < f32::MIN_POSITIVE { f32::MIN_POSITIVE } else { scale.min(f32::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(bits: u8) -> Bits {
        Bits::new(bits).unwrap()
    }

    fn quantized(encoding: &Encoding, x: &[f32]) -> Vec<f32> {
        let mut tensor = Tensor::from_vec(&[x.len()], x.to_vec());
        encoding.fake_quantize(&mut tensor);
        tensor.slice::<f32>().to_vec()
    }

    #[test]
    fn hand_worked() {
        let e = Encoding::new(bits(8), Scheme::UNSIGNED, None, &[Range::new(-1., 3.)]);
        assert_eq!((e.scales[0], e.zero_points[0]), ((4. / 255.) as f32, 64));
        let e = Encoding::new(bits(4), Scheme::SYMMETRIC, None, &[Range::new(-7., 3.5)]);
        assert_eq!((e.scales[0], e.zero_points[0]), (1., 0));
        assert_eq!(quantized(&e, &[0.5, 1.5, -9., 9., 0.49]), [0., 2., -8., 7., 0.]);
        let narrow = Scheme { narrow: true, ..Scheme::SYMMETRIC };
        let e = Encoding::new(bits(4), narrow, None, &[Range::new(-7., 3.5)]);
        assert_eq!(quantized(&e, &[-9.]), [-7.]);
        let signed = Scheme { signed: true, ..Scheme::UNSIGNED };
        let e = Encoding::new(bits(8), signed, None, &[Range::new(-1., 3.)]);
        assert_eq!(e.zero_points[0], 64 - 128);
    }

    #[test]
    fn ranges_contain_zero_and_are_never_degenerate() {
        let e = Encoding::new(bits(8), Scheme::UNSIGNED, None, &[Range::new(2., 4.)]);
        assert_eq!((e.grid(0).min, e.zero_points[0]), (0., 0));
        let e = Encoding::new(bits(8), Scheme::UNSIGNED, None, &[Range::new(0., 0.)]);
        assert_eq!(e.scales[0], 1.);
        let e = Encoding::new(bits(16), Scheme::SYMMETRIC, None, &[Range::new(0., 1e-40)]);
        assert_eq!(e.scales[0], f32::MIN_POSITIVE);
        let whole = Range::new(f32::MIN, f32::MAX);
        let e = Encoding::new(bits(2), Scheme::UNSIGNED, None, &[whole]);
        assert!(e.scales[0].is_finite());
    }

    #[test]
    fn properties() {
        for width in 2..=16 {
            for range in [Range::new(-0.3, 2.7), Range::new(0., 6.), Range::new(-5., -1.)] {
                for scheme in [Scheme::UNSIGNED, Scheme::SYMMETRIC] {
                    let e = Encoding::new(bits(width), scheme, None, &[range]);
                    let grid = e.grid(0);
                    let step = (grid.max - grid.min) / 997.;
                    let x: Vec<f32> = (0..=997).map(|i| grid.min + step * i as f32).collect();
                    let once = quantized(&e, &x);
                    // The division may be off by an ulp, which moves a tie by that much.
                    let half = e.scales[0] / 2. * 1.0001 + f32::EPSILON * grid.max.abs();
                    assert!(x.iter().zip(&once).all(|(x, q)| (x - q).abs() <= half));
                    assert!(once.windows(2).all(|pair| pair[0] <= pair[1]), "monotone");
                    assert_eq!(quantized(&e, &once), once, "idempotent");
                    assert_eq!(quantized(&e, &[0.]), [0.]);
                }
            }
        }
    }

    #[test]
    fn integers_are_those_that_rounding_goes_through() {
        for scheme in [Scheme::UNSIGNED, Scheme::SYMMETRIC] {
            let ranges = [Range::new(-0.7, 0.9), Range::new(-2., 0.3)];
            let e = Encoding::new(bits(5), scheme, Some(1), &ranges);
            let x: Vec<f32> = (0..200).map(|i| 0.021 * (i as f32 - 100.)).collect();
            let x = Tensor::from_vec(&[10, 2, 10], x);
            let mut rounded = x.clone();
            e.fake_quantize(&mut rounded);
            let back = e.quantize(&x).into_iter().enumerate().map(|(index, q)| {
                let channel = index / 10 % 2;
                (q - e.zero_points[channel]) as f32 * e.scales[channel]
            });
            assert_eq!(back.collect::<Vec<_>>(), rounded.slice::<f32>());
        }
    }

    #[test]
    fn what_does_not_fit() {
        let ranges = [Range::new(-7., 7.), Range::new(-14., 14.)];
        let e = Encoding::new(bits(4), Scheme::SYMMETRIC, Some(1), &ranges);
        assert!(e.fits(&[3, 2]) && !e.fits(&[2, 3]) && !e.fits(&[2]));
        assert!(!Encoding { bits: Bits::FLOAT, ..e.clone() }.fits(&[3, 2]));
        assert!(!Encoding { scales: vec![1., 0.], ..e.clone() }.fits(&[3, 2]));
        assert!(!Encoding { zero_points: vec![0, 8], ..e.clone() }.fits(&[3, 2]));
        assert!(!Encoding { zero_points: vec![0], ..e }.fits(&[3, 2]));
    }

    #[test]
    fn per_channel() {
        let ranges = [Range::new(-7., 7.), Range::new(-14., 14.)];
        let e = Encoding::new(bits(4), Scheme::SYMMETRIC, Some(1), &ranges);
        let mut x = Tensor::from_vec(&[2, 2, 1], vec![2.6_f32, 2.6, -1.2, -1.2]);
        e.fake_quantize(&mut x);
        assert_eq!(x.slice::<f32>(), [3., 2., -1., -2.]);
    }
}
