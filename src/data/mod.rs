//! Calibration and evaluation data: samples, what is done to images, labels.
//!
//! Samples are streamed: a [`Dataset`] knows its files, and reads a sample when it is asked for.
//! Knows nothing of graphs: what a network takes is told by [`InputSpec`]s.

use std::fmt;

use sha2::Sha256;

use crate::tensor::{DType, Tensor};

mod archive;
mod arrays;
mod bytes;
mod collected;
pub(crate) mod csv;
mod dataset;
mod error;
mod feed;
mod folder;
mod images;
mod label_numbers;
mod labels;
mod mask;
mod noise;
mod npy;
mod npz;
mod options;
mod pb;
mod preprocess;
mod resize;
mod source;
mod stored;
mod target;
mod whole;

pub use archive::npz_bytes;
pub use collected::Collected;
pub use dataset::{BadSample, Dataset, Options};
pub use error::{DataError, NpyProblem};
pub use feed::Feed;
pub use images::ImageSettings;
pub use labels::{Label, LabelKind, Labels};
pub use mask::Mask;
pub use options::{
    Channels, Crop, Filter, ImageOptions, Pad, ParseOptionError, PerChannel, Preset, Resize,
};
pub use preprocess::{Layout, Preprocessing};
pub use target::Target;
pub use whole::{NpzError, read_arrays, read_inputs};

/// The most bytes that an array or image may claim where no one sets another limit.
pub const DEFAULT_LIMIT_BYTES: usize = 1 << 30;

/// What a network takes as one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSpec {
    pub name: String,
    pub dtype: DType,
    /// The batch first; `None` is free.
    pub dims: Vec<Option<usize>>,
}

/// As `float32 [?, 3, 224, 224]`, a free size as `?`.
impl fmt::Display for InputSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [", self.dtype)?;
        for (i, dim) in self.dims.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            match dim {
                Some(dim) => write!(f, "{comma}{dim}")?,
                None => write!(f, "{comma}?")?,
            }
        }
        f.write_str("]")
    }
}

/// What a sample is called, and where its label is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleKey {
    /// For messages: the relative path, or `file.npy[row]`.
    pub name: String,
    /// The relative path of the file that holds this sample and no other.
    pub file: Option<String>,
    /// Place among all samples of the data, before some were chosen.
    pub row: usize,
}

/// The samples of one input.
trait Column: fmt::Debug + Send + Sync {
    fn len(&self) -> usize;

    fn key(&self, index: usize) -> SampleKey;

    /// One sample, with a leading batch axis of 1.
    fn read(&self, index: usize) -> Result<Tensor, DataError>;

    /// Feeds the sample's content.
    fn hash(&self, index: usize, hasher: &mut Sha256) -> Result<(), DataError>;

    /// Whether files may turn out unreadable that looked fine when the column was opened.
    fn may_be_bad(&self) -> bool {
        false
    }

    fn preprocessing(&self) -> Option<&Preprocessing> {
        None
    }

    /// Lets it keep that many bytes of what is costly to read.
    fn hold(&self, _bytes: usize) {}
}
