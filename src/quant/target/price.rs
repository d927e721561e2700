//! [`ConversionPrice`]: what a target asks where activations of different widths meet.

use serde::{Deserialize, Serialize};

use crate::quant::Bits;
use crate::quant::target::TargetError;

/// The price of converting one activation, in a unit of the target's own, such as microseconds.
///
/// Of several that fit, the first counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConversionPrice {
    /// The width that is converted, 32 for float; `None` for any.
    #[serde(default)]
    pub from: Option<Bits>,
    /// The width that is wanted.
    #[serde(default)]
    pub to: Option<Bits>,
    /// For each conversion.
    #[serde(default)]
    pub each: f64,
    /// For each element of what is converted.
    #[serde(default)]
    pub per_element: f64,
}

impl ConversionPrice {
    pub fn is_for(&self, from: Bits, to: Bits) -> bool {
        self.from.is_none_or(|bits| bits == from) && self.to.is_none_or(|bits| bits == to)
    }

    /// What converting an activation of so many elements takes.
    pub fn of(&self, elements: u64) -> f64 {
        self.each + self.per_element * elements as f64
    }
}

/// Every conversion must have a price, and none a negative one.
pub(super) fn check(prices: &[ConversionPrice]) -> Result<(), TargetError> {
    for found in prices.iter().flat_map(|price| [price.each, price.per_element]) {
        if !(found.is_finite() && 0. <= found) {
            return Err(TargetError::Price { found });
        }
    }
    match prices.last() {
        Some(last) if last.from.is_some() || last.to.is_some() => Err(TargetError::NoOtherPrice),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices(json: &str) -> Vec<ConversionPrice> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_first_that_fits_counts() {
        let prices = prices(
            r#"[{"from":16,"to":8,"each":1},{"from":16,"per_element":2},{"each":3,"per_element":0.5}]"#,
        );
        assert!(check(&prices).is_ok());
        let price = |from, to| {
            let [from, to] = [from, to].map(|bits| Bits::new(bits).unwrap());
            prices.iter().find(|price| price.is_for(from, to)).unwrap().of(10)
        };
        assert_eq!([price(16, 8), price(16, 4), price(8, 16), price(32, 8)], [1., 20., 8., 8.]);
    }

    #[test]
    fn what_cannot_be_a_price_is_refused() {
        for (json, message) in [
            (r#"[{"each":-1}]"#, "`conversions` has the price -1, expected one from 0 on"),
            (
                r#"[{"each":1},{"from":8,"each":1}]"#,
                "`conversions` ends with a price for certain widths, expected one for all others, without `from` and `to`",
            ),
        ] {
            assert_eq!(check(&prices(json)).unwrap_err().to_string(), message);
        }
        assert!(check(&[]).is_ok());
    }
}
