//! What `search` and `sensitivity` do first, and what they are told of it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mpq::artifact::Ranges;
use mpq::cost::CostTable;
use mpq::data::{DataError, Dataset, Feed, InputSpec};
use mpq::onnx::Model;
use mpq::pipeline::{
    Head, Kept, Measuring, Network, PipelineError, Resources, Settings, Study, expect_samples,
    input_specs, ranges_file,
};
use mpq::quant::{Effort, Encodings, Rounded};
use mpq::search::Budget;

use crate::cli::flags::{CacheArgs, Defaults};
use crate::cli::{DataArgs, ModelArgs, QuantArgs, RunArgs, Ui, input};

/// The flags of the commands that measure.
#[derive(Debug, clap::Args)]
pub(super) struct MeasureArgs {
    #[command(flatten)]
    pub(super) model: ModelArgs,

    #[command(flatten)]
    pub(super) data: DataArgs,

    #[command(flatten)]
    pub(super) quant: QuantArgs,

    #[command(flatten)]
    pub(super) run: RunArgs,

    #[command(flatten)]
    pub(super) cache: CacheArgs,
}

/// What the cache has of a network and its calibration samples.
pub(super) fn kept(
    cache: &CacheArgs,
    network: &Network,
    feed: &Feed<'_>,
    ui: &Ui,
) -> Result<Option<Kept>, PipelineError> {
    cache.open(ui).map(|cache| Kept::new(cache, network, feed)).transpose()
}

/// What a search has budgets for, and what they are counted by.
#[derive(Clone, Copy, Default)]
pub(super) struct Priced<'a> {
    pub(super) cost_table: Option<&'a CostTable>,
    pub(super) budgets: &'a [Budget],
}

impl MeasureArgs {
    /// Phase 1, then what is to be done with it.
    pub(super) fn measure<T>(
        &self,
        source: Source<'_>,
        priced: Priced<'_>,
        ui: &Ui,
        then: impl FnOnce(Study<'_>, Head) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.prepare(source, priced, ui, |prepared, head| {
            let Prepared { network, encodings, measuring, samples, .. } = prepared;
            prepared.expect_samples(0..samples.data.len())?;
            let sensitivity = network.sensitivity(&measuring)?;
            ui.summary(&samples.text());
            then(Study::new(network, encodings, &sensitivity, Some(measuring))?, head)
        })
    }

    /// All that comes before Phase 1, then what is to be done with it.
    pub(super) fn prepare<T>(
        &self,
        source: Source<'_>,
        priced: Priced<'_>,
        ui: &Ui,
        then: impl FnOnce(Prepared<'_>, Head) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let (mut samples, network) = self.network(source.calib, priced, ui)?;
        network.check_budgets(priced.budgets)?;
        let ranges = source.ranges.map(input::read::<Ranges>).transpose()?;
        let cannot_use = || format!("cannot use `{}`", source.ranges_name());
        let read = match &ranges {
            Some(file) => {
                Some(network.read_ranges(file, &mut samples.data).with_context(cannot_use)?)
            }
            None => None,
        };
        let mut head = Head::new(&network, &samples.data)?;
        let (feed, resources) = (samples.feed(), self.run.resources());
        let engine = network.engine(resources);
        let kept = kept(&self.cache, &network, &feed, ui)?;
        let kept = kept.as_ref();
        let calibrate = || network.calibrate(&*engine, &feed, kept, ui);
        let encodings = read.map_or_else(calibrate, Ok)?;
        let rounded = self.round(&network, &encodings, &feed, kept, ui)?;
        let rounded = rounded.as_ref();
        head.settings.rounding.sha256 = rounded.map(Rounded::sha256);
        let encodings = network.correct_biases(encodings, rounded, &feed, resources, ui)?;
        let simulator = network.simulator(&encodings, rounded);
        let (network, encodings, samples) = (&network, &encodings, &samples);
        let (simulator, engine, feed) = (&simulator, &*engine, &feed);
        let measuring =
            Measuring { simulator, rounded, engine, feed, kept, resources, progress: ui };
        let ranges = ranges.as_ref();
        then(Prepared { network, encodings, measuring, samples, ranges }, head)
    }

    /// Ranges alone.
    pub(super) fn ranges(&self, calib: &[PathBuf], ui: &Ui) -> anyhow::Result<Ranges> {
        let (samples, network) = self.network(calib, Priced::default(), ui)?;
        let head = Head::new(&network, &samples.data)?;
        let engine = network.engine(self.run.resources());
        let feed = samples.feed();
        let kept = kept(&self.cache, &network, &feed, ui)?;
        let encodings = network.calibrate(&*engine, &feed, kept.as_ref(), ui)?;
        let digests = samples.data.digests()?;
        ui.summary(&samples.text());
        Ok(ranges_file(&network, &encodings, head, digests))
    }

    fn network(
        &self,
        calib: &[PathBuf],
        priced: Priced<'_>,
        ui: &Ui,
    ) -> anyhow::Result<(Samples, Network)> {
        let settings =
            self.quant.settings(self.model.dims(), self.data.seed(), self.run.engine(), ui)?;
        let settings = Settings { cost_table: priced.cost_table.cloned(), ..settings };
        let model = self.model.load_within(self.run.memory_bytes())?;
        let defaults = Defaults::CALIBRATION.within(self.run.memory_bytes());
        let samples = Samples::open(&model, calib, &self.data, defaults, ui)?;
        let network = samples.network(model, settings, self.run.resources())?;
        Ok((samples, network))
    }
}

