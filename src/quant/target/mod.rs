//! [`Target`]: a hardware description, as data. The built-in ones are files of the same form.

mod aimet;
mod check;
mod price;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::graph::patterns::Chain;
use crate::quant::{Bits, Candidate, Pattern, Pin, Range, Scheme};

pub use check::TargetError;
pub use price::ConversionPrice;

/// The built-in targets: name and file.
const BUILT_IN: &[(&str, &str)] = &[
    ("generic", include_str!("../targets/generic.json")),
    ("htp", include_str!("../targets/htp.json")),
    ("ort-cpu", include_str!("../targets/ort-cpu.json")),
    ("tflite", include_str!("../targets/tflite.json")),
    ("tensorrt", include_str!("../targets/tensorrt.json")),
];

/// The schema this version reads and writes.
pub const TARGET_SCHEMA: &str = "mpq/target/1";

/// Stands for every operator in the lists that say so.
const ALL: &str = "*";

/// What the hardware can do and what it forces together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub schema: String,
    pub name: String,
    #[serde(default)]
    pub description: String,
    /// Where the rules come from.
    #[serde(default)]
    pub source: String,
    pub activations: ActivationSchemes,
    pub weights: Scheme,
    #[serde(default)]
    pub weight_scales: WeightScales,
    /// Candidates the hardware has at all; `null` for any.
    #[serde(default)]
    pub candidates: Option<Vec<Candidate>>,
    /// What certain operators may take; where several rules name one, all hold.
    #[serde(default)]
    pub rules: Vec<OperatorRule>,
    /// The only operators that are quantized; `null` for all.
    #[serde(default)]
    pub quantized: Option<Vec<String>>,
    /// Operators that are never quantized.
    #[serde(default)]
    pub keep_float: Vec<String>,
    /// Operators that would pass an encoding on but get a range of their own here; `*` for all.
    #[serde(default)]
    pub requantized: Vec<String>,
    /// Operators whose output is not rounded: it carries the encoding of their first input.
    #[serde(default)]
    pub not_requantized: Vec<String>,
    /// Operators whose output has an encoding of a certain kind.
    #[serde(default)]
    pub outputs: Vec<OutputRule>,
    /// Whether what the network puts out is rounded only where a quantized operator reads it too.
    #[serde(default)]
    pub float_outputs: bool,
    /// Chains of nodes that are computed as one: only the end is rounded.
    #[serde(default)]
    pub fused: Vec<Chain>,
    /// Operators whose inputs depend on each other.
    #[serde(default)]
    pub ties: Vec<Tie>,
    /// What it takes to convert activations where different widths meet; empty if that is not known.
    #[serde(default)]
    pub conversions: Vec<ConversionPrice>,
    /// Choices that are forced, as by `--pin`.
    #[serde(default)]
    pub pins: Vec<TargetPin>,
    /// Patterns of what is left in float, as by `--exclude`.
    #[serde(default)]
    pub exclude: Vec<String>,
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

/// Whether weights have a scale for each output channel, by operator.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightScales {
    #[serde(default)]
    pub default: ScaleKind,
    /// Exceptions.
    #[serde(default)]
    pub by_operator: BTreeMap<String, ScaleKind>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleKind {
    #[default]
    PerChannel,
    PerTensor,
}

/// Restricts the candidates of some operators.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorRule {
    pub operators: Vec<String>,
    pub candidates: Vec<Candidate>,
}

impl OperatorRule {
    pub fn allows(&self, candidate: Candidate) -> bool {
        is_listed(&self.candidates, candidate)
    }
}

/// Float is always allowed; without weights, the activation bits count.
fn is_listed(list: &[Candidate], candidate: Candidate) -> bool {
    candidate.is_float()
        || list.iter().any(|allowed| match candidate.weight {
            Some(_) => *allowed == candidate,
            None => allowed.activation == candidate.activation,
        })
}

/// How the output of some operators is encoded, whatever was observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputRule {
    pub operators: Vec<String>,
    /// In place of the scheme of its width.
    #[serde(default)]
    pub scheme: Option<Scheme>,
    /// In place of the range that was observed.
    #[serde(default)]
    pub range: Option<FixedRange>,
    /// Exceptions to `range`.
    #[serde(default)]
    pub by_bits: BTreeMap<u8, FixedRange>,
}

impl OutputRule {
    pub fn range(&self, bits: Bits) -> Option<Range> {
        let range = self.by_bits.get(&bits.get()).or(self.range.as_ref())?;
        Some(Range::new(range.min, range.max))
    }

    fn has_range(&self) -> bool {
        self.range.is_some() || !self.by_bits.is_empty()
    }
}

/// The range of an encoding that does not depend on data; contains 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedRange {
    pub min: f32,
    pub max: f32,
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

