//! AIMET's quantsim configuration files, read as targets.
//!
//! <https://quic.github.io/aimet-pages/releases/latest/quantsim/runtime_config.html>. Six sections,
//! the later ones more specific: `defaults`, `params`, `op_type`, `supergroups`, `model_input`,
//! `model_output`. Truth values are the texts `True` and `False`. They say nothing of what shares a
//! choice; that is taken from `generic`. Whatever has no counterpart is told, by its key.

use serde_json::{Map, Value};

use crate::graph::patterns::Chain;
use crate::quant::target::check::is_operator;
use crate::quant::target::{
    ActivationSchemes, FixedRange, OperatorRule, OutputRule, ScaleKind, TARGET_SCHEMA, WeightScales,
};
use crate::quant::{Bits, Candidate, Scheme, Target, TargetError};

/// Whether a file is one of AIMET's.
pub(super) fn is_config(file: &Value) -> bool {
    file.get("schema").is_none() && file.get("defaults").is_some_and(Value::is_object)
}

/// The target that a configuration stands for, and what of it cannot be done.
pub(super) fn read(file: &Value, name: &str) -> Result<(Target, Vec<String>), TargetError> {
    let mut reader = Reader { notes: Vec::new() };
    let target = reader.target(file, name)?;
    Ok((target, reader.notes))
}

struct Reader {
    /// What cannot be done, a sentence each.
    notes: Vec<String>,
}

/// A value with the keys that lead to it, by dots.
struct Entry<'a> {
    key: String,
    value: &'a Value,
}

impl<'a> Entry<'a> {
    fn wrong(&self, expected: &'static str) -> TargetError {
        TargetError::Aimet {
            key: self.key.clone(),
            found: self.value.to_string(),
            expected: expected.to_owned(),
        }
    }

    fn truth(&self) -> Result<bool, TargetError> {
        match (self.value.as_str(), self.value.as_bool()) {
            (Some("True" | "true"), _) | (_, Some(true)) => Ok(true),
            (Some("False" | "false"), _) | (_, Some(false)) => Ok(false),
            _ => Err(self.wrong("`True` or `False`")),
        }
    }

    fn number(&self) -> Result<f32, TargetError> {
        self.value.as_f64().map(|x| x as f32).ok_or_else(|| self.wrong("a number"))
    }

    fn items(&self) -> Result<Vec<Entry<'a>>, TargetError> {
        let items = self.value.as_array().ok_or_else(|| self.wrong("a list"))?.iter().enumerate();
        Ok(items
            .map(|(index, value)| Entry { key: format!("{}[{index}]", self.key), value })
            .collect())
    }

    fn entries(&self) -> Result<Vec<(&'a str, Entry<'a>)>, TargetError> {
        let map: &'a Map<String, Value> =
            self.value.as_object().ok_or_else(|| self.wrong("an object"))?;
        let entry = |(name, value): (&'a String, &'a Value)| {
            let key = match self.key.as_str() {
                "" => name.clone(),
                key => format!("{key}.{name}"),
            };
            (name.as_str(), Entry { key, value })
        };
        Ok(map.iter().map(entry).collect())
    }

    /// An entry of an object; `None` if it is left out.
    fn get(&self, name: &str) -> Result<Option<Entry<'a>>, TargetError> {
        Ok(self.entries()?.into_iter().find(|(key, _)| *key == name).map(|(_, entry)| entry))
    }
}

impl Reader {
    fn note(&mut self, key: &str, why: &str) {
        self.notes.push(format!("`{key}` {why}"));
    }

    fn unknown(&mut self, entry: &Entry<'_>) {
        self.note(&entry.key, "is not known to mpq and has no effect");
    }

