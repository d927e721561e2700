//! `Cast` and `CastLike`: the same numbers as another type.
//!
//! Floats are rounded to the nearest (half to even); floats of at most 8 bits saturate, or not, as the
//! specification's tables have it. From float to integer: toward zero; NaN gives 0, and what is out of
//! range the nearest end (the specification leaves these open). Integers to integers keep the low bits.
//! To bool: whether not 0; a NaN is not.
//!
//! <https://onnx.ai/onnx/operators/onnx__Cast.html>

use crate::ops::number::Scalar;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, PowerRounding, Rounding, Tensor, TensorType};
use crate::{dispatch, dispatch_small_floats};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("Cast", 1, |attrs| Cast::read(attrs, false)),
    OpDef::onnx("Cast", 24, |attrs| Cast::read(attrs, true)),
    OpDef::onnx("CastLike", 15, |attrs| CastLike::read(attrs, false)),
    OpDef::onnx("CastLike", 24, |attrs| CastLike::read(attrs, true)),
];

const INPUT: usize = 0;
const TARGET: usize = 1;

/// What happens to numbers that a type does not hold.
#[derive(Debug, Clone, Copy)]
struct Conversion {
    rounding: Rounding,
    /// Whether floats out of range keep the low bits of their integer part in a type of 2 or 4 bits.
    /// The specification leaves it open; the ONNX project's test data saturate before opset 24 and
    /// wrap from there on, as onnxruntime does.
    wraps: bool,
}

impl Conversion {
    const DEFAULT: Conversion = Conversion { rounding: Rounding::DEFAULT, wraps: false };

    fn read(attrs: &mut Attrs, wraps: bool) -> Result<Conversion, OpError> {
        let modes = [
            ("up", PowerRounding::Up),
            ("down", PowerRounding::Down),
            ("nearest", PowerRounding::Nearest),
        ];
        let saturate = attrs.flag("saturate", true)?;
        let rounding = Rounding { saturate, power: attrs.choice("round_mode", &modes)? };
        Ok(Conversion { rounding, wraps })
    }

    /// Goes through `f64` or `i128`, which hold every float and every integer.
    fn apply(self, x: &Tensor, to: DType) -> Tensor {
        if x.dtype() == to {
            return x.clone();
        }
        let is_float = x.dtype().is_float() || x.dtype().is_small_float();
        if !is_float && !to.is_small_float() {
            let wide: Vec<i128> =
                dispatch!(x.dtype(), T => x.slice::<T>().iter().map(|x| x.to_i128()).collect());
            return dispatch!(to, T => {
                Tensor::from_vec(x.shape(), wide.into_iter().map(T::wrapped).collect())
            });
        }
        let wide: Vec<f64> =
            dispatch!(x.dtype(), T => x.slice::<T>().iter().map(|x| x.to_f64()).collect());
        if to.is_small_float() {
            return small_floats(x.shape(), &wide, to, self.rounding);
        }
        let wraps = self.wraps && to.is_small();
        dispatch!(to, T => {
            let narrow = |x: f64| if wraps { T::wrapped((x as i64).into()) } else { T::nearest(x) };
            Tensor::from_vec(x.shape(), wide.into_iter().map(narrow).collect())
        })
    }
}

/// Numbers rounded once to a float type of at most 8 bits.
pub(super) fn small_floats(
    shape: &[usize],
    numbers: &[f64],
    to: DType,
    rounding: Rounding,
) -> Tensor {
    dispatch_small_floats!(
        to,
        T => {
            let elements = numbers.iter().map(|&x| T::from_f64(x, rounding)).collect();
            Tensor::from_vec::<T>(shape, elements)
        },
        _ => unreachable!("the caller asked for a small float")
    )
}

/// The same numbers as another type, by the rules that hold where no attribute changes them.
pub(super) fn cast(x: &Tensor, to: DType) -> Tensor {
    Conversion::DEFAULT.apply(x, to)
}

#[derive(Debug)]
struct Cast {
    to: DType,
    conversion: Conversion,
}

