//! Ctrl-C and SIGTERM: what was measured is written, what is half done is removed, and the user is told
//! where it stopped.
//!
//! A thread waits for them. The library knows nothing of it: every piece that it measures is handed to the
//! cache at once, so there is nothing to wind down.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use mpq::cache::Cache;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::cli::Ui;

/// How long a signal may wait.
const POLL: Duration = Duration::from_millis(20);

/// What is measured in this time may be lost to a kill that cannot be caught.
const POLLS_PER_FLUSH: u32 = 5;

/// What a process leaves behind that it does not come back to.
static LEFT: Mutex<Left> = Mutex::new(Left { temporaries: BTreeSet::new(), cache: None });

struct Left {
    temporaries: BTreeSet<PathBuf>,
    cache: Option<Arc<Cache>>,
}

fn left() -> MutexGuard<'static, Left> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file or folder that is removed if the process is stopped while this is there.
#[derive(Debug)]
pub(super) struct Temporary(PathBuf);

impl Temporary {
    /// Makes it, so that it cannot be there and not be known.
    pub(super) fn create<T>(
        path: &Path,
        make: impl FnOnce(&Path) -> io::Result<T>,
    ) -> io::Result<(Temporary, T)> {
        let mut left = left();
        let made = make(path)?;
        left.temporaries.insert(path.to_owned());
        Ok((Temporary(path.to_owned()), made))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        left().temporaries.remove(&self.0);
    }
}

/// Lets what is measured be written from time to time, and when the process is stopped.
pub(super) fn keep(cache: &Arc<Cache>) {
    left().cache = Some(Arc::clone(cache));
}

/// Writes what is still to be written.
pub(super) fn flush() {
    let cache = left().cache.clone();
    if let Some(cache) = cache {
        cache.flush();
    }
}

/// Starts the thread. Where it cannot be started, signals do what they do by default.
pub(super) fn watch(ui: &Ui) {
    let signal = Arc::new(AtomicUsize::new(0));
    let ui = ui.clone();
    let seen = Arc::clone(&signal);
    let started = thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for polls in 1_u32.. {
            thread::sleep(POLL);
            if polls.is_multiple_of(POLLS_PER_FLUSH) {
                flush();
            }
            match i32::try_from(seen.load(Ordering::Relaxed)) {
                Ok(0) | Err(_) => {}
                Ok(signal) => stop(signal, &ui),
            }
        }
    });
    if started.is_err() {
        return;
    }
    for number in [SIGINT, SIGTERM] {
        let value = usize::try_from(number).unwrap_or_default();
        // Without it the signal ends the process at once, which is safe as well.
        let _ = signal_hook::flag::register_usize(number, Arc::clone(&signal), value);
    }
}

/// Ends the process with 128 and the signal, as a shell would call it.
#[expect(clippy::exit, reason = "the work goes on in other threads, and is not to be waited for")]
fn stop(signal: i32, ui: &Ui) {
    flush();
    // Held to the end: nothing new is made any more.
    let left = left();
    for path in &left.temporaries {
        remove(path);
    }
    let word = if signal == SIGTERM { "terminated" } else { "interrupted" };
    ui.stopped(word, left.cache.is_some());
    process::exit(128 + signal);
}

/// Someone may be writing into a folder just now.
fn remove(path: &Path) {
    for _ in 0..3 {
        let is_gone = fs::remove_file(path).is_ok() || fs::remove_dir_all(path).is_ok();
        if is_gone || !path.exists() {
            return;
        }
    }
}
