//! Depthwise convolution: every channel on its own, no patches.
//!
//! An output row is the sum over taps of an input row times a weight; each tap's range of outputs
//! that lie inside the input is computed beforehand, so the inner loops test nothing.

#![allow(unsafe_code)]

use super::dispatch::multiversion;

use std::ops::Range;

use super::{Axis, ConvShape};

/// Adds the convolution to `y`; `c_out` is a multiple of `c_in`.
pub(super) fn add(shape: &ConvShape, x: &[f32], w: &[f32], y: &mut [f32]) {
    let (plane_in, plane_out) = (shape.input_plane(), shape.output_plane());
    if plane_in == 0 {
        return;
    }
    let multiplier = shape.c_out / shape.c_in;
    let inside = shape.axes[2].all_inside();
    let weights = w.chunks_exact(shape.kernel_plane()).cycle();
    for (channel, (y, w)) in y.chunks_exact_mut(plane_out).zip(weights).enumerate() {
        let x = &x[channel / multiplier * plane_in..][..plane_in];
        add_channel(&shape.axes, &inside, x, w, y);
    }
}

multiversion! {
    fn add_channel(axes: &[Axis; 3], inside: &[Range<usize>], x: &[f32], w: &[f32], y: &mut [f32]) {
        let [a, b, c] = axes;
        for (row, y) in y.chunks_exact_mut(c.output).enumerate() {
            for (tap, w) in w.chunks_exact(c.kernel).enumerate() {
                let source = a.source(row / b.output, tap / b.kernel);
                let source = source.zip(b.source(row % b.output, tap % b.kernel));
                let Some((i, j)) = source else { continue };
                let x = &x[(i * b.input + j) * c.input..][..c.input];
                for ((tap, &w), inside) in w.iter().enumerate().zip(inside) {
                    if !inside.is_empty() {
                        let first = inside.start * c.stride + tap * c.dilation - c.pads[0];
                        add_row(&mut y[inside.clone()], &x[first..], c.stride, w);
                    }
                }
            }
        }
    }
}

/// `y[i] += w * x[i * stride]`, fused.
#[inline(always)]
fn add_row(y: &mut [f32], x: &[f32], stride: usize, w: f32) {
    match stride {
        1 => y.iter_mut().zip(x).for_each(|(y, &x)| *y = x.mul_add(w, *y)),
        2 => {
            // The last element may have no neighbor to make a pair.
            let (last, y) = y.split_last_mut().expect("the range is not empty");
            *last = x[2 * y.len()].mul_add(w, *last);
            y.iter_mut().zip(x.chunks_exact(2)).for_each(|(y, x)| *y = x[0].mul_add(w, *y));
        }
        _ => {
            let x = x.iter().step_by(stride);
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = x.mul_add(w, *y));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;

    fn wave(n: usize) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * 0.7).sin()).collect()
    }

    /// One element at a time.
    fn plain(shape: &ConvShape, x: &[f32], w: &[f32]) -> Vec<f32> {
        let [a, b, c] = &shape.axes;
        let multiplier = shape.c_out / shape.c_in;
        let mut y = Vec::new();
        for m in 0..shape.batch * shape.c_out {
            let x = &x[m / multiplier * shape.input_plane()..];
            let w = &w[m % shape.c_out * shape.kernel_plane()..];
            for o in 0..shape.output_plane() {
                let (oa, ob, oc) = (o / c.output / b.output, o / c.output % b.output, o % c.output);
                let mut sum = 0.;
                for (t, (ka, kb, kc)) in super::super::conv::taps(&shape.axes).enumerate() {
                    let source = (a.source(oa, ka), b.source(ob, kb), c.source(oc, kc));
                    if let (Some(i), Some(j), Some(k)) = source {
                        sum = x[(i * b.input + j) * c.input + k].mul_add(w[t], sum);
                    }
                }
                y.push(sum);
            }
        }
        y
    }

    #[test]
    fn equals_the_plain_form_to_the_last_bit_at_each_level() {
        for (width, kernel, stride, dilation, pads) in [
            (37, 3, 1, 1, [1, 1]),
            (37, 5, 2, 1, [2, 2]),
            (36, 3, 2, 1, [0, 1]),
            (40, 3, 3, 2, [4, 0]),
            (3, 7, 1, 1, [3, 3]),
        ] {
            let output = (width + pads[0] + pads[1] - (kernel - 1) * dilation - 1) / stride + 1;
            let axis = Axis { input: width, output, kernel, stride, dilation, pads };
            let axes = [Axis::UNIT, axis, axis];
            let shape = ConvShape { batch: 2, groups: 3, c_in: 3, c_out: 6, axes };
            let x = wave(2 * 3 * shape.input_plane());
            let w = wave(6 * shape.kernel_plane());
            let expected = plain(&shape, &x, &w);
            for (level, found) in at_each_level(|| {
                let mut y = vec![0.; expected.len()];
                add(&shape, &x, &w, &mut y);
                y
            }) {
                assert_eq!(found, expected, "{level:?}, {axis:?}");
            }
        }
    }
}
