//! The channel-blocked layout of images, `[N, blocks, plane, 16]`, and the ways into and out of it.
//!
//! `plane` is the product of the spatial dimensions. Channel `c` is lane `c % 16` of block `c / 16`;
//! the lanes beyond `C` of the last block are unspecified, though there to be read. Everything here
//! moves bits: a NaN stays the NaN that it is.

use super::simd::{Kernel, LANES, Simd, run};

/// Elements of `[N, C, plane]` in the blocked layout.
pub fn blocked_len(batch: usize, channels: usize, plane: usize) -> usize {
    batch * channels.div_ceil(LANES) * plane * LANES
}

/// `[N, C, plane]` becomes blocked; unused lanes are 0.
///
/// # Panics
/// If a length is not that of its layout.
pub fn to_blocked(x: &[f32], batch: usize, channels: usize, plane: usize, y: &mut [f32]) {
    assert_eq!(x.len(), batch * channels * plane, "`x` is [N, C, plane]");
    assert_eq!(y.len(), blocked_len(batch, channels, plane), "`y` is blocked");
    if !x.is_empty() {
        run(ToBlocked { x, channels, plane, y });
    }
}

/// Blocked becomes `[N, C, plane]`.
///
/// # Panics
/// If a length is not that of its layout.
pub fn to_plain(x: &[f32], batch: usize, channels: usize, plane: usize, y: &mut [f32]) {
    assert_eq!(x.len(), blocked_len(batch, channels, plane), "`x` is blocked");
    assert_eq!(y.len(), batch * channels * plane, "`y` is [N, C, plane]");
    if !x.is_empty() {
        run(ToPlain { x, channels, plane, y });
    }
}

/// Where the tiles of 16 positions start; the last overlaps the one before where it must.
#[inline(always)]
fn tiles(plane: usize) -> impl Iterator<Item = usize> {
    (0..plane).step_by(LANES).map(move |p| p.min(plane - LANES))
}

struct ToBlocked<'a> {
    x: &'a [f32],
    channels: usize,
    plane: usize,
    y: &'a mut [f32],
}

impl Kernel for ToBlocked<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ToBlocked { x, channels, plane, y } = self;
        let images = x.chunks_exact(channels * plane);
        let blocks = images.flat_map(|x| x.chunks(LANES * plane));
        for (x, y) in blocks.zip(y.as_chunks_mut::<LANES>().0.chunks_exact_mut(plane)) {
            match x.len() / plane {
                n if plane < LANES => {
                    for (p, y) in y.iter_mut().enumerate() {
                        *y = [0.; LANES];
                        (0..n).for_each(|c| y[c] = x[c * plane + p]);
                    }
                }
                // Unrolled, the rows stay in registers.
                LANES => block(s, x, LANES, plane, y),
                n => block(s, x, n, plane, y),
            }
        }

        #[inline(always)]
        fn block<S: Simd>(s: S, x: &[f32], n: usize, plane: usize, y: &mut [[f32; LANES]]) {
            for p in tiles(plane) {
                let mut rows = [s.splat(0.); LANES];
                for (c, row) in rows[..n].iter_mut().enumerate() {
                    *row = s.load(x[c * plane + p..].first_chunk().expect("the tile is inside"));
                }
                let columns = s.transpose16(rows);
                let y = y[p..].first_chunk_mut::<LANES>().expect("the tile is inside");
                for (y, column) in y.iter_mut().zip(columns) {
                    s.store(y, column);
                }
            }
        }
    }
}

struct ToPlain<'a> {
    x: &'a [f32],
    channels: usize,
    plane: usize,
    y: &'a mut [f32],
}

impl Kernel for ToPlain<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ToPlain { x, channels, plane, y } = self;
        let images = y.chunks_exact_mut(channels * plane);
        let blocks = images.flat_map(|y| y.chunks_mut(LANES * plane));
        for (x, y) in x.as_chunks::<LANES>().0.chunks_exact(plane).zip(blocks) {
            match y.len() / plane {
                n if plane < LANES => {
                    for (p, x) in x.iter().enumerate() {
                        (0..n).for_each(|c| y[c * plane + p] = x[c]);
                    }
                }
                LANES => block(s, x, LANES, plane, y),
                n => block(s, x, n, plane, y),
            }
        }

        #[inline(always)]
        fn block<S: Simd>(s: S, x: &[[f32; LANES]], n: usize, plane: usize, y: &mut [f32]) {
            for p in tiles(plane) {
                let x = x[p..].first_chunk::<LANES>().expect("the tile is inside");
                let mut columns = [s.splat(0.); LANES];
                for (column, x) in columns.iter_mut().zip(x) {
                    *column = s.load(x);
                }
                let rows = s.transpose16(columns);
                for (c, &row) in rows[..n].iter().enumerate() {
                    let y = y[c * plane + p..].first_chunk_mut().expect("the tile is inside");
                    s.store(y, row);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;

    const BATCH: usize = 2;

    fn counting(n: usize) -> Vec<f32> {
        (0..n).map(|i| i as f32 + 1.).collect()
    }

    /// Of every channel count and plane, where `[N, C, plane]` is in blocked.
    fn for_each_shape(check: impl Fn(usize, usize, &dyn Fn(usize, usize, usize) -> usize)) {
        for channels in [0_usize, 1, 3, 16, 17, 21, 40] {
            for plane in [0, 1, 7, 15, 16, 17, 49, 64] {
                let blocks = channels.div_ceil(LANES);
                check(channels, plane, &|image, c, p| {
                    ((image * blocks + c / LANES) * plane + p) * LANES + c % LANES
                });
            }
        }
    }

    fn expected_blocked(
        x: impl Fn(usize, usize, usize) -> f32,
        channels: usize,
        plane: usize,
        place: &dyn Fn(usize, usize, usize) -> usize,
    ) -> Vec<f32> {
        let mut y = vec![0.; blocked_len(BATCH, channels, plane)];
        for image in 0..BATCH {
            for c in 0..channels {
                (0..plane).for_each(|p| y[place(image, c, p)] = x(image, c, p));
            }
        }
        y
    }

    #[test]
    fn to_blocked_and_back_at_each_level() {
        for_each_shape(|channels, plane, place| {
            let x = counting(BATCH * channels * plane);
            let at = |image, c, p| x[(image * channels + c) * plane + p];
            let mut expected = expected_blocked(at, channels, plane, place);
            for (level, y) in at_each_level(|| {
                let mut y = vec![f32::NAN; expected.len()];
                to_blocked(&x, BATCH, channels, plane, &mut y);
                y
            }) {
                assert_eq!(y, expected, "{level:?}, {channels} channels, plane {plane}");
            }
            expected.iter_mut().filter(|x| **x == 0.).for_each(|x| *x = f32::NAN);
            for (level, y) in at_each_level(|| {
                let mut y = vec![0.; x.len()];
                to_plain(&expected, BATCH, channels, plane, &mut y);
                y
            }) {
                assert_eq!(y, x, "{level:?}, {channels} channels, plane {plane}");
            }
        });
    }
}
