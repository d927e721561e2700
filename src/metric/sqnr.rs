//! Signal-to-quantization-noise ratio, in decibels.
//!
//! Powers are per sample: the mean over the elements of an output of their squares, F the float
//! output and Q the quantized one: `signal = mean(F^2)`, `noise = mean((F - Q)^2)`. Sums are in f64,
//! in 16 lanes in a fixed order. Several outputs are averaged by noise-to-signal ratio. Without any
//! noise the ratio has no value: `None`, which sorts before every number.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use crate::tensor::{DType, Element, Tensor};

/// How the powers of many samples become one ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregation {
    /// `10 log10(sum of signal / sum of noise)`
    Pooled,
    /// `10 log10(mean of signal / noise)`; samples without noise are left out
    Mean,
    /// `mean of 10 log10(signal / noise)`; samples without noise are left out
    Db,
}

impl fmt::Display for Aggregation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Aggregation::Pooled => "pooled",
            Aggregation::Mean => "mean",
            Aggregation::Db => "db",
        })
    }
}

impl FromStr for Aggregation {
    type Err = SqnrError;

    fn from_str(text: &str) -> Result<Aggregation, SqnrError> {
        match text {
            "pooled" => Ok(Aggregation::Pooled),
            "mean" => Ok(Aggregation::Mean),
            "db" => Ok(Aggregation::Db),
            _ => Err(SqnrError::Aggregation { found: text.to_owned() }),
        }
    }
}

/// Why there is no ratio.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SqnrError {
    #[error("found `{found}`, expected `pooled`, `mean` or `db`")]
    Aggregation { found: String },

    #[error("there is no output or no sample to take the ratio of")]
    Nothing,

    /// Positions, because names are the caller's; `sample` if it is one alone.
    #[error("output {output} is zero everywhere{}", Sample(sample))]
    NoSignal { output: usize, sample: Option<usize> },

    #[error("output {output} of sample {sample} has values that are not finite")]
    NotFinite { output: usize, sample: usize },
}

struct Sample<'a>(&'a Option<usize>);

impl fmt::Display for Sample<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |sample| write!(f, " in sample {sample}"))
    }
}

/// The powers of one output, one for each sample.
#[derive(Debug, Clone, Copy)]
pub struct Powers<'a> {
    pub signal: &'a [f64],
    pub noise: &'a [f64],
}

