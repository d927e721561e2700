//! Copies inside the blocked layout, `[N, blocks, H, W, 16]`; `planes` is `N * blocks`.
//!
//! All of them move bits: a NaN stays the NaN that it is.

#![allow(unsafe_code)]

use super::dispatch::multiversion;

use super::blocked::blocked_len;
use super::simd::LANES;

/// Positions `start`, `start + step`, ... along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positions {
    pub start: usize,
    pub step: isize,
    pub count: usize,
}

impl Positions {
    #[inline(always)]
    fn at(&self, k: usize) -> usize {
        self.start.wrapping_add_signed(self.step.wrapping_mul(k as isize))
    }
}

/// `[planes, H, W, 16]` becomes `[planes, rows.count, columns.count, 16]`.
///
/// # Panics
/// If a length is not that of its shape, or a position lies outside.
pub fn slice_spatial(
    x: &[f32],
    planes: usize,
    input: [usize; 2],
    [rows, columns]: &[Positions; 2],
    y: &mut [f32],
) {
    let [height, width] = input;
    assert_eq!(x.len(), planes * height * width * LANES, "`x` has the shape");
    assert_eq!(y.len(), planes * rows.count * columns.count * LANES, "`y` has the shape");
    if y.is_empty() {
        return;
    }
    let (x, y) = (x.as_chunks::<LANES>().0, y.as_chunks_mut::<LANES>().0);
    for (row, y) in y.chunks_exact_mut(columns.count).enumerate() {
        let (plane, i) = (row / rows.count, rows.at(row % rows.count));
        assert!(i < height, "row {i} is inside");
        let x = &x[(plane * height + i) * width..][..width];
        match usize::try_from(columns.step) {
            Ok(1) => y.copy_from_slice(&x[columns.start..][..columns.count]),
            Ok(step @ 2..) => {
                let x = &x[columns.start..=columns.at(columns.count - 1)];
                y.iter_mut().zip(x.iter().step_by(step)).for_each(|(y, x)| *y = *x);
            }
            _ => y.iter_mut().enumerate().for_each(|(k, y)| *y = x[columns.at(k)]),
        }
    }
}

/// `[planes, H, W, 16]` becomes `[planes, before + H + after, before + W + after, 16]`: `pads` holds
/// before and after of the height, then of the width; what is new is `value`.
///
/// # Panics
/// If a length is not that of its shape.
pub fn pad_spatial(
    x: &[f32],
    planes: usize,
    input: [usize; 2],
    pads: [[usize; 2]; 2],
    value: f32,
    y: &mut [f32],
) {
    let [height, width] = input;
    let [[top, bottom], [left, right]] = pads;
    let output = [top + height + bottom, left + width + right];
    assert_eq!(x.len(), planes * height * width * LANES, "`x` has the shape");
    assert_eq!(y.len(), planes * output[0] * output[1] * LANES, "`y` has the shape");
    if y.is_empty() {
        return;
    }
    for (row, y) in y.chunks_exact_mut(output[1] * LANES).enumerate() {
        let (plane, i) = (row / output[0], row % output[0]);
        if !(top..top + height).contains(&i) {
            y.fill(value);
            continue;
        }
        let (before, y) = y.split_at_mut(left * LANES);
        let (inside, after) = y.split_at_mut(width * LANES);
        before.fill(value);
        inside.copy_from_slice(&x[(plane * height + i - top) * width * LANES..][..width * LANES]);
        after.fill(value);
    }
}

/// Whether [`concat_channels`] can join pieces of these channel counts: each ends a block, save the
/// last.
pub fn can_concat(channels: &[usize]) -> bool {
    channels.split_last().is_none_or(|(_, others)| others.iter().all(|c| c.is_multiple_of(LANES)))
}

