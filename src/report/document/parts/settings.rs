//! All that is needed to come to the same result.

use crate::artifact::{Achieved, Requested};
use crate::report::Align;
use crate::report::document::Report;
use crate::report::document::parts::Part;
use crate::report::document::sheet::{Cell, Sheet};
use crate::report::number::{decibels, plain};
use crate::search::{Amount, Budget, CostMetric};

pub(super) const PART: Part = Part {
    name: "settings",
    title: "Settings to reproduce it",
    doc: |_| {
        "The command takes its settings from the configuration, here `config.json`, and exits with 1 if any group gets another candidate.".to_owned()
    },
    sheet,
    charts: None,
    is_table: true,
};

/// What finds the same again.
pub(in crate::report::document) fn command(report: &Report<'_>) -> String {
    let config = report.config;
    let goals: String =
        config.goal.requested.iter().map(|goal| format!(" {}", flags(goal))).collect();
    let table = config.settings.cost_table_sha256.as_ref().map_or("", |_| " --cost-table FILE");
    format!(
        "mpq search {} --calib PATH --like config.json --expect config.json{goals}{table}",
        quoted(&config.model.file)
    )
}

/// As one word of a shell, whatever is in it.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/=-".contains(c);
    match text.chars().all(is_plain) && !text.starts_with('-') {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

fn flags(goal: &Requested) -> String {
    let amount = goal.absolute.map(|amount| amount.to_string()).unwrap_or_default();
    if goal.metric == "sqnr_db" {
        return format!("--min-sqnr {amount}");
    }
    match goal.metric.strip_suffix("_drop") {
        Some(metric) => {
            let metric = quoted(metric);
            format!("--val PATH --labels FILE --metric {metric} --max-drop {amount}")
        }
        None => format!("--budget {}", budget(&goal.metric, goal.relative, goal.absolute)),
    }
}

/// As a flag states it.
pub(in crate::report::document) fn budget(
    metric: &str,
    relative: Option<f64>,
    absolute: Option<f64>,
) -> String {
    let limit = relative.map(Amount::Relative).or(absolute.map(Amount::Absolute));
    match (CostMetric::find(metric), limit) {
        (Some(metric), Some(limit)) => Budget { metric, limit }.to_string(),
        _ => format!("{metric}={}", relative.or(absolute).map(plain).unwrap_or_default()),
    }
}

fn sheet(report: &Report<'_>) -> Sheet {
    let config = report.config;
    let mut sheet =
        Sheet::new(&[("setting", "setting", Align::Left), ("value", "value", Align::Left)]);
    let mut row = |name: &str, value: &str| {
        sheet.row(false, vec![Cell::text(name), Cell::text(value)]);
    };
    row("command", &command(report));
    row("model", &config.model.file);
    row("model SHA-256", &config.model.sha256);
    row("mpq", &config.version);
    for (requested, achieved) in config.goal.requested.iter().zip(&config.goal.achieved) {
        row("goal", &goal(requested, achieved));
    }
    let evaluations = config.goal.evaluations.to_string();
    row("configurations measured", &evaluations);
    if let Some(gap) = config.goal.gap {
        row("gap to the optimum", &plain(gap));
    }
    let candidates: Vec<String> = config.candidates.iter().map(ToString::to_string).collect();
    row("candidates", &candidates.join(", "));
    row("calibration samples", &config.calibration.samples.to_string());
    row("calibration SHA-256", &config.calibration.sha256);
    if let Some(preprocessing) = &config.calibration.preprocessing {
        let json = serde_json::to_value(preprocessing).unwrap_or_default();
        let values = json.as_object().into_iter().flatten();
        let values: Vec<String> = values
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| format!("{key} {}", plain_json(value)))
            .collect();
        row("preprocessing", &values.join("\n"));
    }
    let settings = serde_json::to_value(&config.settings).unwrap_or_default();
    for (key, value) in settings.as_object().into_iter().flatten() {
        let text = match value {
            serde_json::Value::Array(items) => {
                items.iter().map(plain_json).collect::<Vec<_>>().join("\n")
            }
            value => plain_json(value),
        };
        if !text.is_empty() {
            row(&key.replace('_', " "), &text);
        }
    }
    sheet
}

fn goal(requested: &Requested, achieved: &Achieved) -> String {
    if requested.metric == "sqnr_db" {
        let found = achieved.absolute.map_or_else(|| decibels(None), |db| decibels(Some(db)));
        return format!("SQNR of at least {}, found {found}", decibels(requested.absolute));
    }
    if let Some(metric) = requested.metric.strip_suffix("_drop") {
        let [most, found] =
            [requested.absolute, achieved.absolute].map(|v| v.map(plain).unwrap_or_default());
        return format!("{metric} at most {most} below float, found {found}");
    }
    let rounded = |relative: f64| (1e4 * relative).round() / 1e4;
    let relative = achieved.relative.filter(|_| requested.relative.is_some()).map(rounded);
    format!(
        "{}, found {}",
        budget(&requested.metric, requested.relative, requested.absolute),
        budget(&achieved.metric, relative, achieved.absolute)
    )
}

/// Values of JSON as a line of text; nothing for null and for what is empty.
fn plain_json(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => items.iter().map(plain_json).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            let entries = map.iter().filter(|(_, value)| !value.is_null());
            let entry = |(key, value)| format!("{key} {}", plain_json(value));
            entries.map(entry).collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::example;

    #[test]
    fn the_command_is_one_a_shell_takes() {
        let mut config = example::config();
        config.model.file = "it's; $(x).onnx".to_owned();
        let goal = |metric: &str, absolute| Requested {
            metric: metric.to_owned(),
            relative: None,
            absolute: Some(absolute),
        };
        config.goal.requested = vec![goal("sqnr_db", 22.123_456_7), goal("top1_drop", 0.01)];
        assert_eq!(
            command(&Report::new(&config)),
            "mpq search 'it'\\''s; $(x).onnx' --calib PATH --like config.json --expect config.json \
             --min-sqnr 22.1234567 --val PATH --labels FILE --metric top1 --max-drop 0.01"
        );
    }
}
