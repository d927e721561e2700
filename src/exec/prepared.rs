//! [`Prepared`]: a constant with the forms that kernels made of it.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex};

use crate::kernels::Buffer;
use crate::tensor::Tensor;

/// A constant's values; packed once for every form that is asked for.
pub struct Prepared {
    source: Source,
    packed: Mutex<Vec<(Form, Arc<Buffer>)>>,
}

enum Source {
    Tensor(Tensor),
    /// Made again for each form, so that values and forms are not both held.
    Made(Box<dyn Fn() -> Tensor + Send + Sync>),
}

/// What a packed form depends on besides the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Filters of a convolution over a plain input.
    PlainFilters,
    /// The same over blocks of channels, of this number of groups.
    BlockedFilters(usize),
    DepthwiseFilters,
    /// The right factor of a product; whether it lies transposed.
    Factor(bool),
    /// In blocks of channels.
    Blocks,
    /// As it is.
    Whole,
    /// Filled up to whole blocks with zeros.
    FilledUp,
}

impl Prepared {
    pub fn new(tensor: Tensor) -> Prepared {
        Prepared { source: Source::Tensor(tensor), packed: Mutex::default() }
    }

    /// A constant that `make` computes whenever its values are needed: always the same ones.
    pub fn made(make: impl Fn() -> Tensor + Send + Sync + 'static) -> Prepared {
        Prepared { source: Source::Made(Box::new(make)), packed: Mutex::default() }
    }

    pub fn tensor(&self) -> Cow<'_, Tensor> {
        match &self.source {
            Source::Tensor(tensor) => Cow::Borrowed(tensor),
            Source::Made(make) => Cow::Owned(make()),
        }
    }

    /// The packed form, made by `pack` when it is first asked for.
    pub(super) fn packed(&self, form: Form, pack: impl FnOnce(&Tensor) -> Buffer) -> Arc<Buffer> {
        let mut packed = self.packed.lock().expect("no packing panics");
        if let Some((_, buffer)) = packed.iter().find(|(known, _)| *known == form) {
            return Arc::clone(buffer);
        }
        let buffer = Arc::new(pack(&self.tensor()));
        packed.push((form, Arc::clone(&buffer)));
        buffer
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packed = self.packed.lock().map_or(0, |packed| packed.len());
        write!(f, "Prepared in {packed} forms")
    }
}
