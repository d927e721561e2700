//! What one machine of several measures of Phase 1: its [`Part`].

use std::ops::Range;

use crate::artifact::{Artifact as _, Part, PartChoice, PartPower};
use crate::cost::CostModel;
use crate::data::Feed;
use crate::pipeline::artifacts::measured_group;
use crate::pipeline::encoded::measured_encodings;
use crate::pipeline::study::costs;
use crate::pipeline::{Head, Measuring, Network, PipelineError};
use crate::quant::{Candidate, Encodings, Group};
use crate::search::{self, Choice, Configuration, Costs, Problem, Quality, SearchError};
use crate::sensitivity::Piece;
use crate::shard::Shard;

impl Network {
    /// The samples that a shard reads: half open range of the calibration samples.
    pub fn samples_of(
        &self,
        measuring: &Measuring<'_>,
        shard: Shard,
    ) -> Result<Range<usize>, PipelineError> {
        let (plan, _) = self.plan(measuring)?;
        Ok(samples(measuring.feed, &plan.passes(shard)))
    }

    /// A shard's share of Phase 1.
    pub fn part(
        &self,
        measuring: &Measuring<'_>,
        encodings: &Encodings,
        head: Head,
        shard: Shard,
    ) -> Result<Part, PipelineError> {
        let (plan, measurer) = self.plan(measuring)?;
        let share = measurer.share(&plan, shard, measuring.progress);
        let share = share.map_err(PipelineError::Measure)?;
        let mut choices = self.part_choices(measuring.feed, share.noises)?.into_iter();
        let group = |group: &Group| {
            let choices = choices.by_ref().take(group.choices.len()).collect();
            measured_group(self, group, choices)
        };
        Ok(Part {
            schema: Part::schema(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            shard,
            model: head.model,
            calibration: head.calibration,
            settings: head.settings,
            candidates: self.settings.candidates.as_slice().to_vec(),
            outputs: self.output_names(),
            signal_power: self.part_power(measuring.feed, share.signal)?,
            groups: self.groups.groups.iter().map(group).collect(),
            encodings: measured_encodings(self, encodings),
        })
    }

    /// Group by group.
    fn part_choices(
        &self,
        feed: &Feed<'_>,
        noises: Vec<Piece>,
    ) -> Result<Vec<PartChoice>, PipelineError> {
        let mut entries = search::list(&Unmeasured::new(self)?).map_err(PipelineError::Search)?;
        entries.sort_by_key(|entry| (entry.group, entry.choice));
        let choice = |(entry, piece): (search::Entry, Piece)| {
            Ok(PartChoice {
                candidate: entry.candidate,
                weight_bits: entry.candidate.weight,
                activation_bits: entry.candidate.activation,
                bops_saved: entry.bops_saved,
                noise_power: self.part_power(feed, piece)?,
            })
        };
        entries.into_iter().zip(noises).map(choice).collect()
    }

    fn part_power(&self, feed: &Feed<'_>, piece: Piece) -> Result<PartPower, PipelineError> {
        let samples = samples(feed, &piece.passes);
        for (output, powers) in self.output_names().into_iter().zip(&piece.powers.0) {
            if let Some(at) = powers.iter().position(|power| !power.is_finite()) {
                let sample = feed.dataset().name(samples.start + at);
                return Err(PipelineError::NotFinite { output, sample });
            }
        }
        Ok(PartPower {
            samples: [samples.start as u64, samples.end as u64],
            power: self.output_names().into_iter().zip(piece.powers.0).collect(),
        })
    }
}

fn samples(feed: &Feed<'_>, passes: &Range<usize>) -> Range<usize> {
    match passes.clone().next_back() {
        Some(last) => feed.samples(passes.start).start..feed.samples(last).end,
        None => 0..0,
    }
}

/// The choices and what they cost, before anything is measured.
struct Unmeasured<'a> {
    network: &'a Network,
    costs: CostModel<'a>,
    choices: Vec<Vec<Choice>>,
}

impl<'a> Unmeasured<'a> {
    fn new(network: &'a Network) -> Result<Unmeasured<'a>, PipelineError> {
        let choice = |&candidate: &Candidate| Choice { candidate, sqnr_db: None, score: None };
        let groups = network.groups.groups.iter();
        let choices = groups.map(|group| group.choices.iter().map(choice).collect()).collect();
        Ok(Unmeasured { network, costs: network.cost_model()?, choices })
    }

    fn candidates(&self, configuration: &Configuration) -> Vec<Candidate> {
        let chosen = self.network.groups.groups.iter().zip(&configuration.0);
        chosen.map(|(group, &choice)| group.choices[choice]).collect()
    }
}

impl Problem for Unmeasured<'_> {
    fn choices(&self) -> &[Vec<Choice>] {
        &self.choices
    }

    fn costs(&self, configuration: &Configuration) -> Costs {
        costs(&self.costs, &self.candidates(configuration))
    }

    fn measure(&mut self, _: &Configuration) -> Result<Quality, SearchError> {
        Err(SearchError::NoMeasuring)
    }
}
