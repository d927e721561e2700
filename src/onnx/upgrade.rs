//! Nodes of old opsets in the newest spelling: what was an attribute becomes an input.
//!
//! Only spelling; where the meaning changed, the table of operators has two rows. This list of operator
//! names is about the specification's history, and says nothing of what the operators do.

use std::collections::BTreeMap;

use crate::onnx::proto::tensor_proto::DataType;
use crate::ops::{AttrValue, DEFAULT_DOMAIN, OpError};
use crate::tensor::Tensor;

/// A node as it stands in the file: operators and values by name, attributes not read yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RawNode {
    pub(crate) domain: String,
    pub(crate) op_type: String,
    /// `None` where an optional input is left out.
    pub(crate) inputs: Vec<Option<String>>,
    pub(crate) outputs: Vec<Option<String>>,
    pub(crate) attrs: BTreeMap<String, AttrValue>,
}

/// Rewrites a node of `opset` to the newest form; returns the constants that it now reads besides.
///
/// Their names are made from the node's first output, so they are as unique as that.
pub(crate) fn upgrade(node: &mut RawNode, opset: u16) -> Result<Vec<(String, Tensor)>, OpError> {
    if node.domain != DEFAULT_DOMAIN {
        return Ok(Vec::new());
    }
    if opset < FIRST_STABLE {
        upgrade_early(node, opset)?;
    }
    let mut constants = Vec::new();
    for upgrade in UPGRADES {
        if opset < upgrade.below && upgrade.op_types.contains(&node.op_type.as_str()) {
            upgrade.check_arity(node.inputs.len())?;
            for &(attr, position, read) in upgrade.attrs {
                if let Some(value) = node.attrs.remove(attr) {
                    constants.extend(add_input(node, position, attr, read(attr, &value)?));
                }
            }
        }
    }
    Ok(constants)
}

/// Operators of older opsets are spelled as in this one.
const FIRST_STABLE: u16 = 7;

/// Opsets 1 to 6: attributes that say nothing any more, other names, other defaults.
///
/// `is_test` is one of those that say nothing: a network is always run for inference here.
fn upgrade_early(node: &mut RawNode, opset: u16) -> Result<(), OpError> {
    for ignored in ["consumed_inputs", "is_test"] {
        node.attrs.remove(ignored);
    }
    let attrs = &mut node.attrs;
    let mut default = |name: &str, value| {
        attrs.entry(name.to_owned()).or_insert(value);
    };
    match node.op_type.as_str() {
        "Concat" if opset < 4 => default("axis", AttrValue::Int(1)),
        "Selu" if opset < 6 => {
            default("alpha", AttrValue::Float(1.6732));
            default("gamma", AttrValue::Float(1.0507));
        }
        "Gemm" => {
            attrs.remove("broadcast");
        }
        "Pad" if opset < 2 => {
            if let Some(pads) = attrs.remove("paddings") {
                attrs.insert("pads".to_owned(), pads);
            }
        }
        "Cast" if opset < 6 => {
            if let Some(AttrValue::String(to)) = attrs.get("to") {
                let code = DataType::from_str_name(to).map(|ty| i64::from(i32::from(ty)));
                let known =
                    || OpError::attribute("to", format!("`{to}`"), "names of element types");
                let code = code.ok_or_else(known)?;
                attrs.insert("to".to_owned(), AttrValue::Int(code));
            }
        }
        "LpPool" | "GlobalLpPool" if opset < 2 => whole_power(attrs)?,
        "Tile" | "Upsample" if opset < 6 => {
            let what = format!("{} of opset {opset}", node.op_type);
            return Err(OpError::NotSupported { what });
        }
        _ => {}
    }
    Ok(())
}

/// The power `p` was a float, by default 2.
fn whole_power(attrs: &mut BTreeMap<String, AttrValue>) -> Result<(), OpError> {
    let power = match attrs.get("p") {
        None => 2,
        Some(AttrValue::Float(p)) if *p == 1. => 1,
        Some(AttrValue::Float(p)) if *p == 2. => 2,
        Some(other) => return Err(OpError::attribute("p", other, "1, 2")),
    };
    attrs.insert("p".to_owned(), AttrValue::Int(power));
    Ok(())
}

