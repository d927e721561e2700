//! `mpq export` and `mpq check`.

use std::process::{Command, Stdio};

use expect_test::expect;
use serde_json::Value;

use crate::run::{CALIB, MODEL, Sandbox};
use crate::text_model;

const FORMATS: &[&str] =
    &["qdq", "aimet-1.0", "aimet-0.6.1", "aimet-2.0", "ort-overrides", "exclude-list", "weights"];

/// With `TMP/c.json`, a configuration of the digits.
fn searched(more: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    let search = ["search", MODEL, "--calib", CALIB, "--samples", "12", "-q", "-o", "TMP/c.json"];
    let ran = sandbox.mpq(&[&search[..], more].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    sandbox
}

fn mixed() -> Sandbox {
    searched(&["--candidates", "W4A8,W8A8,W8A16", "--budget", "0.5"])
}

const EXPORT: &[&str] = &["export", MODEL, "--config", "TMP/c.json"];

#[test]
fn every_format_is_the_same_twice() {
    let sandbox = mixed();
    for format in FORMATS {
        let files = ["TMP/a.out", "TMP/b.out"].map(|path| {
            let ran = sandbox.mpq(&[EXPORT, &["--to", format, "-q", "-o", path]].concat());
            assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{format}: {}", ran.stderr);
            std::fs::read(sandbox.path(&path[4..])).unwrap()
        });
        assert!(files[0] == files[1], "{format}");
    }
}

/// What a user sees, and where the float model goes.
#[test]
fn conversions_and_the_float_model_are_told() {
    let sandbox = mixed();
    let ran = sandbox.mpq(&[EXPORT, &["--to", "aimet-1.0", "-o", "TMP/digits.encodings"]].concat());
    expect![[r#"
        wrote `TMP/digits.float.onnx`, the float model that the names are of
        3 conversions
          `image` from 16 to 8 bits at `stem`
          `stem.act.div.out` from 8 to 16 bits at `block1.add`
          `block1.add.out` from 16 to 8 bits at `block2.expand`
    "#]]
    .assert_eq(&ran.stderr);
    assert!(sandbox.path("digits.float.onnx").exists());
    let ran = sandbox.mpq(&[EXPORT, &["--to", "aimet-1.0"]].concat());
    expect![[r#"
        warning: the names are those of a float model that is not `examples/digits/model.onnx`
        hint: --float-model FILE writes it
        3 conversions
          `image` from 16 to 8 bits at `stem`
          `stem.act.div.out` from 8 to 16 bits at `block1.add`
          `block1.add.out` from 16 to 8 bits at `block2.expand`
    "#]]
    .assert_eq(&ran.stderr);
    let encodings: Value = serde_json::from_str(&ran.stdout).unwrap();
    expect![[r#"{"name":"image","dtype":"INT","bw":16,"enc_type":"PER_TENSOR","is_sym":false,"scale":[0.000015259022],"offset":[0]}"#]].assert_eq(&encodings["activation_encodings"][0].to_string());
    let weight = &encodings["param_encodings"][0];
    assert_eq!((&weight["enc_type"], &weight["is_sym"]), (&"PER_CHANNEL".into(), &true.into()));
    let half = -(1 << (weight["bw"].as_i64().unwrap() - 1));
    assert!(weight["offset"].as_array().unwrap().iter().all(|offset| *offset == half));
}

/// The model with pairs against the simulation, both by mpq.
#[test]
fn a_quantized_model_is_evaluated_as_it_is() {
    let sandbox = mixed();
    for more in [&["-o", "TMP/int32.onnx"][..], &["--float-bias", "-o", "TMP/float.onnx"]] {
        let ran = sandbox.mpq(&[EXPORT, &["--to", "qdq", "-q"], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let labels = format!("{}/labels.csv", crate::run::VAL);
    let judged = ["--data", crate::run::VAL, "--labels", &labels, "--metric", "top1", "--json"];
    let top1 = |args: &[&str], network: &str| {
        let ran = sandbox.mpq(&[&["eval"], args, &judged].concat());
        let eval: Value = serde_json::from_str(&ran.stdout).unwrap();
        eval[network]["top1"].as_f64().unwrap()
    };
    let simulated = top1(&[MODEL, "--config", "TMP/c.json"], "quantized");
    assert_eq!(top1(&["TMP/float.onnx"], "float"), simulated);
    // Rounded biases let one image in 500 fall elsewhere.
    assert!((top1(&["TMP/int32.onnx"], "float") - simulated).abs() < 0.003);
}

#[test]
fn lists_of_nodes_for_each_tool() {
    let sandbox = searched(&[
        "--candidates",
        "W8A8",
        "--budget",
        "bops=1T",
        "--exclude",
        "stem*",
        "--exclude",
        "hidden",
    ]);
    let list = |tool: &str| {
        let more = ["--to", "exclude-list", "--for", tool, "-q"];
        sandbox.mpq(&[EXPORT, &more].concat()).stdout
    };
    expect![[r#"
        stem
        stem\.act\.add
        stem\.act\.clip
        stem\.act\.mul
        stem\.act\.div
        block1\.depthwise
        block1\.depthwise\.act
        block1\.add
        flatten
        hidden
        hidden\.act
    "#]]
    .assert_eq(&list("modelopt"));
    expect![[r#"
        {
          "names":["stem","stem.act.add","stem.act.clip","stem.act.mul","stem.act.div","block1.depthwise","block1.depthwise.act","block1.add","flatten","hidden","hidden.act"],
          "validate":false
        }
    "#]].assert_eq(&list("nncf"));
    expect![[r#"
        stem:fp16,stem.act.add:fp16,stem.act.clip:fp16,stem.act.mul:fp16,stem.act.div:fp16,block1.depthwise:fp16,block1.depthwise.act:fp16,block1.add:fp16,flatten:fp16,hidden:fp16,hidden.act:fp16
    "#]].assert_eq(&list("trtexec"));
}

#[test]
fn exports_that_are_refused() {
    let sandbox = searched(&["--candidates", "W6A6", "--budget", "1"]);
    let other = sandbox.read("c.json").replace("\"target\":\"generic\"", "\"target\":\"mine\"");
    sandbox.write("other.json", other);
    let foreign = sandbox.read("c.json").replacen("\"sha256\":\"3", "\"sha256\":\"4", 1);
    sandbox.write("foreign.json", foreign);
    let export = format!("export {MODEL} --config TMP/c.json --to");
    let lines = [
        format!("{export} ort-overrides"),
        format!("{export} qdq --opset 12"),
        format!("{export} qdq --for nncf"),
        format!("{export} weights --float-model TMP/f.onnx"),
        format!("export {MODEL} --config TMP/other.json --to qdq"),
        format!("export {MODEL} --config TMP/foreign.json --to qdq"),
        format!("export {MODEL} --config TMP/c.json --to qdq --target htp"),
    ];
    expect![[r#"
        $ mpq export examples/digits/model.onnx --config TMP/c.json --to ort-overrides
        error: `image` has 6 bits, which is not supported: onnxruntime's quantizer has types of 4, 8 and 16 bits only
        exit 2

        $ mpq export examples/digits/model.onnx --config TMP/c.json --to qdq --opset 12
        error: opset 12 is asked for, expected at least 17
        exit 2

        $ mpq export examples/digits/model.onnx --config TMP/c.json --to qdq --for nncf
        error: `--for` is for `--to exclude-list`, found `qdq`
        exit 2

        $ mpq export examples/digits/model.onnx --config TMP/c.json --to weights --float-model TMP/f.onnx
        error: `--to weights` writes a model that needs no other, found `--float-model`
        exit 2

        $ mpq export examples/digits/model.onnx --config TMP/other.json --to qdq
        error: the configuration is for target `mine`
          caused by: target is `mine`, expected `generic`, `htp`, `ort-cpu`, `tflite`, `tensorrt` or a file
        hint: give its file with --target
        exit 2

        $ mpq export examples/digits/model.onnx --config TMP/foreign.json --to qdq
        error: cannot use `TMP/foreign.json`
          caused by: made for a model with SHA-256 `429695e25d36696570a4d1293e09d71dfd4ac4f851c486cd780a02105ccafcce`, expected `329695e25d36696570a4d1293e09d71dfd4ac4f851c486cd780a02105ccafcce`
        exit 2

        $ mpq export examples/digits/model.onnx --config TMP/c.json --to qdq --target htp
        error: target is `htp`, the configuration is for `generic`
        exit 2
    "#]].assert_eq(&sandbox.transcript(&lines.each_ref().map(String::as_str)));
}

#[test]
fn a_configuration_that_fits_and_some_that_do_not() {
    let sandbox = searched(&["--candidates", "W8A8,W8A16", "--budget", "0.75"]);
    let fits = sandbox.mpq(&["check", MODEL, "TMP/c.json"]);
    assert_eq!((fits.code, fits.stdout.as_str()), (0, ""));
    assert_eq!(fits.stderr, "the configuration fits the model\n");
    let mut config: Value = serde_json::from_str(&sandbox.read("c.json")).unwrap();
    config["model"]["sha256"] = "ab12".into();
    config["goal"]["requested"][0]["relative"] = 0.1.into();
    config["cost"]["bops"] = 7.into();
    config["groups"][1]["candidate"] = "W4A8".into();
    config["groups"][2]["nodes"] = Value::Array(Vec::new());
    let weights = config["encodings"]["weights"].as_object_mut().unwrap();
    let (name, _) = weights.iter().next().map(|(k, v)| (k.clone(), v.clone())).unwrap();
    let mut weight = weights.shift_remove(&name).unwrap();
    weights.insert("nowhere".to_owned(), weight.clone());
    weight["scale"].as_array_mut().unwrap().pop();
    weights.insert(name, weight);
    sandbox.write("c.json", config.to_string());
    let misfits = sandbox.mpq(&["check", MODEL, "TMP/c.json"]);
    assert_eq!((misfits.code, misfits.stderr.as_str()), (1, ""));
    expect![[r#"
        model has SHA-256 `329695e25d36696570a4d1293e09d71dfd4ac4f851c486cd780a02105ccafcce`, the configuration is for `ab12`
        encoding of `nowhere` does not fit: there is no such tensor
        encoding of `stem.weight` does not fit: 15 scales along axis 0, the tensor is [16, 1, 3, 3]
        group `stem.act.div.out` has W4A8, expected one of W8A16, W8A8
        group `stem.act.div.out` has W4A8, expected that of 8 weight bits and 16 activation bits
        group `stem.act.div.out` has 8 bits, but `stem.act.div.out` has 16
        group `stem.act.div.out` has 8 bits, but `block1.project.bn.out` has 16
        group `stem.act.div.out` has 4 bits, but `block1.depthwise.weight` has 8
        group `block1.depthwise.act.out`: nodes are none, expected `block1.se.pool`, `block1.se.scale`
        cost.bops is 7, expected 62349312
        cost.weight_bytes is 58690, expected 58610
        budget bops=0.1 is not met: 0.7294422081656124
    "#]].assert_eq(&misfits.stdout);
}

/// Its costs are those of the first sample, which `check` does not have.
#[test]
fn costs_where_a_dimension_is_free() {
    const FREE: &str = r#"
        import "" 17
        main (float[N,L,4] x) -> (y) {
            float[4,4] w = {1, -2, 3, 0.5, 1, 0.25, -1, 2, 0.1, 0.2, 0.3, 0.4, 2, 1, 0, -1}
            a = MatMul(x, w)
            b = Relu(a)
            c = MatMul(b, w)
            y = Relu(c)
        }
    "#;
    let sandbox = Sandbox::new();
    sandbox.write("m.onnx", text_model::model(FREE));
    let samples = ndarray::Array3::from_shape_fn((4, 6, 4), |(n, l, c)| {
        ((7 * n + 5 * l + 3 * c) % 11) as f32 - 5.
    });
    ndarray_npy::write_npy(sandbox.path("x.npy"), &samples).unwrap();
    let search = ["search", "TMP/m.onnx", "--calib", "TMP/x.npy", "--budget", "0.8", "-q"];
    let ran = sandbox.mpq(&[&search[..], &["-o", "TMP/c.json"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let fits = sandbox.mpq(&["check", "TMP/m.onnx", "TMP/c.json"]);
    assert_eq!((fits.code, fits.stdout.as_str()), (0, ""));
    let bound = |length| sandbox.mpq(&["check", "TMP/m.onnx", "TMP/c.json", "--dim", length]);
    assert_eq!(bound("L=6").code, 0);
    let mut config: Value = serde_json::from_str(&sandbox.read("c.json")).unwrap();
    config["goal"]["requested"][0]["relative"] = 0.1.into();
    config["cost"]["bops"] = 7.into();
    config["cost"]["weight_bytes"] = 8.into();
    sandbox.write("c.json", config.to_string());
    expect![[r#"
        cost.bops is 7, expected 12288
        cost.weight_bytes is 8, expected 36
        budget bops=0.1 is not met: 0.5
    "#]]
    .assert_eq(&sandbox.mpq(&["check", "TMP/m.onnx", "TMP/c.json"]).stdout);
    config["groups"][1]["macs"] = u64::MAX.into();
    sandbox.write("c.json", config.to_string());
    expect![[r#"
        cost.macs is 192, expected at least 18446744073709551615, those of the groups
    "#]]
    .assert_eq(&sandbox.mpq(&["check", "TMP/m.onnx", "TMP/c.json"]).stdout);
    expect![[r#"
        group `x`: MACs are 192, expected 160
        group `y`: MACs are 18446744073709551615, expected 0
        cost.macs is 192, expected 160
        cost.bops is 7, expected 10240
        cost.weight_bytes is 8, expected 36
        cost.activation_bytes is 48, expected 40
        budget bops=0.1 is not met: 0.5
    "#]]
    .assert_eq(&bound("L=5").stdout);
}

/// As the README has it.
#[cfg(unix)]
#[test]
fn a_pipe_from_search_to_encodings() {
    let sandbox = Sandbox::new();
    let mpq = env!("CARGO_BIN_EXE_mpq");
    let line = format!(
        "set -o pipefail; {mpq} search {MODEL} --calib {CALIB} --samples 12 --budget 0.6 -q \
         | {mpq} export {MODEL} --config - --to aimet-1.0 --float-model {} > {}",
        sandbox.path("float.onnx").display(),
        sandbox.path("model.encodings").display()
    );
    let ran = Command::new("bash")
        .env("MPQ_CACHE", "")
        .args(["-c", &line])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let encodings: Value = serde_json::from_str(&sandbox.read("model.encodings")).unwrap();
    assert_eq!(encodings["version"], "1.0.0");
    assert!(sandbox.path("float.onnx").exists());
}
