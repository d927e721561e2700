//! `SkipLayerNormalization`, `SkipSimplifiedLayerNormalization`: a residual sum and its norm.

use crate::ops::broadcast::broadcast;
use crate::ops::floats::{expect_float, expect_same};
use crate::ops::microsoft::gelu::expect_channels;
use crate::ops::microsoft::{apply, apply_all, read_standard, standard, value};
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole, Reads};
use crate::tensor::{Tensor, TensorType};

pub(in crate::ops) const OPS: &[OpDef] = &[
    OpDef::microsoft("LayerNormalization", |attrs| read_standard("LayerNormalization", attrs)),
    OpDef::microsoft("SkipLayerNormalization", |attrs| SkipNorm::read(attrs, true)),
    OpDef::microsoft("SkipSimplifiedLayerNormalization", |attrs| SkipNorm::read(attrs, false)),
];

/// The norm of `input + skip + bias`; the sum is the fourth output.
#[derive(Debug)]
struct SkipNorm {
    /// Whether the mean is subtracted; if not, there is no `beta`.
    is_centered: bool,
    add: Box<dyn Operator>,
    norm: Box<dyn Operator>,
}

const INPUT: usize = 0;
const SKIP: usize = 1;
const GAMMA: usize = 2;
const BETA: usize = 3;

impl SkipNorm {
    fn read(attrs: &mut Attrs, is_centered: bool) -> Result<Box<dyn Operator>, OpError> {
        let epsilon = crate::ops::AttrValue::Float(attrs.float("epsilon", 1e-12)?);
        let norm = if is_centered { "LayerNormalization" } else { "SimplifiedLayerNormalization" };
        let norm = standard(norm, &[("epsilon", epsilon)])?;
        Ok(Box::new(SkipNorm { is_centered, add: standard("Add", &[])?, norm }))
    }

    fn bias(&self) -> usize {
        if self.is_centered { BETA + 1 } else { BETA }
    }
}

impl Operator for SkipNorm {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(self.bias() + 1)?;
        let (x, skip) = (inputs.require(INPUT, "input")?, inputs.require(SKIP, "skip")?);
        let shape = expect_float(&x)?;
        expect_same(&skip, x.dtype(), "input")?;
        if broadcast(skip.shape(), &shape).as_ref() != Some(&shape) {
            return Err(skip.wrong_shape(format!("broadcastable to {shape:?}, that of `input`")));
        }
        expect_channels(&inputs.require(GAMMA, "gamma")?, &x, "input")?;
        let beta = inputs.optional(BETA, "beta").filter(|_| self.is_centered);
        for parameter in beta.into_iter().chain(inputs.optional(self.bias(), "bias")) {
            expect_channels(&parameter, &x, "input")?;
        }
        let mut statistics = TensorType::f32(&shape);
        statistics.shape[shape.len() - 1] = 1;
        let ty = x.ty().clone();
        let mut types = vec![ty.clone(), statistics.clone(), statistics, ty];
        types.truncate(inputs.n_outputs().max(1));
        Ok(types)
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let mut sum = apply(&*self.add, &[Some(inputs.tensor(INPUT)), value(inputs, SKIP)])?;
        if let Some(bias) = value(inputs, self.bias()) {
            sum = apply(&*self.add, &[Some(&sum), Some(bias)])?;
        }
        let beta = value(inputs, BETA).filter(|_| self.is_centered);
        let parameters = [Some(&sum), value(inputs, GAMMA), beta];
        let n_norm = if self.is_centered { 3 } else { 2 };
        let mut values = apply_all(&*self.norm, &parameters[..n_norm], n_norm)?;
        if !self.is_centered {
            let mean = Tensor::full(values[1].shape(), 0_f32);
            values.insert(1, mean);
        }
        values.push(sum);
        values.truncate(inputs.n_outputs().max(1));
        Ok(values)
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole { reads: Reads::Only(vec![INPUT, SKIP]), ..QuantRole::OWN_RANGE }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::testing::{OpTest, op};

    fn skip(name: &'static str) -> OpTest {
        op(name)
            .domain("com.microsoft")
            .input(&array![[[1., 2.], [4., 0.]]])
            .input(&array![[[2., 2.], [0., 2.]]])
            .input(&array![1., 10.])
            .float("epsilon", 0.)
    }

    #[test]
    fn centered() {
        let y = array![[[-1., 10.], [1., -10.]]];
        skip("SkipLayerNormalization").macs(0).gives(y.clone());
        skip("SkipLayerNormalization")
            .input(&array![5., 5.])
            .input(&array![0., 1.])
            .outputs(4)
            .gives_tensors(&[
                array![[[4_f32, 15.], [6., -5.]]].into(),
                array![[[4_f32], [3.5]]].into(),
                array![[[1_f32], [2.]]].into(),
                array![[[3_f32, 5.], [4., 3.]]].into(),
            ]);
    }

    #[test]
    fn not_centered() {
        skip("SkipSimplifiedLayerNormalization").input(&array![-3., 3.]).outputs(4).gives_tensors(
            &[
                array![[[0_f32, 14.142_136], [0.277_350_1, 13.867_505]]].into(),
                array![[[0_f32], [0.]]].into(),
                array![[[0.202_030_51_f32], [0.277_350_1]]].into(),
                array![[[0_f32, 7.], [1., 5.]]].into(),
            ],
        );
    }

    #[test]
    fn what_is_read() {
        let role = skip("SkipLayerNormalization").quant();
        assert!(role.reads(0) && role.reads(1) && !role.reads(2) && !role.reads(4));
        skip("SkipLayerNormalization")
            .input(&array![5.])
            .fails("input `beta` has shape [1], expected [2], the last dimension of `input`");
        op("SkipLayerNormalization")
            .domain("com.microsoft")
            .input(&array![[[1., 2.]]])
            .input(&array![[[1.], [2.]]])
            .fails("input `skip` has shape [1, 2, 1], expected broadcastable to [1, 1, 2], that of `input`");
    }
}
