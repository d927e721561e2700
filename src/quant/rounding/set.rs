//! [`Rounded`]: a set of rounded weights, all widths of a network.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::cache::Digest;
use crate::quant::{Bits, Encoding, Rounding};
use crate::tensor::Tensor;

/// Every weight of a network at every width it may take, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Rounded {
    pub method: Rounding,
    pub weights: BTreeMap<String, BTreeMap<Bits, RoundedWeight>>,
}

/// One weight at one width.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundedWeight {
    /// As the weight's elements lie.
    pub integers: Arc<Vec<i16>>,
    /// What the integers are multiplied by.
    pub encoding: Encoding,
    /// `None` where it is rounded to nearest in any case.
    pub loss: Option<Loss>,
}

/// What rounding a weight does to the output of its layer: the squared error, summed over channels,
/// mean over positions and samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    pub nearest: f64,
    pub rounded: f64,
}

impl RoundedWeight {
    pub fn nearest(tensor: &Tensor, encoding: &Encoding) -> RoundedWeight {
        let mut on_grid = tensor.clone();
        encoding.fake_quantize(&mut on_grid);
        let elements = on_grid.slice::<f32>().iter().enumerate();
        let integer = |(at, &w): (usize, &f32)| {
            (w / encoding.scales[encoding.channel(tensor.shape(), at)]).round() as i16
        };
        RoundedWeight {
            integers: Arc::new(elements.map(integer).collect()),
            encoding: encoding.clone(),
            loss: None,
        }
    }

    /// Whether it is one of a tensor of this shape under this encoding.
    pub fn fits(&self, shape: &[usize], encoding: &Encoding) -> bool {
        self.encoding == *encoding && self.integers.len() == shape.iter().product::<usize>()
    }

    /// Over its integers.
    pub fn digest(&self) -> Digest {
        let integers = self.integers.iter().flat_map(|integer| integer.to_le_bytes());
        Digest::of("integers", &[&integers.collect::<Vec<u8>>()])
    }

    /// The weight that the integers stand for.
    pub fn tensor(&self, shape: &[usize]) -> Tensor {
        let integers = self.integers.iter().enumerate();
        let value = |(at, &integer): (usize, &i16)| {
            f32::from(integer) * self.encoding.scales[self.encoding.channel(shape, at)]
        };
        Tensor::from_vec(shape, integers.map(value).collect())
    }
}

impl Rounded {
    pub fn get(&self, name: &str, bits: Bits) -> Option<&RoundedWeight> {
        self.weights.get(name)?.get(&bits)
    }

    /// Over names, widths, scales and integers.
    pub fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        for (name, by_bits) in &self.weights {
            for (bits, weight) in by_bits {
                let Encoding { scheme, axis, scales, .. } = &weight.encoding;
                hasher.update((name.len() as u64).to_le_bytes());
                hasher.update(name.as_bytes());
                hasher.update([bits.get(), u8::from(scheme.narrow)]);
                hasher.update(axis.map_or(u64::MAX, |axis| axis as u64).to_le_bytes());
                hasher.update((scales.len() as u64).to_le_bytes());
                scales.iter().for_each(|scale| hasher.update(scale.to_le_bytes()));
                hasher.update((weight.integers.len() as u64).to_le_bytes());
                let integers = weight.integers.iter().flat_map(|integer| integer.to_le_bytes());
                hasher.update(integers.collect::<Vec<u8>>());
            }
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
