//! Transposed convolution: a matrix product, whose patches are then folded onto the output.

use std::ops::Range;

use ndarray::ArrayViewMut2;
use ndarray::linalg::general_mat_mul;

use super::conv::{matrix, taps};
use super::{Axis, ConvShape};

/// `y[n, m] = bias[m] + sum over c, taps of w[c, m] * x[n, c]`, with shape `[batch, c_out, ...]`.
pub fn conv_transpose(shape: &ConvShape, x: &[f32], w: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let (c_in, c_out) = (shape.c_in / shape.groups, shape.c_out / shape.groups);
    let (plane_x, plane_y) = (shape.output_plane(), shape.input_plane());
    let mut y = vec![0.; shape.batch * shape.c_out * plane_y];
    if y.is_empty() {
        return y;
    }
    if let Some(bias) = bias {
        for (channel, &bias) in y.chunks_exact_mut(plane_y).zip(bias.iter().cycle()) {
            channel.fill(bias);
        }
    }
    if c_in == 0 || plane_x == 0 {
        return y;
    }
    let depth = c_out * shape.kernel_plane();
    let inside = shape.axes[2].all_inside();
    let mut patches = vec![0.; depth * plane_x];
    let weights = w.chunks_exact(c_in * depth).cycle();
    let groups = x.chunks_exact(c_in * plane_x).zip(y.chunks_exact_mut(c_out * plane_y));
    for ((x, y), w) in groups.zip(weights) {
        let w = matrix(w, [c_in, depth]);
        let mut product = ArrayViewMut2::from_shape((depth, plane_x), &mut patches[..])
            .expect("the buffer has this size");
        general_mat_mul(1., &w.t(), &matrix(x, [c_in, plane_x]), 0., &mut product);
        fold(&shape.axes, &inside, &patches, y);
    }
    y
}

/// Adds every patch value to the output element that it belongs to.
fn fold(axes: &[Axis; 3], inside: &[Range<usize>], patches: &[f32], y: &mut [f32]) {
    let [a, b, c] = axes;
    let mut lines = patches.chunks_exact(c.output);
    for y in y.chunks_exact_mut(a.input * b.input * c.input) {
        for (ka, kb, kc) in taps(axes) {
            let inside = inside[kc].clone();
            for row in 0..a.output * b.output {
                let line = lines.next().expect("a line per channel, tap and row");
                let target = a.source(row / b.output, ka).zip(b.source(row % b.output, kb));
                let Some((i, j)) = target.filter(|_| !inside.is_empty()) else { continue };
                let first = inside.start * c.stride + kc * c.dilation - c.pads[0];
                let y = &mut y[(i * b.input + j) * c.input..][..c.input][first..];
                let y = y.iter_mut().step_by(c.stride);
                y.zip(&line[inside.clone()]).for_each(|(y, &x)| *y += x);
            }
        }
    }
}
