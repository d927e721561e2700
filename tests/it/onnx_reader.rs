//! Our protobuf messages against those of a second, independent reader (`onnx-protobuf`):
//! both must see the same in every field of a file, be it written by others or by us.
//!
//! The models come from `$MPQ_TEST_DATA/models`. The second reader knows IR version 10; fields that
//! are newer are not compared.

mod full_model;
mod same;

use std::fs;

use mpq::onnx::{proto, read_pb, write_pb};
use onnx_protobuf as second;
use prost::Message as _;
use protobuf::Message as _;

use full_model::full_model;
use same::{Same as _, list};

use crate::test_data::test_data;

#[test]
fn real_models() {
    let Some(data) = test_data("onnx_reader::real_models") else { return };
    let folder = data.join("models");
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "onnx")).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no models in {}", folder.display());
    for path in paths {
        let file = fs::read(&path).unwrap();
        let at = path.file_name().unwrap().to_str().unwrap();
        let theirs = second::ModelProto::parse_from_bytes(&file).unwrap();
        let ours = proto::ModelProto::decode(bytes::Bytes::from(file)).unwrap();
        ours.same(&theirs, at);
        for tensor in &theirs.graph.initializer {
            through_our_tensors(tensor);
        }
        ours.same(&read_by_them(&ours), &format!("{at}, written by us"));
    }
}

/// The models at hand do not use all there is.
#[test]
fn every_field() {
    let ours = full_model();
    let theirs = read_by_them(&ours);
    ours.same(&theirs, "full");
    let again = theirs.write_to_bytes().unwrap();
    let again = proto::ModelProto::decode(again.as_slice()).unwrap();
    again.same(&theirs, "full, written by them");
}

#[test]
fn typed_fields() {
    use second::tensor_proto::DataType;
    let tensor = |data_type: DataType| {
        let data_type = data_type as i32;
        second::TensorProto { name: "w".to_owned(), dims: vec![3], data_type, ..Default::default() }
    };
    let int32_data = vec![0, 1, 100];
    let int32 =
        |data_type| second::TensorProto { int32_data: int32_data.clone(), ..tensor(data_type) };
    through_our_tensors(&second::TensorProto {
        float_data: vec![0.1, -0., f32::INFINITY],
        ..tensor(DataType::FLOAT)
    });
    through_our_tensors(&second::TensorProto {
        double_data: vec![0.1, -0., f64::MAX],
        ..tensor(DataType::DOUBLE)
    });
    through_our_tensors(&second::TensorProto {
        int64_data: vec![0, i64::MIN, i64::MAX],
        ..tensor(DataType::INT64)
    });
    for data_type in [DataType::INT32, DataType::INT16, DataType::UINT16, DataType::FLOAT16] {
        through_our_tensors(&int32(data_type));
    }
    for data_type in [DataType::BFLOAT16, DataType::INT8, DataType::UINT8] {
        through_our_tensors(&int32(data_type));
    }
    for data_type in [DataType::UINT64, DataType::UINT32] {
        let uint64_data = vec![0, 1, u32::MAX.into()];
        through_our_tensors(&second::TensorProto { uint64_data, ..tensor(data_type) });
    }
}

fn read_by_them(ours: &proto::ModelProto) -> second::ModelProto {
    second::ModelProto::parse_from_bytes(&ours.encode_to_vec()).unwrap()
}

/// Written by them, read by us as values, written by us, read by them.
fn through_our_tensors(theirs: &second::TensorProto) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tensor.pb");
    fs::write(&path, theirs.write_to_bytes().unwrap()).unwrap();
    let (name, tensor) = read_pb(&path).unwrap();
    assert_eq!(name, theirs.name);
    write_pb(&path, &name, &tensor).unwrap();
    assert_eq!(read_pb(&path).unwrap().1, tensor, "{name}");
    let back = second::TensorProto::parse_from_bytes(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(back.name, theirs.name);
    assert_eq!(back.dims, theirs.dims, "{name}");
    assert_eq!(back.data_type, theirs.data_type, "{name}");
    list(&back.raw_data, &raw_data(theirs), &name);
}

/// The little-endian bytes that a tensor of the second reader stands for.
fn raw_data(tensor: &second::TensorProto) -> Vec<u8> {
    if !tensor.raw_data.is_empty() {
        return tensor.raw_data.clone();
    }
    let elements = tensor.dims.iter().product::<i64>() as usize;
    let int32_size = match tensor.data_type {
        2 | 3 | 9 => 1,
        4 | 5 | 10 | 16 => 2,
        _ => 4,
    };
    let uint64_size = if tensor.data_type == 12 { 4 } else { 8 };
    let mut raw = Vec::new();
    raw.extend(tensor.float_data.iter().flat_map(|x| x.to_le_bytes()));
    raw.extend(tensor.double_data.iter().flat_map(|x| x.to_le_bytes()));
    raw.extend(tensor.int64_data.iter().flat_map(|x| x.to_le_bytes()));
    raw.extend(tensor.int32_data.iter().flat_map(|x| x.to_le_bytes().into_iter().take(int32_size)));
    raw.extend(
        tensor.uint64_data.iter().flat_map(|x| x.to_le_bytes().into_iter().take(uint64_size)),
    );
    assert!(elements == 0 || raw.len() % elements == 0);
    raw
}

/// What we save says what the file said, and computes what it computed.
#[test]
fn saved_models() {
    let Some(data) = test_data("onnx_reader::saved_models") else { return };
    let dir = tempfile::tempdir().unwrap();
    for name in ["resnet20_cifar10", "mobilenet_v3_textdir", "minilm_l6_sst2"] {
        let path = data.join("models").join(format!("{name}.onnx"));
        let model = mpq::onnx::load(&path, &Default::default()).unwrap();
        let graph = mpq::graph::simplify(model.graph);
        let bytes = mpq::onnx::model_bytes(&graph, &model.origin, model.opset).unwrap();
        let theirs = second::ModelProto::parse_from_bytes(&bytes).unwrap();
        let ours = proto::ModelProto::decode(bytes::Bytes::from(bytes.clone())).unwrap();
        ours.same(&theirs, name);
        let original = second::ModelProto::parse_from_bytes(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(theirs.producer_name, original.producer_name, "{name}");
        assert_eq!(theirs.metadata_props, original.metadata_props, "{name}");
        assert_eq!(theirs.graph.input, original.graph.input, "{name}");
        assert_eq!(theirs.graph.output, original.graph.output, "{name}");
        let saved = dir.path().join("saved.onnx");
        fs::write(&saved, &bytes).unwrap();
        let again = mpq::onnx::load(&saved, &Default::default()).unwrap();
        let names = |graph: &mpq::graph::Graph| {
            let nodes = graph.nodes().map(|(_, node)| (node.name.clone(), node.op_type.clone()));
            nodes.collect::<Vec<_>>()
        };
        assert_eq!(names(&again.graph), names(&graph), "{name}");
        let bytes_again = mpq::onnx::model_bytes(&again.graph, &again.origin, again.opset).unwrap();
        assert!(bytes_again == bytes, "{name}: saved again it is another file");
    }
}
