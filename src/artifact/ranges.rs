//! The `ranges` file: encodings of all quantizers, made once from all calibration samples.

use serde::{Deserialize, Serialize};

use crate::artifact::{Artifact, Calibration, MeasuredEncodings, Model, Settings};
use crate::quant::Candidate;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranges {
    /// [`Ranges::schema`].
    pub schema: String,
    /// That of the mpq which wrote the file.
    pub version: String,
    pub model: Model,
    pub calibration: Calibration,
    pub settings: Settings,
    /// Most precise first.
    pub candidates: Vec<Candidate>,
    /// SHA-256 of every sample, so that those who read a few know that these are the same.
    pub samples: Vec<String>,
    pub encodings: MeasuredEncodings,
}

impl Artifact for Ranges {
    const NAME: &'static str = "ranges";
    const VERSION: u32 = 1;

    fn model(&self) -> &Model {
        &self.model
    }
}
