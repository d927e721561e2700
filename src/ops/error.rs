//! [`OpError`]: what is wrong with one operator. Who reports it adds the node.

use crate::tensor::DType;

/// What is wrong, without where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    #[error("operator is not supported")]
    UnknownOperator,

    #[error("{what} is not supported")]
    NotSupported { what: String },

    #[error("attribute `{name}` is {found}; supported: {supported}")]
    Attribute { name: String, found: String, supported: String },

    #[error("attribute `{name}` is {found}, expected {expected}")]
    InvalidAttribute { name: String, found: String, expected: String },

    #[error("attribute `{name}` is missing")]
    MissingAttribute { name: String },

    #[error("attribute `{name}` is not one this operator has")]
    UnknownAttribute { name: String },

    #[error("input `{name}` is missing")]
    MissingInput { name: String },

    #[error("has {found} {what}, expected {expected}")]
    Arity { what: &'static str, found: usize, expected: String },

    #[error("input `{name}` is {found}, expected {expected}")]
    DType { name: String, found: DType, expected: String },

    #[error("input `{name}` has shape {found:?}, expected {expected}")]
    Shape { name: String, found: Vec<usize>, expected: String },

    #[error("input `{name}` is {found}, expected {expected}")]
    Value { name: String, found: String, expected: String },

    #[error("the output's shape depends on the value of input `{name}`, which is not known here")]
    NeedsValue { name: String },

    #[error("the output would have {found} elements, more than can be addressed")]
    TooLarge { found: String },

    #[error("has no subgraph number {body}")]
    MissingBody { body: usize },

    #[error("the output's type is known only when its subgraphs run")]
    NeedsRun,

    #[error("in its subgraph, node `{node}` ({op_type}): {error}")]
    Body { node: String, op_type: String, error: Box<OpError> },

    #[error("would make {found} bytes, more than the limit of {limit}")]
    OverLimit { found: usize, limit: usize },

    #[error("is not finished after {limit} iterations, the most that are run")]
    Endless { limit: u64 },

    #[error("the function `{name}` calls itself")]
    Recursive { name: String },
}

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The model breaks the specification.
    Invalid,
    /// mpq does not do this yet.
    NotSupported,
    /// Not an error of the model: known only once values are.
    NeedsValue,
}

impl OpError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            OpError::UnknownOperator
            | OpError::NotSupported { .. }
            | OpError::Attribute { .. }
            | OpError::TooLarge { .. } => ErrorKind::NotSupported,
            OpError::NeedsValue { .. } | OpError::NeedsRun => ErrorKind::NeedsValue,
            OpError::Body { error, .. } => error.kind(),
            _ => ErrorKind::Invalid,
        }
    }

    pub(crate) fn body(node: &str, op_type: &str, error: OpError) -> OpError {
        OpError::Body { node: node.to_owned(), op_type: op_type.to_owned(), error: Box::new(error) }
    }

    pub(crate) fn shape(name: &str, found: &[usize], expected: impl Into<String>) -> OpError {
        OpError::Shape { name: name.to_owned(), found: found.to_vec(), expected: expected.into() }
    }

    pub(crate) fn dtype(name: &str, found: DType, expected: impl Into<String>) -> OpError {
        OpError::DType { name: name.to_owned(), found, expected: expected.into() }
    }

    pub(crate) fn value(name: &str, found: impl ToString, expected: impl Into<String>) -> OpError {
        OpError::Value {
            name: name.to_owned(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    pub(crate) fn attribute(
        name: &str,
        found: impl ToString,
        supported: impl Into<String>,
    ) -> OpError {
        OpError::Attribute {
            name: name.to_owned(),
            found: found.to_string(),
            supported: supported.into(),
        }
    }

    pub(crate) fn invalid_attribute(
        name: &str,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> OpError {
        OpError::InvalidAttribute {
            name: name.to_owned(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }
}
