//! `mpq schema`: what a file looks like, for editors and validators.

use mpq::artifact::{SCHEMAS, json_schema};

use crate::cli::{ExitStatus, Ui};

/// Print the JSON Schema of a kind of file
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Kind of file
    #[arg(value_name = "NAME", value_parser = kind())]
    name: String,
}

fn kind() -> clap::builder::PossibleValuesParser {
    SCHEMAS.iter().map(|&(name, _)| name).collect::<Vec<_>>().into()
}

pub(super) fn run(args: Args, ui: &Ui) -> anyhow::Result<ExitStatus> {
    let schema = json_schema(&args.name).expect("clap takes the names of the list only");
    ui.data(schema.as_bytes())?;
    Ok(ExitStatus::Success)
}
