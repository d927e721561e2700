//! Softmax and its logarithm over rows, in place.
//!
//! `exp(x - max) / sum of exp(x - max)`; the sum is kept in 16 f32 lanes. A row that holds NaN or +inf, or
//! -inf alone, becomes NaN. Against f64, the relative error is below `(4 + n / 16 + |x - max|) 2^-24`: the
//! exponential's, the sum's (the worst case, usually far less), and that of the difference in f32; the error
//! of the logarithm is below `(4 + n / 16 + 2 |y|) 2^-24`.

use super::math;
use super::simd::{Kernel, LANES, Simd, run};

/// Softmax of each row of `x`, `[.., n]`.
///
/// # Panics
/// If the rows are not whole.
pub fn softmax_rows(x: &mut [f32], n: usize) {
    sweep(Sweep { x, n, is_log: false });
}

/// `x - max - ln(sum of exp(x - max))` along each row of `x`, `[.., n]`.
///
/// # Panics
/// If the rows are not whole.
pub fn log_softmax_rows(x: &mut [f32], n: usize) {
    sweep(Sweep { x, n, is_log: true });
}

struct Sweep<'a> {
    x: &'a mut [f32],
    n: usize,
    is_log: bool,
}

fn sweep(sweep: Sweep<'_>) {
    if sweep.n != 0 {
        assert!(sweep.x.len().is_multiple_of(sweep.n), "whole rows");
        run(sweep);
    }
}

impl Kernel for Sweep<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.x.chunks_exact_mut(self.n) {
            let (lanes, rest) = row.as_chunks_mut();
            let mut last = s.load_part(rest, f32::NEG_INFINITY);
            let max = max(s, lanes, last);
            if self.is_log {
                log_softmax(s, lanes, &mut last, max);
            } else {
                softmax(s, lanes, &mut last, max);
            }
            if !rest.is_empty() {
                s.store_part(rest, last);
            }
        }
    }
}

/// The largest element in each lane, NaN aside: that shows up in the sum.
#[inline(always)]
fn max<S: Simd>(s: S, lanes: &[[f32; LANES]], last: S::V) -> S::V {
    let lowest = s.splat(f32::NEG_INFINITY);
    let mut maxima = [s.max(last, lowest), lowest, lowest, lowest];
    let (fours, rest) = lanes.as_chunks::<4>();
    for four in fours {
        for (max, x) in maxima.iter_mut().zip(four) {
            *max = s.max(s.load(x), *max);
        }
    }
    for x in rest {
        maxima[0] = s.max(s.load(x), maxima[0]);
    }
    math::largest(s, s.max(s.max(maxima[0], maxima[1]), s.max(maxima[2], maxima[3])))
}

#[inline(always)]
fn softmax<S: Simd>(s: S, lanes: &mut [[f32; LANES]], last: &mut S::V, max: S::V) {
    *last = math::exp(s, s.sub(*last, max));
    let mut sum = *last;
    let (fours, rest) = lanes.as_chunks_mut::<4>();
    for four in fours {
        for x in four {
            sum = s.add(sum, exp_of_difference(s, x, max));
        }
    }
    for x in rest {
        sum = s.add(sum, exp_of_difference(s, x, max));
    }
    let inverse = s.div(s.splat(1.), math::sum(s, sum));
    for x in lanes {
        s.store(x, s.mul(s.load(x), inverse));
    }
    *last = s.mul(*last, inverse);
}

#[inline(always)]
fn exp_of_difference<S: Simd>(s: S, x: &mut [f32; LANES], max: S::V) -> S::V {
    let y = math::exp(s, s.sub(s.load(x), max));
    s.store(x, y);
    y
}

#[inline(always)]
fn log_softmax<S: Simd>(s: S, lanes: &mut [[f32; LANES]], last: &mut S::V, max: S::V) {
    let mut sum = math::exp(s, s.sub(*last, max));
    for x in lanes.iter() {
        sum = s.add(sum, math::exp(s, s.sub(s.load(x), max)));
    }
    let shift = math::ln(s, math::sum(s, sum));
    for x in lanes {
        s.store(x, s.sub(s.sub(s.load(x), max), shift));
    }
    *last = s.sub(s.sub(*last, max), shift);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;

    fn plain(row: &[f32], is_log: bool) -> Vec<f64> {
        let x: Vec<f64> = row.iter().map(|&x| x.into()).collect();
        let max = x.iter().fold(f64::NEG_INFINITY, |max, &x| if max < x { x } else { max });
        let sum: f64 = x.iter().map(|x| (x - max).exp()).sum();
        let y = |x: f64| if is_log { x - max - sum.ln() } else { (x - max).exp() / sum };
        x.into_iter().map(y).collect()
    }

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
    }

    /// Softmax and logarithm of rows of `n`, against the formula and at each level.
    fn check(x: &[f32], n: usize) {
        for is_log in [false, true] {
            let found = at_each_level(|| {
                let mut y = x.to_vec();
                if is_log {
                    log_softmax_rows(&mut y, n)
                } else {
                    softmax_rows(&mut y, n)
                }
                y
            });
            for (level, y) in &found {
                assert_eq!(bits(y), bits(&found[0].1), "{level:?}, rows of {n}");
            }
            let rows = x.chunks_exact(n).flat_map(|row| {
                let max = row.iter().copied().fold(-1e30, f32::max);
                plain(row, is_log).into_iter().zip(row).map(move |(y, &x)| (y, max - x))
            });
            for ((expected, distance), &y) in rows.zip(&found[0].1) {
                let units = match is_log {
                    true => 4. + n as f64 / 16. + 2. * expected.abs(),
                    false => (4. + n as f64 / 16. + f64::from(distance).abs()) * expected,
                };
                let off = (f64::from(y) - expected).abs();
                let is_right = (y.is_nan() && expected.is_nan())
                    || f64::from(y) == expected
                    || off <= units / 2_f64.powi(24) + 1e-44;
                assert!(is_right, "{y}, expected {expected}, in a row of {n}");
            }
        }
    }

    #[test]
    fn every_length() {
        for n in (1..40).chain([64, 100, 197, 1000]) {
            let x: Vec<f32> = (0..3 * n).map(|i| (i as f32 * 0.7).sin() * 20.).collect();
            check(&x, n);
        }
        softmax_rows(&mut [], 0);
        softmax_rows(&mut [], 3);
    }

    #[test]
    fn not_finite() {
        const INF: f32 = f32::INFINITY;
        for n in [1, 5, 16, 33] {
            let x: Vec<f32> = (0..n).map(|i| i as f32 * 40.).collect();
            check(&vec![-INF; n], n);
            for special in [f32::NAN, INF, -INF] {
                for place in [0, n / 2, n - 1] {
                    let mut y = x.clone();
                    y[place] = special;
                    check(&y, n);
                }
            }
        }
    }

    #[test]
    fn minus_infinity_becomes_zero() {
        let mut x = [1., f32::NEG_INFINITY, 3., 1., f32::NEG_INFINITY, 1.];
        softmax_rows(&mut x, 3);
        assert_eq!([x[1], x[4]], [0., 0.]);
        assert_eq!(x[3], 0.5);
    }
}
