//! The table of a part, for programs: RFC 4180, with all digits.

use crate::report::document::{Format, Part, Report};

pub(super) const FORMAT: Format =
    Format { name: "csv", extension: "csv", part: Some("groups"), shows: |_| true, write };

fn write(report: &Report<'_>, parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        let sheet = (part.sheet)(report);
        text += &line(sheet.columns.iter().map(|column| column.key.as_str()));
        for row in &sheet.rows {
            text += &line(row.cells.iter().map(|cell| cell.value.as_str()));
        }
    }
    text
}

fn line<'a>(fields: impl Iterator<Item = &'a str>) -> String {
    fields.map(field).collect::<Vec<_>>().join(",") + "\n"
}

fn field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        assert_eq!(line(["a", "b,c", "d\"e", ""].into_iter()), "a,\"b,c\",\"d\"\"e\",\n");
    }
}
