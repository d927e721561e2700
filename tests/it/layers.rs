//! The direction of dependency: a module knows only those below it, and some things have one home.

mod scan;

use std::fs;
use std::path::{Path, PathBuf};

use scan::{Found, scan};

/// Lowest first; modules of one row do not know each other. In the binary, `crate` is another
/// crate: there stands only `cli`.
const LAYERS: &[&[&str]] = &[
    &["tensor"],
    &["progress", "shard"],
    &["cache"],
    &["pixels"],
    &["kernels"],
    &["ops"],
    &["graph"],
    &["onnx", "exec"],
    &["data"],
    &["quant"],
    &["cost", "metric"],
    &["sensitivity"],
    &["search"],
    &["artifact"],
    &["pipeline"],
    &["export", "report"],
];

/// Macros stand at the root of the crate, wherever they are defined.
const MACROS: &[(&str, &str)] =
    &[("dispatch", "tensor"), ("dispatch_small", "tensor"), ("dispatch_small_floats", "tensor")];

/// What may stand only in files whose path begins so, and why.
const HOMES: &[(&[&str], &[&str], &str)] = &[
    (&["prost", "prost_derive", "proto"], &["onnx"], "only `onnx` sees protobuf"),
    (&["unsafe"], &["kernels/", "onnx/file.rs"], "only kernels and the file mapping are unsafe"),
    (&["println", "print", "eprintln", "eprint", "dbg"], &[], "the library never prints"),
    (&["io::stdout", "io::stderr", "io::stdin"], &[], "the library never prints"),
    (&["std::env"], &[], "the library never reads the environment"),
    (&["process::exit", "process::abort"], &[], "the library never exits"),
    (&["Instant", "SystemTime"], &[], "the library never reads the clock"),
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The module that a file of `src` belongs to: `ops` for `ops/unary.rs`, `tensor` for `tensor.rs`.
fn module(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

/// Everything that a file must not say, a line each.
fn violations(file: &str, text: &str) -> Vec<String> {
    let of = module(file);
    if file == "lib.rs" {
        return Vec::new();
    }
    let is_binary = matches!(of, "main" | "cli");
    let mut violations = Vec::new();
    for Found { line, path } in scan(text) {
        let mut say = |problem: String| violations.push(format!("src/{file}:{line}: {problem}"));
        let (root, rest) = (path[0].as_str(), &path[1..]);
        if let ("crate", Some(used)) = (root, rest.first()) {
            if is_binary {
                if used != "cli" {
                    say(format!("`crate::{used}` in the binary, expected `mpq::{used}`"));
                }
            } else if let Some(problem) = misuse(of, used) {
                say(problem);
            }
        }
        if is_binary {
            continue;
        }
        if leaves_its_module(file, &path) {
            say(format!("`{}` leaves the module, expected a path from `crate`", path.join("::")));
        }
        if root == "mpq" && !rest.is_empty() {
            say(format!("`{}`, expected a path from `crate`", path.join("::")));
        }
        for (words, homes, why) in HOMES {
            let is_home = homes.iter().any(|home| file.starts_with(home));
            let word = words.iter().find(|word| contains(&path, word));
            if let (Some(word), false) = (word, is_home) {
                say(format!("`{word}`: {why}"));
            }
        }
    }
    violations
}

/// Why module `of` must not use module `used`.
fn misuse(of: &str, used: &str) -> Option<String> {
    let used = MACROS.iter().find(|(name, _)| *name == used).map_or(used, |(_, module)| module);
    let (Some(below), Some(above)) = (layer(used), layer(of)) else {
        let unknown = if layer(of).is_none() { of } else { used };
        return Some(format!("module `{unknown}` is in no layer"));
    };
    let is_allowed = below < above || used == of;
    (!is_allowed).then(|| format!("`{of}` uses `{used}`, which is not below it"))
}

/// Whether a path climbs with `super` to another module; how deep inside its file it stands is not
/// known, but names of modules are not used for anything else.
fn leaves_its_module(file: &str, path: &[String]) -> bool {
    let climbs = path.iter().take_while(|word| *word == "super").count();
    let depth = file.trim_end_matches("/mod.rs").split('/').count();
    depth <= climbs && path.get(climbs).is_some_and(|name| layer(name).is_some())
}

/// Whether a path has the words of `part`, one after the other.
fn contains(path: &[String], part: &str) -> bool {
    let part: Vec<&str> = part.split("::").collect();
    path.windows(part.len()).any(|window| window == part)
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_file_knows_only_what_is_below_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 50, "found {} files", files.len());
    let mut found = Vec::new();
    for path in files {
        let file = path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
        found.extend(violations(&file, &fs::read_to_string(&path).unwrap()));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn planted_violations_are_found() {
    for (file, text, expected) in [
        ("ops/unary.rs", "use crate::tensor::Tensor;", ""),
        ("ops/unary.rs", "use crate::ops::{Inputs, OpError};", ""),
        (
            "ops/unary.rs",
            "\nuse crate::graph::Graph;",
            "src/ops/unary.rs:2: `ops` uses `graph`, which is not below it",
        ),
        (
            "exec/mod.rs",
            "use crate::onnx;",
            "src/exec/mod.rs:1: `exec` uses `onnx`, which is not below it",
        ),
        (
            "onnx/load.rs",
            "fn f(x: crate::exec::Keep) {}",
            "src/onnx/load.rs:1: `onnx` uses `exec`, which is not below it",
        ),
        ("data/pb.rs", "use crate::onnx;", ""),
        (
            "metric/mod.rs",
            "use crate::cost::Cost;",
            "src/metric/mod.rs:1: `metric` uses `cost`, which is not below it",
        ),
        (
            "tensor.rs",
            "use crate::{dispatch, progress::Progress};",
            "src/tensor.rs:1: `tensor` uses `progress`, which is not below it",
        ),
        (
            "ops/x.rs",
            "use crate::{\n  ops::{A, b::C}, tensor::*, exec as run,\n};",
            "src/ops/x.rs:2: `ops` uses `exec`, which is not below it",
        ),
        ("ops/x.rs", "pub(in crate::ops) fn f() { crate::dispatch!(x, T => 1) }", ""),
        (
            "ops/x.rs",
            "pub(crate) mod y; // crate::cli\n/// [`crate::graph`]\n/* crate::exec /* */ */",
            "",
        ),
        (
            "ops/x.rs",
            r##"const A: &str = "crate::graph \" "; const B: &str = r#"unsafe " "#;"##,
            "",
        ),
        (
            "ops/x.rs",
            "fn f<'a>(c: char) { c == '\"' || c == '\\'' }; use crate::exec;",
            "src/ops/x.rs:1: `ops` uses `exec`, which is not below it",
        ),
        (
            "ops/x.rs",
            "macro_rules! m { () => { $crate::exec::run() } }",
            "src/ops/x.rs:1: `ops` uses `exec`, which is not below it",
        ),
        (
            "ops/x.rs",
            "#[cfg(test)]\nmod tests { use crate::graph; }",
            "src/ops/x.rs:2: `ops` uses `graph`, which is not below it",
        ),
        ("ops/x.rs", "use crate::nowhere::A;", "src/ops/x.rs:1: module `nowhere` is in no layer"),
        ("new.rs", "use crate::tensor::A;", "src/new.rs:1: module `new` is in no layer"),
        (
            "ops/x.rs",
            "use mpq::graph::Graph;",
            "src/ops/x.rs:1: `mpq::graph::Graph`, expected a path from `crate`",
        ),
        (
            "ops/mod.rs",
            "use super::graph;",
            "src/ops/mod.rs:1: `super::graph` leaves the module, expected a path from `crate`",
        ),
        (
            "ops/x.rs",
            "use super::super::graph;",
            "src/ops/x.rs:1: `super::super::graph` leaves the module, expected a path from `crate`",
        ),
        ("ops/x.rs", "mod tests { use super::*; use super::super::conv; }", ""),
        ("data/x.rs", "use prost::Message;", "src/data/x.rs:1: `prost`: only `onnx` sees protobuf"),
        ("onnx/x.rs", "use crate::onnx::proto::{A, B};", ""),
        (
            "data/x.rs",
            "use crate::onnx::{load, proto::A};",
            "src/data/x.rs:1: `proto`: only `onnx` sees protobuf",
        ),
        (
            "ops/x.rs",
            "unsafe { f() }",
            "src/ops/x.rs:1: `unsafe`: only kernels and the file mapping are unsafe",
        ),
        ("kernels/x.rs", "unsafe { f() }", ""),
        ("onnx/file.rs", "unsafe { f() }", ""),
        (
            "ops/x.rs",
            "#![deny(unsafe_code)] fn f() { println!(\"x\") }",
            "src/ops/x.rs:1: `println`: the library never prints",
        ),
        (
            "ops/x.rs",
            "use std::{fs, env};",
            "src/ops/x.rs:1: `std::env`: the library never reads the environment",
        ),
        ("ops/x.rs", "const V: &str = env!(\"CARGO_PKG_VERSION\");", ""),
        (
            "ops/x.rs",
            "std::process::exit(1)",
            "src/ops/x.rs:1: `process::exit`: the library never exits",
        ),
        (
            "ops/x.rs",
            "use std::time::{Duration, Instant};",
            "src/ops/x.rs:1: `Instant`: the library never reads the clock",
        ),
        ("cli/ui.rs", "use crate::cli::Ui; println!(); std::env::var(\"A\")", ""),
        (
            "cli/x.rs",
            "use crate::data::Label;",
            "src/cli/x.rs:1: `crate::data` in the binary, expected `mpq::data`",
        ),
        ("search/x.rs", "use crate::cli::Ui;", "src/search/x.rs:1: module `cli` is in no layer"),
    ] {
        assert_eq!(violations(file, text).join("\n"), expected, "{file}: {text}");
    }
}
