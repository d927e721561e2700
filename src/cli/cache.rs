//! `mpq cache`: what earlier runs kept.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use mpq::artifact::to_json;
use mpq::cache::{self, Entry};
use mpq::report::{Align, Table, bytes};
use serde_json::json;

use crate::cli::flags::FolderArgs;
use crate::cli::{ExitStatus, Ui};

/// Show or remove what earlier runs measured
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the files, the one used last first
    List {
        #[command(flatten)]
        folder: FolderArgs,

        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove all files that no run is writing just now
    Clear {
        #[command(flatten)]
        folder: FolderArgs,
    },
}

pub(super) fn run(args: Args, ui: &Ui) -> anyhow::Result<ExitStatus> {
    let (Action::List { folder, .. } | Action::Clear { folder }) = &args.action;
    let folder = folder.path().context("there is no cache folder\nhint: name one with --cache")?;
    match args.action {
        Action::List { json, .. } => list(&folder, json, ui)?,
        Action::Clear { .. } => clear(&folder, ui)?,
    }
    Ok(ExitStatus::Success)
}

fn list(folder: &Path, as_json: bool, ui: &Ui) -> anyhow::Result<()> {
    let entries = cache::list(folder);
    let entries = entries.with_context(|| format!("cannot read `{}`", folder.display()))?;
    let text = if as_json { json(&entries) } else { table(folder, &entries) };
    Ok(ui.data(text.as_bytes())?)
}

fn table(folder: &Path, entries: &[Entry]) -> String {
    let total: u64 = entries.iter().map(|entry| entry.size_bytes).sum();
    let (n, folder) = (entries.len(), folder.display());
    let plural = if n == 1 { "" } else { "s" };
    let mut text = format!("{folder}: {n} file{plural}, {}\n", bytes(total));
    if entries.is_empty() {
        return text;
    }
    let (left, right) = (Align::Left, Align::Right);
    let columns =
        [("kind", left), ("model", left), ("SHA-256", left), ("size", right), ("used", right)];
    let mut table = Table::new(&columns);
    let now = SystemTime::now();
    for entry in entries {
        let subject = entry.subject.as_ref();
        let cell = |of: fn(&cache::Subject) -> &str| subject.map_or("?", of).to_owned();
        let sha256: String = cell(|subject| &subject.sha256).chars().take(8).collect();
        table.row([
            cell(|subject| &subject.kind),
            cell(|subject| &subject.file),
            sha256,
            bytes(entry.size_bytes),
            modified(&entry.path).map_or("?".to_owned(), |then| ago(now, then)),
        ]);
    }
    text.push_str(&format!("{table}\n"));
    text
}

fn json(entries: &[Entry]) -> String {
    let file = |entry: &Entry| {
        let since_1970 = |then: SystemTime| {
            then.duration_since(SystemTime::UNIX_EPOCH).ok().map(|t| t.as_secs())
        };
        json!({
            "path": entry.path.display().to_string(),
            "size_bytes": entry.size_bytes,
            "used_unix_s": modified(&entry.path).and_then(since_1970),
            "subject": entry.subject,
        })
    };
    let files: Vec<_> = entries.iter().map(file).collect();
    to_json(&json!({ "schema": "mpq/cache/1", "files": files }))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// As `5 min ago`, in the largest unit that is there whole.
fn ago(now: SystemTime, then: SystemTime) -> String {
    let seconds = now.duration_since(then).unwrap_or(Duration::ZERO).as_secs();
    let units = [(86_400, "days"), (3600, "h"), (60, "min")];
    let unit = units.into_iter().find(|&(length, _)| length <= seconds);
    unit.map_or("now".to_owned(), |(length, name)| format!("{} {name} ago", seconds / length))
}

fn clear(folder: &Path, ui: &Ui) -> anyhow::Result<()> {
    let cleared = cache::clear(folder);
    let cleared = cleared.with_context(|| format!("cannot clear `{}`", folder.display()))?;
    let plural = if cleared.n_files == 1 { "" } else { "s" };
    ui.summary(&format!("{} file{plural} removed, {}", cleared.n_files, bytes(cleared.size_bytes)));
    if 0 < cleared.n_in_use {
        ui.warn(&format!("{} in use by other runs, left where they are", cleared.n_in_use));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let then = SystemTime::UNIX_EPOCH;
        for (seconds, text) in [
            (0, "now"),
            (59, "now"),
            (60, "1 min ago"),
            (7199, "1 h ago"),
            (86_400 * 40, "40 days ago"),
        ] {
            assert_eq!(ago(then + Duration::from_secs(seconds), then), text);
        }
        assert_eq!(ago(then, then + Duration::from_secs(99)), "now");
    }
}
