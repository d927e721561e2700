//! [`Line`]: work that lies in a line, cut into stretches whose costs are as equal as can be.

use crate::shard::Shard;

/// `n_blocks` blocks one after the other, each with the same steps; what touches a block pays `entry` for it
/// before the first of its steps.
///
/// A shard gets a stretch of the line, so that it touches few blocks. The cuts are those where the largest
/// stretch costs least, the entries that are paid twice counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    n_blocks: u64,
    entry: u64,
    /// Cost of the first `i` steps of a block, `[n_steps + 1]`.
    before: Vec<u64>,
}

/// Steps from `first` to below `end` of a line, counted over all blocks: step `s` of block `b` is
/// `b * n_steps + s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub first: u64,
    pub end: u64,
    /// That of its steps and of the blocks that it touches.
    pub cost: u64,
}

impl Line {
    /// A step that costs nothing is taken for the least that a cost can be, so that every shard gets on.
    pub fn new(n_blocks: u64, entry: u64, steps: &[u64]) -> Line {
        let mut before = vec![0];
        before.extend(steps.iter().scan(0, |sum, &cost| {
            *sum += cost.max(1);
            Some(*sum)
        }));
        Line { n_blocks, entry, before }
    }

    fn n_steps(&self) -> u64 {
        self.before.len() as u64 - 1
    }

    fn len(&self) -> u64 {
        self.n_blocks * self.n_steps()
    }

    /// The stretch of a shard; those of all shards follow one another and are the whole line.
    pub fn stretch(&self, shard: Shard) -> Stretch {
        let stretches = self.stretches(shard.count());
        let empty = Stretch { first: self.len(), end: self.len(), cost: 0 };
        stretches.get(shard.index() as usize).copied().unwrap_or(empty)
    }

    /// The stretches of all shards that have something to do, in their order.
    pub fn stretches(&self, n_shards: u64) -> Vec<Stretch> {
        let (mut low, mut high) = (0, self.cost(0, self.len()));
        while low < high {
            let middle = low + (high - low) / 2;
            let fits = self.cut(middle, n_shards).is_some();
            (low, high) = if fits { (low, middle) } else { (middle + 1, high) };
        }
        self.cut(high, n_shards).unwrap_or_default()
    }

    /// Cuts so that no stretch costs more than `most`; `None` where that takes more than `n_shards`.
    fn cut(&self, most: u64, n_shards: u64) -> Option<Vec<Stretch>> {
        let mut stretches = Vec::new();
        let mut first = 0;
        while first < self.len() {
            let end = self.reach(first, most);
            if end == first || stretches.len() as u64 == n_shards {
                return None;
            }
            stretches.push(Stretch { first, end, cost: self.cost(first, end) });
            first = end;
        }
        Some(stretches)
    }

    /// How far one gets from `first` on for `most`.
    fn reach(&self, first: u64, most: u64) -> u64 {
        let n_steps = self.n_steps();
        let whole = self.entry + self.before[self.before.len() - 1];
        let (block, step) = (first / n_steps, first % n_steps);
        let rest = self.cost(first, (block + 1) * n_steps);
        if most < rest {
            return block * n_steps + self.within(most, step);
        }
        let left = most - rest;
        let blocks = (left / whole.max(1)).min(self.n_blocks - block - 1);
        let end = (block + 1 + blocks) * n_steps;
        let end = if end < self.len() { end + self.within(left - blocks * whole, 0) } else { end };
        end.min(self.len())
    }

    /// The step of a block that one gets to from `step` on for `most`.
    fn within(&self, most: u64, step: u64) -> u64 {
        let Some(most) = most.checked_sub(self.entry) else { return step };
        let most = most + self.before[step as usize];
        self.before.partition_point(|&before| before <= most) as u64 - 1
    }

    fn cost(&self, first: u64, end: u64) -> u64 {
        if end <= first {
            return 0;
        }
        let n_steps = self.n_steps();
        let upto = |at: u64| {
            let whole = self.before[self.before.len() - 1];
            at / n_steps * whole + self.before[(at % n_steps) as usize]
        };
        let touched = (end - 1) / n_steps - first / n_steps + 1;
        upto(end) - upto(first) + touched * self.entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least that the largest of `n` stretches can cost, by trying all cuts.
    fn least(line: &Line, first: u64, n: u64) -> u64 {
        if n == 1 || first == line.len() {
            return line.cost(first, line.len());
        }
        let ends = first..=line.len();
        ends.map(|end| line.cost(first, end).max(least(line, end, n - 1))).min().unwrap()
    }

    #[test]
    fn stretches_are_the_line_and_the_largest_is_as_small_as_can_be() {
        for (n_blocks, entry, steps) in [
            (4, 10, &[5, 1, 9, 2][..]),
            (3, 0, &[7, 7, 1]),
            (1, 3, &[4, 100, 2, 2, 6]),
            (5, 50, &[1, 0, 3]),
        ] {
            let line = Line::new(n_blocks, entry, steps);
            for n in 1..=5 {
                let stretches = line.stretches(n);
                let mut at = 0;
                for stretch in &stretches {
                    assert_eq!(stretch.first, at);
                    assert_eq!(stretch.cost, line.cost(stretch.first, stretch.end));
                    at = stretch.end;
                }
                assert_eq!(at, line.len());
                let largest = stretches.iter().map(|stretch| stretch.cost).max().unwrap();
                assert_eq!(largest, least(&line, 0, n), "{line:?} {n}");
            }
        }
    }

    #[test]
    fn whole_blocks_where_they_come_out_even() {
        let line = Line::new(64, 10, &[3, 1, 4, 1, 5]);
        let stretches = line.stretches(16);
        assert!(stretches.iter().all(|stretch| stretch.end - stretch.first == 20), "{stretches:?}");
    }

    #[test]
    fn shards_beyond_the_last_step_are_empty() {
        let line = Line::new(2, 1, &[1, 1]);
        let of = |index| line.stretch(Shard::new(index, 9).unwrap());
        let ends: Vec<(u64, u64)> = (0..9).map(|index| (of(index).first, of(index).end)).collect();
        assert_eq!(ends[..5], [(0, 1), (1, 2), (2, 3), (3, 4), (4, 4)]);
        assert_eq!(ends[8], (4, 4));
        assert_eq!(Line::new(0, 1, &[1]).stretch(Shard::WHOLE).end, 0);
        assert_eq!(Line::new(3, 1, &[]).stretch(Shard::WHOLE).end, 0);
    }
}
