//! Where a result goes: stdout or a file that appears only when it is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::Ui;
use crate::cli::interrupt::Temporary;

#[derive(Debug, clap::Args)]
pub(super) struct OutputArgs {
    /// Write the result here, `-` for stdout [default: -]
    #[arg(short, long, value_name = "FILE", hide_default_value = true)]
    output: Option<PathBuf>,
}

impl OutputArgs {
    /// The file, if it is one.
    pub(super) fn path(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| !is_stdout(path))
    }

    /// Call it before the work: it fails where the result could not be written.
    pub(super) fn open(&self) -> anyhow::Result<Output> {
        match &self.output {
            Some(path) => Output::open(path),
            None => Ok(Output(Place::Stdout)),
        }
    }
}

/// A place that could be written when it was opened. Nothing is there before [`Output::write`].
#[derive(Debug)]
pub(super) struct Output(Place);

#[derive(Debug)]
enum Place {
    Stdout,
    /// A device or a pipe, written as it is.
    Stream(PathBuf, File),
    /// A file, and the name it has while it is written.
    File {
        path: PathBuf,
        temporary: PathBuf,
    },
}

impl Output {
    pub(super) fn open(path: &Path) -> anyhow::Result<Output> {
        if is_stdout(path) {
            return Ok(Output(Place::Stdout));
        }
        let place = open(path).with_context(|| cannot_write(path))?;
        Ok(Output(place))
    }

    /// All of the result, at once.
    pub(super) fn write(self, bytes: &[u8], ui: &Ui) -> anyhow::Result<()> {
        match self.0 {
            Place::Stdout => ui.data(bytes).context("cannot write to stdout"),
            Place::Stream(path, mut file) => {
                file.write_all(bytes).with_context(|| cannot_write(&path))
            }
            Place::File { path, temporary } => {
                let written = replace(&path, &temporary, bytes);
                if written.is_err() {
                    // The error that is told is the one of the writing.
                    let _ = fs::remove_file(&temporary);
                }
                written.with_context(|| cannot_write(&path))
            }
        }
    }
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-") || path == Path::new("/dev/stdout")
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write `{}`", path.display())
}

fn open(path: &Path) -> io::Result<Place> {
    // What a link points to is replaced, not the link.
    let path = match fs::canonicalize(path) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    match fs::metadata(&path) {
        Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => {
            return Ok(Place::Stream(path.clone(), OpenOptions::new().write(true).open(&path)?));
        }
        _ => {}
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    // Shows now that the folder takes files; what is killed before it writes leaves nothing behind.
    let created = Temporary::create(&temporary, create)?;
    fs::remove_file(&temporary)?;
    drop(created);
    Ok(Place::File { path, temporary })
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

fn replace(path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    let (_temporary, mut file) = Temporary::create(temporary, create)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ui() -> Ui {
        Ui::new(crate::cli::ui::Verbosity::QUIET)
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn files_appear_when_they_are_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.json");
        let output = Output::open(&path).unwrap();
        assert!(names(dir.path()).is_empty());
        output.write(b"one", &ui()).unwrap();
        Output::open(&path).unwrap().write(b"two", &ui()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(dir.path()), ["out.json"]);
    }

    #[test]
    fn what_cannot_be_written_is_refused_before_the_work() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("none").join("out.json");
        for path in [&missing, dir.path()] {
            let message = Output::open(path).unwrap_err().to_string();
            assert_eq!(message, format!("cannot write `{}`", path.display()));
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_links_and_devices_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, b"").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        Output::open(&link).unwrap().write(b"new", &ui()).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
        Output::open(Path::new("/dev/null")).unwrap().write(b"x", &ui()).unwrap();
    }
}
