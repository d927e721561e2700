//! `mpq run`: the outputs of a model, in float or quantized; or are they what they should be?

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mpq::artifact::{Artifact as _, Config};
use mpq::data::{npz_bytes, read_inputs};
use mpq::exec::{Changes, Engine, Keep};
use mpq::graph::{Graph, ValueId};
use mpq::onnx;
use mpq::pipeline::{
    self, Applied, Checked, Difference, Preparation, Spot, Tolerance, evaluable, input_specs,
    read_rounded,
};
use mpq::tensor::Tensor;

use crate::cli::eval;
use crate::cli::flags::{ModelArgs, RunArgs};
use crate::cli::output::Output;
use crate::cli::{ExitStatus, Ui, input};

/// Run a model on tensors, or check what it gives
///
/// With --check: exits 1 if an output differs.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// Tensors to run on: `.npy`, `.npz` or `.pb`
    #[arg(long = "input", value_name = "[NAME=]FILE")]
    inputs: Vec<PathBuf>,

    /// Quantize as this configuration says
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The weights that the configuration was made with
    #[arg(long, value_name = "DIR", requires = "config")]
    rounded: Option<PathBuf>,

    /// Write all outputs here
    #[arg(short, long, value_name = "OUT.npz", required_unless_present = "check")]
    output: Option<PathBuf>,

    /// Compare with ONNX test data: input_*.pb and output_*.pb
    #[arg(long, value_name = "DIR", conflicts_with_all = ["inputs", "output"])]
    check: Option<PathBuf>,

    /// Relative difference that --check allows
    #[arg(long, value_name = "R", default_value_t = 1e-3, value_parser = tolerance, allow_negative_numbers = true)]
    rtol: f64,

    /// Absolute difference that --check allows
    #[arg(long, value_name = "A", default_value_t = 1e-7, value_parser = tolerance, allow_negative_numbers = true)]
    atol: f64,

    #[command(flatten)]
    resources: RunArgs,
}

fn tolerance(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && 0. <= *number);
    number.ok_or_else(|| format!("found `{text}`, expected a number, at least 0"))
}

pub(super) fn run(args: Args, ui: &Ui) -> anyhow::Result<ExitStatus> {
    let output = args.output.as_deref().map(Output::open).transpose()?;
    let network = Loaded::new(&args)?;
    let engine = args.resources.start_engine(&network.graph);
    let changes = network.applied.as_ref().map_or_else(Changes::default, Applied::changes);
    match (&args.check, output) {
        (Some(dir), _) => {
            let tolerance = Tolerance { rtol: args.rtol, atol: args.atol };
            let checked = args.resources.install(|| {
                let graph = &network.graph;
                Ok(pipeline::check(graph, &*engine, &changes, dir, tolerance)?)
            })?;
            ui.data(checked.iter().map(line).collect::<String>().as_bytes())?;
            let all_equal = checked.iter().all(|checked| checked.difference.is_equal());
            Ok(if all_equal { ExitStatus::Success } else { ExitStatus::No })
        }
        (None, Some(output)) => {
            let inputs = read_inputs(
                &args.inputs,
                &input_specs(&network.graph),
                args.resources.memory_bytes(),
            )?;
            let npz = args.resources.install(|| network.run(&*engine, &inputs, &changes))?;
            output.write(&npz, ui)?;
            Ok(ExitStatus::Success)
        }
        (None, None) => anyhow::bail!("neither --check nor --output is given"),
    }
}

/// A graph that can run, and how it is quantized.
struct Loaded {
    graph: Graph,
    /// Of the model; a configuration may need others as well.
    outputs: Vec<ValueId>,
    applied: Option<Applied>,
}

impl Loaded {
    fn new(args: &Args) -> anyhow::Result<Loaded> {
        let config = args.config.as_deref().map(input::read::<Config>).transpose()?;
        let mut dims = config.as_ref().map_or_else(|| Ok(BTreeMap::new()), eval::dims)?;
        dims.extend(args.model.dims());
        let model = onnx::load_within(&args.model.model, &dims, args.resources.memory_bytes())?;
        let unfit = || {
            let file = args.config.as_deref().unwrap_or(Path::new("-")).display();
            format!("cannot use `{file}`")
        };
        if let Some(config) = &config {
            config.expect_model(&model.sha256).with_context(unfit)?;
        }
        let outputs = model.graph.outputs().to_vec();
        let settings = config.as_ref().map(|config| &config.settings);
        let preparation = settings.map_or(Preparation::NONE, Preparation::of);
        let compared = config.as_ref().map_or(&[][..], |config| &config.settings.outputs);
        let graph = evaluable(model.graph, compared, preparation)?;
        let rounded = args.rounded.as_deref().map(read_rounded).transpose()?;
        let rounded = rounded.as_ref().map(|(_, rounded)| rounded);
        let applied = config.as_ref().map(|config| Applied::new(&graph, config, rounded));
        let applied = applied.transpose();
        let applied = applied.with_context(unfit)?;
        Ok(Loaded { graph, outputs, applied })
    }

    fn run(
        &self,
        engine: &dyn Engine,
        inputs: &[Tensor],
        changes: &Changes<'_>,
    ) -> anyhow::Result<Vec<u8>> {
        let values = engine.run(inputs, changes, Keep::Outputs)?;
        let tensor = |&id: &ValueId| {
            let tensor = values.get(id).context("the network does not give all its outputs")?;
            Ok((self.graph.value_name(id), tensor))
        };
        let arrays = self.outputs.iter().map(tensor).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(npz_bytes(&arrays)?)
    }
}

/// One output of one set; ends in a newline.
fn line(checked: &Checked) -> String {
    let mut text = format!("{}: `{}` ", checked.set, checked.output);
    let spot = |spot: &Spot| {
        format!("at {:?}: found {}, expected {}", spot.index, spot.found, spot.expected)
    };
    match &checked.difference {
        Difference::Type { found, expected } => {
            text.push_str(&format!("is {found}, expected {expected}\n"));
        }
        Difference::Values { ty, bad: 0, worst, .. } => {
            let worst = worst.as_ref().map(|worst| format!(", worst {}", spot(worst)));
            text.push_str(&format!("{ty} is equal{}\n", worst.unwrap_or_default()));
        }
        Difference::Values { ty, bad, first, worst } => {
            text.push_str(&format!("{ty} differs in {bad} of {} values\n", ty.len()));
            for (name, place) in [("first", first), ("worst", worst)] {
                let place = place.as_ref().map(spot).unwrap_or_default();
                writeln!(text, "  {name} {place}").expect("a String takes all");
            }
        }
    }
    text
}