    fn target(&mut self, file: &Value, name: &str) -> Result<Target, TargetError> {
        let root = Entry { key: String::new(), value: file };
        let generic = Target::built_in("generic").expect("the built-in files are tested");
        let default = Scheme::UNSIGNED;
        let mut target = Target {
            schema: TARGET_SCHEMA.to_owned(),
            name: name.to_owned(),
            description: "Read from a quantsim configuration of AIMET.".to_owned(),
            activations: ActivationSchemes { default, by_bits: Default::default() },
            weights: Scheme::SYMMETRIC,
            weight_scales: WeightScales { default: ScaleKind::PerTensor, ..Default::default() },
            requantized: vec!["*".to_owned()],
            fused: Vec::new(),
            ..generic
        };
        let mut weights = Weights::default();
        for (section, entry) in root.entries()? {
            match section {
                "defaults" => self.defaults(&entry, &mut target, &mut weights)?,
                "params" => self.params(&entry, &mut weights)?,
                "op_type" | "supergroups" | "model_input" | "model_output" => {}
                _ => self.unknown(&entry),
            }
        }
        // These build on the defaults, wherever they stand.
        if let Some(entry) = root.get("op_type")? {
            self.op_types(&entry, &mut target)?;
        }
        if let Some(entry) = root.get("supergroups")? {
            self.supergroups(&entry, &mut target)?;
        }
        self.ports(&root)?;
        self.check_weights(&weights)?;
        target.check()?;
        Ok(target)
    }

    fn defaults(
        &mut self,
        section: &Entry<'_>,
        target: &mut Target,
        weights: &mut Weights,
    ) -> Result<(), TargetError> {
        let mut is_rounding = false;
        for (name, entry) in section.entries()? {
            match name {
                "ops" => {
                    for (name, entry) in entry.entries()? {
                        match name {
                            "is_output_quantized" => is_rounding = entry.truth()?,
                            "is_symmetric" if entry.truth()? => {
                                target.activations.default = Scheme::SYMMETRIC;
                            }
                            "is_symmetric" => {}
                            _ => self.unknown(&entry),
                        }
                    }
                }
                "params" => {
                    for (name, entry) in entry.entries()? {
                        match name {
                            "is_quantized" => weights.is_quantized = entry.truth()?,
                            "is_symmetric" => weights.is_symmetric = entry.truth()?,
                            _ => self.unknown(&entry),
                        }
                    }
                }
                "per_channel_quantization" => target.weight_scales.default = scales(&entry)?,
                "unsigned_symmetric" if entry.truth()? => {
                    self.note(&entry.key, "has no effect: symmetric integers are signed");
                }
                "supported_kernels" => target.candidates = self.kernels(&entry)?,
                "strict_symmetric" | "unsigned_symmetric" | "hw_version" => {}
                _ => self.unknown(&entry),
            }
        }
        if let Some(entry) = section.get("strict_symmetric")? {
            let narrow = entry.truth()?;
            target.weights.narrow = narrow;
            target.activations.default.narrow = narrow && target.activations.default.symmetric;
        }
        if is_rounding {
            return Ok(());
        }
        Err(TargetError::Aimet {
            key: "defaults.ops.is_output_quantized".to_owned(),
            found: "not `True`".to_owned(),
            expected: "`True`; to quantize no more than some operators is not supported".to_owned(),
        })
    }

    fn params(&mut self, section: &Entry<'_>, weights: &mut Weights) -> Result<(), TargetError> {
        for (parameter, entry) in section.entries()? {
            for (name, entry) in entry.entries()? {
                match (parameter, name) {
                    ("weight", "is_quantized") => weights.is_quantized = entry.truth()?,
                    ("weight", "is_symmetric") => weights.is_symmetric = entry.truth()?,
                    _ => self.other_parameter(name, &entry)?,
                }
            }
        }
        Ok(())
    }

    /// mpq leaves biases and the parameters of normalizations in float.
    fn other_parameter(&mut self, name: &str, entry: &Entry<'_>) -> Result<(), TargetError> {
        match name {
            "is_quantized" if entry.truth()? => {
                self.note(&entry.key, "has no effect: such parameters stay in float");
            }
            "is_quantized" => {}
            "is_symmetric" => {
                entry.truth()?;
                self.note(&entry.key, "has no effect: such parameters stay in float");
            }
            _ => self.unknown(entry),
        }
        Ok(())
    }

    fn check_weights(&mut self, weights: &Weights) -> Result<(), TargetError> {
        if !weights.is_quantized {
            return Err(TargetError::Aimet {
                key: "params.weight.is_quantized".to_owned(),
                found: "not `True`, nor is `defaults.params.is_quantized`".to_owned(),
                expected: "`True`; weights in float are asked for by candidates such as W32A8"
                    .to_owned(),
            });
        }
        if !weights.is_symmetric {
            let why = "is not `True` for weights, which are encoded symmetrically all the same";
            self.note("defaults.params.is_symmetric", why);
        }
        Ok(())
    }

