//! Command lines that cannot be meant.

use expect_test::expect;

use crate::run::{CALIB, MODEL, Sandbox};

/// The errors of flags that are wrong whatever the model is.
#[test]
fn flags() {
    let sandbox = Sandbox::new();
    let errors = [
        "",
        "--budget 0",
        "--budget -0.5",
        "--budget NaN",
        "--budget 60%",
        "--budget speed=2",
        "--budget weights=4",
        "--budget 1 --candidates W4A99",
        "--budget 1 --candidates W8A8,W8A8",
        "--budget 1 --range max",
        "--budget 1 --weights none",
        "--budget 1 --sqnr best",
        "--budget 1 --strategy guess",
        "--budget 1 --pin conv1",
        "--budget 1 --pin conv1=W8",
        "--budget 1 --dim N=0",
        "--budget 1 --samples 0",
        "--budget 1 --samples -1",
        "--budget 1 --threads 0",
        "--budget 1 --batch 0",
        "--budget 1 --memory 12",
        "--budget 1 --engine slow",
        "--budget 1 --preprocess best",
        "--budget 1 --mean 1,2",
        "--budget 1 --resize 0",
        "--budget 1 --crop -1",
        "--budget 1 --pad left",
        "--budget 1 --filter nearest",
        "--budget 1 --channels cmyk",
        "--budget 1 -q -v",
    ]
    .map(|flags| {
        let line = format!("search {MODEL} --calib {CALIB} {flags} -o TMP/config.json");
        let refused = sandbox.refused(&line.replace("  ", " "));
        assert!(refused.ends_with("\nexit 2\n"), "{refused}");
        // The rest is how to call it.
        let error = refused.lines().skip(1).take_while(|line| !line.is_empty());
        format!("{flags}\n{}\n", error.map(|line| format!("  {line}\n")).collect::<String>())
    });
    expect![[r#"

          error: the following required arguments were not provided:
            <--budget <[METRIC=]V>|--min-sqnr <DB>|--max-drop <X>>

        --budget 0
          error: invalid value '0' for '--budget <[METRIC=]V>': budget is `0`, expected a fraction in (0, 1], or a metric and a value with a unit such as `bops=12G` or `weights=4MiB`

        --budget -0.5
          error: invalid value '-0.5' for '--budget <[METRIC=]V>': budget is `-0.5`, expected a fraction in (0, 1], or a metric and a value with a unit such as `bops=12G` or `weights=4MiB`

        --budget NaN
          error: invalid value 'NaN' for '--budget <[METRIC=]V>': budget is `NaN`, expected a fraction in (0, 1], or a metric and a value with a unit such as `bops=12G` or `weights=4MiB`

        --budget 60%
          error: invalid value '60%' for '--budget <[METRIC=]V>': budget is `60%`, expected a fraction in (0, 1], or a metric and a value with a unit such as `bops=12G` or `weights=4MiB`

        --budget speed=2
          error: invalid value 'speed=2' for '--budget <[METRIC=]V>': budget metric is `speed`, expected `bops`, `weights`, `average-bits`, `activations`, `a16`, `latency`, `conversions` or `conversion-cost`

        --budget weights=4
          error: invalid value 'weights=4' for '--budget <[METRIC=]V>': budget `weights` is `4`, expected a fraction in (0, 1], or more than 0 with one of the units `B`, `kB`, `KB`, `MB`, `GB`, `TB`, `KiB`, `MiB`, `GiB` or `TiB`

        --budget 1 --candidates W4A99
          error: invalid value 'W4A99' for '--candidates <LIST>': activation bits are 99, expected 2 to 16, or 32 for float

        --budget 1 --candidates W8A8,W8A8
          error: invalid value 'W8A8,W8A8' for '--candidates <LIST>': candidate `W8A8` is listed more than once

        --budget 1 --range max
          error: invalid value 'max' for '--range <METHOD>': range method is `max`, expected `minmax`, `mse` or `percentile:P` with P above 50 and at most 100

        --budget 1 --weights none
          error: invalid value 'none' for '--weights <KIND>'
            [possible values: per-channel, per-tensor]

        --budget 1 --sqnr best
          error: invalid value 'best' for '--sqnr <HOW>': found `best`, expected `pooled`, `mean` or `db`

        --budget 1 --strategy guess
          error: invalid value 'guess' for '--strategy <NAME>': strategy is `guess`, expected `pareto`, `knapsack`, `refine`, `best`

        --budget 1 --pin conv1
          error: invalid value 'conv1' for '--pin <PATTERN=CANDIDATE>': found `conv1`, expected NAME=VALUE

        --budget 1 --pin conv1=W8
          error: invalid value 'conv1=W8' for '--pin <PATTERN=CANDIDATE>': candidate is `W8`, expected a form such as `W4A8`, or `A8` without weights

        --budget 1 --dim N=0
          error: invalid value 'N=0' for '--dim <NAME=N>': found `0`, expected a whole number above 0

        --budget 1 --samples 0
          error: invalid value '0' for '--samples <N>': found `0`, expected a whole number above 0

        --budget 1 --samples -1
          error: invalid value '-1' for '--samples <N>': found `-1`, expected a whole number above 0

        --budget 1 --threads 0
          error: invalid value '0' for '--threads <N>': found `0`, expected a whole number above 0

        --budget 1 --batch 0
          error: invalid value '0' for '--batch <N>': found `0`, expected a whole number above 0

        --budget 1 --memory 12
          error: invalid value '12' for '--memory <SIZE>': size is `12`, expected a number above 0 with a unit, such as `512MiB` or `2GB`

        --budget 1 --engine slow
          error: invalid value 'slow' for '--engine <NAME>': engine is `slow`, expected `fast` or `reference`

        --budget 1 --preprocess best
          error: invalid value 'best' for '--preprocess <NAME>': found `best`, expected `imagenet`, `inception`, `unit` or `raw`

        --budget 1 --mean 1,2
          error: invalid value '1,2' for '--mean <X>': found `1,2`, expected one number, or three separated by commas

        --budget 1 --resize 0
          error: invalid value '0' for '--resize <SIZE>': found `0`, expected `N`, `HxW`, `fit:HxW` or `cover:HxW` in pixels

        --budget 1 --crop -1
          error: invalid value '-1' for '--crop <SIZE>': found `-1`, expected `N` or `HxW` in pixels

        --budget 1 --pad left
          error: invalid value 'left' for '--pad <SIDE>': found `left`, expected `right` or `center`

        --budget 1 --filter nearest
          error: invalid value 'nearest' for '--filter <NAME>': found `nearest`, expected `bilinear` or `bicubic`

        --budget 1 --channels cmyk
          error: invalid value 'cmyk' for '--channels <ORDER>': found `cmyk`, expected `rgb`, `bgr` or `gray`

        --budget 1 -q -v
          error: the argument '--quiet' cannot be used with '--verbose'

    "#]].assert_eq(&errors.concat());
}

#[test]
fn no_calibration_data() {
    let line = format!("search {MODEL} --budget 0.6");
    expect![[r#"
        $ mpq search examples/digits/model.onnx --budget 0.6
        error: the following required arguments were not provided:
          --calib <PATH>

        Usage: mpq search --calib <PATH> <--budget <[METRIC=]V>|--min-sqnr <DB>|--max-drop <X>> <MODEL>

        For more information, try '--help'.
        exit 2
    "#]]
    .assert_eq(&Sandbox::new().refused(&line));
}

/// What only the model can tell.
#[test]
fn flags_that_do_not_fit_the_model() {
    let sandbox = Sandbox::new();
    let lines = [
        "--target nosuch",
        "--target TMP/none.json",
        "--outputs nosuch",
        "--pin nosuch=W8A8",
        "--pin stem=W8A8 --pin stem*=W4A8",
        "--exclude nosuch*",
        "--dim X=3",
        "--memory 1KiB",
        "--crop 9",
        "--mean 1,2,3",
        "--preprocess imagenet",
        "--channels rgb",
        "--pad right",
    ]
    .map(|flags| {
        format!("search {MODEL} --calib {CALIB} --samples 2 --budget 0.6 -q -o TMP/c.json {flags}")
    });
    expect![[r#"
        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 2 --budget 0.6 -q -o TMP/c.json --target nosuch
        error: target is `nosuch`, expected `generic`, `htp`, `ort-cpu`, `tflite`, `tensorrt` or a file
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 2 --budget 0.6 -q -o TMP/c.json --target TMP/none.json
        error: cannot read `TMP/none.json`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 2 --budget 0.6 -q -o TMP/c.json --outputs nosuch
        error: `nosuch` of --outputs is no output and no inner tensor of the network
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 2 --budget 0.6 -q -o TMP/c.json --pin nosuch=W8A8
        error: pin `nosuch=W8A8` matches no node and no tensor
        hint: names like it are `logits`, `pool`, `stem`
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 2 --budget 0.6 -q -o TMP/c.json --pin stem=W8A8 --pin stem*=W4A8
        error: group `image` is pinned to W8A8 by pin `stem=W8A8` and to W4A8 by pin `stem*=W4A8`
        hint: a group is pinned as a whole; `mpq inspect` shows its members
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 2 --budget 0.6 -q -o TMP/c.json --exclude nosuch*
        error: exclusion `nosuch*` matches no node and no tensor
        hint: names like it are `logits`, `pool`, `stem`
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 2 --budget 0.6 -q -o TMP/c.json --dim X=3
        error: dimension `X` is not one of the model's free ones, expected `N`
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 2 --budget 0.6 -q -o TMP/c.json --memory 1KiB
        error: sample `000.png`: node `stem` (Conv) with inputs float32 [1, 1, 8, 8], float32 [16, 1, 3, 3], float32 [16]: would make 4096 bytes, more than the limit of 1024
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 2 --budget 0.6 -q -o TMP/c.json --crop 9
        error: option `--crop` gives images of 9x9, input `image` takes 8x8
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 2 --budget 0.6 -q -o TMP/c.json --mean 1,2,3
        error: option `--mean` has 3 numbers, input `image` has 1 channels
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 2 --budget 0.6 -q -o TMP/c.json --preprocess imagenet
        error: option `--preprocess` `imagenet` is for 3 channels, input `image` has 1
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 2 --budget 0.6 -q -o TMP/c.json --channels rgb
        error: option `--channels` is `rgb`, input `image` has 1 channels
        exit 2

        $ mpq search examples/digits/model.onnx --calib examples/digits/calib --samples 2 --budget 0.6 -q -o TMP/c.json --pad right
        error: option `--pad` needs `--resize fit:HxW`
        exit 2
    "#]].assert_eq(&sandbox.transcript(&lines.each_ref().map(String::as_str)));
}
