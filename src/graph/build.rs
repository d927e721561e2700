//! [`Builder`]: makes a [`Graph`] from named parts; checks names, sorts nodes, finds cycles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::graph::{Body, Constant, Dim, Graph, GraphInput, Node, NodeId, Value, ValueId};
use crate::ops::{AttrValue, Operator};
use crate::tensor::DType;

/// Why named parts do not make a graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error("the name `{name}` is given to two values")]
    DuplicateValue { name: String },

    #[error("node `{node}` reads `{name}`, which no node, input or initializer gives")]
    UnknownInput { node: String, name: String },

    #[error("output `{name}` of the graph is given by no node, input or initializer")]
    UnknownOutput { name: String },

    #[error("the graph has a cycle through node `{node}`")]
    Cycle { node: String },
}

/// A node before its values have ids.
#[derive(Debug)]
pub struct NodeSpec {
    pub name: String,
    pub domain: String,
    pub op_type: String,
    pub opset: u16,
    pub attrs: Vec<(String, AttrValue)>,
    pub operator: Arc<dyn Operator>,
    pub inputs: Vec<Option<String>>,
    pub outputs: Vec<Option<String>>,
    pub bodies: Vec<BodySpec>,
}

/// A subgraph before what it reads of the graph around it has ids there.
#[derive(Debug)]
pub struct BodySpec {
    graph: Graph,
    inputs: Vec<ValueId>,
    captures: Vec<(String, ValueId)>,
}

impl NodeSpec {
    /// The names that the node and its subgraphs read.
    fn reads(&self) -> impl Iterator<Item = &String> {
        let captured = self.bodies.iter().flat_map(|body| &body.captures);
        self.inputs.iter().flatten().chain(captured.map(|(name, _)| name))
    }
}

/// Collects the parts of a graph.
#[derive(Debug, Default)]
pub struct Builder {
    graph: Graph,
    ids: BTreeMap<String, ValueId>,
    specs: Vec<NodeSpec>,
    /// Inputs of a subgraph.
    formal: Vec<ValueId>,
}

impl Builder {
    pub fn new(name: &str) -> Builder {
        let graph = Graph { name: name.to_owned(), ..Graph::default() };
        Builder { graph, ..Builder::default() }
    }

    pub fn input(&mut self, name: &str, dtype: DType, dims: Vec<Dim>) -> Result<(), BuildError> {
        let value = self.define(name, None)?;
        self.graph.inputs.push(GraphInput { value, dtype, dims });
        Ok(())
    }

    /// An input of a subgraph: its type is known when the subgraph runs.
    pub fn formal_input(&mut self, name: &str) -> Result<(), BuildError> {
        let value = self.define(name, None)?;
        self.formal.push(value);
        Ok(())
    }

    pub fn constant(&mut self, name: &str, constant: Constant) -> Result<(), BuildError> {
        self.define(name, Some(constant)).map(|_| ())
    }

    pub fn node(&mut self, spec: NodeSpec) -> Result<(), BuildError> {
        for name in spec.outputs.iter().flatten() {
            self.define(name, None)?;
        }
        self.specs.push(spec);
        Ok(())
    }

    /// Whether a value of this name is there already.
    pub fn contains(&self, name: &str) -> bool {
        self.ids.contains_key(name)
    }

    /// Resolves names, puts the nodes in order (the given one where it will do).
    pub fn finish(mut self, outputs: &[String]) -> Result<Graph, BuildError> {
        for name in outputs {
            let id = self.ids.get(name);
            let id = id.ok_or_else(|| BuildError::UnknownOutput { name: name.clone() })?;
            self.graph.outputs.push(*id);
        }
        let specs = std::mem::take(&mut self.specs);
        let nodes: Result<Vec<Node>, BuildError> =
            specs.into_iter().map(|spec| self.resolve(spec)).collect();
        self.graph.nodes = sorted(nodes?, self.graph.values.len())?;
        Ok(self.graph)
    }

    /// As [`finish`](Builder::finish) for a subgraph: a name that nothing here gives is one of the
    /// graph around it.
    pub fn finish_body(mut self, outputs: &[String]) -> Result<BodySpec, BuildError> {
        let read = self.specs.iter().flat_map(NodeSpec::reads).chain(outputs);
        let missing = read.filter(|name| !self.contains(name)).cloned();
        let missing: BTreeSet<String> = missing.collect();
        let capture = |name: String| Ok((name.clone(), self.define(&name, None)?));
        let captures = missing.into_iter().map(capture).collect::<Result<Vec<_>, _>>()?;
        let inputs = std::mem::take(&mut self.formal);
        Ok(BodySpec { graph: self.finish(outputs)?, inputs, captures })
    }

    fn define(&mut self, name: &str, constant: Option<Constant>) -> Result<ValueId, BuildError> {
        let id = ValueId::new(self.graph.values.len());
        if self.ids.insert(name.to_owned(), id).is_some() {
            return Err(BuildError::DuplicateValue { name: name.to_owned() });
        }
        self.graph.values.push(Value { name: name.to_owned(), constant });
        Ok(id)
    }

