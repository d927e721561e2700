//! Matrix product with one side packed once: rows of `x` times a packed `w`, or a stack of them.

use std::ops::Range;

use super::simd::LANES;
use super::tile::{Blocks, Filters, Run, Tap, panels, tiles};

/// `y = x * w + bias`, clamped: `x` is `[rows, depth]` at a distance of `x_step`, `w` is
/// `[depth, columns]` packed, `y` is `[rows, columns]` at a distance of `y_step`.
#[derive(Debug, Clone, Copy)]
pub struct Gemm {
    pub rows: usize,
    pub depth: usize,
    pub columns: usize,
    pub x_step: usize,
    pub y_step: usize,
}

/// Rows of `x` that are multiplied with all of `w` before the next ones: a quarter of a usual
/// second-level cache.
const BAND_BYTES: usize = 1 << 18;

/// Is given a part of `y`, the row and column where it begins, and how many columns wide it is.
pub type Finish<'a> = &'a mut dyn FnMut(&mut [f32], usize, usize, usize);

/// Elements of a packed matrix.
pub fn packed_len(depth: usize, columns: usize) -> usize {
    columns.div_ceil(LANES) * depth * LANES
}

/// Packs `w`, whose element `[k, n]` stands at `k * strides[0] + n * strides[1]`, as
/// `[block of columns][depth][16]`, filled up with zeros.
///
/// # Panics
/// If an operand is too short.
pub fn pack(w: &[f32], depth: usize, columns: usize, strides: [usize; 2], packed: &mut [f32]) {
    let packed = &mut packed[..packed_len(depth, columns)];
    if packed.is_empty() {
        return;
    }
    let last = (depth - 1) * strides[0] + (columns - 1) * strides[1];
    assert!(last < w.len(), "`w` holds the matrix");
    for (block, packed) in packed.chunks_exact_mut(depth * LANES).enumerate() {
        let first = block * LANES;
        let width = (columns - first).min(LANES);
        if strides[1] == 1 {
            for (k, to) in packed.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                let from = &w[k * strides[0] + first..][..width];
                if width < LANES {
                    to[width..].fill(0.);
                }
                to[..width].copy_from_slice(from);
            }
            continue;
        }
        if width < LANES {
            packed.fill(0.);
        }
        for n in 0..width {
            let from = w[(first + n) * strides[1]..].iter().step_by(strides[0]);
            let to = packed[n..].iter_mut().step_by(LANES);
            to.zip(from.take(depth)).for_each(|(to, &from)| *to = from);
        }
    }
}

impl Gemm {
    /// `bias` is filled up to whole blocks or empty; `finish` is called with parts of `y`, `[rows,
    /// width]`, soon after they were computed: the part, its first row and column, and its width.
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
        mut finish: Option<Finish<'_>>,
    ) {
        let Gemm { rows, depth, columns, x_step, y_step } = *self;
        if rows == 0 || columns == 0 {
            return;
        }
        let n_blocks = columns.div_ceil(LANES);
        let filters = Filters { w, block: depth * LANES, bias, clamp };
        let taps = [Tap { x: 0, w: 0, len: depth }];
        let most = (BAND_BYTES / (4 * depth).max(1)).max(24);
        let n_bands = rows.div_ceil(most);
        for band in 0..n_bands {
            let [start, end] = [band, band + 1].map(|i| i * rows / n_bands);
            let run =
                Run { x: start * x_step, x_step, y: start * y_step, y_step, count: end - start };
            for (first, count) in panels(n_blocks) {
                let blocks = Blocks { first, count, step: LANES, channels: columns };
                tiles(x, &taps, &[run], &filters, &blocks, y);
                if let Some(finish) = &mut finish {
                    let columns = first * LANES..((first + count) * LANES).min(columns);
                    finish_rows(y, y_step, start..end, columns, finish);
                }
            }
        }
    }
}

/// Elements that are handed on at once.
const PART: usize = 1024;

