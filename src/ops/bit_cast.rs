//! `BitCast`: the same bits read as another type of the same width.
//!
//! <https://onnx.ai/onnx/operators/onnx__BitCast.html>

use half::{bf16, f16};

use crate::dispatch_small;
use crate::ops::cast::opt_dtype;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Small, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("BitCast", 26, BitCast::read)];

const INPUT: usize = 0;

#[derive(Debug)]
struct BitCast {
    to: DType,
}

impl BitCast {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let missing = || OpError::MissingAttribute { name: "to".to_owned() };
        Ok(Box::new(BitCast { to: opt_dtype(attrs, "to")?.ok_or_else(missing)? }))
    }
}

impl Operator for BitCast {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let n_bits = self.to.packed_bits();
        let expected = format!("a type of {n_bits} bits, as {} is", self.to);
        let is_as_wide = |dtype: DType| dtype.packed_bits() == n_bits;
        let shape = inputs.require(INPUT, "input")?.expect_dtype_that(is_as_wide, &expected)?;
        Ok(vec![TensorType::new(self.to, shape)])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let x = inputs.tensor(INPUT);
        Ok(vec![from_bits(self.to, x.shape(), to_bits(x))])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

/// The bits of each element; those above its width are 0.
fn to_bits(x: &Tensor) -> Vec<u64> {
    macro_rules! bits {
        ($($variant:ident $ty:ty: $to_bits:expr;)*) => {
            match x.dtype() {
                $(DType::$variant => x.slice::<$ty>().iter().map($to_bits).collect(),)*
                dtype => dispatch_small!(
                    dtype,
                    T => x.slice::<T>().iter().map(|x| x.to_bits().into()).collect(),
                    _ => unreachable!("the others are listed")
                ),
            }
        };
    }
    bits! {
        F32 f32: |x| x.to_bits().into();
        F64 f64: |x| x.to_bits();
        F16 f16: |x| x.to_bits().into();
        BF16 bf16: |x| x.to_bits().into();
        I8 i8: |&x| (x as u8).into();
        I16 i16: |&x| (x as u16).into();
        I32 i32: |&x| (x as u32).into();
        I64 i64: |&x| x as u64;
        U8 u8: |&x| x.into();
        U16 u16: |&x| x.into();
        U32 u32: |&x| x.into();
        U64 u64: |&x| x;
        Bool bool: |&x| x.into();
    }
}

fn from_bits(dtype: DType, shape: &[usize], bits: Vec<u64>) -> Tensor {
    macro_rules! elements {
        ($($variant:ident $ty:ty: $from_bits:expr;)*) => {
            match dtype {
                $(DType::$variant => {
                    let from_bits: fn(u64) -> $ty = $from_bits;
                    Tensor::from_vec(shape, bits.into_iter().map(from_bits).collect())
                })*
                dtype => dispatch_small!(
                    dtype,
                    T => {
                        let elements = bits.into_iter().map(|bits| T::from_bits(bits as u8));
                        Tensor::from_vec(shape, elements.collect())
                    },
                    _ => unreachable!("the others are listed")
                ),
            }
        };
    }
    elements! {
        F32 f32: |bits| f32::from_bits(bits as u32);
        F64 f64: f64::from_bits;
        F16 f16: |bits| f16::from_bits(bits as u16);
        BF16 bf16: |bits| bf16::from_bits(bits as u16);
        I8 i8: |bits| bits as i8;
        I16 i16: |bits| bits as i16;
        I32 i32: |bits| bits as i32;
        I64 i64: |bits| bits as i64;
        U8 u8: |bits| bits as u8;
        U16 u16: |bits| bits as u16;
        U32 u32: |bits| bits as u32;
        U64 u64: |bits| bits;
        Bool bool: |bits| bits != 0;
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;
    use ndarray::array;

    use crate::ops::testing::op;
    use crate::tensor::{F4E2M1, I4, Small, Tensor};

    #[test]
    fn bits_stay() {
        let to = |x: Tensor, code| op("BitCast").tensor(x).int("to", code);
        to(array![1_f32, -0.].into(), 6).gives_tensor(array![0x3f80_0000, i32::MIN]);
        to(array![0x3f80_0000_u32].into(), 1).gives(array![1.]);
        to(array![-1_i8, 2].into(), 2).gives_tensor(array![255_u8, 2]);
        to(array![true, false].into(), 2).gives_tensor(array![1_u8, 0]);
        to(array![0xbf80_u16].into(), 16).gives_tensor(array![bf16::from_f32(-1.)]);
        to(array![-1_i64].into(), 13).gives_tensor(array![u64::MAX]);
        to(Tensor::scalar(I4::low_bits(-1)), 23)
            .gives_tensor(Tensor::scalar(F4E2M1::from_bits(15)));
    }

    #[test]
    fn refuses() {
        let x = || op("BitCast").input(&array![1.]);
        x().int("to", 7).fails("input `input` is float32, expected a type of 64 bits, as int64 is");
        x().fails("attribute `to` is missing");
    }
}
