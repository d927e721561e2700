//! Why samples or labels could not be read.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::data::InputSpec;
use crate::onnx::PbError;
use crate::pixels::PixelError;
use crate::tensor::TensorType;

/// What is wrong, with the file or the input it is wrong in.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },

    #[error(
        "`{}` holds no samples; expected images (PNG, JPEG, WebP, BMP), `.npy`, `.npz` or `.pb` files",
        path.display()
    )]
    NoSamples { path: PathBuf },

    #[error(
        "`{}` holds {images} images, {arrays} `.npy` or `.npz` files and {pbs} `.pb` files, expected one kind",
        path.display()
    )]
    Mixed { path: PathBuf, images: usize, arrays: usize, pbs: usize },

    #[error("every sample of the data is unreadable ({bad} skipped)")]
    AllBad { bad: usize },

    #[error("data are given for `{name}`, expected one of the inputs {}", Quoted(inputs))]
    UnknownInput { name: String, inputs: Vec<String> },

    #[error("no data are given for input `{name}`\nhint: add `{name}=PATH`")]
    MissingInput { name: String },

    #[error("data for input `{name}` are given twice")]
    InputTwice { name: String },

    #[error("data are given, `{}`, but the network has no inputs", path.display())]
    NoInputs { path: PathBuf },

    #[error("`{}` is given for all inputs, but each has data of its own", path.display())]
    NoneLeft { path: PathBuf },

    #[error("`{}` and `{}` are both given for all inputs, expected one", first.display(), second.display())]
    TwoUnnamed { first: PathBuf, second: PathBuf },

    #[error(
        "`{}` is data for one input, the network has {}\nhint: give `NAME=PATH` for each",
        path.display(),
        Quoted(inputs)
    )]
    OneForMany { path: PathBuf, inputs: Vec<String> },

    #[error("input `{first}` has {first_samples} samples, input `{second}` has {second_samples}")]
    SampleCounts { first: String, first_samples: usize, second: String, second_samples: usize },

    #[error("`{file}` has no array `{input}`; it has {}", Quoted(found))]
    NoMember { file: String, input: String, found: Vec<String> },

    #[error("`{file}` is {found}, expected {expected} for input `{}`", expected.name)]
    Type { file: String, found: TensorType, expected: InputSpec },

    #[error("`{}` is not a readable `.npy` array: {problem}", path.display())]
    Npy { path: PathBuf, problem: NpyProblem },

    #[error("`{}` is not a readable `.npz` archive: {problem}", path.display())]
    Zip { path: PathBuf, problem: &'static str },

    #[error("cannot decompress `{member}` of `{}`", path.display())]
    Inflate { path: PathBuf, member: String, source: io::Error },

    #[error(transparent)]
    Pb(PbError),

    #[error("cannot decode image `{}`", path.display())]
    Image { path: PathBuf, source: PixelError },

    #[error("image `{}` is cut off: it ends without its end marker", path.display())]
    CutOff { path: PathBuf },

    #[error(
        "image `{file}` is {}, smaller than the crop {} (height x width)",
        Size(found),
        Size(crop)
    )]
    CropTooLarge { file: String, found: [usize; 2], crop: [usize; 2] },

    #[error(
        "image `{file}` is {} after preprocessing, which does not fit {expected}, input `{}`",
        Size(found),
        expected.name
    )]
    ImageSize { file: String, found: [usize; 2], expected: InputSpec },

    #[error(
        "input `{}` is {found}; images need a float or uint8 input of [N, C, H, W] or [N, H, W, C] with 1 or 3 channels",
        found.name
    )]
    NotAnImage { found: InputSpec },

    #[error("option `{flag}` {problem}")]
    Option { flag: &'static str, problem: String },

    #[error("input `{name}` is {dtype}, noise is for float inputs\nhint: give `{name}=FILE.npy`", name = found.name, dtype = found.dtype)]
    NoiseType { found: InputSpec },

    #[error("input `{name}` is {found}: noise needs every size but the first\nhint: bind the others with `--dim`", name = found.name)]
    NoiseShape { found: InputSpec },

    #[error(
        "a sample of input `{name}` takes {found_bytes} bytes, more than the limit of {limit_bytes}\nhint: a larger --memory holds it"
    )]
    OverLimit { name: String, found_bytes: usize, limit_bytes: usize },

    #[error(
        "a batch of {batch} samples takes {found_bytes} bytes, more than the limit of {limit_bytes}\nhint: a larger --memory holds it"
    )]
    Batch { batch: usize, found_bytes: usize, limit_bytes: usize },

    #[error("`{}`, line {line}: {problem}", path.display())]
    Csv { path: PathBuf, line: usize, problem: String },

    #[error("`{}` has no label for sample `{sample}`", path.display())]
    NoLabel { path: PathBuf, sample: String },

    #[error("`{}` is {found}, expected {expected}", path.display())]
    LabelArray { path: PathBuf, found: TensorType, expected: &'static str },

    #[error("`{}`, row {row}: found `{found}`, expected {expected}", path.display())]
    LabelRow { path: PathBuf, row: usize, found: String, expected: &'static str },

    #[error("`{}` has the arrays {}, expected one", path.display(), Quoted(found))]
    NotOneArray { path: PathBuf, found: Vec<String> },

    #[error("`{}` and `{}` are labels of one sample, expected one", first.display(), second.display())]
    TwoLabels { first: PathBuf, second: PathBuf },

    #[error("mask `{}` {problem}", path.display())]
    Mask { path: PathBuf, problem: String },
}

/// What is wrong with the bytes of an array file.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum NpyProblem {
    #[error("it does not begin with the NPY signature")]
    Signature,
    #[error("format version {0} is not supported")]
    Version(u8),
    #[error("its header has no valid `{0}`")]
    Header(&'static str),
    #[error("elements of type `{0}` are not supported")]
    Descr(String),
    #[error("its header says {expected_bytes} bytes of elements, it has {found_bytes}")]
    Truncated { found_bytes: u64, expected_bytes: u64 },
    #[error(
        "its header says {expected_bytes} bytes of elements, more than the limit of {limit_bytes}\nhint: a larger --memory holds them"
    )]
    OverLimit { expected_bytes: usize, limit_bytes: usize },
}

impl DataError {
    pub(crate) fn read(path: impl Into<PathBuf>, source: io::Error) -> DataError {
        DataError::Read { path: path.into(), source }
    }
}

struct Quoted<'a>(&'a [String]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (i, name) in self.0.iter().enumerate() {
            write!(f, "{}`{name}`", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

struct Size<'a>(&'a [usize; 2]);

impl fmt::Display for Size<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.0[0], self.0[1])
    }
}
