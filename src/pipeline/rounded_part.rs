//! Rounding on several machines: a folder for each, and what they make together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::artifact::{self, Artifact as _, ROUNDING_PART_FILE, RoundedPart};
use crate::data::NpzError;
use crate::pipeline::gaps::{Gap, Identity, Lines, Member, gaps, shared_identity};
use crate::pipeline::rounded::{RoundedError, Shaped, read_weights, whole_files};
use crate::pipeline::{Head, Network};
use crate::quant::{Effort, Rounded};
use crate::shard::Shard;

#[derive(Debug, thiserror::Error)]
pub enum RoundedMergeError {
    #[error("parts do not make a whole{}", Lines(.0))]
    Gaps(Vec<Gap>),

    #[error("no part has weight `{name}`")]
    Weight { name: String },

    #[error(transparent)]
    Read(RoundedError),

    #[error(transparent)]
    Write(NpzError),
}

/// The files of a shard's folder, by name; `head` is that of the calibration.
pub fn rounded_part_files(
    network: &Network,
    head: Head,
    rounded: &Rounded,
    (effort, shard): (Effort, Shard),
) -> Result<Vec<(String, Vec<u8>)>, NpzError> {
    let shape = |name: &str| network.weight_shape(name);
    let shaped = Shaped { rounded, shape: &shape };
    let has_width = |index: &usize| {
        let groups = network.groups.groups.iter().filter(|group| group.weights.contains(index));
        let mut widths = groups.flat_map(|group| &group.choices).filter_map(|choice| choice.weight);
        widths.any(|bits| !bits.is_float())
    };
    let sites = network.placement.weights.iter().enumerate();
    let all = sites.filter(|(index, _)| has_width(index)).map(|(_, site)| site.value);
    let file = RoundedPart {
        schema: RoundedPart::schema(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        shard,
        model: head.model,
        calibration: head.calibration,
        settings: head.settings,
        iterations: effort.iterations,
        all: all.map(|value| network.graph.value_name(value).to_owned()).collect(),
        weights: shaped.entries(),
    };
    shaped.files(ROUNDING_PART_FILE, file.to_json())
}

fn identity(part: &RoundedPart) -> Identity {
    let mut identity =
        shared_identity(&part.version, &part.model, &part.calibration, &part.settings);
    identity.extend([
        ("number of iterations", part.iterations.to_string()),
        ("number of shards", part.shard.count().to_string()),
        ("list of weights", part.all.join(", ")),
    ]);
    identity
}

/// The files that one machine would have written, from the folders of all shards in any order.
pub fn merge_rounded(dirs: &[PathBuf]) -> Result<Vec<(String, Vec<u8>)>, RoundedMergeError> {
    let mut parts = Vec::new();
    for dir in dirs {
        let part: RoundedPart = artifact::read(&dir.join(ROUNDING_PART_FILE))
            .map_err(|error| RoundedMergeError::Read(RoundedError::Artifact(error)))?;
        parts.push((dir, part));
    }
    let member = |(dir, part): &(&PathBuf, RoundedPart)| Member {
        file: dir.display().to_string(),
        shard: part.shard,
        identity: identity(part),
    };
    let (gaps, taken) = gaps(&parts.iter().map(member).collect::<Vec<_>>());
    if !gaps.is_empty() {
        return Err(RoundedMergeError::Gaps(gaps));
    }
    let taken: Vec<&(&PathBuf, RoundedPart)> = taken.iter().map(|&index| &parts[index]).collect();
    let mut all: Option<Rounded> = None;
    let mut shapes = BTreeMap::new();
    for (dir, part) in &taken {
        let file: &Path = &dir.join(ROUNDING_PART_FILE);
        let read = read_weights(dir, file, &part.settings, &part.weights);
        let (rounded, of_part) = read.map_err(RoundedMergeError::Read)?;
        shapes.extend(of_part);
        match &mut all {
            Some(all) => all.weights.extend(rounded.weights),
            None => all = Some(rounded),
        }
    }
    let (Some(rounded), Some((_, first))) = (all, taken.first()) else {
        return Err(RoundedMergeError::Gaps(Vec::new()));
    };
    let missing = first.all.iter().find(|name| !rounded.weights.contains_key(*name));
    if let Some(name) = missing {
        return Err(RoundedMergeError::Weight { name: name.clone() });
    }
    let head = Head {
        model: first.model.clone(),
        calibration: first.calibration.clone(),
        settings: first.settings.clone(),
    };
    let shape = |name: &str| shapes.get(name).cloned();
    let shaped = Shaped { rounded: &rounded, shape: &shape };
    whole_files(head, &shaped, first.iterations).map_err(RoundedMergeError::Write)
}
