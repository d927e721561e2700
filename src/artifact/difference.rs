//! What differs between two files of a kind: configurations by what they say, sensitivity lists by
//! their order.

use serde::Serialize;
use serde_json::Value;

use crate::artifact::{Artifact, Config, Model, RANK_BY_SQNR, Sensitivity};
use crate::metric::kendall::tau_b;

/// What `mpq compare` tells of two configurations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConfigDifference {
    pub schema: &'static str,
    pub is_equal: bool,
    pub changes: Vec<Change>,
}

/// A value that is not the same in both files; null where there is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Where it stands, such as `settings.sqnr`; a group's candidate has the group's id.
    pub key: String,
    pub a: Value,
    pub b: Value,
}

/// What `mpq compare` tells of two sensitivity lists.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListDifference {
    pub schema: &'static str,
    /// Kendall's tau-b of what the lists are in the order of, for the entries that both have; null if all are equal in one.
    pub tau: Option<f64>,
    /// How many entries both have.
    pub entries: u64,
    pub only_in_a: u64,
    pub only_in_b: u64,
    /// Entries that have another place among those that both have, the farthest first.
    pub moved: Vec<Moved>,
}

/// Places count from 0, the least sensitive.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moved {
    pub group: String,
    pub candidate: String,
    pub place_in_a: u64,
    pub place_in_b: u64,
    pub sqnr_db_in_a: Option<f64>,
    pub sqnr_db_in_b: Option<f64>,
}

#[derive(Debug, thiserror::Error)]
pub enum DifferenceError {
    #[error("made for models with SHA-256 `{a}` and `{b}`, expected one model")]
    Models { a: String, b: String },

    #[error("have different groups: {only_a} only in the first, {only_b} only in the second")]
    Groups { only_a: String, only_b: String },

    #[error("have no entry of their lists in common")]
    Entries,
}

/// The schema of what `mpq compare --json` prints.
const SCHEMA: &str = "mpq/compare/1";

impl ConfigDifference {
    /// What another version of mpq, the name of the model's file, the curve and the baselines say is
    /// not compared.
    pub fn new(a: &Config, b: &Config) -> Result<ConfigDifference, DifferenceError> {
        expect_one_model(a.model(), b.model())?;
        let [in_a, in_b] = [a, b].map(|file| ids(file.groups.iter().map(|group| &group.id)));
        expect_same_groups(&in_a, &in_b)?;
        let mut changes = candidate_changes(a, b);
        let [a, b] = [a, b].map(|file| serde_json::to_value(file).expect("text keys"));
        for key in ["settings", "calibration", "candidates", "goal", "cost", "quality"] {
            compare(key.to_owned(), &a[key], &b[key], &mut changes);
        }
        for role in ["activations", "weights"] {
            let (a, b) = (&a["encodings"][role], &b["encodings"][role]);
            changes.extend(encoding_changes(&format!("encodings.{role}"), a, b));
        }
        let [in_a, in_b] = [&a, &b].map(|file| &file["encodings"]["biases"]);
        for (name, bias) in in_a.as_object().into_iter().flatten() {
            let mut found = Vec::new();
            compare(format!("encodings.biases.{name}"), bias, &in_b[name], &mut found);
            changes.extend(found.into_iter().next());
        }
        Ok(ConfigDifference { schema: SCHEMA, is_equal: changes.is_empty(), changes })
    }
}

/// The groups that have another candidate, or stand in one file alone, in the order of the files.
pub fn candidate_changes(a: &Config, b: &Config) -> Vec<Change> {
    let find = |config: &Config, id: &str| {
        let group = config.groups.iter().find(|group| group.id == id);
        group.map_or(Value::Null, |group| Value::String(group.candidate.to_string()))
    };
    let in_b = b.groups.iter().filter(|group| find(a, &group.id).is_null());
    let groups = a.groups.iter().chain(in_b);
    let change = |id: &str| Change { key: id.to_owned(), a: find(a, id), b: find(b, id) };
    groups.map(|group| change(&group.id)).filter(|change| change.a != change.b).collect()
}