/// What ranges are made from.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) calib: &'a [PathBuf],
    /// What `--ranges-only` wrote, if it was run before.
    pub(super) ranges: Option<&'a Path>,
}

impl Source<'_> {
    fn ranges_name(&self) -> String {
        self.ranges.map_or_else(String::new, |path| path.display().to_string())
    }
}

/// A network that is ready for Phase 1.
#[derive(Clone, Copy)]
pub(super) struct Prepared<'a> {
    pub(super) network: &'a Network,
    pub(super) encodings: &'a Encodings,
    pub(super) measuring: Measuring<'a>,
    pub(super) samples: &'a Samples,
    ranges: Option<&'a Ranges>,
}

impl Prepared<'_> {
    /// Refuses samples that are not those of `--ranges`.
    pub(super) fn expect_samples(&self, read: Range<usize>) -> anyhow::Result<()> {
        let Some(ranges) = self.ranges else { return Ok(()) };
        Ok(expect_samples(ranges, &self.samples.data, read)?)
    }
}

impl MeasureArgs {
    /// The weights of --rounded, if they fit, else made now; `None` where they are rounded to nearest.
    pub(super) fn round(
        &self,
        network: &Network,
        encodings: &Encodings,
        feed: &Feed<'_>,
        kept: Option<&Kept>,
        ui: &Ui,
    ) -> anyhow::Result<Option<Rounded>> {
        match self.quant.rounding.rounded(&network.sha256)? {
            Some(rounded) => {
                network.expect_rounded(&rounded, encodings)?;
                Ok(Some(rounded))
            }
            None => {
                let (effort, resources) = (Effort::DEFAULT, self.run.resources());
                Ok(network.round(encodings, effort, feed, kept, resources, ui)?)
            }
        }
    }
}

/// Calibration samples of a model.
pub(super) struct Samples {
    pub(super) data: Dataset,
    inputs: Vec<InputSpec>,
}

impl Samples {
    pub(super) fn open(
        model: &Model,
        calib: &[PathBuf],
        args: &DataArgs,
        defaults: Defaults<'_>,
        ui: &Ui,
    ) -> Result<Samples, DataError> {
        let inputs = input_specs(&model.graph);
        let data = args.open(calib, &inputs, defaults, ui)?;
        let is_noise = |path: &PathBuf| {
            let path = path.to_string_lossy();
            path == "noise" || path.ends_with("=noise")
        };
        if calib.iter().any(is_noise) {
            ui.warn("calibrating on noise: ranges and sensitivities are not those of real data");
        }
        Ok(Samples { data, inputs })
    }

    pub(super) fn feed(&self) -> Feed<'_> {
        Feed::new(&self.data, &self.inputs)
    }

    /// Free dimensions are those of the first pass.
    pub(super) fn network(
        &self,
        model: Model,
        settings: Settings,
        resources: Resources,
    ) -> anyhow::Result<Network> {
        let first = self.feed().inputs(0)?;
        let network = Network::of_sample(model, &first, settings, resources)?;
        // Samples are read for the ranges, for Phase 1 and for what a search measures.
        self.data.hold(network.spare_bytes(resources) / 2);
        Ok(network)
    }

    /// How many there are, and what was chosen by default.
    pub(super) fn text(&self) -> String {
        let n = self.data.len();
        let plural = if n == 1 { "" } else { "s" };
        let defaults = self.data.defaults();
        let by_default = if defaults.is_empty() { "" } else { "; by default " };
        format!("{n} calibration sample{plural}{by_default}{}", defaults.join(" "))
    }
}
