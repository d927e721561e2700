//! Encodings as files hold them: single-precision numbers in their shortest form that reads back.

use serde::{Deserialize, Serialize};

use crate::artifact::Ordered;
use crate::quant::Bits;

/// The encodings of a configuration, by tensor, in model order. What stays in float is not listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encodings {
    pub activations: Ordered<ActivationEncoding>,
    pub weights: Ordered<WeightEncoding>,
    /// Biases that are corrected for the error of their layers' weights; not there where none is.
    #[serde(default, skip_serializing_if = "Ordered::is_empty")]
    pub biases: Ordered<Vec<f32>>,
}

/// How an activation is mapped to integers; `min` and `max` are the ends of the grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivationEncoding {
    pub bits: Bits,
    pub signed: bool,
    pub symmetric: bool,
    pub min: f32,
    pub max: f32,
    pub scale: f32,
    pub zero_point: i32,
}

/// How a weight is mapped to integers: one of each number per channel along `axis`, or one in all
/// where `axis` is `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightEncoding {
    pub bits: Bits,
    pub signed: bool,
    pub symmetric: bool,
    /// The grid has as many negative steps as positive ones.
    pub narrow: bool,
    pub axis: Option<u32>,
    pub min: Vec<f32>,
    pub max: Vec<f32>,
    pub scale: Vec<f32>,
    pub zero_point: Vec<i32>,
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_the_shortest_that_read_back() {
        let edges = [0., -0., 1e-45, f32::MIN_POSITIVE, 0.1, 1. / 3., 16_777_217., f32::MAX];
        let mut bits = 1_u32;
        let scattered = std::iter::repeat_with(|| {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(bits)
        });
        for scale in edges.into_iter().chain(scattered.take(5000).filter(|x| x.is_finite())) {
            let json = serde_json::to_string(&scale).unwrap();
            let back: f32 = serde_json::from_str(&json).unwrap();
            assert_eq!(back.to_bits(), scale.to_bits(), "{json}");
        }
        assert_eq!(serde_json::to_string(&0.018659_f32).unwrap(), "0.018659");
    }
}
