//! `OptionalHasElement` and `OptionalGetElement` of tensors, which always are an element.
//!
//! <https://onnx.ai/onnx/operators/onnx__OptionalHasElement.html>,
//! <https://onnx.ai/onnx/operators/onnx__OptionalGetElement.html>

use crate::ops::identity::Identity;
use crate::ops::{Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("OptionalGetElement", 15, |_| Ok(Box::new(Identity))),
    OpDef::onnx("OptionalHasElement", 15, |_| Ok(Box::new(HasElement))),
];

const INPUT: usize = 0;

/// Whether there is an input.
#[derive(Debug)]
struct HasElement;

impl Operator for HasElement {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        Ok(vec![TensorType::new(DType::Bool, &[])])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        Ok(vec![Tensor::scalar(inputs.get(INPUT).is_some())])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }

    fn reads_values(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::QuantRole;
    use crate::ops::testing::op;
    use crate::tensor::Tensor;

    #[test]
    fn has_element() {
        op("OptionalHasElement").input(&array![0.]).gives_tensor(Tensor::scalar(true));
        op("OptionalHasElement").gives_tensor(Tensor::scalar(false));
        op("OptionalHasElement").absent().gives_tensor(Tensor::scalar(false));
        assert_eq!(op("OptionalHasElement").quant(), QuantRole::NOT_QUANTIZED);
    }

    #[test]
    fn get_element() {
        op("OptionalGetElement").input(&array![1., 2.]).gives(array![1., 2.]);
        op("OptionalGetElement").absent().fails("input `input` is missing");
        assert_eq!(op("OptionalGetElement").quant(), QuantRole::passes(0));
    }
}
