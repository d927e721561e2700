//! Where activations of different widths meet, as text.

use std::fmt::Write as _;

use crate::artifact::Conversion;

/// Those that are told by place.
const SHOWN: usize = 8;

/// How many there are, then a line for each of the first.
pub fn conversions(conversions: &[Conversion]) -> String {
    let n = conversions.len();
    let mut text = format!("{n} conversion{}", if n == 1 { "" } else { "s" });
    for Conversion { node, reads, from_bits, to_bits, .. } in conversions.iter().take(SHOWN) {
        write!(text, "\n  `{reads}` from {from_bits} to {to_bits} bits at `{node}`")
            .expect("a String takes all");
    }
    if SHOWN < n {
        write!(text, "\n  and {} more", n - SHOWN).expect("a String takes all");
    }
    text
}
