//! `DeformConv`: convolution whose taps are moved, each by an offset of its own, and weighted.
//!
//! <https://onnx.ai/onnx/operators/onnx__DeformConv.html>

use ndarray::ArrayView2;

use crate::kernels::Axis;
use crate::ops::conv::read_group;
use crate::ops::floats::{doubles, expect_any_float, expect_same, rounded};
use crate::ops::stencil;
use crate::ops::window::Window;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole, Weight};
use crate::tensor::{Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("DeformConv", 19, DeformConv::read)];

/// `X` is `[N, C, ...]`, `W` is `[M, C / group, ...]`, the result `[N, M, ...]`. With K taps and r
/// axes, `offset` is `[N, offset_group * K * r, ...]` and `mask` is `[N, offset_group * K, ...]`.
#[derive(Debug)]
struct DeformConv {
    window: Window,
    group: i64,
    offset_group: i64,
}

const X: usize = 0;
const W: usize = 1;
const OFFSET: usize = 2;
const B: usize = 3;
const MASK: usize = 4;

/// What the shapes of the inputs say.
struct Sizes {
    groups: usize,
    offset_groups: usize,
    axes: Vec<Axis>,
    /// Taps of the window.
    taps: usize,
    /// Elements of one channel of the output.
    positions: usize,
}

impl DeformConv {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let window = Window {
            kernel_shape: attrs.opt_sizes("kernel_shape", 1)?,
            strides: attrs.opt_sizes("strides", 1)?,
            dilations: attrs.opt_sizes("dilations", 1)?,
            pads: attrs.opt_sizes("pads", 0)?,
            ..Window::UNSET
        };
        Ok(Box::new(DeformConv {
            window,
            group: attrs.int("group", 1)?,
            offset_group: attrs.int("offset_group", 1)?,
        }))
    }

    fn sizes(&self, x: &[usize], w: &[usize]) -> Result<Sizes, OpError> {
        let groups = read_group(self.group)?;
        let wrong = || OpError::invalid_attribute("offset_group", self.offset_group, "at least 1");
        let offset_groups = usize::try_from(self.offset_group).map_err(|_| wrong())?;
        if offset_groups == 0 {
            return Err(wrong());
        }
        if w[1].checked_mul(groups) != Some(x[1]) {
            let expected = format!("{} channels in {groups} groups along axis 1", x[1]);
            return Err(OpError::shape("W", w, expected));
        }
        if !w[0].is_multiple_of(groups) {
            let expected = format!("a multiple of {groups}, the number of groups, along axis 0");
            return Err(OpError::shape("W", w, expected));
        }
        if !x[1].is_multiple_of(offset_groups) {
            let expected = format!("channels in multiples of {offset_groups} along axis 1");
            return Err(OpError::shape("X", x, expected));
        }
        self.window.check_kernel(&w[2..])?;
        let axes = self.window.axis_list(&x[2..], &w[2..])?;
        let (taps, positions) =
            (w[2..].iter().product(), axes.iter().map(|axis| axis.output).product());
        Ok(Sizes { groups, offset_groups, axes, taps, positions })
    }
}

impl Sizes {
    /// What the taps read, weighted by the mask: `[C * taps, positions]`.
    fn columns(&self, x: &[f64], offset: &[f64], mask: Option<&[f64]>) -> Vec<f64> {
        let (taps, positions, rank) = (self.taps, self.positions, self.axes.len());
        let dims: Vec<usize> = self.axes.iter().map(|axis| axis.input).collect();
        let plane: usize = dims.iter().product();
        let channels = x.len() / plane.max(1);
        let mut columns = vec![0.; channels * taps * positions];
        if columns.is_empty() {
            return columns;
        }
        let group_channels = channels / self.offset_groups;
        let groups = x.chunks_exact(group_channels * plane);
        let groups = groups.zip(columns.chunks_exact_mut(group_channels * taps * positions));
        for (group, (x, columns)) in groups.enumerate() {
            for tap in 0..taps {
                let row = group * taps + tap;
                for position in 0..positions {
                    let moved = |axis: usize| offset[(row * rank + axis) * positions + position];
                    let around = self.around(tap, position, moved);
                    let around = stencil::over_plane(&around, &dims);
                    let weight = mask.map_or(1., |mask| mask[row * positions + position]);
                    let to = columns[tap * positions + position..].iter_mut();
                    for (x, y) in x.chunks_exact(plane).zip(to.step_by(taps * positions)) {
                        *y = weight * stencil::value(&around, x);
                    }
                }
            }
        }
        columns
    }

