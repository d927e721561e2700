//! Convolution in the channel-blocked layout `[N, ceil(C / 16), D * H * W, 16]`, without unfolding.
//!
//! Every output is a chain of fused multiply-adds that begins with the bias and goes over the taps
//! inside the input: blocks of input channels, then the window, then the channels of the block; over
//! a plain input: channels, then the window.

use std::ops::Range;

use super::simd::LANES;
use super::sweep::{Depth, Sweep, first_weight};
use super::tile::{Blocks, Filters, panels, tiles};
use super::{Axis, ConvShape};

/// How the input of a convolution lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConvInput {
    Plain,
    Blocked,
}

/// The geometry of one convolution, prepared for many evaluations.
#[derive(Debug)]
pub struct BlockedConv {
    shape: ConvShape,
    input: ConvInput,
    /// Positions from one block of channels to the next, in the input and the output.
    planes: [usize; 2],
    sweep: Sweep,
}

impl BlockedConv {
    /// `None` where groups do not fall on blocks, or a plain input has groups.
    pub fn new(shape: &ConvShape, input: ConvInput) -> Option<BlockedConv> {
        let is_aligned = [shape.c_in, shape.c_out].iter().all(|c| {
            shape.groups == 1
                || (input == ConvInput::Blocked && (c / shape.groups).is_multiple_of(LANES))
        });
        let planes = [shape.input_plane(), shape.output_plane()];
        is_aligned.then(|| BlockedConv::within(shape, input, planes))
    }

    fn within(shape: &ConvShape, input: ConvInput, planes: [usize; 2]) -> BlockedConv {
        let c_in = shape.c_in / shape.groups;
        let depth = match input {
            ConvInput::Plain => Depth::Plain(c_in),
            ConvInput::Blocked => Depth::Blocked(c_in),
        };
        let sweep = Sweep::within(&shape.axes, depth, planes[0]);
        BlockedConv { shape: *shape, input, planes, sweep }
    }

    /// The same for some rows alone, see [`Axis::part`], of an input and an output
    /// whose blocks of channels are as many positions apart as `planes` says.
    pub fn rows(&self, rows: Axis, planes: [usize; 2]) -> BlockedConv {
        let [depth, _, columns] = self.shape.axes;
        let shape = ConvShape { axes: [depth, rows, columns], ..self.shape };
        BlockedConv::within(&shape, self.input, planes)
    }

    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// How the input has to lie.
    pub fn input(&self) -> ConvInput {
        self.input
    }

    /// Elements of `y`.
    pub fn output_len(&self) -> usize {
        let ConvShape { batch, c_out, .. } = self.shape;
        batch * c_out.div_ceil(LANES) * self.shape.output_plane() * LANES
    }

    fn c_in(&self) -> usize {
        self.shape.c_in / self.shape.groups
    }

    /// Products of one output.
    fn depth(&self) -> usize {
        self.c_in() * self.shape.kernel_plane()
    }

    /// Filters `[c_out, c_in / groups, ...]` as `[block of c_out][depth][16]`.
    pub fn pack(&self, w: &[f32]) -> Vec<f32> {
        let (depth, window) = (self.depth(), self.shape.kernel_plane());
        let mut packed = vec![0.; self.shape.c_out.div_ceil(LANES) * depth * LANES];
        if depth == 0 {
            return packed;
        }
        for (m, filter) in w.chunks_exact(depth).enumerate() {
            let block = &mut packed[m / LANES * depth * LANES..][..depth * LANES];
            for (i, &w) in filter.iter().enumerate() {
                let (channel, tap) = (i / window, i % window);
                let at = match self.input {
                    ConvInput::Plain => i,
                    ConvInput::Blocked => {
                        let (block, lane) = (channel / LANES, channel % LANES);
                        first_weight(self.c_in(), window, block, tap) + lane
                    }
                };
                block[at * LANES + m % LANES] = w;
            }
        }
        packed
    }

