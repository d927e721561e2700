//! Encodings and rounded weights as bytes that a cache keeps, and back bit for bit.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cache::{Packed, Unpacked};
use crate::quant::{Bits, Encoding, Encodings, Loss, RoundedWeight, Scheme};

/// The axis of an encoding that has none.
const NO_AXIS: u64 = u64::MAX;

type ByBits = BTreeMap<Bits, Encoding>;

impl Encodings {
    /// But for corrected biases, which are made afterwards.
    pub fn pack(&self) -> Vec<u8> {
        let mut packed = Packed::new();
        for quantizers in [&self.activations, &self.weights, &self.operands] {
            packed.number(quantizers.len() as u64);
            for by_bits in quantizers {
                packed.number(by_bits.len() as u64);
                by_bits.values().for_each(|encoding| pack(encoding, &mut packed));
            }
        }
        packed.0
    }

    /// Without any biases; `None` if it is not what [`Encodings::pack`] makes.
    pub fn unpack(bytes: &[u8]) -> Option<Encodings> {
        let mut unpacked = Unpacked::new(bytes);
        let activations = quantizers(&mut unpacked)?;
        let weights = quantizers(&mut unpacked)?;
        let operands = quantizers(&mut unpacked)?;
        let biases = vec![BTreeMap::new(); weights.len()];
        unpacked.is_empty().then_some(Encodings { activations, weights, operands, biases })
    }
}

fn quantizers(unpacked: &mut Unpacked<'_>) -> Option<Vec<ByBits>> {
    let n = unpacked.count()?;
    (0..n).map(|_| by_bits(unpacked)).collect()
}

fn by_bits(unpacked: &mut Unpacked<'_>) -> Option<ByBits> {
    let n = unpacked.count()?;
    let encodings = (0..n).map(|_| unpack(unpacked));
    encodings.map(|encoding| encoding.map(|encoding| (encoding.bits, encoding))).collect()
}

fn pack(encoding: &Encoding, packed: &mut Packed) {
    let Encoding { bits, scheme, axis, scales, zero_points } = encoding;
    let Scheme { signed, symmetric, narrow } = *scheme;
    let scales: Vec<u8> = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
    let zero_points: Vec<u8> = zero_points.iter().flat_map(|z| z.to_le_bytes()).collect();
    packed
        .bytes(&[bits.get(), signed.into(), symmetric.into(), narrow.into()])
        .number(axis.map_or(NO_AXIS, |axis| axis as u64))
        .bytes(&scales)
        .bytes(&zero_points);
}

fn unpack(unpacked: &mut Unpacked<'_>) -> Option<Encoding> {
    let &[bits, signed, symmetric, narrow] = unpacked.bytes()? else { return None };
    let axis = unpacked.number()?;
    let axis = (axis != NO_AXIS).then(|| usize::try_from(axis)).transpose().ok()?;
    let (scales, zero_points) = (unpacked.bytes()?.as_chunks(), unpacked.bytes()?.as_chunks());
    let is_true = |byte: u8| byte == 1;
    Some(Encoding {
        bits: Bits::new(bits)?,
        scheme: Scheme {
            signed: is_true(signed),
            symmetric: is_true(symmetric),
            narrow: is_true(narrow),
        },
        axis,
        scales: scales.0.iter().map(|scale| f32::from_le_bytes(*scale)).collect(),
        zero_points: zero_points.0.iter().map(|z| i32::from_le_bytes(*z)).collect(),
    })
}

impl RoundedWeight {
    /// Its integers, one byte each where that is enough, and its loss; not its encoding.
    pub fn pack(&self) -> Vec<u8> {
        let mut packed = Packed::new();
        if self.encoding.bits.get() <= 8 {
            let narrow = self.integers.iter().map(|&integer| (integer as i8) as u8);
            packed.bytes(&narrow.collect::<Vec<u8>>());
        } else {
            let wide = self.integers.iter().flat_map(|integer| integer.to_le_bytes());
            packed.bytes(&wide.collect::<Vec<u8>>());
        }
        if let Some(loss) = self.loss {
            packed.float(loss.nearest).float(loss.rounded);
        }
        packed.0
    }

    /// `None` if it is not what [`RoundedWeight::pack`] makes of a weight with this encoding.
    pub fn unpack(bytes: &[u8], encoding: &Encoding) -> Option<RoundedWeight> {
        let mut unpacked = Unpacked::new(bytes);
        let integers = unpacked.bytes()?;
        let integers: Vec<i16> = if encoding.bits.get() <= 8 {
            integers.iter().map(|&byte| i16::from(byte as i8)).collect()
        } else {
            integers.as_chunks().0.iter().map(|bytes| i16::from_le_bytes(*bytes)).collect()
        };
        let loss = match unpacked.is_empty() {
            true => None,
            false => Some(Loss { nearest: unpacked.float()?, rounded: unpacked.float()? }),
        };
        let (integers, encoding) = (Arc::new(integers), encoding.clone());
        unpacked.is_empty().then_some(RoundedWeight { integers, encoding, loss })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::Range;

    fn encoding(bits: u8, axis: Option<usize>) -> Encoding {
        let bits = Bits::new(bits).unwrap();
        let narrow = Scheme { narrow: true, ..Scheme::SYMMETRIC };
        let scheme = if axis.is_some() { narrow } else { Scheme::UNSIGNED };
        let ranges = [Range::new(-0.1, 0.7), Range::new(-3., 1e-30)];
        Encoding::new(bits, scheme, axis, &ranges[..1 + axis.map_or(0, |_| 1)])
    }

    #[test]
    fn encodings() {
        let by_bits = |axis| -> ByBits {
            let encodings = [4, 16].map(|bits| encoding(bits, axis));
            encodings.map(|encoding| (encoding.bits, encoding)).into()
        };
        let encodings = Encodings {
            activations: vec![by_bits(None), ByBits::new()],
            weights: vec![by_bits(Some(1))],
            operands: Vec::new(),
            biases: vec![BTreeMap::new()],
        };
        let packed = encodings.pack();
        assert_eq!(Encodings::unpack(&packed), Some(encodings));
        let more = [&packed[..], &[0]].concat();
        for bytes in [&packed[..packed.len() - 1], &more, &[]] {
            assert_eq!(Encodings::unpack(bytes), None);
        }
    }

    #[test]
    fn rounded_weights() {
        let weight = |bits, integers: [i16; 3], loss| RoundedWeight {
            integers: Arc::new(integers.to_vec()),
            encoding: encoding(bits, Some(0)),
            loss,
        };
        let loss = Some(Loss { nearest: 0.1, rounded: 1e-300 });
        for weight in [weight(8, [-128, 127, 0], loss), weight(9, [-256, 255, 1], None)] {
            let packed = weight.pack();
            assert_eq!(RoundedWeight::unpack(&packed, &weight.encoding), Some(weight.clone()));
            assert_eq!(RoundedWeight::unpack(&packed[1..], &weight.encoding), None);
        }
    }
}
