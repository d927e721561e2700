//! [`Placement`]: where values are rounded.
//!
//! A quantizer sits on every float activation that a quantized operator reads or the network puts
//! out, except inside a unit (only its end is rounded) and on masks: floats computed from integers
//! and constants alone. An operator that only moves values passes the encoding on. Weights are the
//! constants that an operator's role names; a constant operand with more than one element of an
//! element-wise operator follows the activation it meets.

use crate::graph::patterns::{Unit, units};
use crate::graph::{Graph, Node, NodeId, Types, ValueId};
use crate::ops::{OutputRange, QuantRole, Weight};
use crate::quant::Target;
use crate::tensor::DType;

/// A weight tensor and how its channels lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightSite {
    pub value: ValueId,
    /// The axis of per-channel scales; `None` where operators that share it disagree.
    pub axis: Option<usize>,
    /// The nodes that use it as a weight.
    pub nodes: Vec<NodeId>,
}

/// A constant that is added to, multiplied with or joined to an activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperandSite {
    pub value: ValueId,
    /// The activation whose bits it takes.
    pub follows: ValueId,
}

/// Every quantizer of a network for one target.
#[derive(Debug, Clone)]
pub struct Placement {
    /// Activations that are rounded, in model order: inputs of the network first.
    pub activations: Vec<ValueId>,
    pub weights: Vec<WeightSite>,
    pub operands: Vec<OperandSite>,
    /// Nodes that are computed as one.
    pub units: Vec<Unit>,
    /// For every value the rounded activation whose encoding it carries.
    roots: Vec<Option<ValueId>>,
    roles: Vec<QuantRole>,
    is_mask: Vec<bool>,
}

impl Placement {
    pub fn new(graph: &Graph, types: &Types, target: &Target) -> Placement {
        let is_mask = masks(graph, types);
        let units = units(graph, &target.fused, |value| is_mask[value.index()]);
        let roles = graph.nodes().map(|(_, node)| role(node, types, target)).collect();
        let mut placement = Placement {
            activations: Vec::new(),
            weights: Vec::new(),
            operands: Vec::new(),
            roots: vec![None; graph.n_values()],
            units,
            roles,
            is_mask,
        };
        placement.find_activations(graph, types);
        placement.find_weights(graph);
        placement.find_operands(graph);
        placement
    }

    /// The rounded activation whose encoding a value carries; `None` where it stays float.
    pub fn root(&self, value: ValueId) -> Option<ValueId> {
        self.roots[value.index()]
    }

    pub fn role(&self, node: NodeId) -> &QuantRole {
        &self.roles[node.index()]
    }

    /// The rounded activations that a node reads, each once, by position.
    pub fn reads(&self, graph: &Graph, node: NodeId) -> Vec<ValueId> {
        let role = self.role(node);
        let mut reads = Vec::new();
        for (position, value) in graph.node(node).present_inputs() {
            let is_weight = role.weights.iter().any(|weight| weight.input == position);
            let root = self.root(value).filter(|_| role.reads(position) || is_weight);
            reads.extend(root.filter(|root| !reads.contains(root)));
        }
        reads
    }

    /// Whether a value is a float computed from integers and constants alone.
    pub fn is_mask(&self, value: ValueId) -> bool {
        self.is_mask[value.index()]
    }

    fn find_activations(&mut self, graph: &Graph, types: &Types) {
        let is_inner = inner_values(graph, &self.units);
        let is_parameter = self.parameters(graph);
        let is_mask = self.is_mask.clone();
        let is_activation = |value: ValueId| {
            graph.constant(value).is_none()
                && types.get(value).is_some_and(|ty| ty.dtype == DType::F32)
                && !is_mask[value.index()]
                && !is_inner[value.index()]
                && !is_parameter[value.index()]
        };
        let source = self.sources(graph, &is_activation);
        let mut is_rounded = vec![false; graph.n_values()];
        for (id, node) in graph.nodes() {
            let role = self.role(id);
            for (position, value) in node.present_inputs() {
                let is_read = role.reads(position)
                    || role.weights.iter().any(|weight| weight.input == position);
                is_rounded[source[value.index()].index()] |= is_read && is_activation(value);
            }
        }
        for &output in graph.outputs() {
            is_rounded[source[output.index()].index()] |= is_activation(output);
        }
        for value in graph.value_ids().filter(|&value| is_activation(value)) {
            let root = source[value.index()];
            self.roots[value.index()] = is_rounded[root.index()].then_some(root);
        }
        let inputs = graph.inputs().iter().map(|input| input.value);
        let made = graph.nodes().flat_map(|(_, node)| node.present_outputs());
        self.activations =
            inputs.chain(made).filter(|&value| self.root(value) == Some(value)).collect();
    }

    /// For every value whether its operator says that it is no activation: a scale, a grid.
    fn parameters(&self, graph: &Graph) -> Vec<bool> {
        let mut is_parameter = vec![false; graph.n_values()];
        for (id, node) in graph.nodes() {
            if self.role(id).output == OutputRange::NotQuantized {
                node.present_outputs().for_each(|output| is_parameter[output.index()] = true);
            }
        }
        is_parameter
    }

