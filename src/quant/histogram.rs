//! [`Histogram`]: the distribution of an activation in fixed bins, one pass for every width.
//!
//! A bin holds the floats that share sign, exponent and the top 7 bits of the mantissa (the upper
//! half of the f32), so it is 0.8 % wide or less. Counts are integers: their sum does not depend on
//! the order of samples. Memory grows with the exponents that occur, not with the samples.

use std::cell::RefCell;
use std::sync::Mutex;

use crate::kernels::BinCounts;

/// Bins that share sign and exponent.
const BLOCK: usize = 128;
const N_BLOCKS: usize = (1 << 16) / BLOCK;
/// The block of infinity and NaN, of either sign.
const NOT_FINITE: usize = 255;
/// Values that are put in their bins one by one: for so few, counters are not worth emptying.
const FEW: usize = 1024;

thread_local! {
    /// Empty between uses.
    static COUNTS: RefCell<BinCounts> = RefCell::default();
}

/// Counts of values by bin, with the exact least and largest.
#[derive(Debug, Clone)]
pub struct Histogram {
    blocks: Vec<Option<Box<[u64; BLOCK]>>>,
    min: f32,
    max: f32,
    n_not_finite: u64,
}

/// A bin that is not empty: `count` values, taken as spread evenly over `[low, high]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    pub low: f64,
    pub high: f64,
    pub count: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            blocks: vec![None; N_BLOCKS],
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
            n_not_finite: 0,
        }
    }
}

impl Histogram {
    pub fn add(&mut self, values: &[f32]) {
        if values.len() <= FEW {
            return self.add_few(values);
        }
        for part in values.chunks(BinCounts::MAX_LEN) {
            COUNTS.with_borrow_mut(|counts| {
                counts.add(part);
                self.take(counts);
            });
        }
    }

    /// Adds to a histogram that several threads add to; none waits while another counts.
    pub fn add_shared(histogram: &Mutex<Histogram>, values: &[f32]) {
        let lock = || histogram.lock().expect("nothing that holds a histogram panics");
        if values.len() <= FEW {
            return lock().add_few(values);
        }
        for part in values.chunks(BinCounts::MAX_LEN) {
            COUNTS.with_borrow_mut(|counts| {
                counts.add(part);
                lock().take(counts);
            });
        }
    }

    fn add_few(&mut self, values: &[f32]) {
        for &x in values {
            if !x.is_finite() {
                self.n_not_finite += 1;
                continue;
            }
            self.include(x, x);
            let bin = (x.to_bits() >> 16) as usize;
            self.block(bin / BLOCK)[bin % BLOCK] += 1;
        }
    }

    fn take(&mut self, counts: &mut BinCounts) {
        if let Some((min, max)) = counts.extremes() {
            self.include(min, max);
        }
        counts.take(|index, counts| {
            let sum: u64 = counts.iter().map(|&count| u64::from(count)).sum();
            if index % (N_BLOCKS / 2) == NOT_FINITE {
                self.n_not_finite += sum;
            } else if 0 < sum {
                let counts = counts.iter().map(|&count| u64::from(count));
                self.block(index).iter_mut().zip(counts).for_each(|(mine, more)| *mine += more);
            }
        });
    }

    fn include(&mut self, min: f32, max: f32) {
        self.min = if min < self.min { min } else { self.min };
        self.max = if self.max < max { max } else { self.max };
    }

    fn block(&mut self, index: usize) -> &mut [u64; BLOCK] {
        self.blocks[index].get_or_insert_with(|| Box::new([0; BLOCK]))
    }

    pub fn merge(&mut self, other: &Histogram) {
        self.include(other.min, other.max);
        self.n_not_finite += other.n_not_finite;
        for (index, theirs) in other.blocks.iter().enumerate() {
            let Some(theirs) = theirs else { continue };
            self.block(index).iter_mut().zip(theirs.iter()).for_each(|(mine, more)| *mine += more);
        }
    }

    /// Number of NaN and infinite values seen; they are in no bin.
    pub fn n_not_finite(&self) -> u64 {
        self.n_not_finite
    }

    /// The least and the largest value; `None` if there was none.
    pub fn extremes(&self) -> Option<(f32, f32)> {
        (self.min <= self.max).then_some((self.min, self.max))
    }

    /// The bins that are not empty, by ascending value.
    pub fn bins(&self) -> Vec<Bin> {
        let half = N_BLOCKS / 2;
        let descending = (half..N_BLOCKS).rev().flat_map(|block| self.block_bins(block).rev());
        let ascending = (0..half).flat_map(|block| self.block_bins(block));
        descending.chain(ascending).collect()
    }

    fn block_bins(&self, block: usize) -> impl DoubleEndedIterator<Item = Bin> + '_ {
        let counts = self.blocks[block].iter().flat_map(|counts| counts.iter().enumerate());
        let counts: Vec<(usize, u64)> =
            counts.filter(|(_, count)| **count > 0).map(|(index, count)| (index, *count)).collect();
        counts.into_iter().map(move |(index, count)| self.bin(block * BLOCK + index, count))
    }

    fn bin(&self, index: usize, count: u64) -> Bin {
        let edge = |index: usize| f64::from(f32::from_bits((index as u32) << 16));
        let is_negative = index >= 1 << 15;
        let magnitude = index & 0x7fff;
        if magnitude == 0 {
            return Bin { low: 0., high: 0., count };
        }
        // The bin above the largest finite one would begin at infinity.
        let outer = if magnitude + 1 == 0x7f80 { f64::from(f32::MAX) } else { edge(magnitude + 1) };
        let (low, high) =
            if is_negative { (-outer, -edge(magnitude)) } else { (edge(magnitude), outer) };
        let (min, max) = (f64::from(self.min), f64::from(self.max));
        Bin { low: low.max(min), high: high.min(max), count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_sorted_and_complete() {
        let mut histogram = Histogram::default();
        histogram.add(&[-2., 0., 0.5, 1., 1.001, -0.0, f32::NAN, 3e38, -1e-42]);
        let bins = histogram.bins();
        assert!(bins.windows(2).all(|pair| pair[0].high <= pair[1].low));
        assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), 8);
        assert_eq!(histogram.n_not_finite(), 1);
        assert_eq!(histogram.extremes(), Some((-2., 3e38)));
    }

    #[test]
    fn order_does_not_matter() {
        let (mut a, mut b, mut whole) =
            (Histogram::default(), Histogram::default(), Histogram::default());
        a.add(&[1., 2., 3.]);
        b.add(&[-4., 2.]);
        whole.add(&[-4., 2., 3., 2., 1.]);
        b.merge(&a);
        assert_eq!(b.bins(), whole.bins());
    }

    #[test]
    fn many_are_counted_as_few_are() {
        let wave = |i: u32| (i as f32 * 0.37).sin() * (i as f32 * 0.01).exp2();
        let mut values: Vec<f32> = (0..3000).map(wave).collect();
        values.extend([f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0., -0., 1e-40]);
        let (mut many, mut few) = (Histogram::default(), Histogram::default());
        let shared = Mutex::default();
        many.add(&values);
        values.chunks(7).for_each(|some| few.add(some));
        Histogram::add_shared(&shared, &values[1..]);
        Histogram::add_shared(&shared, &values[..1]);
        let shared = shared.into_inner().unwrap();
        for found in [&many, &shared] {
            assert_eq!(found.bins(), few.bins());
            assert_eq!((found.extremes(), found.n_not_finite()), (few.extremes(), 3));
        }
    }
}
