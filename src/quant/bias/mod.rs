//! Bias correction (Nagel et al. 2019, arXiv 1906.04721): what rounded weights add to the mean of a layer's
//! output is subtracted from its bias.
//!
//! A layer with weights `W` and rounded ones `R` puts out `(R - W) x` too much, in the mean over all
//! positions of all samples `(R - W) E[x]`. `E[x]`, the mean of the patches that the layer reads in the
//! float network, is all that is needed, so a layer's correction depends on its own weights alone: each
//! width has its own, and a configuration takes each layer's from its width.

mod own;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rayon::prelude::*;

pub use own::with_own_biases;

use crate::data::Feed;
use crate::exec::{Changes, Engine, Keep, Values};
use crate::graph::{Graph, Types, ValueId};
use crate::kernels;
use crate::progress::Progress;
use crate::quant::rounding::layer::Layer;
use crate::quant::{Bits, CalibrationError, Encoding, Encodings, Placement, Rounded};
use crate::tensor::Tensor;

/// What is corrected, and for which weights.
#[derive(Clone, Copy)]
pub struct Correcting<'a> {
    pub graph: &'a Graph,
    pub types: &'a Types,
    pub placement: &'a Placement,
    pub encodings: &'a Encodings,
    /// Weights are rounded to nearest where it has none.
    pub rounded: Option<&'a Rounded>,
}

/// The layers whose biases are corrected.
pub struct Corrections<'a> {
    correcting: Correcting<'a>,
    layers: Vec<(Layer, ValueId)>,
}

impl<'a> Corrections<'a> {
    /// Every layer whose bias is a constant of its own, that of a MatMul in the Add behind it.
    pub fn new(correcting: Correcting<'a>) -> Corrections<'a> {
        let Correcting { graph, types, placement, .. } = correcting;
        let layers = Layer::all(graph, types, placement).into_iter().filter_map(|layer| {
            let bias = placement.bias(layer.site)?;
            let n_rows = layer.matrices.groups * layer.matrices.rows;
            let fits =
                layer.is_unscaled(graph, types) && graph.constant(bias)?.ty().len() == n_rows;
            fits.then_some((layer, bias))
        });
        Corrections { correcting, layers: layers.collect() }
    }

    /// What the layers read.
    pub fn inputs(&self) -> Vec<ValueId> {
        let mut inputs: Vec<ValueId> =
            self.layers.iter().flat_map(|(layer, _)| layer.activations()).collect();
        inputs.sort();
        inputs.dedup();
        inputs
    }

    /// By weight of the placement its corrected bias at every width, from one pass over the samples with
    /// an engine that stores [`Corrections::inputs`].
    pub fn biases(
        &self,
        engine: &dyn Engine,
        feed: &Feed<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<BTreeMap<Bits, Vec<f32>>>, CalibrationError> {
        Ok(self.corrected_by(&self.means(engine, feed, progress)?))
    }

    fn corrected_by(&self, means: &[Vec<f64>]) -> Vec<BTreeMap<Bits, Vec<f32>>> {
        let Correcting { placement, encodings, .. } = self.correcting;
        let mut biases = vec![BTreeMap::new(); placement.weights.len()];
        let corrected = self.layers.par_iter().zip(means).map(|((layer, bias), means)| {
            let widths = encodings.weights[layer.site].iter();
            let one =
                |(&bits, e): (&Bits, &Encoding)| (bits, self.corrected(layer, *bias, means, e));
            widths.map(one).collect::<BTreeMap<Bits, Vec<f32>>>()
        });
        for ((layer, _), corrected) in self.layers.iter().zip(corrected.collect::<Vec<_>>()) {
            biases[layer.site] = corrected;
        }
        biases
    }

    /// The mean patch of every layer and group, `[groups, depth]`.
    fn means(
        &self,
        engine: &dyn Engine,
        feed: &Feed<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f64>>, CalibrationError> {
        let read = self.inputs();
        let size = |layer: &Layer| layer.matrices.groups * layer.matrices.depth;
        let mut sums: Vec<(Vec<f64>, u64)> =
            self.layers.iter().map(|(layer, _)| (vec![0.; size(layer)], 0)).collect();
        progress.begin("Bias correction", feed.len() as u64);
        let passes: Vec<usize> = (0..feed.len()).collect();
        for block in passes.chunks(rayon::current_num_threads()) {
            let run = |&pass: &usize| {
                let inputs = feed.inputs(pass).map_err(CalibrationError::Data)?;
                let values = engine.run(&inputs, &Changes::default(), Keep::All);
                let mut values = values
                    .map_err(|source| CalibrationError::Run { sample: feed.name(pass), source })?;
                values.retain(&read);
                Ok(values)
            };
            let values: Vec<Values> = block.par_iter().map(run).collect::<Result<_, _>>()?;
            self.layers.par_iter().zip(&mut sums).for_each(|((layer, _), (sums, n))| {
                for values in &values {
                    *n += self.add(layer, values, sums);
                }
            });
            progress.advance(block.len() as u64);
        }
        progress.finish();
        let mean =
            |(sums, n): (Vec<f64>, u64)| sums.iter().map(|sum| sum / n.max(1) as f64).collect();
        Ok(sums.into_iter().map(mean).collect())
    }

    /// Adds the patches of one pass; gives their number.
    fn add(&self, layer: &Layer, values: &Values, sums: &mut [f64]) -> u64 {
        let depth = layer.matrices.depth;
        layer.visit_patches(
            self.correcting.graph,
            &|id| values.tensor(id),
            &mut |group, patches| {
                let n = patches.len() / depth.max(1);
                let rows = patches.chunks_exact(n.max(1));
                for (sum, row) in sums[group * depth..][..depth].iter_mut().zip(rows) {
                    *sum += kernels::sum(row);
                }
            },
        )
    }

    /// `b - (R - W) E[x]`
    fn corrected(
        &self,
        layer: &Layer,
        bias: ValueId,
        means: &[f64],
        encoding: &Encoding,
    ) -> Vec<f32> {
        let Correcting { graph, placement, rounded, .. } = self.correcting;
        let value = placement.weights[layer.site].value;
        let weight = tensor(graph, value);
        let known = rounded.and_then(|set| set.get(graph.value_name(value), encoding.bits));
        let rounded = known.map_or_else(
            || {
                let mut nearest = weight.clone();
                encoding.fake_quantize(&mut nearest);
                nearest
            },
            |known| known.tensor(weight.shape()),
        );
        let (weight, rounded) = (weight.slice::<f32>(), rounded.slice::<f32>());
        let (matrices, bias) = (&layer.matrices, tensor(graph, bias).slice::<f32>());
        let corrected = bias.iter().enumerate().map(|(channel, &b)| {
            let (group, row) = (channel / matrices.rows, channel % matrices.rows);
            let error = (0..matrices.depth).map(|k| {
                let at = matrices.position(group, row, k);
                let error = f64::from(rounded[at]) - f64::from(weight[at]);
                error * means[group * matrices.depth + k]
            });
            (f64::from(b) - error.sum::<f64>()) as f32
        });
        corrected.collect()
    }
}

fn tensor(graph: &Graph, id: ValueId) -> &Tensor {
    graph.constant(id).expect("weights and biases are constants").tensor()
}
