//! Rounds all weights of a network: sums up what layers see, then fits every layer at every width.
//!
//! Gram matrices are of a few layers at a time, as memory allows; each lot takes a pass over the samples.
//! Sums are over samples in their order, and rows are fitted on their own, so that the result depends
//! neither on threads nor on memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use crate::cache::{Digest, Digester, Drawer};
use crate::data::{DataError, Feed};
use crate::exec::{Changes, Engine, Keep, RunError, Values};
use crate::graph::{Graph, Types, ValueId};
use crate::progress::Progress;
use crate::quant::rounding::gram::{Gram, Rows};
use crate::quant::rounding::layer::Layer;
use crate::quant::rounding::{Effort, Loss, Rounded, RoundedWeight, Rounding};
use crate::quant::{Bits, Encoding, Encodings, Placement};
use crate::shard::{Shard, lots};
use crate::tensor::Tensor;

/// Rows that are fitted together: enough to make a product, few enough to be shared among threads.
const ROWS: usize = 48;

/// Bytes that a layer takes for each of its Gram matrices: with the form for products, a sum that is
/// being made, and what a method derives of it.
const GRAM_FACTOR: usize = 3;

/// What is rounded, and how.
pub struct Fitting<'a> {
    pub graph: &'a Graph,
    pub types: &'a Types,
    pub placement: &'a Placement,
    pub encodings: &'a Encodings,
    pub method: Rounding,
    pub effort: Effort,
    /// Where weights are looked up before they are rounded, and kept afterwards; its context is to tell
    /// the method and the effort as well.
    pub kept: Option<&'a Drawer>,
}

#[derive(Debug, thiserror::Error)]
pub enum FitError {
    #[error("sample `{sample}`: {source}")]
    Run { sample: String, source: RunError },

    #[error(transparent)]
    Data(DataError),

    #[error(
        "{needed} bytes are needed to round weight `{name}`, more than the {limit} that --memory leaves"
    )]
    Memory { name: String, needed: usize, limit: usize },
}

/// The layers of a network, and what it takes to fit them.
pub struct Fit<'a> {
    fitting: Fitting<'a>,
    layers: Vec<Layer>,
    /// The weights that are rounded, by position.
    sites: Vec<usize>,
}

/// A layer, and the encodings that it is still to be rounded for.
struct Open<'a> {
    layer: &'a Layer,
    encodings: Vec<&'a Encoding>,
}

/// Rounds with an engine that stores [`Fit::inputs`], in `memory_bytes` besides what a pass takes.
pub fn fit(
    fit: &Fit<'_>,
    engine: &dyn Engine,
    feed: &Feed<'_>,
    memory_bytes: usize,
    progress: &dyn Progress,
) -> Result<Rounded, FitError> {
    let mut found: BTreeMap<usize, BTreeMap<Bits, RoundedWeight>> = fit.all_nearest();
    let (open, n_known) = fit.open(&mut found);
    let lots = fit.lots(&open, memory_bytes)?;
    let name = fit.fitting.method.name();
    let n_open: usize = open.iter().map(|open| open.encodings.len()).sum();
    progress.begin(name, (lots.len() * feed.len() + n_open + n_known) as u64);
    progress.skip(n_known as u64);
    for lot in lots {
        let open = &open[lot];
        let grams = fit.observe(open, engine, feed, progress)?;
        let jobs = open.iter().zip(&grams);
        let jobs: Vec<(&Layer, &Vec<Gram>, &Encoding)> = jobs
            .flat_map(|(open, grams)| open.encodings.iter().map(move |&e| (open.layer, grams, e)))
            .collect();
        let rounded = jobs.par_iter().map(|&(layer, grams, encoding)| {
            let weight = fit.round(layer, grams, encoding);
            fit.keep(layer, encoding, weight.as_ref());
            progress.advance(1);
            (layer.site, encoding.bits, weight)
        });
        for (site, bits, weight) in rounded.collect::<Vec<_>>() {
            found.entry(site).or_default().extend(weight.map(|weight| (bits, weight)));
        }
    }
    progress.finish();
    let weights = found.into_iter().map(|(site, by_bits)| (fit.name(site).to_owned(), by_bits));
    Ok(Rounded { method: fit.fitting.method, weights: weights.collect() })
}

