//! [`Labels`]: names beside what they name, off everything else.

use crate::report::document::chart::Anchor;

/// Where names may stand, and what they should not hide.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report::document) struct Labels {
    /// From left to right.
    across: [f64; 2],
    /// From top to bottom.
    down: [f64; 2],
    drawn: Vec<[f64; 2]>,
}

/// Of a bold letter in the widest of the usual fonts.
const WIDE: f64 = 8.2;
const HIGH: f64 = 11.;

impl Labels {
    pub(in crate::report::document) fn new(across: [f64; 2], down: [f64; 2]) -> Labels {
        Labels { across, down, drawn: Vec::new() }
    }

    pub(in crate::report::document) fn note(&mut self, marks: impl IntoIterator<Item = [f64; 2]>) {
        self.drawn.extend(marks);
    }

    pub(in crate::report::document) fn note_line(&mut self, line: &[[f64; 2]]) {
        const STEPS: u8 = 8;
        for pair in line.windows(2) {
            let [from, to] = [pair[0], pair[1]];
            let between = |step: u8| {
                let share = f64::from(step) / f64::from(STEPS);
                [0, 1].map(|axis| from[axis] + share * (to[axis] - from[axis]))
            };
            self.note((0..=STEPS).map(between));
        }
    }

    /// Where on its base line a name for what is at `x`, `y` is held; it hides least there.
    pub(in crate::report::document) fn place(
        &mut self,
        [x, y]: [f64; 2],
        name: &str,
    ) -> ([f64; 2], Anchor) {
        let width = WIDE * name.chars().count() as f64;
        let spots = [
            ([0., -12.], Anchor::Middle),
            ([0., 12. + HIGH], Anchor::Middle),
            ([12., 4.], Anchor::Start),
            ([-12., 4.], Anchor::End),
            ([10., 10. + HIGH], Anchor::Start),
            ([-10., -8.], Anchor::End),
        ]
        .map(|([dx, dy], anchor)| ([x + dx, y + dy], anchor));
        let start = |([x, base], anchor): ([f64; 2], Anchor)| match anchor {
            Anchor::Start => [x, base],
            Anchor::Middle => [x - width / 2., base],
            Anchor::End => [x - width, base],
        };
        let least = spots.into_iter().min_by_key(|&spot| self.hidden(start(spot), width));
        let spot = least.expect("there are six");
        let [left, base] = start(spot);
        let steps = (0..=4_u8).map(|step| left + width * f64::from(step) / 4.);
        self.note(steps.map(|x| [x, base - HIGH / 2.]));
        spot
    }

    /// How much a name of this width would hide; to leave the area is worse than anything.
    fn hidden(&self, [left, base]: [f64; 2], width: f64) -> usize {
        const OUTSIDE: usize = 1_000_000;
        let ([first, last], [top, bottom]) = (self.across, self.down);
        let is_outside = left < first || last < left + width || base - HIGH < top || bottom < base;
        let covers = |[x, y]: &&[f64; 2]| {
            (left - 6. ..left + width + 6.).contains(x)
                && (base - HIGH - 5. ..base + 5.).contains(y)
        };
        OUTSIDE * usize::from(is_outside) + self.drawn.iter().filter(covers).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_off_lines_and_edges() {
        let mut labels = Labels::new([0., 300.], [0., 100.]);
        assert_eq!(labels.place([150., 50.], "ab"), ([150., 38.], Anchor::Middle), "above");
        labels.note_line(&[[100., 50.], [200., 20.]]);
        assert_eq!(labels.place([150., 50.], "ab"), ([150., 73.], Anchor::Middle), "below it");
        assert_eq!(labels.place([299., 50.], "ab"), ([287., 54.], Anchor::End), "at the edge");
    }
}
