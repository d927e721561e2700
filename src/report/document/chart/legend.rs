//! The legend above a picture.

use crate::report::document::chart::{Anchor, Chart, Shape};

/// What stands before the words.
#[derive(Debug, Clone, Copy)]
pub(in crate::report::document) enum Key {
    Mark(&'static str, Shape),
    /// A line with a mark on it.
    Line(&'static str, &'static str),
    Swatch(&'static str),
    Dash(&'static str),
}

const LINE: f64 = 20.;

/// Draws from the top of the chart, in as many lines as it takes; gives where it ends.
pub(in crate::report::document) fn legend(chart: &mut Chart, keys: &[(Key, String)]) -> f64 {
    const WIDE: f64 = 6.6;
    let (mut x, mut y) = (2., 12.);
    for (key, text) in keys {
        let width = 26. + WIDE * text.chars().count() as f64 + 14.;
        if chart.width < x + width - 14. && 2. < x {
            (x, y) = (2., y + LINE);
        }
        let middle = [x + 10., y];
        match *key {
            Key::Mark(class, shape) => chart.mark(class, shape, middle, 4.),
            Key::Line(line, dot) => {
                chart.line(line, [x, y], [x + 20., y]);
                chart.mark(dot, Shape::Circle, middle, 3.);
            }
            Key::Swatch(class) => chart.rect(class, [x + 3., y - 7.], [14., 14.]),
            Key::Dash(class) => chart.line(class, [x, y], [x + 20., y]),
        }
        chart.text("soft", [x + 26., y + 4.], Anchor::Start, text);
        x += width;
    }
    y + LINE - 4.
}
