//! What CI asks for: `search --expect`, `search --like`, and `compare`.

use expect_test::expect;

use crate::run::{CALIB, MODEL, Ran, Sandbox, without_decibels};

fn search(sandbox: &Sandbox, more: &str) -> Ran {
    let args = ["search", MODEL, "--calib", CALIB];
    sandbox.mpq(&[&args[..], &more.split(' ').collect::<Vec<_>>()].concat())
}

/// `a.json` and `b.json` differ in their budget, `s.json` and `t.json` are lists of 12 and 3 samples.
fn files() -> Sandbox {
    let sandbox = Sandbox::new();
    for flags in ["--budget 0.6 -o TMP/a.json", "--budget 0.56 -o TMP/b.json"] {
        let ran = search(&sandbox, &format!("--samples 12 -q {flags}"));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    for (samples, file) in [("12", "TMP/s.json"), ("3", "TMP/t.json")] {
        let args = ["sensitivity", MODEL, "--calib", CALIB, "--samples", samples, "-o", file, "-q"];
        assert_eq!(sandbox.mpq(&args).code, 0);
    }
    sandbox
}

#[test]
fn results_from_a_pipe() {
    let sandbox = files();
    let compare = |args: &[&str]| sandbox.mpq_reading("a.json", &[&["compare"], args].concat());
    assert_eq!(compare(&["-", "TMP/a.json"]).code, 0);
    let changed = compare(&["TMP/b.json", "-"]);
    assert_eq!(changed.code, 1, "{}", changed.stderr);
    let twice = compare(&["-", "-"]);
    let message = "error: both files are `-`, expected one of them at most\n";
    assert_eq!((twice.code, twice.stderr.as_str()), (2, message));
    let search = ["search", MODEL, "--sensitivity", "TMP/s.json", "--budget", "0.6", "-q"];
    let expect = |more: &[&str]| sandbox.mpq_reading("a.json", &[&search[..], more].concat());
    assert_eq!(expect(&["--expect", "-"]).code, 0);
    assert_eq!(expect(&["--expect", "-", "--budget", "0.4"]).code, 1);
    let twice = expect(&["--expect", "-", "--like", "-"]);
    let message =
        "error: 2 of `--sensitivity`, `--expect` and `--like` are `-`, expected one at most\n";
    assert_eq!((twice.code, twice.stderr.as_str()), (2, message));
    let piped = ["search", MODEL, "--sensitivity", "-", "--budget", "0.6", "-q"];
    let piped = sandbox.mpq_reading("s.json", &piped);
    assert_eq!((piped.code, piped.stdout), (0, sandbox.mpq(&search).stdout), "{}", piped.stderr);
}

#[test]
fn expected_candidates() {
    let sandbox = files();
    let same = search(&sandbox, "--samples 12 --budget 0.6 --expect TMP/a.json -q");
    assert_eq!((same.code, same.stdout), (0, sandbox.read("a.json")), "{}", same.stderr);
    let other = sandbox.read("a.json").replace("\"sha256\":\"", "\"sha256\":\"0");
    sandbox.write("other.json", other);
    let line = format!("search {MODEL} --calib {CALIB} --samples 12 --budget 0.6 -q -o TMP/c.json");
    let said = sandbox.transcript(&[
        &format!("{line} --expect TMP/b.json"),
        &format!("{line} --expect TMP/s.json"),
        &format!("{line} --expect TMP/none.json"),
    ]);
    expect![[r#"
        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 12 --budget 0.6 -q -o TMP/c.json --expect TMP/b.json
        group                     found  expected
        block2.expand.act.out     W8A16  W8A8
        block2.depthwise.act.out  W8A16  W8A8
        exit 1

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 12 --budget 0.6 -q -o TMP/c.json --expect TMP/s.json
        error: `TMP/s.json` has schema `mpq/sensitivity/1`, expected `mpq/config/1`
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 12 --budget 0.6 -q -o TMP/c.json --expect TMP/none.json
        error: cannot read `TMP/none.json`
          caused by: No such file or directory (os error 2)
        exit 2
    "#]].assert_eq(&said);
    let refused = sandbox.refused(&format!("{line} --expect TMP/other.json"));
    assert!(refused.contains("made for a model with SHA-256 `0"), "{refused}");
    assert!(refused.ends_with("exit 2\n"), "{refused}");
}

#[test]
fn settings_of_an_earlier_result() {
    let sandbox = Sandbox::new();
    let flags = "--samples 12 --candidates W8A8,W6A8 --range minmax --weights per-tensor --sqnr mean \
                 --strategy knapsack --engine reference --preprocess raw --resize 8 --pin stem=W8A16 \
                 --exclude hidden* --min-sqnr 20 --probe binary -q";
    let first = search(&sandbox, &format!("{flags} -o TMP/a.json"));
    assert_eq!(first.code, 0, "{}", first.stderr);
    let again = search(&sandbox, "--like TMP/a.json --min-sqnr 20 -q");
    assert_eq!((again.code, again.stdout), (0, sandbox.read("a.json")), "{}", again.stderr);
    // What is given counts.
    let other = search(&sandbox, "--like TMP/a.json --min-sqnr 20 -q --probe hybrid --sqnr db");
    let other: serde_json::Value = serde_json::from_str(&other.stdout).unwrap();
    assert_eq!(other["settings"]["probe"], "hybrid");
    assert_eq!(other["settings"]["sqnr"], "db");
    assert_eq!(other["settings"]["engine"], "reference");
    assert_eq!(other["calibration"]["samples"], 12);
    let own = sandbox.read("a.json").replace("\"target\":\"generic\"", "\"target\":\"mine\"");
    sandbox.write("own.json", own);
    let said = sandbox.transcript(&[
        &format!("search {MODEL} --calib {CALIB} --budget 0.6 --like TMP/own.json"),
        &format!("search {MODEL} --calib {CALIB} --budget 0.6 --like TMP/none.json"),
        &format!("search {MODEL} --calib {CALIB} --like TMP/a.json -q"),
    ]);
    let said: Vec<&str> = said.lines().filter(|line| !line.starts_with("For more")).collect();
    expect![[r#"
        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --budget 0.6 --like TMP/own.json
        error: cannot take the settings of `TMP/own.json`
          caused by: `--like` has target `mine`
          caused by: target is `mine`, expected `generic`, `htp`, `ort-cpu`, `tflite`, `tensorrt` or a file
        hint: give its file with --target
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --budget 0.6 --like TMP/none.json
        error: cannot read `TMP/none.json`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --like TMP/a.json -q
        error: the following required arguments were not provided:
          <--budget <[METRIC=]V>|--min-sqnr <DB>|--max-drop <X>>

        Usage: mpq search --calib <PATH> --like <FILE> --quiet <--budget <[METRIC=]V>|--min-sqnr <DB>|--max-drop <X>> <MODEL>

        exit 2"#]].assert_eq(&said.join("\n"));
}

#[test]
fn two_configurations() {
    let sandbox = files();
    let same = sandbox.mpq(&["compare", "TMP/a.json", "TMP/a.json"]);
    assert_eq!((same.code, same.stdout.as_str()), (0, "no difference\n"), "{}", same.stderr);
    let differ = sandbox.mpq(&["compare", "TMP/a.json", "TMP/b.json"]);
    assert_eq!((differ.code, differ.stderr.as_str()), (1, ""));
    let keys = differ.stdout.lines().filter(|line| line.starts_with("goal."));
    assert!(keys.clone().any(|line| line.contains("requested[0].relative")), "{}", differ.stdout);
    let json = sandbox.mpq(&["compare", "TMP/a.json", "TMP/b.json", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&json["schema"], &json["is_equal"]), (&"mpq/compare/1".into(), &false.into()));
    assert!(!json["changes"].as_array().unwrap().is_empty());
}

#[test]
fn two_lists() {
    let sandbox = files();
    let compare =
        |more: &[&str]| sandbox.mpq(&[&["compare", "TMP/s.json", "TMP/t.json"], more].concat());
    let plain = compare(&[]);
    assert_eq!((plain.code, plain.stderr.as_str()), (0, ""));
    assert!(plain.stdout.starts_with("Kendall's tau 0.9"), "{}", plain.stdout);
    assert_eq!(compare(&["--min-tau", "0.5"]).code, 0);
    assert_eq!(compare(&["--min-tau", "1"]).code, 1);
    let json: serde_json::Value = serde_json::from_str(&compare(&["--json"]).stdout).unwrap();
    assert!(json["tau"].as_f64().unwrap() < 1.);
    assert_eq!(json["entries"], 99);
    let same = sandbox.mpq(&["compare", "TMP/s.json", "TMP/s.json", "--min-tau", "1"]);
    assert_eq!(same.stdout, "Kendall's tau 1.0000 over 99 entries, 0 moved\n");
}

#[test]
fn what_cannot_be_compared() {
    let sandbox = files();
    sandbox.write("x.json", "{}");
    sandbox.write("e.json", r#"{"schema":"mpq/eval/1"}"#);
    let other = sandbox.read("a.json").replacen("\"sha256\":\"", "\"sha256\":\"0", 1);
    sandbox.write("other.json", other);
    let said = sandbox.transcript(&[
        "compare TMP/a.json TMP/s.json",
        "compare TMP/s.json TMP/a.json",
        "compare TMP/a.json TMP/b.json --min-tau 0.9",
        "compare TMP/a.json TMP/none.json",
        "compare TMP/a.json TMP/x.json",
        "compare TMP/a.json TMP/e.json",
    ]);
    expect![[r#"
        $ mpq compare TMP/a.json TMP/s.json
        error: `TMP/a.json` is a configuration and `TMP/s.json` a sensitivity list, expected two of one kind
        exit 2

        $ mpq compare TMP/s.json TMP/a.json
        error: `TMP/a.json` is a configuration and `TMP/s.json` a sensitivity list, expected two of one kind
        exit 2

        $ mpq compare TMP/a.json TMP/b.json --min-tau 0.9
        error: `--min-tau` is for sensitivity lists, and `TMP/a.json` and `TMP/b.json` are configurations
        exit 2

        $ mpq compare TMP/a.json TMP/none.json
        error: cannot read `TMP/none.json`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq compare TMP/a.json TMP/x.json
        error: `TMP/x.json` has no `schema` key, expected `mpq/config/1`
        exit 2

        $ mpq compare TMP/a.json TMP/e.json
        error: `TMP/e.json` has schema `mpq/eval/1`, expected `mpq/config/1` or `mpq/sensitivity/1`
        exit 2
    "#]].assert_eq(&without_decibels(&said));
    let refused = sandbox.refused("compare TMP/a.json TMP/other.json");
    assert!(refused.contains("expected one model") && refused.ends_with("exit 2\n"), "{refused}");
}
