//! A page that needs nothing else: pictures in two widths, tables, and a script that only adds to it.

use crate::report::Align;
use crate::report::document::chart::{Chart, STYLE, escape, shorten};
use crate::report::document::parts::{Charts, Fact, facts, notes, point_titles};
use crate::report::document::sheet::{Cell, Sheet};
use crate::report::document::{Format, Part, Report};

pub(super) const FORMAT: Format =
    Format { name: "html", extension: "html", part: None, shows: |_| true, write };

const PAGE_STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// Pixels of a page, and of a phone.
const WIDTHS: [(&str, f64); 2] = [("wide", 940.), ("narrow", 352.)];

/// Longer names in a table lose their middle; a SHA-256 does not.
const LONGEST: usize = 64;

/// Tables with more rows are folded.
const OPEN: usize = 60;

fn write(report: &Report<'_>, parts: &[Part]) -> String {
    let config = report.config;
    let model = escape(&config.model.file);
    let settings = &config.settings;
    let strategy = settings.strategy.as_deref().unwrap_or("unknown");
    let lead = format!(
        "Target {}, strategy {strategy}, {} calibration samples",
        settings.target, config.calibration.samples
    );
    let sections: String = parts.iter().map(|part| section(report, part)).collect();
    let walk = if parts.iter().any(has_points) { walk(report) } else { String::new() };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
        <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
        <meta name=\"color-scheme\" content=\"light dark\">\n<title>{model}: mpq report</title>\n\
        <style>\n{STYLE}{PAGE_STYLE}</style>\n</head>\n<body>\n\
        <header>\n<p class=\"kicker\">Mixed-precision report</p>\n<h1>{model}</h1>\n\
        <p class=\"lead\">{}</p>\n{}{}{}</header>\n<main>\n{sections}</main>\n\
        <footer>mpq {}, model SHA-256 {}</footer>\n{walk}<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        escape(&lead),
        key_figures(report),
        remarks(report),
        contents(parts),
        escape(&config.version),
        escape(&config.model.sha256),
    )
}

fn key_figures(report: &Report<'_>) -> String {
    let fact = |fact: Fact| {
        format!(
            "<div><dt>{}</dt><dd class=\"value\">{}</dd><dd class=\"more\">{}</dd></div>\n",
            escape(&shorten(&fact.name, 40)),
            escape(&fact.value),
            escape(&fact.more)
        )
    };
    let facts: String = facts(report).into_iter().map(fact).collect();
    format!("<dl class=\"facts\">\n{facts}</dl>\n")
}

fn remarks(report: &Report<'_>) -> String {
    let notes = notes(report);
    if notes.is_empty() {
        return String::new();
    }
    let notes: String = notes.iter().map(|note| format!("<p>{}</p>\n", escape(note))).collect();
    format!("<aside class=\"notes\" aria-label=\"Warnings\">\n{notes}</aside>\n")
}

fn contents(parts: &[Part]) -> String {
    let link = |part: &Part| format!("<li><a href=\"#{}\">{}</a></li>\n", part.name, part.title);
    let links: String = parts.iter().map(link).collect();
    format!("<nav aria-label=\"Contents\">\n<ul>\n{links}</ul>\n</nav>\n")
}

fn section(report: &Report<'_>, part: &Part) -> String {
    let Part { name, title, .. } = part;
    let doc = code(&escape(&(part.doc)(report)));
    let charts = part.charts.map(|charts| figures(report, charts)).unwrap_or_default();
    let panel = if has_points(part) { panel(report) } else { String::new() };
    let sheet = (part.sheet)(report);
    let whole = if part.is_table { " class=\"whole\"" } else { "" };
    let table = match sheet.rows.len() {
        0 => String::new(),
        n if part.is_table && n <= OPEN => table(&sheet, title),
        n => format!(
            "<details{whole}>\n<summary>Table, {n} rows</summary>\n{}</details>\n",
            table(&sheet, title)
        ),
    };
    format!(
        "<section id=\"{name}\" aria-labelledby=\"{name}-title\">\n<h2 id=\"{name}-title\">{title}</h2>\n\
        <p class=\"doc\">{doc}</p>\n{charts}{panel}{table}</section>\n"
    )
}

/// Text between backticks is code.
fn code(escaped: &str) -> String {
    let pieces = escaped.split('`').enumerate();
    let piece = |(at, piece): (usize, &str)| match at % 2 {
        0 => piece.to_owned(),
        _ => format!("<code>{piece}</code>"),
    };
    pieces.map(piece).collect()
}

/// Each picture wide and narrow; the style shows the one that fits.
fn figures(report: &Report<'_>, charts: Charts) -> String {
    let [wide, narrow] = WIDTHS.map(|(_, width)| charts(report, width));
    let figure = |(wide, narrow): (&Chart, &Chart)| {
        let caption = match wide.title.as_str() {
            "" => String::new(),
            title => format!("<figcaption>{}</figcaption>\n", escape(title)),
        };
        let [wide_name, narrow_name] = WIDTHS.map(|(name, _)| name);
        format!(
            "<figure>\n{caption}<div class=\"{wide_name}\">\n{}</div>\n<div class=\"{narrow_name}\">\n{}</div>\n</figure>\n",
            wide.inline(),
            // The script takes them from the other.
            without_titles(&narrow.inline())
        )
    };
    wide.iter().zip(&narrow).map(figure).collect()
}