/// Joins pieces, each with its channel count, along the channels.
///
/// # Panics
/// If a length is not that of its shape, or not [`can_concat`].
pub fn concat_channels(pieces: &[(&[f32], usize)], batch: usize, plane: usize, y: &mut [f32]) {
    let channels: Vec<usize> = pieces.iter().map(|&(_, channels)| channels).collect();
    assert!(can_concat(&channels), "blocks are whole: {channels:?}");
    for (x, channels) in pieces {
        assert_eq!(x.len(), blocked_len(batch, *channels, plane), "a piece has the shape");
    }
    assert_eq!(y.len(), blocked_len(batch, channels.iter().sum(), plane), "`y` has the shape");
    let mut rest = y;
    for image in 0..batch {
        for (x, channels) in pieces {
            let n = blocked_len(1, *channels, plane);
            let (y, others) = rest.split_at_mut(n);
            y.copy_from_slice(&x[image * n..][..n]);
            rest = others;
        }
    }
}

/// `[N, C, plane]` becomes `[N, before + C + after, plane]`; what is new is 0, unused lanes too.
///
/// # Panics
/// If a length is not that of its shape.
pub fn pad_channels(
    x: &[f32],
    batch: usize,
    channels: usize,
    plane: usize,
    [before, after]: [usize; 2],
    y: &mut [f32],
) {
    let padded = before + channels + after;
    assert_eq!(x.len(), blocked_len(batch, channels, plane), "`x` has the shape");
    assert_eq!(y.len(), blocked_len(batch, padded, plane), "`y` has the shape");
    if y.is_empty() {
        return;
    }
    let (blocks, blocks_out) = (channels.div_ceil(LANES), padded.div_ceil(LANES));
    let (x, y) = (x.as_chunks::<LANES>().0, y.as_chunks_mut::<LANES>().0);
    let source = |image: usize, block: Option<usize>| {
        let block = block.filter(|&block| block < blocks)?;
        Some(&x[(image * blocks + block) * plane..][..plane])
    };
    for (block, y) in y.chunks_exact_mut(plane).enumerate() {
        let (image, block) = (block / blocks_out, block % blocks_out);
        let is_kept = |lane| (before..before + channels).contains(&(block * LANES + lane));
        let keep = std::array::from_fn(|lane| if is_kept(lane) { u32::MAX } else { 0 });
        let high = block.checked_sub(before / LANES);
        let low = block.checked_sub(before / LANES + 1);
        match (source(image, low), source(image, high)) {
            (None, None) => y.fill([0.; LANES]),
            (Some(low), Some(high)) => shift(low, high, before % LANES, &keep, y),
            // Whatever stands for the other half is masked.
            (Some(one), None) | (None, Some(one)) => shift(one, one, before % LANES, &keep, y),
        }
    }
}

