//! Files in little, and what is made of them.

use expect_test::expect;
use serde_json::json;

use super::*;
use crate::graph::patterns::Chain;

/// The least that is accepted.
fn least() -> Value {
    json!({
        "defaults": {
            "ops": { "is_output_quantized": "True" },
            "params": { "is_quantized": "True", "is_symmetric": "True" }
        },
        "params": {},
        "op_type": {},
        "supergroups": [],
        "model_input": { "is_input_quantized": "True" },
        "model_output": {}
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut file = least();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    file.pointer_mut(parent).unwrap()[key] = value;
    file
}

fn notes(pointer: &str, value: Value) -> String {
    read(&with(pointer, value), "npu").unwrap().1.join("\n")
}

fn changed(pointer: &str, value: Value) -> Target {
    read(&with(pointer, value), "npu").unwrap().0
}

#[test]
fn the_least_has_nothing_to_say() {
    let (target, notes) = read(&least(), "npu").unwrap();
    assert_eq!((target.name.as_str(), notes.len()), ("npu", 0));
    assert_eq!(target.activations.default, Scheme::UNSIGNED);
    assert_eq!(target.scales("Conv"), ScaleKind::PerTensor);
    assert!(target.requantizes("Reshape") && target.candidates.is_none());
    assert!(is_config(&least()));
    assert!(!is_config(&serde_json::to_value(target).unwrap()));
}

#[test]
fn what_has_a_counterpart() {
    let target = changed("/defaults/per_channel_quantization", json!("True"));
    assert_eq!(target.scales("Conv"), ScaleKind::PerChannel);
    let target = changed("/defaults/ops/is_symmetric", json!("True"));
    assert_eq!(target.activations.default, Scheme::SYMMETRIC);
    let target = changed("/defaults/strict_symmetric", json!("True"));
    assert!(target.weights.narrow && !target.activations.default.narrow);
    let target = changed("/op_type/MaxPool", json!({ "is_output_quantized": "False" }));
    assert!(target.carries("MaxPool") && !target.requantizes("MaxPool"));
    let target = changed("/op_type/Gemm", json!({ "per_channel_quantization": "True" }));
    assert_eq!(target.scales("Gemm"), ScaleKind::PerChannel);
    let range = json!({ "encoding_constraints": { "min": 0.0, "max": 1.0 } });
    assert!(changed("/op_type/Softmax", range).fixes_range("Softmax"));
    let kernel = |activation: u8, weight: u8, dtype: &str| {
        json!({
            "activation": { "bitwidth": activation, "dtype": dtype },
            "param": { "bitwidth": weight, "dtype": dtype }
        })
    };
    let kernels = json!([kernel(16, 8, "int"), kernel(8, 4, "int"), kernel(32, 32, "float")]);
    let target = changed("/defaults/supported_kernels", kernels);
    assert_eq!(target.candidates, Some(["W8A16", "W4A8"].map(|c| c.parse().unwrap()).into()));
    let kernels = json!({ "supported_kernels": [kernel(8, 8, "int")] });
    let target = changed("/op_type/Conv", kernels);
    assert!(!target.allows("Conv", "W8A16".parse().unwrap()));
    assert!(target.allows("Gemm", "W8A16".parse().unwrap()));
}

#[test]
fn supergroups_are_chains() {
    let list = |operators: &[&str]| json!({ "op_list": operators });
    let groups = json!([
        list(&["Add", "Relu"]),
        list(&["Conv", "BatchNormalization", "Relu"]),
        list(&["Conv", "Clip"])
    ]);
    let target = changed("/supergroups", groups);
    let text = |chain: &Chain| {
        assert!(chain.whole);
        let then: Vec<String> = chain.then.iter().map(|stage| stage.join("|")).collect();
        format!("{} {}", chain.heads.join("|"), then.join(" "))
    };
    let chains: Vec<String> = target.fused.iter().map(text).collect();
    let expected = ["Conv BatchNormalization Relu", "Add Relu", "Conv Relu", "Conv Clip"];
    assert_eq!(chains, expected);
}

#[test]
fn what_has_none_is_told_by_its_key() {
    let parameters = json!({ "params": { "weight": { "is_symmetric": "False" } } });
    let float = json!([{
        "activation": { "bitwidth": 16, "dtype": "float" },
        "param": { "bitwidth": 16, "dtype": "float" }
    }]);
    let notes = [
        notes("/defaults/unsigned_symmetric", json!("True")),
        notes("/defaults/params/is_symmetric", json!("False")),
        notes("/defaults/speed", json!(1)),
        notes("/defaults/supported_kernels", float),
        notes("/params/bias", json!({ "is_quantized": "True" })),
        notes("/op_type/LayerNormalization", parameters),
        notes("/op_type/ChannelShuffle", json!({ "is_output_quantized": "False" })),
        notes("/op_type/Conv", json!({ "is_input_quantized": "False", "grain": 3 })),
        notes("/op_type/Conv", json!({ "is_symmetric": "True" })),
        notes("/supergroups", json!([{ "op_list": ["Conv", "Mish2"] }])),
        notes("/supergroups", json!([{ "op_list": ["MatMul", "Add"], "id": 1 }])),
        notes("/model_input", json!({})),
        notes("/model_output", json!({ "is_output_quantized": "False" })),
        notes("/extra", json!({})),
    ];
    expect![[r#"
        `defaults.unsigned_symmetric` has no effect: symmetric integers are signed
        `defaults.params.is_symmetric` is not `True` for weights, which are encoded symmetrically all the same
        `defaults.speed` is not known to mpq and has no effect
        `defaults.supported_kernels[0].param` is a float narrower than 32 bits, which is not simulated: it counts as 32
        `defaults.supported_kernels[0].activation` is a float narrower than 32 bits, which is not simulated: it counts as 32
        `params.bias.is_quantized` has no effect: such parameters stay in float
        `op_type.LayerNormalization.params.weight.is_symmetric` has no effect: weights are quantized symmetrically, or stay in float where they scale a normalization
        `op_type` names operators that mpq does not have: ChannelShuffle
        `op_type.Conv.is_input_quantized` has no effect: what an operator reads is rounded
        `op_type.Conv.grain` is not known to mpq and has no effect
        `op_type.Conv.is_symmetric` holds for the output alone, not for the inputs
        `supergroups[0]` names `Mish2`, an operator that mpq does not have
        `supergroups[0].id` is not known to mpq and has no effect
        `supergroups[0]` holds only where Add has a constant operand
        `model_input.is_input_quantized` is not `True`: the network's inputs are rounded all the same
        `model_output.is_output_quantized` is not `True`: the network's outputs are rounded all the same
        `extra` is not known to mpq and has no effect"#]].assert_eq(&notes.join("\n"));
}

#[test]
fn what_cannot_be_meant() {
    let error =
        |pointer: &str, value: Value| read(&with(pointer, value), "npu").unwrap_err().to_string();
    let kernel = json!([{ "activation": { "bitwidth": 64, "dtype": "int" } }]);
    let errors = [
        error("/defaults/ops", json!({})),
        error("/defaults/params/is_quantized", json!("False")),
        error("/defaults/strict_symmetric", json!("maybe")),
        error("/defaults/supported_kernels", kernel),
        error("/op_type/Softmax", json!({ "encoding_constraints": { "min": 0 } })),
        error("/op_type/Softmax", json!({ "encoding_constraints": { "min": 1, "max": 2 } })),
        error("/op_type", json!([])),
        error("/supergroups", json!([{ "op_list": ["Conv"] }])),
    ];
    expect![[r#"
        `defaults.ops.is_output_quantized` of the AIMET configuration is not `True`, expected `True`; to quantize no more than some operators is not supported
        `params.weight.is_quantized` of the AIMET configuration is not `True`, nor is `defaults.params.is_quantized`, expected `True`; weights in float are asked for by candidates such as W32A8
        `defaults.strict_symmetric` of the AIMET configuration is "maybe", expected `True` or `False`
        `defaults.supported_kernels[0].activation.bitwidth` of the AIMET configuration is 64, expected 2 to 16
        `op_type.Softmax.encoding_constraints` of the AIMET configuration is {"min":0}, expected `min` and `max`
        the fixed range of Softmax is 1 to 2, expected one that contains 0
        `op_type` of the AIMET configuration is [], expected an object
        `supergroups[0]` of the AIMET configuration is {"op_list":["Conv"]}, expected an `op_list` of two or more"#]].assert_eq(&errors.join("\n"));
}
