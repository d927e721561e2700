//! Rounding to an integer grid and back, in place.
//!
//! `q = clamp(round_half_even(x / scale) + zero_point, q_min, q_max)`, result `(q - zero_point) * scale`.
//!
//! Computed without leaving f32: `round_half_even(x / scale)` is clamped to `[q_min - zero_point,
//! q_max - zero_point]` and multiplied by the scale. This is the formula to the last bit while those
//! ends are below 2^24 in magnitude (16 bits need 2^17): integers up to there are exact in f32, the
//! clamp commutes with adding the zero point, and a quotient that overflowed is clamped as well. A
//! zero is always +0, as an integer's is. Infinities saturate; NaN stays NaN.

#![allow(unsafe_code)]

use super::dispatch::multiversion;

multiversion! {
    /// Rounds every element to the grid of one scale.
    pub fn fake_quantize(x: &mut [f32], scale: f32, zero_point: i32, q_min: i32, q_max: i32) {
        let (low, high) = ((q_min - zero_point) as f32, (q_max - zero_point) as f32);
        for x in x {
            *x = round_to_grid(*x, scale, low, high);
        }
    }
}

multiversion! {
    /// The integers `q` themselves; that of a NaN is `q_min`, as in onnxruntime.
    ///
    /// # Panics
    /// If `q` is not as long as `x`.
    pub fn quantize(
        x: &[f32], scale: f32, zero_point: i32, q_min: i32, q_max: i32, q: &mut [i32],
    ) {
        assert_eq!(x.len(), q.len(), "an integer per number");
        let (low, high) = ((q_min - zero_point) as f32, (q_max - zero_point) as f32);
        for (q, &x) in q.iter_mut().zip(x) {
            let step = if x.is_nan() { low } else { nearest_step(x, scale, low, high) };
            *q = step as i32 + zero_point;
        }
    }
}

#[inline(always)]
fn round_to_grid(x: f32, scale: f32, low: f32, high: f32) -> f32 {
    nearest_step(x, scale, low, high) * scale
}

/// The nearest multiple of the scale, as a number of scales.
#[inline(always)]
fn nearest_step(x: f32, scale: f32, low: f32, high: f32) -> f32 {
    // A quotient of -0.3 rounds to -0; adding +0 gives it the sign an integer 0 has.
    (x / scale).round_ties_even().clamp(low, high) + 0.
}

/// The same with a scale and zero point per channel; `x` is `[outer, channels, inner]` and the
/// number of channels is that of the scales.
pub fn fake_quantize_per_channel(
    x: &mut [f32],
    inner: usize,
    scales: &[f32],
    zero_points: &[i32],
    q_min: i32,
    q_max: i32,
) {
    assert_eq!(scales.len(), zero_points.len(), "a zero point per scale");
    if inner == 0 {
        return;
    }
    if inner == 1 {
        return per_column(x, scales, zero_points, q_min, q_max);
    }
    let channels = scales.iter().zip(zero_points).cycle();
    for (row, (&scale, &zero_point)) in x.chunks_exact_mut(inner).zip(channels) {
        fake_quantize(row, scale, zero_point, q_min, q_max);
    }
}