    /// For every value the one its encoding comes from: itself, or what its producer passes on.
    fn sources(&self, graph: &Graph, is_activation: &impl Fn(ValueId) -> bool) -> Vec<ValueId> {
        let mut source: Vec<ValueId> = graph.value_ids().collect();
        for (id, node) in graph.nodes() {
            let OutputRange::SameAsInput(position) = self.role(id).output else { continue };
            let Some(input) = node.input(position).filter(|&input| is_activation(input)) else {
                continue;
            };
            for output in node.present_outputs().filter(|&output| is_activation(output)) {
                source[output.index()] = source[input.index()];
            }
        }
        source
    }

    fn find_weights(&mut self, graph: &Graph) {
        for (id, node) in graph.nodes() {
            let reads_activation = !self.reads(graph, id).is_empty();
            for Weight { input, channel_axis } in self.role(id).weights.clone() {
                let constant = node.input(input).filter(|&value| {
                    graph.constant(value).is_some_and(|c| {
                        c.ty().dtype == DType::F32 && channel_axis < c.ty().shape.len()
                    })
                });
                let is_used = reads_activation || self.is_lookup(id, node);
                if let Some(value) = constant.filter(|_| is_used) {
                    self.add_weight(value, channel_axis, id);
                }
            }
        }
    }

    /// Whether a node looks rows up in its weights: the output is rounded though only values moved.
    fn is_lookup(&self, id: NodeId, node: &Node) -> bool {
        let role = self.role(id);
        let OutputRange::SameAsInput(table) = role.output else { return false };
        role.weights.iter().any(|weight| weight.input == table)
            && node.output(0).is_some_and(|output| self.root(output).is_some())
    }

    fn add_weight(&mut self, value: ValueId, axis: usize, node: NodeId) {
        match self.weights.iter_mut().find(|site| site.value == value) {
            Some(site) => {
                site.axis = site.axis.filter(|&other| other == axis);
                site.nodes.push(node);
            }
            None => {
                self.weights.push(WeightSite { value, axis: Some(axis), nodes: vec![node] });
            }
        }
    }

    fn find_operands(&mut self, graph: &Graph) {
        let heads: Vec<NodeId> = self.units.iter().map(|unit| unit.nodes[0]).collect();
        for id in heads {
            let role = self.role(id);
            let Some(&follows) = self.reads(graph, id).first() else { continue };
            if !role.weights.is_empty() || role.output != OutputRange::Own {
                continue;
            }
            for (position, value) in graph.node(id).present_inputs() {
                let is_operand = self.role(id).reads(position)
                    && graph
                        .constant(value)
                        .is_some_and(|c| c.ty().dtype == DType::F32 && 1 < c.ty().len())
                    && self.operands.iter().all(|site| site.value != value)
                    && self.weights.iter().all(|site| site.value != value);
                if is_operand {
                    self.operands.push(OperandSite { value, follows });
                }
            }
        }
    }
}

fn role(node: &Node, types: &Types, target: &Target) -> QuantRole {
    if target.keep_float.contains(&node.op_type) {
        return QuantRole::NOT_QUANTIZED;
    }
    let role = types.with_inputs(node, |inputs| node.operator.quant(inputs));
    let mut role = role.unwrap_or(QuantRole::NOT_QUANTIZED);
    if target.requantized.contains(&node.op_type)
        && matches!(role.output, OutputRange::SameAsInput(_))
    {
        role.output = OutputRange::Own;
    }
    role
}

/// Floats computed from integers and constants alone. What is looked up in a table is not one.
fn masks(graph: &Graph, types: &Types) -> Vec<bool> {
    let mut is_mask = vec![false; graph.n_values()];
    let is_float = |value| types.get(value).is_some_and(|ty| ty.dtype.is_float());
    for (_, node) in graph.nodes() {
        let is_derived = node.present_inputs().all(|(_, input)| {
            graph.constant(input).is_some() || !is_float(input) || is_mask[input.index()]
        });
        let role = types.with_inputs(node, |inputs| node.operator.quant(inputs));
        let reads_table = role.is_some_and(|role| {
            role.weights.iter().any(|weight| {
                let constant = node.input(weight.input).and_then(|value| graph.constant(value));
                constant.is_some_and(|c| c.ty().dtype.is_float() && 2 <= c.ty().shape.len())
            })
        });
        for output in node.present_outputs() {
            is_mask[output.index()] = is_derived && !reads_table && is_float(output);
        }
    }
    is_mask
}

fn inner_values(graph: &Graph, units: &[Unit]) -> Vec<bool> {
    let mut is_inner = vec![false; graph.n_values()];
    for unit in units {
        let made = unit.nodes.iter().flat_map(|&id| graph.node(id).present_outputs());
        made.filter(|&value| value != unit.output && 1 < unit.nodes.len())
            .for_each(|value| is_inner[value.index()] = true);
    }
    is_inner
}
