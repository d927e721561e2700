//! Fused patterns: several nodes that hardware computes as one, so that only the end is rounded.
//!
//! A [`Unit`] is a set of nodes with one output; the values between them are *inner*. Composites
//! (an activation function, LayerNorm or GELU spelled out in small operators) are found by shape;
//! chains of a linear operator, its bias and its activation by the rules a target gives.

use crate::graph::{Graph, Node, NodeId, Types, ValueId};
use crate::tensor::DType;

/// Nodes that are computed as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// What it is: a composite's name or the first node's operator.
    pub kind: String,
    /// In the order of evaluation.
    pub nodes: Vec<NodeId>,
    pub output: ValueId,
}

/// A rule for chains: one of `heads`, then each stage at most once, in order. Where several rules
/// have a head, the first that finds something to join holds.
///
/// A stage is a list of operators or composites by name; `Add`, `Sub`, `Mul` and `Div` count only
/// with a constant as the other operand.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    pub heads: Vec<String>,
    pub then: Vec<Vec<String>>,
    /// Whether no stage may be missing.
    #[serde(default)]
    pub whole: bool,
}

/// A small expression to look for, written from its result backwards.
enum Expr {
    /// The value the composite is a function of; the same one everywhere.
    X,
    /// Any constant.
    Const,
    /// What is added to the scores before a Softmax; a constant of rank 0 or 1 is a bias instead.
    Mask,
    Op(&'static str, &'static [Expr]),
}

use Expr::{Const, Mask, Op, X};

struct Composite {
    name: &'static str,
    expr: Expr,
}

const fn composite(name: &'static str, expr: Expr) -> Composite {
    Composite { name, expr }
}

const CENTERED: Expr = Op("Sub", &[X, Op("ReduceMean", &[X, Const])]);
const DEVIATION: Expr =
    Op("Sqrt", &[Op("Add", &[Op("ReduceMean", &[Op("Pow", &[CENTERED, Const]), Const]), Const])]);
const DEVIATION_MUL: Expr = Op(
    "Sqrt",
    &[Op("Add", &[Op("ReduceMean", &[Op("Mul", &[CENTERED, CENTERED]), Const]), Const])],
);
const NORMALIZED: Expr = Op("Div", &[CENTERED, DEVIATION]);
const NORMALIZED_MUL: Expr = Op("Div", &[CENTERED, DEVIATION_MUL]);
const ERF_PLUS_ONE: Expr = Op("Add", &[Op("Erf", &[Op("Div", &[X, Const])]), Const]);
const ERF_MUL_PLUS_ONE: Expr = Op("Add", &[Op("Erf", &[Op("Mul", &[X, Const])]), Const]);
const TANH_PLUS_ONE: Expr = Op(
    "Add",
    &[
        Op(
            "Tanh",
            &[Op("Mul", &[Op("Add", &[X, Op("Mul", &[Op("Pow", &[X, Const]), Const])]), Const])],
        ),
        Const,
    ],
);
const SHIFTED_CLIP: Expr = Op("Clip", &[Op("Add", &[X, Const]), Const, Const]);

