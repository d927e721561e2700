//! The `rounding` file: what is in a folder of rounded weights; the integers lie beside it.

use serde::{Deserialize, Serialize};

use crate::artifact::{Artifact, Calibration, Model, Settings, WeightEncoding};
use crate::shard::Shard;

/// The file's name in the folder.
pub const ROUNDING_FILE: &str = "rounding.json";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundedSet {
    /// [`RoundedSet::schema`].
    pub schema: String,
    /// That of the mpq which wrote the file.
    pub version: String,
    pub model: Model,
    pub calibration: Calibration,
    /// Those of the calibration, with the SHA-256 over all integers and scales.
    pub settings: Settings,
    /// Steps of the optimizer at most.
    pub iterations: u32,
    /// By name, then by width; those of one width are the arrays of `W4.npz`.
    pub weights: Vec<RoundedEntry>,
}

impl Artifact for RoundedSet {
    const NAME: &'static str = "rounding";
    const VERSION: u32 = 1;

    fn model(&self) -> &Model {
        &self.model
    }
}

/// The file's name in the folder of one shard of N.
pub const ROUNDING_PART_FILE: &str = "part.json";

/// The `rounding-part` file: the weights that one shard rounded; the integers lie beside it, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundedPart {
    /// [`RoundedPart::schema`].
    pub schema: String,
    /// That of the mpq which wrote the file.
    pub version: String,
    pub shard: Shard,
    pub model: Model,
    pub calibration: Calibration,
    pub settings: Settings,
    /// Steps of the optimizer at most.
    pub iterations: u32,
    /// The names of the weights that all shards round.
    pub all: Vec<String>,
    /// As in a `rounding` file.
    pub weights: Vec<RoundedEntry>,
}

impl Artifact for RoundedPart {
    const NAME: &'static str = "rounding-part";
    const VERSION: u32 = 1;

    fn model(&self) -> &Model {
        &self.model
    }
}

/// One weight at one width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundedEntry {
    pub name: String,
    pub encoding: WeightEncoding,
    /// `None` where it is rounded to nearest in any case.
    pub loss: Option<RoundingLoss>,
}

/// The squared error of a layer's output, summed over channels, mean over positions and samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundingLoss {
    pub nearest: f64,
    pub rounded: f64,
}
