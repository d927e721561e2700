//! [`Placement`]: where values are rounded.
//!
//! A quantizer sits on every float activation that a quantized operator reads or the network puts
//! out, except inside a unit (only its end is rounded) and on masks: floats computed from integers
//! and constants alone. An operator that only moves values passes the encoding on. Weights are the
//! constants that an operator's role names; a constant operand with more than one element of an
//! element-wise operator follows the activation it meets.

use crate::graph::patterns::{Unit, units};
use crate::graph::{Graph, Node, NodeId, Types, ValueId};
use crate::kernels::Zip;
use crate::ops::{Lowering, OutputRange, QuantRole, Reads, Weight};
use crate::quant::{ScaleKind, Target};
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
    /// By node, see [`Placement::operator`].
    operators: Vec<String>,
    is_mask: Vec<bool>,
    /// By weight, see [`Placement::bias`].
    biases: Vec<Option<ValueId>>,
}

impl Placement {
    pub fn new(graph: &Graph, types: &Types, target: &Target) -> Placement {
        let is_mask = masks(graph, types);
        let units = units(graph, &target.fused, |value| is_mask[value.index()]);
        let operators = operators(graph, |value| is_mask[value.index()]);
        let nodes = graph.nodes().zip(&operators);
        let roles = nodes.map(|((_, node), name)| role(node, name, types, target)).collect();
        let mut placement = Placement {
            activations: Vec::new(),
            weights: Vec::new(),
            operands: Vec::new(),
            roots: vec![None; graph.n_values()],
            units,
            roles,
            operators,
            is_mask,
            biases: Vec::new(),
        };
        placement.find_activations(graph, types, target);
        placement.find_weights(graph, target);
        placement.find_operands(graph);
        placement.find_biases(graph, types);
        placement
    }

    /// The rounded activation whose encoding a value carries; `None` where it stays float.
    pub fn root(&self, value: ValueId) -> Option<ValueId> {
        self.roots[value.index()]
    }

