//! `InstanceNormalization` and `GroupNormalization`: over groups of channels of one sample.
//!
//! <https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html>,
//! <https://onnx.ai/onnx/operators/onnx__GroupNormalization.html>

use crate::ops::floats::{doubles, expect_any_float};
use crate::ops::layer_norm::read_stash_type;
use crate::ops::real::{Real, dispatch_reals, reals};
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("GroupNormalization", 18, |attrs| GroupNormalization::read(attrs, Per::Group)),
    OpDef::onnx("GroupNormalization", 21, |attrs| GroupNormalization::read(attrs, Per::Channel)),
    OpDef::onnx("InstanceNormalization", 1, GroupNormalization::read_instance),
];

/// `Y = (X - mean) / sqrt(variance + epsilon) * scale + bias`, mean and variance per group of `C /
/// num_groups` channels of `[N, C, ...]`
#[derive(Debug)]
struct GroupNormalization {
    epsilon: f32,
    /// `None`: every channel is a group.
    num_groups: Option<i64>,
    parameters: Per,
}

/// What has a scale and a bias of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Per {
    Channel,
    Group,
}

const X: usize = 0;
const SCALE: usize = 1;
const BIAS: usize = 2;

impl GroupNormalization {
    fn read(attrs: &mut Attrs, parameters: Per) -> Result<Box<dyn Operator>, OpError> {
        read_stash_type(attrs)?;
        let num_groups = Some(attrs.require_int("num_groups")?);
        let epsilon = attrs.float("epsilon", 1e-5)?;
        Ok(Box::new(GroupNormalization { epsilon, num_groups, parameters }))
    }

    fn read_instance(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let epsilon = attrs.float("epsilon", 1e-5)?;
        let parameters = Per::Channel;
        Ok(Box::new(GroupNormalization { epsilon, num_groups: None, parameters }))
    }

    fn groups(&self, channels: usize) -> Result<usize, OpError> {
        let Some(num_groups) = self.num_groups else { return Ok(channels) };
        let groups = usize::try_from(num_groups).ok().filter(|&groups| 0 < groups);
        groups.filter(|&groups| channels.is_multiple_of(groups)).ok_or_else(|| {
            let expected = format!("a divisor of {channels}, the number of channels");
            OpError::invalid_attribute("num_groups", num_groups, expected)
        })
    }

    fn normalize<T: Real>(
        &self,
        y: &mut [T],
        shape: &[usize],
        inputs: &Inputs<'_>,
    ) -> Result<(), OpError> {
        let (scale, bias) = (doubles(inputs.tensor(SCALE)), doubles(inputs.tensor(BIAS)));
        let channels = shape[1];
        let groups = self.groups(channels)?;
        let plane = shape[2..].iter().product::<usize>().max(1);
        let (each, width) = match self.parameters {
            Per::Channel => (1, channels / groups.max(1)),
            Per::Group => (channels / groups.max(1), channels / groups.max(1)),
        };
        let spans = y.chunks_exact_mut((plane * width).max(1));
        for (group, span) in spans.enumerate() {
            let (mean, variance) = T::moments(span);
            let inverse = (variance + f64::from(self.epsilon)).sqrt().recip();
            for (i, row) in span.chunks_exact_mut(plane).enumerate() {
                let parameter = (group % groups * width + i) / each;
                let (factor, bias) = (inverse * scale[parameter], bias[parameter]);
                row.iter_mut().for_each(|y| *y = T::nearest((y.to_f64() - mean) * factor + bias));
            }
        }
        Ok(())
    }
}

impl Operator for GroupNormalization {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(3)?;
        let x = inputs.require(X, if self.num_groups.is_some() { "X" } else { "input" })?;
        let shape = expect_any_float(&x)?;
        if shape.len() < 2 {
            return Err(x.wrong_shape("[N, C, ...]"));
        }
        let groups = self.groups(shape[1])?;
        let (expected, what) = match self.parameters {
            Per::Channel => (shape[1], "channel"),
            Per::Group => (groups, "group"),
        };
        let bias = if self.num_groups.is_some() { "bias" } else { "B" };
        for parameter in [inputs.require(SCALE, "scale")?, inputs.require(BIAS, bias)?] {
            if expect_any_float(&parameter)? != [expected] {
                return Err(parameter.wrong_shape(format!("[{expected}], one per {what}")));
            }
        }
        Ok(vec![x.ty().clone()])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let output = &self.infer(inputs)?[0];
        Ok(vec![dispatch_reals!(output.dtype, T => {
            let mut y = reals::<T>(inputs, X).into_owned();
            self.normalize(&mut y, &output.shape, inputs)?;
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

    use crate::ops::testing::{OpTest, counting, op};

    fn grouped(opset: u16) -> OpTest {
        let base = op("GroupNormalization").opset(opset).tensor(counting(&[1, 4, 2]));
        base.int("num_groups", 2).float("epsilon", 0.25)
    }

    #[test]
    fn group_norm() {
        grouped(21).input(&array![1., 2., 3., 4.]).input(&array![0., 1., 0., 1.]).macs(0).gives(
            array![[
                [-1.224_744_8, -0.408_248_28],
                [1.816_496_6, 3.449_489_6],
                [-3.674_234_4, -1.224_744_8],
                [2.632_993_2, 5.898_979]
            ]],
        );
        grouped(18).input(&array![1., 2.]).input(&array![0., 1.]).gives(array![[
            [-1.224_744_8, -0.408_248_28],
            [0.408_248_28, 1.224_744_8],
            [-1.449_489_6, 0.183_503_45],
            [1.816_496_6, 3.449_489_6]
        ]]);
    }

    #[test]
    fn instance_norm() {
        op("InstanceNormalization")
            .tensor(counting(&[1, 2, 3]))
            .input(&array![1., 2.])
            .input(&array![0., 1.])
            .float("epsilon", 0.25)
            .gives(array![[[-1.044_465_9, 0., 1.044_465_9], [-1.088_932, 1., 3.088_932]]]);
        op("InstanceNormalization")
            .tensor(counting(&[0, 1, 3]))
            .input(&array![1.])
            .input(&array![0.])
            .gives_tensor(counting(&[0, 1, 3]));
    }

    #[test]
    fn float64() {
        op("InstanceNormalization")
            .tensor(array![[[1. + 1e-9, -1. - 1e-9]]])
            .tensor(array![3_f64])
            .tensor(array![1e-9])
            .float("epsilon", 0.)
            .gives_tensor(array![[[3. + 1e-9, -3. + 1e-9]]]);
    }

    #[test]
    fn refuses() {
        grouped(21)
            .input(&array![1., 2.])
            .input(&array![1., 2.])
            .fails("input `scale` has shape [2], expected [4], one per channel");
        grouped(18)
            .input(&array![1., 2., 3., 4.])
            .input(&array![1., 2.])
            .fails("input `scale` has shape [4], expected [2], one per group");
        op("GroupNormalization")
            .tensor(counting(&[1, 4, 2]))
            .int("num_groups", 3)
            .fails("attribute `num_groups` is 3, expected a divisor of 4, the number of channels");
        op("GroupNormalization").fails("attribute `num_groups` is missing");
    }
}
