//! One file of each kind, for tests: the examples of the format's description.

use crate::artifact::{
    Achieved, ActivationEncoding, Artifact as _, Baseline, Calibration, Config, Conversion,
    CurvePoint, Encodings, Eval, EvalData, Flip, Goal, Group, ListEntry, Measured, MeasuredChoice,
    MeasuredEncodings, MeasuredGroup, Model, Ordered, Part, PartChoice, PartPower, Partial,
    PointCost, Quality, RangeMethods, Ranges, Requested, RoundedEntry, RoundedPart, RoundedSet,
    Rounding, RoundingLoss, Sensitivity, Settings, TotalCost, WeightEncoding,
};
use crate::data::{Channels, Crop, Filter, Layout, Preprocessing, Resize};
use crate::quant::{Bits, Candidate};
use crate::shard::Shard;

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).into()
}

fn candidate(text: &str) -> Candidate {
    text.parse().unwrap()
}

fn model() -> Model {
    Model { file: "model.onnx".to_owned(), sha256: "ab12".to_owned() }
}

fn calibration() -> Calibration {
    Calibration {
        samples: 256,
        sha256: "cd34".to_owned(),
        preprocessing: Some(Preprocessing {
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
            resize: Some(Resize::Short(256)),
            crop: Some(Crop([224, 224])),
            filter: Filter::Bilinear,
            channels: Channels::Rgb,
            exact_size_as_is: true,
            pad: None,
            layout: Layout::Nchw,
        }),
    }
}

fn settings() -> Settings {
    Settings {
        target: "generic".to_owned(),
        range: RangeMethods { weights: "mse".to_owned(), activations: "mse".to_owned() },
        weights: "per-channel".to_owned(),
        rounding: Rounding { method: "nearest".to_owned(), sha256: None },
        equalize: false,
        bias_correction: false,
        sqnr: "pooled".to_owned(),
        rank_by: "sqnr".to_owned(),
        outputs: texts(["y"]),
        strategy: Some("pareto".to_owned()),
        probe: None,
        cost_table_sha256: None,
        engine: "fast".to_owned(),
        seed: 0,
        dims: Ordered::new(),
    }
}

fn activation_encoding() -> ActivationEncoding {
    ActivationEncoding {
        bits: Bits::new(8).unwrap(),
        signed: false,
        symmetric: false,
        min: -2.1179,
        max: 2.64,
        scale: 0.018659,
        zero_point: 114,
    }
}

fn weight_encoding() -> WeightEncoding {
    WeightEncoding {
        bits: Bits::new(8).unwrap(),
        signed: true,
        symmetric: true,
        narrow: false,
        axis: Some(0),
        min: vec![-0.51, -0.26],
        max: vec![0.506, 0.258],
        scale: vec![0.00398, 0.00203],
        zero_point: vec![0, 0],
    }
}

fn point_cost(bops: u64, relative_bops: f64) -> PointCost {
    PointCost { bops, relative_bops: Some(relative_bops), weight_bytes: 120 }
}

fn quality(sqnr_db: f64, predicted_sqnr_db: f64) -> Quality {
    Quality {
        sqnr_db: Some(sqnr_db),
        predicted_sqnr_db: Some(predicted_sqnr_db),
        metrics: Ordered::new(),
    }
}

fn curve() -> Vec<CurvePoint> {
    let from_to = (candidate("W8A16"), candidate("W8A8"));
    let flip = Flip { group: "x".to_owned(), from: from_to.0, to: from_to.1 };
    vec![
        CurvePoint {
            flip: None,
            cost: point_cost(128_000, 1.),
            predicted_sqnr_db: Some(40.1),
            measured: None,
        },
        CurvePoint {
            flip: Some(flip),
            cost: point_cost(64000, 0.5),
            predicted_sqnr_db: Some(31.9),
            measured: Some(Measured { sqnr_db: Some(31.2), metrics: Ordered::new() }),
        },
    ]
}

