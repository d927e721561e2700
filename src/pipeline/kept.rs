//! [`Kept`]: what a cache has of a network on some samples; [`Judged::kept`]: of its metrics.
//!
//! | kind | a record is | of |
//! | --- | --- | --- |
//! | `ranges` | all encodings | network, target, methods, all samples |
//! | `noise` | powers of one pass, see [`Ledger`] | its samples, what is compared, what is rounded and how |
//! | `rounding` | one weight at one width | its layer and encoding, method, all samples |
//! | `scores` | metrics of one configuration | samples, labels, metrics, what is rounded and how |
//!
//! So another budget, strategy or way to pool measures nothing again, another candidate or sample only
//! itself. Not kept: what takes no longer than to look it up (sizes, groups, costs, the search itself);
//! outputs of the float network; the pass for ranges or a layer's sums, and the scores of a configuration,
//! before they are done; and what a user's command says, as no one knows what that depends on.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::artifact::Ordered;
use crate::cache::{Cache, Digest, Digester, Drawer, Packed, Unpacked};
use crate::data::{Feed, Labels};
use crate::exec::EngineKind;
use crate::graph::{Graph, ValueId};
use crate::metric::{self, Reference};
use crate::pipeline::encoded::check_encodings;
use crate::pipeline::{Network, PipelineError, Preparation};
use crate::quant::{Effort, Encodings, Placement};
use crate::sensitivity::{Ledger, Powers, Unit};

/// A network, the samples that it is measured on, and the cache that is looked into.
pub struct Kept {
    ranges: Drawer,
    noise: Drawer,
    rounding: Drawer,
    /// Over the samples of each pass.
    passes: Vec<Digest>,
    /// At least one.
    n_outputs: usize,
}

/// Names the only record of its context.
const ALL: &str = "all";

impl Kept {
    pub fn new(cache: &Cache, network: &Network, feed: &Feed<'_>) -> Result<Kept, PipelineError> {
        let samples = feed.dataset().digests().map_err(PipelineError::Data)?;
        let over = |samples: &[Digest]| {
            samples.iter().fold(Digester::new("samples"), Digester::digest).finish()
        };
        let all = over(samples);
        let settings = &network.settings;
        let context = |kind| {
            let names = network.output_names();
            let digester =
                context(kind, settings.preparation, settings.engine, &settings.dims, feed);
            names.iter().fold(digester, |digester, name| digester.text(name))
        };
        let ranges = context("ranges").digest(&all).digest(&placed(network));
        let rounding = context("rounding").digest(&all).text(settings.rounding.name());
        let drawer = |kind, digester: Digester| {
            let shelf = cache.shelf(kind, &network.file, &network.sha256);
            Drawer::new(shelf, digester.finish())
        };
        Ok(Kept {
            ranges: drawer("ranges", ranges),
            noise: drawer("noise", context("noise")),
            rounding: drawer("rounding", rounding),
            n_outputs: network.outputs.len(),
            passes: (0..feed.len()).map(|pass| over(&samples[feed.samples(pass)])).collect(),
        })
    }

    pub(super) fn encodings(&self, network: &Network) -> Option<Encodings> {
        let bytes = self.ranges.get(&Digest::of(ALL, &[]))?;
        let encodings = Encodings::unpack(bytes)?;
        let Placement { activations, weights, operands, .. } = &network.placement;
        let is_whole = encodings.activations.len() == activations.len()
            && encodings.weights.len() == weights.len()
            && encodings.operands.len() == operands.len()
            && check_encodings(network, &encodings).is_ok();
        is_whole.then_some(encodings)
    }

    pub(super) fn keep_encodings(&self, encodings: &Encodings) {
        self.ranges.put(&Digest::of(ALL, &[]), &encodings.pack());
    }

    /// Weights rounded with some effort.
    pub(super) fn rounding(&self, effort: Effort) -> Drawer {
        let Effort { iterations } = effort;
        self.rounding.within(&Digest::of("effort", &[&iterations.to_le_bytes()]))
    }

    fn unit(&self, unit: &Unit<'_>) -> Digest {
        let digester = Digester::new("unit").digest(&self.passes[unit.pass]);
        let signal = || Digest::of("signal", &[]);
        digester.digest(&unit.changes.copied().unwrap_or_else(signal)).finish()
    }
}

impl Ledger for Kept {
    fn known(&self, unit: &Unit<'_>) -> Option<Powers> {
        let floats = self.noise.get(&self.unit(unit))?.as_chunks().0;
        let per_output = floats.len() / self.n_outputs;
        let powers = |floats: &[[u8; 8]]| floats.iter().map(|x| f64::from_le_bytes(*x)).collect();
        Some(Powers(floats.chunks(per_output.max(1)).map(powers).collect()))
    }

