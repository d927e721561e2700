//! [`Inputs`]: what an operator is given: a type for every input, a value where it is known.

use std::fmt;

use ndarray::{ArrayView2, ArrayViewD, Ix2};

use crate::ops::OpError;
use crate::tensor::{DType, Element, Tensor, TensorType};

/// One input: its type and, where known, its value.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    pub ty: &'a TensorType,
    pub value: Option<&'a Tensor>,
}

/// The inputs of one node by position; an optional one may be absent.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    items: &'a [Option<Input<'a>>],
    n_outputs: usize,
    bodies: Option<&'a dyn BodyTypes>,
}

/// The types of a node's subgraphs, by their number.
pub trait BodyTypes: fmt::Debug {
    /// How many inputs and outputs a subgraph has; `None` if there is none of this number.
    fn arity(&self, body: usize) -> Option<(usize, usize)>;

    /// The types of its outputs if it is passed these inputs.
    fn infer(&self, body: usize, inputs: &[Option<Input<'_>>]) -> Result<Vec<TensorType>, OpError>;
}

impl<'a> Inputs<'a> {
    /// `n_outputs`: how many outputs the node names (variadic outputs, optional indices).
    pub fn new(items: &'a [Option<Input<'a>>], n_outputs: usize) -> Inputs<'a> {
        Inputs { items, n_outputs, bodies: None }
    }

    /// The same for a node with subgraphs.
    pub fn with_bodies(self, bodies: &'a dyn BodyTypes) -> Inputs<'a> {
        Inputs { bodies: Some(bodies), ..self }
    }

    /// How many inputs and outputs a subgraph has.
    pub fn body_arity(&self, body: usize) -> Result<(usize, usize), OpError> {
        let arity = self.bodies.and_then(|bodies| bodies.arity(body));
        arity.ok_or(OpError::MissingBody { body })
    }

    /// The types of a subgraph's outputs if it is passed `inputs`; `None` stands for one whose type
    /// is not known.
    pub fn body_types(
        &self,
        body: usize,
        inputs: &[Option<Input<'_>>],
    ) -> Result<Vec<TensorType>, OpError> {
        self.bodies.ok_or(OpError::MissingBody { body })?.infer(body, inputs)
    }

    /// Number of positions, absent ones in between counted.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn n_outputs(&self) -> usize {
        self.n_outputs
    }

    pub fn get(&self, position: usize) -> Option<Input<'a>> {
        self.items.get(position).copied().flatten()
    }

    /// The input, or the error that it is missing under its name in the specification.
    pub fn require(&self, position: usize, name: &'static str) -> Result<Named<'a>, OpError> {
        let input = self.get(position);
        let input = input.ok_or_else(|| OpError::MissingInput { name: name.to_owned() })?;
        Ok(Named { name, input })
    }

    /// The input under its name, if it is there.
    pub fn optional(&self, position: usize, name: &'static str) -> Option<Named<'a>> {
        self.get(position).map(|input| Named { name, input })
    }

    /// Refuses more inputs than the operator has.
    pub fn expect_at_most(&self, n_inputs: usize) -> Result<(), OpError> {
        if self.len() <= n_inputs {
            return Ok(());
        }
        let expected = format!("at most {n_inputs}");
        Err(OpError::Arity { what: "inputs", found: self.len(), expected })
    }

    /// Refuses a node that names more outputs than the operator gives.
    pub fn expect_outputs(&self, given: usize) -> Result<(), OpError> {
        if self.n_outputs <= given {
            return Ok(());
        }
        let expected = format!("at most {given}");
        Err(OpError::Arity { what: "outputs", found: self.n_outputs, expected })
    }

    /// The shape of an input that `infer` accepted.
    ///
    /// # Panics
    /// If it is absent.
    #[track_caller]
    pub fn shape(&self, position: usize) -> &'a [usize] {
        &self.get(position).expect("`infer` required it").ty.shape
    }

    /// The value of an input, in `eval`.
    ///
    /// # Panics
    /// If it is absent.
    #[track_caller]
    pub fn tensor(&self, position: usize) -> &'a Tensor {
        let input = self.get(position).expect("`infer` required it");
        input.value.expect("`eval` is called with values")
    }

    /// # Panics
    /// If the input is absent or of another type.
    #[track_caller]
    pub fn view<T: Element>(&self, position: usize) -> ArrayViewD<'a, T> {
        self.tensor(position).view()
    }

    /// # Panics
    /// If the input is absent or not float32.
    #[track_caller]
    pub fn f32(&self, position: usize) -> ArrayViewD<'a, f32> {
        self.view(position)
    }

    /// # Panics
    /// If the input is absent or not a float32 matrix.
    #[track_caller]
    pub fn matrix(&self, position: usize) -> ArrayView2<'a, f32> {
        self.f32(position).into_dimensionality::<Ix2>().expect("`infer` checked the rank")
    }
}

/// An input with the name that errors call it by.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    name: &'static str,
    input: Input<'a>,
}

impl<'a> Named<'a> {
    pub fn ty(&self) -> &'a TensorType {
        self.input.ty
    }

    pub fn dtype(&self) -> DType {
        self.input.ty.dtype
    }

    pub fn shape(&self) -> &'a [usize] {
        &self.input.ty.shape
    }

    pub fn rank(&self) -> usize {
        self.shape().len()
    }

    /// The shape, if the elements are float32.
    pub fn expect_f32(&self) -> Result<&'a [usize], OpError> {
        self.expect_dtype(DType::F32)
    }

    /// The shape, if the elements are of this type.
    pub fn expect_dtype(&self, dtype: DType) -> Result<&'a [usize], OpError> {
        if self.dtype() != dtype {
            return Err(OpError::dtype(self.name, self.dtype(), dtype.name()));
        }
        Ok(self.shape())
    }

    /// The shape, if the elements are of a type for which `accepts` holds; `expected` names those.
    pub fn expect_dtype_that(
        &self,
        accepts: impl Fn(DType) -> bool,
        expected: &str,
    ) -> Result<&'a [usize], OpError> {
        if !accepts(self.dtype()) {
            return Err(OpError::dtype(self.name, self.dtype(), expected));
        }
        Ok(self.shape())
    }

    /// The dimensions, if there are `N` of them.
    pub fn expect_rank<const N: usize>(&self) -> Result<[usize; N], OpError> {
        let dims = <[usize; N]>::try_from(self.shape());
        dims.map_err(|_| self.wrong_shape(format!("rank {N}")))
    }

    /// The error that the shape is not what was `expected`.
    pub fn wrong_shape(&self, expected: impl Into<String>) -> OpError {
        OpError::shape(self.name, self.shape(), expected)
    }

    /// The value, or the error that the output's shape depends on it.
    pub fn value(&self) -> Result<&'a Tensor, OpError> {
        self.input.value.ok_or_else(|| OpError::NeedsValue { name: self.name.to_owned() })
    }

    /// The value as integers (axes, sizes, a shape).
    pub fn i64s(&self) -> Result<Vec<i64>, OpError> {
        let found = self.dtype();
        self.value()?.to_i64().ok_or_else(|| OpError::dtype(self.name, found, "an integer type"))
    }
}
