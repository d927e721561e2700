//! Which parts of several machines belong together, and what is missing of the whole.

use std::collections::BTreeMap;
use std::fmt;

use crate::artifact::{Calibration, Model, Settings};
use crate::shard::Shard;

/// Why some parts are not the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    Missing { shards: Vec<u64>, count: u64 },
    Doubled { shard: Shard, files: Vec<String> },
    Foreign { file: String, what: String, found: String, expected: String },
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gap::Missing { shards, count } => {
                let plural = if shards.len() == 1 { "" } else { "s" };
                let shards: Vec<String> = shards.iter().map(u64::to_string).collect();
                write!(f, "part{plural} {} of {count} missing", shards.join(", "))
            }
            Gap::Doubled { shard, files } => {
                let files: Vec<String> = files.iter().map(|file| format!("`{file}`")).collect();
                write!(f, "part {shard} is there more than once: {}", files.join(", "))
            }
            Gap::Foreign { file, what, found, expected } => {
                write!(f, "`{file}` is foreign: {what} is `{found}`, expected `{expected}`")
            }
        }
    }
}

pub(super) struct Lines<'a>(pub(super) &'a [Gap]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|gap| write!(f, "\n  {gap}"))
    }
}

/// What all parts of one run agree on, by name.
pub(super) type Identity = Vec<(&'static str, String)>;

/// What parts of any kind agree on: what they were made by, from and with.
pub(super) fn shared_identity(
    version: &str,
    model: &Model,
    calibration: &Calibration,
    settings: &Settings,
) -> Identity {
    vec![
        ("version", version.to_owned()),
        ("SHA-256 of the model", model.sha256.clone()),
        ("model", model.file.clone()),
        ("number of samples", calibration.samples.to_string()),
        ("SHA-256 of the samples", calibration.sha256.clone()),
        ("preprocessing", json(&calibration.preprocessing)),
        ("settings", json(settings)),
    ]
}

/// A part as far as it takes to know whether parts belong together.
pub(super) struct Member {
    pub(super) file: String,
    pub(super) shard: Shard,
    pub(super) identity: Identity,
}

/// Everything that keeps parts from being the whole; those to be taken, a member for each shard.
///
/// What most parts agree on is what is expected; of equal numbers it is what the first has.
pub(super) fn gaps(members: &[Member]) -> (Vec<Gap>, Vec<usize>) {
    let votes = |identity: &Identity| members.iter().filter(|m| m.identity == *identity).count();
    let most = members.iter().map(|member| votes(&member.identity)).max();
    let Some(expected) = members.iter().map(|m| &m.identity).find(|i| Some(votes(i)) == most)
    else {
        return (Vec::new(), Vec::new());
    };
    let mut gaps = Vec::new();
    let mut by_shard: BTreeMap<Shard, Vec<usize>> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        let mut differ = member.identity.iter().zip(expected).filter(|(a, b)| a != b);
        match differ.next() {
            None => by_shard.entry(member.shard).or_default().push(index),
            Some(((what, found), (_, expected))) => gaps.push(Gap::Foreign {
                file: member.file.clone(),
                what: (*what).to_owned(),
                found: found.clone(),
                expected: expected.clone(),
            }),
        }
    }
    for (&shard, indices) in by_shard.iter().filter(|(_, indices)| 1 < indices.len()) {
        let files = indices.iter().map(|&index| members[index].file.clone()).collect();
        gaps.push(Gap::Doubled { shard, files });
    }
    let count = by_shard.keys().next().map_or(0, Shard::count);
    let is_there = |index: u64| Shard::new(index, count).is_some_and(|s| by_shard.contains_key(&s));
    let missing: Vec<u64> = (0..count).filter(|&index| !is_there(index)).collect();
    if !missing.is_empty() {
        gaps.push(Gap::Missing { shards: missing, count });
    }
    (gaps, by_shard.into_values().map(|indices| indices[0]).collect())
}

pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("plain data with text keys")
}
