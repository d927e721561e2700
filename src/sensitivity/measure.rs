//! Running the measurements: one float pass a sample, then every choice from there.

use rayon::prelude::*;

use crate::data::{DataError, Feed};
use crate::exec::{Changes, Engine, Keep, RunError, Values};
use crate::graph::ValueId;
use crate::kernels::{sum_squared_difference, sum_squares};
use crate::progress::Progress;
use crate::quant::{Bits, Candidate, Groups, Simulator};
use crate::sensitivity::{Measurement, Powers, Sensitivity};
use crate::tensor::Tensor;

#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    #[error("sample `{sample}`: {source}")]
    Run { sample: String, source: RunError },

    #[error(transparent)]
    Data(DataError),

    #[error(
        "output `{output}` has shape {found:?}, expected {expected} samples along its first axis"
    )]
    Batch { output: usize, found: Vec<usize>, expected: usize },

    #[error(
        "output `{output}` has shape {found:?} when quantized, expected {expected:?}, that in float"
    )]
    Shape { output: usize, found: Vec<usize>, expected: Vec<usize> },
}

/// What measuring needs.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    pub engine: &'a dyn Engine,
    pub simulator: &'a Simulator<'a>,
    pub groups: &'a Groups,
    pub feed: &'a Feed<'a>,
    /// The outputs that are compared; all of them float32.
    pub outputs: &'a [ValueId],
    /// Passes whose activations are held at once.
    pub block: usize,
}

/// One thing to measure: these groups at these candidates, the rest in float.
type Job = Vec<(usize, Candidate)>;

/// Runs measurements block by block.
pub struct Measurer<'a> {
    setup: Setup<'a>,
}

impl<'a> Measurer<'a> {
    pub fn new(setup: Setup<'a>) -> Measurer<'a> {
        Measurer { setup }
    }

    /// Every choice of every group.
    pub fn sensitivity(&self, progress: &dyn Progress) -> Result<Sensitivity, MeasureError> {
        let groups = &self.setup.groups.groups;
        let jobs: Vec<Job> = groups
            .iter()
            .enumerate()
            .flat_map(|(index, group)| group.choices.iter().map(move |&c| vec![(index, c)]))
            .collect();
        let (signal, noises) = self.run(&jobs, "Sensitivity", progress)?;
        let mut noises = noises.into_iter();
        let measured = groups.iter().map(|group| {
            let measurement = |&candidate: &Candidate| Measurement {
                candidate,
                noise: noises.next().expect("a result for each job"),
            };
            group.choices.iter().map(measurement).collect()
        });
        Ok(Sensitivity { groups: measured.collect(), signal })
    }

    /// The noise of whole configurations.
    pub fn configurations(
        &self,
        configurations: &[Vec<Candidate>],
        phase: &str,
        progress: &dyn Progress,
    ) -> Result<(Powers, Vec<Powers>), MeasureError> {
        let job = |c: &Vec<Candidate>| c.iter().copied().enumerate().collect();
        let jobs: Vec<Job> = configurations.iter().map(job).collect();
        self.run(&jobs, phase, progress)
    }

    /// Signal powers, and the noise powers of every job.
    fn run(
        &self,
        jobs: &[Job],
        phase: &str,
        progress: &dyn Progress,
    ) -> Result<(Powers, Vec<Powers>), MeasureError> {
        let Setup { feed, outputs, block, .. } = self.setup;
        let changes: Vec<Option<Changes<'_>>> = jobs.iter().map(|job| self.changes(job)).collect();
        let to_run: Vec<usize> = (0..jobs.len()).filter(|&job| changes[job].is_some()).collect();
        progress.begin(phase, (feed.len() * (to_run.len() + 1)) as u64);
        let mut signal = Powers(vec![Vec::new(); outputs.len()]);
        let zero = Powers(vec![Vec::new(); outputs.len()]);
        let mut noises = vec![zero; jobs.len()];
        let passes: Vec<usize> = (0..feed.len()).collect();
        for block in passes.chunks(block.max(1)) {
            let bases: Vec<Values> = block
                .par_iter()
                .map(|&pass| self.float_pass(pass, progress))
                .collect::<Result<_, _>>()?;
            for (base, &pass) in bases.iter().zip(block) {
                append(&mut signal, self.powers(pass, |output| (base.get(output), None))?);
            }
            let pairs: Vec<(usize, usize)> = (0..block.len())
                .flat_map(|slot| to_run.iter().map(move |&job| (slot, job)))
                .collect();
            let measured: Vec<Powers> = pairs
                .par_iter()
                .map(|&(slot, job)| {
                    let changes = changes[job].as_ref().expect("only such jobs are run");
                    self.noise(block[slot], &bases[slot], changes, progress)
                })
                .collect::<Result<_, _>>()?;
            for ((_, job), powers) in pairs.into_iter().zip(measured) {
                append(&mut noises[job], powers);
            }
        }
        progress.finish();
        let n_samples = signal.0.first().map_or(0, Vec::len);
        for noise in noises.iter_mut().filter(|noise| noise.0.iter().all(Vec::is_empty)) {
            *noise = Powers::zero(outputs.len(), n_samples);
        }
        Ok((signal, noises))
    }

    /// `None` if nothing changes: then there is no noise, and nothing to run.
    fn changes(&self, job: &Job) -> Option<Changes<'a>> {
        let is_float = |candidate: &Candidate| {
            candidate.activation.is_float() && candidate.weight.is_none_or(Bits::is_float)
        };
        let changes = self.setup.simulator.changes(job);
        let is_empty = changes.hooks.is_empty() && changes.constants.is_empty();
        (!is_empty && !job.iter().all(|(_, c)| is_float(c))).then_some(changes)
    }

