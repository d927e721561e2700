//! Encodings, range estimators, targets, groups, calibration, equalization, simulation, rounding, bias
//! correction.

mod bias;
mod calibrate;
mod candidate;
mod candidates;
mod choice;
mod encoding;
mod equalize;
mod group;
mod histogram;
mod packed;
mod pattern;
mod pin;
mod placement;
#[cfg(test)]
mod random_tests;
mod range;
mod rounding;
mod simulate;
mod target;

pub use bias::{Correcting, Corrections, with_own_biases};
pub use calibrate::{Calibration, CalibrationError, Encodings, RangeMethods, calibrate};
pub use candidate::{Bits, BitsError, Candidate, CandidateError};
pub use candidates::{Candidates, CandidatesError};
pub use choice::{GroupError, NoCandidate};
pub use encoding::{Encoding, Range, Scheme};
pub use equalize::equalize;
pub use group::{Group, Groups, node_macs};
pub use histogram::{Bin, Histogram};
pub use pattern::{Pattern, nearest};
pub use pin::Pin;
pub use placement::{OperandSite, Placement, WeightSite};
pub use range::{RangeMethod, RangeMethodError, activation_range, weight_range};
pub use rounding::{
    Effort, Fit, FitError, Fitting, Loss, Rounded, RoundedWeight, Rounding, RoundingError, fit,
};
pub use simulate::{FakeQuantize, Simulator};
pub use target::{
    ActivationSchemes, ConversionPrice, FixedRange, OperatorRule, OutputRule, ScaleKind, Share,
    TARGET_SCHEMA, Target, TargetError, TargetPin, Tie, WeightScales,
};
