//! Depthwise convolution in the channel-blocked layout: 16 channels side by side in a vector.
//!
//! Every output is a chain of fused multiply-adds that begins with the bias and goes over the taps
//! inside the input. A small input gets a frame of zeros first: there a weight that is not finite
//! makes NaN of outputs at the edge too.

#![allow(unsafe_code)]

use super::buffer::Buffer;
use super::simd::{Kernel, LANES, Simd, run, unrolled};
use super::sweep::{Depth, Sweep};
use super::tile::{Run, Tap};
use super::{Axis, ConvShape};

/// The geometry of one depthwise convolution, prepared for many evaluations.
#[derive(Debug)]
pub struct BlockedDepthwise {
    shape: ConvShape,
    /// Positions from one block of channels to the next, in the input and the output.
    planes: [usize; 2],
    sweep: Sweep,
    /// Whether the input is copied into a frame of zeros first.
    is_framed: bool,
}

/// The step of positions in `x` at stride 2.
const TWICE: usize = 2 * LANES;

/// Framed inputs up to this stay in the first-level cache; at larger ones edges weigh little.
const FRAME_BYTES: usize = 1 << 15;

impl BlockedDepthwise {
    /// `None` if it is not depthwise, with as many channels in as out.
    pub fn new(shape: &ConvShape) -> Option<BlockedDepthwise> {
        let is_depthwise = shape.groups == shape.c_in && shape.c_in == shape.c_out;
        is_depthwise.then(|| {
            let framed = shape.axes.map(|axis| Axis {
                input: axis.input + axis.pads[0] + axis.pads[1],
                pads: [0, 0],
                ..axis
            });
            let frame: usize = framed.iter().map(|axis| axis.input).product();
            let is_framed = framed != shape.axes && 4 * LANES * frame <= FRAME_BYTES;
            let axes = if is_framed { &framed } else { &shape.axes };
            let planes = [shape.input_plane(), shape.output_plane()];
            let sweep = Sweep::new(axes, Depth::Lanes);
            BlockedDepthwise { shape: *shape, planes, sweep, is_framed }
        })
    }

    /// As [`BlockedConv::rows`](super::BlockedConv::rows); `None` for a small input, which is taken as
    /// a whole.
    pub fn rows(&self, rows: Axis, planes: [usize; 2]) -> Option<BlockedDepthwise> {
        let [depth, _, columns] = self.shape.axes;
        let shape = ConvShape { axes: [depth, rows, columns], ..self.shape };
        let sweep = Sweep::new(&shape.axes, Depth::Lanes);
        (!self.is_framed).then_some(BlockedDepthwise { shape, planes, sweep, is_framed: false })
    }

    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// Elements of `y`.
    pub fn output_len(&self) -> usize {
        let ConvShape { batch, c_out, .. } = self.shape;
        batch * c_out.div_ceil(LANES) * self.shape.output_plane() * LANES
    }

    /// Filters `[C, 1, ...]` as `[block of C][tap][16]`.
    pub fn pack(&self, w: &[f32]) -> Vec<f32> {
        let window = self.shape.kernel_plane();
        let mut packed = vec![0.; self.shape.c_in.div_ceil(LANES) * window * LANES];
        for (channel, filter) in w.chunks_exact(window).enumerate() {
            let block = &mut packed[channel / LANES * window * LANES..][..window * LANES];
            for (tap, &w) in filter.iter().enumerate() {
                block[tap * LANES + channel % LANES] = w;
            }
        }
        packed
    }

    /// As [`BlockedConv::run`](super::BlockedConv::run).
    ///
    /// # Panics
    /// If an operand is too short.
    pub fn run(
        &self,
        x: &[f32],
        w: &[f32],
        bias: &[f32],
        clamp: [f32; 2],
        y: &mut [f32],
        mut finish: impl FnMut(&mut [f32], usize),
    ) {
        let n_blocks = self.shape.c_in.div_ceil(LANES);
        let x_len = self.shape.input_plane() * LANES;
        let y_len = self.shape.output_plane() * LANES;
        let [x_step, y_step] = self.planes.map(|plane| plane * LANES);
        let w_len = self.shape.kernel_plane() * LANES;
        if y_len == 0 {
            return;
        }
        let mut frame = self.is_framed.then(|| Frame::new(&self.shape.axes));
        for part in 0..self.shape.batch * n_blocks {
            let block = part % n_blocks;
            let (x, y) = (&x[part * x_step..][..x_len], &mut y[part * y_step..][..y_len]);
            let x = frame.as_mut().map_or(x, |frame| frame.fill(x));
            let w = &w[block * w_len..][..w_len];
            let bias = if bias.is_empty() { &[0.; LANES] } else { &bias[block * LANES..] };
            let bias = bias.first_chunk().expect("biases come in whole blocks");
            for band in &self.sweep.bands {
                for (taps, runs) in &band.parts {
                    let taps = &self.sweep.taps[taps.clone()];
                    run(Lanes { x, taps, runs, w, bias, clamp, y });
                }
                let [start, end] = [band.positions.start, band.positions.end].map(|i| i * LANES);
                finish(&mut y[start..end], part * y_step + start);
            }
        }
    }
}

