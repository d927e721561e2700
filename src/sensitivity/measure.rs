//! Running the measurements: one float pass a sample, then every choice from there.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::data::{DataError, Feed};
use crate::exec::{Changes, Difference, Engine, Keep, RunError, Values};
use crate::graph::ValueId;
use crate::kernels::sum_squares;
use crate::progress::Progress;
use crate::quant::{Bits, Candidate, Groups, Simulator};
use crate::sensitivity::{Floats, Measurement, Powers, Sensitivity};
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
#[derive(Clone)]
pub struct Setup<'a> {
    pub engine: &'a dyn Engine,
    pub simulator: &'a Simulator<'a>,
    pub groups: &'a Groups,
    pub feed: &'a Feed<'a>,
    /// The outputs that are compared; all of them float32.
    pub outputs: &'a [ValueId],
    /// Passes whose activations are held at once; 0 makes every measurement a whole pass.
    pub block: usize,
    /// For every group the multiply-accumulates of all that depends on it.
    pub cone_macs: Vec<u64>,
    /// What float passes put out, where that is kept from one measurement to the next.
    pub floats: Option<&'a Floats>,
}

/// One thing to measure: these groups at these candidates, the rest in float.
type Job = Vec<(usize, Candidate)>;

/// Passes that an engine is given at once.
const MOST_TOGETHER: usize = 4;

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
        let work = Work::new(self, &jobs);
        let (signal, noises) =
            self.run(&work, "Sensitivity", progress, Measurer::noise_of_cones)?;
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

    /// The noise of whole configurations; those side by side are best alike in their first groups.
    pub fn configurations(
        &self,
        configurations: &[Vec<Candidate>],
        phase: &str,
        progress: &dyn Progress,
    ) -> Result<(Powers, Vec<Powers>), MeasureError> {
        let job = |c: &Vec<Candidate>| c.iter().copied().enumerate().collect();
        let jobs: Vec<Job> = configurations.iter().map(job).collect();
        self.run(&Work::new(self, &jobs), phase, progress, Measurer::noise_of_passes)
    }

    /// Signal powers, and the noise powers of every job, which `measure` gives for some passes.
    fn run(
        &self,
        work: &Work<'_>,
        phase: &str,
        progress: &dyn Progress,
        measure: Measure<'a>,
    ) -> Result<(Powers, Vec<Powers>), MeasureError> {
        let Setup { feed, outputs, block, .. } = &self.setup;
        let n_jobs = work.to_run.len();
        progress.begin(phase, (feed.len() * (n_jobs + 1)) as u64);
        let mut signal = Powers(vec![Vec::new(); outputs.len()]);
        let mut noises = vec![signal.clone(); n_jobs];
        let passes: Vec<usize> = (0..feed.len()).collect();
        let block = if *block == 0 { rayon::current_num_threads() } else { *block };
        for block in passes.chunks(block) {
            let measured = measure(self, work, block, progress)?;
            for (float, changed) in measured {
                append(&mut signal, float);
                noises.iter_mut().zip(changed).for_each(|(noise, powers)| append(noise, powers));
            }
        }
        progress.finish();
        let n_samples = signal.0.first().map_or(0, Vec::len);
        let noise = |&index: &Option<usize>| match index {
            Some(index) => noises[index].clone(),
            None => Powers::zero(outputs.len(), n_samples),
        };
        let noises = work.result_of.iter().map(noise).collect();
        Ok((signal, noises))
    }

    /// For each pass the signal's powers and every job's, of jobs that change little.
    fn noise_of_cones(
        &self,
        work: &Work<'_>,
        passes: &[usize],
        progress: &dyn Progress,
    ) -> Result<Vec<Measured>, MeasureError> {
        if self.setup.block == 0 {
            return self.noise_of_passes(work, passes, progress);
        }
        let float = Changes::default();
        let base = |&pass: &usize| self.pass(pass, &float, Keep::All, progress);
        let bases: Vec<Values> = passes.par_iter().map(base).collect::<Result<_, _>>()?;
        // The longest ones first, so that no thread waits at the end.
        let mut order: Vec<usize> = (0..work.to_run.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(work.macs[index]));
        let slots: Vec<usize> = (0..passes.len()).collect();
        let chunks = || slots.chunks(MOST_TOGETHER);
        let tasks = order.iter().flat_map(|&index| chunks().map(move |slots| (slots, index)));
        let tasks: Vec<(&[usize], usize)> = tasks.collect();
        let results: Vec<Vec<OnceLock<Powers>>> =
            bases.iter().map(|_| order.iter().map(|_| OnceLock::new()).collect()).collect();
        let measure = |&(slots, index): &(&[usize], usize)| {
            let Setup { engine, feed, outputs, .. } = self.setup;
            let (changes, from) = (&work.to_run[index], slots.iter().map(|&slot| &bases[slot]));
            let from: Vec<&Values> = from.collect();
            let all = engine.differences(&from, changes, outputs, feed.batch());
            for ((&slot, base), differences) in slots.iter().zip(from).zip(all) {
                let pass = passes[slot];
                let differences = differences.map_err(|source| self.failed(pass, source))?;
                let noise = self.noise(pass, base, differences)?;
                results[slot][index].set(noise).expect("every task is done once");
                progress.advance(1);
            }
            Ok(())
        };
        let next = AtomicUsize::new(0);
        let threads = 0..rayon::current_num_threads();
        threads.into_par_iter().try_for_each(|_| {
            while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                measure(task)?;
            }
            Ok(())
        })?;
        let done = |result: OnceLock<Powers>| result.into_inner().expect("every task is done");
        let by_pass = results.into_iter().map(|results| results.into_iter().map(done).collect());
        let signal = |(base, &pass): (&Values, &usize)| self.signal(pass, base);
        let signals = bases.iter().zip(passes).map(signal);
        signals.zip(by_pass).map(|(signal, noises)| Ok((signal?, noises))).collect()
    }

    /// The same, pass after pass, for jobs that change much: each begins where it differs from the
    /// one before.
    fn noise_of_passes(
        &self,
        work: &Work<'_>,
        passes: &[usize],
        progress: &dyn Progress,
    ) -> Result<Vec<Measured>, MeasureError> {
        let one = |&pass: &usize| {
            let float = self.float(pass, progress)?;
            let mut noises = Vec::with_capacity(work.to_run.len());
            let mut before: Option<Values> = None;
            for (index, changes) in work.to_run.iter().enumerate() {
                let is_base = self.setup.block != 0 && work.shares_with_next(index);
                let keep = if is_base { Keep::All } else { Keep::Outputs };
                let changed = match &before {
                    Some(base) => {
                        let engine = self.setup.engine;
                        let rerun = engine.rerun(base, &work.to_run[index - 1], changes, keep);
                        progress.advance(1);
                        rerun.map_err(|source| self.failed(pass, source))?
                    }
                    None => self.pass(pass, changes, keep, progress)?,
                };
                let Setup { feed, outputs, .. } = self.setup;
                let differences = Difference::all(&float, &changed, outputs, feed.batch());
                noises.push(self.noise(pass, &float, differences)?);
                before = is_base.then_some(changed);
            }
            Ok((self.signal(pass, &float)?, noises))
        };
        passes.par_iter().map(one).collect()
    }

    /// What the float network puts out.
    fn float(&self, pass: usize, progress: &dyn Progress) -> Result<Cow<'_, Values>, MeasureError> {
        let Setup { floats, outputs, .. } = self.setup;
        if let Some(kept) = floats.and_then(|floats| floats.kept(pass)) {
            progress.advance(1);
            return Ok(Cow::Borrowed(kept));
        }
        let values = self.pass(pass, &Changes::default(), Keep::Outputs, progress)?;
        Ok(match floats {
            Some(floats) => floats.keep(pass, values, outputs),
            None => Cow::Owned(values),
        })
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

    fn pass(
        &self,
        pass: usize,
        changes: &Changes<'_>,
        keep: Keep,
        progress: &dyn Progress,
    ) -> Result<Values, MeasureError> {
        let inputs = self.setup.feed.inputs(pass).map_err(MeasureError::Data)?;
        let values = self.setup.engine.run(&inputs, changes, keep);
        progress.advance(1);
        values.map_err(|source| self.failed(pass, source))
    }

    fn failed(&self, pass: usize, source: RunError) -> MeasureError {
        MeasureError::Run { sample: self.setup.feed.name(pass), source }
    }

    /// Mean squares of the outputs of a float pass, for every sample.
    fn signal(&self, pass: usize, float: &Values) -> Result<Powers, MeasureError> {
        let power = |(index, &output): (usize, &ValueId)| {
            let tensor = float.get(output).expect("a pass gives all outputs");
            let per_sample = self.per_sample(index, tensor)?;
            let sums = tensor.slice::<f32>().chunks(per_sample).map(sum_squares);
            Ok(self.means(pass, sums, per_sample))
        };
        self.setup.outputs.iter().enumerate().map(power).collect::<Result<_, _>>().map(Powers)
    }

    /// Mean squares of what the outputs of a pass differ by from the float pass, for every sample.
    fn noise(
        &self,
        pass: usize,
        float: &Values,
        differences: Vec<Difference>,
    ) -> Result<Powers, MeasureError> {
        let power = |(index, (&output, difference)): (usize, (&ValueId, Difference))| {
            let tensor = float.get(output).expect("a pass gives all outputs");
            if difference.shape != tensor.shape() {
                return Err(MeasureError::Shape {
                    output: index,
                    found: difference.shape,
                    expected: tensor.shape().to_vec(),
                });
            }
            let per_sample = self.per_sample(index, tensor)?;
            Ok(self.means(pass, difference.sums.into_iter(), per_sample))
        };
        let outputs = self.setup.outputs.iter().zip(differences).enumerate();
        outputs.map(power).collect::<Result<_, _>>().map(Powers)
    }

    /// Elements of a sample in an output.
    fn per_sample(&self, index: usize, output: &Tensor) -> Result<usize, MeasureError> {
        let batch = self.setup.feed.batch();
        if 1 < batch && output.shape().first() != Some(&batch) {
            return Err(MeasureError::Batch {
                output: index,
                found: output.shape().to_vec(),
                expected: batch,
            });
        }
        Ok((output.len() / batch).max(1))
    }

    fn means(&self, pass: usize, sums: impl Iterator<Item = f64>, per_sample: usize) -> Vec<f64> {
        let means = sums.map(|sum| sum / per_sample as f64);
        means.take(self.setup.feed.n_samples_in(pass)).collect()
    }
}

