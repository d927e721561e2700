//! [`Chart`]: a picture as SVG text, of an alphabet of a few shapes. Colors are classes of `chart.css`.

mod bands;
mod labels;
mod legend;
mod scale;
mod text;

use std::fmt::Write as _;

pub(super) use bands::Bands;
pub(super) use labels::Labels;
pub(super) use legend::{Key, legend};
pub(super) use scale::Scale;
pub(super) use text::{escape, is_hidden, shorten};

use crate::quant::Bits;

/// Colors of the classes, light, dark and in print.
pub(super) const STYLE: &str = include_str!("chart.css");

/// A picture on its way, in pixels from the top left.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chart {
    pub(super) title: String,
    /// What it shows, for those who do not see it.
    pub(super) label: String,
    pub(super) width: f64,
    pub(super) height: f64,
    body: String,
}

/// Where a text is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// What one candidate looks like where color alone would not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Circle,
    Square,
    Diamond,
    Triangle,
    Down,
    Cross,
}

impl Shape {
    const ALL: [Shape; 6] =
        [Shape::Circle, Shape::Square, Shape::Diamond, Shape::Triangle, Shape::Down, Shape::Cross];

    /// The shape of the candidate at a place of a list; they come again if there are many.
    pub(super) fn of(index: usize) -> Shape {
        Shape::ALL[index % Shape::ALL.len()]
    }
}

impl Chart {
    pub(super) fn new(title: &str, label: String, width: f64) -> Chart {
        Chart { title: title.to_owned(), label, width, height: 0., body: String::new() }
    }

    pub(super) fn line(&mut self, class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) {
        let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(number);
        self.push(format_args!(
            r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#
        ));
    }

    /// A rectangle from its top left; nothing where it has no size.
    pub(super) fn rect(&mut self, class: &str, [x, y]: [f64; 2], [width, height]: [f64; 2]) {
        if width <= 0. || height <= 0. {
            return;
        }
        let [x, y, width, height] = [x, y, width, height].map(number);
        self.push(format_args!(
            r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}"/>"#
        ));
    }

    /// `y` is that of the base line.
    pub(super) fn text(&mut self, class: &str, [x, y]: [f64; 2], anchor: Anchor, text: &str) {
        let [x, y] = [x, y].map(number);
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
            Anchor::End => r#" text-anchor="end""#,
        };
        let text = escape(text);
        self.push(format_args!(r#"<text class="{class}" x="{x}" y="{y}"{anchor}>{text}</text>"#));
    }

    /// From its end upwards: ends at `y`.
    pub(super) fn upright(&mut self, class: &str, [x, y]: [f64; 2], text: &str) {
        let ([x, y], text) = ([x, y].map(number), escape(text));
        self.push(format_args!(
            r#"<text class="{class}" transform="translate({x} {y}) rotate(-90)" text-anchor="end">{text}</text>"#
        ));
    }

    pub(super) fn polyline(&mut self, class: &str, points: &[[f64; 2]]) {
        let point = |[x, y]: &[f64; 2]| format!("{},{}", number(*x), number(*y));
        let points = points.iter().map(point).collect::<Vec<_>>().join(" ");
        self.push(format_args!(r#"<polyline class="{class}" points="{points}"/>"#));
    }

    /// A shape of about the area of a circle with radius `r`.
    pub(super) fn mark(&mut self, class: &str, shape: Shape, [x, y]: [f64; 2], r: f64) {
        let of = |offsets: &[[f64; 2]]| {
            let point =
                |[dx, dy]: &[f64; 2]| format!("{} {}", number(x + dx * r), number(y + dy * r));
            format!("M{}Z", offsets.iter().map(point).collect::<Vec<_>>().join("L"))
        };
        let path = match shape {
            Shape::Circle => {
                let [x, y, r] = [x, y, r].map(number);
                self.push(format_args!(r#"<circle class="{class}" cx="{x}" cy="{y}" r="{r}"/>"#));
                return;
            }
            Shape::Square => of(&[[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]]),
            Shape::Diamond => of(&[[0., -1.3], [1.3, 0.], [0., 1.3], [-1.3, 0.]]),
            Shape::Triangle => of(&[[0., -1.3], [1.2, 0.9], [-1.2, 0.9]]),
            Shape::Down => of(&[[0., 1.3], [1.2, -0.9], [-1.2, -0.9]]),
            Shape::Cross => of(&[
                [-1.2, -0.4],
                [-0.4, -0.4],
                [-0.4, -1.2],
                [0.4, -1.2],
                [0.4, -0.4],
                [1.2, -0.4],
                [1.2, 0.4],
                [0.4, 0.4],
                [0.4, 1.2],
                [-0.4, 1.2],
                [-0.4, 0.4],
                [-1.2, 0.4],
            ]),
        };
        self.push(format_args!(r#"<path class="{class}" d="{path}"/>"#));
    }

    /// Begins what a title belongs to, up to [`Chart::end`]; it can be pointed at, and focused by
    /// a script. `point` is that of a curve.
    pub(super) fn begin(&mut self, title: &str, point: Option<usize>) {
        let point = point.map(|point| format!(r#" data-point="{point}""#)).unwrap_or_default();
        let title = escape(title);
        self.push(format_args!(r#"<g class="hit"{point}><title>{title}</title>"#));
    }

    pub(super) fn end(&mut self) {
        self.push(format_args!("</g>\n"));
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.body.write_fmt(text).expect("text takes all that is written");
    }

    /// The element, as part of a page.
    pub(super) fn inline(&self) -> String {
        let [width, height] = [self.width, self.height].map(number);
        let label = escape(&self.label);
        format!(
            "<svg viewBox=\"0 0 {width} {height}\" role=\"group\" aria-label=\"{label}\">\n{}\n</svg>\n",
            self.body.trim_end()
        )
    }

    /// The element in a picture of several, `x` from the left and `y` from the top.
    pub(super) fn at(&self, [x, y]: [f64; 2]) -> String {
        let [x, y, width, height] = [x, y, self.width, self.height].map(number);
        let label = escape(&self.label);
        format!(
            "<svg x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" role=\"group\" aria-label=\"{label}\">\n{}\n</svg>\n",
            self.body.trim_end()
        )
    }
}

/// With a digit behind the point where it is not 0.
pub(super) fn number(value: f64) -> String {
    let value = if value.is_finite() { value } else { 0. };
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// The class of a bit-width: seven steps from few bits to many.
pub(super) fn width_class(bits: Bits) -> &'static str {
    match bits.get() {
        ..=3 => "w0",
        4..=5 => "w1",
        6..=7 => "w2",
        8 => "w3",
        9..=15 => "w4",
        16 => "w5",
        17.. => "w6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in
            [(1., "1"), (0.25, "0.2"), (-0.01, "0"), (12.34, "12.3"), (f64::NAN, "0")]
        {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn names_stay_text() {
        let mut chart = Chart::new("t", "a \"b\"".to_owned(), 10.);
        chart.begin("<script>", Some(3));
        chart.text("t", [1., 2.], Anchor::End, "a<b");
        chart.end();
        let svg = chart.inline();
        assert!(svg.contains(r#"aria-label="a &quot;b&quot;""#), "{svg}");
        assert!(svg.contains(r#"data-point="3"><title>&lt;script&gt;</title>"#), "{svg}");
        assert!(svg.contains(r#"text-anchor="end">a&lt;b</text>"#), "{svg}");
    }
}
