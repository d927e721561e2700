//! [`Simulator`]: what a configuration changes in the float network.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::exec::{Changes, ValueHook};
use crate::graph::Graph;
use crate::quant::{Bits, Candidate, Encoding, Encodings, Groups, Placement};
use crate::tensor::{DType, Tensor};

/// Rounded weights for every width, made once, and a hook for every activation and width.
pub struct Simulator<'a> {
    placement: &'a Placement,
    groups: &'a Groups,
    weights: Vec<BTreeMap<Bits, Tensor>>,
    operands: Vec<BTreeMap<Bits, Tensor>>,
    /// By activation of the placement.
    hooks: Vec<BTreeMap<Bits, FakeQuantize>>,
    /// For every value its place in the placement's list of activations.
    position: Vec<Option<usize>>,
}

/// Rounds an activation when it is made.
#[derive(Debug, Clone, PartialEq)]
pub struct FakeQuantize(Encoding);

impl FakeQuantize {
    pub fn new(encoding: Encoding) -> FakeQuantize {
        FakeQuantize(encoding)
    }
}

impl ValueHook for FakeQuantize {
    fn apply(&self, value: &mut Tensor) {
        // A value whose type is known only when it is made may turn out to be no float.
        if value.dtype() == DType::F32 {
            self.0.fake_quantize(value);
        }
    }
}

impl<'a> Simulator<'a> {
    pub fn new(
        graph: &Graph,
        placement: &'a Placement,
        groups: &'a Groups,
        encodings: &Encodings,
    ) -> Simulator<'a> {
        let weights = placement.weights.iter().map(|site| site.value);
        let operands = placement.operands.iter().map(|site| site.value);
        let mut position = vec![None; graph.n_values()];
        for (index, value) in placement.activations.iter().enumerate() {
            position[value.index()] = Some(index);
        }
        let hooks = encodings.activations.iter().map(|by_bits| {
            let hook = |(&bits, e): (&Bits, &Encoding)| (bits, FakeQuantize(e.clone()));
            by_bits.iter().map(hook).collect()
        });
        Simulator {
            placement,
            groups,
            weights: rounded(graph, weights.collect(), &encodings.weights),
            operands: rounded(graph, operands.collect(), &encodings.operands),
            hooks: hooks.collect(),
            position,
        }
    }

    /// What is different with these groups at these candidates and all else in float.
    pub fn changes(&self, chosen: &[(usize, Candidate)]) -> Changes<'_> {
        let mut changes = Changes::default();
        for &(group, candidate) in chosen {
            let group = &self.groups.groups[group];
            for activation in &group.activations {
                let position =
                    self.position[activation.index()].expect("groups are of activations");
                if let Some(hook) = self.hooks[position].get(&candidate.activation) {
                    changes.hooks.insert(*activation, hook);
                }
            }
            for &index in &group.operands {
                if let Some(tensor) = self.operands[index].get(&candidate.activation) {
                    changes.constants.insert(self.placement.operands[index].value, tensor.clone());
                }
            }
            let Some(weight_bits) = candidate.weight else { continue };
            for &index in &group.weights {
                if let Some(tensor) = self.weights[index].get(&weight_bits) {
                    changes.constants.insert(self.placement.weights[index].value, tensor.clone());
                }
            }
        }
        changes
    }
}

fn rounded(
    graph: &Graph,
    values: Vec<crate::graph::ValueId>,
    encodings: &[BTreeMap<Bits, Encoding>],
) -> Vec<BTreeMap<Bits, Tensor>> {
    let round = |(value, by_bits): (&crate::graph::ValueId, &BTreeMap<Bits, Encoding>)| {
        let constant = graph.constant(*value).expect("weights are constants");
        let one = |(&bits, encoding): (&Bits, &Encoding)| {
            let mut tensor = constant.tensor().clone();
            encoding.fake_quantize(&mut tensor);
            (bits, tensor)
        };
        by_bits.iter().map(one).collect()
    };
    values.par_iter().zip(encodings).map(round).collect()
}
