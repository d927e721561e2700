//! The loader: a model that is only looked at, its constants decoded, its shapes inferred, its groups made.

#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use mpq::onnx::load_lenient;
use mpq::pipeline::Inspection;
use mpq::quant::{Candidates, Target};

static MODEL: LazyLock<PathBuf> = LazyLock::new(|| mpq_fuzz::scratch().join("model.onnx"));
static TARGET: LazyLock<Target> = LazyLock::new(|| Target::built_in("generic").unwrap());
static CANDIDATES: LazyLock<Candidates> = LazyLock::new(|| "W4A8,W8A8,W8A16".parse().unwrap());

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mpq_fuzz::mutate_model(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| {
    mpq_fuzz::start(64 << 20);
    fs::write(&*MODEL, data).unwrap();
    let Ok(model) = load_lenient(&MODEL, &BTreeMap::new()) else { return };
    for id in model.graph.value_ids() {
        if let Some(constant) = model.graph.constant(id) {
            assert_eq!(constant.tensor().ty(), *constant.ty());
        }
    }
    let _ = Inspection::new(model, &TARGET, &CANDIDATES, &[]);
});
