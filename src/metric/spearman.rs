//! `spearman`: the correlation of the ranks of the network's numbers and of the labels, scipy's
//! `spearmanr`; equal numbers have the mean of their ranks.
//!
//! No value where one side is constant or has a NaN.

use crate::metric::pairs::{self, Pairs};
use crate::metric::pearson::correlation;
use crate::metric::{Created, MetricDef, Setup};

pub(super) const SPEARMAN: MetricDef = pairs::def(NAME, create);

const NAME: &str = "spearman";

fn create(setup: Setup<'_>) -> Created {
    Pairs::create(NAME, |x, y| correlation(&ranks(x), &ranks(y)), setup)
}

/// From 1; all NaN if one of the values is.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut ranks = vec![f64::NAN; values.len()];
    if values.iter().any(|value| value.is_nan()) {
        return ranks;
    }
    let mut order: Vec<usize> = (0..values.len()).collect();
    // Not `total_cmp`, to which -0 and 0 are not equal.
    order.sort_by(|&a, &b| values[a].partial_cmp(&values[b]).expect("none is NaN"));
    let mut before = 0;
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let mean = before as f64 + (equal.len() as f64 + 1.) / 2.;
        equal.iter().for_each(|&index| ranks[index] = mean);
        before += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::testing::{numbers, value};

    #[test]
    fn equal_numbers_share_their_ranks() {
        assert_eq!(ranks(&[3., 1., 3., -0., 0.]), [4.5, 3., 4.5, 1.5, 1.5]);
        assert!(ranks(&[1., f64::NAN]).iter().all(|rank| rank.is_nan()));
    }

    /// The figures are those of scipy 1.17's `spearmanr`.
    #[test]
    fn correlations() {
        let cases: &[(&[f64], &[f64], Option<f64>)] = &[
            (&[1., 2., 3., 4.5], &[2., 1., 4., 3.], Some(0.6)),
            (&[1., 1., 3., 4., 4., 4.], &[0.5, 2., 2., -1., 7., 9.], Some(0.328_767_752_819_703_5)),
            (&[1., f64::INFINITY, 3.], &[1., 2., 3.], Some(0.5)),
            (&[1., 1.], &[1., 2.], None),
            (&[1., f64::NAN], &[1., 2.], None),
        ];
        for (found, expected, correlation) in cases {
            let spearman = value("spearman", &numbers(found, expected)).unwrap();
            match (spearman, correlation) {
                (Some(a), Some(b)) => assert!((a - b).abs() < 1e-12, "{a}, expected {b}"),
                _ => assert_eq!(spearman, *correlation, "{found:?} {expected:?}"),
            }
        }
    }
}
