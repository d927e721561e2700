//! [`BinCounts`]: how many floats fall in each bin, a bin being the upper half of the f32.
//!
//! Neighbours often fall in the same bin, so each of four elements in a row has counters of its
//! own: an increment need not wait for the one before it. A counter has 16 bits, which keeps those
//! that are in use within the first-level cache.

#![allow(unsafe_code)]

use super::dispatch::multiversion;

const N_BINS: usize = 1 << 16;
const TABLES: usize = 4;
/// Bins that share sign and exponent.
const BLOCK: usize = 128;
/// Of a sign.
const N_EXPONENTS: usize = 256;
/// Elements looked at twice while they are in the first-level cache.
const CHUNK: usize = 4096;
const INFINITY: u32 = f32::INFINITY.to_bits();

/// Counts of finite and other values by bin.
#[derive(Debug)]
pub struct BinCounts {
    tables: Box<[[u16; N_BINS]; TABLES]>,
    len: usize,
    extent: Extent,
}

/// What values have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Extent {
    /// The least magnitude that is not 0, and the largest one, as bits; the least less 1.
    magnitudes: (u32, u32),
    /// The least and the largest value, as integers of the same order.
    order: (i32, i32),
}

const NOTHING: Extent = Extent { magnitudes: (u32::MAX, 0), order: (i32::MAX, i32::MIN) };

impl Default for BinCounts {
    fn default() -> BinCounts {
        let tables = vec![[0; N_BINS]; TABLES].into_boxed_slice();
        let tables = tables.try_into().expect("as many tables");
        BinCounts { tables, len: 0, extent: NOTHING }
    }
}

impl BinCounts {
    /// The most values that may be counted before they are taken out.
    pub const MAX_LEN: usize = u16::MAX as usize * TABLES / CHUNK * CHUNK;

    /// # Panics
    /// If there were more than [`BinCounts::MAX_LEN`] values.
    pub fn add(&mut self, values: &[f32]) {
        self.len += values.len();
        assert!(self.len <= BinCounts::MAX_LEN, "a counter has 16 bits");
        for chunk in values.chunks(CHUNK) {
            let mut extent = extent(chunk);
            if INFINITY <= extent.magnitudes.1 {
                extent.order = finite_order(chunk);
            }
            self.extent = self.extent.with(extent);
            self.count(chunk);
        }
    }

    fn count(&mut self, values: &[f32]) {
        let bin = |x: f32| usize::from((x.to_bits() >> 16) as u16);
        let (chunks, rest) = values.as_chunks::<TABLES>();
        for chunk in chunks {
            for (table, &x) in self.tables.iter_mut().zip(chunk) {
                table[bin(x)] += 1;
            }
        }
        for (table, &x) in self.tables.iter_mut().zip(rest) {
            table[bin(x)] += 1;
        }
    }

    /// The least and the largest of the finite values; of two zeros, -0 is the lesser. `None` if
    /// there are none.
    pub fn extremes(&self) -> Option<(f32, f32)> {
        let (least, largest) = self.extent.order;
        (least <= largest).then(|| (from_order(least), from_order(largest)))
    }

    /// Hands over the counts of every block of bins that share sign and exponent and may not be
    /// empty, with the block's number, and is empty then.
    pub fn take(&mut self, mut take: impl FnMut(usize, &[u32; BLOCK])) {
        let (least, largest) = self.extent.magnitudes;
        let exponent = |magnitude: u32| (magnitude >> 23) as usize;
        let is_negative = self.extent.order.0 < 0 || INFINITY <= largest;
        let signs = if is_negative { 2 } else { 1 };
        // Zeros are in the first block.
        let first = exponent(least.saturating_add(1)).clamp(1, N_EXPONENTS);
        let exponents = || std::iter::once(0).chain(first..exponent(largest) + 1);
        for block in (0..signs).flat_map(|sign| exponents().map(move |e| sign * N_EXPONENTS + e)) {
            let mut counts = [0; BLOCK];
            for table in self.tables.iter_mut() {
                let table = &mut table[block * BLOCK..][..BLOCK];
                counts.iter_mut().zip(&*table).for_each(|(sum, &n)| *sum += u32::from(n));
                table.fill(0);
            }
            take(block, &counts);
        }
        (self.len, self.extent) = (0, NOTHING);
    }
}

