//! The transcripts of the README and the guide, and the table of operators, are what the commands print,
//! decibels apart, and the table of golden numbers is that of their files; `UPDATE_EXPECT=1` rewrites
//! them. Its two set-up commands are run by a new user and by CI.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::run::{Sandbox, without_decibels};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide.md");

#[test]
fn transcripts_are_real() {
    check_transcripts(README, 5);
}

#[test]
fn transcripts_of_the_guide_are_real() {
    check_transcripts(GUIDE, 3);
}

fn check_transcripts(path: &str, n_expected: usize) {
    let text = fs::read_to_string(path).unwrap();
    let sandbox = Sandbox::new();
    let mut written = String::new();
    let mut in_transcript = false;
    let mut n_commands = 0;
    for line in text.lines() {
        let is_fence = line.starts_with("```");
        in_transcript = (in_transcript && !is_fence) || line == "```console";
        let command = line.strip_prefix("$ mpq ").filter(|_| in_transcript);
        if !in_transcript || command.is_some() || is_fence {
            written += line;
            written += "\n";
        }
        let Some(command) = command else { continue };
        n_commands += 1;
        let inside = command.replace("config.json", "TMP/config.json");
        let ran = sandbox.mpq(&inside.split(' ').collect::<Vec<_>>());
        assert_eq!(ran.code, 0, "{command}\n{}", ran.stderr);
        written += &(ran.stderr + &ran.stdout).replace("TMP/", "");
    }
    assert_eq!(n_commands, n_expected, "commands in {path}");
    if without_decibels(&text) != without_decibels(&written) {
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(path, &written).unwrap();
        } else {
            panic!("the transcripts of {path} should be:\n{written}");
        }
    }
}

#[test]
fn operators_are_those_of_the_table() {
    check_part("operators", &Sandbox::new().mpq(&["ops", "--format", "markdown"]).stdout);
}

#[test]
fn golden_numbers_are_those_of_the_table() {
    let folder = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).unwrap();
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let rows: String = paths.iter().map(|path| golden_row(path)).collect();
    check_part("golden", &format!("{GOLDEN_HEAD}{rows}"));
}

const GOLDEN_HEAD: &str = "\
| network | groups | choices | MACs in millions | W8A16 | W8A8 | W4A8 | knapsack at 0.5 | at 0.35 |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

fn golden_row(path: &Path) -> String {
    let golden: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let list = |key: &str| golden[key].as_array().unwrap().iter();
    let sqnrs = |key: &str, what: &str, expected: &[&str]| -> Vec<String> {
        assert_eq!(list(key).map(|found| &found[what]).collect::<Vec<_>>(), expected);
        let sqnr = |found: &Value| format!("{:.2}", found["sqnr_db_of_whole"].as_f64().unwrap());
        list(key).map(sqnr).collect()
    };
    let n_choices: usize = list("groups").map(|g| g["sqnr_db"].as_object().unwrap().len()).sum();
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let macs = golden["macs"].as_u64().unwrap() as f64 / 1e6;
    let counts = [name, list("groups").len().to_string(), n_choices.to_string()];
    let uniform = sqnrs("uniform", "candidate", &["W8A16", "W8A8", "W4A8"]);
    let mixed = sqnrs("configurations", "budget", &["0.5", "0.35"]);
    let cells = [&counts[..], &[format!("{macs:.1}")], &uniform, &mixed].concat();
    format!("| {} |\n", cells.join(" | "))
}

/// What stands in the README between two comments with a name is what it should be.
fn check_part(name: &str, expected: &str) {
    let [begin, end] = ["", "/"].map(|slash| format!("<!-- {slash}{name} -->\n"));
    let readme = fs::read_to_string(README).unwrap();
    let (before, rest) = readme.split_once(&begin).unwrap();
    let (found, after) = rest.split_once(&end).unwrap();
    let expected = format!("\n{expected}\n");
    if found != expected {
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(README, [before, &begin, &expected, &end, after].concat()).unwrap();
        } else {
            panic!("the README's part `{name}` should be:\n{expected}");
        }
    }
}

/// The blocks of the section on deployment, run as they stand beside the digits.
#[cfg(unix)]
mod deployment {
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::{README, Sandbox, fs};

    /// The first block of a language below the heading.
    fn block(language: &str) -> String {
        let readme = fs::read_to_string(README).unwrap();
        let (_, section) = readme.split_once("\n## Deploy\n").unwrap();
        let (_, rest) = section.split_once(&format!("\n```{language}\n")).unwrap();
        rest.split_once("```").unwrap().0.to_owned()
    }

    fn beside_the_digits() -> Sandbox {
        let sandbox = Sandbox::new();
        let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits");
        for name in ["model.onnx", "val"] {
            symlink(digits.join(name), sandbox.path(name)).unwrap();
        }
        fs::create_dir(sandbox.path("calib")).unwrap();
        let calib = fs::read_dir(digits.join("calib")).unwrap().map(|entry| entry.unwrap());
        for image in calib.take(12) {
            let name = image.file_name().into_string().unwrap();
            symlink(image.path(), sandbox.path("calib").join(name)).unwrap();
        }
        sandbox
    }

    fn run(sandbox: &Sandbox, program: &str, args: &[&str]) {
        let bin = Path::new(env!("CARGO_BIN_EXE_mpq")).parent().unwrap().display();
        let path = std::env::var("PATH").unwrap();
        let ran = Command::new(program)
            .args(args)
            .env("PATH", format!("{bin}:{path}"))
            .env("MPQ_CACHE", "")
            .current_dir(sandbox.path(""))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{program} {}\n{stderr}", args.join(" "));
    }

    #[test]
    fn in_a_shell() {
        let sandbox = beside_the_digits();
        run(&sandbox, "bash", &["-c", &block("sh")]);
        assert!(sandbox.read("model.encodings").contains("\"version\":\"1.0.0\""));
        assert!(sandbox.path("float.onnx").exists());
    }

    #[test]
    fn in_a_makefile() {
        let sandbox = beside_the_digits();
        sandbox.write("Makefile", block("make"));
        run(&sandbox, "make", &["--silent"]);
        for name in ["config.json", "model.qdq.onnx", "model.encodings", "model.float.onnx"] {
            assert!(sandbox.path(name).exists(), "{name}");
        }
    }

    #[test]
    fn in_a_ci_job() {
        let sandbox = beside_the_digits();
        let search = "search model.onnx --calib calib --budget 0.6 -o config.json";
        run(&sandbox, "mpq", &search.split(' ').collect::<Vec<_>>());
        let job = block("yaml");
        let lines: Vec<&str> =
            job.lines().filter_map(|line| line.trim().strip_prefix("- run: ")).collect();
        assert_eq!(lines.len(), 4);
        lines.iter().for_each(|line| run(&sandbox, "bash", &["-c", line]));
        assert!(sandbox.path("model.qdq.onnx").exists());
    }
}
