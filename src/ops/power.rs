//! `Pow`, whose operands may differ in type, and `Mod`.

use crate::ops::arithmetic::{expect_no_zero, same_numbers};
use crate::ops::broadcast::{broadcast_all, zip};
use crate::ops::cast::cast;
use crate::ops::dims::checked_type;
use crate::ops::number::{Scalar, dispatch_numbers};
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] =
    &[OpDef::onnx("Pow", 7, |_| Ok(Box::new(Pow))), OpDef::onnx("Mod", 10, Mod::read)];

const A: usize = 0;
const B: usize = 1;

/// The result has the type of the base. Integer to integer wraps; an integer to a negative or a float
/// power is computed in f64 and truncated.
#[derive(Debug)]
struct Pow;

impl Operator for Pow {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let (base, exponent) = (inputs.require(A, "X")?, inputs.require(B, "Y")?);
        for input in [base, exponent] {
            input.expect_dtype_that(DType::is_number, "a numeric type")?;
        }
        Ok(vec![checked_type(base.dtype(), broadcast_all(&[base, exponent])?)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let shape = self.infer(inputs)?.remove(0).shape;
        let (x, y) = (inputs.tensor(A), inputs.tensor(B));
        Ok(vec![power(x, y, &shape)])
    }
}

fn power(x: &Tensor, y: &Tensor, shape: &[usize]) -> Tensor {
    if [x.dtype(), y.dtype()] == [DType::F32; 2] {
        if y.len() == 1 && y.slice::<f32>() == [2.] {
            return zip(x, y, shape, |x: f32, _: f32| x * x);
        }
        return zip(x, y, shape, f32::powf);
    }
    let real = |x: f64, y: f64| x.powf(y);
    if x.dtype().is_float() || y.dtype().is_float() {
        let y = cast(y, DType::F64);
        return dispatch_numbers!(x.dtype(), T => {
            zip(x, &y, shape, |x: T, y: f64| T::nearest(real(x.to_f64(), y)))
        });
    }
    let y = cast(y, DType::I64);
    dispatch_numbers!(x.dtype(), T => {
        zip(x, &y, shape, |x: T, y: i64| match u64::try_from(y) {
            Ok(y) => T::wrapped(whole_power(x.to_i128(), y)),
            Err(_) => T::nearest(real(x.to_f64(), y as f64)),
        })
    })
}

fn whole_power(mut x: i128, mut y: u64) -> i128 {
    let mut product: i128 = 1;
    while 0 < y {
        if y & 1 == 1 {
            product = product.wrapping_mul(x);
        }
        x = x.wrapping_mul(x);
        y >>= 1;
    }
    product
}

/// The remainder, with the sign of the dividend if `fmod`, else of the divisor. Before opset 28 the
/// specification does not have floats without `fmod`.
#[derive(Debug)]
struct Mod {
    fmod: bool,
}

impl Mod {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(Mod { fmod: attrs.flag("fmod", false)? }))
    }
}

impl Operator for Mod {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        Ok(vec![same_numbers(&[inputs.require(A, "A")?, inputs.require(B, "B")?])?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let ty = self.infer(inputs)?.remove(0);
        let (a, b) = (inputs.tensor(A), inputs.tensor(B));
        if !ty.is_empty() {
            expect_no_zero(b)?;
        }
        let floored = |a: i128, b: i128| {
            let rest = a.checked_rem(b).unwrap_or(0);
            if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }
        };
        Ok(vec![dispatch_numbers!(ty.dtype, T => match (ty.dtype.is_float(), self.fmod) {
            (true, true) => zip(a, b, &ty.shape, |a: T, b: T| T::nearest(a.to_f64() % b.to_f64())),
            (true, false) => {
                zip(a, b, &ty.shape, |a: T, b: T| T::nearest(floored_rest(a.to_f64(), b.to_f64())))
            }
            (false, true) => zip(a, b, &ty.shape, |a: T, b: T| {
                T::wrapped(a.to_i128().checked_rem(b.to_i128()).unwrap_or(0))
            }),
            (false, false) => zip(a, b, &ty.shape, |a: T, b: T| {
                T::wrapped(floored(a.to_i128(), b.to_i128()))
            }),
        })])
    }
}

/// `a - floor(a / b) * b`, with the sign of `b` even where it is 0.
fn floored_rest(a: f64, b: f64) -> f64 {
    let rest = a % b;
    match (rest == 0., (rest < 0.) == (b < 0.)) {
        (true, _) => rest.copysign(b),
        (false, true) => rest,
        (false, false) => rest + b,
    }
}

#[cfg(test)]
mod tests {
    use half::f16;
    use ndarray::array;

    use crate::ops::testing::op;
    use crate::tensor::Tensor;

    #[test]
    fn pow() {
        let x = array![[1., 2.], [3., -4.]];
        op("Pow").input(&x).input(&ndarray::arr0(2.)).gives(array![[1., 4.], [9., 16.]]);
        op("Pow").input(&x).input(&array![3., -1.]).gives(array![[1., 0.5], [27., -0.25]]);
        op("Pow").input(&array![-1., 2.]).input(&array![0.5]).gives(array![f32::NAN, 2_f32.sqrt()]);
        op("Pow").input(&array![3.]).i64s(&[2, -1]).gives(array![9., 1. / 3.]);
        op("Pow").i64s(&[3, -2]).i64s(&[2, 3]).gives_tensor(array![9_i64, -8]);
        op("Pow")
            .i64s(&[10, 3])
            .i64s(&[20, 41])
            .gives_tensor(array![10_i128.pow(20) as i64, 3_i128.pow(41) as i64]);
        op("Pow").i64s(&[2, 1, -1]).i64s(&[-1, -5, -3]).gives_tensor(array![0_i64, 1, -1]);
        op("Pow").tensor(array![9_i32]).input(&array![0.5, 1.5]).gives_tensor(array![3_i32, 27]);
        let half = Tensor::scalar(f16::from_f32(1.5));
        op("Pow").tensor(half).i64s(&[2]).gives_tensor(array![f16::from_f32(2.25)]);
        op("Pow")
            .tensor(array![true])
            .i64s(&[2])
            .fails("input `X` is bool, expected a numeric type");
    }

    #[test]
    fn modulo() {
        let base = || op("Mod").i64s(&[-7, 7, -7, 7]).i64s(&[3, -3, -3, 3]);
        base().gives_tensor(array![2_i64, -2, -1, 1]);
        base().int("fmod", 1).gives_tensor(array![-1_i64, 1, -1, 1]);
        let (a, b) = (array![-7.5, 7.5], array![2., -2.]);
        op("Mod").input(&a).input(&b).int("fmod", 1).gives(array![-1.5, 1.5]);
        op("Mod").tensor(array![200_u8]).tensor(array![150_u8]).gives_tensor(array![50_u8]);
        op("Mod").i64s(&[i64::MIN]).i64s(&[-1]).gives_tensor(array![0_i64]);
        op("Mod").input(&a).input(&b).gives(array![0.5, -0.5]);
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let (a, b) = (array![1., -1., 1., inf, 1., nan], array![inf, inf, -inf, 1., 0., 1.]);
        op("Mod").input(&a).input(&b).gives(array![1., inf, -inf, nan, nan, nan]);
        let zero = super::floored_rest(-4., 2.);
        assert!(zero == 0. && zero.is_sign_positive());
        op("Mod")
            .i64s(&[1])
            .i64s(&[0])
            .fails("input `B` is 0, expected no zero among divisors of integers");
    }
}
