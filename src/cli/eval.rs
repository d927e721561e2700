//! `mpq eval`: how good a network is, in float and quantized.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use mpq::artifact::{self, Artifact as _, Config, Eval, EvalData};
use mpq::cache::Digest;
use mpq::data::{Feed, Labels};
use mpq::exec::{Changes, Engine};
use mpq::graph::Graph;
use mpq::metric::sqnr::Aggregation;
use mpq::metric::{self, Reference};
use mpq::onnx::{self, Model};
use mpq::pipeline::{
    Applied, Evaluated, Evaluation, Judged, Preparation, evaluable, find_outputs, input_specs,
    outputs_and,
};
use mpq::quant::Candidate;
use mpq::report;

use crate::cli::flags::{Defaults, MetricArgs};
use crate::cli::phase1::{MeasureArgs, Samples, kept};
use crate::cli::scratch::Scratch;
use crate::cli::{ExitStatus, OutputArgs, Ui, input};

/// Tell how good a model is, in float and quantized
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Inputs: a folder, a file, NAME=PATH or noise
    #[arg(long, value_name = "PATH", required = true)]
    data: Vec<PathBuf>,

    /// Quantize as `mpq search` has decided, `-` for stdin
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Quantize every group to one candidate
    #[arg(long, value_name = "CANDIDATE", conflicts_with = "config", requires = "calib")]
    uniform: Option<Candidate>,

    /// Inputs that set the ranges for --uniform
    #[arg(long, value_name = "PATH", requires = "uniform")]
    calib: Vec<PathBuf>,

    #[command(flatten)]
    judged: MetricArgs,

    /// Write JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    measure: MeasureArgs,
}

pub(super) fn run(args: Args, ui: &Ui) -> anyhow::Result<ExitStatus> {
    args.check()?;
    let output = args.output.open()?;
    let eval = args.measure.run.install(|| args.evaluate(ui))?;
    let text = if args.json { eval.to_json() } else { report::evaluation(&eval) + "\n" };
    output.write(text.as_bytes(), ui)?;
    Ok(ExitStatus::Success)
}

impl Args {
    fn check(&self) -> anyhow::Result<()> {
        self.check_metrics()?;
        if let Some(flag) = self.measure.quant.first_given() {
            ensure!(self.uniform.is_some(), "`{flag}` is given without `--uniform`");
        }
        let quantizes = self.config.is_some() || self.uniform.is_some();
        ensure!(
            quantizes || !self.measure.quant.rounding.has_rounded(),
            "`--rounded` is given without `--config` or `--uniform`"
        );
        Ok(())
    }

    /// Whether there is all that the metrics need.
    fn check_metrics(&self) -> anyhow::Result<()> {
        let quantizes = self.config.is_some() || self.uniform.is_some();
        let metrics = self.judged.metrics();
        ensure!(
            quantizes || !metrics.is_empty(),
            "there is nothing to compare with\nhint: give --labels, --config or --uniform"
        );
        for text in &metrics {
            ensure!(
                quantizes || metric::find(text)?.0.reference != Reference::Float,
                "metric `{text}` compares a quantized network with the float one\nhint: give --config or --uniform"
            );
        }
        self.judged.check()
    }

    fn evaluate(&self, ui: &Ui) -> anyhow::Result<Eval> {
        let config = self.config.as_deref().map(input::read::<Config>).transpose()?;
        let mut dims = config.as_ref().map_or_else(|| Ok(Default::default()), dims)?;
        dims.extend(self.measure.model.dims());
        let memory_bytes = self.measure.run.memory_bytes();
        let model = onnx::load_within(&self.measure.model.model, &dims, memory_bytes)?;
        if let Some(config) = &config {
            let expected = config.expect_model(&model.sha256);
            expected.with_context(|| format!("cannot use `{}`", self.config_name()))?;
        }
        let head = artifact::Model { file: model.file.clone(), sha256: model.sha256.clone() };
        let inputs = input_specs(&model.graph);
        let earlier = config.as_ref().and_then(|config| config.calibration.preprocessing.as_ref());
        let defaults = Defaults { preprocessing: earlier, ..Defaults::EVALUATION };
        let defaults = defaults.within(memory_bytes);
        let data = self.measure.data.open(&self.data, &inputs, defaults, ui)?;
        // Before the work: what is wrong with them is said at once.
        let (labels, scratch) = (self.judged.open_labels()?, self.judged.scratch()?);
        let feed = Feed::new(&data, &inputs);
        let subject = Subject { args: self, model: &head, dims: &dims, feed, labels, scratch, ui };
        let evaluated = match (&config, self.uniform) {
            (Some(config), _) => subject.with_config(model, config)?,
            (None, Some(candidate)) => subject.uniform(model, candidate, dims.clone())?,
            (None, None) => subject.float(model)?,
        };
        if !data.defaults().is_empty() {
            ui.summary(&format!("by default {}", data.defaults().join(" ")));
        }
        Ok(Eval {
            schema: Eval::schema(),
            model: head,
            data: EvalData { samples: evaluated.samples },
            float: evaluated.float,
            quantized: evaluated.quantized,
        })
    }

