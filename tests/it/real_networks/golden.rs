//! Numbers that stay right: Phase 1 and configurations of the seven networks beside `tests/golden`.
//!
//! MACs, BOPs, groups and candidates are exact, single SQNRs within 0.01 dB, those of whole
//! configurations within 0.1 dB. `UPDATE_EXPECT=1` writes the files anew; what changed is then to be
//! explained by the commit that does it.

use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::{MINILM, NETWORKS, Network, RESNET, VIT, in_data, list, model};
use crate::run::Sandbox;
use crate::test_data::test_data;

const BUDGETS: [&str; 2] = ["0.5", "0.35"];

/// Calibration inputs, and how many of them: few, as the time is for all networks together.
fn calibration(network: &Network) -> (&'static [&'static str], &'static str) {
    match network.name {
        RESNET => (&["DATA/cifar10/calib"], "32"),
        MINILM => {
            (&["input_ids=DATA/sst2/calib_ids.npy", "attention_mask=DATA/sst2/calib_mask.npy"], "4")
        }
        VIT => (&["DATA/imagenet/calib"], "2"),
        "mobilenet_v3_textdir" => (&["DATA/textdir/calib"], "16"),
        "deeplabv3_mnv2_257" => (&["DATA/camvid/calib"], "2"),
        _ => (&["DATA/imagenet/calib"], "4"),
    }
}

#[test]
fn numbers_stay() {
    let Some(data) = test_data("real_networks::golden::numbers_stay") else { return };
    let mut wrong = Vec::new();
    for network in &NETWORKS {
        let found = measured(&data, network);
        let path = golden(network.name);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&path, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
            continue;
        }
        let golden = fs::read_to_string(&path).unwrap();
        let golden: Value = serde_json::from_str(&golden).unwrap();
        compare(network.name, &golden, &found, &mut wrong);
    }
    assert!(
        wrong.is_empty(),
        "{} numbers are not as they were:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn golden(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    folder.join(name).with_extension("json")
}

fn measured(data: &std::path::Path, network: &Network) -> Value {
    let (calib, samples) = calibration(network);
    let model = model(data, network.name);
    let calib: Vec<String> = calib.iter().map(|path| in_data(data, path)).collect();
    let calib: Vec<&str> = calib.iter().flat_map(|path| ["--calib", path]).collect();
    let shared = [&["--samples", samples][..], &calib, network.flags].concat();
    let sandbox = Sandbox::new();
    let run = |args: &[&str], file: &str| -> Value {
        let ran = sandbox.mpq(&[args, &["-q", "-o", &format!("TMP/{file}")], &shared].concat());
        assert_eq!(ran.code, 0, "{}: {}", network.name, ran.stderr);
        serde_json::from_str(&sandbox.read(file)).unwrap()
    };
    let list_file = run(&["sensitivity", &model], "s.json");
    let search = ["search", &model, "--sensitivity", "TMP/s.json", "--strategy", "knapsack"];
    let configurations = BUDGETS.map(|budget| {
        let config = run(&[&search[..], &["--budget", budget]].concat(), "c.json");
        configuration(budget, &config)
    });
    let config: Value = serde_json::from_str(&sandbox.read("c.json")).unwrap();
    json!({
        "macs": config["cost"]["macs"],
        "uniform": list(&config, "baselines").iter().map(uniform).collect::<Vec<_>>(),
        "configurations": configurations,
        "groups": list(&list_file, "groups").iter().map(group).collect::<Vec<_>>(),
    })
}

fn uniform(baseline: &Value) -> Value {
    json!({
        "candidate": baseline["candidate"],
        "bops": baseline["cost"]["bops"],
        "weight_bytes": baseline["cost"]["weight_bytes"],
        "sqnr_db_of_whole": baseline["quality"]["sqnr_db"],
    })
}

fn configuration(budget: &str, config: &Value) -> Value {
    json!({
        "budget": budget,
        "bops": config["cost"]["bops"],
        "sqnr_db_of_whole": config["quality"]["sqnr_db"],
    })
}

fn group(group: &Value) -> Value {
    let choice = |choice: &Value| {
        (choice["candidate"].as_str().unwrap().to_owned(), choice["sqnr_db"].clone())
    };
    json!({
        "id": group["id"],
        "macs": group["macs"],
        "sqnr_db": list(group, "choices").iter().map(choice).collect::<Map<_, _>>(),
    })
}

/// Adds what differs by more than it may to `wrong`.
fn compare(at: &str, golden: &Value, found: &Value, wrong: &mut Vec<String>) {
    match (golden, found) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            for (key, golden) in a {
                compare(&format!("{at}.{key}"), golden, &b[key], wrong);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (golden, found)) in a.iter().zip(b).enumerate() {
                let name = golden["id"].as_str().map_or(index.to_string(), str::to_owned);
                compare(&format!("{at}[{name}]"), golden, found, wrong);
            }
        }
        (Value::Number(a), Value::Number(b)) if at.contains("sqnr_db") => {
            let most = if at.ends_with("_of_whole") { 0.1 } else { 0.01 };
            let off = (a.as_f64().unwrap() - b.as_f64().unwrap()).abs();
            if most < off {
                wrong.push(format!("{at} is {b} dB, was {a} dB"));
            }
        }
        _ if golden == found => {}
        _ => wrong.push(format!("{at} is {found}, was {golden}")),
    }
}
