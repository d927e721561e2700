//! Why a model could not be measured or searched.

use std::fmt;
use std::path::PathBuf;

use crate::artifact::ArtifactError;
use crate::cost::MissingRows;
use crate::data::DataError;
use crate::exec::RunError;
use crate::graph::NodeError;
use crate::metric::MetricError;
use crate::metric::sqnr::SqnrError;
use crate::ops::OpError;
use crate::quant::{Bits, CalibrationError, FitError, GroupError};
use crate::search::SearchError;
use crate::sensitivity::MeasureError;

#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error("`{file}` has nodes that cannot run{}", Lines(nodes))]
    Nodes { file: String, nodes: Vec<NodeError> },

    #[error("`{name}` of --outputs is no output and no inner tensor of the network")]
    UnknownOutput { name: String },

    #[error(
        "the network has no float32 output to compare ({found})\nhint: --outputs names an inner tensor, such as the one before an ArgMax"
    )]
    NoFloatOutput { found: String },

    #[error(
        "input `{input}` has shape {shape}: dimension `{dim}` is free\nhint: give its size with --dim {dim}=N"
    )]
    FreeDim { input: String, shape: String, dim: String },

    #[error("a bound for each channel cannot take the place of a Clip: {0}")]
    Equalize(OpError),

    #[error("the network cannot run on the first sample: {0}")]
    FirstPass(RunError),

    #[error(transparent)]
    Groups(GroupError),

    #[error(transparent)]
    Data(DataError),

    #[error(transparent)]
    Artifact(ArtifactError),

    #[error(transparent)]
    Calibration(CalibrationError),

    #[error(transparent)]
    Round(FitError),

    #[error(transparent)]
    Measure(MeasureError),

    #[error(transparent)]
    Sqnr(SqnrError),

    #[error(transparent)]
    Metric(MetricError),

    #[error("sample `{sample}`{}: {source}", Of(labels))]
    Sample { sample: String, labels: Option<PathBuf>, source: MetricError },

    #[error("cannot score the {network} network: {source}")]
    Score { network: &'static str, source: MetricError },

    #[error(transparent)]
    CostTable(MissingRows),

    #[error(transparent)]
    Search(SearchError),

    #[error(
        "{needed} bytes are needed for the weights and one sample on each thread, more than the {limit} of --memory"
    )]
    Memory { needed: usize, limit: usize },

    #[error("the configuration names tensor `{name}`, which the network does not have")]
    UnknownTensor { name: String },

    #[error(
        "the file's encoding of `{name}` is missing or does not fit that tensor of the network"
    )]
    EncodingDoesNotFit { name: String },

    #[error("the file's corrected bias `{name}` does not fit that tensor of the network")]
    BiasDoesNotFit { name: String },

    #[error("the rounded weights have `{name}` at {} bits, expected {expected}", Or(found))]
    NotRounded { name: String, found: String, expected: Bits },

    #[error(
        "`{name}` was rounded at {bits} bits for other scales than those of this calibration\nhint: `mpq round` with the same samples, --range, --weights, --target and --equalize"
    )]
    OtherScales { name: String, bits: Bits },

    #[error(
        "weights were rounded by `{method}`, their SHA-256 is `{sha256}`\nhint: give their folder with --rounded DIR; `mpq round` with the same samples and settings makes it again"
    )]
    NoRounded { method: String, sha256: String },

    #[error("rounding is `{method}` with no SHA-256 of the weights, expected one")]
    NoHash { method: String },

    #[error("the rounded weights have SHA-256 `{found}`, expected `{expected}`")]
    OtherRounded { found: String, expected: String },

    #[error("weights were rounded by `{method}`, expected no --rounded")]
    RoundedToNearest { method: String },

    #[error("ranges were made with {what} {found}, expected {expected}")]
    OtherRanges { what: &'static str, found: String, expected: String },

    #[error("the ranges of `{name}` are for {} bits, expected {}", Or(found), Or(expected))]
    Widths { name: String, found: String, expected: String },

    #[error("output `{output}` of sample `{sample}` has values that are not finite")]
    NotFinite { output: String, sample: String },

    #[error("sample `{sample}` has SHA-256 `{found}`, expected `{expected}`, that of the ranges")]
    OtherSample { sample: String, found: String, expected: String },

    #[error("the file's {what} is `{found}`, that of this model is `{expected}`")]
    Foreign { what: &'static str, found: String, expected: String },
}

/// Of a list that may be empty.
struct Or<'a>(&'a str);

impl fmt::Display for Or<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "no" } else { self.0 })
    }
}

struct Lines<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Lines<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// Where a sample's label is from.
struct Of<'a>(&'a Option<PathBuf>);

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |path| write!(f, ", labels `{}`", path.display()))
    }
}
