//! `mpq inspect`.

use std::fs;

use expect_test::expect;
use serde_json::{Value, json};

use crate::run::{MODEL, Sandbox};
use crate::text_model::model;

#[test]
fn tables() {
    let ran = Sandbox::new().mpq(&["inspect", MODEL, "--candidates", "W8A8,W8A16"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let start: Vec<&str> = ran.stdout.lines().take(31).collect();
    expect![[r#"
        model.onnx, opset 17
        sha256      329695e25d36696570a4d1293e09d71dfd4ac4f851c486cd780a02105ccafcce
        parameters  55.9 k (218 KiB)
        MACs        668 k

                name    type     shape
        input   image   float32  [N, 1, 8, 8]
        output  logits  float32  [1, 10]

        operator            nodes
        Add                     8
        BatchNormalization     19
        Clip                    3
        Conv                   27
        Div                     3
        Flatten                 1
        Gemm                    2
        GlobalAveragePool       5
        HardSigmoid             4
        HardSwish               6
        Mul                     7
        Relu                    9

        group    MACs  weights  choices     activations                   weight tensors           nodes             tied by
            1  9.22 k      144  W8A16 W8A8  image                         stem.weight              stem
            2  9.22 k      144  W8A16 W8A8  stem.act.div.out              block1.depthwise.weight  block1.depthwise  Add `block1.add`
                                            block1.project.bn.out                                  block1.add
            3       0        0  A16 A8      block1.depthwise.act.out                               block1.se.pool    Mul `block1.se.scale`
                                            block1.se.gate.out                                     block1.se.scale
            4     128      128  W8A16 W8A8  block1.se.pool.out            block1.se.reduce.weight  block1.se.reduce
            5     128      128  W8A16 W8A8  block1.se.relu.out            block1.se.expand.weight  block1.se.expand"#]]
    .assert_eq(&start.join("\n"));
}

#[test]
fn json_holds_it_all() {
    let ran = Sandbox::new().mpq(&["inspect", MODEL, "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    let keys: Vec<&str> = found.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys[..4], ["schema", "model", "opset", "inputs"]);
    assert_eq!(found["schema"], json!("mpq/inspect/1"));
    assert_eq!(found["inputs"][0]["shape"], json!(["N", 1, 8, 8]));
    assert_eq!((&found["macs"], &found["float_macs"]), (&json!(667_776), &json!(0)));
    let groups = found["groups"].as_array().unwrap();
    let macs = groups.iter().map(|group| group["macs"].as_u64().unwrap());
    assert_eq!(macs.sum::<u64>(), 667_776);
    assert_eq!(found["unsupported"], json!([]));
    let unit = json!({
        "kind": "Conv",
        "output": "stem.act.div.out",
        "nodes": ["stem", "stem.act.add", "stem.act.clip", "stem.act.mul", "stem.act.div"],
    });
    assert_eq!(found["units"][0], unit);
    let inner =
        json!({ "tensor": "stem.bn.out", "reason": "inside_unit", "detail": "stem.act.div.out" });
    assert_eq!(found["not_quantized"][0], inner);
}

#[test]
fn a_target_decides_what_is_quantized() {
    let sandbox = Sandbox::new();
    let generic = include_str!("../../../src/quant/targets/generic.json");
    let target = generic.replace("\"keep_float\": []", "\"keep_float\": [\"Gemm\"]");
    sandbox.write("target.json", target.replace("\"generic\"", "\"mine\""));
    let ran = sandbox.mpq(&["inspect", MODEL, "--json", "--target", "TMP/target.json"]);
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    // 8192 of `hidden` and 640 of `logits`.
    assert_eq!(found["float_macs"], json!(8832));
    let not_read =
        json!({ "tensor": "hidden.out", "reason": "inside_unit", "detail": "hidden.act.out" });
    assert!(found["not_quantized"].as_array().unwrap().contains(&not_read), "{found:#}");
}

/// The rest of the model is shown all the same.
#[test]
fn nodes_that_are_not_supported_are_all_listed() {
    let sandbox = Sandbox::new();
    let mut bytes = fs::read(MODEL).unwrap();
    let name = b"HardSwish";
    let places: Vec<usize> =
        (0..bytes.len() - name.len()).filter(|&at| bytes[at..].starts_with(name)).collect();
    assert_eq!(places.len(), 6);
    for at in &places[..2] {
        bytes[at + 5] = b'x';
    }
    sandbox.write("model.onnx", bytes);
    let ran = sandbox.mpq(&["inspect", "TMP/model.onnx"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    let (_, after) = ran.stdout.split_once("node that").unwrap();
    expect![[r#"
         cannot run  operator   opset  problem
        block4.expand.act     HardSxish  17     operator is not supported
        block4.depthwise.act  HardSxish  17     operator is not supported
    "#]]
    .assert_eq(after);
    let ran = sandbox.mpq(&["inspect", "TMP/model.onnx", "--json"]);
    assert_eq!(ran.code, 1);
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(found["unsupported"][0]["node"], json!("block4.expand.act"));
    for unknown in ["macs", "groups", "units", "not_quantized"] {
        assert_eq!(found[unknown], Value::Null);
    }
}

#[test]
fn refusals() {
    let sandbox = Sandbox::new();
    sandbox.write("text.onnx", "hello");
    let refused = sandbox.transcript(&[
        "inspect TMP/none.onnx",
        "inspect TMP/text.onnx",
        "inspect examples/digits/model.onnx --candidates W4A99",
        "inspect examples/digits/model.onnx --target toaster",
        "inspect examples/digits/model.onnx --dim M=3",
    ]);
    expect![[r#"
        $ mpq inspect TMP/none.onnx
        error: cannot read `TMP/none.onnx`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq inspect TMP/text.onnx
        error: `TMP/text.onnx` is not an ONNX model
        exit 2

        $ mpq inspect examples/digits/model.onnx --candidates W4A99
        error: invalid value 'W4A99' for '--candidates <LIST>': activation bits are 99, expected 2 to 16, or 32 for float

        For more information, try '--help'.
        exit 2

        $ mpq inspect examples/digits/model.onnx --target toaster
        error: target is `toaster`, expected `generic`, `htp`, `ort-cpu`, `tflite`, `tensorrt` or a file
        exit 2

        $ mpq inspect examples/digits/model.onnx --dim M=3
        error: dimension `M` is not one of the model's free ones, expected `N`
        exit 2
    "#]].assert_eq(&refused);
}

#[test]
fn a_free_dimension_leaves_groups_unknown() {
    let sandbox = Sandbox::new();
    let text = r#"import "" 21 main (float[N,L] x) -> (y) { y = Softmax(x) }"#;
    sandbox.write("m.onnx", model(text));
    let ran = sandbox.mpq(&["inspect", "TMP/m.onnx"]);
    assert_eq!(ran.code, 0);
    let (_, table) = ran.stdout.split_once("\n\n").unwrap();
    expect![[r#"
                name  type     shape
        input   x     float32  [N, L]
        output  y     -        -

        operator  nodes
        Softmax       1

        MACs and groups are unknown: input `x` has shape [N, L]: dimension `L` is free
        hint: give its size with --dim L=N
    "#]]
    .assert_eq(table);
    let ran = sandbox.mpq(&["inspect", "TMP/m.onnx", "--dim", "L=3", "--json"]);
    let inspected: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(inspected["incomplete"], Value::Null);
    assert_eq!(inspected["macs"], 0);
}