/// Every composite; where two fit, the one further up wins.
const COMPOSITES: &[Composite] = &[
    composite("LayerNormalization", Op("Add", &[Op("Mul", &[NORMALIZED, Const]), Const])),
    composite("LayerNormalization", Op("Add", &[Op("Mul", &[NORMALIZED_MUL, Const]), Const])),
    composite("LayerNormalization", Op("Mul", &[NORMALIZED, Const])),
    composite("LayerNormalization", NORMALIZED),
    composite("LayerNormalization", NORMALIZED_MUL),
    composite("Gelu", Op("Mul", &[Op("Mul", &[X, ERF_PLUS_ONE]), Const])),
    composite("Gelu", Op("Mul", &[Op("Mul", &[X, ERF_MUL_PLUS_ONE]), Const])),
    composite("Gelu", Op("Mul", &[Op("Mul", &[X, Const]), ERF_PLUS_ONE])),
    composite("Gelu", Op("Mul", &[Op("Mul", &[X, Const]), ERF_MUL_PLUS_ONE])),
    composite("Gelu", Op("Mul", &[X, Op("Mul", &[ERF_PLUS_ONE, Const])])),
    composite("Gelu", Op("Mul", &[Op("Mul", &[X, Const]), TANH_PLUS_ONE])),
    composite("Gelu", Op("Mul", &[X, Op("Mul", &[TANH_PLUS_ONE, Const])])),
    composite("HardSwish", Op("Div", &[Op("Mul", &[X, SHIFTED_CLIP]), Const])),
    composite("HardSwish", Op("Mul", &[Op("Mul", &[X, SHIFTED_CLIP]), Const])),
    composite("HardSwish", Op("Mul", &[X, Op("Div", &[SHIFTED_CLIP, Const])])),
    composite("HardSwish", Op("Mul", &[X, Op("Mul", &[SHIFTED_CLIP, Const])])),
    composite("HardSwish", Op("Mul", &[X, Op("HardSigmoid", &[X])])),
    composite("Swish", Op("Mul", &[X, Op("Sigmoid", &[X])])),
    composite("Swish", Op("Mul", &[X, Op("Sigmoid", &[Op("Mul", &[X, Const])])])),
    composite("Mish", Op("Mul", &[X, Op("Tanh", &[Op("Softplus", &[X])])])),
    composite("HardSigmoid", Op("Div", &[SHIFTED_CLIP, Const])),
    composite("HardSigmoid", Op("Mul", &[SHIFTED_CLIP, Const])),
    composite("Softmax", Op("Softmax", &[Op("Add", &[X, Mask])])),
    composite("Softmax", Op("Softmax", &[Op("Where", &[Mask, Const, X])])),
];

/// Partitions the graph: every node is in exactly one unit; most units are single nodes.
///
/// `is_mask` tells which values are computed from integers and constants alone: only such a
/// value may be added to the input of a Softmax inside a unit.
pub fn units(graph: &Graph, chains: &[Chain], is_mask: impl Fn(ValueId) -> bool) -> Vec<Unit> {
    let readers = graph.readers();
    let producers = graph.producers();
    let search = Search { graph, readers: &readers, producers: &producers, is_mask: &is_mask };
    let mut unit_of: Vec<Option<usize>> = vec![None; graph.n_nodes()];
    let mut units: Vec<Unit> = Vec::new();
    for composite in COMPOSITES {
        for (id, _) in graph.nodes() {
            let Some(nodes) = search.find(composite, id) else { continue };
            if nodes.iter().all(|node| unit_of[node.index()].is_none()) {
                nodes.iter().for_each(|node| unit_of[node.index()] = Some(units.len()));
                units.push(search.unit(composite.name, nodes));
            }
        }
    }
    for (id, node) in graph.nodes() {
        if unit_of[id.index()].is_none() {
            unit_of[id.index()] = Some(units.len());
            units.push(search.unit(&node.op_type, vec![id]));
        }
    }
    search.join_chains(&mut units, &mut unit_of, chains);
    units.retain(|unit| !unit.nodes.is_empty());
    units.sort_by_key(|unit| unit.nodes[0]);
    units
}

/// `(x - mean) / sqrt(variance + epsilon)` over the last axis, in several nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalization {
    /// In the order of evaluation; the last one makes the result.
    pub nodes: Vec<NodeId>,
    pub x: ValueId,
    /// Elements of the last axis.
    pub n: usize,
    pub epsilon: f32,
}

/// Every normalization whose inner values are read nowhere else.
pub fn normalizations(graph: &Graph, types: &Types) -> Vec<Normalization> {
    let (readers, producers) = (graph.readers(), graph.producers());
    let search =
        Search { graph, readers: &readers, producers: &producers, is_mask: &|_: ValueId| false };
    let find = |(root, _): (NodeId, &Node)| {
        let expressions = [NORMALIZED, NORMALIZED_MUL];
        expressions.into_iter().find_map(|expr| {
            let (nodes, x) = search.find_expr(&expr, root)?;
            search.normalization(types, nodes, x)
        })
    };
    graph.nodes().filter_map(find).collect()
}

