//! [`Pieces`]: measurements by pass, all of them or a share.

use std::sync::OnceLock;

use crate::data::Feed;
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

/// Powers of one pass, in a block of memory that is there before the work begins: small ones that are made
/// in the course of it would lie between what passes leave, which then could not be used again.
struct Row {
    n_outputs: usize,
    n_samples: usize,
    /// By unit, output and sample; the first unit is the signal, then come the runs.
    cells: Vec<OnceLock<f64>>,
}

impl Row {
    fn new(n_runs: usize, n_outputs: usize, n_samples: usize) -> Row {
        let n_cells = (1 + n_runs) * n_outputs * n_samples;
        Row { n_outputs, n_samples, cells: (0..n_cells).map(|_| OnceLock::new()).collect() }
    }

    fn unit(&self, index: Option<usize>) -> &[OnceLock<f64>] {
        let len = self.n_outputs * self.n_samples;
        &self.cells[index.map_or(0, |index| 1 + index) * len..][..len]
    }

    /// Whether powers are of this form.
    fn fits(&self, powers: &Powers) -> bool {
        powers.0.len() == self.n_outputs && powers.0.iter().all(|p| p.len() == self.n_samples)
    }

    /// Each once.
    fn set(&self, index: Option<usize>, powers: &Powers) {
        for (cell, &power) in self.unit(index).iter().zip(powers.0.iter().flatten()) {
            cell.set(power).expect("every unit is measured once");
        }
    }

    fn get(&self, index: Option<usize>) -> Option<Powers> {
        let outputs = self.unit(index).chunks(self.n_samples);
        let powers =
            |cells: &[OnceLock<f64>]| cells.iter().map(|cell| cell.get().copied()).collect();
        outputs.map(powers).collect::<Option<_>>().map(Powers)
    }
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
        feed: &Feed<'_>,
        n_outputs: usize,
        ledger: Option<&'a dyn Ledger>,
    ) -> Sheet<'a> {
        let row = |pass| Row::new(work.to_run.len(), n_outputs, feed.n_samples_in(pass));
        Sheet { work, ledger, rows: (0..feed.len()).map(row).collect() }
    }

    /// Takes what the ledger knows; gives what is left to do, the steps that it takes, and the steps
    /// that need not be done.
    pub(super) fn plan(&self, wanted: Wanted<'_>) -> (Vec<Todo>, u64, u64) {
        let mut jobs: Vec<Vec<usize>> = vec![Vec::new(); self.work.to_run.len()];
        for (job, index) in self.work.result_of.iter().enumerate() {
            if let Some(index) = *index {
                jobs[index].push(job);
            }
        }
        let (mut todos, mut to_do, mut known) = (Vec::new(), 0, 0);
        for (pass, row) in self.rows.iter().enumerate() {
            let look_up = |index: Option<usize>| {
                let powers = self.ledger.and_then(|ledger| ledger.known(&self.unit(pass, index)));
                let powers = powers.filter(|powers| row.fits(powers));
                powers.inspect(|powers| row.set(index, powers)).is_some()
            };
            let mut todo = Todo { pass, needs_signal: false, runs: Vec::new() };
            let mut n_known = 0;
            for (index, jobs) in jobs.iter().enumerate() {
                if !jobs.iter().any(|&job| wanted(pass, Some(job))) {
                    continue;
                }
                match look_up(Some(index)) {
                    true => n_known += 1,
                    false => todo.runs.push(index),
                }
            }
            if wanted(pass, None) {
                match look_up(None) {
                    // The float pass is run in any case if there is noise to measure.
                    true => n_known += u64::from(todo.runs.is_empty()),
                    false => todo.needs_signal = true,
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
    pub(super) fn keep(&self, pass: usize, index: Option<usize>, powers: &Powers) {
        if let Some(ledger) = self.ledger {
            ledger.keep(&self.unit(pass, index), powers);
        }
        self.rows[pass].set(index, powers);
    }

    fn unit(&self, pass: usize, index: Option<usize>) -> Unit<'a> {
        let changes = index.and_then(|index| self.work.to_run[index].digest.as_ref());
        Unit { pass, changes }
    }

    /// By job; one without any change has no noise.
    pub(super) fn into_pieces(self) -> Pieces {
        let rows = &self.rows;
        let noise = |row: &Row, index: Option<usize>| match index {
            Some(index) => row.get(Some(index)),
            None => Some(Powers::zero(row.n_outputs, row.n_samples)),
        };
        let of_job = |&index: &Option<usize>| rows.iter().map(|row| noise(row, index)).collect();
        Pieces {
            signal: rows.iter().map(|row| row.get(None)).collect(),
            noises: self.work.result_of.iter().map(of_job).collect(),
        }
    }
}
