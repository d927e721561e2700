//! Between what was measured and the files: heads, names, the `sensitivity` file.

use crate::artifact::{
    self, Artifact as _, ListEntry, MeasuredChoice, MeasuredGroup, Ordered, RANK_BY_SQNR,
};
use crate::data::Dataset;
use crate::graph::{Graph, ValueId};
use crate::pipeline::encoded::{check_encodings, measured_encodings, read_encodings};
use crate::pipeline::{Network, PipelineError, Study};
use crate::quant::{Candidate, Encodings, Group, Placement};
use crate::search::{self, Choice, Problem as _};
use crate::sensitivity::{Measurement, Powers, Sensitivity};

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
