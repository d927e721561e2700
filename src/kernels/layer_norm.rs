//! Rows with their mean taken off (or not) and divided by their standard deviation.
//!
//! Sums are kept in f32, in four parts of 16 lanes. A first mean is rounded; the second pass sums
//! `d = x - mean` and `d^2` and so finds what that mean lacks. Against f64, the error of
//! `(x - mean) / deviation` is below `(4 + n / 64) 2^-24` of the larger of 1 and the result, a mean of a
//! thousand deviations included. NaN and infinities make their row NaN, as does a sum beyond f32 (`x` of
//! 1e38, deviations of 1e19).

use super::math;
use super::simd::{Kernel, LANES, Simd, run};

/// `y = (x - mean) / sqrt(variance + epsilon) * gamma + beta` for each row of `x`, `[.., n]`; `gamma` and
/// `beta` are `[n]`.
///
/// # Panics
/// If the rows are not whole, or another length does not fit.
pub fn layer_norm_rows(
    x: &[f32],
    y: &mut [f32],
    n: usize,
    gamma: Option<&[f32]>,
    beta: Option<&[f32]>,
    epsilon: f32,
) {
    sweep(Sweep { x, y, n, gamma, beta, epsilon, is_centered: true });
}

/// `y = x / sqrt(mean of x^2 + epsilon) * gamma` for each row of `x`, `[.., n]`; `gamma` is `[n]`.
///
/// # Panics
/// If the rows are not whole, or another length does not fit.
pub fn rms_norm_rows(x: &[f32], y: &mut [f32], n: usize, gamma: Option<&[f32]>, epsilon: f32) {
    sweep(Sweep { x, y, n, gamma, beta: None, epsilon, is_centered: false });
}

struct Sweep<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
    n: usize,
    gamma: Option<&'a [f32]>,
    beta: Option<&'a [f32]>,
    epsilon: f32,
    is_centered: bool,
}

fn sweep(sweep: Sweep<'_>) {
    let n = sweep.n;
    assert_eq!(sweep.x.len(), sweep.y.len(), "an element per result");
    for parameter in [sweep.gamma, sweep.beta].into_iter().flatten() {
        assert_eq!(parameter.len(), n, "a parameter per element of a row");
    }
    if n != 0 {
        assert!(sweep.x.len().is_multiple_of(n), "whole rows");
        run(sweep);
    }
}

impl Kernel for Sweep<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let n = s.splat(self.n as f32);
        let rows = self.x.chunks_exact(self.n).zip(self.y.chunks_exact_mut(self.n));
        for (x, y) in rows {
            let zero = s.splat(0.);
            let first = if self.is_centered { s.div(sum(s, x), n) } else { zero };
            let [rest, square] = squares(s, x, first);
            let (rest, square) = (s.div(rest, n), s.div(square, n));
            let rest = if self.is_centered { rest } else { zero };
            let variance = s.max(zero, s.sub(square, s.mul(rest, rest)));
            let deviation = s.sqrt(s.add(variance, s.splat(self.epsilon)));
            let parts = Parts { first, rest, inverse: s.div(s.splat(1.), deviation) };
            normalize(s, x, y, parts, self.gamma, self.beta);
        }
    }
}

/// The mean is `first + rest`.
#[derive(Clone, Copy)]
struct Parts<V> {
    first: V,
    rest: V,
    inverse: V,
}

const PARTS: usize = 4;

/// `sum of x[i]`
#[inline(always)]
fn sum<S: Simd>(s: S, x: &[f32]) -> S::V {
    let (lanes, rest) = x.as_chunks::<LANES>();
    let mut sums = [s.splat(0.); PARTS];
    let (fours, ones) = lanes.as_chunks::<PARTS>();
    for four in fours {
        for (sum, x) in sums.iter_mut().zip(four) {
            *sum = s.add(*sum, s.load(x));
        }
    }
    for (sum, x) in sums.iter_mut().zip(ones) {
        *sum = s.add(*sum, s.load(x));
    }
    sums[PARTS - 1] = s.add(sums[PARTS - 1], s.load_part(rest, 0.));
    total(s, sums)
}

