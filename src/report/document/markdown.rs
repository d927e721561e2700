//! All parts as tables of text.

use crate::report::Align;
use crate::report::document::chart::is_hidden;
use crate::report::document::parts::notes;
use crate::report::document::sheet::Sheet;
use crate::report::document::{Format, Part, Report};

pub(super) const FORMAT: Format =
    Format { name: "markdown", extension: "md", part: None, shows: |_| true, write };

fn write(report: &Report<'_>, parts: &[Part]) -> String {
    let mut text = format!("# {}\n", cell(&report.config.model.file));
    for note in notes(report) {
        text += &format!("\n> {note}\n");
    }
    for part in parts {
        text += &format!("\n## {}\n\n{}\n", part.title, (part.doc)(report));
        let sheet = (part.sheet)(report);
        if !sheet.rows.is_empty() {
            text += &format!("\n{}", table(&sheet));
        }
    }
    text
}

fn table(sheet: &Sheet) -> String {
    let line = |cells: &mut dyn Iterator<Item = String>| {
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let mut text = line(&mut sheet.columns.iter().map(|column| cell(&column.title)));
    text += &line(&mut sheet.columns.iter().map(|column| match column.align {
        Align::Left => "---".to_owned(),
        Align::Right => "---:".to_owned(),
    }));
    for row in &sheet.rows {
        text +=
            &line(&mut row.cells.iter().map(|found| match (row.is_marked, cell(&found.text)) {
                (true, text) if !text.is_empty() => format!("**{text}**"),
                (_, text) => text,
            }));
    }
    text
}

/// As a cell and as HTML, it is the text and nothing else.
fn cell(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str("<br>"),
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '>' | '~' => {
                escaped.push('\\');
                escaped.push(character);
            }
            _ if is_hidden(character) => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_text() {
        assert_eq!(cell("a|b_c\n<i>&\u{7}"), "a\\|b\\_c<br>&lt;i\\>&amp;\u{fffd}");
    }
}
