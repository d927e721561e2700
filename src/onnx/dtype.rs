//! Element types by their codes in files.

use crate::onnx::TensorError;
use crate::onnx::proto::tensor_proto::DataType;
use crate::tensor::DType;

/// The dtype of a `TensorProto.DataType` code.
pub(crate) fn dtype(code: i32) -> Result<DType, TensorError> {
    let invalid = TensorError::TypeInvalid { code };
    let found = match DataType::try_from(code) {
        Err(_) | Ok(DataType::Undefined) => return Err(invalid),
        Ok(found) => found,
    };
    let known = DType::ALL.iter().find(|&&dtype| data_type(dtype) == found);
    known.copied().ok_or_else(|| {
        let name = found.as_str_name().to_ascii_lowercase();
        TensorError::TypeNotSupported { name }
    })
}

/// The `TensorProto.DataType` of a dtype.
pub(crate) fn data_type(dtype: DType) -> DataType {
    match dtype {
        DType::F32 => DataType::Float,
        DType::F64 => DataType::Double,
        DType::F16 => DataType::Float16,
        DType::BF16 => DataType::Bfloat16,
        DType::I8 => DataType::Int8,
        DType::I16 => DataType::Int16,
        DType::I32 => DataType::Int32,
        DType::I64 => DataType::Int64,
        DType::U8 => DataType::Uint8,
        DType::U16 => DataType::Uint16,
        DType::U32 => DataType::Uint32,
        DType::U64 => DataType::Uint64,
        DType::Bool => DataType::Bool,
        DType::I4 => DataType::Int4,
        DType::U4 => DataType::Uint4,
        DType::I2 => DataType::Int2,
        DType::U2 => DataType::Uint2,
        DType::F8E4M3FN => DataType::Float8e4m3fn,
        DType::F8E4M3FNUZ => DataType::Float8e4m3fnuz,
        DType::F8E5M2 => DataType::Float8e5m2,
        DType::F8E5M2FNUZ => DataType::Float8e5m2fnuz,
        DType::F8E8M0 => DataType::Float8e8m0,
        DType::F6E2M3 => DataType::Float6e2m3,
        DType::F6E3M2 => DataType::Float6e3m2,
        DType::F4E2M1 => DataType::Float4e2m1,
    }
}
