//! Which files a path stands for.

use std::fs;
use std::path::{Path, PathBuf};

use crate::data::DataError;

/// A file, and its name in labels, errors and hashes: the path below the folder, with `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) path: PathBuf,
}

impl Entry {
    /// In lower case, without the dot; empty if there is none.
    pub(super) fn extension(&self) -> String {
        let extension = self.path.extension().unwrap_or_default();
        extension.to_string_lossy().to_lowercase()
    }
}

/// The files of one kind that a path stands for, sorted by name.
#[derive(Debug)]
pub(super) enum Files {
    Images(Vec<Entry>),
    Arrays(Vec<Entry>),
    Pbs(Vec<Entry>),
}

/// What a file or a folder holds; files of other kinds and hidden ones are passed over.
pub(super) fn find(path: &Path) -> Result<Files, DataError> {
    let metadata = fs::metadata(path).map_err(|source| DataError::read(path, source))?;
    let entries = if metadata.is_dir() {
        walk(path)?
    } else {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        vec![Entry { name, path: path.to_owned() }]
    };
    let [mut images, mut arrays, mut pbs] = [const { Vec::new() }; 3];
    for entry in entries {
        match entry.extension().as_str() {
            "png" | "jpg" | "jpeg" | "webp" | "bmp" => images.push(entry),
            "npy" | "npz" => arrays.push(entry),
            "pb" => pbs.push(entry),
            _ => {}
        }
    }
    match [images.len(), arrays.len(), pbs.len()] {
        [0, 0, 0] => Err(DataError::NoSamples { path: path.to_owned() }),
        [_, 0, 0] => Ok(Files::Images(images)),
        [0, _, 0] => Ok(Files::Arrays(arrays)),
        [0, 0, _] => Ok(Files::Pbs(pbs)),
        [images, arrays, pbs] => {
            Err(DataError::Mixed { path: path.to_owned(), images, arrays, pbs })
        }
    }
}

/// Every file below a folder that is not hidden, sorted by name.
pub(super) fn walk(folder: &Path) -> Result<Vec<Entry>, DataError> {
    let mut entries = Vec::new();
    descend(folder, "", &mut Vec::new(), &mut entries)?;
    entries.sort();
    Ok(entries)
}

/// `above` holds the real paths of the folders that lead here: a link back to one is not followed.
fn descend(
    folder: &Path,
    prefix: &str,
    above: &mut Vec<PathBuf>,
    entries: &mut Vec<Entry>,
) -> Result<(), DataError> {
    let unreadable = |source| DataError::read(folder, source);
    let real = folder.canonicalize().map_err(unreadable)?;
    if above.contains(&real) {
        return Ok(());
    }
    above.push(real);
    for child in fs::read_dir(folder).map_err(unreadable)? {
        let path = child.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        let name = format!("{prefix}{name}");
        if path.is_dir() {
            descend(&path, &format!("{name}/"), above, entries)?;
        } else {
            entries.push(Entry { name, path });
        }
    }
    above.pop();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        dir
    }

    #[test]
    fn sorted_by_relative_path() {
        let dir =
            folder(&["b/1.png", "a.JPG", "b.webp", "notes.txt", ".hidden.png", "b/.git/x.png"]);
        let Files::Images(found) = find(dir.path()).unwrap() else { panic!("not images") };
        let names: Vec<&str> = found.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["a.JPG", "b.webp", "b/1.png"]);
    }

    #[test]
    fn refusals() {
        let dir = folder(&["a.png", "b.npy", "c.npz"]);
        let mixed = find(dir.path()).unwrap_err().to_string();
        assert!(mixed.contains("1 images, 2 `.npy` or `.npz` files and 0 `.pb`"), "{mixed}");
        let dir = folder(&["a.txt"]);
        assert!(matches!(find(dir.path()), Err(DataError::NoSamples { .. })));
        assert!(matches!(find(&dir.path().join("none")), Err(DataError::Read { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_back_is_not_followed() {
        let dir = folder(&["a/x.png"]);
        std::os::unix::fs::symlink(dir.path(), dir.path().join("a/loop")).unwrap();
        assert_eq!(walk(dir.path()).unwrap().len(), 1);
    }
}