    fn config_name(&self) -> String {
        self.config.as_deref().map_or_else(String::new, |path| path.display().to_string())
    }
}

/// The sizes that a configuration gives to free dimensions.
pub(super) fn dims(config: &Config) -> anyhow::Result<BTreeMap<String, usize>> {
    let dim = |(name, &size): (&str, &u64)| Ok((name.to_owned(), usize::try_from(size)?));
    config.settings.dims.iter().map(dim).collect()
}

/// The samples that a network is judged on.
struct Subject<'a> {
    args: &'a Args,
    model: &'a artifact::Model,
    dims: &'a BTreeMap<String, usize>,
    feed: Feed<'a>,
    labels: Option<Labels>,
    scratch: Option<Scratch>,
    ui: &'a Ui,
}

impl Subject<'_> {
    fn float(&self, model: Model) -> anyhow::Result<Evaluated> {
        let graph = evaluable(model.graph, &[], Preparation::NONE)?;
        let engine = self.args.measure.run.start_engine(&graph);
        let float = (None, Digest::of("float", &[]));
        let prepared = (&graph, Preparation::NONE);
        self.evaluate(prepared, &*engine, float, &[], Aggregation::Pooled)
    }

    fn with_config(&self, model: Model, config: &Config) -> anyhow::Result<Evaluated> {
        let outputs = &config.settings.outputs;
        let preparation = Preparation::of(&config.settings);
        let graph = evaluable(model.graph, outputs, preparation)?;
        let engine = self.args.measure.run.start_engine(&graph);
        let rounded = self.args.measure.quant.rounding.rounded(&config.model.sha256)?;
        let applied = Applied::new(&graph, config, rounded.as_ref());
        let applied =
            applied.with_context(|| format!("cannot use `{}`", self.args.config_name()))?;
        let earlier = config.settings.sqnr.parse()?;
        let aggregation = self.args.measure.quant.sqnr.unwrap_or(earlier);
        let changes = applied.changes();
        let quantized = (Some(&changes), *applied.digest());
        self.evaluate((&graph, preparation), &*engine, quantized, outputs, aggregation)
    }

    fn uniform(
        &self,
        model: Model,
        candidate: Candidate,
        dims: BTreeMap<String, usize>,
    ) -> anyhow::Result<Evaluated> {
        let args = &self.args.measure;
        let (seed, engine) = (args.data.seed(), args.run.engine());
        let mut settings = args.quant.uniform_settings(candidate, dims, seed, engine, self.ui)?;
        let compared = settings.outputs.take();
        settings.outputs = outputs_and(&model.graph, compared.as_deref().unwrap_or_default());
        let samples =
            Samples::open(&model, &self.args.calib, &args.data, Defaults::CALIBRATION, self.ui)?;
        let network = samples.network(model, settings, self.args.measure.run.resources())?;
        let (feed, resources) = (samples.feed(), args.run.resources());
        let engine = network.engine(resources);
        let kept = kept(&args.cache, &network, &feed, self.ui)?;
        let kept = kept.as_ref();
        let encodings = network.calibrate(&*engine, &feed, kept, self.ui)?;
        let rounded = args.round(&network, &encodings, &feed, kept, self.ui)?;
        let rounded = rounded.as_ref();
        let encodings = network.correct_biases(encodings, rounded, &feed, resources, self.ui)?;
        let simulator = network.simulator(&encodings, rounded);
        let chosen = network.uniform(candidate);
        let outputs = compared.unwrap_or_else(|| network.output_names());
        let changes = simulator.changes(&chosen);
        let quantized = (Some(&changes), simulator.digest(&chosen));
        let aggregation = args.quant.aggregation();
        let prepared = (&network.graph, network.settings.preparation);
        self.evaluate(prepared, &*engine, quantized, &outputs, aggregation)
    }

    fn evaluate(
        &self,
        (graph, preparation): (&Graph, Preparation),
        engine: &dyn Engine,
        (changes, digest): (Option<&Changes<'_>>, Digest),
        outputs: &[String],
        aggregation: Aggregation,
    ) -> anyhow::Result<Evaluated> {
        let (metrics, labels) = (self.args.judged.metrics(), self.labels.as_ref());
        let measure = &self.args.measure;
        let judged = Judged {
            model: (&self.model.file, &self.model.sha256),
            graph,
            preparation,
            engine: measure.run.engine(),
            dims: self.dims,
            feed: &self.feed,
            metrics: &metrics,
            labels,
        };
        let kept = measure.cache.open(self.ui).map(|cache| judged.kept(cache));
        let kept = kept.transpose()?.flatten();
        let evaluation = Evaluation {
            graph,
            engine,
            feed: &self.feed,
            labels,
            metrics: &metrics,
            scratch: self.scratch.as_ref().map_or(Path::new(""), Scratch::path),
            changes,
            outputs: &find_outputs(graph, outputs)?,
            aggregation,
            kept: kept.as_ref().map(|kept| (kept, digest)),
        };
        Ok(evaluation.run(self.ui)?)
    }
}
