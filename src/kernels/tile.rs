//! The microkernel under matrix products and convolutions: a register tile of outputs, each a chain
//! of fused multiply-adds over its taps in order.
//!
//! `y[p, m] = bias[m] + sum over taps t, i < t.len of x[p * x_step + t.x + i] * w[m, t.w + i]`, then
//! clamped. Outputs are 16 channels `m` wide (a block) and up to four blocks by several positions `p`
//! are in registers at once. How many does not change a bit of the result.

#![allow(unsafe_code)]

use super::simd::{Kernel, LANES, Simd, run, unrolled};

/// A run of `len` elements of `x` that meets as many weights; in a depthwise convolution, of vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tap {
    /// Where it starts in `x`, from the position's own start.
    pub(super) x: usize,
    /// Its first weight.
    pub(super) w: usize,
    pub(super) len: usize,
}

/// Positions in a row, at equal distances in `x` and `y`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) x: usize,
    pub(super) x_step: usize,
    pub(super) y: usize,
    pub(super) y_step: usize,
    pub(super) count: usize,
}

impl Run {
    /// Where the last position's `len` elements of `x` end, of at least one position.
    pub(super) fn x_end(&self, len: usize) -> usize {
        end(self.x, self.x_step, self.count, len)
    }

    /// As [`Run::x_end`], of `y`.
    pub(super) fn y_end(&self, len: usize) -> usize {
        end(self.y, self.y_step, self.count, len)
    }
}

fn end(first: usize, step: usize, count: usize, len: usize) -> usize {
    step.saturating_mul(count - 1).saturating_add(first).saturating_add(len)
}

/// Weights of some blocks of output channels: `[block][tap element][16]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filters<'a> {
    pub(super) w: &'a [f32],
    /// Elements of one block.
    pub(super) block: usize,
    /// `[block][16]`; empty for none.
    pub(super) bias: &'a [f32],
    /// Bounds of the result; infinite for none. NaN passes.
    pub(super) clamp: [f32; 2],
}

/// Where blocks go in `y`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks {
    /// The first block, and how many.
    pub(super) first: usize,
    pub(super) count: usize,
    /// Distance of blocks in `y`.
    pub(super) step: usize,
    /// Channels of the last of all blocks; the others have 16.
    pub(super) channels: usize,
}

/// The most blocks that one call takes at once.
pub(super) const MOST_BLOCKS: usize = 4;

/// How blocks are shared out to calls: as wide as registers allow, none left over alone if it can be.
pub(super) fn panels(n_blocks: usize) -> impl Iterator<Item = (usize, usize)> {
    let n_panels = n_blocks.div_ceil(MOST_BLOCKS);
    (0..n_panels).map(move |i| {
        let [start, end] = [i, i + 1].map(|i| i * n_blocks / n_panels);
        (start, end - start)
    })
}

/// Computes the positions of all runs for the blocks.
///
/// # Panics
/// If a run or a tap reaches outside of `x`, `w` or `y`.
pub(super) fn tiles(
    x: &[f32],
    taps: &[Tap],
    runs: &[Run],
    filters: &Filters<'_>,
    blocks: &Blocks,
    y: &mut [f32],
) {
    let (y_len, y) = (y.len(), y.as_mut_ptr());
    run(Tiles { x, taps, runs, filters, blocks, y, y_len });
}

#[derive(Clone, Copy)]
struct Tiles<'a> {
    x: &'a [f32],
    taps: &'a [Tap],
    runs: &'a [Run],
    filters: &'a Filters<'a>,
    blocks: &'a Blocks,
    /// Of `y_len` elements, borrowed by the caller for as long as this lives.
    y: *mut f32,
    y_len: usize,
}

impl Tiles<'_> {
    /// That every access lies inside; the kernels below rely on it.
    fn check(&self) {
        let Tiles { x, taps, filters, blocks, y_len, .. } = *self;
        let tap_end = taps.iter().map(|tap| tap.x + tap.len).max().unwrap_or(0);
        let w_end = taps.iter().map(|tap| (tap.w + tap.len) * LANES).max().unwrap_or(0);
        let last = blocks.first + blocks.count - 1;
        assert!(0 < blocks.count && w_end <= filters.block, "a block holds its taps");
        assert!((last + 1) * filters.block <= filters.w.len(), "the blocks are there");
        assert!(filters.bias.is_empty() || (last + 1) * LANES <= filters.bias.len(), "biases");
        assert!(last * LANES < blocks.channels, "the last block has a channel");
        let width = (blocks.channels - last * LANES).min(LANES);
        assert!(blocks.count == 1 || LANES <= blocks.step, "blocks lie side by side");
        for run in self.runs.iter().filter(|run| 0 < run.count) {
            assert!(run.x_end(tap_end) <= x.len(), "a run ends inside `x`");
            assert!(run.y_end(last * blocks.step + width) <= y_len, "a run ends inside `y`");
        }
    }
}

