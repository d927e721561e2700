//! One table of operators: attributes, shape rule, values, multiply-accumulates, quantization role.
//!
//! Everything known of an operator has one home, its file. Not here: names of nodes, old opsets'
//! spelling (upgraded when a file is loaded, unless the meaning changed: then two rows of one name).

mod activation;
mod arithmetic;
mod attend;
mod attention;
mod attrs;
mod batch_norm;
mod bit_cast;
mod broadcast;
mod cast;
mod causal_conv;
mod cell;
mod center;
mod centered;
mod clip;
mod concat;
mod control;
mod conv;
mod conv_transpose;
mod deform_conv;
mod det;
mod dft;
mod dims;
mod einsum;
mod equation;
mod erf;
mod error;
mod expand;
mod floats;
mod fourier;
mod gate;
mod gather;
mod gemm;
mod generate;
mod global_pool;
mod granularity;
mod grid_sample;
mod group_norm;
mod identity;
mod image_decoder;
mod inputs;
mod interpolate;
mod lanes;
mod layer_norm;
mod legacy;
mod linear_attention;
mod logic;
mod loss;
mod lowering;
mod matmul;
mod mel;
mod microsoft;
mod number;
mod optional;
mod order;
mod pad;
mod plain_conv;
mod plain_norm;
mod pool;
mod power;
mod qlinear_conv;
mod qlinear_matmul;
mod quantize_linear;
mod real;
mod recurrent;
mod reduce;
mod reshape;
mod resize;
mod roi;
mod role;
mod rotary;
mod scan;
mod scatter;
mod select;
mod sequence;
mod shape;
mod signal_window;
mod slice;
mod softmax;
mod stencil;
mod stft;
mod suppress;
mod swiglu;
mod take;
mod tensor_scatter;
#[cfg(test)]
pub(crate) mod testing;
mod transpose;
mod triangle;
mod unary;
mod unique;
mod unpool;
mod window;

use std::fmt;

pub use attrs::{AttrValue, Attrs};
pub use error::{ErrorKind, OpError};
pub use inputs::{BodyTypes, Input, Inputs};
pub use lowering::{Lowering, Product};
pub use role::{OutputRange, QuantRole, Reads, Weight};

use crate::tensor::{Tensor, TensorType};

/// Every operator, by family. The one list to extend.
const FAMILIES: &[&[OpDef]] = &[
    activation::OPS,
    arithmetic::OPS,
    attention::OPS,
    batch_norm::OPS,
    bit_cast::OPS,
    cast::OPS,
    causal_conv::OPS,
    center::OPS,
    clip::OPS,
    concat::OPS,
    control::OPS,
    conv::OPS,
    conv_transpose::OPS,
    deform_conv::OPS,
    det::OPS,
    dft::OPS,
    einsum::OPS,
    expand::OPS,
    gather::OPS,
    gemm::OPS,
    generate::OPS,
    global_pool::OPS,
    grid_sample::OPS,
    group_norm::OPS,
    identity::OPS,
    image_decoder::OPS,
    layer_norm::OPS,
    legacy::OPS,
    linear_attention::OPS,
    logic::OPS,
    loss::OPS,
    matmul::OPS,
    mel::OPS,
    microsoft::attention::OPS,
    microsoft::embed::OPS,
    microsoft::fused::OPS,
    microsoft::gelu::OPS,
    microsoft::group_query::OPS,
    microsoft::multi_head::OPS,
    microsoft::skip_norm::OPS,
    optional::OPS,
    order::OPS,
    pad::OPS,
    plain_norm::OPS,
    pool::OPS,
    power::OPS,
    qlinear_conv::OPS,
    qlinear_matmul::OPS,
    quantize_linear::OPS,
    recurrent::OPS,
    reduce::OPS,
    reshape::OPS,
    resize::OPS,
    roi::OPS,
    rotary::OPS,
    scan::OPS,
    scatter::OPS,
    select::OPS,
    sequence::OPS,
    shape::OPS,
    signal_window::OPS,
    slice::OPS,
    softmax::OPS,
    stft::OPS,
    suppress::OPS,
    swiglu::OPS,
    tensor_scatter::OPS,
    transpose::OPS,
    triangle::OPS,
    unary::OPS,
    unique::OPS,
    unpool::OPS,
];

/// The domain of the ONNX standard's own operators.
pub const DEFAULT_DOMAIN: &str = "";

/// The domain of the operators that onnxruntime adds.
pub const MICROSOFT_DOMAIN: &str = "com.microsoft";

/// The newest opset of the default domain that the table was written against.
pub const NEWEST_OPSET: u16 = 28;

