//! [`Inspection`]: what a model is made of and what quantization would do with it, before any data.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::artifact;
use crate::graph::{Dim, Graph, NodeError, NodeId, Types, ValueId, infer, simplify};
use crate::onnx::Model;
use crate::ops::ErrorKind;
use crate::pipeline::artifacts::GroupNames;
use crate::pipeline::{PipelineError, input_types};
use crate::quant::{
    Candidate, Candidates, Group, GroupError, Groups, Pin, Placement, Target, node_macs,
};
use crate::tensor::DType;

/// The schema of `mpq inspect --json`.
const SCHEMA: &str = "mpq/inspect/1";

/// Everything about a model that can be known without running it; `None` is unknown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    pub schema: &'static str,
    pub model: artifact::Model,
    /// Of the default domain.
    pub opset: u16,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// By domain and name, in the model as it is in the file; functions inlined, subgraphs too.
    pub operators: Vec<OperatorCount>,
    /// Every node that cannot run.
    pub unsupported: Vec<BadNode>,
    /// Elements of the float constants.
    pub parameters: u64,
    pub parameter_bytes: u64,
    /// At batch 1.
    pub macs: Option<u64>,
    /// Those that no group has.
    pub float_macs: Option<u64>,
    /// Nodes whose shapes depend on data; their MACs count as 0.
    pub unknown_shapes: Option<Vec<String>>,
    /// Nodes with subgraphs: what is inside stays in float, and its MACs are not counted.
    pub subgraphs: Option<Vec<String>>,
    pub groups: Option<Vec<InspectedGroup>>,
    /// Nodes that are computed as one, where they are several.
    pub units: Option<Vec<InspectedUnit>>,
    pub not_quantized: Option<Vec<NotQuantized>>,
    /// Why MACs, groups and the like are unknown.
    pub incomplete: Option<String>,
}

/// An input or output of the network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Port {
    pub name: String,
    pub dtype: Option<String>,
    pub shape: Option<Vec<PortDim>>,
}

/// A size, or the name of a free dimension.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum PortDim {
    Size(usize),
    Free(Option<String>),
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OperatorCount {
    pub domain: String,
    pub operator: String,
    pub nodes: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BadNode {
    pub node: String,
    pub operator: String,
    pub opset: u16,
    /// Whether the model breaks the specification; else mpq does not support the node.
    pub invalid: bool,
    pub reason: String,
}

/// A group with its members by name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InspectedGroup {
    pub id: String,
    pub nodes: Vec<String>,
    pub activations: Vec<String>,
    pub weights: Vec<String>,
    /// Constants that follow an activation of the group.
    pub operands: Vec<String>,
    pub weight_elements: u64,
    pub macs: u64,
    pub choices: Vec<Candidate>,
    pub pinned: bool,
    pub tied_by: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InspectedUnit {
    pub kind: String,
    pub output: String,
    pub nodes: Vec<String>,
}

/// A tensor that is no activation, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NotQuantized {
    pub tensor: String,
    pub reason: Reason,
    /// `inside_unit`: the output of the unit; `not_float32`: the type.
    pub detail: Option<String>,
}

/// Why a tensor stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Only the end of a unit is rounded.
    InsideUnit,
    /// A float computed from integers and constants alone.
    Mask,
    /// Only float32 tensors are quantized.
    NotFloat32,
    /// A scale, a grid or the like, by its operator's word.
    Parameter,
    /// No quantized operator reads it.
    NotRead,
    UnknownType,
}

impl Inspection {
    /// # Errors
    /// If no group can be made.
    pub fn new(
        model: Model,
        target: &Target,
        candidates: &Candidates,
        pins: &[Pin],
    ) -> Result<Inspection, PipelineError> {
        let mut inspection = Inspection::of_file(&model);
        let graph = simplify(model.graph);
        let types = match input_types(&graph) {
            Ok(inputs) => infer(&graph, &inputs),
            // What is known without sizes is worth more than a complaint about them.
            Err(error) => {
                inspection.incomplete = Some(error.to_string());
                return Ok(inspection);
            }
        };
        inspection.outputs = graph.outputs().iter().map(|&id| output(&graph, &types, id)).collect();
        for error in &types.errors {
            let bad = bad_node(error);
            if !inspection.unsupported.contains(&bad) {
                inspection.unsupported.push(bad);
            }
        }
        if inspection.unsupported.is_empty() {
            inspection.add_quantizers(&graph, &types, target, candidates, pins)?;
        }
        Ok(inspection)
    }

