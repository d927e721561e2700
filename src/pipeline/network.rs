//! [`Network`]: a loaded model, made ready for quantization: simplified, typed, grouped.

use std::collections::BTreeMap;

use crate::artifact;
use crate::cost::{CostTable, uniform};
use crate::data::InputSpec;
use crate::exec::{EngineKind, Reference};
use crate::graph::{Graph, Types, ValueId, infer};
use crate::metric::sqnr::Aggregation;
use crate::onnx::Model;
use crate::pipeline::{PipelineError, Preparation};
use crate::quant::{
    Candidate, Candidates, Groups, Pin, Placement, RangeMethod, RangeMethods, Rounding, Target,
};
use crate::tensor::{DType, Tensor, TensorType};

/// Everything that a result depends on besides the model and the samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub candidates: Candidates,
    pub target: Target,
    pub ranges: RangeMethods,
    pub rounding: Rounding,
    pub preparation: Preparation,
    pub aggregation: Aggregation,
    /// Tensors whose SQNR counts; `None` for the float outputs of the network.
    pub outputs: Option<Vec<String>>,
    pub pins: Vec<Pin>,
    /// What operators take, for budgets of latency.
    pub cost_table: Option<CostTable>,
    pub engine: EngineKind,
    pub seed: u64,
    /// Free dimensions bound by name.
    pub dims: BTreeMap<String, usize>,
}

/// What the command line takes where nothing is asked for.
impl Default for Settings {
    fn default() -> Settings {
        Settings {
            candidates: "W4A8,W8A8,W8A16".parse().expect("the list is valid"),
            target: Target::built_in("generic").expect("it is built in"),
            ranges: RangeMethods {
                weights: RangeMethod::Mse,
                activations: RangeMethod::Mse,
                per_channel: true,
            },
            rounding: Rounding::NEAREST,
            preparation: Preparation::NONE,
            aggregation: Aggregation::Pooled,
            outputs: None,
            pins: Vec::new(),
            cost_table: None,
            engine: EngineKind::Fast,
            seed: 0,
            dims: BTreeMap::new(),
        }
    }
}

/// What a result does not depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Passes whose activations are held at once; `None` for as many as memory allows, at most two
    /// a thread, or [`MOST_TOGETHER`](crate::sensitivity::MOST_TOGETHER) if that is more.
    pub batch: Option<usize>,
    /// What may be held besides the model itself.
    pub memory_bytes: usize,
}

/// A gibibyte, and as many passes as it holds.
impl Default for Resources {
    fn default() -> Resources {
        Resources { batch: None, memory_bytes: 1 << 30 }
    }
}

/// A network with its quantizers and groups.
#[derive(Debug)]
pub struct Network {
    pub file: String,
    pub sha256: String,
    pub graph: Graph,
    pub types: Types,
    pub placement: Placement,
    pub groups: Groups,
    /// The tensors whose SQNR counts.
    pub outputs: Vec<ValueId>,
    pub settings: Settings,
}

impl Network {
    /// Simplifies the model's graph and finds its quantizers and groups.
    ///
    /// `inputs` are the types of one sample, see [`input_types`]. What depends on values is not
    /// known then, and stays in float; [`Network::of_sample`] knows it.
    pub fn new(
        model: Model,
        inputs: &[TensorType],
        settings: Settings,
    ) -> Result<Network, PipelineError> {
        Network::typed(model, settings, |graph| Ok(infer(graph, inputs)))
    }

    /// The same for the types that the values of one pass have.
    ///
    /// The network runs only if there are types that do not follow from those of its inputs.
    pub fn of_sample(
        model: Model,
        inputs: &[Tensor],
        settings: Settings,
        resources: Resources,
    ) -> Result<Network, PipelineError> {
        let input_types: Vec<TensorType> = inputs.iter().map(Tensor::ty).collect();
        Network::typed(model, settings, |graph| {
            let mut types = infer(graph, &input_types);
            if types.errors.is_empty() && !types.are_complete(graph) {
                let engine = Reference::new(graph, resources.memory_bytes);
                let seen = engine.types(inputs).map_err(PipelineError::FirstPass)?;
                types.observe(|id| seen[id.index()].clone());
            }
            Ok(types)
        })
    }

    fn typed(
        model: Model,
        settings: Settings,
        types: impl FnOnce(&Graph) -> Result<Types, PipelineError>,
    ) -> Result<Network, PipelineError> {
        let graph = settings.preparation.apply(model.graph, settings.outputs.as_deref())?;
        let types = types(&graph)?;
        if !types.errors.is_empty() {
            return Err(PipelineError::Nodes { file: model.file, nodes: types.errors });
        }
        let outputs = float_outputs(&graph, &types)?;
        let placement = Placement::new(&graph, &types, &settings.target);
        let groups = Groups::new(
            &graph,
            &types,
            &placement,
            &settings.target,
            &settings.candidates,
            &settings.pins,
        )
        .map_err(PipelineError::Groups)?;
        Ok(Network {
            file: model.file,
            sha256: model.sha256,
            graph,
            types,
            placement,
            groups,
            outputs,
            settings,
        })
    }
}

