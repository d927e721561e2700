//! From a path to a [`ModelProto`] whose raw tensor data still lies in the mapped file.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message as _;

use crate::onnx::proto::ModelProto;

/// Why a file holds no model.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },

    #[error("`{}` is a directory, expected an ONNX model", path.display())]
    Directory { path: PathBuf },

    #[error("`{}` is empty, expected an ONNX model", path.display())]
    Empty { path: PathBuf },

    #[error("`{}` is not an ONNX model", path.display())]
    Foreign { path: PathBuf },

    #[error(
        "`{}` is cut short: a part of the model has {found} bytes, expected {expected}",
        path.display()
    )]
    Truncated { path: PathBuf, found: usize, expected: usize },

    #[error("`{}` is an invalid ONNX model", path.display())]
    Decode { path: PathBuf, source: prost::DecodeError },

    #[error("`{}` is an invalid ONNX model: it has no `{missing}`", path.display())]
    Missing { path: PathBuf, missing: &'static str },

    #[error(
        "`{}` is an invalid ONNX model: its graph has neither nodes nor outputs",
        path.display()
    )]
    EmptyGraph { path: PathBuf },
}

/// The model in the file at `path`, and all bytes of that file.
///
/// The `bytes` fields of the model are slices of the returned bytes.
pub(crate) fn read_model(path: &Path) -> Result<(ModelProto, Bytes), FileError> {
    let path_buf = || path.to_path_buf();
    let bytes = map(path).map_err(|source| match source.kind() {
        io::ErrorKind::IsADirectory => FileError::Directory { path: path_buf() },
        _ => FileError::Read { path: path_buf(), source },
    })?;
    if bytes.is_empty() {
        return Err(FileError::Empty { path: path_buf() });
    }
    let model = ModelProto::decode(bytes.clone()).map_err(|source| match outline(&bytes) {
        Outline::Complete => FileError::Decode { path: path_buf(), source },
        Outline::Truncated { found, expected } => {
            FileError::Truncated { path: path_buf(), found, expected }
        }
        Outline::Foreign => FileError::Foreign { path: path_buf() },
    })?;
    check(&model, path)?;
    Ok((model, bytes))
}

/// The bytes of a file: mapped if it is a regular file, read if it is a pipe or device.
pub(super) fn map(path: &Path) -> io::Result<Bytes> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        return Ok(bytes.into());
    }
    if metadata.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: The map is only read, and lives as long as the `Bytes` that own it. Another process
    // may change the file meanwhile: then values change under us, or, if the file is made shorter,
    // the process is killed by a signal. No reader of ours relies on two reads being equal.
    #[allow(unsafe_code)]
    let map = unsafe { memmap2::Mmap::map(&file)? };
    Ok(Bytes::from_owner(map))
}

/// A foreign file may decode without an error: protobuf skips the fields that it does not know.
fn check(model: &ModelProto, path: &Path) -> Result<(), FileError> {
    let missing = |missing| FileError::Missing { path: path.to_path_buf(), missing };
    if model.ir_version.is_none() && model.graph.is_none() && model.opset_import.is_empty() {
        return Err(FileError::Foreign { path: path.to_path_buf() });
    }
    if model.ir_version.is_none() {
        return Err(missing("ir_version"));
    }
    let graph = model.graph.as_ref().ok_or_else(|| missing("graph"))?;
    if model.opset_import.is_empty() {
        return Err(missing("opset_import"));
    }
    if graph.node.is_empty() && graph.output.is_empty() {
        return Err(FileError::EmptyGraph { path: path.to_path_buf() });
    }
    Ok(())
}

/// What the outermost fields of a file that does not decode say about it.
#[derive(Debug, PartialEq)]
enum Outline {
    /// All are there, as in a model: what is wrong is inside one of them.
    Complete,
    Truncated {
        found: usize,
        expected: usize,
    },
    Foreign,
}

const VARINT: usize = 0;
const LENGTH_DELIMITED: usize = 2;

fn outline(mut bytes: &[u8]) -> Outline {
    let mut fields = 0;
    while !bytes.is_empty() {
        let cut = |found, expected| match fields {
            0 => Outline::Foreign,
            _ => Outline::Truncated { found, expected },
        };
        let left = bytes.len();
        let Some(key) = take_varint(&mut bytes) else { return cut(left, left + 1) };
        let expected = match key >> 3 {
            1 | 5 => VARINT,
            2..=4 | 6..=8 | 14 | 20 | 25.. => LENGTH_DELIMITED,
            _ => return Outline::Foreign,
        };
        if key & 7 != expected {
            return Outline::Foreign;
        }
        let left = bytes.len();
        let Some(value) = take_varint(&mut bytes) else { return cut(left, left + 1) };
        if expected == LENGTH_DELIMITED {
            match bytes.get(value..) {
                Some(rest) => bytes = rest,
                None => return cut(bytes.len(), value),
            }
        }
        fields += 1;
    }
    Outline::Complete
}

