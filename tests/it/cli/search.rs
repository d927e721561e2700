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
        3 conversions
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
