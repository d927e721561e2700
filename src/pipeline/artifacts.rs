//! Between what was measured and the files: heads, names, encodings, the `sensitivity` file.

use crate::artifact::{
    self, ActivationEncoding, Artifact as _, ListEntry, MeasuredChoice, MeasuredEncodings,
    MeasuredGroup, Ordered, RANK_BY_SQNR, WeightEncoding,
};
use crate::data::Dataset;
use crate::graph::{Graph, ValueId};
use crate::pipeline::{Network, PipelineError, Study};
use crate::quant::{Bits, Candidate, Encoding, Encodings, Group, Placement, Scheme};
use crate::search::{self, Choice, Problem as _};
use crate::sensitivity::{Measurement, Powers, Sensitivity};
use crate::tensor::{DType, Tensor};

/// What `config` and `sensitivity` files both begin with.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    pub model: artifact::Model,
    pub calibration: artifact::Calibration,
    pub settings: artifact::Settings,
}

impl Head {
    /// `data` are the calibration samples.
    pub fn new(network: &Network, data: &Dataset) -> Result<Head, PipelineError> {
        let calibration = artifact::Calibration {
            samples: data.len() as u64,
            sha256: data.sha256().map_err(PipelineError::Data)?,
            preprocessing: data.preprocessing().cloned(),
        };
        Ok(Head::with(network, calibration))
    }

    /// The same for samples that are known from elsewhere.
    pub fn with(network: &Network, calibration: artifact::Calibration) -> Head {
        let settings = &network.settings;
        let dims = settings.dims.iter().map(|(name, &size)| (name.clone(), size as u64));
        let outputs = network.outputs.iter().map(|&id| network.graph.value_name(id).to_owned());
        Head {
            model: artifact::Model { file: network.file.clone(), sha256: network.sha256.clone() },
            calibration,
            settings: artifact::Settings {
                target: settings.target.name.clone(),
                range: artifact::RangeMethods {
                    weights: settings.ranges.weights.to_string(),
                    activations: settings.ranges.activations.to_string(),
                },
                weights: granularity(settings.ranges.per_channel).to_owned(),
                rounding: artifact::Rounding {
                    method: settings.rounding.to_string(),
                    sha256: None,
                },
                equalize: settings.preparation.equalize,
                bias_correction: settings.preparation.correct_biases,
                sqnr: settings.aggregation.to_string(),
                rank_by: RANK_BY_SQNR.to_owned(),
                outputs: outputs.collect(),
                strategy: None,
                probe: None,
                cost_table_sha256: settings.cost_table.as_ref().map(|table| table.sha256.clone()),
                engine: settings.engine.to_string(),
                seed: settings.seed,
                dims: dims.collect(),
            },
        }
    }
}

fn granularity(per_channel: bool) -> &'static str {
    if per_channel { "per-channel" } else { "per-tensor" }
}

/// The members of a group, by name.
pub(super) struct GroupNames {
    pub(super) nodes: Vec<String>,
    pub(super) activations: Vec<String>,
    pub(super) weights: Vec<String>,
}

impl GroupNames {
    pub(super) fn new(graph: &Graph, placement: &Placement, group: &Group) -> GroupNames {
        let value = |id: ValueId| graph.value_name(id).to_owned();
        let weight = |&index: &usize| value(placement.weights[index].value);
        GroupNames {
            nodes: group.nodes.iter().map(|&id| graph.node(id).name.clone()).collect(),
            activations: group.activations.iter().map(|&id| value(id)).collect(),
            weights: group.weights.iter().map(weight).collect(),
        }
    }
}

