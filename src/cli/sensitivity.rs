//! `mpq sensitivity`: how much does quantizing each group alone hurt?

use std::path::PathBuf;

use mpq::artifact::Artifact as _;
use mpq::pipeline::sensitivity_file;
use mpq::report;

use crate::cli::phase1::{MeasureArgs, Priced};
use crate::cli::{ExitStatus, OutputArgs, Ui};

/// Measure how much quantizing each group alone hurts
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Calibration inputs: a folder, a file, NAME=PATH or noise
    #[arg(long, value_name = "PATH", required = true)]
    calib: Vec<PathBuf>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    measure: MeasureArgs,
}

pub(super) fn run(args: Args, ui: &Ui) -> anyhow::Result<ExitStatus> {
    let output = args.output.open()?;
    let file = args.measure.run.install(|| {
        args.measure.measure(&args.calib, Priced::default(), ui, |study, head| {
            Ok(sensitivity_file(&study, head)?)
        })
    })?;
    output.write(file.to_json().as_bytes(), ui)?;
    ui.summary(&report::sensitivity(&file));
    Ok(ExitStatus::Success)
}