struct Search<'a> {
    graph: &'a Graph,
    readers: &'a [Vec<NodeId>],
    producers: &'a [Option<NodeId>],
    is_mask: &'a dyn Fn(ValueId) -> bool,
}

#[derive(Default, Clone)]
struct Match {
    x: Option<ValueId>,
    nodes: Vec<NodeId>,
}

impl Search<'_> {
    fn unit(&self, kind: &str, mut nodes: Vec<NodeId>) -> Unit {
        nodes.sort();
        let last = self.graph.node(nodes[nodes.len() - 1]);
        let output = last.outputs.iter().copied().flatten().next();
        Unit { kind: kind.to_owned(), nodes, output: output.expect("a live node has an output") }
    }

    /// The nodes of a composite whose result node `root` makes, if nothing inside is read outside.
    fn find(&self, composite: &Composite, root: NodeId) -> Option<Vec<NodeId>> {
        self.find_expr(&composite.expr, root).map(|(nodes, _)| nodes)
    }

    /// The same with the value that the expression is a function of.
    fn find_expr(&self, expr: &Expr, root: NodeId) -> Option<(Vec<NodeId>, ValueId)> {
        let output = self.graph.node(root).output(0)?;
        let mut found = Match::default();
        if !self.matches(expr, output, &mut found) {
            return None;
        }
        let x = found.x?;
        let mut nodes = found.nodes;
        nodes.sort();
        nodes.dedup();
        let is_private = |id: &NodeId| {
            *id == root
                || self.graph.node(*id).present_outputs().all(|value| {
                    !self.graph.is_output(value)
                        && self.readers[value.index()].iter().all(|reader| nodes.contains(reader))
                })
        };
        nodes.iter().all(is_private).then_some((nodes, x))
    }

    /// `None` unless the constants make it one over the last axis, kept as 1, of float32.
    fn normalization(
        &self,
        types: &Types,
        nodes: Vec<NodeId>,
        x: ValueId,
    ) -> Option<Normalization> {
        let of_type = |op_type: &'static str| {
            nodes.iter().map(|&id| self.graph.node(id)).filter(move |n| n.op_type == op_type)
        };
        let ty = types.get(x).filter(|ty| ty.dtype == DType::F32)?;
        let (&n, rows) = ty.shape.split_last()?;
        let is_last = |node: &Node| {
            let mean = node.output(0).and_then(|mean| types.get(mean));
            mean.is_some_and(|mean| mean.shape.split_last() == Some((&1, rows)))
        };
        let scalar = |value: ValueId| {
            let tensor = self.graph.constant(value).filter(|c| c.ty().dtype == DType::F32)?;
            if let [x] = tensor.tensor().slice::<f32>() { Some(*x) } else { None }
        };
        let constant = |node: &Node| node.present_inputs().find_map(|(_, id)| scalar(id));
        let is_square = |node: &Node| constant(node) == Some(2.);
        let epsilon = constant(of_type("Add").next()?)?;
        let fits = 1 < n && of_type("ReduceMean").all(is_last) && of_type("Pow").all(is_square);
        fits.then_some(Normalization { nodes, x, n, epsilon })
    }

    fn matches(&self, expr: &Expr, value: ValueId, found: &mut Match) -> bool {
        match expr {
            Const => self.graph.constant(value).is_some(),
            Mask => {
                let constant = self.graph.constant(value);
                (self.is_mask)(value) || constant.is_some_and(|c| 2 <= c.ty().shape.len())
            }
            X => {
                let is_x = self.graph.constant(value).is_none()
                    && found.x.is_none_or(|bound| bound == value);
                found.x = if is_x { Some(value) } else { found.x };
                is_x
            }
            Op(op_type, args) => {
                let Some(id) = self.producers[value.index()] else { return false };
                let node = self.graph.node(id);
                if node.op_type != *op_type || !node.domain.is_empty() {
                    return false;
                }
                found.nodes.push(id);
                self.matches_args(node, args, found)
            }
        }
    }

    fn matches_args(&self, node: &Node, args: &[Expr], found: &mut Match) -> bool {
        let values: Vec<ValueId> = node.present_inputs().map(|(_, value)| value).collect();
        let mut in_order = found.clone();
        if self.matches_in_order(args, &values, &mut in_order) {
            *found = in_order;
            return true;
        }
        let is_commutative = matches!(node.op_type.as_str(), "Add" | "Mul");
        let &[a, b] = values.as_slice() else { return false };
        is_commutative && self.matches_in_order(args, &[b, a], found)
    }

    /// Trailing constants that the expression names may be attributes in older opsets.
    fn matches_in_order(&self, args: &[Expr], values: &[ValueId], found: &mut Match) -> bool {
        let is_optional = |arg: &Expr| matches!(arg, Const);
        values.len() <= args.len()
            && args[values.len()..].iter().all(is_optional)
            && args.iter().zip(values).all(|(arg, &value)| self.matches(arg, value, found))
    }

    fn join_chains(&self, units: &mut [Unit], unit_of: &mut [Option<usize>], chains: &[Chain]) {
        let heads: Vec<NodeId> = self.graph.nodes().map(|(id, _)| id).collect();
        for head in heads {
            let Some(unit) = unit_of[head.index()] else { continue };
            if units[unit].nodes.first() != Some(&head) {
                continue;
            }
            let of_head = chains.iter().filter(|chain| chain.heads.contains(&units[unit].kind));
            let mut links = of_head.map(|chain| self.links(unit, chain, units, unit_of));
            for next in links.find(|links| !links.is_empty()).unwrap_or_default() {
                let joined = std::mem::take(&mut units[next].nodes);
                joined.iter().for_each(|node| unit_of[node.index()] = Some(unit));
                units[unit].output = units[next].output;
                units[unit].nodes.extend(joined);
                units[unit].nodes.sort();
            }
        }
    }

    /// The units that a chain adds to its first one, in order.
    fn links(
        &self,
        first: usize,
        chain: &Chain,
        units: &[Unit],
        unit_of: &[Option<usize>],
    ) -> Vec<usize> {
        let mut links: Vec<usize> = Vec::new();
        for stage in &chain.then {
            let last = &units[links.last().copied().unwrap_or(first)];
            links.extend(self.next_in_chain(last, units, unit_of, stage));
        }
        let is_enough = !chain.whole || links.len() == chain.then.len();
        if is_enough { links } else { Vec::new() }
    }

    /// The unit that alone reads the output of `unit`, if it is one of `stage`.
    fn next_in_chain(
        &self,
        unit: &Unit,
        units: &[Unit],
        unit_of: &[Option<usize>],
        stage: &[String],
    ) -> Option<usize> {
        let readers = &self.readers[unit.output.index()];
        let next = unit_of[readers.first()?.index()]?;
        let is_only = readers.iter().all(|reader| unit_of[reader.index()] == Some(next));
        let kind = &units[next].kind;
        let fits = is_only
            && !self.graph.is_output(unit.output)
            && stage.contains(kind)
            && (units[next].nodes.len() > 1
                || self.has_constant_operand(units[next].nodes[0], unit.output));
        fits.then_some(next)
    }

    /// Element-wise arithmetic joins a chain only with a constant; other operators always.
    fn has_constant_operand(&self, id: NodeId, other_than: ValueId) -> bool {
        let node = self.graph.node(id);
        if !matches!(node.op_type.as_str(), "Add" | "Sub" | "Mul" | "Div") {
            return true;
        }
        node.present_inputs()
            .all(|(_, value)| value == other_than || self.graph.constant(value).is_some())
    }
}

#[cfg(test)]
mod tests;
