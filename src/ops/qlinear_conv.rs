//! `ConvInteger` and `QLinearConv`: convolutions of 8-bit integers with 32-bit sums.
//!
//! `y = clamp(round_half_even(sum * (x_scale * w_scale / y_scale)) + y_zero_point, y_min, y_max)`, where
//! `sum` adds up `(x - x_zero_point) * (w - w_zero_point)` and the bias; the padding is the zero point.
//! The factor and the product with it are float32, as in onnxruntime.
//!
//! <https://onnx.ai/onnx/operators/onnx__QLinearConv.html>,
//! <https://onnx.ai/onnx/operators/onnx__ConvInteger.html>

use crate::kernels::{self, ConvShape};
use crate::ops::centered::{
    centered, expect_operand, expect_single, is_byte, requantized, wrapped,
};
use crate::ops::conv::{expect_spatial, read_group};
use crate::ops::dims::checked_type;
use crate::ops::inputs::Named;
use crate::ops::window::Window;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("ConvInteger", 10, |attrs| Ok(Box::new(ConvInteger(Geometry::read(attrs)?)))),
    OpDef::onnx("QLinearConv", 10, |attrs| Ok(Box::new(QLinearConv(Geometry::read(attrs)?)))),
];

/// `x` is `[N, C, ...]`, `w` is `[M, C / group, ...]`, the result `[N, M, ...]`.
#[derive(Debug)]
struct Geometry {
    window: Window,
    group: i64,
}

impl Geometry {
    fn read(attrs: &mut Attrs) -> Result<Geometry, OpError> {
        Ok(Geometry { window: Window::read(attrs)?, group: attrs.int("group", 1)? })
    }

    fn shape(&self, x: &[usize], w: &[usize]) -> Result<ConvShape, OpError> {
        expect_spatial(x)?;
        if w.len() != x.len() {
            return Err(OpError::shape("w", w, format!("rank {}, that of `x`", x.len())));
        }
        if w[2..].contains(&0) {
            return Err(OpError::shape("w", w, "a kernel of at least 1 along each axis"));
        }
        let groups = read_group(self.group)?;
        let (c_in, c_out) = (x[1], w[0]);
        if w[1].checked_mul(groups) != Some(c_in) {
            let expected = format!("{c_in} channels in {groups} groups along axis 1");
            return Err(OpError::shape("w", w, expected));
        }
        if !c_out.is_multiple_of(groups) {
            let expected = format!("a multiple of {groups}, the number of groups, along axis 0");
            return Err(OpError::shape("w", w, expected));
        }
        self.window.check_kernel(&w[2..])?;
        let axes = self.window.axes(&x[2..], &w[2..])?;
        Ok(ConvShape { batch: x[0], groups, c_in, c_out, axes })
    }

    /// The type of the result.
    fn output(&self, x: &[usize], w: &[usize], dtype: DType) -> Result<TensorType, OpError> {
        let shape = self.shape(x, w)?;
        let mut output = vec![shape.batch, shape.c_out];
        output.extend(shape.axes[5 - x.len()..].iter().map(|axis| axis.output));
        checked_type(dtype, output)
    }

    fn sums(&self, x: &Operand<'_>, w: &Operand<'_>) -> Result<Vec<f64>, OpError> {
        let shape = self.shape(x.0.shape(), w.0.shape())?;
        let per_channel = w.1.map(|zero_point| match zero_point.len() {
            1 => zero_point.reshaped(&[]),
            n => zero_point.reshaped(&[&[n][..], &vec![1; w.0.rank() - 1]].concat()),
        });
        let single = x.1.map(|zero_point| zero_point.reshaped(&[]));
        let (x, w) = (centered(x.0, single.as_ref()), centered(w.0, per_channel.as_ref()));
        Ok(kernels::exact_conv(&shape, &x, &w))
    }
}

/// Integers and their zero point.
struct Operand<'a>(&'a Tensor, Option<&'a Tensor>);

