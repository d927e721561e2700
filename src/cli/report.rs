//! `mpq report`: a result as one page, pictures or tables.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use mpq::artifact::Config;
use mpq::report::{FORMATS, Format, PARTS, Part, Report};

use crate::cli::output::Output;
use crate::cli::{ExitStatus, OutputArgs, Ui, input};

/// Show a result: one page, pictures or tables
///
/// html is one page that needs no network: the curve of cost against quality, how sensitive every
/// group is, the bit-widths of the network, where the BOPs and bytes are, groups, conversions and
/// the settings. markdown has all of these as tables, svg the pictures of one part, csv the table
/// of one part.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What `mpq search` wrote, `-` for stdin
    #[arg(value_name = "CONFIG")]
    config: PathBuf,

    /// Form [default: by the extension of -o, else html]
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<&'static Format>,

    /// Only this part [default: all; svg: curve, csv: groups]
    ///
    /// summary, curve, sensitivity, bits, cost, groups, conversions or settings; svg has curve,
    /// sensitivity, bits and cost.
    #[arg(long, value_name = "NAME", value_parser = part)]
    part: Option<&'static Part>,

    #[command(flatten)]
    output: OutputArgs,
}

fn format(name: &str) -> Result<&'static Format, String> {
    let names = FORMATS.iter().map(|format| format.name);
    Format::find(name).ok_or_else(|| format!("format is `{name}`, expected {}", listed(names)))
}

fn part(name: &str) -> Result<&'static Part, String> {
    let names = PARTS.iter().map(|part| part.name);
    Part::find(name).ok_or_else(|| format!("part is `{name}`, expected {}", listed(names)))
}

/// `` `a`, `b` ``.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// What a file of this name is to be.
fn format_of(path: &Path) -> anyhow::Result<&'static Format> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let format = Format::of_extension(&extension.to_ascii_lowercase());
    let extensions = || listed(FORMATS.iter().map(|format| format.extension));
    format.with_context(|| {
        let path = path.display();
        format!("report `{path}` has extension `{extension}`, expected {}", extensions())
    })
}

pub(super) fn run(args: Args, ui: &Ui) -> anyhow::Result<ExitStatus> {
    let format = match (args.format, args.output.path()) {
        (Some(format), _) => format,
        (None, Some(path)) => format_of(path)
            .map_err(|error| anyhow::anyhow!("{error}\nhint: say what it is with --format"))?,
        (None, None) => &FORMATS[0],
    };
    if let Some(part) = args.part.filter(|part| !(format.shows)(part)) {
        let expected = listed(format.parts().map(|part| part.name));
        bail!("part `{}` has no picture, expected {expected} for `{}`", part.name, format.name);
    }
    let output = args.output.open()?;
    let config = input::read(&args.config)?;
    let text = format.write(&Report::new(&config), args.part);
    output.write(text.as_bytes(), ui)?;
    Ok(ExitStatus::Success)
}

/// A report beside a result: its form is that of its name.
#[derive(Debug)]
pub(super) struct ReportFile {
    format: &'static Format,
    output: Output,
}

/// Call it before the work: it fails where the report could not be written.
pub(super) fn open(path: &Path) -> anyhow::Result<ReportFile> {
    Ok(ReportFile { format: format_of(path)?, output: Output::open(path)? })
}

impl ReportFile {
    pub(super) fn write(self, config: &Config, ui: &Ui) -> anyhow::Result<()> {
        self.output.write(self.format.write(&Report::new(config), None).as_bytes(), ui)
    }
}