multiversion! {
    /// The last `n` lanes of `low`, then the first of `high`, as far as `keep` keeps their bits.
    fn shift(
        low: &[[f32; LANES]],
        high: &[[f32; LANES]],
        n: usize,
        keep: &[u32; LANES],
        y: &mut [[f32; LANES]],
    ) {
        for ((y, low), high) in y.iter_mut().zip(low).zip(high) {
            let mut both = [0.; 2 * LANES];
            both[..LANES].copy_from_slice(low);
            both[LANES..].copy_from_slice(high);
            for ((y, x), keep) in y.iter_mut().zip(&both[LANES - n..][..LANES]).zip(keep) {
                *y = f32::from_bits(x.to_bits() & keep);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;

    const BATCH: usize = 2;
    const PLANE: usize = 6;
    const CHANNELS: [usize; 6] = [1, 3, 16, 17, 21, 40];

    /// Blocked, with NaN in the unused lanes.
    fn image(channels: usize, f: impl Fn(usize, usize, usize) -> f32) -> Vec<f32> {
        let blocks = channels.div_ceil(LANES);
        let element = |i: usize| {
            let (lane, p, block) = (i % LANES, i / LANES % PLANE, i / LANES / PLANE);
            let c = block % blocks * LANES + lane;
            if c < channels { f(block / blocks, c, p) } else { f32::NAN }
        };
        (0..blocked_len(BATCH, channels, PLANE)).map(element).collect()
    }

    fn number(image: usize, channel: usize, p: usize) -> f32 {
        (image * 10_000 + channel * 100 + p) as f32 + 1.
    }

    /// Equal where the expected element is a number.
    #[track_caller]
    fn assert_same(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        let is_same = |(a, b): (&f32, &f32)| a == b || b.is_nan();
        let first = found.iter().zip(expected).position(|pair| !is_same(pair));
        assert_eq!(first, None, "first difference");
    }

    #[test]
    fn spatial() {
        const PLANES: usize = 3;
        let [height, width] = [5, 7];
        let x: Vec<f32> = (0..PLANES * height * width * LANES).map(|i| i as f32).collect();
        let at = |plane, i, j, lane| x[((plane * height + i) * width + j) * LANES + lane];
        let run = |start, step, count| Positions { start, step, count };
        for runs in [
            [run(0, 1, 5), run(0, 1, 7)],
            [run(0, 2, 3), run(1, 2, 3)],
            [run(4, -2, 3), run(6, -1, 7)],
            [run(1, 3, 2), run(2, 1, 4)],
            [run(0, 1, 0), run(2, 1, 4)],
            [run(3, 0, 2), run(6, 9, 1)],
        ] {
            let [rows, columns] = runs;
            let mut expected = Vec::new();
            for row in 0..PLANES * rows.count {
                let (plane, i) = (row / rows.count, row % rows.count);
                for j in 0..columns.count {
                    let lanes = (0..LANES).map(|lane| at(plane, rows.at(i), columns.at(j), lane));
                    expected.extend(lanes);
                }
            }
            let mut y = vec![-1.; expected.len()];
            slice_spatial(&x, PLANES, [height, width], &runs, &mut y);
            assert_eq!(y, expected, "{runs:?}");
        }
        for pads in [[[0, 0], [0, 0]], [[1, 2], [3, 4]], [[0, 3], [1, 0]]] {
            let [h, w] = [pads[0][0] + height + pads[0][1], pads[1][0] + width + pads[1][1]];
            let element = |o: usize| {
                let (lane, j, i) = (o % LANES, o / LANES % w, o / LANES / w % h);
                let i = i.checked_sub(pads[0][0]).filter(|&i| i < height);
                let j = j.checked_sub(pads[1][0]).filter(|&j| j < width);
                i.zip(j).map_or(9., |(i, j)| at(o / LANES / w / h, i, j, lane))
            };
            let expected: Vec<f32> = (0..PLANES * h * w * LANES).map(element).collect();
            let mut y = vec![-1.; expected.len()];
            pad_spatial(&x, PLANES, [height, width], pads, 9., &mut y);
            assert_eq!(y, expected, "{pads:?}");
        }
        let mut y = vec![0.; 4 * LANES];
        pad_spatial(&[], 1, [0, 2], [[1, 1], [0, 0]], 9., &mut y);
        assert_eq!(y, [9.; 4 * LANES]);
    }

    #[test]
    fn joins_channels() {
        for last in CHANNELS {
            let counts = [32, 16, last];
            assert!(can_concat(&counts));
            let starts = [0, 32, 48];
            let pieces = starts.map(|start| move |n, c, p| number(n, c + start, p));
            let pieces: Vec<Vec<f32>> =
                counts.iter().zip(pieces).map(|(&channels, f)| image(channels, f)).collect();
            let named: Vec<(&[f32], usize)> =
                pieces.iter().map(Vec::as_slice).zip(counts).collect();
            let whole = image(48 + last, number);
            let mut y = vec![0.; whole.len()];
            concat_channels(&named, BATCH, PLANE, &mut y);
            assert_same(&y, &whole);
        }
        assert!(!can_concat(&[8, 16]) && can_concat(&[8]) && can_concat(&[]));
    }

    #[test]
    fn pads_channels_at_each_level() {
        for channels in CHANNELS {
            for pads in [[0, 0], [8, 8], [16, 0], [0, 40], [5, 30], [19, 1], [40, 3]] {
                let x = image(channels, number);
                let padded = pads[0] + channels + pads[1];
                let mut expected = image(padded, |n, c, p| match c.checked_sub(pads[0]) {
                    Some(c) if c < channels => number(n, c, p),
                    _ => 0.,
                });
                expected.iter_mut().filter(|x| x.is_nan()).for_each(|x| *x = 0.);
                for (level, y) in at_each_level(|| {
                    let mut y = vec![-1.; expected.len()];
                    pad_channels(&x, BATCH, channels, PLANE, pads, &mut y);
                    y
                }) {
                    assert_eq!(y, expected, "{level:?}, {channels} channels, {pads:?}");
                }
            }
        }
    }
}