    fn op_types(&mut self, section: &Entry<'_>, target: &mut Target) -> Result<(), TargetError> {
        let mut foreign = Vec::new();
        for (operator, entry) in section.entries()? {
            if !is_operator(operator) {
                entry.entries()?;
                foreign.push(operator);
                continue;
            }
            self.op_type(operator, &entry, target)?;
        }
        if !foreign.is_empty() {
            let why = format!("names operators that mpq does not have: {}", foreign.join(", "));
            self.note(&section.key, &why);
        }
        Ok(())
    }

    fn op_type(
        &mut self,
        operator: &str,
        section: &Entry<'_>,
        target: &mut Target,
    ) -> Result<(), TargetError> {
        let operators = vec![operator.to_owned()];
        let mut rule =
            OutputRule { operators, scheme: None, range: None, by_bits: Default::default() };
        for (name, entry) in section.entries()? {
            match name {
                "is_output_quantized" => {
                    if !entry.truth()? {
                        target.not_requantized.push(operator.to_owned());
                    }
                }
                "is_input_quantized" => {
                    if !entry.truth()? {
                        self.note(&entry.key, "has no effect: what an operator reads is rounded");
                    }
                }
                "is_symmetric" => {
                    let narrow = target.weights.narrow;
                    rule.scheme = Some(match entry.truth()? {
                        true => Scheme { narrow, ..Scheme::SYMMETRIC },
                        false => Scheme::UNSIGNED,
                    });
                    if rule.scheme != Some(target.activations.default) {
                        self.note(&entry.key, "holds for the output alone, not for the inputs");
                    }
                }
                "per_channel_quantization" => {
                    let scales = scales(&entry)?;
                    target.weight_scales.by_operator.insert(operator.to_owned(), scales);
                }
                "supported_kernels" => {
                    if let Some(candidates) = self.kernels(&entry)? {
                        let operators = vec![operator.to_owned()];
                        target.rules.push(OperatorRule { operators, candidates });
                    }
                }
                "encoding_constraints" => rule.range = Some(self.constraints(&entry)?),
                "params" => self.operator_params(&entry)?,
                _ => self.unknown(&entry),
            }
        }
        if rule.scheme.is_some() || rule.range.is_some() {
            target.outputs.push(rule);
        }
        Ok(())
    }

    fn operator_params(&mut self, section: &Entry<'_>) -> Result<(), TargetError> {
        for (parameter, entry) in section.entries()? {
            for (name, entry) in entry.entries()? {
                match (parameter, name) {
                    ("weight", "is_quantized" | "is_symmetric") if entry.truth()? => {}
                    ("weight", "is_quantized" | "is_symmetric") => {
                        self.note(&entry.key, "has no effect: weights are quantized symmetrically, or stay in float where they scale a normalization");
                    }
                    _ => self.other_parameter(name, &entry)?,
                }
            }
        }
        Ok(())
    }

    fn constraints(&mut self, section: &Entry<'_>) -> Result<FixedRange, TargetError> {
        let (mut min, mut max) = (None, None);
        for (name, entry) in section.entries()? {
            match name {
                "min" => min = Some(entry.number()?),
                "max" => max = Some(entry.number()?),
                _ => self.unknown(&entry),
            }
        }
        let range = min.zip(max).map(|(min, max)| FixedRange { min, max });
        range.ok_or_else(|| section.wrong("`min` and `max`"))
    }

    /// `None` if only float is listed: that restricts nothing here.
    fn kernels(&mut self, section: &Entry<'_>) -> Result<Option<Vec<Candidate>>, TargetError> {
        let mut candidates: Vec<Candidate> = Vec::new();
        for kernel in section.items()? {
            let mut bits = |name: &str| match kernel.get(name)? {
                Some(entry) => self.kernel_bits(&entry).map(Some),
                None => Ok(None),
            };
            let (weight, activation) = (bits("param")?, bits("activation")?);
            let activation = activation.ok_or_else(|| kernel.wrong("an `activation`"))?;
            let candidate = Candidate { weight, activation };
            if !candidates.contains(&candidate) {
                candidates.push(candidate);
            }
        }
        candidates.retain(|candidate| !candidate.is_float());
        Ok((!candidates.is_empty()).then_some(candidates))
    }

