//! The command line: parse, call the library, print, exit code. A file per subcommand.

mod cache;
mod check;
mod compare;
mod completions;
mod error;
mod eval;
mod export;
mod flags;
mod goal;
mod heartbeat;
mod input;
mod inspect;
mod interrupt;
mod log;
mod man;
mod merge;
mod ops;
mod output;
mod phase;
mod phase1;
mod report;
mod round;
mod run;
mod schema;
mod scratch;
mod search;
mod sensitivity;
mod status;
mod ticker;
mod ui;

use std::process::ExitCode;

use clap::Parser as _;

use flags::{DataArgs, ModelArgs, QuantArgs, RunArgs};
use output::{Output, OutputArgs};
use ui::Ui;

/// Mixed-precision post-training quantization of ONNX models
#[derive(Debug, clap::Parser)]
#[command(name = "mpq", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    verbosity: ui::Verbosity,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Search(search::Args),
    Sensitivity(sensitivity::Args),
    Eval(eval::Args),
    Export(export::Args),
    Inspect(inspect::Args),
    Merge(merge::Args),
    Round(round::Args),
    Run(run::Args),
    Check(check::Args),
    Compare(compare::Args),
    Report(report::Args),
    Cache(cache::Args),
    Ops(ops::Args),
    Schema(schema::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// What a command that did its work came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExitStatus {
    Success = 0,
    /// Done, and the answer is no.
    No = 1,
}

/// Could not do it.
const FAILURE: u8 = 2;

/// Runs the command that the process was called with.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to tell if this cannot be printed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(FAILURE));
        }
    };
    let ui = Ui::new(cli.verbosity);
    interrupt::watch(&ui);
    let status = error::catch(|| cli.command.run(&ui));
    interrupt::flush();
    ui.stop_beating();
    match status {
        Ok(status) => {
            ui.resumed();
            ExitCode::from(status as u8)
        }
        Err(error) if error::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            ui.error(&error::text(&error));
            ExitCode::from(FAILURE)
        }
    }
}

impl Command {
    fn run(self, ui: &Ui) -> anyhow::Result<ExitStatus> {
        match self {
            Command::Search(args) => search::run(args, ui),
            Command::Sensitivity(args) => sensitivity::run(args, ui),
            Command::Eval(args) => eval::run(args, ui),
            Command::Export(args) => export::run(args, ui),
            Command::Inspect(args) => inspect::run(args, ui),
            Command::Merge(args) => merge::run(args, ui),
            Command::Round(args) => round::run(args, ui),
            Command::Run(args) => run::run(args, ui),
            Command::Check(args) => check::run(args, ui),
            Command::Compare(args) => compare::run(args, ui),
            Command::Report(args) => report::run(args, ui),
            Command::Cache(args) => cache::run(args, ui),
            Command::Ops(args) => ops::run(args, ui),
            Command::Schema(args) => schema::run(args, ui),
            Command::Completions(args) => completions::run(args, ui),
            Command::Man(args) => man::run(args, ui),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// One style for all help: short first lines without a full stop, a value name for each flag.
    #[test]
    fn help_texts_are_of_one_style() {
        for command in Cli::command().get_subcommands() {
            for arg in command.get_arguments() {
                let name = format!("{} {}", command.get_name(), arg.get_id());
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let first = help.lines().next().unwrap_or_default();
                assert!(!first.is_empty() && first.chars().count() < 60, "{name}: {first}");
                assert!(!first.ends_with('.'), "{name}: {first}");
            }
        }
    }
}
