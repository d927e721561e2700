//! Runs that are stopped, in whatever way and at whatever moment, and go on.

#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::run::{CALIB, MODEL, Sandbox, VAL};

/// How many kills there are; `MPQ_KILLS` sets another number.
const KILLS: usize = 24;

fn spawn(sandbox: &Sandbox, line: &str) -> Child {
    let root = sandbox.path("");
    let line = line.replace("TMP/", root.to_str().unwrap());
    let line = line.replace("MODEL", MODEL).replace("CALIB", CALIB).replace("VAL", VAL);
    let mut mpq = Command::new(env!("CARGO_BIN_EXE_mpq"));
    mpq.args(line.split(' ')).current_dir(env!("CARGO_MANIFEST_DIR"));
    mpq.env("MPQ_CACHE", "").env("TMPDIR", root.join("tmp"));
    mpq.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Numbers in [0, 1).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1_u64 << 31) as f64
    }
}

/// What a search writes after any number of kills, two runs at once among them, is what an undisturbed
/// one writes.
#[test]
fn killed_at_any_moment_the_bytes_are_the_same() {
    let sandbox = Sandbox::new();
    let line = "search MODEL --calib CALIB --samples 12 --min-sqnr 30 --rounding gptq -q";
    let start = Instant::now();
    let plain = spawn(&sandbox, line).wait_with_output().unwrap();
    let whole = start.elapsed();
    assert!(plain.status.success());

    let kills = std::env::var("MPQ_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let (mut random, mut n_killed, mut n_done) = (Random(1), 0, 0);
    while n_killed < kills {
        let n_at_once = if random.next() < 0.3 { 2 } else { 1 };
        let cached = format!("{line} --cache TMP/cache");
        let runs: Vec<Child> = (0..n_at_once).map(|_| spawn(&sandbox, &cached)).collect();
        sleep(whole.mul_f64(random.next() * 0.8));
        for mut run in runs {
            if run.try_wait().unwrap().is_none() {
                run.kill().unwrap();
                n_killed += 1;
            }
            let ran = run.wait_with_output().unwrap();
            if ran.status.success() {
                assert!(ran.stdout == plain.stdout, "after {n_killed} kills");
                n_done += 1;
            }
        }
        if n_done == 3 {
            fs::remove_dir_all(sandbox.path("cache")).unwrap();
            n_done = 0;
        }
    }
    let last = spawn(&sandbox, &format!("{line} --cache TMP/cache")).wait_with_output().unwrap();
    assert!(last.status.success() && last.stdout == plain.stdout);
    assert_eq!(String::from_utf8(last.stderr).unwrap(), "");
}

/// Waits until `path` has `n` files.
fn wait_for(path: &Path, n: usize) {
    let start = Instant::now();
    while fs::read_dir(path).map_or(0, Iterator::count) < n {
        assert!(start.elapsed() < Duration::from_secs(120), "no {n} files in {}", path.display());
        sleep(Duration::from_millis(5));
    }
}

/// Its exit code and what it said.
fn stopped(run: Child, signal: &str) -> (i32, String) {
    let kill = Command::new("kill").args([signal, &run.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let ran = run.wait_with_output().unwrap();
    assert!(ran.stdout.is_empty());
    (ran.status.code().unwrap(), String::from_utf8(ran.stderr).unwrap())
}

#[test]
fn signals_are_told_and_leave_nothing_but_the_cache() {
    for (signal, code, word) in [("-INT", 130, "interrupted"), ("-TERM", 143, "terminated")] {
        let sandbox = Sandbox::new();
        let line = "sensitivity MODEL --calib CALIB --cache TMP/cache -o TMP/s.json";
        let run = spawn(&sandbox, line);
        // Encodings, and the first measurements.
        wait_for(&sandbox.path("cache"), 2);
        let (found, said) = stopped(run, signal);
        assert_eq!(found, code, "{said}");
        let place = said.strip_prefix(&format!("{word} in ")).unwrap_or_else(|| panic!("{said}"));
        let cure = "; run the same command again to go on from there\n";
        let place: Vec<&str> = place.strip_suffix(cure).unwrap().split(' ').collect();
        let [phase, "at", over, "of", total] = place[..] else { panic!("{said}") };
        let [over, total] = [over, total].map(|n| n.parse::<u64>().unwrap());
        assert!(phase == "Sensitivity" && over < total, "{said}");
        let left: Vec<_> = fs::read_dir(sandbox.path("")).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}

/// The folder that a user's command gets its files in is removed as well.
#[test]
fn signals_leave_no_temporary_files() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("tmp")).unwrap();
    let line = "eval MODEL --data VAL --samples 2 --uniform W8A8 --calib CALIB --metric";
    let root = sandbox.path("");
    let mut mpq = Command::new(env!("CARGO_BIN_EXE_mpq"));
    let line = line.replace("MODEL", MODEL).replace("CALIB", CALIB).replace("VAL", VAL);
    mpq.args(line.split(' ')).arg("command:sleep 1; echo 1 #").env("MPQ_CACHE", "");
    mpq.current_dir(env!("CARGO_MANIFEST_DIR")).env("TMPDIR", root.join("tmp"));
    let mpq = mpq.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = mpq.spawn().unwrap();
    wait_for(&sandbox.path("tmp"), 1);
    let (code, said) = stopped(run, "-INT");
    assert_eq!(code, 130, "{said}");
    assert!(said.starts_with("interrupted") && !said.contains("go on"), "{said}");
    assert_eq!(fs::read_dir(sandbox.path("tmp")).unwrap().count(), 0);
}
