//! Single tensors in `.pb` files, as the test data of ONNX models has them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use prost::Message as _;

use crate::onnx::external::External;
use crate::onnx::file;
use crate::onnx::proto::TensorProto;
use crate::onnx::tensor::{self, TensorError};
use crate::tensor::Tensor;

/// Why a `.pb` file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PbError {
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },

    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },

    #[error("`{}` is not an ONNX tensor", path.display())]
    Decode { path: PathBuf, source: prost::DecodeError },

    #[error("`{}` holds no tensor that can be read", path.display())]
    Tensor { path: PathBuf, source: TensorError },
}

/// The name and the values of the tensor in a `.pb` file; the name is often empty.
pub fn read_pb(path: &Path) -> Result<(String, Tensor), PbError> {
    let path_buf = || path.to_path_buf();
    let bytes = file::map(path).map_err(|source| PbError::Read { path: path_buf(), source })?;
    let proto = TensorProto::decode(bytes)
        .map_err(|source| PbError::Decode { path: path_buf(), source })?;
    let tensor = tensor::decode(&proto, &External::beside(path))
        .map_err(|source| PbError::Tensor { path: path_buf(), source })?;
    Ok((proto.name.unwrap_or_default(), tensor))
}

/// Writes a tensor so that [`read_pb`], and every other reader of ONNX, can read it.
pub fn write_pb(path: &Path, name: &str, tensor: &Tensor) -> Result<(), PbError> {
    fs::write(path, tensor::encode(name, tensor).encode_to_vec())
        .map_err(|source| PbError::Write { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use expect_test::expect;

    use super::*;
    use crate::onnx::lazy::tests::one_of_each;

    #[test]
    fn written_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("input_0.pb");
        for tensor in one_of_each() {
            write_pb(&path, "x", &tensor).unwrap();
            assert_eq!(read_pb(&path).unwrap(), ("x".to_owned(), tensor));
        }
    }

    #[test]
    fn files_that_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("input_0.pb");
        let refusal = || {
            let error = read_pb(&path).unwrap_err();
            let text = format!("{error}: {}", error.source().unwrap());
            text.replace(&format!("{}/", dir.path().display()), "")
        };
        expect!["cannot read `input_0.pb`: No such file or directory (os error 2)"]
            .assert_eq(&refusal());
        fs::write(&path, b"").unwrap();
        expect!["`input_0.pb` holds no tensor that can be read: element type is invalid: code 0, expected 1 to 28"].assert_eq(&refusal());
        fs::write(&path, b"\x93NUMPY").unwrap();
        expect!["`input_0.pb` is not an ONNX tensor: failed to decode Protobuf message: buffer underflow"].assert_eq(&refusal());
        write_pb(&path, "x", &Tensor::scalar(1_f32)).unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        expect!["`input_0.pb` is not an ONNX tensor: failed to decode Protobuf message: TensorProto.raw_data: buffer underflow"].assert_eq(&refusal());
    }
}
