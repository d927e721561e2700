//! [`Budget`]: the most that a configuration may cost, as in `--budget weights=4MiB`.

use std::fmt;
use std::str::FromStr;

use crate::cost::Unit;
use crate::search::{CostMetric, Costs};

/// A cost and the most it may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    pub metric: CostMetric,
    pub limit: Amount,
}

/// A cost in one of the two ways that people state it; finite in a parsed [`Budget`].
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

    #[error("budget `{metric}` is `{found}`, expected {}", values(*metric))]
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
            return Ok(Budget { metric: CostMetric::BOPS, limit });
        };
        let metric = CostMetric::find(metric.trim())
            .ok_or_else(|| BudgetError::Metric { found: metric.trim().to_owned() })?;
        let limit = match metric.unit() {
            Unit::Scaled(_) => absolute(metric, value.trim()).or_else(|| fraction(value)),
            Unit::Plain { .. } => absolute(metric, value.trim()),
        };
        let found = || value.trim().to_owned();
        let limit = limit.ok_or_else(|| BudgetError::Value { metric, found: found() })?;
        Ok(Budget { metric, limit })
    }
}

fn fraction(text: &str) -> Option<Amount> {
    let value: f64 = text.trim().parse().ok()?;
    (0. < value && value <= 1.).then_some(Amount::Relative(value))
}

fn absolute(metric: CostMetric, text: &str) -> Option<Amount> {
    match metric.unit() {
        Unit::Scaled(units) => {
            let (number, scale) = units
                .iter()
                .filter_map(|&(unit, scale)| Some((text.strip_suffix(unit)?, scale)))
                .min_by_key(|(number, _)| number.len())?;
            let value = number.trim().parse::<f64>().ok()? * scale;
            (0. < value && value.is_finite()).then_some(Amount::Absolute(value))
        }
        Unit::Plain { most } => {
            let value: f64 = text.parse().ok()?;
            let is_one = value.is_finite() && 0. <= value && value <= most;
            // Adding 0 makes -0 a 0.
            is_one.then_some(Amount::Absolute(value + 0.))
        }
    }
}

/// The shortest text that is read back as `value`.
fn with_unit(metric: CostMetric, value: f64) -> String {
    let Unit::Scaled(units) = metric.unit() else { return value.to_string() };
    let text = |&(unit, scale): &(&str, f64)| format!("{}{unit}", value / scale);
    let texts = units.iter().map(text);
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

/// What a budget for a metric may be.
fn values(metric: CostMetric) -> String {
    match metric.unit() {
        Unit::Scaled(units) => format!(
            "a fraction in (0, 1], or more than 0 with one of the units {}",
            either(units.iter().map(|&(unit, _)| unit))
        ),
        Unit::Plain { most: f64::INFINITY } => "a number from 0 on".to_owned(),
        Unit::Plain { most } => format!("a number from 0 to {most}"),
    }
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

    const BOPS: CostMetric = CostMetric::BOPS;
    const WEIGHTS: CostMetric = CostMetric::WEIGHTS;

    fn metric(name: &str) -> CostMetric {
        CostMetric::find(name).unwrap()
    }

    #[test]
    fn reads() {
        use Amount::{Absolute, Relative};
        for (text, metric, limit) in [
            ("0.6", BOPS, Relative(0.6)),
            ("1", BOPS, Relative(1.)),
            (" 5e-1 ", BOPS, Relative(0.5)),
            ("bops=0.35", BOPS, Relative(0.35)),
            ("weights=0.5", WEIGHTS, Relative(0.5)),
            ("bops=12G", BOPS, Absolute(12e9)),
            ("bops = 1.5 T", BOPS, Absolute(1.5e12)),
            ("bops=640k", BOPS, Absolute(640e3)),
            ("bops=2e3M", BOPS, Absolute(2e9)),
            ("weights=4MiB", WEIGHTS, Absolute(4_194_304.)),
            ("weights=4MB", WEIGHTS, Absolute(4e6)),
            ("weights=0.5KiB", WEIGHTS, Absolute(512.)),
            ("weights=300KB", WEIGHTS, Absolute(300e3)),
            ("weights=300kB", WEIGHTS, Absolute(300e3)),
            ("weights=1GiB", WEIGHTS, Absolute(1_073_741_824.)),
            ("weights=77B", WEIGHTS, Absolute(77.)),
            ("average-bits=6.5", metric("average-bits"), Absolute(6.5)),
            ("activations=2MiB", metric("activations"), Absolute(2_097_152.)),
            ("activations=0.5", metric("activations"), Relative(0.5)),
            ("a16=0.2", metric("a16"), Absolute(0.2)),
            ("a16=0", metric("a16"), Absolute(0.)),
            ("latency=12ms", metric("latency"), Absolute(12.)),
            ("latency=1.5s", metric("latency"), Absolute(1500.)),
            ("latency=0.9", metric("latency"), Relative(0.9)),
            ("conversions=4", metric("conversions"), Absolute(4.)),
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
            (
                "=0.5",
                "budget metric is ``, expected `bops`, `weights`, `average-bits`, `activations`, \
                 `a16`, `latency`, `conversions` or `conversion-cost`",
            ),
            ("average-bits=8b", "budget `average-bits` is `8b`, expected a number from 0 to 32"),
            ("a16=1.5", "budget `a16` is `1.5`, expected a number from 0 to 1"),
            ("conversions=-1", "budget `conversions` is `-1`, expected a number from 0 on"),
            ("conversions=inf", "budget `conversions` is `inf`, expected a number from 0 on"),
            (
                "latency=12",
                "budget `latency` is `12`, expected a fraction in (0, 1], or more than 0 with one \
                 of the units `ns`, `us`, `ms` or `s`",
            ),
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
            ("latency=1500us", "latency=1.5ms"),
            ("average-bits=6.50", "average-bits=6.5"),
        ] {
            assert_eq!(text.parse::<Budget>().unwrap().to_string(), shortest);
        }
        for value in [1., 3., 1_000_001., 1e15 + 1., 0.1] {
            let budget = Budget { metric: WEIGHTS, limit: Amount::Absolute(value) };
            assert_eq!(budget.to_string().parse(), Ok(budget));
        }
    }

    #[test]
    fn fractions_are_compared_as_ratios() {
        let full = Costs::from([(BOPS, 100.)]);
        // 0.29 * 100 is less than 29, so the limit is not made absolute.
        let budget: Budget = "0.29".parse().unwrap();
        assert!(budget.is_met(&Costs::from([(BOPS, 29.)]), &full));
        assert!(!budget.is_met(&Costs::from([(BOPS, 29.5)]), &full));
    }

    #[test]
    fn a_network_without_cost_meets_every_fraction() {
        let nothing = Costs::from([(BOPS, 0.)]);
        assert!("0.1".parse::<Budget>().unwrap().is_met(&nothing, &nothing));
    }
}
