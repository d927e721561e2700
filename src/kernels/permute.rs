//! [`permute`]: a copy with the axes in another order.

/// Side of the square tiles that a transposition goes through: a cache line of f32.
const TILE: usize = 16;

/// Length of what is narrower than a tile.
const STRIP: usize = 256;

/// `[shape]` becomes `[shape[perm[0]], shape[perm[1]], ...]`: axis `k` of `y` is axis `perm[k]` of
/// `x`. Elements are copied as they are.
///
/// # Panics
/// If `perm` is not a permutation of the axes, or a length is not the product of `shape`.
pub fn permute<T: Copy>(x: &[T], shape: &[usize], perm: &[usize], y: &mut [T]) {
    assert_eq!(x.len(), shape.iter().product::<usize>(), "`x` has the shape");
    assert_eq!(y.len(), x.len(), "as many elements");
    let mut axes = merged(shape, perm);
    if x.is_empty() {
        return;
    }
    let Some(last) = axes.pop() else { return y.copy_from_slice(x) };
    if last.from == 1 {
        return walk(&axes, 0, 0, &mut |from, to| {
            y[to..][..last.len].copy_from_slice(&x[from..][..last.len]);
        });
    }
    let first =
        axes.iter().position(|axis| axis.from == 1).expect("the innermost axis is somewhere");
    let first = axes.remove(first);
    walk(&axes, 0, 0, &mut |from, to| transpose(&x[from..], &mut y[to..], first, last));
}

/// An axis and how far apart its elements are in `x` and in `y`.
#[derive(Debug, Clone, Copy)]
struct Moved {
    len: usize,
    from: usize,
    to: usize,
}

/// The axes in the order of `y`; without those of length 1, and in one piece what stays together.
fn merged(shape: &[usize], perm: &[usize]) -> Vec<Moved> {
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    assert!(sorted.iter().copied().eq(0..shape.len()), "`perm` has each axis once: {perm:?}");
    let stride = |axis: usize| shape[axis + 1..].iter().product::<usize>();
    let mut axes: Vec<Moved> = Vec::new();
    for &axis in perm.iter().filter(|&&axis| shape[axis] != 1) {
        let next = Moved { len: shape[axis], from: stride(axis), to: 0 };
        match axes.last_mut() {
            Some(last) if last.from == next.len * next.from => {
                *last = Moved { len: last.len * next.len, ..next };
            }
            _ => axes.push(next),
        }
    }
    let mut to = 1;
    for axis in axes.iter_mut().rev() {
        axis.to = to;
        to *= axis.len;
    }
    axes
}

/// Calls `f` with the offsets in `x` and `y` of every index along the axes.
fn walk(axes: &[Moved], from: usize, to: usize, f: &mut impl FnMut(usize, usize)) {
    match axes {
        [] => f(from, to),
        [axis, axes @ ..] => {
            (0..axis.len).for_each(|i| walk(axes, from + i * axis.from, to + i * axis.to, f));
        }
    }
}

/// One plane: `row` is contiguous in `x`, `column` in `y`.
fn transpose<T: Copy>(x: &[T], y: &mut [T], row: Moved, column: Moved) {
    // The longer side of a strip makes the inner loop.
    let [height, width] = match [row.len, column.len] {
        [_, n] if n < TILE => [STRIP, TILE],
        [n, _] if n < TILE => [TILE, STRIP],
        _ => [TILE, TILE],
    };
    for i in (0..row.len).step_by(height) {
        for j in (0..column.len).step_by(width) {
            let (x, y) = (&x[j * column.from + i..], &mut y[i * row.to + j..]);
            match [height.min(row.len - i), width.min(column.len - j)] {
                [TILE, TILE] => full_tile(x, y, row.to, column.from),
                [height, width] if width < height => {
                    for j in 0..width {
                        let y = y[j..].iter_mut().step_by(row.to);
                        y.zip(&x[j * column.from..][..height]).for_each(|(y, x)| *y = *x);
                    }
                }
                [height, width] => {
                    for i in 0..height {
                        let x = x[i..].iter().step_by(column.from);
                        y[i * row.to..][..width].iter_mut().zip(x).for_each(|(y, x)| *y = *x);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn full_tile<T: Copy>(x: &[T], y: &mut [T], y_stride: usize, x_stride: usize) {
    let rows: [&[T; TILE]; TILE] =
        std::array::from_fn(|j| x[j * x_stride..].first_chunk().expect("the tile is inside"));
    for i in 0..TILE {
        let y = y[i * y_stride..].first_chunk_mut::<TILE>().expect("the tile is inside");
        for (y, row) in y.iter_mut().zip(rows) {
            *y = row[i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One element at a time.
    fn plain(x: &[u32], shape: &[usize], perm: &[usize]) -> Vec<u32> {
        let element = |mut o: usize| {
            let mut index = vec![0; shape.len()];
            for &axis in perm.iter().rev() {
                index[axis] = o % shape[axis];
                o /= shape[axis];
            }
            x[index.iter().zip(shape).fold(0, |at, (i, n)| at * n + i)]
        };
        (0..x.len()).map(element).collect()
    }

    #[test]
    fn equals_the_plain_form() {
        let cases: &[(&[usize], &[usize])] = &[
            (&[], &[]),
            (&[5], &[0]),
            (&[2, 0, 3], &[2, 0, 1]),
            (&[1, 1, 1], &[2, 0, 1]),
            // Attention: heads before positions, and the transposed keys.
            (&[21, 12, 32], &[1, 0, 2]),
            (&[21, 12, 32], &[1, 2, 0]),
            (&[2, 7, 3, 17], &[0, 2, 1, 3]),
            (&[2, 7, 3, 17], &[3, 2, 1, 0]),
            (&[2, 7, 3, 17], &[0, 3, 1, 2]),
            (&[2, 3, 5, 4, 3, 2], &[0, 3, 4, 1, 5, 2]),
            (&[1, 40, 1, 33], &[3, 0, 1, 2]),
            (&[64, 48], &[1, 0]),
            (&[16, 1, 16], &[2, 1, 0]),
        ];
        for (shape, perm) in cases {
            let x: Vec<u32> = (0..shape.iter().product::<usize>() as u32).collect();
            let mut y = vec![0; x.len()];
            permute(&x, shape, perm, &mut y);
            assert_eq!(y, plain(&x, shape, perm), "{shape:?} by {perm:?}");
        }
    }

    #[test]
    fn merges_what_stays_together() {
        let lens = |shape: &[usize], perm: &[usize]| -> Vec<usize> {
            merged(shape, perm).iter().map(|axis| axis.len).collect()
        };
        assert_eq!(lens(&[2, 3, 4, 5], &[0, 1, 2, 3]), [120]);
        assert_eq!(lens(&[2, 3, 4, 5], &[2, 3, 0, 1]), [20, 6]);
        assert_eq!(lens(&[2, 1, 4, 5], &[0, 2, 1, 3]), [40]);
        assert_eq!(lens(&[2, 3, 4, 5], &[0, 2, 1, 3]), [2, 4, 3, 5]);
    }
}