/// Hands on some columns of `y`, a few rows at a time, side by side in memory.
fn finish_rows(
    y: &mut [f32],
    y_step: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    finish: Finish<'_>,
) {
    let width = columns.len();
    let most = (PART / width).max(1);
    let mut part = [0.; PART];
    for first in rows.clone().step_by(most) {
        let n_rows = most.min(rows.end - first);
        let part = &mut part[..n_rows * width];
        let at = |row: usize| (first + row) * y_step + columns.start;
        for (row, part) in part.chunks_exact_mut(width).enumerate() {
            part.copy_from_slice(&y[at(row)..][..width]);
        }
        finish(part, first, columns.start, width);
        for (row, part) in part.chunks_exact(width).enumerate() {
            y[at(row)..][..width].copy_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;

    const NONE: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

    fn wave(n: usize, step: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * step).sin()).collect()
    }

    /// Against index loops in f64: a chain of `depth` roundings is off by at most as many units of
    /// 2^-24 of the sum of magnitudes.
    fn check(gemm: &Gemm, is_transposed: bool, has_bias: bool) {
        let Gemm { rows, depth, columns, x_step, y_step } = *gemm;
        let (x, w) = (wave(rows * x_step, 0.7), wave(depth * columns, 0.3));
        let strides = if is_transposed { [1, depth] } else { [columns, 1] };
        let bias = if has_bias { wave(columns.next_multiple_of(LANES), 0.9) } else { Vec::new() };
        let y_len = if rows == 0 { 0 } else { (rows - 1) * y_step + columns };
        let found = at_each_level(|| {
            let mut packed = vec![f32::NAN; packed_len(depth, columns)];
            pack(&w, depth, columns, strides, &mut packed);
            assert!(packed.iter().all(|w| !w.is_nan()), "{gemm:?} packs zeros behind the columns");
            let (mut y, mut finished) = (vec![7.; y_len], vec![0; y_len]);
            let mut finish = |part: &mut [f32], row: usize, column: usize, width: usize| {
                for i in 0..part.len() {
                    finished[(row + i / width) * y_step + column + i % width] += 1;
                }
                part.iter_mut().for_each(|y| *y += 100.);
            };
            gemm.run(&x, &packed, &bias, NONE, &mut y, Some(&mut finish));
            for (i, n) in finished.into_iter().enumerate() {
                assert_eq!(n, usize::from(i % y_step < columns), "{gemm:?} finishes {i} once");
            }
            let mut alone = vec![7.; y_len];
            gemm.run(&x, &packed, &bias, NONE, &mut alone, None);
            let added: Vec<f32> = alone
                .iter()
                .enumerate()
                .map(|(i, y)| if i % y_step < columns { y + 100. } else { *y })
                .collect();
            assert_eq!(y, added, "{gemm:?} with `finish`");
            alone
        });
        for (level, y) in &found {
            assert_eq!(y, &found[0].1, "{level:?}, {gemm:?}");
        }
        for (i, &y) in found[0].1.iter().enumerate() {
            let (row, column) = (i / y_step, i % y_step);
            if columns <= column {
                assert_eq!(y, 7., "{gemm:?} leaves alone what is between rows");
                continue;
            }
            let products = (0..depth).map(|k| {
                let w = w[k * strides[0] + column * strides[1]];
                f64::from(x[row * x_step + k]) * f64::from(w)
            });
            let products = products.chain(bias.get(column).map(|&bias| f64::from(bias)));
            let (sum, magnitude) =
                products.fold((0., 0.), |(sum, magnitude), x| (sum + x, magnitude + x.abs()));
            let bound = magnitude * depth as f64 / 2_f64.powi(24);
            assert!((f64::from(y) - sum).abs() <= bound, "{y} for {sum} at {i}, {gemm:?}");
        }
    }

    #[test]
    fn every_size() {
        for rows in [0, 1, 5, 13, 30] {
            for (depth, columns) in [0, 1, 7, 40]
                .into_iter()
                .flat_map(|depth| [0, 1, 15, 16, 17, 70].map(|columns| (depth, columns)))
            {
                let gemm = Gemm { rows, depth, columns, x_step: depth, y_step: columns.max(1) };
                check(&gemm, false, true);
                check(&gemm, true, false);
                let gemm = Gemm { x_step: depth + 2, y_step: columns + 3, ..gemm };
                check(&gemm, false, false);
                check(&gemm, true, true);
            }
        }
    }

    #[test]
    fn rows_in_bands() {
        let gemm = Gemm { rows: 60, depth: 3000, columns: 18, x_step: 3000, y_step: 18 };
        check(&gemm, false, true);
    }

    #[test]
    fn clamps_and_passes_on_nan() {
        let gemm = Gemm { rows: 3, depth: 1, columns: 1, x_step: 1, y_step: 1 };
        let mut packed = vec![0.; packed_len(1, 1)];
        pack(&[1.], 1, 1, [1, 1], &mut packed);
        let mut y = [0.; 3];
        gemm.run(&[f32::NAN, -3., 3.], &packed, &[], [-1., 2.], &mut y, None);
        assert!(y[0].is_nan());
        assert_eq!(y[1..], [-1., 2.]);
    }

    #[test]
    fn operands_that_are_too_short_are_refused() {
        let gemm = Gemm { rows: 5, depth: 3, columns: 20, x_step: 4, y_step: 21 };
        let full = [4 * 4 + 3, packed_len(3, 20), 2 * LANES, 4 * 21 + 20];
        let run = |[x, w, bias, y]: [usize; 4]| {
            let (x, w, bias, mut y) = (wave(x, 0.1), wave(w, 0.1), wave(bias, 0.1), wave(y, 0.1));
            std::panic::catch_unwind(move || gemm.run(&x, &w, &bias, NONE, &mut y, None)).is_ok()
        };
        assert!(run(full));
        for operand in 0..full.len() {
            let mut short = full;
            short[operand] -= 1;
            assert!(!run(short), "operand {operand} is one too short");
        }
    }
}
