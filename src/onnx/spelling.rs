//! A node in the spelling of one opset: what [`upgrade`](crate::onnx::upgrade) has made newest
//! becomes that of an older one again, and what a newer one asks for is added.
//!
//! Only spelling: where the meaning changed in between, the node is refused.

use crate::graph::{Graph, Node, NodeId, Rewrite, Types, ValueId};
use crate::onnx::upgrade::UPGRADES;
use crate::ops::{self, AttrValue, DEFAULT_DOMAIN};
use crate::tensor::{DType, Tensor};

/// Why a node cannot be written in an opset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpellingError {
    #[error("{op_type} of opset {from} means something else in opset {to}, or is not there")]
    Meaning { op_type: String, from: u16, to: u16 },

    #[error("{op_type} of opset {to} takes `{attr}` as an attribute, found a computed value")]
    Computed { op_type: String, to: u16, attr: &'static str },
}

/// Operator, attributes and operands as they stand in a file.
pub(super) struct Spelled {
    pub(super) op_type: String,
    pub(super) attrs: Vec<(String, AttrValue)>,
    pub(super) inputs: Vec<Option<ValueId>>,
}

/// Operators that go by another name from an opset on, and mean the same.
const RENAMED: &[(&str, u16, &str)] = &[("Scatter", 11, "ScatterElements")];

/// What [`RESIZE`] of a newer opset does with more attributes, and since when with these operands.
const OLD_RESIZES: &[(&str, u16)] = &[("Upsample", 9), (RESIZE, 10)];
const RESIZE: &str = "Resize";
const OPSET_OF_RESIZE: u16 = 11;
const OLD_RESIZE_ATTRS: &[(&str, &str)] =
    &[("coordinate_transformation_mode", "asymmetric"), ("nearest_mode", "floor")];

/// Operators that took all axes from a certain one on as one: along the last axis they mean what
/// they mean since this opset.
const ALONG_ONE_AXIS: (&[&str], u16) = (&["Softmax", "LogSoftmax", "Hardmax"], 13);
const AXIS: &str = "axis";

const REMOVED_ATTRS: &[(&str, &str, u16)] = &[("BatchNormalization", "spatial", 9)];

/// Counts the axis of old operators from the end where it is the last one, so that they can be
/// written in newer opsets as well.
pub fn settle_axes(graph: Graph, types: &Types) -> Graph {
    let (op_types, since) = ALONG_ONE_AXIS;
    let is_last = |node: &Node| {
        let rank = node.input(0).and_then(|x| types.get(x)).map(|ty| ty.shape.len());
        let axis = if let Some(AttrValue::Int(axis)) = node.attr(AXIS) { *axis } else { 1 };
        usize::try_from(axis).is_ok_and(|axis| rank == Some(axis + 1))
    };
    let old = graph.nodes().filter(|(_, node)| {
        node.opset < since && op_types.contains(&node.op_type.as_str()) && is_last(node)
    });
    let old: Vec<NodeId> = old.map(|(id, _)| id).collect();
    let mut rewrite = Rewrite::new(graph);
    old.into_iter().for_each(|id| rewrite.set_attr(id, AXIS, AttrValue::Int(-1)));
    rewrite.finish()
}

/// `node`, one of `graph`, as a file of opset `to` has it.
pub(super) fn spell(graph: &Graph, node: &Node, to: u16) -> Result<Spelled, SpellingError> {
    let mut spelled = Spelled {
        op_type: node.op_type.clone(),
        attrs: node.attrs.clone(),
        inputs: node.inputs[..node.n_operands].to_vec(),
    };
    if node.domain != DEFAULT_DOMAIN {
        return Ok(spelled);
    }
    let op_type = node.op_type.as_str();
    let since = |opset| ops::find(DEFAULT_DOMAIN, op_type, opset).map(|def| def.since);
    let means_the_same = since(node.opset.min(to)) == since(node.opset.max(to));
    if !spelled.renew(node, to) && !means_the_same {
        let op_type = op_type.to_owned();
        return Err(SpellingError::Meaning { op_type, from: node.opset, to });
    }
    for &(name, attr, opset) in REMOVED_ATTRS {
        spelled.attrs.retain(|(found, _)| !(name == op_type && opset <= to && found == attr));
    }
    for upgrade in UPGRADES.iter().filter(|u| to < u.below && u.op_types.contains(&op_type)) {
        for &(attr, position, _) in upgrade.attrs {
            spelled.take_attr(graph, node, (attr, position), to)?;
        }
    }
    let n_parts = i64::try_from(node.n_outputs()).unwrap_or(i64::MAX);
    let needs_parts = op_type == "Split" && 18 <= to && spelled.inputs.get(1).is_none();
    if needs_parts && node.attr("num_outputs").is_none() {
        spelled.attrs.push(("num_outputs".to_owned(), AttrValue::Int(n_parts)));
    }
    Ok(spelled)
}

