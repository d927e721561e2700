//! Equalization of real networks: what they put out stays, and what it is for.

use mpq::exec::{Changes, EngineKind, Keep};
use mpq::onnx;
use mpq::pipeline::{Preparation, evaluable};
use mpq::tensor::Tensor;
use serde_json::Value;

use super::{RESNET, in_data, model, stdout};
use crate::test_data::test_data;

/// Numbers between -1 and 1 that look random.
fn noise(shape: &[usize]) -> Tensor {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.
    };
    Tensor::from_vec(shape, (0..shape.iter().product()).map(|_| next()).collect())
}

#[test]
fn outputs_stay() {
    let name = "real_networks::equalize::outputs_stay";
    let Some(data) = test_data(name) else { return };
    for (name, size) in [(RESNET, 32), ("mobilenet_v2", 224), ("efficientnet_lite0", 224)] {
        let model = onnx::load(model(&data, name).as_ref(), &Default::default()).unwrap();
        let equalized = Preparation { equalize: true, ..Preparation::NONE };
        let graphs = [Preparation::NONE, equalized]
            .map(|preparation| evaluable(model.graph.clone(), &[], preparation).unwrap());
        let inputs = [noise(&[1, 3, size, size])];
        let [before, after] = graphs.each_ref().map(|graph| {
            let engine = EngineKind::Fast.start(graph, usize::MAX, &[]);
            let values = engine.run(&inputs, &Changes::default(), Keep::Outputs).unwrap();
            values.get(graph.outputs()[0]).unwrap().clone()
        });
        let (before, after) = (before.slice::<f32>(), after.slice::<f32>());
        let largest = before.iter().fold(0_f32, |most, y| most.max(y.abs()));
        let difference = before.iter().zip(after).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
        // Each weight is rounded once more, by 6e-8 of it; some fifty layers add that up.
        assert!(difference <= 1e-5 * largest, "{name}: {difference} of {largest}");
        assert!(0. < difference, "{name}: nothing was equalized");
    }
}

#[test]
fn one_scale_for_all_channels() {
    let name = "real_networks::equalize::one_scale_for_all_channels";
    let Some(data) = test_data(name) else { return };
    let (model, calib) = (model(&data, "mobilenet_v2"), in_data(&data, "DATA/imagenet/calib"));
    let args = ["eval", &model, "--data", &calib, "--calib", &calib, "--samples", "2", "--json"];
    let flags = ["--preprocess", "inception", "--uniform", "W8A32", "--weights", "per-tensor"];
    let sqnr_db = |more: &[&str]| {
        let eval: Value =
            serde_json::from_str(&stdout(&[&args[..], &flags, more].concat())).unwrap();
        eval["quantized"]["sqnr_db"].as_f64().unwrap()
    };
    let (plain, equalized) = (sqnr_db(&[]), sqnr_db(&["--equalize"]));
    assert!(plain + 8. < equalized, "{plain} dB, equalized {equalized} dB");
}
