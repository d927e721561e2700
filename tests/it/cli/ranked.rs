//! `mpq sensitivity --rank-by`: lists in the order of a metric.

use expect_test::expect;
use serde_json::Value;

use crate::run::{LABELS, MODEL, Sandbox, VAL};

fn ranked(sandbox: &Sandbox, metric: &[&str], file: &str) -> Value {
    let measure = ["sensitivity", MODEL, "--calib", VAL, "--samples", "60", "-q", "-o"];
    let ran = sandbox.mpq(&[&measure[..], &[&format!("TMP/{file}")], metric].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    serde_json::from_str(&sandbox.read(file)).unwrap()
}

#[test]
fn the_list_is_in_the_order_of_the_metric() {
    let sandbox = Sandbox::new();
    let by_top1 = ["--rank-by", "top1", "--labels", LABELS];
    let by_top1 = ranked(&sandbox, &by_top1, "top1.json");
    assert_eq!(by_top1["settings"]["rank_by"], "top1");
    let groups = by_top1["groups"].as_array().unwrap();
    let choice = |entry: &Value| {
        let group = groups.iter().find(|group| group["id"] == entry["group"]).unwrap();
        let mut choices = group["choices"].as_array().unwrap().iter();
        choices.find(|choice| choice["candidate"] == entry["candidate"]).unwrap()
    };
    let list = by_top1["list"].as_array().unwrap();
    let keys = list.iter().map(|entry| {
        let choice = choice(entry);
        let sqnr_db = choice["sqnr_db"].as_f64().unwrap_or(f64::INFINITY);
        (choice["score"].as_f64().unwrap(), sqnr_db)
    });
    let keys: Vec<(f64, f64)> = keys.collect();
    assert!(keys.windows(2).all(|pair| pair[1] <= pair[0]), "{keys:?}");
    assert!(keys.last().unwrap().0 < keys[0].0, "4 bits cost some images");

    // What the most sensitive choice has is what `mpq eval` says of it alone.
    let worst = list.last().unwrap();
    let [group, candidate] = ["group", "candidate"].map(|key| worst[key].as_str().unwrap());
    let pin = format!("{group}={candidate}");
    let eval = ["eval", MODEL, "--uniform", "W32A32", "--calib", VAL, "--data", VAL, "--samples"];
    let judged = ["60", "--pin", &pin, "--labels", LABELS, "--metric", "top1", "--json", "-q"];
    let ran = sandbox.mpq(&[&eval[..], &judged].concat());
    let eval: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(eval["quantized"]["top1"], choice(worst)["score"], "{}", ran.stderr);

    // The walk goes down that list.
    let search = ["search", MODEL, "--sensitivity", "TMP/top1.json", "--budget", "0.4", "-q"];
    let ran = sandbox.mpq(&search);
    let config: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(config["settings"]["rank_by"], "top1");
    let flips = config["curve"].as_array().unwrap()[1..].iter();
    let place = |flip: &Value| {
        let is_it = |entry: &&Value| {
            entry["group"] == flip["flip"]["group"] && entry["candidate"] == flip["flip"]["to"]
        };
        list.iter().position(|entry| is_it(&entry)).unwrap()
    };
    let places: Vec<usize> = flips.map(place).collect();
    assert!(places.is_sorted(), "{places:?}");

    let by_sqnr = ranked(&sandbox, &[], "sqnr.json");
    assert_eq!(by_sqnr["settings"]["rank_by"], "sqnr");
    let tau = |other: &str| {
        let compared = sandbox.mpq(&["compare", "TMP/top1.json", other, "--json"]);
        let compared: Value = serde_json::from_str(&compared.stdout).unwrap();
        compared["tau"].as_f64().unwrap()
    };
    assert_eq!(tau("TMP/top1.json"), 1.);
    assert!(tau("TMP/sqnr.json") < 1., "top-1 and SQNR are compared, not SQNR with itself");
}

#[test]
fn what_cannot_rank_is_told() {
    let sandbox = Sandbox::new();
    let lines = [
        "--rank-by top1",
        "--labels examples/digits/val/labels.csv",
        "--rank-by speed",
        "--rank-by agreement --labels examples/digits/val/labels.csv",
        "--rank-by top1 --labels TMP/none.csv",
    ];
    let line =
        |flags| format!("sensitivity {MODEL} --calib {VAL} --samples 2 -q -o TMP/s.json {flags}");
    let lines = lines.map(line);
    expect![[r#"
        $ mpq sensitivity examples/digits/model.onnx --calib examples/digits/val --samples 2 -q -o TMP/s.json --rank-by top1
        error: metric `top1` compares with labels, and there are none
        hint: give --labels
        exit 2

        $ mpq sensitivity examples/digits/model.onnx --calib examples/digits/val --samples 2 -q -o TMP/s.json --labels examples/digits/val/labels.csv
        error: the following required arguments were not provided:
          --rank-by <METRIC>

        Usage: mpq sensitivity --calib <PATH> --rank-by <METRIC> --samples <N> --quiet --output <FILE> --labels <PATH> <MODEL>

        For more information, try '--help'.
        exit 2

        $ mpq sensitivity examples/digits/model.onnx --calib examples/digits/val --samples 2 -q -o TMP/s.json --rank-by speed
        error: invalid value 'speed' for '--rank-by <METRIC>': found metric `speed`, expected one of `top1`, `top5`, `miou`, `accuracy`, `f1`, `matthews`, `pearson`, `spearman`, `psnr`, `agreement`, `command`

        For more information, try '--help'.
        exit 2

        $ mpq sensitivity examples/digits/model.onnx --calib examples/digits/val --samples 2 -q -o TMP/s.json --rank-by agreement --labels examples/digits/val/labels.csv
        error: `--labels` is given, and none of the metrics `agreement` takes labels
        exit 2

        $ mpq sensitivity examples/digits/model.onnx --calib examples/digits/val --samples 2 -q -o TMP/s.json --rank-by top1 --labels TMP/none.csv
        error: cannot read `TMP/none.csv`
          caused by: No such file or directory (os error 2)
        exit 2
    "#]].assert_eq(&sandbox.transcript(&lines.each_ref().map(String::as_str)));
    assert!(!sandbox.path("s.json").exists());
}
