//! [`Pieces`]: measurements by pass, all of them or a share.

use std::sync::OnceLock;

use crate::sensitivity::work::Work;
use crate::sensitivity::{Ledger, Powers, Unit};

/// What was measured of a list of jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct Pieces {
    /// By pass; `None` where it is not known.
    pub signal: Vec<Option<Powers>>,
    /// By job and pass.
    pub noises: Vec<Vec<Option<Powers>>>,
}

impl Pieces {
    /// The signal's powers and every job's, of all samples in their order; `None` if a piece is missing.
    pub fn join(self) -> Option<(Powers, Vec<Powers>)> {
        let noises = self.noises.into_iter().map(join).collect::<Option<_>>()?;
        Some((join(self.signal)?, noises))
    }
}

fn join(pieces: Vec<Option<Powers>>) -> Option<Powers> {
    let mut pieces = pieces.into_iter();
    let mut all = pieces.next()??;
    for piece in pieces {
        all.0.iter_mut().zip(piece?.0).for_each(|(all, piece)| all.extend(piece));
    }
    Some(all)
}

/// Which passes of which jobs are measured; `None` for the job is the signal.
pub type Wanted<'w> = &'w (dyn Fn(usize, Option<usize>) -> bool + Sync);

/// The results of every pass and run, filled in from several threads.
pub(super) struct Sheet<'a> {
    work: &'a Work<'a>,
    ledger: Option<&'a dyn Ledger>,
    rows: Vec<Row>,
}

#[derive(Default)]
struct Row {
    signal: OnceLock<Powers>,
    noises: Vec<OnceLock<Powers>>,
}

/// What is left to do of a pass.
pub(super) struct Todo {
    pub(super) pass: usize,
    pub(super) needs_signal: bool,
    /// Positions in [`Work::to_run`].
    pub(super) runs: Vec<usize>,
}

impl Todo {
    /// Passes of the network that it takes.
    fn steps(&self) -> u64 {
        1 + self.runs.len() as u64
    }
}

impl<'a> Sheet<'a> {
    pub(super) fn new(
        work: &'a Work<'a>,
        n_passes: usize,
        ledger: Option<&'a dyn Ledger>,
    ) -> Sheet<'a> {
        let row = |_| Row {
            signal: OnceLock::new(),
            noises: work.to_run.iter().map(|_| OnceLock::new()).collect(),
        };
        Sheet { work, ledger, rows: (0..n_passes).map(row).collect() }
    }

    /// Takes what the ledger knows; gives what is left to do, the steps that it takes, and the steps
    /// that need not be done. `fits` says whether powers are of a pass's form.
    pub(super) fn plan(
        &mut self,
        wanted: Wanted<'_>,
        fits: impl Fn(usize, &Powers) -> bool,
    ) -> (Vec<Todo>, u64, u64) {
        let mut jobs: Vec<Vec<usize>> = vec![Vec::new(); self.work.to_run.len()];
        for (job, index) in self.work.result_of.iter().enumerate() {
            if let Some(index) = *index {
                jobs[index].push(job);
            }
        }
        let (mut todos, mut to_do, mut known) = (Vec::new(), 0, 0);
        for pass in 0..self.rows.len() {
            let look_up = |unit: Unit<'_>| {
                let powers = self.ledger.and_then(|ledger| ledger.known(&unit));
                powers.filter(|powers| fits(pass, powers))
            };
            let mut todo = Todo { pass, needs_signal: false, runs: Vec::new() };
            let mut n_known = 0;
            for (index, jobs) in jobs.iter().enumerate() {
                if !jobs.iter().any(|&job| wanted(pass, Some(job))) {
                    continue;
                }
                match look_up(self.unit(pass, Some(index))) {
                    Some(powers) => {
                        n_known += 1;
                        self.rows[pass].noises[index] = powers.into();
                    }
                    None => todo.runs.push(index),
                }
            }
            if wanted(pass, None) {
                match look_up(self.unit(pass, None)) {
                    // The float pass is run in any case if there is noise to measure.
                    Some(powers) => {
                        n_known += u64::from(todo.runs.is_empty());
                        self.rows[pass].signal = powers.into();
                    }
                    None => todo.needs_signal = true,
                }
            }
            known += n_known;
            if todo.needs_signal || !todo.runs.is_empty() {
                to_do += todo.steps();
                todos.push(todo);
            }
        }
        (todos, to_do, known)
    }

    /// Each once.
    pub(super) fn keep(&self, pass: usize, index: Option<usize>, powers: Powers) {
        if let Some(ledger) = self.ledger {
            ledger.keep(&self.unit(pass, index), &powers);
        }
        let row = &self.rows[pass];
        let cell = index.map_or(&row.signal, |index| &row.noises[index]);
        cell.set(powers).expect("every unit is measured once");
    }

    fn unit(&self, pass: usize, index: Option<usize>) -> Unit<'a> {
        let changes = index.and_then(|index| self.work.to_run[index].digest.as_ref());
        Unit { pass, changes }
    }

    /// By job; `zero` is what a pass without any change has.
    pub(super) fn into_pieces(self, zero: impl Fn(usize) -> Powers) -> Pieces {
        let rows = &self.rows;
        let noise = |pass: usize, index: &Option<usize>| match index {
            Some(index) => rows[pass].noises[*index].get().cloned(),
            None => Some(zero(pass)),
        };
        let of_job = |index| (0..rows.len()).map(|pass| noise(pass, index)).collect();
        Pieces {
            signal: rows.iter().map(|row| row.signal.get().cloned()).collect(),
            noises: self.work.result_of.iter().map(of_job).collect(),
        }
    }
}
