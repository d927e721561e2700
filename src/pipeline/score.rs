//! [`Scorer`]: the metrics of many configurations on one data set, as `mpq eval` tells them.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::artifact::{Encodings, Ordered};
use crate::cache::{Digest, Drawer};
use crate::data::{Feed, Labels};
use crate::exec::{Changes, Engine, Keep, Values};
use crate::graph::Graph;
use crate::metric::{self, Reference};
use crate::pipeline::exam::Exam;
use crate::pipeline::judge::Judge;
use crate::pipeline::kept::{pack_values, unpack_values};
use crate::pipeline::{Applied, PipelineError};
use crate::progress::{Progress, Silent};
use crate::quant::Rounded;
use crate::sensitivity::MeasureError;

/// What configurations are scored on.
#[derive(Clone, Copy)]
pub struct Validation<'a> {
    /// As [`evaluable`](crate::pipeline::evaluable) makes it, so that every tensor is there that a
    /// configuration may name.
    pub graph: &'a Graph,
    pub engine: &'a dyn Engine,
    pub feed: &'a Feed<'a>,
    /// Of the kind that the metrics take.
    pub labels: Option<&'a Labels>,
    /// As [`metric::find`] reads them.
    pub metrics: &'a [String],
    /// A folder that is there and empty, for metrics that the user's command computes.
    pub scratch: &'a Path,
    /// The most that the float network's outputs may take where metrics compare with them; beyond
    /// it they are computed again.
    pub memory_bytes: usize,
    /// What earlier runs came to, see [`Judged`](crate::pipeline::Judged).
    pub kept: Option<&'a Drawer>,
    pub progress: &'a dyn Progress,
}

/// By pass; `None` where there was no room.
type Outputs = Vec<Option<Values>>;

/// Scores configurations; the float network was scored when it was made.
pub struct Scorer<'a> {
    validation: Validation<'a>,
    float: Ordered<Option<f64>>,
    compares: bool,
    /// Of the float network, where a metric compares with them; none of them before they are needed.
    outputs: OnceLock<Outputs>,
    n_scored: AtomicUsize,
}

