//! Samples that cannot be used.

use std::fs;

use expect_test::expect;
use ndarray::Array4;
use ndarray_npy::write_npy;

use crate::run::{CALIB, MODEL, Sandbox};
use crate::text_model::model;

fn png() -> Vec<u8> {
    fs::read(format!("{CALIB}/000.png")).unwrap()
}

#[test]
fn refusals() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("empty")).unwrap();
    sandbox.write("mixed/a.png", png());
    write_npy(sandbox.path("mixed/b.npy"), &Array4::<f32>::zeros((1, 1, 8, 8))).unwrap();
    sandbox.write("bad/a.png", png());
    sandbox.write("bad/b.png", &png()[..60]);
    sandbox.write("all_bad/b.png", "no image");
    fs::create_dir(sandbox.path("small")).unwrap();
    image::GrayImage::new(4, 5).save(sandbox.path("small/a.png")).unwrap();
    write_npy(sandbox.path("type.npy"), &Array4::<i64>::zeros((2, 1, 8, 8))).unwrap();
    write_npy(sandbox.path("shape.npy"), &Array4::<f32>::zeros((2, 1, 8, 9))).unwrap();
    write_npy(sandbox.path("nan.npy"), &Array4::from_elem((2, 1, 8, 8), f32::NAN)).unwrap();
    write_npy(sandbox.path("good.npy"), &Array4::<f32>::ones((2, 1, 8, 8))).unwrap();
    sandbox.write("cut.npy", &fs::read(sandbox.path("good.npy")).unwrap()[..200]);
    sandbox.write("text.npy", "1 2 3");
    let lines = [
        "--calib TMP/none",
        "--calib TMP/empty",
        "--calib TMP/mixed",
        "--calib TMP/bad",
        "--calib TMP/all_bad --skip-bad",
        "--calib TMP/small --crop 8",
        "--calib TMP/bad --resize 8x8 --crop 9",
        "--calib TMP/type.npy",
        "--calib TMP/shape.npy",
        "--calib TMP/nan.npy",
        "--calib TMP/cut.npy",
        "--calib TMP/text.npy",
        "--calib y=TMP/good.npy",
        "--calib TMP/good.npy --calib TMP/good.npy",
        "--calib image=TMP/good.npy --calib TMP/good.npy",
    ]
    .map(|flags| format!("search {MODEL} {flags} --budget 0.6 -q -o TMP/config.json"));
    let transcript = sandbox.transcript(&lines.each_ref().map(String::as_str));
    expect![[r#"
        $ mpq search examples/digits/model.onnx --calib TMP/none --budget 0.6 -q -o TMP/config.json
        error: cannot read `TMP/none`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq search examples/digits/model.onnx --calib TMP/empty --budget 0.6 -q -o TMP/config.json
        error: `TMP/empty` holds no samples; expected images (PNG, JPEG, WebP, BMP), `.npy`, `.npz` or `.pb` files
        exit 2

        $ mpq search examples/digits/model.onnx --calib TMP/mixed --budget 0.6 -q -o TMP/config.json
        error: `TMP/mixed` holds 1 images, 1 `.npy` or `.npz` files and 0 `.pb` files, expected one kind
        exit 2

        $ mpq search examples/digits/model.onnx --calib TMP/bad --budget 0.6 -q -o TMP/config.json
        error: cannot decode image `TMP/bad/b.png`
          caused by: unexpected end of file
        exit 2

        $ mpq search examples/digits/model.onnx --calib TMP/all_bad --skip-bad --budget 0.6 -q -o TMP/config.json
        error: every sample of the data is unreadable (1 skipped)
        exit 2

        $ mpq search examples/digits/model.onnx --calib TMP/small --crop 8 --budget 0.6 -q -o TMP/config.json
        error: image `a.png` is 5x4, smaller than the crop 8x8 (height x width)
        exit 2

        $ mpq search examples/digits/model.onnx --calib TMP/bad --resize 8x8 --crop 9 --budget 0.6 -q -o TMP/config.json
        error: option `--crop` gives images of 9x9, input `image` takes 8x8
        exit 2

        $ mpq search examples/digits/model.onnx --calib TMP/type.npy --budget 0.6 -q -o TMP/config.json
        error: `type.npy` is int64 [2, 1, 8, 8], expected float32 [?, 1, 8, 8] for input `image`
        exit 2

        $ mpq search examples/digits/model.onnx --calib TMP/shape.npy --budget 0.6 -q -o TMP/config.json
        error: `shape.npy` is float32 [2, 1, 8, 9], expected float32 [?, 1, 8, 8] for input `image`
        exit 2

        $ mpq search examples/digits/model.onnx --calib TMP/nan.npy --budget 0.6 -q -o TMP/config.json
        error: activation `image` has 128 elements that are NaN or infinite, over all calibration samples
        exit 2

        $ mpq search examples/digits/model.onnx --calib TMP/cut.npy --budget 0.6 -q -o TMP/config.json
        error: `TMP/cut.npy` is not a readable `.npy` array: its header says 512 bytes of elements, it has 72
        exit 2

        $ mpq search examples/digits/model.onnx --calib TMP/text.npy --budget 0.6 -q -o TMP/config.json
        error: `TMP/text.npy` is not a readable `.npy` array: it does not begin with the NPY signature
        exit 2

        $ mpq search examples/digits/model.onnx --calib y=TMP/good.npy --budget 0.6 -q -o TMP/config.json
        error: data are given for `y`, expected one of the inputs `image`
        exit 2

        $ mpq search examples/digits/model.onnx --calib TMP/good.npy --calib TMP/good.npy --budget 0.6 -q -o TMP/config.json
        error: `TMP/good.npy` and `TMP/good.npy` are both given for all inputs, expected one
        exit 2

        $ mpq search examples/digits/model.onnx --calib image=TMP/good.npy --calib TMP/good.npy --budget 0.6 -q -o TMP/config.json
        error: `TMP/good.npy` is given for all inputs, but each has data of its own
        exit 2
    "#]].assert_eq(&transcript);
}

#[test]
fn a_network_without_inputs_takes_no_data() {
    let sandbox = Sandbox::new();
    let text = r#"
        import "" 21
        main () -> (y) {
            c = Constant<value_ints = [1, -1]>()
            y = Cast<to = 1>(c)
        }"#;
    sandbox.write("m.onnx", model(text));
    let ran = sandbox.mpq(&["sensitivity", "TMP/m.onnx", "--calib", "noise"]);
    expect!["error: data are given, `noise`, but the network has no inputs\n"]
        .assert_eq(&ran.stderr);
    assert_eq!(ran.code, 2);
}

#[test]
fn bad_images_are_skipped_and_counted() {
    let sandbox = Sandbox::new();
    sandbox.write("a.png", png());
    sandbox.write("b.png", &png()[..60]);
    sandbox.write("c.png", "no image");
    let args = ["search", MODEL, "--calib", "TMP", "--budget", "0.6", "-q", "--skip-bad"];
    let ran = sandbox.mpq(&args);
    assert_eq!(ran.code, 0);
    expect![[r#"
        warning: 2 unreadable images skipped, the first is `b.png`
    "#]]
    .assert_eq(&ran.stderr);
}

#[test]
fn noise_is_warned_of() {
    let args = ["search", MODEL, "--calib", "noise", "--samples", "2", "--budget", "0.6", "-q"];
    let ran = Sandbox::new().mpq(&args);
    assert_eq!(ran.code, 0);
    expect![[r#"
        warning: calibrating on noise: ranges and sensitivities are not those of real data
        warning: uniform W8A8 is within the budget and has a higher SQNR
        hint: try --strategy best
    "#]]
    .assert_eq(&ran.stderr);
}
