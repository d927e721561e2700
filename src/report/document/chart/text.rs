//! Names in pictures and pages: escaped, and shortened in the middle.

/// Text as markup, in elements and in attributes; what XML may not hold becomes U+FFFD.
pub(in crate::report::document) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ if is_hidden(character) => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// Control characters, also those that turn the direction of what follows.
pub(in crate::report::document) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Columns that a character takes of a fixed grid, about: those of East Asia take two.
fn columns(character: char) -> usize {
    if character < '\u{1100}' { 1 } else { 2 }
}

/// At most `most` columns: a longer text loses its middle, since layers of a network differ at
/// both ends of their names.
pub(in crate::report::document) fn shorten(text: &str, most: usize) -> String {
    if text.chars().map(columns).sum::<usize>() <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(1);
    let taken = |characters: &mut dyn Iterator<Item = char>, room: usize| {
        let mut used = 0;
        characters
            .take_while(|&character| {
                used += columns(character);
                used <= room
            })
            .collect::<String>()
    };
    let begin = taken(&mut text.chars(), kept - kept / 2);
    let end = taken(&mut text.chars().rev(), kept / 2);
    format!("{begin}…{}", end.chars().rev().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_harmless() {
        assert_eq!(escape("</text>&\"'"), "&lt;/text&gt;&amp;&quot;&#39;");
        assert_eq!(escape("a\u{0}b\u{202e}c\nd"), "a\u{fffd}b\u{fffd}c\nd");
    }

    #[test]
    fn both_ends_of_long_names_are_kept() {
        for (text, most, expected) in [
            ("short", 5, "short"),
            ("/model/layer.3/attention/self/query", 15, "/model/…f/query"),
            ("längér", 4, "lä…r"),
            ("ab", 1, "…"),
            ("日本語の名前", 8, "日本…前"),
        ] {
            assert_eq!(shorten(text, most), expected);
        }
    }
}
