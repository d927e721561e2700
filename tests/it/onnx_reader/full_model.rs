//! A model that uses all of the format.

use mpq::onnx::proto;

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn entries(key: &str) -> Vec<proto::StringStringEntryProto> {
    vec![proto::StringStringEntryProto { key: text(key), value: text("value") }]
}

/// A model that sets every field that both readers know, each to a value of its own.
pub(super) fn full_model() -> proto::ModelProto {
    let opset = proto::OperatorSetIdProto { domain: text("ai.onnx"), version: Some(17) };
    let training = proto::TrainingInfoProto {
        initialization: Some(proto::GraphProto { name: text("init"), ..Default::default() }),
        algorithm: Some(proto::GraphProto { name: text("step"), ..Default::default() }),
        initialization_binding: entries("a"),
        update_binding: entries("b"),
    };
    let function = proto::FunctionProto {
        name: text("f"),
        input: vec!["x".to_owned()],
        output: vec!["y".to_owned()],
        attribute: vec!["alpha".to_owned()],
        attribute_proto: vec![full_attribute()],
        node: vec![full_node()],
        doc_string: text("what f does"),
        opset_import: vec![opset.clone()],
        domain: text("local"),
        overload: text("1"),
        value_info: full_values(),
        metadata_props: entries("c"),
    };
    proto::ModelProto {
        ir_version: Some(10),
        opset_import: vec![opset],
        producer_name: text("producer"),
        producer_version: text("0.1"),
        domain: text("org.example"),
        model_version: Some(-3),
        doc_string: text("a model"),
        graph: Some(full_graph()),
        metadata_props: entries("d"),
        training_info: vec![training],
        functions: vec![function],
        ..Default::default()
    }
}

fn full_graph() -> proto::GraphProto {
    let annotation = proto::TensorAnnotation {
        tensor_name: text("x"),
        quant_parameter_tensor_names: entries("SCALE_TENSOR"),
    };
    proto::GraphProto {
        node: vec![full_node()],
        name: text("g"),
        initializer: vec![full_tensor()],
        sparse_initializer: vec![full_sparse_tensor()],
        doc_string: text("a graph"),
        input: full_values(),
        output: full_values(),
        value_info: full_values(),
        quantization_annotation: vec![annotation],
        metadata_props: entries("e"),
    }
}

fn full_node() -> proto::NodeProto {
    proto::NodeProto {
        input: vec!["a".to_owned(), String::new(), "b".to_owned()],
        output: vec!["y".to_owned()],
        name: text("node"),
        op_type: text("Relu"),
        domain: text("org.example"),
        overload: text("2"),
        attribute: vec![full_attribute()],
        doc_string: text("a node"),
        metadata_props: entries("f"),
        ..Default::default()
    }
}

fn full_attribute() -> proto::AttributeProto {
    let inner = proto::GraphProto { name: text("body"), ..Default::default() };
    proto::AttributeProto {
        name: text("alpha"),
        ref_attr_name: text("beta"),
        doc_string: text("an attribute"),
        r#type: Some(proto::attribute_proto::AttributeType::SparseTensors.into()),
        f: Some(0.1),
        i: Some(i64::MIN),
        s: Some("\u{fc}".into()),
        t: Some(full_tensor()),
        g: Some(inner.clone()),
        sparse_tensor: Some(full_sparse_tensor()),
        tp: Some(tensor_type()),
        floats: vec![1.5, -0.],
        ints: vec![-1, 0, i64::MAX],
        strings: vec!["".into(), "two".into()],
        tensors: vec![full_tensor()],
        graphs: vec![inner.clone(), inner],
        sparse_tensors: vec![full_sparse_tensor()],
        type_protos: vec![tensor_type(), tensor_type()],
    }
}

fn full_tensor() -> proto::TensorProto {
    proto::TensorProto {
        dims: vec![2, 0, i64::MAX],
        data_type: Some(16),
        segment: Some(proto::tensor_proto::Segment { begin: Some(1), end: Some(-2) }),
        float_data: vec![0.5, f32::NEG_INFINITY],
        int32_data: vec![i32::MIN, i32::MAX],
        string_data: vec!["a".into(), "".into()],
        int64_data: vec![i64::MIN],
        name: text("w"),
        doc_string: text("a tensor"),
        raw_data: Some(vec![0, 255, 128].into()),
        external_data: entries("location"),
        data_location: Some(proto::tensor_proto::DataLocation::External.into()),
        double_data: vec![f64::MIN_POSITIVE],
        uint64_data: vec![u64::MAX],
        metadata_props: entries("g"),
    }
}

fn full_sparse_tensor() -> proto::SparseTensorProto {
    proto::SparseTensorProto {
        values: Some(full_tensor()),
        indices: Some(proto::TensorProto { name: text("indices"), ..Default::default() }),
        dims: vec![3, 4],
    }
}

fn shape() -> Option<proto::TensorShapeProto> {
    use proto::tensor_shape_proto::{Dimension, dimension::Value};
    let dim = |value| Dimension { value, denotation: text("DATA_BATCH") };
    let dim_values = [None, Some(Value::DimValue(7)), Some(Value::DimParam("batch".to_owned()))];
    Some(proto::TensorShapeProto { dim: dim_values.map(dim).to_vec() })
}

fn type_of(value: proto::type_proto::Value) -> proto::TypeProto {
    proto::TypeProto { value: Some(value), denotation: text("IMAGE") }
}

fn tensor_type() -> proto::TypeProto {
    let tensor = proto::type_proto::Tensor { elem_type: Some(1), shape: shape() };
    type_of(proto::type_proto::Value::TensorType(tensor))
}

/// A value of each kind of type.
fn full_values() -> Vec<proto::ValueInfoProto> {
    use proto::type_proto::{Map, Optional, Sequence, SparseTensor, Value};
    let inner = || Some(Box::new(tensor_type()));
    let types = [
        tensor_type(),
        type_of(Value::SparseTensorType(SparseTensor { elem_type: Some(11), shape: shape() })),
        type_of(Value::SequenceType(Box::new(Sequence { elem_type: inner() }))),
        type_of(Value::OptionalType(Box::new(Optional { elem_type: inner() }))),
        type_of(Value::MapType(Box::new(Map { key_type: Some(7), value_type: inner() }))),
    ];
    let value = |r#type| proto::ValueInfoProto {
        name: text("x"),
        r#type: Some(r#type),
        doc_string: text("a value"),
        metadata_props: entries("h"),
    };
    types.map(value).to_vec()
}