    fn keep(&self, unit: &Unit<'_>, powers: &Powers) {
        let floats = powers.0.iter().flatten();
        let bytes: Vec<u8> = floats.flat_map(|power| power.to_le_bytes()).collect();
        self.noise.put(&self.unit(unit), &bytes);
    }
}

/// What every measurement depends on besides the model and the samples.
fn context(
    kind: &str,
    preparation: Preparation,
    engine: EngineKind,
    dims: &BTreeMap<String, usize>,
    feed: &Feed<'_>,
) -> Digester {
    // Corrected biases are part of what a configuration changes.
    let digester = Digester::new(kind).number(preparation.equalize.into());
    let digester = digester.text(&engine.to_string()).number(feed.batch() as u64);
    let preprocessing = serde_json::to_string(&feed.dataset().preprocessing());
    let digester = digester.text(&preprocessing.expect("plain data with text keys"));
    let digester = digester.number(dims.len() as u64);
    dims.iter().fold(digester, |digester, (name, &size)| digester.text(name).number(size as u64))
}

/// What is rounded, to which widths, and how ranges are chosen.
fn placed(network: &Network) -> Digest {
    let Network { graph, placement, groups, settings, .. } = network;
    let target = serde_json::to_string(&settings.target).expect("plain data with text keys");
    let ranges = &settings.ranges;
    let mut digester = Digester::new("placement")
        .text(&target)
        .text(&ranges.weights.to_string())
        .text(&ranges.activations.to_string())
        .number(ranges.per_channel.into());
    let sites = placement.weights.iter().map(|site| site.value);
    let operands = placement.operands.iter().map(|site| site.value);
    for values in
        [placement.activations.clone(), sites.collect(), operands.collect::<Vec<ValueId>>()]
    {
        digester = digester.number(values.len() as u64);
        digester = values.iter().fold(digester, |d, &id| d.text(graph.value_name(id)));
    }
    for group in &groups.groups {
        digester = digester.text(&group.id).number(group.choices.len() as u64);
        digester = group.choices.iter().fold(digester, |d, choice| d.text(&choice.to_string()));
    }
    digester.finish()
}

/// What metrics look at.
#[derive(Clone, Copy)]
pub struct Judged<'a> {
    /// The model's file and SHA-256.
    pub model: (&'a str, &'a str),
    pub graph: &'a Graph,
    pub preparation: Preparation,
    pub engine: EngineKind,
    pub dims: &'a BTreeMap<String, usize>,
    pub feed: &'a Feed<'a>,
    pub metrics: &'a [String],
    pub labels: Option<&'a Labels>,
}

impl Judged<'_> {
    /// Where its scores are kept; `None` where a metric is a user's command, or where a label cannot be
    /// read, which whoever scores will say.
    pub fn kept(&self, cache: &Cache) -> Result<Option<Drawer>, PipelineError> {
        let Judged { graph, feed, metrics, labels, .. } = self;
        let mut digester = context("scores", self.preparation, self.engine, self.dims, feed);
        let outputs = graph.outputs().iter().map(|&id| graph.value_name(id));
        digester = outputs.fold(digester, Digester::text).number(metrics.len() as u64);
        for text in *metrics {
            let (def, _) = metric::find(text).map_err(PipelineError::Metric)?;
            if def.reference == Reference::Command {
                return Ok(None);
            }
            digester = digester.text(text);
        }
        let data = feed.dataset();
        let samples = data.digests().map_err(PipelineError::Data)?;
        digester = samples.iter().fold(digester, Digester::digest);
        if let Some(labels) = labels {
            let indices = (0..data.len()).into_par_iter();
            let labels = indices.map(|index| Some(labels.get(&data.key(index)).ok()?.digest()));
            let Some(labels) = labels.collect::<Option<Vec<Digest>>>() else { return Ok(None) };
            digester = labels.iter().fold(digester, Digester::digest);
        }
        let (file, sha256) = self.model;
        Ok(Some(Drawer::new(cache.shelf("scores", file, sha256), digester.finish())))
    }
}

/// Values of metrics by name, as a record.
pub(super) fn pack_values(values: &Ordered<Option<f64>>) -> Vec<u8> {
    let mut packed = Packed::new();
    for (name, value) in values.iter() {
        packed.text(name).number(u64::from(value.is_some())).float(value.unwrap_or(0.));
    }
    packed.0
}

pub(super) fn unpack_values(bytes: &[u8]) -> Option<Ordered<Option<f64>>> {
    let mut unpacked = Unpacked::new(bytes);
    let mut values = Ordered::new();
    while !unpacked.is_empty() {
        let name = unpacked.text()?.to_owned();
        let is_known = unpacked.number()? == 1;
        let value = unpacked.float()?;
        values.insert(name, is_known.then_some(value));
    }
    Some(values)
}
