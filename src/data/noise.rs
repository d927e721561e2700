//! Seeded noise for when there is no data at all.
//!
//! Every value is the sum of twelve uniform numbers less 6, which has mean 0 and variance 1 and is
//! close to normal. Unlike Box-Muller it needs only sums of integers, so it is the same on every
//! machine. The uniform numbers are the 16-bit quarters of what SplitMix64 gives; its start depends
//! on the seed, the input and the sample, so samples can be made in any order.

use half::{bf16, f16};
use sha2::{Digest, Sha256};

use crate::data::{Column, DataError, InputSpec, SampleKey};
use crate::tensor::{DType, Element, Tensor, TensorType};

/// Standard normal values for one input.
#[derive(Debug)]
pub(super) struct Noise {
    dtype: DType,
    /// With the batch axis.
    shape: Vec<usize>,
    stream: u64,
    len: usize,
}

impl Noise {
    /// `position` is the input's place in the network's inputs.
    pub(super) fn new(
        input: &InputSpec,
        position: usize,
        seed: u64,
        len: usize,
        limit_bytes: usize,
    ) -> Result<Noise, DataError> {
        if !input.dtype.is_float() {
            return Err(DataError::NoiseType { found: input.clone() });
        }
        let rest = input.dims.iter().skip(1).copied().collect::<Option<Vec<usize>>>();
        let rest = rest.ok_or_else(|| DataError::NoiseShape { found: input.clone() })?;
        let shape = if input.dims.is_empty() { rest } else { [vec![1], rest].concat() };
        let found_bytes = TensorType::new(DType::F64, &shape).size_bytes();
        if limit_bytes < found_bytes {
            let name = input.name.clone();
            return Err(DataError::OverLimit { name, found_bytes, limit_bytes });
        }
        let stream = mix(mix(seed).wrapping_add(position as u64));
        Ok(Noise { dtype: input.dtype, shape, stream, len })
    }

    fn values<T: Element>(&self, index: usize, round: impl Fn(f64) -> T) -> Tensor {
        let mut state = mix(self.stream.wrapping_add(index as u64));
        let len = self.shape.iter().product();
        let values = (0..len).map(|_| round(normal(&mut state))).collect();
        Tensor::from_vec(&self.shape, values)
    }
}

impl Column for Noise {
    fn len(&self) -> usize {
        self.len
    }

    fn key(&self, index: usize) -> SampleKey {
        SampleKey { name: format!("noise[{index}]"), file: None, row: index }
    }

    fn read(&self, index: usize) -> Result<Tensor, DataError> {
        Ok(match self.dtype {
            DType::F64 => self.values(index, |x| x),
            DType::F16 => self.values(index, f16::from_f64),
            DType::BF16 => self.values(index, bf16::from_f64),
            _ => self.values(index, |x| x as f32),
        })
    }

    fn hash(&self, index: usize, hasher: &mut Sha256) -> Result<(), DataError> {
        let tensor = self.read(index)?;
        hasher.update(super::bytes::encode(&tensor));
        Ok(())
    }
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's output for a state.
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn normal(state: &mut u64) -> f64 {
    let mut sum = 0_u64;
    for _ in 0..3 {
        let bits = mix(*state);
        *state = state.wrapping_add(STEP);
        sum += (0..4).map(|quarter| (bits >> (16 * quarter)) & 0xffff).sum::<u64>();
    }
    (sum as f64 + 6.) / 65536. - 6.
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(dtype: DType, dims: &[Option<usize>]) -> InputSpec {
        InputSpec { name: "x".to_owned(), dtype, dims: dims.to_vec() }
    }

    #[test]
    fn standard_normal_and_seeded() {
        let input = spec(DType::F32, &[None, Some(10_000)]);
        let noise = |seed| Noise::new(&input, 0, seed, 2, 80_000).unwrap();
        let x = noise(0).read(0).unwrap();
        assert_eq!(x.shape(), [1, 10_000]);
        let x = x.slice::<f32>();
        let mean = x.iter().sum::<f32>() / 1e4;
        let variance = x.iter().map(|x| x * x).sum::<f32>() / 1e4;
        assert!(mean.abs() < 0.03 && (variance - 1.).abs() < 0.05, "{mean} {variance}");
        assert_eq!(noise(0).read(1).unwrap(), noise(0).read(1).unwrap());
        assert_ne!(noise(0).read(0).unwrap(), noise(0).read(1).unwrap());
        assert_ne!(noise(0).read(0).unwrap(), noise(1).read(0).unwrap());
    }

    #[test]
    fn the_generator_is_splitmix64() {
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn refusals() {
        let fails = |input| Noise::new(&input, 0, 0, 1, 800).unwrap_err().to_string();
        assert!(fails(spec(DType::I64, &[None])).contains("noise is for float inputs"));
        assert!(fails(spec(DType::F32, &[None, None])).contains("`--dim`"));
        assert!(fails(spec(DType::F32, &[None, Some(101)])).contains("takes 808 bytes"));
        assert!(fails(spec(DType::F32, &[None, Some(1 << 40), Some(1 << 40)])).contains("takes"));
    }
}
