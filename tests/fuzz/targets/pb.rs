//! `.pb` files: a tensor each. What was read is written and read again.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mpq::onnx::{read_pb, write_pb};

static FOLDER: LazyLock<PathBuf> = LazyLock::new(mpq_fuzz::scratch);

fuzz_target!(|data: &[u8]| {
    mpq_fuzz::start(64 << 20);
    let path = FOLDER.join("x.pb");
    fs::write(&path, data).unwrap();
    let Ok((name, tensor)) = read_pb(&path) else { return };
    let copy = FOLDER.join("copy.pb");
    write_pb(&copy, &name, &tensor).unwrap();
    let (read_name, read) = read_pb(&copy).unwrap();
    assert_eq!((read_name, read.ty()), (name, tensor.ty()));
});