/// The weights that the next call will want. Every tile of this one fetches a part while it computes:
/// all of them at once would be more than memory answers.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    at: *const f32,
    /// Elements for every product of a position, and for a tile.
    step: usize,
    tile: usize,
    /// Tiles that fetch.
    n_tiles: usize,
}

impl Ahead {
    /// The `n` blocks from `next` on, if there are as many, in tiles up to `highest`.
    fn new(tiles: &Tiles<'_>, next: usize, n: usize, highest: usize) -> Ahead {
        let Filters { w, block, .. } = *tiles.filters;
        let at = w.as_ptr().wrapping_add(next * block);
        let n_tiles: usize = tiles.runs.iter().map(|run| run.count.div_ceil(highest)).sum();
        let step = (n * LANES).checked_div(n_tiles).unwrap_or(0).clamp(1, LANES);
        let tile = step * block / LANES;
        let is_there = (next + n) * block <= w.len() && 0 < tile;
        Ahead { at, step, tile, n_tiles: if is_there { (n * block).div_ceil(tile) } else { 0 } }
    }

    /// Where a tile fetches first, and how much further after each product; `idle` again and again
    /// where there is nothing to fetch.
    fn part(&self, tile: usize, idle: *const f32) -> (*const f32, usize) {
        let is_fetching = tile < self.n_tiles;
        if is_fetching { (self.at.wrapping_add(tile * self.tile), self.step) } else { (idle, 0) }
    }
}

impl Kernel for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.check();
        let Blocks { first, count, .. } = *self.blocks;
        if S::IS_WIDE {
            match count {
                1 => rows::<S, 1>(s, self, first),
                2 => rows::<S, 2>(s, self, first),
                3 => rows::<S, 3>(s, self, first),
                _ => rows::<S, 4>(s, self, first),
            }
        } else {
            for block in first..first + count {
                rows::<S, 1>(s, self, block);
            }
        }
    }
}

/// How far ahead of itself a single position reads its weights, which come from memory then.
const FAR: usize = 32 * LANES;

/// Splits every run into tiles of nearly equal height.
#[inline(always)]
fn rows<S: Simd, const N: usize>(s: S, tiles: Tiles<'_>, first: usize) {
    let highest = match (S::IS_WIDE, N) {
        (false, _) => 6,
        (true, 1 | 2) => 12,
        (true, 3) => 8,
        (true, _) => 6,
    };
    let fetched = Ahead::new(&tiles, first + N, N, highest);
    let mut n_done = 0;
    for run in tiles.runs {
        let n_tiles = run.count.div_ceil(highest);
        let mut start = 0;
        for i in 1..=n_tiles {
            let end = i * run.count / n_tiles;
            let at = Run {
                x: run.x + start * run.x_step,
                y: run.y + start * run.y_step,
                count: end - start,
                ..*run
            };
            let ahead = fetched.part(n_done, tiles.filters.w.as_ptr());
            n_done += 1;
            // SAFETY: `check` has found every access inside.
            unsafe {
                match at.count {
                    1 => tile::<S, N, 1>(s, &tiles, &at, first, ahead),
                    2 => tile::<S, N, 2>(s, &tiles, &at, first, ahead),
                    3 => tile::<S, N, 3>(s, &tiles, &at, first, ahead),
                    4 => tile::<S, N, 4>(s, &tiles, &at, first, ahead),
                    5 => tile::<S, N, 5>(s, &tiles, &at, first, ahead),
                    6 => tile::<S, N, 6>(s, &tiles, &at, first, ahead),
                    7 if N < 4 => tile::<S, N, 7>(s, &tiles, &at, first, ahead),
                    8 if N < 4 => tile::<S, N, 8>(s, &tiles, &at, first, ahead),
                    9 if N < 3 => tile::<S, N, 9>(s, &tiles, &at, first, ahead),
                    10 if N < 3 => tile::<S, N, 10>(s, &tiles, &at, first, ahead),
                    11 if N < 3 => tile::<S, N, 11>(s, &tiles, &at, first, ahead),
                    12 if N < 3 => tile::<S, N, 12>(s, &tiles, &at, first, ahead),
                    _ => unreachable!("tiles are at most `highest` high"),
                }
            }
            start = end;
        }
    }
}

