//! [`Budget`]: the most that a configuration may cost, as in `--budget weights=4MiB`.

use std::fmt;
use std::str::FromStr;

use crate::search::{CostMetric, Costs};

/// A cost and the most it may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    pub metric: CostMetric,
    pub limit: Amount,
}

/// A cost in one of the two ways that people state it; positive and finite in a parsed [`Budget`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// Fraction of the cost at the uniform most precise candidate.
    Relative(f64),
    /// In the metric's own unit.
    Absolute(f64),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    #[error("budget metric is `{found}`, expected {}", metric_names())]
    Metric { found: String },

    #[error(
        "budget is `{found}`, expected a fraction in (0, 1], or a metric and a value with a unit \
         such as `bops=12G` or `weights=4MiB`"
    )]
    Bare { found: String },

    #[error(
        "budget `{metric}` is `{found}`, expected a fraction in (0, 1], or more than 0 with one of \
         the units {}", unit_names(*metric)
    )]
    Value { metric: CostMetric, found: String },
}

impl Budget {
    /// What a configuration costs in the terms of this budget, given what the uniform most precise
    /// one costs; `None` where the metric is unknown.
    pub fn used(&self, costs: &Costs, full: &Costs) -> Option<Amount> {
        let cost = costs.get(self.metric)?;
        match self.limit {
            Amount::Absolute(_) => Some(Amount::Absolute(cost)),
            Amount::Relative(_) if cost == 0. => Some(Amount::Relative(0.)),
            Amount::Relative(_) => Some(Amount::Relative(cost / full.get(self.metric)?)),
        }
    }

    /// `false` where the metric is unknown.
    pub fn is_met(&self, costs: &Costs, full: &Costs) -> bool {
        self.used(costs, full).is_some_and(|used| used.value() <= self.limit.value())
    }
}

impl Amount {
    /// The number, whatever it is relative to.
    pub fn value(self) -> f64 {
        match self {
            Amount::Relative(value) | Amount::Absolute(value) => value,
        }
    }
}

/// What `--budget` accepts, and the form [`Budget::from_str`] reads back.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Amount::Relative(fraction) => write!(f, "{}={fraction}", self.metric),
            Amount::Absolute(value) => {
                write!(f, "{}={}", self.metric, with_unit(self.metric, value))
            }
        }
    }
}

impl FromStr for Budget {
    type Err = BudgetError;

    fn from_str(text: &str) -> Result<Budget, BudgetError> {
        let Some((metric, value)) = text.split_once('=') else {
            let limit =
                fraction(text).ok_or_else(|| BudgetError::Bare { found: text.to_owned() })?;
            return Ok(Budget { metric: CostMetric::Bops, limit });
        };
        let metric = CostMetric::find(metric.trim())
            .ok_or_else(|| BudgetError::Metric { found: metric.trim().to_owned() })?;
        let limit = absolute(metric, value.trim())
            .or_else(|| fraction(value))
            .ok_or_else(|| BudgetError::Value { metric, found: value.trim().to_owned() })?;
        Ok(Budget { metric, limit })
    }
}

fn fraction(text: &str) -> Option<Amount> {
    let value: f64 = text.trim().parse().ok()?;
    (0. < value && value <= 1.).then_some(Amount::Relative(value))
}

fn absolute(metric: CostMetric, text: &str) -> Option<Amount> {
    let units = metric.units().iter();
    let (number, scale) = units
        .filter_map(|&(unit, scale)| Some((text.strip_suffix(unit)?, scale)))
        .min_by_key(|(number, _)| number.len())?;
    let value = number.trim().parse::<f64>().ok()? * scale;
    (0. < value && value.is_finite()).then_some(Amount::Absolute(value))
}

/// The shortest text that is read back as `value`.
fn with_unit(metric: CostMetric, value: f64) -> String {
    let text = |&(unit, scale): &(&str, f64)| format!("{}{unit}", value / scale);
    let texts = metric.units().iter().map(text);
    texts
        .clone()
        .filter(|text| absolute(metric, text) == Some(Amount::Absolute(value)))
        .min_by_key(String::len)
        .or_else(|| texts.min_by_key(String::len))
        .unwrap_or_else(|| value.to_string())
}

fn metric_names() -> String {
    either(CostMetric::ALL.iter().map(|metric| metric.name()))
}

