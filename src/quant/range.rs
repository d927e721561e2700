//! Range estimators: which interval of a tensor's values an encoding covers.
//!
//! - `minmax`: all values.
//! - `percentile:P`: P percent of the values; half of the rest is cut off at either end.
//! - `mse`: the interval with the least mean squared error after rounding. Activations: over a
//!   histogram, taking values as spread evenly inside a bin. Weights: over the weights themselves.

use std::fmt;
use std::str::FromStr;

use crate::kernels::{self, BinArrays, GRIDS, Grids};
use crate::quant::encoding::scale_and_zero_point;
use crate::quant::histogram::{Bin, Histogram};
use crate::quant::{Bits, Encoding, Range, Scheme};

/// How a range is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RangeMethod {
    MinMax,
    /// The percentage of values inside; above 50, at most 100.
    Percentile(f64),
    Mse,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "range method is `{found}`, expected `minmax`, `mse` or `percentile:P` with P above 50 and at most 100"
)]
pub struct RangeMethodError {
    found: String,
}

impl FromStr for RangeMethod {
    type Err = RangeMethodError;

    fn from_str(text: &str) -> Result<RangeMethod, RangeMethodError> {
        let percentile = |text: &str| text.parse().ok().filter(|p| 50. < *p && *p <= 100.);
        match (text, text.strip_prefix("percentile:")) {
            ("minmax", _) => Ok(RangeMethod::MinMax),
            ("mse", _) => Ok(RangeMethod::Mse),
            (_, Some(p)) if percentile(p).is_some() => {
                Ok(RangeMethod::Percentile(percentile(p).expect("just checked")))
            }
            _ => Err(RangeMethodError { found: text.to_owned() }),
        }
    }
}

impl fmt::Display for RangeMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RangeMethod::MinMax => f.write_str("minmax"),
            RangeMethod::Percentile(p) => write!(f, "percentile:{p}"),
            RangeMethod::Mse => f.write_str("mse"),
        }
    }
}

/// The range of an activation; an empty histogram gives `[0, 0]`.
pub fn activation_range(
    method: RangeMethod,
    bits: Bits,
    scheme: Scheme,
    histogram: &Histogram,
) -> Range {
    let Some((min, max)) = histogram.extremes() else { return Range::new(0., 0.) };
    let whole = Range::new(min.min(0.), max.max(0.));
    match method {
        RangeMethod::MinMax => whole,
        RangeMethod::Percentile(p) => percentile(&histogram.bins(), p),
        RangeMethod::Mse => least_error(&histogram.bins(), bits, scheme, whole),
    }
}

/// The symmetric range of one channel of a weight.
pub fn weight_range(method: RangeMethod, bits: Bits, scheme: Scheme, weights: &[f32]) -> Range {
    let max_abs = kernels::largest_magnitude(weights);
    let limit = match method {
        RangeMethod::MinMax => max_abs,
        RangeMethod::Percentile(p) => abs_percentile(weights, p),
        RangeMethod::Mse => least_error_clip(weights, bits, scheme, max_abs),
    };
    Range::new(-limit, limit)
}

fn percentile(bins: &[Bin], p: f64) -> Range {
    let total: u64 = bins.iter().map(|bin| bin.count).sum();
    let cut = (1. - p / 100.) / 2. * total as f64;
    let low = quantile(bins.iter().copied(), cut);
    let mirrored = bins.iter().rev().map(|bin| Bin { low: -bin.high, high: -bin.low, ..*bin });
    let high = -quantile(mirrored, cut);
    Range::new(low.min(0.) as f32, high.max(0.) as f32)
}

/// The value that `rank` values lie below, by linear interpolation inside the bin.
fn quantile(bins: impl Iterator<Item = Bin>, rank: f64) -> f64 {
    let (mut below, mut value) = (0., 0.);
    for bin in bins {
        let count = bin.count as f64;
        value = bin.high;
        if rank < below + count {
            return bin.low + (bin.high - bin.low) * (rank - below) / count;
        }
        below += count;
    }
    value
}

fn abs_percentile(weights: &[f32], p: f64) -> f32 {
    let mut sorted: Vec<f32> = weights.iter().map(|w| w.abs()).collect();
    sorted.sort_by(f32::total_cmp);
    let rank = (p / 100. * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0.)
}

/// Ratios tried for both ends at once, then for one end at a time.
const COARSE: usize = 32;
/// Ratios tried around the best of the last round, which halves its spacing.
const FINE: [f64; 4] = [-1., -0.5, 0.5, 1.];
const N_REFINEMENTS: usize = 4;

/// Where an attempt puts an end: a ratio, from that of the best attempt before its step.
#[derive(Debug, Clone, Copy)]
enum End {
    At(f64),
    By(f64),
}

impl End {
    fn ratio(self, best: f64) -> f64 {
        match self {
            End::At(ratio) => ratio,
            End::By(step) => (best + step).clamp(0., 1.),
        }
    }
}

