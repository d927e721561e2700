//! [`Ledger`]: where single measurements come from and go to, so that they need not be made again.

use crate::cache::Digest;
use crate::sensitivity::Powers;

/// The least that is measured: what one pass shows with one set of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit<'a> {
    pub pass: usize,
    /// See [`Simulator::digest`](crate::quant::Simulator::digest); `None` is the float network, whose
    /// powers are the signal's.
    pub changes: Option<&'a Digest>,
}

/// Keeps units. Called from several threads.
pub trait Ledger: Sync {
    /// What an earlier run found, `[output][sample of the pass]`.
    fn known(&self, unit: &Unit<'_>) -> Option<Powers>;

    /// What has just been measured.
    fn keep(&self, unit: &Unit<'_>, powers: &Powers);
}
