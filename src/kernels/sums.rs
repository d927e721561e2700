//! Sums over a tensor in f64: 16 lanes, combined in a fixed order.
//!
//! Element `i` goes to lane `i % 16`; the lanes are then added pairwise (`i` and `i + 8`, `i + 4`,
//! ...), so the result is the same at every SIMD level. NaN and infinities propagate.

#![allow(unsafe_code)]

use super::dispatch::multiversion;

const LANES: usize = 16;

multiversion! {
    /// `sum of x[i]^2`
    pub fn sum_squares(x: &[f32]) -> f64 {
        sum_shifted(x, 0., |x| x * x)
    }
}

multiversion! {
    /// `sum of (a[i] - b[i])^2`, the difference exact.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn sum_squared_difference(a: &[f32], b: &[f32]) -> f64 {
        assert_eq!(a.len(), b.len(), "as many elements");
        let mut lanes = [0.; LANES];
        let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
        for (a, b) in a_chunks.zip(b_chunks) {
            for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
                *lane += squared_difference(a, b);
            }
        }
        for (lane, (&a, &b)) in lanes.iter_mut().zip(rest) {
            *lane += squared_difference(a, b);
        }
        combine(lanes)
    }
}

multiversion! {
    /// `sum of x[i]`
    pub fn sum(x: &[f32]) -> f64 {
        sum_shifted(x, 0., |x| x)
    }
}

multiversion! {
    /// Mean and variance, in two passes.
    pub fn moments(x: &[f32]) -> (f64, f64) {
        let mean = sum_shifted(x, 0., |x| x) / x.len() as f64;
        let variance = sum_shifted(x, mean, |x| x * x) / x.len() as f64;
        (mean, variance)
    }
}

multiversion! {
    /// The largest `|x[i]|`, of those that are no NaN; 0 of none.
    pub fn largest_magnitude(x: &[f32]) -> f32 {
        let mut lanes = [0_f32; LANES];
        let (blocks, rest) = x.as_chunks::<LANES>();
        let larger = |lane: &mut f32, x: f32| *lane = if *lane < x.abs() { x.abs() } else { *lane };
        for block in blocks {
            lanes.iter_mut().zip(block).for_each(|(lane, &x)| larger(lane, x));
        }
        lanes.iter_mut().zip(rest).for_each(|(lane, &x)| larger(lane, x));
        lanes.into_iter().fold(0., f32::max)
    }
}

/// `sum of f(x[i] - shift)`
#[inline(always)]
fn sum_shifted(x: &[f32], shift: f64, f: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f(f64::from(x) - shift);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f(f64::from(x) - shift);
    }
    combine(lanes)
}

#[inline(always)]
fn squared_difference(a: f32, b: f32) -> f64 {
    let difference = f64::from(a) - f64::from(b);
    difference * difference
}

#[inline(always)]
fn combine(mut lanes: [f64; LANES]) -> f64 {
    let mut half = LANES / 2;
    while 0 < half {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;

    fn wave(n: usize, step: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * step).sin() * 1e3).collect()
    }

    #[test]
    fn every_length_and_level() {
        for n in [0, 1, 15, 16, 17, 100, 1000] {
            let (a, b) = (wave(n, 0.7), wave(n, 0.3));
            let squares: f64 = a.iter().map(|&a| f64::from(a).powi(2)).sum();
            let difference: f64 =
                a.iter().zip(&b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
            let sums = || (sum_squares(&a), sum_squared_difference(&a, &b), sum(&a));
            let found = at_each_level(sums);
            let first = found[0].1;
            let plain: f64 = a.iter().map(|&a| f64::from(a)).sum();
            assert!((first.2 - plain).abs() <= 1e-9);
            // The order of addition differs from the plain sum's.
            assert!((first.0 - squares).abs() <= 1e-12 * squares);
            assert!((first.1 - difference).abs() <= 1e-12 * difference);
            assert!(found.iter().all(|(_, sums)| *sums == first), "{found:?}");
        }
    }

    #[test]
    fn moments_of_few() {
        let found = at_each_level(|| moments(&[1., 2., 3., 6.]));
        assert!(found.iter().all(|(_, moments)| *moments == (3., 3.5)), "{found:?}");
    }

    #[test]
    fn largest() {
        for n in [0, 1, 15, 16, 17, 100] {
            let mut x = wave(n, 0.7);
            let plain = x.iter().fold(0_f32, |max, x| max.max(x.abs()));
            x.push(f32::NAN);
            let found = at_each_level(|| largest_magnitude(&x));
            assert!(found.iter().all(|(_, largest)| *largest == plain), "{found:?}, {plain}");
        }
        assert_eq!(largest_magnitude(&[1., f32::NEG_INFINITY]), f32::INFINITY);
    }

    #[test]
    fn not_finite() {
        assert!(sum_squares(&[1., f32::NAN]).is_nan());
        assert_eq!(sum_squares(&[1., f32::NEG_INFINITY]), f64::INFINITY);
        assert!(sum_squared_difference(&[f32::INFINITY], &[f32::INFINITY]).is_nan());
    }
}
