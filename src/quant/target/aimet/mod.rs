//! AIMET's quantsim configuration files, read as targets.
//!
//! <https://quic.github.io/aimet-pages/releases/latest/quantsim/runtime_config.html>. Six sections,
//! the later ones more specific: `defaults`, `params`, `op_type`, `supergroups`, `model_input`,
//! `model_output`. Truth values are the texts `True` and `False`. They say nothing of what shares a
//! choice; that is taken from `generic`. Whatever has no counterpart is told, by its key.

mod entry;
mod operators;
mod supergroups;

use serde_json::Value;

use crate::quant::target::{ActivationSchemes, ScaleKind, TARGET_SCHEMA, WeightScales};
use crate::quant::{Scheme, Target, TargetError};
use entry::Entry;

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

pub(super) struct Reader {
    /// What cannot be done, a sentence each.
    notes: Vec<String>,
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
mod tests;