/// One block of channels of the input in a frame of zeros.
struct Frame<'a> {
    axes: &'a [Axis; 3],
    lanes: Buffer,
}

impl<'a> Frame<'a> {
    fn new(axes: &'a [Axis; 3]) -> Frame<'a> {
        let len: usize = axes.iter().map(|axis| axis.input + axis.pads[0] + axis.pads[1]).product();
        Frame { axes, lanes: Buffer::zeros(len * LANES) }
    }

    fn fill(&mut self, x: &[f32]) -> &[f32] {
        let [a, b, c] = self.axes;
        let [height, width] = [b, c].map(|axis| axis.input + axis.pads[0] + axis.pads[1]);
        let line = c.input * LANES;
        for (i, x) in x.chunks_exact(line.max(1)).enumerate() {
            let (depth, row) = (i / b.input + a.pads[0], i % b.input + b.pads[0]);
            let at = ((depth * height + row) * width + c.pads[0]) * LANES;
            self.lanes[at..at + line].copy_from_slice(x);
        }
        &self.lanes
    }
}

/// Runs of one block of channels that meet the same taps.
struct Lanes<'a> {
    x: &'a [f32],
    taps: &'a [Tap],
    runs: &'a [Run],
    w: &'a [f32],
    bias: &'a [f32; LANES],
    clamp: [f32; 2],
    y: &'a mut [f32],
}

impl Lanes<'_> {
    /// That every access lies inside; `tile` relies on it.
    fn check(&self) {
        let tap_end = self.taps.iter().map(|tap| tap.x + tap.len * LANES).max().unwrap_or(0);
        let w_end = self.taps.iter().map(|tap| (tap.w + tap.len) * LANES).max().unwrap_or(0);
        assert!(w_end <= self.w.len(), "the weights are there");
        for run in self.runs.iter().filter(|run| 0 < run.count) {
            assert!(run.x_end(tap_end) <= self.x.len(), "a run ends inside `x`");
            assert!(run.y_end(LANES) <= self.y.len(), "a run ends inside `y`");
        }
    }
}

impl Kernel for Lanes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        self.check();
        let highest = if S::IS_WIDE { 14 } else { 6 };
        for run in self.runs {
            let n_tiles = run.count.div_ceil(highest);
            let mut start = 0;
            for i in 1..=n_tiles {
                let end = i * run.count / n_tiles;
                let x = run.x + start * run.x_step;
                let at = Run { x, y: run.y + start * run.y_step, count: end - start, ..*run };
                // SAFETY: `check` has found every access inside.
                unsafe {
                    match at.count {
                        1 => tile::<S, 1>(s, &mut self, &at),
                        2 => tile::<S, 2>(s, &mut self, &at),
                        3 => tile::<S, 3>(s, &mut self, &at),
                        4 => tile::<S, 4>(s, &mut self, &at),
                        5 => tile::<S, 5>(s, &mut self, &at),
                        6 => tile::<S, 6>(s, &mut self, &at),
                        7 => tile::<S, 7>(s, &mut self, &at),
                        8 => tile::<S, 8>(s, &mut self, &at),
                        9 => tile::<S, 9>(s, &mut self, &at),
                        10 => tile::<S, 10>(s, &mut self, &at),
                        11 => tile::<S, 11>(s, &mut self, &at),
                        12 => tile::<S, 12>(s, &mut self, &at),
                        13 => tile::<S, 13>(s, &mut self, &at),
                        14 => tile::<S, 14>(s, &mut self, &at),
                        _ => unreachable!("tiles are at most `highest` high"),
                    }
                }
                start = end;
            }
        }
    }
}

