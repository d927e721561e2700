//! [`Candidates`]: the list of `--candidates`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::quant::{Bits, Candidate, CandidateError};

/// Distinct candidates with weight bits, most precise first; never empty.
///
/// The order they were listed in is forgotten, so that it cannot show in a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Candidate>", into = "Vec<Candidate>")]
pub struct Candidates(Vec<Candidate>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CandidatesError {
    #[error("the list of candidates is empty, expected at least one, such as `W8A8`")]
    Empty,

    #[error("candidate `{candidate}` is listed more than once")]
    Duplicate { candidate: Candidate },

    #[error("candidate `{candidate}` has no weight bits, expected a pair such as `W8{candidate}`")]
    NoWeight { candidate: Candidate },

    #[error(transparent)]
    Candidate(CandidateError),
}

impl Candidates {
    pub fn new(mut candidates: Vec<Candidate>) -> Result<Candidates, CandidatesError> {
        if candidates.is_empty() {
            return Err(CandidatesError::Empty);
        }
        if let Some(&candidate) = candidates.iter().find(|candidate| candidate.weight.is_none()) {
            return Err(CandidatesError::NoWeight { candidate });
        }
        candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.precision()));
        if let Some(equal) = candidates.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(CandidatesError::Duplicate { candidate: equal[0] });
        }
        Ok(Candidates(candidates))
    }

    /// The choices of a group with weights, most precise first.
    pub fn as_slice(&self) -> &[Candidate] {
        &self.0
    }

    /// The choices of a group without weights: the distinct activation widths, widest first.
    pub fn activations(&self) -> Vec<Candidate> {
        let mut widths: Vec<Bits> = self.0.iter().map(|candidate| candidate.activation).collect();
        widths.sort();
        widths.dedup();
        widths.into_iter().rev().map(Candidate::activation_only).collect()
    }

    /// What fractions of a budget are fractions of, where every group takes it.
    pub fn most_precise(&self) -> Candidate {
        self.0[0]
    }
}

impl FromStr for Candidates {
    type Err = CandidatesError;

    fn from_str(text: &str) -> Result<Candidates, CandidatesError> {
        if text.trim().is_empty() {
            return Err(CandidatesError::Empty);
        }
        let parse = |part: &str| part.trim().parse().map_err(CandidatesError::Candidate);
        Candidates::new(text.split(',').map(parse).collect::<Result<_, _>>()?)
    }
}

impl fmt::Display for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0[0])?;
        self.0[1..].iter().try_for_each(|candidate| write!(f, ",{candidate}"))
    }
}

impl TryFrom<Vec<Candidate>> for Candidates {
    type Error = CandidatesError;

    fn try_from(candidates: Vec<Candidate>) -> Result<Candidates, CandidatesError> {
        Candidates::new(candidates)
    }
}

impl From<Candidates> for Vec<Candidate> {
    fn from(candidates: Candidates) -> Vec<Candidate> {
        candidates.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_order_does_not_matter() {
        for text in ["W4A8,W8A8,W8A16", "W8A16, W4A8 ,W8A8"] {
            let candidates: Candidates = text.parse().unwrap();
            assert_eq!(candidates.to_string(), "W8A16,W8A8,W4A8");
            assert_eq!(candidates.most_precise().to_string(), "W8A16");
            let json = serde_json::to_string(&candidates).unwrap();
            assert_eq!(json, r#"["W8A16","W8A8","W4A8"]"#);
            assert_eq!(serde_json::from_str::<Candidates>(&json).unwrap(), candidates);
        }
    }

    #[test]
    fn groups_without_weights_choose_among_the_activation_widths() {
        for (text, expected) in [
            ("W4A8,W8A8,W8A16", vec!["A16", "A8"]),
            ("W4A16,W16A4", vec!["A16", "A4"]),
            ("W4A4,W32A32,W8A4", vec!["A32", "A4"]),
        ] {
            let candidates: Candidates = text.parse().unwrap();
            let activations = candidates.activations();
            assert_eq!(activations.iter().map(Candidate::to_string).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn refusals() {
        for (text, message) in [
            ("", "the list of candidates is empty, expected at least one, such as `W8A8`"),
            ("W8A8,W4A8,W8A8", "candidate `W8A8` is listed more than once"),
            ("W4A8,W04A8", "candidate `W4A8` is listed more than once"),
            ("W8A8,A8", "candidate `A8` has no weight bits, expected a pair such as `W8A8`"),
            ("W8A8,W4A99", "activation bits are 99, expected 2 to 16, or 32 for float"),
            (
                "W8A8,,W4A8",
                "candidate is ``, expected a form such as `W4A8`, or `A8` without weights",
            ),
        ] {
            assert_eq!(text.parse::<Candidates>().unwrap_err().to_string(), message);
        }
    }
}
