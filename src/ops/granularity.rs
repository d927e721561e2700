//! [`Granularity`]: which scale an element belongs to: that of the tensor, of its place along an axis, or
//! of its block.

use std::ops::Range;

use crate::ops::OpError;
use crate::ops::dims::{Along, axis_attribute, with_dim};
use crate::ops::inputs::Named;

/// How scales lie over a tensor.
#[derive(Debug, Clone, Copy)]
pub(super) enum Granularity {
    Tensor,
    Axis(Along),
    /// Blocks of `size` along an axis; the last may be shorter.
    Blocks {
        along: Along,
        size: usize,
    },
}

impl Granularity {
    /// From the shape of the scales; `axis` counts only where there is more than one of them.
    pub(super) fn new(
        x: &[usize],
        scale: &Named<'_>,
        axis: i64,
        block_size: usize,
    ) -> Result<Granularity, OpError> {
        if scale.rank() <= 1 && scale.ty().len() == 1 {
            return Ok(Granularity::Tensor);
        }
        let along = axis_attribute("axis", axis, x.len())?;
        if block_size == 0 {
            if scale.shape() != [x[along]] {
                let expected = format!("[] or [{}], one per place along axis {along}", x[along]);
                return Err(scale.wrong_shape(expected));
            }
            return Ok(Granularity::Axis(Along::new(x, along)));
        }
        let expected = with_dim(x, along, x[along].div_ceil(block_size));
        if scale.shape() != expected {
            let expected = format!("{expected:?}, blocks of {block_size} along axis {along}");
            return Err(scale.wrong_shape(expected));
        }
        Ok(Granularity::Blocks { along: Along::new(x, along), size: block_size })
    }

    /// Calls `run` with the number of a scale and elements that it belongs to, `len` of them in order.
    pub(super) fn for_each_run(self, len: usize, mut run: impl FnMut(usize, Range<usize>)) {
        match self {
            Granularity::Tensor => run(0, 0..len),
            Granularity::Axis(Along { n, inner, .. }) => {
                for (row, start) in (0..len).step_by(inner.max(1)).enumerate() {
                    run(row % n, start..start + inner);
                }
            }
            Granularity::Blocks { along: Along { outer, n, inner }, size } => {
                let n_blocks = n.div_ceil(size);
                for row in 0..outer * n {
                    let first = (row / n * n_blocks + row % n / size) * inner;
                    for i in 0..inner {
                        run(first + i, row * inner + i..row * inner + i + 1);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scales(granularity: Granularity, len: usize) -> Vec<usize> {
        let mut scales = vec![usize::MAX; len];
        granularity.for_each_run(len, |scale, range| scales[range].fill(scale));
        scales
    }

    #[test]
    fn the_scale_of_each_element() {
        assert_eq!(scales(Granularity::Tensor, 3), [0, 0, 0]);
        let axis = |axis| Granularity::Axis(Along::new(&[2, 2, 2], axis));
        assert_eq!(scales(axis(1), 8), [0, 0, 1, 1, 0, 0, 1, 1]);
        assert_eq!(scales(axis(2), 8), [0, 1, 0, 1, 0, 1, 0, 1]);
        let blocks = |shape: &[usize], axis, size| Granularity::Blocks {
            along: Along::new(shape, axis),
            size,
        };
        assert_eq!(scales(blocks(&[2, 3], 1, 2), 6), [0, 0, 1, 2, 2, 3]);
        assert_eq!(scales(blocks(&[3, 2], 0, 2), 6), [0, 1, 0, 1, 2, 3]);
        assert!(scales(Granularity::Axis(Along::new(&[0, 3], 1)), 0).is_empty());
        assert!(scales(Granularity::Axis(Along::new(&[3, 0], 0)), 0).is_empty());
    }
}
