//! The tables of `mpq compare`, and the lines of `mpq search --expect`.

use serde_json::Value;

use crate::artifact::{Change, ConfigDifference, ListDifference};
use crate::report::number::{UNKNOWN, decibels, plural};
use crate::report::{Align, Table};

/// A row for each change; ends in a newline.
pub fn config_difference(difference: &ConfigDifference) -> String {
    if difference.is_equal {
        return "no difference\n".to_owned();
    }
    let n = plural(difference.changes.len() as u64, "difference");
    format!("{n}\n{}\n", changes(&difference.changes))
}

/// A row for each of the farthest.
pub fn list_difference(difference: &ListDifference) -> String {
    const SHOWN: usize = 10;
    let tau = difference.tau.map_or_else(|| UNKNOWN.to_owned(), |tau| format!("{tau:.4}"));
    let entries = plural_entries(difference.entries);
    let mut text =
        format!("Kendall's tau {tau} over {entries}, {} moved\n", difference.moved.len());
    for (n, file) in [(difference.only_in_a, "first"), (difference.only_in_b, "second")] {
        if 0 < n {
            text += &format!("{} only in the {file} file\n", plural_entries(n));
        }
    }
    if difference.moved.is_empty() {
        return text;
    }
    let mut table = Table::new(&[
        ("moved most", Align::Left),
        ("candidate", Align::Left),
        ("place in A", Align::Right),
        ("in B", Align::Right),
        ("SQNR in A", Align::Right),
        ("in B", Align::Right),
    ]);
    for moved in difference.moved.iter().take(SHOWN) {
        table.row([
            moved.group.clone(),
            moved.candidate.clone(),
            moved.place_in_a.to_string(),
            moved.place_in_b.to_string(),
            decibels(moved.sqnr_db_in_a),
            decibels(moved.sqnr_db_in_b),
        ]);
    }
    format!("{text}{table}\n")
}

fn plural_entries(n: u64) -> String {
    if n == 1 { "1 entry".to_owned() } else { format!("{n} entries") }
}

/// What was expected beside what was found, a row each; no newline at the end.
pub fn unexpected(changes: &[Change]) -> String {
    let mut table =
        Table::new(&[("group", Align::Left), ("found", Align::Left), ("expected", Align::Left)]);
    for change in changes {
        table.row([change.key.clone(), text(&change.a), text(&change.b)]);
    }
    table.to_string()
}

fn changes(changes: &[Change]) -> String {
    let mut table = Table::new(&[("", Align::Left), ("A", Align::Left), ("B", Align::Left)]);
    for change in changes {
        table.row([change.key.clone(), text(&change.a), text(&change.b)]);
    }
    table.to_string()
}

/// As in the file, but for quotes.
fn text(value: &Value) -> String {
    match value {
        Value::Null => UNKNOWN.to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::artifact::{Config, example};

    #[test]
    fn configurations() {
        let mut other: Config = example::config();
        let difference = |other: &Config| ConfigDifference::new(&example::config(), other).unwrap();
        assert_eq!(config_difference(&difference(&other)), "no difference\n");
        other.groups[0].candidate = "W4A8".parse().unwrap();
        other.quality.sqnr_db = None;
        expect![[r#"
            2 differences
                             A     B
            x                W8A8  W4A8
            quality.sqnr_db  31.2  -
        "#]]
        .assert_eq(&config_difference(&difference(&other)));
        expect![[r#"
            group  found  expected
            x      W8A8   W4A8"#]]
        .assert_eq(&unexpected(&difference(&other).changes[..1]));
    }
}
