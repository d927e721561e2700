//! [`Floats`]: what float passes put out, kept for all that is compared with them.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::exec::Values;
use crate::graph::ValueId;

/// The outputs of as many passes as there is room for.
#[derive(Debug)]
pub struct Floats {
    passes: Vec<OnceLock<Values>>,
    room_bytes: AtomicUsize,
}

impl Floats {
    pub fn new(n_passes: usize, room_bytes: usize) -> Floats {
        let passes = (0..n_passes).map(|_| OnceLock::new()).collect();
        Floats { passes, room_bytes: AtomicUsize::new(room_bytes) }
    }

    pub(super) fn kept(&self, pass: usize) -> Option<&Values> {
        self.passes[pass].get()
    }

    /// Keeps what a pass put out if there is room; of each pass by one thread at a time.
    pub(super) fn keep(
        &self,
        pass: usize,
        mut values: Values,
        outputs: &[ValueId],
    ) -> Cow<'_, Values> {
        values.retain(outputs);
        let needed = values.size_bytes();
        let less = |room: usize| room.checked_sub(needed);
        match self.room_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => Cow::Borrowed(self.passes[pass].get_or_init(|| values)),
            Err(_) => Cow::Owned(values),
        }
    }
}
