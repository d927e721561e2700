//! Convolution: a matrix product over unfolded patches, or over the input itself for 1x1 windows.
//!
//! Everything has three spatial axes here; fewer are padded with [`Axis::UNIT`] in front.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2, s};

use super::{Axis, add_product, depthwise};

/// Sizes of a convolution; `x` is `[batch, c_in, ...]`, `w` is `[c_out, c_in / groups, ...]`. For a
/// transposed one `w` is `[c_in, c_out / groups, ...]` and the axes are those of the convolution
/// that it transposes: its `input` is the result's size, its `output` that of `x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    pub batch: usize,
    pub groups: usize,
    pub c_in: usize,
    pub c_out: usize,
    pub axes: [Axis; 3],
}

impl ConvShape {
    /// Elements of one channel of the convolution's input.
    pub(super) fn input_plane(&self) -> usize {
        self.axes.iter().map(|axis| axis.input).product()
    }

    /// Elements of one channel of the convolution's output.
    pub(super) fn output_plane(&self) -> usize {
        self.axes.iter().map(|axis| axis.output).product()
    }

    /// Elements of one channel of the window.
    pub(super) fn kernel_plane(&self) -> usize {
        self.axes.iter().map(|axis| axis.kernel).product()
    }

    fn is_depthwise(&self) -> bool {
        1 < self.groups && self.groups == self.c_in
    }
}

/// Patches are unfolded in blocks of about this many elements (1 MiB), which stay in cache.
const BLOCK: usize = 1 << 18;

/// `y[n, m] = bias[m] + sum over c, taps of w[m, c] * x[n, c]`, with shape `[batch, c_out, ...]`.
pub fn conv(shape: &ConvShape, x: &[f32], w: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let plane = shape.output_plane();
    let mut y = vec![0.; shape.batch * shape.c_out * plane];
    if y.is_empty() {
        return y;
    }
    if let Some(bias) = bias {
        for (channel, &bias) in y.chunks_exact_mut(plane).zip(bias.iter().cycle()) {
            channel.fill(bias);
        }
    }
    if shape.is_depthwise() {
        depthwise::add(shape, x, w, &mut y);
    } else {
        add_by_product(shape, x, w, &mut y);
    }
    y
}

/// Adds the convolution to `y`, group by group.
fn add_by_product(shape: &ConvShape, x: &[f32], w: &[f32], y: &mut [f32]) {
    let (c_in, c_out) = (shape.c_in / shape.groups, shape.c_out / shape.groups);
    let (plane_in, plane_out) = (shape.input_plane(), shape.output_plane());
    let depth = c_in * shape.kernel_plane();
    if depth == 0 || plane_in == 0 {
        return;
    }
    let pointwise = shape.axes.iter().all(Axis::is_pointwise);
    let mut patches = Patches::new(&shape.axes, c_in, BLOCK);
    let weights = w.chunks_exact(c_out * depth).cycle();
    let groups = x.chunks_exact(c_in * plane_in).zip(y.chunks_exact_mut(c_out * plane_out));
    for ((x, y), w) in groups.zip(weights) {
        let w = matrix(w, [c_out, depth]);
        let mut y = ArrayViewMut2::from_shape((c_out, plane_out), y).expect("a group's output");
        if pointwise {
            add_product(w, matrix(x, [c_in, plane_in]), y);
            continue;
        }
        for rows in patches.blocks() {
            let columns = patches.columns(&rows);
            add_product(w, patches.unfold(x, rows), y.slice_mut(s![.., columns]));
        }
    }
}

pub(super) fn matrix(x: &[f32], dims: [usize; 2]) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape(dims, x).expect("the caller sliced this many elements")
}

/// The matrix `[c_in * taps, output elements]` of all patches, a block of output rows at a time.
pub(super) struct Patches<'a> {
    axes: &'a [Axis; 3],
    c_in: usize,
    /// About as many elements make a block.
    block: usize,
    buffer: Vec<f32>,
    inside: Vec<Range<usize>>,
}

impl<'a> Patches<'a> {
    pub(super) fn new(axes: &'a [Axis; 3], c_in: usize, block: usize) -> Patches<'a> {
        Patches { axes, c_in, block, buffer: Vec::new(), inside: axes[2].all_inside() }
    }

    fn depth(&self) -> usize {
        self.c_in * self.axes.iter().map(|axis| axis.kernel).product::<usize>()
    }

    /// Output rows, `depth * height` of them, in blocks.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let [depth, height, width] = self.axes.map(|axis| axis.output);
        let n_rows = depth * height;
        let step = (self.block / (self.depth() * width).max(1)).clamp(1, n_rows.max(1));
        (0..n_rows).step_by(step).map(move |start| start..(start + step).min(n_rows))
    }

    fn columns(&self, rows: &Range<usize>) -> Range<usize> {
        let width = self.axes[2].output;
        rows.start * width..rows.end * width
    }

    /// The patches of `rows`, from one group's channels of one sample.
    pub(super) fn unfold(&mut self, x: &[f32], rows: Range<usize>) -> ArrayView2<'_, f32> {
        let [a, b, c] = self.axes;
        let dims = [self.depth(), self.columns(&rows).len()];
        self.buffer.resize(dims[0] * dims[1], 0.);
        let mut lines = self.buffer.chunks_exact_mut(c.output);
        for x in x.chunks_exact(a.input * b.input * c.input) {
            for (ka, kb, kc) in taps(self.axes) {
                let inside = &self.inside[kc];
                for row in rows.clone() {
                    let line = lines.next().expect("a line per channel, tap and row");
                    let source = a.source(row / b.output, ka).zip(b.source(row % b.output, kb));
                    let source = source.map(|(i, j)| &x[(i * b.input + j) * c.input..][..c.input]);
                    unfold_line(c, kc, inside.clone(), source, line);
                }
            }
        }
        matrix(&self.buffer, dims)
    }
}

/// All taps of a window, the last axis fastest.
pub(super) fn taps(axes: &[Axis; 3]) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
    let [a, b, c] = axes.map(|axis| axis.kernel);
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}

/// One tap's values along an output row: `inside` from the input row, the rest padding.
fn unfold_line(
    axis: &Axis,
    tap: usize,
    inside: Range<usize>,
    source: Option<&[f32]>,
    line: &mut [f32],
) {
    let Some(source) = source.filter(|_| !inside.is_empty()) else { return line.fill(0.) };
    let first = inside.start * axis.stride + tap * axis.dilation - axis.pads[0];
    let source = &source[first..];
    line[..inside.start].fill(0.);
    line[inside.end..].fill(0.);
    let line = &mut line[inside];
    if axis.stride == 1 {
        line.copy_from_slice(&source[..line.len()]);
    } else {
        let source = source.iter().step_by(axis.stride);
        line.iter_mut().zip(source).for_each(|(to, &from)| *to = from);
    }
}
