//! The value of `--range`: how ranges are found, of weights and of activations.

use std::collections::BTreeMap;
use std::str::FromStr;

use mpq::quant::{RangeMethod, RangeMethodError};

/// A method each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ranges {
    pub(super) weights: RangeMethod,
    pub(super) activations: RangeMethod,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum RangesError {
    #[error("{0}")]
    Method(RangeMethodError),

    #[error("found `{found}`, expected `weights` or `activations` before the `=`")]
    Role { found: String },

    #[error("`{role}` has two methods, expected one")]
    Twice { role: String },
}

impl FromStr for Ranges {
    type Err = RangesError;

    fn from_str(text: &str) -> Result<Ranges, RangesError> {
        if !text.contains('=') {
            let method = text.parse().map_err(RangesError::Method)?;
            return Ok(Ranges { weights: method, activations: method });
        }
        let mut methods: BTreeMap<&str, RangeMethod> = BTreeMap::new();
        for part in text.split(',') {
            let (role, method) = part.split_once('=').unwrap_or((part, ""));
            let role = role.trim();
            if !matches!(role, "weights" | "activations") {
                return Err(RangesError::Role { found: role.to_owned() });
            }
            let method = method.trim().parse().map_err(RangesError::Method)?;
            if methods.insert(role, method).is_some() {
                return Err(RangesError::Twice { role: role.to_owned() });
            }
        }
        let method = |role| methods.get(role).copied().unwrap_or(RangeMethod::Mse);
        Ok(Ranges { weights: method("weights"), activations: method("activations") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        use RangeMethod::{MinMax, Mse, Percentile};
        for (text, weights, activations) in [
            ("minmax", MinMax, MinMax),
            ("percentile:99.9", Percentile(99.9), Percentile(99.9)),
            ("weights=minmax", MinMax, Mse),
            ("activations=percentile:99,weights=mse", Mse, Percentile(99.)),
        ] {
            assert_eq!(text.parse::<Ranges>().unwrap(), Ranges { weights, activations }, "{text}");
        }
        for (text, message) in [
            (
                "max",
                "range method is `max`, expected `minmax`, `mse` or `percentile:P` with P above 50 and at most 100",
            ),
            ("bias=mse", "found `bias`, expected `weights` or `activations` before the `=`"),
            (
                "weights=mse,minmax",
                "found `minmax`, expected `weights` or `activations` before the `=`",
            ),
            ("weights=mse,weights=minmax", "`weights` has two methods, expected one"),
        ] {
            assert_eq!(text.parse::<Ranges>().unwrap_err().to_string(), message);
        }
    }
}
