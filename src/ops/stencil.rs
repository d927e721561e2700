//! Values at points between elements: which elements of a plane count there, and how much.

/// Positions along one axis and their weights.
pub(super) type Taps = Vec<(usize, f64)>;

/// The element before `x` and the one after it; `place` says where an index lies, if anywhere.
pub(super) fn linear(x: f64, place: impl Fn(i64) -> Option<usize>) -> Taps {
    let after = x - x.floor();
    neighbors(x, 0, &[1. - after, after], place)
}

/// Four elements, weighted by Keys' cubic with a = -0.75.
pub(super) fn cubic(x: f64, place: impl Fn(i64) -> Option<usize>) -> Taps {
    let after = x - x.floor();
    let near = |t: f64| (1.25 * t - 2.25) * t * t + 1.;
    let far = |t: f64| ((-0.75 * t + 3.75) * t - 6.) * t + 3.;
    neighbors(x, -1, &[far(1. + after), near(after), near(1. - after), far(2. - after)], place)
}

fn neighbors(x: f64, first: i64, weights: &[f64], place: impl Fn(i64) -> Option<usize>) -> Taps {
    // A cast saturates, and NaN becomes 0: the weights carry it on.
    let base = (x.floor() as i64).saturating_add(first);
    let tap = |(i, &weight)| Some((place(base.saturating_add(i))?, weight));
    (0..).zip(weights).filter_map(tap).collect()
}

/// The taps in a row-major plane of shape `dims`, from those along each axis.
pub(super) fn over_plane(axes: &[Taps], dims: &[usize]) -> Taps {
    axes.iter().zip(dims).fold(vec![(0, 1.)], |plane, (taps, &dim)| {
        let cross = plane.iter().flat_map(|&(start, outer)| {
            taps.iter().map(move |&(i, weight)| (start * dim + i, outer * weight))
        });
        cross.collect()
    })
}

/// The weighted sum over the elements of a plane.
pub(super) fn value(taps: &[(usize, f64)], plane: &[f64]) -> f64 {
    taps.iter().map(|&(i, weight)| weight * plane[i]).sum()
}

/// The place of an index that is inside `0..n`.
pub(super) fn inside(i: i64, n: usize) -> Option<usize> {
    usize::try_from(i).ok().filter(|&i| i < n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one() {
        let anywhere = |i: i64| usize::try_from(i).ok();
        for x in [1., 1.25, 1.5, 1.9375] {
            for taps in [linear(x, anywhere), cubic(x, anywhere)] {
                assert_eq!(taps.iter().map(|(_, weight)| weight).sum::<f64>(), 1., "{x}: {taps:?}");
            }
        }
        assert_eq!(cubic(1., anywhere), [(0, 0.), (1, 1.), (2, 0.), (3, 0.)]);
        assert_eq!(linear(0.25, anywhere), [(0, 0.75), (1, 0.25)]);
    }

    #[test]
    fn far_away_is_nowhere() {
        for x in [f64::NEG_INFINITY, -1e30, -1., 3., 1e30, f64::INFINITY] {
            let taps = linear(x, |i| inside(i, 3));
            assert!(
                taps.iter().all(|(_, weight)| *weight == 0. || weight.is_nan()),
                "{x}: {taps:?}"
            );
        }
    }

    #[test]
    fn planes() {
        let taps = over_plane(&[vec![(1, 0.5), (2, 0.5)], vec![(3, 1.)]], &[3, 4]);
        assert_eq!(taps, [(7, 0.5), (11, 0.5)]);
        assert_eq!(value(&taps, &[2.; 12]), 2.);
        assert_eq!(over_plane(&[], &[]), [(0, 1.)]);
    }
}
