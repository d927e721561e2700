//! Pictures of a part, one below the other.

use crate::report::document::chart::{Anchor, Chart, STYLE, number};
use crate::report::document::{Format, Part, Report};

pub(super) const FORMAT: Format = Format {
    name: "svg",
    extension: "svg",
    part: Some("curve"),
    shows: |part| part.charts.is_some(),
    write,
};

const WIDTH: f64 = 940.;
const MARGIN: f64 = 16.;

fn write(report: &Report<'_>, parts: &[Part]) -> String {
    let mut pictures = String::new();
    let mut y = MARGIN;
    for part in parts {
        let Some(charts) = part.charts else { continue };
        for chart in charts(report, WIDTH) {
            let mut head = Chart::new("", String::new(), WIDTH);
            head.height = 28.;
            let title = if chart.title.is_empty() { part.title } else { &chart.title };
            head.text("big", [2., 14.], Anchor::Start, title);
            pictures += &head.at([MARGIN, y]);
            pictures += &chart.at([MARGIN, y + head.height]);
            y += head.height + chart.height + MARGIN;
        }
    }
    let (width, height) = (number(WIDTH + 2. * MARGIN), number(y));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n<style>\n{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"var(--bg)\"/>\n{pictures}</svg>\n"
    )
}
