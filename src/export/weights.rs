//! `weights`: the float model with its weights rounded, for tools that take only that; and the
//! float model itself, whose names the other formats use.

use crate::export::{Deployment, ExportError, Format};
use crate::graph::{Graph, Rewrite, drop_dead_nodes};
use crate::onnx::model_bytes;

pub(super) const FORMAT: Format = Format { name: "weights", names_tensors: false, write };

/// Older models are written in this opset: the form that nodes have is its.
const OLDEST_OPSET: u16 = 7;

fn write(deployment: &Deployment<'_>) -> Result<Vec<u8>, ExportError> {
    let net = deployment.net;
    let mut rewrite = Rewrite::new(net.graph.clone());
    for (&id, encoding) in &net.constants {
        let constant = net.graph.constant(id).expect("checked when it was read");
        let mut tensor = constant.tensor().clone();
        encoding.fake_quantize(&mut tensor);
        rewrite.set_constant(id, tensor);
    }
    bytes(deployment, rewrite.finish())
}

/// The model whose tensors and nodes the encodings are of: simplified, nothing rounded.
pub fn float_model(deployment: &Deployment<'_>) -> Result<Vec<u8>, ExportError> {
    bytes(deployment, deployment.net.graph.clone())
}

fn bytes(deployment: &Deployment<'_>, mut graph: Graph) -> Result<Vec<u8>, ExportError> {
    drop_dead_nodes(&mut graph);
    let opset = deployment.opset.max(OLDEST_OPSET);
    model_bytes(&graph, deployment.origin, opset).map_err(ExportError::Save)
}