impl<'a> Operand<'a> {
    fn new(inputs: &Inputs<'a>, x: usize, zero_point: usize) -> Operand<'a> {
        let zero_point = inputs.get(zero_point).map(|_| inputs.tensor(zero_point));
        Operand(inputs.tensor(x), zero_point)
    }
}

/// One value, or one for each output channel.
fn expect_per_channel(input: &Named<'_>, c_out: usize) -> Result<(), OpError> {
    if input.ty().len() == 1 || input.shape() == [c_out] {
        return Ok(());
    }
    Err(input.wrong_shape(format!("[] or [{c_out}], one per output channel")))
}

/// Every output element is a sum over one filter.
fn macs(w: &[usize], outputs: &[TensorType]) -> u64 {
    let filter = w[1..].iter().product::<usize>();
    (outputs[0].len() as u64).saturating_mul(filter as u64)
}

#[derive(Debug)]
struct ConvInteger(Geometry);

impl Operator for ConvInteger {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(4)?;
        let expected = "int8 or uint8";
        let names = [(0, "x"), (2, "x_zero_point")];
        let (x, x_zero_point) = expect_operand(inputs, names, is_byte, expected)?;
        let names = [(1, "w"), (3, "w_zero_point")];
        let (w, w_zero_point) = expect_operand(inputs, names, is_byte, expected)?;
        let output = self.0.output(x.shape(), w.shape(), DType::I32)?;
        x_zero_point.map_or(Ok(()), |input| expect_single(&input))?;
        w_zero_point.map_or(Ok(()), |input| expect_per_channel(&input, w.shape()[0]))?;
        Ok(vec![output])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let shape = self.infer(inputs)?.remove(0).shape;
        let sums = self.0.sums(&Operand::new(inputs, 0, 2), &Operand::new(inputs, 1, 3))?;
        Ok(vec![Tensor::from_vec(&shape, sums.into_iter().map(wrapped).collect())])
    }