    /// The elements around a tap of a position that is moved along each axis.
    fn around(
        &self,
        mut tap: usize,
        mut position: usize,
        moved: impl Fn(usize) -> f64,
    ) -> Vec<stencil::Taps> {
        let mut around = Vec::with_capacity(self.axes.len());
        for (i, axis) in self.axes.iter().enumerate().rev() {
            let start = (position % axis.output * axis.stride) as f64 - axis.pads[0] as f64;
            let x = start + (tap % axis.kernel * axis.dilation) as f64 + moved(i);
            around.push(stencil::linear(x, |i| stencil::inside(i, axis.input)));
            (tap, position) = (tap / axis.kernel, position / axis.output);
        }
        around.reverse();
        around
    }
}

impl Operator for DeformConv {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(5)?;
        let x = inputs.require(X, "X")?;
        let w = inputs.require(W, "W")?;
        expect_any_float(&x)?;
        expect_same(&w, x.dtype(), "X")?;
        if x.rank() < 3 {
            return Err(x.wrong_shape("[N, C, ...] with a spatial axis"));
        }
        if w.rank() != x.rank() || w.shape()[2..].contains(&0) {
            return Err(w.wrong_shape(format!("rank {} and a kernel of at least 1", x.rank())));
        }
        let sizes = self.sizes(x.shape(), w.shape())?;
        let spatial: Vec<usize> = sizes.axes.iter().map(|axis| axis.output).collect();
        let with_channels = |channels| [&[x.shape()[0], channels], spatial.as_slice()].concat();
        let rows = sizes.offset_groups.saturating_mul(sizes.taps);
        let wanted = [
            (OFFSET, "offset", with_channels(rows.saturating_mul(spatial.len()))),
            (B, "B", vec![w.shape()[0]]),
            (MASK, "mask", with_channels(rows)),
        ];
        inputs.require(OFFSET, "offset")?;
        for (position, name, wanted) in wanted {
            let Some(input) = inputs.optional(position, name) else { continue };
            if expect_same(&input, x.dtype(), "X")? != wanted {
                return Err(input.wrong_shape(format!("{wanted:?}")));
            }
        }
        Ok(vec![TensorType { dtype: x.dtype(), shape: with_channels(w.shape()[0]) }])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let output = &self.infer(inputs)?[0];
        let sizes = self.sizes(inputs.shape(X), inputs.shape(W))?;
        let (x, w, offset) =
            (doubles(inputs.tensor(X)), doubles(inputs.tensor(W)), doubles(inputs.tensor(OFFSET)));
        let optional = |position| inputs.get(position).map(|_| doubles(inputs.tensor(position)));
        let (bias, mask) = (optional(B), optional(MASK));
        let [batch, channels] = [inputs.shape(X)[0], inputs.shape(X)[1]];
        let [outputs, positions] = [output.shape[1] / sizes.groups, sizes.positions];
        let depth = channels / sizes.groups * sizes.taps;
        let image = |x: &[f64], n: usize| {
            let length = x.len() / batch;
            n * length..(n + 1) * length
        };
        let mut y = Vec::with_capacity(output.len());
        for n in 0..batch {
            let mask = mask.as_ref().map(|mask| &mask[image(mask, n)]);
            let columns = sizes.columns(&x[image(&x, n)], &offset[image(&offset, n)], mask);
            for group in 0..sizes.groups {
                let w = matrix(&w[group * outputs * depth..], [outputs, depth]);
                let columns = &columns[group * depth * positions..];
                y.extend(w.dot(&matrix(columns, [depth, positions])));
            }
        }
        if let Some(bias) = bias.filter(|_| positions != 0) {
            let channels = y.chunks_exact_mut(positions).zip(bias.iter().cycle());
            channels.for_each(|(y, bias)| y.iter_mut().for_each(|y| *y += bias));
        }
        Ok(vec![rounded(output.dtype, &output.shape, y)])
    }

    /// As many as the convolution without offsets has; finding the values in between is not counted.
    fn macs(&self, inputs: &Inputs<'_>, outputs: &[TensorType]) -> u64 {
        let filter: usize = inputs.shape(W)[1..].iter().product();
        outputs[0].len() as u64 * filter as u64
    }

    /// Offsets and mask say where and how much; they stay float.
    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::weighted(X, Weight { input: W, channel_axis: 0 }).with_bias(B)
    }
}

