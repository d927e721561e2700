//! Phase 1: what each group's candidates cost in quality, one group at a time.
//!
//! Everything in float but one group at one candidate; the outputs are compared with the float
//! outputs of the same sample. The signal power of every sample is kept once and the noise power of
//! every sample for every measurement, so that any aggregate can be formed later.

mod floats;
mod ledger;
mod measure;
mod pieces;
mod share;
mod work;

pub use floats::Floats;
pub use ledger::{Ledger, Unit};
pub use measure::{MOST_TOGETHER, MeasureError, Measurer, Setup};
pub use pieces::{Pieces, Wanted};
pub use share::{Piece, Plan, Share};

use crate::metric::sqnr::{self, Aggregation, SqnrError};
use crate::quant::{Candidate, Groups};

/// Mean squares of the outputs: `[output][sample]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Powers(pub Vec<Vec<f64>>);

impl Powers {
    pub fn zero(n_outputs: usize, n_samples: usize) -> Powers {
        Powers(vec![vec![0.; n_samples]; n_outputs])
    }

    /// Appends what later samples have.
    pub fn extend(&mut self, later: Powers) {
        self.0.iter_mut().zip(later.0).for_each(|(mine, later)| mine.extend(later));
    }

    /// Adds noise of another group: powers add to first order.
    pub fn add(&mut self, other: &Powers) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
        }
    }
}

/// What was measured of one choice of one group.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    pub candidate: Candidate,
    pub noise: Powers,
}

/// Phase 1's result: every choice of every group, in the order of the groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensitivity {
    pub signal: Powers,
    pub groups: Vec<Vec<Measurement>>,
}

impl Sensitivity {
    /// `noises` are those of all choices, group by group.
    pub fn new(groups: &Groups, signal: Powers, noises: Vec<Powers>) -> Sensitivity {
        let mut noises = noises.into_iter();
        let measured = groups.groups.iter().map(|group| {
            let choices = group.choices.iter().copied().zip(noises.by_ref());
            choices.map(|(candidate, noise)| Measurement { candidate, noise }).collect()
        });
        Sensitivity { groups: measured.collect(), signal }
    }

    /// The SQNR of some noise in decibels; `None` without any noise.
    pub fn sqnr_db(
        &self,
        noise: &Powers,
        aggregation: Aggregation,
    ) -> Result<Option<f64>, SqnrError> {
        let outputs = self.signal.0.iter().zip(&noise.0);
        let outputs: Vec<sqnr::Powers<'_>> =
            outputs.map(|(signal, noise)| sqnr::Powers { signal, noise }).collect();
        sqnr::sqnr_db(aggregation, &outputs)
    }

    /// The noise that is expected of a configuration: that of its choices, added.
    pub fn predicted_noise(&self, choices: &[usize]) -> Powers {
        let n_samples = self.signal.0.first().map_or(0, Vec::len);
        let mut sum = Powers::zero(self.signal.0.len(), n_samples);
        for (group, &choice) in self.groups.iter().zip(choices) {
            sum.add(&group[choice].noise);
        }
        sum
    }
}
