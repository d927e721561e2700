//! [`QualityGoal`]: how good a configuration has to be; [`Missed`]: that none is.

use std::fmt;

use crate::search::Quality;
use crate::search::probe::sqnr;

/// The least quality that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub enum QualityGoal {
    /// A measured SQNR of at least this.
    Sqnr { least_db: f64 },
    /// A metric that is at most `most` below what the float network has, in the metric's own unit.
    Drop { metric: String, float: f64, most: f64 },
}

/// A difference of two parts of the samples is rounded; no metric is told to so many digits.
const SLACK: f64 = 1e-9;

impl QualityGoal {
    /// The value that counts, more is better: infinite without any noise, minus infinity where the
    /// metric has no value.
    pub fn value(&self, quality: &Quality) -> f64 {
        match self {
            QualityGoal::Sqnr { .. } => sqnr(quality.sqnr_db),
            QualityGoal::Drop { metric, .. } => {
                let mut metrics = quality.metrics.iter();
                let value = metrics.find(|(name, _)| name == metric).map(|&(_, value)| value);
                value.filter(|value| !value.is_nan()).unwrap_or(f64::NEG_INFINITY)
            }
        }
    }

    /// The least value that meets it.
    pub fn wanted(&self) -> f64 {
        match *self {
            QualityGoal::Sqnr { least_db } => least_db,
            QualityGoal::Drop { float, most, .. } => float - most - SLACK,
        }
    }

    pub fn is_met(&self, quality: &Quality) -> bool {
        self.wanted() <= self.value(quality)
    }
}

/// The goal in words.
impl fmt::Display for QualityGoal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QualityGoal::Sqnr { least_db } => write!(f, "an SQNR of at least {least_db} dB"),
            QualityGoal::Drop { metric, float, most } => {
                write!(f, "`{metric}` at most {most} below the {float} of the float network")
            }
        }
    }
}

/// A goal that the most precise configuration misses.
#[derive(Debug, Clone, PartialEq)]
pub struct Missed {
    pub goal: QualityGoal,
    /// What that configuration has.
    pub best: f64,
    /// Whether budgets ruled out more precise ones.
    pub is_budgeted: bool,
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = if self.is_budgeted { " within the budgets" } else { "" };
        let Missed { goal, best, .. } = self;
        write!(f, "{goal} cannot be reached: the most precise configuration{within} has ")?;
        match goal {
            QualityGoal::Sqnr { .. } => write!(f, "{best:.2} dB"),
            QualityGoal::Drop { .. } if *best == f64::NEG_INFINITY => f.write_str("no value"),
            QualityGoal::Drop { float, .. } => {
                write!(f, "{}, {} below", rounded(*best), rounded(float - best))
            }
        }
    }
}

/// Six decimals, without zeros at the end.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quality(sqnr_db: Option<f64>, top1: Option<f64>) -> Quality {
        let metrics = top1.map(|top1| ("top1".to_owned(), top1)).into_iter().collect();
        Quality { sqnr_db, metrics }
    }

    #[test]
    fn an_sqnr_is_met_from_its_least_on_and_without_noise() {
        let goal = QualityGoal::Sqnr { least_db: 20. };
        for (sqnr_db, is_met) in
            [(Some(20.), true), (Some(19.999), false), (None, true), (Some(f64::NAN), false)]
        {
            assert_eq!(goal.is_met(&quality(sqnr_db, None)), is_met, "{sqnr_db:?}");
        }
    }

    #[test]
    fn a_drop_counts_samples_exactly() {
        // 0.834 - 0.824 is more than 0.01 in binary.
        let goal = QualityGoal::Drop { metric: "top1".to_owned(), float: 0.834, most: 0.01 };
        for (top1, is_met) in
            [(Some(0.824), true), (Some(0.822), false), (Some(0.9), true), (None, false)]
        {
            assert_eq!(goal.is_met(&quality(None, top1)), is_met, "{top1:?}");
        }
    }

    #[test]
    fn what_cannot_be_reached_says_what_can() {
        let sqnr = QualityGoal::Sqnr { least_db: 50. };
        let drop = QualityGoal::Drop { metric: "top1".to_owned(), float: 0.9, most: 0.01 };
        for (goal, best, is_budgeted, message) in [
            (
                &sqnr,
                37.641,
                false,
                "an SQNR of at least 50 dB cannot be reached: the most precise configuration has \
                 37.64 dB",
            ),
            (
                &drop,
                0.87,
                true,
                "`top1` at most 0.01 below the 0.9 of the float network cannot be reached: the most \
                 precise configuration within the budgets has 0.87, 0.03 below",
            ),
        ] {
            let missed = Missed { goal: goal.clone(), best, is_budgeted };
            assert_eq!(missed.to_string(), message);
        }
    }
}