/// A [`Pin`] in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetPin {
    pub pattern: String,
    pub candidate: Candidate,
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

    /// The texts of the built-in files, by name.
    pub fn files() -> impl Iterator<Item = (&'static str, &'static str)> {
        BUILT_IN.iter().copied()
    }

    /// A target of one's own from the text of its file, and what of it cannot be done.
    ///
    /// That file may be one of AIMET's quantsim configurations, whose target is called `stem`.
    pub fn read(text: &str, stem: &str) -> Result<(Target, Vec<String>), TargetError> {
        let file: serde_json::Value =
            serde_json::from_str(text).map_err(|source| TargetError::Parse { source })?;
        let (target, notes) = match aimet::is_config(&file) {
            true => aimet::read(&file, stem)?,
            false => (Target::parse(text)?, Vec::new()),
        };
        if Target::names().any(|name| name == target.name) {
            return Err(TargetError::Name { name: target.name });
        }
        Ok((target, notes))
    }

    /// A target from the text of its file.
    pub fn parse(text: &str) -> Result<Target, TargetError> {
        let target: Target =
            serde_json::from_str(text).map_err(|source| TargetError::Parse { source })?;
        target.check()?;
        Ok(target)
    }

    /// Whether the hardware has a candidate at all.
    pub fn has(&self, candidate: Candidate) -> bool {
        self.candidates.as_deref().is_none_or(|list| is_listed(list, candidate))
    }

    /// What restricts the candidates of an operator.
    pub fn rules_of(&self, operator: &str) -> impl Iterator<Item = &OperatorRule> {
        self.rules.iter().filter(move |rule| rule.operators.iter().any(|op| op == operator))
    }

    /// Whether an operator may take a candidate.
    pub fn allows(&self, operator: &str, candidate: Candidate) -> bool {
        self.has(candidate) && self.rules_of(operator).all(|rule| rule.allows(candidate))
    }

    /// Whether an operator is left in float.
    pub fn keeps_float(&self, operator: &str) -> bool {
        let names = |list: &[String]| list.iter().any(|op| op == operator);
        names(&self.keep_float) || self.quantized.as_deref().is_some_and(|list| !names(list))
    }

    /// Whether there are operators that are left in float.
    pub fn keeps_some_float(&self) -> bool {
        self.quantized.is_some() || !self.keep_float.is_empty()
    }

    /// Whether an operator that only moves values gets a range of its own.
    pub fn requantizes(&self, operator: &str) -> bool {
        self.requantized.iter().any(|op| op == operator || op == ALL) && !self.carries(operator)
    }

    /// Whether the output of an operator carries the encoding of its first input.
    pub fn carries(&self, operator: &str) -> bool {
        self.not_requantized.iter().any(|op| op == operator)
    }

    /// Whether the weights of an operator have a scale for each output channel.
    pub fn scales(&self, operator: &str) -> ScaleKind {
        let scales = &self.weight_scales;
        scales.by_operator.get(operator).copied().unwrap_or(scales.default)
    }

    /// How the outputs of an operator are encoded, where there is a rule.
    pub fn output_rule(&self, operator: &str) -> Option<&OutputRule> {
        self.outputs.iter().find(|rule| rule.operators.iter().any(|op| op == operator))
    }

    /// The scheme of what an operator puts out; `None` for an input of the network.
    pub fn output_scheme(&self, operator: Option<&str>, bits: Bits) -> Scheme {
        let rule = operator.and_then(|operator| self.output_rule(operator));
        rule.and_then(|rule| rule.scheme).unwrap_or_else(|| self.activations.scheme(bits))
    }

    /// Whether the range of what an operator puts out is given, so that none is shared with others.
    pub fn fixes_range(&self, operator: &str) -> bool {
        self.output_rule(operator).is_some_and(OutputRule::has_range)
    }

    /// What the inputs of an operator share, and whether with its output.
    pub fn tie(&self, operator: &str) -> (Share, bool) {
        let tie = self.ties.iter().find(|tie| tie.operators.iter().any(|op| op == operator));
        tie.map_or((Share::Own, false), |tie| (tie.inputs, tie.output))
    }

    /// Choices that are forced on every network.
    pub fn forced(&self) -> Vec<Pin> {
        let pinned =
            self.pins.iter().map(|pin| Pin::new(Pattern::new(&pin.pattern), pin.candidate));
        let excluded = self.exclude.iter().map(|pattern| Pin::exclusion(Pattern::new(pattern)));
        pinned.chain(excluded).map(|pin| pin.of_target(&self.name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_targets_parse() {
        for name in Target::names() {
            let target = Target::built_in(name).unwrap();
            assert_eq!(target.name, name);
            assert!(!target.source.is_empty() && !target.description.is_empty(), "{name}");
        }
        let error = Target::built_in("toaster").unwrap_err().to_string();
        assert!(error.starts_with("target is `toaster`, expected `generic`"), "{error}");
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
        assert!(target.allows("Softmax", "W32A32".parse().unwrap()));
    }

    #[test]
    fn operators_by_list() {
        let mut target = Target::built_in("generic").unwrap();
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        target.requantized = names(&["*"]);
        target.not_requantized = names(&["MaxPool"]);
        assert!(target.requantizes("Reshape") && !target.requantizes("MaxPool"));
        target.quantized = Some(names(&["Conv", "Softmax"]));
        target.keep_float = names(&["Softmax"]);
        let floats = ["Conv", "Softmax", "Erf"].map(|operator| target.keeps_float(operator));
        assert_eq!(floats, [false, true, true]);
        target.weight_scales.by_operator.insert("Gemm".to_owned(), ScaleKind::PerTensor);
        assert_eq!(target.scales("Gemm"), ScaleKind::PerTensor);
        assert_eq!(target.scales("Conv"), ScaleKind::PerChannel);
    }
}
