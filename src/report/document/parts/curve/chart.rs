//! The picture of a curve.

use crate::report::document::Report;
use crate::report::document::chart::{Anchor, Chart, Key, Labels, Scale, Shape, legend};
use crate::report::document::parts::curve::series::{Mark, Series};
use crate::report::document::parts::settings::budget;
use crate::report::document::parts::summary::choices;
use crate::report::evaluation::cell;
use crate::report::number::{bytes, count, decibels, percent};

/// One for the SQNR, then one for each metric.
pub(super) fn charts(report: &Report<'_>, width: f64) -> Vec<Chart> {
    let cost = Cost::of(report);
    let all = Series::all(report, cost.value);
    let titles = points(report);
    all.iter().map(|series| Plot::new(report, series, cost, width).draw(&titles)).collect()
}

/// What is drawn to the right.
#[derive(Clone, Copy)]
struct Cost {
    is_relative: bool,
    value: fn(u64, Option<f64>) -> f64,
}

impl Cost {
    /// Relative where every point tells it.
    fn of(report: &Report<'_>) -> Cost {
        let config = report.config;
        let baselines = config.baselines.iter().map(|baseline| baseline.cost.relative_bops);
        let mut all = config.curve.iter().map(|point| point.cost.relative_bops).chain(baselines);
        match config.cost.relative_bops.is_some() && all.all(|relative| relative.is_some()) {
            true => Cost { is_relative: true, value: |_, relative| relative.unwrap_or(0.) },
            false => Cost { is_relative: false, value: |bops, _| bops as f64 },
        }
    }
}

/// What is told of each point, in lines.
pub(in crate::report::document) fn points(report: &Report<'_>) -> Vec<String> {
    let config = report.config;
    let last = config.curve.len().saturating_sub(1);
    let of = |(at, point): (usize, &crate::artifact::CurvePoint)| {
        let chosen = if config.chosen_point == Some(at as u64) { ", chosen" } else { "" };
        let relative = point.cost.relative_bops.map(|r| format!(" ({})", percent(r)));
        let mut text = format!(
            "point {at} of {last}{chosen}\nBOPs {}{}, weights {}\npredicted {}",
            count(point.cost.bops),
            relative.unwrap_or_default(),
            bytes(point.cost.weight_bytes),
            decibels(point.predicted_sqnr_db)
        );
        if let Some(measured) = &point.measured {
            text += &format!(", measured {}", decibels(measured.sqnr_db));
            for (name, &value) in measured.metrics.iter() {
                text += &format!(", {name} {}", cell(name, Some(value)));
            }
        }
        if let Some(flip) = &point.flip {
            text += &format!("\nstep: {} from {} to {}", flip.group, flip.from, flip.to);
        }
        if let Some(walk) = &report.walk {
            text += &format!("\n{}", choices(&Report::counts(walk.at(at).into_iter())));
        }
        text
    };
    config.curve.iter().enumerate().map(of).collect()
}

struct Plot<'a> {
    report: &'a Report<'a>,
    series: &'a Series,
    cost: Cost,
    chart: Chart,
    x: Scale,
    y: Scale,
    left: f64,
    right: f64,
    /// Below the lane of what has no noise.
    top: f64,
    bottom: f64,
    labels: Labels,
}

const LANE: f64 = 26.;