    /// What rules call a node: its operator, or the composite that it is part of.
    pub fn operator(&self, node: NodeId) -> &str {
        &self.operators[node.index()]
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

    /// The bias that is added to the products of a weight, by the one node that uses it or, behind a matrix
    /// product without one, by the next of its unit; if it is a constant that no one else reads.
    pub fn bias(&self, weight: usize) -> Option<ValueId> {
        self.biases[weight]
    }

    /// Whether a value is a float computed from integers and constants alone.
    pub fn is_mask(&self, value: ValueId) -> bool {
        self.is_mask[value.index()]
    }

    fn find_biases(&mut self, graph: &Graph, types: &Types) {
        let mut n_reads = vec![0_usize; graph.n_values()];
        let read = graph.nodes().flat_map(|(_, node)| node.present_inputs());
        read.for_each(|(_, value)| n_reads[value.index()] += 1);
        let of_weight = |site: &WeightSite| {
            let &[id] = site.nodes.as_slice() else { return None };
            let bias = match self.role(id).bias {
                Some(position) => graph.node(id).input(position),
                None => self.added(graph, types, id, site.value),
            };
            let is_rounded = |value| self.operands.iter().any(|operand| operand.value == value);
            let is_own = |&value: &ValueId| {
                n_reads[value.index()] == 1 && !graph.is_output(value) && !is_rounded(value)
            };
            let bias = bias.filter(is_own)?;
            (graph.constant(bias)?.ty().dtype == DType::F32).then_some(bias)
        };
        self.biases = self.weights.iter().map(of_weight).collect();
    }

    /// A constant along the last axis that the second node of a unit adds to what the first one makes of
    /// rows and a weight.
    fn added(
        &self,
        graph: &Graph,
        types: &Types,
        head: NodeId,
        weight: ValueId,
    ) -> Option<ValueId> {
        let lowering = |id: NodeId| {
            let node = graph.node(id);
            types.with_inputs(node, |inputs| node.operator.lower(inputs)).flatten()
        };
        let unit = self.units.iter().find(|unit| unit.nodes[0] == head)?;
        let second = *unit.nodes.get(1)?;
        if graph.node(head).input(1) != Some(weight)
            || !matches!(lowering(head)?, Lowering::Product(_))
            || lowering(second)? != Lowering::Zip(Zip::Add)
        {
            return None;
        }
        let mut inputs = graph.node(second).present_inputs().map(|(_, value)| value);
        let bias = inputs.find(|&value| graph.constant(value).is_some())?;
        let ty = graph.constant(bias)?.ty();
        (ty.shape.last() == Some(&ty.len())).then_some(bias)
    }

    fn find_activations(&mut self, graph: &Graph, types: &Types, target: &Target) {
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
            // What float operators alone make use of stays float while it is moved.
            if target.keeps_some_float() && matches!(role.output, OutputRange::SameAsInput(_)) {
                continue;
            }
            for (position, value) in node.present_inputs() {
                let is_read = role.reads(position)
                    || role.weights.iter().any(|weight| weight.input == position);
                is_rounded[source[value.index()].index()] |= is_read && is_activation(value);
            }
        }
        let producers = graph.producers();
        for &output in graph.outputs() {
            let root = source[output.index()];
            let is_float = producers[root.index()]
                .is_some_and(|id| target.keeps_float(&self.operators[id.index()]));
            is_rounded[root.index()] |= is_activation(output) && !is_float && !target.float_outputs;
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

    fn find_weights(&mut self, graph: &Graph, target: &Target) {
        for (id, node) in graph.nodes() {
            let reads_activation = !self.reads(graph, id).is_empty();
            for Weight { input, channel_axis } in self.role(id).weights.clone() {
                let constant = node.input(input).filter(|&value| {
                    graph.constant(value).is_some_and(|c| {
                        c.ty().dtype == DType::F32 && channel_axis < c.ty().shape.len()
                    })
                });
                let is_used = reads_activation || self.is_lookup(id, node);
                let is_per_channel = target.scales(self.operator(id)) == ScaleKind::PerChannel;
                if let Some(value) = constant.filter(|_| is_used) {
                    self.add_weight(value, is_per_channel.then_some(channel_axis), id);
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

    fn add_weight(&mut self, value: ValueId, axis: Option<usize>, node: NodeId) {
        match self.weights.iter_mut().find(|site| site.value == value) {
            Some(site) => {
                site.axis = site.axis.filter(|&other| axis == Some(other));
                site.nodes.push(node);
            }
            None => self.weights.push(WeightSite { value, axis, nodes: vec![node] }),
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

/// For every node its operator, or the composite that it is part of.
fn operators(graph: &Graph, is_mask: impl Fn(ValueId) -> bool) -> Vec<String> {
    let mut operators: Vec<String> = graph.nodes().map(|(_, node)| node.op_type.clone()).collect();
    for unit in units(graph, &[], is_mask).iter().filter(|unit| 1 < unit.nodes.len()) {
        unit.nodes.iter().for_each(|id| operators[id.index()].clone_from(&unit.kind));
    }
    operators
}

fn role(node: &Node, operator: &str, types: &Types, target: &Target) -> QuantRole {
    let role = types.with_inputs(node, |inputs| node.operator.quant(inputs));
    let mut role = role.unwrap_or(QuantRole::NOT_QUANTIZED);
    if role.output == OutputRange::NotQuantized {
        return role;
    }
    if target.keeps_float(operator) {
        return QuantRole { reads: Reads::Only(Vec::new()), ..QuantRole::OWN_RANGE };
    }
    match role.output {
        OutputRange::SameAsInput(input)
            if target.requantizes(operator) && !is_weight(&role, input) =>
        {
            role.output = OutputRange::Own;
        }
        OutputRange::Own if target.carries(operator) => {
            let first = node.present_inputs().find(|(position, _)| role.reads(*position));
            role.output = first.map_or(role.output, |(first, _)| OutputRange::SameAsInput(first));
        }
        _ => {}
    }
    role
}

/// Whether a constant at this position is a weight: what is looked up in one is rounded with it.
fn is_weight(role: &QuantRole, input: usize) -> bool {
    role.weights.iter().any(|weight| weight.input == input)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::{net, types};

    /// `value>root` of every value that carries an encoding, then the weights, with their axes.
    fn placed(graph: &Graph, change: impl FnOnce(&mut Target)) -> String {
        let mut target = Target::built_in("generic").unwrap();
        change(&mut target);
        let placement = Placement::new(graph, &types(graph), &target);
        let name = |id: ValueId| graph.value_name(id);
        let roots = graph.value_ids().filter_map(|id| {
            let root = placement.root(id)?;
            Some(if root == id {
                name(id).to_owned()
            } else {
                format!("{}>{}", name(id), name(root))
            })
        });
        let weight = |site: &WeightSite| match site.axis {
            Some(axis) => format!("{}:{axis}", name(site.value)),
            None => name(site.value).to_owned(),
        };
        let weights = placement.weights.iter().map(weight);
        roots.chain(weights).collect::<Vec<_>>().join(" ")
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn targets_move_quantizers() {
        let graph = net(&[("x", &[1, 2, 4, 4])])
            .weight("w", &[2, 2, 1, 1])
            .node("GlobalAveragePool", &["x"], "pool")
            .node("Conv", &["pool", "w"], "conv")
            .node("Erf", &["conv"], "erf")
            .node("Flatten", &["erf"], "flat")
            .node("Softmax", &["flat"], "y")
            .outputs(&["y"]);
        assert_eq!(placed(&graph, |_| {}), "x pool conv erf flat>erf y w:0");
        let carried = placed(&graph, |t| t.not_requantized = list(&["GlobalAveragePool"]));
        assert_eq!(carried, "x pool>x conv erf flat>erf y w:0");
        let again = placed(&graph, |t| t.requantized = list(&["*"]));
        assert_eq!(again, "x pool conv erf flat y w:0");
        let per_tensor = placed(&graph, |t| t.weight_scales.default = ScaleKind::PerTensor);
        assert_eq!(per_tensor, "x pool conv erf flat>erf y w");
        let float_outputs = placed(&graph, |t| t.float_outputs = true);
        assert_eq!(float_outputs, "x pool conv erf flat>erf w:0");
        // The convolution's input is rounded though its maker is in float.
        let only_conv = placed(&graph, |t| t.quantized = Some(list(&["Conv", "Flatten"])));
        assert_eq!(only_conv, "pool w:0");
        let no_softmax = placed(&graph, |t| t.keep_float = list(&["Softmax"]));
        assert_eq!(no_softmax, "x pool conv w:0");
    }

    #[test]
    fn rules_know_composites_by_name() {
        let graph = net(&[("x", &[2, 5])])
            .scalar("3", 3.)
            .scalar("0", 0.)
            .scalar("6", 6.)
            .node("Add", &["x", "3"], "add")
            .node("Clip", &["add", "0", "6"], "clip")
            .node("Mul", &["x", "clip"], "mul")
            .node("Div", &["mul", "6"], "y")
            .outputs(&["y"]);
        assert_eq!(placed(&graph, |_| {}), "x y");
        assert_eq!(placed(&graph, |t| t.keep_float = list(&["HardSwish"])), "");
        assert_eq!(placed(&graph, |t| t.keep_float = list(&["Add", "Mul"])), "x y");
    }
}
