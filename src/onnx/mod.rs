//! ONNX files: the only module that sees protobuf.

#![deny(clippy::as_conversions)]

mod attribute;
mod dtype;
mod error;
mod external;
mod file;
mod frame;
mod lazy;
mod load;
mod nodes;
mod origin;
mod packed;
mod pb;
#[doc(hidden)]
pub mod proto;
mod save;
mod sparse;
mod spelling;
mod tensor;
mod upgrade;

pub use error::{InputProblem, LoadError};
pub use external::ExternalError;
pub use file::FileError;
pub use load::{Model, load, load_lenient, load_within};
pub use origin::Origin;
pub use pb::{PbError, read_pb, write_pb};
pub use save::{SaveError, model_bytes};
pub use sparse::SparseError;
pub use spelling::{SpellingError, settle_axes};
pub use tensor::TensorError;
