//! [`Axis`]: how a window slides along one spatial axis.

use std::ops::Range;

/// Geometry along one axis: tap `k` of output `o` reads input `o * stride + k * dilation - pad`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    pub input: usize,
    pub output: usize,
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    /// Padding before the first input element and after the last.
    pub pads: [usize; 2],
}

impl Axis {
    /// An axis of length 1, for operators of fewer dimensions.
    pub const UNIT: Axis =
        Axis { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, pads: [0, 0] };

    /// The input element that tap `k` of output `o` reads; `None` in the padding.
    #[inline(always)]
    pub fn source(&self, o: usize, k: usize) -> Option<usize> {
        let padded = o * self.stride + k * self.dilation;
        padded.checked_sub(self.pads[0]).filter(|&source| source < self.input)
    }

    /// The outputs whose tap `k` reads the input, not the padding.
    pub fn inside(&self, k: usize) -> Range<usize> {
        let (tap, begin) = (k * self.dilation, self.pads[0]);
        let end = (self.input + begin).saturating_sub(tap).div_ceil(self.stride).min(self.output);
        let start = begin.saturating_sub(tap).div_ceil(self.stride);
        start.min(end)..end
    }

    /// [`Axis::inside`] of every tap.
    pub(super) fn all_inside(&self) -> Vec<Range<usize>> {
        (0..self.kernel).map(|k| self.inside(k)).collect()
    }

    /// The length of input that one window spans.
    pub fn extent(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    /// Whether the window is one element that moves by one, without padding.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.pads == [0, 0] && self.input == self.output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_agrees_with_source() {
        for (input, kernel, stride, dilation, begin) in
            [(5, 3, 1, 1, 1), (5, 3, 2, 1, 1), (7, 2, 3, 2, 4), (1, 3, 1, 2, 2), (0, 1, 1, 1, 2)]
        {
            let pads = [begin, 3];
            let axis = Axis { input, output: 6, kernel, stride, dilation, pads };
            for k in 0..kernel {
                let inside: Vec<usize> =
                    (0..axis.output).filter(|&o| axis.source(o, k).is_some()).collect();
                assert_eq!(axis.inside(k).collect::<Vec<_>>(), inside, "{axis:?}, tap {k}");
            }
        }
    }
}
