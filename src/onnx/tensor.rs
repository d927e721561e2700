//! `TensorProto` to [`Tensor`] and back.
//!
//! Elements come as little-endian bytes (`raw_data`, or a file beside the model), which are decoded
//! when they are first read, or in a typed field (`float_data`, ...), which is decoded at once.

use std::num::TryFromIntError;

use half::{bf16, f16};

use crate::onnx::dtype::{data_type, dtype};
use crate::onnx::external::{External, ExternalError};
use crate::onnx::lazy::{LazyTensor, small, to_le_bytes};
use crate::onnx::packed::unpack;
use crate::onnx::proto::TensorProto;
use crate::onnx::proto::tensor_proto::DataLocation;
use crate::tensor::{DType, Element, MOST_PLACES_OF_EMPTY, Tensor, TensorType};

/// What is wrong with a tensor in a file; who reports it adds the tensor's name.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    #[error("element type `{name}` is not supported")]
    TypeNotSupported { name: String },

    #[error("element type is invalid: code {code}, expected 1 to 28")]
    TypeInvalid { code: i32 },

    #[error("shape {dims:?} is invalid: dimension {axis} is negative")]
    NegativeDim { dims: Vec<i64>, axis: usize },

    #[error("shape {dims:?} is invalid: more elements than memory can address")]
    TooLarge { dims: Vec<i64> },

    #[error(
        "shape {dims:?} is invalid: empty, with more than {MOST_PLACES_OF_EMPTY} places along the \
         other dimensions"
    )]
    EmptyTooLarge { dims: Vec<i64> },

    #[error("it has no data, expected {expected} elements of {ty}")]
    NoData { expected: usize, ty: TensorType },

    #[error("it has data in both `{first}` and `{second}`, expected one of them")]
    TwoSources { first: &'static str, second: &'static str },

    #[error("its data is in `{found}`, expected `{expected}` or `raw_data` for {dtype}")]
    WrongField { found: &'static str, expected: &'static str, dtype: DType },

    #[error("`{field}` has {found} {unit}, expected {expected} for {ty}")]
    Count { field: &'static str, unit: &'static str, found: usize, expected: usize, ty: TensorType },

    #[error("element {index} of `{field}` is {found}, expected a value of {dtype}")]
    Element { field: &'static str, index: usize, found: String, dtype: DType },

    #[error("data in segments, or a sequence of tensors, is not supported")]
    Segment,

    #[error(transparent)]
    External(#[from] ExternalError),
}

impl TensorError {
    /// Whether the file is right and mpq does not read such tensors yet.
    pub fn is_not_supported(&self) -> bool {
        matches!(self, TensorError::TypeNotSupported { .. } | TensorError::Segment)
    }
}

/// The type of a constant; its data is not looked at.
pub(crate) fn constant_type(proto: &TensorProto) -> Result<TensorType, TensorError> {
    let dtype = dtype(proto.data_type())?;
    Ok(TensorType { dtype, shape: shape(&proto.dims, dtype)? })
}

/// The constant itself, checked as far as is possible without reading its elements.
pub(crate) fn constant(
    proto: &TensorProto,
    external: &External,
) -> Result<LazyTensor, TensorError> {
    let ty = constant_type(proto)?;
    if proto.segment.is_some() {
        return Err(TensorError::Segment);
    }
    let raw = match source(proto)? {
        Some(("external_data", _)) => external.data(proto, &ty)?,
        Some((field @ "raw_data", found)) => {
            let expected = ty.packed_bytes();
            if found != expected {
                return Err(TensorError::Count { field, unit: "bytes", found, expected, ty });
            }
            proto.raw_data.clone().unwrap_or_default()
        }
        Some((field, found)) => return typed(proto, &ty, field, found).map(LazyTensor::from),
        None if ty.is_empty() => bytes::Bytes::new(),
        None => return Err(TensorError::NoData { expected: ty.len(), ty }),
    };
    Ok(LazyTensor::from_le_bytes(ty, raw).expect("the number of bytes was compared"))
}

/// The values of a constant.
pub(crate) fn decode(proto: &TensorProto, external: &External) -> Result<Tensor, TensorError> {
    constant(proto, external).map(LazyTensor::into_tensor)
}

/// A tensor as raw data.
pub(crate) fn encode(name: &str, tensor: &Tensor) -> TensorProto {
    let dim = |&dim| i64::try_from(dim).expect("a dimension fits in memory");
    TensorProto {
        name: Some(name.to_owned()),
        dims: tensor.shape().iter().map(dim).collect(),
        data_type: Some(data_type(tensor.dtype()).into()),
        raw_data: Some(to_le_bytes(tensor).into()),
        ..TensorProto::default()
    }
}

/// Dimensions that an array of `dtype` can have.
pub(super) fn shape(dims: &[i64], dtype: DType) -> Result<Vec<usize>, TensorError> {
    if let Some(axis) = dims.iter().position(|&dim| dim < 0) {
        return Err(TensorError::NegativeDim { dims: dims.to_vec(), axis });
    }
    let shape: Option<Vec<usize>> = dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
    let ty = shape.map(|shape| TensorType { dtype, shape }).filter(TensorType::is_addressable);
    let too_large = |dims: Vec<i64>| {
        if dims.contains(&0) {
            return TensorError::EmptyTooLarge { dims };
        }
        TensorError::TooLarge { dims }
    };
    Ok(ty.ok_or_else(|| too_large(dims.to_vec()))?.shape)
}

/// The one field that holds data, and how much: elements, or bytes for raw data.
fn source(proto: &TensorProto) -> Result<Option<(&'static str, usize)>, TensorError> {
    let is_external = proto.data_location() == DataLocation::External;
    let fields = [
        ("external_data", usize::from(is_external)),
        ("raw_data", proto.raw_data().len()),
        ("float_data", proto.float_data.len()),
        ("double_data", proto.double_data.len()),
        ("int32_data", proto.int32_data.len()),
        ("int64_data", proto.int64_data.len()),
        ("uint64_data", proto.uint64_data.len()),
        ("string_data", proto.string_data.len()),
    ];
    let mut filled = fields.into_iter().filter(|&(_, len)| len > 0);
    match (filled.next(), filled.next()) {
        (Some((first, _)), Some((second, _))) => Err(TensorError::TwoSources { first, second }),
        (first, _) => Ok(first),
    }
}

fn typed(
    proto: &TensorProto,
    ty: &TensorType,
    found_in: &'static str,
    found: usize,
) -> Result<Tensor, TensorError> {
    let dtype = ty.dtype;
    // An entry holds a byte of packed elements, but one element of 6 bits.
    let is_packed = matches!(dtype.packed_bits(), 2 | 4);
    let expected = if is_packed { ty.packed_bytes() } else { ty.len() };
    let field = typed_field(dtype);
    if found_in != field {
        return Err(TensorError::WrongField { found: found_in, expected: field, dtype });
    }
    if found != expected {
        let ty = ty.clone();
        return Err(TensorError::Count { field, unit: "elements", found, expected, ty });
    }
    let half = |bits| u16::try_from(bits);
    match dtype {
        DType::F32 => Ok(Tensor::from_vec(&ty.shape, proto.float_data.clone())),
        DType::F64 => Ok(Tensor::from_vec(&ty.shape, proto.double_data.clone())),
        DType::I32 => Ok(Tensor::from_vec(&ty.shape, proto.int32_data.clone())),
        DType::I64 => Ok(Tensor::from_vec(&ty.shape, proto.int64_data.clone())),
        DType::U64 => Ok(Tensor::from_vec(&ty.shape, proto.uint64_data.clone())),
        DType::U32 => narrowed(ty, &proto.uint64_data, u32::try_from),
        DType::I8 => narrowed(ty, &proto.int32_data, i8::try_from),
        DType::I16 => narrowed(ty, &proto.int32_data, i16::try_from),
        DType::U8 => narrowed(ty, &proto.int32_data, u8::try_from),
        DType::U16 => narrowed(ty, &proto.int32_data, u16::try_from),
        DType::F16 => narrowed(ty, &proto.int32_data, |bits| half(bits).map(f16::from_bits)),
        DType::BF16 => narrowed(ty, &proto.int32_data, |bits| half(bits).map(bf16::from_bits)),
        DType::Bool => narrowed(ty, &proto.int32_data, |x| u8::try_from(x).map(|x| x != 0)),
        _ => {
            let entry_bits = if is_packed { 8 } else { dtype.packed_bits() };
            let bytes = small_entries(dtype, &proto.int32_data, entry_bits)?;
            let element_bits = if is_packed { dtype.packed_bits() } else { 8 };
            Ok(small(ty, unpack(&bytes, element_bits, ty.len())))
        }
    }
}

fn typed_field(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float_data",
        DType::F64 => "double_data",
        DType::I64 => "int64_data",
        DType::U32 | DType::U64 => "uint64_data",
        _ => "int32_data",
    }
}

