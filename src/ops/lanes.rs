//! Lanes: the elements of a tensor along one axis, for operators that treat each lane alone.

use crate::ops::OpError;

/// The axis that a value of the attribute `name` means; negative ones count from the end.
pub(super) fn resolve_axis(name: &str, axis: i64, rank: usize) -> Result<usize, OpError> {
    let last = rank as i64 - 1;
    if !(-last - 1..=last).contains(&axis) {
        let expected = format!("{} to {last} for rank {rank}", -last - 1);
        return Err(OpError::invalid_attribute(name, axis, expected));
    }
    Ok(axis.rem_euclid(rank as i64) as usize)
}

/// Gives every lane of `x` along `axis` to `f`, as a contiguous slice.
pub(super) fn for_each_lane<T: Copy + Default>(
    x: &mut [T],
    shape: &[usize],
    axis: usize,
    mut f: impl FnMut(&mut [T]),
) {
    let (length, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    if x.is_empty() {
        return;
    }
    if inner == 1 {
        return x.chunks_exact_mut(length).for_each(f);
    }
    let mut lane = vec![T::default(); length];
    for block in x.chunks_exact_mut(length * inner) {
        for i in 0..inner {
            let from = block[i..].iter().step_by(inner);
            lane.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
            f(&mut lane);
            let to = block[i..].iter_mut().step_by(inner);
            to.zip(&lane).for_each(|(to, &from)| *to = from);
        }
    }
}
