//! Axes and sizes: the checks that several operators share.

use crate::ops::generate::expect_single;
use crate::ops::{Inputs, OpError};
use crate::tensor::{DType, TensorType};

/// The axis that an attribute names, counted from the end if negative.
pub(super) fn axis_attribute(name: &str, axis: i64, rank: usize) -> Result<usize, OpError> {
    resolve(axis, rank).ok_or_else(|| OpError::invalid_attribute(name, axis, axis_range(rank)))
}

/// The axes that an input lists, in its order; each may appear once.
pub(super) fn axes_input(name: &str, axes: &[i64], rank: usize) -> Result<Vec<usize>, OpError> {
    let mut resolved = Vec::with_capacity(axes.len());
    for &axis in axes {
        let axis_idx = resolve(axis, rank)
            .ok_or_else(|| OpError::value(name, axis, format!("axes {}", axis_range(rank))))?;
        if resolved.contains(&axis_idx) {
            return Err(OpError::value(name, format!("{axes:?}"), "distinct axes"));
        }
        resolved.push(axis_idx);
    }
    Ok(resolved)
}

/// The position that an index means in `0..n`, counted from the end if negative.
pub(super) fn resolve(index: i64, n: usize) -> Option<usize> {
    let n = i64::try_from(n).ok()?;
    let resolved = if index < 0 { index.checked_add(n)? } else { index };
    usize::try_from(resolved).ok().filter(|_| resolved < n)
}

/// The sizes that an input lists.
pub(super) fn sizes_input(name: &str, sizes: &[i64]) -> Result<Vec<usize>, OpError> {
    let sizes_or_none = sizes.iter().map(|&size| usize::try_from(size).ok()).collect();
    let sizes_or_none: Option<Vec<usize>> = sizes_or_none;
    sizes_or_none.ok_or_else(|| OpError::value(name, format!("{sizes:?}"), "no negative size"))
}

/// The size that an input of one integer gives, if it is at least `least`.
pub(super) fn size_input(
    inputs: &Inputs<'_>,
    position: usize,
    name: &'static str,
    least: usize,
) -> Result<usize, OpError> {
    let input = inputs.require(position, name)?;
    input.expect_dtype_that(|d| matches!(d, DType::I32 | DType::I64), "int32 or int64")?;
    expect_single(&input)?;
    let found = input.i64s()?[0];
    let size = usize::try_from(found).ok().filter(|&size| least <= size);
    size.ok_or_else(|| OpError::value(name, found, format!("at least {least}")))
}

/// The type, if its elements can be addressed.
pub(super) fn checked_type(dtype: DType, shape: Vec<usize>) -> Result<TensorType, OpError> {
    let ty = TensorType { dtype, shape };
    if !ty.is_addressable() {
        let dims: Vec<String> = ty.shape.iter().map(usize::to_string).collect();
        return Err(OpError::TooLarge { found: dims.join(" x ") });
    }
    Ok(ty)
}

/// A shape seen from one axis: how many elements before, along and after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Along {
    pub(super) outer: usize,
    pub(super) n: usize,
    pub(super) inner: usize,
}

impl Along {
    pub(super) fn new(shape: &[usize], axis: usize) -> Along {
        Along {
            outer: shape[..axis].iter().product(),
            n: shape[axis],
            inner: shape[axis + 1..].iter().product(),
        }
    }
}

/// `shape` with the dimension at `axis` replaced.
pub(super) fn with_dim(shape: &[usize], axis: usize, dim: usize) -> Vec<usize> {
    let mut shape = shape.to_vec();
    shape[axis] = dim;
    shape
}

/// The row-major strides, in elements.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

fn axis_range(rank: usize) -> String {
    match rank {
        0 => "none, as the input has rank 0".to_owned(),
        _ => format!("from -{rank} to {}", rank - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_count_from_the_end() {
        assert_eq!(resolve(-1, 3), Some(2));
        assert_eq!(resolve(2, 3), Some(2));
        assert_eq!(resolve(3, 3), None);
        assert_eq!(resolve(-4, 3), None);
        assert_eq!(resolve(0, 0), None);
        assert_eq!(resolve(i64::MIN, 3), None);
    }

    #[test]
    fn sizes_are_checked() {
        let huge = usize::MAX / 2;
        let error = checked_type(DType::F32, vec![huge, 4]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the output would have 9223372036854775807 x 4 elements, more than can be addressed"
        );
        assert!(checked_type(DType::I8, vec![huge, 4, 0]).is_err());
        assert!(checked_type(DType::F32, vec![0, 4]).is_ok());
    }
}
