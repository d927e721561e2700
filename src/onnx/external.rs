//! Tensor data that lies in files beside the model.
//!
//! A model names such a file by a path relative to its own folder. Nothing outside that folder is
//! ever opened, whatever the model says.

use std::cell::RefCell;
use std::io;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::onnx::file;
use crate::onnx::proto::TensorProto;
use crate::tensor::TensorType;

/// Why the data of a tensor in a file of its own could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    #[error("external data is invalid: it has no `location`")]
    NoLocation,

    #[error("external data is invalid: `{key}` is `{found}`, expected a number of bytes")]
    Number { key: &'static str, found: String },

    #[error("external data file `{location}` is not inside the folder of the model")]
    Outside { location: String },

    #[error("cannot read external data file `{location}`: {error}")]
    Read { location: String, error: io::Error },

    #[error(
        "external data is invalid: `length` in `{location}` is {found}, \
         expected {expected} bytes for {ty}"
    )]
    Length { location: String, found: u64, expected: usize, ty: TensorType },

    #[error(
        "external data file `{location}` is too short: it has {found} bytes, \
         expected {expected} from offset {offset} on"
    )]
    TooShort { location: String, found: usize, expected: usize, offset: u64 },
}

/// The files beside one model, each mapped once, in order of first use.
#[derive(Debug)]
pub(crate) struct External {
    folder: PathBuf,
    files: RefCell<Vec<(PathBuf, Bytes)>>,
}

impl External {
    /// For the model, or the `.pb` file, at `path`.
    pub(crate) fn beside(path: &Path) -> External {
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        External { folder, files: RefCell::new(Vec::new()) }
    }

    /// The bytes of `proto`, which is of type `ty`.
    pub(super) fn data(
        &self,
        proto: &TensorProto,
        ty: &TensorType,
    ) -> Result<Bytes, ExternalError> {
        let Entry { location, offset, length } = Entry::read(proto)?;
        let expected = ty.packed_bytes();
        if let Some(found) = length
            && usize::try_from(found) != Ok(expected)
        {
            return Err(ExternalError::Length { location, found, expected, ty: ty.clone() });
        }
        let file = self.file(&location)?;
        let end = usize::try_from(offset).ok().and_then(|start| {
            let end = start.checked_add(expected)?;
            (end <= file.len()).then_some((start, end))
        });
        match end {
            Some((start, end)) => Ok(file.slice(start..end)),
            None => Err(ExternalError::TooShort { location, found: file.len(), expected, offset }),
        }
    }

    fn file(&self, location: &str) -> Result<Bytes, ExternalError> {
        let unreadable = |error| ExternalError::Read { location: location.to_owned(), error };
        let path = self.resolve(location)?;
        let mut files = self.files.borrow_mut();
        if let Some((_, bytes)) = files.iter().find(|(known, _)| *known == path) {
            return Ok(bytes.clone());
        }
        if !path.metadata().map_err(unreadable)?.is_file() {
            return Err(unreadable(io::Error::other("it is not a regular file")));
        }
        let bytes = file::map(&path).map_err(unreadable)?;
        files.push((path, bytes.clone()));
        Ok(bytes)
    }

    /// The true path of a file inside the folder, links followed.
    fn resolve(&self, location: &str) -> Result<PathBuf, ExternalError> {
        let outside = || ExternalError::Outside { location: location.to_owned() };
        let unreadable = |error| ExternalError::Read { location: location.to_owned(), error };
        let is_below = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !Path::new(location).components().all(is_below) {
            return Err(outside());
        }
        let folder = self.folder.canonicalize().map_err(unreadable)?;
        let path = folder.join(location).canonicalize().map_err(unreadable)?;
        if path.starts_with(&folder) { Ok(path) } else { Err(outside()) }
    }

