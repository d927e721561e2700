//! From a file to a [`Graph`]: initializers stay in the mapped file, nodes get their operators.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::graph::{Builder, Constant, Dim, Graph, NodeError, NodeSpec};
use crate::onnx::attribute::attribute;
use crate::onnx::error::{InputProblem, LoadError};
use crate::onnx::external::External;
use crate::onnx::file::read_model;
use crate::onnx::proto::tensor_shape_proto::dimension::Value as DimValue;
use crate::onnx::proto::type_proto::Value as TypeValue;
use crate::onnx::proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use crate::onnx::upgrade::{RawNode, upgrade};
use crate::onnx::{sparse, tensor};
use crate::ops::{self, Attrs, NEWEST_OPSET, OpError, Operator, Unsupported};

/// The oldest opset of the default domain that is read.
const OLDEST_OPSET: u16 = 7;

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
}

/// Loads a model that is to run.
///
/// `dims` binds free dimensions by name.
///
/// # Errors
/// If the file is no model, or has nodes that cannot run: all of them are listed.
pub fn load(path: &Path, dims: &BTreeMap<String, usize>) -> Result<Model, LoadError> {
    let mut model = load_lenient(path, dims)?;
    if model.bad_nodes.is_empty() {
        return Ok(model);
    }
    let nodes = std::mem::take(&mut model.bad_nodes);
    Err(LoadError::Nodes { path: path.to_owned(), nodes })
}

/// Loads a model that is only looked at: bad nodes are listed beside it.
pub fn load_lenient(path: &Path, dims: &BTreeMap<String, usize>) -> Result<Model, LoadError> {
    let (proto, bytes) = read_model(path).map_err(LoadError::File)?;
    let external = External::beside(path);
    let opsets = opsets(path, &proto)?;
    let empty = GraphProto::default();
    let graph = proto.graph.as_ref().unwrap_or(&empty);
    check_dims(graph, dims)?;
    let mut loader = Loader {
        path,
        builder: Builder::new(graph.name()),
        external: &external,
        opsets: &opsets,
        dims,
        bad_nodes: Vec::new(),
    };
    let graph = loader.graph(graph)?;
    Ok(Model {
        graph,
        bad_nodes: loader.bad_nodes,
        sha256: external.sha256(&bytes),
        file: path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned()),
        opset: opsets.get("").copied().unwrap_or(NEWEST_OPSET),
    })
}

