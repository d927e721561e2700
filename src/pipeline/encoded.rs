//! Between encodings and how the files have them.

use std::collections::BTreeMap;

use crate::artifact::{self, ActivationEncoding, MeasuredEncodings, Ordered, WeightEncoding};
use crate::graph::{Graph, ValueId};
use crate::pipeline::{Network, PipelineError};
use crate::quant::{Bits, Candidate, Encoding, Encodings, Group, Scheme};
use crate::tensor::{DType, Tensor};

/// The encodings of a configuration; a constant operand stands with the weights.
pub(super) fn chosen_encodings(
    network: &Network,
    encodings: &Encodings,
    candidates: &[Candidate],
) -> artifact::Encodings {
    let groups = &network.groups.groups;
    let name = |id: ValueId| network.graph.value_name(id).to_owned();
    let chosen = |is_in: &dyn Fn(&Group) -> bool| {
        let index = groups.iter().position(is_in);
        index.map(|index| candidates[index])
    };
    let mut file = artifact::Encodings {
        activations: Ordered::new(),
        weights: Ordered::new(),
        biases: Ordered::new(),
    };
    for (index, &value) in network.placement.activations.iter().enumerate() {
        let candidate = chosen(&|group: &Group| group.activations.contains(&value));
        let encoding = candidate.and_then(|c| encodings.activations[index].get(&c.activation));
        if let Some(encoding) = encoding {
            file.activations.insert(name(value), activation_encoding(encoding));
        }
    }
    for (index, site) in network.placement.weights.iter().enumerate() {
        let candidate = chosen(&|group: &Group| group.weights.contains(&index));
        let bits = candidate.and_then(|candidate| candidate.weight);
        if let Some(encoding) = bits.and_then(|bits| encodings.weights[index].get(&bits)) {
            file.weights.insert(name(site.value), weight_encoding(encoding));
        }
        let bias = bits.and_then(|bits| encodings.biases[index].get(&bits));
        if let Some(bias) = bias
            && let Some(id) = network.placement.bias(index)
        {
            file.biases.insert(name(id), bias.clone());
        }
    }
    for (index, site) in network.placement.operands.iter().enumerate() {
        let candidate = chosen(&|group: &Group| group.operands.contains(&index));
        let encoding = candidate.and_then(|c| encodings.operands[index].get(&c.activation));
        if let Some(encoding) = encoding {
            file.weights.insert(name(site.value), weight_encoding(encoding));
        }
    }
    file
}

fn activation_encoding(encoding: &Encoding) -> ActivationEncoding {
    let grid = encoding.grid(0);
    ActivationEncoding {
        bits: encoding.bits,
        signed: encoding.scheme.signed,
        symmetric: encoding.scheme.symmetric,
        min: grid.min,
        max: grid.max,
        scale: encoding.scales[0],
        zero_point: encoding.zero_points[0],
    }
}

pub(super) fn weight_encoding(encoding: &Encoding) -> WeightEncoding {
    let grids = (0..encoding.scales.len()).map(|channel| encoding.grid(channel));
    let (min, max) = grids.map(|grid| (grid.min, grid.max)).unzip();
    WeightEncoding {
        bits: encoding.bits,
        signed: encoding.scheme.signed,
        symmetric: encoding.scheme.symmetric,
        narrow: encoding.scheme.narrow,
        axis: encoding.axis.map(|axis| u32::try_from(axis).expect("ranks are small")),
        min,
        max,
        scale: encoding.scales.clone(),
        zero_point: encoding.zero_points.clone(),
    }
}

/// The encoding that a file's entry stands for. A symmetric narrow grid is told by its ends.
pub(super) fn read_activation(file: &ActivationEncoding) -> Encoding {
    Encoding {
        bits: file.bits,
        scheme: Scheme {
            signed: file.signed,
            symmetric: file.symmetric,
            narrow: file.symmetric && file.min == -file.max,
        },
        axis: None,
        scales: vec![file.scale],
        zero_points: vec![file.zero_point],
    }
}

pub(super) fn read_weight(file: &WeightEncoding) -> Encoding {
    Encoding {
        bits: file.bits,
        scheme: Scheme { signed: file.signed, symmetric: file.symmetric, narrow: file.narrow },
        axis: file.axis.map(|axis| axis as usize),
        scales: file.scale.clone(),
        zero_points: file.zero_point.clone(),
    }
}