/// `R` positions by `N` blocks.
///
/// # Safety
/// All that `Tiles::check` asserts.
#[inline(always)]
unsafe fn tile<S: Simd, const N: usize, const R: usize>(
    s: S,
    tiles: &Tiles<'_>,
    run: &Run,
    first: usize,
    (mut ahead, ahead_step): (*const f32, usize),
) {
    let Tiles { x, taps, filters, blocks, y, .. } = *tiles;
    let w_step = filters.block;
    // SAFETY: as the caller promises; the loads and stores below are those that `check` bounds.
    unsafe {
        let x = x.as_ptr().add(run.x);
        let x_step = run.x_step;
        let w = filters.w.as_ptr().add(first * w_step);
        let mut acc: [[S::V; N]; R] = std::array::from_fn(|_| std::array::from_fn(|_| s.splat(0.)));
        if !filters.bias.is_empty() {
            let bias = filters.bias.as_ptr().add(first * LANES);
            let bias: [S::V; N] = std::array::from_fn(|j| s.load_at(bias.add(j * LANES)));
            unrolled!(r < R => acc[r] = bias);
        }
        for tap in taps {
            let mut x = x.add(tap.x);
            let mut w = w.add(tap.w * LANES);
            for _ in 0..tap.len {
                let weights: [S::V; N] = std::array::from_fn(|j| s.load_at(w.add(j * w_step)));
                if R == 1 {
                    unrolled!(j < N => s.prefetch(w.wrapping_add(j * w_step + FAR)));
                } else {
                    s.prefetch(ahead);
                    ahead = ahead.wrapping_add(ahead_step);
                }
                unrolled!(r < R => {
                    let x = s.splat(*x.add(r * x_step));
                    unrolled!(j < N => acc[r][j] = s.fma(x, weights[j], acc[r][j]));
                });
                x = x.add(1);
                w = w.add(LANES);
            }
        }
        let [low, high] = filters.clamp.map(|bound| s.splat(bound));
        let y = y.add(run.y);
        unrolled!(j < N => {
            let block = first + j;
            let width = blocks.channels - block * LANES;
            let y = y.add(block * blocks.step);
            unrolled!(r < R => {
                let value = s.min(high, s.max(low, acc[r][j]));
                let to = y.add(r * run.y_step);
                if LANES <= width {
                    s.store_at(to, value);
                } else {
                    store_few(s.array(value), to, width);
                }
            });
        });
    }
}

