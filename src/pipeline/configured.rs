//! [`Configured`]: a network with the encodings that a configuration gives to its tensors.

use std::collections::BTreeMap;

use crate::artifact::Config;
use crate::graph::{Graph, NodeId, Rewrite, Types, ValueId, infer};
use crate::onnx::settle_axes;
use crate::ops::OutputRange;
use crate::pipeline::prepare::nominal_types;
use crate::pipeline::{
    PipelineError, Preparation, encoded, evaluable, expect_rounding, input_types,
};
use crate::quant::{Encoding, Placement, Rounded, RoundedWeight, Target};
use crate::tensor::{DType, Tensor, TensorType};

/// A simplified network, where it is rounded, and how.
#[derive(Debug)]
pub struct Configured {
    pub graph: Graph,
    pub types: Types,
    pub placement: Placement,
    /// Of the activations that are rounded; by the value that is rounded.
    pub activations: BTreeMap<ValueId, Encoding>,
    /// Of weights and constant operands.
    pub constants: BTreeMap<ValueId, Encoding>,
    /// The integers of weights that are not rounded to nearest.
    rounded: Option<Rounded>,
    producers: Vec<Option<NodeId>>,
}

impl Configured {
    /// `graph` is that of the model that the configuration was made for, `rounded` the set of weights.
    ///
    /// # Errors
    /// If a tensor of the file is not in the graph, or its encoding does not fit it, or if `rounded` is
    /// not the set that the file was made with.
    pub fn new(
        graph: Graph,
        config: &Config,
        target: &Target,
        rounded: Option<Rounded>,
    ) -> Result<Configured, PipelineError> {
        expect_rounding(&config.settings.rounding, rounded.as_ref())?;
        let outputs: Vec<String> =
            graph.outputs().iter().map(|&id| graph.value_name(id).to_owned()).collect();
        let preparation = Preparation::of(&config.settings);
        let graph = evaluable(graph, &config.settings.outputs, preparation)?;
        let types = infer(&graph, &sample_types(&graph)?);
        if !types.errors.is_empty() {
            let file = config.model.file.clone();
            return Err(PipelineError::Nodes { file, nodes: types.errors });
        }
        let graph = settle_axes(graph, &types);
        let placement = Placement::new(&graph, &types, target);
        let outputs = crate::pipeline::find_outputs(&graph, &outputs)?;
        let graph = graph.with_outputs(outputs);
        let graph = corrected(graph, config)?;
        let activations = activations(&graph, config)?;
        let constants = constants(&graph, config)?;
        let producers = graph.producers();
        let net =
            Configured { graph, types, placement, activations, constants, rounded, producers };
        match net.constants.keys().find(|&&id| !net.fits_rounded(id)) {
            None => Ok(net),
            Some(&id) => Err(PipelineError::OtherScales {
                name: net.graph.value_name(id).to_owned(),
                bits: net.constants[&id].bits,
            }),
        }
    }

    /// The encoding that a value has: its own, or that of what it was moved from. What an operator
    /// computes anew is not on the grid of its input, even where a target hands the encoding on.
    pub fn encoding(&self, value: ValueId) -> Option<&Encoding> {
        if let Some(encoding) = self.activations.get(&value) {
            return Some(encoding);
        }
        let root = self.placement.root(value).filter(|&root| root != value)?;
        self.activations.get(&root).filter(|_| self.is_moved(value))
    }

    /// Whether there are constants in use that `original`, the graph of the file, does not have.
    pub fn is_rewritten(&self, original: &Graph) -> bool {
        let names = original.value_ids().map(|id| (original.value_name(id), id));
        let known: BTreeMap<&str, ValueId> = names.collect();
        let mut read = self.graph.nodes().flat_map(|(_, node)| node.present_inputs());
        read.any(|(_, id)| {
            let Some(constant) = self.graph.constant(id) else { return false };
            let old = known.get(self.graph.value_name(id)).and_then(|&id| original.constant(id));
            !old.is_some_and(|old| old.is_same(constant))
        })
    }

