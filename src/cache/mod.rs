//! What was measured, kept by content, so that it is measured once.
//!
//! A [`Cache`] is a folder. A [`Shelf`] of it has what is known of one kind for one model, as records of
//! a key and a value in files that are only ever appended to (`frame.rs` says how they are built). Keys are
//! [`Digest`]s of all that a value depends on, so a value is used for exactly what it was measured of,
//! however a run came to it, and never for anything else.
//!
//! A process may be killed at any moment: what it was writing is cut off by the next one. Processes at
//! the same time read all files and write one each, which they hold locked. A file that is damaged or of
//! another program or version is not read; a folder that cannot be written costs a warning.
//!
//! It knows nothing of networks.

mod digest;
mod folder;
mod frame;
mod packed;
mod shelf;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

pub use digest::{Digest, Digester};
pub use folder::{Cleared, Entry, clear, list, trim};
pub use packed::{Packed, Unpacked};
pub use shelf::Shelf;

use crate::progress::Progress;

/// Whose records a shelf has; in the file as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Such as `noise`.
    pub kind: String,
    /// Of this program.
    pub version: String,
    /// Tells builds of a version apart: two may measure different bytes.
    pub build: String,
    /// The model's name, for people: a renamed model is the same.
    pub file: String,
    /// Over the model and its external data.
    pub sha256: String,
}

impl Subject {
    fn digest(&self) -> Digest {
        let digester = Digester::new("shelf").text(&self.kind).text(&self.version);
        digester.text(&self.build).text(&self.sha256).finish()
    }

    /// Whether records of the other are records of this one.
    fn is_same(&self, other: &Subject) -> bool {
        self.digest() == other.digest()
    }
}

/// A folder of what was measured.
pub struct Cache {
    folder: PathBuf,
    build: String,
    progress: Arc<dyn Progress>,
    shelves: Mutex<BTreeMap<Digest, Arc<Shelf>>>,
}

impl Cache {
    /// `build` is of the running program; `progress` is warned where the folder cannot be used.
    pub fn new(folder: &Path, build: &str, progress: Arc<dyn Progress>) -> Cache {
        let (folder, build) = (folder.to_owned(), build.to_owned());
        Cache { folder, build, progress, shelves: Mutex::default() }
    }

    /// What is known of a model, by its file's name and SHA-256.
    pub fn shelf(&self, kind: &str, file: &str, sha256: &str) -> Arc<Shelf> {
        let subject = Subject {
            kind: kind.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build: self.build.clone(),
            file: file.to_owned(),
            sha256: sha256.to_owned(),
        };
        let mut shelves = self.shelves();
        let open = || Arc::new(Shelf::open(&self.folder, subject.clone(), &self.progress));
        Arc::clone(shelves.entry(subject.digest()).or_insert_with(open))
    }

    /// Writes what is still to be written. Shelves do it by themselves when there is much of it, and when
    /// they are dropped.
    pub fn flush(&self) {
        self.shelves().values().for_each(|shelf| shelf.flush());
    }

    fn shelves(&self) -> MutexGuard<'_, BTreeMap<Digest, Arc<Shelf>>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a shelf: what depends on one context.
#[derive(Debug, Clone)]
pub struct Drawer {
    shelf: Arc<Shelf>,
    context: Digest,
}

impl Drawer {
    /// `context` is over all that the values depend on besides the model and what [`Drawer::get`] names.
    pub fn new(shelf: Arc<Shelf>, context: Digest) -> Drawer {
        Drawer { shelf, context }
    }

    /// A part of it, of a narrower context.
    pub fn within(&self, context: &Digest) -> Drawer {
        Drawer { shelf: Arc::clone(&self.shelf), context: self.key(context) }
    }

    /// What earlier runs put there.
    pub fn get(&self, of: &Digest) -> Option<&[u8]> {
        self.shelf.get(&self.key(of))
    }

    pub fn put(&self, of: &Digest, value: &[u8]) {
        self.shelf.put(&self.key(of), value);
    }

    fn key(&self, of: &Digest) -> Digest {
        Digester::new("record").digest(&self.context).digest(of).finish()
    }
}
