//! `mpq search` and `mpq sensitivity`.

use expect_test::expect;

use crate::run::{CALIB, MODEL, Ran, Sandbox, without_decibels};

fn search(sandbox: &Sandbox, more: &[&str]) -> Ran {
    let args = ["search", MODEL, "--calib", CALIB, "--samples", "12", "--budget", "0.6"];
    sandbox.mpq(&[&args[..], more].concat())
}

#[test]
fn data_on_stdout_and_the_summary_on_stderr() {
    let sandbox = Sandbox::new();
    let ran = search(&sandbox, &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let config: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(config["schema"], "mpq/config/1");
    assert!(config["cost"]["relative_bops"].as_f64().unwrap() <= 0.6);
    expect![[r#"
        12 calibration samples; by default --preprocess unit --resize 9 --crop 8
                BOPs  of W8A8   weights      SQNR  predicted
        W8A16  1.000    2.000  57.3 KiB  ***** dB   ***** dB
        W8A8   0.500    1.000  57.3 KiB  ***** dB   ***** dB
        W4A8   0.250    0.500  31.8 KiB  ***** dB   ***** dB
        mpq    0.572    1.145  54.8 KiB  ***** dB   ***** dB
        35 groups: 5 at W8A16, 16 at W8A8, 8 at W4A8, 6 at A8
        3 conversions: at block1.depthwise, block1.project, block2.project
        next: mpq eval examples/digits/model.onnx --config CONFIG --data PATH --labels FILE
    "#]]
    .assert_eq(&without_decibels(&ran.stderr));

    let to_file = search(&sandbox, &["-q", "-o", "TMP/config.json"]);
    let expected = Ran { code: 0, stdout: String::new(), stderr: String::new() };
    assert_eq!(to_file, expected);
    assert_eq!(sandbox.read("config.json"), ran.stdout);
}

#[test]
fn the_same_bytes_however_it_is_run() {
    let sandbox = Sandbox::new();
    let plain = search(&sandbox, &[]);
    for flags in
        [&[][..], &["--threads", "1"], &["--threads", "2"], &["--batch", "1"], &["--batch", "3"]]
    {
        assert_eq!(search(&sandbox, flags), plain, "{flags:?}");
    }
}

#[test]
fn phase_2_alone_comes_to_the_same() {
    let sandbox = Sandbox::new();
    let whole = search(&sandbox, &[]);
    let measure = ["sensitivity", MODEL, "--calib", CALIB, "--samples", "12", "-o", "TMP/s.json"];
    let measured = sandbox.mpq(&measure);
    expect![[r#"
        12 calibration samples; by default --preprocess unit --resize 9 --crop 8
        35 groups, 99 measurements
        most sensitive            candidate      SQNR    MACs
        image                     W4A8       ***** dB  9.22 k
        block2.depthwise.act.out  W4A8       ***** dB  24.6 k
        block1.add.out            W4A8       ***** dB  49.2 k
        block2.expand.act.out     W4A8       ***** dB  6.91 k
        block1.se.scale.out       W4A8       ***** dB  16.4 k
    "#]]
    .assert_eq(&without_decibels(&measured.stderr));

    let args = ["search", MODEL, "--sensitivity", "TMP/s.json", "--budget", "0.6"];
    let with_calib = sandbox.mpq(&[&args[..], &["--calib", CALIB]].concat());
    assert_eq!(with_calib.code, 0, "{}", with_calib.stderr);
    assert_eq!(with_calib.stdout, whole.stdout);

    let without = sandbox.mpq(&args);
    let [whole, without] = [&whole, &without]
        .map(|ran| serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap());
    assert_eq!(without["groups"], whole["groups"]);
    assert_eq!(without["encodings"], whole["encodings"]);
    assert!(without["quality"]["sqnr_db"].is_null());

    let bad = [
        "search MODEL --sensitivity TMP/s.json --budget 0.6 --range minmax",
        "search MODEL --sensitivity TMP/s.json --budget 0.6 --candidates W2A8,W8A16",
        "search MODEL --sensitivity TMP/s.json --budget 0.6 --calib CALIB --samples 3",
        "search MODEL --sensitivity TMP/none.json --budget 0.6",
        "search MODEL --sensitivity MODEL --budget 0.6",
    ];
    let bad = bad.map(|line| line.replace("MODEL", MODEL).replace("CALIB", CALIB));
    let bad = sandbox.transcript(&bad.each_ref().map(String::as_str));
    expect![[r#"
        $ mpq search examples/digits/model.onnx --sensitivity TMP/s.json --budget 0.6 --range minmax
        error: cannot use `TMP/s.json`
          caused by: `--range` is given, but was settled when the sensitivities were measured
        exit 2

        $ mpq search examples/digits/model.onnx --sensitivity TMP/s.json --budget 0.6 --candidates W2A8,W8A16
        error: cannot use `TMP/s.json`
          caused by: the file's list of choices of a group is `W8A16, W8A8, W4A8`, that of this model is `W8A16, W2A8`
        exit 2

        $ mpq search examples/digits/model.onnx --sensitivity TMP/s.json --budget 0.6 --calib examples/digits/calib --samples 3
        error: the samples of --calib are 3 with SHA-256 `536afda8ef370f4d46a4db705c87bca102d23e3a7f5f2c883996c18ec74d77bf`, those of `TMP/s.json` were 12 with SHA-256 `27c7e4b46654d77ac9591db3d38f6c87e38f82c01d9875744a4ebc33682e1b56`
        exit 2

        $ mpq search examples/digits/model.onnx --sensitivity TMP/none.json --budget 0.6
        error: cannot read `TMP/none.json`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq search examples/digits/model.onnx --sensitivity examples/digits/model.onnx --budget 0.6
        error: `examples/digits/model.onnx` is not a valid `mpq/sensitivity/1` file
          caused by: expected value at line 1 column 1
        exit 2
    "#]].assert_eq(&bad);
}

#[test]
fn pins_are_kept_in_the_sensitivity_file() {
    let sandbox = Sandbox::new();
    let flags = ["--samples", "2", "--pin", "stem=W8A16", "--exclude", "hidden*"];
    let measure = ["sensitivity", MODEL, "--calib", CALIB, "-o", "TMP/s.json"];
    assert_eq!(sandbox.mpq(&[&measure[..], &flags].concat()).code, 0);
    let whole = ["search", MODEL, "--calib", CALIB, "--budget", "0.8"];
    let whole = sandbox.mpq(&[&whole[..], &flags].concat());
    let args = ["search", MODEL, "--sensitivity", "TMP/s.json", "--budget", "0.8"];
    let again = sandbox.mpq(&[&args[..], &["--calib", CALIB]].concat());
    assert_eq!((again.code, again.stdout), (whole.code, whole.stdout), "{}", again.stderr);
}

#[test]
fn unreachable_goals_say_the_least_and_write_nothing() {
    let sandbox = Sandbox::new();
    let line = format!(
        "search {MODEL} --calib {CALIB} --samples 2 --budget 0.1 --budget weights=0.9 -q -o TMP/c.json"
    );
    expect![[r#"
        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 2 --budget 0.1 --budget weights=0.9 -q -o TMP/c.json
        budget `bops=0.1` cannot be met, the least is `bops=0.25`
        budget `weights=0.9` can be met, the least is `weights=0.5548645425115011`
        exit 1
    "#]].assert_eq(&sandbox.refused(&line));
}

/// Phase 1 on few samples, kept in `TMP/s.json`; what searches on it begin with.
fn measured(sandbox: &Sandbox) -> [&'static str; 8] {
    let args = ["sensitivity", MODEL, "--calib", CALIB, "--samples", "4", "-q", "-o", "TMP/s.json"];
    assert_eq!(sandbox.mpq(&args).code, 0);
    ["search", MODEL, "--sensitivity", "TMP/s.json", "--calib", CALIB, "-qo", "TMP/c.json"]
}

fn config(sandbox: &Sandbox) -> serde_json::Value {
    serde_json::from_str(&sandbox.read("c.json")).unwrap()
}

const TABLE: &str = "candidate,operator,latency_ms\n,,0.01\nW4A8,,0.05\n,Conv,0.2\nW4A8,Conv,0.1\n";

#[test]
fn every_budget_is_met_by_every_strategy() {
    let sandbox = Sandbox::new();
    let search = measured(&sandbox);
    sandbox.write("t.csv", TABLE);
    for (budgets, are_sums) in [
        (&["bops=0.4"][..], true),
        (&["weights=40KiB"], true),
        (&["average-bits=7.5"], true),
        (&["a16=0.1"], true),
        (&["a16=0"], true),
        (&["latency=0.8", "0.5"], true),
        (&["latency=5ms"], true),
        (&["activations=0.6"], false),
        (&["conversions=2", "0.6"], false),
        (&["0.4", "weights=0.7", "a16=0.05"], true),
    ] {
        for strategy in ["pareto", "knapsack", "refine", "best"] {
            let mut args = search.to_vec();
            args.extend(["--strategy", strategy, "--cost-table", "TMP/t.csv"]);
            args.extend(budgets.iter().flat_map(|budget| ["--budget", budget]));
            let ran = sandbox.mpq(&args);
            if strategy == "knapsack" && !are_sums {
                assert_eq!(ran.code, 2, "{budgets:?}");
                continue;
            }
            assert_eq!(ran.code, 0, "{strategy} {budgets:?}: {}", ran.stderr);
            let config = config(&sandbox);
            let places = config["conversions"].as_array().unwrap().len();
            assert_eq!(config["cost"]["conversions"], places);
            let goal = config["goal"].clone();
            for index in 0..budgets.len() {
                let [requested, achieved] =
                    ["requested", "achieved"].map(|key| goal[key][index].clone());
                let key = if requested["relative"].is_null() { "absolute" } else { "relative" };
                let [limit, used] = [requested, achieved].map(|v| v[key].as_f64().unwrap());
                assert!(used <= limit, "{strategy} {budgets:?}: {used}");
            }
            match strategy {
                "knapsack" => assert!(goal["gap"].as_f64().unwrap() <= 1e-6, "{budgets:?}"),
                "pareto" | "refine" => assert!(goal["gap"].is_null()),
                _ => {}
            }
            assert!(goal["evaluations"].as_u64().unwrap() <= 64 + 6);
        }
    }
}

/// Measured on the samples that it searches with, `best` is behind no other one, and `refine` is
/// behind neither `pareto` nor `knapsack`.
#[test]
fn strategies_that_measure_are_not_behind() {
    let sandbox = Sandbox::new();
    let search = measured(&sandbox);
    let sqnr_db = ["pareto", "knapsack", "refine", "best"].map(|strategy| {
        let args = ["--budget", "0.35", "--strategy", strategy];
        let ran = sandbox.mpq(&[&search[..], &args].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        config(&sandbox)["quality"]["sqnr_db"].as_f64().unwrap()
    });
    let [pareto, knapsack, refine, best] = sqnr_db;
    assert!(pareto.max(knapsack) <= refine && refine <= best, "{sqnr_db:?}");
}

#[test]
fn budgets_that_cannot_be_met_or_understood() {
    let sandbox = Sandbox::new();
    measured(&sandbox);
    sandbox.write("t.csv", "operator,candidate,latency_ms\nConv,,0.2\nClip,,0.1\nAdd,A8,0.1\n");
    sandbox.write("bad.csv", "layer,latency_ms\nstem,1\n");
    let lines = [
        "--budget conversions=2 --budget activations=1KiB --strategy knapsack",
        "--budget average-bits=5 --budget weights=0.9",
        "--budget activations=1KiB --budget a16=0.5",
        "--budget a16=0 --budget average-bits=5.9 --strategy knapsack",
        "--budget 0.5 --strategy refine",
        "--budget conversion-cost=3",
        "--budget latency=12ms",
        "--budget latency=12ms --cost-table TMP/bad.csv",
        "--budget latency=12ms --cost-table TMP/none.csv",
    ];
    let lines = lines.map(|line| format!("search {MODEL} --sensitivity TMP/s.json -q {line}"));
    let found = sandbox.transcript(&lines.each_ref().map(String::as_str));
    expect![[r#"
        $ mpq search --budget conversions=2 --budget activations=1KiB --strategy knapsack
        error: `knapsack` adds up what groups cost, and budgeted `activations` and `conversions` are no such sum
        hint: use --strategy pareto, refine or best
        exit 2

        $ mpq search --budget average-bits=5 --budget weights=0.9
        budget `average-bits=5` cannot be met, the least is `average-bits=6`
        budget `weights=0.9` can be met, the least is `weights=0.5548645425115011`
        exit 1

        $ mpq search --budget activations=1KiB --budget a16=0.5
        budget `activations=1KiB` cannot be met, the least is `activations=4KiB`
        budget `a16=0.5` can be met, the least is `a16=0`
        exit 1

        $ mpq search --budget a16=0 --budget average-bits=5.9 --strategy knapsack
        budget `a16=0` can be met, the least is `a16=0`
        budget `average-bits=5.9` cannot be met, the least is `average-bits=6`
        exit 1

        $ mpq search --budget 0.5 --strategy refine
        error: this needs measuring, which is not possible without samples
        hint: give them with --calib
        exit 2

        $ mpq search --budget conversion-cost=3
        error: cost `conversion-cost` has a budget but is not known here
        hint: a target tells it under the key `conversions`; see `mpq schema target`
        exit 2

        $ mpq search --budget latency=12ms
        error: budget `latency=12ms` needs what operators take
        hint: give it with --cost-table FILE
        exit 2

        $ mpq search --budget latency=12ms --cost-table TMP/bad.csv
        error: cannot use cost table `TMP/bad.csv`
          caused by: column `layer` is not known, expected node, operator, shape, candidate, latency_ms
        exit 2

        $ mpq search --budget latency=12ms --cost-table TMP/none.csv
        error: cannot read `TMP/none.csv`
          caused by: No such file or directory (os error 2)
        exit 2
    "#]]
        .assert_eq(&found.replace(&format!("{MODEL} --sensitivity TMP/s.json -q "), ""));

    let line = format!(
        "search {MODEL} --sensitivity TMP/s.json --budget latency=1ms -q --cost-table TMP/t.csv"
    );
    let missing = sandbox.transcript(&[line.as_str()]);
    let (first, rest) = missing.split_once("\n  node").unwrap();
    assert!(first.ends_with("the cost table has no row for"), "{missing}");
    assert!(3 < rest.matches("\n  node").count(), "{missing}");
    assert!(
        rest.contains("hint: a row with nothing but a latency is the default for all"),
        "{missing}"
    );
}
