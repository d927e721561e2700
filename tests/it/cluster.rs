//! The plain-shell example on two machines that are one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::run::Sandbox;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/cluster/shell.sh");

fn machine(sandbox: &Sandbox) -> Child {
    let bin = Path::new(env!("CARGO_BIN_EXE_mpq")).parent().unwrap().display();
    let path = std::env::var("PATH").unwrap();
    Command::new(EXAMPLE)
        .envs([("MODEL", "model.onnx"), ("CALIB", "calib"), ("SHARDS", "5")])
        .env("FLAGS", "--candidates W4A8,W8A8 --samples 8 --quiet")
        .env("PATH", format!("{bin}:{path}"))
        .current_dir(sandbox.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn machines_share_the_shards_and_come_to_what_one_does() {
    let sandbox = Sandbox::new();
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits");
    for name in ["model.onnx", "calib"] {
        symlink(digits.join(name), sandbox.path(name)).unwrap();
    }
    let machines = [machine(&sandbox), machine(&sandbox)];
    for machine in machines {
        let output = machine.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
    }
    let line = "sensitivity TMP/model.onnx --calib TMP/calib --candidates W4A8,W8A8 --samples 8 -q";
    let whole = sandbox.mpq(&line.split(' ').collect::<Vec<_>>());
    assert!(whole.stdout == sandbox.read("sensitivity.json"));
    assert!(fs::metadata(sandbox.path("config.json")).is_ok());
}
