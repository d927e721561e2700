//! Rounding by what layers see: what it gains, and that all layers of real networks are found.

use serde_json::Value;

use super::{MINILM, NETWORKS, Network, RESNET, VIT};
use crate::run::Sandbox;
use crate::test_data::test_data;

fn network(name: &str) -> &'static Network {
    NETWORKS.iter().find(|network| network.name == name).unwrap()
}

/// The entries of `rounding.json`, with few samples.
fn round(sandbox: &Sandbox, name: &str, data: &str, flags: &str) -> Vec<Value> {
    let network = network(name);
    let model = format!("{data}/models/{name}.onnx");
    let calib: Vec<String> = network.val.iter().map(|path| path.replace("DATA", data)).collect();
    let mut args = vec!["round", &model, "--bits", "4", "-o", "TMP/rounded", "-q"];
    calib.iter().for_each(|path| args.extend(["--calib", path]));
    args.extend(network.flags.iter().chain(network.dims));
    args.extend(flags.split(' '));
    let ran = sandbox.mpq(&args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let file: Value = serde_json::from_str(&sandbox.read("rounded/rounding.json")).unwrap();
    file["weights"].as_array().unwrap().clone()
}

#[test]
fn four_bits_of_resnet() {
    let Some(data) = test_data("four_bits_of_resnet") else { return };
    let data = data.to_str().unwrap();
    let sandbox = Sandbox::new();
    let entries = round(&sandbox, RESNET, data, "--samples 64 --iterations 400");
    for entry in &entries {
        let loss = |key: &str| entry["loss"][key].as_f64().unwrap();
        assert!(loss("rounded") < loss("nearest"), "{entry}");
    }
    let sqnr_db = |more: &[&str]| {
        let model = format!("{data}/models/{RESNET}.onnx");
        let val = format!("{data}/cifar10/val");
        let args = ["eval", &model, "--data", &val, "--calib", &val, "--samples", "64"];
        let flags = ["--uniform", "W4A32", "--json", "-q"];
        let ran = sandbox.mpq(&[&args[..], &flags, network(RESNET).flags, more].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let eval: Value = serde_json::from_str(&ran.stdout).unwrap();
        eval["quantized"]["sqnr_db"].as_f64().unwrap()
    };
    let (nearest, rounded) = (sqnr_db(&[]), sqnr_db(&["--rounded", "TMP/rounded"]));
    assert!(nearest + 3. < rounded, "{nearest} dB to nearest, {rounded} dB");
}

#[test]
fn transformers_have_layers_and_tables() {
    let Some(data) = test_data("transformers_have_layers_and_tables") else { return };
    let data = data.to_str().unwrap();
    for (name, n_tables) in [(MINILM, 3), (VIT, 0)] {
        let sandbox = Sandbox::new();
        let entries = round(&sandbox, name, data, "--samples 2 --iterations 1");
        let tables = entries.iter().filter(|entry| entry["loss"].is_null());
        let tables: Vec<&Value> = tables.map(|entry| &entry["name"]).collect();
        assert_eq!(tables.len(), n_tables, "{name}: {tables:?}");
        let nearest = entries.iter().filter_map(|entry| entry["loss"]["nearest"].as_f64());
        assert!(nearest.into_iter().all(|loss| 0. < loss), "{name}: a layer saw nothing");
        let sum = |key: &str| entries.iter().filter_map(|e| e["loss"][key].as_f64()).sum::<f64>();
        assert!(sum("rounded") < 0.8 * sum("nearest"), "{name}");
    }
}

/// Of dead channels too, whose biases are all there is of them: so one set of rounded weights serves
/// whatever activations take.
#[test]
fn scales_of_weights_do_not_depend_on_activations() {
    let Some(data) = test_data("scales_of_weights_do_not_depend_on_activations") else { return };
    let (data, name) = (data.to_str().unwrap(), "efficientnet_lite0");
    let (model, calib) = (format!("{data}/models/{name}.onnx"), format!("{data}/imagenet/calib"));
    let four_bits = |candidates: &str| -> Vec<Value> {
        let args = ["sensitivity", &model, "--calib", &calib, "--samples", "1", "-q"];
        let flags = ["--candidates", candidates];
        let ran = Sandbox::new().mpq(&[&args[..], &flags, network(name).flags].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let file: Value = serde_json::from_str(&ran.stdout).unwrap();
        let weights = file["encodings"]["weights"].as_object().unwrap();
        weights.values().filter_map(|widths| widths.get("4").cloned()).collect()
    };
    let expected = four_bits("W8A16,W4A8");
    assert!(!expected.is_empty());
    for candidates in ["W4A32", "W4A8"] {
        assert!(four_bits(candidates) == expected, "{candidates}");
    }
}
