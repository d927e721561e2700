//! [`Scratch`]: a folder that is gone when the work is done.

use std::fs::{self, DirBuilder};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::interrupt::Temporary;

/// A new folder among the system's temporary ones, removed with all that is in it when dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    _temporary: Temporary,
}

impl Scratch {
    pub(super) fn new() -> anyhow::Result<Scratch> {
        let parent = std::env::temp_dir();
        let process = std::process::id();
        for attempt in 0_u32.. {
            let path = parent.join(format!("mpq-{process}-{attempt}"));
            match Temporary::create(&path, |path| private().create(path)) {
                Ok((_temporary, ())) => return Ok(Scratch { path, _temporary }),
                // Left behind by a process that was killed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let context = format!("cannot make a folder in `{}`", parent.display());
                    return Err(error).context(context);
                }
            }
        }
        anyhow::bail!("`{}` is full of folders", parent.display())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to the system, which empties its temporary folder.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Nobody else sees what is in it.
fn private() -> DirBuilder {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(false);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_new_and_go_away() {
        let (first, second) = (Scratch::new().unwrap(), Scratch::new().unwrap());
        assert_ne!(first.path(), second.path());
        fs::write(first.path().join("a"), "x").unwrap();
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists() && second.path().exists());
    }
}
