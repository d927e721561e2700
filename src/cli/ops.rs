//! `mpq ops`: the table of operators.

use std::collections::{BTreeMap, BTreeSet};

use mpq::artifact::to_json;
use mpq::ops;
use mpq::report::{Align, Table};
use serde_json::json;

use crate::cli::{ExitStatus, Ui};

/// List the operators that are supported
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Form of the list
    #[arg(long, value_name = "FORM", value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Markdown,
    Json,
}

/// One operator with the first opsets of its definitions, oldest first.
struct Row {
    domain: &'static str,
    name: &'static str,
    since: BTreeSet<u16>,
}

pub(super) fn run(args: Args, ui: &Ui) -> anyhow::Result<ExitStatus> {
    let rows = rows();
    let text = match args.format {
        Format::Text => format!("{}\n", table(&rows)),
        Format::Markdown => markdown(&rows),
        Format::Json => json(&rows),
    };
    ui.data(text.as_bytes())?;
    Ok(ExitStatus::Success)
}

/// By domain, then by name.
fn rows() -> Vec<Row> {
    let mut since: BTreeMap<(&str, &str), BTreeSet<u16>> = BTreeMap::new();
    for def in ops::all() {
        let domain = if def.domain.is_empty() { "ai.onnx" } else { def.domain };
        since.entry((domain, def.name)).or_default().insert(def.since);
    }
    let row = |((domain, name), since)| Row { domain, name, since };
    since.into_iter().map(row).collect()
}

impl Row {
    fn since_text(&self) -> String {
        self.since.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
    }
}

fn table(rows: &[Row]) -> Table {
    let columns = ["domain", "operator", "since opset"].map(|title| (title, Align::Left));
    let mut table = Table::new(&columns);
    for row in rows {
        table.row([row.domain.to_owned(), row.name.to_owned(), row.since_text()]);
    }
    table
}

fn markdown(rows: &[Row]) -> String {
    let mut text = "| domain | operator | since opset |\n| --- | --- | --- |\n".to_owned();
    for row in rows {
        text.push_str(&format!("| {} | {} | {} |\n", row.domain, row.name, row.since_text()));
    }
    text
}

fn json(rows: &[Row]) -> String {
    let row = |row: &Row| json!({ "domain": row.domain, "name": row.name, "since": row.since });
    let operators: Vec<_> = rows.iter().map(row).collect();
    let newest = ops::NEWEST_OPSET;
    to_json(&json!({ "schema": "mpq/ops/1", "newest_opset": newest, "operators": operators }))
}
