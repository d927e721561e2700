//! [`Simulator`]: what a configuration changes in the float network.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cache::{Digest, Digester};
use crate::exec::{Changes, Prepared, ValueHook};
use crate::graph::{Graph, ValueId};
use crate::quant::{Bits, Candidate, Encoding, Encodings, Groups, Placement, Rounded};
use crate::tensor::Tensor;

/// Rounded weights for every width, made when they are first needed, and a hook for every activation and width.
pub struct Simulator<'a> {
    placement: &'a Placement,
    groups: &'a Groups,
    weights: Vec<BTreeMap<Bits, Site>>,
    operands: Vec<BTreeMap<Bits, Site>>,
    /// By weight.
    biases: Vec<BTreeMap<Bits, (ValueId, Site)>>,
    /// By activation of the placement.
    hooks: Vec<BTreeMap<Bits, Hook>>,
    /// For every value its place in the placement's list of activations.
    position: Vec<Option<usize>>,
}

/// A constant at one width.
struct Site {
    tensor: Arc<Prepared>,
    /// Over its name and all that it is rounded by.
    digest: Digest,
}

/// An activation at one width.
struct Hook {
    hook: FakeQuantize,
    /// The same.
    digest: Digest,
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
        let activations = placement.activations.iter().zip(&encodings.activations);
        let hooks = activations.map(|(&value, by_bits)| {
            let hook = |(&bits, encoding): (&Bits, &Encoding)| {
                let digest = Digester::new("activation").text(graph.value_name(value));
                let digest = digest.digest(&encoding.digest()).finish();
                (bits, Hook { hook: FakeQuantize(encoding.clone()), digest })
            };
            by_bits.iter().map(hook).collect()
        });
        Simulator {
            placement,
            groups,
            weights: prepared(graph, weights.collect(), &encodings.weights, rounded),
            operands: prepared(graph, operands.collect(), &encodings.operands, None),
            biases: biases(graph, placement, encodings),
            hooks: hooks.collect(),
            position,
        }
    }

    /// What is different with these groups at these candidates and all else in float.
    pub fn changes(&self, chosen: &[(usize, Candidate)]) -> Changes<'_> {
        let mut changes = Changes::default();
        for (value, hook) in self.chosen_hooks(chosen) {
            changes.hooks.insert(value, &hook.hook);
        }
        for (value, site) in self.chosen_sites(chosen) {
            changes.constants.insert(value, Arc::clone(&site.tensor));
        }
        changes
    }

    /// Over all of [`Simulator::changes`], by content: names of values and what they are rounded by.
    pub fn digest(&self, chosen: &[(usize, Candidate)]) -> Digest {
        let hooks = self.chosen_hooks(chosen).map(|(_, hook)| hook.digest);
        let mut digests: Vec<Digest> = hooks.collect();
        digests.extend(self.chosen_sites(chosen).map(|(_, site)| site.digest));
        digests.sort();
        digests.iter().fold(Digester::new("changes"), Digester::digest).finish()
    }

    fn chosen_hooks(
        &self,
        chosen: &[(usize, Candidate)],
    ) -> impl Iterator<Item = (ValueId, &Hook)> {
        chosen.iter().flat_map(move |&(group, candidate)| {
            let activations = self.groups.groups[group].activations.iter();
            activations.filter_map(move |&activation| {
                let position = self.position[activation.index()];
                let by_bits = &self.hooks[position.expect("groups are of activations")];
                Some((activation, by_bits.get(&candidate.activation)?))
            })
        })
    }

    fn chosen_sites(
        &self,
        chosen: &[(usize, Candidate)],
    ) -> impl Iterator<Item = (ValueId, &Site)> {
        chosen.iter().flat_map(move |&(group, candidate)| {
            let group = &self.groups.groups[group];
            let operands = group.operands.iter().filter_map(move |&index| {
                let site = self.operands[index].get(&candidate.activation)?;
                Some((self.placement.operands[index].value, site))
            });
            let weights = group.weights.iter().filter_map(move |&index| {
                let site = self.weights[index].get(&candidate.weight?)?;
                Some((self.placement.weights[index].value, site))
            });
            let biases = group.weights.iter().filter_map(move |&index| {
                let (bias, site) = self.biases[index].get(&candidate.weight?)?;
                Some((*bias, site))
            });
            operands.chain(weights).chain(biases)
        })
    }
}

fn biases(
    graph: &Graph,
    placement: &Placement,
    encodings: &Encodings,
) -> Vec<BTreeMap<Bits, (ValueId, Site)>> {
    let of_weight = |(weight, by_bits): (usize, &BTreeMap<Bits, Vec<f32>>)| {
        let bias = if by_bits.is_empty() { None } else { placement.bias(weight) };
        let one = |(bias, bits, elements): (ValueId, Bits, &Vec<f32>)| {
            let shape = &graph.constant(bias).expect("a bias is a constant").ty().shape;
            let bytes: Vec<u8> = elements.iter().flat_map(|x| x.to_le_bytes()).collect();
            let digest = Digester::new("bias").text(graph.value_name(bias)).bytes(&bytes).finish();
            let tensor = Arc::new(Prepared::new(Tensor::from_vec(shape, elements.clone())));
            (bits, (bias, Site { tensor, digest }))
        };
        let all = by_bits.iter().filter_map(|(&bits, elements)| Some((bias?, bits, elements)));
        all.map(one).collect()
    };
    encodings.biases.iter().enumerate().map(of_weight).collect()
}

fn prepared(
    graph: &Graph,
    values: Vec<ValueId>,
    encodings: &[BTreeMap<Bits, Encoding>],
    rounded: Option<&Rounded>,
) -> Vec<BTreeMap<Bits, Site>> {
    let round = |(&value, by_bits): (&ValueId, &BTreeMap<Bits, Encoding>)| {
        let constant = graph.constant(value).expect("weights are constants");
        let one = |(&bits, encoding): (&Bits, &Encoding)| {
            let name = graph.value_name(value);
            let weight = rounded.and_then(|set| set.get(name, bits)).cloned();
            let digest = Digester::new("constant").text(name).digest(&encoding.digest());
            let digest = match &weight {
                Some(weight) => digest.digest(&weight.digest()).finish(),
                None => digest.finish(),
            };
            let (constant, encoding) = (constant.clone(), encoding.clone());
            let make = move || match &weight {
                Some(weight) => weight.tensor(&constant.ty().shape),
                None => {
                    let mut tensor = constant.tensor().clone();
                    encoding.fake_quantize(&mut tensor);
                    tensor
                }
            };
            (bits, Site { tensor: Arc::new(Prepared::made(make)), digest })
        };
        by_bits.iter().map(one).collect()
    };
    values.iter().zip(encodings).map(round).collect()
}