fn groups() -> Vec<Group> {
    let sqnr_db = [("W8A16", Some(42.)), ("W8A8", Some(33.5)), ("W4A8", Some(18.2))];
    vec![
        Group {
            id: "x".to_owned(),
            candidate: candidate("W8A8"),
            weight_bits: Bits::new(8),
            activation_bits: Bits::new(8).unwrap(),
            nodes: texts(["conv1"]),
            activations: texts(["x"]),
            weights: texts(["conv1.weight"]),
            weight_elements: 108,
            macs: 1000,
            product_macs: 0,
            sqnr_db: sqnr_db.into_iter().collect(),
            pinned: false,
            tied_by: vec![],
        },
        Group {
            id: "y".to_owned(),
            candidate: candidate("A16"),
            weight_bits: None,
            activation_bits: Bits::new(16).unwrap(),
            nodes: vec![],
            activations: texts(["y"]),
            weights: vec![],
            weight_elements: 0,
            macs: 0,
            product_macs: 0,
            sqnr_db: [("A16", None), ("A8", Some(37.))].into_iter().collect(),
            pinned: false,
            tied_by: vec![],
        },
    ]
}

pub(crate) fn config() -> Config {
    let bops = || "bops".to_owned();
    Config {
        schema: Config::schema(),
        version: "0.1.0".to_owned(),
        model: model(),
        calibration: calibration(),
        settings: settings(),
        candidates: ["W8A16", "W8A8", "W4A8"].map(candidate).into(),
        goal: Goal {
            requested: vec![Requested { metric: bops(), relative: Some(0.6), absolute: None }],
            achieved: vec![Achieved {
                metric: bops(),
                relative: Some(0.5),
                absolute: Some(64000.),
            }],
            evaluations: 0,
            gap: Some(0.),
        },
        cost: TotalCost {
            macs: 1000,
            bops: 64000,
            relative_bops: Some(0.5),
            relative_bops_to_w8a8: Some(1.),
            weight_bytes: 120,
            relative_weight_bytes: Some(1.),
            activation_bytes: 64,
            conversions: 1,
            conversion_cost: Some(2.5),
            average_bits: Some(8.),
            a16_share: Some(0.25),
            latency_ms: Some(1.5),
        },
        quality: quality(31.2, 31.9),
        baselines: vec![Baseline {
            candidate: candidate("W8A8"),
            within_budgets: true,
            cost: point_cost(64000, 0.5),
            quality: quality(29.8, 30.1),
        }],
        curve: curve(),
        chosen_point: Some(1),
        groups: groups(),
        conversions: vec![Conversion {
            node: "conv1".to_owned(),
            reads: "x".to_owned(),
            makes: "y".to_owned(),
            from_bits: Bits::new(8).unwrap(),
            to_bits: Bits::new(16).unwrap(),
        }],
        encodings: Encodings {
            activations: [("x", activation_encoding())].into_iter().collect(),
            weights: [("conv1.weight", weight_encoding())].into_iter().collect(),
            biases: [("conv1.bias", vec![0.5, -0.1])].into_iter().collect(),
        },
    }
}

fn measured_choice(text: &str, sqnr_db: Option<f64>, noise_power: [f64; 2]) -> MeasuredChoice {
    let candidate: Candidate = text.parse().unwrap();
    MeasuredChoice {
        candidate,
        weight_bits: candidate.weight,
        activation_bits: candidate.activation,
        sqnr_db,
        score: None,
        noise_power: [("y", noise_power.to_vec())].into_iter().collect(),
    }
}

fn measured_group(
    id: &str,
    parts: [Vec<String>; 2],
    choices: Vec<MeasuredChoice>,
) -> MeasuredGroup {
    let [nodes, weights] = parts;
    MeasuredGroup {
        id: id.to_owned(),
        weight_elements: 108 * weights.len() as u64,
        macs: 1000 * nodes.len() as u64,
        nodes,
        activations: vec![id.to_owned()],
        weights,
        pinned: false,
        tied_by: vec![],
        choices,
    }
}

