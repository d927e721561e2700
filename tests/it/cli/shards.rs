//! `--shard` and `mpq merge`: what several machines do comes to what one does.

use std::fs;

use expect_test::expect;
use serde_json::{Value, json};

use crate::run::{CALIB, MODEL, Ran, Sandbox};

fn run(sandbox: &Sandbox, line: &str) -> Ran {
    sandbox.mpq(&line.split(' ').collect::<Vec<_>>())
}

fn done(sandbox: &Sandbox, line: &str) {
    let ran = run(sandbox, line);
    assert_eq!(ran.code, 0, "{line}\n{}", ran.stderr);
}

/// Few samples, so that shards cut through them.
const SENSITIVITY: &str = "sensitivity TMP/model.onnx --calib TMP/calib --candidates W4A8,W8A8 -q";

/// Five images, which a test may change.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("model.onnx", fs::read(MODEL).unwrap());
    for n in 0..5 {
        let name = format!("{n:03}.png");
        sandbox.write(&format!("calib/{name}"), fs::read(format!("{CALIB}/{name}")).unwrap());
    }
    sandbox
}

/// The parts of `n` shards: their names, as arguments.
fn measure(sandbox: &Sandbox, n: usize, flags: &[&str]) -> String {
    for index in 0..n {
        // What a result does not depend on differs from machine to machine.
        let flags = flags[index % flags.len()];
        done(sandbox, &format!("{SENSITIVITY} --shard {index}/{n} -o TMP/{n}-{index}.json{flags}"));
    }
    let names: Vec<String> = (0..n).rev().map(|index| format!("TMP/{n}-{index}.json")).collect();
    names.join(" ")
}

