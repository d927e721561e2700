//! `--equalize` and `--bias-correction`: all that follows sees the network that was measured.

use std::fs;

use expect_test::expect;
use serde_json::Value;

use crate::run::{CALIB, MODEL, Ran, Sandbox, VAL};
use crate::text_model;

const SAMPLES: &str = "--samples 6 -q";
const BOTH: &str = "--weights per-tensor --equalize --bias-correction";

fn run(sandbox: &Sandbox, line: &str) -> Ran {
    sandbox.mpq(&line.split(' ').collect::<Vec<_>>())
}

/// What it wrote to stdout.
#[track_caller]
fn done(sandbox: &Sandbox, line: &str) -> String {
    let ran = run(sandbox, line);
    assert_eq!(ran.code, 0, "{line}: {}", ran.stderr);
    ran.stdout
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// An input of the network.
fn one() -> Vec<u8> {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 8, 8), }";
    npy(header, (0..64).map(|i| i as f32 / 63.))
}

fn npy(header: &str, values: impl Iterator<Item = f32>) -> Vec<u8> {
    let header = format!("{header:<117}\n");
    let values = values.flat_map(f32::to_le_bytes);
    let prefix = b"\x93NUMPY\x01\x00".iter().copied().chain(118_u16.to_le_bytes());
    prefix.chain(header.into_bytes()).chain(values).collect()
}

#[test]
fn a_search_and_what_follows_see_one_network() {
    let sandbox = Sandbox::new();
    let search = format!("search {MODEL} --calib {CALIB} {SAMPLES} --budget 0.4");
    let text = done(&sandbox, &format!("{search} {BOTH}"));
    sandbox.write("c.json", &text);
    let config = json(&text);
    assert_eq!(config["settings"]["equalize"], true);
    assert_eq!(config["settings"]["bias_correction"], true);
    // Those of Conv and Gemm without a BatchNormalization too, which had none of their own.
    let biases = config["encodings"]["biases"].as_object().unwrap();
    let weights = config["encodings"]["weights"].as_object().unwrap();
    assert_eq!(biases.len(), weights.len(), "{:?}", biases.keys());

    // What the search measured is what an evaluation on the same samples finds.
    let eval = format!("eval {MODEL} --data {CALIB} {SAMPLES} --config TMP/c.json --json");
    let expected = config["quality"]["sqnr_db"].as_f64().unwrap();
    for engine in ["fast", "reference"] {
        let found = json(&done(&sandbox, &format!("{eval} --engine {engine}")));
        let found = found["quantized"]["sqnr_db"].as_f64().unwrap();
        // The engines' sums differ by roundings, which a few values turn into another grid point.
        let tolerance = if engine == "fast" { 1e-9 } else { 0.2 };
        assert!((found - expected).abs() < tolerance, "{engine}: {found} {expected}");
    }
    done(&sandbox, &format!("check {MODEL} TMP/c.json"));
    assert_eq!(done(&sandbox, &format!("{search} --like TMP/c.json")), text);

    // An export has the same integers and the same biases.
    sandbox.write("one.npy", one());
    let outputs = |line: &str| {
        done(&sandbox, &format!("{line} --input TMP/one.npy -o TMP/out.npz"));
        fs::read(sandbox.path("out.npz")).unwrap()
    };
    let simulated = outputs(&format!("run {MODEL} --config TMP/c.json"));
    let export = format!("export {MODEL} --config TMP/c.json -q");
    done(&sandbox, &format!("{export} --to qdq --float-bias -o TMP/q.onnx"));
    assert!(simulated == outputs("run TMP/q.onnx"), "as simulated, to the bit");
    // The model beside the encodings has the weights that they are of, and the corrected biases.
    done(&sandbox, &format!("{export} --to aimet-1.0 -o TMP/a.encodings"));
    assert!(sandbox.path("a.float.onnx").exists());
    done(&sandbox, &format!("{export} --to weights -o TMP/w.onnx"));
    assert!(simulated != outputs(&format!("run {MODEL}")));

    // Phase 2 alone.
    let measure = format!("sensitivity {MODEL} --calib {CALIB} {SAMPLES} {BOTH} -o TMP/s.json");
    done(&sandbox, &measure);
    let search = format!("search {MODEL} --sensitivity TMP/s.json --budget 0.4 -q");
    assert_eq!(done(&sandbox, &format!("{search} --calib {CALIB} --samples 6")), text);
    let unmeasured = json(&done(&sandbox, &search));
    assert_eq!(unmeasured["encodings"], config["encodings"]);
    assert_eq!(unmeasured["settings"], config["settings"]);
}

#[test]
fn threads_and_memory_do_not_change_a_byte() {
    let sandbox = Sandbox::new();
    let measure = format!("sensitivity {MODEL} --calib {CALIB} {SAMPLES} {BOTH}");
    let expected = done(&sandbox, &format!("{measure} --threads 1"));
    assert_eq!(done(&sandbox, &format!("{measure} --threads 3 --batch 1")), expected);
}

