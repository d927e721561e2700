//! JSON Schemas (draft 2020-12) of the files, for `mpq schema NAME`.

/// Every schema by the name of its kind of file. The one list to extend.
pub const SCHEMAS: &[(&str, &str)] = &[
    ("config", include_str!("schema/config.json")),
    ("sensitivity", include_str!("schema/sensitivity.json")),
    ("part", include_str!("schema/part.json")),
    ("ranges", include_str!("schema/ranges.json")),
    ("rounding", include_str!("schema/rounding.json")),
    ("rounding-part", include_str!("schema/rounding-part.json")),
    ("eval", include_str!("schema/eval.json")),
    ("target", include_str!("schema/target.json")),
];

/// The text of the schema for one kind of file.
pub fn json_schema(name: &str) -> Option<&'static str> {
    SCHEMAS.iter().find(|(existing, _)| *existing == name).map(|&(_, schema)| schema)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::artifact::{
        Artifact, Config, Eval, Part, Ranges, RoundedPart, RoundedSet, Sensitivity, example, parse,
    };
    use crate::quant::{
        Bits, ConversionPrice, FixedRange, OperatorRule, OutputRule, ScaleKind, Target, TargetPin,
    };

    /// A schema, and the `path`s of its `properties` that were used so far.
    struct Validator {
        schema: Value,
        used: BTreeSet<String>,
    }

    impl Validator {
        fn new(name: &str) -> Validator {
            let schema = serde_json::from_str(json_schema(name).unwrap()).unwrap();
            Validator { schema, used: BTreeSet::new() }
        }

        fn check(&mut self, value: &Value) -> Result<(), String> {
            let root = self.schema.clone();
            self.check_against(value, &root, "#", "")
        }

        /// `path` is that of `schema`, `at` that of `value`.
        fn check_against(
            &mut self,
            value: &Value,
            schema: &Value,
            path: &str,
            at: &str,
        ) -> Result<(), String> {
            let fail = |why: &str| Err(format!("`{at}` is {value}, expected {why}"));
            for (keyword, rule) in schema.as_object().unwrap() {
                match keyword.as_str() {
                    "$schema" | "$defs" | "title" | "description" => {}
                    "$ref" => {
                        let path = rule.as_str().unwrap();
                        let target = self.schema.pointer(&path[1..]).unwrap().clone();
                        self.check_against(value, &target, path, at)?;
                    }
                    "anyOf" => {
                        let any = rule.as_array().unwrap().iter();
                        let mut results = any.map(|any| self.check_against(value, any, path, at));
                        if !results.any(|result| result.is_ok()) {
                            return fail(&format!("any of {rule}"));
                        }
                    }
                    "const" if value != rule => return fail(&rule.to_string()),
                    "enum" if !rule.as_array().unwrap().contains(value) => {
                        return fail(&format!("one of {rule}"));
                    }
                    "type" if !is_of_type(value, rule) => return fail(&rule.to_string()),
                    "minimum" if value.is_number() && value.as_f64() < rule.as_f64() => {
                        return fail(&format!("at least {rule}"));
                    }
                    "required" if value.is_object() => {
                        let required = rule.as_array().unwrap().iter().map(|key| key.as_str());
                        if let Some(key) = required.flatten().find(|key| value.get(key).is_none()) {
                            return fail(&format!("key `{key}`"));
                        }
                    }
                    "items" => {
                        for item in value.as_array().into_iter().flatten() {
                            self.check_against(item, rule, path, &format!("{at}[]"))?;
                        }
                    }
                    "properties" => self.check_properties(value, schema, path, at)?,
                    "additionalProperties" => self.check_others(value, schema, path, at)?,
                    "const" | "enum" | "type" | "minimum" | "required" => {}
                    keyword => panic!("the validator does not know `{keyword}`"),
                }
            }
            Ok(())
        }

        fn check_properties(
            &mut self,
            value: &Value,
            schema: &Value,
            path: &str,
            at: &str,
        ) -> Result<(), String> {
            for (key, rule) in schema["properties"].as_object().unwrap() {
                if let Some(value) = value.get(key) {
                    let path = format!("{path}/properties/{key}");
                    self.check_against(value, rule, &path, &format!("{at}.{key}"))?;
                    self.used.insert(path);
                }
            }
            Ok(())
        }

        fn check_others(
            &mut self,
            value: &Value,
            schema: &Value,
            path: &str,
            at: &str,
        ) -> Result<(), String> {
            for (key, value) in value.as_object().into_iter().flatten() {
                if schema["properties"].get(key).is_some() {
                    continue;
                }
                match &schema["additionalProperties"] {
                    Value::Bool(false) => return Err(format!("`{at}.{key}` is not described")),
                    rule => self.check_against(value, rule, path, &format!("{at}.{key}"))?,
                }
            }
            Ok(())
        }
    }

    fn is_of_type(value: &Value, rule: &Value) -> bool {
        let is = |name: &Value| match name.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "number" => value.is_number(),
            "integer" => value.is_i64() || value.is_u64(),
            "null" => value.is_null(),
            name => panic!("the validator does not know type `{name}`"),
        };
        rule.as_array().map_or_else(|| is(rule), |names| names.iter().any(is))
    }

    /// Calls `visit` with every schema that has a place of its own.
    fn walk(schema: &Value, path: &str, visit: &mut dyn FnMut(&str, &Value)) {
        visit(path, schema);
        for keyword in ["properties", "$defs"] {
            for (key, schema) in schema[keyword].as_object().into_iter().flatten() {
                walk(schema, &format!("{path}/{keyword}/{key}"), visit);
            }
        }
        for keyword in ["items", "additionalProperties"] {
            if schema[keyword].is_object() {
                walk(&schema[keyword], path, visit);
            }
        }
    }

    fn pointers(value: &Value, at: String, out: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    pointers(value, format!("{at}/{key}"), out);
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    pointers(value, format!("{at}/{index}"), out);
                }
            }
            _ => {}
        }
        out.push(at);
    }

    fn to_value(artifact: &impl Artifact) -> Value {
        serde_json::from_str(&artifact.to_json()).unwrap()
    }

    /// A kind of file, an example of it, and whether the structs accept a value as such a file.
    type Example = (&'static str, Value, fn(&Value) -> bool);

    fn examples() -> [Example; 8] {
        fn accepts<A: Artifact>(value: &Value) -> bool {
            parse::<A>("", value.to_string().as_bytes()).is_ok()
        }
        let target = serde_json::to_value(target()).unwrap();
        [
            ("config", to_value(&example::config()), accepts::<Config>),
            ("sensitivity", to_value(&example::partial()), accepts::<Sensitivity>),
            ("part", to_value(&example::part()), accepts::<Part>),
            ("ranges", to_value(&example::ranges()), accepts::<Ranges>),
            ("rounding", to_value(&example::rounding()), accepts::<RoundedSet>),
            ("rounding-part", to_value(&example::rounding_part()), accepts::<RoundedPart>),
            ("eval", to_value(&example::eval()), accepts::<Eval>),
            ("target", target, |value| Target::parse(&value.to_string()).is_ok()),
        ]
    }

    /// The generic target with everything in it that a target may have.
    fn target() -> Target {
        let mut target = Target::built_in("generic").unwrap();
        let candidates = vec!["W8A8".parse().unwrap()];
        target.activations.by_bits.insert(16, target.weights);
        target.candidates = Some(candidates.clone());
        let operators = vec!["Softmax".to_owned()];
        target.keep_float = operators.clone();
        target.requantized = operators.clone();
        target.not_requantized = operators.clone();
        target.quantized = Some(operators.clone());
        target.weight_scales.by_operator.insert("Gemm".to_owned(), ScaleKind::PerTensor);
        let range = FixedRange { min: 0., max: 1. };
        target.outputs.push(OutputRule {
            operators: operators.clone(),
            scheme: Some(target.weights),
            range: Some(range),
            by_bits: [(16, range)].into(),
        });
        let [from, to] = [16, 8].map(Bits::new);
        target.conversions.push(ConversionPrice { from, to, each: 1.5, per_element: 0.5 });
        target.conversions.push(ConversionPrice {
            from: None,
            to: None,
            each: 2.5,
            per_element: 0.5,
        });
        let candidate = candidates[0];
        target.pins.push(TargetPin { pattern: "head*".to_owned(), candidate });
        target.exclude.push("mask".to_owned());
        target.rules.push(OperatorRule { operators, candidates });
        target
    }

    #[test]
    fn every_kind_has_an_example() {
        let names = examples().map(|(name, ..)| name);
        assert_eq!(names.as_slice(), SCHEMAS.iter().map(|&(name, _)| name).collect::<Vec<_>>());
    }

    #[test]
    fn examples_are_valid_and_use_every_property() {
        for (name, example, _) in examples() {
            let mut validator = Validator::new(name);
            validator.check(&example).unwrap();
            if !["eval", "target"].contains(&name) {
                let mut example = example.clone();
                let preprocessing = &mut example["calibration"]["preprocessing"];
                preprocessing["resize"] = json!("fit:48x192");
                preprocessing["pad"] = json!({ "side": "right", "value": 0.0 });
                validator.check(&example).unwrap();
            }
            let schema = validator.schema.clone();
            walk(&schema, "#", &mut |path, schema| {
                for key in
                    schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key)
                {
                    let path = format!("{path}/properties/{key}");
                    assert!(validator.used.contains(&path), "{name}: nothing has {path}");
                }
            });
        }
    }

    /// Keys that are not there where they would be empty.
    const OPTIONAL: &[&str] = &["biases"];

    #[test]
    fn every_property_is_described_and_required() {
        for (name, _) in SCHEMAS {
            walk(&Validator::new(name).schema, "#", &mut |path, schema| {
                let Some(properties) = schema["properties"].as_object() else { return };
                let mut keys: Vec<&str> = properties.keys().map(String::as_str).collect();
                // What is whole does not speak of it.
                keys.retain(|key| *key != "partial");
                if *name != "target" {
                    let required = keys.iter().filter(|key| !OPTIONAL.contains(key));
                    let required: Vec<&&str> = required.collect();
                    assert_eq!(schema["required"], json!(required), "{name} {path}");
                }
                assert_eq!(schema["additionalProperties"], json!(false), "{name} {path}");
                for (key, schema) in properties {
                    assert!(schema["description"].is_string(), "{name} {path} {key}");
                }
            });
        }
    }

    #[test]
    fn schemas_and_structs_refuse_the_same_faults() {
        for (name, example, accepts) in examples() {
            assert!(accepts(&example));
            let mut places = Vec::new();
            pointers(&example, String::new(), &mut places);
            for place in places {
                for fault in [json!({ "unexpected": true }), json!([[true]]), json!(true)] {
                    let mut faulty = example.clone();
                    let value = faulty.pointer_mut(&place).unwrap();
                    if value.is_boolean() && fault.is_boolean() {
                        continue;
                    }
                    *value = fault;
                    assert!(Validator::new(name).check(&faulty).is_err(), "{name} {place}");
                    assert!(!accepts(&faulty), "{name} {place}");
                }
            }
        }
    }

    #[test]
    fn a_missing_key_is_refused() {
        for (name, example, _) in examples() {
            let mut validator = Validator::new(name);
            let keys = validator.schema["required"].as_array().unwrap().clone();
            for key in keys.iter().filter_map(Value::as_str) {
                let mut faulty = example.clone();
                faulty.as_object_mut().unwrap().shift_remove(key).unwrap();
                let error = validator.check(&faulty).unwrap_err();
                assert!(error.ends_with(&format!("expected key `{key}`")), "{error}");
            }
        }
    }

    #[test]
    fn a_target_may_leave_out_what_has_a_default() {
        let example = serde_json::to_value(target()).unwrap();
        let mut places = Vec::new();
        pointers(&example, String::new(), &mut places);
        for place in places {
            let (parent, key) = place.rsplit_once('/').unwrap_or_default();
            let mut shorter = example.clone();
            let Some(Value::Object(parent)) = shorter.pointer_mut(parent) else { continue };
            parent.shift_remove(key);
            let is_valid = Validator::new("target").check(&shorter).is_ok();
            assert_eq!(is_valid, Target::parse(&shorter.to_string()).is_ok(), "{place}");
        }
    }

    #[test]
    fn built_in_targets_are_valid() {
        for (name, file) in Target::files() {
            let target: Value = serde_json::from_str(file).unwrap();
            let checked = Validator::new("target").check(&target);
            assert_eq!(checked, Ok(()), "{name}");
        }
    }
}
