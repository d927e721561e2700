//! Axes in another order: `Transpose`, `DepthToSpace`, `SpaceToDepth`.

use ndarray::IxDyn;

use crate::dispatch;
use crate::ops::dims::checked_type;
use crate::ops::{Attrs, Bodies, Inputs, Lowering, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("Transpose", 1, Transpose::read),
    OpDef::onnx("DepthToSpace", 1, DepthToSpace::read),
    OpDef::onnx("SpaceToDepth", 1, |attrs| SpaceToDepth::read(attrs, false)),
    OpDef::onnx("SpaceToDepth", 28, |attrs| {
        let is_column_first = read_mode(attrs)?;
        SpaceToDepth::read(attrs, is_column_first)
    }),
];

const DATA: usize = 0;

/// Axis `k` of the result is axis `perm[k]` of the input; without `perm` the order is reversed.
#[derive(Debug)]
struct Transpose {
    perm: Option<Vec<usize>>,
}

impl Transpose {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(Transpose { perm: attrs.opt_sizes("perm", 0)? }))
    }

    fn perm(&self, rank: usize) -> Vec<usize> {
        self.perm.clone().unwrap_or_else(|| (0..rank).rev().collect())
    }
}

impl Operator for Transpose {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let data = inputs.require(DATA, "data")?;
        let perm = self.perm(data.rank());
        let mut sorted = perm.clone();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..data.rank()) {
            let expected = format!("each of the {} axes once", data.rank());
            return Err(OpError::invalid_attribute("perm", format!("{perm:?}"), expected));
        }
        let shape: Vec<usize> = perm.iter().map(|&axis| data.shape()[axis]).collect();
        Ok(vec![TensorType::new(data.dtype(), &shape)])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let data = inputs.tensor(DATA);
        Ok(vec![permuted(data, &self.perm(data.rank()))])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::passes(DATA)
    }

    fn lower(&self, inputs: &Inputs<'_>) -> Option<Lowering> {
        Some(Lowering::Permute(self.perm(inputs.shape(DATA).len())))
    }
}

pub(super) fn permuted(x: &Tensor, perm: &[usize]) -> Tensor {
    let shape: Vec<usize> = perm.iter().map(|&axis| x.shape()[axis]).collect();
    let moved = || perm.iter().filter(|&&axis| x.shape()[axis] != 1);
    if moved().is_sorted() {
        return x.reshaped(&shape);
    }
    dispatch!(x.dtype(), T => {
        Tensor::new(x.view::<T>().permuted_axes(IxDyn(perm)).as_standard_layout().into_owned())
    })
}

fn read_block_size(attrs: &mut Attrs) -> Result<usize, OpError> {
    let block_size = attrs.require_int("blocksize")?;
    let positive = usize::try_from(block_size).ok().filter(|&block_size| 0 < block_size);
    positive.ok_or_else(|| OpError::invalid_attribute("blocksize", block_size, "at least 1"))
}

/// Whether `C` comes first in the channels, not the block.
fn read_mode(attrs: &mut Attrs) -> Result<bool, OpError> {
    attrs.choice("mode", &[("DCR", false), ("CRD", true)])
}

/// `[N, C * b * b, H, W]` becomes `[N, C, H * b, W * b]`; `mode` says whether the block or `C` comes
/// first in the channels.
#[derive(Debug)]
struct DepthToSpace {
    block_size: usize,
    is_column_first: bool,
}

impl DepthToSpace {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(DepthToSpace {
            block_size: read_block_size(attrs)?,
            is_column_first: read_mode(attrs)?,
        }))
    }
}

