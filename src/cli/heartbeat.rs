//! [`Heartbeat`]: a file beside the output of a shard that tells how far it is, while it runs.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use mpq::shard::Shard;
use serde::{Deserialize, Serialize};

use crate::cli::interrupt::Temporary;
use crate::cli::log::now;
use crate::cli::phase::Reach;

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Beat {
    pub(super) schema: String,
    pub(super) shard: Shard,
    /// `None` before the first phase.
    pub(super) phase: Option<String>,
    pub(super) done: u64,
    pub(super) total: u64,
    pub(super) left_s: Option<f64>,
    pub(super) host: Option<String>,
    pub(super) pid: u32,
    /// Seconds since 1970.
    pub(super) time: f64,
}

const SCHEMA: &str = "mpq/progress/1";

/// After the name of the output.
const SUFFIX: &str = ".progress";

/// Written every few seconds; left behind by what was killed without a word, and then no longer young.
pub(super) struct Heartbeat {
    path: PathBuf,
    shard: Shard,
    /// Removed where the process is told to end.
    _file: Option<Temporary>,
}

impl Heartbeat {
    /// Beside `output`.
    pub(super) fn new(output: &Path, shard: Shard) -> Heartbeat {
        let mut name = output.file_name().map_or_else(OsString::new, OsString::from);
        name.push(SUFFIX);
        let path = output.with_file_name(name);
        let file = Temporary::create(&path, |path| fs::write(path, ""));
        let file = file.ok().map(|(temporary, ())| temporary);
        Heartbeat { path, shard, _file: file }
    }

    /// What cannot be written is no reason to stop the work.
    pub(super) fn write(&self, reach: Option<&Reach>) {
        let beat = Beat {
            schema: SCHEMA.to_owned(),
            shard: self.shard,
            phase: reach.map(|reach| reach.phase.clone()),
            done: reach.map_or(0, |reach| reach.done),
            total: reach.map_or(0, |reach| reach.total),
            left_s: reach.and_then(|reach| reach.left_s),
            host: host(),
            pid: std::process::id(),
            time: now(),
        };
        let json = serde_json::to_string(&beat).expect("plain data with text keys");
        let temporary = self.path.with_extension(format!("{}.tmp", std::process::id()));
        let _ = fs::write(&temporary, json).and_then(|()| fs::rename(&temporary, &self.path));
    }

    pub(super) fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// What is in a file if it is one of these.
pub(super) fn read(path: &Path) -> Option<Beat> {
    path.to_str().filter(|path| path.ends_with(SUFFIX))?;
    let beat: Beat = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (beat.schema == SCHEMA).then_some(beat)
}

fn host() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("COMPUTERNAME").ok())?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_lies_beside_the_output_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let heartbeat = Heartbeat::new(&dir.path().join("part-1.json"), "1/4".parse().unwrap());
        heartbeat.write(None);
        let path = dir.path().join("part-1.json.progress");
        let beat = read(&path).unwrap();
        assert_eq!((beat.shard.to_string().as_str(), beat.done), ("1/4", 0));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        heartbeat.remove();
        assert!(!path.exists() && read(&path).is_none());
    }
}
