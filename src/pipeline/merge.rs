//! Puts the parts of several machines together to the `sensitivity` file that one would have written.

use std::collections::BTreeMap;

use crate::artifact::{
    Artifact as _, ListEntry, MeasuredChoice, MeasuredEncodings, Ordered, Part, PartChoice,
    PartGroup, PartPower, Partial, Sensitivity,
};
use crate::metric::sqnr::{self, Aggregation, SqnrError};
use crate::pipeline::gaps::{Gap, Identity, Lines, Member, gaps, json, shared_identity};
use crate::search::{self, Entry};

#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error("parts do not make a whole{}", Lines(.0))]
    Gaps(Vec<Gap>),

    #[error("no sample is measured as a whole by the parts that are there")]
    Nothing,

    #[error("`{file}` has powers of samples {found:?}, which other parts have or none")]
    Samples { file: String, found: [u64; 2] },

    #[error(transparent)]
    Sqnr(SqnrError),
}

fn identity(part: &Part, encodings: &str) -> Identity {
    let unmeasured = |group: &PartGroup| {
        let choices = group.choices.iter().map(PartChoice::unmeasured).collect();
        group.clone().with_choices::<PartChoice>(choices)
    };
    let groups: Vec<PartGroup> = part.groups.iter().map(unmeasured).collect();
    let mut identity =
        shared_identity(&part.version, &part.model, &part.calibration, &part.settings);
    identity.extend([
        ("candidates", json(&part.candidates)),
        ("number of shards", part.shard.count().to_string()),
        ("digest of the groups", digest(&(&part.outputs, &groups))),
        ("digest of the encodings", encodings.to_owned()),
    ]);
    identity
}

fn digest(value: &impl serde::Serialize) -> String {
    crate::cache::Digest::of("part", &[json(value).as_bytes()]).to_string()
}

/// Parts that are put together, in any order.
#[derive(Default)]
pub struct Merge {
    members: Vec<Member>,
    /// Without their encodings, which are large and the same in all that belong together.
    parts: Vec<Part>,
    encodings: BTreeMap<String, MeasuredEncodings>,
}

impl Merge {
    /// `file` is the name of the part in messages.
    pub fn add(&mut self, file: String, mut part: Part) {
        let encodings = std::mem::take(&mut part.encodings);
        let digest = digest(&encodings);
        self.members.push(Member { file, shard: part.shard, identity: identity(&part, &digest) });
        self.encodings.entry(digest).or_insert(encodings);
        self.parts.push(part);
    }

    /// The file that one machine would have written.
    ///
    /// With `is_partial` missing parts are none: the file has the samples that all of Phase 1 was measured
    /// on, and says so.
    pub fn finish(mut self, is_partial: bool) -> Result<Sensitivity, MergeError> {
        let (mut gaps, taken) = gaps(&self.members);
        let mut missing = Vec::new();
        if is_partial {
            gaps.retain(|gap| match gap {
                Gap::Missing { shards, .. } => {
                    missing.clone_from(shards);
                    false
                }
                _ => true,
            });
        }
        if !gaps.is_empty() {
            return Err(MergeError::Gaps(gaps));
        }
        let parts: Vec<(&str, &Part)> = taken
            .iter()
            .map(|&index| (self.members[index].file.as_str(), &self.parts[index]))
            .collect();
        let Some(&(_, first)) = parts.first() else { return Err(MergeError::Nothing) };
        let merged = Merged::new(first, &parts)?;
        let n_samples = merged.samples.len() as u64;
        let partial = Partial { shards: first.shard.count(), missing, samples: n_samples };
        let is_whole = partial.missing.is_empty() && n_samples == first.calibration.samples;
        if !is_whole && !is_partial {
            let (shards, count) = (partial.missing, partial.shards);
            return Err(MergeError::Gaps(vec![Gap::Missing { shards, count }]));
        }
        // All that are left have the same.
        let (_, encodings) = self.encodings.pop_first().ok_or(MergeError::Nothing)?;
        merged.file(first, encodings, (!is_whole).then_some(partial))
    }
}

/// Powers of the samples that everything was measured on.
struct Merged {
    samples: Vec<usize>,
    signal: Ordered<Vec<f64>>,
    /// By group and choice.
    noises: Vec<Vec<Ordered<Vec<f64>>>>,
}

/// By output and sample.
type Cells = Vec<Vec<Option<f64>>>;

