//! Whole networks in float: milliseconds a sample, and what part of the machine's peak they are.
//!
//! `cargo bench --bench networks -- [--engine NAME] [--passes N] [--threads N] [--samples N]
//! [--dim NAME=SIZE] [--json] MODEL ...`
//!
//! With several samples, a pass is one run of each, shared out among the threads. With `--json` there
//! is an object in a line for each model.

#![allow(clippy::print_stdout)]

mod machine;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use mpq::exec::{Changes, Engine, EngineKind, Keep, RunError};
use mpq::graph::{infer, simplify};
use mpq::quant::node_macs;
use mpq::tensor::{DType, Tensor, TensorType};
use rayon::ThreadPool;
use rayon::prelude::*;

struct Args {
    engine: EngineKind,
    n_passes: usize,
    n_threads: usize,
    n_samples: usize,
    dims: BTreeMap<String, usize>,
    is_json: bool,
    models: Vec<PathBuf>,
}

impl Args {
    fn parse() -> Result<Args, Box<dyn Error>> {
        let mut parsed = Args {
            engine: EngineKind::Fast,
            n_passes: 50,
            n_threads: 1,
            n_samples: 1,
            dims: BTreeMap::new(),
            is_json: false,
            models: Vec::new(),
        };
        let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("`{arg}` has no value"));
            match arg.as_str() {
                "--engine" => parsed.engine = value()?.parse()?,
                "--passes" => parsed.n_passes = value()?.parse()?,
                "--threads" => parsed.n_threads = value()?.parse()?,
                "--samples" => parsed.n_samples = value()?.parse()?,
                "--dim" => {
                    let value = value()?;
                    let (name, size) = value.split_once('=').ok_or("expected NAME=SIZE")?;
                    parsed.dims.insert(name.to_owned(), size.parse()?);
                }
                "--json" => parsed.is_json = true,
                flag if flag.starts_with('-') => {
                    return Err(format!("unknown flag `{flag}`").into());
                }
                model => parsed.models.push(model.into()),
            }
        }
        Ok(parsed)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse()?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(args.n_threads).build()?;
    let peak: Option<f64> = pool.broadcast(|_| machine::peak_macs_per_s()).into_iter().sum();
    for model in &args.models {
        let timed = bench(model, &args, &pool)?;
        let name = model.file_stem().unwrap_or_default().to_string_lossy();
        match args.is_json {
            true => println!("{}", json(&name, &timed, peak, &args)),
            false => println!("{}", text(&name, &timed, peak)),
        }
    }
    Ok(())
}

/// Of one sample.
struct Timed {
    macs: u64,
    /// Of every pass, in order of size.
    times_s: Vec<f64>,
}

impl Timed {
    fn least_s(&self) -> f64 {
        self.times_s[0]
    }

    fn median_s(&self) -> f64 {
        self.times_s[self.times_s.len() / 2]
    }

    fn macs_per_s(&self) -> f64 {
        self.macs as f64 / self.median_s()
    }
}

fn text(name: &str, timed: &Timed, peak: Option<f64>) -> String {
    let [median, least] = [timed.median_s(), timed.least_s()].map(|time_s| time_s * 1e3);
    let rate = timed.macs_per_s();
    let of_peak =
        peak.map_or(String::new(), |peak| format!(", {:.0} % of peak", 100. * rate / peak));
    let rate = rate / 1e9;
    format!("{name:22} median {median:8.3} ms, least {least:8.3} ms, {rate:6.1} GMAC/s{of_peak}")
}

fn json(name: &str, timed: &Timed, peak: Option<f64>, args: &Args) -> serde_json::Value {
    serde_json::json!({
        "network": name,
        "engine": args.engine.to_string(),
        "threads": args.n_threads,
        "samples": args.n_samples,
        "passes": timed.times_s.len(),
        "macs": timed.macs,
        "median_s": timed.median_s(),
        "least_s": timed.least_s(),
        "macs_per_s": timed.macs_per_s(),
        "peak_macs_per_s": peak,
    })
}

fn bench(path: &Path, args: &Args, pool: &ThreadPool) -> Result<Timed, Box<dyn Error>> {
    let graph = simplify(mpq::onnx::load(path, &args.dims)?.graph);
    let inputs = mpq::pipeline::input_types(&graph)?;
    let types = infer(&graph, &inputs);
    let macs = graph.nodes().map(|(_, node)| node_macs(&types, node)).sum();
    let sample = |number| inputs.iter().map(|ty| input(ty, number)).collect();
    let samples = (0..args.n_samples).map(sample).collect::<Result<Vec<Vec<Tensor>>, String>>()?;
    let engine = args.engine.start(&graph, 1 << 30, &[]);
    let times_s = pool.install(|| times_s(&*engine, &samples, args.n_passes))?;
    Ok(Timed { macs, times_s })
}

fn times_s(
    engine: &dyn Engine,
    samples: &[Vec<Tensor>],
    n_passes: usize,
) -> Result<Vec<f64>, RunError> {
    // The first passes plan and pack.
    const WARM_UP: usize = 3;
    let run = |inputs| engine.run(inputs, &Changes::default(), Keep::Outputs).map(drop);
    let mut times_s = Vec::new();
    for _ in 0..n_passes.max(1) + WARM_UP {
        let start = Instant::now();
        match samples {
            [one] => run(one)?,
            many => many.par_iter().try_for_each(|inputs| run(inputs))?,
        }
        times_s.push(start.elapsed().as_secs_f64() / samples.len() as f64);
    }
    let mut times_s = times_s.split_off(WARM_UP);
    times_s.sort_by(f64::total_cmp);
    Ok(times_s)
}

/// Numbers in [0, 1) for floats, 0 and 1 for integers.
fn input(ty: &TensorType, sample: usize) -> Result<Tensor, String> {
    let elements = sample..sample + ty.len();
    match ty.dtype {
        DType::F32 => {
            let values = elements.map(|i| (i * 7919 % 1000) as f32 / 1000.);
            Ok(Tensor::from_vec(&ty.shape, values.collect()))
        }
        DType::I64 => {
            let values = elements.map(|i| i64::from(i % 5 != 4));
            Ok(Tensor::from_vec(&ty.shape, values.collect()))
        }
        other => Err(format!("an input is {other}, expected float32 or int64")),
    }
}
