//! Evaluation: metrics against labels and the SQNR, of the float network and of a quantized one.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::artifact::{self, Config};
use crate::data::{Feed, Labels};
use crate::dispatch;
use crate::exec::{Changes, Engine, Keep, Prepared, Values};
use crate::graph::{Graph, ValueId};
use crate::metric::sqnr::{self, Aggregation, mean_square, mean_square_difference};
use crate::metric::{self, Metric};
use crate::pipeline::{PipelineError, artifacts};
use crate::progress::Progress;
use crate::quant::FakeQuantize;
use crate::sensitivity::MeasureError;
use crate::tensor::{DType, Tensor};

/// A configuration from a file, applied to a graph: rounded constants and hooks.
#[derive(Debug)]
pub struct Applied {
    constants: BTreeMap<ValueId, Arc<Prepared>>,
    hooks: BTreeMap<ValueId, FakeQuantize>,
}

impl Applied {
    /// `graph` is the simplified one of the model that the file was made for.
    ///
    /// # Errors
    /// If a tensor of the file is not in the graph, or has other channels.
    pub fn new(graph: &Graph, config: &Config) -> Result<Applied, PipelineError> {
        let find = |name: &str| {
            let id = graph.find_value(name);
            id.ok_or_else(|| PipelineError::UnknownTensor { name: name.to_owned() })
        };
        let mut applied = Applied { constants: BTreeMap::new(), hooks: BTreeMap::new() };
        for (name, file) in config.encodings.activations.iter() {
            let encoding = artifacts::read_activation(file);
            if !encoding.fits(&[]) {
                return Err(PipelineError::EncodingDoesNotFit { name: name.to_owned() });
            }
            applied.hooks.insert(find(name)?, FakeQuantize::new(encoding));
        }
        for (name, file) in config.encodings.weights.iter() {
            let id = find(name)?;
            let encoding = artifacts::read_weight(file);
            let constant = graph.constant(id);
            let constant = constant
                .filter(|constant| {
                    constant.ty().dtype == DType::F32 && encoding.fits(&constant.ty().shape)
                })
                .ok_or_else(|| PipelineError::EncodingDoesNotFit { name: name.to_owned() })?;
            let mut tensor = constant.tensor().clone();
            encoding.fake_quantize(&mut tensor);
            applied.constants.insert(id, Arc::new(Prepared::new(tensor)));
        }
        Ok(applied)
    }

    pub fn changes(&self) -> Changes<'_> {
        let hooks = self.hooks.iter();
        Changes {
            constants: self.constants.clone(),
            hooks: hooks.map(|(&id, hook)| (id, hook as _)).collect(),
        }
    }
}

/// What an evaluation looks at.
pub struct Evaluation<'a> {
    pub graph: &'a Graph,
    pub engine: &'a dyn Engine,
    pub feed: &'a Feed<'a>,
    pub labels: Option<&'a Labels>,
    /// `NAME` or `NAME=OPTION`, see [`metric`](crate::metric).
    pub metrics: &'a [String],
    /// The quantized network; `None` evaluates the float one alone.
    pub changes: Option<&'a Changes<'a>>,
    /// The float outputs whose SQNR counts.
    pub outputs: &'a [ValueId],
    pub aggregation: Aggregation,
}

type Metrics = Vec<(String, Box<dyn Metric>)>;

/// Values by name of the float and the quantized network.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    pub samples: u64,
    pub float: artifact::Ordered<Option<f64>>,
    pub quantized: Option<artifact::Ordered<Option<f64>>>,
}

