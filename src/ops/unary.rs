//! Operators that map each element of a float tensor on its own: `Exp`, `Relu`, `Elu`, ...
//!
//! NaN stays NaN in all of them; the 16-bit floats compute in f32.

use std::fmt;

use half::{bf16, f16};

use crate::kernels;
use crate::kernels::Map::*;
use crate::ops::erf::{erf_f32, erf_f64};
use crate::ops::number::{Scalar, dispatch_numbers};
use crate::ops::{Bodies, Inputs, Lowering, OpDef, OpError, Operator};
use crate::tensor::{DType, Tensor, TensorType};

/// A formula, compiled for f32 and for f64 with the attributes (f32) as values of that type.
macro_rules! map {
    ($name:expr, {$($attr:ident),*}, |$x:ident| $y:expr, $ints:expr) => {
        $crate::ops::unary::Map {
            name: $name,
            f32: Box::new(move |xs: &[f32]| xs.iter().map(|&$x: &f32| -> f32 { $y }).collect()),
            f64: Box::new(move |xs: &[f64]| {
                $(let $attr = f64::from($attr);)*
                xs.iter().map(|&$x: &f64| -> f64 { $y }).collect()
            }),
            ints: $ints,
            kernel: None,
        }
    };
}
pub(super) use map;

/// A row for each `name, since, {attributes with defaults}, formula`; `, ints formula` adds the integer
/// types, `, kernel K` names the kernel of the same formula.
macro_rules! maps {
    ($($name:literal, $since:literal, {$($attr:ident: $default:expr),*}, |$x:ident| $y:expr
        $(, ints |$i:ident| $int:expr)? $(, kernel $kernel:expr)?;)*) => {
        &[$(OpDef::onnx($name, $since, |_attrs| {
            $(let $attr: f32 = _attrs.float(stringify!($attr), $default)?;)*
            let ints = None::<IntegerFn>$(.or(Some(Box::new(|$i: i128| -> i128 { $int }))))?;
            let kernel = None$(.or(Some($kernel)))?;
            Ok(Box::new(Map { kernel, ..map!($name, {$($attr),*}, |$x| $y, ints) }))
        })),*]
    };
}

pub(super) const OPS: &[OpDef] = maps! {
    "Abs", 1, {}, |x| x.abs(), ints |i| i.abs(), kernel Abs;
    "Neg", 1, {}, |x| -x, ints |i| -i, kernel Neg;
    "Sign", 9, {}, |x| if x == 0. || x.is_nan() { x.abs() } else { x.signum() }, ints |i| i.signum();
    "Relu", 1, {}, |x| if x < 0. { 0. } else { x }, ints |i| i.max(0),
        kernel Clip { low: 0., high: f32::INFINITY };
    "Exp", 1, {}, |x| x.exp(), kernel Exp;
    "Log", 1, {}, |x| x.ln(), kernel Log;
    "Sqrt", 1, {}, |x| x.sqrt(), kernel Sqrt;
    "Reciprocal", 1, {}, |x| x.recip(), kernel Reciprocal;
    "Floor", 1, {}, |x| x.floor(), kernel Floor;
    "Ceil", 1, {}, |x| x.ceil(), kernel Ceil;
    "Round", 11, {}, |x| x.round_ties_even(), kernel RoundEven;
    "Sin", 7, {}, |x| x.sin();
    "Cos", 7, {}, |x| x.cos();
    "Tan", 7, {}, |x| x.tan();
    "Asin", 7, {}, |x| x.asin();
    "Acos", 7, {}, |x| x.acos();
    "Atan", 7, {}, |x| x.atan();
    "Sinh", 9, {}, |x| x.sinh();
    "Cosh", 9, {}, |x| x.cosh();
    "Tanh", 1, {}, |x| x.tanh(), kernel Tanh;
    "Asinh", 9, {}, |x| x.asinh();
    "Acosh", 9, {}, |x| x.acosh();
    "Atanh", 9, {}, |x| x.atanh();
    "Erf", 9, {}, |x| x.error_function(), kernel Erf;
    "Sigmoid", 1, {}, |x| 1. / (1. + (-x).exp()), kernel Sigmoid;
    "HardSigmoid", 1, {alpha: 0.2, beta: 0.5}, |x| (alpha * x + beta).clamp(0., 1.),
        kernel HardSigmoid { alpha, beta };
    "HardSwish", 14, {}, |x| x * (x / 6. + 0.5).clamp(0., 1.), kernel HardSwish;
    "LeakyRelu", 1, {alpha: 0.01}, |x| if x < 0. { alpha * x } else { x },
        kernel LeakyRelu { alpha };
    "Elu", 1, {alpha: 1.}, |x| if x < 0. { alpha * x.exp_m1() } else { x },
        kernel Elu { alpha };
    "Selu", 1, {alpha: 1.673_263_2, gamma: 1.050_701},
        |x| if x < 0. { gamma * alpha * x.exp_m1() } else { gamma * x };
    "Celu", 12, {alpha: 1.}, |x| if x < 0. { alpha * (x / alpha).exp_m1() } else { x };
    "ThresholdedRelu", 10, {alpha: 1.}, |x| if x <= alpha { 0. } else { x };
    "Softplus", 1, {}, |x| x.softplus(), kernel Softplus;
    "Softsign", 1, {}, |x| x / (1. + x.abs()), kernel Softsign;
    "Mish", 18, {}, |x| x * x.softplus().tanh(), kernel Mish;
    "Swish", 24, {alpha: 1.}, |x| x / (1. + (-alpha * x).exp()), kernel Swish { alpha };
};