fn opsets(path: &Path, proto: &ModelProto) -> Result<BTreeMap<String, u16>, LoadError> {
    let mut opsets = BTreeMap::new();
    for import in &proto.opset_import {
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
    if opsets.is_empty() {
        return Err(LoadError::NoOpset { path: path.to_owned() });
    }
    Ok(opsets)
}

fn normal_domain(domain: &str) -> &str {
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

struct Loader<'a> {
    path: &'a Path,
    builder: Builder,
    external: &'a External,
    opsets: &'a BTreeMap<String, u16>,
    dims: &'a BTreeMap<String, usize>,
    bad_nodes: Vec<NodeError>,
}

impl Loader<'_> {
    fn graph(&mut self, proto: &GraphProto) -> Result<Graph, LoadError> {
        for initializer in &proto.initializer {
            self.initializer(initializer)?;
        }
        for sparse in &proto.sparse_initializer {
            let name = sparse::name(sparse);
            let tensor = sparse::decode_sparse(sparse, self.external).map_err(|source| {
                LoadError::SparseInitializer {
                    path: self.owned_path(),
                    name: name.to_owned(),
                    source,
                }
            })?;
            self.build(|builder| builder.constant(name, tensor.into()))?;
        }
        // Before IR version 4 every initializer was an input as well.
        let initializers = initializer_names(proto);
        for input in proto.input.iter().filter(|input| !initializers.contains(input.name())) {
            self.input(input)?;
        }
        for (index, node) in proto.node.iter().enumerate() {
            self.node(index, node)?;
        }
        let outputs: Vec<String> = proto.output.iter().map(|o| o.name().to_owned()).collect();
        let builder = std::mem::take(&mut self.builder);
        builder.finish(&outputs).map_err(|source| self.build_error(source))
    }

    fn initializer(&mut self, proto: &TensorProto) -> Result<(), LoadError> {
        let name = proto.name();
        let lazy = tensor::constant(proto, self.external).map_err(|source| {
            LoadError::Initializer { path: self.owned_path(), name: name.to_owned(), source }
        })?;
        let constant = Constant::lazy(lazy.ty().clone(), move || lazy.tensor().clone());
        self.build(|builder| builder.constant(name, constant))
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
        let dtype =
            tensor::dtype(tensor.elem_type()).map_err(|e| problem(InputProblem::Type(e)))?;
        let shape = tensor.shape.as_ref().ok_or_else(|| problem(InputProblem::NoShape))?;
        let dims: Result<Vec<Dim>, InputProblem> =
            shape.dim.iter().map(|dim| self.dim(dim.value.as_ref())).collect();
        let dims = dims.map_err(problem)?;
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

    fn node(&mut self, index: usize, proto: &NodeProto) -> Result<(), LoadError> {
        let domain = normal_domain(proto.domain());
        let opset = self.opsets.get(domain).copied().unwrap_or(1);
        let names = |names: &[String]| -> Vec<Option<String>> {
            let mut names: Vec<Option<String>> =
                names.iter().map(|name| Some(name.clone()).filter(|n| !n.is_empty())).collect();
            while names.last() == Some(&None) {
                names.pop();
            }
            names
        };
        let outputs = names(&proto.output);
        let name = match (proto.name(), outputs.iter().flatten().next()) {
            ("", Some(output)) => output.clone(),
            ("", None) => format!("node {index}"),
            (name, _) => name.to_owned(),
        };
        let mut raw = RawNode {
            domain: domain.to_owned(),
            op_type: proto.op_type().to_owned(),
            inputs: names(&proto.input),
            outputs,
            attrs: BTreeMap::new(),
        };
        let operator = self.operator(&mut raw, proto, opset)?;
        let operator: Box<dyn Operator> = match operator {
            Ok(operator) => operator,
            Err(error) => {
                self.bad_nodes.push(NodeError {
                    node: name.clone(),
                    op_type: proto.op_type().to_owned(),
                    opset,
                    error: error.clone(),
                });
                Box::new(Unsupported(error))
            }
        };
        let spec = NodeSpec {
            name,
            domain: raw.domain,
            op_type: raw.op_type,
            opset,
            attrs: raw.attrs.into_iter().collect(),
            operator: operator.into(),
            inputs: raw.inputs,
            outputs: raw.outputs,
        };
        self.build(|builder| builder.node(spec))
    }

    /// The outer error is of the file, the inner one of this node alone.
    #[allow(clippy::type_complexity)]
    fn operator(
        &mut self,
        raw: &mut RawNode,
        proto: &NodeProto,
        opset: u16,
    ) -> Result<Result<Box<dyn Operator>, OpError>, LoadError> {
        let mut n_bodies = 0;
        for attr in &proto.attribute {
            let value = match attribute(attr, self.external, &mut n_bodies) {
                Ok(value) => value,
                Err(error) => return Ok(Err(error)),
            };
            if raw.attrs.insert(attr.name().to_owned(), value).is_some() {
                let name = attr.name();
                return Ok(Err(OpError::invalid_attribute(name, "given twice", "one value")));
            }
        }
        match upgrade(raw, opset) {
            Ok(constants) => {
                for (name, tensor) in constants {
                    self.build(|builder| builder.constant(&name, tensor.into()))?;
                }
            }
            Err(error) => return Ok(Err(error)),
        }
        let attrs = Attrs::new(raw.attrs.clone());
        Ok(ops::read(&raw.domain, &raw.op_type, opset, attrs))
    }

    fn build(
        &mut self,
        f: impl FnOnce(&mut Builder) -> Result<(), crate::graph::BuildError>,
    ) -> Result<(), LoadError> {
        f(&mut self.builder).map_err(|source| self.build_error(source))
    }

    fn build_error(&self, source: crate::graph::BuildError) -> LoadError {
        LoadError::Build { path: self.owned_path(), source }
    }

    fn owned_path(&self) -> PathBuf {
        self.path.to_owned()
    }
}

fn initializer_names(graph: &GraphProto) -> BTreeSet<&str> {
    let dense = graph.initializer.iter().map(TensorProto::name);
    dense.chain(graph.sparse_initializer.iter().map(sparse::name)).collect()
}