#[test]
fn rounded_weights_of_an_equalized_network() {
    let sandbox = Sandbox::new();
    let tensor = "--weights per-tensor";
    let round = format!("round {MODEL} --calib {CALIB} {SAMPLES} --bits 4,8 --rounding gptq");
    done(&sandbox, &format!("{round} {tensor} --equalize -o TMP/r"));
    let search = format!("search {MODEL} --calib {CALIB} {SAMPLES} --budget 0.4 --rounded TMP/r");
    let text = done(&sandbox, &format!("{search} {BOTH}"));
    sandbox.write("c.json", &text);
    let eval = format!("eval {MODEL} --data {CALIB} {SAMPLES} --config TMP/c.json --json");
    let found = json(&done(&sandbox, &format!("{eval} --rounded TMP/r")));
    let [found, expected] =
        [&found["quantized"], &json(&text)["quality"]].map(|q| q["sqnr_db"].as_f64());
    assert!((found.unwrap() - expected.unwrap()).abs() < 1e-9, "{found:?} {expected:?}");
    // The scales are those of other weights.
    let ran = run(&sandbox, &format!("{search} {tensor}"));
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("was rounded at 4 bits for other scales"), "{}", ran.stderr);
}

/// Its first channel is a hundredth of the second, and has a Clip behind it.
const CLIPPED: &str = r#"import "" 13
main (float[N,1,4,4] x) -> (y) {
    float[2,1,1,1] w = {0.01, 1}
    float[2] b = {0.001, 0}
    float[] zero = {0}
    float[] six = {6}
    float[1,2,1,1] v = {1, 0.01}
    a = Conv(x, w, b)
    c = Clip(a, zero, six)
    y = Conv(c, v)
}"#;

#[test]
fn a_clip_between_layers() {
    let sandbox = Sandbox::new();
    sandbox.write("m.onnx", text_model::model(CLIPPED));
    let sqnr_db = |flags: &str| {
        let line =
            "eval TMP/m.onnx --uniform W4A32 --calib noise --data noise --samples 4 --json -q";
        let line = format!("{line} --weights per-tensor{flags}");
        json(&done(&sandbox, &line))["quantized"]["sqnr_db"].as_f64().unwrap()
    };
    let (plain, equalized) = (sqnr_db(""), sqnr_db(" --equalize"));
    assert!(plain + 6. < equalized, "{plain} dB, equalized {equalized} dB");
    let flags = "--calib noise --samples 4 --weights per-tensor --equalize -q";
    done(&sandbox, &format!("search TMP/m.onnx {flags} --budget 1 -o TMP/c.json"));
    let config = json(&sandbox.read("c.json"));
    let names = |role: &str| {
        let encodings = config["encodings"][role].as_object().unwrap();
        encodings.keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("activations"), "x c_relu c y");
    assert_eq!(names("weights"), "w v c_bounds");
    assert!(config["encodings"]["biases"].is_null());
    done(&sandbox, "check TMP/m.onnx TMP/c.json");
}

/// The second Add has its constant first, the third MatMul none behind it.
const PRODUCTS: &str = r#"import "" 17
main (float[N,3,4] x) -> (y) {
    float[4,4] w = {1, -0.21, 0.37, 0.55, 0.63, 0.25, -1, 0.71, 0.1, 0.29, 0.3, 0.4, 0.9, 0.14, 0, -1}
    float[4] b = {0.5, 1, -0.25, 2}
    float[4,4] v = {0.33, 0.19, -0.41, 1, 0.88, -0.27, 0.15, 0.6, 0.44, 0.36, 1, -0.1, 0.2, -0.7, 0.5, 0.9}
    float[1,4] d = {0.1, -0.2, 0.3, 0}
    float[4,2] u = {1, -0.6, 0.45, 0.31, -0.2, 0.85, 0.77, 1}
    m = MatMul(x, w)
    a = Add(m, b)
    r = Relu(a)
    n = MatMul(r, v)
    c = Add(d, n)
    s = Relu(c)
    y = MatMul(s, u)
}"#;

