//! The fast engine beside the reference, and what it promises, on real networks.

use std::fs;

use mpq::metric::kendall::tau_b;
use serde_json::Value;

use super::{RESNET, in_data, list, model, stdout};
use crate::test_data::test_data;

/// Sensitivities of ResNet-20, with other flags than the usual ones.
fn sensitivities(data: &std::path::Path, samples: &str, flags: &[&str]) -> String {
    let (model, calib) = (model(data, RESNET), in_data(data, "DATA/cifar10/calib"));
    let args = ["sensitivity", &model, "--calib", &calib, "--preprocess", "imagenet"];
    stdout(&[&args[..], &["--samples", samples], flags].concat())
}

/// Entries in the order of the groups: SQNR in decibels, where there is noise.
fn entries(file: &Value) -> Vec<f64> {
    let choices = list(file, "groups").iter().flat_map(|group| list(group, "choices"));
    choices.filter_map(|choice| choice["sqnr_db"].as_f64()).collect()
}

#[test]
fn sensitivities_agree_with_the_reference() {
    let name = "real_networks::engines::sensitivities_agree_with_the_reference";
    let Some(data) = test_data(name) else { return };
    let [fast, reference] = ["fast", "reference"].map(|engine| {
        let file = sensitivities(&data, "256", &["--engine", engine]);
        serde_json::from_str(&file).unwrap()
    });
    let (fast, reference): (Value, Value) = (fast, reference);
    let (found, expected) = (entries(&fast), entries(&reference));
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        // Noise below -60 dB is as small as the rounding of floats, in which engines differ.
        let is_close = (found - expected).abs() <= 0.02 || (60. < *found && 60. < *expected);
        assert!(is_close, "{found} dB, {expected} dB by the reference engine");
    }
    let tau = tau_b(&found, &expected).unwrap();
    assert!(0.999 <= tau, "Kendall tau {tau}");
}

#[test]
fn resources_do_not_change_a_byte() {
    let name = "real_networks::engines::resources_do_not_change_a_byte";
    let Some(data) = test_data(name) else { return };
    let expected = sensitivities(&data, "7", &["--threads", "1", "--batch", "1"]);
    let least = least_memory(&data);
    // With the least memory no activations are held at all.
    for flags in [
        ["--threads", "2", "--batch", "1"],
        ["--threads", "3", "--batch", "4"],
        ["--threads", "1", "--memory", "1GiB"],
        ["--threads", "1", "--memory", &least],
    ] {
        assert!(sensitivities(&data, "7", &flags) == expected, "{flags:?}");
    }
}

/// What one thread needs for ResNet-20, as the error about too little memory names it.
fn least_memory(data: &std::path::Path) -> String {
    let (model, calib) = (model(data, RESNET), in_data(data, "DATA/cifar10/calib"));
    let args = ["sensitivity", &model, "--calib", &calib, "--threads", "1", "--memory", "1MiB"];
    let mpq = std::process::Command::new(env!("CARGO_BIN_EXE_mpq"))
        .env("MPQ_CACHE", "")
        .args(args)
        .output()
        .unwrap();
    let message = String::from_utf8(mpq.stderr).unwrap();
    let words = message.split_whitespace();
    let bytes: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
    assert_eq!((mpq.status.code(), bytes.len()), (Some(2), 2), "{message}");
    format!("{}B", bytes[0])
}

#[cfg(target_os = "linux")]
#[test]
fn memory_is_a_promise() {
    let Some(data) = test_data("real_networks::engines::memory_is_a_promise") else { return };
    let model = model(&data, "efficientnet_lite0");
    let calib = in_data(&data, "DATA/imagenet/calib");
    let own = fs::metadata(&model).unwrap().len();
    let flags = ["--mean", "0.498", "--std", "0.502", "--samples", "4", "--threads", "2"];
    for (memory, mebibytes) in [("150MiB", 150), ("1GiB", 1024)] {
        let args = ["sensitivity", &model, "--calib", &calib, "--memory", memory];
        // Few candidates: what is held does not depend on how many there are of one width.
        let args = [&args[..], &flags, &["--candidates", "W8A8,W4A8"]].concat();
        let peak = super::peak_kib(&args) * 1024;
        assert!(peak <= own + (mebibytes << 20), "{peak} bytes with --memory {memory}");
    }
}