/// The ratio over all samples and outputs, `None` without any noise.
///
/// # Panics
/// If the numbers of samples differ.
pub fn sqnr_db(aggregation: Aggregation, outputs: &[Powers<'_>]) -> Result<Option<f64>, SqnrError> {
    check(outputs)?;
    match aggregation {
        Aggregation::Pooled => {
            let ratios = outputs.iter().enumerate().map(|(output, powers)| {
                let ratio = noise_to_signal(powers.noise.iter().sum(), powers.signal.iter().sum());
                ratio.ok_or(SqnrError::NoSignal { output, sample: None })
            });
            let ratios = ratios.collect::<Result<Vec<f64>, _>>()?;
            Ok(decibels(mean(&ratios)))
        }
        Aggregation::Mean => {
            let ratios: Vec<f64> =
                noisy_samples(outputs)?.iter().map(|ratio| ratio.recip()).collect();
            Ok((!ratios.is_empty()).then(|| 10. * mean(&ratios).log10()))
        }
        Aggregation::Db => {
            let ratios: Vec<f64> =
                noisy_samples(outputs)?.into_iter().filter_map(decibels).collect();
            Ok((!ratios.is_empty()).then(|| mean(&ratios)))
        }
    }
}

fn check(outputs: &[Powers<'_>]) -> Result<(), SqnrError> {
    let samples = outputs.first().map_or(0, |powers| powers.signal.len());
    if samples == 0 {
        return Err(SqnrError::Nothing);
    }
    for (output, powers) in outputs.iter().enumerate() {
        assert_eq!(powers.signal.len(), samples, "a signal power for each sample");
        assert_eq!(powers.noise.len(), samples, "a noise power for each sample");
        let finite = powers.signal.iter().zip(powers.noise).map(|(s, n)| (s + n).is_finite());
        if let Some(sample) = finite.into_iter().position(|finite| !finite) {
            return Err(SqnrError::NotFinite { output, sample });
        }
        if powers.signal.iter().sum::<f64>() <= 0. {
            return Err(SqnrError::NoSignal { output, sample: None });
        }
    }
    Ok(())
}

/// The noise-to-signal ratio of every sample that has noise, the mean over the outputs.
fn noisy_samples(outputs: &[Powers<'_>]) -> Result<Vec<f64>, SqnrError> {
    let mut ratios = Vec::new();
    for sample in 0..outputs[0].signal.len() {
        let of_outputs = outputs.iter().enumerate().map(|(output, powers)| {
            let ratio = noise_to_signal(powers.noise[sample], powers.signal[sample]);
            ratio.ok_or(SqnrError::NoSignal { output, sample: Some(sample) })
        });
        ratios.push(mean(&of_outputs.collect::<Result<Vec<f64>, _>>()?));
    }
    ratios.retain(|&ratio| ratio > 0.);
    Ok(ratios)
}

/// `None` if there is noise without a signal.
fn noise_to_signal(noise: f64, signal: f64) -> Option<f64> {
    match (noise > 0., signal > 0.) {
        (false, _) => Some(0.),
        (true, true) => Some(noise / signal),
        (true, false) => None,
    }
}

fn decibels(noise_to_signal: f64) -> Option<f64> {
    (noise_to_signal > 0.).then(|| -10. * noise_to_signal.log10())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The order of a sensitivity list: the largest ratio first, `None` before all.
pub fn descending(a: Option<f64>, b: Option<f64>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => b.total_cmp(&a),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// `mean(x^2)`, 0 of nothing; `None` if `x` is not of a float type. A NaN gives NaN.
pub fn mean_square(x: &Tensor) -> Option<f64> {
    match x.dtype() {
        DType::F32 => Some(mean_of(x.slice::<f32>(), |x| square(f64::from(x)))),
        DType::F64 => Some(mean_of(x.slice::<f64>(), square)),
        DType::F16 => Some(mean_of(x.slice::<f16>(), |x| square(x.to_f64()))),
        DType::BF16 => Some(mean_of(x.slice::<bf16>(), |x| square(x.to_f64()))),
        _ => None,
    }
}

/// `mean((a - b)^2)`; `None` if the types differ, or are not float. A NaN gives NaN.
pub fn mean_square_difference(a: &Tensor, b: &Tensor) -> Option<f64> {
    if a.ty() != b.ty() {
        return None;
    }
    match a.dtype() {
        DType::F32 => Some(mean_of_pairs(a, b, |a: f32, b| f64::from(a) - f64::from(b))),
        DType::F64 => Some(mean_of_pairs(a, b, |a: f64, b| a - b)),
        DType::F16 => Some(mean_of_pairs(a, b, |a: f16, b| a.to_f64() - b.to_f64())),
        DType::BF16 => Some(mean_of_pairs(a, b, |a: bf16, b| a.to_f64() - b.to_f64())),
        _ => None,
    }
}

fn square(x: f64) -> f64 {
    x * x
}

const LANES: usize = 16;

fn mean_of<T: Element>(values: &[T], term: impl Fn(T) -> f64) -> f64 {
    let mut lanes = [0.; LANES];
    for chunk in values.chunks(LANES) {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &x)| *lane += term(x));
    }
    lanes.iter().sum::<f64>() / values.len().max(1) as f64
}

fn mean_of_pairs<T: Element>(a: &Tensor, b: &Tensor, difference: impl Fn(T, T) -> f64) -> f64 {
    let (a, b) = (a.slice::<T>(), b.slice::<T>());
    let mut lanes = [0.; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        let pairs = lanes.iter_mut().zip(a.iter().zip(b));
        pairs.for_each(|(lane, (&a, &b))| *lane += square(difference(a, b)));
    }
    lanes.iter().sum::<f64>() / a.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signal and noise powers.
    type Output = (&'static [f64], &'static [f64]);

    fn ratio(text: &str, outputs: &[Output]) -> Result<Option<f64>, SqnrError> {
        let outputs: Vec<Powers<'_>> =
            outputs.iter().map(|&(signal, noise)| Powers { signal, noise }).collect();
        sqnr_db(text.parse()?, &outputs)
    }

    #[test]
    fn aggregations() {
        // Ratios of 10 and 1000; pooled, 11 / 0.11.
        let one: &[Output] = &[(&[1., 10.], &[0.1, 0.01])];
        let some: &[Output] = &[(&[1., 10.], &[0.1, 0.])];
        let none: &[Output] = &[(&[1., 10.], &[0., 0.])];
        let two: &[Output] = &[(&[1.], &[0.01]), (&[4.], &[0.12])];
        let cases = [
            ("pooled", one, Some(20.)),
            ("mean", one, Some(10. * 505_f64.log10())),
            ("db", one, Some(20.)),
            ("pooled", some, Some(10. * 110_f64.log10())),
            ("mean", some, Some(10.)),
            ("db", some, Some(10.)),
            ("pooled", none, None),
            ("mean", none, None),
            ("db", none, None),
            ("pooled", two, Some(-10. * 0.02_f64.log10())),
            ("mean", two, Some(-10. * 0.02_f64.log10())),
            ("db", two, Some(-10. * 0.02_f64.log10())),
        ];
        for (text, outputs, expected) in cases {
            let found = ratio(text, outputs).unwrap();
            let close = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() < 1e-9,
                (found, expected) => found == expected,
            };
            assert!(close, "{text} {outputs:?}: {found:?}, expected {expected:?}");
        }
    }

    #[test]
    fn refusals() {
        let cases: &[(&str, &[Output], &str)] = &[
            ("pooled", &[], "there is no output or no sample to take the ratio of"),
            ("pooled", &[(&[], &[])], "there is no output or no sample to take the ratio of"),
            ("pooled", &[(&[0., 0.], &[1., 1.])], "output 0 is zero everywhere"),
            ("db", &[(&[0., 1.], &[1., 1.])], "output 0 is zero everywhere in sample 0"),
            (
                "mean",
                &[(&[1., 1.], &[1., f64::NAN])],
                "output 0 of sample 1 has values that are not finite",
            ),
            ("median", &[], "found `median`, expected `pooled`, `mean` or `db`"),
        ];
        for (text, outputs, message) in cases {
            assert_eq!(&ratio(text, outputs).unwrap_err().to_string(), message);
        }
        assert!(ratio("pooled", &[(&[0., 1.], &[1., 1.])]).is_ok());
    }

    #[test]
    fn powers() {
        let a = Tensor::from_vec(&[3], vec![1_f32, 2., -3.]);
        let b = Tensor::from_vec(&[3], vec![1_f32, 0., -2.]);
        assert_eq!(mean_square(&a), Some(14. / 3.));
        assert_eq!(mean_square_difference(&a, &b), Some(5. / 3.));
        assert_eq!(mean_square_difference(&a, &Tensor::scalar(1_f32)), None);
        assert_eq!(mean_square(&Tensor::scalar(1_i64)), None);
        let ramp: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        let expected = (0..1000).map(|i| f64::from(i * i)).sum::<f64>() / 1e3;
        assert_eq!(mean_square(&Tensor::from_vec(&[1000], ramp)), Some(expected));
    }

    #[test]
    fn noiseless_first() {
        let mut values = [Some(1.), None, Some(3.)];
        values.sort_by(|&a, &b| descending(a, b));
        assert_eq!(values, [None, Some(3.), Some(1.)]);
    }
}