    fn macs(&self, inputs: &Inputs<'_>, outputs: &[TensorType]) -> u64 {
        macs(inputs.shape(1), outputs)
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

#[derive(Debug)]
struct QLinearConv(Geometry);

const X: usize = 0;
const X_SCALE: usize = 1;
const X_ZERO_POINT: usize = 2;
const W: usize = 3;
const W_SCALE: usize = 4;
const W_ZERO_POINT: usize = 5;
const Y_SCALE: usize = 6;
const Y_ZERO_POINT: usize = 7;
const B: usize = 8;

impl Operator for QLinearConv {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(9)?;
        let expected = "int8 or uint8";
        let names = [(X, "x"), (X_ZERO_POINT, "x_zero_point")];
        let (x, _) = expect_operand(inputs, names, is_byte, expected)?;
        let names = [(W, "w"), (W_ZERO_POINT, "w_zero_point")];
        let (w, _) = expect_operand(inputs, names, is_byte, expected)?;
        let y_zero_point = inputs.require(Y_ZERO_POINT, "y_zero_point")?;
        y_zero_point.expect_dtype_that(is_byte, expected)?;
        expect_single(&inputs.require(X_ZERO_POINT, "x_zero_point")?)?;
        expect_single(&y_zero_point)?;
        for (position, name) in [(X_SCALE, "x_scale"), (Y_SCALE, "y_scale")] {
            let scale = inputs.require(position, name)?;
            scale.expect_f32()?;
            expect_single(&scale)?;
        }
        let output = self.0.output(x.shape(), w.shape(), y_zero_point.dtype())?;
        let c_out = w.shape()[0];
        let w_scale = inputs.require(W_SCALE, "w_scale")?;
        w_scale.expect_f32()?;
        expect_per_channel(&w_scale, c_out)?;
        expect_per_channel(&inputs.require(W_ZERO_POINT, "w_zero_point")?, c_out)?;
        if let Some(bias) = inputs.optional(B, "B")
            && bias.expect_dtype(DType::I32)? != [c_out]
        {
            return Err(bias.wrong_shape(format!("[{c_out}], one per output channel")));
        }
        Ok(vec![output])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let shape = self.infer(inputs)?.remove(0).shape;
        let x = Operand::new(inputs, X, X_ZERO_POINT);
        let sums = self.0.sums(&x, &Operand::new(inputs, W, W_ZERO_POINT))?;
        let scale = |position| inputs.tensor(position).slice::<f32>();
        let (x_scale, w_scale, y_scale) = (scale(X_SCALE)[0], scale(W_SCALE), scale(Y_SCALE)[0]);
        let bias = inputs.get(B).map(|_| inputs.tensor(B).slice::<i32>());
        let (c_out, plane) = (shape[1], shape[2..].iter().product::<usize>());
        let mut quotients = Vec::with_capacity(sums.len());
        for (channel, sums) in sums.chunks_exact(plane.max(1)).enumerate() {
            let channel = channel % c_out;
            let bias = bias.map_or(0, |bias| bias[channel]);
            let factor = x_scale * w_scale[channel.min(w_scale.len() - 1)] / y_scale;
            let sums = sums.iter().map(|&sum| wrapped(sum).wrapping_add(bias));
            quotients.extend(sums.map(|sum| sum as f32 * factor));
        }
        Ok(vec![requantized(&quotients, inputs.tensor(Y_ZERO_POINT), &shape)])
    }

    fn macs(&self, inputs: &Inputs<'_>, outputs: &[TensorType]) -> u64 {
        macs(inputs.shape(W), outputs)
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::QuantRole;
    use crate::ops::testing::{OpTest, op};
    use crate::tensor::Tensor;

    fn image() -> Tensor {
        array![[[[2_u8, 3, 4], [5, 6, 7], [8, 9, 10]]]].into()
    }

    #[test]
    fn sums_of_integers() {
        let ones = || Tensor::full(&[1, 1, 2, 2], 1_u8);
        let base = || op("ConvInteger").tensor(image()).tensor(ones());
        base().macs(16).gives_tensor(array![[[[16, 20], [28, 32]]]]);
        base().tensor(Tensor::scalar(1_u8)).ints("pads", &[1, 0, 0, 0]).gives_tensor(array![[[
            [3, 5],
            [12, 16],
            [24, 28]
        ]]]);
        // Two filters of different zero points: 1 - 0 and 1 - 3.
        op("ConvInteger")
            .tensor(image())
            .tensor(Tensor::full(&[2, 1, 3, 3], 1_u8))
            .absent()
            .tensor(array![0_u8, 3])
            .macs(18)
            .gives_tensor(array![[[[54]], [[-108]]]]);
        base()
            .tensor(array![1_u8, 2])
            .fails("input `x_zero_point` has shape [2], expected one element");
        base().tensor(Tensor::scalar(1_i8)).fails("input `x_zero_point` is int8, expected uint8");
        op("ConvInteger").tensor(image()).tensor(Tensor::full(&[1, 2, 2, 2], 1_u8)).fails(
            "input `w` has shape [1, 2, 2, 2], expected 1 channels in 1 groups along axis 1",
        );
        assert_eq!(base().quant(), QuantRole::NOT_QUANTIZED);
    }

    fn qlinear(
        w: impl Into<Tensor>,
        w_scale: impl Into<Tensor>,
        w_zero_point: impl Into<Tensor>,
    ) -> OpTest {
        op("QLinearConv")
            .tensor(image())
            .tensor(Tensor::scalar(0.5_f32))
            .tensor(Tensor::scalar(2_u8))
            .tensor(w)
            .tensor(w_scale)
            .tensor(w_zero_point)
            .tensor(Tensor::scalar(2_f32))
            .tensor(Tensor::scalar(10_i8))
    }

    #[test]
    fn rescaled_sums() {
        // Each sum is (x - 2) * (w - 1) * 0.5 * 2 / 2, rounded half to even.
        let base = || {
            qlinear(Tensor::full(&[1, 1, 1, 1], 2_i8), Tensor::scalar(2_f32), Tensor::scalar(1_i8))
        };
        base().macs(9).gives_tensor(array![[[[10_i8, 10, 11], [12, 12, 12], [13, 14, 14]]]]);
        base().tensor(array![-100_i32]).gives_tensor(array![[[
            [-40_i8, -40, -39],
            [-38, -38, -38],
            [-37, -36, -36]
        ]]]);
        base().tensor(array![-1000_i32]).gives_tensor(Tensor::full(&[1, 1, 3, 3], -128_i8));
        let w = Tensor::full(&[2, 1, 3, 3], 1_i8);
        qlinear(w.clone(), array![2_f32, 4.], array![0_i8, 0])
            .macs(18)
            .gives_tensor(array![[[[28_i8]], [[46]]]]);
        qlinear(w, array![2_f32, 4., 5.], array![0_i8, 0])
            .fails("input `w_scale` has shape [3], expected [] or [2], one per output channel");
        base()
            .tensor(array![1_i32, 2])
            .fails("input `B` has shape [2], expected [1], one per output channel");
    }
}
