//! `exclude-list`: the nodes that stay in high precision, for tools that choose integers themselves.
//!
//! High precision is more than 8 bits: float, and 16-bit activations or weights. Listed are all
//! nodes of a unit that reads or holds anything of that kind.
//!
//! | for | form |
//! | --- | --- |
//! | `modelopt` | a name a line, as a regular expression: `--nodes_to_exclude $(cat FILE)` |
//! | `nncf` | JSON of what `nncf.IgnoredScope` takes: `IgnoredScope(**json.load(file))` |
//! | `trtexec` | one line: `--layerPrecisions=$(cat FILE) --precisionConstraints=obey` |

use serde::Serialize;

use crate::artifact::to_json;
use crate::export::{Deployment, ExportError, Format};
use crate::graph::NodeId;
use crate::ops::OutputRange;
use crate::pipeline::Configured;
use crate::tensor::DType;

pub(super) const FORMAT: Format = Format { name: "exclude-list", names_tensors: true, write };

/// Who reads the list; the first is the default.
pub const FORMS: &[&str] = &["modelopt", "nncf", "trtexec"];

/// The most bits that are no high precision.
const LOW_BITS: u8 = 8;

#[derive(Serialize)]
struct IgnoredScope<'a> {
    names: Vec<&'a str>,
    /// Nodes that the tool has folded away are no mistake.
    validate: bool,
}

fn write(deployment: &Deployment<'_>) -> Result<Vec<u8>, ExportError> {
    let net = deployment.net;
    let nodes = high_precision(net);
    let names: Vec<&str> = nodes.iter().map(|&id| net.graph.node(id).name.as_str()).collect();
    let text = match deployment.options.tool {
        "nncf" => to_json(&IgnoredScope { names, validate: false }),
        "trtexec" => {
            check(&names, "trtexec", &[',', '\'', '\n'])?;
            let specs: Vec<String> = names.iter().map(|name| format!("{name}:fp16")).collect();
            specs.join(",") + "\n"
        }
        _ => {
            check(&names, "ModelOpt", &['\n', ' ', '\t'])?;
            names.iter().map(|name| escaped(name) + "\n").collect()
        }
    };
    Ok(text.into_bytes())
}

/// In the order of the model.
fn high_precision(net: &Configured) -> Vec<NodeId> {
    let units = net.placement.units.iter();
    let high = units.filter(|unit| unit.nodes.iter().any(|&id| is_high(net, id)));
    let mut nodes: Vec<NodeId> = high.flat_map(|unit| unit.nodes.iter().copied()).collect();
    nodes.sort_unstable();
    nodes
}

/// Whether a node reads or holds floats in more bits than are low, among those it would quantize.
fn is_high(net: &Configured, id: NodeId) -> bool {
    let (node, role) = (net.graph.node(id), net.placement.role(id));
    let is_float = |value| net.types.get(value).is_some_and(|ty| ty.dtype == DType::F32);
    if role.output == OutputRange::NotQuantized {
        return false;
    }
    let is_inner = |value| net.placement.root(value).is_none() && !is_first(net, id, value);
    node.present_inputs().any(|(position, value)| {
        let is_weight = role.weights.iter().any(|weight| weight.input == position);
        let encoding = match net.graph.constant(value) {
            Some(_) if !is_weight => return false,
            Some(_) => net.constants.get(&value),
            None if !is_float(value) || net.placement.is_mask(value) || is_inner(value) => {
                return false;
            }
            None => net.encoding(value),
        };
        encoding.is_none_or(|encoding| LOW_BITS < encoding.bits.get())
    })
}

/// Whether a value comes into the unit of a node from outside.
fn is_first(net: &Configured, id: NodeId, value: crate::graph::ValueId) -> bool {
    let unit = net.placement.units.iter().find(|unit| unit.nodes.contains(&id));
    let inside = unit.into_iter().flat_map(|unit| &unit.nodes);
    !inside.flat_map(|&id| net.graph.node(id).present_outputs()).any(|made| made == value)
}

fn check(names: &[&str], tool: &'static str, special: &[char]) -> Result<(), ExportError> {
    for name in names {
        if let Some(found) = name.chars().find(|c| special.contains(c)) {
            return Err(ExportError::Name { node: (*name).to_owned(), tool, found });
        }
    }
    Ok(())
}

/// As a regular expression that means the text itself.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if r".+*?()|[]{}^$\".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
