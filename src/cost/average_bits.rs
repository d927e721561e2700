//! `average-bits`: how wide the factors of a multiplication are on average.
//!
//! The mean over all multiply-accumulates of `(bits of one factor + bits of the other) / 2`: 8 for
//! W8A8, 6 for W4A8, 12 for W8A16; 32 for what is left in float. 0 for a network that multiplies
//! nothing.

use crate::cost::{CostModel, Metric, Unit};
use crate::quant::{Bits, Candidate, Group};

pub(super) const METRIC: Metric = Metric {
    name: "average-bits",
    doc: "mean over multiply-accumulates of (weight bits + activation bits) / 2",
    unit: Unit::Plain { most: 32. },
    is_sum: true,
    needs_sizes: false,
    of: |model, candidates| Some(model.average_bits(candidates)),
};

impl CostModel<'_> {
    pub fn average_bits(&self, candidates: &[Candidate]) -> f64 {
        let float = u64::from(Bits::FLOAT.get());
        let of_group = |(group, candidate): (&Group, &Candidate)| {
            let activation = u64::from(candidate.activation.get());
            let weight = candidate.weight.map_or(float, |bits| u64::from(bits.get()));
            group.weight_macs * (weight + activation) + group.product_macs * 2 * activation
        };
        let in_groups = self.groups.groups.iter().zip(candidates).map(of_group).sum::<u64>();
        let both = in_groups + self.groups.float_macs * 2 * float;
        if self.macs == 0 { 0. } else { both as f64 / (2 * self.macs) as f64 }
    }
}
