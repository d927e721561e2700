//! `weights`: bytes of the weights, packed, with their scales (4 bytes each) and zero points (of the
//! weight's width). A constant operand counts at the bits of the activation it meets.

use crate::cost::{BYTES, CostModel, Metric, Unit};
use crate::graph::{Graph, ValueId};
use crate::quant::{Bits, Candidate, Group, Groups, Placement};

pub(super) const METRIC: Metric = Metric {
    name: "weights",
    doc: "bytes of the packed weights with their scales and zero points",
    unit: Unit::Scaled(BYTES),
    is_sum: true,
    needs_sizes: false,
    of: |model, candidates| Some(model.weight_bytes(candidates) as f64),
};

/// The constants of a group.
#[derive(Debug, Default)]
pub(super) struct GroupTensors {
    weights: Vec<TensorSize>,
    /// Those that take the activation's bits.
    operands: Vec<TensorSize>,
}

#[derive(Debug, Clone, Copy)]
struct TensorSize {
    elements: u64,
    n_scales: u64,
}

impl TensorSize {
    fn bytes(self, bits: Bits) -> u64 {
        let packed = |n: u64| (n * u64::from(bits.get())).div_ceil(8);
        if bits.is_float() {
            return self.elements * 4;
        }
        packed(self.elements) + 4 * self.n_scales + packed(self.n_scales)
    }
}

/// `per_channel`: whether a weight has a scale per output channel.
pub(super) fn tensors(
    graph: &Graph,
    placement: &Placement,
    groups: &Groups,
    per_channel: bool,
) -> Vec<GroupTensors> {
    let elements =
        |value: ValueId| graph.constant(value).map_or(0, |constant| constant.ty().len() as u64);
    let weight = |&index: &usize| {
        let site = &placement.weights[index];
        let axis = site.axis.filter(|_| per_channel);
        let channels = |axis: usize| {
            graph.constant(site.value).map_or(1, |constant| constant.ty().shape[axis] as u64)
        };
        TensorSize { elements: elements(site.value), n_scales: axis.map_or(1, channels) }
    };
    let operand = |&index: &usize| TensorSize {
        elements: elements(placement.operands[index].value),
        n_scales: 1,
    };
    let of_group = |group: &Group| GroupTensors {
        weights: group.weights.iter().map(weight).collect(),
        operands: group.operands.iter().map(operand).collect(),
    };
    groups.groups.iter().map(of_group).collect()
}

impl CostModel<'_> {
    pub fn weight_bytes(&self, candidates: &[Candidate]) -> u64 {
        let of_group = |(tensors, candidate): (&GroupTensors, &Candidate)| {
            let weight_bits = candidate.weight.unwrap_or(Bits::FLOAT);
            let weights = tensors.weights.iter().map(|size| size.bytes(weight_bits));
            let operands = tensors.operands.iter().map(|size| size.bytes(candidate.activation));
            weights.chain(operands).sum::<u64>()
        };
        self.tensors.iter().zip(candidates).map(of_group).sum()
    }
}
