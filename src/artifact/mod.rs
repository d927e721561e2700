//! The JSON files: plain serde structs with a schema version.
//!
//! Keys keep the order of the structs, maps that of the model; what is unknown is null, never 0; the
//! same values give the same bytes. A file without a `schema` key, of another kind or of a newer
//! version is refused.

mod config;
mod difference;
mod encoding;
mod error;
mod eval;
#[cfg(test)]
pub(crate) mod example;
mod head;
mod layout;
mod ordered;
mod part;
mod ranges;
mod rounding;
mod schema;
mod sensitivity;

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use config::{
    Achieved, Baseline, Config, Conversion, CurvePoint, Flip, Goal, Group, Measured, PointCost,
    Quality, Requested, TotalCost,
};
pub use difference::{
    Change, ConfigDifference, DifferenceError, ListDifference, Moved, candidate_changes,
};
pub use encoding::{ActivationEncoding, Encodings, WeightEncoding};
pub use error::ArtifactError;
pub use eval::{Eval, EvalData};
pub use head::{Calibration, Model, RANK_BY_SQNR, RangeMethods, Rounding, Settings};
pub use ordered::Ordered;
pub use part::{Part, PartChoice, PartGroup, PartPower};
pub use ranges::Ranges;
pub use rounding::{
    ROUNDING_FILE, ROUNDING_PART_FILE, RoundedEntry, RoundedPart, RoundedSet, RoundingLoss,
};
pub use schema::{SCHEMAS, json_schema};
pub use sensitivity::{
    ListEntry, MeasuredChoice, MeasuredEncodings, MeasuredGroup, Partial, Sensitivity,
};

/// A kind of file; its `schema` is `mpq/NAME/VERSION`.
pub trait Artifact: Serialize + DeserializeOwned {
    const NAME: &'static str;

    /// Raised whenever a key is added, removed or changes its meaning.
    const VERSION: u32;

    /// What the file's numbers belong to.
    fn model(&self) -> &Model;

    /// What stands in the `schema` key.
    fn schema() -> String {
        format!("mpq/{}/{}", Self::NAME, Self::VERSION)
    }

    /// Refuses a file that was made for another model than the one with this SHA-256.
    fn expect_model(&self, sha256: &str) -> Result<(), ArtifactError> {
        let found = &self.model().sha256;
        if found == sha256 {
            return Ok(());
        }
        Err(ArtifactError::Model { found: found.clone(), expected: sha256.to_owned() })
    }

    /// The bytes of the file.
    fn to_json(&self) -> String {
        to_json(self)
    }
}

/// JSON with the line breaks that our files have; ends in one.
///
/// # Panics
/// If a map of the value has keys that are no text.
pub fn to_json<T: Serialize>(value: &T) -> String {
    let json = serde_json::to_string(value).expect("plain data with text keys");
    layout::layout(&json)
}

/// Reads a file.
pub fn read<A: Artifact>(path: &Path) -> Result<A, ArtifactError> {
    let json =
        fs::read(path).map_err(|source| ArtifactError::Read { path: path.to_owned(), source })?;
    parse(&path.display().to_string(), &json)
}

/// Reads the text of a file; `file` is its name in errors.
pub fn parse<A: Artifact>(file: &str, json: &[u8]) -> Result<A, ArtifactError> {
    error::expect_schema::<A>(file, json)?;
    serde_json::from_slice(json).map_err(|source| ArtifactError::Json {
        file: file.to_owned(),
        expected: A::schema(),
        source,
    })
}
