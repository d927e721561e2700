//! `mpq search`: which candidate every group gets.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use mpq::artifact::{self, Artifact as _, Config};
use mpq::cost::CostTable;
use mpq::pipeline::{
    Head, Measuring, Network, Scorer, Searched, Study, expect_rounding, input_types, read_scores,
    read_sensitivity, search, search_quality,
};
use mpq::search::{Budget, Goal, STRATEGIES, Strategy, Tried};
use mpq::{onnx, report};

use crate::cli::flags::Defaults;
use crate::cli::goal::{QualityArgs, Validated};
use crate::cli::phase1::{MeasureArgs, Priced, Samples, Source, kept};
use crate::cli::report as report_file;
use crate::cli::{ExitStatus, OutputArgs, Ui, input};

/// Find which bit-widths every weight and activation gets
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("goal")
    .args(["budgets", "min_sqnr", "max_drop"])
    .required(true)
    .multiple(true))]
pub(super) struct Args {
    /// Calibration inputs: a folder, a file, NAME=PATH or noise
    #[arg(long, value_name = "PATH", required_unless_present = "sensitivity")]
    calib: Vec<PathBuf>,

    /// Search on what `mpq sensitivity` has measured
    ///
    /// `-` is stdin, as for --expect and --like. Without --calib, measured values of the result are null.
    #[arg(long, value_name = "FILE")]
    sensitivity: Option<PathBuf>,

    /// Take sensitivities that `mpq merge --partial` wrote
    ///
    /// They were measured on fewer samples than ranges were made from; not with --calib.
    #[arg(long, requires = "sensitivity", conflicts_with = "calib")]
    allow_partial: bool,

    /// The most it may cost, such as 0.6 or weights=4MiB
    ///
    /// A bare number is a fraction of the BOPs at the most precise candidate. Several are all met.
    ///
    /// bops: bit operations (12G), or a fraction.
    ///
    /// weights: bytes of weights with their scales (4MiB), or a fraction.
    ///
    /// average-bits: mean over multiply-accumulates of (weight bits + activation bits) / 2 (6.5).
    ///
    /// activations: most bytes of activations alive at once (2MiB), or a fraction.
    ///
    /// a16: share of the activations' elements that have 16 bits or more (0.2).
    ///
    /// latency: sum over operators by --cost-table (12ms), or a fraction.
    ///
    /// conversions: operators whose output has another width than what they read (4).
    ///
    /// conversion-cost: what the target asks for these, in its unit (1200).
    #[arg(long = "budget", value_name = "[METRIC=]V", allow_hyphen_values = true)]
    budgets: Vec<Budget>,

    /// What operators take: CSV, for budgets of latency
    ///
    /// Columns: node, operator, shape (of the weight, else of the output; 8x1x3x3, * for any size),
    /// candidate (W4A8, or A8 without weights), latency_ms. All but the last may be empty or left
    /// out, which matches everything; the most particular row counts.
    #[arg(long, value_name = "FILE")]
    cost_table: Option<PathBuf>,

    #[command(flatten)]
    quality: QualityArgs,

    /// How to search [default: pareto]
    ///
    /// pareto: down the list, least sensitive first, until the budgets are met.
    ///
    /// knapsack: the least predicted noise; not for budgets of activations or conversions.
    ///
    /// refine: from the best of these and the uniform candidates, swaps while the measured SQNR
    /// rises, at most 64 measured configurations.
    ///
    /// best: all of them; the winner by measured SQNR.
    #[arg(long, value_name = "NAME", value_parser = strategy)]
    strategy: Option<&'static Strategy>,

    /// Exit 1 if groups get other candidates than in this result
    ///
    /// Every difference is told, and nothing is written.
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,

    /// Take the settings of an earlier result
    ///
    /// Candidates, target, ranges, pins, SQNR, outputs, strategy, probe, engine, dimensions,
    /// preprocessing, seed and the number of samples; flags that are given count, and goals are
    /// always given.
    #[arg(long, value_name = "FILE")]
    like: Option<PathBuf>,

    /// Leave groups that save nothing at their most precise
    #[arg(long)]
    keep_free: bool,

