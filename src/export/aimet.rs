//! `aimet-*`: encodings as AIMET writes them and Qualcomm's converters read them, in three versions.
//!
//! `real = (q + offset) scale` with unsigned `q`: so `offset = -zero_point`, less half the levels where
//! the integers are signed; a symmetric weight of 8 bits has -128. Version 2.0.0 has the zero points
//! of ONNX instead, and int32 encodings of the biases. What carries the encoding of another tensor is
//! listed as well. An axis that is not the operator's own cannot be told in the older versions.

use serde::{Serialize, Serializer};

use crate::artifact::{Ordered, to_json};
use crate::export::bias::Bias;
use crate::export::{Deployment, ExportError, Format};
use crate::graph::ValueId;
use crate::pipeline::Configured;
use crate::quant::Encoding;

pub(super) const FORMAT_1_0: Format =
    Format { name: "aimet-1.0", names_tensors: true, write: write_1_0 };
pub(super) const FORMAT_0_6_1: Format =
    Format { name: "aimet-0.6.1", names_tensors: true, write: write_0_6_1 };
pub(super) const FORMAT_2_0: Format =
    Format { name: "aimet-2.0", names_tensors: true, write: write_2_0 };

/// Two lists, as versions before 2.0.0 have them.
#[derive(Serialize)]
struct File<T> {
    version: &'static str,
    activation_encodings: T,
    param_encodings: T,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    dtype: &'static str,
    bw: u8,
    enc_type: &'static str,
    is_sym: bool,
    scale: Vec<f32>,
    offset: Vec<i32>,
}

/// Of one channel.
#[derive(Serialize)]
struct Legacy {
    bitwidth: u8,
    dtype: &'static str,
    is_symmetric: &'static str,
    min: f32,
    max: f32,
    scale: f32,
    offset: i32,
}

#[derive(Serialize)]
struct Newest {
    version: &'static str,
    encodings: Vec<Output>,
}

#[derive(Serialize)]
struct Output {
    name: String,
    output_dtype: String,
    y_scale: OneOrMany<f32>,
    /// 0 where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    y_zero_point: Option<OneOrMany<i32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    axis: Option<usize>,
}

/// A number, or a list of one for each channel.
struct OneOrMany<T> {
    numbers: Vec<T>,
    is_list: bool,
}

impl<T: Serialize> Serialize for OneOrMany<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.numbers.as_slice() {
            [number] if !self.is_list => number.serialize(serializer),
            numbers => numbers.serialize(serializer),
        }
    }
}

fn write_1_0(deployment: &Deployment<'_>) -> Result<Vec<u8>, ExportError> {
    let net = deployment.net;
    let listed = |(id, encoding): (ValueId, &Encoding)| Listed {
        name: net.graph.value_name(id).to_owned(),
        dtype: "INT",
        bw: encoding.bits.get(),
        enc_type: if encoding.axis.is_some() { "PER_CHANNEL" } else { "PER_TENSOR" },
        is_sym: encoding.scheme.symmetric,
        scale: encoding.scales.clone(),
        offset: offsets(encoding),
    };
    let file = File {
        version: "1.0.0",
        activation_encodings: activations(net).map(listed).collect::<Vec<_>>(),
        param_encodings: constants(net).map(listed).collect(),
    };
    Ok(to_json(&file).into_bytes())
}

fn write_0_6_1(deployment: &Deployment<'_>) -> Result<Vec<u8>, ExportError> {
    let net = deployment.net;
    let channels = |(id, encoding): (ValueId, &Encoding)| {
        let channel = |(channel, offset): (usize, i32)| {
            let grid = encoding.grid(channel);
            Legacy {
                bitwidth: encoding.bits.get(),
                dtype: "int",
                is_symmetric: if encoding.scheme.symmetric { "True" } else { "False" },
                min: grid.min,
                max: grid.max,
                scale: encoding.scales[channel],
                offset,
            }
        };
        let channels = offsets(encoding).into_iter().enumerate().map(channel);
        (net.graph.value_name(id).to_owned(), channels.collect())
    };
    let file = File {
        version: "0.6.1",
        activation_encodings: activations(net).map(channels).collect::<Ordered<Vec<Legacy>>>(),
        param_encodings: constants(net).map(channels).collect(),
    };
    Ok(to_json(&file).into_bytes())
}

fn write_2_0(deployment: &Deployment<'_>) -> Result<Vec<u8>, ExportError> {
    let net = deployment.net;
    let output = |(id, encoding): (ValueId, &Encoding)| {
        let sign = if encoding.scheme.signed { "int" } else { "uint" };
        let is_list = encoding.axis.is_some();
        let is_zero = encoding.zero_points.iter().all(|&zero_point| zero_point == 0);
        let zero_points = OneOrMany { numbers: encoding.zero_points.clone(), is_list };
        Output {
            name: net.graph.value_name(id).to_owned(),
            output_dtype: format!("{sign}{}", encoding.bits),
            y_scale: OneOrMany { numbers: encoding.scales.clone(), is_list },
            y_zero_point: (!is_zero).then_some(zero_points),
            axis: encoding.axis,
        }
    };
    let biases = net.graph.nodes().filter_map(|(id, _)| Bias::of(net, id)).map(|bias| {
        let is_list = 1 < bias.scales.len();
        Output {
            name: net.graph.value_name(bias.value).to_owned(),
            output_dtype: "int32".to_owned(),
            y_scale: OneOrMany { numbers: bias.scales, is_list },
            y_zero_point: None,
            axis: is_list.then_some(0),
        }
    });
    let encodings = activations(net).chain(constants(net)).map(output).chain(biases).collect();
    Ok(to_json(&Newest { version: "2.0.0", encodings }).into_bytes())
}

/// For unsigned integers.
fn offsets(encoding: &Encoding) -> Vec<i32> {
    let half = if encoding.scheme.signed { 1 << (encoding.bits.get() - 1) } else { 0 };
    encoding.zero_points.iter().map(|zero_point| -zero_point - half).collect()
}

/// Everything that has an encoding and is no constant, in the order of the model.
pub(super) fn activations(net: &Configured) -> impl Iterator<Item = (ValueId, &Encoding)> {
    let inputs = net.graph.inputs().iter().map(|input| input.value);
    let made = net.graph.nodes().flat_map(|(_, node)| node.present_outputs());
    inputs.chain(made).filter_map(|id| Some((id, net.encoding(id)?)))
}

pub(super) fn constants(net: &Configured) -> impl Iterator<Item = (ValueId, &Encoding)> {
    net.constants.iter().map(|(&id, encoding)| (id, encoding))
}
