//! What deployment tools read, made from a model and its configuration: [`FORMATS`], a file each.

mod aimet;
mod bias;
mod container;
mod conversions;
mod exclude;
mod overrides;
mod qdq;
mod weights;

use crate::onnx::{Origin, SaveError};
use crate::ops::OpError;
use crate::pipeline::Configured;
use crate::quant::Bits;

pub use exclude::FORMS as EXCLUDE_FORMS;
pub use weights::float_model;

/// Every format. The one list to extend.
pub const FORMATS: &[Format] = &[
    qdq::FORMAT,
    aimet::FORMAT_1_0,
    aimet::FORMAT_0_6_1,
    aimet::FORMAT_2_0,
    overrides::FORMAT,
    exclude::FORMAT,
    weights::FORMAT,
];

/// One row of the table of formats.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// In `--to`.
    pub name: &'static str,
    /// Whether it names tensors or nodes of a float model that is needed besides.
    pub names_tensors: bool,
    /// The bytes of the file: the same ones for the same deployment.
    pub write: fn(&Deployment<'_>) -> Result<Vec<u8>, ExportError>,
}

/// What is exported.
#[derive(Debug, Clone, Copy)]
pub struct Deployment<'a> {
    pub net: &'a Configured,
    pub origin: &'a Origin,
    /// Of the model, in the default domain.
    pub opset: u16,
    pub options: Options,
}

/// What some formats leave open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Of a model with QuantizeLinear; `None` for the model's own, or the first that has all types.
    pub opset: Option<u16>,
    /// Whether biases stay in float there.
    pub float_bias: bool,
    /// Who reads a list of nodes, one of [`EXCLUDE_FORMS`].
    pub tool: &'static str,
}

/// Why an export is not possible.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("opset {found} is asked for, expected at least {least}")]
    Opset { found: u16, least: u16 },

    #[error("the new nodes are not valid: {source}")]
    Operator { source: OpError },

    #[error(
        "`{tensor}` has {bits} bits, which is not supported: onnxruntime's quantizer has types of 4, 8 and 16 bits only"
    )]
    Width { tensor: String, bits: Bits },

    #[error(
        "node `{node}` cannot be listed for {tool}: its name has {found}, which is not supported"
    )]
    Name { node: String, tool: &'static str, found: char },

    #[error(transparent)]
    Save(SaveError),
}
