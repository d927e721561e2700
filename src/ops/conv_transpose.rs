//! `ConvTranspose`: the gradient of a convolution, over one to three spatial axes.
//!
//! <https://onnx.ai/onnx/operators/onnx__ConvTranspose.html>

use crate::kernels::{self, Axis, ConvShape};
use crate::ops::conv::{check_bias, expect_operands, filter_len, read_group};
use crate::ops::dims::checked_type;
use crate::ops::floats::{self, floats, optional_floats};
use crate::ops::plain_conv;
use crate::ops::real::{optional_reals, reals};
use crate::ops::window::{AutoPad, Window, checked, extent};
use crate::ops::{Attrs, Bodies, Inputs, Lowering, OpDef, OpError, Operator, QuantRole, Weight};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("ConvTranspose", 1, ConvTranspose::read)];

/// `X` is `[N, C, ...]`, `W` is `[C, M / group, ...]`, the result `[N, M, ...]`.
#[derive(Debug)]
struct ConvTranspose {
    window: Window,
    group: i64,
    output_padding: Option<Vec<usize>>,
    output_shape: Option<Vec<usize>>,
}

const X: usize = 0;
const W: usize = 1;
const B: usize = 2;

impl ConvTranspose {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(ConvTranspose {
            window: Window::read(attrs)?,
            group: attrs.int("group", 1)?,
            output_padding: attrs.opt_sizes("output_padding", 0)?,
            output_shape: attrs.opt_sizes("output_shape", 0)?,
        }))
    }

    fn shape(&self, x: &[usize], w: &[usize]) -> Result<ConvShape, OpError> {
        let groups = read_group(self.group)?;
        let c_in = x[1];
        if w[0] != c_in || !c_in.is_multiple_of(groups) {
            let expected = format!("{c_in} channels along axis 0, in {groups} groups");
            return Err(OpError::shape("W", w, expected));
        }
        self.window.check_kernel(&w[2..])?;
        let c_out = checked(w[1].checked_mul(groups))?;
        Ok(ConvShape { batch: x[0], groups, c_in, c_out, axes: self.axes(&x[2..], &w[2..])? })
    }

    /// The axes of the convolution that is transposed: `output` is the length of `X`.
    fn axes(&self, x: &[usize], kernel: &[usize]) -> Result<[Axis; 3], OpError> {
        let rank = x.len();
        let (strides, dilations) = (self.window.strides(rank)?, self.window.dilations(rank)?);
        let pads = self.window.pads(rank)?;
        let extra = self.list("output_padding", &self.output_padding, rank)?;
        let wanted = self.list("output_shape", &self.output_shape, rank)?;
        let mut axes = [Axis::UNIT; 3];
        for i in 0..rank {
            let (kernel, stride, dilation) = (kernel[i], strides[i], dilations[i]);
            let extra = extra.map_or(0, |extra| extra[i]);
            let reach = (x[i].saturating_sub(1)).checked_mul(stride);
            let reach = reach.and_then(|reach| reach.checked_add(extent(kernel, dilation).ok()?));
            let full = checked(reach.and_then(|reach| reach.checked_add(extra)))?;
            let wanted = wanted.map(|wanted| wanted[i]);
            let (input, pads) = self.crop(full, x[i], stride, pads[i], wanted)?;
            let output = x[i];
            axes[3 - rank + i] = Axis { input, output, kernel, stride, dilation, pads };
        }
        Ok(axes)
    }

    /// The length of the result and what is cut off the `full` one at both ends.
    fn crop(
        &self,
        full: usize,
        x: usize,
        stride: usize,
        pads: [usize; 2],
        wanted: Option<usize>,
    ) -> Result<(usize, [usize; 2]), OpError> {
        let auto_pad = self.window.auto_pad;
        let wanted = match (wanted, auto_pad) {
            (Some(wanted), _) => Some(wanted),
            (None, AutoPad::SameUpper | AutoPad::SameLower) => {
                Some(checked(x.checked_mul(stride))?)
            }
            (None, _) => None,
        };
        if let Some(wanted) = wanted {
            return Ok((checked(Some(wanted))?, auto_pad.split(full.saturating_sub(wanted))));
        }
        let pads = if auto_pad == AutoPad::Valid { [0, 0] } else { pads };
        let total = checked(pads[0].checked_add(pads[1]))?;
        let length = full.checked_sub(total);
        let expected = format!("at most {full} along each axis, the length of the result without");
        let wrong = || OpError::invalid_attribute("pads", format!("{pads:?}"), expected);
        Ok((length.ok_or_else(wrong)?, pads))
    }

    fn list<'a>(
        &self,
        name: &str,
        list: &'a Option<Vec<usize>>,
        rank: usize,
    ) -> Result<Option<&'a [usize]>, OpError> {
        match list {
            None => Ok(None),
            Some(list) if list.len() == rank => Ok(Some(list)),
            Some(list) => {
                let expected = format!("{rank} values for this input");
                Err(OpError::invalid_attribute(name, format!("{list:?}"), expected))
            }
        }
    }
}