/// `R` positions.
///
/// # Safety
/// All that `Lanes::check` asserts.
#[inline(always)]
unsafe fn tile<S: Simd, const R: usize>(s: S, lanes: &mut Lanes<'_>, run: &Run) {
    let mut acc: [S::V; R] = std::array::from_fn(|_| s.load(lanes.bias));
    let [low, high] = lanes.clamp.map(|bound| s.splat(bound));
    // SAFETY: as the caller promises.
    unsafe {
        let x = lanes.x.as_ptr().add(run.x);
        for tap in lanes.taps {
            let (x, w) = (x.add(tap.x), lanes.w.as_ptr().add(tap.w * LANES));
            match (tap.len, run.x_step) {
                (3, LANES) if S::IS_WIDE => add_line::<S, R, 3, 1>(s, x, w, &mut acc),
                (5, LANES) if S::IS_WIDE => add_line::<S, R, 5, 1>(s, x, w, &mut acc),
                (7, LANES) if S::IS_WIDE => add_line::<S, R, 7, 1>(s, x, w, &mut acc),
                (3, TWICE) if S::IS_WIDE => add_line::<S, R, 3, 2>(s, x, w, &mut acc),
                (5, TWICE) if S::IS_WIDE => add_line::<S, R, 5, 2>(s, x, w, &mut acc),
                (len, x_step) => {
                    for k in 0..len {
                        let (x, w) = (x.add(k * LANES), s.load_at(w.add(k * LANES)));
                        unrolled!(r < R => acc[r] = s.fma(s.load_at(x.add(r * x_step)), w, acc[r]));
                    }
                }
            }
        }
        let y = lanes.y.as_mut_ptr().add(run.y);
        unrolled!(r < R => s.store_at(y.add(r * run.y_step), s.min(high, s.max(low, acc[r]))));
    }
}

/// `K` taps side by side at positions `STRIDE` apart. What neighbors share is loaded once: loads, not
/// products, are what a depthwise convolution waits for. Where registers are few that gains nothing.
///
/// # Safety
/// `x` may be read for the `(R - 1) * STRIDE + K` vectors that the windows span, `w` for `K`.
#[inline(always)]
unsafe fn add_line<S: Simd, const R: usize, const K: usize, const STRIDE: usize>(
    s: S,
    x: *const f32,
    w: *const f32,
    acc: &mut [S::V; R],
) {
    // SAFETY: as the caller promises; a vector beyond the windows is not read.
    unsafe {
        let w: [S::V; K] = std::array::from_fn(|k| s.load_at(w.add(k * LANES)));
        unrolled!(r < R => add_column::<S, R, K, STRIDE>(s, x, &w, acc, r));
        unrolled!(i < (K - 1) / STRIDE => add_column::<S, R, K, STRIDE>(s, x, &w, acc, R + i));
    }
}

