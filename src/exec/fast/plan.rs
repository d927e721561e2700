//! [`Plan`]: the steps of a pass for inputs of certain types.

use std::collections::{BTreeMap, BTreeSet};

use crate::exec::fast::chain::Link;
use crate::exec::fast::group::Grouping;
use crate::exec::fast::multiply::Multiply;
use crate::exec::fast::strip::Strip;
use crate::exec::values::{Layout, stored_len};
use crate::graph::{Graph, NodeId, Types, ValueId};
use crate::kernels::{BlockedConv, BlockedDepthwise, ConvInput};
use crate::ops::Lowering;
use crate::tensor::Tensor;

/// What a pass does, in order.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// Integers that follow from the types: shapes, axes.
    pub(super) known: BTreeMap<ValueId, Tensor>,
    /// For every value the last step that reads it.
    pub(super) last_reader: Vec<Option<usize>>,
    /// Whether a value is inside of something that is computed as one or a constant that became part
    /// of the plan, so that no change of it can be seen.
    pub(super) is_hidden: Vec<bool>,
    /// The step from which on several passes are better run side by side: what they hold is small then,
    /// and the constants, which all of them read, are not.
    pub(super) side_by_side: usize,
    /// Steps that are run a few rows at a time, in order.
    pub(super) strips: Vec<Strip>,
    /// The most bytes that a pass holds at once of what nodes make, where the types are known: if it
    /// frees what is not needed, and if it keeps all.
    pub(super) most_bytes: [usize; 2],
    /// What operators make of types that are not known.
    pub(super) unknown: Vec<ValueId>,
}

/// The most that a value may take where passes run side by side: half of a usual second-level cache.
const SMALL_BYTES: usize = 1 << 19;

/// Constants that do not stay in cache from one pass to the next.
const LARGE_BYTES: usize = 1 << 20;

/// One kernel, and the element-wise nodes that follow while its results are in cache.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) head: Head,
    /// The last node of the head, for messages.
    pub(super) node: NodeId,
    /// All that the head reads.
    pub(super) reads: Vec<ValueId>,
    /// What the head makes; `None` if it only loads a value.
    pub(super) made: Option<ValueId>,
    pub(super) links: Vec<Link>,
    /// Values inside and constants that became part of the plan: a change of one is a change of all.
    pub(super) hidden: Vec<ValueId>,
    /// Intermediate results of the links that are needed at once.
    pub(super) n_slots: usize,
    pub(super) output: ValueId,
    pub(super) shape: Vec<usize>,
    pub(super) layout: Layout,
}

#[derive(Debug)]
pub(super) enum Head {
    /// A node by its operator's `eval`; it may have any outputs.
    Reference,
    /// The first value read, in the layout of the step.
    Load,
    /// The elements of the first value read as they lie in this layout, under other axes.
    Relabel(Layout),
    Conv(BlockedConv, Filters),
    Depthwise(BlockedDepthwise, Filters),
    Product(Multiply),
    /// With its scale and shift.
    Norm(Norm, [Option<ValueId>; 2]),
    /// Another kernel, of the values read.
    Other(Lowering),
}

/// Rows of `n` elements are normalized.
#[derive(Debug, Clone, Copy)]
pub(super) struct Norm {
    pub(super) n: usize,
    pub(super) epsilon: f32,
    pub(super) is_centered: bool,
}

/// The constants of a convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filters {
    pub(super) w: ValueId,
    pub(super) bias: Option<ValueId>,
    pub(super) groups: usize,
}

/// What keeps values apart.
#[derive(Debug, Clone, Default)]
pub(super) struct Visible {
    /// Values that are stored: each is the output of a step.
    pub(super) stored: BTreeSet<ValueId>,
    /// Values that may be changed: none of them is hidden.
    pub(super) seen: BTreeSet<ValueId>,
    /// Whether what steps make stays after the pass.
    pub(super) is_kept: bool,
}