impl Operator for ConvTranspose {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        let (x, w) = expect_operands(inputs)?;
        let shape = self.shape(x, w)?;
        check_bias(inputs, shape.c_out)?;
        let dtype = inputs.require(X, "X")?.dtype();
        let mut output = vec![shape.batch, shape.c_out];
        output.extend(shape.axes[5 - x.len()..].iter().map(|axis| axis.input));
        Ok(vec![checked_type(dtype, output)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let output = &self.infer(inputs)?[0];
        let shape = self.shape(inputs.shape(X), inputs.shape(W))?;
        if output.dtype == DType::F64 {
            let (x, w, bias) = (reals(inputs, X), reals(inputs, W), optional_reals(inputs, B));
            let y = plain_conv::conv_transpose(&shape, &x, &w, bias.as_deref());
            return Ok(vec![Tensor::from_vec(&output.shape, y)]);
        }
        let (x, w, bias) = (floats(inputs, X), floats(inputs, W), optional_floats(inputs, B));
        let y = kernels::conv_transpose(&shape, &x, &w, bias.as_deref());
        Ok(vec![floats::tensor(output.dtype, &output.shape, y)])
    }

    /// Every input element is multiplied by one filter; what falls into the padding counts too.
    fn macs(&self, inputs: &Inputs<'_>, _outputs: &[TensorType]) -> u64 {
        let x = inputs.get(X).map_or(0, |x| x.ty.len());
        (x as u64).saturating_mul(filter_len(inputs))
    }

    /// With groups, a slice along axis 1 holds one output channel of each group.
    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::weighted(X, Weight { input: W, channel_axis: 1 }).with_bias(B)
    }

    fn lower(&self, inputs: &Inputs<'_>) -> Option<Lowering> {
        self.shape(inputs.shape(X), inputs.shape(W)).ok().map(Lowering::ConvTranspose)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::testing::{OpTest, counting, mixed, op};

    fn transposed(x: &[usize], w: &[usize]) -> OpTest {
        op("ConvTranspose").tensor(counting(x)).tensor(mixed(w))
    }

    #[test]
    fn conv_transpose() {
        transposed(&[1, 1, 2, 2], &[1, 2, 2, 2]).tensor(counting(&[2])).macs(32).gives(array![[
            [[0., -2., 0.], [-4., -4., -1.], [4., 4., -3.]],
            [[1., 2., -1.], [3., 0., -3.], [1., 5., 7.]]
        ]]);
        transposed(&[1, 2, 2], &[2, 2, 2]).int("group", 2).ints("dilations", &[2]).macs(16).gives(
            array![[[0., -2., 0., 0.], [0., 2., 0., -1.], [2., 3., -4., -6.], [0., 0., 4., 6.]]],
        );
    }

    #[test]
    fn size_of_the_output() {
        let base = || transposed(&[1, 1, 2, 2], &[1, 1, 3, 3]).ints("strides", &[2, 2]);
        let padded = array![[[
            [0., -1., 1., -2.],
            [0., -2., 2., 5.],
            [2., -7., 3., -6.],
            [4., -2., 6., -3.]
        ]]];
        let upper = array![[[
            [0., 0., -2., 0.],
            [0., 0., -1., 1.],
            [-4., 0., -2., 2.],
            [-2., 2., -7., 3.]
        ]]];
        base().ints("pads", &[1; 4]).ints("output_padding", &[1, 1]).gives(padded.clone());
        base().ints("output_shape", &[4, 4]).gives(padded.clone());
        base().string("auto_pad", "SAME_LOWER").gives(padded);
        base().string("auto_pad", "SAME_UPPER").gives(upper.clone());
        base().string("auto_pad", "SAME_UPPER").ints("output_shape", &[4, 4]).gives(upper);
    }

    /// Windows that do not overlap leave gaps, which hold the bias.
    #[test]
    fn gaps() {
        transposed(&[1, 1, 2], &[1, 1, 1])
            .tensor(counting(&[1]))
            .ints("strides", &[3])
            .string("auto_pad", "SAME_UPPER")
            .gives(array![[[0., 0., 0., -2., 0., 0.]]]);
    }

    #[test]
    fn float64() {
        op("ConvTranspose")
            .tensor(array![[[1. + 1e-9, 2.]]])
            .tensor(array![[[1_f64, 3.]]])
            .tensor(array![0.5])
            .macs(4)
            .gives_tensor(array![[[1.5 + 1e-9, 5.5 + 3e-9, 6.5]]]);
    }

    #[test]
    fn refuses() {
        transposed(&[1, 2, 2], &[3, 1, 1])
            .fails("input `W` has shape [3, 1, 1], expected 2 channels along axis 0, in 1 groups");
        transposed(&[1, 1, 2], &[1, 1, 1]).ints("pads", &[2, 1]).fails(
            "attribute `pads` is [2, 1], expected at most 2 along each axis, the length of the result without",
        );
        transposed(&[1, 1, 2], &[1, 1, 1])
            .ints("output_padding", &[1, 1])
            .fails("attribute `output_padding` is [1, 1], expected 1 values for this input");
        transposed(&[1, 1, 3], &[1, 1, 1])
            .ints("strides", &[i64::MAX])
            .fails("the output would have 2^48 or more elements, more than can be addressed");
    }
}
