//! `ort-overrides`: onnxruntime's TensorQuantOverrides as JSON.
//!
//! By tensor a list: one entry, or one for each channel of a weight, all with the axis. Types are
//! named as the members of `QuantType`. onnxruntime's quantizer takes any name and any key without
//! a word; all tensors here are in the float model, and widths that it has no type for are refused.

use serde::Serialize;

use crate::artifact::{Ordered, to_json};
use crate::export::aimet::{activations, constants};
use crate::export::container::{Container, OPSET_OF_ALL_WIDTHS};
use crate::export::conversions::{Conversion, Kind, Wide, conversions};
use crate::export::{Deployment, ExportError, Format};
use crate::graph::ValueId;
use crate::pipeline::Configured;
use crate::quant::Encoding;

pub(super) const FORMAT: Format = Format { name: "ort-overrides", names_tensors: true, write };

#[derive(Serialize)]
struct Override {
    quant_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    axis: Option<usize>,
    scale: f32,
    zero_point: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    convert: Option<Convert>,
}

/// What some readers get instead.
#[derive(Serialize)]
struct Convert {
    quant_type: String,
    scale: f32,
    zero_point: i32,
    recv_nodes: Vec<String>,
}

fn write(deployment: &Deployment<'_>) -> Result<Vec<u8>, ExportError> {
    let net = deployment.net;
    let conversions = conversions(net, OPSET_OF_ALL_WIDTHS);
    let mut overrides = Ordered::new();
    for (id, encoding) in activations(net) {
        let of_value = conversions.iter().filter(|conversion| conversion.value == id);
        let entry = activation(net, id, encoding, &of_value.collect::<Vec<_>>())?;
        overrides.insert(net.graph.value_name(id).to_owned(), vec![entry]);
    }
    for (id, encoding) in constants(net) {
        let quant_type = quant_type(net, id, encoding)?;
        let numbers = encoding.scales.iter().zip(&encoding.zero_points);
        let channel = |(&scale, &zero_point): (&f32, &i32)| Override {
            quant_type: quant_type.clone(),
            axis: encoding.axis,
            scale,
            zero_point,
            convert: None,
        };
        let channels: Vec<Override> = numbers.map(channel).collect();
        overrides.insert(net.graph.value_name(id).to_owned(), channels);
    }
    Ok(to_json(&overrides).into_bytes())
}

/// With the one conversion that onnxruntime can express for a tensor; readers come first.
fn activation(
    net: &Configured,
    id: ValueId,
    encoding: &Encoding,
    conversions: &[&Conversion],
) -> Result<Override, ExportError> {
    let node_name = |&id: &crate::graph::NodeId| net.graph.node(id).name.clone();
    let own = Override {
        quant_type: quant_type(net, id, encoding)?,
        axis: None,
        scale: encoding.scales[0],
        zero_point: encoding.zero_points[0],
        convert: None,
    };
    let widened = conversions.iter().filter_map(|conversion| match &conversion.kind {
        Kind::Widen { readers } => Some((conversion.wide, readers)),
        Kind::Narrow => None,
    });
    let widened: Vec<(Wide, &Vec<_>)> = widened.collect();
    if let Some(&(wide, _)) = widened.first() {
        let readers = widened.iter().flat_map(|(_, readers)| readers.iter());
        let convert = Convert {
            quant_type: name(wide.container),
            scale: wide.scale,
            zero_point: wide.zero_point,
            recv_nodes: readers.map(node_name).collect(),
        };
        return Ok(Override { convert: Some(convert), ..own });
    }
    let Some(made) = conversions.first() else { return Ok(own) };
    let readers = net.graph.readers()[id.index()].iter().map(node_name).collect();
    let convert = Convert {
        quant_type: own.quant_type,
        scale: own.scale,
        zero_point: own.zero_point,
        recv_nodes: readers,
    };
    Ok(Override {
        quant_type: name(made.wide.container),
        axis: None,
        scale: made.wide.scale,
        zero_point: made.wide.zero_point,
        convert: Some(convert),
    })
}

/// # Errors
/// If the grid is not all of an integer type's: onnxruntime would use the rest of the type as well.
fn quant_type(net: &Configured, id: ValueId, encoding: &Encoding) -> Result<String, ExportError> {
    let container = Container::of(encoding, OPSET_OF_ALL_WIDTHS);
    if encoding.bits.get() != container.bits {
        let tensor = net.graph.value_name(id).to_owned();
        return Err(ExportError::Width { tensor, bits: encoding.bits });
    }
    Ok(name(container))
}

fn name(container: Container) -> String {
    let sign = if container.signed { "QInt" } else { "QUInt" };
    format!("{sign}{}", container.bits)
}
