//! What is kept from one run to the next: used for the same, never for anything else.

use std::fs;

use expect_test::expect;

use crate::run::{CALIB, LABELS, MODEL, Ran, Sandbox, VAL, without};

/// How many steps the cache had, of how many; the result is the one without a cache.
#[track_caller]
fn cached(sandbox: &Sandbox, line: &str) -> String {
    let line = line.replace("MODEL", MODEL).replace("CALIB", CALIB).replace("VAL", VAL);
    let args: Vec<&str> = line.split(' ').collect();
    let plain = sandbox.mpq(&args);
    let ran = sandbox.mpq(&[&args[..], &["--cache", "TMP/cache"]].concat());
    assert_eq!((ran.code, &ran.stdout), (plain.code, &plain.stdout), "{line}\n{}", ran.stderr);
    resumed(&ran)
}

fn resumed(ran: &Ran) -> String {
    let mut lines = ran.stderr.lines();
    let line = lines.find_map(|line| line.strip_prefix("resumed: "));
    line.map_or("nothing".to_owned(), |line| line.replace(" steps were in the cache", ""))
}

/// What each line had, one after the other.
fn all_cached(sandbox: &Sandbox, lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}: {}\n", cached(sandbox, line))).collect()
}

#[test]
fn what_was_measured_is_not_measured_again() {
    let lines = [
        "search MODEL --calib CALIB --samples 4 --budget 0.6",
        "search MODEL --calib CALIB --samples 4 --budget 0.6",
        "search MODEL --calib CALIB --samples 4 --budget 0.6 --threads 1 --batch 1 --memory 40MB",
        "search MODEL --calib CALIB --samples 4 --budget 0.8 --sqnr mean",
        "search MODEL --calib CALIB --samples 4 --min-sqnr 30",
        "search MODEL --calib CALIB --samples 4 --budget 0.6 --candidates W8A16,W8A8,W4A8,W2A8",
        "sensitivity MODEL --calib CALIB --samples 4",
    ];
    expect![[r#"
        search MODEL --calib CALIB --samples 4 --budget 0.6: nothing
        search MODEL --calib CALIB --samples 4 --budget 0.6: 424 of 424
        search MODEL --calib CALIB --samples 4 --budget 0.6 --threads 1 --batch 1 --memory 40MB: 424 of 424
        search MODEL --calib CALIB --samples 4 --budget 0.8 --sqnr mean: 416 of 424
        search MODEL --calib CALIB --samples 4 --min-sqnr 30: 428 of 460
        search MODEL --calib CALIB --samples 4 --budget 0.6 --candidates W8A16,W8A8,W4A8,W2A8: 408 of 544
        sensitivity MODEL --calib CALIB --samples 4: 404 of 404
    "#]].assert_eq(&all_cached(&Sandbox::new(), &lines));
}

#[test]
fn evaluations_and_rounded_weights_are_kept() {
    let eval = format!("eval MODEL --data VAL --samples 20 --labels {LABELS} --json");
    let uniform = format!("{eval} --uniform W4A8 --calib CALIB --rounding gptq");
    let lines = [
        eval.clone(),
        eval.clone(),
        format!("{eval} --metric top1"),
        uniform.clone(),
        uniform.clone(),
        uniform.replace("W4A8", "W8A8"),
        uniform.replace("gptq", "nearest"),
        format!("{uniform} --metric agreement --metric top1"),
        format!("{uniform} --metric agreement --metric top1"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    expect![[r#"
        eval MODEL --data VAL --samples 20 --labels examples/digits/val/labels.csv --json: nothing
        eval MODEL --data VAL --samples 20 --labels examples/digits/val/labels.csv --json: 20 of 20
        eval MODEL --data VAL --samples 20 --labels examples/digits/val/labels.csv --json --metric top1: nothing
        eval MODEL --data VAL --samples 20 --labels examples/digits/val/labels.csv --json --uniform W4A8 --calib CALIB --rounding gptq: nothing
        eval MODEL --data VAL --samples 20 --labels examples/digits/val/labels.csv --json --uniform W4A8 --calib CALIB --rounding gptq: 69 of 69
        eval MODEL --data VAL --samples 20 --labels examples/digits/val/labels.csv --json --uniform W8A8 --calib CALIB --rounding gptq: nothing
        eval MODEL --data VAL --samples 20 --labels examples/digits/val/labels.csv --json --uniform W4A8 --calib CALIB --rounding nearest: 20 of 40
        eval MODEL --data VAL --samples 20 --labels examples/digits/val/labels.csv --json --uniform W4A8 --calib CALIB --rounding gptq --metric agreement --metric top1: 49 of 69
        eval MODEL --data VAL --samples 20 --labels examples/digits/val/labels.csv --json --uniform W4A8 --calib CALIB --rounding gptq --metric agreement --metric top1: 69 of 69
    "#]].assert_eq(&all_cached(&Sandbox::new(), &lines));
}

#[test]
fn scores_of_a_search_are_kept() {
    let goal = "--max-drop 0.2 --val VAL --metric agreement";
    let line = format!("search MODEL --calib CALIB --samples 4 {goal}");
    let ranked = "sensitivity MODEL --calib CALIB --samples 2 --rank-by agreement";
    expect![[r#"
        search MODEL --calib CALIB --samples 4 --max-drop 0.2 --val VAL --metric agreement: nothing
        search MODEL --calib CALIB --samples 4 --max-drop 0.2 --val VAL --metric agreement: 2428 of 2428
        sensitivity MODEL --calib CALIB --samples 2 --rank-by agreement: 36 of 402
        sensitivity MODEL --calib CALIB --samples 2 --rank-by agreement: 402 of 402
    "#]].assert_eq(&all_cached(&Sandbox::new(), &[&line, &line, ranked, ranked]));
}

/// Everything that makes another measurement, after the one with none of it. Signal powers, and what is
/// rounded in the same way, are the same measurement.
#[test]
fn nothing_is_used_for_anything_else() {
    let sandbox = Sandbox::new();
    let plain = "sensitivity MODEL --calib CALIB --samples 3";
    let flags = [
        "",
        "--preprocess raw",
        "--resize 8x8",
        "--range minmax",
        "--weights per-tensor",
        "--target htp",
        "--rounding gptq",
        "--outputs hidden",
        "--engine reference",
        "--exclude stem",
    ];
    let lines = flags.map(|flags| format!("{plain} {flags}").trim_end().to_owned());
    let mut found = all_cached(&sandbox, &lines.each_ref().map(String::as_str));

    let mut model = fs::read(MODEL).unwrap();
    let middle = model.len() / 2;
    model[middle] ^= 1;
    sandbox.write("model.onnx", model);
    let images = fs::read_dir(CALIB).unwrap().map(|entry| entry.unwrap().path());
    let mut images: Vec<_> = images.collect();
    images.sort();
    for (at, image) in images[..3].iter().enumerate() {
        sandbox.write(&format!("a/{at}.png"), fs::read(image).unwrap());
        let image = if at == 1 { &images[3] } else { image };
        sandbox.write(&format!("b/{at}.png"), fs::read(image).unwrap());
    }
    let lines = [
        "sensitivity TMP/model.onnx --calib CALIB --samples 3",
        "sensitivity MODEL --calib TMP/a",
        "sensitivity MODEL --calib TMP/b",
        "sensitivity MODEL --calib noise --samples 3 --seed 1",
        "sensitivity MODEL --calib noise --samples 3 --seed 2",
    ];
    found += &all_cached(&sandbox, &lines);
    expect![[r#"
        sensitivity MODEL --calib CALIB --samples 3: nothing
        sensitivity MODEL --calib CALIB --samples 3 --preprocess raw: nothing
        sensitivity MODEL --calib CALIB --samples 3 --resize 8x8: nothing
        sensitivity MODEL --calib CALIB --samples 3 --range minmax: 21 of 303
        sensitivity MODEL --calib CALIB --samples 3 --weights per-tensor: 36 of 303
        sensitivity MODEL --calib CALIB --samples 3 --target htp: 297 of 333
        sensitivity MODEL --calib CALIB --samples 3 --rounding gptq: 39 of 364
        sensitivity MODEL --calib CALIB --samples 3 --outputs hidden: nothing
        sensitivity MODEL --calib CALIB --samples 3 --engine reference: nothing
        sensitivity MODEL --calib CALIB --samples 3 --exclude stem: 291 of 294
        sensitivity TMP/model.onnx --calib CALIB --samples 3: nothing
        sensitivity MODEL --calib TMP/a: nothing
        sensitivity MODEL --calib TMP/b: 70 of 303
        sensitivity MODEL --calib noise --samples 3 --seed 1: nothing
        sensitivity MODEL --calib noise --samples 3 --seed 2: nothing
    "#]]
    .assert_eq(&found);
}

#[test]
fn list_and_clear() {
    let sandbox = Sandbox::new();
    let cache = |action: &str| {
        let ran = sandbox.mpq(&["cache", action, "--cache", "TMP/cache"]);
        format!("$ mpq cache {action}\n{}{}", ran.stdout, ran.stderr)
    };
    let mut found = cache("list");
    cached(&sandbox, "search MODEL --calib CALIB --samples 2 --budget 0.6");
    // Which was used last, and in how many parts it was written, is a matter of milliseconds.
    let mut listed: Vec<String> = cache("list").lines().map(|line| format!("{line}\n")).collect();
    listed[3..].sort();
    found += &listed.concat();
    let json = sandbox.mpq(&["cache", "list", "--cache", "TMP/cache", "--json"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["files"].as_array().unwrap().len(), 2);
    assert_eq!(json["files"][0]["subject"]["file"], "model.onnx");
    found += &cache("clear");
    expect![[r#"
        $ mpq cache list
        TMP/cache: 0 files, 0 B
        $ mpq cache list
        TMP/cache: 2 files, **** KiB
        kind    model       SHA-256       size  used
        noise   model.onnx  329695e2  **** KiB   now
        ranges  model.onnx  329695e2  **** KiB   now
        $ mpq cache clear
        2 files removed, **** KiB
    "#]]
    .assert_eq(&without(&found, "KiB"));
    assert_eq!(fs::read_dir(sandbox.path("cache")).unwrap().count(), 0);
}

/// A run that cannot keep anything says so once and goes on.
#[test]
fn a_folder_that_cannot_be_written() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "");
    let line = format!("sensitivity {MODEL} --calib {CALIB} --samples 2 -q");
    let args: Vec<&str> = line.split(' ').collect();
    let plain = sandbox.mpq(&args);
    let ran = sandbox.mpq(&[&args[..], &["--cache", "TMP/file"]].concat());
    assert_eq!((ran.code, ran.stdout), (0, plain.stdout));
    expect![[r#"
        warning: cannot write to the cache `TMP/file`: File exists (os error 17); what is measured now is not kept
    "#]].assert_eq(&ran.stderr);
    let both = sandbox.mpq(&[&args[..], &["--cache", "TMP/c", "--no-cache"]].concat());
    assert_eq!(both.code, 2);
}
