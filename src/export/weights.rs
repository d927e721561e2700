//! `weights`: the float model with its weights rounded, for tools that take only that; and the
//! float model itself, whose names the other formats use.

use crate::export::{Deployment, ExportError, Format};
use crate::graph::{Graph, Rewrite, drop_dead_nodes};
use crate::onnx::model_bytes;

pub(super) const FORMAT: Format = Format { name: "weights", names_tensors: false, write };

/// Older models are written in this opset: the form that nodes have is its.
const OLDEST_OPSET: u16 = 7;

fn write(deployment: &Deployment<'_>) -> Result<Vec<u8>, ExportError> {
    bytes(deployment, on_grid(deployment))
}

/// The model whose tensors and nodes the encodings are of: simplified. Weights that were not rounded
/// to nearest are on their grids, so that rounding to nearest gives the same integers again.
pub fn float_model(deployment: &Deployment<'_>) -> Result<Vec<u8>, ExportError> {
    let net = deployment.net;
    let graph = if net.has_rounded() { on_grid(deployment) } else { net.graph.clone() };
    bytes(deployment, graph)
}

fn on_grid(deployment: &Deployment<'_>) -> Graph {
    let net = deployment.net;
    let mut rewrite = Rewrite::new(net.graph.clone());
    net.constants.keys().for_each(|&id| rewrite.set_constant(id, net.on_grid(id)));
    rewrite.finish()
}

fn bytes(deployment: &Deployment<'_>, mut graph: Graph) -> Result<Vec<u8>, ExportError> {
    drop_dead_nodes(&mut graph);
    let opset = deployment.opset.max(OLDEST_OPSET);
    model_bytes(&graph, deployment.origin, opset).map_err(ExportError::Save)
}
