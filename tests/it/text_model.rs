//! Models from text, for tests: a small part of ONNX's own text format.
//!
//! ```text
//! import "" 21 "local" 1
//! main (float[N,2] x, bool[] c) -> (y) {
//!     float[2] w = {1, 2}
//!     t = Add(x, w)
//!     y = If<then_branch = graph () -> (a) { a = local.twice<by = 2.0>(t) },
//!            else_branch = graph () -> (b) { b = Identity(t) }>(c)
//! }
//! function local.twice<by> (x) -> (y) { f = Constant<value_float = @by>() y = Mul(x, f) }
//! ```
//!
//! `_` stands for an input or output that is left out, `@name` for a function's attribute.

use mpq::onnx::proto::attribute_proto::AttributeType;
use mpq::onnx::proto::tensor_proto::DataType;
use mpq::onnx::proto::tensor_shape_proto::{Dimension, dimension};
use mpq::onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use prost::Message as _;

/// The bytes of a model file.
#[track_caller]
pub(crate) fn model(text: &str) -> Vec<u8> {
    let mut parser = Parser { tokens: tokens(text), at: 0 };
    parser.expect("import");
    let opset_import = parser.imports();
    let mut model = ModelProto { ir_version: Some(10), ..ModelProto::default() };
    while let Some(word) = parser.next() {
        match word.as_str() {
            "main" => model.graph = Some(parser.graph()),
            "function" => model.functions.push(parser.function(&opset_import)),
            other => panic!("found `{other}`, expected `main` or `function`"),
        }
    }
    model.opset_import = opset_import;
    model.encode_to_vec()
}

/// Words (with dots and signs), texts in quotes, single characters.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    let in_word = |c: char| c.is_alphanumeric() || "._-/@".contains(c);
    while let Some(c) = chars.next() {
        let mut token = c.to_string();
        if c == '"' {
            token.extend(chars.by_ref().take_while(|&c| c != '"'));
        } else if in_word(c) {
            while let Some(c) = chars.next_if(|&c| in_word(c)) {
                token.push(c);
            }
            if token == "-" && chars.next_if_eq(&'>').is_some() {
                token.push('>');
            }
        } else if c.is_whitespace() {
            continue;
        }
        tokens.push(token);
    }
    tokens
}

struct Parser {
    tokens: Vec<String>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> &str {
        self.tokens.get(self.at).map_or("", String::as_str)
    }

    fn next(&mut self) -> Option<String> {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned()
    }

    fn word(&mut self) -> String {
        self.next().expect("the text goes on")
    }

    #[track_caller]
    fn expect(&mut self, token: &str) {
        let found = self.word();
        assert_eq!(found, token, "token {}", self.at - 1);
    }

    fn is_next(&mut self, token: &str) -> bool {
        let is_next = self.peek() == token;
        self.at += usize::from(is_next);
        is_next
    }

    /// Items with commas between them, up to `end`.
    fn list<T>(&mut self, end: &str, mut item: impl FnMut(&mut Parser) -> T) -> Vec<T> {
        let mut items = Vec::new();
        while !self.is_next(end) {
            items.push(item(self));
            if self.peek() != end {
                self.expect(",");
            }
        }
        items
    }

    fn imports(&mut self) -> Vec<OperatorSetIdProto> {
        let mut imports = Vec::new();
        while self.peek().starts_with('"') {
            let domain = Some(self.word()[1..].to_owned());
            let version = Some(self.word().parse().unwrap());
            imports.push(OperatorSetIdProto { domain, version });
        }
        imports
    }

    fn graph(&mut self) -> GraphProto {
        self.expect("(");
        let input = self.list(")", Parser::value);
        self.expect("->");
        self.expect("(");
        let output = self.list(")", Parser::value);
        self.expect("{");
        let mut graph =
            GraphProto { name: Some("g".to_owned()), input, output, ..GraphProto::default() };
        while !self.is_next("}") {
            if data_type(self.peek()).is_some() {
                graph.initializer.push(self.initializer());
            } else {
                graph.node.push(self.node());
            }
        }
        graph
    }