impl Merged {
    fn new(first: &Part, parts: &[(&str, &Part)]) -> Result<Merged, MergeError> {
        let n_samples = first.calibration.samples as usize;
        let outputs = &first.outputs;
        let fill = |of: &dyn Fn(&Part) -> &PartPower| -> Result<Cells, MergeError> {
            let mut cells = vec![vec![None; n_samples]; outputs.len()];
            for (file, part) in parts {
                let powers = of(part);
                let file = (*file).to_owned();
                let wrong = || MergeError::Samples { file, found: powers.samples };
                enter(powers, outputs, &mut cells).ok_or_else(wrong)?;
            }
            Ok(cells)
        };
        let signal = fill(&|part| &part.signal_power)?;
        let mut noises: Vec<Vec<Cells>> = Vec::new();
        for (g, group) in first.groups.iter().enumerate() {
            let of_choice = |c: usize| fill(&|part| &part.groups[g].choices[c].noise_power);
            noises.push((0..group.choices.len()).map(of_choice).collect::<Result<_, _>>()?);
        }
        let all = || noises.iter().flatten().chain([&signal]).flatten();
        let samples: Vec<usize> =
            (0..n_samples).filter(|&sample| all().all(|cells| cells[sample].is_some())).collect();
        if samples.is_empty() {
            return Err(MergeError::Nothing);
        }
        let of_samples = |cells: &Vec<Option<f64>>| {
            samples.iter().filter_map(|&sample| cells[sample]).collect::<Vec<f64>>()
        };
        let powers = |cells: &Cells| {
            outputs.iter().cloned().zip(cells.iter().map(of_samples)).collect::<Ordered<_>>()
        };
        let noises = noises.iter().map(|choices| choices.iter().map(powers).collect()).collect();
        Ok(Merged { signal: powers(&signal), noises, samples })
    }

    fn file(
        self,
        first: &Part,
        encodings: MeasuredEncodings,
        partial: Option<Partial>,
    ) -> Result<Sensitivity, MergeError> {
        let aggregation: Aggregation = first.settings.sqnr.parse().map_err(MergeError::Sqnr)?;
        let mut entries = Vec::new();
        let mut groups = Vec::new();
        for (g, (group, noises)) in first.groups.iter().zip(self.noises).enumerate() {
            let mut choices = Vec::new();
            for (c, (choice, noise)) in group.choices.iter().zip(noises).enumerate() {
                let outputs = self.signal.iter().zip(noise.iter());
                let outputs: Vec<sqnr::Powers<'_>> = outputs
                    .map(|((_, signal), (_, noise))| sqnr::Powers { signal, noise })
                    .collect();
                let sqnr_db = sqnr::sqnr_db(aggregation, &outputs).map_err(MergeError::Sqnr)?;
                entries.push(Entry {
                    group: g,
                    choice: c,
                    candidate: choice.candidate,
                    sqnr_db,
                    score: None,
                    bops_saved: choice.bops_saved,
                });
                choices.push(MeasuredChoice {
                    candidate: choice.candidate,
                    weight_bits: choice.weight_bits,
                    activation_bits: choice.activation_bits,
                    sqnr_db,
                    score: None,
                    noise_power: noise,
                });
            }
            groups.push(group.clone().with_choices(choices));
        }
        search::sort(&mut entries);
        let entry = |entry: &Entry| ListEntry {
            group: first.groups[entry.group].id.clone(),
            candidate: entry.candidate,
        };
        Ok(Sensitivity {
            schema: Sensitivity::schema(),
            version: first.version.clone(),
            model: first.model.clone(),
            calibration: first.calibration.clone(),
            settings: first.settings.clone(),
            candidates: first.candidates.clone(),
            outputs: first.outputs.clone(),
            signal_power: self.signal,
            groups,
            list: entries.iter().map(entry).collect(),
            encodings,
            partial,
        })
    }
}

/// Writes the powers of a part into their cells; `None` where they do not fit, or others are there.
fn enter(powers: &PartPower, outputs: &[String], cells: &mut Cells) -> Option<()> {
    let [first, end] = powers.samples.map(|sample| sample as usize);
    for (output, cells) in outputs.iter().zip(cells) {
        let powers = powers.power.get(output)?;
        let cells = cells.get_mut(first..end).filter(|cells| cells.len() == powers.len())?;
        for (cell, &power) in cells.iter_mut().zip(powers) {
            if cell.replace(power).is_some() {
                return None;
            }
        }
    }
    Some(())
}