/// `sum of x[i] - shift` and `sum of (x[i] - shift)^2`
#[inline(always)]
fn squares<S: Simd>(s: S, x: &[f32], shift: S::V) -> [S::V; 2] {
    let (lanes, rest) = x.as_chunks::<LANES>();
    let mut sums = [s.splat(0.); PARTS];
    let mut squares = sums;
    let (fours, ones) = lanes.as_chunks::<PARTS>();
    for four in fours {
        for ((sum, square), x) in sums.iter_mut().zip(&mut squares).zip(four) {
            let d = s.sub(s.load(x), shift);
            *sum = s.add(*sum, d);
            *square = s.fma(d, d, *square);
        }
    }
    for ((sum, square), x) in sums.iter_mut().zip(&mut squares).zip(ones) {
        let d = s.sub(s.load(x), shift);
        *sum = s.add(*sum, d);
        *square = s.fma(d, d, *square);
    }
    // 0 in the lanes beyond the row.
    let inside = s.load_part(&[1.; LANES][..rest.len()], 0.);
    let d = s.mul(s.sub(s.load_part(rest, 0.), shift), inside);
    sums[PARTS - 1] = s.add(sums[PARTS - 1], d);
    squares[PARTS - 1] = s.fma(d, d, squares[PARTS - 1]);
    [total(s, sums), total(s, squares)]
}

#[inline(always)]
fn total<S: Simd>(s: S, sums: [S::V; PARTS]) -> S::V {
    math::sum(s, s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])))
}

/// `y[i] = (x[i] - first - rest) * inverse * gamma[i] + beta[i]`
#[inline(always)]
fn normalize<S: Simd>(
    s: S,
    x: &[f32],
    y: &mut [f32],
    parts: Parts<S::V>,
    gamma: Option<&[f32]>,
    beta: Option<&[f32]>,
) {
    let (lanes, x_rest) = x.as_chunks::<LANES>();
    let (y_lanes, y_rest) = y.as_chunks_mut::<LANES>();
    let (gamma, gamma_rest) = gamma.map(<[f32]>::as_chunks).unzip();
    let (beta, beta_rest) = beta.map(<[f32]>::as_chunks).unzip();
    for (i, (x, y)) in lanes.iter().zip(y_lanes).enumerate() {
        let centered = parts.apply(s, s.load(x));
        let (gamma, beta) =
            (gamma.map(|gamma| s.load(&gamma[i])), beta.map(|beta| s.load(&beta[i])));
        s.store(y, affine(s, centered, gamma, beta));
    }
    let centered = parts.apply(s, s.load_part(x_rest, 0.));
    let gamma = gamma_rest.map(|gamma| s.load_part(gamma, 0.));
    let beta = beta_rest.map(|beta| s.load_part(beta, 0.));
    s.store_part(y_rest, affine(s, centered, gamma, beta));
}

impl<V: Copy> Parts<V> {
    #[inline(always)]
    fn apply<S: Simd<V = V>>(self, s: S, x: V) -> V {
        s.mul(s.sub(s.sub(x, self.first), self.rest), self.inverse)
    }
}