fn narrowed<Wide: Copy + ToString, T: Element>(
    ty: &TensorType,
    elements: &[Wide],
    narrow: impl Fn(Wide) -> Result<T, TryFromIntError>,
) -> Result<Tensor, TensorError> {
    let narrow = |(index, &wide): (usize, &Wide)| {
        narrow(wide).map_err(|_| out_of_range(ty.dtype, index, wide))
    };
    let elements = elements.iter().enumerate().map(narrow).collect::<Result<_, _>>()?;
    Ok(Tensor::from_vec(&ty.shape, elements))
}

/// Entries of `n_bits`, at most 8, as bytes.
fn small_entries(dtype: DType, entries: &[i32], n_bits: usize) -> Result<Vec<u8>, TensorError> {
    let largest = u8::MAX >> (8 - n_bits);
    let byte = |(index, &entry): (usize, &i32)| {
        let byte = u8::try_from(entry).ok().filter(|&byte| byte <= largest);
        byte.ok_or_else(|| out_of_range(dtype, index, entry))
    };
    entries.iter().enumerate().map(byte).collect()
}

fn out_of_range(dtype: DType, index: usize, found: impl ToString) -> TensorError {
    TensorError::Element { field: typed_field(dtype), index, found: found.to_string(), dtype }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use expect_test::expect;

    use super::*;
    use crate::dispatch_small;
    use crate::onnx::lazy::tests::one_of_each;
    use crate::onnx::proto::tensor_proto::DataType;
    use crate::tensor::Small;

    fn proto(data_type: DataType, dims: &[i64]) -> TensorProto {
        let data_type = Some(data_type.into());
        TensorProto { data_type, dims: dims.to_vec(), ..TensorProto::default() }
    }

    fn read(proto: &TensorProto) -> Result<Tensor, TensorError> {
        decode(proto, &External::beside(Path::new("m.onnx")))
    }

    fn refusal(proto: TensorProto) -> String {
        read(&proto).unwrap_err().to_string()
    }

    #[test]
    fn encoded_and_back() {
        for tensor in one_of_each() {
            let proto = encode("x", &tensor);
            assert_eq!(proto.name(), "x");
            assert_eq!(constant_type(&proto).unwrap(), tensor.ty());
            assert_eq!(read(&proto).unwrap(), tensor);
        }
        for shape in [vec![], vec![0], vec![3, 0, 2]] {
            let tensor = Tensor::full(&shape, 7_i64);
            assert_eq!(read(&encode("x", &tensor)).unwrap(), tensor);
        }
    }

    #[test]
    fn typed_fields() {
        for tensor in one_of_each() {
            let mut proto = proto(data_type(tensor.dtype()), &[2, 1, 2]);
            match tensor.dtype() {
                DType::F32 => proto.float_data = tensor.slice::<f32>().to_vec(),
                DType::F64 => proto.double_data = tensor.slice::<f64>().to_vec(),
                DType::I64 => proto.int64_data = tensor.slice::<i64>().to_vec(),
                DType::U64 => proto.uint64_data = tensor.slice::<u64>().to_vec(),
                DType::U32 => {
                    proto.uint64_data = tensor.slice::<u32>().iter().map(|&x| x.into()).collect();
                }
                _ => proto.int32_data = as_int32_data(&tensor),
            }
            assert_eq!(read(&proto).unwrap(), tensor);
        }
    }

    fn as_int32_data(tensor: &Tensor) -> Vec<i32> {
        match tensor.dtype() {
            DType::F16 => tensor.slice::<f16>().iter().map(|x| x.to_bits().into()).collect(),
            DType::BF16 => tensor.slice::<bf16>().iter().map(|x| x.to_bits().into()).collect(),
            DType::Bool => tensor.slice::<bool>().iter().map(|&x| x.into()).collect(),
            // Bytes of packed elements, but for those of 6 bits.
            dtype if dtype.is_small() => dispatch_small!(
                dtype,
                T => match dtype.packed_bits() {
                    6 => tensor.slice::<T>().iter().map(|x| x.to_bits().into()).collect(),
                    _ => to_le_bytes(tensor).into_iter().map(i32::from).collect(),
                },
                _ => unreachable!("it is small")
            ),
            _ => {
                let wide = tensor.to_i64().unwrap();
                wide.into_iter().map(|x| x.try_into().unwrap()).collect()
            }
        }
    }

    #[test]
    fn only_raw_data_waits() {
        let mut raw = proto(DataType::Float, &[1]);
        raw.raw_data = Some(bytes::Bytes::from_static(&[0, 0, 0x80, 0x3f]));
        assert_eq!(read(&raw).unwrap(), Tensor::from_vec(&[1], vec![1_f32]));
        // Some writers set the field for an empty tensor, and some beside a typed field.
        raw.raw_data = Some(bytes::Bytes::new());
        raw.float_data = vec![2.];
        assert_eq!(read(&raw).unwrap(), Tensor::from_vec(&[1], vec![2_f32]));
        assert!(read(&proto(DataType::Float, &[0, 5])).unwrap().is_empty());
    }

    #[test]
    fn types_that_are_refused() {
        let refusal = |code| dtype(code).unwrap_err().to_string();
        expect!["element type is invalid: code 0, expected 1 to 28"].assert_eq(&refusal(0));
        expect!["element type `string` is not supported"].assert_eq(&refusal(8));
        expect!["element type `complex128` is not supported"].assert_eq(&refusal(15));
        expect!["element type is invalid: code 29, expected 1 to 28"].assert_eq(&refusal(29));
        expect!["element type is invalid: code -1, expected 1 to 28"].assert_eq(&refusal(-1));
        let supported = (-5..50).filter(|&code| dtype(code).is_ok());
        assert!(supported.clone().all(|code| i32::from(data_type(dtype(code).unwrap())) == code));
        assert_eq!(supported.count(), one_of_each().len());
    }

    #[test]
    fn shapes_that_are_refused() {
        let float = |dims: &[i64]| refusal(proto(DataType::Float, dims));
        expect!["shape [2, -1] is invalid: dimension 1 is negative"].assert_eq(&float(&[2, -1]));
        expect!["shape [9223372036854775807, 2] is invalid: more elements than memory can address"]
            .assert_eq(&float(&[i64::MAX, 2]));
        expect!["shape [1099511627776, 0] is invalid: empty, with more than 268435456 places along the other dimensions"].assert_eq(&float(&[1 << 40, 0]));
        expect!["it has no data, expected 17592186044416 elements of float32 [1099511627776, 16]"]
            .assert_eq(&float(&[1 << 40, 1 << 4]));
    }

    #[test]
    fn data_that_is_refused() {
        let float = |change: fn(&mut TensorProto)| {
            let mut proto = proto(DataType::Float, &[2]);
            change(&mut proto);
            refusal(proto)
        };
        expect!["it has no data, expected 2 elements of float32 [2]"].assert_eq(&float(|_| {}));
        expect!["`float_data` has 1 elements, expected 2 for float32 [2]"]
            .assert_eq(&float(|t| t.float_data = vec![1.]));
        expect!["`raw_data` has 9 bytes, expected 8 for float32 [2]"]
            .assert_eq(&float(|t| t.raw_data = Some(vec![0; 9].into())));
        let mut packed = proto(DataType::Int4, &[3]);
        packed.int32_data = vec![0x21, 0x0f];
        assert_eq!(read(&packed).unwrap().to_i64(), Some(vec![1, 2, -1]));
        packed.int32_data.push(0);
        expect!["`int32_data` has 3 elements, expected 2 for int4 [3]"]
            .assert_eq(&refusal(packed.clone()));
        packed.int32_data.clear();
        packed.raw_data = Some(vec![0; 3].into());
        expect!["`raw_data` has 3 bytes, expected 2 for int4 [3]"].assert_eq(&refusal(packed));
        expect!["its data is in `int64_data`, expected `float_data` or `raw_data` for float32"]
            .assert_eq(&float(|t| t.int64_data = vec![1, 2]));
        expect!["its data is in `string_data`, expected `float_data` or `raw_data` for float32"]
            .assert_eq(&float(|t| t.string_data = vec![bytes::Bytes::new()]));
        expect!["it has data in both `raw_data` and `float_data`, expected one of them"].assert_eq(
            &float(|t| {
                t.float_data = vec![1., 2.];
                t.raw_data = Some(vec![0; 8].into());
            }),
        );
        expect!["external data is invalid: it has no `location`"].assert_eq(&float(|t| {
            t.data_location = Some(DataLocation::External.into());
        }));
        expect!["data in segments, or a sequence of tensors, is not supported"]
            .assert_eq(&float(|t| t.segment = Some(Default::default())));
        // No memory is asked for what a shape merely claims.
        expect!["it has no data, expected 17592186044416 elements of float32 [17592186044416]"]
            .assert_eq(&float(|t| t.dims = vec![1 << 44]));
    }

    #[test]
    fn elements_out_of_range() {
        let int32 = |data_type, value| {
            let mut proto = proto(data_type, &[2]);
            proto.int32_data = vec![0, value];
            refusal(proto)
        };
        expect!["element 1 of `int32_data` is 128, expected a value of int8"]
            .assert_eq(&int32(DataType::Int8, 128));
        expect!["element 1 of `int32_data` is -1, expected a value of uint8"]
            .assert_eq(&int32(DataType::Uint8, -1));
        expect!["element 1 of `int32_data` is 65536, expected a value of float16"]
            .assert_eq(&int32(DataType::Float16, 65536));
        expect!["element 1 of `int32_data` is 256, expected a value of float8e5m2"]
            .assert_eq(&int32(DataType::Float8e5m2, 256));
        expect!["element 1 of `int32_data` is 64, expected a value of float6e3m2"]
            .assert_eq(&int32(DataType::Float6e3m2, 64));
        let mut uint32 = proto(DataType::Uint32, &[1]);
        uint32.uint64_data = vec![1 << 32];
        expect!["element 0 of `uint64_data` is 4294967296, expected a value of uint32"]
            .assert_eq(&refusal(uint32));
    }
}