/// The low and the high end.
type Ends = [End; 2];

/// The steps of the search, each with its attempts.
fn steps(is_two_sided: bool) -> Vec<Vec<Ends>> {
    const SAME: End = End::By(0.);
    let coarse = |i: usize| End::At(i as f64 / COARSE as f64);
    let mut steps = vec![vec![[End::At(1.); 2]]];
    steps.extend((1..COARSE).map(|i| vec![[coarse(i); 2]]));
    if is_two_sided {
        steps.extend((0..COARSE).map(|i| vec![[coarse(i), SAME], [SAME, coarse(i)]]));
    }
    let mut spacing = 1. / COARSE as f64;
    for _ in 0..N_REFINEMENTS {
        for step in FINE {
            let by = End::By(step * spacing);
            steps.push(match is_two_sided {
                true => vec![[by, by], [by, SAME], [SAME, by]],
                false => vec![[by, by]],
            });
        }
        spacing /= 2.;
    }
    steps
}

fn least_error(bins: &[Bin], bits: Bits, scheme: Scheme, whole: Range) -> Range {
    let mut errors = Errors { bins: arrays(bins), bits, scheme, whole, known: Vec::new() };
    let steps = steps(whole.min < 0. && 0. < whole.max);
    let (mut best, mut least) = ([1.; 2], f64::INFINITY);
    for (index, step) in steps.iter().enumerate() {
        let before = best;
        let ratios = |ends: &Ends| [0, 1].map(|i| ends[i].ratio(before[i]));
        for attempt in step.iter().map(ratios) {
            // Those after it are tried too, as if none were better.
            let error = errors.find(attempt).unwrap_or_else(|| {
                errors.try_some(steps[index..].iter().flatten().map(ratios));
                errors.find(attempt).expect("it is the first unknown one of its step")
            });
            if error < least {
                (best, least) = (attempt, error);
            }
        }
    }
    errors.range(best)
}

/// The sum of squared errors for each pair of ratios that was tried.
struct Errors {
    bins: BinArrays,
    bits: Bits,
    scheme: Scheme,
    whole: Range,
    known: Vec<([f64; 2], f64)>,
}

impl Errors {
    fn find(&self, ratios: [f64; 2]) -> Option<f64> {
        self.known.iter().rev().find(|(known, _)| *known == ratios).map(|(_, error)| *error)
    }

    /// The first of these that are not known, as many as are computed together.
    fn try_some(&mut self, attempts: impl Iterator<Item = [f64; 2]>) {
        let mut new: Vec<[f64; 2]> = Vec::new();
        for ratios in attempts {
            if new.len() == GRIDS {
                break;
            }
            if self.find(ratios).is_none() && !new.contains(&ratios) {
                new.push(ratios);
            }
        }
        let encodings = new
            .iter()
            .map(|&ratios| Encoding::new(self.bits, self.scheme, None, &[self.range(ratios)]));
        let errors = histogram_errors(&self.bins, &encodings.collect::<Vec<_>>());
        self.known.extend(new.into_iter().zip(errors));
    }

    fn range(&self, [low, high]: [f64; 2]) -> Range {
        let end = |end: f32, ratio: f64| (f64::from(end) * ratio) as f32;
        Range::new(end(self.whole.min, low), end(self.whole.max, high))
    }
}

fn arrays(bins: &[Bin]) -> BinArrays {
    BinArrays {
        lows: bins.iter().map(|bin| bin.low).collect(),
        highs: bins.iter().map(|bin| bin.high).collect(),
        counts: bins.iter().map(|bin| bin.count as f64).collect(),
    }
}

/// Sums of squared errors after rounding, of 1 to [`GRIDS`] encodings; the rest means nothing.
fn histogram_errors(bins: &BinArrays, encodings: &[Encoding]) -> [f64; GRIDS] {
    let lanes = |value: fn(&Encoding) -> f32| {
        std::array::from_fn(|i| f64::from(value(encodings.get(i).unwrap_or(&encodings[0]))))
    };
    let grids = Grids {
        scale: lanes(|encoding| encoding.scales[0]),
        min: lanes(|encoding| encoding.grid(0).min),
        max: lanes(|encoding| encoding.grid(0).max),
    };
    kernels::binned_error(bins, &grids)
}

/// Clipping ratios tried for a weight channel: 0.2 to 1 in steps of 0.02, then finer.
const N_RATIOS: u32 = 41;
const RATIO_STEP: f64 = 0.02;

