//! Numbers as people read them, each with its unit.

/// What is unknown.
pub(super) const UNKNOWN: &str = "-";

const PREFIXES: [&str; 6] = ["", "k", "M", "G", "T", "P"];
const BYTE_UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// A count with three digits and an SI prefix, such as `385 M`.
pub fn count(n: u64) -> String {
    let (value, place) = scaled(n as f64, 1000., PREFIXES.len());
    match PREFIXES[place] {
        "" => n.to_string(),
        prefix => format!("{} {prefix}", three_digits(value)),
    }
}

/// Bytes with three digits and a binary unit, such as `4.00 MiB`.
pub fn bytes(n: u64) -> String {
    let (value, place) = scaled(n as f64, 1024., BYTE_UNITS.len());
    match place {
        0 => format!("{n} B"),
        _ => format!("{} {}", three_digits(value), BYTE_UNITS[place]),
    }
}

/// A measured or predicted SQNR; `None` is no noise at all.
pub fn decibels(sqnr_db: Option<f64>) -> String {
    sqnr_db.map_or_else(|| "no noise".to_owned(), |db| format!("{db:.2} dB"))
}

/// A number of unknown size: up to six digits, without zeros at the end.
pub(super) fn plain(value: f64) -> String {
    let size = value.abs();
    if size != 0. && !(1e-4..1e6).contains(&size) {
        return format!("{value:.4e}");
    }
    let decimals = 5 - size.max(1.).log10().floor() as usize;
    let text = format!("{value:.decimals$}");
    if decimals == 0 {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

pub(super) fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| format!("{value:.3}"))
}

/// A fraction with a digit behind the point: `57.2 %`.
pub(super) fn percent(fraction: f64) -> String {
    format!("{:.1} %", 100. * fraction)
}

/// `1 group`, `2 groups`.
pub(super) fn plural(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// The value in the largest unit that leaves at least 1 of it after rounding to three digits.
fn scaled(mut value: f64, base: f64, n_units: usize) -> (f64, usize) {
    let mut place = 0;
    while base - 0.5 <= value && place + 1 < n_units {
        value /= base;
        place += 1;
    }
    (value, place)
}

fn three_digits(value: f64) -> String {
    let decimals = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.00 k"),
            (667_776, "668 k"),
            (999_499, "999 k"),
            (999_500, "1.00 M"),
            (385_012_345, "385 M"),
            (98_560_000_000, "98.6 G"),
        ] {
            assert_eq!(count(n), text);
        }
        for (n, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (52_300, "51.1 KiB"),
            (4 << 20, "4.00 MiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
        for (value, text) in [
            (0., "0"),
            (0.123_456_7, "0.12346"),
            (-12.5, "-12.5"),
            (100., "100"),
            (999_999.4, "999999"),
            (123_456., "123456"),
            (1e6, "1.0000e6"),
            (3e-5, "3.0000e-5"),
        ] {
            assert_eq!(plain(value), text);
        }
        assert_eq!(decibels(Some(31.204)), "31.20 dB");
        assert_eq!(decibels(None), "no noise");
    }
}
