//! How much quantizing each group alone hurts, at each of its candidates.

use crate::artifact::Group;
use crate::quant::Candidate;
use crate::report::Align;
use crate::report::document::Report;
use crate::report::document::chart::{Anchor, Bands, Chart, Key, Scale, Shape, legend, shorten};
use crate::report::document::parts::Part;
use crate::report::document::parts::summary::noise;
use crate::report::document::sheet::{Cell, Sheet};
use crate::report::number::{count, decibels};

pub(super) const PART: Part = Part {
    name: "sensitivity",
    title: "Sensitivity of the groups",
    doc: |_| {
        "SQNR of the network's outputs with this group alone quantized and all else in float; lower is more sensitive, and below 0 dB the noise is stronger than the signal.".to_owned()
    },
    sheet,
    charts: Some(charts),
    is_table: false,
};

/// More groups than these are numbered instead of named.
const NAMED: usize = 48;

/// The lowest SQNR of any choice; no noise is the highest.
fn lowest(group: &Group) -> f64 {
    let values = group.sqnr_db.iter().map(|(_, sqnr_db)| sqnr_db.unwrap_or(f64::INFINITY));
    values.fold(f64::INFINITY, f64::min)
}

fn charts(report: &Report<'_>, width: f64) -> Vec<Chart> {
    let groups = &report.config.groups;
    let in_order: Vec<usize> = (0..groups.len()).collect();
    let mut sorted = in_order.clone();
    sorted.sort_by(|&a, &b| lowest(&groups[a]).total_cmp(&lowest(&groups[b])));
    vec![
        Columns::new(report, in_order).draw("SQNR in dB, in the order of the network", width),
        Columns::new(report, sorted).draw("SQNR in dB, most sensitive first", width),
    ]
}

struct Columns<'a> {
    report: &'a Report<'a>,
    order: Vec<usize>,
    /// Finite ones.
    values: Vec<f64>,
    has_lane: bool,
}

/// A band of columns: its sizes in pixels.
struct Band {
    left: f64,
    top: f64,
    bottom: f64,
    width: f64,
}

const LEFT: f64 = 46.;
const PLOT: f64 = 168.;
/// Of what has no noise, above the plot.
const LANE: f64 = 22.;

