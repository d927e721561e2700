//! `Conv`: convolution over one to three spatial axes.
//!
//! <https://onnx.ai/onnx/operators/onnx__Conv.html>

use crate::kernels::{self, ConvShape};
use crate::ops::dims::checked_type;
use crate::ops::floats::{self, expect_any_float, expect_same, floats, optional_floats};
use crate::ops::plain_conv;
use crate::ops::real::{optional_reals, reals};
use crate::ops::window::Window;
use crate::ops::{Attrs, Bodies, Inputs, Lowering, OpDef, OpError, Operator, QuantRole, Weight};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("Conv", 1, Conv::read)];

/// `X` is `[N, C, ...]`, `W` is `[M, C / group, ...]`, the result `[N, M, ...]`.
#[derive(Debug)]
struct Conv {
    window: Window,
    group: i64,
}

const X: usize = 0;
const W: usize = 1;
const B: usize = 2;

impl Conv {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(Conv { window: Window::read(attrs)?, group: attrs.int("group", 1)? }))
    }

    /// The sizes, from the shapes of `X` and `W`.
    fn shape(&self, x: &[usize], w: &[usize]) -> Result<ConvShape, OpError> {
        let groups = read_group(self.group)?;
        let (c_in, c_out) = (x[1], w[0]);
        if w[1].checked_mul(groups) != Some(c_in) {
            let expected = format!("{c_in} channels in {groups} groups along axis 1");
            return Err(OpError::shape("W", w, expected));
        }
        if !c_out.is_multiple_of(groups) {
            let expected = format!("a multiple of {groups}, the number of groups, along axis 0");
            return Err(OpError::shape("W", w, expected));
        }
        self.window.check_kernel(&w[2..])?;
        let axes = self.window.axes(&x[2..], &w[2..])?;
        Ok(ConvShape { batch: x[0], groups, c_in, c_out, axes })
    }
}

impl Operator for Conv {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        let (x, w) = expect_operands(inputs)?;
        let shape = self.shape(x, w)?;
        check_bias(inputs, shape.c_out)?;
        let dtype = inputs.require(X, "X")?.dtype();
        let mut output = vec![shape.batch, shape.c_out];
        output.extend(shape.axes[5 - x.len()..].iter().map(|axis| axis.output));
        Ok(vec![checked_type(dtype, output)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let output = &self.infer(inputs)?[0];
        let shape = self.shape(inputs.shape(X), inputs.shape(W))?;
        if output.dtype == DType::F64 {
            let (x, w, bias) = (reals(inputs, X), reals(inputs, W), optional_reals(inputs, B));
            let y = plain_conv::conv(&shape, &x, &w, bias.as_deref());
            return Ok(vec![Tensor::from_vec(&output.shape, y)]);
        }
        let bias = optional_floats(inputs, B);
        let y = kernels::conv(&shape, &floats(inputs, X), &floats(inputs, W), bias.as_deref());
        Ok(vec![floats::tensor(output.dtype, &output.shape, y)])
    }

    /// Every output element is a sum over one filter; the padding counts, the bias does not.
    fn macs(&self, inputs: &Inputs<'_>, outputs: &[TensorType]) -> u64 {
        (outputs[0].len() as u64).saturating_mul(filter_len(inputs))
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::weighted(X, Weight { input: W, channel_axis: 0 }).with_bias(B)
    }

    fn lower(&self, inputs: &Inputs<'_>) -> Option<Lowering> {
        self.shape(inputs.shape(X), inputs.shape(W)).ok().map(Lowering::Conv)
    }
}

/// The number of elements of a slice of `W` along axis 0.
pub(super) fn filter_len(inputs: &Inputs<'_>) -> u64 {
    inputs.shape(W)[1..].iter().fold(1, |product: u64, &dim| product.saturating_mul(dim as u64))
}

pub(super) fn read_group(group: i64) -> Result<usize, OpError> {
    let wrong = || OpError::invalid_attribute("group", group, "at least 1");
    usize::try_from(group).ok().filter(|&group| 0 < group).ok_or_else(wrong)
}

/// The shapes of `X` and `W`: of the same rank, with one to three spatial axes.
pub(super) fn expect_operands<'a>(
    inputs: &Inputs<'a>,
) -> Result<(&'a [usize], &'a [usize]), OpError> {
    inputs.expect_at_most(3)?;
    let x = inputs.require(X, "X")?;
    let w = inputs.require(W, "W")?;
    expect_any_float(&x)?;
    expect_same(&w, x.dtype(), "X")?;
    expect_spatial(x.shape())?;
    if w.rank() != x.rank() {
        return Err(w.wrong_shape(format!("rank {}, that of `X`", x.rank())));
    }
    if w.shape()[2..].contains(&0) {
        return Err(w.wrong_shape("a kernel of at least 1 along each axis"));
    }
    Ok((x.shape(), w.shape()))
}

