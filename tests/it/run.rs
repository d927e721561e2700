//! The real binary, run in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) const MODEL: &str = "examples/digits/model.onnx";
pub(crate) const CALIB: &str = "examples/digits/calib";
pub(crate) const VAL: &str = "examples/digits/val";
pub(crate) const LABELS: &str = "examples/digits/val/labels.csv";

/// A folder that arguments name `TMP`; so do the outputs.
pub(crate) struct Sandbox(tempfile::TempDir);

/// What a run came to.
#[derive(Debug, PartialEq)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Sandbox {
        Sandbox(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Folders on the way are made.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Runs `mpq` at the root of the project.
    pub(crate) fn mpq(&self, args: &[&str]) -> Ran {
        self.run(args, Stdio::null())
    }

    /// The same, which reads a file of the sandbox on stdin.
    pub(crate) fn mpq_reading(&self, name: &str, args: &[&str]) -> Ran {
        self.run(args, Stdio::from(fs::File::open(self.path(name)).unwrap()))
    }

    fn run(&self, args: &[&str], stdin: Stdio) -> Ran {
        let root = self.0.path().to_str().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_mpq"))
            .args(args.iter().map(|arg| arg.replace("TMP", root)))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("MPQ_CACHE", "")
            .stdin(stdin)
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(root, "TMP");
        Ran {
            code: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: without_progress(&text(output.stderr)),
        }
    }

    /// Runs a command line that is to fail: nothing on stdout, no file made or changed. What it says
    /// on stderr, and its exit code.
    pub(crate) fn refused(&self, line: &str) -> String {
        let before = files(self.0.path());
        let args: Vec<&str> = line.split(' ').collect();
        let ran = self.mpq(&args);
        assert_eq!(ran.stdout, "", "{line}");
        assert_eq!(files(self.0.path()), before, "{line}");
        assert_ne!(ran.code, 0, "{line}");
        format!("$ mpq {line}\n{}exit {}\n", ran.stderr, ran.code)
    }

    /// All of [`Sandbox::refused`], one after the other.
    pub(crate) fn transcript(&self, lines: &[&str]) -> String {
        lines.iter().map(|line| self.refused(line)).collect::<Vec<_>>().join("\n")
    }
}

/// Every file below a folder with its contents.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// Decibels without their digits, which differ between machines in the last place.
pub(crate) fn without_decibels(text: &str) -> String {
    without(text, "dB")
}

/// Numbers of a unit without their digits.
pub(crate) fn without(text: &str, unit: &str) -> String {
    let words = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let has_unit = |at: usize| words.get(at + 1) == Some(&unit);
        let mask = |(at, word): (usize, &&str)| match has_unit(at) {
            true => "*".repeat(word.len()),
            false => (*word).to_owned(),
        };
        words.iter().enumerate().map(mask).collect::<Vec<_>>().join(" ")
    };
    text.lines().map(|line| words(line) + "\n").collect()
}

/// Without lines such as `Sensitivity: 78 of 165 (47 %), 26 s left`, which a slow machine gets.
fn without_progress(stderr: &str) -> String {
    let is_progress = |line: &str| {
        let count = line.split_once(": ").and_then(|(_, rest)| rest.split_once(" of "));
        let rest = count.filter(|(done, _)| done.parse::<u64>().is_ok()).map(|(_, rest)| rest);
        rest.is_some_and(|rest| rest.contains(" %)"))
    };
    stderr.split_inclusive('\n').filter(|line| !is_progress(line)).collect()
}
