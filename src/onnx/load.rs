//! From a file to a [`Graph`]: initializers stay in the mapped file, nodes get their operators.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::graph::{BuildError, Builder, Constant, Dim, Graph, NodeError};
use crate::onnx::dtype::dtype;
use crate::onnx::error::{InputProblem, LoadError};
use crate::onnx::external::External;
use crate::onnx::file::read_model;
use crate::onnx::frame::{Frame, FunctionId, functions};
use crate::onnx::origin::Origin;
use crate::onnx::proto::tensor_shape_proto::dimension::Value as DimValue;
use crate::onnx::proto::type_proto::Value as TypeValue;
use crate::onnx::proto::{
    FunctionProto, GraphProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};
use crate::onnx::{sparse, tensor};
use crate::ops::NEWEST_OPSET;
use crate::tensor::TensorType;

/// The oldest opset of the default domain that is read.
const OLDEST_OPSET: u16 = 1;

/// What a sparse tensor may take where no one sets another limit.
const DEFAULT_LIMIT_BYTES: usize = 1 << 30;

/// A network as it is in its file, and what is known of the file.
#[derive(Debug)]
pub struct Model {
    pub graph: Graph,
    /// Nodes that cannot run; empty for a model from [`load`].
    pub bad_nodes: Vec<NodeError>,
    /// Over the file and its external data, in hex.
    pub sha256: String,
    /// The file's name, without its folder.
    pub file: String,
    /// Of the default domain.
    pub opset: u16,
    /// What a file made from this one takes over.
    pub origin: Origin,
}

/// Loads a model that is to run.
///
/// `dims` binds free dimensions by name.
///
/// # Errors
/// If the file is no model, or has nodes that cannot run: all of them are listed.
pub fn load(path: &Path, dims: &BTreeMap<String, usize>) -> Result<Model, LoadError> {
    load_within(path, dims, DEFAULT_LIMIT_BYTES)
}

/// The same where a tensor may not take more than `limit_bytes` unless the file is as large.
pub fn load_within(
    path: &Path,
    dims: &BTreeMap<String, usize>,
    limit_bytes: usize,
) -> Result<Model, LoadError> {
    let mut model = read(path, dims, limit_bytes)?;
    if model.bad_nodes.is_empty() {
        return Ok(model);
    }
    let nodes = std::mem::take(&mut model.bad_nodes);
    Err(LoadError::Nodes { path: path.to_owned(), nodes })
}

/// Loads a model that is only looked at: bad nodes are listed beside it.
pub fn load_lenient(path: &Path, dims: &BTreeMap<String, usize>) -> Result<Model, LoadError> {
    read(path, dims, DEFAULT_LIMIT_BYTES)
}

fn read(
    path: &Path,
    dims: &BTreeMap<String, usize>,
    limit_bytes: usize,
) -> Result<Model, LoadError> {
    let (proto, bytes) = read_model(path).map_err(LoadError::File)?;
    let external = External::beside(path);
    let opsets = opsets(path, &proto.opset_import)?;
    if opsets.is_empty() {
        return Err(LoadError::NoOpset { path: path.to_owned() });
    }
    let empty = GraphProto::default();
    let graph = proto.graph.as_ref().unwrap_or(&empty);
    check_dims(graph, dims)?;
    let frame = Frame::of_model(opsets.clone());
    let mut loader = Loader {
        path,
        builder: Builder::new(graph.name()),
        external: &external,
        functions: functions(&proto),
        dims,
        bad_nodes: Vec::new(),
        n_nodes: 0,
        n_bytes: 0,
        depth: 0,
        limit_bytes,
    };
    let graph = loader.main_graph(graph, &frame)?;
    Ok(Model {
        graph,
        bad_nodes: loader.bad_nodes,
        sha256: external.sha256(&bytes),
        file: path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned()),
        opset: opsets.get("").copied().unwrap_or(NEWEST_OPSET),
        origin: Origin::new(&proto),
    })
}

/// The version of every domain that a model or a function imports.
pub(super) fn opsets(
    path: &Path,
    imports: &[OperatorSetIdProto],
) -> Result<BTreeMap<String, u16>, LoadError> {
    let mut opsets = BTreeMap::new();
    for import in imports {
        let domain = normal_domain(import.domain());
        let found = import.version();
        let is_default = domain.is_empty();
        let version = u16::try_from(found).ok();
        let in_range = version.filter(|v| !is_default || (OLDEST_OPSET..=NEWEST_OPSET).contains(v));
        let version = in_range.ok_or_else(|| LoadError::Opset {
            path: path.to_owned(),
            found,
            oldest: OLDEST_OPSET,
            newest: NEWEST_OPSET,
        })?;
        opsets.insert(domain.to_owned(), version);
    }
    Ok(opsets)
}

pub(super) fn normal_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

/// Every name that `--dim` gives must be one of the model's.
fn check_dims(graph: &GraphProto, dims: &BTreeMap<String, usize>) -> Result<(), LoadError> {
    let shapes = graph.input.iter().filter_map(tensor_shape);
    let known: BTreeSet<&str> = shapes
        .flat_map(|shape| &shape.dim)
        .filter_map(|dim| match &dim.value {
            Some(DimValue::DimParam(name)) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    match dims.keys().find(|name| !known.contains(name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            let expected = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(LoadError::Dim { name: name.clone(), expected })
        }
    }
}

fn tensor_shape(info: &ValueInfoProto) -> Option<&crate::onnx::proto::TensorShapeProto> {
    match info.r#type.as_ref()?.value.as_ref()? {
        TypeValue::TensorType(tensor) => tensor.shape.as_ref(),
        _ => None,
    }
}

/// What is being loaded, and the graph that is being built: the main one or a subgraph.
pub(super) struct Loader<'a> {
    pub(super) path: &'a Path,
    pub(super) builder: Builder,
    pub(super) external: &'a External,
    pub(super) functions: BTreeMap<FunctionId, &'a FunctionProto>,
    pub(super) dims: &'a BTreeMap<String, usize>,
    pub(super) bad_nodes: Vec<NodeError>,
    pub(super) n_nodes: usize,
    /// Of the functions that were put in the place of calls.
    pub(super) n_bytes: usize,
    /// Of the calls and subgraphs around what is being read.
    pub(super) depth: usize,
    /// Of what is larger in memory than in the file.
    pub(super) limit_bytes: usize,
}

