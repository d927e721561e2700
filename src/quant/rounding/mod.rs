//! Rounding of weights: to nearest, or so that what a layer puts out stays as it was.
//!
//! A set holds every weight of a network at every width it may take, as integers under frozen scales.
//! Layers are fitted on the inputs that they have in the float network, so the sets of two widths are
//! independent, and a configuration takes each weight from the set of its width. What is a layer and
//! what stays rounded to nearest (embedding tables, recurrent and fused weights): [`layer`].

mod adaround;
mod descend;
mod fit;
mod gptq;
mod gram;
pub(in crate::quant) mod layer;
mod set;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

pub use fit::{Fit, FitError, Fitting, fit};
pub use set::{Loss, Rounded, RoundedWeight};

use crate::quant::rounding::gram::Rows;

/// A way to round. A new one is a file and a row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Rounding(&'static Method);

#[derive(Debug)]
struct Method {
    name: &'static str,
    /// The steps of some rows of a layer; `None` rounds to nearest, without looking at inputs.
    round: Option<Round>,
    /// How often a row is multiplied with its Gram matrix.
    products: fn(&Effort) -> u64,
}

/// Gives `[rows, depth]` numbers of scales.
type Round = fn(&Rows<'_>, &Effort) -> Vec<f32>;

const METHODS: &[Method] = &[
    Method { name: "nearest", round: None, products: |_| 0 },
    Method {
        name: "adaround",
        round: Some(adaround::round),
        products: |effort| effort.iterations.into(),
    },
    Method { name: "gptq", round: Some(gptq::round), products: |_| 1 },
];

/// How hard a method tries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// Steps of the optimizer at most; it stops where nothing moves any more.
    pub iterations: u32,
}

impl Effort {
    /// More gains nothing.
    pub const DEFAULT: Effort = Effort { iterations: 2000 };
}

impl Rounding {
    pub const NEAREST: Rounding = Rounding(&METHODS[0]);

    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// All of the table.
    pub fn all() -> impl Iterator<Item = Rounding> {
        METHODS.iter().map(Rounding)
    }

    /// Whether it looks at a weight alone.
    pub fn is_nearest(&self) -> bool {
        self.0.round.is_none()
    }
}

impl PartialEq for Rounding {
    fn eq(&self, other: &Rounding) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Rounding {}

impl fmt::Display for Rounding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rounding is `{found}`, expected {}", names())]
pub struct RoundingError {
    pub found: String,
}

fn names() -> String {
    let names: Vec<String> = METHODS.iter().map(|method| format!("`{}`", method.name)).collect();
    names.join(", ")
}

impl FromStr for Rounding {
    type Err = RoundingError;

    fn from_str(text: &str) -> Result<Rounding, RoundingError> {
        let found = METHODS.iter().find(|method| method.name == text);
        found.map(Rounding).ok_or_else(|| RoundingError { found: text.to_owned() })
    }
}
