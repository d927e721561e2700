//! Quality goals of `mpq search`: what is wanted, how it is looked for, and what it is measured on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use mpq::metric::{self, Unit};
use mpq::onnx;
use mpq::pipeline::{Preparation, Scorer, evaluable, input_specs};
use mpq::search::{Goal, PROBES, Probe, QualityGoal, Strategy, expect_probed};

use crate::cli::Ui;
use crate::cli::flags::{Defaults, MetricArgs, Subject};
use crate::cli::phase1::MeasureArgs;

#[derive(Debug, clap::Args)]
pub(super) struct QualityArgs {
    /// The least SQNR it may have, in dB; needs no labels
    ///
    /// The result is the point of the strategy's curve that was measured and has it, while the next
    /// cheaper one was measured and has less. With budgets, it is within them as well.
    #[arg(long, value_name = "DB", value_parser = decibels, allow_hyphen_values = true, conflicts_with = "max_drop")]
    min_sqnr: Option<f64>,

    /// The most --metric may lose on --val, such as 0.01 or 1%
    ///
    /// Against the float network, in the metric's own unit: 0.01 or 1% is one point of top-1.
    #[arg(long, value_name = "X", requires = "val", allow_hyphen_values = true)]
    max_drop: Option<Drop>,

    /// How to find the point of a quality [default: hybrid]
    ///
    /// sequential measures one point after the other, binary the middle of what is left,
    /// interpolation where the predicted SQNR says that the goal is, hybrid interpolates while
    /// bisection can still end within two measurements more than it takes alone.
    #[arg(long, value_name = "NAME", value_parser = probe)]
    probe: Option<&'static Probe>,

    /// Inputs that metrics are measured on, as for --calib
    ///
    /// All of them, whatever --samples says. The default metric is top1 with --max-drop.
    #[arg(long, value_name = "PATH")]
    val: Vec<PathBuf>,

    #[command(flatten)]
    judged: MetricArgs,
}

/// Where probing takes place if no flag says otherwise.
const DEFAULT_PROBE: &str = "hybrid";

fn probe(name: &str) -> Result<&'static Probe, String> {
    let names = || PROBES.iter().map(|probe| format!("`{}`", probe.name)).collect::<Vec<_>>();
    Probe::find(name).ok_or_else(|| format!("probe is `{name}`, expected {}", names().join(", ")))
}

fn decibels(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| format!("found `{text}`, expected a number of decibels, such as 20"))
}

/// A difference of a metric, in its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Drop {
    value: f64,
    is_percent: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("found `{found}`, expected a number, at least 0, or a percentage, such as 0.01 or 1%")]
struct DropError {
    found: String,
}

impl FromStr for Drop {
    type Err = DropError;

    fn from_str(text: &str) -> Result<Drop, DropError> {
        let (number, scale) = match text.strip_suffix('%') {
            Some(number) => (number, 100.),
            None => (text, 1.),
        };
        let value = number.trim().parse::<f64>().ok().map(|value| value / scale);
        let value = value.filter(|value| value.is_finite() && 0. <= *value);
        let drop = value.map(|value| Drop { value, is_percent: scale != 1. });
        drop.ok_or_else(|| DropError { found: text.to_owned() })
    }
}

/// What configurations are made for, besides what metrics look at.
pub(super) struct Validated<'a> {
    /// The tensors whose SQNR counts, where they are not the network's outputs.
    pub(super) compared: &'a [String],
    pub(super) dims: &'a BTreeMap<String, usize>,
    pub(super) preparation: Preparation,
}

impl QualityArgs {
    /// Takes the probe of an earlier result unless a flag names one; it is idle without a quality.
    pub(super) fn like(&mut self, earlier: Option<&str>) -> anyhow::Result<()> {
        let wants_quality = self.min_sqnr.is_some() || self.max_drop.is_some();
        if let (Some(name), None, true) = (earlier, self.probe, wants_quality) {
            self.probe = Some(probe(name).map_err(anyhow::Error::msg)?);
        }
        Ok(())
    }

