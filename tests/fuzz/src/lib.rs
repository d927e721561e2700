//! What the fuzz targets share: a folder in memory, a limit on allocations, models that change.

#![allow(clippy::unwrap_used)]

mod allocations;
mod change;
mod json;
mod random;
mod words;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

use mpq::onnx::Model;
use mpq::onnx::proto::ModelProto;
use mpq::onnx::proto::tensor_shape_proto::dimension::Value as Dim;
use mpq::onnx::proto::type_proto::Value as Type;
use prost::Message as _;

pub use change::change_model;

/// At the start of every run: no allocation may be larger, and all work is done by this thread, which
/// would otherwise mostly wait for others.
pub fn start(limit_bytes: usize) {
    static ONE_THREAD: Once = Once::new();
    ONE_THREAD.call_once(|| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread();
        pool.build_global().unwrap();
    });
    allocations::limit_allocations(limit_bytes);
}

/// A folder of this process, in memory where there is such a place.
pub fn scratch() -> PathBuf {
    let shared = Path::new("/dev/shm");
    let root = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    let folder = root.join(format!("mpq-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A mutator for targets that take a model: most changes are of its nodes, shapes and values, the
/// others of its bytes.
pub fn mutate_model(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    if !seed.is_multiple_of(8)
        && let Ok(mut model) = ModelProto::decode(&data[..size])
    {
        change_model(&mut model, seed);
        let bytes = model.encode_to_vec();
        if bytes.len() <= max_size {
            data[..bytes.len()].copy_from_slice(&bytes);
            return bytes.len();
        }
    }
    libfuzzer_sys::fuzzer_mutate(data, size, max_size)
}

/// The same for JSON documents.
pub fn mutate_json(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    if !seed.is_multiple_of(4)
        && let Ok(mut document) = serde_json::from_slice(&data[..size])
    {
        json::change_json(&mut document, seed);
        let bytes = serde_json::to_vec(&document).unwrap();
        if bytes.len() <= max_size {
            data[..bytes.len()].copy_from_slice(&bytes);
            return bytes.len();
        }
    }
    libfuzzer_sys::fuzzer_mutate(data, size, max_size)
}

/// Whether an input of the model is too large to be worth a run.
pub fn has_large_inputs(model: &ModelProto) -> bool {
    const MOST: i64 = 4096;
    let Some(graph) = &model.graph else { return false };
    graph.input.iter().any(|input| {
        let ty = input.r#type.as_ref().and_then(|ty| ty.value.as_ref());
        let Some(Type::TensorType(tensor)) = ty else { return false };
        let dims = tensor.shape.iter().flat_map(|shape| &shape.dim);
        let sizes = dims.map(|dim| match dim.value {
            Some(Dim::DimValue(size)) => size.max(1),
            _ => 1,
        });
        MOST < sizes.fold(1, i64::saturating_mul)
    })
}

/// The network that configurations, lists and targets are for.
pub fn network() -> Model {
    let path = scratch().join("network.onnx");
    if !path.exists() {
        fs::write(&path, include_bytes!("../network.onnx")).unwrap();
    }
    mpq::onnx::load(&path, &BTreeMap::new()).unwrap()
}
