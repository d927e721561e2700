//! `mpq report`, and the report beside a search.

use std::process::{Command, Stdio};

use expect_test::expect;
use mpq::artifact::{Config, parse};

use crate::run::{CALIB, MODEL, Sandbox, without_decibels};

/// A result of the example, in `TMP/config.json`, and what the same run says with a report.
fn searched(report: &str) -> (Sandbox, Config) {
    let sandbox = Sandbox::new();
    let args = ["search", MODEL, "--calib", CALIB, "--samples", "2", "--budget", "0.6", "-q"];
    let ran = sandbox.mpq(&[&args[..], &["-o", "TMP/config.json", "--report", report]].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let config = parse("config.json", sandbox.read("config.json").as_bytes()).unwrap();
    (sandbox, config)
}

#[test]
fn one_page_with_all_in_it() {
    let (sandbox, config) = searched("TMP/report.html");
    let page = sandbox.read("report.html");
    for outside in ["http:", "https:", "<script src", "<link", "@import", "url(", "<img", "<iframe"]
    {
        assert!(!page.contains(outside), "{outside}");
    }
    for group in &config.groups {
        assert!(page.contains(&group.id), "{}", group.id);
    }
    for id in
        ["summary", "curve", "sensitivity", "bits", "cost", "groups", "conversions", "settings"]
    {
        assert!(page.contains(&format!("<section id=\"{id}\"")), "{id}");
    }
    let again = sandbox.mpq(&["report", "TMP/config.json"]);
    assert_eq!((again.code, again.stderr.as_str()), (0, ""));
    assert!(again.stdout == page, "`search --report` and `report` differ");
    let to_file =
        sandbox.mpq(&["report", "TMP/config.json", "-o", "TMP/again.htm", "--format", "html"]);
    assert_eq!((to_file.code, to_file.stdout.as_str()), (0, ""));
    assert!(sandbox.read("again.htm") == page);
}

#[test]
fn tables_and_pictures_of_a_part() {
    let (sandbox, config) = searched("TMP/report.md");
    assert!(sandbox.read("report.md").contains("| configuration | BOPs |"));

    let csv = sandbox.mpq(&["report", "TMP/config.json", "--format", "csv"]).stdout;
    let ids: Vec<&str> = csv.lines().skip(1).map(|row| row.split(',').nth(1).unwrap()).collect();
    let expected: Vec<&str> = config.groups.iter().map(|group| group.id.as_str()).collect();
    assert_eq!(ids, expected);

    let cost = sandbox.mpq(&["report", "TMP/config.json", "--format", "csv", "--part", "cost"]);
    let (head, last) = (cost.stdout.lines().next(), cost.stdout.lines().last());
    let expected =
        "number,group,candidate,macs,bops_before,bops_after,weight_bytes_before,weight_bytes_after";
    assert_eq!(head, Some(expected));
    let macs = config.cost.macs;
    let totals = format!(",all,,{macs},{},{},", macs * 8 * 16, config.cost.bops);
    assert!(last.unwrap().starts_with(&totals), "{last:?}");

    for (part, text) in [("curve", "point 1 of"), ("bits", ">weights</text>"), ("cost", "before")] {
        let path = format!("TMP/{part}.svg");
        let ran = sandbox.mpq(&["report", "TMP/config.json", "-o", &path, "--part", part]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let svg = sandbox.read(&format!("{part}.svg"));
        assert!(svg.starts_with("<svg xmlns=") && svg.contains(text), "{part}: {svg}");
    }
}

#[test]
fn the_parts_of_a_group_add_up() {
    let (sandbox, config) = searched("TMP/report.csv");
    let cost = sandbox.mpq(&["report", "TMP/config.json", "--format", "csv", "--part", "cost"]);
    let rows: Vec<Vec<&str>> =
        cost.stdout.lines().skip(1).map(|row| row.split(',').collect()).collect();
    let sum = |column: usize| {
        let groups = rows.iter().take(config.groups.len());
        groups.map(|row| row[column].parse::<u64>().unwrap()).sum::<u64>()
    };
    let all = rows.last().unwrap();
    assert_eq!(sum(5), config.cost.bops);
    for (column, total) in all.iter().enumerate().skip(4) {
        assert_eq!(sum(column).to_string(), *total, "column {column}");
    }
}

#[test]
fn stdin_is_a_file() {
    let (sandbox, _) = searched("TMP/report.csv");
    let mut child = Command::new(env!("CARGO_BIN_EXE_mpq"))
        .env("MPQ_CACHE", "")
        .args(["report", "-", "--format", "csv", "-o", "-"])
        .stdin(std::fs::File::open(sandbox.path("config.json")).unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut csv = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut csv).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(csv, sandbox.read("report.csv"));
}

#[test]
fn refusals() {
    let sandbox = Sandbox::new();
    sandbox.write("config.json", "{}");
    let search = format!("search {MODEL} --calib {CALIB} --budget 0.6 --report");
    let lines = [
        "report TMP/none.json",
        "report TMP/config.json",
        "report TMP/config.json --format pdf",
        "report TMP/config.json -o TMP/report.pdf",
        "report TMP/config.json -o TMP/report",
        "report TMP/config.json --part weights",
        "report TMP/config.json --format svg --part groups",
        "report TMP/config.json -o TMP/none/report.html",
        &format!("{search} TMP/report.txt"),
        &format!("{search} TMP/none/report.html"),
    ];
    expect![[r#"
        $ mpq report TMP/none.json
        error: cannot read `TMP/none.json`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq report TMP/config.json
        error: `TMP/config.json` has no `schema` key, expected `mpq/config/1`
        exit 2

        $ mpq report TMP/config.json --format pdf
        error: invalid value 'pdf' for '--format <FORMAT>': format is `pdf`, expected `html`, `svg`, `markdown`, `csv`

        For more information, try '--help'.
        exit 2

        $ mpq report TMP/config.json -o TMP/report.pdf
        error: report `TMP/report.pdf` has extension `pdf`, expected `html`, `svg`, `md`, `csv`
        hint: say what it is with --format
        exit 2

        $ mpq report TMP/config.json -o TMP/report
        error: report `TMP/report` has extension ``, expected `html`, `svg`, `md`, `csv`
        hint: say what it is with --format
        exit 2

        $ mpq report TMP/config.json --part weights
        error: invalid value 'weights' for '--part <NAME>': part is `weights`, expected `summary`, `curve`, `sensitivity`, `bits`, `cost`, `groups`, `conversions`, `settings`

        For more information, try '--help'.
        exit 2

        $ mpq report TMP/config.json --format svg --part groups
        error: part `groups` has no picture, expected `curve`, `sensitivity`, `bits`, `cost` for `svg`
        exit 2

        $ mpq report TMP/config.json -o TMP/none/report.html
        error: cannot write `TMP/none/report.html`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --budget 0.6 --report TMP/report.txt
        error: report `TMP/report.txt` has extension `txt`, expected `html`, `svg`, `md`, `csv`
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --budget 0.6 --report TMP/none/report.html
        error: cannot write `TMP/none/report.html`
          caused by: No such file or directory (os error 2)
        exit 2
    "#]].assert_eq(&sandbox.transcript(&lines));
}

#[test]
fn nothing_is_written_where_nothing_is_found() {
    let sandbox = Sandbox::new();
    let line = format!(
        "search {MODEL} --calib {CALIB} --samples 1 --budget 0.01 -q --report TMP/report.html"
    );
    let text = sandbox.refused(&line);
    assert!(without_decibels(&text).ends_with("exit 1\n"), "{text}");
}
