//! A search with a strategy of one's own: greedy, by decibels lost for the bit operations saved.
//!
//!     cargo run --release --example own_strategy

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use mpq::artifact::Config;
use mpq::data::{Dataset, Feed, Options};
use mpq::onnx;
use mpq::pipeline::{
    Head, Measuring, Network, Resources, Searched, Settings, Study, input_specs, input_types,
    search,
};
use mpq::progress::Silent;
use mpq::search::{
    Answer, Configuration, CostMetric, Curve, Flip, Goal, Least, Outcome, Problem, SearchError,
    Strategy,
};

const GREEDY: Strategy = Strategy {
    name: "greedy",
    doc: "takes the step that loses the fewest decibels for the BOPs it saves",
    search: greedy,
};

/// Knows nothing of networks: only groups, choices, costs and predictions.
fn greedy(problem: &mut dyn Problem, goal: &Goal) -> Result<Outcome, SearchError> {
    let start = Configuration::most_precise(problem.choices());
    let mut at = start.clone();
    let mut flips = Vec::new();
    while let Some(flip) = best_step(problem, &at) {
        at = at.with(flip.group, flip.to);
        flips.push(flip);
    }
    // The walk goes all the way down; the goal picks a point on it.
    let curve = Curve::new(problem, start, &flips);
    let answer = match curve.first_within(&goal.budgets) {
        Some(point) => {
            Answer::Found { configuration: curve.configuration(point), point: Some(point) }
        }
        None => {
            let cheapest = &curve.last().costs;
            Answer::Unreachable(Least::of(&goal.budgets, cheapest, &curve.full)?)
        }
    };
    Ok(Outcome::new(curve, answer))
}

fn best_step(problem: &dyn Problem, at: &Configuration) -> Option<Flip> {
    let bops = |configuration: &Configuration| {
        problem.costs(configuration).get(CostMetric::BOPS).unwrap_or(0.)
    };
    // `None` is no noise at all.
    let sqnr_db = |configuration: &Configuration| {
        problem.predicted_sqnr_db(configuration).unwrap_or(f64::INFINITY)
    };
    let (bops_now, sqnr_now) = (bops(at), sqnr_db(at));
    let mut best: Option<(f64, Flip)> = None;
    for (group, choices) in problem.choices().iter().enumerate() {
        let from = at.0[group];
        for (to, choice) in choices.iter().enumerate() {
            if !choice.candidate.is_below(&choices[from].candidate) {
                continue;
            }
            let next = at.with(group, to);
            let saved = bops_now - bops(&next);
            let price = (sqnr_now - sqnr_db(&next)) / saved.max(1.);
            if best.as_ref().is_none_or(|(least, _)| price < *least) {
                best = Some((price, Flip { group, from, to }));
            }
        }
    }
    best.map(|(_, flip)| flip)
}

fn main() -> Result<(), Box<dyn Error>> {
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits");
    let model = onnx::load(&digits.join("model.onnx"), &BTreeMap::new())?;
    let inputs = input_specs(&model.graph);
    let options = Options { samples: Some(16), ..Options::default() };
    let data = Dataset::open(&[digits.join("calib")], &inputs, &options, &Silent)?;
    let settings = Settings { candidates: "W4A8,W6A8,W8A8,W8A16".parse()?, ..Settings::default() };
    let types = input_types(&model.graph)?;
    let network = Network::new(model, &types, settings)?;

    // Phase 1: ranges, then how much each group hurts at each candidate.
    let resources = Resources::default();
    let engine = network.engine(resources);
    let feed = Feed::new(&data, &inputs);
    let encodings = network.calibrate(&*engine, &feed, None, &Silent)?;
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

    // Phase 2, with our strategy and with the paper's.
    let goal = Goal { budgets: vec!["0.375".parse()?], keep_free: false };
    let pareto = Strategy::find("pareto").ok_or("it is one of the strategies")?;
    for strategy in [&GREEDY, pareto] {
        let mut study = Study::new(&network, &encodings, &sensitivity, Some(measuring))?;
        match search(&mut study, strategy, &goal, Head::new(&network, &data)?)? {
            Searched::Found { config, .. } => report(strategy, &config),
            Searched::Unreachable(least) => {
                least.iter().for_each(|least| println!("{}: {least}", strategy.name));
            }
            Searched::Missed(missed) => println!("{}: {missed}", strategy.name),
        }
    }
    Ok(())
}

fn report(strategy: &Strategy, config: &Config) {
    let db =
        |sqnr_db: Option<f64>| sqnr_db.map_or("no noise".to_owned(), |db| format!("{db:.1} dB"));
    let bops = config.cost.relative_bops.unwrap_or_default();
    println!("{}: {:.3} of the BOPs, {}", strategy.name, bops, db(config.quality.sqnr_db));
    for baseline in &config.baselines {
        let bops = baseline.cost.relative_bops.unwrap_or_default();
        println!("  uniform {}: {bops:.3}, {}", baseline.candidate, db(baseline.quality.sqnr_db));
    }
}