fn unit_names(metric: CostMetric) -> String {
    either(metric.units().iter().map(|&(unit, _)| unit))
}

fn either(names: impl Iterator<Item = &'static str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::CostMetric::{Bops, Weights};

    #[test]
    fn reads() {
        use Amount::{Absolute, Relative};
        for (text, metric, limit) in [
            ("0.6", Bops, Relative(0.6)),
            ("1", Bops, Relative(1.)),
            (" 5e-1 ", Bops, Relative(0.5)),
            ("bops=0.35", Bops, Relative(0.35)),
            ("weights=0.5", Weights, Relative(0.5)),
            ("bops=12G", Bops, Absolute(12e9)),
            ("bops = 1.5 T", Bops, Absolute(1.5e12)),
            ("bops=640k", Bops, Absolute(640e3)),
            ("bops=2e3M", Bops, Absolute(2e9)),
            ("weights=4MiB", Weights, Absolute(4_194_304.)),
            ("weights=4MB", Weights, Absolute(4e6)),
            ("weights=0.5KiB", Weights, Absolute(512.)),
            ("weights=300KB", Weights, Absolute(300e3)),
            ("weights=300kB", Weights, Absolute(300e3)),
            ("weights=1GiB", Weights, Absolute(1_073_741_824.)),
            ("weights=77B", Weights, Absolute(77.)),
        ] {
            assert_eq!(text.parse(), Ok(Budget { metric, limit }), "{text}");
        }
    }

    #[test]
    fn refuses_bare_numbers_that_are_no_fraction() {
        let found = ["0", "-0.5", "1.5", "NaN", "inf", "1e-400", "", "12G", "4MiB", "60%", "half"];
        for found in found {
            let message = format!(
                "budget is `{found}`, expected a fraction in (0, 1], or a metric and a value with \
                 a unit such as `bops=12G` or `weights=4MiB`"
            );
            assert_eq!(found.parse::<Budget>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn refuses_values() {
        for found in ["0", "0G", "-1G", "NaNG", "infG", "1e400G", "64000", "12Q", "G", "", "12 g"] {
            let message = format!(
                "budget `bops` is `{found}`, expected a fraction in (0, 1], or more than 0 with \
                 one of the units `k`, `M`, `G` or `T`"
            );
            let error = format!("bops={found}").parse::<Budget>().unwrap_err();
            assert_eq!(error.to_string(), message);
        }
        for (text, message) in [
            (
                "weights=4M",
                "budget `weights` is `4M`, expected a fraction in (0, 1], or more than 0 with one \
                 of the units `B`, `kB`, `KB`, `MB`, `GB`, `TB`, `KiB`, `MiB`, `GiB` or `TiB`",
            ),
            ("speed=2", "budget metric is `speed`, expected `bops` or `weights`"),
            ("=0.5", "budget metric is ``, expected `bops` or `weights`"),
        ] {
            assert_eq!(text.parse::<Budget>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn text_round_trips_in_its_shortest_form() {
        for (text, shortest) in [
            ("0.6", "bops=0.6"),
            ("bops=12000M", "bops=12G"),
            ("bops=0.64M", "bops=640k"),
            ("weights=4096KiB", "weights=4MiB"),
            ("weights=4000KB", "weights=4MB"),
            ("weights=123B", "weights=123B"),
        ] {
            assert_eq!(text.parse::<Budget>().unwrap().to_string(), shortest);
        }
        for value in [1., 3., 1_000_001., 1e15 + 1., 0.1] {
            let budget = Budget { metric: Weights, limit: Amount::Absolute(value) };
            assert_eq!(budget.to_string().parse(), Ok(budget));
        }
    }

    #[test]
    fn fractions_are_compared_as_ratios() {
        let full = Costs::from([(Bops, 100.)]);
        // 0.29 * 100 is less than 29, so the limit is not made absolute.
        let budget: Budget = "0.29".parse().unwrap();
        assert!(budget.is_met(&Costs::from([(Bops, 29.)]), &full));
        assert!(!budget.is_met(&Costs::from([(Bops, 29.5)]), &full));
    }

    #[test]
    fn a_network_without_cost_meets_every_fraction() {
        let nothing = Costs::from([(Bops, 0.)]);
        assert!("0.1".parse::<Budget>().unwrap().is_met(&nothing, &nothing));
    }
}