/// # Safety
/// `to` may be written for `width` elements.
#[cold]
#[inline(never)]
unsafe fn store_few(value: [f32; LANES], to: *mut f32, width: usize) {
    // SAFETY: as the caller promises.
    unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), to, width.min(LANES)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;

    const NONE: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

    fn wave(n: usize, step: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * step).sin()).collect()
    }

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
    }

    /// One output at a time: its taps in order, a rounding each.
    fn plain(x: &[f32], taps: &[Tap], runs: &[Run], f: &Filters<'_>, b: &Blocks, y: &mut [f32]) {
        for m in b.first * LANES..((b.first + b.count) * LANES).min(b.channels) {
            let (block, lane) = (m / LANES, m % LANES);
            for (run, k) in runs.iter().flat_map(|run| (0..run.count).map(move |k| (run, k))) {
                let mut sum = f.bias.get(m).copied().unwrap_or(0.);
                for (tap, i) in taps.iter().flat_map(|tap| (0..tap.len).map(move |i| (tap, i))) {
                    let w = f.w[block * f.block + (tap.w + i) * LANES + lane];
                    sum = x[run.x + k * run.x_step + tap.x + i].mul_add(w, sum);
                }
                sum = if sum < f.clamp[0] { f.clamp[0] } else { sum };
                sum = if f.clamp[1] < sum { f.clamp[1] } else { sum };
                y[run.y + k * run.y_step + block * b.step + lane] = sum;
            }
        }
    }

    const TAPS: [Tap; 3] =
        [Tap { x: 0, w: 3, len: 3 }, Tap { x: 7, w: 0, len: 1 }, Tap { x: 2, w: 6, len: 5 }];
    const DEPTH: usize = 11;

    #[test]
    fn every_tile_is_a_chain_in_order_at_each_level() {
        for count in 0..=26 {
            for (channels, n_blocks) in [(16, 1), (21, 2), (48, 3), (64, 4), (70, 5)] {
                let x = wave(200, 0.37);
                let w = wave(n_blocks * DEPTH * LANES, 0.71);
                let bias = if count % 2 == 0 { wave(n_blocks * LANES, 0.3) } else { Vec::new() };
                let clamp = if count % 3 == 0 { [-0.5, 1.] } else { NONE };
                let filters = Filters { w: &w, block: DEPTH * LANES, bias: &bias, clamp };
                let runs = [
                    Run { x: 1, x_step: 5, y: 0, y_step: 80, count },
                    Run { x: 140, x_step: 0, y: 26 * 80, y_step: 80, count: 2 },
                ];
                let mut expected = vec![9.; 28 * 80];
                for (first, count) in panels(n_blocks) {
                    let blocks = Blocks { first, count, step: LANES, channels };
                    plain(&x, &TAPS, &runs, &filters, &blocks, &mut expected);
                }
                for (level, y) in at_each_level(|| {
                    let mut y = vec![9.; expected.len()];
                    for (first, count) in panels(n_blocks) {
                        let blocks = Blocks { first, count, step: LANES, channels };
                        tiles(&x, &TAPS, &runs, &filters, &blocks, &mut y);
                    }
                    y
                }) {
                    assert_eq!(bits(&y), bits(&expected), "{level:?}, {count} x {channels}");
                }
            }
        }
    }

    #[test]
    fn tiling_does_not_change_bits() {
        let x = wave(200, 0.37);
        let w = wave(4 * DEPTH * LANES, 0.71);
        let filters = Filters { w: &w, block: DEPTH * LANES, bias: &[], clamp: NONE };
        let whole = Run { x: 0, x_step: 7, y: 0, y_step: LANES, count: 25 };
        let each: Vec<Run> = (0..25)
            .map(|i| Run { x: i * whole.x_step, y: i * whole.y_step, count: 1, ..whole })
            .collect();
        let all = Blocks { first: 0, count: 4, step: 25 * LANES, channels: 64 };
        let one_by_one: Vec<Blocks> =
            (0..4).map(|first| Blocks { first, count: 1, ..all }).collect();
        for (level, [y, by_position, by_block]) in at_each_level(|| {
            let sweep = |runs: &[Run], blocks: &[Blocks]| {
                let mut y = vec![9.; 4 * all.step];
                blocks.iter().for_each(|blocks| tiles(&x, &TAPS, runs, &filters, blocks, &mut y));
                bits(&y)
            };
            [sweep(&[whole], &[all]), sweep(&each, &[all]), sweep(&[whole], &one_by_one)]
        }) {
            assert_eq!(y, by_position, "{level:?}");
            assert_eq!(y, by_block, "{level:?}");
        }
    }

    #[test]
    fn clamps_and_passes_on_nan() {
        let x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2., -2., 0.5];
        let w = [1.; LANES];
        let run = Run { x: 0, x_step: 1, y: 0, y_step: LANES, count: x.len() };
        let taps = [Tap { x: 0, w: 0, len: 1 }];
        let blocks = Blocks { first: 0, count: 1, step: 0, channels: LANES };
        for (clamp, expected) in [
            ([-1., 1.], [f32::NAN, 1., -1., 1., -1., 0.5]),
            ([0., f32::INFINITY], [f32::NAN, f32::INFINITY, 0., 2., 0., 0.5]),
            (NONE, x),
        ] {
            let filters = Filters { w: &w, block: LANES, bias: &[], clamp };
            for (level, y) in at_each_level(|| {
                let mut y = vec![9.; x.len() * LANES];
                tiles(&x, &taps, &[run], &filters, &blocks, &mut y);
                y
            }) {
                let expected: Vec<f32> = expected.iter().flat_map(|&x| [x; LANES]).collect();
                assert_eq!(bits(&y), bits(&expected), "{level:?}, {clamp:?}");
            }
        }
    }

    #[test]
    fn panels_share_out_every_block_once() {
        for n_blocks in 0..30 {
            let panels: Vec<_> = panels(n_blocks).collect();
            let blocks = panels.iter().flat_map(|&(first, count)| first..first + count);
            assert!(blocks.eq(0..n_blocks), "{panels:?}");
            let counts = || panels.iter().map(|panel| panel.1);
            assert!(counts().all(|n| n <= MOST_BLOCKS), "{panels:?}");
            assert!(counts().max() <= counts().min().map(|n| n + 1), "{panels:?}");
        }
    }
}
