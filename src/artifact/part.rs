//! The `part` file: what one shard of N measured of Phase 1; N of them make a `sensitivity` file.

use serde::{Deserialize, Serialize};

use crate::artifact::{
    Artifact, Calibration, MeasuredEncodings, MeasuredGroup, Model, Ordered, Settings,
};
use crate::quant::{Bits, Candidate};
use crate::shard::Shard;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// [`Part::schema`].
    pub schema: String,
    /// That of the mpq which wrote the file.
    pub version: String,
    pub shard: Shard,
    pub model: Model,
    pub calibration: Calibration,
    pub settings: Settings,
    /// Most precise first.
    pub candidates: Vec<Candidate>,
    pub outputs: Vec<String>,
    pub signal_power: PartPower,
    pub groups: Vec<PartGroup>,
    pub encodings: MeasuredEncodings,
}

impl Artifact for Part {
    const NAME: &'static str = "part";
    const VERSION: u32 = 1;

    fn model(&self) -> &Model {
        &self.model
    }
}

/// A group as in a `sensitivity` file.
pub type PartGroup = MeasuredGroup<PartChoice>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartChoice {
    pub candidate: Candidate,
    pub weight_bits: Option<Bits>,
    pub activation_bits: Bits,
    /// Against the group's most precise choice; of equal SQNRs it decides.
    pub bops_saved: f64,
    pub noise_power: PartPower,
}

impl PartChoice {
    /// The same without powers: what all parts have alike.
    pub fn unmeasured(&self) -> PartChoice {
        let noise_power = PartPower { samples: [0, 0], power: Ordered::new() };
        PartChoice { noise_power, ..*self }
    }
}

/// Powers of samples that follow one another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartPower {
    /// The first, and the one after the last.
    pub samples: [u64; 2],
    /// By output: of each of these samples.
    pub power: Ordered<Vec<f64>>,
}
