//! `Softmax`, `LogSoftmax`, `Hardmax`.
//!
//! Before opset 13 the lanes ran over all axes from `axis` on, since then along that one alone.
//!
//! <https://onnx.ai/onnx/operators/onnx__Softmax.html> and its siblings

use crate::ops::floats::expect_any_float;
use crate::ops::lanes::{for_each_lane, resolve_axis};
use crate::ops::real::{Real, dispatch_reals, reals};
use crate::ops::{Attrs, Bodies, Inputs, Lowering, OpDef, OpError, Operator};
use crate::tensor::{Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("Hardmax", 1, |attrs| Softmax::read_flat(attrs, Kind::Hardmax)),
    OpDef::onnx("Hardmax", 13, |attrs| Softmax::read(attrs, Kind::Hardmax)),
    OpDef::onnx("LogSoftmax", 1, |attrs| Softmax::read_flat(attrs, Kind::LogSoftmax)),
    OpDef::onnx("LogSoftmax", 13, |attrs| Softmax::read(attrs, Kind::LogSoftmax)),
    OpDef::onnx("Softmax", 1, |attrs| Softmax::read_flat(attrs, Kind::Softmax)),
    OpDef::onnx("Softmax", 13, |attrs| Softmax::read(attrs, Kind::Softmax)),
];

#[derive(Debug)]
struct Softmax {
    axis: i64,
    /// Whether the axes after `axis` belong to its lanes.
    is_flat: bool,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Hardmax,
    LogSoftmax,
    Softmax,
}

const X: usize = 0;

impl Softmax {
    fn read(attrs: &mut Attrs, kind: Kind) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(Softmax { axis: attrs.int("axis", -1)?, is_flat: false, kind }))
    }

    fn read_flat(attrs: &mut Attrs, kind: Kind) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(Softmax { axis: attrs.int("axis", 1)?, is_flat: true, kind }))
    }
}

impl Operator for Softmax {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let x = inputs.require(X, "input")?;
        let shape = expect_any_float(&x)?;
        resolve_axis("axis", self.axis, shape.len())?;
        Ok(vec![x.ty().clone()])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let output = &self.infer(inputs)?[0];
        let axis = resolve_axis("axis", self.axis, output.shape.len())?;
        Ok(vec![dispatch_reals!(output.dtype, T => {
            let mut y = reals::<T>(inputs, X).into_owned();
            let f = self.kind.function::<T>();
            if self.is_flat {
                let length: usize = output.shape[axis..].iter().product();
                y.chunks_exact_mut(length.max(1)).for_each(f);
            } else {
                for_each_lane(&mut y, &output.shape, axis, f);
            }
            T::tensor(output.dtype, &output.shape, y)
        })])
    }

    fn lower(&self, inputs: &Inputs<'_>) -> Option<Lowering> {
        let rank = inputs.shape(X).len();
        let axis = resolve_axis("axis", self.axis, rank).ok()?;
        let is_log = match self.kind {
            Kind::Hardmax => return None,
            Kind::LogSoftmax => true,
            Kind::Softmax => false,
        };
        (axis + 1 == rank).then_some(Lowering::Softmax { is_log })
    }
}

impl Kind {
    /// What changes a lane that is not empty.
    fn function<T: Real>(self) -> fn(&mut [T]) {
        match self {
            Kind::Hardmax => hardmax,
            Kind::LogSoftmax => log_softmax,
            Kind::Softmax => softmax,
        }
    }
}

/// The largest element, NaN aside; a NaN shows up in the sums.
fn max<T: Real>(lane: &[T]) -> T {
    let least = T::nearest(f64::NEG_INFINITY);
    lane.iter().fold(least, |max, &x| if max < x { x } else { max })
}

/// `exp(x - max) / sum of exp(x - max)`
fn softmax<T: Real>(lane: &mut [T]) {
    let max = max(lane);
    let mut sum = 0.;
    for x in lane.iter_mut() {
        *x = (*x - max).exp();
        sum += x.to_f64();
    }
    let inverse = 1. / sum;
    lane.iter_mut().for_each(|x| *x = T::nearest(x.to_f64() * inverse));
}

/// `x - max - log(sum of exp(x - max))`
pub(super) fn log_softmax<T: Real>(lane: &mut [T]) {
    let max = max(lane);
    let sum: f64 = lane.iter().map(|&x| (x - max).exp().to_f64()).sum();
    let shift = max.to_f64() + sum.ln();
    lane.iter_mut().for_each(|x| *x = T::nearest(x.to_f64() - shift));
}

/// 1 at the first of the largest elements, 0 elsewhere.
fn hardmax<T: Real>(lane: &mut [T]) {
    let mut best = 0;
    for (i, x) in lane.iter().enumerate() {
        if lane[best] < *x {
            best = i;
        }
    }
    lane.fill(T::zero());
    lane[best] = T::one();
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
    fn float64() {
        let base = |name| op(name).tensor(array![0_f64, 1.]);
        let (low, high) = (0.268_941_421_369_995_1_f64, 0.731_058_578_630_004_9_f64);
        base("Softmax").gives_tensor(array![low, high]);
        base("LogSoftmax").gives_tensor(array![low.ln(), high.ln()]);
        base("Hardmax").gives_tensor(array![0_f64, 1.]);
    }

    #[test]
    fn refuses() {
        op("Softmax").i64s(&[1]).fails("input `input` is int64, expected a float type");
        op("Softmax")
            .tensor(counting(&[2, 2]))
            .int("axis", 2)
            .fails("attribute `axis` is 2, expected -2 to 1 for rank 2");
        op("Softmax")
            .tensor(counting(&[]))
            .fails("attribute `axis` is -1, expected 0 to -1 for rank 0");
    }
}
