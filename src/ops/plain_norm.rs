//! Normalizations without learned parameters: `LRN`, `LpNormalization`, `MeanVarianceNormalization`.
//!
//! <https://onnx.ai/onnx/operators/onnx__LRN.html>,
//! <https://onnx.ai/onnx/operators/onnx__LpNormalization.html>,
//! <https://onnx.ai/onnx/operators/onnx__MeanVarianceNormalization.html>

use ndarray::{ArrayD, ArrayView, Axis};

use crate::ops::floats::{doubles, expect_any_float, rounded};
use crate::ops::lanes::{for_each_lane, resolve_axis};
use crate::ops::real::{Real, dispatch_reals, reals};
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator};
use crate::tensor::{Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("LRN", 1, Lrn::read),
    OpDef::onnx("LpNormalization", 1, LpNormalization::read),
    OpDef::onnx("MeanVarianceNormalization", 9, MeanVariance::read),
];

const X: usize = 0;

fn infer_same(inputs: &Inputs<'_>) -> Result<TensorType, OpError> {
    inputs.expect_at_most(1)?;
    let x = inputs.require(X, "X")?;
    expect_any_float(&x)?;
    Ok(x.ty().clone())
}

/// `Y[c] = X[c] / (bias + alpha / size * sum of X[i]^2)^beta`, over the `size` channels around `c`
#[derive(Debug)]
struct Lrn {
    alpha: f32,
    beta: f32,
    bias: f32,
    size: usize,
}

impl Lrn {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let size = attrs.require_int("size")?;
        let wrong = || OpError::invalid_attribute("size", size, "at least 1");
        Ok(Box::new(Lrn {
            alpha: attrs.float("alpha", 1e-4)?,
            beta: attrs.float("beta", 0.75)?,
            bias: attrs.float("bias", 1.)?,
            size: usize::try_from(size).ok().filter(|&size| 0 < size).ok_or_else(wrong)?,
        }))
    }

    /// One sample's elements at one position, across the channels.
    fn normalize<T: Real>(&self, lane: &mut [T]) {
        let squares: Vec<f64> = lane.iter().map(|x| x.to_f64().powi(2)).collect();
        let (before, after) = ((self.size - 1) / 2, self.size / 2);
        for (c, x) in lane.iter_mut().enumerate() {
            let end = c.saturating_add(after).saturating_add(1).min(squares.len());
            let sum: f64 = squares[c.saturating_sub(before)..end].iter().sum();
            let base = f64::from(self.bias) + f64::from(self.alpha) / self.size as f64 * sum;
            *x = T::nearest(x.to_f64() / base.powf(f64::from(self.beta)));
        }
    }
}

impl Operator for Lrn {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        let ty = infer_same(inputs)?;
        if ty.shape.len() < 2 {
            return Err(OpError::shape("X", &ty.shape, "[N, C, ...]"));
        }
        Ok(vec![ty])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let ty = infer_same(inputs)?;
        Ok(vec![dispatch_reals!(ty.dtype, T => {
            let mut y = reals::<T>(inputs, X).into_owned();
            for_each_lane(&mut y, &ty.shape, 1, |lane| self.normalize(lane));
            T::tensor(ty.dtype, &ty.shape, y)
        })])
    }
}

/// `Y = X / norm(X)` along one axis; 0 where the norm is 0.
#[derive(Debug)]
struct LpNormalization {
    axis: i64,
    p: i64,
}

impl LpNormalization {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let (axis, p) = (attrs.int("axis", -1)?, attrs.int("p", 2)?);
        if !(1..=2).contains(&p) {
            return Err(OpError::invalid_attribute("p", p, "1 or 2"));
        }
        Ok(Box::new(LpNormalization { axis, p }))
    }

    fn normalize<T: Real>(&self, lane: &mut [T]) {
        let values = lane.iter().map(|x| x.to_f64());
        let norm = match self.p {
            1 => values.map(f64::abs).sum::<f64>(),
            _ => values.map(|x| x * x).sum::<f64>().sqrt(),
        };
        if norm != 0. {
            lane.iter_mut().for_each(|x| *x = T::nearest(x.to_f64() / norm));
        }
    }
}

impl Operator for LpNormalization {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        let ty = infer_same(inputs)?;
        resolve_axis("axis", self.axis, ty.shape.len())?;
        Ok(vec![ty])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let ty = infer_same(inputs)?;
        let axis = resolve_axis("axis", self.axis, ty.shape.len())?;
        Ok(vec![dispatch_reals!(ty.dtype, T => {
            let mut y = reals::<T>(inputs, X).into_owned();
            for_each_lane(&mut y, &ty.shape, axis, |lane| self.normalize(lane));
            T::tensor(ty.dtype, &ty.shape, y)
        })])
    }
}

/// `Y = (X - mean) / (standard deviation + 1e-9)` over some axes
#[derive(Debug)]
struct MeanVariance {
    axes: Vec<i64>,
}

