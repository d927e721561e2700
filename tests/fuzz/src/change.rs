//! One to four random changes of a model's nodes, shapes, types and values.

use bytes::Bytes;
use mpq::onnx::proto::attribute_proto::AttributeType;
use mpq::onnx::proto::tensor_proto::DataLocation;
use mpq::onnx::proto::tensor_shape_proto::Dimension;
use mpq::onnx::proto::tensor_shape_proto::dimension::Value as Dim;
use mpq::onnx::proto::type_proto::{Tensor as TensorInfo, Value as Type};
use mpq::onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};

use crate::random::Random;
use crate::words::ATTRIBUTES;

/// Changes a model as the seed says.
pub fn change_model(model: &mut ModelProto, seed: u32) {
    let mut random = Random::new(seed);
    for _ in 0..=random.below(4) {
        match random.below(24) {
            0 => change_opsets(&mut model.opset_import, &mut random),
            1 => change_functions(model, &mut random),
            _ => {
                let graph = model.graph.get_or_insert_default();
                change_graph(inner(graph, &mut random), &mut random);
            }
        }
    }
}

/// The graph itself, or now and then one inside of it.
fn inner<'a>(graph: &'a mut GraphProto, random: &mut Random) -> &'a mut GraphProto {
    let has_body = |node: &NodeProto| node.attribute.iter().any(|attribute| attribute.g.is_some());
    if random.one_in(2) || !graph.node.iter().any(has_body) {
        return graph;
    }
    let nodes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
    let mut bodies: Vec<_> = nodes.filter_map(|attribute| attribute.g.as_mut()).collect();
    let at = random.below(bodies.len());
    inner(bodies.swap_remove(at), random)
}

fn change_opsets(opsets: &mut Vec<OperatorSetIdProto>, random: &mut Random) {
    match random.pick_mut(opsets) {
        Some(opset) if !random.one_in(4) => opset.version = Some(random.below(30) as i64),
        _ => opsets.push(OperatorSetIdProto {
            domain: Some(["", "com.microsoft", "f"][random.below(3)].to_owned()),
            version: Some(random.below(30) as i64),
        }),
    }
}

/// Makes a function of the graph's nodes, or calls one.
fn change_functions(model: &mut ModelProto, random: &mut Random) {
    let Some(graph) = &mut model.graph else { return };
    if let Some(function) = random.pick(&model.functions) {
        let call = NodeProto {
            domain: function.domain.clone(),
            op_type: function.name.clone(),
            input: function.input.clone(),
            output: function.output.iter().map(|name| format!("{name}_")).collect(),
            ..NodeProto::default()
        };
        graph.node.push(call);
        return;
    }
    model.functions.push(FunctionProto {
        name: Some("F".to_owned()),
        domain: Some("f".to_owned()),
        input: graph.input.iter().map(|input| input.name().to_owned()).collect(),
        output: graph.output.iter().map(|output| output.name().to_owned()).collect(),
        node: graph.node.clone(),
        opset_import: model.opset_import.clone(),
        ..FunctionProto::default()
    });
}

fn change_graph(graph: &mut GraphProto, random: &mut Random) {
    match random.below(12) {
        0 => add_node(graph, random),
        1 => {
            let at = random.below(graph.node.len());
            if 1 < graph.node.len() {
                graph.node.remove(at);
            }
        }
        2 => change_outputs(graph, random),
        3 => move_constant(graph, random),
        4 => {
            if let Some(input) = random.pick_mut(&mut graph.input) {
                change_info(input, random);
            }
        }
        5..=7 => {
            if let Some(tensor) = random.pick_mut(&mut graph.initializer) {
                change_tensor(tensor, random);
            }
        }
        _ => change_node(graph, random),
    }
}

/// A name of the graph's values.
fn value_name(graph: &GraphProto, random: &mut Random) -> String {
    let made = graph.node.iter().flat_map(|node| &node.output);
    let inputs = graph.input.iter().map(|input| input.name());
    let constants = graph.initializer.iter().map(|tensor| tensor.name());
    let names: Vec<&str> =
        made.map(String::as_str).chain(inputs).chain(constants).chain([""]).collect();
    names[random.below(names.len())].to_owned()
}

