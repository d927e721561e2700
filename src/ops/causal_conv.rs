//! `CausalConvWithState`: each channel convolved with its own filter over the present and past steps.
//!
//! <https://onnx.ai/onnx/operators/onnx__CausalConvWithState.html>
//!
//! The steps before the first are the state that an earlier call put out, or zeros. Sums in f64, rounded
//! after the activation. The state is multiplied with the weight as the input is, so both are read as
//! activations.

use crate::ops::floats::{expect_float, expect_same, floats, optional_floats, tensor};
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole, Reads, Weight};
use crate::tensor::{Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("CausalConvWithState", 27, CausalConv::read)];

/// `input` is `[batch, channels, length]`, `weight` `[channels, 1, k]`, a state
/// `[batch, channels, k - 1]`.
#[derive(Debug)]
struct CausalConv {
    /// Whether a sum `x` becomes `x * sigmoid(x)`.
    has_silu: bool,
}

const INPUT: usize = 0;
const WEIGHT: usize = 1;
const BIAS: usize = 2;
const PAST_STATE: usize = 3;

impl CausalConv {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let choices = [("none", false), ("silu", true), ("swish", true)];
        Ok(Box::new(CausalConv { has_silu: attrs.choice("activation", &choices)? }))
    }
}

impl Operator for CausalConv {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(4)?;
        let input = inputs.require(INPUT, "input")?;
        expect_float(&input)?;
        let [batch, channels, length] = input.expect_rank()?;
        let weight = inputs.require(WEIGHT, "weight")?;
        expect_same(&weight, input.dtype(), "input")?;
        let k = match weight.expect_rank()? {
            [c, 1, k] if c == channels && 0 < k => k,
            _ => return Err(weight.wrong_shape(format!("[{channels}, 1, at least 1]"))),
        };
        let state = TensorType::new(input.dtype(), &[batch, channels, k - 1]);
        for (position, name, expected) in
            [(BIAS, "bias", &[channels][..]), (PAST_STATE, "past_state", &state.shape)]
        {
            let Some(parameter) = inputs.optional(position, name) else { continue };
            if expect_same(&parameter, input.dtype(), "input")? != expected {
                return Err(parameter.wrong_shape(format!("{expected:?}")));
            }
        }
        let output = TensorType::new(input.dtype(), &[batch, channels, length]);
        let mut types = vec![output, state];
        types.truncate(inputs.n_outputs().max(1));
        Ok(types)
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let types = self.infer(inputs)?;
        let (input, weight) = (floats(inputs, INPUT), floats(inputs, WEIGHT));
        let bias = optional_floats(inputs, BIAS);
        let past = optional_floats(inputs, PAST_STATE);
        let (shape, k) = (inputs.shape(INPUT), inputs.shape(WEIGHT)[2]);
        let (channels, length) = (shape[1], shape[2]);
        let (mut y, mut states) = (Vec::with_capacity(input.len()), Vec::new());
        for row in 0..shape[0] * channels {
            let channel = row % channels;
            let mut steps = match &past {
                None => vec![0.; k - 1],
                Some(past) => past[row * (k - 1)..][..k - 1].to_vec(),
            };
            steps.extend_from_slice(&input[row * length..][..length]);
            let filter = &weight[channel * k..][..k];
            let start = bias.as_ref().map_or(0., |bias| f64::from(bias[channel]));
            y.extend(steps.windows(k).map(|window| {
                let products =
                    window.iter().zip(filter).map(|(&x, &w)| f64::from(x) * f64::from(w));
                let sum = products.fold(start, |sum, product| sum + product);
                (if self.has_silu { sum / (1. + (-sum).exp()) } else { sum }) as f32
            }));
            states.extend_from_slice(&steps[length..]);
        }
        let values = [y, states].into_iter().zip(&types);
        Ok(values.map(|(x, ty)| tensor(ty.dtype, &ty.shape, x)).collect())
    }

    /// Every output element is a sum over one filter; the steps before the first count.
    fn macs(&self, inputs: &Inputs<'_>, outputs: &[TensorType]) -> u64 {
        (outputs[0].len() as u64).saturating_mul(inputs.shape(WEIGHT)[2] as u64)
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole {
            reads: Reads::Only(vec![INPUT, PAST_STATE]),
            ..QuantRole::weighted(INPUT, Weight { input: WEIGHT, channel_axis: 0 }).with_bias(BIAS)
        }
    }
}

#[cfg(test)]
mod tests {
    use half::f16;
    use ndarray::array;

    use crate::ops::testing::{OpTest, counting, op};
    use crate::ops::{QuantRole, Reads, Weight};
    use crate::tensor::Tensor;

    fn base() -> OpTest {
        op("CausalConvWithState")
            .input(&array![[[1., 2., 3.], [4., 5., 6.]]])
            .input(&array![[[10., 1.]], [[0., -1.]]])
    }

    #[test]
    fn steps_before_the_first() {
        base().macs(12).gives(array![[[1., 12., 23.], [-4., -5., -6.]]]);
        let state = array![[[9.], [7.]]];
        let biased = base().input(&array![0.5, 0.]).input(&state).outputs(2);
        biased.gives_tensors(&[
            array![[[91.5_f32, 12.5, 23.5], [-4., -5., -6.]]].into(),
            array![[[3_f32], [6.]]].into(),
        ]);
    }

    #[test]
    fn the_state_may_be_longer_than_the_input() {
        op("CausalConvWithState")
            .input(&array![[[3.]]])
            .input(&array![[[1., 10., 100.]]])
            .absent()
            .input(&array![[[1., 2.]]])
            .outputs(2)
            .gives_tensors(&[array![[[321_f32]]].into(), array![[[2_f32, 3.]]].into()]);
    }

    #[test]
    fn activation() {
        let y =
            array![[[0.731_058_6, 11.999_926, 23.], [-0.071_944_84, -0.033_464_26, -0.014_835_74]]];
        base().string("activation", "silu").gives(y.clone());
        base().string("activation", "swish").gives(y);
        base()
            .string("activation", "relu")
            .fails("attribute `activation` is `relu`; supported: `none`, `silu`, `swish`");
    }

    #[test]
    fn edges() {
        op("CausalConvWithState")
            .tensor(counting(&[2, 1, 0]))
            .tensor(counting(&[1, 1, 2]))
            .outputs(2)
            .gives_tensors(&[counting(&[2, 1, 0]), Tensor::full(&[2, 1, 1], 0_f32)]);
        let half = |x: f32| Tensor::from_vec(&[1, 1, 1], vec![f16::from_f32(x)]);
        op("CausalConvWithState").tensor(half(2.)).tensor(half(3.)).gives_tensor(half(6.));
    }

    #[test]
    fn refuses() {
        let x = array![[[1., 2.]]];
        op("CausalConvWithState")
            .input(&x)
            .input(&array![[[1.], [2.]]])
            .fails("input `weight` has shape [1, 2, 1], expected [1, 1, at least 1]");
        base().input(&array![1.]).fails("input `bias` has shape [1], expected [2]");
        base()
            .absent()
            .input(&x)
            .fails("input `past_state` has shape [1, 1, 2], expected [1, 2, 1]");
    }

    #[test]
    fn quantization() {
        let weight = Weight { input: 1, channel_axis: 0 };
        let role = QuantRole::weighted(0, weight).with_bias(2);
        assert_eq!(base().quant(), QuantRole { reads: Reads::Only(vec![0, 3]), ..role });
    }
}