    /// Write a report of the result as well, see `mpq report`
    ///
    /// Its extension says what it is: html, svg, md or csv.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    measure: MeasureArgs,
}

fn strategy(name: &str) -> Result<&'static Strategy, String> {
    let names = || STRATEGIES.iter().map(|strategy| format!("`{}`", strategy.name));
    let expected = || names().collect::<Vec<_>>().join(", ");
    Strategy::find(name).ok_or_else(|| format!("strategy is `{name}`, expected {}", expected()))
}

pub(super) fn run(mut args: Args, ui: &Ui) -> anyhow::Result<ExitStatus> {
    args.check_stdin()?;
    args.take_settings()?;
    args.quality.check(args.strategy(), &args.goal(), !args.calib.is_empty())?;
    let expected = args.expected()?;
    let output = args.output.open()?;
    let report = args.report.as_deref().map(report_file::open).transpose()?;
    let cost_table = args.read_cost_table()?;
    let searched = args.measure.run.install(|| match &args.sensitivity {
        None => args.search_whole(cost_table.as_ref(), ui),
        Some(path) => args.search_measured(path, cost_table, ui),
    })?;
    match searched {
        Searched::Found { config, tried } => {
            if let Some(expected) = &expected {
                let changes = artifact::candidate_changes(&config, expected);
                if !changes.is_empty() {
                    ui.answer(&report::unexpected(&changes));
                    return Ok(ExitStatus::No);
                }
            }
            output.write(config.to_json().as_bytes(), ui)?;
            if let Some(report) = report {
                report.write(&config, ui)?;
            }
            args.summarize(&config, &tried, ui);
            Ok(ExitStatus::Success)
        }
        Searched::Unreachable(leasts) => {
            leasts.iter().for_each(|least| ui.answer(&least.to_string()));
            Ok(ExitStatus::No)
        }
        Searched::Missed(missed) => {
            ui.answer(&missed.to_string());
            Ok(ExitStatus::No)
        }
    }
}

impl Args {
    /// Stdin can be read once.
    fn check_stdin(&self) -> anyhow::Result<()> {
        let files = [&self.sensitivity, &self.expect, &self.like];
        let n = files.iter().filter(|file| file.as_deref() == Some(Path::new("-"))).count();
        ensure!(
            n < 2,
            "{n} of `--sensitivity`, `--expect` and `--like` are `-`, expected one at most"
        );
        Ok(())
    }

    fn read_cost_table(&self) -> anyhow::Result<Option<CostTable>> {
        let Some(path) = &self.cost_table else {
            let is_latency = |budget: &&Budget| budget.metric.name() == "latency";
            if let Some(budget) = self.budgets.iter().find(is_latency) {
                bail!(
                    "budget `{budget}` needs what operators take\nhint: give it with --cost-table FILE"
                );
            }
            return Ok(None);
        };
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        let table = CostTable::parse(&text);
        Ok(Some(table.with_context(|| format!("cannot use cost table `{}`", path.display()))?))
    }

    /// The result of --expect, if it is one of this model.
    fn expected(&self) -> anyhow::Result<Option<Config>> {
        let Some(path) = &self.expect else { return Ok(None) };
        let config: Config = input::read(path)?;
        let does_not_fit = || format!("cannot compare with `{}`", path.display());
        config.expect_model(&self.measure.model.load()?.sha256).with_context(does_not_fit)?;
        Ok(Some(config))
    }

