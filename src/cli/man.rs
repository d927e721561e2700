//! `mpq man`: manual pages, made from the help texts.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use crate::cli::{Cli, ExitStatus, Ui};

/// Print or write the manual pages
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Command that the page is about; that of mpq without one
    #[arg(value_name = "COMMAND", conflicts_with = "output")]
    command: Option<String>,

    /// Folder for the pages of all commands
    ///
    /// Such as `share/man/man1`. It is made if it is not there.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: Args, ui: &Ui) -> anyhow::Result<ExitStatus> {
    let mut mpq = Cli::command().disable_help_subcommand(true);
    mpq.build();
    match (args.output, args.command) {
        (Some(folder), _) => write_all(&mpq, &folder)?,
        (None, None) => ui.data(&text(&page(mpq))?)?,
        (None, Some(name)) => {
            let Some(command) = mpq.find_subcommand(&name) else {
                let names: Vec<&str> = mpq.get_subcommands().map(Command::get_name).collect();
                bail!("command is `{name}`, expected one of {}", names.join(", "));
            };
            ui.data(&text(&page(command.clone()))?)?;
        }
    }
    Ok(ExitStatus::Success)
}

fn page(command: Command) -> Man {
    let source = concat!("mpq ", env!("CARGO_PKG_VERSION"));
    Man::new(command).source(source).manual("User Commands")
}

fn text(page: &Man) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    page.render(&mut text)?;
    Ok(text)
}

fn write_all(mpq: &Command, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("folder `{}` cannot be made", folder.display()))?;
    for command in std::iter::once(mpq).chain(mpq.get_subcommands()) {
        let page = page(command.clone());
        let path = folder.join(page.get_filename());
        std::fs::write(&path, text(&page)?)
            .with_context(|| format!("`{}` cannot be written", path.display()))?;
    }
    Ok(())
}
