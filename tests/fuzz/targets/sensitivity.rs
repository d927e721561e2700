//! Sensitivity lists: read, written, and searched by every strategy.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use mpq::artifact::{Artifact as _, Sensitivity, parse};
use mpq::pipeline::{
    Head, Network, Preparation, Settings, Study, input_types, read_scores, read_sensitivity, search,
};
use mpq::quant::{Candidates, RangeMethods, Target};
use mpq::search::{Goal, STRATEGIES};

fn settings(file: &Sensitivity) -> Option<Settings> {
    let measured = &file.settings;
    Some(Settings {
        candidates: Candidates::new(file.candidates.clone()).ok()?,
        target: Target::built_in(&measured.target).ok()?,
        ranges: RangeMethods {
            weights: measured.range.weights.parse().ok()?,
            activations: measured.range.activations.parse().ok()?,
            per_channel: measured.weights == "per-channel",
        },
        rounding: measured.rounding.method.parse().ok()?,
        preparation: Preparation::of(measured),
        aggregation: measured.sqnr.parse().ok()?,
        outputs: Some(measured.outputs.clone()),
        pins: Vec::new(),
        cost_table: None,
        engine: measured.engine.parse().ok()?,
        seed: measured.seed,
        dims: Default::default(),
    })
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mpq_fuzz::mutate_json(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| {
    mpq_fuzz::start(64 << 20);
    let Ok(file) = parse::<Sensitivity>("list.json", data) else { return };
    let json = file.to_json();
    let again: Sensitivity = parse("list.json", json.as_bytes()).unwrap();
    assert_eq!(again.to_json(), json);
    let Some(settings) = settings(&file) else { return };
    let mut model = mpq_fuzz::network();
    model.sha256.clone_from(&file.model.sha256);
    let Ok(types) = input_types(&model.graph) else { return };
    let Ok(mut network) = Network::new(model, &types, settings) else { return };
    network.pin_as_measured(&file);
    let Ok((sensitivity, encodings)) = read_sensitivity(&network, &file) else { return };
    let goal = Goal { budgets: vec!["0.5".parse().unwrap()], keep_free: false };
    for strategy in STRATEGIES {
        let Ok(study) = Study::new(&network, &encodings, &sensitivity, None) else { return };
        let mut study = study.ranked(read_scores(&network, &file));
        let head = Head {
            model: file.model.clone(),
            calibration: file.calibration.clone(),
            settings: file.settings.clone(),
        };
        let _ = search(&mut study, strategy, &goal, head);
    }
});
