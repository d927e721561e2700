//! `mpq inspect`: what is a model made of, and what would be quantized?

use mpq::artifact::to_json;
use mpq::onnx;
use mpq::pipeline::Inspection;
use mpq::report;

use crate::cli::flags::{ChoiceArgs, ModelArgs};
use crate::cli::{ExitStatus, Ui};

/// Show the operators, groups and sizes of a model
///
/// Exits 1 if the model has nodes that cannot run.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    choice: ChoiceArgs,

    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, ui: &Ui) -> anyhow::Result<ExitStatus> {
    let candidates = args.choice.candidates();
    let target = args.choice.target(&candidates, ui)?;
    let model = onnx::load_lenient(&args.model.model, &args.model.dims())?;
    let inspection = Inspection::new(model, &target, &candidates, &args.choice.pins())?;
    let text = match args.json {
        true => to_json(&inspection),
        false => report::inspect(&inspection),
    };
    ui.data(text.as_bytes())?;
    let can_run = inspection.unsupported.is_empty();
    Ok(if can_run { ExitStatus::Success } else { ExitStatus::No })
}
