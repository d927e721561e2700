//! `mpq eval`.

use expect_test::expect;

use crate::run::{CALIB, LABELS, MODEL, Sandbox, VAL, without_decibels};

const EVAL: &[&str] = &["eval", MODEL, "--data", VAL, "--labels", LABELS];

fn text(sandbox: &Sandbox, more: &[&str]) -> String {
    let ran = sandbox.mpq(&[EVAL, more].concat());
    format!("{}{}exit {}\n", without_decibels(&ran.stdout), ran.stderr, ran.code)
}

#[test]
fn float_uniform_and_searched() {
    let sandbox = Sandbox::new();
    expect![[r#"
        500 samples
                 float
        top1   98.60 %
        top5  100.00 %
        by default --preprocess unit --resize 9 --crop 8
        exit 0
    "#]]
    .assert_eq(&text(&sandbox, &[]));
    let uniform = ["--uniform", "W8A8", "--calib", CALIB, "--samples", "100"];
    expect![[r#"
        100 samples
                 float  quantized
        top1   99.00 %    99.00 %
        top5  100.00 %   100.00 %
        SQNR         -   ***** dB
        by default --preprocess unit --resize 9 --crop 8
        exit 0
    "#]]
    .assert_eq(&text(&sandbox, &uniform));
    let search = ["search", MODEL, "--calib", CALIB, "--budget", "0.6", "--samples", "12"];
    let searched = sandbox.mpq(&[&search[..], &["-o", "TMP/c.json"]].concat());
    assert_eq!(searched.code, 0, "{}", searched.stderr);
    let config = ["--config", "TMP/c.json", "--samples", "100", "--metric", "top1"];
    expect![[r#"
        100 samples
                float  quantized
        top1  99.00 %    99.00 %
        SQNR        -   ***** dB
        exit 0
    "#]]
    .assert_eq(&text(&sandbox, &config));

    let json = sandbox.mpq(&[EVAL, &config, &["--json"]].concat()).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["schema"], "mpq/eval/1");
    assert_eq!(json["data"]["samples"], 100);
    assert!(json["quantized"]["sqnr_db"].as_f64().unwrap() > 20.);
}

/// The part that stays in float is computed once for both networks; nothing changes by that.
#[test]
fn a_network_that_begins_in_float() {
    let sandbox = Sandbox::new();
    let kept = ["stem*", "block1*", "block2*", "block3*"];
    let excluded: Vec<&str> = kept.iter().flat_map(|kept| ["--exclude", kept]).collect();
    let search = ["search", MODEL, "--calib", CALIB, "--budget", "bops=1T", "-o", "TMP/c.json"];
    let samples = ["--samples", "20"];
    let searched = sandbox.mpq(&[&search[..], &excluded, &samples].concat());
    assert_eq!(searched.code, 0, "{}", searched.stderr);
    let config = sandbox.read("c.json");
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let eval = ["eval", MODEL, "--data", CALIB, "--config", "TMP/c.json", "--json"];
    let evaluated = sandbox.mpq(&[&eval[..], &samples].concat());
    let evaluated: serde_json::Value = serde_json::from_str(&evaluated.stdout).unwrap();
    assert_eq!(evaluated["quantized"]["sqnr_db"], config["quality"]["sqnr_db"]);
}

/// Every metric that the digits can have, and keys where one name is asked for twice.
#[cfg(unix)]
#[test]
fn metrics() {
    let sandbox = Sandbox::new();
    let uniform = ["--uniform", "W4A8", "--calib", CALIB, "--samples", "100"];
    let metrics = ["accuracy", "f1=macro", "f1=micro", "matthews", "agreement"];
    let metrics = metrics.map(|metric| ["--metric", metric]).concat();
    // An archive of 100 samples of 10 scores: 4000 bytes and headers.
    let command = ["--metric", "command:wc -c < \"$MPQ_OUTPUTS\""];
    expect![[r#"
        100 samples
                      float  quantized
        accuracy    99.00 %   100.00 %
        f1=macro    98.75 %   100.00 %
        f1=micro    99.00 %   100.00 %
        matthews     0.9889     1.0000
        agreement  100.00 %    99.00 %
        command        4246       4246
        SQNR              -   ***** dB
        by default --preprocess unit --resize 9 --crop 8
        exit 0
    "#]]
    .assert_eq(&text(&sandbox, &[&uniform[..], &metrics, &command].concat()));
}

/// The SQNR that a search states is the one that `eval` finds on the same samples.
#[test]
fn search_and_eval_agree() {
    let sandbox = Sandbox::new();
    let search = ["search", MODEL, "--calib", CALIB, "--budget", "0.5", "--samples", "12"];
    sandbox.write("c.json", sandbox.mpq(&search).stdout);
    let config: serde_json::Value = serde_json::from_str(&sandbox.read("c.json")).unwrap();
    let eval = ["eval", MODEL, "--data", CALIB, "--samples", "12", "--config", "TMP/c.json"];
    let sqnr_db = |more: &[&str]| {
        let told = sandbox.mpq(&[&eval[..], &["--json"], more].concat()).stdout;
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        told["quantized"]["sqnr_db"].clone()
    };
    assert_eq!(config["quality"]["sqnr_db"], sqnr_db(&[]));
    assert_eq!(config["quality"]["sqnr_db"], sqnr_db(&["--sqnr", "pooled"]));
    // Decibels of a mean of ratios are never below the mean of their decibels.
    let [mean, db] = ["mean", "db"].map(|how| sqnr_db(&["--sqnr", how]).as_f64().unwrap());
    assert!(db < mean, "{db} {mean}");
}

#[test]
fn refusals() {
    let sandbox = Sandbox::new();
    let search = ["search", MODEL, "--calib", CALIB, "--budget", "0.6", "--samples", "2"];
    let config = sandbox.mpq(&search).stdout;
    let start = config.find("\"sha256\":\"").unwrap() + "\"sha256\":\"".len();
    sandbox.write("other.json", [&config[..start], "0000", &config[start + 4..]].concat());
    sandbox.write("newer.json", config.replace("mpq/config/1", "mpq/config/2"));
    sandbox.write("cut.json", &config[..99]);
    sandbox.write("labels.csv", "file,label\n000.png,12\n");
    sandbox.write("few.csv", "file,label\n000.png,1\n");
    sandbox.write("bad.csv", "name,class\n");
    let lines = [
        "eval MODEL --data VAL",
        "eval MODEL --data VAL --metric top1",
        "eval MODEL --data VAL --labels LABELS --metric f2",
        "eval MODEL --data VAL --labels LABELS --metric top1 --metric miou",
        "eval MODEL --data VAL --labels LABELS --metric f1 --samples 9",
        "eval MODEL --data VAL --labels LABELS --metric f1=mean",
        "eval MODEL --data VAL --labels LABELS --metric spearman --samples 1",
        "eval MODEL --data VAL --labels LABELS --metric agreement --uniform W8A8 --calib CALIB",
        "eval MODEL --data VAL --metric agreement",
        "eval MODEL --data VAL --labels VAL --metric psnr --samples 1",
        "eval MODEL --data VAL --labels VAL --metric pearson",
        "eval MODEL --data VAL --metric command:false --samples 2",
        "eval MODEL --data VAL --metric command:",
        "eval MODEL --data VAL --labels TMP/none.csv",
        "eval MODEL --data VAL --labels TMP/bad.csv",
        "eval MODEL --data VAL --labels TMP/few.csv --samples 3",
        "eval MODEL --data VAL --labels TMP/labels.csv --samples 1",
        "eval MODEL --data VAL --uniform W8A8",
        "eval MODEL --data VAL --uniform A8 --calib CALIB --samples 2",
        "eval MODEL --data VAL --labels LABELS --range minmax",
        "eval MODEL --data VAL --config TMP/none.json",
        "eval MODEL --data VAL --config TMP/cut.json",
        "eval MODEL --data VAL --config TMP/newer.json",
        "eval MODEL --data VAL --config TMP/other.json",
    ];
    let names = [("MODEL", MODEL), ("VAL", VAL), ("LABELS", LABELS), ("CALIB", CALIB)];
    let lines = lines.map(|line| {
        names.iter().fold(line.to_owned(), |line, (name, path)| line.replace(name, path))
    });
    expect![[r#"
        $ mpq eval examples/digits/model.onnx --data examples/digits/val
        error: there is nothing to compare with
        hint: give --labels, --config or --uniform
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --metric top1
        error: metric `top1` compares with labels, and there are none
        hint: give --labels
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --labels examples/digits/val/labels.csv --metric f2
        error: invalid value 'f2' for '--metric <NAME>': found metric `f2`, expected one of `top1`, `top5`, `miou`, `accuracy`, `f1`, `matthews`, `pearson`, `spearman`, `psnr`, `agreement`, `command`

        For more information, try '--help'.
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --labels examples/digits/val/labels.csv --metric top1 --metric miou
        error: metrics are `top1`, `miou`, expected all of them to take the same labels
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --labels examples/digits/val/labels.csv --metric f1 --samples 9
        error: sample `055.png`, labels `examples/digits/val/labels.csv`: metric `f1` found class 7, expected 0 or 1
        hint: `f1=macro`, `f1=micro` and `f1=weighted` take any number of classes
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --labels examples/digits/val/labels.csv --metric f1=mean
        error: invalid value 'f1=mean' for '--metric <NAME>': found `mean` as the option of metric `f1`, expected `binary`, `macro`, `micro` or `weighted`, a threshold, or both with a comma

        For more information, try '--help'.
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --labels examples/digits/val/labels.csv --metric spearman --samples 1
        error: sample `000.png`, labels `examples/digits/val/labels.csv`: metric `spearman` found an output of float32 [1, 10], expected one float for one sample
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --labels examples/digits/val/labels.csv --metric agreement --uniform W8A8 --calib examples/digits/calib
        error: `--labels` is given, and none of the metrics `agreement` takes labels
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --metric agreement
        error: metric `agreement` compares a quantized network with the float one
        hint: give --config or --uniform
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --labels examples/digits/val --metric psnr --samples 1
        error: sample `000.png`, labels `examples/digits/val`: the output is float32 [1, 10], the target an image of 8x8 (height x width), expected one shape
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --labels examples/digits/val --metric pearson
        error: option `--labels` is a folder, expected a CSV file or an array of numbers
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --metric command:false --samples 2
        error: cannot score the float network: metric `command:false` has no value
          caused by: it ended with exit status: 1
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --metric command:
        error: invalid value 'command:' for '--metric <NAME>': found `` as the option of metric `command`, expected a shell command, as in `command:CMD`

        For more information, try '--help'.
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --labels TMP/none.csv
        error: cannot read `TMP/none.csv`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --labels TMP/bad.csv
        error: `TMP/bad.csv`, line 1: found the header `name,class`, expected `file,label` or `row,label`
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --labels TMP/few.csv --samples 3
        error: `TMP/few.csv` has no label for sample `166.png`
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --labels TMP/labels.csv --samples 1
        error: sample `000.png`, labels `TMP/labels.csv`: label is class 12, the network has 10 classes
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --uniform W8A8
        error: the following required arguments were not provided:
          --calib <PATH>

        Usage: mpq eval --data <PATH> --uniform <CANDIDATE> --calib <PATH> <MODEL>

        For more information, try '--help'.
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --uniform A8 --calib examples/digits/calib --samples 2
        error: candidate `A8` has no weight bits, expected a pair such as `W8A8`
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --labels examples/digits/val/labels.csv --range minmax
        error: `--range` is given without `--uniform`
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --config TMP/none.json
        error: cannot read `TMP/none.json`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --config TMP/cut.json
        error: `TMP/cut.json` is not a valid `mpq/config/1` file
          caused by: EOF while parsing a string at line 4 column 49
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --config TMP/newer.json
        error: `TMP/newer.json` has schema `mpq/config/2`, which is newer than `mpq/config/1`; a newer mpq reads it
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val --config TMP/other.json
        error: cannot use `TMP/other.json`
          caused by: made for a model with SHA-256 `000095e25d36696570a4d1293e09d71dfd4ac4f851c486cd780a02105ccafcce`, expected `329695e25d36696570a4d1293e09d71dfd4ac4f851c486cd780a02105ccafcce`
        exit 2
    "#]].assert_eq(&sandbox.transcript(&lines.each_ref().map(String::as_str)));
}
