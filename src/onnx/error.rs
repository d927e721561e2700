//! Why a model could not be loaded.

use std::fmt;
use std::path::PathBuf;

use crate::graph::{BuildError, NodeError};
use crate::onnx::{FileError, SparseError, TensorError};
use crate::ops::ErrorKind;

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    File(FileError),

    #[error("`{}`: opset {found} is not supported, expected {oldest} to {newest}", path.display())]
    Opset { path: PathBuf, found: i64, oldest: u16, newest: u16 },

    #[error("`{}` is an invalid ONNX model: it imports no operator set of the domain `ai.onnx`", path.display())]
    NoOpset { path: PathBuf },

    #[error("`{}`: initializer `{name}`: {source}", path.display())]
    Initializer { path: PathBuf, name: String, source: TensorError },

    #[error("`{}`: sparse initializer `{name}`: {source}", path.display())]
    SparseInitializer { path: PathBuf, name: String, source: SparseError },

    #[error("`{}`: input `{name}`: {problem}", path.display())]
    Input { path: PathBuf, name: String, problem: InputProblem },

    #[error("`{}` is an invalid ONNX model: {source}", path.display())]
    Build { path: PathBuf, source: BuildError },

    /// Holds every bad node, not the first: nobody wants to learn of them one run at a time.
    #[error("`{}` has nodes that {}{}", path.display(), verdict(nodes), Lines(nodes))]
    Nodes { path: PathBuf, nodes: Vec<NodeError> },

    #[error("`{}` is not supported: with its functions it has more than {limit} nodes", path.display())]
    TooManyNodes { path: PathBuf, limit: usize },

    #[error("`{}` is not supported: with its functions it has more than {limit} bytes", path.display())]
    TooManyBytes { path: PathBuf, limit: usize },

    #[error(
        "`{}` is not supported: it has functions and subgraphs in each other, more than {limit} deep",
        path.display()
    )]
    TooDeep { path: PathBuf, limit: usize },

    #[error("dimension `{name}` is not one of the model's free ones, expected {expected}")]
    Dim { name: String, expected: String },
}

/// What is wrong with a declared input.
#[derive(Debug, thiserror::Error)]
pub enum InputProblem {
    #[error("is not supported: {found}, expected a tensor")]
    NotATensor { found: &'static str },
    #[error("{0}")]
    Type(TensorError),
    #[error("is not supported: has no declared shape")]
    NoShape,
    #[error("dimension {found} does not fit this machine")]
    Dim { found: i64 },
    #[error("shape {found:?} is invalid: more elements than memory can address")]
    TooLarge { found: Vec<usize> },
}

fn verdict(nodes: &[NodeError]) -> &'static str {
    if nodes.iter().all(|node| node.error.kind() == ErrorKind::Invalid) {
        "are invalid"
    } else {
        "are not supported"
    }
}

struct Lines<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Lines<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::ops::OpError;

    #[test]
    fn bad_nodes_are_all_listed() {
        let node = |node: &str, op_type: &str, error| NodeError {
            node: node.to_owned(),
            op_type: op_type.to_owned(),
            opset: 13,
            error,
        };
        let resize = OpError::Attribute {
            name: "mode".to_owned(),
            found: "`area`".to_owned(),
            supported: "`nearest`, `linear`".to_owned(),
        };
        let error = LoadError::Nodes {
            path: "yolo.onnx".into(),
            nodes: vec![
                node("Resize_12", "Resize", resize),
                node("nms", "NonMaxSuppression", OpError::UnknownOperator),
            ],
        };
        expect![[r#"
            `yolo.onnx` has nodes that are not supported
              node `Resize_12` (Resize, opset 13): attribute `mode` is `area`; supported: `nearest`, `linear`
              node `nms` (NonMaxSuppression, opset 13): operator is not supported"#]]
        .assert_eq(&error.to_string());
    }
}