/// Refuses what is not `[N, C, ...]` with one to three further axes.
pub(super) fn expect_spatial(x: &[usize]) -> Result<(), OpError> {
    match x.len() {
        0..3 => Err(OpError::shape("X", x, "[N, C, ...] with a spatial axis")),
        3..=5 => Ok(()),
        _ => Err(OpError::NotSupported { what: format!("{} spatial axes", x.len() - 2) }),
    }
}

pub(super) fn check_bias(inputs: &Inputs<'_>, c_out: usize) -> Result<(), OpError> {
    let Some(bias) = inputs.optional(B, "B") else { return Ok(()) };
    let dtype = inputs.require(X, "X")?.dtype();
    if expect_same(&bias, dtype, "X")? != [c_out] {
        return Err(bias.wrong_shape(format!("[{c_out}], one per output channel")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::testing::{OpTest, counting, mixed, op};
    use crate::ops::{QuantRole, Weight};
    use crate::tensor::Tensor;

    fn conv(x: &[usize], w: &[usize]) -> OpTest {
        op("Conv").tensor(counting(x)).tensor(mixed(w))
    }

    #[test]
    fn two_axes() {
        let base = || conv(&[1, 1, 3, 4], &[1, 1, 2, 2]);
        base().macs(24).gives(array![[[[3., 2., 1.], [-1., -2., -3.]]]]);
        base().ints("kernel_shape", &[2, 2]).gives(array![[[[3., 2., 1.], [-1., -2., -3.]]]]);
        base()
            .ints("pads", &[1, 0, 0, 2])
            .ints("strides", &[2, 1])
            .gives(array![[[[-1., 0., 1., 6., 0.], [-1., -2., -3., 8., 0.]]]]);
        base().ints("dilations", &[2, 3]).macs(4).gives(array![[[[5.]]]]);
    }

    #[test]
    fn automatic_padding() {
        let base = |pad| conv(&[1, 1, 3, 4], &[1, 1, 2, 2]).string("auto_pad", pad);
        base("SAME_UPPER").ints("strides", &[2, 2]).gives(array![[[[3., 1.], [-16., -20.]]]]);
        base("SAME_LOWER").gives(array![[[
            [0., -1., 0., 1.],
            [-4., 3., 2., 1.],
            [-8., -1., -2., -3.]
        ]]]);
        base("VALID").ints("strides", &[1, 3]).gives(array![[[[3.], [-1.]]]]);
        base("VALID").ints("pads", &[9; 4]).ints("strides", &[1, 3]).gives(array![[[[3.], [-1.]]]]);
    }

    #[test]
    fn groups_and_bias() {
        conv(&[1, 4, 1, 2], &[4, 2, 1, 1])
            .tensor(counting(&[4]))
            .int("group", 2)
            .macs(16)
            .gives(array![[[[0., -2.]], [[-1., 0.]], [[-6., -7.]], [[15., 17.]]]]);
        // Depthwise, two filters a channel.
        conv(&[1, 2, 3, 3], &[4, 1, 2, 2])
            .tensor(counting(&[4]))
            .int("group", 2)
            .ints("pads", &[0, 1, 0, 0])
            .macs(96)
            .gives(array![[
                [[-3., 2., 1.], [-6., -1., -2.]],
                [[7., 7., 8.], [7., 10., 11.]],
                [[11., -21., -23.], [14., -27., -29.]],
                [[-30., -3., -3.], [-39., -3., -3.]]
            ]]);
    }

    #[test]
    fn one_and_three_axes() {
        conv(&[2, 1, 4], &[2, 1, 3]).ints("pads", &[1, 1]).macs(48).gives(array![
            [[2., 4., 4., -4.], [-2., -3., -5., 1.]],
            [[10., 4., 4., -12.], [-6., -11., -13., 1.]]
        ]);
        conv(&[1, 1, 2, 3, 2], &[1, 1, 2, 2, 1]).macs(16).gives(array![[[[[4., 3.], [2., 1.]]]]]);
    }

    /// Large enough for several blocks of patches; the other way to sum is one channel at a time.
    #[test]
    fn blocks_of_patches() {
        let (x, w) = (mixed(&[1, 40, 60, 50]), mixed(&[3, 40, 3, 3]));
        let mut sum = vec![0.; 3 * 58 * 48];
        for (i, y) in sum.iter_mut().enumerate() {
            let (m, row, column) = (i / (58 * 48), i / 48 % 58, i % 48);
            for c in 0..40 {
                for k in 0..9 {
                    let x = x.slice::<f32>()[(c * 60 + row + k / 3) * 50 + column + k % 3];
                    *y += x * w.slice::<f32>()[(m * 40 + c) * 9 + k];
                }
            }
        }
        op("Conv").tensor(x).tensor(w).gives_tensor(Tensor::from_vec(&[1, 3, 58, 48], sum));
    }

    #[test]
    fn nothing_in_nothing_out() {
        conv(&[0, 1, 3], &[2, 1, 3]).macs(0).gives_tensor(counting(&[0, 2, 1]));
        conv(&[1, 0, 3], &[2, 0, 3]).gives(array![[[0.], [0.]]]);
        conv(&[1, 1, 3], &[0, 1, 3]).gives_tensor(counting(&[1, 0, 1]));
    }

    #[test]
    fn half_precision() {
        let x = Tensor::from_vec(&[1, 1, 2], vec![half::f16::from_f32(1.5); 2]);
        let y = Tensor::from_vec(&[1, 1, 1], vec![half::f16::from_f32(4.5)]);
        op("Conv").tensor(x.clone()).tensor(x).gives_tensor(y);
    }

    #[test]
    fn float64() {
        let base = || op("Conv").tensor(array![[[1. + 1e-9, 2.]]]).tensor(array![[[1_f64, 3.]]]);
        base().tensor(array![0.5]).macs(2).gives_tensor(array![[[7.5 + 1e-9]]]);
        base().tensor(array![0.5_f32]).fails("input `B` is float32, expected float64, that of `X`");
    }

    #[test]
    fn refuses() {
        conv(&[1, 3, 4], &[2, 2, 1])
            .fails("input `W` has shape [2, 2, 1], expected 3 channels in 1 groups along axis 1");
        conv(&[1, 4, 4], &[3, 2, 1]).int("group", 2).fails(
            "input `W` has shape [3, 2, 1], expected a multiple of 2, the number of groups, along axis 0",
        );
        conv(&[1, 1, 4], &[1, 1, 2])
            .int("group", 0)
            .fails("attribute `group` is 0, expected at least 1");
        conv(&[1, 1, 4], &[1, 1, 2])
            .ints("kernel_shape", &[3])
            .fails("attribute `kernel_shape` is [3], expected [2], that of `W`");
        conv(&[1, 1, 4], &[1, 1, 2])
            .ints("strides", &[1, 1])
            .fails("attribute `strides` is [1, 1], expected 1 values for this input");
        conv(&[1, 1, 4], &[1, 1, 2])
            .ints("strides", &[0])
            .fails("attribute `strides` is [0], expected at least 1");
        conv(&[1, 1, 2], &[1, 1, 3]).fails(
            "input `X` has shape [2], expected at least 3 along each axis, padding included, to fit a window",
        );
        conv(&[1, 1, 4], &[1, 1, 2])
            .tensor(counting(&[2]))
            .fails("input `B` has shape [2], expected [1], one per output channel");
        conv(&[1, 1], &[1, 1])
            .fails("input `X` has shape [1, 1], expected [N, C, ...] with a spatial axis");
        conv(&[1; 6], &[1; 6]).fails("4 spatial axes is not supported");
        conv(&[1, 1, 4], &[1, 1, 2])
            .ints("pads", &[i64::MAX, i64::MAX])
            .fails("the output would have 2^48 or more elements, more than can be addressed");
        conv(&[1, 1, 4], &[1, 1, 2])
            .string("auto_pad", "SAME")
            .fails("attribute `auto_pad` is `SAME`; supported: `NOTSET`, `SAME_UPPER`, `SAME_LOWER`, `VALID`");
    }

    #[test]
    fn quantization() {
        let role = QuantRole::weighted(0, Weight { input: 1, channel_axis: 0 }).with_bias(2);
        assert_eq!(conv(&[1, 1, 4], &[1, 1, 2]).quant(), role);
    }
}