impl<'a> Fit<'a> {
    pub fn new(fitting: Fitting<'a>) -> Fit<'a> {
        let is_fitted = !fitting.method.is_nearest();
        let layers = Layer::all(fitting.graph, fitting.types, fitting.placement);
        let sites = (0..fitting.placement.weights.len()).collect();
        Fit { fitting, layers: if is_fitted { layers } else { Vec::new() }, sites }
    }

    /// The same for the weights that a shard gets where there are so many passes: layer by layer, by the
    /// multiply-accumulates of its Gram matrices and of what is done with them.
    pub fn share(mut self, n_passes: usize, shard: Shard) -> Fit<'a> {
        let Fitting { graph, types, method, effort, .. } = &self.fitting;
        let mut costs = vec![0; self.sites.len()];
        for layer in &self.layers {
            let products = (method.0.products)(effort) * self.widths(layer).len() as u64;
            let gram = layer.gram_macs(graph, types) * n_passes as u64;
            costs[layer.site] = gram + products * layer.product_macs();
        }
        let of = lots(&costs, shard.count());
        self.sites.retain(|&site| of[site] == shard.index());
        self.layers.retain(|layer| of[layer.site] == shard.index());
        self
    }

    fn name(&self, site: usize) -> &str {
        self.fitting.graph.value_name(self.fitting.placement.weights[site].value)
    }

    /// What layers read.
    pub fn inputs(&self) -> Vec<ValueId> {
        let mut inputs: Vec<ValueId> = self.layers.iter().flat_map(Layer::activations).collect();
        inputs.sort();
        inputs.dedup();
        inputs
    }

    fn widths(&self, layer: &Layer) -> &BTreeMap<Bits, Encoding> {
        &self.fitting.encodings.weights[layer.site]
    }

    fn weight(&self, site: usize) -> &Tensor {
        let value = self.fitting.placement.weights[site].value;
        self.fitting.graph.constant(value).expect("weights are constants").tensor()
    }

    fn all_nearest(&self) -> BTreeMap<usize, BTreeMap<Bits, RoundedWeight>> {
        let of_site = |&site: &usize| {
            let encodings = self.fitting.encodings.weights[site].iter();
            let weight = self.weight(site);
            let nearest = encodings.map(|(&bits, e)| (bits, RoundedWeight::nearest(weight, e)));
            (site, nearest.collect())
        };
        self.sites.par_iter().map(of_site).collect()
    }

    /// What is not known; and how much is, which goes to `found`.
    fn open(
        &self,
        found: &mut BTreeMap<usize, BTreeMap<Bits, RoundedWeight>>,
    ) -> (Vec<Open<'_>>, usize) {
        let (mut all, mut n_known) = (Vec::new(), 0);
        for layer in &self.layers {
            let mut open = Open { layer, encodings: Vec::new() };
            for encoding in self.widths(layer).values() {
                let Some(weight) = self.known(layer, encoding) else {
                    open.encodings.push(encoding);
                    continue;
                };
                n_known += 1;
                let of_site = found.entry(layer.site).or_default();
                of_site.extend(weight.map(|weight| (encoding.bits, weight)));
            }
            if !open.encodings.is_empty() {
                all.push(open);
            }
        }
        (all, n_known)
    }

    /// What an earlier run came to, as [`Fit::round`] gives it.
    fn known(&self, layer: &Layer, encoding: &Encoding) -> Option<Option<RoundedWeight>> {
        let bytes = self.fitting.kept?.get(&self.digest(layer, encoding))?;
        if bytes.is_empty() {
            return Some(None);
        }
        let weight = RoundedWeight::unpack(bytes, encoding)?;
        weight.fits(self.weight(layer.site).shape(), encoding).then_some(Some(weight))
    }

    fn keep(&self, layer: &Layer, encoding: &Encoding, weight: Option<&RoundedWeight>) {
        if let Some(kept) = self.fitting.kept {
            let bytes = weight.map_or_else(Vec::new, RoundedWeight::pack);
            kept.put(&self.digest(layer, encoding), &bytes);
        }
    }

    /// Over the weight, the nodes that multiply it, and its encoding.
    fn digest(&self, layer: &Layer, encoding: &Encoding) -> Digest {
        let Fitting { graph, placement, .. } = self.fitting;
        let site = &placement.weights[layer.site];
        let digester = Digester::new("weight").text(graph.value_name(site.value));
        let nodes = site.nodes.iter().map(|&id| graph.node(id).name.as_str());
        nodes.fold(digester, Digester::text).digest(&encoding.digest()).finish()
    }

