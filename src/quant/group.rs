//! [`Group`]: quantizers that the hardware forces to one choice.
//!
//! Together are: an activation (with all that carries its encoding) and the weights of every
//! operator that reads it; both factors of a product of two activations; the activations that
//! share a weight; what the target ties. A table of embeddings is with the tensor made from it.

use crate::graph::{Graph, Node, NodeId, Types, ValueId};
use crate::ops::OutputRange;
use crate::quant::choice::Rules;
use crate::quant::{Candidate, Candidates, GroupError, Pin, Placement, Share, Target};

/// Quantizers with one choice, and what may be chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The name of its first activation in model order.
    pub id: String,
    /// In model order.
    pub activations: Vec<ValueId>,
    /// Positions in [`Placement::weights`].
    pub weights: Vec<usize>,
    /// Positions in [`Placement::operands`].
    pub operands: Vec<usize>,
    /// The nodes that read the activations, in model order.
    pub nodes: Vec<NodeId>,
    /// What it may take, most precise first. Without weights: one for each activation width.
    pub choices: Vec<Candidate>,
    /// Elements of all weights.
    pub weight_elements: u64,
    /// Multiply-accumulates with a weight of this group.
    pub weight_macs: u64,
    /// Multiply-accumulates of two activations of this group.
    pub product_macs: u64,
    /// Whether a pin or an exclusion left one choice.
    pub is_pinned: bool,
    /// Why activations are together: the operators that tie them.
    pub tied_by: Vec<String>,
}

/// All groups, in the order of their first activation in the model, and what no group has.
#[derive(Debug, Clone, PartialEq)]
pub struct Groups {
    pub groups: Vec<Group>,
    /// Multiply-accumulates that are left in float.
    pub float_macs: u64,
}

impl Groups {
    /// # Errors
    /// If a group may take none of the candidates, or a pin is wrong.
    pub fn new(
        graph: &Graph,
        types: &Types,
        placement: &Placement,
        target: &Target,
        candidates: &Candidates,
        pins: &[Pin],
    ) -> Result<Groups, GroupError> {
        let ties = Ties::new(graph, placement, target);
        let mut groups = ties.groups(graph, placement);
        if groups.is_empty() {
            return Err(GroupError::NothingToQuantize);
        }
        let float_macs = count_macs(graph, types, placement, &mut groups);
        let rules = Rules { graph, placement, target, candidates };
        let pins: Vec<Pin> = target.forced().into_iter().chain(pins.iter().cloned()).collect();
        rules.choose(&mut groups, &pins)?;
        Ok(Groups { groups, float_macs })
    }

    /// Sum of all multiply-accumulates.
    pub fn macs(&self) -> u64 {
        let in_groups = self.groups.iter().map(|group| group.weight_macs + group.product_macs);
        in_groups.sum::<u64>() + self.float_macs
    }
}

/// Union-find over activations (by position), with the reasons.
struct Ties {
    parent: Vec<usize>,
    /// (activation, reason), in model order.
    reasons: Vec<(usize, String)>,
    position: Vec<Option<usize>>,
}

impl Ties {
    fn new(graph: &Graph, placement: &Placement, target: &Target) -> Ties {
        let mut position = vec![None; graph.n_values()];
        for (index, value) in placement.activations.iter().enumerate() {
            position[value.index()] = Some(index);
        }
        let parent = (0..placement.activations.len()).collect();
        let mut ties = Ties { parent, reasons: Vec::new(), position };
        for (id, node) in graph.nodes() {
            ties.add_node(graph, placement, target, id, node);
        }
        for weight in &placement.weights {
            let users = weight.nodes.iter().map(|&id| weight_partners(graph, placement, id));
            let users: Vec<ValueId> = users.flatten().collect();
            let reason = || format!("weight `{}`", graph.value_name(weight.value));
            ties.join_all(&users, reason);
        }
        ties
    }

    fn add_node(
        &mut self,
        graph: &Graph,
        placement: &Placement,
        target: &Target,
        id: NodeId,
        node: &Node,
    ) {
        let mut reads = placement.reads(graph, id);
        let (share, with_output) = target.tie(placement.operator(id));
        let is_product = placement.role(id).product;
        if share == Share::Own && !is_product {
            return;
        }
        if with_output {
            reads.extend(node.output(0).and_then(|output| placement.root(output)));
        }
        self.join_all(&reads, || format!("{} `{}`", node.op_type, node.name));
    }