    fn resolve(&self, spec: NodeSpec) -> Result<Node, BuildError> {
        let find = |name: &Option<String>| match name {
            None => Ok(None),
            Some(name) => self.ids.get(name).map(|&id| Some(id)).ok_or_else(|| {
                BuildError::UnknownInput { node: spec.name.clone(), name: name.clone() }
            }),
        };
        let mut inputs = spec.inputs.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let n_operands = inputs.len();
        let outputs = spec.outputs.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let mut bodies = Vec::new();
        for body in spec.bodies {
            let mut captures = Vec::new();
            for (name, inner) in body.captures {
                captures.push((inputs.len(), inner));
                inputs.push(find(&Some(name))?);
            }
            bodies.push(Body { graph: body.graph, inputs: body.inputs, captures });
        }
        Ok(Node {
            inputs,
            n_operands,
            outputs,
            bodies,
            name: spec.name,
            domain: spec.domain,
            op_type: spec.op_type,
            opset: spec.opset,
            attrs: spec.attrs,
            operator: spec.operator,
        })
    }
}

/// Depth-first from every node in the given order, so a sorted list stays as it is.
pub(super) fn sorted(nodes: Vec<Node>, n_values: usize) -> Result<Vec<Node>, BuildError> {
    let mut producers = vec![None; n_values];
    for (index, node) in nodes.iter().enumerate() {
        for output in node.present_outputs() {
            producers[output.index()] = Some(index);
        }
    }
    let mut order: Vec<NodeId> = Vec::with_capacity(nodes.len());
    let mut states = vec![State::New; nodes.len()];
    for root in 0..nodes.len() {
        visit(root, &nodes, &producers, &mut states, &mut order)?;
    }
    let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    let take = |id: NodeId| nodes[id.index()].take().expect("every node is visited once");
    Ok(order.into_iter().map(take).collect())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Open,
    Done,
}

/// An explicit stack: a chain of a million nodes must not overflow the real one.
fn visit(
    root: usize,
    nodes: &[Node],
    producers: &[Option<usize>],
    states: &mut [State],
    order: &mut Vec<NodeId>,
) -> Result<(), BuildError> {
    let mut stack = vec![(root, 0)];
    while let Some((index, position)) = stack.pop() {
        if states[index] == State::Done {
            continue;
        }
        states[index] = State::Open;
        let inputs = &nodes[index].inputs;
        let needs = (position..inputs.len()).find_map(|position| {
            let producer = producers[inputs[position]?.index()]?;
            (states[producer] != State::Done).then_some((position, producer))
        });
        match needs {
            None => {
                states[index] = State::Done;
                order.push(NodeId::new(index));
            }
            Some((_, producer)) if states[producer] == State::Open => {
                return Err(BuildError::Cycle { node: nodes[producer].name.clone() });
            }
            Some((position, producer)) => {
                stack.push((index, position));
                stack.push((producer, 0));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{self, Attrs};

    fn relu(name: &str, input: &str, output: &str) -> NodeSpec {
        NodeSpec {
            name: name.to_owned(),
            domain: String::new(),
            op_type: "Relu".to_owned(),
            opset: 14,
            attrs: Vec::new(),
            operator: ops::read("", "Relu", 14, Attrs::default()).unwrap().into(),
            inputs: vec![Some(input.to_owned())],
            outputs: vec![Some(output.to_owned())],
            bodies: Vec::new(),
        }
    }

    fn build(specs: Vec<NodeSpec>, output: &str) -> Result<Graph, BuildError> {
        let mut builder = Builder::new("g");
        builder.input("x", DType::F32, vec![Dim::Fixed(1)])?;
        for spec in specs {
            builder.node(spec)?;
        }
        builder.finish(&[output.to_owned()])
    }

    #[test]
    fn nodes_are_put_in_order() {
        let graph = build(vec![relu("b", "u", "y"), relu("a", "x", "u")], "y").unwrap();
        let names: Vec<&str> = graph.nodes().map(|(_, node)| node.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn broken_graphs() {
        let cycle = build(vec![relu("a", "v", "u"), relu("b", "u", "v")], "v").unwrap_err();
        assert_eq!(cycle.to_string(), "the graph has a cycle through node `a`");
        let unknown = build(vec![relu("a", "z", "u")], "u").unwrap_err();
        let text = "node `a` reads `z`, which no node, input or initializer gives";
        assert_eq!(unknown.to_string(), text);
        let double = build(vec![relu("a", "x", "x")], "x").unwrap_err();
        assert_eq!(double.to_string(), "the name `x` is given to two values");
        let output = build(vec![], "y").unwrap_err();
        let text = "output `y` of the graph is given by no node, input or initializer";
        assert_eq!(output.to_string(), text);
    }
}
