//! Phase 1 of a model: seconds by stage, and what a measurement costs for the part of the network that
//! it recomputes.
//!
//! `cargo bench --bench phase1 -- MODEL --calib PATH [--samples N] [--threads N] [--dim NAME=SIZE]
//! [--preprocess NAME] [--mean X] [--std X] [--resize SIZE] [--crop SIZE] [--pad SIDE]
//! [--channels ORDER] [--json]`
//!
//! Flags mean what they mean to `mpq sensitivity`, and what they do not say is as there by default.
//! The cone of a measurement is what depends on its changed values; its cost is in multiply-accumulates.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use mpq::data::{Dataset, Feed, ImageOptions, ImageSettings, Options};
use mpq::exec::Changes;
use mpq::pipeline::{Measuring, Network, Resources, Settings, input_specs};
use mpq::progress::Silent;
use mpq::quant::{Simulator, node_macs};

struct Args {
    model: PathBuf,
    calib: Vec<PathBuf>,
    samples: usize,
    threads: usize,
    dims: BTreeMap<String, usize>,
    images: ImageOptions,
    is_json: bool,
}

impl Args {
    fn parse() -> Result<Args, Box<dyn Error>> {
        let mut parsed = Args {
            model: PathBuf::new(),
            calib: Vec::new(),
            samples: 256,
            threads: std::thread::available_parallelism()?.get(),
            dims: BTreeMap::new(),
            images: ImageOptions::UNSET,
            is_json: false,
        };
        let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("`{arg}` has no value"));
            let images = &mut parsed.images;
            match arg.as_str() {
                "--calib" => parsed.calib.push(value()?.into()),
                "--samples" => parsed.samples = value()?.parse()?,
                "--threads" => parsed.threads = value()?.parse()?,
                "--dim" => {
                    let value = value()?;
                    let (name, size) = value.split_once('=').ok_or("expected NAME=SIZE")?;
                    parsed.dims.insert(name.to_owned(), size.parse()?);
                }
                "--preprocess" => images.preprocess = Some(value()?.parse()?),
                "--mean" => images.mean = Some(value()?.parse()?),
                "--std" => images.std = Some(value()?.parse()?),
                "--resize" => images.resize = Some(value()?.parse()?),
                "--crop" => images.crop = Some(value()?.parse()?),
                "--pad" => images.pad = Some(value()?.parse()?),
                "--channels" => images.channels = Some(value()?.parse()?),
                "--json" => parsed.is_json = true,
                flag if flag.starts_with('-') => {
                    return Err(format!("unknown flag `{flag}`").into());
                }
                model => parsed.model = model.into(),
            }
        }
        match parsed.model.as_os_str().is_empty() || parsed.calib.is_empty() {
            true => Err("a model and `--calib` are needed".into()),
            false => Ok(parsed),
        }
    }

    fn settings(&self) -> Settings {
        Settings { dims: self.dims.clone(), ..Settings::default() }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse()?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(args.threads).build()?;
    // Errors that cross threads are texts.
    let timed = pool.install(|| phase1(&args).map_err(|error| error.to_string()))?;
    match args.is_json {
        true => println!("{}", json(&timed, &args)),
        false => print!("{}", text(&timed)),
    }
    Ok(())
}

struct Timed {
    samples: usize,
    groups: usize,
    measurements: usize,
    /// Of the network.
    macs: u64,
    /// Of the cones of all measurements.
    cone_macs: u64,
    load_s: f64,
    calibrate_s: f64,
    measure_s: f64,
}

impl Timed {
    fn runs(&self) -> f64 {
        (self.measurements * self.samples) as f64
    }

    fn cone_gmacs(&self) -> f64 {
        self.cone_macs as f64 * 1e-9 * self.samples as f64
    }
}

fn text(timed: &Timed) -> String {
    let Timed { load_s, calibrate_s, measure_s, .. } = timed;
    let share = timed.cone_macs as f64 / (timed.macs as f64 * timed.measurements as f64);
    [
        format!("load       {load_s:9.3} s"),
        format!("calibrate  {calibrate_s:9.3} s, {} samples", timed.samples),
        format!("measure    {measure_s:9.3} s, {} groups", timed.groups),
        format!("{} measurements of {:.0} % of the network", timed.measurements, 100. * share),
        format!("{:.1} measurements of a sample in a second", timed.runs() / measure_s),
        format!("{:.2} ms for a GMAC of cone", 1e3 * measure_s / timed.cone_gmacs()),
    ]
    .map(|line| line + "\n")
    .concat()
}

fn json(timed: &Timed, args: &Args) -> serde_json::Value {
    serde_json::json!({
        "threads": args.threads,
        "samples": timed.samples,
        "groups": timed.groups,
        "measurements": timed.measurements,
        "macs": timed.macs,
        "cone_macs": timed.cone_macs,
        "load_s": timed.load_s,
        "calibrate_s": timed.calibrate_s,
        "measure_s": timed.measure_s,
    })
}

fn phase1(args: &Args) -> Result<Timed, Box<dyn Error>> {
    let start = Instant::now();
    let model = mpq::onnx::load(&args.model, &args.dims)?;
    let inputs = input_specs(&model.graph);
    let options = Options {
        images: ImageSettings::Resolve(args.images.clone()),
        samples: Some(args.samples),
        seed: 0,
        skip_bad: false,
        limit_bytes: 1 << 30,
    };
    let data = Dataset::open(&args.calib, &inputs, &options, &Silent)?;
    let feed = Feed::new(&data, &inputs);
    let resources = Resources { batch: None, memory_bytes: 1 << 30 };
    let network = Network::of_sample(model, &feed.inputs(0)?, args.settings(), resources)?;
    data.hold(network.spare_bytes(resources) / 2);
    let load_s = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let engine = network.engine(resources);
    let encodings = network.calibrate(&*engine, &feed, None, &Silent)?;
    let calibrate_s = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let simulator = network.simulator(&encodings, None);
    let measuring = Measuring {
        simulator: &simulator,
        rounded: None,
        engine: &*engine,
        feed: &feed,
        kept: None,
        resources,
        progress: &Silent,
    };
    let sensitivity = network.sensitivity(&measuring)?;
    let measure_s = start.elapsed().as_secs_f64();

    Ok(Timed {
        samples: data.len(),
        groups: sensitivity.groups.len(),
        measurements: sensitivity.groups.iter().map(Vec::len).sum(),
        macs: network.groups.macs(),
        cone_macs: cone_macs(&network, &simulator),
        load_s,
        calibrate_s,
        measure_s,
    })
}

/// Of all measurements together.
fn cone_macs(network: &Network, simulator: &Simulator<'_>) -> u64 {
    let groups = network.groups.groups.iter().enumerate();
    let choices = groups.flat_map(|(index, group)| group.choices.iter().map(move |&c| (index, c)));
    choices.map(|choice| macs_behind(network, &simulator.changes(&[choice]))).sum()
}

/// Of the nodes that depend on what is changed.
fn macs_behind(network: &Network, changes: &Changes<'_>) -> u64 {
    let changed = changes.hooks.keys().chain(changes.constants.keys()).copied();
    let nodes = network.graph.dependents(changed);
    nodes.map(|(_, node)| node_macs(&network.types, node)).sum()
}
