//! Tensors whose data lie in files beside the model: nothing outside of its folder is ever read.

#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use mpq::onnx::load_lenient;
use mpq::tensor::DType;

const SECRET: u8 = 0xa5;

/// `w.bin`, `sub/w.bin`, links that stay inside and links that lead out, and `w.bin` outside.
static MODEL: LazyLock<PathBuf> = LazyLock::new(|| {
    let outer = mpq_fuzz::scratch();
    let folder = outer.join("model");
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(outer.join("w.bin"), [SECRET; 256]).unwrap();
    let bytes: Vec<u8> = (0..64).collect();
    fs::write(folder.join("w.bin"), &bytes).unwrap();
    fs::write(folder.join("sub/w.bin"), &bytes).unwrap();
    fs::write(folder.join("empty.bin"), []).unwrap();
    symlink("w.bin", folder.join("link.bin")).unwrap();
    symlink("../w.bin", folder.join("out.bin")).unwrap();
    symlink("..", folder.join("up")).unwrap();
    symlink("loop.bin", folder.join("loop.bin")).unwrap();
    folder.join("model.onnx")
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mpq_fuzz::mutate_model(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| {
    mpq_fuzz::start(64 << 20);
    if data.windows(4).any(|window| window == [SECRET; 4]) {
        return;
    }
    fs::write(&*MODEL, data).unwrap();
    let Ok(model) = load_lenient(&MODEL, &BTreeMap::new()) else { return };
    let constants = model.graph.value_ids().filter_map(|id| model.graph.constant(id));
    for tensor in constants.map(|constant| constant.tensor()) {
        assert!(
            tensor.dtype() != DType::U8
                || !tensor.slice::<u8>().windows(4).any(|w| w == [SECRET; 4])
        );
    }
});
