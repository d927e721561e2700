//! [`LazyTensor`]: a constant that stays in its file until someone reads it.

use std::sync::OnceLock;

use bytes::Bytes;
use half::{bf16, f16};

use crate::dispatch_small;
use crate::onnx::packed::{pack, unpack};
use crate::tensor::{DType, Element, Small, Tensor, TensorType};

/// A tensor as little-endian bytes, or already decoded.
///
/// The bytes are a slice of the mapped file, so they cost nothing until [`LazyTensor::tensor`] is
/// called. They may start at any address: decoding always copies.
#[derive(Debug)]
pub(crate) struct LazyTensor {
    ty: TensorType,
    raw: Bytes,
    decoded: OnceLock<Tensor>,
}

impl LazyTensor {
    /// `None` unless `raw` has exactly as many bytes as `ty` asks for.
    pub(crate) fn from_le_bytes(ty: TensorType, raw: Bytes) -> Option<LazyTensor> {
        (raw.len() == ty.packed_bytes()).then(|| LazyTensor { ty, raw, decoded: OnceLock::new() })
    }

    pub(crate) fn ty(&self) -> &TensorType {
        &self.ty
    }

    /// The values, decoded at the first call and kept.
    pub(crate) fn tensor(&self) -> &Tensor {
        self.decoded.get_or_init(|| decode(&self.ty, &self.raw))
    }

    pub(crate) fn into_tensor(self) -> Tensor {
        self.decoded.into_inner().unwrap_or_else(|| decode(&self.ty, &self.raw))
    }
}

impl From<Tensor> for LazyTensor {
    fn from(tensor: Tensor) -> LazyTensor {
        LazyTensor { ty: tensor.ty(), raw: Bytes::new(), decoded: OnceLock::from(tensor) }
    }
}

fn decode(ty: &TensorType, raw: &[u8]) -> Tensor {
    match ty.dtype {
        DType::F32 => numbers(ty, raw, f32::from_le_bytes),
        DType::F64 => numbers(ty, raw, f64::from_le_bytes),
        DType::F16 => numbers(ty, raw, f16::from_le_bytes),
        DType::BF16 => numbers(ty, raw, bf16::from_le_bytes),
        DType::I8 => numbers(ty, raw, i8::from_le_bytes),
        DType::I16 => numbers(ty, raw, i16::from_le_bytes),
        DType::I32 => numbers(ty, raw, i32::from_le_bytes),
        DType::I64 => numbers(ty, raw, i64::from_le_bytes),
        DType::U8 => numbers(ty, raw, u8::from_le_bytes),
        DType::U16 => numbers(ty, raw, u16::from_le_bytes),
        DType::U32 => numbers(ty, raw, u32::from_le_bytes),
        DType::U64 => numbers(ty, raw, u64::from_le_bytes),
        DType::Bool => numbers(ty, raw, |[byte]| byte != 0),
        _ => small(ty, unpack(raw, ty.dtype.packed_bits(), ty.len())),
    }
}

/// A tensor of a [`Small`] type from the bits of its elements.
pub(super) fn small(ty: &TensorType, bits: impl Iterator<Item = u8>) -> Tensor {
    dispatch_small!(
        ty.dtype,
        T => Tensor::from_vec(&ty.shape, bits.map(T::from_bits).collect()),
        _ => unreachable!("the caller has matched the others")
    )
}

fn numbers<T: Element, const SIZE: usize>(
    ty: &TensorType,
    raw: &[u8],
    from_le_bytes: impl Fn([u8; SIZE]) -> T,
) -> Tensor {
    let (chunks, _) = raw.as_chunks::<SIZE>();
    Tensor::from_vec(&ty.shape, chunks.iter().map(|&chunk| from_le_bytes(chunk)).collect())
}