/// Signal powers of the samples of a pass, and the noise powers of every job.
type Measured = (Powers, Vec<Powers>);

type Measure<'a> =
    fn(&Measurer<'a>, &Work<'_>, &[usize], &dyn Progress) -> Result<Vec<Measured>, MeasureError>;

/// Jobs as changes of the float network; equal ones are run once.
struct Work<'a> {
    to_run: Vec<Changes<'a>>,
    /// Multiply-accumulates of what depends on a change.
    macs: Vec<u64>,
    /// Those of what differs between a job and the next, and of the whole network.
    macs_to_next: Vec<u64>,
    all_macs: u64,
    /// For every job its place in `to_run`; `None` without any change.
    result_of: Vec<Option<usize>>,
}

impl<'a> Work<'a> {
    fn new(measurer: &Measurer<'a>, jobs: &[Job]) -> Work<'a> {
        let cone = |group: usize| measurer.setup.cone_macs[group];
        // The cone of what comes first has nearly all of the others'.
        let largest = |groups: &mut dyn Iterator<Item = usize>| groups.map(cone).max().unwrap_or(0);
        let mut work = Work {
            to_run: Vec::new(),
            macs: Vec::new(),
            macs_to_next: Vec::new(),
            all_macs: measurer.setup.cone_macs.iter().copied().max().unwrap_or(0),
            result_of: Vec::new(),
        };
        let mut last: Option<&Job> = None;
        for job in jobs {
            let Some(changes) = measurer.changes(job) else {
                work.result_of.push(None);
                continue;
            };
            let known = work.to_run.iter().position(|known| known.are_same(&changes));
            work.result_of.push(Some(known.unwrap_or(work.to_run.len())));
            if known.is_some() {
                continue;
            }
            if let Some(last) = last {
                let differs = |&(a, b): &(&(usize, Candidate), &(usize, Candidate))| a != b;
                let different = last.iter().zip(job).filter(differs);
                let to_next = largest(&mut different.flat_map(|(a, b)| [a.0, b.0]));
                work.macs_to_next.push(to_next);
            }
            last = Some(job);
            work.macs.push(largest(&mut job.iter().map(|(group, _)| *group)));
            work.to_run.push(changes);
        }
        work
    }

    /// Whether the next job has enough in common with a job that keeping its values pays.
    fn shares_with_next(&self, index: usize) -> bool {
        self.macs_to_next.get(index).is_some_and(|&macs| macs < self.all_macs / 5 * 4)
    }
}

fn append(to: &mut Powers, from: Powers) {
    to.0.iter_mut().zip(from.0).for_each(|(to, from)| to.extend(from));
}