pub(crate) fn sensitivity() -> Sensitivity {
    let list = [("y", "A16"), ("x", "W8A16"), ("x", "W8A8")];
    let entry = |(group, candidate): (&str, &str)| ListEntry {
        group: group.to_owned(),
        candidate: candidate.parse().unwrap(),
    };
    let activation = [("8", activation_encoding())].into_iter().collect();
    let weight = [("8", weight_encoding())].into_iter().collect();
    let bias = [("8", vec![0.5, -0.1])].into_iter().collect();
    let x_choices = vec![
        measured_choice("W8A16", Some(42.), [0.00012, 0.00013]),
        measured_choice("W8A8", Some(33.5), [0.00086, 0.00091]),
    ];
    let x_parts = [vec!["conv1".to_owned()], vec!["conv1.weight".to_owned()]];
    Sensitivity {
        schema: Sensitivity::schema(),
        version: "0.1.0".to_owned(),
        model: model(),
        calibration: calibration(),
        settings: settings(),
        candidates: ["W8A16", "W8A8", "W4A8"].map(|text| text.parse().unwrap()).into(),
        outputs: vec!["y".to_owned()],
        signal_power: [("y", vec![1.92, 2.05])].into_iter().collect(),
        groups: vec![
            measured_group("x", x_parts, x_choices),
            measured_group("y", [vec![], vec![]], vec![measured_choice("A16", None, [0., 0.])]),
        ],
        list: list.map(entry).into(),
        encodings: MeasuredEncodings {
            activations: [("x", activation)].into_iter().collect(),
            weights: [("conv1.weight", weight)].into_iter().collect(),
            biases: [("conv1.bias", bias)].into_iter().collect(),
        },
        partial: None,
    }
}

/// What remains if one of four shards is missing.
pub(crate) fn partial() -> Sensitivity {
    let partial = Partial { shards: 4, missing: vec![1], samples: 192 };
    Sensitivity { partial: Some(partial), ..sensitivity() }
}

pub(crate) fn part() -> Part {
    let Sensitivity { version, model, calibration, settings, candidates, .. } = sensitivity();
    let power = |power: &Ordered<Vec<f64>>| PartPower { samples: [0, 2], power: power.clone() };
    let choice = |choice: MeasuredChoice| PartChoice {
        candidate: choice.candidate,
        weight_bits: choice.weight_bits,
        activation_bits: choice.activation_bits,
        bops_saved: 8000.,
        noise_power: power(&choice.noise_power),
    };
    let group = |group: MeasuredGroup| {
        let choices = group.choices.iter().cloned().map(choice).collect();
        group.with_choices(choices)
    };
    Part {
        schema: Part::schema(),
        version,
        shard: Shard::new(0, 4).unwrap(),
        model,
        calibration,
        settings,
        candidates,
        outputs: sensitivity().outputs,
        signal_power: power(&sensitivity().signal_power),
        groups: sensitivity().groups.into_iter().map(group).collect(),
        encodings: sensitivity().encodings,
    }
}

pub(crate) fn ranges() -> Ranges {
    let Sensitivity { version, model, calibration, settings, candidates, encodings, .. } =
        sensitivity();
    let (schema, samples) = (Ranges::schema(), texts(["98fe", "76dc"]));
    Ranges { schema, version, model, calibration, settings, candidates, samples, encodings }
}

pub(super) fn eval() -> Eval {
    let quantized = [("top1", Some(0.85)), ("sqnr_db", Some(9.4))];
    Eval {
        schema: Eval::schema(),
        model: model(),
        data: EvalData { samples: 500 },
        float: [("top1", Some(0.868))].into_iter().collect(),
        quantized: Some(quantized.into_iter().collect()),
    }
}

pub(crate) fn rounding() -> RoundedSet {
    let rounding = Rounding { method: "adaround".to_owned(), sha256: Some("ef56".to_owned()) };
    RoundedSet {
        schema: RoundedSet::schema(),
        version: "0.1.0".to_owned(),
        model: model(),
        calibration: calibration(),
        settings: Settings { rounding, strategy: None, ..settings() },
        iterations: 10_000,
        weights: vec![RoundedEntry {
            name: "conv1.weight".to_owned(),
            encoding: weight_encoding(),
            loss: Some(RoundingLoss { nearest: 0.25, rounded: 0.125 }),
        }],
    }
}

pub(crate) fn rounding_part() -> RoundedPart {
    let RoundedSet { version, model, calibration, settings, iterations, weights, .. } = rounding();
    RoundedPart {
        schema: RoundedPart::schema(),
        version,
        shard: Shard::new(1, 4).unwrap(),
        model,
        calibration,
        settings,
        iterations,
        all: texts(["conv1.weight", "conv2.weight"]),
        weights,
    }
}