multiversion! {
    /// The channel is the innermost axis.
    fn per_column(x: &mut [f32], scales: &[f32], zero_points: &[i32], q_min: i32, q_max: i32) {
        if scales.is_empty() {
            return;
        }
        for row in x.chunks_exact_mut(scales.len()) {
            for ((x, &scale), &zero_point) in row.iter_mut().zip(scales).zip(zero_points) {
                let (low, high) = ((q_min - zero_point) as f32, (q_max - zero_point) as f32);
                *x = round_to_grid(*x, scale, low, high);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;

    /// The formula, through integers.
    fn plain(x: f32, scale: f32, zero_point: i32, q_min: i32, q_max: i32) -> f32 {
        if x.is_nan() {
            return x;
        }
        // A saturating cast; nothing between 2^62 and infinity can differ after the clamp.
        let rounded = (x / scale).round_ties_even() as i64;
        let q = (rounded.saturating_add(zero_point.into())).clamp(q_min.into(), q_max.into());
        (q - i64::from(zero_point)) as f32 * scale
    }

    fn values() -> Vec<f32> {
        let mut values = vec![f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN];
        values.extend([0., -0., f32::MIN_POSITIVE, -f32::MIN_POSITIVE, 1e-45, -1e-45]);
        // Every tie and every grid point of the scales 1, 0.5 and 0.25, far past the ends.
        values.extend((-80_000..80_000).map(|i| i as f32 * 0.125));
        let mut state = 1_u32;
        values.extend((0..50_000).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(state)
        }));
        values
    }

    #[test]
    fn equals_the_formula_to_the_last_bit_at_each_level() {
        let grids =
            [(0, 0, 255), (255, 0, 255), (7, 0, 15), (0, -8, 7), (-128, -128, 127), (1, 0, 3)];
        let wide = [(0, -32768, 32767), (65535, 0, 65535), (32767, 0, 65535)];
        let x = values();
        for (zero_point, q_min, q_max) in grids.into_iter().chain(wide) {
            for scale in [1., 0.5, 0.25, 0.1, 1. / 3., 1e-3, 3e30, f32::MIN_POSITIVE] {
                let expected = x.iter().map(|&x| plain(x, scale, zero_point, q_min, q_max));
                let expected: Vec<u32> = expected.map(f32::to_bits).collect();
                let found = at_each_level(|| {
                    let mut y = x.clone();
                    fake_quantize(&mut y, scale, zero_point, q_min, q_max);
                    y
                });
                for (level, found) in found {
                    for ((&x, found), &expected) in x.iter().zip(found).zip(&expected) {
                        let case = (level, x, scale, zero_point, found);
                        let same = found.to_bits() == expected || (x.is_nan() && found.is_nan());
                        assert!(same, "{case:?}, expected {}", f32::from_bits(expected));
                    }
                }
            }
        }
    }

    #[test]
    fn integers_are_those_of_the_formula() {
        let x = values();
        for (zero_point, q_min, q_max) in [(128, 0, 255), (-3, -8, 7), (100, -32768, 32767)] {
            for (level, q) in at_each_level(|| {
                let mut q = vec![0; x.len()];
                quantize(&x, 0.1, zero_point, q_min, q_max, &mut q);
                q
            }) {
                for (&x, q) in x.iter().zip(q) {
                    let expected = plain(x, 0.1, zero_point, q_min, q_max);
                    let found = (q - zero_point) as f32 * 0.1;
                    let is_right = if x.is_nan() { q == q_min } else { found == expected };
                    assert!(is_right, "{level:?}: {x} gives {q}");
                }
            }
        }
    }

    #[test]
    fn ties_go_to_even_and_ends_saturate() {
        let mut x = [0.5, 1.5, 2.5, -0.5, -1.5, 100., -100., f32::INFINITY, f32::NEG_INFINITY];
        fake_quantize(&mut x, 1., 0, -8, 7);
        assert_eq!(x, [0., 2., 2., 0., -2., 7., -8., 7., -8.]);
    }

    #[test]
    fn per_channel_is_each_channel_alone() {
        let (scales, zero_points) = ([0.1, 0.7, 2.], [0, 5, -3]);
        for inner in [1, 2, 5] {
            let x: Vec<f32> = (0..2 * 3 * inner).map(|i| i as f32 * 0.37 - 3.).collect();
            let mut y = x.clone();
            fake_quantize_per_channel(&mut y, inner, &scales, &zero_points, -8, 7);
            for (i, (&x, &y)) in x.iter().zip(&y).enumerate() {
                let channel = i / inner % 3;
                assert_eq!(y, plain(x, scales[channel], zero_points[channel], -8, 7));
            }
        }
        fake_quantize_per_channel(&mut [], 0, &scales, &zero_points, -8, 7);
    }
}