    /// SHA-256, in hex, of the model followed by its external files in order of first use:
    /// what `cat model.onnx weights.bin | sha256sum` prints.
    pub(crate) fn sha256(&self, model: &[u8]) -> String {
        let mut hasher = Sha256::new();
        hasher.update(model);
        for (_, bytes) in self.files.borrow().iter() {
            hasher.update(bytes);
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What a tensor says of its place.
struct Entry {
    location: String,
    offset: u64,
    length: Option<u64>,
}

impl Entry {
    fn read(proto: &TensorProto) -> Result<Entry, ExternalError> {
        let find = |key| {
            let entry = proto.external_data.iter().find(|entry| entry.key() == key);
            entry.map(|entry| entry.value().to_owned())
        };
        let number = |key| match find(key) {
            None => Ok(None),
            Some(found) => {
                let number = found.parse().map_err(|_| ExternalError::Number { key, found })?;
                Ok(Some(number))
            }
        };
        Ok(Entry {
            location: find("location")
                .filter(|text| !text.is_empty())
                .ok_or(ExternalError::NoLocation)?,
            offset: number("offset")?.unwrap_or(0),
            length: number("length")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use expect_test::expect;

    use super::*;
    use crate::onnx::proto::StringStringEntryProto;

    struct Folder(tempfile::TempDir);

    impl Folder {
        /// `outer/secret.bin`, `outer/model/w.bin` of 16 bytes, and a model in `outer/model`.
        fn new() -> Folder {
            let folder = Folder(tempfile::tempdir().unwrap());
            fs::create_dir_all(folder.0.path().join("model/sub")).unwrap();
            fs::write(folder.0.path().join("secret.bin"), [9; 16]).unwrap();
            fs::write(folder.model("w.bin"), (0..16).collect::<Vec<u8>>()).unwrap();
            folder
        }

        fn model(&self, name: &str) -> PathBuf {
            self.0.path().join("model").join(name)
        }

        fn external(&self) -> External {
            External::beside(&self.model("m.onnx"))
        }

        fn refusal(&self, entries: &[(&str, &str)]) -> String {
            let external = self.external();
            external.data(&tensor(entries), &TensorType::f32(&[2])).unwrap_err().to_string()
        }
    }

    fn tensor(entries: &[(&str, &str)]) -> TensorProto {
        let entry = |&(key, value): &(&str, &str)| StringStringEntryProto {
            key: Some(key.to_owned()),
            value: Some(value.to_owned()),
        };
        TensorProto { external_data: entries.iter().map(entry).collect(), ..TensorProto::default() }
    }

    #[test]
    fn data_is_a_slice_of_one_map() {
        let folder = Folder::new();
        let external = folder.external();
        let ty = TensorType::f32(&[2]);
        let first = external.data(&tensor(&[("location", "w.bin")]), &ty).unwrap();
        let entries =
            [("location", "./w.bin"), ("offset", "8"), ("length", "8"), ("checksum", "?")];
        let second = external.data(&tensor(&entries), &ty).unwrap();
        assert_eq!(first[..], [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(second[..], [8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(first.as_ptr_range().end, second.as_ptr());
        assert_eq!(external.files.borrow().len(), 1);
    }

    #[test]
    fn places_that_are_refused() {
        let folder = Folder::new();
        let refusal = |location: &str| folder.refusal(&[("location", location)]);
        expect!["external data file `../secret.bin` is not inside the folder of the model"]
            .assert_eq(&refusal("../secret.bin"));
        expect!["external data file `sub/../../secret.bin` is not inside the folder of the model"]
            .assert_eq(&refusal("sub/../../secret.bin"));
        expect!["external data file `/etc/passwd` is not inside the folder of the model"]
            .assert_eq(&refusal("/etc/passwd"));
        expect![
            "cannot read external data file `none.bin`: No such file or directory (os error 2)"
        ]
        .assert_eq(&refusal("none.bin"));
        expect!["cannot read external data file `sub`: it is not a regular file"]
            .assert_eq(&refusal("sub"));
        expect!["external data is invalid: it has no `location`"].assert_eq(&refusal(""));
        expect!["external data is invalid: it has no `location`"].assert_eq(&folder.refusal(&[]));
    }

    #[cfg(unix)]
    #[test]
    fn links_may_not_lead_out() {
        use std::os::unix::fs::symlink;

        let folder = Folder::new();
        symlink("../secret.bin", folder.model("out.bin")).unwrap();
        symlink("..", folder.model("up")).unwrap();
        symlink("w.bin", folder.model("in.bin")).unwrap();
        expect!["external data file `out.bin` is not inside the folder of the model"]
            .assert_eq(&folder.refusal(&[("location", "out.bin")]));
        expect!["external data file `up/secret.bin` is not inside the folder of the model"]
            .assert_eq(&folder.refusal(&[("location", "up/secret.bin")]));
        let ty = TensorType::f32(&[4]);
        assert!(folder.external().data(&tensor(&[("location", "in.bin")]), &ty).is_ok());
    }

    #[test]
    fn sizes_that_do_not_fit() {
        let folder = Folder::new();
        let refusal = |key, value| folder.refusal(&[("location", "w.bin"), (key, value)]);
        expect![
            "external data is invalid: `length` in `w.bin` is 4, expected 8 bytes for float32 [2]"
        ]
        .assert_eq(&refusal("length", "4"));
        expect!["external data is invalid: `length` is `-8`, expected a number of bytes"]
            .assert_eq(&refusal("length", "-8"));
        expect![
            "external data file `w.bin` is too short: it has 16 bytes, expected 8 from offset 9 on"
        ]
        .assert_eq(&refusal("offset", "9"));
        expect!["external data file `w.bin` is too short: it has 16 bytes, expected 8 from offset 18446744073709551615 on"].assert_eq(&refusal("offset", "18446744073709551615"));
        expect!["external data is invalid: `offset` is `1e3`, expected a number of bytes"]
            .assert_eq(&refusal("offset", "1e3"));
    }

    #[test]
    fn the_hash_is_that_of_the_files_in_a_row() {
        let folder = Folder::new();
        fs::write(folder.model("abc.bin"), "abc").unwrap();
        let external = folder.external();
        let sha256_of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(external.sha256(b"abc"), sha256_of_abc);
        let ty = TensorType::new(crate::tensor::DType::U8, &[3]);
        external.data(&tensor(&[("location", "abc.bin")]), &ty).unwrap();
        assert_eq!(external.sha256(b""), sha256_of_abc);
        assert_ne!(external.sha256(b"abc"), sha256_of_abc);
    }
}