    /// `float[N,2] x`, or `x` alone.
    fn value(&mut self) -> ValueInfoProto {
        let Some(data_type) = data_type(self.peek()) else {
            return ValueInfoProto { name: Some(self.word()), ..ValueInfoProto::default() };
        };
        self.word();
        self.expect("[");
        let dim = self.list("]", |parser| {
            let dim = parser.word();
            let value = match dim.parse() {
                Ok(size) => dimension::Value::DimValue(size),
                Err(_) => dimension::Value::DimParam(dim),
            };
            Dimension { value: Some(value), ..Dimension::default() }
        });
        let tensor = type_proto::Tensor {
            elem_type: Some(data_type.into()),
            shape: Some(TensorShapeProto { dim }),
        };
        let value = Some(type_proto::Value::TensorType(tensor));
        let ty = TypeProto { value, ..TypeProto::default() };
        ValueInfoProto { name: Some(self.word()), r#type: Some(ty), ..ValueInfoProto::default() }
    }

    /// `float[2] w = {1, 2}`
    fn initializer(&mut self) -> TensorProto {
        let data_type = data_type(&self.word()).unwrap();
        self.expect("[");
        let dims = self.list("]", |parser| parser.word().parse().unwrap());
        let name = Some(self.word());
        self.expect("=");
        self.expect("{");
        let numbers: Vec<f64> = self.list("}", |parser| parser.word().parse().unwrap());
        let mut tensor = TensorProto { name, dims, ..TensorProto::default() };
        tensor.data_type = Some(data_type.into());
        match data_type {
            DataType::Float => tensor.float_data = numbers.iter().map(|&x| x as f32).collect(),
            DataType::Int64 => tensor.int64_data = numbers.iter().map(|&x| x as i64).collect(),
            _ => tensor.int32_data = numbers.iter().map(|&x| x as i32).collect(),
        }
        tensor
    }

    /// `y, z = domain.Op<attributes>(a, _, b)`
    fn node(&mut self) -> NodeProto {
        let name = |parser: &mut Parser| Some(parser.word()).filter(|name| name != "_");
        let output = self.list("=", |parser| name(parser).unwrap_or_default());
        let (domain, op_type) = self.qualified();
        let attribute =
            if self.is_next("<") { self.list(">", Parser::attribute) } else { Vec::new() };
        self.expect("(");
        let input = self.list(")", |parser| name(parser).unwrap_or_default());
        let (domain, op_type) = (Some(domain), Some(op_type));
        NodeProto { input, output, domain, op_type, attribute, ..NodeProto::default() }
    }

    fn qualified(&mut self) -> (String, String) {
        let word = self.word();
        let (domain, name) = word.rsplit_once('.').unwrap_or(("", &word));
        (domain.to_owned(), name.to_owned())
    }

    fn attribute(&mut self) -> AttributeProto {
        let mut attr = AttributeProto { name: Some(self.word()), ..AttributeProto::default() };
        self.expect("=");
        let kind = match self.word().as_str() {
            "graph" => {
                attr.g = Some(self.graph());
                AttributeType::Graph
            }
            "[" => {
                attr.ints = self.list("]", |parser| parser.word().parse().unwrap());
                AttributeType::Ints
            }
            text if text.starts_with('"') => {
                attr.s = Some(text[1..].to_owned().into());
                AttributeType::String
            }
            number if number.contains('.') => {
                attr.f = Some(number.parse().unwrap());
                AttributeType::Float
            }
            reference if reference.starts_with('@') => {
                attr.ref_attr_name = Some(reference[1..].to_owned());
                AttributeType::Float
            }
            number => {
                attr.i = Some(number.parse().unwrap());
                AttributeType::Int
            }
        };
        attr.r#type = Some(kind.into());
        attr
    }

    fn function(&mut self, imports: &[OperatorSetIdProto]) -> FunctionProto {
        let (domain, name) = self.qualified();
        let mut function = FunctionProto {
            name: Some(name),
            domain: Some(domain),
            opset_import: imports.to_vec(),
            ..FunctionProto::default()
        };
        if self.is_next("<") {
            while !self.is_next(">") {
                if self.tokens[self.at + 1] == "=" {
                    function.attribute_proto.push(self.attribute());
                } else {
                    function.attribute.push(self.word());
                }
                self.is_next(",");
            }
        }
        self.expect("(");
        function.input = self.list(")", Parser::word);
        self.expect("->");
        self.expect("(");
        function.output = self.list(")", Parser::word);
        self.expect("{");
        while !self.is_next("}") {
            function.node.push(self.node());
        }
        function
    }
}

fn data_type(name: &str) -> Option<DataType> {
    Some(match name {
        "float" => DataType::Float,
        "int64" => DataType::Int64,
        "bool" => DataType::Bool,
        _ => return None,
    })
}
