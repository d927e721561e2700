//! The `config` file: what a search decided, with all that led to it.

use serde::{Deserialize, Serialize, Serializer};

use crate::artifact::{Artifact, Calibration, Encodings, Model, Ordered, Settings};
use crate::quant::{Bits, Candidate};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// [`Config::schema`].
    pub schema: String,
    /// That of the mpq which wrote the file.
    pub version: String,
    pub model: Model,
    pub calibration: Calibration,
    pub settings: Settings,
    /// Most precise first.
    pub candidates: Vec<Candidate>,
    pub goal: Goal,
    pub cost: TotalCost,
    pub quality: Quality,
    pub baselines: Vec<Baseline>,
    pub curve: Vec<CurvePoint>,
    /// Index into `curve`; `None` where the configuration is not on it.
    pub chosen_point: Option<u64>,
    pub groups: Vec<Group>,
    /// Where activations of different widths meet, in model order.
    pub conversions: Vec<Conversion>,
    pub encodings: Encodings,
}

impl Artifact for Config {
    const NAME: &'static str = "config";
    const VERSION: u32 = 1;

    fn model(&self) -> &Model {
        &self.model
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Goal {
    pub requested: Vec<Requested>,
    pub achieved: Vec<Achieved>,
    /// Configurations that were measured to find this one.
    pub evaluations: u64,
    /// How much less predicted noise there might be within the budgets at most, as a fraction; 0
    /// is the optimum, `None` where the strategy does not say.
    pub gap: Option<f64>,
}

/// One of the two numbers is there: the one that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requested {
    pub metric: String,
    pub relative: Option<f64>,
    #[serde(serialize_with = "whole_as_integer")]
    pub absolute: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Achieved {
    pub metric: String,
    pub relative: Option<f64>,
    #[serde(serialize_with = "whole_as_integer")]
    pub absolute: Option<f64>,
}

/// Relative costs are `None` where the whole is 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TotalCost {
    pub macs: u64,
    pub bops: u64,
    pub relative_bops: Option<f64>,
    pub relative_bops_to_w8a8: Option<f64>,
    pub weight_bytes: u64,
    pub relative_weight_bytes: Option<f64>,
    pub activation_bytes: u64,
    pub conversions: u64,
    /// In the target's unit; `None` where it has no prices.
    pub conversion_cost: Option<f64>,
    pub average_bits: Option<f64>,
    /// Share of the activations' elements that have 16 bits or more.
    pub a16_share: Option<f64>,
    /// `None` without a cost table.
    pub latency_ms: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointCost {
    pub bops: u64,
    pub relative_bops: Option<f64>,
    pub weight_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    pub sqnr_db: Option<f64>,
    pub predicted_sqnr_db: Option<f64>,
    /// By name, such as `top1`.
    pub metrics: Ordered<f64>,
}

/// An operator whose output has another width than what it reads first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversion {
    /// The operator; where several are computed as one, the first of them.
    pub node: String,
    /// Activations.
    pub reads: String,
    pub makes: String,
    pub from_bits: Bits,
    pub to_bits: Bits,
}

/// A uniform configuration, to compare with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    pub candidate: Candidate,
    pub within_budgets: bool,
    pub cost: PointCost,
    pub quality: Quality,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurvePoint {
    /// `None` at the start.
    pub flip: Option<Flip>,
    pub cost: PointCost,
    pub predicted_sqnr_db: Option<f64>,
    /// `None` where it was not measured.
    pub measured: Option<Measured>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flip {
    pub group: String,
    pub from: Candidate,
    pub to: Candidate,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    pub sqnr_db: Option<f64>,
    pub metrics: Ordered<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its first activation in model order.
    pub id: String,
    pub candidate: Candidate,
    pub weight_bits: Option<Bits>,
    pub activation_bits: Bits,
    pub nodes: Vec<String>,
    pub activations: Vec<String>,
    pub weights: Vec<String>,
    pub weight_elements: u64,
    pub macs: u64,
    /// Those of `macs` that multiply two activations: both factors have the activation's bits.
    pub product_macs: u64,
    /// By candidate; `None` is no noise at all.
    pub sqnr_db: Ordered<Option<f64>>,
    pub pinned: bool,
    /// Why its members share a choice.
    pub tied_by: Vec<String>,
}

/// Whole numbers without a decimal point, as those of other keys that count.
fn whole_as_integer<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    const EXACT: f64 = 9_007_199_254_740_992.; // 2^53
    match *value {
        Some(value) if value.fract() == 0. && value.abs() <= EXACT => {
            serializer.serialize_i64(value as i64)
        }
        value => value.serialize(serializer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{ArtifactError, example, parse};

    /// Without the line breaks of a file.
    const JSON: &str = concat!(
        r#"{"schema":"mpq/config/1","version":"0.1.0","#,
        r#""model":{"file":"model.onnx","sha256":"ab12"},"#,
        r#""calibration":{"samples":256,"sha256":"cd34","preprocessing":{"#,
        r#""mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225],"resize":256,"crop":[224,224],"#,
        r#""filter":"bilinear","channels":"rgb","#,
        r#""exact_size_as_is":true,"pad":null,"layout":"NCHW"}},"#,
        r#""settings":{"target":"generic","range":{"weights":"mse","activations":"mse"},"#,
        r#""weights":"per-channel","rounding":{"method":"nearest","sha256":null},"#,
        r#""equalize":false,"bias_correction":false,"sqnr":"pooled","rank_by":"sqnr","outputs":["y"],"#,
        r#""strategy":"pareto","probe":null,"cost_table_sha256":null,"engine":"fast","seed":0,"dims":{}},"#,
        r#""candidates":["W8A16","W8A8","W4A8"],"#,
        r#""goal":{"requested":[{"metric":"bops","relative":0.6,"absolute":null}],"#,
        r#""achieved":[{"metric":"bops","relative":0.5,"absolute":64000}],"#,
        r#""evaluations":0,"gap":0.0},"#,
        r#""cost":{"macs":1000,"bops":64000,"relative_bops":0.5,"relative_bops_to_w8a8":1.0,"#,
        r#""weight_bytes":120,"relative_weight_bytes":1.0,"activation_bytes":64,"conversions":1,"conversion_cost":2.5,"#,
        r#""average_bits":8.0,"a16_share":0.25,"latency_ms":1.5},"#,
        r#""quality":{"sqnr_db":31.2,"predicted_sqnr_db":31.9,"metrics":{}},"#,
        r#""baselines":[{"candidate":"W8A8","within_budgets":true,"#,
        r#""cost":{"bops":64000,"relative_bops":0.5,"weight_bytes":120},"#,
        r#""quality":{"sqnr_db":29.8,"predicted_sqnr_db":30.1,"metrics":{}}}],"#,
        r#""curve":[{"flip":null,"cost":{"bops":128000,"relative_bops":1.0,"weight_bytes":120},"#,
        r#""predicted_sqnr_db":40.1,"measured":null},"#,
        r#"{"flip":{"group":"x","from":"W8A16","to":"W8A8"},"#,
        r#""cost":{"bops":64000,"relative_bops":0.5,"weight_bytes":120},"#,
        r#""predicted_sqnr_db":31.9,"measured":{"sqnr_db":31.2,"metrics":{}}}],"#,
        r#""chosen_point":1,"#,
        r#""groups":[{"id":"x","candidate":"W8A8","weight_bits":8,"activation_bits":8,"#,
        r#""nodes":["conv1"],"activations":["x"],"weights":["conv1.weight"],"#,
        r#""weight_elements":108,"macs":1000,"product_macs":0,"sqnr_db":{"W8A16":42.0,"W8A8":33.5,"W4A8":18.2},"#,
        r#""pinned":false,"tied_by":[]},"#,
        r#"{"id":"y","candidate":"A16","weight_bits":null,"activation_bits":16,"#,
        r#""nodes":[],"activations":["y"],"weights":[],"#,
        r#""weight_elements":0,"macs":0,"product_macs":0,"sqnr_db":{"A16":null,"A8":37.0},"#,
        r#""pinned":false,"tied_by":[]}],"#,
        r#""conversions":[{"node":"conv1","reads":"x","makes":"y","from_bits":8,"to_bits":16}],"#,
        r#""encodings":{"activations":{"x":{"bits":8,"signed":false,"symmetric":false,"#,
        r#""min":-2.1179,"max":2.64,"scale":0.018659,"zero_point":114}},"#,
        r#""weights":{"conv1.weight":{"bits":8,"signed":true,"symmetric":true,"narrow":false,"#,
        r#""axis":0,"min":[-0.51,-0.26],"max":[0.506,0.258],"scale":[0.00398,0.00203],"#,
        r#""zero_point":[0,0]}},"biases":{"conv1.bias":[0.5,-0.1]}}}"#,
    );

    #[test]
    fn the_file_holds_these_keys_in_this_order() {
        assert_eq!(serde_json::to_string(&example::config()).unwrap(), JSON);
    }

    #[test]
    fn round_trips() {
        let json = example::config().to_json();
        let read: Config = parse("config.json", json.as_bytes()).unwrap();
        assert_eq!(read, example::config());
        assert_eq!(read.to_json(), json);
    }

    #[test]
    fn amounts_are_whole_where_they_can_be() {
        for (absolute, json) in [
            (Some(64000.), "64000"),
            (Some(0.5), "0.5"),
            (Some(1e300), "1e+300"),
            (Some(9_007_199_254_740_992.), "9007199254740992"),
            (None, "null"),
        ] {
            let requested = Requested { metric: "bops".to_owned(), relative: None, absolute };
            let expected = format!(r#"{{"metric":"bops","relative":null,"absolute":{json}}}"#);
            assert_eq!(serde_json::to_string(&requested).unwrap(), expected);
            assert_eq!(serde_json::from_str::<Requested>(&expected).unwrap(), requested);
        }
    }

    #[test]
    fn another_model_is_refused() {
        let config = example::config();
        assert!(config.expect_model("ab12").is_ok());
        let error = config.expect_model("ef56").unwrap_err();
        assert!(matches!(error, ArtifactError::Model { .. }));
        assert_eq!(error.to_string(), "made for a model with SHA-256 `ab12`, expected `ef56`");
    }
}