    fn strategy(&self) -> &'static Strategy {
        let by_default = || Strategy::find("pareto").expect("the default is one of the table");
        self.strategy.unwrap_or_else(by_default)
    }

    /// Those of --like, where no flags tell others.
    fn take_settings(&mut self) -> anyhow::Result<()> {
        let Some(path) = &self.like else { return Ok(()) };
        let config: Config = input::read(path)?;
        let cannot_take = || format!("cannot take the settings of `{}`", path.display());
        let Args { measure, quality, strategy: chosen, .. } = self;
        let measured = self.sensitivity.is_some();
        let settings = &config.settings;
        let mut take = || -> anyhow::Result<()> {
            if let (Some(name), None) = (&settings.strategy, *chosen) {
                *chosen = Some(strategy(name).map_err(anyhow::Error::msg)?);
            }
            quality.like(settings.probe.as_deref())?;
            measure.quant.like(&config, measured)?;
            if !measured {
                measure.data.like(&config)?;
                measure.model.like(settings)?;
                measure.run.like(settings)?;
            }
            Ok(())
        };
        take().with_context(cannot_take)
    }

    fn goal(&self) -> Goal {
        Goal { budgets: self.budgets.clone(), keep_free: self.keep_free }
    }

    fn search<'a>(
        &self,
        study: Study<'a>,
        scorer: Option<&'a Scorer<'a>>,
        head: Head,
    ) -> anyhow::Result<Searched> {
        let mut study = study.with_scorer(scorer);
        Ok(match self.quality.goal(scorer)? {
            None => search(&mut study, self.strategy(), &self.goal(), head)?,
            Some((quality, probe)) => {
                search_quality(&mut study, self.strategy(), &self.goal(), (&quality, probe), head)?
            }
        })
    }

    /// Both phases.
    fn search_whole(&self, costs: Option<&CostTable>, ui: &Ui) -> anyhow::Result<Searched> {
        let dims = self.measure.model.dims();
        let quant = &self.measure.quant;
        let (compared, preparation) = (quant.outputs(), quant.preparation());
        let network = Validated { compared, dims: &dims, preparation };
        let (measure, defaults) = (&self.measure, Defaults::EVALUATION);
        self.quality.with_scorer(measure, network, defaults, ui, |scorer| {
            let search = |study: Study<'_>, head| self.search(study, scorer, head);
            let priced = Priced { cost_table: costs, budgets: &self.budgets };
            let source = Source { calib: &self.calib, ranges: None };
            measure.measure(source, priced, ui, search)
        })
    }

    /// What merged parts leave out is to be known to whoever searches.
    fn check_partial(
        &self,
        path: &Path,
        file: &artifact::Sensitivity,
        ui: &Ui,
    ) -> anyhow::Result<()> {
        let Some(partial) = &file.partial else { return Ok(()) };
        let missing = partial.text(file.calibration.samples);
        let what = format!("`{}` is partial: {missing}", path.display());
        ensure!(self.allow_partial, "{what}\nhint: merge all parts, or give --allow-partial");
        ui.warn(&what);
        Ok(())
    }

    /// Phase 2 alone; with calibration samples, its results are measured.
    fn search_measured(
        &self,
        path: &Path,
        cost_table: Option<CostTable>,
        ui: &Ui,
    ) -> anyhow::Result<Searched> {
        let file: artifact::Sensitivity = input::read(path)?;
        self.check_partial(path, &file, ui)?;
        let does_not_fit = || format!("cannot use `{}`", path.display());
        let mut settings =
            self.measure.quant.measured_settings(&file, ui).with_context(does_not_fit)?;
        settings.dims.extend(self.measure.model.dims());
        settings.cost_table = cost_table;
        let model = onnx::load_within(
            &self.measure.model.model,
            &settings.dims,
            self.measure.run.memory_bytes(),
        )?;
        file.expect_model(&model.sha256).with_context(does_not_fit)?;
        let samples = match self.calib.as_slice() {
            [] => None,
            calib => {
                let calibration = &file.calibration;
                let defaults = Defaults {
                    samples: usize::try_from(calibration.samples).ok(),
                    preprocessing: calibration.preprocessing.as_ref(),
                    seed: settings.seed,
                    limit_bytes: self.measure.run.memory_bytes(),
                };
                Some(Samples::open(&model, calib, &self.measure.data, defaults, ui)?)
            }
        };
        let mut network = match &samples {
            Some(samples) => samples.network(model, settings, self.measure.run.resources())?,
            None => {
                let types = input_types(&model.graph)?;
                Network::new(model, &types, settings)?
            }
        };
        network.pin_as_measured(&file);
        network.check_budgets(&self.budgets)?;
        let (sensitivity, encodings) =
            read_sensitivity(&network, &file).with_context(does_not_fit)?;
        let rounded = self.measure.quant.rounding.rounded(&network.sha256)?;
        let rounded = rounded.as_ref();
        if rounded.is_some() || samples.is_some() {
            expect_rounding(&file.settings.rounding, rounded).with_context(does_not_fit)?;
        }
        let head = head(&file, &network);
        let Some(samples) = samples else {
            let study = Study::new(&network, &encodings, &sensitivity, None)?;
            return self.search(study.ranked(read_scores(&network, &file)), None, head);
        };
        let (found, expected) =
            (Head::new(&network, &samples.data)?.calibration, &file.calibration);
        if found != *expected {
            let (found, expected) = differing(&found, expected);
            bail!(
                "the samples of --calib are {found}, those of `{}` were {expected}",
                path.display()
            );
        }
        let (feed, resources) = (samples.feed(), self.measure.run.resources());
        let engine = network.engine(resources);
        let simulator = network.simulator(&encodings, rounded);
        let (simulator, engine, feed) = (&simulator, &*engine, &feed);
        let kept = kept(&self.measure.cache, &network, feed, ui)?;
        let kept = kept.as_ref();
        let measuring =
            Measuring { simulator, rounded, engine, feed, kept, resources, progress: ui };
        let study = Study::new(&network, &encodings, &sensitivity, Some(measuring))?;
        let study = study.ranked(read_scores(&network, &file));
        let (compared, dims) = (&file.settings.outputs[..], &network.settings.dims);
        let validated = Validated { compared, dims, preparation: network.settings.preparation };
        let preprocessing = file.calibration.preprocessing.as_ref();
        let defaults = Defaults { preprocessing, ..Defaults::EVALUATION };
        self.quality.with_scorer(&self.measure, validated, defaults, ui, |scorer| {
            self.search(study, scorer, head)
        })
    }

    fn summarize(&self, config: &Config, tried: &[Tried], ui: &Ui) {
        ui.summary_with_row(&report::search(config, tried), report::RESULT);
        ui.detail(report::conversions(&config.conversions));
        if let Some(baseline) = report::better_baseline(config) {
            let candidate = baseline.candidate;
            let cure = match Strategy::find("best") {
                Some(best) if best.name != self.strategy().name => "\nhint: try --strategy best",
                _ => "",
            };
            ui.warn(&format!(
                "uniform {candidate} is within the budget and has a higher SQNR{cure}"
            ));
        }
        if let Some(baseline) = report::cheaper_baseline(config) {
            let candidate = baseline.candidate;
            ui.warn(&format!("uniform {candidate} meets the goal as well, for fewer BOPs"));
        }
        let model = self.measure.model.model.display();
        let config = self.output.path().unwrap_or(Path::new("CONFIG")).display();
        ui.summary(&format!("next: mpq eval {model} --config {config} --data PATH --labels FILE"));
    }
}

/// What the result begins with: as measured, but for what flags may still change.
fn head(file: &artifact::Sensitivity, network: &Network) -> Head {
    let sqnr = network.settings.aggregation.to_string();
    let cost_table_sha256 = network.settings.cost_table.as_ref().map(|table| table.sha256.clone());
    Head {
        model: artifact::Model { file: network.file.clone(), sha256: network.sha256.clone() },
        calibration: file.calibration.clone(),
        settings: artifact::Settings { sqnr, cost_table_sha256, ..file.settings.clone() },
    }
}

/// Texts of what differs: the samples themselves, else how they are preprocessed.
fn differing(found: &artifact::Calibration, expected: &artifact::Calibration) -> (String, String) {
    let samples = |calibration: &artifact::Calibration| {
        format!("{} with SHA-256 `{}`", calibration.samples, calibration.sha256)
    };
    let preprocessing = |calibration: &artifact::Calibration| {
        let json = serde_json::to_string(&calibration.preprocessing);
        format!("preprocessed by {}", json.expect("plain data with text keys"))
    };
    match samples(found) == samples(expected) {
        true => (preprocessing(found), preprocessing(expected)),
        false => (samples(found), samples(expected)),
    }
}
