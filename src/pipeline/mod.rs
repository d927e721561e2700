//! The network behind the search's `Problem`; "search this model" as a library call.

mod artifacts;
mod check;
mod configured;
mod conversions;
mod encoded;
mod error;
mod evaluate;
mod exam;
mod fit;
mod gaps;
mod inspect;
mod judge;
mod kept;
mod merge;
mod network;
mod outcome;
mod part;
mod prepare;
mod ranges;
mod rank;
mod round;
mod rounded;
mod rounded_part;
mod score;
mod study;

pub use artifacts::{Head, read_sensitivity, sensitivity_file};
pub use check::{CheckError, Checked, Difference, Spot, Tolerance, check, compare};
pub use configured::Configured;
#[cfg(test)]
pub(crate) use configured::testing;
pub use error::PipelineError;
pub use evaluate::{Applied, Evaluated, Evaluation, expect_rounding};
pub use fit::{Misfit, misfits};
pub use gaps::Gap;
pub use inspect::{
    BadNode, InspectedGroup, InspectedUnit, Inspection, NotQuantized, OperatorCount, Port, PortDim,
    Reason,
};
pub use kept::{Judged, Kept};
pub use merge::{Merge, MergeError};
pub use network::{
    Network, Resources, Settings, evaluable, find_outputs, input_specs, input_types, outputs_and,
};
pub use outcome::{Searched, search, search_quality};
pub use prepare::Preparation;
pub use ranges::{expect_samples, ranges_file};
pub use rank::read_scores;
pub use rounded::{RoundedError, read_rounded, rounded_files};
pub use rounded_part::{RoundedMergeError, merge_rounded, rounded_part_files};
pub use score::{Scorer, Validation};
pub use study::{Measuring, Study};
