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
    let kind = kind(proto);
    if let Some(other) = held(proto).find(|&held| held != kind) {
        let expected = format!("{}, as declared", words(kind));
        return Err(OpError::invalid_attribute(name, words(other), expected));
    }
    match kind {
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
        AttributeType::Undefined => held(proto).next().unwrap_or(AttributeType::Ints),
        declared => declared,
    }
}

/// The types of the fields that hold something. Zero and an empty list may be left out of a file.
fn held(proto: &AttributeProto) -> impl Iterator<Item = AttributeType> {
    let fields = [
        (AttributeType::Int, proto.i.is_some()),
        (AttributeType::Float, proto.f.is_some()),
        (AttributeType::String, proto.s.is_some()),
        (AttributeType::Tensor, proto.t.is_some()),
        (AttributeType::Graph, proto.g.is_some()),
        (AttributeType::Ints, !proto.ints.is_empty()),
        (AttributeType::Floats, !proto.floats.is_empty()),
        (AttributeType::Strings, !proto.strings.is_empty()),
    ];
    fields.into_iter().filter(|&(_, is_held)| is_held).map(|(kind, _)| kind)
}

fn words(kind: AttributeType) -> &'static str {
    match kind {
        AttributeType::Int => "an integer",
        AttributeType::Float => "a float",
        AttributeType::String => "a string",
        AttributeType::Tensor => "a tensor",
        AttributeType::Graph => "a subgraph",
        AttributeType::Ints => "a list of integers",
        AttributeType::Floats => "a list of floats",
        AttributeType::Strings => "a list of strings",
        other => other.as_str_name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_what_is_declared() {
        let dir = tempfile::tempdir().unwrap();
        let external = External::beside(dir.path());
        let read = |ty: AttributeType, i, f| {
            let (name, ty) = (Some("alpha".to_owned()), Some(ty.into()));
            let proto = AttributeProto { name, r#type: ty, i, f, ..AttributeProto::default() };
            attribute(&proto, &external, 0).map_err(|error| error.to_string())
        };
        assert_eq!(read(AttributeType::Float, None, Some(0.5)), Ok(AttrValue::Float(0.5)));
        assert_eq!(read(AttributeType::Undefined, Some(3), None), Ok(AttrValue::Int(3)));
        // A zero may be left out.
        assert_eq!(read(AttributeType::Int, None, None), Ok(AttrValue::Int(0)));
        let error = "attribute `alpha` is an integer, expected a float, as declared";
        assert_eq!(read(AttributeType::Float, Some(1), None), Err(error.to_owned()));
    }
}