/// In opsets below `below`, these attributes were what is now an input.
pub(super) struct Upgrade {
    pub(super) op_types: &'static [&'static str],
    pub(super) below: u16,
    pub(super) attrs: &'static [(&'static str, usize, Reader)],
}

impl Upgrade {
    /// What is an attribute is not yet an input.
    fn check_arity(&self, found: usize) -> Result<(), OpError> {
        let first = self.attrs.iter().map(|&(_, position, _)| position).min();
        match first.filter(|&first| first < found) {
            None => Ok(()),
            Some(first) => {
                let expected = format!("at most {first} before opset {}", self.below);
                Err(OpError::Arity { what: "inputs", found, expected })
            }
        }
    }
}

/// Makes a constant of an attribute; `None` if it says the same as leaving the input out.
pub(super) type Reader = fn(&str, &AttrValue) -> Result<Option<Tensor>, OpError>;

pub(super) const UPGRADES: &[Upgrade] = &[
    Upgrade {
        op_types: &[
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ReduceMax",
            "ReduceMean",
            "ReduceMin",
            "ReduceProd",
            "ReduceSumSquare",
        ],
        below: 18,
        attrs: &[("axes", 1, int_list)],
    },
    Upgrade { op_types: &["ReduceSum"], below: 13, attrs: &[("axes", 1, int_list)] },
    Upgrade { op_types: &["Squeeze", "Unsqueeze"], below: 13, attrs: &[("axes", 1, given_list)] },
    Upgrade { op_types: &["Split"], below: 13, attrs: &[("split", 1, int_list)] },
    Upgrade {
        op_types: &["Slice"],
        below: 10,
        attrs: &[("starts", 1, given_list), ("ends", 2, given_list), ("axes", 3, given_list)],
    },
    Upgrade {
        op_types: &["Pad"],
        below: 11,
        attrs: &[("pads", 1, given_list), ("value", 2, float_scalar)],
    },
    Upgrade {
        op_types: &["Clip"],
        below: 11,
        attrs: &[("min", 1, float_scalar), ("max", 2, float_scalar)],
    },
    Upgrade { op_types: &["Reshape"], below: 5, attrs: &[("shape", 1, given_list)] },
    Upgrade { op_types: &["Dropout"], below: 12, attrs: &[("ratio", 1, float_scalar)] },
    Upgrade { op_types: &["TopK"], below: 10, attrs: &[("k", 1, int_vector)] },
];

fn add_input(
    node: &mut RawNode,
    position: usize,
    attr: &str,
    constant: Option<Tensor>,
) -> Option<(String, Tensor)> {
    let constant = constant?;
    if node.inputs.len() <= position {
        node.inputs.resize(position + 1, None);
    }
    let output = node.outputs.iter().flatten().next().map_or("", String::as_str);
    let name = format!("{output}/{attr}");
    node.inputs[position] = Some(name.clone());
    Some((name, constant))
}

fn given_list(attr: &str, value: &AttrValue) -> Result<Option<Tensor>, OpError> {
    match value {
        AttrValue::Ints(ints) => Ok(Some(Tensor::from_vec(&[ints.len()], ints.clone()))),
        other => Err(OpError::invalid_attribute(attr, other, "a list of integers")),
    }
}

/// An empty list said the same as none.
fn int_list(attr: &str, value: &AttrValue) -> Result<Option<Tensor>, OpError> {
    Ok(given_list(attr, value)?.filter(|list| !list.is_empty()))
}

fn int_vector(attr: &str, value: &AttrValue) -> Result<Option<Tensor>, OpError> {
    match value {
        AttrValue::Int(int) => Ok(Some(Tensor::from_vec(&[1], vec![*int]))),
        other => Err(OpError::invalid_attribute(attr, other, "an integer")),
    }
}

