//! Comma-separated values with a header: quoted fields, doubled quotes, line breaks in quotes.

/// The fields of each record, with the line that it begins on; empty lines are no records.
///
/// Fails with the line of a quote that is not closed.
pub(crate) fn parse(text: &str) -> Result<Vec<(usize, Vec<String>)>, usize> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut records = Vec::new();
    let mut chars = text.chars().peekable();
    let (mut line, mut start) = (1, 1);
    let mut fields = vec![String::new()];
    while let Some(c) = chars.next() {
        let field = fields.last_mut().expect("there is always a field");
        match c {
            '"' if field.is_empty() => {
                let opened = line;
                loop {
                    match chars.next() {
                        Some('"') if chars.next_if_eq(&'"').is_some() => field.push('"'),
                        Some('"') => break,
                        Some(c) => {
                            line += usize::from(c == '\n');
                            field.push(c);
                        }
                        None => return Err(opened),
                    }
                }
            }
            ',' => fields.push(String::new()),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => {
                records.push((start, std::mem::replace(&mut fields, vec![String::new()])));
                line += 1;
                start = line;
            }
            c => field.push(c),
        }
    }
    records.push((start, fields));
    records.retain(|(_, fields)| *fields != [""]);
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let parsed = |text: &str| {
            let records = parse(text).unwrap();
            records
                .into_iter()
                .map(|(line, fields)| format!("{line}:{}", fields.join("|")))
                .collect()
        };
        let cases: &[(&str, &[&str])] = &[
            ("file,label\na.png,3\n", &["1:file|label", "2:a.png|3"]),
            ("\u{feff}a,b\r\n1,2", &["1:a|b", "2:1|2"]),
            ("0,\"one, \"\"two\"\"\nthree\"\n\n1,x\n", &["1:0|one, \"two\"\nthree", "4:1|x"]),
            ("a,,\n", &["1:a||"]),
            ("", &[]),
        ];
        for (text, expected) in cases {
            let found: Vec<String> = parsed(text);
            assert_eq!(&found, expected, "{text:?}");
        }
        assert_eq!(parse("a\n\"b\nc"), Err(2));
    }
}
