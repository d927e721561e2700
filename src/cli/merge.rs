//! `mpq merge`: what several machines measured or rounded, as one would have.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use mpq::artifact::{Artifact as _, Part, ROUNDING_PART_FILE};
use mpq::pipeline::{Merge, MergeError, RoundedMergeError, merge_rounded};
use mpq::report;

use crate::cli::round::Folder;
use crate::cli::{ExitStatus, Output, Ui, input, status};

/// Put the parts of several machines together
///
/// Parts are what `mpq sensitivity --shard` or `mpq round --shard` wrote. The result is byte for byte what
/// one machine writes. Exits 1 where parts are missing, doubled or foreign, and names them all.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Parts in any order: files, or folders of `mpq round`
    #[arg(value_name = "PART", required_unless_present = "status", conflicts_with = "status")]
    parts: Vec<PathBuf>,

    /// Write the result here: a file, `-` for stdout, or a folder
    #[arg(short, long, value_name = "OUT", required_unless_present = "status")]
    output: Option<PathBuf>,

    /// Write what is there, and mark it as partial
    ///
    /// It has the samples that all measurements are there for. `mpq search` takes it with --allow-partial.
    #[arg(long)]
    partial: bool,

    /// Show which shards are done, running or stale
    ///
    /// A shard is stale if nothing was heard of it for two minutes. Exits 1 until all are done.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output", "partial"])]
    status: Option<PathBuf>,
}

pub(super) fn run(args: Args, ui: &Ui) -> anyhow::Result<ExitStatus> {
    if let Some(dir) = &args.status {
        return status::show(dir, ui);
    }
    let output = args.output.as_deref().context("`-o` is missing")?;
    match args.parts.iter().any(|path| path.join(ROUNDING_PART_FILE).is_file()) {
        true => args.rounded(output, ui),
        false => args.measured(output, ui),
    }
}

impl Args {
    fn measured(&self, output: &Path, ui: &Ui) -> anyhow::Result<ExitStatus> {
        let output = Output::open(output)?;
        let mut merge = Merge::default();
        for path in &self.parts {
            merge.add(path.display().to_string(), input::read::<Part>(path)?);
        }
        let file = match merge.finish(self.partial) {
            Ok(file) => file,
            Err(error @ (MergeError::Gaps(_) | MergeError::Nothing)) => {
                ui.answer(&error.to_string());
                return Ok(ExitStatus::No);
            }
            Err(error) => return Err(error.into()),
        };
        output.write(file.to_json().as_bytes(), ui)?;
        if let Some(partial) = &file.partial {
            ui.warn(&format!("partial: {}", partial.text(file.calibration.samples)));
        }
        ui.summary(&report::sensitivity(&file));
        Ok(ExitStatus::Success)
    }

    fn rounded(&self, output: &Path, ui: &Ui) -> anyhow::Result<ExitStatus> {
        ensure!(!self.partial, "`--partial` is given, expected all parts of rounded weights");
        let folder = Folder::open(output)?;
        match merge_rounded(&self.parts) {
            Ok(files) => folder.write(&files)?,
            Err(error @ RoundedMergeError::Gaps(_)) => {
                ui.answer(&error.to_string());
                return Ok(ExitStatus::No);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(ExitStatus::Success)
    }
}