impl<'a> Scorer<'a> {
    pub fn new(validation: Validation<'a>) -> Result<Scorer<'a>, PipelineError> {
        let mut compares = false;
        for text in validation.metrics {
            let (def, _) = metric::find(text).map_err(PipelineError::Metric)?;
            compares |= def.reference == Reference::Float;
        }
        let mut scorer = Scorer {
            validation,
            float: Ordered::new(),
            compares,
            outputs: OnceLock::new(),
            n_scored: AtomicUsize::new(0),
        };
        let Validation { feed, kept, progress, .. } = validation;
        let name = Digest::of("float", &[]);
        progress.begin("Metrics", feed.len() as u64);
        match kept.and_then(|kept| unpack_values(kept.get(&name)?)) {
            Some(float) => {
                scorer.float = float;
                progress.skip(feed.len() as u64);
            }
            None => {
                let (float, outputs) = scorer.score_float(progress)?;
                if let Some(kept) = kept {
                    kept.put(&name, &pack_values(&float));
                }
                scorer.float = float;
                scorer.outputs = outputs.into();
            }
        }
        progress.finish();
        Ok(scorer)
    }

    /// What the float network has, and what it put out where that is needed.
    fn score_float(
        &self,
        progress: &dyn Progress,
    ) -> Result<(Ordered<Option<f64>>, Outputs), PipelineError> {
        let Validation { graph, metrics, scratch, mut memory_bytes, .. } = self.validation;
        let mut kept = Vec::new();
        let mut keep = |values: Values| {
            let outputs = graph.outputs().iter().filter_map(|&id| values.get(id));
            let needed: usize = outputs.map(|tensor| tensor.ty().size_bytes()).sum();
            let fits = self.compares && needed <= memory_bytes;
            memory_bytes -= if fits { needed } else { 0 };
            kept.push(fits.then_some(values));
        };
        let judge = Judge::new("float", metrics, scratch)?;
        let float = self.judge(judge, &Changes::default(), progress, &mut keep)?;
        Ok((float, kept))
    }

    /// What the float network has, by metric.
    pub fn float(&self) -> &Ordered<Option<f64>> {
        &self.float
    }

    /// What the network has with these encodings, by metric; those without a value are left out.
    pub fn score(
        &self,
        encodings: &Encodings,
        rounded: Option<&Rounded>,
    ) -> Result<Vec<(String, f64)>, PipelineError> {
        let scored = self.score_all(std::slice::from_ref(encodings), rounded)?;
        Ok(scored.into_iter().next().unwrap_or_default())
    }

    /// The same with each of these encodings.
    pub fn score_all(
        &self,
        all: &[Encodings],
        rounded: Option<&Rounded>,
    ) -> Result<Vec<Vec<(String, f64)>>, PipelineError> {
        let Validation { feed, progress, .. } = self.validation;
        progress.begin("Metrics", (feed.len() * all.len()) as u64);
        let scored = all.iter().map(|encodings| self.score_one(encodings, rounded)).collect();
        progress.finish();
        scored
    }

    fn score_one(
        &self,
        encodings: &Encodings,
        rounded: Option<&Rounded>,
    ) -> Result<Vec<(String, f64)>, PipelineError> {
        let Validation { graph, feed, kept, progress, .. } = self.validation;
        let applied = Applied::of(graph, encodings, rounded)?;
        let values = match kept.and_then(|kept| unpack_values(kept.get(applied.digest())?)) {
            Some(values) => {
                progress.skip(feed.len() as u64);
                values
            }
            None => {
                let values = self.score_new(&applied.changes())?;
                if let Some(kept) = kept {
                    kept.put(applied.digest(), &pack_values(&values));
                }
                values
            }
        };
        Ok(values.iter().filter_map(|(name, &value)| Some((name.to_owned(), value?))).collect())
    }

    fn score_new(&self, changes: &Changes<'_>) -> Result<Ordered<Option<f64>>, PipelineError> {
        let Validation { metrics, scratch, progress, .. } = self.validation;
        if self.compares && self.outputs.get().is_none() {
            let (_, outputs) = self.score_float(&Silent)?;
            // Configurations are scored one after the other.
            let _ = self.outputs.set(outputs);
        }
        let folder = scratch.join(self.n_scored.fetch_add(1, Ordering::Relaxed).to_string());
        let judge = Judge::new("quantized", metrics, &folder)?;
        let values = self.judge(judge, changes, progress, &mut |_| {})?;
        if folder.exists() {
            // Outputs may be large, and there may be many configurations; what stays behind is
            // removed with the folder around it.
            let _ = fs::remove_dir_all(&folder);
        }
        Ok(values)
    }

    /// The float network's outputs of a pass: `Some(None)` where they are to be computed again.
    fn float_outputs(&self, pass: usize) -> Option<Option<&Values>> {
        self.outputs.get()?.get(pass).map(Option::as_ref)
    }

    /// Runs all samples past a judge; `then` gets what every pass put out.
    fn judge(
        &self,
        mut judge: Judge,
        changes: &Changes<'_>,
        progress: &dyn Progress,
        then: &mut dyn FnMut(Values),
    ) -> Result<Ordered<Option<f64>>, PipelineError> {
        let Validation { graph, feed, labels, .. } = self.validation;
        let exam = Exam { graph, feed, labels };
        let passes: Vec<usize> = (0..feed.len()).collect();
        for block in passes.chunks(4 * rayon::current_num_threads()) {
            let run = |&pass: &usize| self.pass(pass, changes, progress);
            let runs: Vec<(Values, Option<Values>)> =
                block.par_iter().map(run).collect::<Result<_, _>>()?;
            for (&pass, (values, again)) in block.iter().zip(runs) {
                // What the float network puts out is its own reference.
                let float = again.as_ref().or(self.float_outputs(pass).flatten());
                for (slot, index) in feed.samples(pass).enumerate() {
                    let outputs = exam.outputs(&values, slot);
                    let float = float.map(|float| exam.outputs(float, slot));
                    let float = float.as_deref().unwrap_or(&outputs);
                    exam.show(index, [(&mut judge, &outputs[..])], float)?;
                }
                then(values);
            }
        }
        judge.values()
    }

    /// A pass of the changed network, and one of the float network if its outputs are needed and
    /// were not kept.
    fn pass(
        &self,
        pass: usize,
        changes: &Changes<'_>,
        progress: &dyn Progress,
    ) -> Result<(Values, Option<Values>), PipelineError> {
        let Validation { engine, feed, .. } = self.validation;
        let inputs = feed.inputs(pass).map_err(PipelineError::Data)?;
        let run = |changes: &Changes<'_>| {
            let values = engine.run(&inputs, changes, Keep::Outputs);
            values.map_err(|source| {
                PipelineError::Measure(MeasureError::Run { sample: feed.name(pass), source })
            })
        };
        let values = run(changes)?;
        let is_missing = self.compares && matches!(self.float_outputs(pass), Some(None));
        let float = is_missing.then(|| run(&Changes::default())).transpose()?;
        progress.advance(1);
        Ok((values, float))
    }
}
