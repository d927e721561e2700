//! Quality goals of `mpq search`.

use expect_test::expect;
use mpq::artifact::{Config, parse};

use crate::run::{CALIB, LABELS, MODEL, Ran, Sandbox, VAL, without_decibels};

const SEARCH: &[&str] = &["search", MODEL, "--calib", CALIB, "--samples", "12"];

fn search(sandbox: &Sandbox, more: &str) -> Ran {
    sandbox.mpq(&[SEARCH, &more.split(' ').collect::<Vec<_>>()].concat())
}

fn config(ran: &Ran) -> Config {
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    parse("stdout", ran.stdout.as_bytes()).unwrap()
}

#[test]
fn every_probe_finds_a_point_on_the_edge() {
    let sandbox = Sandbox::new();
    for strategy in ["pareto", "knapsack"] {
        for probe in ["sequential", "binary", "interpolation", "hybrid"] {
            let flags = format!("--min-sqnr 25 --probe {probe} --strategy {strategy}");
            let config = config(&search(&sandbox, &flags));
            let at = usize::try_from(config.chosen_point.unwrap()).unwrap();
            let sqnr = |at: usize| config.curve[at].measured.as_ref().unwrap().sqnr_db.unwrap();
            assert!(sqnr(at + 1) < 25. && 25. <= sqnr(at), "{flags}");
            assert_eq!(config.quality.sqnr_db, Some(sqnr(at)), "{flags}");
            assert_eq!(config.settings.probe.as_deref(), Some(probe));
            let expected = if probe == "sequential" { at as u64 + 2 } else { 4 };
            let found = config.goal.evaluations;
            assert!(found == expected || (probe == "binary" && found <= 9), "{flags}: {found}");
            assert_eq!(config.goal.requested[0].metric, "sqnr_db");
            assert_eq!(config.goal.requested[0].absolute, Some(25.));
            assert_eq!(config.goal.achieved[0].absolute, config.quality.sqnr_db);
        }
    }
}

