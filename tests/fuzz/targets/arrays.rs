//! `.npy` and `.npz` files: read whole, and as the samples of a network's input.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mpq::data::{Dataset, ImageOptions, ImageSettings, InputSpec, Options, read_arrays};
use mpq::progress::Silent;
use mpq::tensor::DType;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(mpq_fuzz::scratch);
static INPUTS: LazyLock<[InputSpec; 1]> = LazyLock::new(|| {
    [InputSpec { name: "x".to_owned(), dtype: DType::F32, dims: vec![None, Some(2)] }]
});
const LIMIT_BYTES: usize = 1 << 20;
const OPTIONS: Options = Options {
    images: ImageSettings::Resolve(ImageOptions::UNSET),
    samples: Some(3),
    seed: 0,
    skip_bad: false,
    limit_bytes: LIMIT_BYTES,
};

fuzz_target!(|data: &[u8]| {
    mpq_fuzz::start(64 << 20);
    let name = if data.starts_with(b"PK") { "x.npz" } else { "x.npy" };
    let path = FOLDER.join(name);
    fs::write(&path, data).unwrap();
    let _ = read_arrays(&path, LIMIT_BYTES);
    let Ok(dataset) = Dataset::open(&[path], &*INPUTS, &OPTIONS, &Silent) else { return };
    for index in 0..dataset.len() {
        let _ = dataset.sample(index);
    }
    let _ = dataset.sha256();
});
