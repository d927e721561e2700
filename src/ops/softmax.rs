//! `Softmax`, `LogSoftmax`, `Hardmax`.
//!
//! Before opset 13 the lanes ran over all axes from `axis` on, since then along that one alone.
//!
//! <https://onnx.ai/onnx/operators/onnx__Softmax.html> and its siblings

use crate::ops::floats::{self, expect_float, floats};
use crate::ops::lanes::{for_each_lane, resolve_axis};
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator};
use crate::tensor::{Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("Hardmax", 1, |attrs| Softmax::read_flat(attrs, hardmax)),
    OpDef::onnx("Hardmax", 13, |attrs| Softmax::read(attrs, hardmax)),
    OpDef::onnx("LogSoftmax", 1, |attrs| Softmax::read_flat(attrs, log_softmax)),
    OpDef::onnx("LogSoftmax", 13, |attrs| Softmax::read(attrs, log_softmax)),
    OpDef::onnx("Softmax", 1, |attrs| Softmax::read_flat(attrs, softmax)),
    OpDef::onnx("Softmax", 13, |attrs| Softmax::read(attrs, softmax)),
];

#[derive(Debug)]
struct Softmax {
    axis: i64,
    /// Whether the axes after `axis` belong to its lanes.
    is_flat: bool,
    /// Changes a lane that is not empty.
    f: fn(&mut [f32]),
}

const X: usize = 0;

impl Softmax {
    fn read(attrs: &mut Attrs, f: fn(&mut [f32])) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(Softmax { axis: attrs.int("axis", -1)?, is_flat: false, f }))
    }

    fn read_flat(attrs: &mut Attrs, f: fn(&mut [f32])) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(Softmax { axis: attrs.int("axis", 1)?, is_flat: true, f }))
    }
}

impl Operator for Softmax {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let x = inputs.require(X, "input")?;
        let shape = expect_float(&x)?;
        resolve_axis("axis", self.axis, shape.len())?;
        Ok(vec![TensorType { dtype: x.dtype(), shape }])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let output = &self.infer(inputs)?[0];
        let axis = resolve_axis("axis", self.axis, output.shape.len())?;
        let mut y = floats(inputs, X).into_owned();
        if self.is_flat {
            let length: usize = output.shape[axis..].iter().product();
            y.chunks_exact_mut(length.max(1)).for_each(self.f);
        } else {
            for_each_lane(&mut y, &output.shape, axis, self.f);
        }
        Ok(vec![floats::tensor(output.dtype, &output.shape, y)])
    }
}

/// The largest element, NaN aside; a NaN shows up in the sums.
fn max(lane: &[f32]) -> f32 {
    lane.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// `exp(x - max) / sum of exp(x - max)`
fn softmax(lane: &mut [f32]) {
    let max = max(lane);
    let mut sum = 0.;
    for x in lane.iter_mut() {
        *x = (*x - max).exp();
        sum += f64::from(*x);
    }
    let inverse = 1. / sum;
    lane.iter_mut().for_each(|x| *x = (f64::from(*x) * inverse) as f32);
}

/// `x - max - log(sum of exp(x - max))`
fn log_softmax(lane: &mut [f32]) {
    let max = max(lane);
    let sum: f64 = lane.iter().map(|&x| f64::from((x - max).exp())).sum();
    let shift = f64::from(max) + sum.ln();
    lane.iter_mut().for_each(|x| *x = (f64::from(*x) - shift) as f32);
}

/// 1 at the first of the largest elements, 0 elsewhere.
fn hardmax(lane: &mut [f32]) {
    let mut best = 0;
    for (i, x) in lane.iter().enumerate() {
        if lane[best] < *x {
            best = i;
        }
    }
    lane.fill(0.);
    lane[best] = 1.;
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::testing::{counting, op};

    #[test]
    fn along_an_axis() {
        let base = |name| op(name).tensor(counting(&[1, 2, 2])).int("axis", 1);
        let (low, high) = (0.119_202_92, 0.880_797_1);
        base("Softmax").macs(0).gives(array![[[low, low], [high, high]]]);
        base("LogSoftmax")
            .gives(array![[[-2.126_928, -2.126_928], [-0.126_928_05, -0.126_928_05]]]);
        base("Hardmax").gives(array![[[0., 0.], [1., 1.]]]);
        op("Softmax").input(&array![[0., 1.]]).gives(array![[0.268_941_43, 0.731_058_6]]);
    }

    #[test]
    fn over_all_axes_from_one_on_before_opset_13() {
        let base = |name| op(name).opset(11).tensor(counting(&[1, 2, 2]));
        base("Softmax").gives(array![[[0.032_058_604, 0.087_144_32], [0.236_882_84, 0.643_914_3]]]);
        base("LogSoftmax")
            .gives(array![[[-3.440_189_6, -2.440_189_6], [-1.440_189_7, -0.440_189_7]]]);
        base("Hardmax").gives(array![[[0., 0.], [0., 1.]]]);
    }

    #[test]
    fn extremes() {
        op("Softmax").input(&array![1e4, -1e4, f32::NEG_INFINITY]).gives(array![1., 0., 0.]);
        op("Softmax").input(&array![f32::NAN, 1.]).gives(array![f32::NAN, f32::NAN]);
        op("Hardmax").input(&array![2., 2.]).gives(array![1., 0.]);
        op("Softmax").tensor(counting(&[2, 0])).gives_tensor(counting(&[2, 0]));
    }

    #[test]
    fn refuses() {
        op("Softmax")
            .tensor(counting(&[2, 2]))
            .int("axis", 2)
            .fails("attribute `axis` is 2, expected -2 to 1 for rank 2");
        op("Softmax")
            .tensor(counting(&[]))
            .fails("attribute `axis` is -1, expected 0 to -1 for rank 0");
    }
}
