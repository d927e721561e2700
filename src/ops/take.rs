//! [`take_axis`]: picks slices along an axis; what `Gather`, `Slice`, `Tile` and others come down to.

use std::ops::Range;

use crate::dispatch;
use crate::ops::dims::{Along, with_dim};
use crate::tensor::Tensor;

/// The slices of `x` at `picks` along `axis`, in that order.
///
/// # Panics
/// If a pick is out of range.
pub(super) fn take_axis(x: &Tensor, axis: usize, picks: &[usize]) -> Tensor {
    let Along { outer, n, inner } = Along::new(x.shape(), axis);
    let shape = with_dim(x.shape(), axis, picks.len());
    let runs = runs(picks);
    dispatch!(x.dtype(), T => {
        let from = x.slice::<T>();
        let mut taken = Vec::with_capacity(outer * picks.len() * inner);
        for block in from.chunks_exact((n * inner).max(1)).take(outer) {
            if runs.len() * 2 < picks.len() || inner != 1 {
                for run in &runs {
                    taken.extend_from_slice(&block[run.start * inner..run.end * inner]);
                }
            } else {
                taken.extend(picks.iter().map(|&pick| block[pick]));
            }
        }
        Tensor::from_vec(&shape, taken)
    })
}

/// Neighbors in ascending order, put together.
fn runs(picks: &[usize]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for &pick in picks {
        match runs.last_mut() {
            Some(run) if run.end == pick => run.end += 1,
            _ => runs.push(pick..pick + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, Axis};

    use super::*;

    #[test]
    fn agrees_with_ndarray() {
        let x = Array::from_iter(0..60_i32).into_shape_with_order((3, 4, 5)).unwrap().into_dyn();
        let picks: [&[usize]; 5] = [&[0, 1, 2], &[2, 0], &[], &[1, 1, 1, 2], &[2, 1, 0]];
        for picks in picks {
            for axis in 0..3 {
                let expected = Tensor::new(x.select(Axis(axis), picks));
                assert_eq!(take_axis(&Tensor::new(x.clone()), axis, picks), expected);
            }
        }
    }

    #[test]
    fn empty_tensors() {
        for (shape, taken) in [([0, 2, 3], [0, 1, 3]), ([2, 2, 0], [2, 1, 0])] {
            let x = Tensor::full(&shape, 0_f32);
            assert_eq!(take_axis(&x, 1, &[0]).shape(), taken);
        }
        let x = Tensor::full(&[2, 0, 3], 0_f32);
        assert_eq!(take_axis(&x, 1, &[]).shape(), [2, 0, 3]);
    }
}