    /// What needs neither types nor a graph that can run.
    fn of_file(model: &Model) -> Inspection {
        let graph = &model.graph;
        let (parameters, parameter_bytes) = parameters(graph);
        let outputs = graph.outputs().iter();
        Inspection {
            schema: SCHEMA,
            model: artifact::Model { file: model.file.clone(), sha256: model.sha256.clone() },
            opset: model.opset,
            inputs: inputs(graph),
            outputs: outputs
                .map(|&id| Port { name: graph.value_name(id).to_owned(), dtype: None, shape: None })
                .collect(),
            operators: operators(graph),
            unsupported: model.bad_nodes.iter().map(bad_node).collect(),
            parameters,
            parameter_bytes,
            macs: None,
            float_macs: None,
            unknown_shapes: None,
            subgraphs: None,
            groups: None,
            units: None,
            not_quantized: None,
            incomplete: None,
        }
    }

    fn add_quantizers(
        &mut self,
        graph: &Graph,
        types: &Types,
        target: &Target,
        candidates: &Candidates,
        pins: &[Pin],
    ) -> Result<(), PipelineError> {
        let placement = Placement::new(graph, types, target);
        let groups = match Groups::new(graph, types, &placement, target, candidates, pins) {
            Ok(groups) => groups,
            Err(GroupError::NothingToQuantize) => {
                let macs = graph.nodes().map(|(_, node)| node_macs(types, node));
                Groups { groups: Vec::new(), float_macs: macs.sum() }
            }
            Err(error) => return Err(PipelineError::Groups(error)),
        };
        let is_unknown = |id: ValueId| types.get(id).is_none();
        let unknown = graph.nodes().filter(|(_, node)| node.present_outputs().any(is_unknown));
        self.unknown_shapes = Some(unknown.map(|(_, node)| node.name.clone()).collect());
        let with_bodies = graph.nodes().filter(|(_, node)| !node.bodies.is_empty());
        self.subgraphs = Some(with_bodies.map(|(_, node)| node.name.clone()).collect());
        self.macs = Some(groups.macs());
        self.float_macs = Some(groups.float_macs);
        let inspected = groups.groups.iter().map(|group| inspected(graph, &placement, group));
        self.groups = Some(inspected.collect());
        self.units = Some(units(graph, &placement));
        self.not_quantized = Some(not_quantized(graph, types, &placement));
        Ok(())
    }
}

fn bad_node(error: &NodeError) -> BadNode {
    BadNode {
        node: error.node.clone(),
        operator: error.op_type.clone(),
        opset: error.opset,
        invalid: error.error.kind() == ErrorKind::Invalid,
        reason: error.error.to_string(),
    }
}

fn inputs(graph: &Graph) -> Vec<Port> {
    let dim = |dim: &Dim| match dim {
        Dim::Fixed(size) => PortDim::Size(*size),
        Dim::Symbol(name) => PortDim::Free(Some(name.clone())),
        Dim::Unnamed => PortDim::Free(None),
    };
    let port = |input: &crate::graph::GraphInput| Port {
        name: graph.value_name(input.value).to_owned(),
        dtype: Some(input.dtype.to_string()),
        shape: Some(input.dims.iter().map(dim).collect()),
    };
    graph.inputs().iter().map(port).collect()
}

fn output(graph: &Graph, types: &Types, id: ValueId) -> Port {
    let ty = types.get(id);
    Port {
        name: graph.value_name(id).to_owned(),
        dtype: ty.map(|ty| ty.dtype.to_string()),
        shape: ty.map(|ty| ty.shape.iter().map(|&size| PortDim::Size(size)).collect()),
    }
}

