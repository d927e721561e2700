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

    /// An error inside a subgraph; `inner` has the node there.
    #[error("{inner}")]
    Body { inner: String },
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
            OpError::NeedsValue { .. } => ErrorKind::NeedsValue,
            _ => ErrorKind::Invalid,
        }
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
