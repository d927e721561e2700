//! Is a message of ours, field for field, one of the second reader's?

use std::fmt::Debug;

use mpq::onnx::proto;
use onnx_protobuf as second;
use protobuf::MessageField;

/// Panics at the first field that the two readers see differently, and says where it is.
pub(super) trait Same<Theirs> {
    fn same(&self, theirs: &Theirs, at: &str);
}

pub(super) fn list<A: PartialEq<B> + Debug, B: Debug>(ours: &[A], theirs: &[B], at: &str) {
    assert_eq!(ours.len(), theirs.len(), "length of {at}");
    for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!(ours == theirs, "{at}[{index}]: {ours:?} and {theirs:?}");
    }
}

fn messages<A: Same<B>, B>(ours: &[A], theirs: &[B], at: &str) {
    assert_eq!(ours.len(), theirs.len(), "length of {at}");
    for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        ours.same(theirs, &format!("{at}[{index}]"));
    }
}

fn message<A: Same<B>, B>(ours: Option<&A>, theirs: &MessageField<B>, at: &str) {
    match (ours, theirs.as_ref()) {
        (Some(ours), Some(theirs)) => ours.same(theirs, at),
        (ours, theirs) => assert_eq!(ours.is_some(), theirs.is_some(), "{at}"),
    }
}

/// The fields of one message, by their kind; `ours theirs` where the two name a field differently.
macro_rules! same {
    ($ours:path, $theirs:path {
        $(values: [$($value:ident),* $(,)?] $(,)?)?
        $(enums: [$($choice:ident $their_choice:ident),* $(,)?] $(,)?)?
        $(bytes: [$($bytes:ident),* $(,)?] $(,)?)?
        $(lists: [$($list:ident),* $(,)?] $(,)?)?
        $(message: [$($inner:ident $their_inner:ident),* $(,)?] $(,)?)?
        $(messages: [$($inners:ident),* $(,)?] $(,)?)?
    }) => {
        impl Same<$theirs> for $ours {
            fn same(&self, theirs: &$theirs, at: &str) {
                let at = |field: &str| format!("{at}.{field}");
                $($(assert_eq!(self.$value(), theirs.$value, "{}", at(stringify!($value)));)*)?
                $($(assert_eq!(
                    self.$choice.unwrap_or_default(), theirs.$their_choice.value(),
                    "{}", at(stringify!($their_choice))
                );)*)?
                $($(list(self.$bytes(), &theirs.$bytes, &at(stringify!($bytes)));)*)?
                $($(list(&self.$list, &theirs.$list, &at(stringify!($list)));)*)?
                $($(message(
                    self.$inner.as_ref(), &theirs.$their_inner, &at(stringify!($their_inner))
                );)*)?
                $($(messages(&self.$inners, &theirs.$inners, &at(stringify!($inners)));)*)?
            }
        }
    };
}

same!(proto::ModelProto, second::ModelProto {
    values: [ir_version, producer_name, producer_version, domain, model_version, doc_string],
    message: [graph graph],
    messages: [opset_import, metadata_props, training_info, functions],
});

same!(proto::OperatorSetIdProto, second::OperatorSetIdProto { values: [domain, version] });

same!(proto::StringStringEntryProto, second::StringStringEntryProto { values: [key, value] });

same!(proto::TrainingInfoProto, second::TrainingInfoProto {
    message: [initialization initialization, algorithm algorithm],
    messages: [initialization_binding, update_binding],
});

same!(
    proto::FunctionProto,
    second::FunctionProto {
        values: [name, doc_string, domain, overload],
        lists: [input, output, attribute],
        messages: [attribute_proto, node, opset_import, value_info, metadata_props],
    }
);

same!(
    proto::GraphProto,
    second::GraphProto {
        values: [name, doc_string],
        messages: [
            node,
            initializer,
            sparse_initializer,
            input,
            output,
            value_info,
            quantization_annotation,
            metadata_props
        ],
    }
);

same!(
    proto::NodeProto,
    second::NodeProto {
        values: [name, op_type, domain, overload, doc_string],
        lists: [input, output],
        messages: [attribute, metadata_props],
    }
);

