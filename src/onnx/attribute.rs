//! Attributes of nodes, from protobuf.

use crate::onnx::external::External;
use crate::onnx::proto::AttributeProto;
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::tensor;
use crate::ops::{AttrValue, OpError};

/// The value of an attribute; a subgraph gets the number `body`.
pub(super) fn attribute(
    proto: &AttributeProto,
    external: &External,
    body: usize,
) -> Result<AttrValue, OpError> {
    let name = proto.name();
    let not_supported = |what: &str| OpError::NotSupported {
        what: format!("attribute `{name}`, which is {what},"),
    };
    if proto.ref_attr_name.as_deref().is_some_and(|name| !name.is_empty()) {
        return Err(not_supported("a reference to a function's"));
    }
    let text = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
    match kind(proto) {
        AttributeType::Int => Ok(AttrValue::Int(proto.i())),
        AttributeType::Float => Ok(AttrValue::Float(proto.f())),
        AttributeType::String => {
            Ok(AttrValue::String(proto.s.as_ref().map(text).unwrap_or_default()))
        }
        AttributeType::Ints => Ok(AttrValue::Ints(proto.ints.clone())),
        AttributeType::Floats => Ok(AttrValue::Floats(proto.floats.clone())),
        AttributeType::Strings => Ok(AttrValue::Strings(proto.strings.iter().map(text).collect())),
        AttributeType::Tensor => {
            let tensor = proto.t.as_ref().ok_or_else(|| OpError::InvalidAttribute {
                name: name.to_owned(),
                found: "empty".to_owned(),
                expected: "a tensor".to_owned(),
            })?;
            let tensor = tensor::decode(tensor, external);
            tensor.map(AttrValue::Tensor).map_err(|error| {
                if error.is_not_supported() {
                    OpError::NotSupported { what: format!("attribute `{name}`: {error}:") }
                } else {
                    OpError::InvalidAttribute {
                        name: name.to_owned(),
                        found: format!("a bad tensor ({error})"),
                        expected: "a tensor".to_owned(),
                    }
                }
            })
        }
        AttributeType::Graph if proto.g.is_some() => Ok(AttrValue::Body(body)),
        other => Err(not_supported(other.as_str_name())),
    }
}

/// The declared type; files of IR version 1 have none, so it is told by what is there.
fn kind(proto: &AttributeProto) -> AttributeType {
    match proto.r#type() {
        AttributeType::Undefined => {}
        declared => return declared,
    }
    if proto.i.is_some() {
        AttributeType::Int
    } else if proto.f.is_some() {
        AttributeType::Float
    } else if proto.s.is_some() {
        AttributeType::String
    } else if proto.t.is_some() {
        AttributeType::Tensor
    } else if proto.g.is_some() {
        AttributeType::Graph
    } else if !proto.floats.is_empty() {
        AttributeType::Floats
    } else if !proto.strings.is_empty() {
        AttributeType::Strings
    } else {
        AttributeType::Ints
    }
}
