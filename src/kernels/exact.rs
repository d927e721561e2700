//! Products and convolutions in f64, for integers: sums of products of 8-bit ones are exact below 2^37
//! terms, in whatever order.

#![allow(unsafe_code)]

use super::conv::taps;
use super::dispatch::multiversion;
use super::{Axis, ConvShape};

multiversion! {
    /// `[m, k]` times `[k, n]` is `[m, n]`, for `[m, k, n]` in `dims`.
    ///
    /// # Panics
    /// If an operand has another number of elements.
    pub fn exact_product(a: &[f64], b: &[f64], dims: [usize; 3]) -> Vec<f64> {
        let [m, k, n] = dims;
        assert!(a.len() == m * k && b.len() == k * n, "operands of the dimensions given");
        let mut y = vec![0.; m * n];
        if n == 0 || k == 0 {
            return y;
        }
        for (a, y) in a.chunks_exact(k).zip(y.chunks_exact_mut(n)) {
            for (&a, b) in a.iter().zip(b.chunks_exact(n)) {
                add_scaled(y, a, b);
            }
        }
        y
    }
}

multiversion! {
    /// `y[n, m] = sum over c, taps of w[m, c] * x[n, c]`, with shape `[batch, c_out, ...]`.
    pub fn exact_conv(shape: &ConvShape, x: &[f64], w: &[f64]) -> Vec<f64> {
        let (c_in, c_out) = (shape.c_in / shape.groups, shape.c_out / shape.groups);
        let [plane_in, plane_out] = [shape.input_plane(), shape.output_plane()];
        let mut y = vec![0.; shape.batch * shape.c_out * plane_out];
        if y.is_empty() || plane_in == 0 || c_in == 0 {
            return y;
        }
        let filters = w.chunks_exact(c_in * shape.kernel_plane()).cycle();
        for (channel, (y, w)) in y.chunks_exact_mut(plane_out).zip(filters).enumerate() {
            // Group after group, sample after sample.
            let x = &x[channel / c_out * c_in * plane_in..][..c_in * plane_in];
            for (x, w) in x.chunks_exact(plane_in).zip(w.chunks_exact(shape.kernel_plane())) {
                add_channel(&shape.axes, x, w, y);
            }
        }
        y
    }
}

/// One channel of the input through one of the filter.
#[inline(always)]
fn add_channel(axes: &[Axis; 3], x: &[f64], w: &[f64], y: &mut [f64]) {
    let [a, b, c] = axes;
    for (&w, (ka, kb, kc)) in w.iter().zip(taps(axes)) {
        let inside = c.inside(kc);
        if w == 0. || inside.is_empty() {
            continue;
        }
        let first = inside.start * c.stride + kc * c.dilation - c.pads[0];
        for i in 0..a.output {
            for j in 0..b.output {
                let Some((from_i, from_j)) = a.source(i, ka).zip(b.source(j, kb)) else { continue };
                let x = &x[(from_i * b.input + from_j) * c.input..][first..c.input];
                let y = &mut y[(i * b.output + j) * c.output..][inside.clone()];
                match c.stride {
                    1 => add_scaled(y, w, x),
                    stride => {
                        let x = x.iter().step_by(stride);
                        y.iter_mut().zip(x).for_each(|(y, &x)| *y += w * x);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn add_scaled(y: &mut [f64], a: f64, x: &[f64]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{conv, dispatch::at_each_level};

    /// Small integers of both signs.
    fn mixed(len: usize) -> Vec<f64> {
        (0..len).map(|i| (7 * i % 13) as f64 - 6.).collect()
    }

    #[test]
    fn products() {
        let a = [1., 2., 3., 4., 5., 6.];
        for (_, y) in at_each_level(|| exact_product(&a, &[1., 0., 0., 1., 1., 1.], [2, 3, 2])) {
            assert_eq!(y, [4., 5., 10., 11.]);
        }
        assert_eq!(exact_product(&[], &[], [2, 0, 1]), [0., 0.]);
        assert!(exact_product(&[1.], &[], [1, 1, 0]).is_empty());
    }

    #[test]
    fn agrees_with_the_float_convolution() {
        let axis = |input, output, kernel, stride, dilation, pads| Axis {
            input,
            output,
            kernel,
            stride,
            dilation,
            pads,
        };
        let planes = [
            [Axis::UNIT, axis(5, 5, 3, 1, 1, [1, 1]), axis(6, 3, 3, 2, 1, [1, 0])],
            [Axis::UNIT, Axis::UNIT, axis(7, 5, 2, 1, 2, [0, 0])],
            [axis(3, 2, 2, 1, 1, [0, 0]), axis(4, 4, 1, 1, 1, [0, 0]), axis(2, 4, 2, 1, 3, [3, 2])],
        ];
        for axes in planes {
            for groups in [1, 2, 4] {
                let shape = ConvShape { batch: 2, groups, c_in: 4, c_out: 8, axes };
                let x = mixed(2 * 4 * shape.input_plane());
                let w = mixed(8 * 4 / groups * shape.kernel_plane());
                let narrow = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<f32>>();
                let expected = conv(&shape, &narrow(&x), &narrow(&w), None);
                for (level, y) in at_each_level(|| exact_conv(&shape, &x, &w)) {
                    assert_eq!(narrow(&y), expected, "{level:?}: {shape:?}");
                }
            }
        }
    }
}
