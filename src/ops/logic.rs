//! Comparisons, boolean and bitwise operators: `Equal`, `Less`, `And`, `Not`, `BitShift`, `IsNaN`, ...

use crate::ops::broadcast::{broadcast_all, zip};
use crate::ops::dims::checked_type;
use crate::ops::number::{Scalar, dispatch_numbers};
use crate::ops::unary::map_integers;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("Equal", 7, |_| Ok(Box::new(Compare::Equal))),
    OpDef::onnx("Less", 7, |_| Ok(Box::new(Compare::Less))),
    OpDef::onnx("LessOrEqual", 12, |_| Ok(Box::new(Compare::LessOrEqual))),
    OpDef::onnx("Greater", 7, |_| Ok(Box::new(Compare::Greater))),
    OpDef::onnx("GreaterOrEqual", 12, |_| Ok(Box::new(Compare::GreaterOrEqual))),
    OpDef::onnx("And", 7, |_| Ok(Box::new(Bits::logical(|a, b| a & b)))),
    OpDef::onnx("Or", 7, |_| Ok(Box::new(Bits::logical(|a, b| a | b)))),
    OpDef::onnx("Xor", 7, |_| Ok(Box::new(Bits::logical(|a, b| a ^ b)))),
    OpDef::onnx("BitwiseAnd", 18, |_| Ok(Box::new(Bits::bitwise(|a, b| a & b)))),
    OpDef::onnx("BitwiseOr", 18, |_| Ok(Box::new(Bits::bitwise(|a, b| a | b)))),
    OpDef::onnx("BitwiseXor", 18, |_| Ok(Box::new(Bits::bitwise(|a, b| a ^ b)))),
    OpDef::onnx("BitShift", 11, Bits::read_shift),
    OpDef::onnx("Not", 1, |_| Ok(Box::new(Invert { kind: BitsKind::Bool }))),
    OpDef::onnx("BitwiseNot", 18, |_| Ok(Box::new(Invert { kind: BitsKind::Integer }))),
    OpDef::onnx("IsNaN", 9, |_| Ok(Box::new(IsClass { is_nan: true, low: false, high: false }))),
    OpDef::onnx("IsInf", 10, IsClass::read_inf),
];

const A: usize = 0;
const B: usize = 1;
const X: usize = 0;

