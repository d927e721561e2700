//! [`Share`]: what a shard measures of Phase 1.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::progress::Progress;
use crate::sensitivity::measure::MeasureError;
use crate::sensitivity::work::Work;
use crate::sensitivity::{Measurer, Pieces, Powers};
use crate::shard::{Line, Shard, Stretch};

/// How Phase 1 is shared out: the passes lie in a line, in each the signal and then every job.
///
/// A step costs the multiply-accumulates of its cone, a pass besides what the float network has. So a shard
/// has whole passes but for the first and the last, reads few samples, and few float passes are run twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    line: Line,
    n_passes: usize,
    n_jobs: usize,
}

/// What a shard has measured. Passes are half open ranges; empty ones have no powers.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    pub signal: Piece,
    /// Group by group, choice by choice.
    pub noises: Vec<Piece>,
}

/// Powers of some passes that follow one another.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    pub passes: Range<usize>,
    /// Of all samples of these passes.
    pub powers: Powers,
}

/// The step of the signal in each pass.
const SIGNAL: usize = 0;

impl Plan {
    /// `macs` are those of the cones of all jobs, 0 where there is nothing to run.
    pub fn new(n_passes: usize, float_macs: u64, macs: &[u64]) -> Plan {
        let steps: Vec<u64> = [0].into_iter().chain(macs.iter().copied()).collect();
        let line = Line::new(n_passes as u64, float_macs, &steps);
        Plan { line, n_passes, n_jobs: macs.len() }
    }

    /// The passes that a shard reads.
    pub fn passes(&self, shard: Shard) -> Range<usize> {
        let Stretch { first, end, .. } = self.line.stretch(shard);
        let n_steps = self.n_steps() as u64;
        let passes = first / n_steps..end.div_ceil(n_steps);
        if first < end { passes.start as usize..passes.end as usize } else { 0..0 }
    }

    /// The passes for which it measures the signal, then those of every job.
    pub fn pieces(&self, shard: Shard) -> Vec<Range<usize>> {
        let Stretch { first, end, .. } = self.line.stretch(shard);
        let n_steps = self.n_steps();
        // The first pass whose step `step` is at or after a place of the line.
        let from = |at: u64, step: usize| (at as usize).saturating_sub(step).div_ceil(n_steps);
        let piece = |step| from(first, step).min(self.n_passes)..from(end, step).min(self.n_passes);
        (0..n_steps).map(piece).collect()
    }

    /// What the shares of `n_shards` shards cost, in multiply-accumulates.
    pub fn costs(&self, n_shards: u64) -> Vec<u64> {
        self.line.stretches(n_shards).iter().map(|stretch| stretch.cost).collect()
    }

    fn n_steps(&self) -> usize {
        1 + self.n_jobs
    }
}

impl Measurer<'_> {
    /// How all choices of all groups are shared out.
    pub fn plan(&self) -> Plan {
        let work = Work::new(&self.setup, self.all_choices());
        let mut known = BTreeSet::new();
        let macs = work.result_of.iter().map(|index| match index {
            // Of equal jobs the first one is run.
            Some(index) if known.insert(*index) => work.to_run[*index].macs,
            _ => 0,
        });
        Plan::new(self.setup.feed.len(), self.setup.float_macs, &macs.collect::<Vec<_>>())
    }

    /// What `plan` gives to a shard.
    pub fn share(
        &self,
        plan: &Plan,
        shard: Shard,
        progress: &dyn Progress,
    ) -> Result<Share, MeasureError> {
        let passes = plan.pieces(shard);
        let step = |job: Option<usize>| job.map_or(SIGNAL, |job| 1 + job);
        let wanted = |pass: usize, job| passes[step(job)].contains(&pass);
        let Pieces { signal, noises } = self.share_of_sensitivity(&wanted, progress)?;
        let mut pieces = [signal].into_iter().chain(noises).zip(passes);
        let mut piece = || {
            let (by_pass, passes) = pieces.next()?;
            let mut powers = Powers(vec![Vec::new(); self.setup.outputs.len()]);
            for pass in by_pass.into_iter().take(passes.end).skip(passes.start) {
                powers.extend(pass.expect("it is wanted"));
            }
            Some(Piece { passes, powers })
        };
        let signal = piece().expect("the signal is always there");
        Ok(Share { signal, noises: std::iter::from_fn(piece).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_all_of_it_and_each_once() {
        for (n_passes, macs) in [(4, &[5, 0, 3][..]), (1, &[2, 9, 4, 4]), (6, &[]), (0, &[1])] {
            let plan = Plan::new(n_passes, 4, macs);
            for n in [1, 2, 3, 7, 40] {
                let mut found = vec![0; n_passes * plan.n_steps()];
                for index in 0..n {
                    let shard = Shard::new(index, n).unwrap();
                    let read = plan.passes(shard);
                    for (step, passes) in plan.pieces(shard).into_iter().enumerate() {
                        for pass in passes {
                            assert!(read.contains(&pass), "{shard}");
                            found[pass * plan.n_steps() + step] += 1;
                        }
                    }
                }
                assert!(
                    found.iter().all(|&times| times == 1),
                    "{n_passes} {macs:?} {n}: {found:?}"
                );
            }
        }
    }

    #[test]
    fn a_shard_reads_no_more_passes_than_it_must() {
        let plan = Plan::new(8, 10, &[3, 2, 5]);
        let read: Vec<_> = (0..4).map(|i| plan.passes(Shard::new(i, 4).unwrap())).collect();
        assert_eq!(read, [0..2, 2..4, 4..6, 6..8]);
        assert_eq!(plan.costs(4), [42; 4]);
    }
}