fn operators(graph: &Graph) -> Vec<OperatorCount> {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    graph.visit_nodes(&mut |node| {
        let domain = if node.domain.is_empty() { "ai.onnx" } else { &node.domain };
        *counts.entry((domain, &node.op_type)).or_default() += 1;
    });
    let count = |((domain, operator), nodes): ((&str, &str), u64)| OperatorCount {
        domain: domain.to_owned(),
        operator: operator.to_owned(),
        nodes,
    };
    counts.into_iter().map(count).collect()
}

/// Elements and bytes of the float constants that a node reads, each once.
fn parameters(graph: &Graph) -> (u64, u64) {
    let read: BTreeSet<ValueId> = graph
        .nodes()
        .flat_map(|(_, node)| node.present_inputs().map(|(_, id)| id).collect::<Vec<_>>())
        .collect();
    let constants = read.into_iter().filter_map(|id| graph.constant(id));
    let floats = constants.map(|constant| constant.ty()).filter(|ty| ty.dtype.is_float());
    floats.fold((0, 0), |(elements, bytes), ty| {
        (elements + ty.len() as u64, bytes + ty.packed_bytes() as u64)
    })
}

fn inspected(graph: &Graph, placement: &Placement, group: &Group) -> InspectedGroup {
    let names = GroupNames::new(graph, placement, group);
    let operand = |&index: &usize| graph.value_name(placement.operands[index].value).to_owned();
    InspectedGroup {
        id: group.id.clone(),
        nodes: names.nodes,
        activations: names.activations,
        weights: names.weights,
        operands: group.operands.iter().map(operand).collect(),
        weight_elements: group.weight_elements,
        macs: group.weight_macs + group.product_macs,
        choices: group.choices.clone(),
        pinned: group.is_pinned,
        tied_by: group.tied_by.clone(),
    }
}

fn units(graph: &Graph, placement: &Placement) -> Vec<InspectedUnit> {
    let name = |&id: &NodeId| graph.node(id).name.clone();
    let several = placement.units.iter().filter(|unit| 1 < unit.nodes.len());
    several
        .map(|unit| InspectedUnit {
            kind: unit.kind.clone(),
            output: graph.value_name(unit.output).to_owned(),
            nodes: unit.nodes.iter().map(name).collect(),
        })
        .collect()
}

/// Inputs and what nodes make, as far as nothing is rounded there.
fn not_quantized(graph: &Graph, types: &Types, placement: &Placement) -> Vec<NotQuantized> {
    let mut unit_of: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    for unit in placement.units.iter().filter(|unit| 1 < unit.nodes.len()) {
        let made = unit.nodes.iter().flat_map(|&id| graph.node(id).present_outputs());
        unit_of.extend(made.filter(|&id| id != unit.output).map(|id| (id, unit.output)));
    }
    let inputs = graph.inputs().iter().map(|input| input.value);
    let made = graph.nodes().flat_map(|(_, node)| node.present_outputs());
    let values = inputs.chain(made).filter(|&id| placement.root(id).is_none());
    values
        .map(|id| {
            let (reason, detail) = match (types.get(id), unit_of.get(&id)) {
                (None, _) => (Reason::UnknownType, None),
                (Some(ty), _) if ty.dtype != DType::F32 => {
                    (Reason::NotFloat32, Some(ty.dtype.to_string()))
                }
                (_, Some(&unit)) => (Reason::InsideUnit, Some(graph.value_name(unit).to_owned())),
                _ if !is_read(graph, placement, id) => (Reason::NotRead, None),
                _ if placement.is_mask(id) => (Reason::Mask, None),
                _ => (Reason::Parameter, None),
            };
            NotQuantized { tensor: graph.value_name(id).to_owned(), reason, detail }
        })
        .collect()
}

/// Whether it would be rounded if it were an activation.
fn is_read(graph: &Graph, placement: &Placement, id: ValueId) -> bool {
    let reads = |(node_id, node): (NodeId, &crate::graph::Node)| {
        let role = placement.role(node_id);
        node.present_inputs().any(|(position, input)| {
            let is_weight = role.weights.iter().any(|weight| weight.input == position);
            input == id && (role.reads(position) || is_weight)
        })
    };
    graph.is_output(id) || graph.nodes().any(reads)
}