impl Operator for DepthToSpace {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let input = inputs.require(DATA, "input")?;
        let [n, c, h, w] = input.expect_rank()?;
        let b = self.block_size;
        let split =
            b.checked_mul(b).filter(|&block| c.is_multiple_of(block)).map(|block| c / block);
        let wrong = || input.wrong_shape(format!("channels in multiples of {b} x {b}"));
        let c = split.ok_or_else(wrong)?;
        Ok(vec![checked_type(input.dtype(), vec![n, c, h.saturating_mul(b), w.saturating_mul(b)])?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let shape = self.infer(inputs)?.remove(0).shape;
        let b = self.block_size;
        let [n, c, h, w] = [shape[0], shape[1], shape[2] / b, shape[3] / b];
        let x = inputs.tensor(DATA);
        let y = if self.is_column_first {
            permuted(&x.reshaped(&[n, c, b, b, h, w]), &[0, 1, 4, 2, 5, 3])
        } else {
            permuted(&x.reshaped(&[n, b, b, c, h, w]), &[0, 3, 4, 1, 5, 2])
        };
        Ok(vec![y.reshaped(&shape)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::passes(DATA)
    }
}

/// `[N, C, H * b, W * b]` becomes `[N, b * b * C, H, W]`; `mode`, which came with opset 28, says
/// whether the block or `C` comes first in the channels.
#[derive(Debug)]
struct SpaceToDepth {
    block_size: usize,
    is_column_first: bool,
}

impl SpaceToDepth {
    fn read(attrs: &mut Attrs, is_column_first: bool) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(SpaceToDepth { block_size: read_block_size(attrs)?, is_column_first }))
    }
}

impl Operator for SpaceToDepth {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let input = inputs.require(DATA, "input")?;
        let [n, c, h, w] = input.expect_rank()?;
        let b = self.block_size;
        if !h.is_multiple_of(b) || !w.is_multiple_of(b) {
            return Err(input.wrong_shape(format!("height and width in multiples of {b}")));
        }
        let c = c.saturating_mul(b).saturating_mul(b);
        Ok(vec![checked_type(input.dtype(), vec![n, c, h / b, w / b])?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let shape = self.infer(inputs)?.remove(0).shape;
        let b = self.block_size;
        let [n, c, h, w] = [shape[0], inputs.shape(DATA)[1], shape[2], shape[3]];
        let blocks = inputs.tensor(DATA).reshaped(&[n, c, h, b, w, b]);
        let perm = if self.is_column_first { [0, 1, 3, 5, 2, 4] } else { [0, 3, 5, 1, 2, 4] };
        Ok(vec![permuted(&blocks, &perm).reshaped(&shape)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::passes(DATA)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, Array4, array};

    use crate::ops::testing::op;

    #[test]
    fn transpose() {
        let x = array![[[1., 2., 3.], [4., 5., 6.]]];
        op("Transpose").input(&x).gives(x.t());
        op("Transpose")
            .input(&x)
            .ints("perm", &[1, 0, 2])
            .gives(array![[[1., 2., 3.]], [[4., 5., 6.]]]);
        op("Transpose").input(&x).ints("perm", &[2, 0, 1]).gives(x.view().permuted_axes([2, 0, 1]));
        op("Transpose").input(&ndarray::arr0(1.)).gives(ndarray::arr0(1.));
        op("Transpose").input(&Array4::zeros((2, 0, 3, 1))).gives(Array4::zeros((1, 3, 0, 2)));
        op("Transpose")
            .input(&x)
            .ints("perm", &[0, 1, 1])
            .fails("attribute `perm` is [0, 1, 1], expected each of the 3 axes once");
        op("Transpose")
            .input(&x)
            .ints("perm", &[0, -1])
            .fails("attribute `perm` is [0, -1], expected at least 0");
    }

    #[test]
    fn depth_to_space() {
        let x =
            Array::from_iter((0..8).map(|x| x as f32)).into_shape_with_order((1, 8, 1, 1)).unwrap();
        let depth_first = array![[[[0., 2.], [4., 6.]], [[1., 3.], [5., 7.]]]];
        let column_first = array![[[[0., 1.], [2., 3.]], [[4., 5.], [6., 7.]]]];
        op("DepthToSpace").input(&x).int("blocksize", 2).gives(depth_first.clone());
        let crd = |name| op(name).int("blocksize", 2).string("mode", "CRD");
        crd("DepthToSpace").input(&x).gives(column_first.clone());
        op("SpaceToDepth").input(&depth_first).int("blocksize", 2).gives(x.clone());
        crd("SpaceToDepth").input(&column_first).gives(x.clone());
        crd("SpaceToDepth").opset(13).fails("attribute `mode` is not one this operator has");
        op("DepthToSpace")
            .input(&x)
            .int("blocksize", 3)
            .fails("input `input` has shape [1, 8, 1, 1], expected channels in multiples of 3 x 3");
        op("SpaceToDepth").input(&x).int("blocksize", 2).fails(
            "input `input` has shape [1, 8, 1, 1], expected height and width in multiples of 2",
        );
        op("SpaceToDepth").input(&x).fails("attribute `blocksize` is missing");
        op("SpaceToDepth")
            .input(&x)
            .int("blocksize", 0)
            .fails("attribute `blocksize` is 0, expected at least 1");
    }
}
