//! [`Progress`]: how long work is reported. The library itself never prints.

/// Receives the progress of long work. Called from several threads.
pub trait Progress: Send + Sync {
    /// A phase begins that takes `total` steps of roughly equal cost.
    fn begin(&self, phase: &str, total: u64);

    /// `steps` more steps of the current phase are done.
    fn advance(&self, steps: u64);

    /// `steps` of the current phase are not to be done: what they come to was known before.
    fn skip(&self, steps: u64) {
        self.advance(steps);
    }

    /// The current phase is over.
    fn finish(&self);

    /// Something that the user can act on; it is in the result's report as well.
    fn warn(&self, message: &str);
}

/// Reports to no one.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _phase: &str, _total: u64) {}
    fn advance(&self, _steps: u64) {}
    fn finish(&self) {}
    fn warn(&self, _message: &str) {}
}
