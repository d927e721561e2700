//! `--target`, `--pin` and `--exclude`, through what they do to encodings and groups.

use expect_test::expect;
use serde_json::{Value, json};

use crate::run::{CALIB, MODEL, Sandbox, VAL};

#[test]
fn the_worked_example() {
    let sandbox = Sandbox::new();
    let flags = "--target examples/npu.json --exclude *.se.reduce --pin logits=W8A8 --samples 8";
    let line = format!("search {MODEL} --calib {CALIB} --budget 0.75 -q {flags}");
    let ran = sandbox.mpq(&line.split(' ').collect::<Vec<_>>());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let config: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(config["settings"]["target"], "npu");
    let group = |name: &str| {
        let mut groups = config["groups"].as_array().unwrap().iter();
        let group = groups.find(|group| group["nodes"].as_array().unwrap().contains(&json!(name)));
        let group = group.unwrap();
        format!("{name}: {} {}", group["candidate"], group["pinned"])
    };
    let nodes = ["stem", "block1.se.reduce", "hidden", "logits"].map(group);
    expect![[r#"
        stem: "W8A16" true
        block1.se.reduce: "W32A32" true
        hidden: "W8A16" false
        logits: "W8A8" true"#]]
    .assert_eq(&nodes.join("\n"));
    let encodings = &config["encodings"];
    assert_eq!(encodings["activations"]["image"]["symmetric"], true, "16 bits");
    assert_eq!(encodings["weights"]["hidden.weight"]["axis"], Value::Null);
}

#[test]
fn pinned_groups_are_measured_once_and_stay() {
    let sandbox = Sandbox::new();
    let measure = format!(
        "sensitivity {MODEL} --calib {CALIB} --samples 2 --pin stem=W8A16 --exclude hidden --pin head.act.out=A16 -o TMP/s.json -q"
    );
    assert_eq!(sandbox.mpq(&measure.split(' ').collect::<Vec<_>>()).code, 0);
    let file: Value = serde_json::from_str(&sandbox.read("s.json")).unwrap();
    let pinned = |group: &&Value| group["pinned"] == json!(true);
    let text = |group: &Value| {
        let choices = group["choices"].as_array().unwrap();
        let choices: Vec<&str> = choices.iter().map(|c| c["candidate"].as_str().unwrap()).collect();
        format!("{}: {}", group["id"].as_str().unwrap(), choices.join(" "))
    };
    let groups = file["groups"].as_array().unwrap().iter().filter(pinned).map(text);
    expect![[r#"
        image: W8A16
        head.act.out: A16
        pool.out: W32A32"#]]
    .assert_eq(&groups.collect::<Vec<_>>().join("\n"));

    // Phase 2 may leave more in float: that needs no measurement.
    let search =
        format!("search {MODEL} --sensitivity TMP/s.json --budget 0.95 --exclude logits -q");
    let ran = sandbox.mpq(&search.split(' ').collect::<Vec<_>>());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let config: Value = serde_json::from_str(&ran.stdout).unwrap();
    let flips = config["curve"].as_array().unwrap().iter().map(|point| &point["flip"]["group"]);
    let flips: Vec<&Value> = flips.collect();
    let groups = config["groups"].as_array().unwrap().iter().filter(pinned);
    for group in groups {
        assert!(!flips.contains(&&group["id"]), "{}", group["id"]);
    }

    let eval = format!(
        "eval {MODEL} --data {VAL} --calib {CALIB} --samples 4 --uniform W4A8 --exclude * --json -q"
    );
    let ran = sandbox.mpq(&eval.split(' ').collect::<Vec<_>>());
    let eval: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(eval["quantized"]["sqnr_db"], Value::Null, "all of it is float");

    let inspect = ["inspect", MODEL, "--pin", "stem=W8A16", "--exclude", "logits", "--json"];
    let inspected: Value = serde_json::from_str(&sandbox.mpq(&inspect).stdout).unwrap();
    let groups = inspected["groups"].as_array().unwrap();
    assert_eq!(groups[0]["choices"], json!(["W8A16"]));
    assert_eq!(groups.iter().filter(|group| pinned(group)).count(), 3);
}

#[test]
fn measured_for_a_target_of_ones_own() {
    let sandbox = Sandbox::new();
    let measure = format!(
        "sensitivity {MODEL} --calib {CALIB} --samples 2 --target examples/npu.json -o TMP/s.json -q"
    );
    assert_eq!(sandbox.mpq(&measure.split(' ').collect::<Vec<_>>()).code, 0);
    let search = format!("search {MODEL} --sensitivity TMP/s.json --budget 0.6 -q");
    expect![[r#"
        $ mpq search examples/digits/model.onnx --sensitivity TMP/s.json --budget 0.6 -q
        error: cannot use `TMP/s.json`
          caused by: they were measured for target `npu`
        hint: give its file with --target
        exit 2

        $ mpq search examples/digits/model.onnx --sensitivity TMP/s.json --budget 0.6 -q --target generic
        error: cannot use `TMP/s.json`
          caused by: target is `generic`, the sensitivities were measured for `npu`
        exit 2
    "#]]
        .assert_eq(&sandbox.transcript(&[search.as_str(), &format!("{search} --target generic")]));
    let again = format!("{search} --target examples/npu.json");
    assert_eq!(sandbox.mpq(&again.split(' ').collect::<Vec<_>>()).code, 0);
}
