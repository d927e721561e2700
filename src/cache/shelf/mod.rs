//! [`Shelf`]: records in memory as files had them, and one file that new ones are appended to.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cache::folder::EXTENSION;
use crate::cache::frame::{self, Key, Rest, Unreadable};
use crate::cache::{Digest, Subject};
use crate::progress::Progress;

/// More is written at once; less waits for [`Shelf::flush`].
const PENDING_BYTES: usize = 1 << 16;

/// Records by key.
pub struct Shelf {
    /// What was in the files when they were opened.
    files: Vec<Vec<u8>>,
    known: HashMap<Key, (usize, Range<usize>)>,
    writer: Mutex<Writer>,
    progress: Arc<dyn Progress>,
}

/// What is still to be written, and where.
struct Writer {
    folder: PathBuf,
    subject: Subject,
    /// `None` until there is something to write.
    open: Option<Open>,
    pending: Vec<u8>,
    /// Nothing is kept after a failure.
    has_failed: bool,
}

/// A file that this process alone writes.
struct Open {
    file: File,
    /// What its frames are bound to.
    id: Digest,
    len: usize,
}

impl Shelf {
    /// Files that cannot be read are as if they were not there.
    pub(super) fn open(folder: &Path, subject: Subject, progress: &Arc<dyn Progress>) -> Shelf {
        let paths = paths(folder, &subject);
        let writer = Writer {
            folder: folder.to_owned(),
            subject,
            open: None,
            pending: Vec::new(),
            has_failed: false,
        };
        let mut shelf = Shelf {
            files: Vec::new(),
            known: HashMap::new(),
            writer: Mutex::new(writer),
            progress: Arc::clone(progress),
        };
        for path in paths {
            // It may have been removed just now, or belong to someone else.
            let _ = shelf.read(&path);
        }
        shelf
    }

    pub(super) fn get(&self, of: &Digest) -> Option<&[u8]> {
        let (file, range) = self.known.get(&frame::key(of))?;
        Some(&self.files[*file][range.clone()])
    }

    /// Keeps a value for later runs; this one does not ask for it again.
    pub(super) fn put(&self, of: &Digest, value: &[u8]) {
        let mut writer = self.writer();
        if writer.has_failed || !frame::push_record(&mut writer.pending, &frame::key(of), value) {
            return;
        }
        if PENDING_BYTES <= writer.pending.len() {
            self.write(&mut writer);
        }
    }

    pub(super) fn flush(&self) {
        self.write(&mut self.writer());
    }

    fn write(&self, writer: &mut Writer) {
        if writer.pending.is_empty() || writer.has_failed {
            return;
        }
        if let Err(error) = writer.write() {
            writer.has_failed = true;
            let folder = writer.folder.display();
            self.progress.warn(&format!(
                "cannot write to the cache `{folder}`: {error}; what is measured now is not kept"
            ));
        }
        writer.pending = Vec::new();
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a file has, and the file to write to if it is the first that no one else writes.
    fn read(&mut self, path: &Path) -> io::Result<()> {
        let can_write = OpenOptions::new().read(true).write(true).open(path);
        let (mut file, is_ours) = match can_write {
            Ok(file) => {
                let is_first = self.writer().open.is_none();
                let is_locked = is_first && file.try_lock().is_ok();
                (file, is_locked)
            }
            Err(_) => (File::open(path)?, false),
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let contents = match frame::read(&bytes) {
            Ok(contents) if contents.subject.is_same(&self.writer().subject) => contents,
            Err(Unreadable::Torn) => {
                if is_ours {
                    let start = frame::start(&self.writer().subject);
                    self.writer().open = Some(Open::begin(file, &start)?);
                }
                return Ok(());
            }
            _ => {
                let path = path.display();
                self.progress.warn(&format!(
                    "`{path}` is no cache file of this mpq, and is not used\nhint: remove it"
                ));
                return Ok(());
            }
        };
        if contents.rest == Rest::Damaged {
            let (path, end) = (path.display(), contents.end);
            self.progress.warn(&format!(
                "cache file `{path}` is damaged from byte {end} on; what was there is measured again"
            ));
        }
        if is_ours {
            self.writer().open = Open::go_on(file, &bytes, &contents).ok();
        }
        let index = self.files.len();
        let records = contents.records.into_iter();
        self.known.extend(records.map(|(key, range)| (key, (index, range))));
        self.files.push(bytes);
        Ok(())
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("n_known", &self.known.len()).finish_non_exhaustive()
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Writer {
    fn write(&mut self) -> io::Result<()> {
        if self.open.is_none() {
            self.open = Some(self.create()?);
        }
        let open = self.open.as_mut().expect("it was just made");
        let bytes = frame::frame(Some(&open.id), open.len, &self.pending);
        let written = open.file.write_all(&bytes);
        if written.is_err() {
            // A part of a frame is cut off by the next who writes; sooner is better.
            let _ = open.file.set_len(open.len as u64);
        }
        open.len += bytes.len();
        written
    }

    /// A file of a name that no one has.
    fn create(&self) -> io::Result<Open> {
        fs::create_dir_all(&self.folder)?;
        let start = frame::start(&self.subject);
        for number in 0_u32.. {
            let path = self.folder.join(name(&self.subject, number));
            match OpenOptions::new().read(true).write(true).create_new(true).open(path) {
                // Where files cannot be locked, no one else writes to it either.
                Ok(file) => match file.try_lock() {
                    Err(fs::TryLockError::WouldBlock) => {}
                    _ => return Open::begin(file, &start),
                },
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Open {
    /// With nothing but a subject.
    fn begin(mut file: File, start: &[u8]) -> io::Result<Open> {
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(start)?;
        let id = frame::read(start).expect("it was just made").file;
        Ok(Open { file, id, len: start.len() })
    }

    /// After what is good of it.
    fn go_on(mut file: File, bytes: &[u8], contents: &frame::Contents) -> io::Result<Open> {
        if contents.end < bytes.len() {
            file.set_len(contents.end as u64)?;
        }
        // The same bytes again: now it is the one that was used last, see `trim`.
        file.rewind()?;
        file.write_all(frame::MAGIC)?;
        file.seek(SeekFrom::Start(contents.end as u64))?;
        Ok(Open { file, id: contents.file, len: contents.end })
    }
}

fn stem(subject: &Subject) -> String {
    let digest = subject.digest().to_string();
    format!("{}-{}", subject.kind, &digest[..32])
}

fn name(subject: &Subject, number: u32) -> String {
    format!("{}-{number}.{EXTENSION}", stem(subject))
}

/// The files of a shelf in the order of their names.
fn paths(folder: &Path, subject: &Subject) -> Vec<PathBuf> {
    let stem = stem(subject) + "-";
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_of_shelf = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| name.starts_with(&stem) && name.ends_with(EXTENSION))
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_of_shelf).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests;
