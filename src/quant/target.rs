//! [`Target`]: a hardware description, as data. The built-in ones are files of the same form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::graph::patterns::Chain;
use crate::quant::{Bits, Candidate, Scheme};

/// The built-in targets: name and file.
const BUILT_IN: &[(&str, &str)] = &[("generic", include_str!("targets/generic.json"))];

/// The schema this version reads and writes.
pub const TARGET_SCHEMA: &str = "mpq/target/1";

/// What the hardware can do and what it forces together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub schema: String,
    pub name: String,
    #[serde(default)]
    pub description: String,
    pub activations: ActivationSchemes,
    pub weights: Scheme,
    /// Candidates the hardware has at all; `null` for any.
    #[serde(default)]
    pub candidates: Option<Vec<Candidate>>,
    /// What certain operators may take; where several rules name one, all hold.
    #[serde(default)]
    pub rules: Vec<OperatorRule>,
    /// Operators that are never quantized.
    #[serde(default)]
    pub keep_float: Vec<String>,
    /// Operators that would pass an encoding on but get a range of their own here.
    #[serde(default)]
    pub requantized: Vec<String>,
    /// Chains of nodes that are computed as one: only the end is rounded.
    #[serde(default)]
    pub fused: Vec<Chain>,
    /// Operators whose inputs depend on each other.
    #[serde(default)]
    pub ties: Vec<Tie>,
}

/// How activations are encoded, by width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivationSchemes {
    pub default: Scheme,
    /// Exceptions.
    #[serde(default)]
    pub by_bits: BTreeMap<u8, Scheme>,
}

impl ActivationSchemes {
    pub fn scheme(&self, bits: Bits) -> Scheme {
        self.by_bits.get(&bits.get()).copied().unwrap_or(self.default)
    }
}

/// Restricts the candidates of some operators.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorRule {
    pub operators: Vec<String>,
    pub candidates: Vec<Candidate>,
}

/// Makes the inputs of some operators depend on each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tie {
    pub operators: Vec<String>,
    pub inputs: Share,
    /// Whether the output shares it too.
    #[serde(default)]
    pub output: bool,
}

/// What tied activations have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// Nothing.
    Own,
    /// The choice of the group; scales differ.
    SameBits,
    /// Scale and zero point as well.
    SameEncoding,
}

#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("target is `{found}`, expected {expected} or a file")]
    Unknown { found: String, expected: String },

    #[error("not a target file: {source}")]
    Parse { source: serde_json::Error },

    #[error("schema is `{found}`, expected `{TARGET_SCHEMA}`")]
    Schema { found: String },

    #[error("the {what} scheme is symmetric and unsigned, expected signed with symmetric")]
    Scheme { what: &'static str },
}

impl Target {
    /// A built-in target.
    pub fn built_in(name: &str) -> Result<Target, TargetError> {
        let file = BUILT_IN.iter().find(|(known, _)| *known == name);
        let (_, text) = file.ok_or_else(|| TargetError::Unknown {
            found: name.to_owned(),
            expected: Target::names()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", "),
        })?;
        Target::parse(text)
    }

    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// A target from the text of its file.
    pub fn parse(text: &str) -> Result<Target, TargetError> {
        let target: Target =
            serde_json::from_str(text).map_err(|source| TargetError::Parse { source })?;
        if target.schema != TARGET_SCHEMA {
            return Err(TargetError::Schema { found: target.schema });
        }
        let is_broken = |scheme: &Scheme| scheme.symmetric && !scheme.signed;
        let activations = &target.activations;
        if std::iter::once(&activations.default).chain(activations.by_bits.values()).any(is_broken)
        {
            return Err(TargetError::Scheme { what: "activation" });
        }
        if is_broken(&target.weights) || !target.weights.symmetric {
            return Err(TargetError::Scheme { what: "weight" });
        }
        Ok(target)
    }

    /// Whether an operator may take a candidate.
    pub fn allows(&self, op_type: &str, candidate: Candidate) -> bool {
        let listed = |list: &[Candidate]| {
            list.iter().any(|allowed| match candidate.weight {
                Some(_) => *allowed == candidate,
                None => allowed.activation == candidate.activation,
            })
        };
        let rules = self.rules.iter().filter(|rule| rule.operators.iter().any(|op| op == op_type));
        let is_float =
            candidate.activation.is_float() && candidate.weight.is_none_or(Bits::is_float);
        is_float
            || (self.candidates.as_deref().is_none_or(listed)
                && rules.map(|rule| rule.candidates.as_slice()).all(listed))
    }

    /// What the inputs of an operator share, and whether with its output.
    pub fn tie(&self, op_type: &str) -> (Share, bool) {
        let tie = self.ties.iter().find(|tie| tie.operators.iter().any(|op| op == op_type));
        tie.map_or((Share::Own, false), |tie| (tie.inputs, tie.output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_targets_parse() {
        for name in Target::names() {
            assert_eq!(Target::built_in(name).unwrap().name, name);
        }
        let error = Target::built_in("toaster").unwrap_err().to_string();
        assert_eq!(error, "target is `toaster`, expected `generic` or a file");
    }

    #[test]
    fn bad_files() {
        let text = BUILT_IN[0].1;
        let newer = text.replace("mpq/target/1", "mpq/target/2");
        let error = Target::parse(&newer).unwrap_err().to_string();
        assert_eq!(error, "schema is `mpq/target/2`, expected `mpq/target/1`");
        let typo = text.replace("\"ties\"", "\"tyes\"");
        assert!(Target::parse(&typo).unwrap_err().to_string().contains("tyes"));
        let broken = text.replace("\"signed\": true", "\"signed\": false");
        let error = Target::parse(&broken).unwrap_err().to_string();
        assert_eq!(
            error,
            "the weight scheme is symmetric and unsigned, expected signed with symmetric"
        );
    }

    #[test]
    fn rules_restrict() {
        let mut target = Target::built_in("generic").unwrap();
        let w8a8: Candidate = "W8A8".parse().unwrap();
        target.rules.push(OperatorRule {
            operators: vec!["Softmax".to_owned()],
            candidates: vec!["W8A16".parse().unwrap()],
        });
        assert!(target.allows("Conv", w8a8));
        assert!(!target.allows("Softmax", "A8".parse().unwrap()));
        assert!(target.allows("Softmax", "A16".parse().unwrap()));
    }
}
