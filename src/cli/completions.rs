//! `mpq completions`: what a shell needs to complete our commands and flags.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::{Cli, ExitStatus, Ui};

/// Print the completions for a shell
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn run(args: Args, ui: &Ui) -> anyhow::Result<ExitStatus> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mpq", &mut script);
    ui.data(&script)?;
    Ok(ExitStatus::Success)
}
