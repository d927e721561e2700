//! What a target's file may say beyond its form.

use crate::ops;
use crate::quant::pattern::nearest;
use crate::quant::target::{ALL, TARGET_SCHEMA, price};
use crate::quant::{Bits, Scheme, Target};

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

    #[error("the weight scheme is asymmetric, expected a symmetric one")]
    Weights,

    #[error(
        "`{key}` has `{found}`, which is no operator that mpq knows\nhint: names like it are `{}`", nearest.join("`, `")
    )]
    Operator { key: &'static str, found: String, nearest: Vec<&'static str> },

    #[error("`{key}` is for {found} bits, expected 2 to 16")]
    Bits { key: &'static str, found: u8 },

    #[error("the fixed range of {operators} is {min} to {max}, expected one that contains 0")]
    Range { operators: String, min: f32, max: f32 },

    #[error("name is `{name}`, that of a built-in target, expected another one")]
    Name { name: String },

    #[error("`{key}` of the AIMET configuration is {found}, expected {expected}")]
    Aimet { key: String, found: String, expected: String },

    #[error("`conversions` has the price {found}, expected one from 0 on")]
    Price { found: f64 },

    #[error(
        "`conversions` ends with a price for certain widths, expected one for all others, without `from` and `to`"
    )]
    NoOtherPrice,

    #[error("`{key}` holds an empty pattern, which matches nothing")]
    Pattern { key: &'static str },
}

impl Target {
    /// # Errors
    /// If it cannot be meant.
    pub(super) fn check(&self) -> Result<(), TargetError> {
        if self.schema != TARGET_SCHEMA {
            return Err(TargetError::Schema { found: self.schema.clone() });
        }
        self.check_schemes()?;
        self.check_bits()?;
        self.check_operators()?;
        price::check(&self.conversions)?;
        let patterns = self.pins.iter().map(|pin| ("pins", &pin.pattern));
        let patterns = patterns.chain(self.exclude.iter().map(|pattern| ("exclude", pattern)));
        match patterns.into_iter().find(|(_, pattern)| pattern.is_empty()) {
            Some((key, _)) => Err(TargetError::Pattern { key }),
            None => Ok(()),
        }
    }

    fn check_schemes(&self) -> Result<(), TargetError> {
        let is_broken = |scheme: &Scheme| scheme.symmetric && !scheme.signed;
        let activations = &self.activations;
        let outputs = self.outputs.iter().filter_map(|rule| rule.scheme.as_ref());
        for (what, broken) in [
            ("activation", is_broken(&activations.default)),
            ("activation", activations.by_bits.values().any(is_broken)),
            ("weight", is_broken(&self.weights)),
            ("output", outputs.into_iter().any(is_broken)),
        ] {
            if broken {
                return Err(TargetError::Scheme { what });
            }
        }
        if self.weights.symmetric { Ok(()) } else { Err(TargetError::Weights) }
    }

    fn check_bits(&self) -> Result<(), TargetError> {
        let activations = self.activations.by_bits.keys().map(|&bits| ("activations", bits));
        let outputs = self.outputs.iter().flat_map(|rule| rule.by_bits.keys());
        for (key, found) in activations.chain(outputs.map(|&bits| ("outputs", bits))) {
            if Bits::new(found).is_none_or(Bits::is_float) {
                return Err(TargetError::Bits { key, found });
            }
        }
        for rule in &self.outputs {
            for range in rule.range.iter().chain(rule.by_bits.values()) {
                let (min, max) = (range.min, range.max);
                if !(min <= 0. && 0. <= max && min < max && (max - min).is_finite()) {
                    let operators = rule.operators.join(", ");
                    return Err(TargetError::Range { operators, min, max });
                }
            }
        }
        Ok(())
    }

    fn check_operators(&self) -> Result<(), TargetError> {
        let rules = self.rules.iter().flat_map(|rule| &rule.operators);
        let outputs = self.outputs.iter().flat_map(|rule| &rule.operators);
        let ties = self.ties.iter().flat_map(|tie| &tie.operators);
        let fused = self.fused.iter().flat_map(|chain| {
            chain.heads.iter().chain(chain.then.iter().flatten()).collect::<Vec<_>>()
        });
        let lists: [(&'static str, Vec<&String>); 9] = [
            ("weight_scales", self.weight_scales.by_operator.keys().collect()),
            ("rules", rules.collect()),
            ("quantized", self.quantized.iter().flatten().collect()),
            ("keep_float", self.keep_float.iter().collect()),
            ("requantized", self.requantized.iter().filter(|op| *op != ALL).collect()),
            ("not_requantized", self.not_requantized.iter().collect()),
            ("outputs", outputs.collect()),
            ("fused", fused.collect()),
            ("ties", ties.collect()),
        ];
        for (key, operators) in lists {
            if let Some(found) = operators.into_iter().find(|operator| !is_operator(operator)) {
                let nearest = nearest(found, ops::all().map(|def| def.name));
                return Err(TargetError::Operator { key, found: found.clone(), nearest });
            }
        }
        Ok(())
    }
}

/// Whether mpq has an operator of that name, in whatever domain.
pub(super) fn is_operator(name: &str) -> bool {
    ops::all().any(|def| def.name == name)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::{Value, json};

    use super::*;
    use crate::quant::target::BUILT_IN;

    fn error(place: &str, value: Value) -> String {
        let mut file = serde_json::to_value(Target::built_in("generic").unwrap()).unwrap();
        file[place] = value;
        Target::parse(&file.to_string()).unwrap_err().to_string()
    }

    #[test]
    fn bad_files() {
        let text = BUILT_IN[0].1.replace("\"ties\"", "\"tyes\"");
        assert!(Target::parse(&text).unwrap_err().to_string().contains("tyes"));
        let scheme = |signed, symmetric| json!({ "signed": signed, "symmetric": symmetric });
        let output = |operator: &str, min, max| json!([{ "operators": [operator], "range": { "min": min, "max": max } }]);
        let errors = [
            error("schema", json!("mpq/target/2")),
            error("weights", scheme(false, true)),
            error("weights", scheme(true, false)),
            error("activations", json!({ "default": scheme(false, true) })),
            error(
                "activations",
                json!({ "default": scheme(false, false), "by_bits": { "32": scheme(true, true) } }),
            ),
            error("outputs", output("Softmax", 0.5, 1.)),
            error("outputs", output("Sofmax", 0., 1.)),
            error("quantized", json!(["Conv", "GEMM"])),
            error("exclude", json!([""])),
        ];
        expect![[r#"
            schema is `mpq/target/2`, expected `mpq/target/1`
            the weight scheme is symmetric and unsigned, expected signed with symmetric
            the weight scheme is asymmetric, expected a symmetric one
            the activation scheme is symmetric and unsigned, expected signed with symmetric
            `activations` is for 32 bits, expected 2 to 16
            the fixed range of Softmax is 0.5 to 1, expected one that contains 0
            `outputs` has `Sofmax`, which is no operator that mpq knows
            hint: names like it are `Softmax`, `ArgMax`, `Max`
            `quantized` has `GEMM`, which is no operator that mpq knows
            hint: names like it are `Gemm`, `FusedGemm`, `Gelu`
            `exclude` holds an empty pattern, which matches nothing"#]]
        .assert_eq(&errors.join("\n"));
    }
}
