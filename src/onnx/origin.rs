//! [`Origin`]: what a file says besides what it computes, so that a file made from it says it too.

use std::collections::BTreeMap;

use crate::onnx::proto::{
    GraphProto, ModelProto, NodeProto, StringStringEntryProto, ValueInfoProto,
};

/// Names, documentation and metadata of a model, its graph, values and nodes.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Without nodes, tensors and functions.
    pub(super) model: ModelProto,
    /// By name; by the first output where the file gives none.
    pub(super) nodes: BTreeMap<String, NodeNotes>,
    /// By value, those of inputs and outputs of the graph too.
    pub(super) values: BTreeMap<String, ValueInfoProto>,
}

/// What a node says of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeNotes {
    pub(super) doc_string: Option<String>,
    pub(super) metadata_props: Vec<StringStringEntryProto>,
}

impl Origin {
    pub(super) fn new(proto: &ModelProto) -> Origin {
        let empty = GraphProto::default();
        let graph = proto.graph.as_ref().unwrap_or(&empty);
        let shell = GraphProto {
            name: graph.name.clone(),
            doc_string: graph.doc_string.clone(),
            metadata_props: graph.metadata_props.clone(),
            ..GraphProto::default()
        };
        let model = ModelProto {
            graph: Some(shell),
            ir_version: proto.ir_version,
            opset_import: proto.opset_import.clone(),
            producer_name: proto.producer_name.clone(),
            producer_version: proto.producer_version.clone(),
            domain: proto.domain.clone(),
            model_version: proto.model_version,
            doc_string: proto.doc_string.clone(),
            metadata_props: proto.metadata_props.clone(),
            ..ModelProto::default()
        };
        let infos = graph.value_info.iter().chain(&graph.input).chain(&graph.output);
        let values = infos.map(|info| (info.name().to_owned(), info.clone())).collect();
        let mut origin = Origin { model, nodes: BTreeMap::new(), values };
        origin.note_nodes(&graph.node);
        origin
    }

    fn note_nodes(&mut self, nodes: &[NodeProto]) {
        for node in nodes {
            let mut names = node.name.iter().chain(&node.output);
            let Some(name) = names.find(|name| !name.is_empty()) else { continue };
            let notes = NodeNotes {
                doc_string: node.doc_string.clone(),
                metadata_props: node.metadata_props.clone(),
            };
            self.nodes.entry(name.clone()).or_insert(notes);
            let bodies = node.attribute.iter().filter_map(|attr| attr.g.as_ref());
            bodies.for_each(|body| self.note_nodes(&body.node));
        }
    }
}
