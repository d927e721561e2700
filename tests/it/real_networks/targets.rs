//! Every built-in target on real networks.

use std::collections::BTreeSet;

use mpq::quant::{Candidate, Target};
use serde_json::Value;

use crate::run::Sandbox;
use crate::test_data::test_data;

/// Groups take what the target has, and both kinds of integers are as it says.
#[test]
fn targets_hold_on_a_real_network() {
    let Some(data) = test_data("targets_hold_on_a_real_network") else { return };
    let path = |name: &str| data.join(name).to_str().unwrap().to_owned();
    let (model, calib) = (path("models/resnet20_cifar10.onnx"), path("cifar10/calib"));
    for name in Target::names() {
        let target = Target::built_in(name).unwrap();
        let candidates = "W4A8,W8A8,W8A16,W32A32";
        let args = ["search", &model, "--calib", &calib, "--samples", "4", "--budget", "0.1"];
        let more = ["--target", name, "--candidates", candidates, "--preprocess", "imagenet", "-q"];
        let ran = Sandbox::new().mpq(&[&args[..], &more].concat());
        assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
        let config: Value = serde_json::from_str(&ran.stdout).unwrap();
        let groups = config["groups"].as_array().unwrap().iter();
        let taken: BTreeSet<&str> = groups.map(|g| g["candidate"].as_str().unwrap()).collect();
        for candidate in taken {
            let candidate: Candidate = candidate.parse().unwrap();
            assert!(target.has(candidate), "{name}: {candidate}");
        }
        let weights = config["encodings"]["weights"].as_object().unwrap();
        assert!(!weights.is_empty(), "{name}");
        assert!(weights.values().all(|e| e["narrow"] == target.weights.narrow), "{name}");
        let activations = config["encodings"]["activations"].as_object().unwrap();
        for (tensor, encoding) in activations {
            let bits = u32::try_from(encoding["bits"].as_u64().unwrap()).unwrap();
            let scheme = target.activations.scheme(bits.try_into().unwrap());
            assert_eq!(encoding["symmetric"], scheme.symmetric, "{name}: {tensor}");
            assert_eq!(encoding["signed"], scheme.signed, "{name}: {tensor}");
        }
    }
}
