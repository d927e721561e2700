//! Models that cannot be used.

use std::fs;

use expect_test::expect;
use onnx_protobuf::{ModelProto, TensorProto};
use protobuf::Message as _;

use crate::run::{CALIB, MODEL, Sandbox};

fn model() -> Vec<u8> {
    fs::read(MODEL).unwrap()
}

/// The example with all `from` in its file replaced; names keep their length.
fn with_text(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = model();
    let found: Vec<usize> = (0..bytes.len() - from.len())
        .filter(|&at| bytes[at..].starts_with(from.as_bytes()))
        .collect();
    for at in found {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

/// The example with a number put into one of its weights.
fn with_weight(name: &str, value: f32) -> Vec<u8> {
    let mut model = ModelProto::parse_from_bytes(&model()).unwrap();
    let initializers = &mut model.graph.as_mut().unwrap().initializer;
    let weight: &mut TensorProto =
        initializers.iter_mut().find(|weight| weight.name == name).unwrap();
    let mut raw = weight.raw_data.to_vec();
    raw[..4].copy_from_slice(&value.to_le_bytes());
    weight.raw_data = raw;
    model.write_to_bytes().unwrap()
}

#[test]
fn refusals() {
    let sandbox = Sandbox::new();
    sandbox.write("empty.onnx", b"");
    sandbox.write("cut.onnx", &model()[..40_000]);
    sandbox.write("text.onnx", "not a model, but a line of text\n");
    sandbox.write("image.onnx", fs::read(format!("{CALIB}/000.png")).unwrap());
    sandbox.write("operator.onnx", with_text("HardSwish", "HardSwash"));
    sandbox.write("nan.onnx", with_weight("stem.weight", f32::NAN));
    sandbox.write("infinite.onnx", with_weight("stem.weight", f32::INFINITY));
    let lines = [
        "none.onnx",
        "",
        "empty.onnx",
        "cut.onnx",
        "text.onnx",
        "image.onnx",
        "operator.onnx",
        "nan.onnx",
        "infinite.onnx",
    ]
    .map(|name| format!("sensitivity TMP/{name} --calib {CALIB} --samples 2 -q -o TMP/s.json"));
    let transcript = sandbox.transcript(&lines.each_ref().map(String::as_str));
    expect![[r#"
        $ mpq sensitivity TMP/none.onnx --calib examples/digits/calib --samples 2 -q -o TMP/s.json
        error: cannot read `TMP/none.onnx`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq sensitivity TMP/ --calib examples/digits/calib --samples 2 -q -o TMP/s.json
        error: `TMP/` is a directory, expected an ONNX model
        exit 2

        $ mpq sensitivity TMP/empty.onnx --calib examples/digits/calib --samples 2 -q -o TMP/s.json
        error: `TMP/empty.onnx` is empty, expected an ONNX model
        exit 2

        $ mpq sensitivity TMP/cut.onnx --calib examples/digits/calib --samples 2 -q -o TMP/s.json
        error: `TMP/cut.onnx` is cut short: a part of the model has 39986 bytes, expected 239668
        exit 2

        $ mpq sensitivity TMP/text.onnx --calib examples/digits/calib --samples 2 -q -o TMP/s.json
        error: `TMP/text.onnx` is not an ONNX model
        exit 2

        $ mpq sensitivity TMP/image.onnx --calib examples/digits/calib --samples 2 -q -o TMP/s.json
        error: `TMP/image.onnx` is not an ONNX model
        exit 2

        $ mpq sensitivity TMP/operator.onnx --calib examples/digits/calib --samples 2 -q -o TMP/s.json
        error: `TMP/operator.onnx` has nodes that are not supported
          node `block4.expand.act` (HardSwash, opset 17): operator is not supported
          node `block4.depthwise.act` (HardSwash, opset 17): operator is not supported
          node `block6.expand.act` (HardSwash, opset 17): operator is not supported
          node `block6.depthwise.act` (HardSwash, opset 17): operator is not supported
          node `head.act` (HardSwash, opset 17): operator is not supported
          node `hidden.act` (HardSwash, opset 17): operator is not supported
        exit 2

        $ mpq sensitivity TMP/nan.onnx --calib examples/digits/calib --samples 2 -q -o TMP/s.json
        error: weight `stem.weight` has 1 elements that are NaN or infinite
        exit 2

        $ mpq sensitivity TMP/infinite.onnx --calib examples/digits/calib --samples 2 -q -o TMP/s.json
        error: weight `stem.weight` has 1 elements that are NaN or infinite
        exit 2
    "#]].assert_eq(&transcript);
}