/// One row of the operator table.
#[derive(Debug)]
pub struct OpDef {
    /// The operator set; empty for ONNX's own.
    pub domain: &'static str,
    /// The ONNX operator name.
    pub name: &'static str,
    /// The oldest opset whose definition `read` understands.
    pub since: u16,
    /// Makes the operator from a node's attributes.
    pub read: fn(&mut Attrs) -> Result<Box<dyn Operator>, OpError>,
}

impl OpDef {
    const fn onnx(
        name: &'static str,
        since: u16,
        read: fn(&mut Attrs) -> Result<Box<dyn Operator>, OpError>,
    ) -> OpDef {
        OpDef { domain: DEFAULT_DOMAIN, name, since, read }
    }

    /// The domain has one version of each of its operators.
    const fn microsoft(
        name: &'static str,
        read: fn(&mut Attrs) -> Result<Box<dyn Operator>, OpError>,
    ) -> OpDef {
        OpDef { domain: MICROSOFT_DOMAIN, name, since: 1, read }
    }
}

/// The whole table, in the order of the families.
pub fn all() -> impl Iterator<Item = &'static OpDef> {
    FAMILIES.iter().copied().flatten()
}

/// The newest definition of `name` that is not newer than `opset`.
pub fn find(domain: &str, name: &str, opset: u16) -> Option<&'static OpDef> {
    let defs = all().filter(|def| def.name == name && def.domain == domain);
    defs.filter(|def| def.since <= opset).max_by_key(|def| def.since)
}

/// Makes an operator from its name and all its attributes; an attribute that nobody read is an error.
pub fn read(
    domain: &str,
    name: &str,
    opset: u16,
    mut attrs: Attrs,
) -> Result<Box<dyn Operator>, OpError> {
    let def = find(domain, name, opset).ok_or(OpError::UnknownOperator)?;
    let operator = (def.read)(&mut attrs)?;
    attrs.finish()?;
    Ok(operator)
}

/// The types of what an operator makes, all of them such as memory can address.
pub fn infer(operator: &dyn Operator, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
    let types = operator.infer(inputs)?.into_iter();
    types.map(|ty| dims::checked_type(ty.dtype, ty.shape)).collect()
}

/// What an operator makes of inputs of which [`infer`] said that they give `types`.
///
/// Where none of these has an element the operator is not asked: it may need memory along the other axes,
/// and no data stands behind them.
pub fn evaluate(
    operator: &dyn Operator,
    inputs: &Inputs<'_>,
    types: &[TensorType],
    bodies: &mut dyn Bodies,
) -> Result<Vec<Tensor>, OpError> {
    if types.iter().all(TensorType::is_empty) {
        return Ok(types.iter().map(Tensor::empty).collect());
    }
    operator.eval(inputs, bodies)
}

/// What one node computes, and what that costs.
///
/// `infer` does all checking. `eval`, `macs` and `quant` are only called with inputs that `infer`
/// has accepted, so they may index without looking.
pub trait Operator: fmt::Debug + Send + Sync {
    /// Output types from input types, and from values where the shape depends on them.
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError>;

    /// Output values; all inputs have theirs. `bodies` runs subgraphs (`If`, `Loop`, `Scan`).
    fn eval(&self, inputs: &Inputs<'_>, bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError>;

    /// Multiply-accumulates of one evaluation.
    fn macs(&self, _inputs: &Inputs<'_>, _outputs: &[TensorType]) -> u64 {
        0
    }

    /// What the quantization simulator has to know. Values may be missing from `inputs`.
    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::OWN_RANGE
    }

    /// The same in the terms of the kernels, for float32 inputs; `None` where there is only `eval`.
    fn lower(&self, _inputs: &Inputs<'_>) -> Option<Lowering> {
        None
    }

    /// The input that the first output is proportional to: a positive factor for each place along
    /// axis 1 of the one is a factor of the other, which has the same axis 1.
    fn proportional_to(&self) -> Option<usize> {
        None
    }

    /// Whether `eval` looks at the values of its inputs, not only at their types.
    fn reads_values(&self) -> bool {
        true
    }
}

/// The subgraphs of a node, by their number.
pub trait Bodies {
    fn run(&mut self, body: usize, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, OpError>;

    /// The most bytes that the node's outputs may have.
    fn limit_bytes(&self) -> usize {
        usize::MAX
    }
}

/// For nodes without subgraphs.
#[derive(Debug)]
pub struct NoBodies;

impl Bodies for NoBodies {
    fn run(&mut self, body: usize, _inputs: Vec<Tensor>) -> Result<Vec<Tensor>, OpError> {
        Err(OpError::MissingBody { body })
    }
}

/// Stands in for an operator that could not be read, so that `inspect` can show the rest.
#[derive(Debug)]
pub struct Unsupported(pub OpError);

impl Operator for Unsupported {
    fn infer(&self, _inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        Err(self.0.clone())
    }

    fn eval(&self, _inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        Err(self.0.clone())
    }
}
