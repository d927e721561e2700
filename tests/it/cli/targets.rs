//! `--target`, `--pin` and `--exclude`, through what they do to encodings and groups.

use expect_test::expect;
use serde_json::{Value, json};

use crate::run::{CALIB, MODEL, Sandbox, VAL};
use crate::text_model::model;

/// A network on noise, searched for a target; the `config` file.
fn searched(network: &str, flags: &str) -> Value {
    let sandbox = Sandbox::new();
    sandbox.write("m.onnx", model(network));
    let line = format!("search TMP/m.onnx --calib noise --samples 2 --budget 1 {flags}");
    let ran = sandbox.mpq(&line.split(' ').collect::<Vec<_>>());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// `bits min..max zero_point` of an activation; `float` where it is not rounded.
fn activation(config: &Value, name: &str) -> String {
    let e = &config["encodings"]["activations"][name];
    match e.is_null() {
        true => "float".to_owned(),
        false => format!("{} {}..{} {}", e["bits"], e["min"], e["max"], e["zero_point"]),
    }
}

#[test]
fn outputs_have_the_encodings_that_targets_give() {
    let network = r#"import "" 21 main (float[1,4] x) -> (y, z) {
        float[4,4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
        s = Sigmoid(x)
        g = Gemm(s, w)
        t = Tanh(g)
        y = Softmax(t)
        z = LogSoftmax(t)
    }"#;
    let of = |flags: &str| {
        let config = searched(network, flags);
        // Nothing fixes those of `z` but tflite at 8 bits.
        let names: &[&str] = if flags.ends_with("W8A8") && flags.contains("tflite") {
            &["s", "t", "y", "z"]
        } else {
            &["s", "y"]
        };
        let texts: Vec<String> = names.iter().map(|name| activation(&config, name)).collect();
        format!("{flags}\n  {}\n", texts.join("\n  "))
    };
    let texts = [
        "--target htp --candidates W8A8",
        "--target htp --candidates W8A16",
        "--target tflite --candidates W8A8",
        "--target tflite --candidates W8A16",
    ]
    .map(of);
    expect![[r#"
        --target htp --candidates W8A8
          8 0.0..1.0 0
          8 0.0..1.0 0
        --target htp --candidates W8A16
          16 0.0..1.0 0
          16 0.0..1.0 0
        --target tflite --candidates W8A8
          8 0.0..0.99609375 -128
          8 -1.0..0.9921875 0
          8 0.0..0.99609375 -128
          8 -15.9375..0.0 127
        --target tflite --candidates W8A16
          16 -1.0..0.9999695 0
          16 -1.0..0.9999695 0
    "#]]
    .assert_eq(&texts.concat());
}

#[test]
fn weights_have_the_scales_that_targets_give() {
    let network = r#"import "" 21 main (float[1,2,1,1] x) -> (y) {
        float[2,2,1,1] w = {1, 2, 3, 4}
        float[2,2] v = {1, 2, 3, 4}
        c = Conv(x, w)
        f = Flatten(c)
        y = Gemm(f, v)
    }"#;
    let of = |target: &str| {
        let config = searched(network, &format!("--target {target} --candidates W8A8"));
        let weight = |name: &str| {
            let e = &config["encodings"]["weights"][name];
            let scales = e["scale"].as_array().unwrap().len();
            let narrow = if e["narrow"] == json!(true) { " narrow" } else { "" };
            format!("{name} {scales}{narrow}")
        };
        let x = &config["encodings"]["activations"]["x"];
        let signed = if x["signed"] == json!(true) { "signed" } else { "unsigned" };
        let symmetric = if x["symmetric"] == json!(true) { " symmetric" } else { "" };
        format!("{target}: {}, {}, {signed}{symmetric}", weight("w"), weight("v"))
    };
    let texts = ["generic", "htp", "ort-cpu", "tflite", "tensorrt"].map(of);
    expect![[r#"
        generic: w 2, v 2, unsigned
        htp: w 2, v 1, unsigned
        ort-cpu: w 2 narrow, v 2 narrow, signed
        tflite: w 2 narrow, v 1 narrow, signed
        tensorrt: w 2, v 2, signed symmetric"#]]
    .assert_eq(&texts.join("\n"));
}

#[test]
fn what_a_target_leaves_in_float() {
    let network = r#"import "" 21 main (float[1,4] x) -> (y, h) {
        float[4,4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
        a = MatMul(x, w)
        h = HardSwish(a)
        b = MatMul(h, w)
        e = Erf(b)
        p = Transpose(e)
        y = Softmax(p)
    }"#;
    let of = |target: &str| {
        let config = searched(network, &format!("--target {target} --candidates W8A8"));
        let is_float = |name: &&&str| activation(&config, name) == "float";
        // `p` carries the encoding of `e`.
        let names = ["x", "a", "h", "b", "e", "y"];
        let mut floats: Vec<&str> = names.iter().filter(is_float).copied().collect();
        if floats.is_empty() {
            floats.push("nothing");
        }
        format!("{target}: {}", floats.join(" "))
    };
    let texts = ["generic", "htp", "ort-cpu", "tflite", "tensorrt"].map(of);
    expect![[r#"
        generic: a
        htp: nothing
        ort-cpu: a b
        tflite: nothing
        tensorrt: a b e y"#]]
    .assert_eq(&texts.join("\n"));
}

#[test]
fn same_encodings_where_a_target_says_so() {
    let network = r#"import "" 21 main (float[1,2,4,4] x) -> (y) {
        a = Relu(x)
        b = Neg(x)
        c = Concat<axis = 1>(a, b)
        y = AveragePool<kernel_shape = [2, 2]>(c)
    }"#;
    for (target, is_same) in [("generic", false), ("tflite", true)] {
        let config = searched(network, &format!("--target {target} --candidates W8A8"));
        let [a, b, c, y] = ["a", "b", "c", "y"].map(|name| activation(&config, name));
        assert_eq!(a == b && b == c && c == y, is_same, "{target}: {a}, {b}, {c}, {y}");
    }
}

#[test]
fn candidates_that_a_target_lacks() {
    let sandbox = Sandbox::new();
    let line = format!(
        "search {MODEL} --calib {CALIB} --samples 2 --budget 0.6 -o TMP/c.json -q --target tensorrt"
    );
    let ran = sandbox.mpq(&line.split(' ').collect::<Vec<_>>());
    expect![[r#"
        warning: target `tensorrt` has no W8A16 and no W4A8: groups take the nearest more precise
        hint: besides W32A32, --candidates may list W8A8, W4A32
    "#]]
    .assert_eq(&ran.stderr);
    let lines = [format!("{line} --candidates W6A6"), format!("{line} --pin stem=W4A8")];
    expect![[r#"
        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 2 --budget 0.6 -o TMP/c.json -q --target tensorrt --candidates W6A6
        error: no candidate is allowed for group `image`
          nodes: `stem` (Conv)
          activations: `image`
          weights: `stem.weight`
          candidates: W6A6
          target `tensorrt` has W8A8, W4A32 only
          target `tensorrt` lets Conv take W8A8 only
        hint: add one that is allowed to --candidates, or --exclude the group
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 2 --budget 0.6 -o TMP/c.json -q --target tensorrt --pin stem=W4A8
        warning: target `tensorrt` has no W8A16 and no W4A8: groups take the nearest more precise
        hint: besides W32A32, --candidates may list W8A8, W4A32
        error: no candidate is allowed for group `image`
          nodes: `stem` (Conv)
          activations: `image`
          weights: `stem.weight`
          pin `stem=W4A8`
          target `tensorrt` has W8A8, W4A32 only
          target `tensorrt` lets Conv take W8A8 only
        hint: add one that is allowed to --candidates, or --exclude the group
        exit 2
    "#]].assert_eq(&sandbox.transcript(&lines.each_ref().map(String::as_str)));
}

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
    let readme = include_str!("../../../README.md");
    assert!(readme.contains(include_str!("../../../examples/npu.json")), "the README shows it");
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

    let cost = |budget: &str| {
        let priced = format!("{again} --budget {budget} -o TMP/c.json");
        let ran = sandbox.mpq(&priced.split(' ').collect::<Vec<_>>());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let config: Value = serde_json::from_str(&sandbox.read("c.json")).unwrap();
        config["cost"].clone()
    };
    let free = cost("conversion-cost=1e9");
    let limit = free["conversion_cost"].as_f64().unwrap() - 1.;
    assert!(0. < limit, "{free}");
    let found = cost(&format!("conversion-cost={limit}"))["conversion_cost"].as_f64().unwrap();
    assert!(found <= limit, "{found}");
}

/// The public shape of AIMET's files, in little.
const AIMET: &str = r#"{
  "defaults": {
    "hw_version": "V99",
    "ops": { "is_output_quantized": "True" },
    "params": { "is_quantized": "True", "is_symmetric": "True" },
    "per_channel_quantization": "True",
    "strict_symmetric": "False",
    "unsigned_symmetric": "True"
  },
  "params": { "bias": { "is_quantized": "False" } },
  "op_type": {
    "Flatten": { "is_output_quantized": "False" },
    "CropAndResize": { "is_output_quantized": "False" },
    "Gemm": { "per_channel_quantization": "False" },
    "GroupNormalization": { "per_channel_quantization": "False" },
    "GroupNormalization": { "params": { "bias": { "is_quantized": "True" } } },
    "HardSigmoid": { "encoding_constraints": { "min": 0.0, "max": 1.0 } }
  },
  "supergroups": [
    { "op_list": ["Conv", "BatchNormalization", "Relu"] },
    { "op_list": ["Add", "Relu"] }
  ],
  "model_input": { "is_input_quantized": "True" },
  "model_output": {}
}"#;

#[test]
fn aimet_configurations_are_targets() {
    let sandbox = Sandbox::new();
    sandbox.write("npu9.json", AIMET);
    let line = format!(
        "search {MODEL} --calib {CALIB} --samples 2 --budget 0.6 -q --target TMP/npu9.json"
    );
    let ran = sandbox.mpq(&line.split(' ').collect::<Vec<_>>());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    expect![[r#"
        warning: target `TMP/npu9.json`: `defaults.unsigned_symmetric` has no effect: symmetric integers are signed
        warning: target `TMP/npu9.json`: `op_type.GroupNormalization.params.bias.is_quantized` has no effect: such parameters stay in float
        warning: target `TMP/npu9.json`: `op_type` names operators that mpq does not have: CropAndResize
    "#]].assert_eq(&ran.stderr);
    let config: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(config["settings"]["target"], "npu9");
    assert_eq!(config["encodings"]["weights"]["hidden.weight"]["axis"], Value::Null);
    assert_eq!(config["encodings"]["weights"]["stem.weight"]["axis"], 0);
    // No supergroup has a HardSigmoid, so the convolution before it is rounded, as it is itself.
    assert_ne!(activation(&config, "block1.se.expand.out"), "float");
    let gate = &config["encodings"]["activations"]["block1.se.gate.out"];
    assert_eq!((&gate["min"], &gate["max"]), (&json!(0.0), &json!(1.0)));

    let bad = AIMET.replace(r#""strict_symmetric": "False""#, r#""strict_symmetric": "perhaps""#);
    sandbox.write("bad.json", bad);
    sandbox.write("name.json", include_str!("../../../src/quant/targets/htp.json"));
    let lines = ["bad", "name"].map(|name| {
        format!("search {MODEL} --calib {CALIB} --budget 0.6 --target TMP/{name}.json")
    });
    expect![[r#"
        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --budget 0.6 --target TMP/bad.json
        error: cannot use target `TMP/bad.json`
          caused by: `defaults.strict_symmetric` of the AIMET configuration is "perhaps", expected `True` or `False`
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --budget 0.6 --target TMP/name.json
        error: cannot use target `TMP/name.json`
          caused by: name is `htp`, that of a built-in target, expected another one
        exit 2
    "#]].assert_eq(&sandbox.transcript(&lines.each_ref().map(String::as_str)));
}
