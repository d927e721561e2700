//! The section `op_type`: what is said of single operators.

use super::entry::Entry;
use super::{Reader, scales};
use crate::quant::target::check::is_operator;
use crate::quant::target::{FixedRange, OperatorRule, OutputRule};
use crate::quant::{Bits, Candidate, Scheme, Target, TargetError};

impl Reader {
    pub(super) fn op_types(
        &mut self,
        section: &Entry<'_>,
        target: &mut Target,
    ) -> Result<(), TargetError> {
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
    pub(super) fn kernels(
        &mut self,
        section: &Entry<'_>,
    ) -> Result<Option<Vec<Candidate>>, TargetError> {
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
}
