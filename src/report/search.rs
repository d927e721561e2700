//! The summary of a search: the result beside the uniform baselines.

use std::collections::BTreeMap;

use crate::artifact::{Achieved, Baseline, Config, Requested};
use crate::quant::Candidate;
use crate::report::evaluation::cell;
use crate::report::goal::goal;
use crate::report::number::{UNKNOWN, bytes, decibels, plural, ratio};
use crate::report::{Align, Table};
use crate::search::{Amount, Budget, CostMetric, Tried};

/// What the row of the result is called in [`search`].
pub const RESULT: &str = "mpq";

/// A row for each uniform candidate, for each strategy that was tried and for the result, then what
/// it consists of.
pub fn search(config: &Config, tried: &[Tried]) -> String {
    let right = |title| (title, Align::Right);
    let columns = ["BOPs", "of W8A8", "weights", "SQNR", "predicted"].map(right);
    let metrics: Vec<&str> = config.quality.metrics.iter().map(|(name, _)| name).collect();
    let of_metrics: Vec<_> = metrics.iter().copied().map(right).collect();
    let mut table = Table::new(&[&[("", Align::Left)][..], &columns, &of_metrics].concat());
    let scored = |cells: [String; 6], value: &dyn Fn(&str) -> Option<f64>| {
        let values = metrics.iter().map(|name| cell(name, value(name)));
        cells.into_iter().chain(values).collect::<Vec<_>>()
    };
    for baseline in &config.baselines {
        let quality = &baseline.quality;
        let cells = [
            baseline.candidate.to_string(),
            ratio(baseline.cost.relative_bops),
            ratio(relative_to_w8a8(config, baseline.cost.bops)),
            bytes(baseline.cost.weight_bytes),
            measured(config, quality.sqnr_db),
            decibels(quality.predicted_sqnr_db),
        ];
        table.row(scored(cells, &|name| quality.metrics.get(name).copied()));
    }
    let is_baseline = |name: &str| config.baselines.iter().any(|b| b.candidate.to_string() == name);
    for tried in tried.iter().filter(|tried| !is_baseline(&tried.name)) {
        let cost = |metric| tried.costs.get(metric).map(|cost| cost as u64);
        let bops = cost(CostMetric::BOPS).unwrap_or(0);
        let cells = [
            tried.name.clone(),
            ratio(config.cost.relative_bops.map(|r| r * bops as f64 / config.cost.bops as f64)),
            ratio(relative_to_w8a8(config, bops)),
            cost(CostMetric::WEIGHTS).map_or_else(|| UNKNOWN.to_owned(), bytes),
            tried.measured.as_ref().map_or_else(|| UNKNOWN.to_owned(), |q| decibels(q.sqnr_db)),
            decibels(tried.predicted_sqnr_db),
        ];
        table.row(scored(cells, &|name| {
            let mut metrics = tried.measured.iter().flat_map(|quality| &quality.metrics);
            metrics.find(|(known, _)| known == name).map(|&(_, value)| value)
        }));
    }
    let cells = [
        RESULT.to_owned(),
        ratio(config.cost.relative_bops),
        ratio(config.cost.relative_bops_to_w8a8),
        bytes(config.cost.weight_bytes),
        measured(config, config.quality.sqnr_db),
        decibels(config.quality.predicted_sqnr_db),
    ];
    table.row(scored(cells, &|name| config.quality.metrics.get(name).copied()));
    let n_pinned = config.groups.iter().filter(|group| group.pinned).count();
    let pinned = if n_pinned == 0 { String::new() } else { format!("; {n_pinned} pinned") };
    format!(
        "{table}\n{}{}: {}{pinned}\n{}{}",
        goal(config),
        plural(config.groups.len() as u64, "group"),
        choices(config),
        conversions(config),
        achieved(config)
    )
}

/// Conversions that are told by place.
const SHOWN: usize = 4;

/// How many there are, and where.
fn conversions(config: &Config) -> String {
    let number = plural(config.cost.conversions, "conversion");
    let nodes = config.conversions.iter().take(SHOWN).map(|place| place.node.as_str());
    let nodes = nodes.collect::<Vec<_>>().join(", ");
    match config.conversions.len() {
        0 => number,
        n if n <= SHOWN => format!("{number}: at {nodes}"),
        n => format!("{number}: at {nodes} and {} more", n - SHOWN),
    }
}