    /// Whether all on the way from the root to a value only moves values.
    fn is_moved(&self, value: ValueId) -> bool {
        let root = self.placement.root(value);
        let mut at = value;
        while Some(at) != root {
            let Some(producer) = self.producers[at.index()] else { return false };
            let node = self.graph.node(producer);
            let role = self.types.with_inputs(node, |inputs| node.operator.quant(inputs));
            let Some(OutputRange::SameAsInput(position)) = role.map(|role| role.output) else {
                return false;
            };
            let Some(input) = node.input(position) else { return false };
            at = input;
        }
        true
    }

    /// Whether a constant has no other encoding in the set of rounded weights.
    fn fits_rounded(&self, constant: ValueId) -> bool {
        let encoding = &self.constants[&constant];
        let shape = self.graph.constant(constant).map_or(&[][..], |constant| &constant.ty().shape);
        self.rounded_weight(constant).is_none_or(|weight| weight.fits(shape, encoding))
    }

    fn rounded_weight(&self, constant: ValueId) -> Option<&RoundedWeight> {
        let name = self.graph.value_name(constant);
        self.rounded.as_ref()?.get(name, self.constants[&constant].bits)
    }

    /// The integers of a constant, in its order: to nearest where no set of rounded weights has it.
    ///
    /// # Panics
    /// If the constant has no encoding.
    pub fn integers(&self, constant: ValueId) -> Vec<i32> {
        if let Some(weight) = self.rounded_weight(constant) {
            return weight.integers.iter().map(|&integer| i32::from(integer)).collect();
        }
        let encoding = &self.constants[&constant];
        let tensor = self.graph.constant(constant).expect("checked when it was read").tensor();
        encoding.quantize(tensor)
    }

    /// A constant on its grid: what its integers stand for.
    ///
    /// # Panics
    /// If the constant has no encoding.
    pub fn on_grid(&self, constant: ValueId) -> Tensor {
        let encoding = &self.constants[&constant];
        let tensor = self.graph.constant(constant).expect("checked when it was read").tensor();
        if let Some(weight) = self.rounded_weight(constant) {
            return weight.tensor(tensor.shape());
        }
        let mut tensor = tensor.clone();
        encoding.fake_quantize(&mut tensor);
        tensor
    }

    /// Whether weights are not all rounded to nearest.
    pub fn has_rounded(&self) -> bool {
        self.rounded.is_some()
    }

    /// The encodings of the activations that a node reads as such, with their positions.
    pub fn reads(&self, node: NodeId) -> Vec<(usize, ValueId, &Encoding)> {
        let role = self.placement.role(node);
        let inputs = self.graph.node(node).present_inputs();
        let read = inputs.filter(|(position, value)| {
            let is_weight = role.weights.iter().any(|weight| weight.input == *position);
            (role.reads(*position) || is_weight) && self.graph.constant(*value).is_none()
        });
        read.filter_map(|(position, id)| Some((position, id, self.encoding(id)?))).collect()
    }
}

fn activations(
    graph: &Graph,
    config: &Config,
) -> Result<BTreeMap<ValueId, Encoding>, PipelineError> {
    let read = |(name, file)| {
        let encoding = encoded::read_activation(file);
        let misfit = || PipelineError::EncodingDoesNotFit { name: String::from(name) };
        let encoding = Some(encoding).filter(|e| e.fits(&[])).ok_or_else(misfit)?;
        Ok((find(graph, name)?, encoding))
    };
    config.encodings.activations.iter().map(read).collect()
}

fn constants(graph: &Graph, config: &Config) -> Result<BTreeMap<ValueId, Encoding>, PipelineError> {
    let read = |(name, file)| {
        let encoding = encoded::read_weight(file);
        let id = find(graph, name)?;
        let fits = graph.constant(id).is_some_and(|constant| {
            constant.ty().dtype == DType::F32 && encoding.fits(&constant.ty().shape)
        });
        let misfit = || PipelineError::EncodingDoesNotFit { name: String::from(name) };
        Ok((id, Some(encoding).filter(|_| fits).ok_or_else(misfit)?))
    };
    config.encodings.weights.iter().map(read).collect()
}

