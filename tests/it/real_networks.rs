//! The real networks through the real binary: accuracies, MACs, groups, a search, memory.
//!
//! Expected accuracies are onnxruntime's, from the data's README.

mod constants;
mod engines;
mod equalize;
mod golden;
mod rounding;
mod targets;

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::run::Sandbox;
use crate::test_data::test_data;

const RESNET: &str = "resnet20_cifar10";
const MINILM: &str = "minilm_l6_sst2";
const VIT: &str = "vit_s14_8blk_animal";

/// A network, how its samples are prepared, and how good it is on its validation set.
struct Network {
    name: &'static str,
    flags: &'static [&'static str],
    /// What `--data` takes; `DATA` stands for the folder of test data.
    val: &'static [&'static str],
    labels: &'static str,
    /// Flags that bind free dimensions.
    dims: &'static [&'static str],
    metric: &'static str,
    samples: u64,
    /// A fraction.
    accuracy: f64,
}

const NETWORKS: [Network; 7] = [
    Network {
        name: "efficientnet_lite0",
        flags: &["--mean", "0.498", "--std", "0.502", "--resize", "256", "--crop", "224"],
        val: &["DATA/imagenet/val"],
        dims: &[],
        labels: "imagenet/val/labels.csv",
        metric: "top1",
        samples: 500,
        accuracy: 0.868,
    },
    Network {
        name: "mobilenet_v2",
        flags: &["--preprocess", "inception", "--resize", "256", "--crop", "224"],
        val: &["DATA/imagenet/val"],
        dims: &[],
        labels: "imagenet/val/labels.csv",
        metric: "top1",
        samples: 500,
        accuracy: 0.828,
    },
    Network {
        name: "mobilenet_v3_textdir",
        flags: &[
            "--preprocess",
            "inception",
            "--channels",
            "bgr",
            "--resize",
            "fit:48x192",
            "--pad",
            "right",
        ],
        val: &["DATA/textdir/val"],
        dims: &[],
        labels: "textdir/val/labels.csv",
        metric: "top1",
        samples: 192,
        accuracy: 0.984,
    },
    Network {
        name: RESNET,
        flags: &["--preprocess", "imagenet"],
        val: &["DATA/cifar10/val"],
        dims: &[],
        labels: "cifar10/val/labels.csv",
        metric: "top1",
        samples: 500,
        accuracy: 0.834,
    },
    Network {
        name: "deeplabv3_mnv2_257",
        flags: &["--preprocess", "inception", "--resize", "257x257"],
        val: &["DATA/camvid/images"],
        dims: &[],
        labels: "camvid/masks",
        metric: "miou=6:1,7:1,15:2,2:2,14:2,*:0",
        samples: 45,
        accuracy: 0.664,
    },
    Network {
        name: MINILM,
        flags: &[],
        val: &["input_ids=DATA/sst2/val_ids.npy", "attention_mask=DATA/sst2/val_mask.npy"],
        labels: "sst2/val.csv",
        dims: &["--dim", "L=64"],
        metric: "top1",
        samples: 600,
        accuracy: 0.827,
    },
    Network {
        name: VIT,
        flags: &["--preprocess", "imagenet", "--resize", "256", "--crop", "224"],
        val: &["DATA/imagenet/val"],
        labels: "imagenet/val/animal_labels.csv",
        dims: &[],
        metric: "top1",
        samples: 500,
        accuracy: 0.892,
    },
];

/// What mpq wrote to stdout: JSON and nothing else.
#[track_caller]
fn json(args: &[&str]) -> Value {
    serde_json::from_str(&stdout(args)).unwrap()
}

#[track_caller]
fn stdout(args: &[&str]) -> String {
    let ran = Sandbox::new().mpq(args);
    assert_eq!(ran.code, 0, "mpq {}\n{}", args.join(" "), ran.stderr);
    ran.stdout
}

