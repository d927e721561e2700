//! The example shows the point of the tool.

use mpq::artifact::{Config, parse};

use crate::run::{CALIB, MODEL, Sandbox};

#[test]
fn mixed_is_three_decibels_better_than_uniform_of_equal_cost() {
    let candidates = "W4A8,W6A8,W8A8,W8A16";
    let args = ["search", MODEL, "--calib", CALIB, "--candidates", candidates, "--budget", "0.375"];
    let ran = Sandbox::new().mpq(&args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let config: Config = parse("stdout", ran.stdout.as_bytes()).unwrap();
    let uniform = config.baselines.iter().find(|b| b.candidate.to_string() == "W6A8").unwrap();
    assert_eq!(uniform.cost.relative_bops, Some(0.375));
    assert!(config.cost.bops <= uniform.cost.bops);
    let [mixed, uniform] = [&config.quality, &uniform.quality].map(|q| q.sqnr_db.unwrap());
    assert!(uniform + 3. <= mixed, "mixed {mixed} dB, uniform {uniform} dB");
}