impl Cast {
    fn read(attrs: &mut Attrs, wraps: bool) -> Result<Box<dyn Operator>, OpError> {
        let missing = || OpError::MissingAttribute { name: "to".to_owned() };
        let to = opt_dtype(attrs, "to")?.ok_or_else(missing)?;
        Ok(Box::new(Cast { to, conversion: Conversion::read(attrs, wraps)? }))
    }
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
        17 => DType::F8E4M3FN,
        18 => DType::F8E4M3FNUZ,
        19 => DType::F8E5M2,
        20 => DType::F8E5M2FNUZ,
        21 => DType::U4,
        22 => DType::I4,
        23 => DType::F4E2M1,
        24 => DType::F8E8M0,
        25 => DType::U2,
        26 => DType::I2,
        27 => DType::F6E2M3,
        28 => DType::F6E3M2,
        _ => return Err(OpError::attribute(name, code, "1 to 7, 9 to 13, 16 to 28")),
    }))
}

impl Operator for Cast {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        Ok(vec![TensorType::new(self.to, inputs.require(INPUT, "input")?.shape())])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        Ok(vec![self.conversion.apply(inputs.tensor(INPUT), self.to)])
    }

    fn quant(&self, inputs: &Inputs<'_>) -> QuantRole {
        role(inputs, self.to)
    }
}

#[derive(Debug)]
struct CastLike {
    conversion: Conversion,
}

impl CastLike {
    fn read(attrs: &mut Attrs, wraps: bool) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(CastLike { conversion: Conversion::read(attrs, wraps)? }))
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
        Ok(vec![self.conversion.apply(inputs.tensor(INPUT), to)])
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

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use ndarray::array;

    use crate::ops::QuantRole;
    use crate::ops::testing::op;
    use crate::tensor::{F4E2M1, F8E5M2, F8E8M0, I4, Rounding, Small, Tensor, U2};

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
    fn small_types() {
        let x = array![-9_f32, -1.7, 0., 2.6, 9., f32::NAN];
        let to = |code| op("Cast").input(&x).int("to", code);
        let i4 = |x: [i64; 6]| Tensor::from_vec(&[6], x.map(I4::low_bits).to_vec());
        to(22).opset(21).gives_tensor(i4([-8, -1, 0, 2, 7, 0]));
        to(22).gives_tensor(i4([7, -1, 0, 2, -7, 0]));
        let u2 = |x: [i64; 6]| Tensor::from_vec(&[6], x.map(U2::low_bits).to_vec());
        to(25).gives_tensor(u2([3, 3, 0, 2, 1, 0]));
        let f4 = [-6., -1.5, 0., 3., 6., 0.].map(|x| F4E2M1::from_f64(x, Rounding::DEFAULT));
        to(23).gives_tensor(Tensor::from_vec(&[6], f4.to_vec()));
        let back = op("Cast").tensor(Tensor::from_vec(&[6], f4.to_vec()));
        back.int("to", 1).gives(array![-6., -1.5, 0., 3., 6., 0.]);
        let back = op("Cast").tensor(i4([-8, -1, 0, 2, 7, 1])).int("to", 6);
        back.gives_tensor(array![-8, -1, 0, 2, 7, 1]);
        let powers = |x: [u8; 2]| Tensor::from_vec(&[2], x.map(F8E8M0::from_bits).to_vec());
        let x = Tensor::from_vec(&[2], vec![3_i64, 0]);
        let to = || op("Cast").tensor(x.clone()).int("to", 24);
        to().gives_tensor(powers([129, 0]));
        to().string("round_mode", "down").gives_tensor(powers([128, 0]));
        op("CastLike")
            .input(&array![1e9, 2.5])
            .tensor(powers([0, 0]))
            .gives_tensor(powers([157, 129]));
    }

    #[test]
    fn cast_saturates_or_not() {
        let x = array![1e6_f32, -1e6];
        let to = |saturate| op("Cast").input(&x).int("to", 19).int("saturate", saturate);
        let bits = |x: [u8; 2]| Tensor::from_vec(&[2], x.map(F8E5M2::from_bits).to_vec());
        to(1).gives_tensor(bits([0x7b, 0xfb]));
        to(0).gives_tensor(bits([0x7c, 0xfc]));
    }

    #[test]
    fn cast_like() {
        let target = Tensor::scalar(0_i64);
        op("CastLike").input(&array![1.5]).tensor(target).gives_tensor(array![1_i64]);
    }

    #[test]
    fn cast_refuses() {
        let to = |code| op("Cast").input(&array![1.]).int("to", code);
        to(8).fails("attribute `to` is 8; supported: 1 to 7, 9 to 13, 16 to 28");
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