/// Another constant, of a random type and shape.
fn add_constant(graph: &mut GraphProto, random: &mut Random) -> String {
    let name = format!("c{}", random.below(1000));
    let mut tensor = TensorProto { name: Some(name.clone()), ..TensorProto::default() };
    redraw_tensor(&mut tensor, random);
    graph.initializer.push(tensor);
    name
}

fn add_node(graph: &mut GraphProto, random: &mut Random) {
    let n_inputs = random.below(5);
    let mut input = Vec::new();
    for _ in 0..n_inputs {
        let is_new = random.one_in(3);
        input.push(if is_new { add_constant(graph, random) } else { value_name(graph, random) });
    }
    let name = format!("t{}", random.below(1000));
    let mut node = match random.pick(&graph.node) {
        Some(node) if random.one_in(3) => node.clone(),
        _ => NodeProto::default(),
    };
    if node.op_type.is_none() {
        change_operator(&mut node, random);
    }
    node.input = input;
    node.output = vec![name.clone()];
    graph.node.push(node);
    match random.pick_mut(&mut graph.output) {
        Some(output) if random.one_in(2) => output.name = Some(name),
        _ => graph.output.push(ValueInfoProto { name: Some(name), ..ValueInfoProto::default() }),
    }
}

fn change_operator(node: &mut NodeProto, random: &mut Random) {
    let defs: Vec<_> = mpq::ops::all().collect();
    let def = defs[random.below(defs.len())];
    node.op_type = Some(def.name.to_owned());
    node.domain = Some(def.domain.to_owned());
}

fn change_outputs(graph: &mut GraphProto, random: &mut Random) {
    let name = value_name(graph, random);
    match random.below(3) {
        0 => graph.output.push(ValueInfoProto { name: Some(name), ..ValueInfoProto::default() }),
        1 if 1 < graph.output.len() => {
            let at = random.below(graph.output.len());
            graph.output.remove(at);
        }
        _ => {
            if let Some(output) = random.pick_mut(&mut graph.output) {
                output.name = Some(name);
            }
        }
    }
}

/// From the initializers to the inputs or back.
fn move_constant(graph: &mut GraphProto, random: &mut Random) {
    let (n_inputs, n_constants) = (graph.input.len(), graph.initializer.len());
    if n_inputs == 0 || (0 < n_constants && random.one_in(2)) {
        if n_constants == 0 {
            return;
        }
        let tensor = graph.initializer.remove(random.below(n_constants));
        let dim = |&size: &i64| Dimension { value: Some(Dim::DimValue(size)), denotation: None };
        let shape = TensorShapeProto { dim: tensor.dims.iter().map(dim).collect() };
        let info = TensorInfo { elem_type: tensor.data_type, shape: Some(shape) };
        let ty = TypeProto { value: Some(Type::TensorType(info)), ..TypeProto::default() };
        graph.input.push(ValueInfoProto {
            name: tensor.name,
            r#type: Some(ty),
            ..ValueInfoProto::default()
        });
        return;
    }
    let input = graph.input.remove(random.below(n_inputs));
    let mut tensor = TensorProto { name: input.name.clone(), ..TensorProto::default() };
    if let Some(Type::TensorType(info)) = input.r#type.and_then(|ty| ty.value) {
        tensor.data_type = info.elem_type;
        let dims = info.shape.unwrap_or_default().dim;
        tensor.dims = dims
            .iter()
            .map(|dim| if let Some(Dim::DimValue(n)) = dim.value { n } else { 1 })
            .collect();
    }
    fill(&mut tensor, random);
    graph.initializer.push(tensor);
}

