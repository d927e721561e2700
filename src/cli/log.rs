//! `--json-log`: what happens, an object a line.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::cli::phase::Reach;

#[derive(Serialize)]
struct Line<'a, T> {
    event: &'a str,
    time: f64,
    #[serde(flatten)]
    what: T,
}

#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
}

pub(super) fn message(event: &str, text: &str) -> String {
    line(event, Text { text })
}

pub(super) fn progress(reach: &Reach) -> String {
    line("progress", reach)
}

fn line(event: &str, what: impl Serialize) -> String {
    serde_json::to_string(&Line { event, time: now(), what }).expect("plain data with text keys")
}

/// Seconds since 1970, in milliseconds; 0 where the clock is before that.
pub(super) fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as f64 / 1000.
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::{Value, json};

    use super::*;
    use crate::cli::phase::Phase;

    fn parsed(line: &str) -> Value {
        let mut value: Value = serde_json::from_str(line).unwrap();
        let time = value.as_object_mut().unwrap().shift_remove("time").unwrap();
        assert!(1.7e9 < time.as_f64().unwrap());
        value
    }

    #[test]
    fn a_line_is_an_object() {
        let line = message("warning", "two\nlines");
        assert_eq!(line.lines().count(), 1);
        assert_eq!(parsed(&line), json!({ "event": "warning", "text": "two\nlines" }));
        let now = Instant::now();
        let expected = json!({
            "event": "progress", "phase": "Calibration", "done": 0, "total": 8, "known": 0,
            "elapsed_s": 0.0, "left_s": null
        });
        assert_eq!(parsed(&progress(&Phase::new("Calibration", 8, now).reach(now))), expected);
    }
}
