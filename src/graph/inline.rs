//! An `If` whose condition is known gives way to the branch that is taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::graph::{Body, Graph, Node, Value, ValueId};
use crate::ops::{self, AttrValue, Attrs, DEFAULT_DOMAIN, NEWEST_OPSET};

/// Whether something was replaced; new constants may then be known.
pub(super) fn inline_known_branches(graph: &mut Graph) -> bool {
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    let mut any = false;
    for node in std::mem::take(&mut graph.nodes) {
        match taken_branch(graph, &node) {
            Some(body) => {
                inline(graph, &node, &node.bodies[body], &mut nodes);
                any = true;
            }
            None => nodes.push(node),
        }
    }
    graph.nodes = nodes;
    any
}

fn taken_branch(graph: &Graph, node: &Node) -> Option<usize> {
    if node.op_type != "If" || node.domain != DEFAULT_DOMAIN {
        return None;
    }
    let cond = graph.constant(node.input(0)?)?.tensor();
    let &[cond] = cond.try_slice::<bool>()? else { return None };
    let branch = if cond { "then_branch" } else { "else_branch" };
    let Some(&AttrValue::Body(body)) = node.attr(branch) else { return None };
    let body_of = node.bodies.get(body)?;
    (body_of.graph.outputs().len() == node.outputs.len()).then_some(body)
}

/// Puts the nodes of `body` behind `nodes`, with values of their own in `graph`.
fn inline(graph: &mut Graph, node: &Node, body: &Body, nodes: &mut Vec<Node>) {
    let mut ids: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    for &(position, inner) in &body.captures {
        if let Some(outer) = node.inputs[position] {
            ids.insert(inner, outer);
        }
    }
    let producers = body.graph.producers();
    let mut passed = Vec::new();
    for (&inner, &outer) in body.graph.outputs().iter().zip(&node.outputs) {
        let Some(outer) = outer else { continue };
        if producers[inner.index()].is_some() && !ids.contains_key(&inner) {
            ids.insert(inner, outer);
        } else {
            passed.push((inner, outer));
        }
    }
    for inner in body.graph.value_ids() {
        ids.entry(inner).or_insert_with(|| add_value(graph, node, body.graph.value(inner)));
    }
    let resolve = |id: &Option<ValueId>| id.map(|id| ids[&id]);
    for (_, inner) in body.graph.nodes() {
        nodes.push(Node {
            inputs: inner.inputs.iter().map(resolve).collect(),
            outputs: inner.outputs.iter().map(resolve).collect(),
            ..inner.clone()
        });
    }
    nodes.extend(passed.into_iter().map(|(from, to)| identity(graph, ids[&from], to)));
}

/// The value under a name that no other has.
fn add_value(graph: &mut Graph, node: &Node, value: &Value) -> ValueId {
    let id = ValueId::new(graph.values.len());
    let mut name = format!("{}/{}", node.name, value.name);
    while graph.find_value(&name).is_some() {
        name.push('_');
    }
    graph.values.push(Value { name, constant: value.constant.clone() });
    id
}

fn identity(graph: &Graph, from: ValueId, to: ValueId) -> Node {
    let operator = ops::read(DEFAULT_DOMAIN, "Identity", NEWEST_OPSET, Attrs::default());
    let operator = operator.expect("the table has `Identity`");
    Node {
        name: graph.value_name(to).to_owned(),
        domain: DEFAULT_DOMAIN.to_owned(),
        op_type: "Identity".to_owned(),
        opset: NEWEST_OPSET,
        attrs: Vec::new(),
        operator: Arc::from(operator),
        inputs: vec![Some(from)],
        n_operands: 1,
        outputs: vec![Some(to)],
        bodies: Vec::new(),
    }
}
