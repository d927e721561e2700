//! The squared error that rounding makes to values that are known by their counts in bins, for the
//! choice of a range.

#![allow(unsafe_code)]

use super::dispatch::multiversion;

/// Grids that are looked at together.
pub const GRIDS: usize = 8;

type Lanes = [f64; GRIDS];

/// Bins by ascending value: `counts[i]` values spread evenly over `[lows[i], highs[i]]`.
#[derive(Debug, Clone, Default)]
pub struct BinArrays {
    pub lows: Vec<f64>,
    pub highs: Vec<f64>,
    pub counts: Vec<f64>,
}

/// The multiples of a scale from `min` to `max`, for each of several grids.
#[derive(Debug, Clone, Copy)]
pub struct Grids {
    pub scale: Lanes,
    pub min: Lanes,
    pub max: Lanes,
}

/// What the part of the axis below an edge contributes; a bin is the difference of its edges.
#[derive(Clone, Copy)]
struct Edge {
    at: f64,
    /// Cubed distance from the grid's low end, over 3, where the edge is below it.
    below: Lanes,
    above: Lanes,
    /// Integral of `(t - round(t))^2` up to the edge, in scales.
    inside: Lanes,
}

multiversion! {
    /// For every grid the sum over the bins of count times mean of `(x - rounded(x))^2`: the error
    /// of clipping outside `[min, max]`, that of rounding to multiples of the scale inside.
    pub fn binned_error(bins: &BinArrays, grids: &Grids) -> [f64; GRIDS] {
        let ends = Ends::new(grids);
        let volume = grids.scale.map(|scale| cube(scale) * 3.);
        let mut sums = [0.; GRIDS];
        let mut edge = Edge::new(f64::NEG_INFINITY, grids, &ends);
        for ((&low, &high), &count) in bins.lows.iter().zip(&bins.highs).zip(&bins.counts) {
            if high - low <= f64::EPSILON * larger(high.abs(), low.abs()) {
                for (i, sum) in sums.iter_mut().enumerate() {
                    let (scale, min, max) = (grids.scale[i], grids.min[i], grids.max[i]);
                    *sum += count * point_error(high, scale, min, max);
                }
                continue;
            }
            let from = if edge.at == low { edge } else { Edge::new(low, grids, &ends) };
            let to = Edge::new(high, grids, &ends);
            for i in 0..GRIDS {
                let clipped = (from.below[i] - to.below[i]) + (to.above[i] - from.above[i]);
                let rounded = volume[i] * (to.inside[i] - from.inside[i]);
                sums[i] += count * ((clipped + rounded) / (high - low));
            }
            edge = to;
        }
        sums
    }
}

/// Where all grids have begun, and where the first ends.
struct Ends {
    begun: f64,
    first_end: f64,
}

impl Ends {
    #[inline(always)]
    fn new(grids: &Grids) -> Ends {
        Ends {
            begun: grids.min.into_iter().fold(f64::NEG_INFINITY, larger),
            first_end: grids.max.into_iter().fold(f64::INFINITY, smaller),
        }
    }
}

impl Edge {
    #[inline(always)]
    fn new(at: f64, grids: &Grids, ends: &Ends) -> Edge {
        let mut edge = Edge { at, below: [0.; GRIDS], above: [0.; GRIDS], inside: [0.; GRIDS] };
        if at < ends.begun {
            for i in 0..GRIDS {
                edge.below[i] = cube(grids.min[i] - smaller(at, grids.min[i]));
            }
        }
        if ends.first_end < at {
            for i in 0..GRIDS {
                edge.above[i] = cube(larger(at, grids.max[i]) - grids.max[i]);
            }
        }
        for i in 0..GRIDS {
            let inside = smaller(larger(at, grids.min[i]), grids.max[i]);
            edge.inside[i] = rounding_integral(inside / grids.scale[i]);
        }
        edge
    }
}

