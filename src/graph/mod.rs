//! A network: nodes and values by id, shape inference, simplification, fused patterns.
//!
//! Invariants: nodes stand in an order in which every input is made before it is read; every value
//! has at most one producer; ids are indices. Names are for people and files, never for lookup
//! after loading.

mod body;
mod build;
mod constant;
mod infer;
mod inline;
pub mod patterns;
mod rewrite;
mod simplify;
#[cfg(test)]
pub(crate) mod testing;

use std::fmt;
use std::sync::Arc;

pub use body::Body;
pub use build::{BodySpec, BuildError, Builder, NodeSpec};
pub use constant::Constant;
pub use infer::{NodeError, Types, infer};
pub use rewrite::{NewNode, Rewrite};
pub use simplify::{drop_dead_nodes, simplify};

use crate::ops::{AttrValue, Operator};
use crate::tensor::DType;

/// A value (tensor) of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(u32);

/// A node of a graph; the order of ids is the order of evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

macro_rules! index {
    ($id:ident) => {
        impl $id {
            /// # Panics
            /// If there are more than `u32::MAX` of them; a model file cannot hold as many.
            pub(crate) fn new(index: usize) -> $id {
                $id(u32::try_from(index).expect("ids fit 32 bits"))
            }

            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}
index!(ValueId);
index!(NodeId);

/// A named tensor: a constant, an input of the graph, or the output of a node.
#[derive(Debug, Clone)]
pub struct Value {
    pub name: String,
    pub constant: Option<Constant>,
}

/// An operator with its inputs and outputs.
#[derive(Debug, Clone)]
pub struct Node {
    /// As in the model; made from the first output where the model gives none.
    pub name: String,
    pub domain: String,
    pub op_type: String,
    pub opset: u16,
    pub attrs: Vec<(String, AttrValue)>,
    pub operator: Arc<dyn Operator>,
    /// By position; `None` for an optional input that is left out. Behind the operator's own stand
    /// the values that its subgraphs read of the graph around them.
    pub inputs: Vec<Option<ValueId>>,
    /// How many of the inputs are the operator's own.
    pub n_operands: usize,
    /// By position; `None` for an output that no one asked for.
    pub outputs: Vec<Option<ValueId>>,
    /// The subgraphs, by the number that the operator knows them by.
    pub bodies: Vec<Body>,
}

impl Node {
    /// The inputs that are there, with their positions.
    pub fn present_inputs(&self) -> impl Iterator<Item = (usize, ValueId)> + '_ {
        self.inputs.iter().enumerate().filter_map(|(position, id)| id.map(|id| (position, id)))
    }

    pub fn present_outputs(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.outputs.iter().copied().flatten()
    }

    pub fn input(&self, position: usize) -> Option<ValueId> {
        self.inputs.get(position).copied().flatten()
    }

    pub fn output(&self, position: usize) -> Option<ValueId> {
        self.outputs.get(position).copied().flatten()
    }

    pub fn attr(&self, name: &str) -> Option<&AttrValue> {
        self.attrs.iter().find(|(attr, _)| attr == name).map(|(_, value)| value)
    }

    /// Position of the last output named, plus one.
    pub fn n_outputs(&self) -> usize {
        self.outputs.len()
    }
}

/// One dimension of a graph input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    Fixed(usize),
    /// Free, with the model's name for it; equal names are equal sizes.
    Symbol(String),
    /// Free, without a name.
    Unnamed,
}

impl Dim {
    pub fn fixed(&self) -> Option<usize> {
        if let Dim::Fixed(size) = self { Some(*size) } else { None }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(size) => write!(f, "{size}"),
            Dim::Symbol(name) => f.write_str(name),
            Dim::Unnamed => f.write_str("?"),
        }
    }
}

/// What a caller has to give.
#[derive(Debug, Clone)]
pub struct GraphInput {
    pub value: ValueId,
    pub dtype: DType,
    pub dims: Vec<Dim>,
}

impl GraphInput {
    /// The shape as people write it: `[N, 3, 224, 224]`.
    pub fn shape_text(&self) -> String {
        let dims: Vec<String> = self.dims.iter().map(Dim::to_string).collect();
        format!("[{}]", dims.join(", "))
    }
}

