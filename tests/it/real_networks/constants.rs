//! Which values of a model depend on its inputs, by a second reader.

use std::collections::BTreeSet;
use std::path::Path;

use onnx_protobuf::{GraphProto, ModelProto, NodeProto};
use protobuf::Message as _;

/// The names of a model's values. A shape counts as a constant: it has nothing to do with what is
/// in the input. What is looked up in a table of weights does not, though the rows may depend on
/// nothing but a shape: positions go as far as the input is long.
pub(super) struct Values {
    /// Initializers with rows.
    tables: BTreeSet<String>,
    constant: BTreeSet<String>,
    dependent: BTreeSet<String>,
}

impl Values {
    pub(super) fn of_file(path: &Path) -> Values {
        let model = ModelProto::parse_from_bytes(&std::fs::read(path).unwrap()).unwrap();
        Values::of_graph(&model.graph)
    }

    fn of_graph(graph: &GraphProto) -> Values {
        let initializers = graph.initializer.iter().map(|tensor| tensor.name.clone());
        let constant: BTreeSet<String> = initializers.collect();
        let tables = graph.initializer.iter().filter(|tensor| tensor.dims.len() == 2);
        let tables = tables.map(|tensor| tensor.name.clone()).collect();
        let inputs = graph.input.iter().map(|input| input.name.clone());
        let dependent = inputs.filter(|name| !constant.contains(name)).collect();
        let mut values = Values { tables, constant, dependent };
        graph.node.iter().for_each(|node| values.add(node));
        values
    }

    fn add(&mut self, node: &NodeProto) {
        let looks_up = node.op_type == "Gather" && self.tables.contains(&node.input[0]);
        let depends = looks_up || node.input.iter().any(|name| self.dependent.contains(name));
        let is_constant = node.op_type == "Shape" || !depends;
        let outputs = node.output.iter().filter(|name| !name.is_empty()).cloned();
        if is_constant { &mut self.constant } else { &mut self.dependent }.extend(outputs);
    }

    /// # Panics
    /// If the model has no such value.
    pub(super) fn depends_on_input(&self, name: &str) -> bool {
        let known = self.constant.contains(name) || self.dependent.contains(name);
        assert!(known, "the file has no value `{name}`");
        self.dependent.contains(name)
    }
}
