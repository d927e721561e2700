//! From a [`Graph`] to the bytes of an ONNX file: the same graph and opset give the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use crate::graph::{Body, Graph, Node, ValueId};
use crate::onnx::origin::Origin;
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::{
    AttributeProto, GraphProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};
use crate::onnx::spelling::{SpellingError, spell};
use crate::onnx::tensor;
use crate::ops::{AttrValue, DEFAULT_DOMAIN};

/// Why a graph cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SaveError {
    #[error("node `{node}` cannot be written in opset {opset}, which is not supported: {source}")]
    Node { node: String, opset: u16, source: SpellingError },

    #[error(
        "the model would have {found} bytes, more than the {MOST_BYTES} of one file, which is not supported"
    )]
    TooLarge { found: usize },
}

/// What protobuf can hold.
const MOST_BYTES: usize = 0x7fff_ffff;

/// The first opset of the default domain that an IR version belongs to, newest first.
const IR_VERSIONS: &[(u16, i64)] =
    &[(25, 13), (24, 12), (23, 11), (21, 10), (19, 9), (15, 8), (12, 7), (11, 6), (10, 5)];

/// Before this version, initializers were inputs as well.
const OLDEST_IR: i64 = 4;

/// The file that computes `graph` in an opset of the default domain, and says of itself what the
/// file that it was made from says.
pub fn model_bytes(graph: &Graph, origin: &Origin, opset: u16) -> Result<Vec<u8>, SaveError> {
    let mut model = origin.model.clone();
    let shell = model.graph.take().unwrap_or_default();
    let writer = Writer { origin, opset };
    let ir = IR_VERSIONS.iter().find(|(first, _)| *first <= opset).map_or(OLDEST_IR, |(_, ir)| *ir);
    model.ir_version = Some(model.ir_version().max(ir));
    model.opset_import = writer.opsets(graph);
    model.graph = Some(writer.main_graph(graph, shell)?);
    let found = model.encoded_len();
    if MOST_BYTES < found {
        return Err(SaveError::TooLarge { found });
    }
    Ok(model.encode_to_vec())
}

struct Writer<'a> {
    origin: &'a Origin,
    opset: u16,
}

/// By value of a subgraph: the name of the value around it that it stands for.
type Captured<'a> = BTreeMap<ValueId, &'a str>;

impl Writer<'_> {
    /// The default domain, then the others that nodes are of.
    fn opsets(&self, graph: &Graph) -> Vec<OperatorSetIdProto> {
        let mut domains = BTreeMap::new();
        graph.visit_nodes(&mut |node| {
            domains.insert(node.domain.clone(), i64::from(node.opset));
        });
        domains.insert(DEFAULT_DOMAIN.to_owned(), i64::from(self.opset));
        let import =
            |(domain, version)| OperatorSetIdProto { domain: Some(domain), version: Some(version) };
        domains.into_iter().map(import).collect()
    }

    fn main_graph(&self, graph: &Graph, shell: GraphProto) -> Result<GraphProto, SaveError> {
        let captured = Captured::new();
        let ids: Vec<ValueId> = graph.inputs().iter().map(|input| input.value).collect();
        let infos = |ids: &[ValueId]| {
            ids.iter().map(|&id| self.info(graph.value_name(id))).collect::<Vec<_>>()
        };
        let made = graph.nodes().flat_map(|(_, node)| node.present_outputs());
        let inner = made.filter(|&id| !graph.is_output(id)).map(|id| graph.value_name(id));
        let nodes = self.nodes(graph, &captured)?;
        Ok(GraphProto {
            initializer: initializers(graph, &captured, &nodes),
            node: nodes,
            input: infos(&ids),
            output: infos(graph.outputs()),
            value_info: inner.filter_map(|name| self.origin.values.get(name).cloned()).collect(),
            ..shell
        })
    }

    /// What the file said of a value; its name alone where it said nothing.
    fn info(&self, name: &str) -> ValueInfoProto {
        let known = self.origin.values.get(name).cloned();
        known
            .unwrap_or_else(|| ValueInfoProto { name: Some(name.to_owned()), ..Default::default() })
    }

    fn nodes(&self, graph: &Graph, captured: &Captured<'_>) -> Result<Vec<NodeProto>, SaveError> {
        graph.nodes().map(|(_, node)| self.node(graph, node, captured)).collect()
    }

    fn node(
        &self,
        graph: &Graph,
        node: &Node,
        captured: &Captured<'_>,
    ) -> Result<NodeProto, SaveError> {
        let spelled = spell(graph, node, self.opset).map_err(|source| SaveError::Node {
            node: node.name.clone(),
            opset: self.opset,
            source,
        })?;
        let name = |id: &Option<ValueId>| {
            id.map_or(String::new(), |id| name_in(graph, captured, id).to_owned())
        };
        let output: Vec<String> = node.outputs.iter().map(name).collect();
        let attribute = |(attr, value): &(String, AttrValue)| {
            let mut proto = attribute(attr, value);
            if let &AttrValue::Body(body) = value {
                proto.g = Some(self.body(graph, node, &node.bodies[body], captured)?);
            }
            Ok(proto)
        };
        let notes = self.origin.nodes.get(&node.name).cloned().unwrap_or_default();
        Ok(NodeProto {
            input: spelled.inputs.iter().map(name).collect(),
            name: Some(node.name.clone()),
            op_type: Some(spelled.op_type),
            domain: Some(node.domain.clone()).filter(|domain| !domain.is_empty()),
            attribute: spelled.attrs.iter().map(attribute).collect::<Result<_, SaveError>>()?,
            doc_string: notes.doc_string,
            metadata_props: notes.metadata_props,
            output,
            ..NodeProto::default()
        })
    }

    fn body(
        &self,
        graph: &Graph,
        node: &Node,
        body: &Body,
        around: &Captured<'_>,
    ) -> Result<GraphProto, SaveError> {
        let outer = body.captures.iter().filter_map(|&(position, inner)| {
            let outer = node.inputs.get(position).copied().flatten()?;
            Some((inner, name_in(graph, around, outer)))
        });
        let captured: Captured<'_> = outer.collect();
        let info = |&id: &ValueId| ValueInfoProto {
            name: Some(name_in(&body.graph, &captured, id).to_owned()),
            ..ValueInfoProto::default()
        };
        let nodes = self.nodes(&body.graph, &captured)?;
        Ok(GraphProto {
            name: Some(body.graph.name.clone()),
            initializer: initializers(&body.graph, &captured, &nodes),
            node: nodes,
            input: body.inputs.iter().map(info).collect(),
            output: body.graph.outputs().iter().map(info).collect(),
            ..GraphProto::default()
        })
    }
}