/// A line for each budget that neither the table nor the count of conversions tells of.
fn achieved(config: &Config) -> String {
    let told = [CostMetric::BOPS, CostMetric::WEIGHTS].map(CostMetric::name);
    let lines = config.goal.requested.iter().zip(&config.goal.achieved);
    let line = |(requested, achieved): (&Requested, &Achieved)| {
        let metric = CostMetric::find(&requested.metric)?;
        let amount = |relative: Option<f64>, absolute: Option<f64>| {
            let absolute = absolute.map(Amount::Absolute);
            let limit = relative.map(Amount::Relative).or(absolute)?;
            Some(Budget { metric, limit }.to_string())
        };
        let relative = achieved.relative.filter(|_| requested.relative.is_some());
        let found = amount(relative, achieved.absolute)?;
        let budget = amount(requested.relative, requested.absolute)?;
        (!told.contains(&metric.name())).then(|| format!("\n{found}, budget {budget}"))
    };
    lines.filter_map(line).collect()
}

fn relative_to_w8a8(config: &Config, bops: u64) -> Option<f64> {
    let relative = config.cost.relative_bops_to_w8a8?;
    (config.cost.bops != 0).then(|| bops as f64 / config.cost.bops as f64 * relative)
}

/// A file tells what was measured by the chosen point of its curve.
pub(super) fn is_measured(config: &Config) -> bool {
    config.quality.sqnr_db.is_some() || config.curve.iter().any(|point| point.measured.is_some())
}

fn measured(config: &Config, sqnr_db: Option<f64>) -> String {
    if is_measured(config) { decibels(sqnr_db) } else { UNKNOWN.to_owned() }
}

/// How many groups are at each candidate, most precise first; those without weights last.
fn choices(config: &Config) -> String {
    let order = |candidate: Candidate| {
        (candidate.weight.is_some(), candidate.product(), candidate.weight, candidate.activation)
    };
    let mut counts: BTreeMap<_, (Candidate, u64)> = BTreeMap::new();
    for group in &config.groups {
        counts.entry(order(group.candidate)).or_insert((group.candidate, 0)).1 += 1;
    }
    let counts = counts.values().rev().map(|(candidate, n)| format!("{n} at {candidate}"));
    counts.collect::<Vec<_>>().join(", ")
}

