//! Gram matrices: products of what a layer multiplies its weight with, the patches of its input.
//!
//! Patches stand as columns of a matrix `[depth, positions]`; its Gram matrix is `[depth, depth]`.

use super::conv::{Patches, taps};
use super::{ConvShape, Gemm, pack, packed_len};

/// Patches are unfolded in blocks of about this many elements (1 MiB), ...
const BLOCK: usize = 1 << 18;
/// ... but not in less than this many positions, so that products outweigh what is added up.
const LEAST_POSITIONS: usize = 256;

/// Adds `patches * transposed patches`; the sum of one call is in f32, that of all in f64.
///
/// # Panics
/// If an operand has another size.
pub fn add_gram(patches: &[f32], depth: usize, gram: &mut [f64]) {
    assert_eq!(gram.len(), depth * depth, "a square");
    let positions = patches.len().checked_div(depth).unwrap_or(0);
    if positions == 0 {
        return;
    }
    let mut packed = vec![0.; packed_len(positions, depth)];
    pack(patches, positions, depth, [1, positions], &mut packed);
    let mut product = vec![0.; depth * depth];
    let gemm =
        Gemm { rows: depth, depth: positions, columns: depth, x_step: positions, y_step: depth };
    let unclamped = [f32::NEG_INFINITY, f32::INFINITY];
    gemm.run(patches, &packed, &[], unclamped, &mut product, None);
    gram.iter_mut().zip(&product).for_each(|(sum, &product)| *sum += f64::from(product));
}

/// Gives `visit` all patches of a convolution, a block of positions at a time; `x` holds the channels
/// of one group of one sample.
pub fn unfold_patches(shape: &ConvShape, x: &[f32], visit: &mut dyn FnMut(&[f32])) {
    let c_in = shape.c_in / shape.groups;
    let depth = c_in * shape.kernel_plane();
    let block = BLOCK.max(LEAST_POSITIONS * depth);
    let mut patches = Patches::new(&shape.axes, c_in, block);
    for rows in patches.blocks() {
        let unfolded = patches.unfold(x, rows);
        visit(unfolded.as_slice().expect("patches are row-major"));
    }
}

/// The patches of a transposed convolution: what every element of the result is a sum over, zero
/// where a tap hits no element of `x`.
pub fn unfold_transposed(shape: &ConvShape, x: &[f32]) -> Vec<f32> {
    let (plane_x, plane_y) = (shape.output_plane(), shape.input_plane());
    let [a, b, c] = &shape.axes;
    let mut patches = vec![0.; shape.c_in / shape.groups * shape.kernel_plane() * plane_y];
    let mut planes = patches.chunks_exact_mut(plane_y.max(1));
    for x in x.chunks_exact(plane_x.max(1)) {
        for (ka, kb, kc) in taps(&shape.axes) {
            let Some(plane) = planes.next() else { return patches };
            let inside = c.inside(kc);
            for row in 0..a.output * b.output {
                let target = a.source(row / b.output, ka).zip(b.source(row % b.output, kb));
                let Some((i, j)) = target.filter(|_| !inside.is_empty()) else { continue };
                let first = inside.start * c.stride + kc * c.dilation - c.pads[0];
                let line = &mut plane[(i * b.input + j) * c.input..][..c.input][first..];
                let x = &x[row * c.output..][inside.clone()];
                line.iter_mut().step_by(c.stride).zip(x).for_each(|(to, &from)| *to = from);
            }
        }
    }
    patches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Axis, at_each_level, conv, conv_transpose};

    fn mixed(n: usize) -> Vec<f32> {
        (0..n).map(|i| (i * 7 % 11) as f32 - 5.).collect()
    }

    fn shape(groups: usize, [c_in, c_out]: [usize; 2]) -> ConvShape {
        let axis = |input, output, stride, dilation, pads| Axis {
            input,
            output,
            kernel: 3,
            stride,
            dilation,
            pads,
        };
        let axes = [Axis::UNIT, axis(7, 4, 2, 1, [1, 1]), axis(9, 6, 1, 2, [0, 1])];
        ConvShape { batch: 1, groups, c_in, c_out, axes }
    }

    #[test]
    fn a_gram_matrix_is_the_same_at_each_level() {
        let (depth, positions) = (19, 5);
        let u = mixed(depth * positions);
        let column = |i: usize| &u[i * positions..][..positions];
        let dot =
            |i, j| column(i).iter().zip(column(j)).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let plain: Vec<f64> =
            (0..depth * depth).map(|at| 1. + dot(at / depth, at % depth)).collect();
        let found = at_each_level(|| {
            let mut gram = vec![1.; depth * depth];
            add_gram(&u, depth, &mut gram);
            gram
        });
        found.iter().for_each(|(level, gram)| assert_eq!(*gram, plain, "{level:?}"));
        add_gram(&[], 0, &mut []);
    }

    /// The weight times the patches is what the layer computes.
    #[test]
    fn patches_times_weights_are_convolutions() {
        let shape = shape(2, [4, 6]);
        let (x, w) = (mixed(4 * 63), mixed(6 * 2 * 9));
        let y = conv(&shape, &x, &w, None);
        for (group, x) in x.chunks(2 * 63).enumerate() {
            let mut n_blocks = 0;
            unfold_patches(&shape, x, &mut |u| {
                n_blocks += 1;
                let product = |r: usize, p: usize| -> f32 {
                    let w = &w[(group * 3 + r) * 18..][..18];
                    w.iter().zip(u.chunks(24)).map(|(w, u)| w * u[p]).sum()
                };
                for (at, &y) in y[group * 72..][..72].iter().enumerate() {
                    assert_eq!(y, product(at / 24, at % 24));
                }
            });
            assert_eq!(n_blocks, 1);
        }
    }

    #[test]
    fn patches_times_weights_are_transposed_convolutions() {
        let shape = shape(2, [4, 6]);
        let (x, w) = (mixed(4 * 24), mixed(4 * 3 * 9));
        let y = conv_transpose(&shape, &x, &w, None);
        for (group, x) in x.chunks(2 * 24).enumerate() {
            let u = unfold_transposed(&shape, x);
            for (at, &y) in y[group * 3 * 63..][..3 * 63].iter().enumerate() {
                let (m, p) = (at / 63, at % 63);
                let weight = |k: usize| w[((group * 2 + k / 9) * 3 + m) * 9 + k % 9];
                let sum: f32 = (0..18).map(|k| weight(k) * u[k * 63 + p]).sum();
                assert_eq!(y, sum);
            }
        }
    }
}