fn name_in<'a>(graph: &'a Graph, captured: &Captured<'a>, id: ValueId) -> &'a str {
    captured.get(&id).copied().unwrap_or_else(|| graph.value_name(id))
}

/// The constants that are read, by subgraphs too, or put out.
fn initializers(graph: &Graph, captured: &Captured<'_>, nodes: &[NodeProto]) -> Vec<TensorProto> {
    let operands: BTreeSet<&str> =
        nodes.iter().flat_map(|n| &n.input).map(String::as_str).collect();
    let in_bodies = graph.nodes().flat_map(|(_, node)| &node.inputs[node.n_operands..]);
    let needed = in_bodies.copied().flatten().chain(graph.outputs().iter().copied());
    let needed: BTreeSet<ValueId> = needed.collect();
    let is_used = |id: &ValueId| {
        !captured.contains_key(id)
            && (needed.contains(id) || operands.contains(graph.value_name(*id)))
    };
    let proto = |id| Some(tensor::encode(graph.value_name(id), graph.constant(id)?.tensor()));
    graph.value_ids().filter(is_used).filter_map(proto).collect()
}

fn attribute(name: &str, value: &AttrValue) -> AttributeProto {
    let mut proto = AttributeProto { name: Some(name.to_owned()), ..AttributeProto::default() };
    let bytes = |text: &String| bytes::Bytes::copy_from_slice(text.as_bytes());
    let kind = match value {
        AttrValue::Int(x) => {
            proto.i = Some(*x);
            AttributeType::Int
        }
        AttrValue::Float(x) => {
            proto.f = Some(*x);
            AttributeType::Float
        }
        AttrValue::String(x) => {
            proto.s = Some(bytes(x));
            AttributeType::String
        }
        AttrValue::Tensor(x) => {
            proto.t = Some(tensor::encode("", x));
            AttributeType::Tensor
        }
        AttrValue::Ints(x) => {
            proto.ints.clone_from(x);
            AttributeType::Ints
        }
        AttrValue::Floats(x) => {
            proto.floats.clone_from(x);
            AttributeType::Floats
        }
        AttrValue::Strings(x) => {
            proto.strings = x.iter().map(bytes).collect();
            AttributeType::Strings
        }
        AttrValue::Body(_) => AttributeType::Graph,
    };
    proto.set_type(kind);
    proto
}
