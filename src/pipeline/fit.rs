//! Whether a configuration fits a model: every [`Misfit`].

use crate::artifact::{self, Artifact as _, Config};
use crate::graph::{Graph, ValueId};
use crate::onnx::Model;
use crate::pipeline::artifacts::GroupNames;
use crate::pipeline::configured::sample_types;
use crate::pipeline::encoded::{read_activation, read_bias, read_weight};
use crate::pipeline::{Network, PipelineError, Preparation, Settings};
use crate::quant::{Bits, Candidate, Candidates, Group, Pattern, Pin, RangeMethods, Target};
use crate::search::{Amount, Budget, CostMetric, Costs};
use crate::tensor::DType;

/// One thing of a configuration that is not as the model, the target or the file itself has it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Misfit {
    #[error("model has SHA-256 `{expected}`, the configuration is for `{found}`")]
    Model { found: String, expected: String },

    #[error("{what} `{name}` is not in the model")]
    Unknown { what: &'static str, name: String },

    #[error("encoding of `{name}` does not fit: {problem}")]
    Encoding { name: String, problem: String },

    #[error("group `{group}`: {what} are {found}, expected {expected}")]
    Members { group: String, what: &'static str, found: String, expected: String },

    #[error("group `{group}` is not in the {missing_in}")]
    Group { group: String, missing_in: &'static str },

    #[error("group `{group}` has {found}, expected {expected}")]
    Candidate { group: String, found: Candidate, expected: String },

    #[error("group `{group}` has {bits} bits, but `{name}` has {found}")]
    Bits { group: String, bits: Bits, name: String, found: String },

    #[error("{metric} is {found}, expected {expected}")]
    Cost { metric: String, found: String, expected: String },

    #[error("budget {budget} is not met: {used}")]
    Budget { budget: Budget, used: String },

    #[error("goal `{metric}` is not met: {used}, expected {limit}")]
    Goal { metric: String, used: String, limit: f64 },

    #[error("{0}")]
    Rules(String),
}

/// Everything that does not fit, in the order of the file; empty if all does.
///
/// Where a dimension besides the batch is free, MACs are those of the file, and costs that need the sizes
/// of activations are not looked at.
///
/// # Errors
/// If the model's groups cannot be found: its nodes cannot run, or a dimension is free.
pub fn misfits(
    model: Model,
    config: &Config,
    target: &Target,
) -> Result<Vec<Misfit>, PipelineError> {
    let mut misfits = Vec::new();
    if let Err(artifact::ArtifactError::Model { found, expected }) =
        config.expect_model(&model.sha256)
    {
        misfits.push(Misfit::Model { found, expected });
    }
    let (mut network, sized) = match network(model, config, target, &mut misfits)? {
        Some(network) => network,
        None => return Ok(misfits),
    };
    encodings(&network, config, &mut misfits);
    biases(&network, config, &mut misfits);
    let has_macs = sized || take_macs(&mut network, config, &mut misfits);
    let candidates = groups(&network, sized, config, &mut misfits);
    if let (Some(candidates), true) = (candidates, has_macs) {
        costs(&network, sized, config, &candidates, &mut misfits)?;
    }
    goals(config, &mut misfits);
    Ok(misfits)
}

/// The network as the configuration has it, and whether its inputs have all their sizes; `None` if the
/// target's rules leave nothing of it.
fn network(
    model: Model,
    config: &Config,
    target: &Target,
    misfits: &mut Vec<Misfit>,
) -> Result<Option<(Network, bool)>, PipelineError> {
    let known = |graph: &Graph, name: &str| graph.find_value(name).is_some();
    let outputs = &config.settings.outputs;
    for name in outputs.iter().filter(|name| !known(&model.graph, name)) {
        misfits.push(Misfit::Unknown { what: "output", name: name.clone() });
    }
    let is_inner = |name: &&String| {
        let id = model.graph.find_value(name);
        id.is_some_and(|id| !model.graph.is_output(id))
    };
    let chosen = outputs.iter().any(|name| is_inner(&name)).then(|| outputs.clone());
    let pinned = config.groups.iter().filter(|group| group.pinned);
    let pins = pinned
        .filter(|group| known(&model.graph, &group.id))
        .map(|group| Pin::new(Pattern::new(&group.id), group.candidate));
    let candidates = match Candidates::new(config.candidates.clone()) {
        Ok(candidates) => candidates,
        Err(error) => {
            misfits.push(Misfit::Rules(error.to_string()));
            return Ok(None);
        }
    };
    let settings = Settings {
        candidates,
        target: target.clone(),
        ranges: RangeMethods {
            weights: crate::quant::RangeMethod::Mse,
            activations: crate::quant::RangeMethod::Mse,
            per_channel: config.settings.weights == "per-channel",
        },
        rounding: crate::quant::Rounding::NEAREST,
        preparation: Preparation::of(&config.settings),
        aggregation: crate::metric::sqnr::Aggregation::Pooled,
        outputs: chosen.map(|names| names.into_iter().filter(|n| known(&model.graph, n)).collect()),
        pins: pins.collect(),
        cost_table: None,
        engine: crate::exec::EngineKind::Fast,
        seed: config.settings.seed,
        dims: Default::default(),
    };
    let inputs = model.graph.inputs();
    let sized = inputs.iter().all(|input| input.dims.iter().skip(1).all(|d| d.fixed().is_some()));
    let types = sample_types(&model.graph)?;
    match Network::new(model, &types, settings) {
        Ok(network) => Ok(Some((network, sized))),
        Err(PipelineError::Groups(error)) => {
            misfits.push(Misfit::Rules(error.to_string()));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Gives the network the multiply-accumulates of the file; whether they can be those of its groups.
fn take_macs(network: &mut Network, config: &Config, misfits: &mut Vec<Misfit>) -> bool {
    // Their BOPs are to be numbers as well.
    const MOST: u64 = u64::MAX / (Bits::FLOAT.get() as u64).pow(2);
    let whole = config.cost.macs;
    let in_groups = config.groups.iter().fold(0_u64, |sum, group| sum.saturating_add(group.macs));
    if whole < in_groups || MOST < whole {
        let expected = match whole < in_groups {
            true => format!("at least {in_groups}, those of the groups"),
            false => format!("at most {MOST}"),
        };
        let found = whole.to_string();
        misfits.push(Misfit::Cost { metric: "cost.macs".to_owned(), found, expected });
        return false;
    }
    network.groups.float_macs = whole - in_groups;
    for group in &mut network.groups.groups {
        if let Some(file) = config.groups.iter().find(|file| file.id == group.id) {
            group.product_macs = file.product_macs.min(file.macs);
            group.weight_macs = file.macs - group.product_macs;
        }
    }
    true
}

fn encodings(network: &Network, config: &Config, misfits: &mut Vec<Misfit>) {
    let graph = &network.graph;
    let mut say = |name: &str, problem: String| {
        misfits.push(Misfit::Encoding { name: name.to_owned(), problem });
    };
    for (name, file) in config.encodings.activations.iter() {
        let encoding = read_activation(file);
        match graph.find_value(name) {
            None => say(name, "there is no such tensor".to_owned()),
            Some(id) if graph.constant(id).is_some() => say(name, "it is a constant".to_owned()),
            Some(id) if network.placement.root(id) != Some(id) => {
                say(name, "it is not rounded for this target".to_owned());
            }
            Some(_) if !encoding.fits(&[]) => {
                say(name, "scale or zero point is out of range".to_owned());
            }
            Some(_) => {}
        }
    }
    for (name, file) in config.encodings.weights.iter() {
        let encoding = read_weight(file);
        let Some(id) = graph.find_value(name) else {
            say(name, "there is no such tensor".to_owned());
            continue;
        };
        let constant = graph.constant(id).filter(|constant| constant.ty().dtype == DType::F32);
        match constant {
            None => say(name, "it is no float32 constant".to_owned()),
            Some(constant) if !encoding.fits(&constant.ty().shape) => {
                let (n, shape) = (encoding.scales.len(), &constant.ty().shape);
                let axis =
                    encoding.axis.map_or("no axis".to_owned(), |axis| format!("axis {axis}"));
                say(name, format!("{n} scales along {axis}, the tensor is {shape:?}"));
            }
            Some(_) => {}
        }
    }
}

fn biases(network: &Network, config: &Config, misfits: &mut Vec<Misfit>) {
    let graph = &network.graph;
    for (name, elements) in config.encodings.biases.iter() {
        let problem = match graph.find_value(name) {
            None => "there is no such tensor".to_owned(),
            Some(id) if read_bias(graph, id, elements).is_ok() => continue,
            Some(id) => match graph.constant(id) {
                None => "it is no constant".to_owned(),
                Some(constant) => {
                    format!("{} elements, the tensor is {}", elements.len(), constant.ty())
                }
            },
        };
        misfits.push(Misfit::Encoding { name: name.to_owned(), problem });
    }
}

/// The candidate of every group of the network; `None` if one has none. `sized`: whether MACs are known.
fn groups(
    network: &Network,
    sized: bool,
    config: &Config,
    misfits: &mut Vec<Misfit>,
) -> Option<Vec<Candidate>> {
    let groups = &network.groups.groups;
    for file in &config.groups {
        if !groups.iter().any(|group| group.id == file.id) {
            misfits.push(Misfit::Group { group: file.id.clone(), missing_in: "model" });
        }
    }
    let mut chosen = Vec::new();
    for group in groups {
        let Some(file) = config.groups.iter().find(|file| file.id == group.id) else {
            let group = group.id.clone();
            misfits.push(Misfit::Group { group, missing_in: "configuration" });
            continue;
        };
        chosen.push(file.candidate);
        if sized {
            macs(group, file, misfits);
        }
        members(network, group, file, misfits);
        widths(network, group, file, config, misfits);
    }
    (chosen.len() == groups.len()).then_some(chosen)
}

fn macs(group: &Group, file: &artifact::Group, misfits: &mut Vec<Misfit>) {
    for (what, found, expected) in [
        ("MACs", file.macs, group.weight_macs + group.product_macs),
        ("MACs of products of activations", file.product_macs, group.product_macs),
    ] {
        if found != expected {
            let (found, expected) = (found.to_string(), expected.to_string());
            misfits.push(Misfit::Members { group: group.id.clone(), what, found, expected });
        }
    }
}

fn members(network: &Network, group: &Group, file: &artifact::Group, misfits: &mut Vec<Misfit>) {
    let names = GroupNames::new(&network.graph, &network.placement, group);
    for (what, found, expected) in [
        ("nodes", &file.nodes, &names.nodes),
        ("activations", &file.activations, &names.activations),
        ("weights", &file.weights, &names.weights),
    ] {
        if found != expected {
            let text = |names: &[String]| {
                let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            };
            let (found, expected) = (text(found), text(expected));
            misfits.push(Misfit::Members { group: group.id.clone(), what, found, expected });
        }
    }
    if !group.choices.contains(&file.candidate) && !file.candidate.is_float() {
        let choices: Vec<String> = group.choices.iter().map(Candidate::to_string).collect();
        misfits.push(Misfit::Candidate {
            group: group.id.clone(),
            found: file.candidate,
            expected: format!("one of {}", choices.join(", ")),
        });
    }
}

/// Whether encodings, and the group's own numbers, have the bits of its candidate.
fn widths(
    network: &Network,
    group: &Group,
    file: &artifact::Group,
    config: &Config,
    misfits: &mut Vec<Misfit>,
) {
    let candidate = file.candidate;
    if (file.weight_bits, file.activation_bits) != (candidate.weight, candidate.activation) {
        let weight =
            file.weight_bits.map_or(String::new(), |bits| format!("{bits} weight bits and "));
        misfits.push(Misfit::Candidate {
            group: group.id.clone(),
            found: candidate,
            expected: format!("that of {weight}{} activation bits", file.activation_bits),
        });
    }
    let mut check = |id: ValueId, bits: Bits, found: Option<Bits>| {
        if found.unwrap_or(Bits::FLOAT) != bits {
            misfits.push(Misfit::Bits {
                group: group.id.clone(),
                bits,
                name: network.graph.value_name(id).to_owned(),
                found: found.map_or("no encoding".to_owned(), |bits| bits.to_string()),
            });
        }
    };
    let name = |id| network.graph.value_name(id);
    let encodings = &config.encodings;
    let weight_bits = |id| encodings.weights.get(name(id)).map(|encoding| encoding.bits);
    for &id in &group.activations {
        let found = encodings.activations.get(name(id)).map(|encoding| encoding.bits);
        check(id, candidate.activation, found);
    }
    for &index in &group.weights {
        let id = network.placement.weights[index].value;
        check(id, candidate.weight.unwrap_or(Bits::FLOAT), weight_bits(id));
    }
    for &index in &group.operands {
        let id = network.placement.operands[index].value;
        check(id, candidate.activation, weight_bits(id));
    }
}

/// Whether costs are what the file says, and within the budgets; `sized`: whether all of them are known.
fn costs(
    network: &Network,
    sized: bool,
    config: &Config,
    candidates: &[Candidate],
    misfits: &mut Vec<Misfit>,
) -> Result<(), PipelineError> {
    let model = network.cost_model()?;
    let cost = model.cost(candidates);
    for (metric, found, expected) in [
        ("cost.macs", config.cost.macs, cost.macs),
        ("cost.bops", config.cost.bops, cost.bops),
        ("cost.weight_bytes", config.cost.weight_bytes, cost.weight_bytes),
        ("cost.activation_bytes", config.cost.activation_bytes, cost.activation_bytes),
        ("cost.conversions", config.cost.conversions, cost.conversions),
    ] {
        let is_known = sized || metric != "cost.activation_bytes";
        if is_known && found != expected {
            let (found, expected) = (found.to_string(), expected.to_string());
            misfits.push(Misfit::Cost { metric: metric.to_owned(), found, expected });
        }
    }
    let most_precise = network.settings.candidates.most_precise();
    let full = crate::cost::unrestricted(&network.groups, most_precise);
    let all = |candidates: &[Candidate]| -> Costs {
        let known = CostMetric::ALL.into_iter().filter(|metric| sized || !metric.needs_sizes());
        known.filter_map(|metric| Some((metric, metric.of(&model, candidates)?))).collect()
    };
    let (used, full) = (all(candidates), all(&full));
    for requested in &config.goal.requested {
        // Latency needs its table, goals of quality are no costs.
        let metric = CostMetric::find(&requested.metric).filter(|&m| used.get(m).is_some());
        let limit = requested.relative.map(Amount::Relative);
        let limit = limit.or(requested.absolute.map(Amount::Absolute));
        let (Some(metric), Some(limit)) = (metric, limit) else { continue };
        let budget = Budget { metric, limit };
        if !budget.is_met(&used, &full) {
            let used = budget.used(&used, &full).map_or(f64::NAN, Amount::value);
            misfits.push(Misfit::Budget { budget, used: used.to_string() });
        }
    }
    Ok(())
}

/// Whether goals of quality are met by what the file says was measured.
fn goals(config: &Config, misfits: &mut Vec<Misfit>) {
    for (wanted, found) in config.goal.requested.iter().zip(&config.goal.achieved) {
        let (Some(limit), Some(used)) = (wanted.absolute, found.absolute) else { continue };
        if CostMetric::find(&wanted.metric).is_some() || wanted.metric != found.metric {
            continue;
        }
        let is_met = if wanted.metric == "sqnr_db" { limit <= used } else { used <= limit };
        if !is_met {
            let metric = wanted.metric.clone();
            misfits.push(Misfit::Goal { metric, used: used.to_string(), limit });
        }
    }
}
