//! How long the knapsack takes for 300 groups of six candidates: `cargo bench --bench knapsack`.
//!
//! Networks are made up: work and noise of a group are spread over four and six powers of ten, noise
//! falls as bits rise. Told are the least, the median and the
//! longest of 50 searches, each with the whole curve, for one budget and for two.

#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::time::Instant;

use mpq::quant::Candidate;
use mpq::search::{Choice, Configuration, CostMetric, Costs, Goal, Problem, Strategy};

const GROUPS: usize = 300;
const CANDIDATES: [&str; 6] = ["W16A16", "W8A16", "W8A8", "W6A8", "W4A8", "W4A6"];
const SEARCHES: u64 = 50;

struct Network {
    macs: Vec<f64>,
    weights: Vec<f64>,
    choices: Vec<Vec<Choice>>,
}

impl Network {
    fn random(seed: u64) -> Network {
        let mut state = seed;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut network = Network { macs: vec![], weights: vec![], choices: vec![] };
        for _ in 0..GROUPS {
            let mut sqnr_db = 20. + 60. * random();
            let mut choice = |name: &&str| {
                sqnr_db -= 24. * random();
                let candidate = name.parse().expect("a candidate");
                Choice { candidate, sqnr_db: Some(sqnr_db), score: None }
            };
            network.choices.push(CANDIDATES.iter().map(&mut choice).collect());
            network.macs.push(10_f64.powf(4. + 4. * random()).round());
            network.weights.push(10_f64.powf(2. + 4. * random()).round());
        }
        network
    }

    fn sum(&self, of: &[f64], bits: fn(&Candidate) -> u32, at: &Configuration) -> f64 {
        let groups = self.choices.iter().zip(&at.0).zip(of);
        groups.map(|((choices, &at), of)| of * f64::from(bits(&choices[at].candidate))).sum()
    }
}

impl Problem for Network {
    fn choices(&self) -> &[Vec<Choice>] {
        &self.choices
    }

    fn costs(&self, at: &Configuration) -> Costs {
        let weight_bits = |candidate: &Candidate| candidate.weight.map_or(0, u32::from);
        [
            (CostMetric::BOPS, self.sum(&self.macs, Candidate::product, at)),
            (CostMetric::WEIGHTS, self.sum(&self.weights, weight_bits, at)),
        ]
        .into()
    }
}

fn main() {
    let knapsack = Strategy::find("knapsack").expect("it is one of the table");
    println!("{GROUPS} groups of {} candidates", CANDIDATES.len());
    for budgets in [&["bops=0.4"][..], &["bops=0.4", "weights=0.4"]] {
        let budgets: Vec<_> = budgets.iter().map(|text| text.parse().expect("a budget")).collect();
        let goal = Goal { budgets, keep_free: false };
        let mut times = Vec::new();
        let mut gap = 0_f64;
        for seed in 0..SEARCHES {
            let mut network = Network::random(seed);
            let start = Instant::now();
            let outcome = (knapsack.search)(&mut network, &goal).expect("sums");
            times.push(1000. * start.elapsed().as_secs_f64());
            gap = gap.max(outcome.gap.unwrap_or(f64::INFINITY));
        }
        times.sort_by(f64::total_cmp);
        let (least, median, most) = (times[0], times[times.len() / 2], times[times.len() - 1]);
        let n = goal.budgets.len();
        println!("{n} budgets: {median:.1} ms ({least:.1}..{most:.1}), largest gap {gap:.1e}");
    }
}
