//! Every input that fuzzing kept, and every one that it once found a fault with, through the real
//! binary: it ends with an answer or an error, never with a panic.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mpq::data::npz_bytes;
use mpq::onnx::load_lenient;
use mpq::tensor::{DType, Tensor};
use rayon::prelude::*;

use crate::run::{Ran, Sandbox};

const NETWORK: &str = "tests/fuzz/network.onnx";

/// Runs the binary on one input in ways that read it.
type Try = fn(&Sandbox, input: &str, bytes: &[u8]) -> Vec<Ran>;

/// The targets of `tests/fuzz`.
const TARGETS: &[(&str, Try)] = &[
    ("model", model),
    ("external", external),
    ("run", model),
    ("arrays", arrays),
    ("pb", arrays),
    ("image", image),
    ("config", config),
    ("sensitivity", sensitivity),
    ("target", target),
];

fn model(sandbox: &Sandbox, input: &str, _bytes: &[u8]) -> Vec<Ran> {
    let mut ran = vec![sandbox.mpq(&["inspect", input, "--quiet"])];
    let Ok(model) = load_lenient(Path::new(input), &BTreeMap::new()) else { return ran };
    let flags = ["--memory", "64MiB", "--threads", "1", "--quiet"];
    let shape = |dims: &[mpq::graph::Dim]| -> Vec<usize> {
        dims.iter().map(|dim| dim.fixed().unwrap_or(1)).collect()
    };
    let mut arrays = Vec::new();
    for input in model.graph.inputs() {
        let shape = shape(&input.dims);
        let len = shape.iter().fold(1, |len: usize, &dim| len.saturating_mul(dim));
        if 4096 < len {
            return ran;
        }
        let name = model.graph.value_name(input.value);
        arrays.push((name, ones(input.dtype, &shape, len)));
    }
    let arrays: Vec<(&str, &Tensor)> = arrays.iter().map(|(name, x)| (*name, x)).collect();
    if let Ok(npz) = npz_bytes(&arrays) {
        sandbox.write("in.npz", npz);
        let run = ["run", input, "--input", "TMP/in.npz", "-o", "TMP/out.npz"];
        ran.push(sandbox.mpq(&[&run[..], &flags].concat()));
    }
    let measure = ["sensitivity", input, "--calib", "noise", "--samples", "1"];
    ran.push(sandbox.mpq(&[&measure[..], &flags].concat()));
    ran
}

fn ones(dtype: DType, shape: &[usize], len: usize) -> Tensor {
    match dtype {
        DType::F64 => Tensor::from_vec(shape, vec![1_f64; len]),
        DType::I64 => Tensor::from_vec(shape, vec![1_i64; len]),
        DType::I32 => Tensor::from_vec(shape, vec![1_i32; len]),
        DType::I8 => Tensor::from_vec(shape, vec![1_i8; len]),
        DType::U8 => Tensor::from_vec(shape, vec![1_u8; len]),
        DType::Bool => Tensor::from_vec(shape, vec![true; len]),
        _ => Tensor::from_vec(shape, vec![1_f32; len]),
    }
}

fn external(sandbox: &Sandbox, _input: &str, bytes: &[u8]) -> Vec<Ran> {
    sandbox.write("w.bin", [9; 256]);
    for name in ["model/w.bin", "model/sub/w.bin"] {
        sandbox.write(name, [1; 64]);
    }
    sandbox.write("model/m.onnx", bytes);
    let run = ["run", "TMP/model/m.onnx", "-o", "TMP/out.npz", "--quiet", "--memory", "64MiB"];
    vec![sandbox.mpq(&["inspect", "TMP/model/m.onnx", "--quiet"]), sandbox.mpq(&run)]
}

fn arrays(sandbox: &Sandbox, input: &str, bytes: &[u8]) -> Vec<Ran> {
    let flags = ["--memory", "64MiB", "--threads", "1", "--quiet"];
    let extension = match bytes {
        [b'P', b'K', ..] => "npz",
        [0x93, ..] => "npy",
        _ => "pb",
    };
    let file = format!("data/x.{extension}");
    sandbox.write(&file, bytes);
    let run = ["run", NETWORK, "--input", input, "-o", "TMP/out.npz"];
    let measure = ["sensitivity", NETWORK, "--calib", "TMP/data", "--samples", "2"];
    [&run[..], &measure].map(|args| sandbox.mpq(&[args, &flags].concat())).into()
}

fn image(sandbox: &Sandbox, _input: &str, bytes: &[u8]) -> Vec<Ran> {
    sandbox.write("data/x.png", bytes);
    let measure = ["sensitivity", NETWORK, "--calib", "TMP/data", "--threads", "1", "--quiet"];
    vec![sandbox.mpq(&measure)]
}

fn config(sandbox: &Sandbox, input: &str, _bytes: &[u8]) -> Vec<Ran> {
    let export =
        ["export", NETWORK, "--config", input, "--to", "qdq", "-o", "TMP/q.onnx", "--quiet"];
    [
        &["check", NETWORK, input, "--quiet"][..],
        &["report", input, "-o", "TMP/report.html", "--quiet"],
        &["compare", input, input, "--quiet"],
        &export,
    ]
    .map(|args| sandbox.mpq(args))
    .into()
}

fn sensitivity(sandbox: &Sandbox, input: &str, _bytes: &[u8]) -> Vec<Ran> {
    let search =
        ["search", NETWORK, "--sensitivity", input, "--budget", "0.5", "--strategy", "best"];
    vec![sandbox.mpq(&[&search[..], &["--quiet"]].concat())]
}

fn target(sandbox: &Sandbox, input: &str, _bytes: &[u8]) -> Vec<Ran> {
    vec![sandbox.mpq(&["inspect", NETWORK, "--target", input, "--quiet"])]
}

/// Kept inputs, and findings if there were any.
fn inputs(target: &str) -> Vec<PathBuf> {
    let folders =
        ["corpus", "findings"].map(|kind| Path::new("tests/fuzz").join(kind).join(target));
    let files = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths
}

fn fault(ran: &Ran) -> Option<String> {
    let is_bug = ran.stderr.contains("internal error") || ran.stderr.contains("panicked");
    let is_known = matches!(ran.code, 0..=2);
    (is_bug || !is_known).then(|| format!("exit code {}: {}", ran.code, ran.stderr))
}

#[test]
fn no_input_that_fuzzing_kept_panics() {
    for (target, check) in TARGETS {
        let inputs = inputs(target);
        assert!(!inputs.is_empty(), "`{target}` has no corpus");
        let faults = inputs.par_iter().flat_map_iter(|path| {
            let (sandbox, input) = (Sandbox::new(), path.to_str().unwrap());
            let ran = check(&sandbox, input, &fs::read(path).unwrap());
            let faults: Vec<String> = ran.iter().filter_map(fault).collect();
            faults.into_iter().map(move |fault| format!("{input}: {fault}"))
        });
        let faults: Vec<String> = faults.collect();
        assert!(faults.is_empty(), "{target}\n{}", faults.join("\n"));
    }
}

/// Each target of the fuzz crate is tried here.
#[test]
fn all_fuzz_targets_are_covered() {
    let files = fs::read_dir("tests/fuzz/targets").unwrap();
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut found: Vec<String> = files.map(|file| stem(file.unwrap().path())).collect();
    let mut expected: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}