/// NaN compares unequal, neither less nor greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Operator for Compare {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let (a, b) = (inputs.require(A, "A")?, inputs.require(B, "B")?);
        if !(*self == Compare::Equal && a.dtype() == DType::Bool) {
            a.expect_dtype_that(DType::is_number, "a numeric type")?;
        }
        b.expect_dtype(a.dtype())?;
        Ok(vec![checked_type(DType::Bool, broadcast_all(&[a, b])?)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let shape = self.infer(inputs)?.remove(0).shape;
        let (a, b) = (inputs.tensor(A), inputs.tensor(B));
        if a.dtype() == DType::Bool {
            return Ok(vec![zip(a, b, &shape, |a: bool, b: bool| a == b)]);
        }
        let joined = dispatch_numbers!(a.dtype(), T => {
            let compare: fn(T, T) -> bool = match self {
                Compare::Equal => |a, b| a == b,
                Compare::Less => |a, b| a < b,
                Compare::LessOrEqual => |a, b| a <= b,
                Compare::Greater => |a, b| a > b,
                Compare::GreaterOrEqual => |a, b| a >= b,
            };
            zip(a, b, &shape, compare)
        });
        Ok(vec![joined])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

/// The elements that an operator on bits takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BitsKind {
    Bool,
    Integer,
}

impl BitsKind {
    fn accepts(self, dtype: DType) -> bool {
        match self {
            BitsKind::Bool => dtype == DType::Bool,
            BitsKind::Integer => dtype.is_number() && !dtype.is_float(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            BitsKind::Bool => "bool",
            BitsKind::Integer => "an integer type",
        }
    }
}

/// Joins two tensors bit by bit; the function sees elements extended to 128 bits.
#[derive(Debug)]
struct Bits {
    kind: BitsKind,
    join: fn(i128, i128) -> i128,
}

impl Bits {
    fn logical(join: fn(i128, i128) -> i128) -> Bits {
        Bits { kind: BitsKind::Bool, join }
    }

    fn bitwise(join: fn(i128, i128) -> i128) -> Bits {
        Bits { kind: BitsKind::Integer, join }
    }

    /// A shift by the width of the type or more, or by a negative number, leaves copies of the bit that
    /// moves in: 0, or to the right the sign.
    fn read_shift(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let direction = attrs.opt_string("direction")?;
        let missing = || OpError::MissingAttribute { name: "direction".to_owned() };
        let join: fn(i128, i128) -> i128 = match direction.ok_or_else(missing)?.as_str() {
            "LEFT" => |a, b| if (0..64).contains(&b) { a << b } else { 0 },
            "RIGHT" => |a, b| a >> if (0..64).contains(&b) { b } else { 64 },
            other => {
                let found = format!("`{other}`");
                return Err(OpError::invalid_attribute("direction", found, "`LEFT` or `RIGHT`"));
            }
        };
        Ok(Box::new(Bits { kind: BitsKind::Integer, join }))
    }
}

impl Operator for Bits {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let (a, b) = (inputs.require(A, "A")?, inputs.require(B, "B")?);
        a.expect_dtype_that(|dtype| self.kind.accepts(dtype), self.kind.name())?;
        b.expect_dtype(a.dtype())?;
        Ok(vec![checked_type(a.dtype(), broadcast_all(&[a, b])?)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let shape = self.infer(inputs)?.remove(0).shape;
        let (a, b) = (inputs.tensor(A), inputs.tensor(B));
        let joined = crate::dispatch!(a.dtype(), T => {
            zip(a, b, &shape, |a: T, b: T| T::wrapped((self.join)(a.to_i128(), b.to_i128())))
        });
        Ok(vec![joined])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

/// `Not`, `BitwiseNot`
#[derive(Debug)]
struct Invert {
    kind: BitsKind,
}

impl Operator for Invert {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let x = inputs.require(X, "X")?;
        x.expect_dtype_that(|dtype| self.kind.accepts(dtype), self.kind.name())?;
        Ok(vec![x.ty().clone()])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let x = inputs.tensor(X);
        Ok(vec![match self.kind {
            BitsKind::Bool => x.view::<bool>().mapv(|x| !x).into(),
            _ => map_integers(x, |x| !x),
        }])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

/// `IsNaN`, `IsInf`
#[derive(Debug)]
struct IsClass {
    is_nan: bool,
    /// Whether negative infinity counts.
    low: bool,
    /// Whether positive infinity counts.
    high: bool,
}

impl IsClass {
    fn read_inf(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let low = attrs.flag("detect_negative", true)?;
        let high = attrs.flag("detect_positive", true)?;
        Ok(Box::new(IsClass { is_nan: false, low, high }))
    }

    fn holds(&self, x: f64) -> bool {
        (self.is_nan && x.is_nan())
            || (self.low && x == f64::NEG_INFINITY)
            || (self.high && x == f64::INFINITY)
    }
}

impl Operator for IsClass {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let is_float = |dtype: DType| dtype.is_float() || dtype.is_small_float();
        let shape = inputs.require(X, "X")?.expect_dtype_that(is_float, "a float type")?;
        Ok(vec![TensorType::new(DType::Bool, shape)])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let x = inputs.tensor(X);
        Ok(vec![crate::dispatch!(x.dtype(), T => {
            x.view::<T>().mapv(|x| self.holds(x.to_f64())).into()
        })])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::testing::op;
    use crate::ops::{AttrValue, QuantRole};

    #[test]
    fn comparisons() {
        let (a, b) = (array![[1., 2.], [f32::NAN, 3.]], array![1., 3.]);
        let base = |name| op(name).input(&a).input(&b);
        base("Equal").gives_tensor(array![[true, false], [false, true]]);
        base("Less").gives_tensor(array![[false, true], [false, false]]);
        base("LessOrEqual").gives_tensor(array![[true, true], [false, true]]);
        base("Greater").gives_tensor(array![[false, false], [false, false]]);
        base("GreaterOrEqual").gives_tensor(array![[true, false], [false, true]]);
        op("Equal")
            .tensor(array![true, false])
            .tensor(array![true])
            .gives_tensor(array![true, false]);
        op("Less").i64s(&[1]).i64s(&[2]).gives_tensor(array![true]);
        op("Less").tensor(array![true]).fails("input `B` is missing");
        op("Equal").i64s(&[1]).input(&b).fails("input `B` is float32, expected int64");
        assert_eq!(base("Equal").quant(), QuantRole::NOT_QUANTIZED);
    }

    #[test]
    fn booleans() {
        let (a, b) = (array![[true], [false]], array![true, false]);
        let base = |name| op(name).tensor(a.clone()).tensor(b.clone());
        base("And").gives_tensor(array![[true, false], [false, false]]);
        base("Or").gives_tensor(array![[true, true], [true, false]]);
        base("Xor").gives_tensor(array![[false, true], [true, false]]);
        op("Not").tensor(b).gives_tensor(array![false, true]);
        op("And").i64s(&[1]).i64s(&[1]).fails("input `A` is int64, expected bool");
        op("Not").i64s(&[1]).fails("input `X` is int64, expected bool");
    }

    #[test]
    fn bits() {
        let base = |name| op(name).tensor(array![0b1100_i8, -1]).tensor(array![0b1010_i8]);
        base("BitwiseAnd").gives_tensor(array![0b1000_i8, 0b1010]);
        base("BitwiseOr").gives_tensor(array![0b1110_i8, -1]);
        base("BitwiseXor").gives_tensor(array![0b0110_i8, -11]);
        op("BitwiseNot").tensor(array![0_u8, 5]).gives_tensor(array![255_u8, 250]);
        op("BitwiseNot").tensor(array![0_i32]).gives_tensor(array![-1_i32]);
        op("BitwiseAnd")
            .input(&array![1.])
            .input(&array![1.])
            .fails("input `A` is float32, expected an integer type");
    }

    #[test]
    fn shifts() {
        let base = || op("BitShift").tensor(array![3_u8, 200]).tensor(array![1_u8, 9]);
        base().string("direction", "LEFT").gives_tensor(array![6_u8, 0]);
        base().string("direction", "RIGHT").gives_tensor(array![1_u8, 0]);
        op("BitShift")
            .tensor(array![u64::MAX, 1])
            .tensor(array![63_u64, u64::MAX])
            .string("direction", "LEFT")
            .gives_tensor(array![1_u64 << 63, 0]);
        let signed =
            op("BitShift").tensor(array![-8_i8, 96, -8, -8]).tensor(array![1_i8, 1, -1, 8]);
        signed.string("direction", "RIGHT").gives_tensor(array![-4_i8, 48, -1, -1]);
        let signed =
            op("BitShift").tensor(array![-8_i8, 96, -8, -8]).tensor(array![1_i8, 1, -1, 8]);
        signed.string("direction", "LEFT").gives_tensor(array![-16_i8, -64, 0, 0]);
        op("BitShift")
            .i64s(&[i64::MIN, -1, 5])
            .i64s(&[63, i64::MAX, i64::MIN])
            .string("direction", "RIGHT")
            .gives_tensor(array![-1_i64, -1, 0]);
        base().fails("attribute `direction` is missing");
        base()
            .attr("direction", AttrValue::String("UP".to_owned()))
            .fails("attribute `direction` is `UP`, expected `LEFT` or `RIGHT`");
    }

    #[test]
    fn classes() {
        let inf = f32::INFINITY;
        let x = array![1., f32::NAN, inf, -inf];
        op("IsNaN").input(&x).gives_tensor(array![false, true, false, false]);
        op("IsInf").input(&x).gives_tensor(array![false, false, true, true]);
        op("IsInf")
            .input(&x)
            .int("detect_negative", 0)
            .gives_tensor(array![false, false, true, false]);
        op("IsNaN").i64s(&[1]).fails("input `X` is int64, expected a float type");
    }
}
