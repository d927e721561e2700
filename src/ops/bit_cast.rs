//! `BitCast`: the same bits as elements of another type.
//!
//! <https://onnx.ai/onnx/operators/onnx__BitCast.html>

use crate::dispatch;
use crate::ops::cast::opt_dtype;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("BitCast", 26, BitCast::read)];

/// As bool, every byte but 0 is true.
#[derive(Debug)]
struct BitCast {
    to: DType,
}

const INPUT: usize = 0;

impl BitCast {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let missing = || OpError::MissingAttribute { name: "to".to_owned() };
        Ok(Box::new(BitCast { to: opt_dtype(attrs, "to")?.ok_or_else(missing)? }))
    }
}

impl Operator for BitCast {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let input = inputs.require(INPUT, "input")?;
        for dtype in [input.dtype(), self.to] {
            if !has_bytes(dtype) {
                return Err(OpError::NotSupported { what: format!("the bits of {dtype}") });
            }
        }
        let (found, expected) = (self.to.size_bytes(), input.dtype().size_bytes());
        if found != expected {
            let expected = format!("a type of {expected} bytes, as {} is", input.dtype());
            return Err(OpError::invalid_attribute("to", self.to, expected));
        }
        Ok(vec![TensorType::new(self.to, input.shape())])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let input = inputs.tensor(INPUT);
        Ok(vec![from_bytes(self.to, input.shape(), &to_bytes(input))])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

/// As [`dispatch!`](crate::dispatch), over the types whose elements are numbers of whole bytes.
macro_rules! dispatch_bytes {
    ($dtype:expr, $t:ident => $body:expr, _ => $other:expr) => {
        dispatch!($dtype, $t in [
            F32 f32, F64 f64, F16 ::half::f16, BF16 ::half::bf16,
            I8 i8, I16 i16, I32 i32, I64 i64, U8 u8, U16 u16, U32 u32, U64 u64,
        ] => $body, _ => $other)
    };
}

fn has_bytes(dtype: DType) -> bool {
    dispatch_bytes!(
        dtype,
        T => {
            let _: T;
            true
        },
        _ => dtype == DType::Bool
    )
}

/// Least significant byte first.
fn to_bytes(x: &Tensor) -> Vec<u8> {
    dispatch_bytes!(
        x.dtype(),
        T => x.slice::<T>().iter().flat_map(|x| x.to_le_bytes()).collect(),
        _ => x.slice::<bool>().iter().map(|&x| u8::from(x)).collect()
    )
}

fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Tensor {
    dispatch_bytes!(
        dtype,
        T => {
            let (elements, _) = bytes.as_chunks();
            let elements: Vec<T> = elements.iter().map(|&bytes| T::from_le_bytes(bytes)).collect();
            Tensor::from_vec(shape, elements)
        },
        _ => Tensor::from_vec(shape, bytes.iter().map(|&byte| byte != 0).collect::<Vec<bool>>())
    )
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use ndarray::array;

    use crate::ops::QuantRole;
    use crate::ops::testing::op;

    #[test]
    fn bit_cast() {
        let ones = || op("BitCast").input(&array![[1., -2.]]);
        ones().int("to", 12).gives_tensor(array![[0x3f80_0000_u32, 0xc000_0000]]);
        op("BitCast").i64s(&[0x3ff0_0000_0000_0000]).int("to", 11).gives_tensor(array![1_f64]);
        op("BitCast")
            .tensor(array![f16::ONE])
            .int("to", 16)
            .gives_tensor(array![bf16::from_bits(0x3c00)]);
        op("BitCast")
            .tensor(array![-1_i8, 0, 1])
            .int("to", 9)
            .gives_tensor(array![true, false, true]);
        op("BitCast").tensor(array![true, false]).int("to", 2).gives_tensor(array![1_u8, 0]);
        assert_eq!(ones().int("to", 12).quant(), QuantRole::NOT_QUANTIZED);
        ones()
            .int("to", 11)
            .fails("attribute `to` is float64, expected a type of 4 bytes, as float32 is");
        ones().fails("attribute `to` is missing");
    }
}