fn take_varint(bytes: &mut &[u8]) -> Option<usize> {
    prost::decode_length_delimiter(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::{error, fs};

    use expect_test::expect;

    use super::*;
    use crate::onnx::proto::{
        AttributeProto, GraphProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
    };

    fn small_model() -> ModelProto {
        let weight = TensorProto {
            name: Some("w".to_owned()),
            dims: vec![2],
            data_type: Some(1),
            raw_data: Some(Bytes::from_static(&[1, 2, 3, 4, 5, 6, 7, 8])),
            ..TensorProto::default()
        };
        let node = NodeProto {
            op_type: Some("Relu".to_owned()),
            input: vec!["w".to_owned()],
            output: vec!["y".to_owned()],
            ..NodeProto::default()
        };
        let y = ValueInfoProto { name: Some("y".to_owned()), ..ValueInfoProto::default() };
        let graph = GraphProto {
            node: vec![node],
            initializer: vec![weight],
            output: vec![y],
            ..GraphProto::default()
        };
        ModelProto {
            ir_version: Some(8),
            opset_import: vec![OperatorSetIdProto { version: Some(17), ..Default::default() }],
            graph: Some(graph),
            ..ModelProto::default()
        }
    }

    /// What reading a file of these bytes says, its cause included.
    fn refusal(bytes: &[u8]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.onnx");
        fs::write(&path, bytes).unwrap();
        describe(&read_model(&path).unwrap_err(), dir.path())
    }

    fn describe(error: &dyn error::Error, dir: &Path) -> String {
        let mut text = error.to_string();
        if let Some(cause) = error.source() {
            write!(text, ": {cause}").unwrap();
        }
        text.replace(&format!("{}/", dir.display()), "")
    }

    #[test]
    fn raw_data_stays_in_the_map() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.onnx");
        fs::write(&path, small_model().encode_to_vec()).unwrap();
        let (model, bytes) = read_model(&path).unwrap();
        let raw = model.graph.unwrap().initializer.remove(0).raw_data.unwrap();
        assert_eq!(raw[..], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(bytes.as_ptr_range().contains(&raw.as_ptr()));
        drop(bytes);
        assert_eq!(raw[..], [1, 2, 3, 4, 5, 6, 7, 8], "a slice keeps the map alive");
    }

    #[test]
    fn files_that_are_no_models() {
        let model = small_model().encode_to_vec();
        expect!["`m.onnx` is empty, expected an ONNX model"].assert_eq(&refusal(b""));
        expect!["`m.onnx` is not an ONNX model"].assert_eq(&refusal(b"# A text file\n"));
        expect!["`m.onnx` is not an ONNX model"].assert_eq(&refusal(b"\x89PNG\r\n\x1a\n\0\0"));
        expect!["`m.onnx` is not an ONNX model"].assert_eq(&refusal(b"PK\x03\x04 zip"));
        expect!["`m.onnx` is not an ONNX model"].assert_eq(&refusal(&[0; 64]));
        expect!["`m.onnx` is not an ONNX model"].assert_eq(&refusal(&model[..1]));
        expect!["`m.onnx` is cut short: a part of the model has 32 bytes, expected 38"]
            .assert_eq(&refusal(&model[..model.len() - 10]));
        expect!["`m.onnx` is cut short: a part of the model has 0 bytes, expected 1"]
            .assert_eq(&refusal(&model[..3]));
    }

    #[test]
    fn models_without_the_essentials() {
        let without = |change: fn(&mut ModelProto)| {
            let mut model = small_model();
            change(&mut model);
            refusal(&model.encode_to_vec())
        };
        expect!["`m.onnx` is an invalid ONNX model: it has no `graph`"]
            .assert_eq(&without(|model| model.graph = None));
        expect!["`m.onnx` is an invalid ONNX model: it has no `ir_version`"]
            .assert_eq(&without(|model| model.ir_version = None));
        expect!["`m.onnx` is an invalid ONNX model: it has no `opset_import`"]
            .assert_eq(&without(|model| model.opset_import.clear()));
        expect!["`m.onnx` is an invalid ONNX model: its graph has neither nodes nor outputs"]
            .assert_eq(&without(|model| model.graph = Some(GraphProto::default())));
    }

    #[test]
    fn a_text_that_is_not_utf8() {
        let mut model = small_model().encode_to_vec();
        let at = model.windows(4).position(|window| window == b"Relu").unwrap();
        model[at] = 0xff;
        expect!["`m.onnx` is an invalid ONNX model: failed to decode Protobuf message: NodeProto.op_type: GraphProto.node: ModelProto.graph: invalid string value: data is not UTF-8 encoded"].assert_eq(&refusal(&model));
    }

    #[test]
    fn bodies_in_bodies_without_end() {
        let mut graph = GraphProto::default();
        for _ in 0..100 {
            let attribute = AttributeProto { g: Some(graph), ..AttributeProto::default() };
            let node = NodeProto { attribute: vec![attribute], ..NodeProto::default() };
            graph = GraphProto { node: vec![node], ..GraphProto::default() };
        }
        let model = ModelProto { graph: Some(graph), ..small_model() };
        let text = refusal(&model.encode_to_vec());
        assert!(text.starts_with("`m.onnx` is an invalid ONNX model: "), "{text}");
        assert!(text.ends_with(": recursion limit reached"), "{text}");
    }

    #[test]
    fn paths_that_are_no_files() {
        let dir = tempfile::tempdir().unwrap();
        let refusal =
            |name: &str| describe(&read_model(&dir.path().join(name)).unwrap_err(), dir.path());
        expect!["cannot read `none.onnx`: No such file or directory (os error 2)"]
            .assert_eq(&refusal("none.onnx"));
        fs::create_dir(dir.path().join("folder")).unwrap();
        expect!["`folder` is a directory, expected an ONNX model"].assert_eq(&refusal("folder"));
        #[cfg(unix)]
        expect!["`/dev/null` is empty, expected an ONNX model"].assert_eq(&refusal("/dev/null"));
    }

    /// Protobuf is a chain of lengths that the file itself states: none may be believed.
    #[test]
    fn no_cut_and_no_flipped_byte_panics() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.onnx");
        let model = small_model().encode_to_vec();
        for at in 0..model.len() {
            fs::write(&path, &model[..at]).unwrap();
            read_model(&path).expect_err("a model that was cut");
            for flipped in [0, 0x7f, 0xff, model[at] ^ 1] {
                let mut model = model.clone();
                model[at] = flipped;
                fs::write(&path, model).unwrap();
                let _ = read_model(&path);
            }
        }
    }
}