    /// Layers in their order, as many at a time as memory allows.
    fn lots(&self, open: &[Open<'_>], limit: usize) -> Result<Vec<Range<usize>>, FitError> {
        let mut lots: Vec<Range<usize>> = Vec::new();
        let mut room = 0;
        for (index, Open { layer, .. }) in open.iter().enumerate() {
            let needed = layer.matrices.gram_bytes().saturating_mul(GRAM_FACTOR);
            if limit < needed {
                let name = self.name(layer.site).to_owned();
                return Err(FitError::Memory { name, needed, limit });
            }
            match lots.last_mut() {
                Some(lot) if needed <= room => {
                    lot.end = index + 1;
                    room -= needed;
                }
                _ => {
                    lots.push(index..index + 1);
                    room = limit - needed;
                }
            }
        }
        Ok(lots)
    }

    /// The Gram matrices of all groups of some layers.
    fn observe(
        &self,
        open: &[Open<'_>],
        engine: &dyn Engine,
        feed: &Feed<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<Gram>>, FitError> {
        let size = |layer: &Layer| layer.matrices.gram_bytes() / size_of::<f64>();
        let mut sums: Vec<(Vec<f64>, u64)> =
            open.iter().map(|open| (vec![0.; size(open.layer)], 0)).collect();
        let read: Vec<ValueId> = open.iter().flat_map(|open| open.layer.activations()).collect();
        let passes: Vec<usize> = (0..feed.len()).collect();
        for block in passes.chunks(rayon::current_num_threads()) {
            let run = |&pass: &usize| {
                let inputs = feed.inputs(pass).map_err(FitError::Data)?;
                let values = engine.run(&inputs, &Changes::default(), Keep::All);
                let mut values =
                    values.map_err(|source| FitError::Run { sample: feed.name(pass), source })?;
                values.retain(&read);
                Ok(values)
            };
            let values: Vec<Values> = block.par_iter().map(run).collect::<Result<_, _>>()?;
            open.par_iter().zip(&mut sums).for_each(|(open, (sums, n))| {
                for values in &values {
                    *n += open.layer.add(self.fitting.graph, &|id| values.tensor(id), sums);
                }
            });
            progress.advance(block.len() as u64);
        }
        let grams = open.iter().zip(sums).map(|(open, (sums, n))| {
            let depth = open.layer.matrices.depth;
            let of_group = |sum: &[f64]| Gram::new(depth, sum.to_vec(), n);
            sums.chunks_exact(depth * depth).map(of_group).collect()
        });
        Ok(grams.collect())
    }

    /// `None` where a row of the weight has several scales.
    fn round(&self, layer: &Layer, grams: &[Gram], encoding: &Encoding) -> Option<RoundedWeight> {
        let matrices = &layer.matrices;
        let jobs: Vec<(usize, Range<usize>)> = (0..matrices.groups)
            .flat_map(|group| {
                let first = (0..matrices.rows).step_by(ROWS);
                first.map(move |row| (group, row..(row + ROWS).min(matrices.rows)))
            })
            .collect();
        let fitted = jobs.par_iter().map(|(group, rows)| {
            self.round_rows(layer, &grams[*group], encoding, (*group, rows.clone()))
        });
        let fitted = fitted.collect::<Option<Vec<_>>>()?;
        let mut integers = vec![0; self.weight(layer.site).len()];
        let mut loss = Loss { nearest: 0., rounded: 0. };
        for ((group, rows), (steps, of_job)) in jobs.into_iter().zip(fitted) {
            for (at, step) in steps.into_iter().enumerate() {
                let (row, k) = (rows.start + at / matrices.depth, at % matrices.depth);
                integers[matrices.position(group, row, k)] = step as i16;
            }
            loss.nearest += of_job.nearest;
            loss.rounded += of_job.rounded;
        }
        let integers = Arc::new(integers);
        Some(RoundedWeight { integers, encoding: encoding.clone(), loss: Some(loss) })
    }

    /// The steps of some rows of a group, `[rows, depth]`.
    fn round_rows(
        &self,
        layer: &Layer,
        gram: &Gram,
        encoding: &Encoding,
        (group, rows): (usize, Range<usize>),
    ) -> Option<(Vec<f32>, Loss)> {
        let round = self.fitting.method.0.round?;
        let weight = self.weight(layer.site);
        let elements = weight.slice::<f32>();
        let positions = |row: usize| {
            let all = 0..layer.matrices.depth;
            all.map(move |k| layer.matrices.position(group, row, k))
        };
        let scale = |row: usize| {
            let mut channels = positions(row).map(|at| encoding.channel(weight.shape(), at));
            let first = channels.next()?;
            channels.all(|channel| channel == first).then(|| encoding.scales[first])
        };
        let scales: Vec<f32> = rows.clone().map(scale).collect::<Option<_>>()?;
        let in_scales =
            |(row, &scale): (usize, &f32)| positions(row).map(move |at| elements[at] / scale);
        let weights: Vec<f32> = rows.zip(&scales).flat_map(in_scales).collect();
        let (q_min, q_max) = encoding.scheme.limits(encoding.bits);
        let limits = [q_min as f32, q_max as f32];
        let rows = Rows { gram, weights: &weights, scales: &scales, limits };
        let steps = round(&rows, &self.fitting.effort);
        let nearest = rows.total_loss(&rows.nearest());
        let loss = Loss { nearest, rounded: rows.total_loss(&steps) };
        Some((steps, loss))
    }
}