    /// Computes `y`, clamped to `clamp`; `w` as [`pack`](BlockedConv::pack) gives it, `bias` filled
    /// up to whole blocks or empty. `finish` is called with every contiguous part of `y` soon after
    /// it was computed, and where the part begins.
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
        let ConvShape { batch, groups, c_out, .. } = self.shape;
        let [plane_in, plane_out] = self.planes;
        let x_len = match self.input {
            ConvInput::Plain => self.c_in() * plane_in,
            ConvInput::Blocked => self.c_in().div_ceil(LANES) * plane_in * LANES,
        };
        let (channels, n_blocks) = (c_out / groups, (c_out / groups).div_ceil(LANES));
        let (step, block) = (plane_out * LANES, self.depth() * LANES);
        let filters = Filters { w, block, bias, clamp };
        for part in 0..batch * groups {
            let (x, start) = (&x[part * x_len..], part * n_blocks * step);
            let y = &mut y[start..];
            let group = part % groups * n_blocks;
            let filters = Filters {
                w: &filters.w[group * block..],
                bias: if bias.is_empty() { bias } else { &bias[group * LANES..] },
                ..filters
            };
            for band in &self.sweep.bands {
                for (first, count) in panels(n_blocks) {
                    // The lanes behind the last channel are stored as well: there is room.
                    let channels = channels.next_multiple_of(LANES);
                    let blocks = Blocks { first, count, step, channels };
                    for (taps, runs) in &band.parts {
                        tiles(x, &self.sweep.taps[taps.clone()], runs, &filters, &blocks, y);
                    }
                    for block in first..first + count {
                        let Range { start: from, end } = band.positions;
                        let at = block * step + from * LANES;
                        finish(&mut y[at..block * step + end * LANES], start + at);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;
    use crate::kernels::window::tests::geometries;
    use crate::kernels::{Axis, blocked_len, to_blocked, to_plain};

    const BATCH: usize = 2;
    const NONE: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

    fn wave(n: usize, step: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * step).sin()).collect()
    }

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
    }

    /// Sum and sum of magnitudes of every output's products and bias, `[N, C, D, H, W]`.
    fn plain(shape: &ConvShape, x: &[f32], w: &[f32], bias: &[f32]) -> Vec<[f64; 2]> {
        let ConvShape { batch, groups, c_in, c_out, axes: [a, b, c] } = *shape;
        let (of_group, window) = (c_in / groups, a.kernel * b.kernel * c.kernel);
        let outputs = a.output * b.output * c.output;
        let output = |o: usize| {
            let (image, m, o) = (o / outputs / c_out, o / outputs % c_out, o % outputs);
            let o = [o / c.output / b.output, o / c.output % b.output, o % c.output];
            let first = m / (c_out / groups) * of_group;
            let mut sums = bias.get(m).map_or([0.; 2], |&bias| [bias.into(), bias.abs().into()]);
            for tap in 0..window {
                let k = [tap / c.kernel / b.kernel, tap / c.kernel % b.kernel, tap % c.kernel];
                let source = [0, 1, 2].map(|n| shape.axes[n].source(o[n], k[n]));
                let [Some(i), Some(j), Some(k)] = source else { continue };
                for channel in 0..of_group {
                    let place = (image * c_in + first + channel) * a.input + i;
                    let x = x[(place * b.input + j) * c.input + k];
                    let w = w[(m * of_group + channel) * window + tap];
                    let product = f64::from(x) * f64::from(w);
                    sums = [sums[0] + product, sums[1] + product.abs()];
                }
            }
            sums
        };
        (0..batch * c_out * outputs).map(output).collect()
    }

    /// What the kernel gives as `[N, C, D, H, W]`, after comparing its bits at all levels.
    fn found(
        shape: &ConvShape,
        input: ConvInput,
        [x, w, bias]: [&[f32]; 3],
        clamp: [f32; 2],
    ) -> Vec<f32> {
        let conv = BlockedConv::new(shape, input).expect("groups on blocks");
        let (plane, outputs) = (shape.input_plane(), shape.output_plane());
        let x = match input {
            ConvInput::Plain => x.to_vec(),
            ConvInput::Blocked => {
                let mut blocked = vec![0.; blocked_len(BATCH, shape.c_in, plane)];
                to_blocked(x, BATCH, shape.c_in, plane, &mut blocked);
                let n_blocks = shape.c_in.div_ceil(LANES);
                // Lanes without a channel may hold anything.
                for (i, x) in blocked.iter_mut().enumerate() {
                    let block = i / (plane * LANES) % n_blocks;
                    if shape.c_in <= block * LANES + i % LANES {
                        *x = f32::NAN;
                    }
                }
                blocked
            }
        };
        let w = conv.pack(w);
        let mut bias = bias.to_vec();
        bias.resize(bias.len().next_multiple_of(LANES), 0.);
        let mut runs = at_each_level(|| {
            let mut y = vec![7.; conv.output_len()];
            let mut finished = vec![0; y.len()];
            conv.run(&x, &w, &bias, clamp, &mut y, |part, start| {
                part.iter_mut().for_each(|y| *y *= 2.);
                finished[start..][..part.len()].iter_mut().for_each(|n| *n += 1);
            });
            assert!(finished.iter().all(|&n| n == 1), "{shape:?} finishes each once");
            y.iter_mut().for_each(|y| *y *= 0.5);
            y
        });
        for (level, y) in &runs {
            assert_eq!(bits(y), bits(&runs[0].1), "{level:?}, {shape:?}, {input:?}");
        }
        let mut y = vec![7.; BATCH * shape.c_out * outputs];
        to_plain(&runs.swap_remove(0).1, BATCH, shape.c_out, outputs, &mut y);
        y
    }

    /// Against index loops in f64: a chain of n roundings is off by at most n units of 2^-24 of the
    /// sum of magnitudes.
    fn check(shape: &ConvShape, input: ConvInput, has_bias: bool) {
        let depth = shape.c_in / shape.groups * shape.kernel_plane();
        let x = wave(BATCH * shape.c_in * shape.input_plane(), 0.7);
        let w = wave(shape.c_out * depth, 0.3);
        let bias = if has_bias { wave(shape.c_out, 0.9) } else { Vec::new() };
        let y = found(shape, input, [&x, &w, &bias], NONE);
        for (i, (y, [sum, magnitude])) in y.into_iter().zip(plain(shape, &x, &w, &bias)).enumerate()
        {
            let bound = magnitude * depth as f64 / 2_f64.powi(24);
            let off = (f64::from(y) - sum).abs();
            assert!(off <= bound, "{y} for {sum} at {i}, {shape:?}, {input:?}");
        }
    }

    #[test]
    fn every_geometry_and_channel_count() {
        for (i, axes) in geometries().into_iter().enumerate() {
            for (c_in, c_out) in [(1, 3), (3, 24), (5, 1), (16, 16), (17, 5), (24, 40), (40, 17)] {
                let shape = ConvShape { batch: BATCH, groups: 1, c_in, c_out, axes };
                check(&shape, ConvInput::Plain, i % 2 == 0);
                check(&shape, ConvInput::Blocked, i % 2 == 1);
            }
            for (groups, c_in, c_out) in [(2, 32, 64), (3, 48, 48)] {
                let shape = ConvShape { batch: BATCH, groups, c_in, c_out, axes };
                check(&shape, ConvInput::Blocked, i % 2 == 0);
            }
        }
    }

    #[test]
    fn planes_in_bands() {
        let row = Axis { input: 3000, output: 3000, ..Axis::UNIT };
        let line = Axis { input: 3, output: 3, kernel: 2, pads: [1, 0], ..Axis::UNIT };
        for axes in [[Axis::UNIT, Axis::UNIT, row], [Axis::UNIT, line, row]] {
            let shape = ConvShape { batch: BATCH, groups: 1, c_in: 40, c_out: 5, axes };
            check(&shape, ConvInput::Blocked, true);
        }
    }

    #[test]
    fn nan_reaches_the_windows_that_hold_it() {
        for axes in geometries() {
            let shape = ConvShape { batch: BATCH, groups: 1, c_in: 3, c_out: 20, axes };
            let mut x = wave(BATCH * 3 * shape.input_plane(), 0.7);
            x.iter_mut().skip(2).step_by(11).for_each(|x| *x = f32::NAN);
            let w = wave(60 * shape.kernel_plane(), 0.3);
            for input in [ConvInput::Plain, ConvInput::Blocked] {
                let y = found(&shape, input, [&x, &w, &[]], [-0.25, 0.25]);
                for (y, [sum, _]) in y.into_iter().zip(plain(&shape, &x, &w, &[])) {
                    assert_eq!(y.is_nan(), sum.is_nan(), "{y} for {sum}, {shape:?}");
                    assert!(y.is_nan() || y.abs() <= 0.25, "{y} is clamped");
                }
            }
        }
    }

    #[test]
    fn groups_fall_on_blocks_or_not() {
        let shape = |groups, c_in, c_out| ConvShape {
            batch: 1,
            groups,
            c_in,
            c_out,
            axes: [Axis::UNIT; 3],
        };
        let is_some = |shape: ConvShape, input| BlockedConv::new(&shape, input).is_some();
        assert!(is_some(shape(2, 32, 64), ConvInput::Blocked));
        assert!(!is_some(shape(2, 32, 64), ConvInput::Plain));
        assert!(!is_some(shape(2, 32, 24), ConvInput::Blocked));
        assert!(!is_some(shape(2, 24, 32), ConvInput::Blocked));
        assert!(is_some(shape(1, 3, 5), ConvInput::Plain));
    }
}