#[test]
fn merged_parts_are_what_one_machine_writes() {
    let sandbox = sandbox();
    done(&sandbox, &format!("{SENSITIVITY} -o TMP/whole.json"));
    let flags = [" --threads 1", " --threads 3", " --memory 24MiB", " --batch 1"];
    for n in [1, 2, 3, 7] {
        let parts = measure(&sandbox, n, &flags);
        done(&sandbox, &format!("merge {parts} -o TMP/merged.json -q"));
        assert!(sandbox.read("whole.json") == sandbox.read("merged.json"), "{n} shards");
    }
    let left: Vec<String> = fs::read_dir(sandbox.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("progress") || name.contains("tmp"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn there_may_be_more_shards_than_work() {
    let sandbox = sandbox();
    let sensitivity = format!("{SENSITIVITY} --samples 1 --pin *=W8A8 --ranges TMP/ranges.json");
    done(
        &sandbox,
        &format!("{SENSITIVITY} --samples 1 --pin *=W8A8 --ranges-only -o TMP/ranges.json"),
    );
    done(&sandbox, &format!("{sensitivity} -o TMP/whole.json"));
    let n = 40;
    let mut parts = String::new();
    for index in 0..n {
        done(&sandbox, &format!("{sensitivity} --shard {index}/{n} -o TMP/{index}.json"));
        parts += &format!(" TMP/{index}.json");
    }
    done(&sandbox, &format!("merge{parts} -o TMP/merged.json -q"));
    assert!(sandbox.read("whole.json") == sandbox.read("merged.json"));
    let last: Value = serde_json::from_str(&sandbox.read("39.json")).unwrap();
    assert_eq!(last["signal_power"]["samples"], json!([0, 0]), "nothing is left for the last");
}

#[test]
fn a_shard_with_ranges_reads_only_its_samples() {
    let sandbox = sandbox();
    done(&sandbox, &format!("{SENSITIVITY} -o TMP/whole.json"));
    done(&sandbox, &format!("{SENSITIVITY} --ranges-only -o TMP/ranges.json"));
    done(&sandbox, &format!("{SENSITIVITY} --ranges TMP/ranges.json -o TMP/with.json"));
    assert!(sandbox.read("whole.json") == sandbox.read("with.json"));
    // The network is typed by the first sample.
    let image = fs::read(sandbox.path("calib/003.png")).unwrap();
    sandbox.write("calib/003.png", "no image");
    let shard = format!("{SENSITIVITY} --ranges TMP/ranges.json --shard");
    done(&sandbox, &format!("{shard} 0/2 -o TMP/0.json"));
    expect![[r#"
        $ mpq sensitivity TMP/model.onnx --calib TMP/calib --candidates W4A8,W8A8 -q --ranges TMP/ranges.json --shard 3/5
        error: sample `003.png` has SHA-256 `499b81c34bf5919d9fb1ca660cb3e940e2875f36adf3e6dbf006c80da27a2b76`, expected `67c5118fba9d0ab680cc8b3d1a779932c308cff89fc4cd74b50697343a741c08`, that of the ranges
        exit 2
    "#]]
    .assert_eq(&sandbox.refused(&format!("{shard} 3/5")));
    sandbox.write("calib/003.png", image);
    done(&sandbox, &format!("{shard} 1/2 -o TMP/1.json"));
    done(&sandbox, "merge TMP/0.json TMP/1.json -o TMP/merged.json -q");
    assert!(sandbox.read("whole.json") == sandbox.read("merged.json"));
}

#[test]
fn ranges_of_something_else_are_refused() {
    let sandbox = sandbox();
    done(&sandbox, &format!("{SENSITIVITY} --ranges-only -o TMP/ranges.json"));
    let older = sandbox.read("ranges.json").replace(r#""version":"0.1.0""#, r#""version":"0.0.9""#);
    sandbox.write("older.json", older);
    let shard = |flags: &str| format!("{SENSITIVITY} --shard 0/2 {flags}");
    expect![[r#"
        $ mpq sensitivity TMP/model.onnx --calib TMP/calib --candidates W4A8,W8A8 -q --shard 0/2 --ranges TMP/older.json
        error: cannot use `TMP/older.json`
          caused by: ranges were made with version "0.0.9", expected "0.1.0"
        exit 2

        $ mpq sensitivity TMP/model.onnx --calib TMP/calib --candidates W4A8,W8A8 -q --shard 0/2 --ranges TMP/ranges.json --samples 3
        error: cannot use `TMP/ranges.json`
          caused by: ranges were made with number of samples 5, expected 3
        exit 2

        $ mpq sensitivity TMP/model.onnx --calib TMP/calib --candidates W4A8,W8A8 -q --shard 0/2 --ranges TMP/ranges.json --range minmax
        error: cannot use `TMP/ranges.json`
          caused by: ranges were made with --range {"weights":"mse","activations":"mse"}, expected {"weights":"minmax","activations":"minmax"}
        exit 2

        $ mpq sensitivity TMP/model.onnx --calib TMP/calib --candidates W4A8,W8A8 -q --shard 0/2 --ranges TMP/ranges.json --preprocess raw
        error: cannot use `TMP/ranges.json`
          caused by: ranges were made with preprocessing {"mean":[0.0],"std":[1.0],"resize":9,"crop":[8,8],"filter":"bilinear","channels":"gray","exact_size_as_is":true,"pad":null,"layout":"NCHW"}, expected {"mean":[0.0],"std":[0.00392156862745098],"resize":9,"crop":[8,8],"filter":"bilinear","channels":"gray","exact_size_as_is":true,"pad":null,"layout":"NCHW"}
        exit 2

        $ mpq sensitivity TMP/model.onnx --calib TMP/calib --candidates W4A8,W8A8 -q --shard 0/2 --ranges TMP/ranges.json --pin stem=W8A8
        error: cannot use `TMP/ranges.json`
          caused by: the ranges of `stem.weight` are for 4, 8 bits, expected 8
        exit 2

        $ mpq sensitivity TMP/model.onnx --calib TMP/calib --candidates W4A8,W8A8 -q --shard 0/2 --ranges TMP/model.onnx
        error: `TMP/model.onnx` is not a valid `mpq/ranges/1` file
          caused by: expected value at line 1 column 1
        exit 2

        $ mpq sensitivity TMP/model.onnx --calib TMP/calib --candidates W4A8,W8A8 -q --shard 0/2 --rank-by agreement
        error: the argument '--shard <I/N>' cannot be used with '--rank-by <METRIC>'

        Usage: mpq sensitivity --calib <PATH> --candidates <LIST> --quiet --shard <I/N> <MODEL>

        For more information, try '--help'.
        exit 2

        $ mpq sensitivity TMP/model.onnx --calib TMP/calib --shard 2/2
        error: invalid value '2/2' for '--shard <I/N>': found `2/2`, expected I/N, from 0/N to below N/N

        For more information, try '--help'.
        exit 2
    "#]].assert_eq(&sandbox.transcript(&[
        &shard("--ranges TMP/older.json"),
        &shard("--ranges TMP/ranges.json --samples 3"),
        &shard("--ranges TMP/ranges.json --range minmax"),
        &shard("--ranges TMP/ranges.json --preprocess raw"),
        &shard("--ranges TMP/ranges.json --pin stem=W8A8"),
        &shard("--ranges TMP/model.onnx"),
        &shard("--rank-by agreement"),
        "sensitivity TMP/model.onnx --calib TMP/calib --shard 2/2",
    ]));
}

#[test]
fn whatever_keeps_parts_from_being_a_whole_is_named() {
    let sandbox = sandbox();
    measure(&sandbox, 5, &[""]);
    measure(&sandbox, 2, &[""]);
    let part = sandbox.read("5-1.json");
    sandbox.write("copy.json", &part);
    sandbox.write("older.json", part.replace(r#""version":"0.1.0""#, r#""version":"0.0.9""#));
    let other = SENSITIVITY.replace("W4A8,W8A8", "W8A8");
    done(&sandbox, &format!("{other} --shard 3/5 -o TMP/other.json"));
    done(&sandbox, &format!("{SENSITIVITY} --samples 4 --shard 4/5 -o TMP/fewer.json"));
    let parts = ["older", "5-0", "5-1", "copy", "5-2", "other", "fewer", "2-1"];
    let parts = parts.map(|name| format!(" TMP/{name}.json")).concat();
    expect![[r#"
        $ mpq merge TMP/older.json TMP/5-0.json TMP/5-1.json TMP/copy.json TMP/5-2.json TMP/other.json TMP/fewer.json TMP/2-1.json -o TMP/merged.json
        parts do not make a whole
          `TMP/older.json` is foreign: version is `0.0.9`, expected `0.1.0`
          `TMP/other.json` is foreign: candidates is `["W8A8"]`, expected `["W8A8","W4A8"]`
          `TMP/fewer.json` is foreign: number of samples is `4`, expected `5`
          `TMP/2-1.json` is foreign: number of shards is `2`, expected `5`
          part 1/5 is there more than once: `TMP/5-1.json`, `TMP/copy.json`
          parts 3, 4 of 5 missing
        exit 1

        $ mpq merge TMP/5-0.json TMP/5-2.json -o TMP/merged.json
        parts do not make a whole
          parts 1, 3, 4 of 5 missing
        exit 1

        $ mpq merge TMP/5-0.json TMP/5-0.json -o TMP/merged.json --partial
        parts do not make a whole
          part 0/5 is there more than once: `TMP/5-0.json`, `TMP/5-0.json`
        exit 1

        $ mpq merge TMP/5-0.json TMP/none.json -o TMP/merged.json
        error: cannot read `TMP/none.json`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq merge TMP/model.onnx -o TMP/merged.json
        error: `TMP/model.onnx` is not a valid `mpq/part/1` file
          caused by: expected value at line 1 column 1
        exit 2

        $ mpq merge -o TMP/merged.json
        error: the following required arguments were not provided:
          <PART>...

        Usage: mpq merge --output <OUT> <PART>...

        For more information, try '--help'.
        exit 2

        $ mpq merge TMP/5-0.json
        error: the following required arguments were not provided:
          --output <OUT>

        Usage: mpq merge --output <OUT> <PART>...

        For more information, try '--help'.
        exit 2
    "#]].assert_eq(&sandbox.transcript(&[
        &format!("merge{parts} -o TMP/merged.json"),
        "merge TMP/5-0.json TMP/5-2.json -o TMP/merged.json",
        "merge TMP/5-0.json TMP/5-0.json -o TMP/merged.json --partial",
        "merge TMP/5-0.json TMP/none.json -o TMP/merged.json",
        "merge TMP/model.onnx -o TMP/merged.json",
        "merge -o TMP/merged.json",
        "merge TMP/5-0.json",
    ]));
}

#[test]
fn a_partial_file_says_so_and_is_searched_only_if_that_is_meant() {
    let sandbox = sandbox();
    measure(&sandbox, 5, &[""]);
    let parts = [0, 2, 4].map(|index| format!(" TMP/5-{index}.json")).concat();
    let ran = run(&sandbox, &format!("merge{parts} -o TMP/merged.json --partial"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let warning = "warning: partial: 3 of 5 samples were measured, 2 of 5 parts are missing";
    assert_eq!(ran.stderr.lines().next(), Some(warning));
    let file: Value = serde_json::from_str(&sandbox.read("merged.json")).unwrap();
    assert_eq!(file["partial"], json!({ "shards": 5, "missing": [1, 3], "samples": 3 }));
    assert_eq!(file["signal_power"]["logits"].as_array().map(Vec::len), Some(3), "{file}");
    let search = "search TMP/model.onnx --sensitivity TMP/merged.json --budget 0.7";
    expect![[r#"
        $ mpq search TMP/model.onnx --sensitivity TMP/merged.json --budget 0.7
        error: `TMP/merged.json` is partial: 3 of 5 samples were measured, 2 of 5 parts are missing
        hint: merge all parts, or give --allow-partial
        exit 2

        $ mpq search TMP/model.onnx --sensitivity TMP/merged.json --budget 0.7 --allow-partial --calib TMP/calib
        error: the argument '--allow-partial' cannot be used with '--calib <PATH>'

        Usage: mpq search --sensitivity <FILE> --allow-partial <--budget <[METRIC=]V>|--min-sqnr <DB>|--max-drop <X>> <MODEL>

        For more information, try '--help'.
        exit 2

        $ mpq search TMP/model.onnx --calib TMP/calib --budget 0.7 --allow-partial
        error: the argument '--calib <PATH>' cannot be used with '--allow-partial'

        Usage: mpq search --calib <PATH> <--budget <[METRIC=]V>|--min-sqnr <DB>|--max-drop <X>> <MODEL>

        For more information, try '--help'.
        exit 2
    "#]].assert_eq(&sandbox.transcript(&[
        search,
        &format!("{search} --allow-partial --calib TMP/calib"),
        "search TMP/model.onnx --calib TMP/calib --budget 0.7 --allow-partial",
    ]));
    let ran = run(&sandbox, &format!("{search} --allow-partial"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("`TMP/merged.json` is partial: 3 of 5 samples"), "{}", ran.stderr);

    // All parts are no partial file, whatever is asked for.
    let parts = [0, 1, 2, 3, 4].map(|index| format!(" TMP/5-{index}.json")).concat();
    done(&sandbox, &format!("{SENSITIVITY} -o TMP/whole.json"));
    done(&sandbox, &format!("merge{parts} -o TMP/merged.json --partial -q"));
    assert!(sandbox.read("whole.json") == sandbox.read("merged.json"));
}

const ROUND: &str = "round TMP/model.onnx --calib TMP/calib --bits 4,10 --iterations 10 -q";

#[test]
fn merged_rounding_is_what_one_machine_writes() {
    let sandbox = sandbox();
    done(&sandbox, &format!("{ROUND} -o TMP/whole"));
    for n in [1, 3, 7] {
        let mut parts = String::new();
        for index in 0..n {
            done(&sandbox, &format!("{ROUND} --shard {index}/{n} -o TMP/{n}-{index}"));
            parts += &format!(" TMP/{n}-{index}");
        }
        done(&sandbox, &format!("merge{parts} -o TMP/merged"));
        for file in ["rounding.json", "W4.npz", "W10.npz"] {
            let read = |dir: &str| fs::read(sandbox.path(dir).join(file)).unwrap();
            assert!(read("whole") == read("merged"), "{n} shards, {file}");
        }
    }
    done(&sandbox, &format!("{ROUND} --rounding gptq --shard 1/3 -o TMP/gptq"));
    expect![[r#"
        $ mpq merge TMP/3-0 TMP/3-0 TMP/gptq -o TMP/refused
        parts do not make a whole
          `TMP/gptq` is foreign: settings is `{"target":"generic","range":{"weights":"mse","activations":"mse"},"weights":"per-channel","rounding":{"method":"gptq","sha256":null},"equalize":false,"bias_correction":false,"sqnr":"pooled","rank_by":"sqnr","outputs":["logits"],"strategy":null,"probe":null,"cost_table_sha256":null,"engine":"fast","seed":0,"dims":{}}`, expected `{"target":"generic","range":{"weights":"mse","activations":"mse"},"weights":"per-channel","rounding":{"method":"adaround","sha256":null},"equalize":false,"bias_correction":false,"sqnr":"pooled","rank_by":"sqnr","outputs":["logits"],"strategy":null,"probe":null,"cost_table_sha256":null,"engine":"fast","seed":0,"dims":{}}`
          part 0/3 is there more than once: `TMP/3-0`, `TMP/3-0`
          parts 1, 2 of 3 missing
        exit 1

        $ mpq merge TMP/3-0 TMP/3-1 -o TMP/refused --partial
        error: `--partial` is given, expected all parts of rounded weights
        exit 2

        $ mpq merge TMP/3-0 TMP/calib -o TMP/refused
        error: cannot read `TMP/calib/part.json`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq round TMP/model.onnx --calib TMP/calib --bits 4,10 --iterations 10 -q --rounding nearest --shard 0/2 -o TMP/refused
        error: rounding is `nearest`, expected one that is worth keeping
        exit 2
    "#]].assert_eq(&sandbox.transcript(&[
        "merge TMP/3-0 TMP/3-0 TMP/gptq -o TMP/refused",
        "merge TMP/3-0 TMP/3-1 -o TMP/refused --partial",
        "merge TMP/3-0 TMP/calib -o TMP/refused",
        &format!("{ROUND} --rounding nearest --shard 0/2 -o TMP/refused"),
    ]));
}