/// The graph with the corrected biases.
fn corrected(graph: Graph, config: &Config) -> Result<Graph, PipelineError> {
    let mut rewrite = Rewrite::new(graph);
    for (name, elements) in config.encodings.biases.iter() {
        let id = find(rewrite.graph(), name)?;
        let bias = encoded::read_bias(rewrite.graph(), id, elements)?;
        rewrite.set_constant(id, bias);
    }
    Ok(rewrite.finish())
}

fn find(graph: &Graph, name: &str) -> Result<ValueId, PipelineError> {
    let unknown = || PipelineError::UnknownTensor { name: name.to_owned() };
    graph.find_value(name).ok_or_else(unknown)
}

/// The types of a sample; sizes that only a real one has are made up.
pub(super) fn sample_types(graph: &Graph) -> Result<Vec<TensorType>, PipelineError> {
    if let Ok(types) = input_types(graph) {
        return Ok(types);
    }
    let types = nominal_types(graph);
    // Where the network does not take them, the free dimension is what is wrong.
    if infer(graph, &types).errors.is_empty() { Ok(types) } else { input_types(graph) }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::sync::Arc;

    use super::*;
    use crate::exec::{Changes, Engine as _, Keep, Prepared, Reference, ValueHook};
    use crate::graph::testing::{inputs, types};
    use crate::quant::{Bits, FakeQuantize, Range};

    /// A network whose values are all rounded for `generic` as if they were within -1.5 and 2.5, each
    /// to the bits of its name; weights as if they were within -1 and 1. 32 bits leave it in float.
    pub(crate) fn configured(graph: Graph, bits: impl Fn(&str) -> u8) -> Configured {
        let types = types(&graph);
        let target = Target::built_in("generic").unwrap();
        let placement = Placement::new(&graph, &types, &target);
        let bits = |id| Bits::new(bits(graph.value_name(id))).unwrap();
        let activation = |&id: &ValueId| {
            let scheme = target.activations.scheme(bits(id));
            let range = [Range::new(-1.5, 2.5)];
            (!bits(id).is_float()).then(|| (id, Encoding::new(bits(id), scheme, None, &range)))
        };
        let activations = placement.activations.iter().filter_map(activation).collect();
        let constant = |(id, axis): (ValueId, Option<usize>)| {
            let shape = &graph.constant(id).unwrap().ty().shape;
            let ranges = vec![Range::new(-1., 1.); axis.map_or(1, |axis| shape[axis])];
            let encoding = || Encoding::new(bits(id), target.weights, axis, &ranges);
            (!bits(id).is_float()).then(|| (id, encoding()))
        };
        let weights = placement.weights.iter().map(|site| (site.value, site.axis));
        let operands = placement.operands.iter().map(|site| (site.value, None));
        let constants = weights.chain(operands).filter_map(constant).collect();
        let producers = graph.producers();
        Configured { types, placement, activations, constants, rounded: None, producers, graph }
    }

    /// The outputs of a network as its simulation gives them.
    pub(crate) fn simulate(net: &Configured) -> Vec<Tensor> {
        let hooks: Vec<(ValueId, FakeQuantize)> =
            net.activations.iter().map(|(&id, e)| (id, FakeQuantize::new(e.clone()))).collect();
        let rounded = |(&id, encoding): (&ValueId, &Encoding)| {
            let mut tensor = net.graph.constant(id).unwrap().tensor().clone();
            encoding.fake_quantize(&mut tensor);
            (id, Arc::new(Prepared::new(tensor)))
        };
        let changes = Changes {
            constants: net.constants.iter().map(rounded).collect(),
            hooks: hooks.iter().map(|(id, hook)| (*id, hook as &dyn ValueHook)).collect(),
        };
        let engine = Reference::new(&net.graph, usize::MAX);
        let values = engine.run(&inputs(&net.graph), &changes, Keep::Outputs).unwrap();
        net.graph.outputs().iter().map(|&id| values.get(id).unwrap().clone()).collect()
    }
}
