//! How even the shards of Phase 1 are: every measurement is timed, and the time of every shard added up.
//!
//! `cargo bench --bench shards -- MODEL --calib PATH [--samples N] [--shards N,N]`
//!
//! Shards are cut by multiply-accumulates, as always; what they take is counted in measured seconds of one
//! thread: of every float pass that a shard runs and of every measurement. Settings are the defaults.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use mpq::data::{Dataset, Feed, Options};
use mpq::exec::{Changes, Keep, Values};
use mpq::pipeline::{Measuring, Network, Resources, Settings, input_specs};
use mpq::progress::Silent;
use mpq::sensitivity::Plan;
use mpq::shard::Shard;

/// Passes that are measured side by side, as Phase 1 does it.
const TOGETHER: usize = 4;

/// The median of so many counts.
const ROUNDS: usize = 5;

struct Args {
    model: PathBuf,
    calib: PathBuf,
    samples: usize,
    shards: Vec<u64>,
}

impl Args {
    fn parse() -> Result<Args, Box<dyn Error>> {
        let (mut model, mut calib) = (None, None);
        let (mut samples, mut shards) = (256, vec![16, 64, 100, 256, 1000]);
        let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("`{arg}` has no value"));
            match arg.as_str() {
                "--calib" => calib = Some(value()?.into()),
                "--samples" => samples = value()?.parse()?,
                "--shards" => {
                    shards = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?
                }
                flag if flag.starts_with('-') => {
                    return Err(format!("unknown flag `{flag}`").into());
                }
                path => model = Some(path.into()),
            }
        }
        let missing = "a model and `--calib` are needed";
        Ok(Args { model: model.ok_or(missing)?, calib: calib.ok_or(missing)?, samples, shards })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse()?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    // Errors that cross threads are texts.
    let timed = pool.install(|| Timed::new(&args).map_err(|error| error.to_string()))?;
    println!("{} samples, float pass {:.2} ms", args.samples, 1e3 * timed.float_s);
    println!("shards  largest over mean  by MACs  mean, s  float passes run twice");
    for &n in &args.shards {
        println!("{}", timed.row(n));
    }
    Ok(())
}

/// Seconds of one pass.
struct Timed {
    plan: Plan,
    float_s: f64,
    /// By job.
    jobs_s: Vec<f64>,
    n_passes: usize,
}

impl Timed {
    fn new(args: &Args) -> Result<Timed, Box<dyn Error>> {
        let model = mpq::onnx::load(&args.model, &BTreeMap::new())?;
        let inputs = input_specs(&model.graph);
        let options = Options { samples: Some(args.samples), ..Options::default() };
        let data = Dataset::open(std::slice::from_ref(&args.calib), &inputs, &options, &Silent)?;
        let feed = Feed::new(&data, &inputs);
        let resources = Resources { batch: None, memory_bytes: 2 << 30 };
        let network = Network::of_sample(model, &feed.inputs(0)?, Settings::default(), resources)?;
        let engine = network.engine(resources);
        // Ranges do not show in the time.
        let few = data.take(TOGETHER);
        let encodings = network.calibrate(&*engine, &Feed::new(&few, &inputs), None, &Silent)?;
        let simulator = network.simulator(&encodings, None);
        let measuring = Measuring {
            simulator: &simulator,
            rounded: None,
            kept: None,
            engine: &*engine,
            feed: &feed,
            resources,
            progress: &Silent,
        };
        let (plan, _) = network.plan(&measuring)?;
        let float = Changes::default();
        let run = |pass| Ok(engine.run(&feed.inputs(pass)?, &float, Keep::All)?);
        let float_s = median(|| run(0).map(drop))?;
        let bases = (0..TOGETHER).map(run).collect::<Result<Vec<Values>, Box<dyn Error>>>()?;
        let bases: Vec<&Values> = bases.iter().collect();
        let mut known: Vec<Changes<'_>> = Vec::new();
        let mut jobs_s = Vec::new();
        for (index, group) in network.groups.groups.iter().enumerate() {
            for &choice in &group.choices {
                let changes = simulator.changes(&[(index, choice)]);
                if known.iter().any(|known| known.are_same(&changes)) {
                    jobs_s.push(0.);
                    continue;
                }
                let together_s = median(|| {
                    let all = engine.differences(&bases, &changes, &network.outputs, feed.batch());
                    all.into_iter().try_for_each(|one| one.map(drop)).map_err(Into::into)
                })?;
                jobs_s.push(together_s / TOGETHER as f64);
                known.push(changes);
            }
        }
        Ok(Timed { plan, float_s, jobs_s, n_passes: feed.len() })
    }

    fn row(&self, n: u64) -> String {
        let shards = (0..n).filter_map(|index| Shard::new(index, n));
        let passes: Vec<usize> =
            shards.clone().map(|shard| self.plan.passes(shard).len()).collect();
        let seconds = |shard| {
            let jobs = self.plan.pieces(shard).into_iter().skip(1).zip(&self.jobs_s);
            let jobs_s: f64 = jobs.map(|(passes, job_s)| passes.len() as f64 * job_s).sum();
            self.plan.passes(shard).len() as f64 * self.float_s + jobs_s
        };
        let (over_mean, mean_s) = balance(&shards.map(seconds).collect::<Vec<f64>>());
        let costs = self.plan.costs(n);
        let (by_macs, _) = balance(&costs.iter().map(|&cost| cost as f64).collect::<Vec<f64>>());
        let twice = passes.iter().sum::<usize>() - self.n_passes;
        format!("{n:6}  {over_mean:17.3}  {by_macs:7.3}  {mean_s:7.2}  {twice:22}")
    }
}

/// The largest over the mean, and the mean.
fn balance(costs: &[f64]) -> (f64, f64) {
    let mean = costs.iter().sum::<f64>() / costs.len() as f64;
    (costs.iter().copied().fold(0., f64::max) / mean, mean)
}

fn median(work: impl Fn() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let mut seconds = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[ROUNDS / 2])
}
