//! `Shape` and `Size`: what is known of a tensor without its values.

use std::ops::Range;

use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] =
    &[OpDef::onnx("Shape", 1, Shape::read), OpDef::onnx("Size", 1, |_| Ok(Box::new(Size)))];

const DATA: usize = 0;

/// The dimensions from `start` to `end`, which are moved into range.
#[derive(Debug)]
struct Shape {
    start: i64,
    end: Option<i64>,
}

impl Shape {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(Shape { start: attrs.int("start", 0)?, end: attrs.opt_int("end")? }))
    }

    fn axes(&self, rank: usize) -> Range<usize> {
        let rank = rank as i64;
        let clamp =
            |x: i64| (if x < 0 { x.saturating_add(rank) } else { x }).clamp(0, rank) as usize;
        let (start, end) = (clamp(self.start), clamp(self.end.unwrap_or(rank)));
        start..end.max(start)
    }
}

impl Operator for Shape {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let rank = inputs.require(DATA, "data")?.rank();
        Ok(vec![TensorType::new(DType::I64, &[self.axes(rank).len()])])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let shape = inputs.shape(DATA);
        let dims: Vec<i64> = shape[self.axes(shape.len())].iter().map(|&dim| dim as i64).collect();
        Ok(vec![Tensor::from_vec(&[dims.len()], dims)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }

    fn reads_values(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct Size;

impl Operator for Size {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        inputs.require(DATA, "data")?;
        Ok(vec![TensorType::new(DType::I64, &[])])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let n: usize = inputs.shape(DATA).iter().product();
        Ok(vec![Tensor::scalar(n as i64)])
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
    use ndarray::{Array3, array};

    use crate::ops::testing::op;
    use crate::tensor::Tensor;

    #[test]
    fn shape() {
        let x = Array3::zeros((2, 0, 3));
        let slice = |start, end| op("Shape").input(&x).int("start", start).int("end", end);
        op("Shape").input(&x).gives_tensor(array![2_i64, 0, 3]);
        slice(1, 2).gives_tensor(array![0_i64]);
        slice(-1, 9).gives_tensor(array![3_i64]);
        slice(-9, -1).gives_tensor(array![2_i64, 0]);
        slice(2, 1).gives_tensor(Tensor::from_vec::<i64>(&[0], vec![]));
        op("Shape")
            .tensor(Tensor::scalar(true))
            .gives_tensor(Tensor::from_vec::<i64>(&[0], vec![]));
    }

    #[test]
    fn size() {
        op("Size").input(&Array3::zeros((2, 4, 3))).gives_tensor(Tensor::scalar(24_i64));
        op("Size").input(&Array3::zeros((2, 0, 3))).gives_tensor(Tensor::scalar(0_i64));
        op("Size").tensor(Tensor::scalar(true)).gives_tensor(Tensor::scalar(1_i64));
    }
}
