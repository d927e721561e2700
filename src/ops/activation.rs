//! Activations that are more than a formula over floats: `Gelu`, `PRelu`, `Shrink`.

use crate::kernels;
use crate::ops::broadcast::{broadcast, zip};
use crate::ops::number::{Number, dispatch_numbers};
use crate::ops::unary::{Map, Special, map};
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("Gelu", 20, read_gelu),
    OpDef::onnx("PRelu", 7, |_| Ok(Box::new(PRelu))),
    OpDef::onnx("Shrink", 9, read_shrink),
];

/// `x * Phi(x)`, `Phi` the distribution function of the normal distribution, or its approximation by
/// `tanh`.
fn read_gelu(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
    Ok(Box::new(match attrs.choice("approximate", &[("none", false), ("tanh", true)])? {
        false => Map { kernel: Some(kernels::Map::Gelu), ..map!("Gelu", {}, |x| x.gelu(), None) },
        true => {
            let gelu = map!("Gelu", {}, |x| x.gelu_tanh(), None);
            Map { kernel: Some(kernels::Map::GeluTanh), ..gelu }
        }
    }))
}

/// Nearer to 0 by `bias`, and 0 where `|x| <= lambd`. Of integers the result is truncated.
fn read_shrink(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
    let (lambd, bias) = (attrs.float("lambd", 0.5)?, attrs.float("bias", 0.)?);
    let ints = move |i: i128| {
        let (x, lambd, bias) = (i as f64, f64::from(lambd), f64::from(bias));
        let is_whole = bias.fract() == 0.;
        match (x < -lambd, lambd < x) {
            (true, _) if is_whole => i.saturating_add(bias as i128),
            (true, _) => (x + bias) as i128,
            (_, true) if is_whole => i.saturating_sub(bias as i128),
            (_, true) => (x - bias) as i128,
            _ => 0,
        }
    };
    Ok(Box::new(map!(
        "Shrink",
        {lambd, bias},
        |x| if x < -lambd {
            x + bias
        } else if lambd < x {
            x - bias
        } else {
            x * 0.
        },
        Some(Box::new(ints))
    )))
}

/// `slope * x` below 0; `slope` broadcasts to the shape of `x`.
#[derive(Debug)]
struct PRelu;

const X: usize = 0;
const SLOPE: usize = 1;

impl Operator for PRelu {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let (x, slope) = (inputs.require(X, "X")?, inputs.require(SLOPE, "slope")?);
        x.expect_dtype_that(DType::is_number, "a numeric type")?;
        slope.expect_dtype(x.dtype())?;
        if broadcast(x.shape(), slope.shape()).as_deref() != Some(x.shape()) {
            return Err(slope.wrong_shape(format!("broadcastable to {:?}", x.shape())));
        }
        Ok(vec![x.ty().clone()])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let (x, slope) = (inputs.tensor(X), inputs.tensor(SLOPE));
        Ok(vec![dispatch_numbers!(x.dtype(), T => {
            let zero = T::default();
            zip(x, slope, x.shape(), |x: T, slope: T| if x < zero { slope.times(x) } else { x })
        })])
    }

    fn proportional_to(&self) -> Option<usize> {
        Some(X)
    }
}

#[cfg(test)]
mod tests {
    use half::f16;
    use ndarray::array;

    use crate::ops::testing::op;

    #[test]
    fn gelu() {
        let x = array![-2., -0.5, 0., 1., 3.];
        op("Gelu").input(&x).gives(array![
            -0.045_500_264,
            -0.154_268_77,
            0.,
            0.841_344_7,
            2.995_950_2
        ]);
        op("Gelu").input(&x).string("approximate", "tanh").gives(array![
            -0.045_402_29,
            -0.154_286,
            0.,
            0.841_192,
            2.996_362_7
        ]);
        op("Gelu").tensor(array![1_f64]).gives_tensor(array![0.841_344_746_068_542_9]);
        op("Gelu")
            .input(&x)
            .string("approximate", "erf")
            .fails("attribute `approximate` is `erf`; supported: `none`, `tanh`");
    }

    #[test]
    fn shrink() {
        let x = array![-2., 0.5, 3., f32::NAN];
        op("Shrink").input(&x).float("bias", 1.).gives(array![-1., 0., 2., f32::NAN]);
        let ints = || op("Shrink").i64s(&[-4, -1, 0, 2, i64::MAX]).float("lambd", 1.5);
        ints().gives_tensor(array![-4_i64, 0, 0, 2, i64::MAX]);
        ints().float("bias", 3.).gives_tensor(array![-1_i64, 0, 0, -1, i64::MAX - 3]);
        op("Shrink").tensor(array![4_u8]).float("bias", 1.5).gives_tensor(array![2_u8]);
    }

    #[test]
    fn prelu() {
        let x = array![[[-1., 2.]], [[-3., -4.]]];
        let slopes = array![[[0.5]], [[10.]]];
        op("PRelu").input(&x).input(&slopes).gives(array![[[-0.5, 2.]], [[-30., -40.]]]);
        op("PRelu").input(&x).input(&array![2.]).gives(array![[[-2., 2.]], [[-6., -8.]]]);
        op("PRelu").i64s(&[-2, 3]).i64s(&[4]).gives_tensor(array![-8_i64, 3]);
        let two = array![f16::from_f32(2.)];
        op("PRelu").tensor(two.clone()).tensor(two.clone()).gives_tensor(two);
        op("PRelu")
            .input(&array![1.])
            .input(&array![1., 2.])
            .fails("input `slope` has shape [2], expected broadcastable to [1]");
        op("PRelu").input(&array![f32::NAN]).input(&array![1.]).gives(array![f32::NAN]);
        assert!(op("PRelu").quant().reads(1));
    }
}
