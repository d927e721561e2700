//! [`Candidate`]: the weight and activation bits that a group may take, written `W4A8` or `A8`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A bit-width: 2 to 16, or 32 for what is left in float.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Bits(u8);

impl Bits {
    /// Not quantized.
    pub const FLOAT: Bits = Bits(32);
    /// The most that an integer has.
    pub const MOST: Bits = Bits(16);

    pub const fn new(bits: u8) -> Option<Bits> {
        if matches!(bits, 2..=16 | 32) { Some(Bits(bits)) } else { None }
    }

    pub const fn get(self) -> u8 {
        self.0
    }

    pub const fn is_float(self) -> bool {
        self.0 == Bits::FLOAT.0
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bits are {found}, expected 2 to 16, or 32 for float")]
pub struct BitsError {
    pub found: u32,
}

impl TryFrom<u32> for Bits {
    type Error = BitsError;

    fn try_from(bits: u32) -> Result<Bits, BitsError> {
        u8::try_from(bits).ok().and_then(Bits::new).ok_or(BitsError { found: bits })
    }
}

impl From<Bits> for u32 {
    fn from(bits: Bits) -> u32 {
        bits.0.into()
    }
}

/// The choice of a group: `W4A8`, or `A8` where the group has no weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Candidate {
    pub weight: Option<Bits>,
    pub activation: Bits,
}

impl Candidate {
    pub const fn pair(weight: Bits, activation: Bits) -> Candidate {
        Candidate { weight: Some(weight), activation }
    }

    pub const fn activation_only(activation: Bits) -> Candidate {
        Candidate { weight: None, activation }
    }

    /// Whether nothing is quantized.
    pub fn is_float(&self) -> bool {
        self.activation.is_float() && self.weight.is_none_or(Bits::is_float)
    }

    /// Weight bits times activation bits: what one MAC costs. Missing weights count 1.
    pub fn product(&self) -> u32 {
        self.weight.map_or(1, u32::from) * u32::from(self.activation)
    }

    /// Weight bits plus activation bits. Missing weights count 0.
    pub fn sum(&self) -> u32 {
        self.weight.map_or(0, u32::from) + u32::from(self.activation)
    }

    /// What orders candidates by precision: the product, then the weight bits.
    pub fn precision(&self) -> (u32, Option<Bits>) {
        (self.product(), self.weight)
    }

    /// Raises neither the weight nor the activation bits of `other`.
    ///
    /// A candidate with weights and one without are never comparable.
    pub fn is_within(&self, other: &Candidate) -> bool {
        self.weight.is_some() == other.weight.is_some()
            && self.weight <= other.weight
            && self.activation <= other.activation
    }

    /// Raises neither the weight nor the activation bits of `other`, and lowers at least one.
    pub fn is_below(&self, other: &Candidate) -> bool {
        self.is_within(other) && self != other
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(weight) = self.weight {
            write!(f, "W{weight}")?;
        }
        write!(f, "A{}", self.activation)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CandidateError {
    #[error("candidate is `{found}`, expected a form such as `W4A8`, or `A8` without weights")]
    Form { found: String },

    /// `found` is text: it may be too large for any integer.
    #[error("{role} bits are {found}, expected 2 to 16, or 32 for float")]
    Bits { role: &'static str, found: String },
}

impl FromStr for Candidate {
    type Err = CandidateError;

    fn from_str(text: &str) -> Result<Candidate, CandidateError> {
        let form = || CandidateError::Form { found: text.to_owned() };
        let (weight, activation) = text.split_once('A').ok_or_else(form)?;
        let weight = match weight {
            "" => None,
            weight => Some(weight.strip_prefix('W').ok_or_else(form)?),
        };
        let is_number =
            |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        if !is_number(activation) || !weight.is_none_or(is_number) {
            return Err(form());
        }
        Ok(Candidate {
            weight: weight.map(|digits| bits("weight", digits)).transpose()?,
            activation: bits("activation", activation)?,
        })
    }
}

fn bits(role: &'static str, digits: &str) -> Result<Bits, CandidateError> {
    let bits = digits.parse().ok().and_then(Bits::new);
    bits.ok_or_else(|| CandidateError::Bits { role, found: digits.to_owned() })
}

impl Serialize for Candidate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Candidate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Candidate, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(text: &str) -> Candidate {
        text.parse().unwrap()
    }

    #[test]
    fn text_round_trips() {
        for text in ["W4A8", "W2A16", "W16A2", "A8", "A32", "W32A32", "W32A8"] {
            assert_eq!(candidate(text).to_string(), text);
            let json = serde_json::to_string(&candidate(text)).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Candidate>(&json).unwrap(), candidate(text));
        }
    }

    #[test]
    fn refusals() {
        let form = |text| {
            format!(
                "candidate is `{text}`, expected a form such as `W4A8`, or `A8` without weights"
            )
        };
        for text in
            ["", "W", "A", "W8", "8", "w4a8", "WA8", "W4A", "W4A+8", "W-4A8", "W4A8 ", "X4A8"]
        {
            assert_eq!(text.parse::<Candidate>().unwrap_err().to_string(), form(text));
        }
        for (text, message) in [
            ("W4A99", "activation bits are 99, expected 2 to 16, or 32 for float"),
            ("W1A8", "weight bits are 1, expected 2 to 16, or 32 for float"),
            ("A0", "activation bits are 0, expected 2 to 16, or 32 for float"),
            ("W17A8", "weight bits are 17, expected 2 to 16, or 32 for float"),
            ("A4294967304", "activation bits are 4294967304, expected 2 to 16, or 32 for float"),
        ] {
            assert_eq!(text.parse::<Candidate>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn bits_are_a_json_number() {
        assert_eq!(serde_json::to_string(&Bits::FLOAT).unwrap(), "32");
        assert_eq!(serde_json::from_str::<Bits>("8").unwrap(), Bits(8));
        for found in ["0", "1", "17", "31", "264"] {
            let message = serde_json::from_str::<Bits>(found).unwrap_err().to_string();
            let expected = format!("bits are {found}, expected 2 to 16, or 32 for float");
            assert!(message.starts_with(&expected), "{message}");
        }
    }

    #[test]
    fn below_lowers_one_and_raises_none() {
        for (candidate_text, other, expected) in [
            ("W4A8", "W8A8", true),
            ("W8A8", "W8A16", true),
            ("W4A8", "W8A16", true),
            ("W8A8", "W8A8", false),
            ("W8A16", "W8A8", false),
            ("W4A16", "W8A8", false),
            ("W8A8", "W4A16", false),
            ("A8", "A16", true),
            ("A8", "W8A16", false),
            ("W8A16", "W32A32", true),
        ] {
            let below = candidate(candidate_text).is_below(&candidate(other));
            assert_eq!(below, expected, "{candidate_text} below {other}");
        }
    }

    #[test]
    fn precision_is_the_product_then_the_weight() {
        let ascending = ["A4", "A8", "W4A4", "W4A8", "W8A4", "W4A16", "W8A8", "W16A4", "W32A32"];
        assert!(ascending.is_sorted_by_key(|text| candidate(text).precision()));
    }
}