#[inline(always)]
fn point_error(x: f64, scale: f64, min: f64, max: f64) -> f64 {
    let clamp = |x| smaller(larger(x, min), max);
    let rounded = clamp((clamp(x) / scale).round_ties_even() * scale);
    (x - rounded) * (x - rounded)
}

/// Integral of `(t - round(t))^2` from -1/2 to `t`.
#[inline(always)]
fn rounding_integral(t: f64) -> f64 {
    let n = (t + 0.5).floor();
    let f = t - n;
    n / 12. + (f * f * f + 0.125) / 3.
}

#[inline(always)]
fn cube(x: f64) -> f64 {
    x * x * x / 3.
}

/// One instruction, where `f64::max` is four: there is no NaN here.
#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if a < b { b } else { a }
}

#[inline(always)]
fn smaller(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;

    /// The same bin by bin.
    fn plain(bins: &BinArrays, scale: f64, min: f64, max: f64) -> f64 {
        let mut sum = 0.;
        for ((&low, &high), &count) in bins.lows.iter().zip(&bins.highs).zip(&bins.counts) {
            sum += count * mean_squared_error(low, high, scale, min, max);
        }
        sum
    }

    fn mean_squared_error(a: f64, b: f64, scale: f64, min: f64, max: f64) -> f64 {
        if b - a <= f64::EPSILON * b.abs().max(a.abs()) {
            let inside = b.clamp(min, max);
            let rounded = ((inside / scale).round_ties_even() * scale).clamp(min, max);
            return (b - rounded) * (b - rounded);
        }
        let mut sum = 0.;
        if a < min {
            sum += cube(min - a) - cube(min - b.min(min));
        }
        if max < b {
            sum += cube(b - max) - cube(a.max(max) - max);
        }
        let (from, to) = (a.max(min), b.min(max));
        if from < to {
            let integral = rounding_integral(to / scale) - rounding_integral(from / scale);
            sum += cube(scale) * 3. * integral;
        }
        sum / (b - a)
    }

    fn bins() -> BinArrays {
        let mut bins = BinArrays::default();
        let mut push = |low: f64, high: f64, count: u32| {
            bins.lows.push(low);
            bins.highs.push(high);
            bins.counts.push(f64::from(count));
        };
        let edges: Vec<f64> = (0..400).map(|i| 1e-4 * 1.03_f64.powi(i)).collect();
        for pair in edges.windows(2).rev() {
            push(-pair[1], -pair[0], (pair[0] * 1e4) as u32 % 17);
        }
        push(0., 0., 1000);
        push(5e-5, 5e-5, 3);
        for (i, pair) in edges.windows(2).enumerate().filter(|(i, _)| i % 9 != 4) {
            push(pair[0], pair[1], i as u32 % 23);
        }
        push(20., 20., 7);
        bins
    }

    #[test]
    fn as_bin_by_bin_to_the_last_bit_at_each_level() {
        let bins = bins();
        let steps = [3., 15., 255., 65535.];
        for first in [0.05, 0.7, 6., 40.] {
            let mut grids = Grids { scale: [0.; GRIDS], min: [0.; GRIDS], max: [0.; GRIDS] };
            for i in 0..GRIDS {
                let (low, high) = (first * (i % 3) as f64, first * (1. + i as f64 / 4.));
                grids.scale[i] = (high + low) / steps[i % 4];
                grids.min[i] = -(low / grids.scale[i]).round() * grids.scale[i];
                grids.max[i] = grids.min[i] + steps[i % 4] * grids.scale[i];
            }
            for (level, found) in at_each_level(|| binned_error(&bins, &grids)) {
                for (i, found) in found.into_iter().enumerate() {
                    let expected = plain(&bins, grids.scale[i], grids.min[i], grids.max[i]);
                    assert_eq!(found.to_bits(), expected.to_bits(), "{level:?}, grid {i}");
                }
            }
        }
    }
}
