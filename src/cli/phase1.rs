//! What `search` and `sensitivity` do first, and what they are told of it.

use std::path::PathBuf;

use mpq::cost::CostTable;
use mpq::data::{DataError, Dataset, Feed, InputSpec};
use mpq::onnx::Model;
use mpq::pipeline::{Head, Measuring, Network, Resources, Settings, Study, input_specs};
use mpq::quant::{Effort, Encodings, Rounded};
use mpq::search::Budget;

use crate::cli::flags::Defaults;
use crate::cli::{DataArgs, ModelArgs, QuantArgs, RunArgs, Ui};

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
        calib: &[PathBuf],
        priced: Priced<'_>,
        ui: &Ui,
        then: impl FnOnce(Study<'_>, Head) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let settings =
            self.quant.settings(self.model.dims(), self.data.seed(), self.run.engine(), ui)?;
        let settings = Settings { cost_table: priced.cost_table.cloned(), ..settings };
        let model = self.model.load()?;
        let samples = Samples::open(&model, calib, &self.data, Defaults::CALIBRATION, ui)?;
        let network = samples.network(model, settings, self.run.resources())?;
        network.check_budgets(priced.budgets)?;
        let mut head = Head::new(&network, &samples.data)?;
        let (feed, resources) = (samples.feed(), self.run.resources());
        let engine = network.engine(resources);
        let encodings = network.calibrate(&*engine, &feed, ui)?;
        let rounded = self.round(&network, &encodings, &feed, ui)?;
        let rounded = rounded.as_ref();
        head.settings.rounding.sha256 = rounded.map(Rounded::sha256);
        let simulator = network.simulator(&encodings, rounded);
        let (simulator, engine, feed) = (&simulator, &*engine, &feed);
        let measuring = Measuring { simulator, rounded, engine, feed, resources, progress: ui };
        let sensitivity = network.sensitivity(&measuring)?;
        ui.summary(&samples.text());
        then(Study::new(&network, &encodings, &sensitivity, Some(measuring))?, head)
    }
}

impl MeasureArgs {
    /// The weights of --rounded, if they fit, else made now; `None` where they are rounded to nearest.
    pub(super) fn round(
        &self,
        network: &Network,
        encodings: &Encodings,
        feed: &Feed<'_>,
        ui: &Ui,
    ) -> anyhow::Result<Option<Rounded>> {
        match self.quant.rounding.rounded(&network.sha256)? {
            Some(rounded) => {
                network.expect_rounded(&rounded, encodings)?;
                Ok(Some(rounded))
            }
            None => {
                Ok(network.round(encodings, Effort::DEFAULT, feed, self.run.resources(), ui)?)
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
