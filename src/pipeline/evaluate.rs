//! Evaluation: metrics against labels and the SQNR, of the float network and of a quantized one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use crate::artifact::{self, Config};
use crate::cache::{Digest, Digester, Drawer};
use crate::data::{Feed, Labels};
use crate::exec::{Changes, Engine, Keep, Prepared, Values};
use crate::graph::{Graph, ValueId};
use crate::metric::sqnr::{self, Aggregation, mean_square, mean_square_difference};
use crate::pipeline::exam::Exam;
use crate::pipeline::judge::Judge;
use crate::pipeline::kept::{pack_values, unpack_values};
use crate::pipeline::{PipelineError, encoded};
use crate::progress::Progress;
use crate::quant::{FakeQuantize, Rounded, Rounding};
use crate::sensitivity::MeasureError;
use crate::tensor::{DType, Tensor};

/// A configuration from a file, applied to a graph: rounded constants and hooks.
#[derive(Debug)]
pub struct Applied {
    constants: BTreeMap<ValueId, Arc<Prepared>>,
    hooks: BTreeMap<ValueId, FakeQuantize>,
    digest: Digest,
}

impl Applied {
    /// `graph` is the simplified one of the model that the file was made for.
    ///
    /// # Errors
    /// If a tensor of the file is not in the graph, or has other channels, or if `rounded` is not the
    /// set of weights that the file was made with.
    pub fn new(
        graph: &Graph,
        config: &Config,
        rounded: Option<&Rounded>,
    ) -> Result<Applied, PipelineError> {
        expect_rounding(&config.settings.rounding, rounded)?;
        Applied::of(graph, &config.encodings, rounded)
    }

    /// A weight that is not in the set is rounded to nearest.
    pub(super) fn of(
        graph: &Graph,
        encodings: &artifact::Encodings,
        rounded: Option<&Rounded>,
    ) -> Result<Applied, PipelineError> {
        let find = |name: &str| {
            let id = graph.find_value(name);
            id.ok_or_else(|| PipelineError::UnknownTensor { name: name.to_owned() })
        };
        let (mut constants, mut hooks) = (BTreeMap::new(), BTreeMap::new());
        let mut digester = Digester::new("applied");
        for (name, file) in encodings.activations.iter() {
            let encoding = encoded::read_activation(file);
            if !encoding.fits(&[]) {
                return Err(PipelineError::EncodingDoesNotFit { name: name.to_owned() });
            }
            digester = digester.text(name).digest(&encoding.digest());
            hooks.insert(find(name)?, FakeQuantize::new(encoding));
        }
        for (name, file) in encodings.weights.iter() {
            let id = find(name)?;
            let encoding = encoded::read_weight(file);
            let constant = graph.constant(id);
            let constant = constant
                .filter(|constant| {
                    constant.ty().dtype == DType::F32 && encoding.fits(&constant.ty().shape)
                })
                .ok_or_else(|| PipelineError::EncodingDoesNotFit { name: name.to_owned() })?;
            digester = digester.text("constant").text(name).digest(&encoding.digest());
            let shape = &constant.ty().shape;
            let tensor = match rounded.and_then(|set| set.get(name, encoding.bits)) {
                Some(weight) if weight.fits(shape, &encoding) => {
                    digester = digester.digest(&weight.digest());
                    weight.tensor(shape)
                }
                Some(_) => {
                    return Err(PipelineError::OtherScales {
                        name: name.to_owned(),
                        bits: encoding.bits,
                    });
                }
                None => {
                    let mut tensor = constant.tensor().clone();
                    encoding.fake_quantize(&mut tensor);
                    tensor
                }
            };
            constants.insert(id, Arc::new(Prepared::new(tensor)));
        }
        for (name, elements) in encodings.biases.iter() {
            let id = find(name)?;
            let bias = encoded::read_bias(graph, id, elements)?;
            let bytes: Vec<u8> = elements.iter().flat_map(|x| x.to_le_bytes()).collect();
            digester = digester.text("bias").text(name).bytes(&bytes);
            constants.insert(id, Arc::new(Prepared::new(bias)));
        }
        Ok(Applied { constants, hooks, digest: digester.finish() })
    }

