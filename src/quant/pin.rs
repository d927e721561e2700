//! [`Pin`]: a choice that is forced on the groups that a pattern names.

use std::fmt;

use crate::quant::{Bits, Candidate, Pattern};

/// A choice forced on every group that has a matching node or tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    pub pattern: Pattern,
    pub candidate: Candidate,
    /// What asked for it, for messages.
    label: String,
}

impl Pin {
    pub fn new(pattern: Pattern, candidate: Candidate) -> Pin {
        let label = format!("pin `{pattern}={candidate}`");
        Pin { pattern, candidate, label }
    }

    /// Leaves what matches in float.
    pub fn exclusion(pattern: Pattern) -> Pin {
        let label = format!("exclusion `{pattern}`");
        Pin { pattern, candidate: Candidate::pair(Bits::FLOAT, Bits::FLOAT), label }
    }

    /// The same, asked for by a target.
    pub fn of_target(mut self, target: &str) -> Pin {
        self.label += &format!(" of target `{target}`");
        self
    }
}

#[cfg(test)]
impl Pin {
    /// `c1=W8A8`, or `c1` to exclude.
    pub(crate) fn of_text(text: &str) -> Pin {
        match text.split_once('=') {
            Some((pattern, candidate)) => {
                Pin::new(Pattern::new(pattern), candidate.parse().unwrap())
            }
            None => Pin::exclusion(Pattern::new(text)),
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}