impl<'a> Plot<'a> {
    fn new(report: &'a Report<'a>, series: &'a Series, cost: Cost, width: f64) -> Plot<'a> {
        let n_points = report.config.curve.len();
        let label = format!(
            "{} over BOPs: {n_points} points of the curve, uniform candidates, the choice",
            series.name
        );
        let mut chart = Chart::new(&series.name, label, width);
        let is_narrow = width < 600.;
        let top =
            legend(&mut chart, &keys(series)) + 16. + if series.has_infinite() { LANE } else { 0. };
        let (left, right) = (52., width - 24.);
        // Few points are measured in a metric.
        let is_main = !series.predicted.is_empty();
        let bottom = top
            + match (is_main, is_narrow) {
                (true, true) => 240.,
                (true, false) => 330.,
                (false, _) => 200.,
            };
        let x = |point: &crate::artifact::CurvePoint| {
            (cost.value)(point.cost.bops, point.cost.relative_bops)
        };
        let points = report.config.curve.iter().map(x);
        let marks = series.baselines.iter().chain(&series.chosen).map(|mark| mark.cost);
        let x = Scale::new(points.chain(marks), if is_narrow { 4 } else { 8 }, [left, right]);
        let y = Scale::new(series.values(), 6, [bottom, top]);
        chart.height = bottom + 46.;
        let ceiling = top - if series.has_infinite() { LANE } else { 14. };
        let labels = Labels::new([left, right + 12.], [ceiling, bottom - 2.]);
        Plot { report, series, cost, chart, x, y, left, right, top, bottom, labels }
    }

    fn draw(mut self, titles: &[String]) -> Chart {
        self.frame();
        self.limits();
        self.points(titles);
        let marks = self.series.baselines.iter();
        marks.for_each(|mark| self.mark(mark, if mark.is_measured { "base" } else { "base-open" }));
        self.chosen();
        self.chart
    }

    fn frame(&mut self) {
        let (left, right, bottom) = (self.left, self.right, self.bottom);
        for (value, text) in self.y.ticks() {
            let y = self.y.place(value);
            self.chart.line("grid", [left, y], [right, y]);
            self.chart.text("soft", [left - 8., y + 4.], Anchor::End, &text);
        }
        for (value, text) in self.x.ticks() {
            let x = self.x.place(value);
            self.chart.line("axis", [x, bottom], [x, bottom + 5.]);
            let text = if self.cost.is_relative { text } else { count(value as u64) };
            self.chart.text("soft", [x, bottom + 19.], Anchor::Middle, &text);
        }
        self.chart.line("axis", [left, bottom], [right, bottom]);
        if self.series.has_infinite() {
            let top = self.top - LANE;
            self.chart.rect("lane", [left, top], [right - left, LANE - 6.]);
            self.chart.text("name", [left + 8., top + 14.], Anchor::Start, "no noise");
        }
        let title = match self.cost.is_relative {
            true => format!("BOPs, as a fraction of {} everywhere", self.report.full),
            false => "BOPs".to_owned(),
        };
        self.chart.text("big", [right, bottom + 38.], Anchor::End, &title);
    }

    /// What was asked for.
    fn limits(&mut self) {
        if let Some(least) = self.series.least {
            let y = self.y.place(least);
            self.chart.line("limit", [self.left, y], [self.right, y]);
            self.chart.text("soft halo", [self.left + 6., y - 5.], Anchor::Start, "goal");
        }
        let goals = self.report.config.goal.requested.iter().filter(|goal| goal.metric == "bops");
        for goal in goals {
            let limit = if self.cost.is_relative { goal.relative } else { goal.absolute };
            let Some(limit) = limit else { continue };
            let x = self.x.place(limit);
            self.chart.line("limit", [x, self.top], [x, self.bottom]);
            let text = format!("budget {}", budget(&goal.metric, goal.relative, goal.absolute));
            let is_left = self.right - 110. < x;
            let (x, anchor) = if is_left { (x - 5., Anchor::End) } else { (x + 5., Anchor::Start) };
            self.chart.text("soft halo", [x, self.bottom - 8.], anchor, &text);
        }
    }

    fn place(&self, cost: f64, value: f64) -> [f64; 2] {
        let y = if value == f64::INFINITY { self.top - LANE + 10. } else { self.y.place(value) };
        [self.x.place(cost), y]
    }

    fn points(&mut self, titles: &[String]) {
        let place = |value: &[Option<f64>], at: usize| {
            let cost = &self.report.config.curve[at].cost;
            let value = value.get(at).copied().flatten()?;
            Some(self.place((self.cost.value)(cost.bops, cost.relative_bops), value))
        };
        let n = self.report.config.curve.len();
        let line: Vec<_> = (0..n).filter_map(|at| place(&self.series.predicted, at)).collect();
        let dots: Vec<_> = (0..n)
            .map(|at| (place(&self.series.predicted, at), place(&self.series.measured, at)))
            .collect();
        let r = if 150 < n { 2. } else { 2.8 };
        self.chart.polyline("walk", &line);
        let marks = self.series.baselines.iter().chain(&self.series.chosen);
        let marks = marks.map(|mark| self.place(mark.cost, mark.value));
        let marks: Vec<_> =
            marks.chain(dots.iter().filter_map(|(_, measured)| *measured)).collect();
        self.labels.note_line(&line);
        self.labels.note(marks);
        for (at, (predicted, measured)) in dots.into_iter().enumerate() {
            let Some(target) = predicted.or(measured) else { continue };
            self.chart.begin(&titles[at], Some(at));
            self.chart.mark("touch", Shape::Circle, target, 8.);
            if let (Some(predicted), Some(measured)) = (predicted, measured) {
                self.chart.line("stem", predicted, measured);
            }
            if let Some(place) = predicted {
                self.chart.mark("dot", Shape::Circle, place, r);
            }
            if let Some(place) = measured {
                self.chart.mark("seen", Shape::Circle, place, 4.2);
            }
            self.chart.end();
        }
    }

    fn mark(&mut self, mark: &Mark, class: &str) {
        let [x, y] = self.place(mark.cost, mark.value);
        self.chart.begin(&mark.title, None);
        self.chart.mark("touch", Shape::Circle, [x, y], 10.);
        self.chart.mark(class, Shape::Square, [x, y], 4.6);
        self.name("big halo", [x, y], &mark.name);
        self.chart.end();
    }

    fn chosen(&mut self) {
        let Some(mark) = &self.series.chosen else { return };
        let [x, y] = self.place(mark.cost, mark.value);
        self.chart.begin(
            &mark.title,
            self.report.config.chosen_point.and_then(|at| usize::try_from(at).ok()),
        );
        self.chart.mark("touch", Shape::Circle, [x, y], 12.);
        self.chart.mark("ring", Shape::Circle, [x, y], 8.);
        self.chart.mark("chosen", Shape::Diamond, [x, y], 3.6);
        self.name("pick halo", [x, y], &mark.name);
        self.chart.end();
    }

    fn name(&mut self, class: &str, place: [f64; 2], name: &str) {
        let (place, anchor) = self.labels.place(place, name);
        self.chart.text(class, place, anchor, name);
    }
}

fn keys(series: &Series) -> Vec<(Key, String)> {
    let mut keys = Vec::new();
    if !series.predicted.is_empty() {
        keys.push((Key::Line("walk", "dot"), "predicted".to_owned()));
    }
    if series.measured.iter().any(Option::is_some) {
        keys.push((Key::Mark("seen", Shape::Circle), "measured".to_owned()));
    }
    for (is_measured, class, text) in
        [(true, "base", "uniform"), (false, "base-open", "uniform, predicted")]
    {
        if series.baselines.iter().any(|mark| mark.is_measured == is_measured) {
            keys.push((Key::Mark(class, Shape::Square), text.to_owned()));
        }
    }
    if series.chosen.is_some() {
        keys.push((Key::Mark("chosen", Shape::Diamond), "chosen".to_owned()));
    }
    keys
}