/// The tensors of equal bits with other encodings: the first value of each that differs.
fn encoding_changes(key: &str, a: &Value, b: &Value) -> Vec<Change> {
    let tensors = a.as_object().into_iter().flatten();
    let first = |(name, a): (&String, &Value)| {
        let b = b.get(name).filter(|b| b["bits"] == a["bits"])?;
        let mut changes = Vec::new();
        compare(format!("{key}.{name}"), a, b, &mut changes);
        changes.into_iter().next()
    };
    tensors.filter_map(first).collect()
}

/// Every value below `key` that differs.
fn compare(key: String, a: &Value, b: &Value, changes: &mut Vec<Change>) {
    match (a, b) {
        (Value::Object(in_a), Value::Object(in_b)) => {
            let new = in_b.keys().filter(|name| !in_a.contains_key(*name));
            for name in in_a.keys().chain(new) {
                compare(format!("{key}.{name}"), &a[name], &b[name], changes);
            }
        }
        (Value::Array(in_a), Value::Array(in_b)) if in_a.len() == in_b.len() => {
            for (index, (a, b)) in in_a.iter().zip(in_b).enumerate() {
                compare(format!("{key}[{index}]"), a, b, changes);
            }
        }
        _ if a == b => {}
        _ => changes.push(Change { key, a: a.clone(), b: b.clone() }),
    }
}

impl ListDifference {
    pub fn new(a: &Sensitivity, b: &Sensitivity) -> Result<ListDifference, DifferenceError> {
        expect_one_model(a.model(), b.model())?;
        let [in_a, in_b] = [a, b].map(|file| ids(file.groups.iter().map(|group| &group.id)));
        expect_same_groups(&in_a, &in_b)?;
        let [in_a, in_b] = [a, b].map(entries);
        let common = in_a.iter().filter_map(|entry| Some((entry, entry.find(&in_b)?)));
        let mut common: Vec<(&Entry, &Entry)> = common.collect();
        if common.is_empty() {
            return Err(DifferenceError::Entries);
        }
        let n = common.len() as u64;
        let (first, second): (Vec<f64>, Vec<f64>) =
            common.iter().map(|(a, b)| (a.rank, b.rank)).unzip();
        let tau = tau_b(&first, &second);
        // Places among the common ones: `common` is in the order of `a`.
        let mut by_b: Vec<usize> = (0..common.len()).collect();
        by_b.sort_by_key(|&index| common[index].1.place);
        let mut places = vec![0; common.len()];
        by_b.iter().enumerate().for_each(|(place, &index)| places[index] = place);
        let moved = common.drain(..).zip(places).enumerate();
        let moved = moved.filter(|(at, (_, place))| at != place);
        let mut moved: Vec<Moved> = moved
            .map(|(at, ((a, b), place))| Moved {
                group: a.group.clone(),
                candidate: a.candidate.clone(),
                place_in_a: at as u64,
                place_in_b: place as u64,
                sqnr_db_in_a: a.sqnr_db,
                sqnr_db_in_b: b.sqnr_db,
            })
            .collect();
        moved.sort_by_key(|moved| std::cmp::Reverse(moved.place_in_a.abs_diff(moved.place_in_b)));
        Ok(ListDifference {
            schema: SCHEMA,
            tau,
            entries: n,
            only_in_a: in_a.len() as u64 - n,
            only_in_b: in_b.len() as u64 - n,
            moved,
        })
    }
}

/// An entry of a list.
struct Entry {
    place: usize,
    group: String,
    candidate: String,
    sqnr_db: Option<f64>,
    /// What the list is in the order of.
    rank: f64,
}

impl Entry {
    fn find<'e>(&self, others: &'e [Entry]) -> Option<&'e Entry> {
        let is_same = |o: &&Entry| o.group == self.group && o.candidate == self.candidate;
        others.iter().find(is_same)
    }
}

fn entries(file: &Sensitivity) -> Vec<Entry> {
    let is_ranked = file.settings.rank_by != RANK_BY_SQNR;
    let entry = |(place, entry): (usize, &crate::artifact::ListEntry)| {
        let group = file.groups.iter().find(|group| group.id == entry.group)?;
        let choice = group.choices.iter().find(|choice| choice.candidate == entry.candidate)?;
        let (group, candidate) = (entry.group.clone(), entry.candidate.to_string());
        let sqnr_db = choice.sqnr_db;
        let rank = match is_ranked {
            true => choice.score.unwrap_or(f64::NEG_INFINITY),
            false => sqnr_db.unwrap_or(f64::INFINITY),
        };
        Some(Entry { place, group, candidate, sqnr_db, rank })
    };
    file.list.iter().enumerate().filter_map(entry).collect()
}

