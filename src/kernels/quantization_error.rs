//! The squared error that rounding to a symmetric grid makes, for the choice of a range.

#![allow(unsafe_code)]

use super::dispatch::multiversion;

const LANES: usize = 16;

multiversion! {
    /// `sum of (x[i] - clamp(round_half_even(x[i] / scale), q_min, q_max) * scale)^2`, the
    /// differences in f32, their squares in f64 in 16 lanes.
    pub fn quantization_error(x: &[f32], scale: f32, q_min: i32, q_max: i32) -> f64 {
        let (low, high) = (q_min as f32, q_max as f32);
        let mut lanes = [0.; LANES];
        for chunk in x.chunks(LANES) {
            for (lane, &x) in lanes.iter_mut().zip(chunk) {
                let error = f64::from(x - (x / scale).round_ties_even().clamp(low, high) * scale);
                *lane += error * error;
            }
        }
        lanes.iter().sum()
    }
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
        let found = at_each_level(|| quantization_error(&x, 0.25, -8, 7));
        // A scale of 1/4 makes products exact; only the differences are rounded.
        assert!((found[0].1 / plain - 1.).abs() < 1e-5);
        assert!(found.iter().all(|(_, error)| *error == found[0].1));
    }
}
