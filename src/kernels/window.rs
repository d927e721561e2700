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

    /// The inputs that some of the outputs read, and the axis of these alone.
    pub fn part(&self, outputs: Range<usize>) -> (Range<usize>, Axis) {
        let first = outputs.start * self.stride;
        let end = outputs
            .len()
            .checked_sub(1)
            .map_or(first, |last| first + last * self.stride + self.extent());
        let [start, end_inside] =
            [first, end].map(|padded| padded.saturating_sub(self.pads[0]).min(self.input));
        let pads =
            [self.pads[0].saturating_sub(first), end.saturating_sub(self.pads[0] + self.input)];
        let part = Axis { input: end_inside - start, output: outputs.len(), pads, ..*self };
        (start..end_inside, part)
    }

    /// Whether the window is one element that moves by one, without padding.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.pads == [0, 0] && self.input == self.output
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// With as many outputs as fit.
    pub(in super::super) fn axis(
        input: usize,
        kernel: usize,
        stride: usize,
        dilation: usize,
        pads: [usize; 2],
    ) -> Axis {
        let room = (input + pads[0] + pads[1]).checked_sub((kernel - 1) * dilation + 1);
        let output = room.map_or(0, |room| room / stride + 1);
        Axis { input, output, kernel, stride, dilation, pads }
    }

    #[test]
    fn parts_read_what_the_whole_reads() {
        for axes in geometries() {
            for whole in axes {
                for start in 0..whole.output {
                    for end in start + 1..=whole.output {
                        let (inputs, part) = whole.part(start..end);
                        for (o, k) in
                            (0..end - start).flat_map(|o| (0..whole.kernel).map(move |k| (o, k)))
                        {
                            let source = part.source(o, k).map(|source| source + inputs.start);
                            assert_eq!(
                                source,
                                whole.source(start + o, k),
                                "{whole:?}, {start}..{end}"
                            );
                        }
                    }
                }
            }
        }
    }

    /// Windows of one to three dimensions that differ in all that a kernel may get wrong.
    pub(in super::super) fn geometries() -> Vec<[Axis; 3]> {
        let one = Axis::UNIT;
        vec![
            [one, one, axis(11, 3, 1, 1, [1, 1])],
            [one, one, axis(40, 1, 1, 1, [0, 0])],
            [one, one, axis(9, 1, 3, 1, [0, 0])],
            [one, axis(6, 3, 1, 1, [1, 1]), axis(30, 3, 1, 1, [1, 1])],
            [one, axis(7, 3, 2, 1, [0, 1]), axis(8, 3, 2, 1, [1, 0])],
            [one, axis(9, 2, 3, 2, [3, 0]), axis(10, 3, 1, 3, [2, 4])],
            [one, axis(30, 5, 1, 1, [2, 2]), axis(4, 5, 1, 1, [2, 2])],
            // Outputs that see only padding, some along one axis, some along two.
            [one, axis(2, 2, 1, 1, [3, 4]), axis(3, 2, 1, 1, [5, 3])],
            [one, axis(3, 1, 2, 1, [20, 1]), axis(1, 2, 1, 2, [0, 25])],
            // Windows larger than the input.
            [one, axis(2, 5, 1, 1, [2, 2]), axis(3, 4, 1, 2, [3, 3])],
            // No output, no input.
            [one, axis(2, 5, 1, 1, [0, 0]), axis(4, 1, 1, 1, [0, 0])],
            [one, axis(4, 1, 1, 1, [0, 0]), axis(2, 5, 1, 1, [1, 0])],
            [one, axis(0, 1, 1, 1, [1, 2]), axis(4, 2, 1, 1, [0, 0])],
            [one, axis(3, 2, 1, 1, [0, 0]), axis(0, 1, 1, 1, [2, 30])],
            [axis(3, 2, 1, 1, [1, 0]), axis(4, 3, 2, 1, [1, 1]), axis(5, 2, 1, 3, [0, 1])],
            [axis(5, 3, 2, 2, [2, 1]), axis(2, 1, 1, 1, [0, 0]), axis(3, 3, 1, 1, [1, 1])],
        ]
    }

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