fn ids<'a>(ids: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    ids.map(String::as_str).collect()
}

fn expect_one_model(a: &Model, b: &Model) -> Result<(), DifferenceError> {
    let [a, b] = [a, b].map(|model| model.sha256.clone());
    if a == b { Ok(()) } else { Err(DifferenceError::Models { a, b }) }
}

fn expect_same_groups(a: &[&str], b: &[&str]) -> Result<(), DifferenceError> {
    let only = |these: &[&str], others: &[&str]| {
        let only: Vec<String> =
            these.iter().filter(|id| !others.contains(id)).map(|id| format!("`{id}`")).collect();
        if only.is_empty() { "none".to_owned() } else { only.join(", ") }
    };
    let (only_a, only_b) = (only(a, b), only(b, a));
    match (only_a.as_str(), only_b.as_str()) {
        ("none", "none") => Ok(()),
        _ => Err(DifferenceError::Groups { only_a, only_b }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::example;

    fn changes(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut other = example::config();
        change(&mut other);
        let difference = ConfigDifference::new(&example::config(), &other).unwrap();
        assert_eq!(difference.is_equal, difference.changes.is_empty());
        let text = |change: &Change| format!("{} {} {}", change.key, change.a, change.b);
        difference.changes.iter().map(text).collect()
    }

    #[test]
    fn what_changed_in_a_configuration() {
        assert!(changes(|_| {}).is_empty());
        assert!(changes(|config| config.version = "9".to_owned()).is_empty());
        assert_eq!(
            changes(|config| config.groups[0].candidate = "W4A8".parse().unwrap()),
            [r#"x "W8A8" "W4A8""#]
        );
        assert_eq!(
            changes(|config| config.settings.sqnr = "db".to_owned()),
            [r#"settings.sqnr "pooled" "db""#]
        );
        assert_eq!(changes(|config| config.quality.sqnr_db = None), ["quality.sqnr_db 31.2 null"]);
        assert_eq!(changes(|config| config.goal.evaluations = 3), ["goal.evaluations 0 3"]);
    }

    #[test]
    fn groups_of_one_file_alone_count_as_changes_of_candidates() {
        let mut other = example::config();
        other.groups.remove(0);
        let found = candidate_changes(&example::config(), &other);
        let expected =
            Change { key: "x".to_owned(), a: Value::String("W8A8".to_owned()), b: Value::Null };
        assert_eq!(found, [expected]);
        let error = ConfigDifference::new(&example::config(), &other).unwrap_err().to_string();
        let message = "have different groups: `x` only in the first, none only in the second";
        assert_eq!(error, message);
    }

    #[test]
    fn lists_by_their_order() {
        let a = example::sensitivity();
        let same = ListDifference::new(&a, &a).unwrap();
        assert_eq!((same.tau, same.entries, same.moved.len()), (Some(1.), 3, 0));
        let mut b = a.clone();
        b.list.swap(0, 2);
        let sqnr_db = |file: &mut Sensitivity, choice: usize| {
            file.groups[0].choices[choice].sqnr_db.replace(50. + choice as f64)
        };
        sqnr_db(&mut b, 0);
        sqnr_db(&mut b, 1);
        let turned = ListDifference::new(&a, &b).unwrap();
        assert!(turned.tau.unwrap() < 1.);
        let moved: Vec<_> =
            turned.moved.iter().map(|moved| (moved.place_in_a, moved.place_in_b)).collect();
        assert_eq!(moved, [(0, 2), (2, 0)]);
        b.groups[0].choices.pop();
        let fewer = ListDifference::new(&a, &b).unwrap();
        assert_eq!((fewer.entries, fewer.only_in_a, fewer.only_in_b), (2, 1, 0));
        b.model.sha256 = "ef".to_owned();
        assert!(matches!(ListDifference::new(&a, &b), Err(DifferenceError::Models { .. })));
    }
}
