//! Convolution in float64, which has no kernel: every product in its plain place.

use crate::kernels::{Axis, ConvShape};

/// As [`kernels::conv`](crate::kernels::conv).
pub(super) fn conv(shape: &ConvShape, x: &[f64], w: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
    let mut y = biased(shape, plane(shape, |axis| axis.output), bias);
    for_each_product(shape, |[input, weight, output]| y[output] += x[input] * w[weight]);
    y
}

/// As [`kernels::conv_transpose`](crate::kernels::conv_transpose).
pub(super) fn conv_transpose(
    shape: &ConvShape,
    x: &[f64],
    w: &[f64],
    bias: Option<&[f64]>,
) -> Vec<f64> {
    let mut y = biased(shape, plane(shape, |axis| axis.input), bias);
    // The convolution that it transposes goes from `y` to `x`.
    let transposed = ConvShape { c_in: shape.c_out, c_out: shape.c_in, ..*shape };
    for_each_product(&transposed, |[input, weight, output]| y[input] += x[output] * w[weight]);
    y
}

fn plane(shape: &ConvShape, length: impl Fn(&Axis) -> usize) -> usize {
    shape.axes.iter().map(length).product()
}

/// The bias of each channel in all its elements.
fn biased(shape: &ConvShape, plane: usize, bias: Option<&[f64]>) -> Vec<f64> {
    let channel = |i: usize| bias.map_or(0., |bias| bias[i / plane % shape.c_out]);
    (0..shape.batch * shape.c_out * plane).map(channel).collect()
}

/// Calls `f` with the indices of an input element, a weight and an output element that they add to.
fn for_each_product(shape: &ConvShape, mut f: impl FnMut([usize; 3])) {
    let (c_in, c_out) = (shape.c_in / shape.groups, shape.c_out / shape.groups);
    let lengths = shape.axes.map(|axis| [axis.input, axis.kernel, axis.output]);
    let [rows, lines, elements] = shape.axes.map(|axis| positions(&axis));
    let join = |outer: [usize; 3], axis: usize, inner: [usize; 3]| {
        std::array::from_fn(|i| outer[i] * lengths[axis][i] + inner[i])
    };
    for image in 0..shape.batch {
        for m in 0..shape.c_out {
            for c in 0..c_in {
                let from = image * shape.c_in + m / c_out * c_in + c;
                let channels = [from, m * c_in + c, image * shape.c_out + m];
                for &row in &rows {
                    let row = join(channels, 0, row);
                    for &line in &lines {
                        let line = join(row, 1, line);
                        elements.iter().for_each(|&element| f(join(line, 2, element)));
                    }
                }
            }
        }
    }
}

/// The positions along an axis of input, tap and output that belong together.
fn positions(axis: &Axis) -> Vec<[usize; 3]> {
    let of_tap = |k| axis.inside(k).map(move |o| [k, o]);
    let input = |[k, o]: [usize; 2]| o * axis.stride + k * axis.dilation - axis.pads[0];
    (0..axis.kernel).flat_map(of_tap).map(|[k, o]| [input([k, o]), k, o]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels;

    /// Small integers, so that every order of summation gives the same.
    #[test]
    fn agrees_with_the_kernels() {
        let axis = |input, kernel, stride, dilation, pads: [usize; 2]| {
            let output = (input + pads[0] + pads[1] - (kernel - 1) * dilation - 1) / stride + 1;
            Axis { input, output, kernel, stride, dilation, pads }
        };
        let axes = [axis(3, 2, 1, 1, [0, 1]), axis(5, 3, 2, 1, [1, 0]), axis(6, 2, 1, 3, [2, 2])];
        let values = |n: usize| -> Vec<f32> { (0..n).map(|i| (7 * i % 5) as f32 - 2.).collect() };
        for (groups, c_in, c_out) in [(1, 3, 2), (2, 4, 6), (3, 3, 3), (1, 0, 2)] {
            let shape = ConvShape { batch: 2, groups, c_in, c_out, axes };
            let wide = |x: &[f32]| -> Vec<f64> { x.iter().map(|&x| x.into()).collect() };
            let w = values(c_in * c_out / groups * plane(&shape, |axis| axis.kernel));
            let bias = values(c_out);
            let x = values(2 * c_in * plane(&shape, |axis| axis.input));
            let found = conv(&shape, &wide(&x), &wide(&w), Some(&wide(&bias)));
            assert_eq!(found, wide(&kernels::conv(&shape, &x, &w, Some(&bias))));
            let x = values(2 * c_in * plane(&shape, |axis| axis.output));
            let found = conv_transpose(&shape, &wide(&x), &wide(&w), None);
            assert_eq!(found, wide(&kernels::conv_transpose(&shape, &x, &w, None)));
        }
    }
}