    fn kernel_bits(&mut self, entry: &Entry<'_>) -> Result<Bits, TargetError> {
        let field = |name| entry.get(name)?.ok_or_else(|| entry.wrong("`bitwidth` and `dtype`"));
        let (bits, dtype) = (field("bitwidth")?, field("dtype")?);
        match dtype.value.as_str() {
            Some("float") => {
                if bits.value.as_u64() != Some(32) {
                    self.note(
                        &entry.key,
                        "is a float narrower than 32 bits, which is not simulated: it counts as 32",
                    );
                }
                Ok(Bits::FLOAT)
            }
            Some("int") => {
                let bits_value = bits.value.as_u64().and_then(|bits| u32::try_from(bits).ok());
                let found = bits_value.and_then(|bits| Bits::try_from(bits).ok());
                found.filter(|bits| !bits.is_float()).ok_or_else(|| bits.wrong("2 to 16"))
            }
            _ => Err(dtype.wrong("`int` or `float`")),
        }
    }

    fn supergroups(&mut self, section: &Entry<'_>, target: &mut Target) -> Result<(), TargetError> {
        for group in section.items()? {
            let mut list: Option<Vec<String>> = None;
            for (name, entry) in group.entries()? {
                match name {
                    "op_list" => {
                        let name = |item: &Entry<'_>| {
                            let name = item.value.as_str().map(str::to_owned);
                            name.ok_or_else(|| item.wrong("the name of an operator"))
                        };
                        list = Some(entry.items()?.iter().map(name).collect::<Result<_, _>>()?);
                    }
                    _ => self.unknown(&entry),
                }
            }
            let list = list.filter(|list| 2 <= list.len());
            let list = list.ok_or_else(|| group.wrong("an `op_list` of two or more"))?;
            self.supergroup(&group.key, &list, target);
        }
        // What is longer is looked for first.
        target.fused.sort_by_key(|chain| std::cmp::Reverse(chain.then.len()));
        Ok(())
    }

    fn supergroup(&mut self, key: &str, list: &[String], target: &mut Target) {
        if let Some(foreign) = list.iter().find(|operator| !is_operator(operator)) {
            self.note(key, &format!("names `{foreign}`, an operator that mpq does not have"));
            return;
        }
        let is_arithmetic =
            |operator: &&String| matches!(operator.as_str(), "Add" | "Sub" | "Mul" | "Div");
        if let Some(operator) = list[1..].iter().find(is_arithmetic) {
            self.note(key, &format!("holds only where {operator} has a constant operand"));
        }
        let chain = |list: &[&String]| Chain {
            heads: vec![list[0].clone()],
            then: list[1..].iter().map(|&operator| vec![operator.clone()]).collect(),
            whole: true,
        };
        let all: Vec<&String> = list.iter().collect();
        target.fused.push(chain(&all));
        // A BatchNormalization is folded into the convolution before it.
        let rest: Vec<&String> = all[1..].to_vec();
        let folded: Vec<&String> =
            rest.into_iter().filter(|operator| *operator != "BatchNormalization").collect();
        if !folded.is_empty() && folded.len() + 1 < all.len() {
            target.fused.push(chain(&[&[all[0]], folded.as_slice()].concat()));
        }
    }

    fn ports(&mut self, root: &Entry<'_>) -> Result<(), TargetError> {
        for (section, flag, by_default, why) in [
            (
                "model_input",
                "is_input_quantized",
                false,
                "is not `True`: the network's inputs are rounded all the same",
            ),
            (
                "model_output",
                "is_output_quantized",
                true,
                "is not `True`: the network's outputs are rounded all the same",
            ),
        ] {
            let mut value = by_default;
            for (name, entry) in
                root.get(section)?.map_or_else(|| Ok(Vec::new()), |s| s.entries())?
            {
                match name == flag {
                    true => value = entry.truth()?,
                    false => self.unknown(&entry),
                }
            }
            if !value {
                self.note(&format!("{section}.{flag}"), why);
            }
        }
        Ok(())
    }
}

/// Whether weights are quantized, and how; both `False` where nothing is said.
#[derive(Default)]
struct Weights {
    is_quantized: bool,
    is_symmetric: bool,
}