impl Evaluation<'_> {
    pub fn run(&self, progress: &dyn Progress) -> Result<Evaluated, PipelineError> {
        let mut float = self.new_metrics()?;
        let mut quantized = self.new_metrics()?;
        let mut signal = vec![Vec::new(); self.outputs.len()];
        let mut noise = signal.clone();
        progress.begin("Evaluation", self.feed.len() as u64);
        let passes: Vec<usize> = (0..self.feed.len()).collect();
        for block in passes.chunks(4 * rayon::current_num_threads()) {
            let runs: Vec<(Values, Option<Values>)> = block
                .par_iter()
                .map(|&pass| self.pass(pass, progress))
                .collect::<Result<_, _>>()?;
            for (&pass, (plain, changed)) in block.iter().zip(&runs) {
                for (slot, index) in self.feed.samples(pass).enumerate() {
                    self.add(&mut float, plain, slot, index)?;
                    let Some(changed) = changed else { continue };
                    self.add(&mut quantized, changed, slot, index)?;
                    for (output, &id) in self.outputs.iter().enumerate() {
                        let [a, b] = [plain, changed].map(|values| self.output(values, id, slot));
                        signal[output].push(mean_square(&a).unwrap_or(f64::NAN));
                        noise[output].push(mean_square_difference(&a, &b).unwrap_or(f64::NAN));
                    }
                }
            }
        }
        progress.finish();
        let mut quantized = self.changes.map(|_| named(&quantized));
        if let Some(values) = &mut quantized {
            let powers = signal.iter().zip(&noise);
            let powers: Vec<sqnr::Powers<'_>> =
                powers.map(|(signal, noise)| sqnr::Powers { signal, noise }).collect();
            let sqnr_db = sqnr::sqnr_db(self.aggregation, &powers).map_err(PipelineError::Sqnr)?;
            values.insert("sqnr_db".to_owned(), sqnr_db);
        }
        let samples = self.feed.dataset().len() as u64;
        Ok(Evaluated { samples, float: named(&float), quantized })
    }

    fn new_metrics(&self) -> Result<Metrics, PipelineError> {
        let create = |text: &String| {
            let (def, option) = metric::find(text)?;
            Ok((def.name.to_owned(), (def.new)(option)?))
        };
        self.metrics.iter().map(create).collect::<Result<_, _>>().map_err(PipelineError::Metric)
    }

    fn pass(
        &self,
        pass: usize,
        progress: &dyn Progress,
    ) -> Result<(Values, Option<Values>), PipelineError> {
        let inputs = self.feed.inputs(pass).map_err(PipelineError::Data)?;
        let run = |changes: &Changes<'_>| {
            let values = self.engine.run(&inputs, changes, Keep::Outputs);
            values.map_err(|source| {
                PipelineError::Measure(MeasureError::Run { sample: self.feed.name(pass), source })
            })
        };
        let float = run(&Changes::default())?;
        let quantized = self.changes.map(run).transpose()?;
        progress.advance(1);
        Ok((float, quantized))
    }

    fn add(
        &self,
        metrics: &mut [(String, Box<dyn Metric>)],
        values: &Values,
        slot: usize,
        index: usize,
    ) -> Result<(), PipelineError> {
        let (Some(labels), false) = (self.labels, metrics.is_empty()) else { return Ok(()) };
        let label = labels.get(&self.feed.dataset().key(index)).map_err(PipelineError::Data)?;
        let outputs: Vec<Tensor> =
            self.graph.outputs().iter().map(|&id| self.output(values, id, slot)).collect();
        for (_, metric) in metrics {
            metric.add(&outputs, &label).map_err(PipelineError::Metric)?;
        }
        Ok(())
    }

    /// One sample's part of an output, with a batch axis of 1.
    fn output(&self, values: &Values, id: ValueId, slot: usize) -> Tensor {
        let tensor = values.get(id).expect("a pass gives all outputs");
        let batch = self.feed.batch();
        if batch == 1 || tensor.shape().first() != Some(&batch) {
            return tensor.clone();
        }
        let mut shape = tensor.shape().to_vec();
        shape[0] = 1;
        let len = tensor.len() / batch;
        dispatch!(tensor.dtype(), T => {
            Tensor::from_vec(&shape, tensor.slice::<T>()[slot * len..(slot + 1) * len].to_vec())
        })
    }
}

fn named(metrics: &[(String, Box<dyn Metric>)]) -> artifact::Ordered<Option<f64>> {
    metrics.iter().map(|(name, metric)| (name.clone(), metric.value())).collect()
}
