//! What was measured, kept by content, so that it is measured once.
//!
//! It knows nothing of networks: what is kept has a [`Digest`] of all that it depends on for a name.

mod digest;

pub use digest::{Digest, Digester};
