//! `mpq sensitivity`: how much does quantizing each group alone hurt?

use std::path::PathBuf;

use anyhow::Context as _;
use mpq::artifact::{self, Artifact as _, Part};
use mpq::pipeline::{Head, Scorer, Study, evaluable, input_specs, sensitivity_file};
use mpq::report;
use mpq::shard::Shard;

use crate::cli::flags::{Defaults, MetricArgs, Subject, metric_name};
use crate::cli::heartbeat::Heartbeat;
use crate::cli::phase1::{MeasureArgs, Prepared, Priced, Source};
use crate::cli::{ExitStatus, OutputArgs, Ui};

/// Measure how much quantizing each group alone hurts
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Calibration inputs: a folder, a file, NAME=PATH or noise
    #[arg(long, value_name = "PATH", required = true)]
    calib: Vec<PathBuf>,

    /// Order the list by a metric, not by the SQNR
    ///
    /// One of those of `mpq eval`, measured on the calibration samples. It takes a whole pass for each
    /// measurement and sample, and ranks no finer than one sample's worth; of equals the SQNR decides.
    #[arg(long, value_name = "METRIC", value_parser = metric_name)]
    rank_by: Option<String>,

    /// Right answers for --rank-by, as for `mpq eval`
    #[arg(long, value_name = "PATH", requires = "rank_by")]
    labels: Option<PathBuf>,

    /// Measure share I of N, for `mpq merge`
    ///
    /// Shares are the same on all machines and cost about as much each; I counts from 0. While it runs, a
    /// file beside the output tells how far it is, for `mpq merge --status`.
    #[arg(long, value_name = "I/N", conflicts_with_all = ["rank_by", "ranges_only"])]
    shard: Option<Shard>,

    /// Take the ranges that --ranges-only wrote
    ///
    /// The result is the same as without; the pass over all samples that ranges take is saved.
    #[arg(long, value_name = "FILE", conflicts_with = "ranges_only")]
    ranges: Option<PathBuf>,

    /// Write the ranges, and measure nothing
    #[arg(long, conflicts_with = "rank_by")]
    ranges_only: bool,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    measure: MeasureArgs,
}

pub(super) fn run(args: Args, ui: &Ui) -> anyhow::Result<ExitStatus> {
    let output = args.output.open()?;
    if args.ranges_only {
        let file = args.measure.run.install(|| args.measure.ranges(&args.calib, ui))?;
        output.write(file.to_json().as_bytes(), ui)?;
        return Ok(ExitStatus::Success);
    }
    if let Some(shard) = args.shard {
        if let Some(path) = args.output.path() {
            ui.beat(Heartbeat::new(path, shard));
        }
        let file = args.measure.run.install(|| args.part(shard, ui))?;
        output.write(file.to_json().as_bytes(), ui)?;
        return Ok(ExitStatus::Success);
    }
    let file = args.measure.run.install(|| match &args.rank_by {
        None => args.measured(None, ui),
        Some(metric) => args.ranked(metric, ui),
    })?;
    output.write(file.to_json().as_bytes(), ui)?;
    ui.summary(&report::sensitivity(&file));
    Ok(ExitStatus::Success)
}

impl Args {
    fn source(&self) -> Source<'_> {
        Source { calib: &self.calib, ranges: self.ranges.as_deref() }
    }

    fn part(&self, shard: Shard, ui: &Ui) -> anyhow::Result<Part> {
        self.measure.prepare(self.source(), Priced::default(), ui, |prepared, head| {
            let Prepared { network, encodings, measuring, .. } = prepared;
            let read = network.samples_of(&measuring, shard)?;
            let n_samples = read.len();
            prepared.expect_samples(read)?;
            let part = network.part(&measuring, encodings, head, shard)?;
            let (all, plural) = (prepared.samples.text(), if n_samples == 1 { "" } else { "s" });
            ui.summary(&format!("shard {shard}: {n_samples} sample{plural} of {all}"));
            Ok(part)
        })
    }

    fn measured(
        &self,
        ranking: Option<(&str, &Scorer<'_>)>,
        ui: &Ui,
    ) -> anyhow::Result<artifact::Sensitivity> {
        let file = |study: Study<'_>, mut head: Head| {
            let Some((metric, scorer)) = ranking else {
                return Ok(sensitivity_file(&study, head)?);
            };
            let scores = study.network.scores(study.encodings, study.rounded(), scorer)?;
            head.settings.rank_by = metric.to_owned();
            Ok(sensitivity_file(&study.ranked(Some(scores)), head)?)
        };
        self.measure.measure(self.source(), Priced::default(), ui, file)
    }

    /// Labels that do not fit are to be known before the long work, so the float network comes first.
    fn ranked(&self, metric: &str, ui: &Ui) -> anyhow::Result<artifact::Sensitivity> {
        let judged = MetricArgs::one(metric.to_owned(), self.labels.clone());
        judged.check()?;
        let MeasureArgs { model, data, quant, run, cache } = &self.measure;
        let dims = model.dims();
        let model = model.load_within(run.memory_bytes())?;
        let inputs = input_specs(&model.graph);
        let defaults = Defaults::CALIBRATION.within(run.memory_bytes());
        let data = data.open(&self.calib, &inputs, defaults, ui)?;
        let (file, sha256) = (model.file, model.sha256);
        let preparation = quant.preparation();
        let graph = evaluable(model.graph, quant.outputs(), preparation)?;
        let subject = Subject { model: (&file, &sha256), graph: &graph, preparation, dims: &dims };
        judged.with_scorer(subject, (&data, &inputs), (run, cache), ui, |scorer| {
            let (_, float) = scorer.float().iter().next().context("a metric has a value")?;
            float
                .with_context(|| format!("metric `{metric}` has no value for the float network"))?;
            self.measured(Some((metric, scorer)), ui)
        })
    }
}
