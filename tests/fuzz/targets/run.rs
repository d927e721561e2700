//! A network with random operators, run by both engines as it is and simplified: each value has the
//! type that was inferred, and no tensor is larger than the limit.

#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use half::{bf16, f16};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use mpq::exec::{Changes, Engine as _, Fast, Keep, Reference};
use mpq::graph::{Graph, infer, simplify};
use mpq::onnx::load_within;
use mpq::onnx::proto::ModelProto;
use mpq::tensor::{DType, Tensor, TensorType};
use prost::Message as _;

static MODEL: LazyLock<PathBuf> = LazyLock::new(|| mpq_fuzz::scratch().join("model.onnx"));

/// Of what a node makes.
const LIMIT_BYTES: usize = 4 << 20;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mpq_fuzz::mutate_model(data, size, max_size, seed)
});

/// Small numbers of both signs; what must not be negative is 0 or more.
fn tensor(ty: &TensorType) -> Tensor {
    let floats = (0..ty.len()).map(|i| (7 * i % 11) as f32 / 2. - 2.);
    let integers = (0..ty.len()).map(|i| i * 5 % 3);
    let shape = &ty.shape;
    macro_rules! whole {
        ($ty:ty) => {
            Tensor::from_vec(shape, integers.map(|x| x as $ty).collect())
        };
    }
    match ty.dtype {
        DType::F64 => Tensor::from_vec(shape, floats.map(f64::from).collect()),
        DType::F16 => Tensor::from_vec(shape, floats.map(f16::from_f32).collect()),
        DType::BF16 => Tensor::from_vec(shape, floats.map(bf16::from_f32).collect()),
        DType::I64 => whole!(i64),
        DType::I32 => whole!(i32),
        DType::I16 => whole!(i16),
        DType::I8 => whole!(i8),
        DType::U64 => whole!(u64),
        DType::U32 => whole!(u32),
        DType::U16 => whole!(u16),
        DType::U8 => whole!(u8),
        DType::Bool => Tensor::from_vec(shape, integers.map(|x| x != 0).collect()),
        _ => Tensor::from_vec(shape, floats.collect()),
    }
}

fn inputs(graph: &Graph) -> Vec<Tensor> {
    let dims = |dims: &[mpq::graph::Dim]| dims.iter().map(|dim| dim.fixed().unwrap_or(1)).collect();
    let types = graph.inputs().iter().map(|input| (input.dtype, dims(&input.dims)));
    types.map(|(dtype, shape)| tensor(&TensorType { dtype, shape })).collect()
}

fn run(graph: &Graph) {
    let inputs = inputs(graph);
    let input_types: Vec<TensorType> = inputs.iter().map(Tensor::ty).collect();
    let types = infer(graph, &input_types);
    let reference = Reference::new(graph, LIMIT_BYTES);
    let expected = reference.run(&inputs, &Changes::default(), Keep::All);
    if let Ok(values) = &expected {
        for id in graph.value_ids() {
            if let (Some(value), Some(ty)) = (values.get(id), types.get(id)) {
                assert_eq!(value.ty(), *ty, "`{}`", graph.value_name(id));
            }
        }
    }
    let fast = Fast::new(graph, LIMIT_BYTES, &[]);
    for keep in [Keep::Outputs, Keep::All] {
        let found = fast.run(&inputs, &Changes::default(), keep);
        let (Ok(found), Ok(expected)) = (&found, &expected) else { continue };
        // A shape that depends on values may hang on how an engine rounds, as that of `Unique` does.
        for &id in graph.outputs().iter().filter(|&&id| types.get(id).is_some()) {
            let [found, expected] = [found, expected].map(|values| values.get(id).map(Tensor::ty));
            assert_eq!(found, expected, "`{}`", graph.value_name(id));
        }
    }
    let _ = fast.observe(&inputs, &mut |_, _| {});
}

fuzz_target!(|data: &[u8]| {
    mpq_fuzz::start(32 << 20);
    let Ok(proto) = ModelProto::decode(data) else { return };
    if mpq_fuzz::has_large_inputs(&proto) {
        return;
    }
    fs::write(&*MODEL, data).unwrap();
    let Ok(model) = load_within(&MODEL, &BTreeMap::new(), LIMIT_BYTES) else { return };
    run(&model.graph);
    run(&simplify(model.graph));
});
