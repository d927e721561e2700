//! [`Grouping`]: which nodes make a step together, and in which layout.
//!
//! A step is a head and the element-wise nodes that read nothing else of its shape that is not
//! there yet; it grows as long as only its last value is needed outside.

mod heads;

use std::collections::{BTreeMap, BTreeSet};

use crate::exec::fast::chain::{Action, Link, Operand, assign_slots};
use crate::exec::fast::group::heads::reads_constants;
use crate::exec::fast::multiply::Multiply;
use crate::exec::fast::plan::{Head, Step, Visible};
use crate::exec::values::{Layout, image};
use crate::graph::patterns::{Normalization, normalizations};
use crate::graph::{Graph, Node, NodeId, Types, ValueId};
use crate::kernels::{Map, Side, Zip};
use crate::ops::Lowering;
use crate::tensor::{DType, Tensor, TensorType};

/// A step grows by at most this many nodes.
const MOST_LINKS: usize = 24;

pub(super) struct Grouping<'a> {
    graph: &'a Graph,
    types: &'a Types,
    visible: &'a Visible,
    limit_bytes: usize,
    readers: Vec<Vec<NodeId>>,
    is_taken: Vec<bool>,
    layouts: Vec<Layout>,
    /// Normalizations in several nodes, by their last one.
    normalizations: BTreeMap<NodeId, Normalization>,
    is_hidden: Vec<bool>,
}

type Planned = (Vec<Step>, BTreeMap<ValueId, Tensor>, Vec<bool>);