impl MeanVariance {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(MeanVariance { axes: attrs.ints("axes", [0, 2, 3])? }))
    }

    fn axes(&self, rank: usize) -> Result<Vec<usize>, OpError> {
        let mut axes: Vec<usize> = self
            .axes
            .iter()
            .map(|&axis| resolve_axis("axes", axis, rank))
            .collect::<Result<_, _>>()?;
        axes.sort_unstable();
        axes.dedup();
        Ok(axes)
    }
}

impl Operator for MeanVariance {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        let ty = infer_same(inputs)?;
        self.axes(ty.shape.len())?;
        Ok(vec![ty])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let ty = infer_same(inputs)?;
        let axes = self.axes(ty.shape.len())?;
        let x = doubles(inputs.tensor(X));
        if x.is_empty() {
            return Ok(vec![inputs.tensor(X).clone()]);
        }
        let x = ArrayView::from_shape(ty.shape.as_slice(), &x).expect("an input has its shape");
        let x = x.to_owned();
        let centered = &x - &mean(&x, &axes);
        let deviation = mean(&(&centered * &centered), &axes).mapv(f64::sqrt);
        let y = centered / (deviation + 1e-9);
        Ok(vec![rounded(ty.dtype, &ty.shape, y.iter().copied().collect())])
    }
}

/// The mean over `axes`, which stay with length 1.
fn mean(x: &ArrayD<f64>, axes: &[usize]) -> ArrayD<f64> {
    axes.iter().fold(x.clone(), |x, &axis| {
        let mean = x.mean_axis(Axis(axis)).expect("there are elements");
        mean.insert_axis(Axis(axis))
    })
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::testing::{counting, mixed, op};

    #[test]
    fn lrn() {
        let base = || {
            let base = op("LRN").tensor(counting(&[1, 4, 1])).float("alpha", 0.5);
            base.float("beta", 0.5).float("bias", 2.)
        };
        let line = |y: [f32; 4]| array![[[y[0]], [y[1]], [y[2]], [y[3]]]];
        base().int("size", 3).gives(line([0., 0.594_088_5, 0.960_768_9, 1.469_693_8]));
        // Of an even number the odd one comes after.
        let squares = [1., 5., 13., 9.];
        let y =
            [0., 1., 2., 3.].iter().zip(squares).map(|(x, sum)| x / (2_f32 + 0.25 * sum).sqrt());
        let y: Vec<f32> = y.collect();
        base().int("size", 2).gives(line([y[0], y[1], y[2], y[3]]));
        base().int("size", 0).fails("attribute `size` is 0, expected at least 1");
        base().fails("attribute `size` is missing");
    }

    #[test]
    fn lp_normalization() {
        let base = || op("LpNormalization").tensor(mixed(&[2, 2]));
        base().int("axis", 0).int("p", 1).gives(array![[-0.5, 0.], [0.5, -1.]]);
        op("LpNormalization")
            .tensor(counting(&[2, 2]))
            .gives(array![[0., 1.], [0.554_700_2, 0.832_050_3]]);
        op("LpNormalization").input(&array![[0., 0.]]).gives(array![[0., 0.]]);
        base().int("p", 3).fails("attribute `p` is 3, expected 1 or 2");
    }

    #[test]
    fn float64() {
        let x = array![[0_f64, 1e-9, -1.]];
        let third = 3_f64.sqrt().recip();
        op("LpNormalization")
            .tensor(x.clone())
            .int("p", 1)
            .gives_tensor(x.mapv(|x| x / (1. + 1e-9)));
        op("LRN")
            .tensor(array![[1_f64]])
            .int("size", 1)
            .float("alpha", 2.)
            .float("beta", 0.5)
            .gives_tensor(array![[third]]);
        op("MeanVarianceNormalization")
            .tensor(array![1., 3_f64])
            .ints("axes", &[0])
            .gives_tensor(array![-1. / (1. + 1e-9), 1. / (1. + 1e-9)]);
    }

    #[test]
    fn mean_variance_normalization() {
        let base = || op("MeanVarianceNormalization").tensor(counting(&[2, 2, 1, 2]));
        let (a, b) = (1.212_678_2, 0.727_606_9);
        base().gives(array![[[[-a, -b]], [[-a, -b]]], [[[b, a]], [[b, a]]]]);
        base()
            .ints("axes", &[-1])
            .gives(array![[[[-1., 1.]], [[-1., 1.]]], [[[-1., 1.]], [[-1., 1.]]]]);
        op("MeanVarianceNormalization")
            .tensor(counting(&[0, 2, 1, 2]))
            .gives_tensor(counting(&[0, 2, 1, 2]));
        op("MeanVarianceNormalization")
            .tensor(counting(&[2]))
            .fails("attribute `axes` is 2, expected -1 to 0 for rank 1");
    }
}