fn model(data: &Path, name: &str) -> String {
    data.join("models").join(name).with_extension("onnx").to_str().unwrap().to_owned()
}

fn in_data(data: &Path, path: &str) -> String {
    path.replace("DATA", data.to_str().unwrap())
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap()
}

#[test]
fn float_accuracy() {
    let Some(data) = test_data("real_networks::float_accuracy") else { return };
    let mut wrong = Vec::new();
    for network in NETWORKS {
        let model = model(&data, network.name);
        let labels = data.join(network.labels);
        let args = ["eval", &model, "--labels", labels.to_str().unwrap(), "--json"];
        let val: Vec<String> = network.val.iter().map(|path| in_data(&data, path)).collect();
        let val: Vec<&str> = val.iter().flat_map(|path| ["--data", path]).collect();
        let eval = json(&[&args[..], &val, &["--metric", network.metric], network.flags].concat());
        assert_eq!(eval["data"]["samples"], network.samples, "{}", network.name);
        let metric = network.metric.split('=').next().unwrap();
        let found = eval["float"][metric].as_f64().unwrap();
        if 100. * (found - network.accuracy).abs() > 0.4 {
            wrong.push(format!("{}: {found:.4}, expected {}", network.name, network.accuracy));
        }
    }
    assert!(wrong.is_empty(), "more than 0.4 points off:\n{}", wrong.join("\n"));
}

/// 3x3 convolutions of ResNet-20 by hand: the first, then three stages of six, then the classifier.
const RESNET_MACS: u64 = 3 * 16 * 9 * 32 * 32
    + 6 * (16 * 16 * 9 * 32 * 32)
    + (16 * 32 + 5 * 32 * 32) * 9 * 16 * 16
    + (32 * 64 + 5 * 64 * 64) * 9 * 8 * 8
    + 64 * 10;

#[test]
fn macs() {
    let Some(data) = test_data("real_networks::macs") else { return };
    assert_eq!(RESNET_MACS, 40_551_040);
    for (name, expected, tolerance) in
        [("efficientnet_lite0", 385e6, 0.02), ("mobilenet_v2", 300e6, 0.01)]
    {
        let macs = json(&["inspect", &model(&data, name), "--json"])["macs"].as_f64().unwrap();
        let off = (macs / expected - 1.).abs();
        assert!(off <= tolerance, "{name} has {macs} MACs, expected {expected}");
    }
    let resnet = json(&["inspect", &model(&data, RESNET), "--json"]);
    assert_eq!(resnet["macs"], RESNET_MACS);
    let of_groups = list(&resnet, "groups").iter().map(|group| group["macs"].as_u64().unwrap());
    assert_eq!(of_groups.sum::<u64>(), RESNET_MACS);
}

/// Activations against what a second reader finds in the file; twice, for the order.
#[test]
fn no_constant_is_searched() {
    let Some(data) = test_data("real_networks::no_constant_is_searched") else { return };
    for network in NETWORKS {
        let model = model(&data, network.name);
        let args = [&["inspect", &model, "--json"], network.dims].concat();
        let text = stdout(&args);
        assert_eq!(stdout(&args), text, "{}: another order", network.name);
        let inspected: Value = serde_json::from_str(&text).unwrap();
        let values = constants::Values::of_file(Path::new(&model));
        let groups = list(&inspected, "groups");
        assert!(!groups.is_empty(), "{}", network.name);
        for group in groups {
            for name in list(group, "activations").iter().map(|name| name.as_str().unwrap()) {
                assert!(values.depends_on_input(name), "{}: `{name}`", network.name);
            }
            for name in list(group, "weights").iter().map(|name| name.as_str().unwrap()) {
                assert!(!values.depends_on_input(name), "{}: `{name}`", network.name);
            }
        }
    }
}

/// The baseline of a configuration file.
fn baseline<'a>(config: &'a Value, candidate: &str) -> &'a Value {
    let mut baselines = list(config, "baselines").iter();
    baselines.find(|baseline| baseline["candidate"] == candidate).unwrap()
}

