//! `LayerNormalization` and `RMSNormalization`: over the last axes, from `axis` on. onnxruntime has the
//! former from opset 1 on and calls the latter `SimplifiedLayerNormalization`.
//!
//! <https://onnx.ai/onnx/operators/onnx__LayerNormalization.html>,
//! <https://onnx.ai/onnx/operators/onnx__RMSNormalization.html>

use std::borrow::Cow;

use ndarray::ArrayView;

use crate::kernels;
use crate::ops::floats::{self, expect_float, floats, optional_floats};
use crate::ops::lanes::resolve_axis;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{Tensor, TensorType};

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
}

const X: usize = 0;
const SCALE: usize = 1;
const B: usize = 2;

impl LayerNormalization {
    fn read(attrs: &mut Attrs, is_centered: bool) -> Result<Box<dyn Operator>, OpError> {
        match attrs.int("stash_type", 1)? {
            1 => {}
            other => return Err(OpError::attribute("stash_type", other, "1, float32")),
        }
        let (axis, epsilon) = (attrs.int("axis", -1)?, attrs.float("epsilon", 1e-5)?);
        Ok(Box::new(LayerNormalization { axis, epsilon, is_centered }))
    }

    /// Mean (0 if it stays) and inverse standard deviation.
    fn statistics(&self, row: &[f32]) -> (f64, f64) {
        let (mean, variance) = match self.is_centered {
            true => kernels::moments(row),
            false => (0., kernels::sum_squares(row) / row.len() as f64),
        };
        (mean, (variance + f64::from(self.epsilon)).sqrt().recip())
    }
}

impl Operator for LayerNormalization {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(if self.is_centered { 3 } else { 2 })?;
        let x = inputs.require(X, "X")?;
        let shape = expect_float(&x)?;
        let axis = resolve_axis("axis", self.axis, shape.len())?;
        let scale = inputs.require(SCALE, if self.is_centered { "Scale" } else { "scale" })?;
        for parameter in [Some(scale), inputs.optional(B, "B")].into_iter().flatten() {
            let found = expect_float(&parameter)?;
            if !broadcasts_to(&found, &shape) {
                return Err(parameter.wrong_shape(format!("broadcastable to {shape:?}")));
            }
        }
        let mut statistics = TensorType::f32(&shape);
        statistics.shape[axis..].fill(1);
        let mut types = vec![TensorType { dtype: x.dtype(), shape }];
        if self.is_centered {
            types.push(statistics.clone());
        }
        types.push(statistics);
        types.truncate(inputs.n_outputs().max(1));
        Ok(types)
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let types = self.infer(inputs)?;
        let shape = &types[0].shape;
        let axis = resolve_axis("axis", self.axis, shape.len())?;
        let length: usize = shape[axis..].iter().product();
        let mut y = floats(inputs, X).into_owned();
        let scale = spread(floats(inputs, SCALE), inputs.shape(SCALE), shape, axis);
        let b = optional_floats(inputs, B);
        let b = b.map(|b| spread(b, inputs.shape(B), shape, axis));
        let n_rows: usize = shape[..axis].iter().product();
        let (mut means, mut inverses) = (vec![f32::NAN; n_rows], vec![f32::NAN; n_rows]);
        for (i, row) in y.chunks_exact_mut(length.max(1)).enumerate() {
            let (mean, inverse) = self.statistics(row);
            let scale = &scale[i * length % scale.len()..][..length];
            let scaled = |(x, &scale): (&mut f32, &f32)| {
                *x = ((f64::from(*x) - mean) * inverse * f64::from(scale)) as f32;
            };
            row.iter_mut().zip(scale).for_each(scaled);
            if let Some(b) = &b {
                let b = &b[i * length % b.len()..][..length];
                row.iter_mut().zip(b).for_each(|(x, &b)| *x += b);
            }
            (means[i], inverses[i]) = (mean as f32, inverse as f32);
        }
        let means = self.is_centered.then_some(means);
        let values = [Some(y), means, Some(inverses)].into_iter().flatten().zip(&types);
        Ok(values.map(|(y, ty)| floats::tensor(ty.dtype, &ty.shape, y)).collect())
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::reads_only(X)
    }
}

fn broadcasts_to(from: &[usize], to: &[usize]) -> bool {
    from.len() <= to.len()
        && from.iter().rev().zip(to.iter().rev()).all(|(&from, &to)| from == 1 || from == to)
}

/// A parameter with an element for every one of a row, or of all rows.
fn spread<'a>(
    values: Cow<'a, [f32]>,
    from: &[usize],
    shape: &[usize],
    axis: usize,
) -> Cow<'a, [f32]> {
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

    #[test]
    fn refuses() {
        let base = || op("LayerNormalization").tensor(counting(&[2, 3]));
        base().fails("input `Scale` is missing");
        base()
            .input(&array![1., 2.])
            .fails("input `Scale` has shape [2], expected broadcastable to [2, 3]");
        base().int("stash_type", 11).fails("attribute `stash_type` is 11; supported: 1, float32");
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