    fn join_all(&mut self, values: &[ValueId], reason: impl Fn() -> String) {
        let indices: Vec<usize> = values.iter().filter_map(|v| self.position[v.index()]).collect();
        let Some((&first, rest)) = indices.split_first() else { return };
        let mut is_new = false;
        for &other in rest {
            let (a, b) = (self.find(first), self.find(other));
            self.parent[a.max(b)] = a.min(b);
            is_new |= first != other;
        }
        if is_new {
            self.reasons.push((first, reason()));
        }
    }

    fn find(&self, mut index: usize) -> usize {
        while self.parent[index] != index {
            index = self.parent[index];
        }
        index
    }

    fn groups(&self, graph: &Graph, placement: &Placement) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut group_of = vec![0; self.parent.len()];
        for (index, &value) in placement.activations.iter().enumerate() {
            let root = self.find(index);
            if root == index {
                group_of[index] = groups.len();
                groups.push(Group::empty(graph.value_name(value)));
            }
            group_of[index] = group_of[root];
            groups[group_of[index]].activations.push(value);
        }
        let group_of_value =
            |value: ValueId| self.position[value.index()].map(|index| group_of[index]);
        for (id, _) in graph.nodes() {
            let mut of: Vec<usize> =
                placement.reads(graph, id).into_iter().filter_map(group_of_value).collect();
            of.dedup();
            of.into_iter().for_each(|group| groups[group].nodes.push(id));
        }
        for (index, site) in placement.weights.iter().enumerate() {
            let partners = weight_partners(graph, placement, site.nodes[0]);
            let group = partners.into_iter().find_map(group_of_value);
            let group = &mut groups[group.expect("a weight meets an activation")];
            group.weights.push(index);
            let constant = graph.constant(site.value).expect("weights are constants");
            group.weight_elements += constant.ty().len() as u64;
        }
        for (index, site) in placement.operands.iter().enumerate() {
            let group = group_of_value(site.follows).expect("operands follow an activation");
            groups[group].operands.push(index);
        }
        for (index, reason) in &self.reasons {
            groups[group_of[*index]].tied_by.push(reason.clone());
        }
        groups
    }
}

impl Group {
    fn empty(id: &str) -> Group {
        Group {
            id: id.to_owned(),
            activations: Vec::new(),
            weights: Vec::new(),
            operands: Vec::new(),
            nodes: Vec::new(),
            choices: Vec::new(),
            weight_elements: 0,
            weight_macs: 0,
            product_macs: 0,
            is_pinned: false,
            tied_by: Vec::new(),
        }
    }

    pub fn has_weights(&self) -> bool {
        !self.weights.is_empty()
    }
}

/// The activations that a node's weight is chosen with: those it reads, or what it looks up.
fn weight_partners(graph: &Graph, placement: &Placement, id: NodeId) -> Vec<ValueId> {
    let reads = placement.reads(graph, id);
    let is_table = matches!(placement.role(id).output, OutputRange::SameAsInput(_));
    let looked_up = graph.node(id).output(0).filter(|_| is_table);
    if reads.is_empty() {
        looked_up.and_then(|value| placement.root(value)).into_iter().collect()
    } else {
        reads
    }
}

/// Shares the work out to the groups; returns what is left in float.
fn count_macs(graph: &Graph, types: &Types, placement: &Placement, groups: &mut [Group]) -> u64 {
    let mut float_macs = 0;
    for (id, node) in graph.nodes() {
        let macs = node_macs(types, node);
        if macs == 0 {
            continue;
        }
        let weight = placement.weights.iter().position(|site| site.nodes.contains(&id));
        let reads = placement.reads(graph, id);
        let owner = |groups: &mut [Group], value: ValueId| {
            groups.iter().position(|group| group.activations.contains(&value))
        };
        let group = reads.first().and_then(|&value| owner(groups, value));
        match (weight, group) {
            (Some(_), Some(group)) => groups[group].weight_macs += macs,
            (None, Some(group)) if placement.role(id).product => groups[group].product_macs += macs,
            _ => float_macs += macs,
        }
    }
    float_macs
}

/// More than any node has that could be run: sums over all nodes of a graph stay within 64 bits.
const MOST_MACS: u64 = 1 << 44;