    /// Over the values that are rounded, and all that they are rounded by.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    pub fn changes(&self) -> Changes<'_> {
        let hooks = self.hooks.iter();
        Changes {
            constants: self.constants.clone(),
            hooks: hooks.map(|(&id, hook)| (id, hook as _)).collect(),
        }
    }
}

/// Refuses another set of rounded weights than the one that a file was made with.
pub fn expect_rounding(
    settings: &artifact::Rounding,
    rounded: Option<&Rounded>,
) -> Result<(), PipelineError> {
    let method = || settings.method.clone();
    match (&settings.sha256, rounded) {
        (None, _) if settings.method != Rounding::NEAREST.name() => {
            Err(PipelineError::NoHash { method: method() })
        }
        (None, None) => Ok(()),
        (None, Some(_)) => Err(PipelineError::RoundedToNearest { method: method() }),
        (Some(expected), None) => {
            Err(PipelineError::NoRounded { method: method(), sha256: expected.clone() })
        }
        (Some(expected), Some(set)) => {
            let found = set.sha256();
            if found == *expected {
                return Ok(());
            }
            Err(PipelineError::OtherRounded { found, expected: expected.clone() })
        }
    }
}

/// What an evaluation looks at.
pub struct Evaluation<'a> {
    pub graph: &'a Graph,
    pub engine: &'a dyn Engine,
    pub feed: &'a Feed<'a>,
    /// Of the kind that the metrics take.
    pub labels: Option<&'a Labels>,
    /// As [`metric::find`](crate::metric::find) reads them.
    pub metrics: &'a [String],
    /// A folder that is there and empty, for metrics that the user's command computes.
    pub scratch: &'a Path,
    /// The quantized network; `None` evaluates the float one alone.
    pub changes: Option<&'a Changes<'a>>,
    /// The float outputs whose SQNR counts.
    pub outputs: &'a [ValueId],
    pub aggregation: Aggregation,
    /// What earlier runs came to, see [`Judged`](crate::pipeline::Judged), and the digest of `changes`.
    pub kept: Option<(&'a Drawer, Digest)>,
}

/// Values by name of the float and the quantized network.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    pub samples: u64,
    pub float: artifact::Ordered<Option<f64>>,
    pub quantized: Option<artifact::Ordered<Option<f64>>>,
}

