//! Calibration: ranges of all quantizers from the float network, once, and their encodings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use rayon::prelude::*;

use crate::data::{DataError, Feed};
use crate::exec::{Engine, RunError};
use crate::graph::{Graph, NodeId, ValueId};
use crate::progress::Progress;
use crate::quant::{
    Bits, Encoding, Groups, Histogram, Placement, Range, RangeMethod, Share, Target,
    activation_range, weight_range,
};
use crate::tensor::DType;

/// How ranges are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RangeMethods {
    pub weights: RangeMethod,
    pub activations: RangeMethod,
    /// Whether a weight has a range per output channel.
    pub per_channel: bool,
}

/// The encodings of every quantizer of a [`Placement`], by position, for every width it may take.
#[derive(Debug, Clone, PartialEq)]
pub struct Encodings {
    pub activations: Vec<BTreeMap<Bits, Encoding>>,
    pub weights: Vec<BTreeMap<Bits, Encoding>>,
    pub operands: Vec<BTreeMap<Bits, Encoding>>,
    /// By weight, for its widths: its layer's bias that is corrected; empty where it is as it was.
    pub biases: Vec<BTreeMap<Bits, Vec<f32>>>,
}

#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    #[error("weight `{name}` has {n_elements} elements that are NaN or infinite")]
    WeightNotFinite { name: String, n_elements: usize },

    #[error(
        "activation `{name}` has {n_elements} elements that are NaN or infinite, over all calibration samples"
    )]
    ActivationNotFinite { name: String, n_elements: u64 },

    #[error("sample `{sample}`: {source}")]
    Run { sample: String, source: RunError },

    #[error(transparent)]
    Data(DataError),
}

/// What calibration looks at.
#[derive(Clone, Copy)]
pub struct Calibration<'a> {
    pub graph: &'a Graph,
    pub placement: &'a Placement,
    pub groups: &'a Groups,
    pub target: &'a Target,
    pub methods: RangeMethods,
}

/// One pass over the samples for the activations, then the ranges of everything.
pub fn calibrate(
    calibration: &Calibration<'_>,
    engine: &dyn Engine,
    feed: &Feed<'_>,
    progress: &dyn Progress,
) -> Result<Encodings, CalibrationError> {
    calibration.check_weights()?;
    let histograms = calibration.observe(engine, feed, progress)?;
    let activations = calibration.activations(&histograms);
    let weights = calibration.weights(&calibration.finest_scales(&histograms, &activations));
    let operands = calibration.operands();
    let biases = vec![BTreeMap::new(); weights.len()];
    Ok(Encodings { activations, weights, operands, biases })
}