impl Network {
    /// The names of the tensors whose SQNR counts.
    pub fn output_names(&self) -> Vec<String> {
        self.outputs.iter().map(|&id| self.graph.value_name(id).to_owned()).collect()
    }

    /// Every group at a listed candidate, or the nearest more precise one that it may take.
    pub fn uniform(&self, candidate: Candidate) -> Vec<(usize, Candidate)> {
        uniform(&self.groups, candidate).into_iter().enumerate().collect()
    }

    /// Pins the groups that were pinned when sensitivities were measured, to the same; those that
    /// are pinned already stay as they are.
    pub fn pin_as_measured(&mut self, file: &artifact::Sensitivity) {
        for group in self.groups.groups.iter_mut().filter(|group| !group.is_pinned) {
            let pinned = file.groups.iter().find(|other| other.pinned && other.id == group.id);
            let Some(pinned) = pinned else { continue };
            group.choices = pinned.choices.iter().map(|choice| choice.candidate).collect();
            group.is_pinned = true;
        }
    }
}

/// A graph made ready for [`Evaluation`](crate::pipeline::Evaluation): it puts out the tensors
/// `compared` besides its own outputs.
pub fn evaluable(
    graph: Graph,
    compared: &[String],
    preparation: Preparation,
) -> Result<Graph, PipelineError> {
    let names = outputs_and(&graph, compared);
    preparation.apply(graph, names.as_deref())
}

/// The names of a graph's outputs and of the tensors `compared`; `None` where these add none.
pub fn outputs_and(graph: &Graph, compared: &[String]) -> Option<Vec<String>> {
    let mut names: Vec<String> =
        graph.outputs().iter().map(|&id| graph.value_name(id).to_owned()).collect();
    let n_outputs = names.len();
    for name in compared {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    (n_outputs < names.len()).then_some(names)
}

/// The tensors of a graph by name.
pub fn find_outputs(graph: &Graph, names: &[String]) -> Result<Vec<ValueId>, PipelineError> {
    let find = |name: &String| {
        let id = graph.find_value(name);
        id.ok_or_else(|| PipelineError::UnknownOutput { name: name.clone() })
    };
    names.iter().map(find).collect()
}

/// What the inputs of a graph take, for [`Dataset::open`](crate::data::Dataset::open).
pub fn input_specs(graph: &Graph) -> Vec<InputSpec> {
    let spec = |input: &crate::graph::GraphInput| InputSpec {
        name: graph.value_name(input.value).to_owned(),
        dtype: input.dtype,
        dims: input.dims.iter().map(crate::graph::Dim::fixed).collect(),
    };
    graph.inputs().iter().map(spec).collect()
}

/// The types of one sample where there is none: a free first dimension is 1.
///
/// # Errors
/// If another dimension is free.
pub fn input_types(graph: &Graph) -> Result<Vec<TensorType>, PipelineError> {
    let of_input = |input: &crate::graph::GraphInput| {
        let size = |(axis, dim): (usize, &crate::graph::Dim)| match dim.fixed() {
            Some(size) => Ok(size),
            None if axis == 0 => Ok(1),
            None => Err(PipelineError::FreeDim {
                input: graph.value_name(input.value).to_owned(),
                shape: input.shape_text(),
                dim: dim.to_string(),
            }),
        };
        let shape = input.dims.iter().enumerate().map(size).collect::<Result<Vec<usize>, _>>()?;
        Ok(TensorType { dtype: input.dtype, shape })
    };
    graph.inputs().iter().map(of_input).collect()
}

/// Adds inner tensors that are asked for to the outputs, and drops the others.
pub(super) fn select_outputs(
    graph: Graph,
    names: Option<&[String]>,
) -> Result<Graph, PipelineError> {
    let Some(names) = names else { return Ok(graph) };
    let find = |name: &String| {
        let id = graph.find_value(name).filter(|&id| graph.constant(id).is_none());
        id.ok_or_else(|| PipelineError::UnknownOutput { name: name.clone() })
    };
    let ids = names.iter().map(find).collect::<Result<Vec<ValueId>, _>>()?;
    Ok(graph.with_outputs(ids))
}

/// Those that can be compared: of float32, and with elements.
fn float_outputs(graph: &Graph, types: &Types) -> Result<Vec<ValueId>, PipelineError> {
    let is_float = |id: &ValueId| {
        types.get(*id).is_some_and(|ty| ty.dtype == DType::F32 && !ty.is_empty())
            && graph.constant(*id).is_none()
    };
    let outputs: Vec<ValueId> = graph.outputs().iter().copied().filter(is_float).collect();
    if outputs.is_empty() {
        let found: Vec<String> = graph
            .outputs()
            .iter()
            .map(|&id| match types.get(id) {
                Some(ty) if ty.is_empty() => format!("`{}` is {ty}", graph.value_name(id)),
                Some(ty) => format!("`{}` is {}", graph.value_name(id), ty.dtype),
                None => format!("`{}` is of unknown type", graph.value_name(id)),
            })
            .collect();
        return Err(PipelineError::NoFloatOutput { found: found.join(", ") });
    }
    Ok(outputs)
}
