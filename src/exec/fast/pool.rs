//! [`Pool`]: memory that passes use again.

use std::sync::{Arc, Mutex, PoisonError};

use crate::exec::values::{Data, Stored};
use crate::kernels::Buffer;

/// Buffers that no value needs any more.
#[derive(Debug, Default)]
pub(super) struct Pool(Vec<Buffer>);

impl Pool {
    /// A buffer of this length with unspecified contents: the smallest that fits, of equal ones the
    /// one used last, which may still be in cache.
    pub(super) fn take(&mut self, len: usize) -> Buffer {
        let fitting = self.0.iter().enumerate().filter(|(_, buffer)| len <= buffer.capacity());
        // Not one that is far too large: it is worth more to another.
        let fitting = fitting.filter(|(_, buffer)| buffer.capacity() / 4 <= len.max(1 << 12));
        let best = fitting.min_by_key(|(index, buffer)| (buffer.capacity(), usize::MAX - index));
        let mut buffer = match best.map(|(index, _)| index) {
            Some(index) => self.0.remove(index),
            None => Buffer::default(),
        };
        buffer.resize(len);
        buffer
    }

    pub(super) fn give(&mut self, buffer: Buffer) {
        self.0.push(buffer);
    }

    /// Keeps the memory of a value if nothing else shares it.
    pub(super) fn reclaim(&mut self, stored: Stored) {
        if let Data::Floats(floats) = stored.data
            && let Some(buffer) = Arc::into_inner(floats)
        {
            self.give(buffer);
        }
    }
}

/// Pools that wait for a pass; there are as many as passes that ran at once.
#[derive(Debug, Default)]
pub(super) struct Pools(Mutex<Vec<Pool>>);

impl Pools {
    pub(super) fn take(&self) -> Pool {
        // A pool is whole whatever panicked while it was elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    pub(super) fn give(&self, pool: Pool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(pool);
    }
}