/// A formula over slices, in both float types.
pub(super) struct Map {
    pub(super) name: &'static str,
    pub(super) f32: SliceFn<f32>,
    pub(super) f64: SliceFn<f64>,
    pub(super) ints: Option<IntegerFn>,
    /// The kernel of the same formula.
    pub(super) kernel: Option<kernels::Map>,
}

pub(super) type SliceFn<T> = Box<dyn Fn(&[T]) -> Vec<T> + Send + Sync>;

pub(super) type IntegerFn = Box<dyn Fn(i128) -> i128 + Send + Sync>;

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const X: usize = 0;

impl Operator for Map {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let x = inputs.require(X, "X")?;
        if self.ints.is_some() {
            x.expect_dtype_that(DType::is_number, "a numeric type")?;
        } else {
            x.expect_dtype_that(DType::is_float, "a float type")?;
        }
        Ok(vec![x.ty().clone()])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let x = inputs.tensor(X);
        let shape = x.shape();
        let halves = || (self.f32)(&x.to_f32().expect("a float type")).into_iter();
        let y = match x.dtype() {
            DType::F32 => Tensor::from_vec(shape, (self.f32)(x.slice())),
            DType::F64 => Tensor::from_vec(shape, (self.f64)(x.slice())),
            DType::F16 => Tensor::from_vec(shape, halves().map(f16::from_f32).collect()),
            DType::BF16 => Tensor::from_vec(shape, halves().map(bf16::from_f32).collect()),
            _ => map_integers(x, self.ints.as_ref().expect("`infer` refused integers")),
        };
        Ok(vec![y])
    }

    fn lower(&self, _inputs: &Inputs<'_>) -> Option<Lowering> {
        self.kernel.map(Lowering::Map)
    }

    fn proportional_to(&self) -> Option<usize> {
        let is_bent_at_0 = match self.kernel? {
            Abs | Neg | LeakyRelu { .. } => true,
            Clip { low, high } => low == 0. && high == f32::INFINITY,
            _ => false,
        };
        is_bent_at_0.then_some(X)
    }
}

/// Maps every element, wrapping what its type does not hold.
pub(super) fn map_integers(x: &Tensor, f: impl Fn(i128) -> i128) -> Tensor {
    dispatch_numbers!(x.dtype(), T => {
        let elements = x.slice::<T>().iter();
        Tensor::from_vec(x.shape(), elements.map(|&x| T::wrapped(f(x.to_i128()))).collect())
    })
}

/// What the formulas need and `std` does not have.
pub(super) trait Special {
    fn error_function(self) -> Self;
    /// `ln(1 + exp(x))` without overflow.
    fn softplus(self) -> Self;
    fn gelu(self) -> Self;
    /// The approximation of `gelu` by `tanh`.
    fn gelu_tanh(self) -> Self;
}

macro_rules! special {
    ($($ty:ident: $erf:expr;)*) => {$(
        impl Special for $ty {
            fn error_function(self) -> $ty {
                $erf(self)
            }

            fn softplus(self) -> $ty {
                self.max(0.) + (-self.abs()).exp().ln_1p()
            }

            fn gelu(self) -> $ty {
                0.5 * self * (1. + (self * std::$ty::consts::FRAC_1_SQRT_2).error_function())
            }

            fn gelu_tanh(self) -> $ty {
                // sqrt(2 / pi)
                const SLOPE: $ty =
                    std::$ty::consts::FRAC_1_SQRT_2 * std::$ty::consts::FRAC_2_SQRT_PI;
                0.5 * self * (1. + (SLOPE * (self + 0.044715 * self * self * self)).tanh())
            }
        }
    )*};
}

special! {
    f32: erf_f32;
    f64: erf_f64;
}

#[cfg(test)]
mod tests {
    use std::f32::consts::{E, FRAC_PI_6, LN_2};

    use half::f16;
    use ndarray::{Array1, array};

    use crate::ops::testing::op;
    use crate::tensor::Tensor;

    #[test]
    fn rounding_and_signs() {
        let x = array![-2.5, -0.5, 0., 0.5, 1.5, 3.2];
        op("Abs").input(&x).gives(array![2.5, 0.5, 0., 0.5, 1.5, 3.2]);
        op("Neg").input(&x).gives(array![2.5, 0.5, 0., -0.5, -1.5, -3.2]);
        op("Sign").input(&x).gives(array![-1., -1., 0., 1., 1., 1.]);
        op("Floor").input(&x).gives(array![-3., -1., 0., 0., 1., 3.]);
        op("Ceil").input(&x).gives(array![-2., 0., 0., 1., 2., 4.]);
        op("Round").input(&x).gives(array![-2., 0., 0., 0., 2., 3.]);
        op("Abs").input(&Array1::zeros(0)).gives(Array1::zeros(0));
        op("Neg").input(&ndarray::arr0(1.)).gives(ndarray::arr0(-1.));
    }

