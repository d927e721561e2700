//! `pearson`: the linear correlation of the network's numbers and the labels, scipy's `pearsonr`.
//!
//! `sum (x - mean x)(y - mean y) / (|x - mean x| |y - mean y|)`; no value where one side is constant or
//! anything is not finite.

use crate::metric::pairs::{self, Pairs};
use crate::metric::{Created, MetricDef, Setup};

pub(super) const PEARSON: MetricDef = pairs::def(NAME, create);

const NAME: &str = "pearson";

fn create(setup: Setup<'_>) -> Created {
    Pairs::create(NAME, correlation, setup)
}

/// NaN if there is none.
pub(super) fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let is_constant = |all: &[f64]| all.iter().all(|&value| value == all[0]);
    if is_constant(x) || is_constant(y) {
        return f64::NAN;
    }
    let [x, y] = [x, y].map(centered);
    let products: f64 = x.iter().zip(&y).map(|(x, y)| x * y).sum();
    products.clamp(-1., 1.)
}

/// Less the mean, and of length 1.
fn centered(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let differences = values.iter().map(|value| value - mean);
    // Scaled before they are squared: squares of huge values would be infinite.
    let largest = differences.clone().map(f64::abs).fold(0., f64::max);
    let scaled: Vec<f64> = differences.map(|difference| difference / largest).collect();
    let length = scaled.iter().map(|x| x * x).sum::<f64>().sqrt();
    scaled.into_iter().map(|x| x / length).collect()
}

#[cfg(test)]
mod tests {
    use crate::data::Label;
    use crate::metric::testing::{numbers, value};
    use crate::tensor::Tensor;

    /// The figures are those of scipy 1.17's `pearsonr`.
    #[test]
    fn correlations() {
        let cases: &[(&[f64], &[f64], Option<f64>)] = &[
            (&[1., 2., 3., 4.5], &[2., 1., 4., 3.], Some(0.562_039_011_517_251_9)),
            (&[1., 2., 3.], &[-2., -4., -6.], Some(-1.)),
            (&[1e200, 2e200, 4e200], &[1., 2., 3.], Some(0.981_980_506_061_965_5)),
            (&[1., 1., 1.], &[1., 2., 3.], None),
            (&[1., 2.], &[0.5, 0.5], None),
            (&[1., f64::NAN, 3.], &[1., 2., 3.], None),
            (&[1., f64::INFINITY, 3.], &[1., 2., 3.], None),
            (&[1.], &[2.], None),
        ];
        for (found, expected, correlation) in cases {
            let pearson = value("pearson", &numbers(found, expected)).unwrap();
            match (pearson, correlation) {
                (Some(a), Some(b)) => assert!((a - b).abs() < 1e-12, "{a}, expected {b}"),
                _ => assert_eq!(pearson, *correlation, "{found:?} {expected:?}"),
            }
        }
    }

    #[test]
    fn refusals() {
        let fails =
            |output: Tensor, label| value("pearson", &[(output, label)]).unwrap_err().to_string();
        let two = Tensor::full(&[1, 2], 0_f32);
        assert_eq!(
            fails(two.clone(), Label::Real(0.)),
            "metric `pearson` found an output of float32 [1, 2], expected one float for one sample"
        );
        let message = "metric `pearson` needs numbers as labels";
        assert_eq!(fails(two, Label::Class(0)), message);
    }
}
