//! `matthews`: Matthews' correlation coefficient of labels and said classes, any number of classes;
//! scikit-learn's `matthews_corrcoef`.
//!
//! `(n right - sum of t p) / sqrt((n^2 - sum of p^2) (n^2 - sum of t^2))` over classes, t of n samples
//! labelled so and p said so; 0 where labels or said classes are all the same. `matthews=0.5` sets the
//! threshold of a network with one output.

use crate::metric::classes::{self, Classified, Count, Counts};
use crate::metric::{Created, MetricDef, Setup, Unit};

pub(super) const MATTHEWS: MetricDef = classes::def(NAME, Unit::Coefficient, create);

const NAME: &str = "matthews";

fn create(setup: Setup<'_>) -> Created {
    Ok(Box::new(Classified::new(NAME, classes::only_threshold(NAME, setup)?, coefficient)))
}

fn coefficient(counts: &Counts) -> f64 {
    let sum = |product: fn(&Count) -> f64| counts.by_class.values().map(product).sum::<f64>();
    let labelled = sum(|count| (count.labelled as f64).powi(2));
    let said = sum(|count| (count.said as f64).powi(2));
    let product = sum(|count| count.labelled as f64 * count.said as f64);
    let n = counts.samples as f64;
    let variance = (n * n - said) * (n * n - labelled);
    if variance == 0. { 0. } else { (n * counts.right as f64 - product) / variance.sqrt() }
}

#[cfg(test)]
mod tests {
    use crate::metric::testing::{labelled, logits, value};

    /// The figures are those of scikit-learn 1.9's `matthews_corrcoef`.
    #[test]
    fn coefficients() {
        let three = labelled(&[0, 1, 2, 2, 1, 0, 2, 1], &[0, 2, 2, 2, 1, 1, 0, 1]);
        let two = logits(&[-1., 2., 3., -4., 0.25], &[0, 1, 0, 1, 1]);
        for (samples, expected) in [
            (three, 0.428_571_428_571_428_55),
            (two, 0.166_666_666_666_666_66),
            (logits(&[1., 1.], &[0, 1]), 0.),
            (logits(&[1., -1.], &[0, 1]), -1.),
        ] {
            let found = value("matthews", &samples).unwrap().unwrap();
            assert!((found - expected).abs() < 1e-12, "{found}, expected {expected}");
        }
    }
}
