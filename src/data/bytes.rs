//! Tensors from raw elements and back.

use half::{bf16, f16};

use crate::dispatch;
use crate::tensor::{DType, Element, Small, Tensor};

/// An element as it lies in a file.
trait Bytes: Element {
    /// `bytes` is exactly one element, little endian.
    fn from_le(bytes: &[u8]) -> Self;
    fn extend_le(self, out: &mut Vec<u8>);
}

macro_rules! bytes {
    ($($ty:ty),*) => {
        $(impl Bytes for $ty {
            fn from_le(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("one element's bytes"))
            }
            fn extend_le(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        })*
    };
}

bytes!(f32, f64, f16, bf16, i8, i16, i32, i64, u8, u16, u32, u64);

impl Bytes for bool {
    fn from_le(bytes: &[u8]) -> bool {
        bytes != [0]
    }
    fn extend_le(self, out: &mut Vec<u8>) {
        out.push(u8::from(self));
    }
}

impl<T: Small> Bytes for T {
    fn from_le(bytes: &[u8]) -> T {
        T::from_bits(bytes[0])
    }
    fn extend_le(self, out: &mut Vec<u8>) {
        out.push(self.to_bits());
    }
}

/// A tensor from its elements in row-major order; `bytes` has exactly as many as `shape` says.
pub(super) fn decode(dtype: DType, shape: &[usize], bytes: &[u8], big_endian: bool) -> Tensor {
    let size = dtype.size_bytes();
    if big_endian && size > 1 {
        let mut swapped = bytes.to_vec();
        swapped.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        return decode(dtype, shape, &swapped, false);
    }
    dispatch!(dtype, T => {
        Tensor::from_vec(shape, bytes.chunks_exact(size).map(<T as Bytes>::from_le).collect())
    })
}

/// The elements in row-major order, little endian.
pub(super) fn encode(tensor: &Tensor) -> Vec<u8> {
    let mut out = Vec::with_capacity(tensor.size_bytes());
    dispatch!(tensor.dtype(), T => {
        tensor.slice::<T>().iter().for_each(|&x| x.extend_le(&mut out));
    });
    out
}

/// Whether [`cast`] takes `from` to `to`: equal, `int32` to `int64`, or `float64` to `float32`.
pub(super) fn can_cast(from: DType, to: DType) -> bool {
    from == to || matches!((from, to), (DType::I32, DType::I64) | (DType::F64, DType::F32))
}

/// Converts where [`can_cast`] says so; `float64` is rounded to nearest.
pub(super) fn cast(tensor: Tensor, to: DType) -> Tensor {
    let shape = tensor.shape();
    match (tensor.dtype(), to) {
        (DType::I32, DType::I64) => {
            Tensor::from_vec(shape, tensor.slice::<i32>().iter().map(|&x| i64::from(x)).collect())
        }
        (DType::F64, DType::F32) => {
            Tensor::from_vec(shape, tensor.slice::<f64>().iter().map(|&x| x as f32).collect())
        }
        _ => tensor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for dtype in [DType::F16, DType::I8, DType::U32, DType::F64] {
            let bytes: Vec<u8> = (0..dtype.size_bytes() as u8 * 2).collect();
            let tensor = decode(dtype, &[2, 1], &bytes, false);
            assert_eq!(tensor.ty(), crate::tensor::TensorType::new(dtype, &[2, 1]));
            assert_eq!(encode(&tensor), bytes, "{dtype}");
        }
        assert_eq!(encode(&decode(DType::Bool, &[2], &[0, 7], false)), [0, 1]);
    }

    #[test]
    fn big_endian() {
        let tensor = decode(DType::I16, &[2], &[1, 2, 0xff, 0xfe], true);
        assert_eq!(tensor.slice::<i16>(), [0x102, -2]);
    }

    #[test]
    fn casts() {
        let tensor = cast(Tensor::from_vec(&[2], vec![-1_i32, 7]), DType::I64);
        assert_eq!(tensor.slice::<i64>(), [-1, 7]);
        let tensor = cast(Tensor::scalar(0.1_f64), DType::F32);
        assert_eq!(tensor.slice::<f32>(), [0.1]);
        assert!(!can_cast(DType::I64, DType::I32) && !can_cast(DType::F32, DType::F16));
    }
}
