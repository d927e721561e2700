//! `mpq round`, and what `--rounding` and `--rounded` do to the other commands.

use std::fs;

use expect_test::expect;
use serde_json::Value;

use crate::run::{CALIB, MODEL, Ran, Sandbox, VAL};

/// `a` holds AdaRound's weights at 4 and 8 bits, `g` those of GPTQ; few samples, few steps.
fn folders() -> Sandbox {
    let sandbox = Sandbox::new();
    for flags in ["-o TMP/a --iterations 20", "-o TMP/g --rounding gptq"] {
        let ran =
            run(&sandbox, &format!("round {MODEL} --calib {CALIB} {SAMPLES} --bits 4,8 {flags}"));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    sandbox
}

const SAMPLES: &str = "--samples 6 -q";

fn run(sandbox: &Sandbox, line: &str) -> Ran {
    sandbox.mpq(&line.split(' ').collect::<Vec<_>>())
}

const ONE: &str = "TMP/one.npy";

/// An input of the network.
fn one() -> Vec<u8> {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 8, 8), }";
    let header = format!("{header:<117}\n");
    let values = (0..64).flat_map(|i| (i as f32 / 63.).to_le_bytes());
    let prefix = b"\x93NUMPY\x01\x00".iter().copied().chain(118_u16.to_le_bytes());
    prefix.chain(header.into_bytes()).chain(values).collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_folder_is_the_same_however_it_is_made() {
    let sandbox = folders();
    let line = format!("round {MODEL} --calib {CALIB} {SAMPLES} --bits 8,4 --iterations 20");
    for flags in ["--threads 1", "--threads 3 --memory 40MiB"] {
        let ran = run(&sandbox, &format!("{line} -o TMP/b {flags}"));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        for file in ["rounding.json", "W4.npz", "W8.npz"] {
            let [a, b] = ["a", "b"].map(|dir| fs::read(sandbox.path(dir).join(file)).unwrap());
            assert!(a == b, "{file} {flags}");
        }
    }
    let file = json(&sandbox.read("a/rounding.json"));
    let entries = file["weights"].as_array().unwrap();
    let number = |entry: &Value, key: &str| entry["loss"][key].as_f64().unwrap();
    for entry in entries {
        assert!(number(entry, "rounded") <= number(entry, "nearest"), "{entry}");
    }
    let sum = |key| entries.iter().map(|entry| number(entry, key)).sum::<f64>();
    assert!(sum("rounded") < 0.7 * sum("nearest"));
}

