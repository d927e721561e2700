//! `mpq ops`, `mpq schema`, `mpq completions`, `mpq man`.

use mpq::artifact::SCHEMAS;
use mpq::ops;
use serde_json::Value;

use crate::run::Sandbox;

#[test]
fn operators() {
    let sandbox = Sandbox::new();
    let [text, markdown, json] = ["text", "markdown", "json"].map(|format| {
        let ran = sandbox.mpq(&["ops", "--format", format]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        ran.stdout
    });
    assert_eq!(sandbox.mpq(&["ops"]).stdout, text);
    let json: Value = serde_json::from_str(&json).unwrap();
    let operators = json["operators"].as_array().unwrap();
    let found = |def: &ops::OpDef| {
        let is = |row: &&Value| {
            row["name"] == def.name && (row["domain"] == "ai.onnx") == def.domain.is_empty()
        };
        let row = operators.iter().find(is).unwrap();
        row["since"].as_array().unwrap().contains(&Value::from(def.since))
    };
    assert!(ops::all().all(found));
    assert!(text.lines().any(|line| line.starts_with("ai.onnx") && line.contains("  Conv  ")));
    assert!(markdown.contains("| ai.onnx | Conv | "));
    for lines in [text.lines().count() - 1, markdown.lines().count() - 2] {
        assert_eq!(lines, operators.len());
    }
}

#[test]
fn schemas() {
    let sandbox = Sandbox::new();
    for (name, schema) in SCHEMAS {
        let ran = sandbox.mpq(&["schema", name]);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, *schema));
    }
    let refused = sandbox.refused("schema toaster");
    assert!(
        refused.contains("[possible values: config, sensitivity, part, ranges, rounding, rounding-part, eval, target]"),
        "{refused}"
    );
}

#[test]
fn completions() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = sandbox.mpq(&["completions", shell]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        assert!(ran.stdout.contains("sensitivity"), "{shell}");
    }
}

#[test]
fn manual_pages() {
    let sandbox = Sandbox::new();
    let whole = sandbox.mpq(&["man"]);
    assert_eq!((whole.code, whole.stderr.as_str()), (0, ""));
    assert!(whole.stdout.contains(".TH mpq 1"), "{}", whole.stdout);
    let one = sandbox.mpq(&["man", "search"]);
    assert_eq!((one.code, one.stderr.as_str()), (0, ""));
    assert!(one.stdout.contains(".TH mpq-search 1") && one.stdout.contains("\\-\\-budget"));

    assert_eq!(sandbox.mpq(&["man", "-o", "TMP/share/man1"]).code, 0);
    let read = |name: &str| std::fs::read_to_string(sandbox.path("share/man1").join(name)).unwrap();
    assert_eq!((read("mpq.1"), read("mpq-search.1")), (whole.stdout, one.stdout));
    let refused = sandbox.refused("man toaster");
    assert!(refused.contains("error: command is `toaster`, expected one of search, "), "{refused}");
}
