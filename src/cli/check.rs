//! `mpq check`: does a configuration fit a model?

use std::path::PathBuf;

use mpq::onnx;
use mpq::pipeline::misfits;

use crate::cli::eval::dims;
use crate::cli::export::target;
use crate::cli::flags::ModelArgs;
use crate::cli::{ExitStatus, Ui, input};

/// Tell whether a configuration fits a model
///
/// Compared are the model itself, names, shapes, groups, candidates, the target's rules, costs and
/// budgets. Every problem is a line on stdout; exits 1 if there is one.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// What `mpq search` has decided, `-` for stdin
    #[arg(value_name = "CONFIG")]
    config: PathBuf,

    /// The target's file, if it is no built-in one
    #[arg(long, value_name = "FILE")]
    target: Option<String>,
}

pub(super) fn run(args: Args, ui: &Ui) -> anyhow::Result<ExitStatus> {
    let config = input::read(&args.config)?;
    let target = target(args.target.as_deref(), &config, ui)?;
    let mut sizes = dims(&config)?;
    sizes.extend(args.model.dims());
    let model = onnx::load(&args.model.model, &sizes)?;
    let found = misfits(model, &config, &target)?;
    let lines: String = found.iter().map(|misfit| format!("{misfit}\n")).collect();
    ui.data(lines.as_bytes())?;
    if found.is_empty() {
        ui.summary("the configuration fits the model");
        return Ok(ExitStatus::Success);
    }
    Ok(ExitStatus::No)
}
