//! `activations`: the most bytes of activations that are alive at once.
//!
//! The units run in the order of the model. A value lives from the unit that makes it to the last one that reads it; inputs from the start,
//! outputs to the end. Values inside a unit are never stored. Widths are those of the group whose
//! encoding the value carries; what stays float takes the bytes of its type.

use crate::cost::{BYTES, CostModel, Metric, Unit};
use crate::graph::{Graph, Types, ValueId};
use crate::quant::{Bits, Candidate, Placement};

pub(super) const METRIC: Metric = Metric {
    name: "activations",
    doc: "the most bytes of activations that are alive at once, in the order of the model",
    unit: Unit::Scaled(BYTES),
    is_sum: false,
    needs_sizes: true,
    of: |model, candidates| Some(model.activation_bytes(candidates) as f64),
};

impl CostModel<'_> {
    pub fn activation_bytes(&self, candidates: &[Candidate]) -> u64 {
        self.lifetimes.peak_bytes(|group| candidates[group].activation)
    }
}

#[derive(Debug)]
pub(super) struct Lifetimes {
    spans: Vec<Span>,
    n_steps: usize,
}

#[derive(Debug)]
struct Span {
    first: usize,
    last: usize,
    elements: u64,
    float_bytes: u64,
    group: Option<usize>,
}

impl Lifetimes {
    pub(super) fn new(
        graph: &Graph,
        types: &Types,
        placement: &Placement,
        group_of: &[Option<usize>],
    ) -> Lifetimes {
        let n_steps = placement.units.len();
        let mut first: Vec<Option<usize>> = vec![None; graph.n_values()];
        let mut last = vec![0; graph.n_values()];
        graph.inputs().iter().for_each(|input| first[input.value.index()] = Some(0));
        for (step, unit) in placement.units.iter().enumerate() {
            for &id in &unit.nodes {
                graph.node(id).present_inputs().for_each(|(_, value)| last[value.index()] = step);
                let made = graph.node(id).present_outputs();
                made.for_each(|value| first[value.index()] = Some(step));
            }
        }
        graph.outputs().iter().for_each(|output| last[output.index()] = n_steps);
        let stored = stored_values(graph, placement);
        let span = |value: ValueId| {
            let (first, ty) = (first[value.index()]?, types.get(value)?);
            stored[value.index()].then(|| Span {
                first,
                last: last[value.index()].max(first),
                elements: ty.len() as u64,
                float_bytes: ty.size_bytes() as u64,
                group: group_of[value.index()],
            })
        };
        Lifetimes { spans: graph.value_ids().filter_map(span).collect(), n_steps }
    }

    fn peak_bytes(&self, bits: impl Fn(usize) -> Bits) -> u64 {
        let mut starts = vec![0_u64; self.n_steps + 2];
        let mut ends = vec![0_u64; self.n_steps + 2];
        for span in &self.spans {
            let bytes = match span.group {
                None => span.float_bytes,
                Some(group) => (span.elements * u64::from(bits(group).get())).div_ceil(8),
            };
            starts[span.first] += bytes;
            ends[span.last + 1] += bytes;
        }
        let (mut alive, mut peak) = (0, 0);
        for (start, end) in starts.iter().zip(&ends) {
            alive = alive - end + start;
            peak = peak.max(alive);
        }
        peak
    }
}

fn stored_values(graph: &Graph, placement: &Placement) -> Vec<bool> {
    let mut stored = vec![true; graph.n_values()];
    for unit in placement.units.iter().filter(|unit| 1 < unit.nodes.len()) {
        let made = unit.nodes.iter().flat_map(|&id| graph.node(id).present_outputs());
        made.filter(|&value| value != unit.output).for_each(|value| stored[value.index()] = false);
    }
    stored
}
