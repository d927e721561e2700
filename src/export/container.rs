//! [`Container`]: the integer type of a file that an encoding's integers are stored in.
//!
//! ONNX has types of 4 bits from opset 21 on, of 8 and of 16; other widths take the next larger one.

use crate::ops::MICROSOFT_DOMAIN;
use crate::quant::Encoding;
use crate::tensor::{DType, I4, Tensor, U4};

/// QuantizeLinear and DequantizeLinear of ONNX know 4 and 16 bits from this opset on.
pub(super) const OPSET_OF_ALL_WIDTHS: u16 = 21;

/// The first opset in which they take an axis.
pub(super) const OPSET_OF_AXES: u16 = 13;

/// An integer type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Container {
    pub(super) bits: u8,
    pub(super) signed: bool,
}

impl Container {
    /// The smallest that a file of this opset can hold the encoding's integers in.
    pub(super) fn of(encoding: &Encoding, opset: u16) -> Container {
        let bits = match encoding.bits.get() {
            ..=4 if OPSET_OF_ALL_WIDTHS <= opset => 4,
            ..=8 => 8,
            _ => 16,
        };
        Container { bits, signed: encoding.scheme.signed }
    }

    /// The least and the largest integer.
    pub(super) fn limits(self) -> (i32, i32) {
        let levels = 1_i32 << self.bits;
        if self.signed { (-levels / 2, levels / 2 - 1) } else { (0, levels - 1) }
    }

    pub(super) fn dtype(self) -> DType {
        match (self.bits, self.signed) {
            (4, true) => DType::I4,
            (4, false) => DType::U4,
            (8, true) => DType::I8,
            (8, false) => DType::U8,
            (_, true) => DType::I16,
            (_, false) => DType::U16,
        }
    }

    /// The domain of the operators that take it: onnxruntime's, where ONNX's are too old.
    pub(super) fn domain(self, opset: u16) -> &'static str {
        if self.bits == 16 && opset < OPSET_OF_ALL_WIDTHS { MICROSOFT_DOMAIN } else { "" }
    }

    /// A tensor of integers within the limits.
    pub(super) fn tensor(self, shape: &[usize], integers: &[i32]) -> Tensor {
        macro_rules! of {
            ($convert:expr) => {
                Tensor::from_vec(shape, integers.iter().map(|&q| $convert(q)).collect())
            };
        }
        match self.dtype() {
            DType::I4 => of!(|q: i32| I4::low_bits(q.into())),
            DType::U4 => of!(|q: i32| U4::low_bits(q.into())),
            DType::I8 => of!(|q| q as i8),
            DType::U8 => of!(|q| q as u8),
            DType::I16 => of!(|q| q as i16),
            _ => of!(|q| q as u16),
        }
    }
}