/// The encodings of a configuration; a constant operand stands with the weights.
pub(super) fn encodings(
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

/// A group as the files of Phase 1 have it.
pub(super) fn measured_group<C>(
    network: &Network,
    group: &Group,
    choices: Vec<C>,
) -> MeasuredGroup<C> {
    let names = GroupNames::new(&network.graph, &network.placement, group);
    MeasuredGroup {
        id: group.id.clone(),
        nodes: names.nodes,
        activations: names.activations,
        weights: names.weights,
        weight_elements: group.weight_elements,
        macs: group.weight_macs + group.product_macs,
        pinned: group.is_pinned,
        tied_by: group.tied_by.clone(),
        choices,
    }
}

/// The `sensitivity` file.
pub fn sensitivity_file(
    study: &Study<'_>,
    head: Head,
) -> Result<artifact::Sensitivity, PipelineError> {
    let network = study.network;
    let outputs: Vec<String> =
        network.outputs.iter().map(|&id| network.graph.value_name(id).to_owned()).collect();
    let powers = |powers: &Powers| outputs.iter().cloned().zip(powers.0.iter().cloned()).collect();
    let list = search::list(study).map_err(PipelineError::Search)?;
    let group = |(index, group): (usize, &Group)| {
        let choices = study.choices()[index].iter().zip(&study.sensitivity.groups[index]);
        let choice = |(choice, measurement): (&Choice, &Measurement)| MeasuredChoice {
            candidate: choice.candidate,
            weight_bits: choice.candidate.weight,
            activation_bits: choice.candidate.activation,
            sqnr_db: choice.sqnr_db,
            score: choice.score.filter(|score| score.is_finite()),
            noise_power: powers(&measurement.noise),
        };
        measured_group(network, group, choices.map(choice).collect())
    };
    Ok(artifact::Sensitivity {
        schema: artifact::Sensitivity::schema(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        model: head.model,
        calibration: head.calibration,
        settings: head.settings,
        candidates: network.settings.candidates.as_slice().to_vec(),
        signal_power: powers(&study.sensitivity.signal),
        groups: network.groups.groups.iter().enumerate().map(group).collect(),
        list: list
            .iter()
            .map(|entry| ListEntry {
                group: network.groups.groups[entry.group].id.clone(),
                candidate: entry.candidate,
            })
            .collect(),
        encodings: measured_encodings(network, study.encodings),
        outputs,
        partial: None,
    })
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

fn by_width<E, T>(
    encodings: &std::collections::BTreeMap<Bits, E>,
    write: fn(&E) -> T,
) -> Ordered<T> {
    encodings.iter().map(|(bits, encoding)| (bits.to_string(), write(encoding))).collect()
}

/// Phase 1's result from its file, if the file fits the network.
pub fn read_sensitivity(
    network: &Network,
    file: &artifact::Sensitivity,
) -> Result<(Sensitivity, Encodings), PipelineError> {
    file.expect_model(&network.sha256).map_err(PipelineError::Artifact)?;
    let groups = &network.groups.groups;
    let ids = |ids: Vec<&str>| ids.join(", ");
    let found: Vec<&str> = file.groups.iter().map(|group| group.id.as_str()).collect();
    let expected: Vec<&str> = groups.iter().map(|group| group.id.as_str()).collect();
    if found != expected {
        let (found, expected) = (ids(found), ids(expected));
        return Err(PipelineError::Foreign { what: "list of groups", found, expected });
    }
    let outputs: Vec<&str> =
        network.outputs.iter().map(|&id| network.graph.value_name(id)).collect();
    let powers = |file: &Ordered<Vec<f64>>| {
        let of_output = |name: &&str| file.get(name).cloned();
        outputs.iter().map(of_output).collect::<Option<Vec<_>>>().map(Powers)
    };
    let missing = |what| PipelineError::Foreign {
        what,
        found: file.outputs.join(", "),
        expected: outputs.join(", "),
    };
    let signal = powers(&file.signal_power).ok_or_else(|| missing("list of outputs"))?;
    let mut measured = Vec::new();
    for (group, file_group) in groups.iter().zip(&file.groups) {
        let mut choices = Vec::new();
        for &candidate in &group.choices {
            // Float makes no noise, whether that was measured or not.
            if candidate.is_float() {
                let noise = Powers(signal.0.iter().map(|powers| vec![0.; powers.len()]).collect());
                choices.push(Measurement { candidate, noise });
                continue;
            }
            let choice = file_group.choices.iter().find(|choice| choice.candidate == candidate);
            let choice = choice.ok_or_else(|| PipelineError::Foreign {
                what: "list of choices of a group",
                found: file_group
                    .choices
                    .iter()
                    .map(|c| c.candidate.to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
                expected: group
                    .choices
                    .iter()
                    .map(Candidate::to_string)
                    .collect::<Vec<_>>()
                    .join(", "),
            })?;
            let noise = powers(&choice.noise_power).ok_or_else(|| missing("list of outputs"))?;
            choices.push(Measurement { candidate, noise });
        }
        measured.push(choices);
    }
    let sensitivity = Sensitivity { signal, groups: measured };
    check_samples(&sensitivity)?;
    let encodings = read_encodings(network, &file.encodings);
    check_encodings(network, &encodings)?;
    Ok((sensitivity, encodings))
}

/// Every measurement must have a power for each sample.
fn check_samples(sensitivity: &Sensitivity) -> Result<(), PipelineError> {
    let expected = sensitivity.signal.0.first().map_or(0, Vec::len);
    let noises = sensitivity.groups.iter().flatten().map(|measurement| &measurement.noise);
    let mut powers = noises.chain([&sensitivity.signal]).flat_map(|powers| &powers.0);
    match powers.find(|powers| powers.len() != expected) {
        None => Ok(()),
        Some(powers) => Err(PipelineError::Foreign {
            what: "number of samples of a power",
            found: powers.len().to_string(),
            expected: expected.to_string(),
        }),
    }
}

/// Every quantizer must have an encoding for each width that its group may take.
pub(super) fn check_encodings(
    network: &Network,
    encodings: &Encodings,
) -> Result<(), PipelineError> {
    let Network { graph, placement, groups, .. } = network;
    let shape = |id: ValueId| graph.constant(id).map_or(&[][..], |c| &c.ty().shape);
    let check = |by_bits: &std::collections::BTreeMap<Bits, Encoding>, bits: Bits, id: ValueId| {
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
    ) -> std::collections::BTreeMap<Bits, Encoding> {
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