impl<'a> Columns<'a> {
    fn new(report: &'a Report<'a>, order: Vec<usize>) -> Columns<'a> {
        let all = report.config.groups.iter().flat_map(|group| group.sqnr_db.iter());
        let all: Vec<Option<f64>> = all.map(|(_, &sqnr_db)| sqnr_db).collect();
        let values = all.iter().copied().flatten().collect();
        let has_lane = all.contains(&None);
        Columns { report, order, values, has_lane }
    }

    fn draw(&self, title: &str, width: f64) -> Chart {
        let n = self.order.len();
        let label = format!("Sensitivity: {title}, {n} groups");
        let mut chart = Chart::new(title, label, width);
        let legend_ends = legend(&mut chart, &self.keys());
        let is_named = n <= NAMED;
        let bands = Bands::new(n, width - LEFT - 8., [if is_named { 14. } else { 7. }, 96.]);
        let names = if is_named { 164. } else { 22. };
        let lane = if self.has_lane { LANE } else { 0. };
        let height = lane + PLOT + names + 14.;
        for at in 0..bands.n_bands {
            let top = legend_ends + 12. + at as f64 * height + lane;
            let width = bands.len(at, n) as f64 * bands.pitch;
            let band = Band { left: LEFT, top, bottom: top + PLOT, width };
            let scale = Scale::new(self.values.iter().copied(), 5, [band.bottom, band.top]);
            self.frame(&mut chart, &band, &scale);
            let columns = (at * bands.per_band..n).take(bands.per_band);
            for column in columns {
                let x = LEFT + bands.place(column).1;
                self.column(&mut chart, self.order[column], [x, bands.pitch], &band, &scale);
                let group = &self.report.config.groups[self.order[column]];
                let x = x + bands.pitch / 2.;
                if is_named {
                    chart.upright("name", [x + 4., band.bottom + 8.], &shorten(&group.id, 22));
                } else if bands.is_numbered(column) {
                    chart.line("axis", [x, band.bottom], [x, band.bottom + 4.]);
                    let number = (self.order[column] + 1).to_string();
                    chart.text("name", [x, band.bottom + 16.], Anchor::Middle, &number);
                }
            }
        }
        chart.height = legend_ends + 12. + bands.n_bands as f64 * height - 8.;
        chart
    }

    fn keys(&self) -> Vec<(Key, String)> {
        let listed = self.report.config.candidates.iter().enumerate();
        let mut keys: Vec<_> = listed
            .map(|(at, candidate)| (Key::Mark(class(at), Shape::of(at)), candidate.to_string()))
            .collect();
        keys.push((Key::Mark("chosen", Shape::Circle), "chosen, filled".to_owned()));
        keys
    }

    fn frame(&self, chart: &mut Chart, band: &Band, scale: &Scale) {
        let right = band.left + band.width;
        let zero = scale.place(0.);
        for (value, text) in scale.ticks() {
            let y = scale.place(value);
            let class = if value == 0. { "axis" } else { "grid" };
            chart.line(class, [band.left, y], [right, y]);
            chart.text("soft", [band.left - 6., y + 4.], Anchor::End, &text);
        }
        if self.values.iter().any(|&value| value < 0.) {
            chart.rect("noisy", [band.left, zero], [band.width, band.bottom - zero]);
        }
        if self.has_lane {
            chart.rect("lane", [band.left, band.top - LANE], [band.width, LANE - 6.]);
            let y = band.top - LANE + 12.;
            chart.text("name", [band.left - 6., y], Anchor::End, "none");
        }
    }

    fn column(
        &self,
        chart: &mut Chart,
        at: usize,
        [x, pitch]: [f64; 2],
        band: &Band,
        scale: &Scale,
    ) {
        let group = &self.report.config.groups[at];
        let middle = x + pitch / 2.;
        let r = (pitch * 0.32).clamp(2.2, 4.5);
        let place = |sqnr_db: &Option<f64>| match sqnr_db {
            Some(db) => scale.place(*db),
            None => band.top - LANE + 8.,
        };
        chart.begin(&title(at, group), None);
        chart.rect("touch", [x, band.top - 4.], [pitch, PLOT + 8.]);
        let places = group.sqnr_db.iter().map(|(_, sqnr_db)| place(sqnr_db));
        let [top, bottom] = places.fold([f64::INFINITY, f64::NEG_INFINITY], |[top, bottom], y| {
            [top.min(y), bottom.max(y)]
        });
        if top < bottom {
            chart.line("stem", [middle, top], [middle, bottom]);
        }
        let chosen = group.candidate.to_string();
        // The chosen one last, on top of the others.
        for is_last in [false, true] {
            for (place_in_group, (name, sqnr_db)) in group.sqnr_db.iter().enumerate() {
                if (name == chosen) == is_last {
                    let listed = self.listed(name).unwrap_or(place_in_group);
                    let class = if is_last { "chosen" } else { class(listed) };
                    chart.mark(class, Shape::of(listed), [middle, place(sqnr_db)], r);
                }
            }
        }
        chart.end();
    }

    /// The listed candidate that a choice stands for: without weights, the first of its width.
    fn listed(&self, name: &str) -> Option<usize> {
        let candidate: Candidate = name.parse().ok()?;
        self.report.config.candidates.iter().position(|listed| match candidate.weight {
            Some(_) => *listed == candidate,
            None => listed.activation == candidate.activation,
        })
    }
}

fn class(at: usize) -> &'static str {
    ["m0", "m1", "m2"][at.min(2)]
}

fn title(at: usize, group: &Group) -> String {
    let chosen = group.candidate.to_string();
    let choices = group.sqnr_db.iter().map(|(name, &sqnr_db)| {
        let mark = if name == chosen { ", chosen" } else { "" };
        format!("\n{name}  {}{mark}", decibels(sqnr_db))
    });
    let pinned = if group.pinned { "\npinned" } else { "" };
    let choices: String = choices.collect();
    format!("{} {}{choices}\n{} MACs{pinned}", at + 1, group.id, count(group.macs))
}

fn sheet(report: &Report<'_>) -> Sheet {
    let config = report.config;
    let mut names: Vec<Candidate> = Vec::new();
    let choices = config.groups.iter().flat_map(|group| group.sqnr_db.iter());
    names.extend(choices.filter_map(|(name, _)| name.parse::<Candidate>().ok()));
    let names = Report::counts(names.into_iter());
    let mut sheet = Sheet::new(&[
        ("number", "#", Align::Right),
        ("group", "group", Align::Left),
        ("candidate", "choice", Align::Left),
    ]);
    for (name, _) in &names {
        let name = name.to_string();
        sheet.column(&format!("sqnr_db_{name}"), &name, Align::Right);
    }
    for (at, group) in config.groups.iter().enumerate() {
        let mut cells = vec![
            Cell::text(&(at + 1).to_string()),
            Cell::text(&group.id),
            Cell::text(&group.candidate.to_string()),
        ];
        cells.extend(names.iter().map(|(name, _)| {
            let sqnr_db = group.sqnr_db.get(&name.to_string());
            sqnr_db.map_or_else(|| Cell::text(""), |&sqnr_db| noise(sqnr_db, true))
        }));
        sheet.row(false, cells);
    }
    sheet
}