impl Calibration<'_> {
    fn check_weights(&self) -> Result<(), CalibrationError> {
        let weights = self.placement.weights.iter().map(|site| site.value);
        let operands = self.placement.operands.iter().map(|site| site.value);
        for value in weights.chain(operands) {
            let elements = self.constant(value);
            let n_elements = elements.iter().filter(|x| !x.is_finite()).count();
            if 0 < n_elements {
                let name = self.graph.value_name(value).to_owned();
                return Err(CalibrationError::WeightNotFinite { name, n_elements });
            }
        }
        Ok(())
    }

    fn observe(
        &self,
        engine: &dyn Engine,
        feed: &Feed<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<Histogram>, CalibrationError> {
        let class = self.encoding_classes();
        let histograms: Vec<Mutex<Histogram>> = class.iter().map(|_| Mutex::default()).collect();
        let mut position = vec![None; self.graph.n_values()];
        for (index, value) in self.placement.activations.iter().enumerate() {
            position[value.index()] = Some(index);
        }
        progress.begin("Calibration", feed.len() as u64);
        (0..feed.len()).into_par_iter().try_for_each(|pass| {
            let inputs = feed.inputs(pass).map_err(CalibrationError::Data)?;
            let observed = engine.observe(&inputs, &mut |value, elements| {
                if let Some(index) = position[value.index()] {
                    Histogram::add_shared(&histograms[class[index]], elements);
                }
            });
            let sample = || feed.name(pass);
            observed.map_err(|source| CalibrationError::Run { sample: sample(), source })?;
            progress.advance(1);
            Ok(())
        })?;
        progress.finish();
        let histograms: Vec<Histogram> = histograms
            .into_iter()
            .map(|histogram| histogram.into_inner().expect("no counting panics"))
            .collect();
        for (value, &class) in self.placement.activations.iter().zip(&class) {
            let n_elements = histograms[class].n_not_finite();
            if 0 < n_elements {
                let name = self.graph.value_name(*value).to_owned();
                return Err(CalibrationError::ActivationNotFinite { name, n_elements });
            }
        }
        Ok(class.iter().map(|&class| histograms[class].clone()).collect())
    }

    /// For every activation the first one whose encoding it shares because the target says so.
    fn encoding_classes(&self) -> Vec<usize> {
        let activations = &self.placement.activations;
        let mut class: Vec<usize> = (0..activations.len()).collect();
        let maker = self.makers();
        let is_free = |index: &usize| {
            !maker[*index].is_some_and(|operator| self.target.fixes_range(operator))
        };
        let position = |value: ValueId| activations.iter().position(|&other| other == value);
        for (id, node) in self.graph.nodes() {
            let (share, with_output) = self.target.tie(self.placement.operator(id));
            if share != Share::SameEncoding {
                continue;
            }
            let mut tied = self.placement.reads(self.graph, id);
            let output = node.output(0).filter(|_| with_output);
            tied.extend(output.and_then(|output| self.placement.root(output)));
            let tied = tied.into_iter().filter_map(position);
            let tied: Vec<usize> = tied.filter(is_free).collect();
            let classes: BTreeSet<usize> = tied.iter().map(|&index| class[index]).collect();
            let Some(&first) = classes.first() else { continue };
            class.iter_mut().filter(|c| classes.contains(c)).for_each(|c| *c = first);
        }
        class
    }

    /// For every activation the operator that makes it; `None` for an input of the network.
    fn makers(&self) -> Vec<Option<&str>> {
        let producers = self.graph.producers();
        let maker =
            |value: &ValueId| producers[value.index()].map(|id| self.placement.operator(id));
        self.placement.activations.iter().map(maker).collect()
    }

    fn activations(&self, histograms: &[Histogram]) -> Vec<BTreeMap<Bits, Encoding>> {
        let makers = self.makers();
        let one = |((value, histogram), &maker): ((&ValueId, &Histogram), &Option<&str>)| {
            let widths = self.widths(|group| group.activations.contains(value));
            let encoding = |bits: Bits| (bits, self.activation(histogram, maker, bits));
            widths.into_iter().map(encoding).collect()
        };
        let activations = self.placement.activations.par_iter();
        activations.zip(histograms).zip(&makers).map(one).collect()
    }

    fn activation(&self, histogram: &Histogram, maker: Option<&str>, bits: Bits) -> Encoding {
        let scheme = self.target.output_scheme(maker, bits);
        let rule = maker.and_then(|operator| self.target.output_rule(operator));
        let observed = || activation_range(self.methods.activations, bits, scheme, histogram);
        let range = rule.and_then(|rule| rule.range(bits)).unwrap_or_else(observed);
        Encoding::new(bits, scheme, None, &[range])
    }

    /// For every activation its scale at the largest width, whether it may take that or not: so the
    /// encodings of weights do not depend on the candidates.
    fn finest_scales(
        &self,
        histograms: &[Histogram],
        activations: &[BTreeMap<Bits, Encoding>],
    ) -> Vec<f64> {
        let makers = self.makers();
        let scale = |index: usize| match activations[index].get(&Bits::MOST) {
            Some(known) => f64::from(known.scales[0]),
            None => {
                let finest = self.activation(&histograms[index], makers[index], Bits::MOST);
                f64::from(finest.scales[0])
            }
        };
        (0..activations.len()).into_par_iter().map(scale).collect()
    }

    fn operands(&self) -> Vec<BTreeMap<Bits, Encoding>> {
        let one = |(index, site): (usize, &crate::quant::OperandSite)| {
            let elements = self.constant(site.value);
            let extreme = |f: fn(f32, f32) -> f32| elements.iter().copied().fold(0., f);
            let range = Range::new(extreme(f32::min), extreme(f32::max));
            let widths = self.widths(|group| group.operands.contains(&index));
            let encoding = |bits: Bits| {
                let scheme = self.target.activations.scheme(bits);
                (bits, Encoding::new(bits, scheme, None, &[range]))
            };
            widths.into_iter().map(encoding).collect()
        };
        self.placement.operands.iter().enumerate().map(one).collect()
    }

    /// The activation widths that the group a quantizer is in may take.
    fn widths(&self, is_in: impl Fn(&crate::quant::Group) -> bool) -> BTreeSet<Bits> {
        let groups = self.groups.groups.iter().filter(|group| is_in(group));
        let widths = groups.flat_map(|group| &group.choices).map(|choice| choice.activation);
        widths.filter(|bits| !bits.is_float()).collect()
    }

    fn weights(&self, finest: &[f64]) -> Vec<BTreeMap<Bits, Encoding>> {
        let sites = &self.placement.weights;
        let one = |index: usize| {
            let site = &sites[index];
            let group = self.groups.groups.iter().find(|group| group.weights.contains(&index));
            let choices = group.map_or(&[][..], |group| &group.choices);
            let widths: BTreeSet<Bits> =
                choices.iter().filter_map(|choice| choice.weight).collect();
            let axis = site.axis.filter(|_| self.methods.per_channel);
            let channels = self.channels(site.value, axis);
            let floor = self.least_scales(&site.nodes, finest, channels.len());
            let encoding = |bits: Bits| {
                let scheme = self.target.weights;
                let range = |w: &Vec<f32>| weight_range(self.methods.weights, bits, scheme, w);
                let ranges: Vec<Range> = channels.iter().map(range).collect();
                let mut encoding = Encoding::new(bits, scheme, axis, &ranges);
                for (scale, &least) in encoding.scales.iter_mut().zip(&floor) {
                    *scale = if *scale < least { least } else { *scale };
                }
                (bits, encoding)
            };
            widths.into_iter().filter(|bits| !bits.is_float()).map(encoding).collect()
        };
        (0..sites.len()).into_par_iter().map(one).collect()
    }

    /// The elements of each slice along `axis`, or all of them.
    fn channels(&self, value: ValueId, axis: Option<usize>) -> Vec<Vec<f32>> {
        let elements = self.constant(value);
        let Some(axis) = axis else { return vec![elements.to_vec()] };
        let shape = &self.graph.constant(value).expect("weights are constants").ty().shape;
        slices(elements, shape[axis], shape[axis + 1..].iter().product())
    }

    /// The weight scales below which a bias would overflow int32 at the finest activation scale:
    /// its integer is `bias / (weight scale x activation scale)`. onnxruntime does the same.
    fn least_scales(&self, nodes: &[NodeId], finest: &[f64], n_channels: usize) -> Vec<f32> {
        let mut least = vec![0_f64; n_channels];
        for &id in nodes {
            let bias = self.placement.role(id).bias.and_then(|b| self.graph.node(id).input(b));
            let bias = bias.and_then(|value| self.graph.constant(value));
            let Some(bias) = bias.filter(|c| c.ty().dtype == DType::F32) else { continue };
            let reads = self.placement.reads(self.graph, id);
            let positions = self.placement.activations.iter().enumerate();
            let finest = positions
                .filter(|(_, value)| reads.contains(value))
                .map(|(position, _)| finest[position])
                .fold(f64::INFINITY, f64::min);
            // A recurrent operator has several biases for a channel, one block after the other.
            for (index, b) in bias.tensor().slice::<f32>().iter().enumerate() {
                let scale = f64::from(b.abs()) / (f64::from(i32::MAX) * finest);
                if let Some(channel) = index.checked_rem(n_channels) {
                    least[channel] = least[channel].max(scale);
                }
            }
        }
        least.into_iter().map(|scale| scale as f32).collect()
    }

    fn constant(&self, value: ValueId) -> &[f32] {
        let constant = self.graph.constant(value).expect("weights are constants");
        constant.tensor().slice::<f32>()
    }
}

