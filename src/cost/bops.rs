//! `bops`: bit operations of one inference.
//!
//! Of an operator `MACs x weight bits x activation bits`; a product of two activations counts
//! `MACs x bits x bits`; what is left in float counts 32. Element-wise work is not counted.

use crate::cost::{CostModel, Metric, Unit};
use crate::quant::{Bits, Candidate, Group};

pub(super) const METRIC: Metric = Metric {
    name: "bops",
    doc: "bit operations: multiply-accumulates x weight bits x activation bits",
    unit: Unit::Scaled(&[("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12)]),
    is_sum: true,
    needs_sizes: false,
    of: |model, candidates| Some(model.bops(candidates) as f64),
};

impl CostModel<'_> {
    pub fn bops(&self, candidates: &[Candidate]) -> u64 {
        let float = u64::from(Bits::FLOAT.get());
        let of_group = |(group, candidate): (&Group, &Candidate)| {
            let activation = u64::from(candidate.activation.get());
            let weight = candidate.weight.map_or(float, |bits| u64::from(bits.get()));
            group.weight_macs * weight * activation + group.product_macs * activation * activation
        };
        self.groups.groups.iter().zip(candidates).map(of_group).sum::<u64>()
            + self.groups.float_macs * float * float
    }
}
