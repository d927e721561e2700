//! Where the BOPs and the bytes are, before and after.

use crate::report::Align;
use crate::report::document::Report;
use crate::report::document::chart::{Anchor, Chart, Key, legend, shorten};
use crate::report::document::parts::Part;
use crate::report::document::report::BeforeAfter;
use crate::report::document::sheet::{Cell, Sheet};
use crate::report::number::{bytes, count, percent};

pub(super) const PART: Part = Part {
    name: "cost",
    title: "Where the BOPs and the bytes are",
    doc: |report| {
        format!(
            "Before is {} everywhere, after is the chosen configuration; bytes are those of packed weights with their scales.",
            report.full
        )
    },
    sheet,
    charts: Some(|report, width| vec![chart(report, width)]),
    is_table: false,
};

/// The others are added up.
const SHOWN: usize = 16;

/// Bytes that are only those which packed tensors are rounded up by.
const ROUNDING: u64 = 64;

/// A line of the picture.
struct Line {
    name: String,
    /// The name and the numbers, in full.
    title: String,
    cost: BeforeAfter,
    is_group: bool,
}

fn lines(report: &Report<'_>) -> Vec<Line> {
    let order = report.most_expensive();
    let (shown, others) = order.split_at(order.len().min(SHOWN));
    let line = |&at: &usize| {
        let (group, cost) = (&report.config.groups[at], report.costs[at]);
        let change = format!("{} to {}", group_full(report, at), group.candidate);
        Line {
            name: group.id.clone(),
            title: format!("{} {}\n{change}\n{}", at + 1, group.id, texts(report, &cost)),
            cost,
            is_group: true,
        }
    };
    let sum = |name: String, cost: BeforeAfter| {
        let title = format!("{name}\n{}", texts(report, &cost));
        Line { name, title, cost, is_group: false }
    };
    let mut lines: Vec<Line> = shown.iter().map(line).collect();
    if !others.is_empty() {
        let cost =
            others.iter().fold(BeforeAfter::default(), |sum, &at| sum.plus(report.costs[at]));
        lines.push(sum(format!("{} others", others.len()), cost));
    }
    if report.rest.bops != [0, 0] || ROUNDING < report.rest.bytes[0] {
        lines.push(sum("in no group".to_owned(), report.rest));
    }
    lines
}

fn group_full(report: &Report<'_>, at: usize) -> String {
    let has_weights = !report.config.groups[at].weights.is_empty();
    let weight = report.full.weight.filter(|_| has_weights);
    crate::quant::Candidate { weight, ..report.full }.to_string()
}

fn texts(report: &Report<'_>, cost: &BeforeAfter) -> String {
    let share = |part: u64, whole: u64| match whole {
        0 => String::new(),
        whole => format!(" ({} of all)", percent(part as f64 / whole as f64)),
    };
    let of = |unit: &str, text: fn(u64) -> String, [before, after]: [u64; 2], total: [u64; 2]| {
        let [was, is] = [share(before, total[0]), share(after, total[1])];
        format!("{unit} {}{was} before, {}{is} after", text(before), text(after))
    };
    let bops = of("BOPs", count, cost.bops, report.total.bops);
    let bytes = of("bytes", bytes, cost.bytes, report.total.bytes);
    format!("{bops}\n{bytes}")
}

fn chart(report: &Report<'_>, width: f64) -> Chart {
    let lines = lines(report);
    let label = "BOPs and bytes before and after, the most expensive groups first".to_owned();
    let mut chart = Chart::new("", label, width);
    let keys =
        [(Key::Swatch("before"), "before".to_owned()), (Key::Swatch("after"), "after".to_owned())];
    let top = legend(&mut chart, &keys) + 8.;
    let most = |of: fn(&BeforeAfter) -> [u64; 2]| {
        let groups = lines.iter().filter(|line| line.is_group);
        let all = groups.flat_map(|line| of(&line.cost));
        all.max().unwrap_or(0).max(1) as f64
    };
    let most = [most(|cost| cost.bops), most(|cost| cost.bytes)];
    match width < 600. {
        true => narrow(&mut chart, &lines, most, top),
        false => wide(&mut chart, &lines, most, top),
    }
    chart
}

const BAR: f64 = 12.;