impl Spelled {
    /// Says in a newer opset what an old operator says; `false` if that is nothing special.
    fn renew(&mut self, node: &Node, to: u16) -> bool {
        let is_older = |opset| node.opset < opset && opset <= to;
        let op_type = node.op_type.as_str();
        let new_name = RENAMED.iter().find(|(old, opset, _)| *old == op_type && is_older(*opset));
        if let Some((_, _, new)) = new_name {
            self.op_type = (*new).to_owned();
            return true;
        }
        let is_resize =
            OLD_RESIZES.iter().any(|&(old, first)| old == op_type && first <= node.opset);
        if is_resize && is_older(OPSET_OF_RESIZE) {
            self.op_type = RESIZE.to_owned();
            let attr = |&(name, mode): &(&str, &str)| {
                (name.to_owned(), AttrValue::String(mode.to_owned()))
            };
            self.attrs.extend(OLD_RESIZE_ATTRS.iter().map(attr));
            // A region of interest stands between the two operands.
            self.inputs.insert(1, None);
            return true;
        }
        let (op_types, opset) = ALONG_ONE_AXIS;
        let is_last = matches!(node.attr(AXIS), Some(AttrValue::Int(-1)));
        op_types.contains(&op_type) && is_older(opset) && is_last
    }

    /// Makes an attribute of a constant operand.
    fn take_attr(
        &mut self,
        graph: &Graph,
        node: &Node,
        (attr, position): (&'static str, usize),
        to: u16,
    ) -> Result<(), SpellingError> {
        let Some(id) = self.inputs.get(position).copied().flatten() else { return Ok(()) };
        let value = graph.constant(id).and_then(|constant| attr_value(attr, constant.tensor()));
        let computed = || SpellingError::Computed { op_type: node.op_type.clone(), to, attr };
        self.attrs.push((attr.to_owned(), value.ok_or_else(computed)?));
        self.inputs[position] = None;
        while self.inputs.last() == Some(&None) {
            self.inputs.pop();
        }
        Ok(())
    }
}

/// The only attribute that is one integer.
const COUNT: &str = "k";

/// A float for a float tensor of one element, integers for integers.
fn attr_value(attr: &str, tensor: &Tensor) -> Option<AttrValue> {
    if tensor.dtype() == DType::F32 {
        return if let [x] = tensor.slice::<f32>() { Some(AttrValue::Float(*x)) } else { None };
    }
    match tensor.to_i64()?.as_slice() {
        [count] if attr == COUNT => Some(AttrValue::Int(*count)),
        list => Some(AttrValue::Ints(list.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::{Net, net};

    /// The attributes and the number of operands that the last node of a network has in an opset.
    fn spelled(net: Net, to: u16) -> Result<String, SpellingError> {
        let graph = net.outputs(&["y"]);
        let (_, node) = graph.nodes().last().unwrap();
        let node = Node { opset: to.min(17), ..node.clone() };
        let spelled = spell(&graph, &node, to)?;
        let attr = |(name, value): &(String, AttrValue)| format!("{name}={value}");
        let attrs: Vec<String> = spelled.attrs.iter().map(attr).collect();
        Ok(format!("{} {}", attrs.join(" "), spelled.inputs.len()))
    }

    #[test]
    fn what_was_an_attribute_is_one_again() {
        let x = || net(&[("x", &[1, 4])]);
        let mean = || x().i64s("axes", &[1]).node("ReduceMean", &["x", "axes"], "y");
        let clip =
            || x().scalar("low", 0.).scalar("high", 6.).node("Clip", &["x", "low", "high"], "y");
        let split = || x().node("Split", &["x"], "y").also("z").attr("axis", AttrValue::Int(1));
        assert_eq!(spelled(mean(), 13).unwrap(), "axes=[1] 1");
        assert_eq!(spelled(mean(), 18).unwrap(), " 2");
        assert_eq!(spelled(clip(), 9).unwrap(), "min=0 max=6 1");
        assert_eq!(spelled(clip(), 11).unwrap(), " 3");
        assert_eq!(spelled(split(), 13).unwrap(), "axis=1 1");
        assert_eq!(spelled(split(), 21).unwrap(), "axis=1 num_outputs=2 1");
    }

    #[test]
    fn what_means_something_else_is_refused() {
        let graph = net(&[("x", &[1, 4])]).node("Softmax", &["x"], "y").outputs(&["y"]);
        let (_, node) = graph.nodes().last().unwrap();
        let old = Node { opset: 11, ..node.clone() };
        assert!(spell(&graph, &old, 12).is_ok());
        let error = spell(&graph, &old, 13).err().unwrap().to_string();
        assert_eq!(error, "Softmax of opset 11 means something else in opset 13, or is not there");
        let along_last = Node { attrs: vec![("axis".to_owned(), AttrValue::Int(-1))], ..old };
        assert!(spell(&graph, &along_last, 21).is_ok());
    }

    #[test]
    fn what_went_by_another_name() {
        let graph = net(&[("x", &[1, 1, 2, 2])])
            .constant("scales", Tensor::from_vec(&[4], vec![1_f32, 1., 2., 2.]))
            .constant("roi", Tensor::from_vec(&[0], Vec::<f32>::new()))
            .node("Resize", &["x", "roi", "scales"], "y")
            .outputs(&["y"]);
        let (_, node) = graph.nodes().last().unwrap();
        let (x, scales) = (node.inputs[0], node.inputs[2]);
        for (op_type, opset) in [("Upsample", 9), ("Resize", 10)] {
            let old = Node {
                op_type: op_type.to_owned(),
                opset,
                inputs: vec![x, scales],
                n_operands: 2,
                ..node.clone()
            };
            let spelled = spell(&graph, &old, 13).unwrap();
            assert_eq!(
                (spelled.op_type.as_str(), spelled.inputs),
                ("Resize", vec![x, None, scales])
            );
            assert_eq!(spelled.attrs.len(), 2);
        }
    }
}