fn least_error_clip(weights: &[f32], bits: Bits, scheme: Scheme, max_abs: f32) -> f32 {
    if max_abs == 0. || !max_abs.is_finite() {
        return max_abs;
    }
    let (q_min, q_max) = scheme.limits(bits);
    let limit = |ratio: f64| (f64::from(max_abs) * ratio) as f32;
    let error = |ratio: f64, least: f64| {
        let range = Range::new(-limit(ratio), limit(ratio));
        let (scale, _) = scale_and_zero_point(bits, scheme, range);
        kernels::quantization_error(weights, scale, q_min, q_max, least)
    };
    let mut best = (1., error(1., f64::INFINITY));
    let attempt = |best: &mut (f64, f64), ratio: f64| {
        let error = error(ratio, best.1);
        if error < best.1 {
            *best = (ratio, error);
        }
    };
    for i in 1..N_RATIOS {
        attempt(&mut best, 1. - RATIO_STEP * f64::from(i));
    }
    let mut spacing = RATIO_STEP / 2.;
    for _ in 0..N_REFINEMENTS {
        let center = best.0;
        attempt(&mut best, center - spacing);
        attempt(&mut best, (center + spacing).min(1.));
        spacing /= 2.;
    }
    limit(best.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(bits: u8) -> Bits {
        Bits::new(bits).unwrap()
    }

    /// A fixed bell-shaped sample: sums of a linear congruential sequence.
    fn bell(n: usize) -> Vec<f32> {
        let mut state = 1_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..n).map(|_| (0..12).map(|_| uniform()).sum()).collect()
    }

    fn true_error(values: &[f32], encoding: &Encoding) -> f64 {
        let mut tensor = crate::tensor::Tensor::from_vec(&[values.len()], values.to_vec());
        encoding.fake_quantize(&mut tensor);
        let pairs = values.iter().zip(tensor.slice::<f32>());
        pairs.map(|(x, q)| f64::from(x - q) * f64::from(x - q)).sum()
    }

    fn histogram_error(histogram: &Histogram, encoding: &Encoding) -> f64 {
        histogram_errors(&arrays(&histogram.bins()), std::slice::from_ref(encoding))[0]
    }

    #[test]
    fn methods_by_name() {
        assert_eq!("percentile:99.9".parse(), Ok(RangeMethod::Percentile(99.9)));
        assert_eq!(RangeMethod::Percentile(99.9).to_string(), "percentile:99.9");
        let error = "percentile:12".parse::<RangeMethod>().unwrap_err().to_string();
        assert!(error.contains("`percentile:12`"), "{error}");
    }

    #[test]
    fn modelled_error_is_the_true_error() {
        let values = bell(100_000);
        let mut histogram = Histogram::default();
        histogram.add(&values);
        for width in [2, 4, 8] {
            for range in [Range::new(-3., 3.), Range::new(-1., 2.)] {
                let encoding = Encoding::new(bits(width), Scheme::UNSIGNED, None, &[range]);
                let model = histogram_error(&histogram, &encoding);
                let truth = true_error(&values, &encoding);
                // Values inside a bin are not quite even.
                assert!((model / truth - 1.).abs() < 0.02, "{width} {range:?}: {model} {truth}");
            }
        }
    }

    #[test]
    fn mse_is_no_worse_than_any_clipping_tried() {
        let values = bell(20_000);
        let mut histogram = Histogram::default();
        histogram.add(&values);
        for width in [3, 4, 8] {
            let range = |m| activation_range(m, bits(width), Scheme::UNSIGNED, &histogram);
            let error = |r| {
                let encoding = Encoding::new(bits(width), Scheme::UNSIGNED, None, &[r]);
                histogram_error(&histogram, &encoding)
            };
            let (best, whole) = (error(range(RangeMethod::Mse)), range(RangeMethod::MinMax));
            for i in 1..=200 {
                let ratio = i as f32 / 200.;
                let clipped = Range::new(whole.min * ratio, whole.max * ratio);
                // The search ends at a spacing of 0.2 % of the range.
                assert!(best <= error(clipped) * 1.001, "{width} {ratio}");
            }
        }
    }

    #[test]
    fn weights_clip_at_low_bits_only() {
        let weights = bell(4096);
        let whole = weight_range(RangeMethod::MinMax, bits(4), Scheme::SYMMETRIC, &weights);
        let low = weight_range(RangeMethod::Mse, bits(3), Scheme::SYMMETRIC, &weights);
        let high = weight_range(RangeMethod::Mse, bits(16), Scheme::SYMMETRIC, &weights);
        assert!(low.max < 0.8 * whole.max);
        assert!(0.98 * whole.max < high.max);
    }

    #[test]
    fn percentile_cuts_both_ends() {
        let values: Vec<f32> = (0..=1000).map(|i| i as f32 - 500.).collect();
        let mut histogram = Histogram::default();
        histogram.add(&values);
        let range =
            activation_range(RangeMethod::Percentile(90.), bits(8), Scheme::UNSIGNED, &histogram);
        // Bins are 0.8 % wide.
        assert!((range.min + 450.).abs() < 4. && (range.max - 450.).abs() < 4., "{range:?}");
        let weights = weight_range(
            RangeMethod::Percentile(90.),
            bits(8),
            Scheme::SYMMETRIC,
            &[1., -2., 3., 4., 5., 6., 7., 8., 9., -10.],
        );
        assert_eq!(weights.max, 9.);
    }
}