fn change_info(input: &mut ValueInfoProto, random: &mut Random) {
    let ty = input.r#type.get_or_insert_default();
    let Some(Type::TensorType(info)) = &mut ty.value else {
        ty.value = Some(Type::TensorType(TensorInfo { elem_type: Some(1), shape: None }));
        return;
    };
    let shape = info.shape.get_or_insert_default();
    let size = match random.below(4) {
        0 => Dim::DimParam("n".to_owned()),
        1 => Dim::DimValue(random.number()),
        _ => Dim::DimValue(random.below(6) as i64),
    };
    let dim = Dimension { value: Some(size), denotation: None };
    let at = random.below(shape.dim.len());
    match random.below(5) {
        0 => info.elem_type = Some(random.below(29) as i32),
        1 => shape.dim.insert(at, dim),
        2 if !shape.dim.is_empty() => drop(shape.dim.remove(at)),
        _ => {
            if let Some(slot) = shape.dim.get_mut(at) {
                *slot = dim;
            }
        }
    }
}

fn change_node(graph: &mut GraphProto, random: &mut Random) {
    let name = value_name(graph, random);
    let constant = random.one_in(4).then(|| add_constant(graph, random));
    let value = constant.unwrap_or(name);
    let Some(node) = random.pick_mut(&mut graph.node) else { return };
    let at = random.below(node.input.len());
    match random.below(12) {
        0 => change_operator(node, random),
        1 => node.input.push(value),
        2 if !node.input.is_empty() => drop(node.input.remove(at)),
        3 if !node.input.is_empty() => node.input[at] = value,
        4 => {
            let with = random.below(node.input.len());
            if !node.input.is_empty() {
                node.input.swap(at, with);
            }
        }
        5 => node.output.push(format!("o{}", random.below(100))),
        6 if 1 < node.output.len() => drop(node.output.pop()),
        7 => {
            if !node.attribute.is_empty() {
                node.attribute.remove(random.below(node.attribute.len()));
            }
        }
        8 => add_attribute(node, random),
        _ => match random.pick_mut(&mut node.attribute) {
            Some(attribute) => change_attribute(attribute, random),
            None => add_attribute(node, random),
        },
    }
}

fn add_attribute(node: &mut NodeProto, random: &mut Random) {
    let name = ATTRIBUTES[random.below(ATTRIBUTES.len())];
    let mut attribute = AttributeProto { name: Some(name.to_owned()), ..AttributeProto::default() };
    redraw_attribute(&mut attribute, random);
    node.attribute.push(attribute);
}

fn redraw_attribute(attribute: &mut AttributeProto, random: &mut Random) {
    let name = attribute.name.take();
    *attribute = AttributeProto { name, ..AttributeProto::default() };
    let kind = match random.below(8) {
        0 | 1 => {
            attribute.i = Some(random.number());
            AttributeType::Int
        }
        2 | 3 => {
            attribute.ints = (0..random.below(6)).map(|_| random.number()).collect();
            AttributeType::Ints
        }
        4 => {
            attribute.f = Some(random.float());
            AttributeType::Float
        }
        5 => {
            attribute.floats = (0..random.below(5)).map(|_| random.float()).collect();
            AttributeType::Floats
        }
        6 => {
            attribute.s = Some(Bytes::from_static(random.text().as_bytes()));
            AttributeType::String
        }
        _ => {
            let mut tensor = TensorProto::default();
            redraw_tensor(&mut tensor, random);
            attribute.t = Some(tensor);
            AttributeType::Tensor
        }
    };
    attribute.r#type = Some(kind.into());
}

fn change_attribute(attribute: &mut AttributeProto, random: &mut Random) {
    if random.one_in(12) {
        redraw_attribute(attribute, random);
    } else if let Some(tensor) = &mut attribute.t {
        change_tensor(tensor, random);
    } else if attribute.f.is_some() {
        attribute.f = Some(random.float());
    } else if attribute.i.is_some() {
        attribute.i = Some(random.number());
    } else if attribute.s.is_some() {
        attribute.s = Some(Bytes::from_static(random.text().as_bytes()));
    } else if !attribute.floats.is_empty() {
        let number = random.float();
        change_list(&mut attribute.floats, number, random);
    } else if attribute.r#type == Some(AttributeType::Strings.into()) {
        let text = Bytes::from_static(random.text().as_bytes());
        change_list(&mut attribute.strings, text, random);
    } else {
        let number = random.number();
        change_list(&mut attribute.ints, number, random);
    }
}