#[test]
fn a_search_and_what_follows_take_the_same_weights() {
    let sandbox = folders();
    let search = format!("search {MODEL} --calib {CALIB} {SAMPLES} --budget 0.4");
    let made = run(&sandbox, &format!("{search} --rounding gptq"));
    let read = run(&sandbox, &format!("{search} --rounded TMP/g -o TMP/g.json"));
    assert_eq!((made.code, read.code), (0, 0), "{}{}", made.stderr, read.stderr);
    assert_eq!(made.stdout, sandbox.read("g.json"));
    let config = json(&made.stdout);
    assert_eq!(config["settings"]["rounding"]["method"], "gptq");
    let sha256 = json(&sandbox.read("g/rounding.json"))["settings"]["rounding"]["sha256"].clone();
    assert_eq!(config["settings"]["rounding"]["sha256"], sha256);

    // What the search measured is what an evaluation on the same samples finds.
    let eval = format!("eval {MODEL} --data {CALIB} {SAMPLES} --config TMP/g.json --json");
    let ran = run(&sandbox, &format!("{eval} --rounded TMP/g"));
    let found = json(&ran.stdout)["quantized"]["sqnr_db"].as_f64().unwrap();
    let expected = config["quality"]["sqnr_db"].as_f64().unwrap();
    assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    let nearest = run(&sandbox, &search);
    let nearest = json(&nearest.stdout)["quality"]["sqnr_db"].as_f64().unwrap();
    assert!(nearest < expected, "{nearest} {expected}");

    // An export has the same integers.
    let export = format!("export {MODEL} --config TMP/g.json --to qdq --float-bias -o TMP/q.onnx");
    let refused = run(&sandbox, &export);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("hint: "), "{}", refused.stderr);
    let ran = run(&sandbox, &format!("{export} --rounded TMP/g"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let outputs = |line: String| {
        let ran = run(&sandbox, &format!("{line} --input {ONE} -o TMP/out.npz"));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        fs::read(sandbox.path("out.npz")).unwrap()
    };
    sandbox.write("one.npy", one());
    let simulated = outputs(format!("run {MODEL} --config TMP/g.json --rounded TMP/g"));
    assert!(simulated == outputs("run TMP/q.onnx".to_owned()), "as simulated, to the bit");

    // Phase 2 alone.
    let measure =
        format!("sensitivity {MODEL} --calib {CALIB} {SAMPLES} --rounded TMP/g -o TMP/s.json");
    assert_eq!(run(&sandbox, &measure).code, 0);
    let search = format!("search {MODEL} --sensitivity TMP/s.json --budget 0.4 -q");
    let again = run(&sandbox, &format!("{search} --calib {CALIB} --samples 6 --rounded TMP/g"));
    assert_eq!(again.stdout, made.stdout, "{}", again.stderr);
    let unmeasured = json(&run(&sandbox, &search).stdout);
    assert_eq!(unmeasured["settings"], config["settings"]);
}

#[test]
fn other_weights_are_refused() {
    let sandbox = folders();
    let search = format!("search {MODEL} --calib {CALIB} {SAMPLES} --budget 0.4");
    let ran = run(&sandbox, &format!("{search} --rounded TMP/g -o TMP/g.json"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let ran = run(&sandbox, &format!("{search} -o TMP/nearest.json"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let measure =
        format!("sensitivity {MODEL} --calib {CALIB} {SAMPLES} --rounded TMP/g -o TMP/s.json");
    assert_eq!(run(&sandbox, &measure).code, 0);
    let changed = sandbox.read("g/rounding.json").replace("\"sha256\":\"", "\"sha256\":\"0");
    sandbox.write("other/rounding.json", changed);
    for file in ["W4.npz", "W8.npz"] {
        fs::copy(sandbox.path("g").join(file), sandbox.path("other").join(file)).unwrap();
    }
    fs::create_dir(sandbox.path("some")).unwrap();
    sandbox.write("some/file", "");
    let eval = format!("eval {MODEL} --data {VAL} -q");
    let sha256 = |dir: &str| {
        let file = json(&sandbox.read(&format!("{dir}/rounding.json")));
        file["settings"]["rounding"]["sha256"].as_str().unwrap().to_owned()
    };
    let said = sandbox.transcript(&[
        &format!("{eval} --config TMP/g.json"),
        &format!("{eval} --config TMP/g.json --rounded TMP/a"),
        &format!("{eval} --config TMP/nearest.json --rounded TMP/a"),
        &format!("{eval} --config TMP/g.json --rounded TMP/other"),
        &format!("{eval} --config TMP/g.json --rounded TMP/none"),
        &format!("{eval} --rounded TMP/a --labels {VAL}/labels.csv"),
        &format!("run {MODEL} --input TMP/x.npy --config TMP/g.json -o TMP/y.npz"),
        &format!(
            "search {MODEL} --sensitivity TMP/s.json --calib {CALIB} --samples 6 --budget 0.4"
        ),
        &format!("search {MODEL} --sensitivity TMP/s.json --budget 0.4 --rounding adaround"),
        &format!("{search} --rounded TMP/a --rounding gptq"),
        &format!("{search} --rounded TMP/a --range minmax"),
        &format!("{search} --rounded TMP/a --candidates W6A8,W8A8"),
        &format!("round {MODEL} --calib {CALIB} --bits 4,32 -o TMP/b"),
        &format!("round {MODEL} --calib {CALIB} --bits 4 -o TMP/some"),
        &format!("round {MODEL} --calib {CALIB} --bits 4 -o TMP/none/b"),
        &format!("round {MODEL} --calib {CALIB} --bits 4 -o TMP/b --rounding up"),
        &format!("round {MODEL} --calib {CALIB} --bits 4 -o TMP/b --candidates W4A8"),
    ]);
    let said = said.replace(&sha256("a"), "THAT OF A").replace(&sha256("g"), "THAT OF G");
    expect![[r#"
        $ mpq eval examples/digits/model.onnx --data examples/digits/val -q --config TMP/g.json
        error: cannot use `TMP/g.json`
          caused by: weights were rounded by `gptq`, their SHA-256 is `THAT OF G`
        hint: give their folder with --rounded DIR; `mpq round` with the same samples and settings makes it again
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val -q --config TMP/g.json --rounded TMP/a
        error: cannot use `TMP/g.json`
          caused by: the rounded weights have SHA-256 `THAT OF A`, expected `THAT OF G`
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val -q --config TMP/nearest.json --rounded TMP/a
        error: cannot use `TMP/nearest.json`
          caused by: weights were rounded by `nearest`, expected no --rounded
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val -q --config TMP/g.json --rounded TMP/other
        error: the weights in `TMP/other` have SHA-256 `THAT OF G`, expected `0THAT OF G`
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val -q --config TMP/g.json --rounded TMP/none
        error: cannot read `TMP/none/rounding.json`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val -q --rounded TMP/a --labels examples/digits/val/labels.csv
        error: `--rounded` is given without `--config` or `--uniform`
        exit 2

        $ mpq run examples/digits/model.onnx --input TMP/x.npy --config TMP/g.json -o TMP/y.npz
        error: cannot use `TMP/g.json`
          caused by: weights were rounded by `gptq`, their SHA-256 is `THAT OF G`
        hint: give their folder with --rounded DIR; `mpq round` with the same samples and settings makes it again
        exit 2

        $ mpq search examples/digits/model.onnx --sensitivity TMP/s.json --calib examples/digits/calib --samples 6 --budget 0.4
        error: cannot use `TMP/s.json`
          caused by: weights were rounded by `gptq`, their SHA-256 is `THAT OF G`
        hint: give their folder with --rounded DIR; `mpq round` with the same samples and settings makes it again
        exit 2

        $ mpq search examples/digits/model.onnx --sensitivity TMP/s.json --budget 0.4 --rounding adaround
        error: cannot use `TMP/s.json`
          caused by: `--rounding` is given, but was settled when the sensitivities were measured
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 6 -q --budget 0.4 --rounded TMP/a --rounding gptq
        error: `TMP/a` was rounded by `adaround`, expected `gptq`, that of --rounding
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 6 -q --budget 0.4 --rounded TMP/a --range minmax
        error: `stem.weight` was rounded at 4 bits for other scales than those of this calibration
        hint: `mpq round` with the same samples, --range, --weights, --target and --equalize
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 6 -q --budget 0.4 --rounded TMP/a --candidates W6A8,W8A8
        error: the rounded weights have `stem.weight` at 4, 8 bits, expected 6
        exit 2

        $ mpq round examples/digits/model.onnx --calib examples/digits/calib --bits 4,32 -o TMP/b
        error: invalid value '32' for '--bits <LIST>': found `32`, expected 2 to 16

        For more information, try '--help'.
        exit 2

        $ mpq round examples/digits/model.onnx --calib examples/digits/calib --bits 4 -o TMP/some
        error: `TMP/some` is there and holds something else, expected a folder that `mpq round` wrote
        exit 2

        $ mpq round examples/digits/model.onnx --calib examples/digits/calib --bits 4 -o TMP/none/b
        error: cannot write `TMP/none/b`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq round examples/digits/model.onnx --calib examples/digits/calib --bits 4 -o TMP/b --rounding up
        error: invalid value 'up' for '--rounding <NAME>': rounding is `up`, expected `nearest`, `adaround`, `gptq`

        For more information, try '--help'.
        exit 2

        $ mpq round examples/digits/model.onnx --calib examples/digits/calib --bits 4 -o TMP/b --candidates W4A8
        error: `--candidates` is given, expected `--bits` alone
        exit 2
    "#]].assert_eq(&said);
}