#[test]
fn biases_behind_matrix_products() {
    let sandbox = Sandbox::new();
    sandbox.write("m.onnx", text_model::model(PRODUCTS));
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (16, 3, 4), }";
    sandbox.write("x.npy", npy(header, (0..192).map(|i| 1. + (i as f32 * 1.7).sin())));
    let flags = "--calib TMP/x.npy -q";
    let sqnr_db = |more: &str| {
        let line = format!("eval TMP/m.onnx --uniform W3A16 --data TMP/x.npy {flags} --json");
        json(&done(&sandbox, &format!("{line}{more}")))["quantized"]["sqnr_db"].as_f64().unwrap()
    };
    let (plain, corrected) = (sqnr_db(""), sqnr_db(" --bias-correction"));
    assert!(plain < corrected, "{plain} dB, corrected {corrected} dB");
    let by_reference = sqnr_db(" --bias-correction --engine reference");
    assert!((corrected - by_reference).abs() < 0.01, "{corrected} dB, {by_reference} dB");

    let search = format!("search TMP/m.onnx {flags} --candidates W3A16,W8A16 --budget 0.7");
    let text = done(&sandbox, &format!("{search} --bias-correction"));
    sandbox.write("c.json", &text);
    let config = json(&text);
    let biases = config["encodings"]["biases"].as_object().unwrap();
    assert_eq!(biases.keys().collect::<Vec<_>>(), ["b", "d"]);
    done(&sandbox, "check TMP/m.onnx TMP/c.json");
    let eval = "eval TMP/m.onnx --data TMP/x.npy --config TMP/c.json --json -q";
    let found = json(&done(&sandbox, eval))["quantized"]["sqnr_db"].as_f64().unwrap();
    let measured = config["quality"]["sqnr_db"].as_f64().unwrap();
    assert!((found - measured).abs() < 1e-9, "{found} dB, measured {measured} dB");

    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 4), }";
    sandbox.write("one.npy", npy(header, (0..12).map(|i| (i as f32 * 1.7).sin())));
    let outputs = |line: &str| {
        done(&sandbox, &format!("{line} --input TMP/one.npy -o TMP/out.npz"));
        fs::read(sandbox.path("out.npz")).unwrap()
    };
    let simulated = outputs("run TMP/m.onnx --config TMP/c.json");
    let export = "export TMP/m.onnx --config TMP/c.json -q --to qdq --float-bias -o TMP/q.onnx";
    done(&sandbox, export);
    assert!(simulated == outputs("run TMP/q.onnx"), "as simulated, to the bit");
}

#[test]
fn what_does_not_fit_is_told() {
    let sandbox = Sandbox::new();
    let text =
        done(&sandbox, &format!("search {MODEL} --calib {CALIB} {SAMPLES} --budget 0.4 {BOTH}"));
    let mut config = json(&text);
    config["encodings"]["biases"]["stem.bias"] = serde_json::json!([0.5]);
    sandbox.write("short.json", config.to_string());
    config["encodings"]["biases"] = serde_json::json!({ "none": [0.5] });
    sandbox.write("none.json", config.to_string());
    let measure = format!("sensitivity {MODEL} --calib {CALIB} {SAMPLES} -o TMP/s.json");
    done(&sandbox, &measure);
    let check = |file: &str| {
        let ran = run(&sandbox, &format!("check {MODEL} TMP/{file}"));
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        ran.stdout
    };
    let problem = "encoding of `stem.bias` does not fit: 1 elements, the tensor is float32 [16]\n";
    assert_eq!(check("short.json"), problem);
    let problem = "encoding of `none` does not fit: there is no such tensor\n";
    assert_eq!(check("none.json"), problem);
    let said = sandbox.transcript(&[
        &format!("eval {MODEL} --data {VAL} -q --config TMP/short.json"),
        &format!("export {MODEL} --config TMP/none.json --to qdq -o TMP/q.onnx"),
        &format!("eval {MODEL} --data {VAL} -q --config TMP/short.json --equalize"),
        &format!("search {MODEL} --sensitivity TMP/s.json --budget 0.4 --bias-correction"),
        &format!("round {MODEL} --calib {CALIB} --bits 4 -o TMP/b --bias-correction"),
    ]);
    expect![[r#"
        $ mpq eval examples/digits/model.onnx --data examples/digits/val -q --config TMP/short.json
        error: cannot use `TMP/short.json`
          caused by: the file's corrected bias `stem.bias` does not fit that tensor of the network
        exit 2

        $ mpq export examples/digits/model.onnx --config TMP/none.json --to qdq -o TMP/q.onnx
        error: cannot use `TMP/none.json`
          caused by: the configuration names tensor `none`, which the network does not have
        exit 2

        $ mpq eval examples/digits/model.onnx --data examples/digits/val -q --config TMP/short.json --equalize
        error: `--equalize` is given without `--uniform`
        exit 2

        $ mpq search examples/digits/model.onnx --sensitivity TMP/s.json --budget 0.4 --bias-correction
        error: cannot use `TMP/s.json`
          caused by: `--bias-correction` is given, but was settled when the sensitivities were measured
        exit 2

        $ mpq round examples/digits/model.onnx --calib examples/digits/calib --bits 4 -o TMP/b --bias-correction
        error: `--bias-correction` is given, but biases are corrected by what takes the weights, such as `mpq search --rounded`
        exit 2
    "#]].assert_eq(&said);
}