impl Extent {
    #[inline(always)]
    fn with(self, other: Extent) -> Extent {
        let (a, b) = (self, other);
        Extent {
            magnitudes: (a.magnitudes.0.min(b.magnitudes.0), a.magnitudes.1.max(b.magnitudes.1)),
            order: (a.order.0.min(b.order.0), a.order.1.max(b.order.1)),
        }
    }
}

multiversion! {
    fn extent(values: &[f32]) -> Extent {
        values.iter().fold(NOTHING, |all, x| {
            let magnitude = x.to_bits() & !SIGN;
            let order = order(*x);
            all.with(Extent {
                magnitudes: (magnitude.wrapping_sub(1), magnitude),
                order: (order, order),
            })
        })
    }
}

const SIGN: u32 = 1 << 31;

fn finite_order(values: &[f32]) -> (i32, i32) {
    let orders = values.iter().filter(|x| x.is_finite()).map(|&x| order(x));
    orders.fold(NOTHING.order, |(least, largest), x| (least.min(x), largest.max(x)))
}

/// Negative for negative values, -0 among them.
#[inline(always)]
fn order(x: f32) -> i32 {
    let bits = x.to_bits() as i32;
    bits ^ ((bits >> 31) & i32::MAX)
}

fn from_order(order: i32) -> f32 {
    f32::from_bits((order ^ ((order >> 31) & i32::MAX)) as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::kernels::dispatch::at_each_level;

    type Counted = (BTreeMap<usize, u32>, Option<(f32, f32)>);

    fn plain(values: &[f32]) -> Counted {
        let mut bins = BTreeMap::new();
        for x in values {
            *bins.entry((x.to_bits() >> 16) as usize).or_default() += 1;
        }
        let mut finite: Vec<f32> = values.iter().copied().filter(|x| x.is_finite()).collect();
        finite.sort_by(f32::total_cmp);
        (bins, finite.first().copied().zip(finite.last().copied()))
    }

    fn counted(counts: &mut BinCounts, values: &[f32]) -> Counted {
        counts.add(values);
        let extremes = counts.extremes();
        let mut bins = BTreeMap::new();
        counts.take(|block, counts| {
            let counts = counts.iter().enumerate().filter(|(_, count)| 0 < **count);
            bins.extend(counts.map(|(bin, &count)| (block * BLOCK + bin, count)));
        });
        (bins, extremes)
    }

    fn random_bits(n: usize, mask: u32) -> Vec<f32> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(state & mask)
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn as_counted_one_by_one_at_each_level() {
        let cases = [
            vec![],
            vec![0.],
            vec![-0.],
            vec![0., -0., 1., 6., 6., 6.],
            vec![f32::NAN, f32::NEG_INFINITY],
            vec![-f32::NAN, 1e-45, -1e-45, f32::MAX, f32::MIN],
            vec![f32::NEG_INFINITY, 3.],
            vec![-2.5; 10_001],
            random_bits(20_000, u32::MAX),
            random_bits(5000, i32::MAX as u32),
            (0..100_003).map(|i| (i as f32 * 0.37).sin() * 3.).collect(),
        ];
        let mut reused = BinCounts::default();
        for values in &cases {
            let expected = plain(values);
            for (level, found) in at_each_level(|| counted(&mut BinCounts::default(), values)) {
                assert!(found == expected, "{level:?}: {} values", values.len());
            }
            assert!(counted(&mut reused, values) == expected, "{} values, reused", values.len());
        }
    }

    #[test]
    fn a_counter_does_not_overflow() {
        let values = vec![1.; BinCounts::MAX_LEN];
        let (bins, _) = counted(&mut BinCounts::default(), &values);
        assert_eq!(bins.into_values().collect::<Vec<_>>(), [BinCounts::MAX_LEN as u32]);
    }
}
