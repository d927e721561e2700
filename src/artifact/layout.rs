//! Line breaks for JSON: what fits stays on its line, so that people and `diff` can read it.

/// A value longer than this is broken over lines, unless it is an array of plain values.
const WIDTH: usize = 120;

/// Breaks compact JSON, as `serde_json` writes it, over lines; ends in a line break.
pub(super) fn layout(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 9 / 8);
    value(json, 0, &mut out);
    out.push('\n');
    out
}

fn value(json: &str, indent: usize, out: &mut String) {
    let is_container = json.starts_with(['{', '[']);
    if !is_container || indent + json.len() <= WIDTH || is_flat_array(json) {
        out.push_str(json);
        return;
    }
    out.push_str(&json[..1]);
    let is_object = json.starts_with('{');
    for (index, item) in items(&json[1..json.len() - 1]).enumerate() {
        out.push_str(if index == 0 { "\n" } else { ",\n" });
        out.extend(std::iter::repeat_n(' ', indent + 2));
        let key = if is_object { string_end(item) + 1 } else { 0 };
        out.push_str(&item[..key]);
        value(&item[key..], indent + 2, out);
    }
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
    out.push_str(&json[json.len() - 1..]);
}

fn is_flat_array(json: &str) -> bool {
    json.starts_with('[')
        && items(&json[1..json.len() - 1]).all(|item| !item.starts_with(['[', '{']))
}

/// What stands between the commas at the top level.
fn items(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(json).filter(|json| !json.is_empty());
    std::iter::from_fn(move || {
        let json = rest?;
        let end = item_end(json);
        rest = json.get(end + 1..);
        Some(&json[..end])
    })
}

fn item_end(json: &str) -> usize {
    let bytes = json.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at += string_end(&json[at..]) - 1,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b',' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    at
}

/// Where the string that `json` begins with is over, its last quote included.
fn string_end(json: &str) -> usize {
    let bytes = json.as_bytes();
    let mut at = 1;
    while bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_line_breaks_and_indents_are_added() {
        let long = "x".repeat(WIDTH);
        for value in [
            json!({}),
            json!([]),
            json!("a, \"b\" [c] {d} \\"),
            json!({ "k[\"{,": [long, { "a\\": [], "b": {} }], "\\\"": "\\\"" }),
            json!([[1, 2], [long, "],"], [[[long]]], null, 1.5e300, -0.0]),
            json!({ "empty": [{}, [], ""], "ü🦀": long }),
        ] {
            let laid_out = layout(&value.to_string());
            assert_eq!(serde_json::from_str::<Value>(&laid_out).unwrap(), value);
            let joined: String = laid_out.lines().map(str::trim_start).collect();
            assert_eq!(joined, value.to_string());
        }
    }

    #[test]
    fn what_fits_stays_on_its_line() {
        let numbers: Vec<u32> = (1000..1030).collect();
        let value = json!({
            "short": { "a": 1, "b": [1, 2] },
            "numbers": numbers,
            "objects": [{ "id": "x", "numbers": numbers }, { "id": "y", "numbers": [] }],
        });
        expect![[r#"
            {
              "short":{"a":1,"b":[1,2]},
              "numbers":[1000,1001,1002,1003,1004,1005,1006,1007,1008,1009,1010,1011,1012,1013,1014,1015,1016,1017,1018,1019,1020,1021,1022,1023,1024,1025,1026,1027,1028,1029],
              "objects":[
                {
                  "id":"x",
                  "numbers":[1000,1001,1002,1003,1004,1005,1006,1007,1008,1009,1010,1011,1012,1013,1014,1015,1016,1017,1018,1019,1020,1021,1022,1023,1024,1025,1026,1027,1028,1029]
                },
                {"id":"y","numbers":[]}
              ]
            }
        "#]]
        .assert_eq(&layout(&value.to_string()));
    }
}
