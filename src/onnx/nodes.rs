//! Nodes from protobuf: operators with their attributes and subgraphs; calls of functions inlined.

use std::collections::BTreeMap;

use prost::Message as _;

use crate::graph::{BodySpec, Builder, NodeError, NodeSpec};
use crate::onnx::attribute::attribute;
use crate::onnx::error::LoadError;
use crate::onnx::frame::{Frame, FunctionId, called};
use crate::onnx::load::{Loader, initializer_names, normal_domain, opsets};
use crate::onnx::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto};
use crate::onnx::upgrade::{RawNode, upgrade};
use crate::ops::{self, AttrValue, Attrs, OpError, Operator, Unsupported};

/// Functions that call functions may stand for more nodes than fit in memory.
const MOST_NODES: usize = 200_000;

/// A function has its names, and what else is in it, in the place of every call.
const MOST_BYTES: usize = 1 << 30;

/// Of functions and subgraphs in each other: every level takes some of the stack, here and in a pass.
const MOST_DEPTH: usize = 50;

impl Loader<'_> {
    /// Does `read` one level deeper.
    fn deeper<R>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<R, LoadError>,
    ) -> Result<R, LoadError> {
        if self.depth == MOST_DEPTH {
            return Err(LoadError::TooDeep { path: self.owned_path(), limit: MOST_DEPTH });
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    pub(super) fn nodes(&mut self, nodes: &[NodeProto], frame: &Frame) -> Result<(), LoadError> {
        for (index, node) in nodes.iter().enumerate() {
            self.n_nodes += 1;
            if MOST_NODES < self.n_nodes {
                return Err(LoadError::TooManyNodes { path: self.owned_path(), limit: MOST_NODES });
            }
            self.node(index, node, frame)?;
        }
        Ok(())
    }

    fn node(&mut self, index: usize, proto: &NodeProto, frame: &Frame) -> Result<(), LoadError> {
        let domain = normal_domain(proto.domain());
        let raw = RawNode {
            domain: domain.to_owned(),
            op_type: proto.op_type().to_owned(),
            inputs: frame.values(&proto.input),
            outputs: frame.values(&proto.output),
            attrs: BTreeMap::new(),
        };
        let name = match (proto.name(), raw.outputs.iter().flatten().next()) {
            ("", Some(output)) => output.clone(),
            ("", None) => frame.node(&format!("node {index}")),
            (name, _) => frame.node(name),
        };
        let id = called(proto);
        if let Some(&function) = self.functions.get(&id) {
            return self.call(id, function, (name, raw), proto, frame);
        }
        let opset = frame.opsets.get(domain).copied().unwrap_or(1);
        self.operator_node(name, opset, raw, proto, frame)
    }

    fn operator_node(
        &mut self,
        name: String,
        opset: u16,
        mut raw: RawNode,
        proto: &NodeProto,
        frame: &Frame,
    ) -> Result<(), LoadError> {
        let mut bodies = Vec::new();
        let operator = match self.attributes(&mut raw, proto, &mut bodies, frame)? {
            Ok(()) => self.operator(&mut raw, opset)?,
            Err(error) => Err(error),
        };
        let operator = operator.unwrap_or_else(|error| {
            self.bad_node(&name, &raw.op_type, opset, error.clone());
            Box::new(Unsupported(error))
        });
        let spec = NodeSpec {
            name,
            domain: raw.domain,
            op_type: raw.op_type,
            opset,
            attrs: raw.attrs.into_iter().collect(),
            operator: operator.into(),
            inputs: raw.inputs,
            outputs: raw.outputs,
            bodies,
        };
        self.build(|builder| builder.node(spec))
    }

    /// The outer error is of the file, the inner one of this node alone.
    fn attributes(
        &mut self,
        raw: &mut RawNode,
        proto: &NodeProto,
        bodies: &mut Vec<BodySpec>,
        frame: &Frame,
    ) -> Result<Result<(), OpError>, LoadError> {
        for attr in &proto.attribute {
            let Some(attr) = frame.attr(attr) else { continue };
            let value = match attribute(&attr, self.external, bodies.len()) {
                Ok(value) => value,
                Err(error) => return Ok(Err(error)),
            };
            if let (AttrValue::Body(_), Some(graph)) = (&value, &attr.g) {
                bodies.push(self.deeper(|loader| loader.body(graph, frame))?);
            }
            if raw.attrs.insert(attr.name().to_owned(), value).is_some() {
                let name = attr.name();
                return Ok(Err(OpError::invalid_attribute(name, "given twice", "one value")));
            }
        }
        Ok(Ok(()))
    }

    fn operator(
        &mut self,
        raw: &mut RawNode,
        opset: u16,
    ) -> Result<Result<Box<dyn Operator>, OpError>, LoadError> {
        if raw.outputs.is_empty() {
            let (what, expected) = ("outputs", "at least 1".to_owned());
            return Ok(Err(OpError::Arity { what, found: 0, expected }));
        }
        match upgrade(raw, opset) {
            Ok(constants) => {
                for (name, tensor) in constants {
                    self.build(|builder| builder.constant(&name, tensor.into()))?;
                }
            }
            Err(error) => return Ok(Err(error)),
        }
        Ok(ops::read(&raw.domain, &raw.op_type, opset, Attrs::new(raw.attrs.clone())))
    }

    /// A subgraph, built apart from the graph around it.
    fn body(&mut self, proto: &GraphProto, frame: &Frame) -> Result<BodySpec, LoadError> {
        let around = std::mem::replace(&mut self.builder, Builder::new(proto.name()));
        self.constants(proto, frame)?;
        let initializers = initializer_names(proto);
        for input in proto.input.iter().filter(|input| !initializers.contains(input.name())) {
            let name = frame.value(input.name());
            self.build(|builder| builder.formal_input(&name))?;
        }
        self.nodes(&proto.node, frame)?;
        let outputs: Vec<String> =
            proto.output.iter().map(|output| frame.value(output.name())).collect();
        let builder = std::mem::replace(&mut self.builder, around);
        builder.finish_body(&outputs).map_err(|source| self.build_error(source))
    }

    /// Puts the nodes of a function in the place of a call.
    fn call(
        &mut self,
        id: FunctionId,
        function: &FunctionProto,
        (name, raw): (String, RawNode),
        proto: &NodeProto,
        frame: &Frame,
    ) -> Result<(), LoadError> {
        self.n_bytes = self.n_bytes.saturating_add(function.encoded_len());
        if MOST_BYTES < self.n_bytes {
            return Err(LoadError::TooManyBytes { path: self.owned_path(), limit: MOST_BYTES });
        }
        let attrs = proto.attribute.iter().filter_map(|attr| frame.attr(attr));
        let attrs: BTreeMap<String, AttributeProto> =
            attrs.map(|attr| (attr.name().to_owned(), attr.into_owned())).collect();
        let opsets = opsets(self.path, &function.opset_import)?;
        let call = (name.as_str(), raw.inputs.as_slice(), raw.outputs.as_slice());
        let inner = match frame.of_call(id, function, opsets, call, attrs) {
            Ok(inner) => inner,
            Err(error) => return self.bad_call(name, raw, error),
        };
        self.deeper(|loader| loader.nodes(&function.node, &inner))?;
        for (output, actual) in function.output.iter().zip(&raw.outputs) {
            let is_passed = function.input.contains(output);
            let Some(actual) = actual.as_ref().filter(|_| is_passed) else { continue };
            let (domain, op_type) = (String::new(), "Identity".to_owned());
            let passed = RawNode {
                domain,
                op_type,
                inputs: inner.values(std::slice::from_ref(output)),
                outputs: vec![Some(actual.clone())],
                attrs: BTreeMap::new(),
            };
            let opset = ops::NEWEST_OPSET;
            self.operator_node(actual.clone(), opset, passed, &NodeProto::default(), frame)?;
        }
        Ok(())
    }

    fn bad_call(&mut self, name: String, raw: RawNode, error: OpError) -> Result<(), LoadError> {
        self.bad_node(&name, &raw.op_type, 1, error.clone());
        let spec = NodeSpec {
            name,
            domain: raw.domain,
            op_type: raw.op_type,
            opset: 1,
            attrs: Vec::new(),
            operator: std::sync::Arc::new(Unsupported(error)),
            inputs: raw.inputs,
            outputs: raw.outputs,
            bodies: Vec::new(),
        };
        self.build(|builder| builder.node(spec))
    }

    fn bad_node(&mut self, node: &str, op_type: &str, opset: u16, error: OpError) {
        let (node, op_type) = (node.to_owned(), op_type.to_owned());
        self.bad_nodes.push(NodeError { node, op_type, opset, error });
    }
}