    fn float_pass(&self, pass: usize, progress: &dyn Progress) -> Result<Values, MeasureError> {
        let Setup { feed, engine, .. } = self.setup;
        let inputs = feed.inputs(pass).map_err(MeasureError::Data)?;
        let values = engine.run(&inputs, &Changes::default(), Keep::All);
        progress.advance(1);
        values.map_err(|source| MeasureError::Run { sample: feed.name(pass), source })
    }

    fn noise(
        &self,
        pass: usize,
        base: &Values,
        changes: &Changes<'_>,
        progress: &dyn Progress,
    ) -> Result<Powers, MeasureError> {
        let Setup { feed, engine, .. } = self.setup;
        let changed = engine
            .rerun(base, changes)
            .map_err(|source| MeasureError::Run { sample: feed.name(pass), source })?;
        let powers = self.powers(pass, |output| (base.get(output), changed.get(output)));
        progress.advance(1);
        powers
    }

    /// Mean squares of an output, or of its difference from another pass, for every sample.
    fn powers<'v>(
        &self,
        pass: usize,
        tensors: impl Fn(ValueId) -> (Option<&'v Tensor>, Option<&'v Tensor>),
    ) -> Result<Powers, MeasureError> {
        let Setup { feed, outputs, .. } = self.setup;
        let mut powers = Vec::new();
        for (index, &output) in outputs.iter().enumerate() {
            let (float, changed) = tensors(output);
            let float = float.expect("a pass gives all outputs");
            if let Some(changed) = changed.filter(|changed| changed.shape() != float.shape()) {
                return Err(MeasureError::Shape {
                    output: index,
                    found: changed.shape().to_vec(),
                    expected: float.shape().to_vec(),
                });
            }
            let batch = feed.batch();
            if 1 < batch && float.shape().first() != Some(&batch) {
                return Err(MeasureError::Batch {
                    output: index,
                    found: float.shape().to_vec(),
                    expected: batch,
                });
            }
            let per_sample = (float.len() / batch).max(1);
            let x = float.slice::<f32>().chunks(per_sample);
            let sums: Vec<f64> = match changed {
                None => x.map(sum_squares).collect(),
                Some(changed) => {
                    let y = changed.slice::<f32>().chunks(per_sample);
                    x.zip(y).map(|(x, y)| sum_squared_difference(x, y)).collect()
                }
            };
            let means = sums.into_iter().map(|sum| sum / per_sample as f64);
            powers.push(means.take(feed.n_samples_in(pass)).collect());
        }
        Ok(Powers(powers))
    }
}

fn append(to: &mut Powers, from: Powers) {
    to.0.iter_mut().zip(from.0).for_each(|(to, from)| to.extend(from));
}