/// The elements in row-major order, as ONNX stores them.
pub(super) fn to_le_bytes(tensor: &Tensor) -> Vec<u8> {
    macro_rules! bytes {
        ($($variant:ident $ty:ty),*) => {
            match tensor.dtype() {
                $(DType::$variant => {
                    tensor.slice::<$ty>().iter().flat_map(|x| x.to_le_bytes()).collect()
                })*
                DType::Bool => tensor.slice::<bool>().iter().map(|&x| u8::from(x)).collect(),
                dtype => dispatch_small!(
                    dtype,
                    T => {
                        let bits = tensor.slice::<T>().iter().map(|x| x.to_bits());
                        pack(bits, dtype.packed_bits())
                    },
                    _ => unreachable!("the others are matched above")
                ),
            }
        };
    }
    bytes!(
        F32 f32, F64 f64, F16 f16, BF16 bf16,
        I8 i8, I16 i16, I32 i32, I64 i64,
        U8 u8, U16 u16, U32 u32, U64 u64
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::tensor::{
        F4E2M1, F6E2M3, F6E3M2, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F8E8M0, I2, I4, U2, U4,
    };

    /// A tensor of every dtype, with the ends of its range.
    pub(in crate::onnx) fn one_of_each() -> Vec<Tensor> {
        fn of<T: Element>(elements: [T; 4]) -> Tensor {
            Tensor::from_vec(&[2, 1, 2], elements.to_vec())
        }
        vec![
            of([0_f32, -0.0, f32::MIN_POSITIVE, f32::INFINITY]),
            of([0_f64, -0.0, f64::MAX, f64::NEG_INFINITY]),
            of([0., -1.5, 65504., -6e-8].map(f16::from_f32)),
            of([0., -1.5, 3e38, 1e-40].map(bf16::from_f32)),
            of([0, -1, i8::MIN, i8::MAX]),
            of([0, -1, i16::MIN, i16::MAX]),
            of([0, -1, i32::MIN, i32::MAX]),
            of([0, -1, i64::MIN, i64::MAX]),
            of([0, 1, 2, u8::MAX]),
            of([0, 1, 2, u16::MAX]),
            of([0, 1, 2, u32::MAX]),
            of([0, 1, 2, u64::MAX]),
            of([false, true, true, false]),
            of([0, -1, -8, 7].map(I4::low_bits)),
            of([0, 1, 2, 15].map(U4::low_bits)),
            of([0, -1, -2, 1].map(I2::low_bits)),
            of([0, 1, 2, 3].map(U2::low_bits)),
            of([0, 0x7e, 0xfe, 0x81].map(F8E4M3FN::from_bits)),
            of([0, 0x7f, 0xff, 0x81].map(F8E4M3FNUZ::from_bits)),
            of([0, 0x7c, 0xfb, 0x81].map(F8E5M2::from_bits)),
            of([0, 0x7f, 0xff, 0x81].map(F8E5M2FNUZ::from_bits)),
            of([0, 127, 128, 254].map(F8E8M0::from_bits)),
            of([0, 1, 0x1f, 0x3f].map(F6E2M3::from_bits)),
            of([0, 1, 0x1f, 0x3f].map(F6E3M2::from_bits)),
            of([0, 1, 7, 15].map(F4E2M1::from_bits)),
        ]
    }

    #[test]
    fn bytes_and_back_at_any_alignment() {
        for tensor in one_of_each() {
            let raw = to_le_bytes(&tensor);
            assert_eq!(raw.len(), tensor.ty().packed_bytes());
            for start in 0..8 {
                let mut padded = vec![0xaa; start];
                padded.extend(&raw);
                let raw = Bytes::from(padded).slice(start..);
                let lazy = LazyTensor::from_le_bytes(tensor.ty(), raw).unwrap();
                assert_eq!(lazy.tensor(), &tensor);
                assert_eq!(lazy.into_tensor(), tensor);
            }
        }
    }

    #[test]
    fn nothing_is_decoded_before_it_is_read() {
        let ty = TensorType::f32(&[2]);
        assert!(LazyTensor::from_le_bytes(ty.clone(), Bytes::from_static(&[0; 7])).is_none());
        let lazy = LazyTensor::from_le_bytes(ty, Bytes::from_static(&[0; 8])).unwrap();
        assert!(lazy.decoded.get().is_none());
        let first = lazy.tensor().slice::<f32>().as_ptr();
        assert_eq!(first, lazy.tensor().slice::<f32>().as_ptr());
    }

    #[test]
    fn little_endian() {
        let lazy = LazyTensor::from_le_bytes(
            TensorType::new(DType::I16, &[2]),
            vec![1, 0, 0, 0x80].into(),
        );
        assert_eq!(lazy.unwrap().tensor().slice::<i16>(), [1, i16::MIN]);
    }
}
