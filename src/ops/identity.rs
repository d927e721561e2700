//! `Identity`, and `Dropout`, which is one in inference.

use crate::ops::floats::doubles;
use crate::ops::{Attrs, Bodies, Inputs, Lowering, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("Identity", 1, |_| Ok(Box::new(Identity))),
    OpDef::onnx("Dropout", 1, Dropout::read),
];

const INPUT: usize = 0;
const RATIO: usize = 1;
const TRAINING_MODE: usize = 2;

#[derive(Debug)]
pub(super) struct Identity;

impl Operator for Identity {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        Ok(vec![inputs.require(INPUT, "input")?.ty().clone()])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        Ok(vec![inputs.tensor(INPUT).clone()])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::passes(INPUT)
    }

    fn lower(&self, _inputs: &Inputs<'_>) -> Option<Lowering> {
        Some(Lowering::View)
    }
}

/// Keeps everything, as in inference, or with a ratio of 0 in training; the second output, if the
/// node names it, is a mask that is true everywhere.
#[derive(Debug)]
struct Dropout;

impl Dropout {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        attrs.ignore("seed");
        Ok(Box::new(Dropout))
    }
}

impl Operator for Dropout {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(3)?;
        let data = inputs.require(INPUT, "data")?;
        if let Some(ratio) = inputs.optional(RATIO, "ratio") {
            ratio.expect_dtype_that(DType::is_float, "a float type")?;
        }
        if let Some(training) = inputs.optional(TRAINING_MODE, "training_mode") {
            training.expect_dtype(DType::Bool)?;
            if training.value()?.slice::<bool>().contains(&true) && drops(inputs)? {
                return Err(OpError::NotSupported { what: "training".to_owned() });
            }
        }
        let mut types = vec![data.ty().clone()];
        if 2 <= inputs.n_outputs() {
            types.push(TensorType::new(DType::Bool, data.shape()));
        }
        Ok(types)
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let data = inputs.tensor(INPUT);
        let mut outputs = vec![data.clone()];
        if 2 <= inputs.n_outputs() {
            outputs.push(Tensor::full(data.shape(), true));
        }
        Ok(outputs)
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::passes(INPUT)
    }
}

/// Whether a ratio, which is 0.5 if it is not given, drops anything in training.
fn drops(inputs: &Inputs<'_>) -> Result<bool, OpError> {
    let Some(ratio) = inputs.optional(RATIO, "ratio") else { return Ok(true) };
    Ok(doubles(ratio.value()?).iter().any(|&ratio| ratio != 0.))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::testing::op;
    use crate::tensor::Tensor;

    #[test]
    fn identity() {
        op("Identity").input(&array![1., 2.]).gives(array![1., 2.]);
        op("Identity").tensor(array![true]).gives_tensor(array![true]);
    }

    #[test]
    fn dropout() {
        let x = array![1., 2.];
        let half = Tensor::scalar(0.5_f32);
        op("Dropout").input(&x).gives(x.clone());
        op("Dropout")
            .input(&x)
            .tensor(half.clone())
            .outputs(2)
            .gives_tensors(&[x.mapv(|x| x).into(), array![true, true].into()]);
        let training =
            |mode: bool| op("Dropout").input(&x).tensor(half.clone()).tensor(Tensor::scalar(mode));
        training(false).gives(x.clone());
        training(true).fails("training is not supported");
        op("Dropout")
            .input(&x)
            .absent()
            .tensor(Tensor::scalar(true))
            .fails("training is not supported");
        op("Dropout")
            .input(&x)
            .tensor(Tensor::scalar(0_f64))
            .tensor(Tensor::scalar(true))
            .outputs(2)
            .gives_tensors(&[x.clone().into(), array![true, true].into()]);
    }
}