impl Loader<'_> {
    fn main_graph(&mut self, proto: &GraphProto, frame: &Frame) -> Result<Graph, LoadError> {
        self.constants(proto, frame)?;
        // Before IR version 4 every initializer was an input as well.
        let initializers = initializer_names(proto);
        for input in proto.input.iter().filter(|input| !initializers.contains(input.name())) {
            self.input(input)?;
        }
        self.nodes(&proto.node, frame)?;
        let outputs: Vec<String> = proto.output.iter().map(|o| o.name().to_owned()).collect();
        let builder = std::mem::take(&mut self.builder);
        builder.finish(&outputs).map_err(|source| self.build_error(source))
    }

    /// The initializers of a graph or subgraph.
    pub(super) fn constants(&mut self, proto: &GraphProto, frame: &Frame) -> Result<(), LoadError> {
        for initializer in &proto.initializer {
            self.initializer(initializer, frame)?;
        }
        for sparse in &proto.sparse_initializer {
            let name = sparse::name(sparse);
            let tensor = sparse::decode_sparse(sparse, self.external, self.limit_bytes);
            let tensor = tensor.map_err(|source| LoadError::SparseInitializer {
                path: self.owned_path(),
                name: name.to_owned(),
                source,
            })?;
            let name = frame.value(name);
            self.build(|builder| builder.constant(&name, tensor.into()))?;
        }
        Ok(())
    }

    fn initializer(&mut self, proto: &TensorProto, frame: &Frame) -> Result<(), LoadError> {
        let name = proto.name();
        let lazy = tensor::constant(proto, self.external).map_err(|source| {
            LoadError::Initializer { path: self.owned_path(), name: name.to_owned(), source }
        })?;
        let constant = Constant::lazy(lazy.ty().clone(), move || lazy.tensor().clone());
        let name = frame.value(name);
        self.build(|builder| builder.constant(&name, constant))
    }

    fn input(&mut self, info: &ValueInfoProto) -> Result<(), LoadError> {
        let problem = |problem| LoadError::Input {
            path: self.owned_path(),
            name: info.name().to_owned(),
            problem,
        };
        let value = info.r#type.as_ref().and_then(|ty| ty.value.as_ref());
        let tensor = match value {
            Some(TypeValue::TensorType(tensor)) => tensor,
            Some(TypeValue::SequenceType(_)) => {
                return Err(problem(InputProblem::NotATensor { found: "a sequence" }));
            }
            Some(TypeValue::OptionalType(_)) => {
                return Err(problem(InputProblem::NotATensor { found: "an optional" }));
            }
            Some(_) => return Err(problem(InputProblem::NotATensor { found: "a special type" })),
            None => return Err(problem(InputProblem::NotATensor { found: "no type" })),
        };
        let dtype = dtype(tensor.elem_type()).map_err(|e| problem(InputProblem::Type(e)))?;
        let shape = tensor.shape.as_ref().ok_or_else(|| problem(InputProblem::NoShape))?;
        let dims: Result<Vec<Dim>, InputProblem> =
            shape.dim.iter().map(|dim| self.dim(dim.value.as_ref())).collect();
        let dims = dims.map_err(problem)?;
        let smallest = dims.iter().map(|dim| dim.fixed().unwrap_or(1)).collect();
        let ty = TensorType { dtype, shape: smallest };
        if !ty.is_addressable() {
            return Err(problem(InputProblem::TooLarge { found: ty.shape }));
        }
        self.build(|builder| builder.input(info.name(), dtype, dims))
    }

    fn dim(&self, value: Option<&DimValue>) -> Result<Dim, InputProblem> {
        match value {
            // Some exporters write 0 or -1 for a free dimension.
            Some(DimValue::DimValue(..=0)) | None => Ok(Dim::Unnamed),
            Some(&DimValue::DimValue(size)) => {
                let size = usize::try_from(size).map_err(|_| InputProblem::Dim { found: size })?;
                Ok(Dim::Fixed(size))
            }
            Some(DimValue::DimParam(name)) if name.is_empty() => Ok(Dim::Unnamed),
            Some(DimValue::DimParam(name)) => Ok(match self.dims.get(name) {
                Some(&size) => Dim::Fixed(size),
                None => Dim::Symbol(name.clone()),
            }),
        }
    }

    pub(super) fn build<R>(
        &mut self,
        f: impl FnOnce(&mut Builder) -> Result<R, BuildError>,
    ) -> Result<R, LoadError> {
        f(&mut self.builder).map_err(|source| self.build_error(source))
    }

    pub(super) fn build_error(&self, source: BuildError) -> LoadError {
        LoadError::Build { path: self.owned_path(), source }
    }

    pub(super) fn owned_path(&self) -> PathBuf {
        self.path.to_owned()
    }
}

pub(super) fn initializer_names(graph: &GraphProto) -> BTreeSet<&str> {
    let dense = graph.initializer.iter().map(TensorProto::name);
    dense.chain(graph.sparse_initializer.iter().map(sparse::name)).collect()
}
