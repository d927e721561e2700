//! [`Series`]: one quality of all points, of the uniform candidates and of the result.

use crate::artifact::{Config, Measured, Quality};
use crate::metric::{self, Unit};
use crate::report::document::Report;
use crate::report::evaluation::cell;
use crate::report::number::decibels;

/// A quality over cost. Infinite is no noise, `None` is unknown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    /// With its unit.
    pub(super) name: String,
    /// By point.
    pub(super) predicted: Vec<Option<f64>>,
    pub(super) measured: Vec<Option<f64>>,
    pub(super) baselines: Vec<Mark>,
    pub(super) chosen: Option<Mark>,
    /// The least that was asked for.
    pub(super) least: Option<f64>,
}

/// A configuration beside the curve.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    pub(super) name: String,
    pub(super) cost: f64,
    pub(super) value: f64,
    pub(super) is_measured: bool,
    pub(super) title: String,
}

/// Metrics that anything was measured in, the result's first.
pub(super) fn metrics(config: &Config) -> Vec<&str> {
    let of_points = config.curve.iter().filter_map(|point| point.measured.as_ref());
    let all = std::iter::once(&config.quality.metrics)
        .chain(config.baselines.iter().map(|baseline| &baseline.quality.metrics))
        .chain(of_points.map(|measured| &measured.metrics));
    let mut names = Vec::new();
    for (name, _) in all.flat_map(|metrics| metrics.iter()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Infinite where there is no noise.
fn noise(sqnr_db: Option<f64>) -> f64 {
    sqnr_db.unwrap_or(f64::INFINITY)
}

impl Series {
    /// That of the SQNR, then one for each metric. `x` is the cost that is drawn.
    pub(super) fn all(report: &Report<'_>, x: fn(u64, Option<f64>) -> f64) -> Vec<Series> {
        let config = report.config;
        let goal = |metric: &str| {
            let mut goals = config.goal.requested.iter();
            goals.find(|goal| goal.metric == metric).and_then(|goal| goal.absolute)
        };
        let measured = |found: &Measured| noise(found.sqnr_db);
        let sqnr = |quality: &Quality| match report.is_measured {
            true => Some((noise(quality.sqnr_db), true)),
            false => Some((noise(quality.predicted_sqnr_db), false)),
        };
        let mut all = vec![Series {
            name: "SQNR, dB".to_owned(),
            predicted: config.curve.iter().map(|p| Some(noise(p.predicted_sqnr_db))).collect(),
            measured: config.curve.iter().map(|p| p.measured.as_ref().map(measured)).collect(),
            baselines: baselines(config, x, &sqnr, "SQNR"),
            chosen: chosen(config, x, &sqnr, "SQNR"),
            least: goal("sqnr_db"),
        }];
        for name in metrics(config) {
            let is_fraction = metric::find(name).is_ok_and(|(def, _)| def.unit == Unit::Fraction);
            let factor = if is_fraction { 100. } else { 1. };
            let value = |metrics: &crate::artifact::Ordered<f64>| Some(factor * metrics.get(name)?);
            let of = |quality: &Quality| Some((value(&quality.metrics)?, true));
            let found = |p: &crate::artifact::CurvePoint| value(&p.measured.as_ref()?.metrics);
            all.push(Series {
                name: if is_fraction { format!("{name}, %") } else { name.to_owned() },
                predicted: Vec::new(),
                measured: config.curve.iter().map(found).collect(),
                baselines: baselines(config, x, &of, name),
                chosen: chosen(config, x, &of, name),
                least: goal(&format!("{name}_drop")).and_then(|most| {
                    let drop =
                        config.goal.achieved.iter().find(|a| a.metric == format!("{name}_drop"))?;
                    let float = config.quality.metrics.get(name)? + drop.absolute?;
                    Some(factor * (float - most))
                }),
            });
        }
        all
    }

    /// All finite values.
    pub(super) fn values(&self) -> impl Iterator<Item = f64> {
        self.all_values().filter(|value| value.is_finite())
    }

    pub(super) fn has_infinite(&self) -> bool {
        self.all_values().any(f64::is_infinite)
    }

    fn all_values(&self) -> impl Iterator<Item = f64> {
        let points = self.predicted.iter().chain(&self.measured).copied().flatten();
        let marks = self.baselines.iter().chain(&self.chosen).map(|mark| mark.value);
        points.chain(marks).chain(self.least)
    }
}

type Of<'a> = &'a dyn Fn(&Quality) -> Option<(f64, bool)>;
type X = fn(u64, Option<f64>) -> f64;

fn baselines(config: &Config, x: X, of: Of<'_>, metric: &str) -> Vec<Mark> {
    let mark = |baseline: &crate::artifact::Baseline| {
        let (value, is_measured) = of(&baseline.quality)?;
        let name = baseline.candidate.to_string();
        let title = format!("uniform {name}\n{}", told(&baseline.quality, metric, is_measured));
        let cost = x(baseline.cost.bops, baseline.cost.relative_bops);
        Some(Mark { name, cost, value, is_measured, title })
    };
    config.baselines.iter().filter_map(mark).collect()
}

fn chosen(config: &Config, x: X, of: Of<'_>, metric: &str) -> Option<Mark> {
    let (value, is_measured) = of(&config.quality)?;
    let point = config.chosen_point.map(|at| format!(", point {at}")).unwrap_or_default();
    let title = format!("chosen{point}\n{}", told(&config.quality, metric, is_measured));
    let cost = x(config.cost.bops, config.cost.relative_bops);
    Some(Mark { name: "chosen".to_owned(), cost, value, is_measured, title })
}

fn told(quality: &Quality, metric: &str, is_measured: bool) -> String {
    if metric != "SQNR" {
        return format!("{metric} {}", cell(metric, quality.metrics.get(metric).copied()));
    }
    let predicted = format!("predicted {}", decibels(quality.predicted_sqnr_db));
    if is_measured { format!("SQNR {}, {predicted}", decibels(quality.sqnr_db)) } else { predicted }
}
