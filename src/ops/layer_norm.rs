//! `LayerNormalization` and `RMSNormalization`: over the last axes, from `axis` on. onnxruntime has the
//! former from opset 1 on and calls the latter `SimplifiedLayerNormalization`.
//!
//! <https://onnx.ai/onnx/operators/onnx__LayerNormalization.html>,
//! <https://onnx.ai/onnx/operators/onnx__RMSNormalization.html>

use std::borrow::Cow;

use ndarray::ArrayView;

use crate::ops::floats::{expect_any_float, rounded};
use crate::ops::lanes::resolve_axis;
use crate::ops::real::{Real, dispatch_reals, optional_reals, reals};
use crate::ops::{Attrs, Bodies, Inputs, Lowering, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("LayerNormalization", 1, |attrs| LayerNormalization::read(attrs, true)),
    OpDef::onnx("RMSNormalization", 23, |attrs| LayerNormalization::read(attrs, false)),
    OpDef::onnx("SimplifiedLayerNormalization", 1, |attrs| LayerNormalization::read(attrs, false)),
];

/// `Y = (X - mean) / sqrt(variance + epsilon) * Scale + B`
#[derive(Debug)]
struct LayerNormalization {
    axis: i64,
    epsilon: f32,
    /// Whether the mean is subtracted; if not, `variance` is the mean square and there is no `B`.
    is_centered: bool,
    /// The type of the mean and the inverse standard deviation as outputs.
    statistics: DType,
}

const X: usize = 0;
const SCALE: usize = 1;
const B: usize = 2;

impl LayerNormalization {
    fn read(attrs: &mut Attrs, is_centered: bool) -> Result<Box<dyn Operator>, OpError> {
        let statistics = read_stash_type(attrs)?;
        let (axis, epsilon) = (attrs.int("axis", -1)?, attrs.float("epsilon", 1e-5)?);
        Ok(Box::new(LayerNormalization { axis, epsilon, is_centered, statistics }))
    }

    /// Mean (0 if it stays) and inverse standard deviation.
    fn statistics<T: Real>(&self, row: &[T]) -> (f64, f64) {
        let (mean, variance) = match self.is_centered {
            true => T::moments(row),
            false => (0., T::sum_squares(row) / row.len() as f64),
        };
        (mean, (variance + f64::from(self.epsilon)).sqrt().recip())
    }

    /// The result, and mean and inverse standard deviation of every row.
    fn normalize<T: Real>(
        &self,
        inputs: &Inputs<'_>,
        shape: &[usize],
    ) -> Result<(Vec<T>, [Vec<f64>; 2]), OpError> {
        let axis = resolve_axis("axis", self.axis, shape.len())?;
        let length: usize = shape[axis..].iter().product();
        let mut y = reals::<T>(inputs, X).into_owned();
        let scale = spread::<T>(reals(inputs, SCALE), inputs.shape(SCALE), shape, axis);
        let b = optional_reals::<T>(inputs, B);
        let b = b.map(|b| spread(b, inputs.shape(B), shape, axis));
        let n_rows: usize = shape[..axis].iter().product();
        let (mut means, mut inverses) = (vec![f64::NAN; n_rows], vec![f64::NAN; n_rows]);
        for (i, row) in y.chunks_exact_mut(length.max(1)).enumerate() {
            let (mean, inverse) = self.statistics(row);
            let scale = &scale[i * length % scale.len()..][..length];
            let scaled = |(x, &scale): (&mut T, &T)| {
                *x = T::nearest((x.to_f64() - mean) * inverse * scale.to_f64());
            };
            row.iter_mut().zip(scale).for_each(scaled);
            if let Some(b) = &b {
                let b = &b[i * length % b.len()..][..length];
                row.iter_mut().zip(b).for_each(|(x, &b)| *x += b);
            }
            (means[i], inverses[i]) = (mean, inverse);
        }
        Ok((y, [means, inverses]))
    }
}

impl Operator for LayerNormalization {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(if self.is_centered { 3 } else { 2 })?;
        let x = inputs.require(X, "X")?;
        let shape = expect_any_float(&x)?;
        let axis = resolve_axis("axis", self.axis, shape.len())?;
        let scale = inputs.require(SCALE, if self.is_centered { "Scale" } else { "scale" })?;
        for parameter in [Some(scale), inputs.optional(B, "B")].into_iter().flatten() {
            if !broadcasts_to(expect_any_float(&parameter)?, shape) {
                return Err(parameter.wrong_shape(format!("broadcastable to {shape:?}")));
            }
        }
        let mut statistics = TensorType::new(self.statistics, shape);
        statistics.shape[axis..].fill(1);
        let mut types = vec![x.ty().clone()];
        if self.is_centered {
            types.push(statistics.clone());
        }
        types.push(statistics);
        types.truncate(inputs.n_outputs().max(1));
        Ok(types)
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let types = self.infer(inputs)?;
        let outputs = dispatch_reals!(types[0].dtype, T => {
            let (y, statistics) = self.normalize::<T>(inputs, &types[0].shape)?;
            let y = T::tensor(types[0].dtype, &types[0].shape, y);
            let without_mean = usize::from(!self.is_centered);
            let statistics = statistics.into_iter().skip(without_mean).zip(&types[1..]);
            let statistics = statistics.map(|(x, ty)| rounded(ty.dtype, &ty.shape, x));
            std::iter::once(y).chain(statistics).collect()
        });
        Ok(outputs)
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::reads_only(X)
    }

    fn lower(&self, inputs: &Inputs<'_>) -> Option<Lowering> {
        let shape = inputs.shape(X);
        let axis = resolve_axis("axis", self.axis, shape.len()).ok()?;
        let n: usize = shape[axis..].iter().product();
        // A parameter may have another type than X.
        let dtype = inputs.get(X)?.ty.dtype;
        let is_row = |position| match inputs.get(position) {
            Some(row) => row.ty.len() == n && row.ty.dtype == dtype,
            None => position == B,
        };
        let fits = inputs.n_outputs() == 1 && is_row(SCALE) && is_row(B);
        let Self { epsilon, is_centered, .. } = *self;
        fits.then_some(Lowering::Norm { n, epsilon, is_centered })
    }
}