/// Names, then both costs side by side.
fn wide(chart: &mut Chart, lines: &[Line], most: [f64; 2], top: f64) {
    const ROW: f64 = 24.;
    const NAME: f64 = 226.;
    let panel = (chart.width - NAME) / 2.;
    for (at, title) in ["BOPs", "bytes of weights"].into_iter().enumerate() {
        chart.text("big", [NAME + at as f64 * panel, top + 10.], Anchor::Start, title);
    }
    for (row, line) in lines.iter().enumerate() {
        let y = top + 22. + row as f64 * ROW;
        chart.begin(&line.title, None);
        chart.rect("touch", [0., y], [chart.width, ROW]);
        let class = if line.is_group { "plain" } else { "soft" };
        chart.text(class, [NAME - 12., y + 16.], Anchor::End, &shorten(&line.name, 28));
        for (at, most) in most.into_iter().enumerate() {
            let place = [NAME + at as f64 * panel, y + 6.];
            bar(chart, line, at, most, place, panel - 150.);
        }
        chart.end();
    }
    chart.height = top + 22. + lines.len() as f64 * ROW + 4.;
}

/// A name above its two bars.
fn narrow(chart: &mut Chart, lines: &[Line], most: [f64; 2], top: f64) {
    const ROW: f64 = 58.;
    for (row, line) in lines.iter().enumerate() {
        let y = top + row as f64 * ROW;
        chart.begin(&line.title, None);
        chart.rect("touch", [0., y], [chart.width, ROW]);
        let class = if line.is_group { "big" } else { "soft" };
        chart.text(class, [0., y + 14.], Anchor::Start, &shorten(&line.name, 42));
        for (at, most) in most.into_iter().enumerate() {
            let place = [38., y + 20. + at as f64 * 17.];
            let unit = ["BOPs", "bytes"][at];
            chart.text("name", [0., place[1] + BAR - 2.], Anchor::Start, unit);
            bar(chart, line, at, most, place, chart.width - 38. - 138.);
        }
        chart.end();
    }
    chart.height = top + lines.len() as f64 * ROW + 4.;
}

/// BOPs or bytes: what it was behind what it is.
fn bar(chart: &mut Chart, line: &Line, at: usize, most: f64, [x, y]: [f64; 2], width: f64) {
    let ([before, after], text): (_, fn(u64) -> String) = match at {
        0 => (line.cost.bops, count),
        _ => (line.cost.bytes, bytes),
    };
    let long = |cost: u64| match cost {
        // A sum of many would leave nothing of the others' lengths.
        _ if !line.is_group => 0.,
        0 => 0.,
        cost => (width * cost as f64 / most).max(1.5),
    };
    chart.rect("before", [x, y], [long(before), BAR]);
    chart.rect("after", [x, y + 2.5], [long(after), BAR - 5.]);
    let text = match (before, after) {
        (0, 0) => "none".to_owned(),
        (before, after) if before == after => text(after),
        (before, after) => format!("{} → {}", text(before), text(after)),
    };
    let length = long(before.max(after));
    let x = if 0. < length { x + length + 6. } else { x };
    chart.text("soft", [x, y + BAR - 1.5], Anchor::Start, &text);
}

fn sheet(report: &Report<'_>) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("number", "#", Align::Right),
        ("group", "group", Align::Left),
        ("candidate", "choice", Align::Left),
        ("macs", "MACs", Align::Right),
        ("bops_before", "BOPs before", Align::Right),
        ("bops_after", "after", Align::Right),
        ("weight_bytes_before", "bytes before", Align::Right),
        ("weight_bytes_after", "after", Align::Right),
    ]);
    let costs = |cost: &BeforeAfter| {
        let ([bops_before, bops_after], [bytes_before, bytes_after]) = (cost.bops, cost.bytes);
        [
            Cell::of(Some(bops_before), count),
            Cell::of(Some(bops_after), count),
            Cell::of(Some(bytes_before), bytes),
            Cell::of(Some(bytes_after), bytes),
        ]
    };
    for (at, (group, cost)) in report.config.groups.iter().zip(&report.costs).enumerate() {
        let head = [
            Cell::text(&(at + 1).to_string()),
            Cell::text(&group.id),
            Cell::text(&group.candidate.to_string()),
            Cell::of(Some(group.macs), count),
        ];
        sheet.row(false, head.into_iter().chain(costs(cost)).collect());
    }
    let in_groups = report.config.groups.iter().map(|group| group.macs);
    let in_groups = in_groups.fold(0, u64::saturating_add);
    let rest = report.config.cost.macs.saturating_sub(in_groups);
    for (name, macs, cost, is_marked) in [
        ("in no group", rest, &report.rest, false),
        ("all", report.config.cost.macs, &report.total, true),
    ] {
        let head = [Cell::text(""), Cell::text(name), Cell::text(""), Cell::of(Some(macs), count)];
        sheet.row(is_marked, head.into_iter().chain(costs(cost)).collect());
    }
    sheet
}
