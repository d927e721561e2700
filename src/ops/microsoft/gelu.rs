//! `Gelu`, `FastGelu`, `QuickGelu`, `BiasGelu`, `BiasSplitGelu`, `BiasAdd`.

use crate::ops::dims::with_dim;
use crate::ops::floats::expect_same;
use crate::ops::inputs::Named;
use crate::ops::microsoft::{apply, standard, value};
use crate::ops::take::take_axis;
use crate::ops::{AttrValue, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(in crate::ops) const OPS: &[OpDef] = &[
    OpDef::microsoft("Gelu", |_| standard("Gelu", &[])),
    OpDef::microsoft("QuickGelu", |attrs| {
        let alpha = attrs.float("alpha", 1.702)?;
        standard("Swish", &[("alpha", AttrValue::Float(alpha))])
    }),
    OpDef::microsoft("FastGelu", |_| {
        let approximate = AttrValue::String("tanh".to_owned());
        Biased::boxed(["X", "bias"], standard("Gelu", &[("approximate", approximate)])?, false)
    }),
    OpDef::microsoft("BiasGelu", |_| Biased::boxed(["A", "B"], standard("Gelu", &[])?, true)),
    OpDef::microsoft("BiasSplitGelu", |_| {
        Ok(Box::new(BiasSplitGelu {
            add: standard("Add", &[])?,
            gelu: standard("Gelu", &[])?,
            mul: standard("Mul", &[])?,
        }))
    }),
    OpDef::microsoft("BiasAdd", |_| Ok(Box::new(BiasAdd { add: standard("Add", &[])? }))),
];

const X: usize = 0;
const BIAS: usize = 1;
const SKIP: usize = 2;

/// A function of `X + bias`.
#[derive(Debug)]
struct Biased {
    names: [&'static str; 2],
    add: Box<dyn Operator>,
    function: Box<dyn Operator>,
    needs_bias: bool,
}

impl Biased {
    fn boxed(
        names: [&'static str; 2],
        function: Box<dyn Operator>,
        needs_bias: bool,
    ) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(Biased { names, add: standard("Add", &[])?, function, needs_bias }))
    }
}

impl Operator for Biased {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let x = inputs.require(X, self.names[X])?;
        x.expect_dtype_that(DType::is_float, "a float type")?;
        if self.needs_bias {
            inputs.require(BIAS, self.names[BIAS])?;
        }
        if let Some(bias) = inputs.optional(BIAS, self.names[BIAS]) {
            expect_channels(&bias, &x, self.names[X])?;
        }
        Ok(vec![x.ty().clone()])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let x = inputs.tensor(X);
        let sum = match value(inputs, BIAS) {
            Some(bias) => &apply(&*self.add, &[Some(x), Some(bias)])?,
            None => x,
        };
        Ok(vec![apply(&*self.function, &[Some(sum)])?])
    }
}

/// `[N, S, 2 * D]` becomes `[N, S, D]`: the first half of `X + bias`, times `Gelu` of the second.
#[derive(Debug)]
struct BiasSplitGelu {
    add: Box<dyn Operator>,
    gelu: Box<dyn Operator>,
    mul: Box<dyn Operator>,
}

impl Operator for BiasSplitGelu {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let x = inputs.require(X, "X")?;
        x.expect_dtype_that(DType::is_float, "a float type")?;
        expect_channels(&inputs.require(BIAS, "bias")?, &x, "X")?;
        let [_, _, n] = x.expect_rank()?;
        if !n.is_multiple_of(2) {
            return Err(x.wrong_shape("an even last dimension"));
        }
        Ok(vec![TensorType::new(x.dtype(), &with_dim(x.shape(), 2, n / 2))])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let sum = apply(&*self.add, &[Some(inputs.tensor(X)), value(inputs, BIAS)])?;
        let n = sum.shape()[2];
        let half = |range: std::ops::Range<usize>| take_axis(&sum, 2, &range.collect::<Vec<_>>());
        let gate = apply(&*self.gelu, &[Some(&half(n / 2..n))])?;
        Ok(vec![apply(&*self.mul, &[Some(&half(0..n / 2)), Some(&gate)])?])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::reads_only(X)
    }
}

/// `X + bias + skip`
#[derive(Debug)]
struct BiasAdd {
    add: Box<dyn Operator>,
}

impl Operator for BiasAdd {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(3)?;
        let x = inputs.require(X, "X")?;
        x.expect_dtype_that(DType::is_float, "a float type")?;
        expect_channels(&inputs.require(BIAS, "bias")?, &x, "X")?;
        let skip = inputs.require(SKIP, "skip")?;
        if expect_same(&skip, x.dtype(), "X")? != x.shape() {
            return Err(skip.wrong_shape(format!("{:?}, that of `X`", x.shape())));
        }
        Ok(vec![x.ty().clone()])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let sum = apply(&*self.add, &[Some(inputs.tensor(X)), value(inputs, BIAS)])?;
        Ok(vec![apply(&*self.add, &[Some(&sum), value(inputs, SKIP)])?])
    }
}

/// One element for each along the last axis of `x`.
pub(super) fn expect_channels(
    input: &Named<'_>,
    x: &Named<'_>,
    x_name: &str,
) -> Result<(), OpError> {
    let last = x.shape().last().ok_or_else(|| x.wrong_shape("at least rank 1"))?;
    if expect_same(input, x.dtype(), x_name)? != [*last] {
        return Err(input.wrong_shape(format!("[{last}], the last dimension of `{x_name}`")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::testing::{OpTest, op};

    fn microsoft(name: &'static str) -> OpTest {
        op(name).domain("com.microsoft")
    }

    #[test]
    fn gelus() {
        let x = array![[-2., 1.]];
        microsoft("Gelu").input(&x).gives(array![[-0.045_500_264, 0.841_344_7]]);
        microsoft("FastGelu").input(&x).gives(array![[-0.045_402_29, 0.841_192]]);
        microsoft("QuickGelu").input(&x).gives(array![[-0.064_341_7, 0.845_795_8]]);
        microsoft("QuickGelu").input(&x).float("alpha", 0.).gives(array![[-1., 0.5]]);
        microsoft("Gelu").tensor(array![1_f64]).gives_tensor(array![0.841_344_746_068_542_9]);
    }

    #[test]
    fn with_a_bias() {
        let (x, bias) = (array![[-1., 2.]], array![-1., -1.]);
        microsoft("BiasGelu").input(&x).input(&bias).gives(array![[-0.045_500_264, 0.841_344_7]]);
        microsoft("FastGelu").input(&x).input(&bias).gives(array![[-0.045_402_29, 0.841_192]]);
        microsoft("BiasGelu").input(&x).fails("input `B` is missing");
        microsoft("BiasGelu")
            .input(&x)
            .input(&array![1.])
            .fails("input `B` has shape [1], expected [2], the last dimension of `A`");
        assert!(microsoft("BiasGelu").input(&x).input(&bias).quant().reads(1));
    }

    #[test]
    fn split_and_sum() {
        let (x, bias) = (array![[[1., -1.]]], array![1., 2.]);
        microsoft("BiasSplitGelu").input(&x).input(&bias).gives(array![[[1.682_689_4]]]);
        microsoft("BiasAdd").input(&x).input(&bias).input(&x).gives(array![[[3., 0.]]]);
        microsoft("BiasSplitGelu")
            .input(&array![[[1.]]])
            .input(&array![1.])
            .fails("input `X` has shape [1, 1, 1], expected an even last dimension");
    }
}
