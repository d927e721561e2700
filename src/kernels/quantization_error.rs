//! The squared error that rounding to a symmetric grid makes, for the choice of a range.

#![allow(unsafe_code)]

use super::dispatch::multiversion;

const LANES: usize = 16;
/// Elements before the first look at the limit; the next ones are at twice as many each.
const FIRST_LOOK: usize = 128;

/// A symmetric grid.
#[derive(Clone, Copy)]
struct Grid {
    scale: f32,
    low: f32,
    high: f32,
}

multiversion! {
    /// `sum of (x[i] - clamp(round_half_even(x[i] / scale), q_min, q_max) * scale)^2`, the
    /// differences in f32, their squares in f64 in 16 lanes.
    ///
    /// A sum that is not below `limit` may be given up half way: what is returned then is at least
    /// `limit` and at most the sum. For no lane falls when a square is added, nor do sums of lanes,
    /// rounded as they are.
    pub fn quantization_error(x: &[f32], scale: f32, q_min: i32, q_max: i32, limit: f64) -> f64 {
        let grid = Grid { scale, low: q_min as f32, high: q_max as f32 };
        let mut lanes = [0.; LANES];
        let (mut rest, mut look) = (x, FIRST_LOOK);
        while look < rest.len() {
            let (part, others) = rest.split_at(look);
            add_squares(&mut lanes, part, grid);
            let sum = lanes.iter().sum();
            if limit <= sum {
                return sum;
            }
            rest = others;
            look = x.len() - rest.len();
        }
        add_squares(&mut lanes, rest, grid);
        lanes.iter().sum()
    }
}

/// The first element goes to the first lane.
#[inline(always)]
fn add_squares(lanes: &mut [f64; LANES], x: &[f32], grid: Grid) {
    let mut sums = *lanes;
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        // Two loops: as one, they are compiled for half as many elements at a time.
        let mut errors = [0.; LANES];
        errors.iter_mut().zip(block).for_each(|(to, &x)| *to = error(x, grid));
        sums.iter_mut().zip(errors).for_each(|(sum, error)| *sum += square(error));
    }
    sums.iter_mut().zip(rest).for_each(|(sum, &x)| *sum += square(error(x, grid)));
    *lanes = sums;
}

#[inline(always)]
fn error(x: f32, grid: Grid) -> f32 {
    x - (x / grid.scale).round_ties_even().clamp(grid.low, grid.high) * grid.scale
}

#[inline(always)]
fn square(error: f32) -> f64 {
    f64::from(error) * f64::from(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;

    #[test]
    fn same_at_each_level_and_right() {
        let x: Vec<f32> = (0..1003).map(|i| (i as f32 * 0.37).sin() * 3.).collect();
        let plain: f64 = x
            .iter()
            .map(|&x| {
                let q = (f64::from(x) / 0.25).round_ties_even().clamp(-8., 7.);
                (f64::from(x) - q * 0.25).powi(2)
            })
            .sum();
        let found = at_each_level(|| quantization_error(&x, 0.25, -8, 7, f64::INFINITY));
        // A scale of 1/4 makes products exact; only the differences are rounded.
        assert!((found[0].1 / plain - 1.).abs() < 1e-5);
        assert!(found.iter().all(|(_, error)| *error == found[0].1));
    }

    #[test]
    fn given_up_at_the_limit() {
        let x: Vec<f32> = (0..10_007).map(|i| (i as f32 * 0.37).sin() * 3.).collect();
        let whole = quantization_error(&x, 0.25, -8, 7, f64::INFINITY);
        for part in [0., 0.3, 0.99, 1.] {
            let found = at_each_level(|| quantization_error(&x, 0.25, -8, 7, part * whole));
            assert!(
                found.iter().all(|(_, sum)| part * whole <= *sum && *sum <= whole),
                "{found:?}"
            );
        }
        assert_eq!(quantization_error(&x, 0.25, -8, 7, whole * 1.001), whole);
    }
}