impl Plan {
    pub(super) fn new(graph: &Graph, types: &Types, visible: &Visible, limit_bytes: usize) -> Plan {
        let grouping = Grouping::new(graph, types, visible, limit_bytes);
        let (steps, known, is_hidden) = grouping.steps();
        let mut last_reader = vec![None; graph.n_values()];
        for (index, step) in steps.iter().enumerate() {
            step.operands().for_each(|value| last_reader[value.index()] = Some(index));
        }
        let side_by_side = side_by_side(graph, types, &steps);
        let mut n_readers = vec![0; graph.n_values()];
        let read = steps.iter().flat_map(Step::operands);
        read.for_each(|value| n_readers[value.index()] += 1);
        let strips = Strip::all(&steps, |index| {
            let made = steps[index].output;
            let is_stored = graph.is_output(made) || visible.stored.contains(&made);
            let is_apart = index + 1 < side_by_side && !visible.is_kept;
            n_readers[made.index()] == 1 && !is_stored && is_apart
        });
        let most_bytes = [false, true].map(|is_kept| {
            let is_read_last = |id: ValueId, index: usize| {
                !is_kept && last_reader[id.index()] == Some(index) && !graph.is_output(id)
            };
            most_bytes(graph, types, &steps, limit_bytes, is_read_last)
        });
        let made = graph.nodes().flat_map(|(_, node)| node.present_outputs());
        let unknown = made.filter(|&id| types.get(id).is_none()).collect();
        Plan { steps, known, last_reader, is_hidden, side_by_side, strips, most_bytes, unknown }
    }
}

/// See [`Plan::most_bytes`]. Up to a step that is too large by itself, for a pass ends there.
fn most_bytes(
    graph: &Graph,
    types: &Types,
    steps: &[Step],
    limit_bytes: usize,
    is_read_last: impl Fn(ValueId, usize) -> bool,
) -> usize {
    let mut sizes = vec![0_usize; graph.n_values()];
    let (mut held, mut most) = (0_usize, 0);
    for (index, step) in steps.iter().enumerate() {
        let made: Vec<(ValueId, usize)> = match step.head {
            Head::Reference => {
                let size = |id| types.get(id).map_or(0, |ty| ty.size_bytes());
                graph.node(step.node).present_outputs().map(|id| (id, size(id))).collect()
            }
            _ => vec![(step.output, step.made_len().saturating_mul(size_of::<f32>()))],
        };
        let made_bytes = made.iter().fold(0, |sum: usize, (_, bytes)| sum.saturating_add(*bytes));
        if limit_bytes < made_bytes {
            break;
        }
        made.into_iter().for_each(|(id, bytes)| sizes[id.index()] = bytes);
        held = held.saturating_add(made_bytes);
        most = most.max(held);
        for id in step.operands().filter(|&id| is_read_last(id, index)) {
            held -= std::mem::take(&mut sizes[id.index()]);
        }
    }
    most
}

/// See [`Plan::side_by_side`].
fn side_by_side(graph: &Graph, types: &Types, steps: &[Step]) -> usize {
    let size = |id: ValueId| types.get(id).map_or(usize::MAX, |ty| ty.size_bytes());
    let is_constant = |id: ValueId| graph.constant(id).is_some();
    let is_small = |step: &Step| {
        let values = step.operands().chain([step.output]).filter(|&id| !is_constant(id));
        values.map(size).all(|bytes| bytes <= SMALL_BYTES)
    };
    let first = steps.iter().rposition(|step| !is_small(step)).map_or(0, |large| large + 1);
    let constants: BTreeSet<ValueId> =
        steps[first..].iter().flat_map(Step::operands).filter(|&id| is_constant(id)).collect();
    let bytes = constants.into_iter().map(size).fold(0, usize::saturating_add);
    if LARGE_BYTES < bytes { first } else { steps.len() }
}

impl Step {
    /// All that the head and the links read.
    pub(super) fn operands(&self) -> impl Iterator<Item = ValueId> {
        self.reads.iter().copied().chain(self.links.iter().filter_map(Link::operand))
    }

    /// Elements of the result as it is stored; 0 where an operator's own evaluation makes it.
    pub(super) fn made_len(&self) -> usize {
        if matches!(self.head, Head::Reference) { 0 } else { stored_len(&self.shape, self.layout) }
    }

    /// The layout that the head wants of a value that it reads.
    pub(super) fn wanted(&self, index: usize) -> Layout {
        match &self.head {
            Head::Load | Head::Other(_) => self.layout,
            Head::Relabel(layout) => *layout,
            Head::Conv(conv, _) => match conv.input() {
                ConvInput::Plain => Layout::Plain,
                ConvInput::Blocked => Layout::Blocked,
            },
            Head::Depthwise(..) => Layout::Blocked,
            Head::Product(multiply) => {
                multiply.layouts.get(index).copied().unwrap_or(Layout::Plain)
            }
            Head::Reference | Head::Norm(..) => Layout::Plain,
        }
    }
}