fn change_list<T>(list: &mut Vec<T>, value: T, random: &mut Random) {
    let at = random.below(list.len());
    match random.below(5) {
        0 => list.insert(at, value),
        1 if !list.is_empty() => drop(list.remove(at)),
        _ => {
            if let Some(slot) = list.get_mut(at) {
                *slot = value;
            }
        }
    }
}

fn redraw_tensor(tensor: &mut TensorProto, random: &mut Random) {
    const COMMON: [i32; 6] = [1, 7, 6, 2, 3, 9];
    let is_common = !random.one_in(4);
    let code = if is_common { COMMON[random.below(6)] } else { 1 + random.below(28) as i32 };
    tensor.data_type = Some(code);
    tensor.dims = (0..random.below(5)).map(|_| random.below(5) as i64).collect();
    fill(tensor, random);
}

/// As many bytes as the shape says, if that is not much.
fn fill(tensor: &mut TensorProto, random: &mut Random) {
    let name = tensor.name.take();
    let (data_type, dims) = (tensor.data_type, std::mem::take(&mut tensor.dims));
    *tensor = TensorProto { name, data_type, dims, ..TensorProto::default() };
    let size = match tensor.data_type() {
        2 | 3 | 9 | 17..=20 | 24 => 1,
        4 | 5 | 10 | 16 => 2,
        7 | 11 | 13 => 8,
        _ => 4,
    };
    let len = tensor.dims.iter().fold(size, |n: i64, &dim| n.saturating_mul(dim.max(0)));
    let len = usize::try_from(len).unwrap_or(0).min(512);
    let mut raw = vec![0; len];
    let mut chunks = raw.chunks_exact_mut(size as usize);
    for chunk in &mut chunks {
        let bytes = match tensor.data_type() {
            1 => u64::from(random.float().to_bits()).to_le_bytes(),
            _ => random.number().to_le_bytes(),
        };
        chunk.copy_from_slice(&bytes[..size as usize]);
    }
    tensor.raw_data = Some(raw.into());
}

fn change_tensor(tensor: &mut TensorProto, random: &mut Random) {
    match random.below(8) {
        0 => redraw_tensor(tensor, random),
        1 => tensor.data_type = Some(random.below(29) as i32),
        2 => {
            let at = random.below(tensor.dims.len());
            match random.below(4) {
                0 => tensor.dims.insert(at, 1),
                1 if !tensor.dims.is_empty() => drop(tensor.dims.remove(at)),
                2 => {
                    let with = random.below(tensor.dims.len());
                    if !tensor.dims.is_empty() {
                        tensor.dims.swap(at, with);
                    }
                }
                _ => {
                    let number = random.number();
                    change_list(&mut tensor.dims, number, random);
                }
            }
            if random.one_in(2) {
                fill(tensor, random);
            }
        }
        3 if random.one_in(4) => change_location(tensor, random),
        _ => change_element(tensor, random),
    }
}

fn change_element(tensor: &mut TensorProto, random: &mut Random) {
    let mut raw = tensor.raw_data().to_vec();
    let size = match tensor.data_type() {
        7 => 8,
        1 | 6 => 4,
        _ => 1,
    };
    let bytes = match tensor.data_type() {
        1 => u64::from(random.float().to_bits()).to_le_bytes(),
        _ => random.number().to_le_bytes(),
    };
    if let Some(chunk) = random.pick_mut(&mut raw.chunks_exact_mut(size).collect::<Vec<_>>()) {
        chunk.copy_from_slice(&bytes[..size]);
    }
    tensor.raw_data = Some(raw.into());
}

/// Puts the data into a file beside the model, or changes what is said of it.
fn change_location(tensor: &mut TensorProto, random: &mut Random) {
    tensor.data_location = Some(DataLocation::External.into());
    tensor.raw_data = None;
    let entry = StringStringEntryProto {
        key: Some(["location", "offset", "length", "checksum"][random.below(4)].to_owned()),
        value: Some(random.text().to_owned()),
    };
    change_list(&mut tensor.external_data, entry.clone(), random);
    if tensor.external_data.is_empty() {
        tensor.external_data.push(entry);
    }
}
