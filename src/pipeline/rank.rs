//! Phase 1 by a metric: what is left of it with every choice of every group, one at a time.

use crate::artifact::{self, RANK_BY_SQNR};
use crate::pipeline::{Network, PipelineError, Scorer, encoded};
use crate::quant::{Bits, Candidate, Encodings, Group, Rounded};

impl Network {
    /// By group and choice, what the first metric of `scorer` has with everything else in float; NaN
    /// where it has no value. Weights are rounded to nearest where `rounded` has none.
    pub fn scores(
        &self,
        encodings: &Encodings,
        rounded: Option<&Rounded>,
        scorer: &Scorer<'_>,
    ) -> Result<Vec<Vec<f64>>, PipelineError> {
        let groups = &self.groups.groups;
        let float = groups.iter().map(|group| Candidate {
            weight: group.has_weights().then_some(Bits::FLOAT),
            activation: Bits::FLOAT,
        });
        let float: Vec<Candidate> = float.collect();
        let alone = |group: usize, candidate: Candidate| {
            let mut candidates = float.clone();
            candidates[group] = candidate;
            encoded::chosen_encodings(self, encodings, &candidates)
        };
        let choices = groups.iter().enumerate();
        let choices =
            choices.flat_map(|(index, group)| group.choices.iter().map(move |&c| (index, c)));
        let all: Vec<artifact::Encodings> = choices.map(|(group, c)| alone(group, c)).collect();
        let scored = scorer.score_all(&all, rounded)?;
        let mut scores = scored.iter().map(|scored| scored.first().map_or(f64::NAN, |(_, x)| *x));
        let of_group = |group: &Group| scores.by_ref().take(group.choices.len()).collect();
        Ok(groups.iter().map(of_group).collect())
    }
}

/// The scores of a file whose list is ranked by a metric.
pub fn read_scores(network: &Network, file: &artifact::Sensitivity) -> Option<Vec<Vec<f64>>> {
    let is_ranked = file.settings.rank_by != RANK_BY_SQNR;
    let of_group = |(group, measured): (&Group, &artifact::MeasuredGroup)| {
        let score = |candidate: &Candidate| {
            let choice = measured.choices.iter().find(|choice| choice.candidate == *candidate);
            choice.and_then(|choice| choice.score).unwrap_or(f64::NAN)
        };
        group.choices.iter().map(score).collect()
    };
    let groups = network.groups.groups.iter().zip(&file.groups);
    is_ranked.then(|| groups.map(of_group).collect())
}