fn float_scalar(attr: &str, value: &AttrValue) -> Result<Option<Tensor>, OpError> {
    match value {
        AttrValue::Float(float) => Ok(Some(Tensor::scalar(*float))),
        other => Err(OpError::invalid_attribute(attr, other, "a float")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(op_type: &str, attrs: &[(&str, AttrValue)]) -> RawNode {
        let attrs = attrs.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        RawNode {
            domain: DEFAULT_DOMAIN.to_owned(),
            op_type: op_type.to_owned(),
            inputs: vec![Some("x".to_owned())],
            outputs: vec![Some("y".to_owned())],
            attrs: attrs.collect(),
        }
    }

    fn ints(ints: &[i64]) -> AttrValue {
        AttrValue::Ints(ints.to_vec())
    }

    #[track_caller]
    fn check(mut node: RawNode, opset: u16, inputs: &[&str], constants: &[(&str, Tensor)]) {
        let found = upgrade(&mut node, opset).unwrap();
        let found_inputs: Vec<&str> =
            node.inputs.iter().map(|name| name.as_deref().unwrap_or("")).collect();
        assert_eq!(found_inputs, inputs);
        let found: Vec<(&str, Tensor)> =
            found.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
        assert_eq!(found, constants);
        if !constants.is_empty() {
            assert!(node.attrs.is_empty(), "{:?}", node.attrs);
        }
    }

    fn list(ints: &[i64]) -> Tensor {
        Tensor::from_vec(&[ints.len()], ints.to_vec())
    }

    #[test]
    fn attributes_become_inputs() {
        let axes = [("axes", ints(&[1, 2]))];
        let constant = [("y/axes", list(&[1, 2]))];
        for op_type in ["Squeeze", "Unsqueeze", "ReduceSum"] {
            check(node(op_type, &axes), 12, &["x", "y/axes"], &constant);
            check(node(op_type, &axes), 13, &["x"], &[]);
        }
        check(node("ReduceMean", &axes), 17, &["x", "y/axes"], &constant);
        check(node("ReduceMean", &axes), 18, &["x"], &[]);
        let split = node("Split", &[("split", ints(&[2, 3]))]);
        check(split, 11, &["x", "y/split"], &[("y/split", list(&[2, 3]))]);
        let topk = node("TopK", &[("k", AttrValue::Int(5))]);
        check(topk, 9, &["x", "y/k"], &[("y/k", list(&[5]))]);
        let dropout = node("Dropout", &[("ratio", AttrValue::Float(0.5))]);
        check(dropout, 10, &["x", "y/ratio"], &[("y/ratio", Tensor::scalar(0.5_f32))]);
    }

    #[test]
    fn several_attributes() {
        let slice = node("Slice", &[("starts", ints(&[0])), ("ends", ints(&[9]))]);
        let constants = [("y/starts", list(&[0])), ("y/ends", list(&[9]))];
        check(slice, 9, &["x", "y/starts", "y/ends"], &constants);
        let pad = node("Pad", &[("pads", ints(&[1, 1])), ("value", AttrValue::Float(2.))]);
        let constants = [("y/pads", list(&[1, 1])), ("y/value", Tensor::scalar(2_f32))];
        check(pad, 10, &["x", "y/pads", "y/value"], &constants);
    }

    #[test]
    fn inputs_left_out_stay_so() {
        let clip = node("Clip", &[("max", AttrValue::Float(6.))]);
        check(clip, 6, &["x", "", "y/max"], &[("y/max", Tensor::scalar(6_f32))]);
        check(node("Clip", &[]), 6, &["x"], &[]);
        check(node("ReduceMax", &[("axes", ints(&[]))]), 7, &["x"], &[]);
        let pool = node("MaxPool", &[("pads", ints(&[1, 1]))]);
        check(pool, 7, &["x"], &[]);
    }

    #[test]
    fn other_domains_are_left_alone() {
        let mut squeeze = node("Squeeze", &[("axes", ints(&[0]))]);
        squeeze.domain = "com.example".to_owned();
        check(squeeze, 7, &["x"], &[]);
    }

    #[test]
    fn wrong_kinds_are_refused() {
        let mut squeeze = node("Squeeze", &[("axes", AttrValue::Int(1))]);
        let error = upgrade(&mut squeeze, 7).unwrap_err();
        assert_eq!(error.to_string(), "attribute `axes` is 1, expected a list of integers");
        let mut mean = node("ReduceMean", &[("axes", ints(&[0]))]);
        mean.inputs.push(Some("axes".to_owned()));
        let error = upgrade(&mut mean, 17).unwrap_err();
        assert_eq!(error.to_string(), "has 2 inputs, expected at most 1 before opset 18");
    }
}
