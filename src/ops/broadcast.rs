//! Broadcasting as in numpy: shapes are aligned at the end, a dimension of 1 stretches.

use crate::ops::OpError;
use crate::ops::inputs::Named;
use crate::tensor::{Element, Tensor};

/// The shape that two shapes broadcast to.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim = |shape: &[usize], axis: usize| {
        (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis])
    };
    let joined = (0..rank).map(|axis| match (dim(a, axis), dim(b, axis)) {
        (a, b) if a == b => Some(a),
        (1, b) => Some(b),
        (a, 1) => Some(a),
        _ => None,
    });
    joined.collect()
}

/// The shape that all inputs broadcast to.
pub(super) fn broadcast_all(inputs: &[Named<'_>]) -> Result<Vec<usize>, OpError> {
    let mut shape = Vec::new();
    for input in inputs {
        shape = broadcast(&shape, input.shape())
            .ok_or_else(|| input.wrong_shape(format!("broadcastable with {shape:?}")))?;
    }
    Ok(shape)
}

/// Broadcasts two tensors to `shape` and joins them element by element.
///
/// # Panics
/// If the elements are not of types `A` and `B`, or the shapes do not broadcast to `shape`.
pub(super) fn zip<A: Element, B: Element, O: Element>(
    a: &Tensor,
    b: &Tensor,
    shape: &[usize],
    f: impl Fn(A, B) -> O,
) -> Tensor {
    let rows = Rows::new(shape, [a.shape(), b.shape()]);
    let (a, b) = (a.slice::<A>(), b.slice::<B>());
    let mut joined = Vec::with_capacity(shape.iter().product());
    rows.for_each(|[i, j], steps, n| match steps {
        [1, 1] => joined.extend(a[i..i + n].iter().zip(&b[j..j + n]).map(|(&a, &b)| f(a, b))),
        [1, _] => {
            let b = b[j];
            joined.extend(a[i..i + n].iter().map(|&a| f(a, b)));
        }
        [_, 1] => {
            let a = a[i];
            joined.extend(b[j..j + n].iter().map(|&b| f(a, b)));
        }
        _ => joined.extend(std::iter::repeat_n(f(a[i], b[j]), n)),
    });
    Tensor::from_vec(shape, joined)
}

/// The loops over `N` row-major operands that broadcast to one shape, as few as possible: axes that
/// all operands run through alike are merged. What remains innermost is a row.
#[derive(Debug)]
pub(super) struct Rows<const N: usize> {
    dims: Vec<usize>,
    strides: Vec<[usize; N]>,
}

impl<const N: usize> Rows<N> {
    pub(super) fn new(shape: &[usize], operands: [&[usize]; N]) -> Rows<N> {
        let strides = operands.map(|operand| broadcast_strides(operand, shape.len()));
        let mut rows = Rows { dims: Vec::new(), strides: Vec::new() };
        for (axis, &dim) in shape.iter().enumerate() {
            if dim != 1 {
                rows.push(dim, std::array::from_fn(|k| strides[k][axis]));
            }
        }
        if rows.dims.is_empty() {
            rows.push(1, [0; N]);
        }
        rows
    }

    fn push(&mut self, dim: usize, strides: [usize; N]) {
        if let (Some(outer_dim), Some(outer)) = (self.dims.last_mut(), self.strides.last_mut())
            && (0..N).all(|k| outer[k] == strides[k] * dim)
        {
            *outer_dim *= dim;
            *outer = strides;
        } else {
            self.dims.push(dim);
            self.strides.push(strides);
        }
    }

    /// Calls `row` with the operands' offsets, their steps within the row (0 or 1), and its length.
    pub(super) fn for_each(&self, mut row: impl FnMut([usize; N], [usize; N], usize)) {
        let last = self.dims.len() - 1;
        let n = self.dims[last];
        let n_rows = if n == 0 { 0 } else { self.dims[..last].iter().product() };
        for row_idx in 0..n_rows {
            let mut rest = row_idx;
            let mut offsets = [0; N];
            for (&dim, strides) in self.dims[..last].iter().zip(&self.strides).rev() {
                for (offset, stride) in offsets.iter_mut().zip(strides) {
                    *offset += rest % dim * stride;
                }
                rest /= dim;
            }
            row(offsets, self.strides[last], n);
        }
    }
}

/// Strides of an operand along the axes of the shape it broadcasts to: 0 where it is stretched.
fn broadcast_strides(operand: &[usize], rank: usize) -> Vec<usize> {
    let mut strides = vec![0; rank];
    let mut stride = 1;
    for (slot, &dim) in strides.iter_mut().rev().zip(operand.iter().rev()) {
        *slot = if dim == 1 { 0 } else { stride };
        stride *= dim;
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        assert_eq!(broadcast(&[2, 3], &[3]), Some(vec![2, 3]));
        assert_eq!(broadcast(&[2, 1], &[1, 3]), Some(vec![2, 3]));
        assert_eq!(broadcast(&[], &[0]), Some(vec![0]));
        assert_eq!(broadcast(&[1], &[0]), Some(vec![0]));
        assert_eq!(broadcast(&[2], &[0]), None);
        assert_eq!(broadcast(&[2], &[3]), None);
    }

    #[test]
    fn axes_are_merged() {
        let rows = Rows::new(&[2, 3, 4, 5], [&[2, 3, 4, 5], &[3, 1, 1]]);
        assert_eq!((rows.dims, rows.strides), (vec![2, 3, 20], vec![[60, 0], [20, 1], [1, 0]]));
        let rows = Rows::new(&[2, 3, 4], [&[2, 3, 4], &[2, 3, 4]]);
        assert_eq!((rows.dims, rows.strides), (vec![24], vec![[1, 1]]));
    }

    #[test]
    fn agrees_with_ndarray() {
        let shapes: [[&[usize]; 3]; 6] = [
            [&[2, 3, 4], &[3, 1], &[2, 3, 4]],
            [&[2, 1, 4], &[2, 3, 1], &[2, 3, 4]],
            [&[], &[2, 3], &[2, 3]],
            [&[5], &[], &[5]],
            [&[1, 1], &[1], &[1, 1]],
            [&[3, 0], &[1], &[3, 0]],
        ];
        for [a, b, shape] in shapes {
            let count = |shape: &[usize]| {
                let n: usize = shape.iter().product();
                Tensor::from_vec(shape, (1..=n as i64).collect())
            };
            let (a, b) = (count(a), count(b));
            let wide = |x: &Tensor| x.view::<i64>().broadcast(shape).unwrap().to_owned();
            let expected = wide(&a) * 1000 + wide(&b);
            let found = zip(&a, &b, shape, |a: i64, b: i64| a * 1000 + b);
            assert_eq!(found, Tensor::new(expected));
        }
    }
}