/// Multiply-accumulates of one node, at most 2^44; 0 where the shapes are not known.
pub fn node_macs(types: &Types, node: &Node) -> u64 {
    let Some(outputs) = types.outputs(node) else { return 0 };
    let macs = types.with_inputs(node, |inputs| node.operator.macs(inputs, &outputs));
    macs.unwrap_or(0).min(MOST_MACS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::{Net, net, types};
    use crate::ops::AttrValue;

    fn groups_with(graph: &Graph, pins: &[Pin]) -> Result<Groups, GroupError> {
        let target = Target::built_in("generic").unwrap();
        let types = types(graph);
        let placement = Placement::new(graph, &types, &target);
        let candidates: Candidates = "W4A8,W8A8,W8A16".parse().unwrap();
        Groups::new(graph, &types, &placement, &target, &candidates, pins)
    }

    /// `activations | weights | operands | nodes` of each group, by name.
    fn groups(graph: &Graph) -> Vec<String> {
        let target = Target::built_in("generic").unwrap();
        let placement = Placement::new(graph, &types(graph), &target);
        let name = |id: ValueId| graph.value_name(id);
        let text = |group: &Group| {
            let activations: Vec<&str> = group.activations.iter().map(|&id| name(id)).collect();
            let weights = group.weights.iter().map(|&index| name(placement.weights[index].value));
            let operands =
                group.operands.iter().map(|&index| name(placement.operands[index].value));
            let nodes = group.nodes.iter().map(|&id| graph.node(id).name.as_str());
            let weights: Vec<&str> = weights.collect();
            let operands: Vec<&str> = operands.collect();
            let nodes: Vec<&str> = nodes.collect();
            let parts = [activations, weights, operands, nodes];
            parts.map(|part| part.join(" ")).join(" | ")
        };
        groups_with(graph, &[]).unwrap().groups.iter().map(text).collect()
    }

    fn conv(net: Net, input: &str, weight: (&str, &[usize]), output: &str) -> Net {
        net.weight(weight.0, weight.1).node("Conv", &[input, weight.0], output)
    }

    #[test]
    fn residual_block() {
        let net = conv(net(&[("x", &[1, 4, 6, 6])]), "x", ("w1", &[4, 4, 1, 1]), "c1");
        let net = conv(net.node("Relu", &["c1"], "r1"), "r1", ("w2", &[4, 4, 1, 1]), "c2");
        let graph = net.node("Add", &["c2", "x"], "sum").node("Relu", &["sum"], "y");
        let expected = ["x c2 | w1 |  | c1 sum", "r1 | w2 |  | c2", "y |  |  | "];
        assert_eq!(groups(&graph.outputs(&["y"])), expected);
    }

    #[test]
    fn squeeze_excite_block() {
        let net = net(&[("x", &[1, 4, 6, 6])]).node("GlobalAveragePool", &["x"], "pool");
        let net = conv(net, "pool", ("w1", &[2, 4, 1, 1]), "c1");
        let net = conv(net.node("Relu", &["c1"], "r1"), "r1", ("w2", &[4, 2, 1, 1]), "c2");
        let graph = net.node("HardSigmoid", &["c2"], "gate").node("Mul", &["x", "gate"], "y");
        let expected =
            ["x gate |  |  | pool y", "pool | w1 |  | c1", "r1 | w2 |  | c2", "y |  |  | "];
        assert_eq!(groups(&graph.outputs(&["y"])), expected);
    }

    #[test]
    fn concat_block() {
        let net = conv(net(&[("x", &[1, 4, 6, 6])]), "x", ("w1", &[4, 4, 1, 1]), "a");
        let net = conv(net, "x", ("w2", &[2, 4, 1, 1]), "b");
        let net =
            net.node("MaxPool", &["x"], "p").attr("kernel_shape", AttrValue::Ints(vec![1, 1]));
        let net = net.node("Concat", &["a", "b", "p"], "cat").attr("axis", AttrValue::Int(1));
        let graph = conv(net, "cat", ("w3", &[1, 10, 1, 1]), "y").outputs(&["y"]);
        // The pool passes on the encoding of `x`, so `x` is tied to the other inputs of Concat.
        let expected = ["x a b | w1 w2 |  | a b p cat", "cat | w3 |  | y", "y |  |  | "];
        assert_eq!(groups(&graph), expected);
    }

    #[test]
    fn shared_weight() {
        let net = conv(
            net(&[("x", &[1, 4, 6, 6]), ("z", &[1, 4, 3, 3])]),
            "x",
            ("w", &[2, 4, 1, 1]),
            "a",
        );
        let graph = net.node("Conv", &["z", "w"], "b").outputs(&["a", "b"]);
        assert_eq!(groups(&graph), ["x z | w |  | a b", "a |  |  | ", "b |  |  | "]);
        let tied = groups_with(&graph, &[]).unwrap().groups[0].tied_by.clone();
        assert_eq!(tied, ["weight `w`"]);
    }

    #[test]
    fn constants_are_never_searched() {
        let net = net(&[("x", &[1, 4, 2, 2])])
            .scalar("low", 0.)
            .scalar("high", 6.)
            .i64s("shape", &[1, 16])
            .weight("position", &[1, 16])
            .node("Clip", &["x", "low", "high"], "clip")
            .node("Reshape", &["clip", "shape"], "flat")
            .node("Add", &["flat", "position"], "sum")
            .weight("w", &[16, 3])
            .node("MatMul", &["sum", "w"], "y");
        // The position follows the bits of `clip`, whose encoding the Reshape passes on.
        let expected =
            ["x |  |  | clip", "clip |  | position | flat sum", "sum | w |  | y", "y |  |  | "];
        assert_eq!(groups(&net.outputs(&["y"])), expected);
    }

    #[test]
    fn products_tables_and_masks() {
        let graph = net(&[])
            .i64_input("ids", &[1, 4])
            .i64_input("mask", &[1, 4])
            .weight("table", &[4, 8])
            .weight("wq", &[8, 8])
            .weight("wk", &[8, 8])
            .scalar("big", -1e9)
            .node("Gather", &["table", "ids"], "rows")
            .node("MatMul", &["rows", "wq"], "q")
            .node("MatMul", &["rows", "wk"], "k")
            .node("Transpose", &["k"], "kt")
            .attr("perm", AttrValue::Ints(vec![0, 2, 1]))
            .node("MatMul", &["q", "kt"], "scores")
            .node("Cast", &["mask"], "float_mask")
            .attr("to", AttrValue::Int(1))
            .node("Mul", &["float_mask", "big"], "bias")
            .node("Add", &["scores", "bias"], "masked")
            .node("Softmax", &["masked"], "y")
            .outputs(&["y"]);
        let expected = [
            "rows | table wq wk |  | q k",
            "q k |  |  | kt scores",
            "scores |  |  | masked",
            "y |  |  | ",
        ];
        assert_eq!(groups(&graph), expected);
        let groups = groups_with(&graph, &[]).unwrap();
        assert_eq!((groups.groups[0].weight_macs, groups.groups[0].product_macs), (512, 0));
        assert_eq!((groups.groups[1].weight_macs, groups.groups[1].product_macs), (0, 128));
    }

    /// Two weights of one node; the last state is rounded where it is read, the cell is not.
    #[test]
    fn recurrent_weights() {
        let graph = net(&[("x", &[5, 1, 3])])
            .weight("w", &[2, 16, 3])
            .weight("r", &[2, 16, 4])
            .weight("b", &[2, 32])
            .node("LSTM", &["x", "w", "r", "b"], "y")
            .also("h")
            .also("c")
            .attr("direction", AttrValue::String("bidirectional".to_owned()))
            .weight("head", &[4, 2])
            .node("MatMul", &["h", "head"], "scores")
            .outputs(&["scores"]);
        assert_eq!(groups(&graph), ["x | w r |  | y", "h | head |  | scores", "scores |  |  | "]);
        let groups = groups_with(&graph, &[]).unwrap();
        let macs = groups.groups.iter().map(|group| group.weight_macs).collect::<Vec<_>>();
        assert_eq!((macs, groups.float_macs), (vec![5 * 2 * 16 * (3 + 4), 2 * 4 * 2, 0], 0));
        assert_eq!(groups.groups[0].weight_elements, 2 * 16 * (3 + 4));
    }

    /// Fused operators tie and round what their decomposed forms do.
    #[test]
    fn fused_operators() {
        let graph = net(&[])
            .i64_input("ids64", &[1, 2])
            .node("Cast", &["ids64"], "words")
            .attr("to", AttrValue::Int(6))
            .weight("table", &[4, 8])
            .weight("positions", &[2, 8])
            .weight("gamma", &[8])
            .weight("beta", &[8])
            .node(
                "EmbedLayerNormalization",
                &["words", "", "table", "positions", "", "gamma", "beta"],
                "x",
            )
            .microsoft()
            .weight("wqkv", &[8, 24])
            .weight("bqkv", &[24])
            .node("Attention", &["x", "wqkv", "bqkv"], "attended")
            .attr("num_heads", AttrValue::Int(2))
            .microsoft()
            .weight("w1", &[8, 8])
            .weight("b1", &[8])
            .node("MatMul", &["attended", "w1"], "product")
            .node("BiasGelu", &["product", "b1"], "gelu")
            .microsoft()
            .node("SkipLayerNormalization", &["gelu", "x", "gamma", "beta"], "y")
            .microsoft()
            .outputs(&["y"]);
        let expected = [
            "x gelu | table positions wqkv |  | attended y",
            "attended | w1 |  | product",
            "y |  |  | ",
        ];
        assert_eq!(groups(&graph), expected);
    }
}
