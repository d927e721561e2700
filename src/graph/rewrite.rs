//! [`Rewrite`]: a graph that nodes and constants are added to.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::graph::build::sorted;
use crate::graph::{Constant, Graph, Node, NodeId, Value, ValueId};
use crate::ops::{self, AttrValue, Attrs, OpError};
use crate::tensor::Tensor;

/// What a new node is, apart from what it reads.
#[derive(Debug, Clone, Copy)]
pub struct NewNode<'a> {
    pub domain: &'a str,
    pub op_type: &'a str,
    pub opset: u16,
    pub attrs: &'a [(&'a str, AttrValue)],
    /// As the node is to be called, unless another one is.
    pub name: &'a str,
    /// The same for the value that it makes.
    pub output: &'a str,
}

/// A graph under change. Ids stay; new nodes stand at the end until [`Rewrite::finish`].
#[derive(Debug)]
pub struct Rewrite {
    graph: Graph,
    values: BTreeSet<String>,
    nodes: BTreeSet<String>,
}

impl Rewrite {
    pub fn new(graph: Graph) -> Rewrite {
        let mut rewrite = Rewrite { graph, values: BTreeSet::new(), nodes: BTreeSet::new() };
        let Rewrite { graph, values, nodes } = &mut rewrite;
        note_names(graph, values, nodes);
        rewrite
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// A constant by this name, or one made from it if there is such a value already.
    pub fn constant(&mut self, name: &str, tensor: Tensor) -> ValueId {
        self.value(name, Some(tensor.into()))
    }

    /// A node with one output; gives that.
    pub fn node(&mut self, new: NewNode<'_>, inputs: &[ValueId]) -> Result<ValueId, OpError> {
        let attrs: Vec<(String, AttrValue)> =
            new.attrs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let operator =
            ops::read(new.domain, new.op_type, new.opset, Attrs::new(attrs.iter().cloned()))?;
        let output = self.value(new.output, None);
        self.graph.nodes.push(Node {
            name: unique(&mut self.nodes, new.name),
            domain: new.domain.to_owned(),
            op_type: new.op_type.to_owned(),
            opset: new.opset,
            attrs,
            operator: Arc::from(operator),
            inputs: inputs.iter().map(|&id| Some(id)).collect(),
            n_operands: inputs.len(),
            outputs: vec![Some(output)],
            bodies: Vec::new(),
        });
        Ok(output)
    }

    /// Lets a node read `to` wherever it reads `from`, in its subgraphs too.
    pub fn replace_reads(&mut self, node: NodeId, from: ValueId, to: ValueId) {
        let inputs = self.graph.nodes[node.index()].inputs.iter_mut();
        inputs.filter(|input| **input == Some(from)).for_each(|input| *input = Some(to));
    }

    /// Lets a node read `to` at a position, where it may have had nothing.
    pub fn set_input(&mut self, node: NodeId, position: usize, to: ValueId) {
        let node = &mut self.graph.nodes[node.index()];
        if node.n_operands <= position {
            let missing = position + 1 - node.n_operands;
            let at = node.n_operands;
            node.inputs.splice(at..at, std::iter::repeat_n(None, missing));
            node.n_operands = position + 1;
        }
        node.inputs[position] = Some(to);
    }

    /// Puts `new` out in the place and by the name of `old`, which is called `name` from then on.
    pub fn replace_output(&mut self, old: ValueId, new: ValueId, name: &str) {
        let name = unique(&mut self.values, name);
        let old_name = std::mem::replace(&mut self.graph.values[old.index()].name, name);
        self.graph.values[new.index()].name = old_name;
        let outputs = self.graph.outputs.iter_mut();
        outputs.filter(|output| **output == old).for_each(|output| *output = new);
    }

    /// Writes an attribute of a node in another way; its operator stays as it is.
    pub fn set_attr(&mut self, node: NodeId, name: &str, value: AttrValue) {
        let attrs = &mut self.graph.nodes[node.index()].attrs;
        attrs.retain(|(found, _)| found != name);
        attrs.push((name.to_owned(), value));
    }

    /// Gives a constant another value.
    pub fn set_constant(&mut self, id: ValueId, tensor: Tensor) {
        self.graph.values[id.index()].constant = Some(tensor.into());
    }

    /// The nodes in an order of evaluation that keeps the old one.
    pub fn finish(self) -> Graph {
        let mut graph = self.graph;
        let nodes = std::mem::take(&mut graph.nodes);
        graph.nodes =
            sorted(nodes, graph.values.len()).expect("new nodes read what is made before");
        graph
    }

    fn value(&mut self, name: &str, constant: Option<Constant>) -> ValueId {
        let id = ValueId::new(self.graph.values.len());
        self.graph.values.push(Value { name: unique(&mut self.values, name), constant });
        id
    }
}

fn note_names(graph: &Graph, values: &mut BTreeSet<String>, nodes: &mut BTreeSet<String>) {
    values.extend(graph.values.iter().map(|value| value.name.clone()));
    for node in &graph.nodes {
        nodes.insert(node.name.clone());
        node.bodies.iter().for_each(|body| note_names(&body.graph, values, nodes));
    }
}

fn unique(names: &mut BTreeSet<String>, wish: &str) -> String {
    let mut name = wish.to_owned();
    while !names.insert(name.clone()) {
        name.push('_');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::{evaluate, inputs, net};

    #[test]
    fn a_node_between_two_others_and_one_at_the_end() {
        let graph = net(&[("x", &[4])])
            .node("Relu", &["x"], "relu")
            .node("Neg", &["relu"], "y")
            .outputs(&["y"]);
        let before = evaluate(&graph, &inputs(&graph));
        let [relu, y] = ["relu", "y"].map(|name| graph.find_value(name).unwrap());
        let mut rewrite = Rewrite::new(graph);
        let neg = |name| NewNode {
            domain: "",
            op_type: "Neg",
            opset: 13,
            attrs: &[],
            name,
            output: "relu",
        };
        let between = rewrite.node(neg("y"), &[relu]).unwrap();
        rewrite.replace_reads(NodeId::new(1), relu, between);
        let end = rewrite.node(neg("end"), &[y]).unwrap();
        rewrite.replace_output(y, end, "y_before");
        let graph = rewrite.finish();
        let line =
            |node: &Node| format!("{}:{}", node.name, graph.value_name(node.output(0).unwrap()));
        let lines: Vec<String> = graph.nodes().map(|(_, node)| line(node)).collect();
        assert_eq!(lines, ["relu:relu", "y_:relu_", "y:y_before", "end:y"]);
        assert_eq!(graph.outputs(), [end]);
        // Three signs instead of one.
        let after = evaluate(&graph, &inputs(&graph));
        assert_eq!(after, before);
    }
}