/// A corrected bias in the place of a constant.
pub(super) fn read_bias(
    graph: &Graph,
    id: ValueId,
    elements: &[f32],
) -> Result<Tensor, PipelineError> {
    let constant = graph.constant(id).filter(|constant| {
        constant.ty().dtype == DType::F32 && constant.ty().len() == elements.len()
    });
    let misfit = || PipelineError::BiasDoesNotFit { name: graph.value_name(id).to_owned() };
    let shape = &constant.ok_or_else(misfit)?.ty().shape;
    Ok(Tensor::from_vec(shape, elements.to_vec()))
}

pub(super) fn measured_encodings(network: &Network, encodings: &Encodings) -> MeasuredEncodings {
    let name = |id: ValueId| network.graph.value_name(id).to_owned();
    let activations = network.placement.activations.iter().zip(&encodings.activations);
    let weights = network.placement.weights.iter().map(|site| site.value).zip(&encodings.weights);
    let operands =
        network.placement.operands.iter().map(|site| site.value).zip(&encodings.operands);
    let biases = encodings.biases.iter().enumerate().filter(|(_, by_bits)| !by_bits.is_empty());
    let biases = biases.filter_map(|(weight, by_bits)| {
        let id = network.placement.bias(weight)?;
        Some((name(id), by_width(by_bits, Clone::clone)))
    });
    MeasuredEncodings {
        activations: activations
            .map(|(&value, by_bits)| (name(value), by_width(by_bits, activation_encoding)))
            .collect(),
        weights: weights
            .chain(operands)
            .map(|(value, by_bits)| (name(value), by_width(by_bits, weight_encoding)))
            .collect(),
        biases: biases.collect(),
    }
}

fn by_width<E, T>(encodings: &BTreeMap<Bits, E>, write: fn(&E) -> T) -> Ordered<T> {
    encodings.iter().map(|(bits, encoding)| (bits.to_string(), write(encoding))).collect()
}

/// Every quantizer must have an encoding for each width that its group may take.
pub(super) fn check_encodings(
    network: &Network,
    encodings: &Encodings,
) -> Result<(), PipelineError> {
    let Network { graph, placement, groups, .. } = network;
    let shape = |id: ValueId| graph.constant(id).map_or(&[][..], |c| &c.ty().shape);
    let check = |by_bits: &BTreeMap<Bits, Encoding>, bits: Bits, id: ValueId| {
        let is_right = bits.is_float() || by_bits.get(&bits).is_some_and(|e| e.fits(shape(id)));
        let name = || graph.value_name(id).to_owned();
        is_right.then_some(()).ok_or_else(|| PipelineError::EncodingDoesNotFit { name: name() })
    };
    for group in &groups.groups {
        for choice in &group.choices {
            for (&id, by_bits) in placement.activations.iter().zip(&encodings.activations) {
                if group.activations.contains(&id) {
                    check(by_bits, choice.activation, id)?;
                }
            }
            for &index in &group.operands {
                let id = placement.operands[index].value;
                check(&encodings.operands[index], choice.activation, id)?;
            }
            let Some(weight_bits) = choice.weight else { continue };
            for &index in &group.weights {
                let id = placement.weights[index].value;
                check(&encodings.weights[index], weight_bits, id)?;
                if let Some(elements) = encodings.biases[index].get(&weight_bits)
                    && let Some(bias) = placement.bias(index)
                {
                    read_bias(graph, bias, elements)?;
                }
            }
        }
    }
    Ok(())
}

pub(super) fn read_encodings(network: &Network, file: &MeasuredEncodings) -> Encodings {
    let name = |id: ValueId| network.graph.value_name(id);
    fn read<T>(
        by_width: Option<&Ordered<T>>,
        read: impl Fn(&T) -> Encoding,
    ) -> BTreeMap<Bits, Encoding> {
        let entries = by_width.into_iter().flat_map(|by_width| by_width.iter());
        entries.map(|(_, entry)| read(entry)).map(|encoding| (encoding.bits, encoding)).collect()
    }
    let activation = |&id: &ValueId| read(file.activations.get(name(id)), read_activation);
    let weight = |id: ValueId| read(file.weights.get(name(id)), read_weight);
    let bias = |weight: usize| {
        let id = network.placement.bias(weight);
        let by_width = id.and_then(|id| file.biases.get(name(id)));
        let entries = by_width.into_iter().flat_map(|by_width| by_width.iter());
        let bits = |text: &str| text.parse().ok().and_then(Bits::new);
        entries.filter_map(|(text, bias)| Some((bits(text)?, bias.clone()))).collect()
    };
    Encodings {
        activations: network.placement.activations.iter().map(activation).collect(),
        weights: network.placement.weights.iter().map(|site| weight(site.value)).collect(),
        operands: network.placement.operands.iter().map(|site| weight(site.value)).collect(),
        biases: (0..network.placement.weights.len()).map(bias).collect(),
    }
}
