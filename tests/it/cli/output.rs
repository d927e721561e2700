//! Where results go, and what becomes of them when they cannot.

use std::process::{Command, Stdio};

use expect_test::expect;

use crate::run::{CALIB, MODEL, Sandbox};

#[test]
fn refusals() {
    let sandbox = Sandbox::new();
    sandbox.write("folder/file", "kept");
    let lines = ["TMP/none/s.json", "TMP/folder", "TMP/folder/file/s.json"]
        .map(|path| format!("sensitivity none.onnx --calib {CALIB} -o {path}"));
    expect![[r#"
        $ mpq sensitivity none.onnx --calib examples/digits/calib -o TMP/none/s.json
        error: cannot write `TMP/none/s.json`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq sensitivity none.onnx --calib examples/digits/calib -o TMP/folder
        error: cannot write `TMP/folder`
          caused by: is a directory
        exit 2

        $ mpq sensitivity none.onnx --calib examples/digits/calib -o TMP/folder/file/s.json
        error: cannot write `TMP/folder/file/s.json`
          caused by: Not a directory (os error 20)
        exit 2
    "#]]
    .assert_eq(&sandbox.transcript(&lines.each_ref().map(String::as_str)));
}

#[test]
fn what_is_there_stays_when_the_work_fails() {
    let sandbox = Sandbox::new();
    sandbox.write("s.json", "kept");
    sandbox.refused(&format!("sensitivity none.onnx --calib {CALIB} -o TMP/s.json"));
    assert_eq!(sandbox.read("s.json"), "kept");
}

#[test]
fn a_closed_stdout_is_quiet() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mpq"))
        .env("MPQ_CACHE", "")
        .args(["sensitivity", MODEL, "--calib", CALIB, "--samples", "1", "-q"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