#[test]
fn search_of_resnet20() {
    let Some(data) = test_data("real_networks::search_of_resnet20") else { return };
    let model = model(&data, RESNET);
    let calib = data.join("cifar10/calib");
    let calib = calib.to_str().unwrap();
    let args = ["sensitivity", &model, "--calib", calib, "--samples", "64"];
    let measured = stdout(&[&args[..], &["--preprocess", "imagenet"]].concat());
    let sandbox = Sandbox::new();
    sandbox.write("sensitivity.json", measured);
    for budget in ["0.5", "0.3"] {
        let args = ["search", &model, "--calib", calib, "--sensitivity", "TMP/sensitivity.json"];
        let ran = sandbox.mpq(&[&args[..], &["--budget", budget]].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let config: Value = serde_json::from_str(&ran.stdout).unwrap();
        let relative = config["cost"]["relative_bops"].as_f64().unwrap();
        assert!(relative <= budget.parse().unwrap(), "{relative} with budget {budget}");
        for (candidate, expected) in [("W8A16", 1.), ("W8A8", 0.5), ("W4A8", 0.25)] {
            let cost = &baseline(&config, candidate)["cost"];
            assert_eq!(cost["relative_bops"].as_f64(), Some(expected), "{candidate}");
            let bops = expected * 8. * 16. * RESNET_MACS as f64;
            assert_eq!(cost["bops"].as_f64(), Some(bops), "{candidate}");
        }
        let sqnr_db = |config: &Value| config["quality"]["sqnr_db"].as_f64().unwrap();
        if budget == "0.5" {
            let (mixed, uniform) = (sqnr_db(&config), sqnr_db(baseline(&config, "W8A8")));
            assert!(mixed >= uniform, "{mixed} dB, uniform W8A8 has {uniform} dB");
        }
    }
}

#[test]
fn same_bytes_for_any_threads_and_batch() {
    let Some(data) = test_data("real_networks::same_bytes_for_any_threads_and_batch") else {
        return;
    };
    let model = model(&data, RESNET);
    let calib = data.join("cifar10/calib");
    let search = |threads: &str, batch: &str| {
        let args = ["search", &model, "--calib", calib.to_str().unwrap(), "--samples", "8"];
        let flags = ["--preprocess", "imagenet", "--budget", "0.3"];
        let resources = ["--threads", threads, "--batch", batch];
        stdout(&[&args[..], &flags, &resources].concat())
    };
    let expected = search("1", "1");
    for (threads, batch) in [("1", "1"), ("2", "1"), ("1", "4"), ("2", "4")] {
        assert!(search(threads, batch) == expected, "--threads {threads} --batch {batch}");
    }
}

/// With two threads the peak differs by several percent from run to run, as it depends on which
/// measurements meet. What samples leave behind raises every run, so there the least of three runs
/// with many samples stands against the most of three with few.
#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_samples() {
    let Some(data) = test_data("real_networks::memory_does_not_grow_with_samples") else { return };
    let model = model(&data, RESNET);
    let calib = data.join("cifar10/calib");
    for (threads, candidates, runs) in [("1", "W4A8,W8A8,W8A16", 1), ("2", "W8A8", 3)] {
        let peak = |samples: &str| {
            let args = ["sensitivity", &model, "--calib", calib.to_str().unwrap()];
            let flags = ["--samples", samples, "--candidates", candidates, "--threads", threads];
            let args = [&args[..], &flags, &["--preprocess", "imagenet"]].concat();
            let mut peaks: Vec<u64> = (0..runs).map(|_| peak_kib(&args)).collect();
            peaks.sort_unstable();
            peaks
        };
        let (few, many) = (peak("32"), peak("256"));
        let grown = many[0] as f64 / few[runs - 1] as f64;
        assert!(grown <= 1.1, "KiB with 32 samples {few:?}, with 256 {many:?}, {threads} threads");
    }
}

