//! `Cast` and `CastLike`: the same numbers as another type.
//!
//! Floats are rounded to the nearest (half to even). From float to integer: toward zero; NaN gives 0, and
//! what is out of range the nearest end (the specification leaves these open). Integers to integers keep
//! the low bits. To bool: whether not 0; a NaN is not.

use crate::dispatch;
use crate::ops::number::Scalar;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] =
    &[OpDef::onnx("Cast", 7, Cast::read), OpDef::onnx("CastLike", 15, CastLike::read)];

const INPUT: usize = 0;
const TARGET: usize = 1;

#[derive(Debug)]
struct Cast {
    to: DType,
}

impl Cast {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        ignore_float8(attrs);
        let missing = || OpError::MissingAttribute { name: "to".to_owned() };
        Ok(Box::new(Cast { to: opt_dtype(attrs, "to")?.ok_or_else(missing)? }))
    }
}

/// These attributes tell what happens to 8-bit floats, which there are none of.
fn ignore_float8(attrs: &mut Attrs) {
    attrs.ignore("saturate");
    attrs.ignore("round_mode");
}

/// An element type by its number in `TensorProto.DataType`.
pub(super) fn opt_dtype(attrs: &mut Attrs, name: &str) -> Result<Option<DType>, OpError> {
    let Some(code) = attrs.opt_int(name)? else { return Ok(None) };
    Ok(Some(match code {
        1 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        4 => DType::U16,
        5 => DType::I16,
        6 => DType::I32,
        7 => DType::I64,
        9 => DType::Bool,
        10 => DType::F16,
        11 => DType::F64,
        12 => DType::U32,
        13 => DType::U64,
        16 => DType::BF16,
        _ => return Err(OpError::attribute(name, code, "1 to 7, 9 to 13, 16")),
    }))
}

impl Operator for Cast {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        Ok(vec![TensorType::new(self.to, inputs.require(INPUT, "input")?.shape())])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        Ok(vec![cast(inputs.tensor(INPUT), self.to)])
    }

    fn quant(&self, inputs: &Inputs<'_>) -> QuantRole {
        role(inputs, self.to)
    }
}

#[derive(Debug)]
struct CastLike;

impl CastLike {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        ignore_float8(attrs);
        Ok(Box::new(CastLike))
    }
}

impl Operator for CastLike {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let input = inputs.require(INPUT, "input")?;
        let target = inputs.require(TARGET, "target_type")?;
        Ok(vec![TensorType::new(target.dtype(), input.shape())])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let to = self.infer(inputs)?[0].dtype;
        Ok(vec![cast(inputs.tensor(INPUT), to)])
    }

    fn quant(&self, inputs: &Inputs<'_>) -> QuantRole {
        let target = inputs.get(TARGET).expect("`infer` required it");
        role(inputs, target.ty.dtype)
    }
}

fn role(inputs: &Inputs<'_>, to: DType) -> QuantRole {
    let from = inputs.get(INPUT).expect("`infer` required it").ty.dtype;
    if from.is_float() && to.is_float() {
        QuantRole::passes(INPUT)
    } else {
        QuantRole::NOT_QUANTIZED
    }
}

/// Goes through `f64` or `i128`, which hold every float and every integer.
pub(super) fn cast(x: &Tensor, to: DType) -> Tensor {
    if x.dtype() == to {
        return x.clone();
    }
    if x.dtype().is_float() {
        let wide: Vec<f64> =
            dispatch!(x.dtype(), T => x.slice::<T>().iter().map(|x| x.to_f64()).collect());
        dispatch!(to, T => {
            Tensor::from_vec(x.shape(), wide.into_iter().map(T::nearest).collect())
        })
    } else {
        let wide: Vec<i128> =
            dispatch!(x.dtype(), T => x.slice::<T>().iter().map(|x| x.to_i128()).collect());
        dispatch!(to, T => {
            Tensor::from_vec(x.shape(), wide.into_iter().map(T::wrapped).collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use ndarray::array;

    use crate::ops::QuantRole;
    use crate::ops::testing::op;
    use crate::tensor::Tensor;

    #[test]
    fn cast() {
        let x = array![-1.7_f32, 0., 2.5, 300., f32::NAN, f32::INFINITY];
        let to = |code| op("Cast").input(&x).int("to", code);
        to(6).gives_tensor(array![-1_i32, 0, 2, 300, 0, i32::MAX]);
        to(3).gives_tensor(array![-1_i8, 0, 2, 127, 0, 127]);
        to(2).gives_tensor(array![0_u8, 0, 2, 255, 0, 255]);
        to(9).gives_tensor(array![true, false, true, true, true, true]);
        to(1).gives(x.clone());
        let i64s = || op("Cast").i64s(&[-1, 256, 16_777_217]);
        i64s().int("to", 2).gives_tensor(array![255_u8, 0, 1]);
        i64s().int("to", 1).gives_tensor(array![-1_f32, 256., 16_777_216.]);
        i64s().int("to", 13).gives_tensor(array![u64::MAX, 256, 16_777_217]);
        let bools = || op("Cast").tensor(array![true, false]);
        bools().int("to", 11).gives_tensor(array![1_f64, 0.]);
        bools().int("to", 7).gives_tensor(array![1_i64, 0]);
        let big = op("Cast").tensor(array![u64::MAX]);
        big.int("to", 11).gives_tensor(array![18_446_744_073_709_551_615_f64]);
    }

    #[test]
    fn cast_rounds_once() {
        let x = array![65_519.996_f64, 65_520., 1.000_488_281_25 + 1e-12];
        let halves = array![f16::MAX, f16::INFINITY, f16::from_f32(1.000_976_6)];
        op("Cast").tensor(x).int("to", 10).gives_tensor(halves);
        let x = array![1.003_906_25_f64 + 1e-12, -1.003_906_25 + 1e-12, 1e-46];
        let halves = array![bf16::from_f32(1.007_812_5), bf16::from_f32(-1.), bf16::ZERO];
        op("Cast").tensor(x).int("to", 16).gives_tensor(halves);
    }

    #[test]
    fn cast_like() {
        let target = Tensor::scalar(0_i64);
        op("CastLike").input(&array![1.5]).tensor(target).gives_tensor(array![1_i64]);
    }

    #[test]
    fn cast_refuses() {
        let to = |code| op("Cast").input(&array![1.]).int("to", code);
        to(8).fails("attribute `to` is 8; supported: 1 to 7, 9 to 13, 16");
        op("Cast").input(&array![1.]).fails("attribute `to` is missing");
    }

    #[test]
    fn cast_quant() {
        let to = |code| op("Cast").input(&array![1.]).int("to", code).quant();
        assert_eq!(to(10), QuantRole::passes(0));
        assert_eq!(to(7), QuantRole::NOT_QUANTIZED);
        assert_eq!(op("Cast").i64s(&[1]).int("to", 1).quant(), QuantRole::NOT_QUANTIZED);
    }
}
