//! What `config` and `sensitivity` files both begin with: model, calibration, settings.

use serde::{Deserialize, Serialize};

use crate::artifact::Ordered;
use crate::data::Preprocessing;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The file's name, without folders.
    pub file: String,
    /// Over the model and its external data.
    pub sha256: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    pub samples: u64,
    /// Over the samples, in their order.
    pub sha256: String,
    /// `None` where the inputs are not images.
    pub preprocessing: Option<Preprocessing>,
}

/// [`Settings::rank_by`] where no metric says otherwise.
pub const RANK_BY_SQNR: &str = "sqnr";

/// All that a result depends on besides model and data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub target: String,
    pub range: RangeMethods,
    /// `per-channel` or `per-tensor`.
    pub weights: String,
    pub rounding: Rounding,
    pub equalize: bool,
    pub bias_correction: bool,
    /// How noise is pooled over samples.
    pub sqnr: String,
    /// What the list is in the order of: `sqnr`, or a metric.
    pub rank_by: String,
    pub outputs: Vec<String>,
    /// `None` where nothing was searched.
    pub strategy: Option<String>,
    /// `None` where nothing was probed.
    pub probe: Option<String>,
    /// Over the file of what operators take; `None` without one.
    pub cost_table_sha256: Option<String>,
    pub engine: String,
    pub seed: u64,
    /// Symbolic dimensions that were bound.
    pub dims: Ordered<u64>,
}

/// How ranges were estimated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeMethods {
    pub weights: String,
    pub activations: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rounding {
    pub method: String,
    /// Over the rounded weights; `None` where rounding is to nearest.
    pub sha256: Option<String>,
}