/// The precision that the specification asks for; all statistics are computed in f64.
pub(super) fn read_stash_type(attrs: &mut Attrs) -> Result<DType, OpError> {
    match attrs.int("stash_type", 1)? {
        1 => Ok(DType::F32),
        10 => Ok(DType::F16),
        11 => Ok(DType::F64),
        16 => Ok(DType::BF16),
        other => {
            Err(OpError::invalid_attribute("stash_type", other, "1, 10, 11 or 16, a float type"))
        }
    }
}

fn broadcasts_to(from: &[usize], to: &[usize]) -> bool {
    from.len() <= to.len()
        && from.iter().rev().zip(to.iter().rev()).all(|(&from, &to)| from == 1 || from == to)
}

/// A parameter with an element for every one of a row, or of all rows.
fn spread<'a, T: Real>(
    values: Cow<'a, [T]>,
    from: &[usize],
    shape: &[usize],
    axis: usize,
) -> Cow<'a, [T]> {
    let row = &shape[axis..];
    if from == row {
        return values;
    }
    let to = if from.len() <= row.len() { row } else { shape };
    let view = ArrayView::from_shape(from, &values).expect("an input has its shape");
    let view = view.broadcast(to).expect("`infer` checked the broadcast");
    Cow::Owned(view.iter().copied().collect())
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::QuantRole;
    use crate::ops::testing::{counting, mixed, op};
    use crate::tensor::Tensor;

    #[test]
    fn layer_norm() {
        let base = || op("LayerNormalization").tensor(counting(&[2, 3])).input(&array![1., 2., 3.]);
        let base = || base().input(&array![0., 1., 0.]).macs(0);
        let y = array![[-1.224_735_6, 1., 3.674_206_7], [-1.224_735_6, 1., 3.674_206_7]];
        let inverse = array![[1.224_735_6_f32], [1.224_735_6]];
        base().gives(y.clone());
        base().outputs(3).gives_tensors(&[y.into(), array![[1_f32], [4.]].into(), inverse.into()]);
        assert_eq!(base().quant(), QuantRole::reads_only(0));
    }

    #[test]
    fn over_several_axes() {
        op("LayerNormalization")
            .tensor(counting(&[2, 2]))
            .tensor(mixed(&[2, 2]))
            .int("axis", 0)
            .float("epsilon", 0.5)
            .gives(array![[2.267_787, 0.], [0.755_929, -1.133_893_5]]);
    }

    /// A scale may have fewer elements than a row, or differ from row to row.
    #[test]
    fn parameters_broadcast() {
        let base = || op("LayerNormalization").tensor(counting(&[2, 2])).float("epsilon", 0.);
        base().input(&array![2.]).gives(array![[-2., 2.], [-2., 2.]]);
        base().input(&array![[1.], [3.]]).gives(array![[-1., 1.], [-3., 3.]]);
    }

    #[test]
    fn rms_norm() {
        op("RMSNormalization")
            .input(&array![[3., 4.], [0., 1.]])
            .input(&array![1., 2.])
            .float("epsilon", 0.)
            .gives(array![[0.848_528_15, 2.262_741_8], [0., 2.828_427]]);
    }

    /// The type of the statistics does not follow that of `X`.
    #[test]
    fn float64() {
        let x = array![[1. + 1e-9, -1. - 1e-9]];
        let base = || op("LayerNormalization").tensor(x.clone()).tensor(array![3_f64, 3.]);
        base().float("epsilon", 0.).outputs(3).gives_tensors(&[
            array![[3_f64, -3.]].into(),
            array![[0_f32]].into(),
            array![[1_f32]].into(),
        ]);
        base()
            .float("epsilon", 0.)
            .int("stash_type", 16)
            .outputs(2)
            .gives_tensors(&[array![[3_f64, -3.]].into(), array![[half::bf16::ZERO]].into()]);
        base().i64s(&[1]).fails("input `B` is int64, expected a float type");
    }

    #[test]
    fn refuses() {
        let base = || op("LayerNormalization").tensor(counting(&[2, 3]));
        base().fails("input `Scale` is missing");
        base()
            .input(&array![1., 2.])
            .fails("input `Scale` has shape [2], expected broadcastable to [2, 3]");
        base()
            .int("stash_type", 7)
            .fails("attribute `stash_type` is 7, expected 1, 10, 11 or 16, a float type");
        base().int("axis", 2).fails("attribute `axis` is 2, expected -2 to 1 for rank 2");
    }

    #[test]
    fn nothing_in_nothing_out() {
        for shape in [[0, 3], [3, 0]] {
            op("LayerNormalization")
                .tensor(counting(&shape))
                .tensor(Tensor::full(&[shape[1]], 1_f32))
                .gives_tensor(counting(&shape));
        }
    }
}