/// A network.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub name: String,
    values: Vec<Value>,
    nodes: Vec<Node>,
    inputs: Vec<GraphInput>,
    outputs: Vec<ValueId>,
}

impl Graph {
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// Name of a value.
    pub fn value_name(&self, id: ValueId) -> &str {
        &self.value(id).name
    }

    pub fn constant(&self, id: ValueId) -> Option<&Constant> {
        self.value(id).constant.as_ref()
    }

    pub fn n_values(&self) -> usize {
        self.values.len()
    }

    pub fn value_ids(&self) -> impl Iterator<Item = ValueId> + use<> {
        (0..self.values.len()).map(ValueId::new)
    }

    /// All nodes, in the order of evaluation.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> + '_ {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeId::new(index), node))
    }

    /// All nodes, each before those of its subgraphs.
    pub fn visit_nodes<'a>(&'a self, visit: &mut impl FnMut(&'a Node)) {
        for node in &self.nodes {
            visit(node);
            node.bodies.iter().for_each(|body| body.graph.visit_nodes(visit));
        }
    }

    pub fn n_nodes(&self) -> usize {
        self.nodes.len()
    }

    pub fn inputs(&self) -> &[GraphInput] {
        &self.inputs
    }

    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    pub fn is_output(&self, id: ValueId) -> bool {
        self.outputs.contains(&id)
    }

    /// Looks a value up by its name; for flags and files, not for inner loops.
    pub fn find_value(&self, name: &str) -> Option<ValueId> {
        self.values.iter().position(|value| value.name == name).map(ValueId::new)
    }

    /// Makes other values the outputs (an inner tensor, one of several heads).
    pub fn with_outputs(mut self, outputs: Vec<ValueId>) -> Graph {
        self.outputs = outputs;
        self
    }

    /// For every value the nodes that read it, each once, in order.
    pub fn readers(&self) -> Vec<Vec<NodeId>> {
        let mut readers = vec![Vec::new(); self.values.len()];
        for (id, node) in self.nodes() {
            for (_, input) in node.present_inputs() {
                let list: &mut Vec<NodeId> = &mut readers[input.index()];
                if list.last() != Some(&id) {
                    list.push(id);
                }
            }
        }
        readers
    }

    /// The nodes that depend on any of some values, in order.
    pub fn dependents(
        &self,
        values: impl IntoIterator<Item = ValueId>,
    ) -> impl Iterator<Item = (NodeId, &Node)> {
        let mut is_changed = vec![false; self.values.len()];
        values.into_iter().for_each(|value| is_changed[value.index()] = true);
        self.nodes().filter(move |(_, node)| {
            let depends = node.present_inputs().any(|(_, input)| is_changed[input.index()]);
            if depends {
                node.present_outputs().for_each(|output| is_changed[output.index()] = true);
            }
            depends
        })
    }

    /// The most bytes of values that are needed at once in a pass, where `size` is a value's.
    pub fn most_live_bytes(&self, size: impl Fn(ValueId) -> usize) -> usize {
        let readers = self.readers();
        let dies = |id: NodeId, value: ValueId| {
            self.constant(value).is_none() && readers[value.index()].last() == Some(&id)
        };
        let total = |values: &mut dyn Iterator<Item = ValueId>| {
            values.map(&size).fold(0, usize::saturating_add)
        };
        let mut live = total(&mut self.inputs.iter().map(|input| input.value));
        let mut most = live;
        for (id, node) in self.nodes() {
            live = live.saturating_add(total(&mut node.present_outputs()));
            most = most.max(live);
            let mut read: Vec<ValueId> = node.present_inputs().map(|(_, value)| value).collect();
            read.sort();
            read.dedup();
            read.retain(|&value| dies(id, value) && !self.is_output(value));
            live = live.saturating_sub(total(&mut read.into_iter()));
        }
        most
    }

    /// For every value the node that makes it; `None` for constants and inputs of the graph.
    pub fn producers(&self) -> Vec<Option<NodeId>> {
        let mut producers = vec![None; self.values.len()];
        for (id, node) in self.nodes() {
            for output in node.present_outputs() {
                producers[output.index()] = Some(id);
            }
        }
        producers
    }
}
