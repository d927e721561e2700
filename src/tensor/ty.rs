//! [`TensorType`]: the dtype and shape of a tensor.

use std::fmt;

use crate::tensor::DType;

/// What the addresses of a process reach on today's processors, with 48 bits, half of them its own. Sums
/// over all values of a graph stay within 64 bits.
const MOST_BYTES: usize = 1 << 47;

/// Places that an empty array may have along its other axes. No data stands behind them, but what works
/// along an axis may take memory for each.
pub const MOST_PLACES_OF_EMPTY: usize = 1 << 28;

/// What is known of a tensor without its values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TensorType {
    pub dtype: DType,
    pub shape: Vec<usize>,
}

impl TensorType {
    pub fn new(dtype: DType, shape: &[usize]) -> TensorType {
        TensorType { dtype, shape: shape.to_vec() }
    }

    pub fn f32(shape: &[usize]) -> TensorType {
        TensorType::new(DType::F32, shape)
    }

    /// Whether there can be an array of it in the memory of a process; an empty one, whose strides are
    /// computed from the dimensions that are not 0, has no more than [`MOST_PLACES_OF_EMPTY`].
    pub fn is_addressable(&self) -> bool {
        self.span_bytes() <= MOST_BYTES && !(self.is_empty() && MOST_PLACES_OF_EMPTY < self.span())
    }

    /// Number of elements with every dimension that is 0 counted as 1, as what goes along the others of
    /// an empty array may still need memory for each place; saturates instead of overflowing.
    pub fn span(&self) -> usize {
        self.shape.iter().fold(1, |product: usize, &dim| product.saturating_mul(dim.max(1)))
    }

    /// The same in bytes.
    pub fn span_bytes(&self) -> usize {
        self.span().saturating_mul(self.dtype.size_bytes())
    }

    /// Number of elements; saturates instead of overflowing.
    pub fn len(&self) -> usize {
        self.shape.iter().fold(1, |product: usize, &dim| product.saturating_mul(dim))
    }

    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// In memory.
    pub fn size_bytes(&self) -> usize {
        self.len().saturating_mul(self.dtype.size_bytes())
    }

    /// In a file, where elements of fewer than 8 bits lie side by side.
    pub fn packed_bytes(&self) -> usize {
        match self.dtype.packed_bits() {
            bits @ (2 | 4) => self.len().div_ceil(8 / bits),
            6 => (self.len() / 4).saturating_mul(3) + self.len() % 4,
            _ => self.size_bytes(),
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.dtype, self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_shapes_do_not_overflow() {
        let ty = TensorType::f32(&[usize::MAX, 2]);
        assert_eq!(ty.size_bytes(), usize::MAX);
        assert!(!ty.is_addressable());
    }

    #[test]
    fn the_span_of_an_empty_array() {
        let ty = TensorType::f32(&[0, 1 << 50, 3]);
        assert_eq!((ty.size_bytes(), ty.span_bytes()), (0, 12 << 50));
        let is_addressable = |places: usize| TensorType::f32(&[places, 0]).is_addressable();
        let most = MOST_PLACES_OF_EMPTY;
        assert_eq!([most, most + 1, 1 << 62].map(is_addressable), [true, false, false]);
        assert!(TensorType::f32(&[most + 1]).is_addressable());
    }
}
