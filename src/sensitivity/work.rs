//! [`Work`]: what is to be measured, as changes of the float network.

use crate::cache::Digest;
use crate::exec::Changes;
use crate::quant::{Bits, Candidate};
use crate::sensitivity::Setup;

/// One thing to measure: these groups at these candidates, the rest in float.
pub(super) type Job = Vec<(usize, Candidate)>;

/// Jobs as changes; equal ones are run once.
pub(super) struct Work<'a> {
    pub(super) to_run: Vec<Run<'a>>,
    /// For every job its place in `to_run`; `None` without any change.
    pub(super) result_of: Vec<Option<usize>>,
    cone_macs: &'a [u64],
    all_macs: u64,
}

/// What is run of equal jobs.
pub(super) struct Run<'a> {
    pub(super) changes: Changes<'a>,
    /// Where there is a ledger.
    pub(super) digest: Option<Digest>,
    /// Multiply-accumulates of what depends on a change.
    pub(super) macs: u64,
    job: Job,
}

impl<'a> Work<'a> {
    pub(super) fn new(setup: &'a Setup<'_>, jobs: Vec<Job>) -> Work<'a> {
        let cone_macs = &setup.cone_macs;
        let all_macs = cone_macs.iter().copied().max().unwrap_or(0);
        let mut work = Work { to_run: Vec::new(), result_of: Vec::new(), cone_macs, all_macs };
        for job in jobs {
            let Some(changes) = changes(setup, &job) else {
                work.result_of.push(None);
                continue;
            };
            let known = work.to_run.iter().position(|run| run.changes.are_same(&changes));
            work.result_of.push(Some(known.unwrap_or(work.to_run.len())));
            if known.is_none() {
                let digest = setup.ledger.map(|_| setup.simulator.digest(&job));
                let macs = work.largest(job.iter().map(|(group, _)| *group));
                work.to_run.push(Run { changes, digest, macs, job });
            }
        }
        work
    }

    /// Whether two runs have enough in common that keeping the values of the first for the second pays.
    pub(super) fn share(&self, first: usize, second: usize) -> bool {
        let jobs = self.to_run[first].job.iter().zip(&self.to_run[second].job);
        let different = jobs.filter(|(a, b)| a != b);
        let macs = self.largest(different.flat_map(|(a, b)| [a.0, b.0]));
        macs < self.all_macs / 5 * 4
    }

    /// The cone of what comes first has nearly all of the others'.
    fn largest(&self, groups: impl Iterator<Item = usize>) -> u64 {
        groups.map(|group| self.cone_macs[group]).max().unwrap_or(0)
    }
}

/// `None` if nothing changes: then there is no noise, and nothing to run.
fn changes<'a>(setup: &'a Setup<'_>, job: &Job) -> Option<Changes<'a>> {
    let is_float = |candidate: &Candidate| {
        candidate.activation.is_float() && candidate.weight.is_none_or(Bits::is_float)
    };
    let changes = setup.simulator.changes(job);
    let is_empty = changes.hooks.is_empty() && changes.constants.is_empty();
    (!is_empty && !job.iter().all(|(_, c)| is_float(c))).then_some(changes)
}