/// `elements` are `[outer, n_slices, inner]`; the elements of each slice, in their order.
fn slices(elements: &[f32], n_slices: usize, inner: usize) -> Vec<Vec<f32>> {
    let outer = elements.len() / (n_slices * inner).max(1);
    let mut slices = vec![Vec::with_capacity(outer * inner); n_slices];
    // As many slices at a time as a cache line has elements: each line is read once.
    for (block, slices) in slices.chunks_mut(16).enumerate() {
        for row in elements.chunks_exact((n_slices * inner).max(1)) {
            let parts = row[block * 16 * inner..].chunks_exact(inner.max(1));
            slices.iter_mut().zip(parts).for_each(|(slice, part)| slice.extend_from_slice(part));
        }
    }
    slices
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, Axis};

    use super::*;

    #[test]
    fn slices_are_those_along_the_axis() {
        for [outer, n, inner] in [[1, 3, 4], [3, 5, 1], [2, 33, 3], [4, 1, 2], [2, 0, 3], [0, 2, 3]]
        {
            let elements: Vec<f32> = (0..outer * n * inner).map(|i| i as f32).collect();
            let array = Array3::from_shape_vec([outer, n, inner], elements.clone()).unwrap();
            let expected: Vec<Vec<f32>> =
                array.axis_iter(Axis(1)).map(|slice| slice.iter().copied().collect()).collect();
            assert_eq!(slices(&elements, n, inner), expected);
        }
    }
}
