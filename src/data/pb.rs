//! ONNX `TensorProto` files: the one place where samples meet the ONNX reader.

use std::path::Path;

use crate::data::DataError;
use crate::onnx;
use crate::tensor::Tensor;

/// The name and the value of the tensor in a `.pb` file.
pub(super) fn read(path: &Path) -> Result<(String, Tensor), DataError> {
    onnx::read_pb(path).map_err(DataError::Pb)
}
