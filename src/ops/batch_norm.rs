//! `BatchNormalization` with the statistics of training.
//!
//! <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>

use crate::ops::floats::{doubles, expect_any_float};
use crate::ops::number::Scalar;
use crate::ops::real::{Real, dispatch_reals, reals};
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("BatchNormalization", 1, BatchNormalization::read)];

/// `Y = (X - mean) / sqrt(var + epsilon) * scale + B`, per channel of `[N, C, ...]`
#[derive(Debug)]
struct BatchNormalization {
    epsilon: f32,
}

const X: usize = 0;
const PARAMETERS: [(usize, &str); 4] =
    [(1, "scale"), (2, "B"), (3, "input_mean"), (4, "input_var")];

impl BatchNormalization {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        attrs.ignore("momentum");
        if attrs.flag("training_mode", false)? {
            return Err(OpError::attribute("training_mode", 1, "0"));
        }
        // Opsets 7 and 8; 0 means statistics per element of a channel.
        if !attrs.flag("spatial", true)? {
            return Err(OpError::attribute("spatial", 0, "1"));
        }
        Ok(Box::new(BatchNormalization { epsilon: attrs.float("epsilon", 1e-5)? }))
    }

    fn channels(&self, inputs: &Inputs<'_>) -> Vec<Channel> {
        let [scale, b, mean, var] =
            PARAMETERS.map(|(position, _)| doubles(inputs.tensor(position)));
        let channel = |c: usize| {
            let factor = scale[c] / (var[c] + f64::from(self.epsilon)).sqrt();
            Channel { mean: mean[c], factor, b: b[c] }
        };
        (0..scale.len()).map(channel).collect()
    }
}

/// `(x - mean) * factor + b`
#[derive(Debug, Clone, Copy)]
struct Channel {
    mean: f64,
    factor: f64,
    b: f64,
}

impl Operator for BatchNormalization {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(5)?;
        if 1 < inputs.n_outputs() {
            return Err(OpError::NotSupported { what: "training mode (several outputs)".into() });
        }
        let x = inputs.require(X, "X")?;
        let shape = expect_any_float(&x)?;
        if shape.is_empty() {
            return Err(x.wrong_shape("[N, C, ...]"));
        }
        let channels = shape.get(1).copied().unwrap_or(1);
        for (position, name) in PARAMETERS {
            let parameter = inputs.require(position, name)?;
            if expect_any_float(&parameter)? != [channels] {
                return Err(parameter.wrong_shape(format!("[{channels}], one per channel of `X`")));
            }
        }
        Ok(vec![x.ty().clone()])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let output = &self.infer(inputs)?[0];
        let plane: usize = output.shape.iter().skip(2).product();
        let channels = self.channels(inputs);
        Ok(vec![dispatch_reals!(output.dtype, T => {
            let mut y = reals::<T>(inputs, X).into_owned();
            for (i, y) in y.chunks_exact_mut(plane.max(1)).enumerate() {
                let Channel { mean, factor, b } = channels[i % channels.len()];
                y.iter_mut().for_each(|y| *y = T::nearest((y.to_f64() - mean) * factor + b));
            }
            T::tensor(output.dtype, &output.shape, y)
        })])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::reads_only(X)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::QuantRole;
    use crate::ops::testing::{OpTest, counting, op};
    use crate::tensor::Tensor;

    fn norm(x: Tensor) -> OpTest {
        let (scale, b) = (array![1., 2.], array![0.5, -1.]);
        op("BatchNormalization").tensor(x).input(&scale).input(&b)
    }

    #[test]
    fn batch_norm() {
        let (mean, var) = (array![1., 2.], array![4., 0.25]);
        let base = || norm(counting(&[1, 2, 2])).input(&mean).input(&var).float("epsilon", 1e-3);
        let y = array![[[6.246_567e-5, 0.5], [-1., 2.992_023_5]]];
        base().macs(0).gives(y.clone());
        base().opset(7).int("spatial", 1).float("momentum", 0.9).gives(y);
        base().opset(7).int("spatial", 0).fails("attribute `spatial` is 0; supported: 1");
        base().int("training_mode", 1).fails("attribute `training_mode` is 1; supported: 0");
        base().outputs(3).fails("training mode (several outputs) is not supported");
        assert_eq!(base().quant(), QuantRole::reads_only(0));
    }

    /// The types of data, of scale and bias, and of the statistics are chosen apart.
    #[test]
    fn types() {
        op("BatchNormalization")
            .tensor(array![[1. + 1e-12, 3.]])
            .tensor(array![2_f32, 1.])
            .tensor(array![0.5_f32, 0.25])
            .tensor(array![0_f64, 0.])
            .tensor(array![1_f64, 4.])
            .float("epsilon", 0.)
            .gives_tensor(array![[2.5 + 2e-12, 1.75]]);
        op("BatchNormalization").i64s(&[1]).fails("input `X` is int64, expected a float type");
    }

    #[test]
    fn batch_norm_of_vectors() {
        let (mean, var) = (array![0., 0.], array![1., 4.]);
        let base = |x| norm(x).input(&mean).input(&var).float("epsilon", 0.);
        base(counting(&[2, 2])).gives(array![[0.5, 0.], [2.5, 2.]]);
        base(counting(&[0, 2, 3])).gives_tensor(counting(&[0, 2, 3]));
        base(counting(&[1, 3]))
            .fails("input `scale` has shape [2], expected [3], one per channel of `X`");
    }
}
