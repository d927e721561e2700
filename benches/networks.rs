//! Whole networks, one pass on one thread: milliseconds, and what part of the machine's peak they are.
//!
//! `cargo bench --bench networks -- [--engine NAME] [--passes N] [--dim NAME=SIZE] MODEL ...`

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use mpq::exec::{Changes, Engine, EngineKind, Keep};
use mpq::graph::{Graph, simplify};
use mpq::tensor::{DType, Tensor};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut engine = EngineKind::Fast;
    let mut n_passes = 50;
    let mut dims = BTreeMap::new();
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} has no value"));
        match arg.as_str() {
            "--engine" => engine = value()?.parse()?,
            "--passes" => n_passes = value()?.parse()?,
            "--dim" => {
                let value = value()?;
                let (name, size) = value.split_once('=').ok_or("expected NAME=SIZE")?;
                dims.insert(name.to_owned(), size.parse()?);
            }
            _ => bench(Path::new(&arg), engine, n_passes, &dims)?,
        }
    }
    Ok(())
}

fn bench(
    path: &Path,
    engine: EngineKind,
    n_passes: usize,
    dims: &BTreeMap<String, usize>,
) -> Result<(), Box<dyn std::error::Error>> {
    let graph = simplify(mpq::onnx::load(path, dims)?.graph);
    let engine = engine.start(&graph, 1 << 30, &[]);
    let inputs = inputs(&graph)?;
    let times = times(&*engine, &inputs, n_passes)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let (median, least) = (times[times.len() / 2], times[0]);
    println!("{name}: median {:.3} ms, least {:.3} ms", median * 1e3, least * 1e3);
    Ok(())
}

fn times(
    engine: &dyn Engine,
    inputs: &[Tensor],
    n_passes: usize,
) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    let mut times = Vec::new();
    for _ in 0..n_passes.max(1) + 3 {
        let start = Instant::now();
        engine.run(inputs, &Changes::default(), Keep::Outputs)?;
        times.push(start.elapsed().as_secs_f64());
    }
    // The first passes plan and pack.
    let mut times = times.split_off(3);
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Numbers in [0, 1) for floats, 0 and 1 for integers; a free first dimension is 1.
fn inputs(graph: &Graph) -> Result<Vec<Tensor>, Box<dyn std::error::Error>> {
    let types = mpq::pipeline::input_types(graph)?;
    let input = |ty: &mpq::tensor::TensorType| match ty.dtype {
        DType::F32 => {
            let values = (0..ty.len()).map(|i| (i * 7919 % 1000) as f32 / 1000.);
            Ok(Tensor::from_vec(&ty.shape, values.collect()))
        }
        DType::I64 => {
            let values = (0..ty.len()).map(|i| i64::from(i % 5 != 4));
            Ok(Tensor::from_vec(&ty.shape, values.collect()))
        }
        other => Err(format!("an input of {other} is not benched").into()),
    };
    types.iter().map(input).collect()
}
