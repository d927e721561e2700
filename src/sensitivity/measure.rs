//! Running the measurements: one float pass a sample, then every choice from there.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::data::{DataError, Feed};
use crate::exec::{Changes, Difference, Engine, Keep, RunError, Values};
use crate::graph::ValueId;
use crate::kernels::sum_squares;
use crate::progress::Progress;
use crate::quant::{Candidate, Groups, Simulator};
use crate::sensitivity::pieces::{Sheet, Todo};
use crate::sensitivity::work::{Job, Work};
use crate::sensitivity::{Floats, Ledger, Pieces, Powers, Sensitivity, Wanted};
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
    /// Multiply-accumulates of the whole network.
    pub float_macs: u64,
    /// What float passes put out, where that is kept from one measurement to the next.
    pub floats: Option<&'a Floats>,
    /// Where units are looked up before they are measured, and kept afterwards.
    pub ledger: Option<&'a dyn Ledger>,
}

/// Passes that an engine is given at once: more of them read constants less often, but leave less
/// of the cache to each.
pub const MOST_TOGETHER: usize = 4;

/// Runs measurements block by block.
pub struct Measurer<'a> {
    pub(super) setup: Setup<'a>,
}

impl<'a> Measurer<'a> {
    pub fn new(setup: Setup<'a>) -> Measurer<'a> {
        Measurer { setup }
    }

    /// Every choice of every group.
    pub fn sensitivity(&self, progress: &dyn Progress) -> Result<Sensitivity, MeasureError> {
        let pieces = self.share_of_sensitivity(&|_, _| true, progress)?;
        let (signal, noises) = pieces.join().expect("all of it is wanted");
        Ok(Sensitivity::new(self.setup.groups, signal, noises))
    }

    /// Some passes of some choices: job by job in the order of the groups and of their choices.
    pub fn share_of_sensitivity(
        &self,
        wanted: Wanted<'_>,
        progress: &dyn Progress,
    ) -> Result<Pieces, MeasureError> {
        let work = Work::new(&self.setup, self.all_choices());
        self.run(&work, wanted, "Sensitivity", progress, Measurer::measure_cones)
    }

    /// One job each, group by group.
    pub(super) fn all_choices(&self) -> Vec<Job> {
        let groups = self.setup.groups.groups.iter().enumerate();
        let jobs =
            groups.flat_map(|(index, group)| group.choices.iter().map(move |&c| vec![(index, c)]));
        jobs.collect()
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
        let work = Work::new(&self.setup, jobs);
        let all: Wanted<'_> = &|_, _| true;
        let pieces = self.run(&work, all, phase, progress, Measurer::measure_passes)?;
        Ok(pieces.join().expect("all of it is wanted"))
    }

    /// What is wanted and not known, block by block, as `measure` does it.
    fn run(
        &self,
        work: &Work<'_>,
        wanted: Wanted<'_>,
        phase: &str,
        progress: &dyn Progress,
        measure: Measure<'a>,
    ) -> Result<Pieces, MeasureError> {
        let Setup { feed, outputs, block, ledger, .. } = &self.setup;
        let sheet = Sheet::new(work, feed, outputs.len(), *ledger);
        let (todos, to_do, known) = sheet.plan(wanted);
        progress.begin(phase, to_do + known);
        progress.skip(known);
        let block = if *block == 0 { rayon::current_num_threads() } else { *block };
        for todos in todos.chunks(block) {
            measure(self, work, todos, &sheet, progress)?;
        }
        progress.finish();
        Ok(sheet.into_pieces())
    }

    /// For jobs that change little: what depends on a change is run from the float pass on.
    fn measure_cones(
        &self,
        work: &Work<'_>,
        todos: &[Todo],
        sheet: &Sheet<'_>,
        progress: &dyn Progress,
    ) -> Result<(), MeasureError> {
        if self.setup.block == 0 {
            return self.measure_passes(work, todos, sheet, progress);
        }
        let base = |todo: &Todo| {
            let base = self.pass(todo.pass, &Changes::default(), Keep::All, progress)?;
            if todo.needs_signal {
                sheet.keep(todo.pass, None, &self.signal(todo.pass, &base)?);
            }
            Ok((todo.pass, base))
        };
        let bases: Vec<(usize, Values)> =
            todos.par_iter().map(base).collect::<Result<_, MeasureError>>()?;
        let mut bases_of: Vec<Vec<&(usize, Values)>> = vec![Vec::new(); work.to_run.len()];
        for (todo, base) in todos.iter().zip(&bases) {
            todo.runs.iter().for_each(|&index| bases_of[index].push(base));
        }
        // The longest ones first, so that no thread waits at the end.
        let mut order: Vec<usize> = (0..work.to_run.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(work.to_run[index].macs));
        let chunks = |index: usize| bases_of[index].chunks(MOST_TOGETHER);
        let tasks = order.iter().flat_map(|&index| chunks(index).map(move |some| (some, index)));
        let tasks: Vec<(&[&(usize, Values)], usize)> = tasks.collect();
        let measure = |&(some, index): &(&[&(usize, Values)], usize)| {
            let Setup { engine, feed, outputs, .. } = self.setup;
            let changes = &work.to_run[index].changes;
            let from: Vec<&Values> = some.iter().map(|(_, base)| base).collect();
            let all = engine.differences(&from, changes, outputs, feed.batch());
            for (&&(pass, ref base), differences) in some.iter().zip(all) {
                let differences = differences.map_err(|source| self.failed(pass, source))?;
                sheet.keep(pass, Some(index), &self.noise(pass, base, differences)?);
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
        })
    }

    /// The same, pass after pass, for jobs that change much: each begins where it differs from the
    /// one before.
    fn measure_passes(
        &self,
        work: &Work<'_>,
        todos: &[Todo],
        sheet: &Sheet<'_>,
        progress: &dyn Progress,
    ) -> Result<(), MeasureError> {
        let one = |todo: &Todo| {
            let Setup { engine, feed, outputs, block, .. } = self.setup;
            let pass = todo.pass;
            let float = self.float(pass, progress)?;
            if todo.needs_signal {
                sheet.keep(pass, None, &self.signal(pass, &float)?);
            }
            let mut before: Option<(Values, &Changes<'_>)> = None;
            for (at, &index) in todo.runs.iter().enumerate() {
                let next = todo.runs.get(at + 1);
                let is_base = block != 0 && next.is_some_and(|&next| work.share(index, next));
                let keep = if is_base { Keep::All } else { Keep::Outputs };
                let changes = &work.to_run[index].changes;
                let changed = match &before {
                    Some((base, earlier)) => {
                        let rerun = engine.rerun(base, earlier, changes, keep);
                        progress.advance(1);
                        rerun.map_err(|source| self.failed(pass, source))?
                    }
                    None => self.pass(pass, changes, keep, progress)?,
                };
                let differences = Difference::all(&float, &changed, outputs, feed.batch());
                sheet.keep(pass, Some(index), &self.noise(pass, &float, differences)?);
                before = is_base.then_some((changed, changes));
            }
            Ok(())
        };
        todos.par_iter().try_for_each(one)
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

type Measure<'a> =
    fn(&Measurer<'a>, &Work<'_>, &[Todo], &Sheet<'_>, &dyn Progress) -> Result<(), MeasureError>;