impl<'a> Grouping<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        types: &'a Types,
        visible: &'a Visible,
        limit_bytes: usize,
    ) -> Grouping<'a> {
        let mut grouping = Grouping {
            graph,
            types,
            visible,
            limit_bytes,
            readers: graph.readers(),
            is_taken: vec![false; graph.n_nodes()],
            layouts: vec![Layout::Plain; graph.n_values()],
            normalizations: BTreeMap::new(),
            is_hidden: vec![false; graph.n_values()],
        };
        // With an error somewhere every node is evaluated on its own, so that the run tells of it.
        if types.errors.is_empty() {
            let all = normalizations(graph, types).into_iter();
            all.for_each(|normalization| grouping.add_normalization(normalization));
        }
        grouping
    }

    /// Unless a hook has to see what is inside.
    fn add_normalization(&mut self, normalization: Normalization) {
        let Some(&last) = normalization.nodes.last() else { return };
        let inner = self.inside(&normalization);
        if inner.iter().any(|value| self.visible.seen.contains(value)) {
            return;
        }
        inner.iter().for_each(|value| self.is_hidden[value.index()] = true);
        let nodes = normalization.nodes.iter();
        nodes.for_each(|id| self.is_taken[id.index()] = *id != last);
        self.normalizations.insert(last, normalization);
    }

    /// The steps in order, known integers, and which values are hidden.
    pub(super) fn steps(mut self) -> Planned {
        let mut known = BTreeMap::new();
        let mut steps: Vec<(NodeId, Step)> = Vec::new();
        for (id, node) in self.graph.nodes() {
            if self.is_taken[id.index()] || self.add_known(node, &mut known) {
                continue;
            }
            let step = self.step(id, node);
            self.layouts[step.1.output.index()] = step.1.layout;
            steps.push(step);
        }
        steps.sort_by_key(|(last, _)| *last);
        (steps.into_iter().map(|(_, step)| step).collect(), known, self.is_hidden)
    }

    /// Whether everything a node makes is known.
    fn add_known(&self, node: &Node, known: &mut BTreeMap<ValueId, Tensor>) -> bool {
        let values: Option<Vec<(ValueId, Tensor)>> = node
            .present_outputs()
            .map(|id| {
                let value = self.types.value(id).filter(|value| !value.dtype().is_float());
                Some((id, value?.clone()))
            })
            .collect();
        let is_known = values.is_some();
        known.extend(values.into_iter().flatten());
        is_known
    }

    /// The step that begins with a node, and its last node.
    fn step(&mut self, id: NodeId, node: &Node) -> (NodeId, Step) {
        self.is_taken[id.index()] = true;
        let output = node.output(0).or_else(|| node.present_outputs().next());
        let output = output.expect("a live node has an output");
        let reference = || Step {
            head: Head::Reference,
            node: id,
            reads: node.present_inputs().map(|(_, value)| value).collect(),
            made: Some(output),
            links: Vec::new(),
            hidden: Vec::new(),
            n_slots: 1,
            output,
            shape: Vec::new(),
            layout: Layout::Plain,
        };
        let Some((head, reads, layout)) = self.head(id, node) else { return (id, reference()) };
        let hidden = self.normalizations.get(&id).map(|normalization| self.inside(normalization));
        let shape = self.types.get(output).expect("a head has a type").shape.clone();
        let hidden = hidden.unwrap_or_default();
        let mut step = Step { head, reads, shape, layout, hidden, ..reference() };
        if let Head::Other(lowering) = &step.head
            && !reads_constants(lowering)
        {
            self.hide_constants(id, &mut step);
        }
        let last = if let Head::Load = step.head {
            step.made = None;
            step.output = step.reads[0];
            // The node itself is the first link.
            self.is_taken[id.index()] = false;
            self.grow(&mut step, Some(id))
        } else {
            self.grow(&mut step, None)
        };
        self.add_bias(&mut step);
        if let (Head::Load, true) = (&step.head, step.links.is_empty()) {
            self.is_taken[id.index()] = true;
            return (id, reference());
        }
        (last.unwrap_or(id), step)
    }

    /// The float constants that a node reads.
    fn constants(&self, id: NodeId) -> impl Iterator<Item = ValueId> {
        let inputs = self.graph.node(id).present_inputs().map(|(_, value)| value);
        inputs.filter(|&value| self.graph.constant(value).is_some() && self.ty(value).is_some())
    }

    /// The values of a node's constants are part of the plan.
    fn hide_constants(&mut self, id: NodeId, step: &mut Step) {
        let constants: Vec<ValueId> = self.constants(id).collect();
        constants.iter().for_each(|value| self.is_hidden[value.index()] = true);
        step.hidden.extend(constants);
    }

    /// What nodes computed as one make, save the result, and the constants that they read.
    fn inside(&self, normalization: &Normalization) -> Vec<ValueId> {
        let inner = &normalization.nodes[..normalization.nodes.len() - 1];
        let made = inner.iter().flat_map(|&id| self.graph.node(id).present_outputs());
        made.chain(normalization.nodes.iter().flat_map(|&id| self.constants(id))).collect()
    }

    /// A row that is added to a product begins its sums instead, unless someone looks in between.
    fn add_bias(&mut self, step: &mut Step) {
        let Head::Product(Multiply { bias: bias @ None, .. }) = &mut step.head else { return };
        let Some(made) = step.made else { return };
        let Some(link) = step.links.first() else { return };
        let Action::Zip(Zip::Add, Operand::Row(row), _) = link.action else { return };
        let is_bias = self.graph.constant(row).is_some()
            && self.types.get(row).map(TensorType::len) == step.shape.last().copied()
            && (link.slot, link.to) == (0, 0)
            && step.links.iter().skip(1).all(|link| !link.reads(made));
        if is_bias && !self.visible.seen.contains(&made) {
            *bias = Some(row);
            step.reads.push(row);
            step.made = Some(link.made);
            step.links.remove(0);
            self.is_hidden[made.index()] = true;
            step.hidden.push(made);
        }
    }

    fn ty(&self, value: ValueId) -> Option<&'a TensorType> {
        self.types.get(value).filter(|ty| ty.dtype == DType::F32 && !ty.is_empty())
    }

    fn layout(&self, value: ValueId) -> Layout {
        self.layouts[value.index()]
    }

    /// Adds element-wise nodes; returns the last one added. `first` has to be among them.
    fn grow(&mut self, step: &mut Step, first: Option<NodeId>) -> Option<NodeId> {
        let mut values = vec![step.output];
        let mut links: Vec<(NodeId, Link)> = Vec::new();
        let mut n_kept = 0;
        let mut next: BTreeSet<NodeId> = match first {
            Some(first) => BTreeSet::from([first]),
            None => self.readers[step.output.index()].iter().copied().collect(),
        };
        while let Some(id) = next.pop_first() {
            let is_free = !self.is_taken[id.index()] && !self.normalizations.contains_key(&id);
            let link = is_free.then(|| self.link(step, &values, self.graph.node(id))).flatten();
            let Some(link) = link.filter(|_| links.len() < MOST_LINKS) else { break };
            let made = link.made;
            links.push((id, link));
            values.push(made);
            next.extend(self.readers[made.index()].iter().copied());
            let members: Vec<NodeId> = links.iter().map(|(id, _)| *id).collect();
            // What a step loads is stored already.
            let own = if first.is_some() { &values[1..] } else { &values[..] };
            let (_, inner) = own.split_last().expect("a link was added");
            if inner.iter().any(|&value| self.is_stored(value)) {
                break;
            }
            let is_inside = |value: &ValueId| {
                self.readers[value.index()].iter().all(|reader| members.contains(reader))
            };
            if inner.iter().all(is_inside) {
                n_kept = links.len();
            }
        }
        links.truncate(n_kept);
        let last = links.last().map(|(id, _)| *id);
        for (id, link) in links {
            self.is_taken[id.index()] = true;
            if let Action::Map(_) = link.action {
                self.hide_constants(id, step);
            }
            step.output = link.made;
            step.links.push(link);
        }
        let start = step.made.unwrap_or_else(|| step.reads[0]);
        step.n_slots = assign_slots(start, &mut step.links);
        last
    }

    /// Whether a value has to be the output of a step.
    fn is_stored(&self, value: ValueId) -> bool {
        self.graph.is_output(value) || self.visible.stored.contains(&value)
    }

    /// A node as a link behind `values`; `None` if it is none.
    fn link(&self, step: &Step, values: &[ValueId], node: &Node) -> Option<Link> {
        let made = node.output(0)?;
        if self.ty(made)?.shape != step.shape {
            return None;
        }
        let link = |from, action| Some(Link { made, from, to: 0, slot: 0, action });
        match self.lower(node)? {
            Lowering::Map(map) => {
                let x = node.input(0).filter(|x| values.contains(x))?;
                link(x, Action::Map(map))
            }
            Lowering::Zip(zip) => {
                let (a, b) = (node.input(0)?, node.input(1)?);
                let (from, other, side) = match (values.contains(&a), values.contains(&b)) {
                    (true, true) if a == b => {
                        return (zip == Zip::Mul).then(|| link(a, Action::Map(Map::Square)))?;
                    }
                    (true, true) => {
                        return link(a, Action::Zip(zip, Operand::Slot(b, 0), Side::Right));
                    }
                    (true, false) => (a, b, Side::Right),
                    (false, true) => (b, a, Side::Left),
                    (false, false) => return None,
                };
                link(from, Action::Zip(zip, self.operand(step, other)?, side))
            }
            _ => None,
        }
    }

    /// How a value outside of a step meets the step's.
    fn operand(&self, step: &Step, value: ValueId) -> Option<Operand> {
        let ty = self.ty(value)?;
        let rank = step.shape.len();
        let padded = rank.checked_sub(ty.shape.len())?;
        let mut shape = vec![1; padded];
        shape.extend(&ty.shape);
        if ty.len() == 1 {
            return Some(Operand::Scalar(value));
        }
        if shape == step.shape && !matches!(step.layout, Layout::Permuted(_)) {
            return Some(Operand::Whole(value));
        }
        match step.layout {
            Layout::Permuted(_) => None,
            Layout::Blocked => {
                let [batch, channels, plane] = image(&shape);
                let fits = plane == 1 && channels == step.shape[1];
                let fits = fits && (batch == 1 || batch == step.shape[0]);
                fits.then_some(Operand::Channels(value))
            }
            Layout::Plain => {
                let first = shape.iter().position(|&dim| dim != 1)?;
                (shape[first..] == step.shape[first..]).then_some(Operand::Row(value))
            }
        }
    }
}