fn matrix(x: &[f64], [rows, columns]: [usize; 2]) -> ArrayView2<'_, f64> {
    let x = &x[..rows * columns];
    ArrayView2::from_shape((rows, columns), x).expect("as many elements as the matrix has")
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::testing::{OpTest, counting, mixed, op};
    use crate::ops::{QuantRole, Weight};
    use crate::tensor::Tensor;

    /// Over `0 1 2 / 3 4 5 / 6 7 8` with a window of 2 x 2.
    fn base(offset: Tensor) -> OpTest {
        op("DeformConv").tensor(counting(&[1, 1, 3, 3])).tensor(mixed(&[1, 1, 2, 2])).tensor(offset)
    }

    fn nowhere() -> Tensor {
        Tensor::full(&[1, 8, 2, 2], 0_f32)
    }

    #[test]
    fn without_offsets_it_is_a_convolution() {
        base(nowhere()).macs(16).gives(array![[[[2., 1.], [-1., -2.]]]]);
        base(nowhere()).input(&array![10.]).gives(array![[[[12., 11.], [9., 8.]]]]);
        base(Tensor::full(&[1, 8, 4, 2], 0_f32))
            .ints("pads", &[1, 1, 1, 1])
            .ints("strides", &[1, 2])
            .ints("dilations", &[1, 2])
            .ints("kernel_shape", &[2, 2])
            .gives(array![[[[-1., 2.], [-4., 6.], [-7., 6.], [0., -14.]]]]);
    }

    /// Along the first axis by 1, along the second by half an element.
    #[test]
    fn offsets_and_mask() {
        let mut offset = nowhere();
        offset.slice_mut::<f32>()[..4].fill(1.);
        offset.slice_mut::<f32>()[4..8].fill(0.5);
        // The first tap, whose weight is -2, reads 3.5, 4.5, 6.5 and 7.5 instead of 0, 1, 3 and 4.
        base(offset.clone()).gives(array![[[[-5., -6.], [-8., -9.]]]]);
        let mut mask = Tensor::full(&[1, 4, 2, 2], 1_f32);
        mask.slice_mut::<f32>()[..4].copy_from_slice(&[0., 1., 2., 0.5]);
        base(offset).absent().tensor(mask).gives(array![[[[2., -6.], [-21., -1.5]]]]);
        // Far outside there is nothing.
        base(Tensor::full(&[1, 8, 2, 2], -1e30_f32)).gives(array![[[[0., 0.], [0., 0.]]]]);
    }

    #[test]
    fn groups() {
        let mut offset = Tensor::full(&[1, 2, 2], 0_f32);
        offset.slice_mut::<f32>()[2..].fill(1.);
        op("DeformConv")
            .tensor(counting(&[1, 2, 2]))
            .input(&array![[[1.]], [[10.]]])
            .tensor(offset)
            .int("group", 2)
            .int("offset_group", 2)
            .macs(4)
            .gives(array![[[0., 1.], [30., 0.]]]);
    }

    #[test]
    fn refuses() {
        base(counting(&[1, 8, 2, 1]))
            .fails("input `offset` has shape [1, 8, 2, 1], expected [1, 8, 2, 2]");
        base(nowhere())
            .absent()
            .tensor(counting(&[1, 8, 2, 2]))
            .fails("input `mask` has shape [1, 8, 2, 2], expected [1, 4, 2, 2]");
        base(nowhere()).int("offset_group", 2).fails(
            "input `X` has shape [1, 1, 3, 3], expected channels in multiples of 2 along axis 1",
        );
        base(nowhere())
            .int("offset_group", 0)
            .fails("attribute `offset_group` is 0, expected at least 1");
        op("DeformConv")
            .tensor(counting(&[1, 1, 3]))
            .tensor(counting(&[1, 1, 2]))
            .fails("input `offset` is missing");
    }

    #[test]
    fn quantization() {
        let role = QuantRole::weighted(0, Weight { input: 1, channel_axis: 0 }).with_bias(3);
        assert_eq!(base(nowhere()).quant(), role);
    }
}
