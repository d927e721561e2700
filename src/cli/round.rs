//! `mpq round`: rounds all weights once, for `--rounded DIR`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use mpq::artifact::{ROUNDING_FILE, ROUNDING_PART_FILE};
use mpq::pipeline::{Head, rounded_files, rounded_part_files};
use mpq::quant::{Bits, Effort};
use mpq::report;
use mpq::shard::Shard;

use crate::cli::flags::{Count, Defaults};
use crate::cli::heartbeat::Heartbeat;
use crate::cli::interrupt::Temporary;
use crate::cli::phase1::{MeasureArgs, Samples, kept};
use crate::cli::{ExitStatus, Ui};

/// Round all weights once per bit-width, for --rounded
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Calibration inputs: a folder, a file, NAME=PATH or noise
    #[arg(long, value_name = "PATH", required = true)]
    calib: Vec<PathBuf>,

    /// Bit-widths of weights, by commas
    #[arg(long, value_name = "LIST", required = true, value_delimiter = ',', value_parser = bits)]
    bits: Vec<Bits>,

    /// Write the weights to this folder
    ///
    /// One that is there is replaced if `mpq round` wrote it.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Steps of the optimizer at most [default: 2000]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    iterations: Option<Count>,

    /// Round share I of N, layer by layer, for `mpq merge`
    ///
    /// The output is a folder for each share; I counts from 0.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,

    #[command(flatten)]
    measure: MeasureArgs,
}

fn bits(text: &str) -> Result<Bits, String> {
    let bits = text.trim().parse().ok().and_then(Bits::new).filter(|bits| !bits.is_float());
    bits.ok_or_else(|| format!("found `{text}`, expected 2 to 16"))
}

pub(super) fn run(args: Args, ui: &Ui) -> anyhow::Result<ExitStatus> {
    let folder = Folder::open(&args.output)?;
    if let Some(shard) = args.shard {
        ui.beat(Heartbeat::new(&args.output, shard));
    }
    let files = args.measure.run.install(|| args.round(ui))?;
    folder.write(&files)?;
    if args.shard.is_some() {
        return Ok(ExitStatus::Success);
    }
    let (model, dir) = (args.measure.model.model.display(), args.output.display());
    ui.summary(&format!("next: mpq search {model} --calib PATH --rounded {dir} --budget V"));
    Ok(ExitStatus::Success)
}

impl Args {
    fn round(&self, ui: &Ui) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        let MeasureArgs { model, data, quant, run, cache } = &self.measure;
        let settings =
            quant.round_settings(&self.bits, model.dims(), data.seed(), run.engine(), ui)?;
        let model = model.load_within(run.memory_bytes())?;
        let defaults = Defaults::CALIBRATION.within(run.memory_bytes());
        let samples = Samples::open(&model, &self.calib, data, defaults, ui)?;
        let network = samples.network(model, settings, run.resources())?;
        let head = Head::new(&network, &samples.data)?;
        let (feed, resources) = (samples.feed(), run.resources());
        let kept = kept(cache, &network, &feed, ui)?;
        let kept = kept.as_ref();
        let encodings = network.calibrate(&*network.engine(resources), &feed, kept, ui)?;
        let default = Effort::DEFAULT.iterations;
        let iterations = self.iterations.map_or(Ok(default), |count| u32::try_from(count.0));
        let effort = Effort { iterations: iterations.context("--iterations is too large")? };
        let shard = self.shard.unwrap_or(Shard::WHOLE);
        let rounded =
            network.round_share(&encodings, (effort, shard), &feed, kept, resources, ui)?;
        let rounded =
            rounded.context("rounding is `nearest`, expected one that is worth keeping")?;
        ui.summary(&samples.text());
        ui.summary(&report::rounded(&rounded));
        Ok(match self.shard {
            Some(shard) => rounded_part_files(&network, head, &rounded, (effort, shard))?,
            None => rounded_files(&network, head, &rounded, effort)?,
        })
    }
}

/// A folder that appears when it is complete.
pub(super) struct Folder {
    path: PathBuf,
    temporary: PathBuf,
}

impl Folder {
    /// Call it before the work: it fails where the folder could not be written.
    pub(super) fn open(path: &Path) -> anyhow::Result<Folder> {
        let cannot_write = || format!("cannot write `{}`", path.display());
        if path.exists() {
            let ours = [ROUNDING_FILE, ROUNDING_PART_FILE];
            let is_ours = ours.iter().any(|file| path.join(file).is_file());
            let is_empty = || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
            ensure!(
                is_ours || is_empty(),
                "`{}` is there and holds something else, expected a folder that `mpq round` wrote",
                path.display()
            );
        }
        let name = path.file_name().with_context(cannot_write)?.to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
        // Shows now that it can be made; what is killed before it writes leaves nothing behind.
        let made = Temporary::create(&temporary, |path| fs::create_dir(path));
        let made = made.with_context(cannot_write)?;
        fs::remove_dir(&temporary).with_context(cannot_write)?;
        drop(made);
        Ok(Folder { path: path.to_owned(), temporary })
    }

    pub(super) fn write(&self, files: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
        let write = || {
            let _made = Temporary::create(&self.temporary, |path| fs::create_dir(path))?;
            for (name, bytes) in files {
                fs::write(self.temporary.join(name), bytes)?;
            }
            if self.path.exists() {
                fs::remove_dir_all(&self.path)?;
            }
            fs::rename(&self.temporary, &self.path)
        };
        let written = write();
        if written.is_err() {
            // The error that is told is the one of the writing.
            let _ = fs::remove_dir_all(&self.temporary);
        }
        written.with_context(|| format!("cannot write `{}`", self.path.display()))
    }
}
