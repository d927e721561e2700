//! [`Simulator`]: what a configuration changes in the float network.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::exec::{Changes, Prepared, ValueHook};
use crate::graph::{Graph, ValueId};
use crate::quant::{Bits, Candidate, Encoding, Encodings, Groups, Placement, Rounded};

/// Rounded weights for every width, made when they are first needed, and a hook for every activation and width.
pub struct Simulator<'a> {
    placement: &'a Placement,
    groups: &'a Groups,
    weights: Vec<BTreeMap<Bits, Arc<Prepared>>>,
    operands: Vec<BTreeMap<Bits, Arc<Prepared>>>,
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
    fn apply(&self, x: &mut [f32]) {
        self.0.fake_quantize_slice(x);
    }
}

impl<'a> Simulator<'a> {
    /// Weights are rounded to nearest where `rounded` has none.
    pub fn new(
        graph: &Graph,
        placement: &'a Placement,
        groups: &'a Groups,
        encodings: &Encodings,
        rounded: Option<&Rounded>,
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
            weights: prepared(graph, weights.collect(), &encodings.weights, rounded),
            operands: prepared(graph, operands.collect(), &encodings.operands, None),
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
                    changes
                        .constants
                        .insert(self.placement.operands[index].value, Arc::clone(tensor));
                }
            }
            let Some(weight_bits) = candidate.weight else { continue };
            for &index in &group.weights {
                if let Some(tensor) = self.weights[index].get(&weight_bits) {
                    changes
                        .constants
                        .insert(self.placement.weights[index].value, Arc::clone(tensor));
                }
            }
        }
        changes
    }
}

fn prepared(
    graph: &Graph,
    values: Vec<ValueId>,
    encodings: &[BTreeMap<Bits, Encoding>],
    rounded: Option<&Rounded>,
) -> Vec<BTreeMap<Bits, Arc<Prepared>>> {
    let round = |(&value, by_bits): (&ValueId, &BTreeMap<Bits, Encoding>)| {
        let constant = graph.constant(value).expect("weights are constants");
        let one = |(&bits, encoding): (&Bits, &Encoding)| {
            let weight = rounded.and_then(|set| set.get(graph.value_name(value), bits)).cloned();
            let (constant, encoding) = (constant.clone(), encoding.clone());
            let make = move || match &weight {
                Some(weight) => weight.tensor(&constant.ty().shape),
                None => {
                    let mut tensor = constant.tensor().clone();
                    encoding.fake_quantize(&mut tensor);
                    tensor
                }
            };
            (bits, Arc::new(Prepared::made(make)))
        };
        by_bits.iter().map(one).collect()
    };
    values.iter().zip(encodings).map(round).collect()
}
