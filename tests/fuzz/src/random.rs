//! Random numbers, and what is taken from lists by them.

use crate::words::{FLOATS, NUMBERS, TEXTS};

/// Random numbers that a seed decides.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u32) -> Random {
        Random(seed.into())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        if list.is_empty() { None } else { list.get(self.below(list.len())) }
    }

    pub(crate) fn pick_mut<'a, T>(&mut self, list: &'a mut [T]) -> Option<&'a mut T> {
        let at = self.below(list.len());
        list.get_mut(at)
    }

    pub(crate) fn number(&mut self) -> i64 {
        match self.below(3) {
            0 => self.below(6) as i64 - 1,
            1 => NUMBERS[self.below(NUMBERS.len())],
            _ => self.below(40) as i64 - 8,
        }
    }

    pub(crate) fn float(&mut self) -> f32 {
        match self.below(2) {
            0 => FLOATS[self.below(FLOATS.len())],
            _ => self.below(17) as f32 / 4. - 2.,
        }
    }

    pub(crate) fn text(&mut self) -> &'static str {
        TEXTS[self.below(TEXTS.len())]
    }
}
