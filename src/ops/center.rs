//! `CenterCropPad`: the middle of the input, or the input in the middle of zeros.
//!
//! <https://onnx.ai/onnx/operators/onnx__CenterCropPad.html>

use crate::dispatch;
use crate::ops::dims::{Along, checked_type, sizes_input, with_dim};
use crate::ops::lanes::resolve_axis;
use crate::ops::take::take_axis;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("CenterCropPad", 18, CenterCropPad::read)];

/// Of an odd difference, the larger half is cut or padded at the end.
#[derive(Debug)]
struct CenterCropPad {
    axes: Option<Vec<i64>>,
}

const DATA: usize = 0;
const SHAPE: usize = 1;

impl CenterCropPad {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(CenterCropPad { axes: attrs.opt_ints("axes")? }))
    }

    /// The shape of the result.
    fn shape(&self, inputs: &Inputs<'_>) -> Result<Vec<usize>, OpError> {
        let data = inputs.require(DATA, "input_data")?;
        let rank = data.rank();
        let axes = match &self.axes {
            None => (0..rank).collect(),
            Some(axes) => {
                let axes = axes.iter().map(|&axis| resolve_axis("axes", axis, rank));
                axes.collect::<Result<Vec<usize>, OpError>>()?
            }
        };
        if (1..axes.len()).any(|i| axes[..i].contains(&axes[i])) {
            let found = format!("{:?}", self.axes.as_deref().unwrap_or_default());
            return Err(OpError::invalid_attribute("axes", found, "each axis once"));
        }
        let found = inputs.require(SHAPE, "shape")?.i64s()?;
        let sizes = sizes_input("shape", &found)?;
        if sizes.len() != axes.len() {
            let expected = format!("{} sizes, one per axis", axes.len());
            return Err(OpError::value("shape", format!("{found:?}"), expected));
        }
        let mut shape = data.shape().to_vec();
        axes.into_iter().zip(sizes).for_each(|(axis, size)| shape[axis] = size);
        Ok(shape)
    }
}

impl Operator for CenterCropPad {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let dtype = inputs.require(DATA, "input_data")?.dtype();
        Ok(vec![checked_type(dtype, self.shape(inputs)?)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let mut x = inputs.tensor(DATA).clone();
        let sizes = self.shape(inputs)?;
        // Cutting first: what lies between is then never larger than the result or the input.
        for (axis, &size) in sizes.iter().enumerate() {
            if let Some(cut) = x.shape()[axis].checked_sub(size).filter(|&cut| 0 < cut) {
                let kept: Vec<usize> = (cut / 2..cut / 2 + size).collect();
                x = take_axis(&x, axis, &kept);
            }
        }
        for (axis, &size) in sizes.iter().enumerate() {
            if x.shape()[axis] < size {
                x = padded(&x, axis, size);
            }
        }
        Ok(vec![x])
    }

    /// Zero is in every encoding.
    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::passes(DATA)
    }
}

/// `x` in the middle of `size` elements along an axis, the others zero.
fn padded(x: &Tensor, axis: usize, size: usize) -> Tensor {
    let shape = with_dim(x.shape(), axis, size);
    let Along { n, inner, .. } = Along::new(x.shape(), axis);
    let (start, length) = ((size - n) / 2 * inner, n * inner);
    dispatch!(x.dtype(), T => {
        let mut y = vec![T::default(); shape.iter().product()];
        if length != 0 {
            for (y, x) in y.chunks_exact_mut(size * inner).zip(x.slice::<T>().chunks_exact(length)) {
                y[start..start + length].copy_from_slice(x);
            }
        }
        Tensor::from_vec(&shape, y)
    })
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::QuantRole;
    use crate::ops::testing::{OpTest, counting, op};
    use crate::tensor::Tensor;

    fn center(shape: &[usize], sizes: &[i64]) -> OpTest {
        op("CenterCropPad").tensor(counting(shape)).i64s(sizes)
    }

    #[test]
    fn crops_and_pads() {
        center(&[5], &[2]).gives(array![1., 2.]);
        center(&[2], &[5]).gives(array![0., 0., 1., 0., 0.]);
        center(&[3, 2], &[1, 3]).gives(array![[2., 3., 0.]]);
        center(&[2, 3], &[1]).ints("axes", &[-1]).gives(array![[1.], [4.]]);
        center(&[1, 2, 1], &[2, 3])
            .ints("axes", &[0, 2])
            .gives(array![[[0., 0., 0.], [0., 1., 0.]], [[0.; 3]; 2]]);
        center(&[2, 0], &[2, 2]).gives(array![[0., 0.], [0., 0.]]);
        center(&[2, 2], &[0, 2]).gives_tensor(counting(&[0, 2]));
        op("CenterCropPad")
            .tensor(Tensor::from_vec(&[1], vec![true]))
            .tensor(Tensor::from_vec(&[1], vec![2_i32]))
            .gives_tensor(Tensor::from_vec(&[2], vec![true, false]));
    }

    #[test]
    fn refuses() {
        center(&[2], &[1, 2]).fails("input `shape` is [1, 2], expected 1 sizes, one per axis");
        center(&[2], &[-1]).fails("input `shape` is [-1], expected no negative size");
        center(&[2, 2], &[1, 2])
            .ints("axes", &[1, -1])
            .fails("attribute `axes` is [1, -1], expected each axis once");
        assert_eq!(center(&[2], &[1]).quant(), QuantRole::passes(0));
    }
}
