//! `mpq compare`: what differs between two files of a kind?

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use mpq::artifact::{
    self, Artifact as _, ArtifactError, Config, ConfigDifference, ListDifference, Sensitivity,
    to_json,
};
use mpq::report;

use crate::cli::input::read_bytes;
use crate::cli::{ExitStatus, Ui};

/// Tell what differs between two results of a kind
///
/// Two configurations: what changed; exits 1 if anything did. Two sensitivity lists: Kendall's tau
/// and where they differ most; exits 1 if tau is below --min-tau.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What `mpq search` or `mpq sensitivity` wrote, `-` for stdin
    #[arg(value_name = "A.json")]
    a: PathBuf,

    /// The same for another run; one of the two may be `-`
    #[arg(value_name = "B.json")]
    b: PathBuf,

    /// The least Kendall's tau that two lists may have
    #[arg(long, value_name = "T", value_parser = tau, allow_hyphen_values = true)]
    min_tau: Option<f64>,

    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

fn tau(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| (-1. ..=1.).contains(number));
    number.ok_or_else(|| format!("found `{text}`, expected a number from -1 to 1"))
}

/// A file of one of the two kinds.
enum File {
    Config(Box<Config>),
    List(Box<Sensitivity>),
}

pub(super) fn run(args: Args, ui: &Ui) -> anyhow::Result<ExitStatus> {
    ensure!(
        [&args.a, &args.b].iter().any(|path| *path != Path::new("-")),
        "both files are `-`, expected one of them at most"
    );
    let (a, b) = (read(&args.a)?, read(&args.b)?);
    let names = || format!("`{}` and `{}`", args.a.display(), args.b.display());
    let (text, is_yes) = match (a, b) {
        (File::Config(a), File::Config(b)) => {
            ensure!(
                args.min_tau.is_none(),
                "`--min-tau` is for sensitivity lists, and {} are configurations",
                names()
            );
            let difference = ConfigDifference::new(&a, &b).with_context(names)?;
            let text = report::config_difference(&difference);
            (if args.json { to_json(&difference) } else { text }, difference.is_equal)
        }
        (File::List(a), File::List(b)) => {
            let difference = ListDifference::new(&a, &b).with_context(names)?;
            let text = report::list_difference(&difference);
            let is_alike =
                args.min_tau.is_none_or(|least| difference.tau.is_some_and(|tau| least <= tau));
            (if args.json { to_json(&difference) } else { text }, is_alike)
        }
        (File::Config(_), File::List(_)) => bail!(mix(&args.a, &args.b)),
        (File::List(_), File::Config(_)) => bail!(mix(&args.b, &args.a)),
    };
    ui.data(text.as_bytes())?;
    Ok(if is_yes { ExitStatus::Success } else { ExitStatus::No })
}

fn mix(config: &Path, list: &Path) -> String {
    let (config, list) = (config.display(), list.display());
    format!(
        "`{config}` is a configuration and `{list}` a sensitivity list, expected two of one kind"
    )
}

/// Reads a file of either kind.
fn read(path: &Path) -> anyhow::Result<File> {
    let name = path.display().to_string();
    let json = read_bytes(path)?;
    match artifact::parse::<Config>(&name, &json) {
        Ok(config) => Ok(File::Config(Box::new(config))),
        Err(ArtifactError::Schema { found, .. }) if found.starts_with("mpq/sensitivity/") => {
            Ok(File::List(Box::new(artifact::parse(&name, &json)?)))
        }
        Err(ArtifactError::Schema { file, found, expected }) => {
            let list = Sensitivity::schema();
            bail!("`{file}` has schema `{found}`, expected `{expected}` or `{list}`")
        }
        Err(error) => Err(error.into()),
    }
}
