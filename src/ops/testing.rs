//! The one door to operators for tests: `op("Gemm").input(&x).input(&w).macs(6).gives(y)`.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ndarray::{ArrayBase, Data, Dimension};

use crate::ops::{self, AttrValue, Attrs, Input, Inputs, NoBodies, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

/// A node about to be evaluated, by its operator's name.
#[must_use = "a case says nothing before `gives` or `fails`"]
pub(crate) struct OpTest {
    domain: &'static str,
    name: &'static str,
    opset: u16,
    inputs: Vec<Option<Tensor>>,
    attrs: Vec<(String, AttrValue)>,
    n_outputs: usize,
    macs: Option<u64>,
    tolerance: f32,
}

pub(crate) fn op(name: &'static str) -> OpTest {
    OpTest {
        domain: ops::DEFAULT_DOMAIN,
        name,
        opset: ops::NEWEST_OPSET,
        inputs: Vec::new(),
        attrs: Vec::new(),
        n_outputs: 1,
        macs: None,
        // A few roundings of f32.
        tolerance: 1e-6,
    }
}

#[allow(dead_code)]
impl OpTest {
    pub(crate) fn opset(self, opset: u16) -> OpTest {
        OpTest { opset, ..self }
    }

    pub(crate) fn domain(self, domain: &'static str) -> OpTest {
        OpTest { domain, ..self }
    }

    /// A float32 input; `tensor` takes other types.
    pub(crate) fn input<S: Data<Elem = f32>, D: Dimension>(self, x: &ArrayBase<S, D>) -> OpTest {
        self.tensor(Tensor::new(x.to_owned().into_dyn()))
    }

    /// An int64 vector: axes, sizes, a shape.
    pub(crate) fn i64s(self, values: &[i64]) -> OpTest {
        self.tensor(Tensor::from_vec(&[values.len()], values.to_vec()))
    }

    pub(crate) fn tensor(mut self, x: impl Into<Tensor>) -> OpTest {
        self.inputs.push(Some(x.into()));
        self
    }

    /// An optional input that is left out.
    pub(crate) fn absent(mut self) -> OpTest {
        self.inputs.push(None);
        self
    }

    pub(crate) fn int(self, name: &str, value: i64) -> OpTest {
        self.attr(name, AttrValue::Int(value))
    }

    pub(crate) fn ints(self, name: &str, values: &[i64]) -> OpTest {
        self.attr(name, AttrValue::Ints(values.to_vec()))
    }

    pub(crate) fn float(self, name: &str, value: f32) -> OpTest {
        self.attr(name, AttrValue::Float(value))
    }

    pub(crate) fn string(self, name: &str, value: &str) -> OpTest {
        self.attr(name, AttrValue::String(value.to_owned()))
    }

    pub(crate) fn attr(mut self, name: &str, value: AttrValue) -> OpTest {
        self.attrs.push((name.to_owned(), value));
        self
    }

    /// How many outputs the node names; 1 unless told.
    pub(crate) fn outputs(self, n_outputs: usize) -> OpTest {
        OpTest { n_outputs, ..self }
    }

    pub(crate) fn macs(self, macs: u64) -> OpTest {
        OpTest { macs: Some(macs), ..self }
    }

    /// The largest error of a float element, relative to the larger of it and 1; say why.
    pub(crate) fn within(self, tolerance: f32) -> OpTest {
        OpTest { tolerance, ..self }
    }

    #[track_caller]
    pub(crate) fn gives<S: Data<Elem = f32>, D: Dimension>(self, y: ArrayBase<S, D>) {
        self.gives_tensors(&[Tensor::new(y.to_owned().into_dyn())]);
    }

    #[track_caller]
    pub(crate) fn gives_tensor(self, y: impl Into<Tensor>) {
        self.gives_tensors(&[y.into()]);
    }

    /// Checks values, that `infer` agrees with `eval`, the MACs, and that no type of an input panics.
    #[track_caller]
    pub(crate) fn gives_tensors(self, expected: &[Tensor]) {
        let (macs, tolerance) = (self.macs, self.tolerance);
        self.try_other_types();
        let (types, values, counted) = self.run().unwrap_or_else(|error| panic!("{error}"));
        let value_types: Vec<TensorType> = values.iter().map(Tensor::ty).collect();
        assert_eq!(types, value_types, "`infer` and `eval` disagree");
        assert_eq!(values.len(), expected.len(), "number of outputs");
        for (value, expected) in values.iter().zip(expected) {
            assert_close(value, expected, tolerance);
        }
        if let Some(macs) = macs {
            assert_eq!(counted, macs, "MACs");
        }
    }

    #[track_caller]
    pub(crate) fn fails(self, message: &str) {
        match self.run() {
            Ok((_, values, _)) => panic!("expected an error, found {values:?}"),
            Err(error) => assert_eq!(error.to_string(), message),
        }
    }

    #[track_caller]
    pub(crate) fn quant(self) -> QuantRole {
        let items = Item::all(&self.inputs);
        let inputs: Vec<Option<Input<'_>>> = items.iter().map(Item::input).collect();
        self.operator().unwrap().quant(&Inputs::new(&inputs, self.n_outputs))
    }

    /// Zeros of every type in the place of each input, and of all inputs that are of one type: what `infer`
    /// takes, `eval` answers.
    #[track_caller]
    fn try_other_types(&self) {
        let Ok(operator) = self.operator() else { return };
        let dtypes: Vec<Option<DType>> =
            self.inputs.iter().map(|input| Some(input.as_ref()?.dtype())).collect();
        let alone = (0..dtypes.len()).map(|at| vec![at]);
        let alike = dtypes.iter().map(|dtype| {
            (0..dtypes.len()).filter(|&at| dtypes[at] == *dtype).collect::<Vec<usize>>()
        });
        for places in alone.chain(alike).collect::<BTreeSet<_>>() {
            for &dtype in DType::ALL {
                let zeros = |x: &Tensor| crate::dispatch!(dtype, T => Tensor::full(x.shape(), T::default()));
                let input = |(at, input): (usize, &Option<Tensor>)| match input {
                    Some(x) if places.contains(&at) => Some(zeros(x)),
                    other => other.clone(),
                };
                let inputs: Vec<Option<Tensor>> =
                    self.inputs.iter().enumerate().map(input).collect();
                let run = || drop(run(&*operator, &inputs, self.n_outputs));
                let ran = catch_unwind(AssertUnwindSafe(run));
                assert!(ran.is_ok(), "{dtype} as inputs {places:?} panics");
            }
        }
    }

    fn operator(&self) -> Result<Box<dyn Operator>, OpError> {
        ops::read(self.domain, self.name, self.opset, Attrs::new(self.attrs.clone()))
    }

    fn run(self) -> Result<Ran, OpError> {
        run(&*self.operator()?, &self.inputs, self.n_outputs)
    }
}

/// Types, values and MACs.
type Ran = (Vec<TensorType>, Vec<Tensor>, u64);

fn run(
    operator: &dyn Operator,
    inputs: &[Option<Tensor>],
    n_outputs: usize,
) -> Result<Ran, OpError> {
    let items = Item::all(inputs);
    let inputs: Vec<Option<Input<'_>>> = items.iter().map(Item::input).collect();
    let inputs = Inputs::new(&inputs, n_outputs);
    let types = operator.infer(&inputs)?;
    let values = operator.eval(&inputs, &mut NoBodies)?;
    let macs = operator.macs(&inputs, &types);
    Ok((types, values, macs))
}

/// 0, 1, 2, ...
pub(crate) fn counting(shape: &[usize]) -> Tensor {
    let len: usize = shape.iter().product();
    Tensor::from_vec(shape, (0..len).map(|i| i as f32).collect::<Vec<_>>())
}

/// -2, 0, 2, -1, 1, -2, ...: small integers of both signs, so that sums are exact.
pub(crate) fn mixed(shape: &[usize]) -> Tensor {
    let len: usize = shape.iter().product();
    Tensor::from_vec(shape, (0..len).map(|i| (7 * i % 5) as f32 - 2.).collect::<Vec<_>>())
}

struct Item<'a>(Option<(TensorType, &'a Tensor)>);

impl<'a> Item<'a> {
    fn all(tensors: &'a [Option<Tensor>]) -> Vec<Item<'a>> {
        tensors.iter().map(|t| Item(t.as_ref().map(|t| (t.ty(), t)))).collect()
    }

    fn input(&self) -> Option<Input<'_>> {
        self.0.as_ref().map(|(ty, value)| Input { ty, value: Some(value) })
    }
}

#[track_caller]
pub(crate) fn assert_close(found: &Tensor, expected: &Tensor, tolerance: f32) {
    assert_eq!(found.ty(), expected.ty(), "output type");
    let (Some(a), Some(b)) = (found.to_f32(), expected.to_f32()) else {
        assert_eq!(found, expected);
        return;
    };
    for (index, (a, b)) in a.iter().zip(&b).enumerate() {
        let close =
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * b.abs().max(1.);
        assert!(close, "element {index} is {a}, expected {b}; found {found:?}");
    }
}