fn without_titles(svg: &str) -> String {
    let (first, rest) = svg.split_once("<title>").unwrap_or((svg, ""));
    let pieces = rest.split("<title>").filter_map(|piece| Some(piece.split_once("</title>")?.1));
    std::iter::once(first).chain(pieces).collect()
}

fn table(sheet: &Sheet, title: &str) -> String {
    let header = sheet.columns.iter().position(|column| column.align == Align::Left);
    let titles: String = sheet
        .columns
        .iter()
        .map(|column| {
            let class = class(column.align);
            let title = if column.title == "#" {
                "<abbr title=\"number\">#</abbr>".to_owned()
            } else {
                escape(&column.title)
            };
            format!("<th scope=\"col\" class=\"{class}\">{title}</th>")
        })
        .collect();
    let mut rows = String::new();
    for row in &sheet.rows {
        rows += if row.is_marked { "<tr class=\"mark\">" } else { "<tr>" };
        for (at, (found, column)) in row.cells.iter().zip(&sheet.columns).enumerate() {
            let class = class(column.align);
            let long = if found.text.lines().any(|line| 22 < line.chars().count())
                && column.align == Align::Left
            {
                " long"
            } else {
                ""
            };
            let text = cell(found, column.align);
            rows += &match header == Some(at) {
                true => format!("<th scope=\"row\" class=\"{class}{long}\">{text}</th>"),
                false => format!("<td class=\"{class}{long}\">{text}</td>"),
            };
        }
        rows += "</tr>\n";
    }
    let title = escape(title);
    let pairs = if sheet.columns.len() == 2 { " pairs" } else { "" };
    format!(
        "<div class=\"scroll{pairs}\" tabindex=\"0\" role=\"region\" aria-label=\"{title}\">\n<table>\n\
        <thead><tr>{titles}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
    )
}

fn class(align: Align) -> &'static str {
    match align {
        Align::Left => "l",
        Align::Right => "r",
    }
}

/// Every line shortened, with all of it to point at.
fn cell(cell: &Cell, align: Align) -> String {
    if align == Align::Right {
        return escape(&cell.text);
    }
    let is_name = |line: &str| !line.contains(' ');
    let longest = |line: &str| if is_name(line) { LONGEST } else { usize::MAX };
    let line = |line: &str| match shorten(line, longest(line)) {
        short if short == line => breakable(&escape(line)),
        short => format!("<span title=\"{}\">{}</span>", escape(line), breakable(&escape(&short))),
    };
    cell.text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// May go on in the next line behind the separators of names.
fn breakable(escaped: &str) -> String {
    escaped.replace('/', "/<wbr>").replace('.', ".<wbr>").replace('_', "_<wbr>")
}

fn has_points(part: &Part) -> bool {
    part.name == "curve"
}

/// What groups have at the chosen point; the script shows others.
fn panel(report: &Report<'_>) -> String {
    let Some(walk) = &report.walk else { return String::new() };
    let chosen = report.config.chosen_point.and_then(|point| usize::try_from(point).ok());
    let titles = point_titles(report);
    let point = chosen.filter(|&point| point < titles.len()).unwrap_or(0);
    let choices = walk.at(point);
    let mut list = String::new();
    for (candidate, n) in Report::counts(choices.iter().copied()) {
        let groups = report.config.groups.iter().zip(&choices);
        let names = groups.filter(|(_, choice)| **choice == candidate).map(|(group, _)| {
            let (name, short) = (escape(&group.id), escape(&shorten(&group.id, 48)));
            format!("<span title=\"{name}\">{short}</span> ")
        });
        let names: String = names.collect();
        list += &format!("<dt>{candidate} × {n}</dt><dd>{}</dd>\n", names.trim_end());
    }
    let many = if OPEN < choices.len() { " many" } else { "" };
    let (title, lines) = titles[point].split_once('\n').unwrap_or((&titles[point], ""));
    let title = title.replacen("point", "Point", 1);
    format!(
        "<p class=\"doc needs-script\">Point at a step to see it; click it, or use the arrow keys, to see all of its configuration.</p>\n\
        <div class=\"point{many}\" id=\"point\" aria-live=\"polite\">\n<h3>{}</h3>\n<p>{}</p>\n<dl>\n{list}</dl>\n</div>\n",
        escape(&title),
        escape(lines)
    )
}

/// What the script needs to tell the configuration of a point.
fn walk(report: &Report<'_>) -> String {
    let Some(walk) = &report.walk else { return String::new() };
    let candidates: Vec<String> = walk.candidates.iter().map(ToString::to_string).collect();
    let groups: Vec<&str> = report.config.groups.iter().map(|group| group.id.as_str()).collect();
    let json = serde_json::json!({
        "groups": groups,
        "candidates": candidates,
        "start": walk.start,
        "flips": walk.flips,
    });
    // Whatever a name holds, it does not end the element.
    let json =
        json.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    format!("<script type=\"application/json\" id=\"walk\">{json}</script>\n")
}
