//! How far work is: `mpq merge --status`, and progress as JSON.

use std::time::{SystemTime, UNIX_EPOCH};

use expect_test::expect;
use serde_json::{Value, json};

use crate::run::{CALIB, MODEL, Sandbox};

fn seconds_ago(seconds: f64) -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() - seconds
}

#[test]
fn shards_are_done_running_or_stale() {
    let sandbox = Sandbox::new();
    let beat = |index: u64, time: f64| {
        json!({
            "schema": "mpq/progress/1", "shard": { "index": index, "count": 5 },
            "phase": "Sensitivity", "done": 40, "total": 160, "left_s": 300.0,
            "host": "node7", "pid": 4711, "time": time
        })
    };
    sandbox.write("parts/2.json.progress", beat(2, seconds_ago(5.)).to_string());
    sandbox.write("parts/1.json.progress", beat(1, seconds_ago(6600.)).to_string());
    sandbox.write("parts/notes.txt", "not a part");
    let sensitivity = format!("sensitivity {MODEL} --calib {CALIB} --samples 2 -q --shard");
    for index in [0, 3] {
        let line = format!("{sensitivity} {index}/5 -o TMP/parts/{index}.json");
        assert_eq!(sandbox.mpq(&line.split(' ').collect::<Vec<_>>()).code, 0);
    }
    // Of a run that was started again after its part was there.
    sandbox.write("parts/3.json.progress", beat(3, seconds_ago(5.)).to_string());
    let ran = sandbox.mpq(&["merge", "--status", "TMP/parts"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    expect![[r#"
        2 of 5 shards done, 1 running, 1 stale, 1 not begun
        1/5 stale on node7, process 4711, Sensitivity 40 of 160, silent for 110 min
        2/5 running on node7, process 4711, Sensitivity 40 of 160, 5 min left
    "#]]
    .assert_eq(&ran.stdout);
    for index in [1, 2, 4] {
        let line = format!("{sensitivity} {index}/5 -o TMP/parts/{index}.json");
        assert_eq!(sandbox.mpq(&line.split(' ').collect::<Vec<_>>()).code, 0);
    }
    let ran = sandbox.mpq(&["merge", "--status", "TMP/parts"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "5 of 5 shards done, 0 running, 0 stale\n"));

    sandbox.write("parts/6.json.progress", beat(4, 0.).to_string().replace("5}", "6}"));
    sandbox.write("empty/notes.txt", "");
    expect![[r#"
        $ mpq merge --status TMP/parts
        error: `TMP/parts` has parts of 5 shards and of others, expected those of one run
        exit 2

        $ mpq merge --status TMP/empty
        error: `TMP/empty` has no parts
        exit 2

        $ mpq merge --status TMP/none
        error: cannot read `TMP/none`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq merge --status TMP/parts TMP/parts/0.json
        error: the argument '--status <DIR>' cannot be used with '[PART]...'

        Usage: mpq merge --status <DIR> [PART]...

        For more information, try '--help'.
        exit 2
    "#]]
    .assert_eq(&sandbox.transcript(&[
        "merge --status TMP/parts",
        "merge --status TMP/empty",
        "merge --status TMP/none",
        "merge --status TMP/parts TMP/parts/0.json",
    ]));
}

#[test]
fn progress_and_messages_are_objects_a_line() {
    let sandbox = Sandbox::new();
    let line = format!("sensitivity {MODEL} --calib noise --samples 3 --json-log -o TMP/s.json");
    let ran = sandbox.mpq(&line.split(' ').collect::<Vec<_>>());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let lines = ran.stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    assert!(lines.iter().all(|line| line["time"].as_f64().unwrap() > 1.7e9));
    let told = lines.iter().map(|line| match line["event"].as_str().unwrap() {
        "progress" => format!("{} {} of {}", line["phase"], line["done"], line["total"]),
        event => format!("{event}: {}", line["text"].as_str().unwrap().lines().next().unwrap()),
    });
    expect![[r#"
        warning: calibrating on noise: ranges and sensitivities are not those of real data
        "Calibration" 0 of 3
        "Calibration" 3 of 3
        "Sensitivity" 0 of 300
        "Sensitivity" 300 of 300
        summary: 3 calibration samples
        summary: 35 groups, 99 measurements"#]]
    .assert_eq(&told.collect::<Vec<_>>().join("\n"));

    let ran = sandbox.mpq(&["sensitivity", "none.onnx", "--calib", "noise", "--json-log"]);
    assert_eq!(ran.code, 2);
    let line: Value = serde_json::from_str(ran.stderr.trim()).unwrap();
    assert_eq!(line["event"], "error");
}