    /// Refuses what does not fit together, before the work; fills in what is left out.
    pub(super) fn check(
        &mut self,
        strategy: &Strategy,
        goal: &Goal,
        can_measure: bool,
    ) -> anyhow::Result<()> {
        if self.max_drop.is_some() {
            self.judged.by_default("top1");
        }
        let wanted = match (self.min_sqnr, self.max_drop) {
            (Some(_), _) => Some("--min-sqnr"),
            (None, Some(_)) => Some("--max-drop"),
            (None, None) => None,
        };
        match (wanted, self.probe) {
            (None, Some(_)) => bail!("`--probe` is given without `--min-sqnr` or `--max-drop`"),
            (Some(flag), _) => {
                ensure!(
                    can_measure,
                    "`{flag}` needs measuring, and there are no samples\nhint: give --calib"
                );
                expect_probed(strategy, goal)?;
            }
            (None, None) => {}
        }
        ensure!(
            can_measure || self.val.is_empty(),
            "`--val` needs measuring, and there are no samples\nhint: give --calib"
        );
        self.check_metrics()
    }

    fn check_metrics(&self) -> anyhow::Result<()> {
        if let (Some(flag), true) = (self.judged.first_given(), self.val.is_empty()) {
            bail!("`{flag}` is given without `--val`");
        }
        let metrics = self.judged.metrics();
        ensure!(
            self.val.is_empty() || !metrics.is_empty(),
            "`--val` is given, and there is no metric\nhint: give --labels or --metric"
        );
        if let Some(drop) = self.max_drop {
            let [metric] = &metrics[..] else {
                let names = metrics.join("`, `");
                bail!("`--max-drop` is that of one metric, found `{names}`");
            };
            check_unit(drop, metric)?;
        }
        self.judged.check()
    }

    /// What is wanted of a result, and how to find it; `None` where budgets are all.
    pub(super) fn goal(
        &self,
        scorer: Option<&Scorer<'_>>,
    ) -> anyhow::Result<Option<(QualityGoal, &'static Probe)>> {
        let by_default = || Probe::find(DEFAULT_PROBE).expect("the default is one of the table");
        let probe = self.probe.unwrap_or_else(by_default);
        if let Some(least_db) = self.min_sqnr {
            return Ok(Some((QualityGoal::Sqnr { least_db }, probe)));
        }
        let Some(drop) = self.max_drop else { return Ok(None) };
        let float = scorer.and_then(|scorer| scorer.float().iter().next());
        let (metric, &float) = float.context("`--max-drop` has no metric")?;
        let float = float.with_context(|| {
            format!("metric `{metric}` has no value for the float network, `--max-drop` needs one")
        })?;
        let goal = QualityGoal::Drop { metric: metric.to_owned(), float, most: drop.value };
        Ok(Some((goal, probe)))
    }

    /// Scores the float network on --val if that is given, then does the rest.
    pub(super) fn with_scorer<T>(
        &self,
        measure: &MeasureArgs,
        network: Validated<'_>,
        defaults: Defaults<'_>,
        ui: &Ui,
        then: impl FnOnce(Option<&Scorer<'_>>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        if self.val.is_empty() {
            return then(None);
        }
        let model =
            onnx::load_within(&measure.model.model, network.dims, measure.run.memory_bytes())?;
        let inputs = input_specs(&model.graph);
        let defaults = defaults.within(measure.run.memory_bytes());
        let data = measure.data.open_whole(&self.val, &inputs, defaults, ui)?;
        let (file, sha256) = (model.file, model.sha256);
        let graph = evaluable(model.graph, network.compared, network.preparation)?;
        let Validated { dims, preparation, .. } = network;
        let subject = Subject { model: (&file, &sha256), graph: &graph, preparation, dims };
        let (data, run, cache) = ((&data, &inputs[..]), &measure.run, &measure.cache);
        self.judged.with_scorer(subject, data, (run, cache), ui, |s| then(Some(s)))
    }
}

/// Percentages are of fractions, and a fraction cannot drop by more than all of it.
fn check_unit(drop: Drop, metric: &str) -> anyhow::Result<()> {
    let is_fraction = metric::find(metric)?.0.unit == Unit::Fraction;
    ensure!(
        is_fraction || !drop.is_percent,
        "`--max-drop` is a percentage, and metric `{metric}` is no fraction\nhint: give a number in its unit"
    );
    ensure!(
        !is_fraction || drop.value <= 1.,
        "`--max-drop` is {}, expected at most 1, as metric `{metric}` is a fraction\nhint: 1% is 0.01",
        drop.value
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops() {
        for (text, value, is_percent) in
            [("0.01", 0.01, false), ("1%", 0.01, true), ("0", 0., false), ("2.5 %", 0.025, true)]
        {
            assert_eq!(text.parse::<Drop>().unwrap(), Drop { value, is_percent }, "{text}");
        }
        for text in ["", "%", "-0.01", "NaN", "inf", "1pt"] {
            let message = text.parse::<Drop>().unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("found `{text}`, expected a number")),
                "{message}"
            );
        }
    }
}
