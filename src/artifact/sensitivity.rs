//! The `sensitivity` file: what Phase 1 measured, enough to search without measuring again.

use serde::{Deserialize, Serialize};

use crate::artifact::{
    ActivationEncoding, Artifact, Calibration, Model, Ordered, Settings, WeightEncoding,
};
use crate::quant::{Bits, Candidate};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sensitivity {
    /// [`Sensitivity::schema`].
    pub schema: String,
    /// That of the mpq which wrote the file.
    pub version: String,
    pub model: Model,
    pub calibration: Calibration,
    pub settings: Settings,
    /// Most precise first.
    pub candidates: Vec<Candidate>,
    pub outputs: Vec<String>,
    /// By output: of every sample.
    pub signal_power: Ordered<Vec<f64>>,
    pub groups: Vec<MeasuredGroup>,
    /// Least sensitive first.
    pub list: Vec<ListEntry>,
    pub encodings: MeasuredEncodings,
    /// What is missing of it; the key is there only if something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<Partial>,
}

/// Only some of the calibration samples were measured, though all gave the ranges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partial {
    /// Number of shards that it was shared out among.
    pub shards: u64,
    /// Those whose parts were not there.
    pub missing: Vec<u64>,
    /// How many samples everything was measured on.
    pub samples: u64,
}

impl Partial {
    /// What is missing, of `n_samples` calibration samples.
    pub fn text(&self, n_samples: u64) -> String {
        let Partial { shards, missing, samples } = self;
        let missing = missing.len();
        format!(
            "{samples} of {n_samples} samples were measured, {missing} of {shards} parts are missing"
        )
    }
}

impl Artifact for Sensitivity {
    const NAME: &'static str = "sensitivity";
    const VERSION: u32 = 1;

    fn model(&self) -> &Model {
        &self.model
    }
}

/// A group, with choices as a file of its kind has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredGroup<C = MeasuredChoice> {
    /// Its first activation in model order.
    pub id: String,
    pub nodes: Vec<String>,
    pub activations: Vec<String>,
    pub weights: Vec<String>,
    pub weight_elements: u64,
    pub macs: u64,
    pub pinned: bool,
    /// Why its members share a choice.
    pub tied_by: Vec<String>,
    pub choices: Vec<C>,
}

impl<C> MeasuredGroup<C> {
    /// The same group in another kind of file.
    pub fn with_choices<D>(self, choices: Vec<D>) -> MeasuredGroup<D> {
        let MeasuredGroup { id, nodes, activations, weights, tied_by, .. } = self;
        let MeasuredGroup { weight_elements, macs, pinned, .. } = self;
        MeasuredGroup {
            id,
            nodes,
            activations,
            weights,
            weight_elements,
            macs,
            pinned,
            tied_by,
            choices,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredChoice {
    pub candidate: Candidate,
    pub weight_bits: Option<Bits>,
    pub activation_bits: Bits,
    /// `None` is no noise at all.
    pub sqnr_db: Option<f64>,
    /// What `settings.rank_by` has with this alone; `None` if that is the SQNR, or has no value.
    pub score: Option<f64>,
    /// By output: of every sample.
    pub noise_power: Ordered<Vec<f64>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListEntry {
    pub group: String,
    pub candidate: Candidate,
}

/// By tensor, then by bits as text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredEncodings {
    pub activations: Ordered<Ordered<ActivationEncoding>>,
    pub weights: Ordered<Ordered<WeightEncoding>>,
    /// Corrected biases, by the bits of their layers' weights; not there where none is.
    #[serde(default, skip_serializing_if = "Ordered::is_empty")]
    pub biases: Ordered<Ordered<Vec<f32>>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{example, parse};

    /// From `outputs` on; before it is what a `config` file begins with.
    const JSON: &str = concat!(
        r#""outputs":["y"],"signal_power":{"y":[1.92,2.05]},"#,
        r#""groups":[{"id":"x","nodes":["conv1"],"activations":["x"],"weights":["conv1.weight"],"#,
        r#""weight_elements":108,"macs":1000,"pinned":false,"tied_by":[],"#,
        r#""choices":[{"candidate":"W8A16","weight_bits":8,"activation_bits":16,"sqnr_db":42.0,"score":null,"#,
        r#""noise_power":{"y":[0.00012,0.00013]}},"#,
        r#"{"candidate":"W8A8","weight_bits":8,"activation_bits":8,"sqnr_db":33.5,"score":null,"#,
        r#""noise_power":{"y":[0.00086,0.00091]}}]},"#,
        r#"{"id":"y","nodes":[],"activations":["y"],"weights":[],"weight_elements":0,"macs":0,"#,
        r#""pinned":false,"tied_by":[],"#,
        r#""choices":[{"candidate":"A16","weight_bits":null,"activation_bits":16,"#,
        r#""sqnr_db":null,"score":null,"noise_power":{"y":[0.0,0.0]}}]}],"#,
        r#""list":[{"group":"y","candidate":"A16"},{"group":"x","candidate":"W8A16"},"#,
        r#"{"group":"x","candidate":"W8A8"}],"#,
        r#""encodings":{"activations":{"x":{"8":{"bits":8,"signed":false,"symmetric":false,"#,
        r#""min":-2.1179,"max":2.64,"scale":0.018659,"zero_point":114}}},"#,
        r#""weights":{"conv1.weight":{"8":{"bits":8,"signed":true,"symmetric":true,"#,
        r#""narrow":false,"axis":0,"min":[-0.51,-0.26],"max":[0.506,0.258],"#,
        r#""scale":[0.00398,0.00203],"zero_point":[0,0]}}},"#,
        r#""biases":{"conv1.bias":{"8":[0.5,-0.1]}}}}"#,
    );

    #[test]
    fn the_file_holds_these_keys_in_this_order() {
        let json = serde_json::to_string(&example::sensitivity()).unwrap();
        let (head, rest) = json.split_at(json.find(r#""outputs":["y"],"signal"#).unwrap());
        assert_eq!(rest, JSON);
        let config = serde_json::to_string(&example::config()).unwrap();
        let config_head = &config[..config.find(r#""goal""#).unwrap()];
        assert_eq!(head, config_head.replace("mpq/config/1", "mpq/sensitivity/1"));
    }

    #[test]
    fn round_trips() {
        let json = example::sensitivity().to_json();
        let read: Sensitivity = parse("sensitivity.json", json.as_bytes()).unwrap();
        assert_eq!(read, example::sensitivity());
        assert_eq!(read.to_json(), json);
    }
}
