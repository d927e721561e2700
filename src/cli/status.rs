//! `mpq merge --status`: how far the shards are whose parts come to lie in a folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use mpq::artifact::ROUNDING_PART_FILE;
use mpq::shard::Shard;
use serde::Deserialize;

use crate::cli::heartbeat::{self, Beat};
use crate::cli::log::now;
use crate::cli::phase::time_text;
use crate::cli::{ExitStatus, Ui};

/// Silence after which a shard is taken for dead, in seconds.
const STALE_S: f64 = 120.;

/// What is known of a shard.
enum State {
    Done,
    Running(Beat),
    Stale(Beat),
}

/// The table on stdout; the answer is no until all are done.
pub(super) fn show(dir: &Path, ui: &Ui) -> anyhow::Result<ExitStatus> {
    let shards = read(dir)?;
    let first = shards.keys().next();
    let first = first.with_context(|| format!("`{}` has no parts", dir.display()))?;
    let count = first.count();
    ensure!(
        shards.keys().all(|shard| shard.count() == count),
        "`{}` has parts of {count} shards and of others, expected those of one run",
        dir.display()
    );
    let is = |wanted: fn(&State) -> bool| shards.values().filter(|state| wanted(state)).count();
    let done = is(|state| matches!(state, State::Done));
    let running = is(|state| matches!(state, State::Running(_)));
    let stale = is(|state| matches!(state, State::Stale(_)));
    let waiting = count - shards.len() as u64;
    let mut text = format!("{done} of {count} shards done, {running} running, {stale} stale");
    if 0 < waiting {
        text += &format!(", {waiting} not begun");
    }
    text.push('\n');
    for (shard, state) in &shards {
        if let Some(line) = line(*shard, state) {
            text += &line;
        }
    }
    ui.data(text.as_bytes())?;
    Ok(if done as u64 == count { ExitStatus::Success } else { ExitStatus::No })
}

/// Nothing for what is done: there may be many.
fn line(shard: Shard, state: &State) -> Option<String> {
    let (word, beat) = match state {
        State::Done => return None,
        State::Running(beat) => ("running", beat),
        State::Stale(beat) => ("stale", beat),
    };
    let host = beat.host.as_deref().unwrap_or("?");
    let mut line = format!("{shard} {word} on {host}, process {}", beat.pid);
    if let Some(phase) = &beat.phase {
        line += &format!(", {phase} {} of {}", beat.done, beat.total);
    }
    line += &match (state, beat.left_s) {
        (State::Stale(_), _) => format!(", silent for {}", time_text(now() - beat.time)),
        (_, Some(left_s)) => format!(", {} left", time_text(left_s)),
        _ => String::new(),
    };
    line.push('\n');
    Some(line)
}

fn read(dir: &Path) -> anyhow::Result<BTreeMap<Shard, State>> {
    let cannot_read = || format!("cannot read `{}`", dir.display());
    let mut shards = BTreeMap::new();
    for entry in fs::read_dir(dir).with_context(cannot_read)? {
        let path = entry.with_context(cannot_read)?.path();
        if let Some(shard) = done(&path) {
            shards.insert(shard, State::Done);
        } else if let Some(beat) = heartbeat::read(&path) {
            let is_young = now() - beat.time < STALE_S;
            let state = if is_young { State::Running } else { State::Stale };
            // A part that is there counts more than what its next run has to say.
            shards.entry(beat.shard).or_insert(state(beat));
        }
    }
    Ok(shards)
}

/// What all parts begin with.
#[derive(Deserialize)]
struct Start {
    schema: String,
    shard: Shard,
}

/// The shard whose part this is; parts appear when they are complete.
fn done(path: &Path) -> Option<Shard> {
    let inner = path.join(ROUNDING_PART_FILE);
    let file: PathBuf = if inner.is_file() { inner } else { path.to_owned() };
    file.extension().filter(|extension| *extension == "json")?;
    let start: Start = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let is_part = ["mpq/part/", "mpq/rounding-part/"].iter().any(|s| start.schema.starts_with(s));
    is_part.then_some(start.shard)
}
