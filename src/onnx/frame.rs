//! [`Frame`]: where a node stands: in the model's graphs, or in a function that is being inlined.
//!
//! A call of a function is replaced by the function's nodes: its formal inputs and outputs become
//! the call's, other values get a name made from the call's first output, references to the
//! function's attributes become the call's (<https://onnx.ai/onnx/repo-docs/IR.html>, "Functions").

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::onnx::load::normal_domain;
use crate::onnx::proto::{AttributeProto, FunctionProto, ModelProto, NodeProto};
use crate::ops::OpError;

/// Domain, name, overload.
pub(super) type FunctionId = (String, String, String);

/// The functions of a model.
pub(super) fn functions(proto: &ModelProto) -> BTreeMap<FunctionId, &FunctionProto> {
    let id = |function: &FunctionProto| {
        let domain = normal_domain(function.domain()).to_owned();
        (domain, function.name().to_owned(), function.overload().to_owned())
    };
    proto.functions.iter().map(|function| (id(function), function)).collect()
}

/// Which function a node calls, if it is one.
pub(super) fn called(proto: &NodeProto) -> FunctionId {
    let domain = normal_domain(proto.domain()).to_owned();
    (domain, proto.op_type().to_owned(), proto.overload().to_owned())
}

/// What names, attributes and operators mean to a node.
pub(super) struct Frame {
    pub(super) opsets: BTreeMap<String, u16>,
    /// `None` in the model's own graphs.
    call: Option<Call>,
}

struct Call {
    /// The functions that are being inlined, the outermost first.
    stack: Vec<FunctionId>,
    /// Of the calling node, with a slash.
    node: String,
    /// For values that are neither an input nor an output of the function.
    prefix: String,
    /// An input or output by its name in the function; empty where the call leaves it out.
    formal: BTreeMap<String, String>,
    attrs: BTreeMap<String, AttributeProto>,
}

impl Frame {
    pub(super) fn of_model(opsets: BTreeMap<String, u16>) -> Frame {
        Frame { opsets, call: None }
    }

    /// The frame of the function's nodes; `inputs`, `outputs` and `attrs` are the call's.
    pub(super) fn of_call(
        &self,
        id: FunctionId,
        function: &FunctionProto,
        opsets: BTreeMap<String, u16>,
        (node, inputs, outputs): (&str, &[Option<String>], &[Option<String>]),
        attrs: BTreeMap<String, AttributeProto>,
    ) -> Result<Frame, OpError> {
        let mut stack = self.call.as_ref().map_or(Vec::new(), |call| call.stack.clone());
        if stack.contains(&id) {
            return Err(OpError::Recursive { name: id.1 });
        }
        stack.push(id);
        for (what, found, most) in [
            ("inputs", inputs.len(), function.input.len()),
            ("outputs", outputs.len(), function.output.len()),
        ] {
            if most < found {
                return Err(OpError::Arity { what, found, expected: format!("at most {most}") });
            }
        }
        let prefix = format!("{}/", outputs.iter().flatten().next().map_or("", String::as_str));
        let mut formal = BTreeMap::new();
        for (index, name) in function.output.iter().enumerate() {
            if let Some(Some(actual)) = outputs.get(index) {
                formal.insert(name.clone(), actual.clone());
            }
        }
        for (index, name) in function.input.iter().enumerate() {
            let actual = inputs.get(index).cloned().flatten().unwrap_or_default();
            formal.insert(name.clone(), actual);
        }
        let opsets = if opsets.is_empty() { self.opsets.clone() } else { opsets };
        let node = format!("{node}/");
        let attrs = with_defaults(function, attrs)?;
        Ok(Frame { opsets, call: Some(Call { stack, node, prefix, formal, attrs }) })
    }

    /// The name of a value in the graph that is being built; empty if there is none.
    pub(super) fn value(&self, name: &str) -> String {
        match &self.call {
            Some(call) if !name.is_empty() => {
                let inner = || format!("{}{name}", call.prefix);
                call.formal.get(name).cloned().unwrap_or_else(inner)
            }
            _ => name.to_owned(),
        }
    }

    /// The same for a list, without the empty ones at its end.
    pub(super) fn values(&self, names: &[String]) -> Vec<Option<String>> {
        let value = |name: &String| Some(self.value(name)).filter(|name| !name.is_empty());
        let mut values: Vec<Option<String>> = names.iter().map(value).collect();
        while values.last() == Some(&None) {
            values.pop();
        }
        values
    }

    /// The name of a node.
    pub(super) fn node(&self, name: &str) -> String {
        let calling = self.call.as_ref().map_or("", |call| call.node.as_str());
        format!("{calling}{name}")
    }

    /// The attribute that a node has here; `None` for a reference to one that the call leaves out.
    pub(super) fn attr<'a>(&self, proto: &'a AttributeProto) -> Option<Cow<'a, AttributeProto>> {
        match (proto.ref_attr_name(), &self.call) {
            ("", _) | (_, None) => Some(Cow::Borrowed(proto)),
            (reference, Some(call)) => {
                let name = proto.name.clone();
                let value = call.attrs.get(reference)?.clone();
                Some(Cow::Owned(AttributeProto { name, ..value }))
            }
        }
    }
}

/// The attributes of a call, and those of the function that it leaves out.
fn with_defaults(
    function: &FunctionProto,
    mut attrs: BTreeMap<String, AttributeProto>,
) -> Result<BTreeMap<String, AttributeProto>, OpError> {
    let has = |name: &String| {
        function.attribute.contains(name)
            || function.attribute_proto.iter().any(|default| default.name() == name)
    };
    if let Some(name) = attrs.keys().find(|name| !has(name)) {
        return Err(OpError::UnknownAttribute { name: name.clone() });
    }
    for default in &function.attribute_proto {
        attrs.entry(default.name().to_owned()).or_insert_with(|| default.clone());
    }
    Ok(attrs)
}
