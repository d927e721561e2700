//! What a folder has: to look at, to clear, and to keep within bounds.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::cache::{Subject, frame};

/// Of all files of a cache.
pub(super) const EXTENSION: &str = "mpqc";

/// The most that a subject takes.
const START_BYTES: u64 = 1 << 16;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub path: PathBuf,
    pub size_bytes: u64,
    /// `None` where it is of another program or version of the format, or damaged.
    pub subject: Option<Subject>,
}

/// What was removed and what was not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleared {
    pub n_files: usize,
    pub size_bytes: u64,
    /// Files that are being written just now.
    pub n_in_use: usize,
}

/// All files of a cache, the one that was used last first; none if there is no such folder.
pub fn list(folder: &Path) -> io::Result<Vec<Entry>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != EXTENSION) {
            continue;
        }
        // It may have been removed just now.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let subject = subject(&path).unwrap_or_default();
        let size_bytes = metadata.len();
        found.push((metadata.modified()?, Entry { path, size_bytes, subject }));
    }
    found.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.path.cmp(&y.path)));
    Ok(found.into_iter().map(|(_, entry)| entry).collect())
}

fn subject(path: &Path) -> io::Result<Option<Subject>> {
    let mut start = Vec::new();
    File::open(path)?.take(START_BYTES).read_to_end(&mut start)?;
    Ok(frame::read(&start).ok().map(|contents| contents.subject))
}

/// Removes all files that no process is writing.
pub fn clear(folder: &Path) -> io::Result<Cleared> {
    let mut cleared = Cleared::default();
    for entry in list(folder)? {
        cleared.remove(&entry)?;
    }
    Ok(cleared)
}

/// Removes those that were used longest ago, until no more than `limit_bytes` are left.
pub fn trim(folder: &Path, limit_bytes: u64) -> io::Result<Cleared> {
    let mut cleared = Cleared::default();
    let entries = list(folder)?;
    let mut total: u64 = entries.iter().map(|entry| entry.size_bytes).sum();
    for entry in entries.iter().rev() {
        if total <= limit_bytes {
            break;
        }
        cleared.remove(entry)?;
        total -= entry.size_bytes;
    }
    Ok(cleared)
}

impl Cleared {
    fn remove(&mut self, entry: &Entry) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(&entry.path);
        if let Ok(file) = &file
            && matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock))
        {
            self.n_in_use += 1;
            return Ok(());
        }
        match fs::remove_file(&entry.path) {
            Ok(()) => {
                self.n_files += 1;
                self.size_bytes += entry.size_bytes;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}