/// The uniform candidate within the budgets whose measured SQNR is highest, if it is higher than
/// the result's. None for a quality goal, which asks for no more than it says.
pub fn better_baseline(config: &Config) -> Option<&Baseline> {
    let found = config.quality.sqnr_db?;
    let mut requested = config.goal.requested.iter();
    if requested.any(|requested| CostMetric::find(&requested.metric).is_none()) {
        return None;
    }
    // A baseline without a number has no noise at all, as the result was measured.
    let sqnr_db = |baseline: &&Baseline| baseline.quality.sqnr_db.unwrap_or(f64::INFINITY);
    let best = config.baselines.iter().filter(|baseline| baseline.within_budgets);
    let best = best.max_by(|a, b| sqnr_db(a).total_cmp(&sqnr_db(b)))?;
    (found < sqnr_db(&best)).then_some(best)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::artifact::parse;

    /// A result of 31 dB at half the BOPs, beside uniform W8A8 with `w8a8` dB.
    fn config(requested: &str, within: bool, w8a8: &str) -> Config {
        let json = CONFIG.replace("REQUESTED", requested).replace("W8A8_DB", w8a8);
        let json = json.replace("WITHIN", &within.to_string());
        parse("config.json", json.as_bytes()).unwrap()
    }

    const CONFIG: &str = r#"{"schema":"mpq/config/1","version":"0.1.0",
        "model":{"file":"m.onnx","sha256":"ab"},
        "calibration":{"samples":2,"sha256":"cd","preprocessing":null},
        "settings":{"target":"generic","range":{"weights":"mse","activations":"mse"},
            "weights":"per-channel","rounding":{"method":"nearest","sha256":null},"equalize":false,
            "bias_correction":false,"sqnr":"pooled","rank_by":"sqnr","outputs":["y"],"strategy":"pareto",
            "probe":null,"cost_table_sha256":null,"engine":"reference","seed":0,"dims":{}},
        "candidates":["W8A16","W8A8"],
        "goal":{"requested":[REQUESTED],"achieved":[],"evaluations":0,"gap":null},
        "cost":{"macs":500,"bops":64000,"relative_bops":0.5,"relative_bops_to_w8a8":1.0,
            "weight_bytes":1500,"relative_weight_bytes":0.75,"activation_bytes":64,"conversions":1,
            "average_bits":8.0,"a16_share":0.5,"latency_ms":null},
        "quality":{"sqnr_db":31.0,"predicted_sqnr_db":31.5,"metrics":{}},
        "baselines":[
            {"candidate":"W8A16","within_budgets":false,"cost":{"bops":128000,"relative_bops":1.0,"weight_bytes":2000},
             "quality":{"sqnr_db":null,"predicted_sqnr_db":null,"metrics":{}}},
            {"candidate":"W8A8","within_budgets":WITHIN,"cost":{"bops":64000,"relative_bops":0.5,"weight_bytes":2000},
             "quality":{"sqnr_db":W8A8_DB,"predicted_sqnr_db":29.0,"metrics":{}}}],
        "curve":[],"chosen_point":null,
        "conversions":[{"node":"conv1","reads":"x","makes":"y","from_bits":8,"to_bits":16}],
        "groups":[{"id":"x","candidate":"W8A8","weight_bits":8,"activation_bits":8,"nodes":[],
            "activations":["x"],"weights":[],"weight_elements":9,"macs":500,"product_macs":0,"sqnr_db":{},
            "pinned":false,"tied_by":[]}],
        "encodings":{"activations":{},"weights":{}}}"#;

    const BOPS: &str = r#"{"metric":"bops","relative":0.5,"absolute":null}"#;

    #[test]
    fn the_result_beside_the_baselines() {
        expect![[r#"
                    BOPs  of W8A8   weights      SQNR  predicted
            W8A16  1.000    2.000  1.95 KiB  no noise   no noise
            W8A8   0.500    1.000  1.95 KiB  29.50 dB   29.00 dB
            mpq    0.500    1.000  1.46 KiB  31.00 dB   31.50 dB
            1 group: 1 at W8A8
            1 conversion: at conv1"#]]
        .assert_eq(&search(&config(BOPS, true, "29.5"), &[]));
    }

    #[test]
    fn a_uniform_candidate_that_is_better_is_found_if_it_is_within_the_budgets() {
        for (within, w8a8, expected) in
            [(true, "29.5", None), (true, "31.5", Some("W8A8")), (false, "31.5", None)]
        {
            let config = config(BOPS, within, w8a8);
            let found = better_baseline(&config).map(|baseline| baseline.candidate.to_string());
            assert_eq!(found.as_deref(), expected, "{within} {w8a8}");
        }
    }

    #[test]
    fn other_budgets_have_a_line() {
        let mut config = config(BOPS, true, "29.5");
        let amount = |metric: &str, relative, absolute| Requested {
            metric: metric.to_owned(),
            relative,
            absolute,
        };
        for (requested, [relative, absolute]) in [
            (amount("a16", None, Some(0.5)), [None, Some(0.25)]),
            (amount("activations", Some(0.75), None), [Some(0.5), Some(64.)]),
            (amount("activations", None, Some(65536.)), [Some(0.5), Some(2048.)]),
        ] {
            let metric = requested.metric.clone();
            config.goal.requested.push(requested);
            config.goal.achieved.push(Achieved { metric, relative, absolute });
        }
        // The one that is there already has nothing achieved in this file.
        config.goal.requested.remove(0);
        let lines = search(&config, &[]);
        let (_, lines) = lines.split_once("1 conversion").unwrap();
        expect![[r#"
            : at conv1
            a16=0.25, budget a16=0.5
            activations=0.5, budget activations=0.75
            activations=2KiB, budget activations=64KiB"#]]
        .assert_eq(lines);
    }
}
