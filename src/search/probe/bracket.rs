//! [`Bracket`]: a point that meets a goal, a cheaper one that misses it, and all between them.

use crate::search::SearchError;
use crate::search::probe::Probe;

/// What a probe knows when it says which point is measured next.
#[derive(Debug)]
pub(super) struct Bracket<'a> {
    /// The predicted SQNR of every point, infinite where no noise is expected.
    predicted: &'a [f64],
    wanted: f64,
    /// Meets the goal.
    low: End,
    /// Misses it; one past the last point where that was not measured.
    high: End,
    /// How many evaluations bisection and two more have left, were they to end here.
    left: u32,
}

/// A point that was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct End {
    pub(super) at: usize,
    pub(super) value: f64,
}

/// How many evaluations hybrid may take more than bisection.
const MORE: u32 = 2;

/// The point that meets the goal while the next was measured and misses it, or is no more; `Err` is
/// what the first point has if that misses it already.
///
/// # Panics
/// If there is no point.
pub(super) fn narrow(
    predicted: &[f64],
    wanted: f64,
    probe: &Probe,
    measure: &mut dyn FnMut(usize) -> Result<f64, SearchError>,
) -> Result<Result<End, f64>, SearchError> {
    let n = predicted.len();
    let low = End { at: 0, value: measure(0)? };
    if low.value < wanted {
        return Ok(Err(low.value));
    }
    let mut high = End { at: n, value: f64::NEG_INFINITY };
    if probe.needs_ends && 1 < n {
        high = End { at: n - 1, value: measure(n - 1)? };
        if wanted <= high.value {
            return Ok(Ok(high));
        }
    }
    // Bisection takes at least the whole part of the logarithm.
    let left = (high.at - low.at).ilog2() + MORE;
    let mut bracket = Bracket { predicted, wanted, low, high, left };
    while 1 < bracket.width() {
        let at = (probe.next)(&bracket);
        let end = End { at, value: measure(at)? };
        if wanted <= end.value {
            bracket.low = end;
        } else {
            bracket.high = end;
        }
        bracket.left = bracket.left.saturating_sub(1);
    }
    Ok(Ok(bracket.low))
}

impl Bracket<'_> {
    fn width(&self) -> usize {
        self.high.at - self.low.at
    }

    /// The point after the one that meets the goal.
    pub(super) fn first(&self) -> usize {
        self.low.at + 1
    }

    pub(super) fn middle(&self) -> usize {
        self.low.at + self.width() / 2
    }

    /// The last point inside that is expected to meet the goal, if quality is linear in the
    /// predicted SQNR between the ends; the middle where there is no such line.
    pub(super) fn crossing(&self) -> usize {
        let [low, high] = [self.low, self.high];
        let inside = low.at + 1..high.at;
        let predicted = |at: usize| self.predicted.get(at).copied().unwrap_or(f64::NAN);
        let run = predicted(low.at) - predicted(high.at);
        let rise = low.value - high.value;
        let crossing = predicted(high.at) + run * ((self.wanted - high.value) / rise);
        if !crossing.is_finite() || run <= 0. {
            return self.middle();
        }
        let is_met = |&at: &usize| crossing <= self.predicted[at];
        inside.clone().rev().find(is_met).unwrap_or(inside.start)
    }

    /// The point nearest to the [crossing](Bracket::crossing) from which bisection can end in time
    /// even after the worse outcome.
    ///
    /// Bisection closes a width of `2^n` in `n` evaluations, so no more than that may be left on
    /// either side. The middle always is such a point; going only as far back to it as is needed
    /// keeps the bracket small where the crossing is right.
    pub(super) fn crossing_within_reach(&self) -> usize {
        let reach = 1_usize.checked_shl(self.left.saturating_sub(1)).unwrap_or(usize::MAX);
        let first = self.high.at.saturating_sub(reach).max(self.low.at + 1);
        let last = self.low.at.saturating_add(reach).min(self.high.at - 1);
        // Both hold the middle, as `width <= 2^left`.
        self.crossing().clamp(first.min(last), last)
    }
}
