//! `mpq run`.

use expect_test::expect;
use mpq::data::{InputSpec, npz_bytes, read_inputs};
use mpq::onnx::write_pb;
use mpq::tensor::{DType, Tensor};

use crate::run::{CALIB, MODEL, Sandbox};

/// Two images with a slope, and an input of the wrong kind each.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let pixels: Vec<f32> = (0..128_u8).map(|i| f32::from(i % 13) / 13.).collect();
    let image = Tensor::from_vec(&[2, 1, 8, 8], pixels);
    sandbox.write("in.npz", npz_bytes(&[("image", &image)]).unwrap());
    let small = Tensor::full(&[2, 1, 7, 8], 0_f32);
    sandbox.write("small.npz", npz_bytes(&[("image", &small)]).unwrap());
    let bytes = Tensor::full(&[1, 1, 8, 8], 0_u8);
    sandbox.write("bytes.npz", npz_bytes(&[("image", &bytes)]).unwrap());
    std::fs::create_dir_all(sandbox.path("data/test_data_set_0")).unwrap();
    write_pb(&sandbox.path("data/test_data_set_0/input_0.pb"), "", &image).unwrap();
    sandbox
}

fn logits(sandbox: &Sandbox, file: &str) -> Tensor {
    let spec =
        InputSpec { name: "logits".to_owned(), dtype: DType::F32, dims: vec![None, Some(10)] };
    read_inputs(&[sandbox.path(file)], &[spec], 1 << 20).unwrap().remove(0)
}

#[test]
fn outputs_are_those_that_check_expects() {
    let sandbox = sandbox();
    let ran = sandbox.mpq(&["run", MODEL, "--input", "image=TMP/in.npz", "-o", "TMP/out.npz"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
    let mut logits = logits(&sandbox, "out.npz");
    assert_eq!(logits.shape(), [2, 10]);

    let output = sandbox.path("data/test_data_set_0/output_0.pb");
    write_pb(&output, "logits", &logits).unwrap();
    let ran = sandbox.mpq(&["run", MODEL, "--check", "TMP/data"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout, "test_data_set_0: `logits` float32 [2, 10] is equal\n");

    logits.slice_mut::<f32>()[3] = f32::NAN;
    logits.slice_mut::<f32>()[12] *= 1.01;
    write_pb(&output, "logits", &logits).unwrap();
    let ran = sandbox.mpq(&["run", MODEL, "--check", "TMP/data/test_data_set_0"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    let places: Vec<&str> =
        ran.stdout.lines().map(|line| line.split(": found").next().unwrap()).collect();
    expect![[r#"
        test_data_set_0: `logits` float32 [2, 10] differs in 2 of 20 values
          first at [0, 3]
          worst at [0, 3]"#]]
    .assert_eq(&places.join("\n"));

    write_pb(&output, "", &logits.reshaped(&[20])).unwrap();
    let ran = sandbox.mpq(&["run", MODEL, "--check", "TMP/data"]);
    assert_eq!(ran.code, 1);
    let message = "test_data_set_0: `logits` is float32 [2, 10], expected float32 [20]\n";
    assert_eq!(ran.stdout, message);
}

#[test]
fn a_configuration_quantizes() {
    let sandbox = sandbox();
    let search = ["search", MODEL, "--calib", CALIB, "--samples", "4", "--budget", "0.5"];
    let ran = sandbox.mpq(&[&search[..], &["-o", "TMP/config.json"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let run = ["run", MODEL, "--input", "TMP/in.npz"];
    let float = sandbox.mpq(&[&run[..], &["-o", "TMP/float.npz"]].concat());
    let quantized = ["--config", "TMP/config.json", "-o", "TMP/quantized.npz"];
    let quantized = sandbox.mpq(&[&run[..], &quantized].concat());
    assert_eq!((float.code, quantized.code), (0, 0), "{}", quantized.stderr);
    let [float, quantized] = ["float.npz", "quantized.npz"].map(|file| logits(&sandbox, file));
    let pairs = float.slice::<f32>().iter().zip(quantized.slice::<f32>());
    let largest = pairs.map(|(a, b)| (a - b).abs()).fold(0., f32::max);
    assert!(0. < largest && largest < 3., "{largest}");
}

#[test]
fn refusals() {
    let sandbox = sandbox();
    sandbox.write("config.json", "{\"schema\":\"mpq/config/2\"}");
    let refused = sandbox.transcript(&[
        "run examples/digits/model.onnx --input TMP/small.npz -o TMP/out.npz",
        "run examples/digits/model.onnx --input TMP/bytes.npz -o TMP/out.npz",
        "run examples/digits/model.onnx --input x=TMP/in.npz -o TMP/out.npz",
        "run examples/digits/model.onnx --input TMP/none.npz -o TMP/out.npz",
        "run examples/digits/model.onnx --input TMP/in.npz -o TMP/none/out.npz",
        "run examples/digits/model.onnx --input TMP/in.npz --config TMP/config.json -o TMP/out.npz",
        "run examples/digits/model.onnx --input TMP/in.npz",
        "run examples/digits/model.onnx --check TMP/none",
        "run examples/digits/model.onnx --check TMP/data",
        "run examples/digits/model.onnx --check TMP/data --rtol -1",
    ]);
    expect![[r#"
        $ mpq run examples/digits/model.onnx --input TMP/small.npz -o TMP/out.npz
        error: `TMP/small.npz` is float32 [2, 1, 7, 8], expected float32 [?, 1, 8, 8] for input `image`
        exit 2

        $ mpq run examples/digits/model.onnx --input TMP/bytes.npz -o TMP/out.npz
        error: `TMP/bytes.npz` is uint8 [1, 1, 8, 8], expected float32 [?, 1, 8, 8] for input `image`
        exit 2

        $ mpq run examples/digits/model.onnx --input x=TMP/in.npz -o TMP/out.npz
        error: data are given for `x`, expected one of the inputs `image`
        exit 2

        $ mpq run examples/digits/model.onnx --input TMP/none.npz -o TMP/out.npz
        error: cannot read `TMP/none.npz`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq run examples/digits/model.onnx --input TMP/in.npz -o TMP/none/out.npz
        error: cannot write `TMP/none/out.npz`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq run examples/digits/model.onnx --input TMP/in.npz --config TMP/config.json -o TMP/out.npz
        error: `TMP/config.json` has schema `mpq/config/2`, which is newer than `mpq/config/1`; a newer mpq reads it
        exit 2

        $ mpq run examples/digits/model.onnx --input TMP/in.npz
        error: the following required arguments were not provided:
          --output <OUT.npz>

        Usage: mpq run --input <[NAME=]FILE> --output <OUT.npz> <MODEL>

        For more information, try '--help'.
        exit 2

        $ mpq run examples/digits/model.onnx --check TMP/none
        error: cannot read `TMP/none`
          caused by: No such file or directory (os error 2)
        exit 2

        $ mpq run examples/digits/model.onnx --check TMP/data
        error: nothing was compared: `TMP/data` has no `output_0.pb`, and no folder `test_data_set_*` with one
        exit 2

        $ mpq run examples/digits/model.onnx --check TMP/data --rtol -1
        error: invalid value '-1' for '--rtol <R>': found `-1`, expected a number, at least 0

        For more information, try '--help'.
        exit 2
    "#]].assert_eq(&refused);
}
