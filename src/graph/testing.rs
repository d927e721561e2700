//! Graphs for tests, a line a node: `net(&[("x", &[1, 3, 8, 8])]).weight("w", &[4, 3, 3, 3])...`.

pub(crate) mod random;

use std::collections::BTreeMap;

use crate::graph::{Builder, Dim, Graph, GraphInput, NodeSpec, Types, infer};
use crate::ops::{self, AttrValue, Attrs, Input, Inputs, NEWEST_OPSET, NoBodies};
use crate::tensor::{DType, Tensor, TensorType};

pub(crate) struct Net {
    builder: Builder,
    specs: Vec<(NodeSpec, BTreeMap<String, AttrValue>)>,
    seed: u32,
}

/// A network with these float32 inputs.
pub(crate) fn net(inputs: &[(&str, &[usize])]) -> Net {
    let mut builder = Builder::new("test");
    for (name, shape) in inputs {
        let dims = shape.iter().map(|&size| Dim::Fixed(size)).collect();
        builder.input(name, DType::F32, dims).unwrap();
    }
    Net { builder, specs: Vec::new(), seed: 1 }
}

impl Net {
    /// A constant of scattered values in [-1, 1), other ones for each.
    pub(crate) fn weight(mut self, name: &str, shape: &[usize]) -> Net {
        self.seed += 1;
        let tensor = scattered(shape, self.seed);
        self.constant(name, tensor)
    }

    pub(crate) fn constant(mut self, name: &str, tensor: impl Into<Tensor>) -> Net {
        self.builder.constant(name, tensor.into().into()).unwrap();
        self
    }

    pub(crate) fn scalar(self, name: &str, value: f32) -> Net {
        self.constant(name, Tensor::scalar(value))
    }

    pub(crate) fn i64s(self, name: &str, values: &[i64]) -> Net {
        self.constant(name, Tensor::from_vec(&[values.len()], values.to_vec()))
    }

    pub(crate) fn i64_input(mut self, name: &str, shape: &[usize]) -> Net {
        let dims = shape.iter().map(|&size| Dim::Fixed(size)).collect();
        self.builder.input(name, DType::I64, dims).unwrap();
        self
    }

    /// A node of the same name as its output, which is left out if it is empty.
    pub(crate) fn node(mut self, op_type: &str, inputs: &[&str], output: &str) -> Net {
        let spec = NodeSpec {
            name: output.to_owned(),
            domain: String::new(),
            op_type: op_type.to_owned(),
            opset: NEWEST_OPSET,
            attrs: Vec::new(),
            operator: std::sync::Arc::new(ops::Unsupported(ops::OpError::UnknownOperator)),
            inputs: inputs.iter().map(|name| Some((*name).to_owned())).collect(),
            outputs: vec![Some(output.to_owned()).filter(|name| !name.is_empty())],
            bodies: Vec::new(),
        };
        self.specs.push((spec, BTreeMap::new()));
        self
    }

    /// One more output of the last node.
    pub(crate) fn also(mut self, output: &str) -> Net {
        self.specs.last_mut().unwrap().0.outputs.push(Some(output.to_owned()));
        self
    }

    /// The last node is one of onnxruntime's; an empty name leaves an input out.
    pub(crate) fn microsoft(mut self) -> Net {
        let spec = &mut self.specs.last_mut().unwrap().0;
        spec.domain = ops::MICROSOFT_DOMAIN.to_owned();
        for input in &mut spec.inputs {
            *input = input.take().filter(|name| !name.is_empty());
        }
        self
    }

    /// An attribute of the last node.
    pub(crate) fn attr(mut self, name: &str, value: AttrValue) -> Net {
        self.specs.last_mut().unwrap().1.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn outputs(mut self, outputs: &[&str]) -> Graph {
        for (mut spec, attrs) in self.specs {
            let read =
                ops::read(&spec.domain, &spec.op_type, spec.opset, Attrs::new(attrs.clone()));
            spec.operator = read.unwrap_or_else(|e| panic!("{}: {e}", spec.op_type)).into();
            spec.attrs = attrs.into_iter().collect();
            self.builder.node(spec).unwrap();
        }
        let outputs: Vec<String> = outputs.iter().map(|&name| name.to_owned()).collect();
        self.builder.finish(&outputs).unwrap()
    }
}

/// Values in [-1, 1) from a linear congruential sequence.
pub(crate) fn scattered(shape: &[usize], seed: u32) -> Tensor {
    let mut state = seed.wrapping_mul(2_654_435_761);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.
    };
    Tensor::from_vec(shape, (0..shape.iter().product()).map(|_| next()).collect())
}

/// The types of all values for the fixed input shapes.
pub(crate) fn types(graph: &Graph) -> Types {
    let of_input = |input: &GraphInput| TensorType {
        dtype: input.dtype,
        shape: input.dims.iter().map(|dim| dim.fixed().unwrap()).collect(),
    };
    let inputs: Vec<TensorType> = graph.inputs().iter().map(of_input).collect();
    let types = infer(graph, &inputs);
    assert_eq!(types.errors, []);
    types
}

/// Inputs of scattered values; integers are 0 to 3.
pub(crate) fn inputs(graph: &Graph) -> Vec<Tensor> {
    let of_input = |(index, input): (usize, &GraphInput)| {
        let shape: Vec<usize> = input.dims.iter().map(|dim| dim.fixed().unwrap()).collect();
        let floats = scattered(&shape, 100 + index as u32);
        if input.dtype == DType::F32 {
            return floats;
        }
        let ids = floats.slice::<f32>().iter().map(|x| ((x + 1.) * 2.) as i64).collect();
        Tensor::from_vec(&shape, ids)
    };
    graph.inputs().iter().enumerate().map(of_input).collect()
}

/// Evaluates every node in order: what engines are compared with.
pub(crate) fn evaluate(graph: &Graph, inputs: &[Tensor]) -> Vec<Tensor> {
    let mut values: Vec<Option<Tensor>> =
        graph.value_ids().map(|id| graph.constant(id).map(|c| c.tensor().clone())).collect();
    for (input, tensor) in graph.inputs().iter().zip(inputs) {
        values[input.value.index()] = Some(tensor.clone());
    }
    for (_, node) in graph.nodes() {
        let tensors: Vec<Option<Tensor>> =
            node.inputs.iter().map(|id| id.and_then(|id| values[id.index()].clone())).collect();
        let types: Vec<Option<TensorType>> =
            tensors.iter().map(|t| t.as_ref().map(Tensor::ty)).collect();
        let items: Vec<Option<Input<'_>>> = types
            .iter()
            .zip(&tensors)
            .map(|(ty, value)| Some(Input { ty: ty.as_ref()?, value: value.as_ref() }))
            .collect();
        let node_inputs = Inputs::new(&items, node.n_outputs());
        let outputs = node.operator.eval(&node_inputs, &mut NoBodies).unwrap();
        for (id, tensor) in node.outputs.iter().zip(outputs) {
            values[id.unwrap().index()] = Some(tensor);
        }
    }
    graph.outputs().iter().map(|id| values[id.index()].clone().unwrap()).collect()
}

/// Compares the outputs of two graphs with the same inputs.
#[track_caller]
pub(crate) fn assert_same_outputs(a: &Graph, b: &Graph, tolerance: f32) {
    let [a, b] = [a, b].map(|graph| evaluate(graph, &inputs(graph)));
    for (a, b) in a.iter().zip(&b) {
        crate::ops::testing::assert_close(b, a, tolerance);
    }
}