#[inline(always)]
fn affine<S: Simd>(s: S, x: S::V, gamma: Option<S::V>, beta: Option<S::V>) -> S::V {
    match (gamma, beta) {
        (Some(gamma), Some(beta)) => s.fma(x, gamma, beta),
        (Some(gamma), None) => s.mul(x, gamma),
        (None, Some(beta)) => s.add(x, beta),
        (None, None) => x,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;

    const EPSILON: f32 = 1e-5;

    /// Without `gamma` and `beta`.
    fn plain(row: &[f32], is_centered: bool) -> Vec<f64> {
        let n = row.len() as f64;
        let x: Vec<f64> = row.iter().map(|&x| x.into()).collect();
        let mean = if is_centered { x.iter().sum::<f64>() / n } else { 0. };
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let deviation = (variance + f64::from(EPSILON)).sqrt();
        x.iter().map(|x| (x - mean) / deviation).collect()
    }

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
    }

    fn wave(n: usize, step: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * step).sin() * 2.).collect()
    }

    /// What `f` gives, after comparing its bits at all levels.
    fn at_all_levels(x: &[f32], f: impl Fn(&[f32], &mut [f32])) -> Vec<f32> {
        let mut found = at_each_level(|| {
            let mut y = vec![9.; x.len()];
            f(x, &mut y);
            y
        });
        for (level, y) in &found {
            assert_eq!(bits(y), bits(&found[0].1), "{level:?}");
        }
        found.swap_remove(0).1
    }

    /// The largest error of both norms with and without parameters, relative to the bound.
    fn worst(x: &[f32], n: usize) -> f64 {
        let (gamma, beta) = (wave(n, 0.3), wave(n, 0.9));
        let mut worst = 0_f64;
        for (gamma, beta) in [(None, None), (Some(&*gamma), None), (None, Some(&*beta))]
            .into_iter()
            .chain([(Some(&*gamma), Some(&*beta))])
        {
            let centered = at_all_levels(x, |x, y| layer_norm_rows(x, y, n, gamma, beta, EPSILON));
            let rms = at_all_levels(x, |x, y| rms_norm_rows(x, y, n, gamma, EPSILON));
            for (y, is_centered) in [(centered, true), (rms, false)] {
                let beta = if is_centered { beta } else { None };
                let expected = x.chunks_exact(n).flat_map(|row| plain(row, is_centered));
                for (i, (expected, y)) in expected.zip(y).enumerate() {
                    let gamma = gamma.map_or(1., |gamma| f64::from(gamma[i % n]));
                    let beta = beta.map_or(0., |beta| f64::from(beta[i % n]));
                    let unit = (expected.abs().max(1.) * gamma.abs() + beta.abs()) / 2_f64.powi(24);
                    let off = (expected * gamma + beta - f64::from(y)).abs();
                    worst = worst.max(off / unit / (4. + n as f64 / 64.));
                    assert!(!off.is_nan(), "{y}, expected {expected}");
                }
            }
        }
        worst
    }

    #[test]
    fn every_length() {
        for n in (1..40).chain([64, 100, 197, 768, 1000]) {
            for mean in [0., 5., -2e3] {
                let x: Vec<f32> = wave(3 * n, 0.7).into_iter().map(|x| x + mean).collect();
                let worst = worst(&x, n);

                assert!(worst <= 1., "{worst} of the bound, rows of {n}, mean {mean}");
            }
        }
        layer_norm_rows(&[], &mut [], 0, None, None, EPSILON);
        layer_norm_rows(&[], &mut [], 3, None, None, EPSILON);
    }

    #[test]
    fn all_equal() {
        let y = at_all_levels(&[7.1; 34], |x, y| layer_norm_rows(x, y, 17, None, None, EPSILON));
        assert!(y.iter().all(|y| y.abs() < 1e-3), "{y:?}");
        let y = at_all_levels(&[0.; 34], |x, y| rms_norm_rows(x, y, 17, None, EPSILON));
        assert_eq!(y, [0.; 34]);
    }

    #[test]
    fn not_finite() {
        for n in [1, 5, 16, 33] {
            for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut x = wave(2 * n, 0.7);
                x[n / 2] = special;
                let y = at_all_levels(&x, |x, y| layer_norm_rows(x, y, n, None, None, EPSILON));
                assert!(y[..n].iter().all(|y| y.is_nan()), "{y:?}");
                assert!(y[n..].iter().all(|y| y.is_finite()), "{y:?}");
            }
        }
    }
}
