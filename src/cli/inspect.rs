//! `mpq inspect`: what is a model made of, and what would be quantized?

use mpq::artifact::to_json;
use mpq::onnx;
use mpq::pipeline::Inspection;
use mpq::quant::Candidates;
use mpq::report;

use crate::cli::flags::{ModelArgs, read_target};
use crate::cli::{ExitStatus, Ui};

/// Show the operators, groups and sizes of a model
///
/// Exits 1 if the model has nodes that cannot run.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// Candidates, separated by commas
    #[arg(long, value_name = "LIST", default_value = "W4A8,W8A8,W8A16")]
    candidates: Candidates,

    /// Hardware to quantize for: a name or a file
    #[arg(long, value_name = "NAME|FILE", default_value = "generic")]
    target: String,

    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, ui: &Ui) -> anyhow::Result<ExitStatus> {
    let target = read_target(&args.target)?;
    let model = onnx::load_lenient(&args.model.model, &args.model.dims())?;
    let inspection = Inspection::new(model, &target, &args.candidates)?;
    let text = match args.json {
        true => to_json(&inspection),
        false => report::inspect(&inspection),
    };
    ui.data(text.as_bytes())?;
    let can_run = inspection.unsupported.is_empty();
    Ok(if can_run { ExitStatus::Success } else { ExitStatus::No })
}