/// The products of `STRIDE` vectors of `x`, the first of which meets the first weight at position `r`.
///
/// # Safety
/// As for [`add_line`].
#[inline(always)]
unsafe fn add_column<S: Simd, const R: usize, const K: usize, const STRIDE: usize>(
    s: S,
    x: *const f32,
    w: &[S::V; K],
    acc: &mut [S::V; R],
    r: usize,
) {
    for i in 0..STRIDE.min((R - 1) * STRIDE + K - r * STRIDE) {
        // SAFETY: as the caller promises.
        let x = unsafe { s.load_at(x.add((r * STRIDE + i) * LANES)) };
        for k in (i..K).step_by(STRIDE) {
            let before = k / STRIDE;
            if before <= r && r - before < R {
                acc[r - before] = s.fma(x, w[k], acc[r - before]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;
    use crate::kernels::window::tests::{axis, geometries};
    use crate::kernels::{blocked_len, to_blocked, to_plain};

    const BATCH: usize = 2;
    const NONE: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

    fn wave(n: usize, step: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * step).sin()).collect()
    }

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
    }

    /// One output at a time, `[N, C, D, H, W]`: the taps inside the input in order, a rounding each.
    fn plain(shape: &ConvShape, x: &[f32], w: &[f32], bias: &[f32], clamp: [f32; 2]) -> Vec<f32> {
        let ConvShape { batch, c_in, axes: [_, b, c], .. } = *shape;
        let (plane, window) = (shape.input_plane(), shape.kernel_plane());
        let outputs = shape.output_plane();
        let output = |o: usize| {
            let (channel, o) = (o / outputs, o % outputs);
            let o = [o / c.output / b.output, o / c.output % b.output, o % c.output];
            let mut sum = bias.get(channel % c_in).copied().unwrap_or(0.);
            for tap in 0..window {
                let k = [tap / c.kernel / b.kernel, tap / c.kernel % b.kernel, tap % c.kernel];
                let source = [0, 1, 2].map(|n| shape.axes[n].source(o[n], k[n]));
                let [Some(i), Some(j), Some(k)] = source else { continue };
                let x = x[channel * plane + (i * b.input + j) * c.input + k];
                sum = x.mul_add(w[channel % c_in * window + tap], sum);
            }
            sum = if sum < clamp[0] { clamp[0] } else { sum };
            if clamp[1] < sum { clamp[1] } else { sum }
        };
        (0..batch * c_in * outputs).map(output).collect()
    }

    fn check(shape: &ConvShape, x: &[f32], has_bias: bool, clamp: [f32; 2]) {
        let channels = shape.c_in;
        let w = wave(channels * shape.kernel_plane(), 0.3);
        let bias = if has_bias { wave(channels, 0.9) } else { Vec::new() };
        let expected = plain(shape, x, &w, &bias, clamp);
        let depthwise = BlockedDepthwise::new(shape).expect("it is depthwise");
        let mut blocked = vec![0.; blocked_len(BATCH, channels, shape.input_plane())];
        to_blocked(x, BATCH, channels, shape.input_plane(), &mut blocked);
        let w = depthwise.pack(&w);
        let mut padded = bias.clone();
        padded.resize(bias.len().next_multiple_of(LANES), 0.);
        for (level, y) in at_each_level(|| {
            let mut y = vec![7.; depthwise.output_len()];
            let mut finished = vec![0; y.len()];
            depthwise.run(&blocked, &w, &padded, clamp, &mut y, |part, start| {
                part.iter_mut().for_each(|y| *y *= 2.);
                finished[start..][..part.len()].iter_mut().for_each(|n| *n += 1);
            });
            assert!(finished.iter().all(|&n| n == 1), "{shape:?} finishes each once");
            let mut plain = vec![7.; expected.len()];
            to_plain(&y, BATCH, channels, shape.output_plane(), &mut plain);
            plain.iter_mut().for_each(|y| *y *= 0.5);
            plain
        }) {
            assert_eq!(bits(&y), bits(&expected), "{level:?}, {shape:?}");
        }
    }

    fn depthwise(channels: usize, axes: [Axis; 3]) -> ConvShape {
        ConvShape { batch: BATCH, groups: channels, c_in: channels, c_out: channels, axes }
    }

    #[test]
    fn equals_the_plain_form_to_the_last_bit_at_each_level() {
        let mut geometries = geometries();
        // Too large for a frame, with runs of every height.
        geometries.extend(
            (12..26).map(|n| [Axis::UNIT, axis(40, 3, 1, 1, [1, 1]), axis(n, 3, 1, 1, [1, 0])]),
        );
        geometries.push([Axis::UNIT, axis(33, 5, 2, 1, [2, 2]), axis(40, 5, 2, 1, [1, 2])]);
        for (i, axes) in geometries.into_iter().enumerate() {
            for channels in [1, 5, 16, 17, 40] {
                let shape = depthwise(channels, axes);
                let mut x = wave(BATCH * channels * shape.input_plane(), 0.7);
                check(&shape, &x, i % 2 == 0, NONE);
                x.iter_mut().skip(2).step_by(11).for_each(|x| *x = f32::NAN);
                check(&shape, &x, i % 2 == 1, [-0.25, 0.25]);
            }
        }
    }

    #[test]
    fn every_height_of_a_tile_and_shared_taps() {
        for (kernel, stride) in [3, 5, 7].into_iter().flat_map(|k| [1, 2, 3].map(|s| (k, s))) {
            for output in 1..=15 {
                let row = axis((output - 1) * stride + kernel, kernel, stride, 1, [0, 0]);
                let shape = depthwise(17, [Axis::UNIT, axis(4, 3, 1, 1, [0, 0]), row]);
                let x = wave(BATCH * 17 * shape.input_plane(), 0.7);
                check(&shape, &x, output % 2 == 0, NONE);
            }
        }
    }

    #[test]
    fn refuses_what_is_not_depthwise() {
        let shape = depthwise(4, [Axis::UNIT; 3]);
        assert!(BlockedDepthwise::new(&shape).is_some());
        assert!(BlockedDepthwise::new(&ConvShape { c_out: 8, ..shape }).is_none());
        assert!(BlockedDepthwise::new(&ConvShape { groups: 2, ..shape }).is_none());
    }
}