fn scales(entry: &Entry<'_>) -> Result<ScaleKind, TargetError> {
    Ok(if entry.truth()? { ScaleKind::PerChannel } else { ScaleKind::PerTensor })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    /// The least that is accepted.
    fn least() -> Value {
        json!({
            "defaults": {
                "ops": { "is_output_quantized": "True" },
                "params": { "is_quantized": "True", "is_symmetric": "True" }
            },
            "params": {},
            "op_type": {},
            "supergroups": [],
            "model_input": { "is_input_quantized": "True" },
            "model_output": {}
        })
    }

    fn with(pointer: &str, value: Value) -> Value {
        let mut file = least();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        file.pointer_mut(parent).unwrap()[key] = value;
        file
    }

    fn notes(pointer: &str, value: Value) -> String {
        read(&with(pointer, value), "npu").unwrap().1.join("\n")
    }

    fn changed(pointer: &str, value: Value) -> Target {
        read(&with(pointer, value), "npu").unwrap().0
    }

    #[test]
    fn the_least_has_nothing_to_say() {
        let (target, notes) = read(&least(), "npu").unwrap();
        assert_eq!((target.name.as_str(), notes.len()), ("npu", 0));
        assert_eq!(target.activations.default, Scheme::UNSIGNED);
        assert_eq!(target.scales("Conv"), ScaleKind::PerTensor);
        assert!(target.requantizes("Reshape") && target.candidates.is_none());
        assert!(is_config(&least()));
        assert!(!is_config(&serde_json::to_value(target).unwrap()));
    }

    #[test]
    fn what_has_a_counterpart() {
        let target = changed("/defaults/per_channel_quantization", json!("True"));
        assert_eq!(target.scales("Conv"), ScaleKind::PerChannel);
        let target = changed("/defaults/ops/is_symmetric", json!("True"));
        assert_eq!(target.activations.default, Scheme::SYMMETRIC);
        let target = changed("/defaults/strict_symmetric", json!("True"));
        assert!(target.weights.narrow && !target.activations.default.narrow);
        let target = changed("/op_type/MaxPool", json!({ "is_output_quantized": "False" }));
        assert!(target.carries("MaxPool") && !target.requantizes("MaxPool"));
        let target = changed("/op_type/Gemm", json!({ "per_channel_quantization": "True" }));
        assert_eq!(target.scales("Gemm"), ScaleKind::PerChannel);
        let range = json!({ "encoding_constraints": { "min": 0.0, "max": 1.0 } });
        assert!(changed("/op_type/Softmax", range).fixes_range("Softmax"));
        let kernel = |activation: u8, weight: u8, dtype: &str| {
            json!({
                "activation": { "bitwidth": activation, "dtype": dtype },
                "param": { "bitwidth": weight, "dtype": dtype }
            })
        };
        let kernels = json!([kernel(16, 8, "int"), kernel(8, 4, "int"), kernel(32, 32, "float")]);
        let target = changed("/defaults/supported_kernels", kernels);
        assert_eq!(target.candidates, Some(["W8A16", "W4A8"].map(|c| c.parse().unwrap()).into()));
        let kernels = json!({ "supported_kernels": [kernel(8, 8, "int")] });
        let target = changed("/op_type/Conv", kernels);
        assert!(!target.allows("Conv", "W8A16".parse().unwrap()));
        assert!(target.allows("Gemm", "W8A16".parse().unwrap()));
    }

    #[test]
    fn supergroups_are_chains() {
        let list = |operators: &[&str]| json!({ "op_list": operators });
        let groups = json!([
            list(&["Add", "Relu"]),
            list(&["Conv", "BatchNormalization", "Relu"]),
            list(&["Conv", "Clip"])
        ]);
        let target = changed("/supergroups", groups);
        let text = |chain: &Chain| {
            assert!(chain.whole);
            let then: Vec<String> = chain.then.iter().map(|stage| stage.join("|")).collect();
            format!("{} {}", chain.heads.join("|"), then.join(" "))
        };
        let chains: Vec<String> = target.fused.iter().map(text).collect();
        let expected = ["Conv BatchNormalization Relu", "Add Relu", "Conv Relu", "Conv Clip"];
        assert_eq!(chains, expected);
    }

    #[test]
    fn what_has_none_is_told_by_its_key() {
        let parameters = json!({ "params": { "weight": { "is_symmetric": "False" } } });
        let float = json!([{
            "activation": { "bitwidth": 16, "dtype": "float" },
            "param": { "bitwidth": 16, "dtype": "float" }
        }]);
        let notes = [
            notes("/defaults/unsigned_symmetric", json!("True")),
            notes("/defaults/params/is_symmetric", json!("False")),
            notes("/defaults/speed", json!(1)),
            notes("/defaults/supported_kernels", float),
            notes("/params/bias", json!({ "is_quantized": "True" })),
            notes("/op_type/LayerNormalization", parameters),
            notes("/op_type/ChannelShuffle", json!({ "is_output_quantized": "False" })),
            notes("/op_type/Conv", json!({ "is_input_quantized": "False", "grain": 3 })),
            notes("/op_type/Conv", json!({ "is_symmetric": "True" })),
            notes("/supergroups", json!([{ "op_list": ["Conv", "Mish2"] }])),
            notes("/supergroups", json!([{ "op_list": ["MatMul", "Add"], "id": 1 }])),
            notes("/model_input", json!({})),
            notes("/model_output", json!({ "is_output_quantized": "False" })),
            notes("/extra", json!({})),
        ];
        expect![[r#"
            `defaults.unsigned_symmetric` has no effect: symmetric integers are signed
            `defaults.params.is_symmetric` is not `True` for weights, which are encoded symmetrically all the same
            `defaults.speed` is not known to mpq and has no effect
            `defaults.supported_kernels[0].param` is a float narrower than 32 bits, which is not simulated: it counts as 32
            `defaults.supported_kernels[0].activation` is a float narrower than 32 bits, which is not simulated: it counts as 32
            `params.bias.is_quantized` has no effect: such parameters stay in float
            `op_type.LayerNormalization.params.weight.is_symmetric` has no effect: weights are quantized symmetrically, or stay in float where they scale a normalization
            `op_type` names operators that mpq does not have: ChannelShuffle
            `op_type.Conv.is_input_quantized` has no effect: what an operator reads is rounded
            `op_type.Conv.grain` is not known to mpq and has no effect
            `op_type.Conv.is_symmetric` holds for the output alone, not for the inputs
            `supergroups[0]` names `Mish2`, an operator that mpq does not have
            `supergroups[0].id` is not known to mpq and has no effect
            `supergroups[0]` holds only where Add has a constant operand
            `model_input.is_input_quantized` is not `True`: the network's inputs are rounded all the same
            `model_output.is_output_quantized` is not `True`: the network's outputs are rounded all the same
            `extra` is not known to mpq and has no effect"#]].assert_eq(&notes.join("\n"));
    }

    #[test]
    fn what_cannot_be_meant() {
        let error = |pointer: &str, value: Value| {
            read(&with(pointer, value), "npu").unwrap_err().to_string()
        };
        let kernel = json!([{ "activation": { "bitwidth": 64, "dtype": "int" } }]);
        let errors = [
            error("/defaults/ops", json!({})),
            error("/defaults/params/is_quantized", json!("False")),
            error("/defaults/strict_symmetric", json!("maybe")),
            error("/defaults/supported_kernels", kernel),
            error("/op_type/Softmax", json!({ "encoding_constraints": { "min": 0 } })),
            error("/op_type/Softmax", json!({ "encoding_constraints": { "min": 1, "max": 2 } })),
            error("/op_type", json!([])),
            error("/supergroups", json!([{ "op_list": ["Conv"] }])),
        ];
        expect![[r#"
            `defaults.ops.is_output_quantized` of the AIMET configuration is not `True`, expected `True`; to quantize no more than some operators is not supported
            `params.weight.is_quantized` of the AIMET configuration is not `True`, nor is `defaults.params.is_quantized`, expected `True`; weights in float are asked for by candidates such as W32A8
            `defaults.strict_symmetric` of the AIMET configuration is "maybe", expected `True` or `False`
            `defaults.supported_kernels[0].activation.bitwidth` of the AIMET configuration is 64, expected 2 to 16
            `op_type.Softmax.encoding_constraints` of the AIMET configuration is {"min":0}, expected `min` and `max`
            the fixed range of Softmax is 1 to 2, expected one that contains 0
            `op_type` of the AIMET configuration is [], expected an object
            `supergroups[0]` of the AIMET configuration is {"op_list":["Conv"]}, expected an `op_list` of two or more"#]].assert_eq(&errors.join("\n"));
    }
}