impl Evaluation<'_> {
    /// What an earlier run came to, or a new one does.
    pub fn run(&self, progress: &dyn Progress) -> Result<Evaluated, PipelineError> {
        let Some((kept, _)) = self.kept else { return self.run_anew(progress) };
        let names = [self.digest("float"), self.digest("quantized")];
        let [float, quantized] = names.map(|name| unpack_values(kept.get(&name)?));
        if let Some(float) = float
            && self.changes.is_some() == quantized.is_some()
        {
            progress.begin("Evaluation", self.feed.len() as u64);
            progress.skip(self.feed.len() as u64);
            progress.finish();
            let samples = self.feed.dataset().len() as u64;
            return Ok(Evaluated { samples, float, quantized });
        }
        let evaluated = self.run_anew(progress)?;
        kept.put(&names[0], &pack_values(&evaluated.float));
        if let Some(quantized) = &evaluated.quantized {
            kept.put(&names[1], &pack_values(quantized));
        }
        Ok(evaluated)
    }

    /// Of one network's values.
    fn digest(&self, network: &str) -> Digest {
        let digester = Digester::new(network).text(&self.aggregation.to_string());
        let names = self.outputs.iter().map(|&id| self.graph.value_name(id));
        let digester = names.fold(digester, Digester::text);
        self.kept.iter().fold(digester, |digester, (_, of)| digester.digest(of)).finish()
    }

    fn run_anew(&self, progress: &dyn Progress) -> Result<Evaluated, PipelineError> {
        let judge = |network| Judge::new(network, self.metrics, self.scratch);
        let mut judges = [judge("float")?, judge("quantized")?];
        let mut signal = vec![Vec::new(); self.outputs.len()];
        let mut noise = signal.clone();
        let exam = self.exam();
        progress.begin("Evaluation", self.feed.len() as u64);
        let passes: Vec<usize> = (0..self.feed.len()).collect();
        for block in passes.chunks(4 * rayon::current_num_threads()) {
            let runs: Vec<(Values, Option<Values>)> = block
                .par_iter()
                .map(|&pass| self.pass(pass, progress))
                .collect::<Result<_, _>>()?;
            for (&pass, (plain, changed)) in block.iter().zip(&runs) {
                for (slot, index) in self.feed.samples(pass).enumerate() {
                    self.add(&mut judges, [Some(plain), changed.as_ref()], slot, index)?;
                    let Some(changed) = changed else { continue };
                    for (output, &id) in self.outputs.iter().enumerate() {
                        let [a, b] = [plain, changed].map(|values| exam.output(values, id, slot));
                        signal[output].push(mean_square(&a).unwrap_or(f64::NAN));
                        noise[output].push(mean_square_difference(&a, &b).unwrap_or(f64::NAN));
                    }
                }
            }
        }
        progress.finish();
        let [float, quantized] = judges;
        let float = float.values()?;
        let mut quantized = self.changes.map(|_| quantized.values()).transpose()?;
        if let Some(values) = &mut quantized {
            let powers = signal.iter().zip(&noise);
            let powers: Vec<sqnr::Powers<'_>> =
                powers.map(|(signal, noise)| sqnr::Powers { signal, noise }).collect();
            let sqnr_db = sqnr::sqnr_db(self.aggregation, &powers).map_err(PipelineError::Sqnr)?;
            values.insert("sqnr_db".to_owned(), sqnr_db);
        }
        let samples = self.feed.dataset().len() as u64;
        Ok(Evaluated { samples, float, quantized })
    }

    fn pass(
        &self,
        pass: usize,
        progress: &dyn Progress,
    ) -> Result<(Values, Option<Values>), PipelineError> {
        let inputs = self.feed.inputs(pass).map_err(PipelineError::Data)?;
        let failed = |source| {
            PipelineError::Measure(MeasureError::Run { sample: self.feed.name(pass), source })
        };
        let (engine, none) = (self.engine, Changes::default());
        let shared = self.changes.filter(|changes| self.has_float_part(changes));
        let keep = if shared.is_some() { Keep::All } else { Keep::Outputs };
        let mut float = engine.run(&inputs, &none, keep).map_err(failed)?;
        let quantized = self.changes.map(|changes| match shared {
            Some(_) => engine.rerun(&float, &none, changes, Keep::Outputs),
            None => engine.run(&inputs, changes, Keep::Outputs),
        });
        let quantized = quantized.transpose().map_err(failed)?;
        float.retain(self.graph.outputs());
        progress.advance(1);
        Ok((float, quantized))
    }

    /// Whether so much of the network stays in float that computing it once for both pays.
    fn has_float_part(&self, changes: &Changes<'_>) -> bool {
        let changed = changes.hooks.keys().chain(changes.constants.keys()).copied();
        5 * self.graph.dependents(changed).count() < 4 * self.graph.n_nodes()
    }

    /// Shows one sample to the judges of the float and of the quantized network.
    fn add(
        &self,
        judges: &mut [Judge; 2],
        networks: [Option<&Values>; 2],
        slot: usize,
        index: usize,
    ) -> Result<(), PipelineError> {
        if self.metrics.is_empty() {
            return Ok(());
        }
        let exam = self.exam();
        let outputs = networks.map(|values| values.map(|values| exam.outputs(values, slot)));
        let float: &Vec<Tensor> = outputs[0].as_ref().expect("the float network always runs");
        let judges = judges.iter_mut().zip(&outputs);
        let shown = judges.filter_map(|(judge, outputs)| Some((judge, outputs.as_deref()?)));
        exam.show(index, shown, float)
    }

    fn exam(&self) -> Exam<'_> {
        Exam { graph: self.graph, feed: self.feed, labels: self.labels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_weights_must_be_known() {
        let refused = |method: &str, sha256: Option<&str>| {
            let sha256 = sha256.map(str::to_owned);
            let settings = artifact::Rounding { method: method.to_owned(), sha256 };
            expect_rounding(&settings, None).err().map(|error| error.to_string())
        };
        assert_eq!(refused("nearest", None), None);
        let message = "rounding is `adaround` with no SHA-256 of the weights, expected one";
        assert_eq!(refused("adaround", None).as_deref(), Some(message));
        let message = refused("gptq", Some("ab12")).unwrap();
        assert!(message.starts_with("weights were rounded by `gptq`, their SHA-256 is `ab12`"));
    }
}