same!(proto::AttributeProto, second::AttributeProto {
    values: [name, ref_attr_name, doc_string, f, i, s],
    enums: [r#type type_],
    lists: [floats, ints, strings],
    message: [t t, g g, sparse_tensor sparse_tensor, tp tp],
    messages: [tensors, graphs, sparse_tensors, type_protos],
});

same!(proto::ValueInfoProto, second::ValueInfoProto {
    values: [name, doc_string],
    message: [r#type type_],
    messages: [metadata_props],
});

same!(
    proto::TensorAnnotation,
    second::TensorAnnotation { values: [tensor_name], messages: [quant_parameter_tensor_names] }
);

same!(proto::TensorProto, second::TensorProto {
    values: [name, doc_string, data_type],
    enums: [data_location data_location],
    bytes: [raw_data],
    lists: [dims, float_data, double_data, int32_data, int64_data, uint64_data, string_data],
    message: [segment segment],
    messages: [external_data, metadata_props],
});

same!(proto::tensor_proto::Segment, second::tensor_proto::Segment { values: [begin, end] });

same!(proto::SparseTensorProto, second::SparseTensorProto {
    lists: [dims],
    message: [values values, indices indices],
});

same!(proto::TensorShapeProto, second::TensorShapeProto { messages: [dim] });

same!(proto::type_proto::Tensor, second::type_proto::Tensor {
    values: [elem_type],
    message: [shape shape],
});

same!(proto::type_proto::SparseTensor, second::type_proto::SparseTensor {
    values: [elem_type],
    message: [shape shape],
});

same!(proto::type_proto::Sequence, second::type_proto::Sequence {
    message: [elem_type elem_type],
});

same!(proto::type_proto::Optional, second::type_proto::Optional {
    message: [elem_type elem_type],
});

same!(proto::type_proto::Map, second::type_proto::Map {
    values: [key_type],
    message: [value_type value_type],
});

impl<A: Same<B>, B> Same<B> for Box<A> {
    fn same(&self, theirs: &B, at: &str) {
        (**self).same(theirs, at);
    }
}

impl Same<second::tensor_shape_proto::Dimension> for proto::tensor_shape_proto::Dimension {
    fn same(&self, theirs: &second::tensor_shape_proto::Dimension, at: &str) {
        use proto::tensor_shape_proto::dimension::Value as Ours;
        use second::tensor_shape_proto::dimension::Value as Theirs;
        assert_eq!(self.denotation(), theirs.denotation, "{at}.denotation");
        match (&self.value, &theirs.value) {
            (None, None) => {}
            (Some(Ours::DimValue(ours)), Some(Theirs::DimValue(theirs))) => {
                assert_eq!(ours, theirs, "{at}");
            }
            (Some(Ours::DimParam(ours)), Some(Theirs::DimParam(theirs))) => {
                assert_eq!(ours, theirs, "{at}");
            }
            (ours, theirs) => panic!("{at}: {ours:?} and {theirs:?}"),
        }
    }
}

impl Same<second::TypeProto> for proto::TypeProto {
    fn same(&self, theirs: &second::TypeProto, at: &str) {
        use proto::type_proto::Value as Ours;
        use second::type_proto::Value as Theirs;
        assert_eq!(self.denotation(), theirs.denotation, "{at}.denotation");
        match (&self.value, &theirs.value) {
            (None, None) => {}
            (Some(Ours::TensorType(ours)), Some(Theirs::TensorType(theirs))) => {
                ours.same(theirs, at);
            }
            (Some(Ours::SparseTensorType(ours)), Some(Theirs::SparseTensorType(theirs))) => {
                ours.same(theirs, at);
            }
            (Some(Ours::SequenceType(ours)), Some(Theirs::SequenceType(theirs))) => {
                ours.same(theirs, at);
            }
            (Some(Ours::OptionalType(ours)), Some(Theirs::OptionalType(theirs))) => {
                ours.same(theirs, at);
            }
            (Some(Ours::MapType(ours)), Some(Theirs::MapType(theirs))) => ours.same(theirs, at),
            (ours, theirs) => panic!("{at}: {ours:?} and {theirs:?}"),
        }
    }
}