#[test]
fn the_summary_tells_both_sides_of_the_goal() {
    let sandbox = Sandbox::new();
    let ran = search(&sandbox, "--min-sqnr 25 -o TMP/c.json");
    expect![[r#"
        12 calibration samples; by default --preprocess unit --resize 9 --crop 8
                BOPs  of W8A8   weights      SQNR  predicted
        W8A16  1.000    2.000  57.3 KiB  ***** dB   ***** dB
        W8A8   0.500    1.000  57.3 KiB  ***** dB   ***** dB
        W4A8   0.250    0.500  31.8 KiB  ***** dB   ***** dB
        mpq    0.315    0.630  39.4 KiB  ***** dB   ***** dB
        goal: an SQNR of at least 25.00 dB; probe hybrid measured 4 configurations
        point 55 of 64 meets it with ***** dB and the cheaper point 56 misses it with ***** dB
        35 groups: 9 at W8A8, 20 at W4A8, 6 at A8
        0 conversions
        next: mpq eval examples/digits/model.onnx --config TMP/c.json --data PATH --labels FILE
    "#]]
    .assert_eq(&without_decibels(&ran.stderr));
    let ran = search(&sandbox, "--min-sqnr -5 --budget 0.5 -o TMP/c.json");
    expect![[r#"
        12 calibration samples; by default --preprocess unit --resize 9 --crop 8
                BOPs  of W8A8   weights      SQNR  predicted
        W8A16  1.000    2.000  57.3 KiB  ***** dB   ***** dB
        W8A8   0.500    1.000  57.3 KiB  ***** dB   ***** dB
        W4A8   0.250    0.500  31.8 KiB  ***** dB   ***** dB
        mpq    0.250    0.500  31.8 KiB  ***** dB   ***** dB
        goal: an SQNR of at least -5.00 dB; probe hybrid measured 2 configurations
        point 64, the cheapest, meets it already with ***** dB
        35 groups: 29 at W4A8, 6 at A8
        0 conversions
        next: mpq eval examples/digits/model.onnx --config TMP/c.json --data PATH --labels FILE
    "#]]
    .assert_eq(&without_decibels(&ran.stderr));
}

#[test]
fn metrics_count_as_eval_counts_them() {
    let sandbox = Sandbox::new();
    let flags = format!(
        "--max-drop 0 --val {VAL} --labels {LABELS} --candidates W8A8,W3A8,W2A8 -o TMP/c.json"
    );
    let ran = search(&sandbox, &flags);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    expect![[r#"
        12 calibration samples; by default --preprocess unit --resize 9 --crop 8
               BOPs  of W8A8   weights      SQNR  predicted     top1
        W8A8  1.000    1.000  57.3 KiB  ***** dB   ***** dB  98.60 %
        W3A8  0.375    0.375  25.4 KiB   **** dB    **** dB  96.80 %
        W2A8  0.250    0.250  19.0 KiB  ***** dB   ***** dB  10.60 %
        mpq   0.400    0.400  24.6 KiB  ***** dB   ***** dB  98.80 %
        goal: top1 at most 0.00 % below the 98.60 % of the float network; probe hybrid measured 9 configurations
        point 40 of 58 meets it with 98.80 % and the cheaper point 41 misses it with 98.40 %
        35 groups: 5 at W8A8, 8 at W3A8, 16 at W2A8, 6 at A8
        0 conversions
        next: mpq eval examples/digits/model.onnx --config TMP/c.json --data PATH --labels FILE
    "#]].assert_eq(&without_decibels(&ran.stderr));
    let config: Config = parse("c.json", sandbox.read("c.json").as_bytes()).unwrap();
    let at = usize::try_from(config.chosen_point.unwrap()).unwrap();
    let top1 =
        |at: usize| *config.curve[at].measured.as_ref().unwrap().metrics.get("top1").unwrap();
    let eval = ["eval", MODEL, "--config", "TMP/c.json", "--data", VAL, "--labels", LABELS];
    let eval = sandbox.mpq(&[&eval[..], &["--json"]].concat()).stdout;
    let eval: serde_json::Value = serde_json::from_str(&eval).unwrap();
    let [float, quantized] =
        ["float", "quantized"].map(|name| eval[name]["top1"].as_f64().unwrap());
    assert_eq!(top1(at), quantized);
    assert_eq!(config.quality.metrics.get("top1"), Some(&quantized));
    assert!(float <= top1(at) && top1(at + 1) < float);
    assert_eq!(config.goal.requested[0].metric, "top1_drop");
    assert!(config.baselines.iter().all(|baseline| baseline.quality.metrics.get("top1").is_some()));
}

#[test]
fn metrics_without_labels_and_metrics_beside_other_goals() {
    let sandbox = Sandbox::new();
    let flags = format!("--max-drop 1% --val {VAL} --metric agreement --candidates W8A8,W2A8");
    let agreed = config(&search(&sandbox, &flags));
    assert!(0.99 - 1e-9 <= *agreed.quality.metrics.get("agreement").unwrap());
    let flags = format!("--budget 0.6 --val {VAL} --labels {LABELS} --metric top1");
    let budgeted = config(&search(&sandbox, &flags));
    assert!(budgeted.quality.metrics.get("top1").is_some());
    assert_eq!((budgeted.settings.probe, budgeted.goal.evaluations), (None, 0));
}

#[test]
fn phase_2_alone_comes_to_the_same() {
    let sandbox = Sandbox::new();
    let whole = search(&sandbox, &format!("--max-drop 2% --val {VAL} --metric agreement"));
    assert_eq!(whole.code, 0, "{}", whole.stderr);
    let measure = ["sensitivity", MODEL, "--calib", CALIB, "--samples", "12", "-o", "TMP/s.json"];
    assert_eq!(sandbox.mpq(&measure).code, 0);
    let args = ["search", MODEL, "--sensitivity", "TMP/s.json", "--calib", CALIB];
    let goal = ["--max-drop", "2%", "--val", VAL, "--metric", "agreement"];
    let again = sandbox.mpq(&[&args[..], &goal].concat());
    assert_eq!(again.stdout, whole.stdout, "{}", again.stderr);

    let line = format!("search {MODEL} --sensitivity TMP/s.json");
    let lines = [
        format!("{line} --min-sqnr 20"),
        format!("{line} --max-drop 1% --val {VAL} --metric agreement"),
    ];
    expect![[r#"
        $ mpq search examples/digits/model.onnx --sensitivity TMP/s.json --min-sqnr 20
        error: `--min-sqnr` needs measuring, and there are no samples
        hint: give --calib
        exit 2

        $ mpq search examples/digits/model.onnx --sensitivity TMP/s.json --max-drop 1% --val examples/digits/val --metric agreement
        error: `--max-drop` needs measuring, and there are no samples
        hint: give --calib
        exit 2
    "#]].assert_eq(&sandbox.transcript(&lines.each_ref().map(String::as_str)));
}

#[test]
fn what_cannot_be_is_said() {
    let sandbox = Sandbox::new();
    let lines = [
        "--min-sqnr 99",
        "--min-sqnr 37 --budget 0.5",
        "--min-sqnr 1 --budget 0.1",
        "--max-drop 0 --val VAL --labels LABELS --metric top1 --candidates W2A2",
        "--min-sqnr 20 --strategy best",
        "--min-sqnr 20 --strategy knapsack --budget 0.5 --budget weights=0.9",
        "--min-sqnr 20 --probe guess",
        "--min-sqnr high",
        "--min-sqnr 20 --max-drop 1% --val VAL",
        "--budget 0.5 --probe binary",
        "--max-drop 1%",
        "--max-drop -1 --val VAL",
        "--max-drop 2 --val VAL --labels LABELS",
        "--max-drop 1% --val VAL",
        "--max-drop 1% --val VAL --metric psnr",
        "--max-drop 1% --val VAL --labels LABELS --metric top1 --metric top5",
        "--budget 0.5 --labels LABELS",
        "--budget 0.5 --val VAL",
        "--max-drop 1% --val none --metric agreement",
    ];
    let said = lines.map(|flags| {
        let line = format!("search {MODEL} --calib {CALIB} --samples 4 -q -o TMP/c.json {flags}");
        let refused = sandbox.refused(&line.replace("VAL", VAL).replace("LABELS", LABELS));
        // Of a usage error the rest is how to call it.
        let (error, exit) = refused.rsplit_once("exit ").unwrap();
        let error = error.lines().skip(1).take_while(|line| !line.is_empty());
        let error: String = error.map(|line| format!("  {line}\n")).collect();
        format!("{flags}\n{error}  exit {exit}")
    });
    expect![[r#"
        --min-sqnr 99
          an SQNR of at least ** dB cannot be reached: the most precise configuration has ***** dB
          exit 1

        --min-sqnr 37 --budget 0.5
          an SQNR of at least ** dB cannot be reached: the most precise configuration within the budgets has ***** dB
          exit 1

        --min-sqnr 1 --budget 0.1
          budget `bops=0.1` cannot be met, the least is `bops=0.25`
          exit 1

        --max-drop 0 --val VAL --labels LABELS --metric top1 --candidates W2A2
          `top1` at most 0 below the 0.986 of the float network cannot be reached: the most precise configuration has 0.124, 0.862 below
          exit 1

        --min-sqnr 20 --strategy best
          error: strategy `best` cannot serve a quality goal: it has no curve to step along, expected `pareto` or `knapsack`
          exit 2

        --min-sqnr 20 --strategy knapsack --budget 0.5 --budget weights=0.9
          error: strategy `knapsack` cannot serve a quality goal with budgets for `bops` and `weights`: its curve is that of one cost
          hint: use --strategy pareto, or budgets for one of them
          exit 2

        --min-sqnr 20 --probe guess
          error: invalid value 'guess' for '--probe <NAME>': probe is `guess`, expected `sequential`, `binary`, `interpolation`, `hybrid`
          exit 2

        --min-sqnr high
          error: invalid value 'high' for '--min-sqnr <DB>': found `high`, expected a number of decibels, such as 20
          exit 2

        --min-sqnr 20 --max-drop 1% --val VAL
          error: the argument '--min-sqnr <DB>' cannot be used with '--max-drop <X>'
          exit 2

        --budget 0.5 --probe binary
          error: `--probe` is given without `--min-sqnr` or `--max-drop`
          exit 2

        --max-drop 1%
          error: the following required arguments were not provided:
            --val <PATH>
          exit 2

        --max-drop -1 --val VAL
          error: invalid value '-1' for '--max-drop <X>': found `-1`, expected a number, at least 0, or a percentage, such as 0.01 or 1%
          exit 2

        --max-drop 2 --val VAL --labels LABELS
          error: `--max-drop` is 2, expected at most 1, as metric `top1` is a fraction
          hint: 1% is 0.01
          exit 2

        --max-drop 1% --val VAL
          error: metric `top1` compares with labels, and there are none
          hint: give --labels
          exit 2

        --max-drop 1% --val VAL --metric psnr
          error: `--max-drop` is a percentage, and metric `psnr` is no fraction
          hint: give a number in its unit
          exit 2

        --max-drop 1% --val VAL --labels LABELS --metric top1 --metric top5
          error: `--max-drop` is that of one metric, found `top1`, `top5`
          exit 2

        --budget 0.5 --labels LABELS
          error: `--labels` is given without `--val`
          exit 2

        --budget 0.5 --val VAL
          error: `--val` is given, and there is no metric
          hint: give --labels or --metric
          exit 2

        --max-drop 1% --val none --metric agreement
          error: cannot read `none`
            caused by: No such file or directory (os error 2)
          exit 2
    "#]].assert_eq(&without_decibels(&said.join("\n")));
}