    #[test]
    fn powers_and_logarithms() {
        let x = array![0.25, 1., 4.];
        op("Exp").input(&x).gives(array![1.284_025_4, E, 54.598_15]);
        op("Log").input(&x).gives(array![-1.386_294_4, 0., 1.386_294_4]);
        op("Sqrt").input(&x).gives(array![0.5, 1., 2.]);
        op("Reciprocal").input(&x).gives(array![4., 1., 0.25]);
        op("Erf").input(&x).gives(array![0.276_326_4, 0.842_700_8, 1.]);
    }

    #[test]
    fn trigonometry() {
        let x = array![-0.5, 0.75];
        op("Sin").input(&x).gives(array![-0.479_425_54, 0.681_638_8]);
        op("Cos").input(&x).gives(array![0.877_582_55, 0.731_688_86]);
        op("Tan").input(&x).gives(array![-0.546_302_5, 0.931_596_46]);
        op("Asin").input(&x).gives(array![-FRAC_PI_6, 0.848_062_1]);
        op("Acos").input(&x).gives(array![2.094_395_2, 0.722_734_2]);
        op("Atan").input(&x).gives(array![-0.463_647_6, 0.643_501_1]);
        op("Sinh").input(&x).gives(array![-0.521_095_3, 0.822_316_7]);
        op("Cosh").input(&x).gives(array![1.127_626, 1.294_683_3]);
        op("Tanh").input(&x).gives(array![-0.462_117_17, 0.635_149]);
        op("Asinh").input(&x).gives(array![-0.481_211_84, LN_2]);
        op("Acosh").input(&array![1., 2.]).gives(array![0., 1.316_958]);
        op("Atanh").input(&x).gives(array![-0.549_306_15, 0.972_955_1]);
    }

    #[test]
    fn activations() {
        let x = array![-2., 0., 3.];
        op("Relu").input(&x).gives(array![0., 0., 3.]);
        op("Sigmoid").input(&x).gives(array![0.119_202_92, 0.5, 0.952_574_13]);
        op("HardSigmoid").input(&x).gives(array![0.1, 0.5, 1.]);
        op("HardSigmoid")
            .input(&x)
            .float("alpha", 0.1)
            .float("beta", 0.)
            .gives(array![0., 0., 0.3]);
        op("HardSwish").input(&x).gives(array![-1. / 3., 0., 3.]);
        op("LeakyRelu").input(&x).gives(array![-0.02, 0., 3.]);
        op("LeakyRelu").input(&x).float("alpha", 0.5).gives(array![-1., 0., 3.]);
        op("Elu").input(&x).gives(array![-0.864_664_73, 0., 3.]);
        op("Selu").input(&x).gives(array![-1.520_166_5, 0., 3.152_103]);
        op("Celu").input(&x).float("alpha", 2.).gives(array![-1.264_241_1, 0., 3.]);
        op("ThresholdedRelu").input(&array![1., 1.5]).gives(array![0., 1.5]);
        op("Softplus").input(&x).gives(array![0.126_928_01, LN_2, 3.048_587_4]);
        op("Softplus").input(&array![-200., 200.]).gives(array![0., 200.]);
        op("Softsign").input(&x).gives(array![-2. / 3., 0., 0.75]);
        op("Mish").input(&x).gives(array![-0.252_501_5, 0., 2.986_535]);
        op("Swish").input(&x).gives(array![-0.238_405_84, 0., 2.857_722_5]);
    }

    #[test]
    fn nan_stays() {
        let nan = array![f32::NAN];
        for def in super::OPS {
            op(def.name).input(&nan).gives(nan.clone());
        }
    }

    #[test]
    fn other_types() {
        op("Exp").tensor(array![1_f64]).gives_tensor(array![std::f64::consts::E]);
        let halves = array![f16::from_f32(-1.5), f16::from_f32(2.)];
        op("Relu").tensor(halves).gives_tensor(array![f16::ZERO, f16::from_f32(2.)]);
        op("Abs").i64s(&[-3, i64::MIN]).gives_tensor(array![3, i64::MIN]);
        op("Abs").tensor(array![u64::MAX]).gives_tensor(array![u64::MAX]);
        op("Neg").tensor(array![-128_i8, 1]).gives_tensor(array![-128_i8, -1]);
        op("Sign").i64s(&[-9, 0, 9]).gives_tensor(array![-1_i64, 0, 1]);
        op("Relu").i64s(&[-9, 9]).gives_tensor(array![0_i64, 9]);
        op("Exp").i64s(&[1]).fails("input `X` is int64, expected a float type");
        op("Abs").tensor(Tensor::scalar(true)).fails("input `X` is bool, expected a numeric type");
        op("Elu")
            .input(&array![1.])
            .int("alpha", 1)
            .fails("attribute `alpha` is 1, expected a float");
    }
}