/// The most memory that a run of mpq ever had. `VmHWM` only grows, so the last reading is it.
#[cfg(target_os = "linux")]
fn peak_kib(args: &[&str]) -> u64 {
    use std::process::{Command, Stdio};
    let mut mpq = Command::new(env!("CARGO_BIN_EXE_mpq"));
    mpq.env("MPQ_CACHE", "");
    let mut mpq = mpq.args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", mpq.id());
    let mut peak = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.map_or(peak, |line| line.trim().trim_end_matches(" kB").parse().unwrap());
        if let Some(code) = mpq.try_wait().unwrap() {
            assert!(code.success(), "mpq {}", args.join(" "));
            assert!(peak > 0, "no VmHWM in {status}");
            return peak;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// The group of an activation.
fn group_of<'a>(inspected: &'a Value, activation: &str) -> &'a Value {
    let has = |group: &&Value| list(group, "activations").iter().any(|name| name == activation);
    list(inspected, "groups").iter().find(has).unwrap()
}

/// MACs by hand: 4 projections and 2 products of an attention, 2 layers of the MLP, six times; then
/// the pooler and the classifier, of one token.
const MINILM_MACS: u64 =
    6 * (4 * 64 * 384 * 384 + 2 * 64 * 64 * 384 + 2 * 64 * 384 * 1536) + 384 * 384 + 384 * 2;

#[test]
fn groups_of_a_transformer() {
    let Some(data) = test_data("real_networks::groups_of_a_transformer") else { return };
    let inspected = json(&["inspect", &model(&data, MINILM), "--dim", "L=64", "--json"]);
    assert_eq!(inspected["macs"], MINILM_MACS);
    let attention = "/m/bert/encoder/layer.3/attention/self";
    // Query, key and value read one activation.
    let reads = group_of(&inspected, "/m/bert/encoder/layer.2/output/LayerNorm/Add_1_output_0");
    assert_eq!(list(reads, "weights").len(), 3);
    let query = format!("{attention}/query/Add_output_0");
    let key = format!("{attention}/key/Add_output_0");
    assert_eq!(group_of(&inspected, &query)["activations"], serde_json::json!([query, key]));
    let weights = format!("{attention}/Softmax_output_0");
    let value = format!("{attention}/value/Add_output_0");
    assert_eq!(group_of(&inspected, &weights)["activations"], serde_json::json!([value, weights]));
    let reason = |kind: &str| {
        let tensors = list(&inspected, "not_quantized").iter();
        tensors.filter(|tensor| tensor["reason"] == kind).count()
    };
    // The mask as numbers, and on its way to large negative ones.
    assert_eq!(reason("mask"), 3);
    let units = list(&inspected, "units");
    let count = |kind: &str| units.iter().filter(|unit| unit["kind"] == kind).count();
    assert_eq!((count("LayerNormalization"), count("Softmax")), (13, 6));
}

/// As delivered, the mask is the most negative float: with it in the ranges 16 bits are ruined.
#[test]
fn a_mask_does_not_ruin_ranges() {
    let Some(data) = test_data("real_networks::a_mask_does_not_ruin_ranges") else { return };
    let files = ["input_ids=DATA/sst2/calib_ids.npy", "attention_mask=DATA/sst2/calib_mask.npy"]
        .map(|path| in_data(&data, path));
    let data_flags = ["--calib", &files[0], "--calib", &files[1]];
    let eval_flags = ["--data", &files[0], "--data", &files[1], "--samples", "16", "--json"];
    let model = model(&data, MINILM);
    let args = [&["eval", &model, "--uniform", "W8A16"][..], &data_flags, &eval_flags].concat();
    let sqnr_db = json(&args)["quantized"]["sqnr_db"].as_f64().unwrap();
    // 41 dB without the mask, less than 5 with it.
    assert!(sqnr_db > 30., "{sqnr_db}");
}
