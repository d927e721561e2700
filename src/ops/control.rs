//! Operators that run subgraphs: `If`, `Loop`, and what they share with `Scan`.
//!
//! What is inside a subgraph stays in float, and its multiply-accumulates are not counted: how often
//! it runs is known only at run time.

use crate::ops::concat::join;
use crate::ops::dims::with_dim;
use crate::ops::inputs::Named;
use crate::ops::{Attrs, Bodies, Input, Inputs, OpDef, OpError, Operator, QuantRole, Reads};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] =
    &[OpDef::onnx("If", 1, If::read), OpDef::onnx("Loop", 1, Loop::read)];

/// A loop that goes on for longer is taken for one without end: 16 s of sound, sample by sample.
const MOST_ITERATIONS: u64 = 1 << 18;

/// Subgraphs compute in float; what they put out has a range of its own.
pub(super) fn stays_float() -> QuantRole {
    QuantRole { reads: Reads::Only(Vec::new()), ..QuantRole::OWN_RANGE }
}

/// Refuses another number of outputs than the subgraph or the operator makes.
pub(super) fn expect_outputs(found: usize, expected: usize) -> Result<(), OpError> {
    if found == expected {
        return Ok(());
    }
    Err(OpError::Arity { what: "outputs", found, expected: expected.to_string() })
}

/// Refuses a subgraph that takes or makes another number of values.
pub(super) fn expect_arity(
    inputs: &Inputs<'_>,
    body: usize,
    takes: usize,
    makes: impl Fn(usize) -> bool,
    expected: &str,
) -> Result<usize, OpError> {
    let (n_inputs, n_outputs) = inputs.body_arity(body)?;
    if n_inputs != takes {
        let expected = takes.to_string();
        return Err(OpError::Arity { what: "inputs of its subgraph", found: n_inputs, expected });
    }
    if !makes(n_outputs) {
        let (what, expected) = ("outputs of its subgraph", expected.to_owned());
        return Err(OpError::Arity { what, found: n_outputs, expected });
    }
    Ok(n_outputs)
}

fn expect_flag(input: &Named<'_>) -> Result<(), OpError> {
    input.expect_dtype(DType::Bool)?;
    if input.ty().len() != 1 {
        return Err(input.wrong_shape("one element"));
    }
    Ok(())
}

/// The flag that a subgraph computed; `name` is the specification's.
fn flag(tensor: &Tensor, name: &str) -> Result<bool, OpError> {
    let one = tensor.try_slice::<bool>().filter(|elements| elements.len() == 1);
    one.map(|elements| elements[0])
        .ok_or_else(|| OpError::value(name, tensor.ty(), "one element of bool"))
}

/// What the iterations of a loop put out, to be stacked.
pub(super) struct Stacks {
    /// For every output the value of each iteration.
    pub(super) values: Vec<Vec<Tensor>>,
    size_bytes: usize,
    limit_bytes: usize,
}

impl Stacks {
    pub(super) fn new(n: usize, limit_bytes: usize) -> Stacks {
        Stacks { values: vec![Vec::new(); n], size_bytes: 0, limit_bytes }
    }

    pub(super) fn push(&mut self, outputs: impl Iterator<Item = Tensor>) -> Result<(), OpError> {
        for (stack, output) in self.values.iter_mut().zip(outputs) {
            let first = stack.first().unwrap_or(&output);
            if first.ty() != output.ty() {
                let expected = format!("{}, as in the first iteration", first.ty());
                return Err(OpError::value("scan_outputs", output.ty(), expected));
            }
            self.size_bytes = self.size_bytes.saturating_add(output.held_bytes());
            if self.limit_bytes < self.size_bytes {
                let (found, limit) = (self.size_bytes, self.limit_bytes);
                return Err(OpError::OverLimit { found, limit });
            }
            stack.push(output);
        }
        Ok(())
    }

    /// `element` is the type of what an output without iterations would have been made of.
    pub(super) fn stacked(
        self,
        axis: impl Fn(usize, usize) -> Result<usize, OpError>,
        element: impl Fn(usize) -> Result<TensorType, OpError>,
    ) -> Result<Vec<Tensor>, OpError> {
        let stack = |(index, values): (usize, Vec<Tensor>)| {
            let element = values.first().map_or_else(|| element(index), |first| Ok(first.ty()))?;
            let axis = axis(index, element.shape.len() + 1)?;
            Ok(stack(&values, axis, &element))
        };
        self.values.into_iter().enumerate().map(stack).collect()
    }
}

/// Tensors of type `element` along a new axis.
pub(super) fn stack(values: &[Tensor], axis: usize, element: &TensorType) -> Tensor {
    let mut shape = element.shape.clone();
    shape.insert(axis, 1);
    let slices: Vec<Tensor> = values.iter().map(|value| value.reshaped(&shape)).collect();
    let slices: Vec<&Tensor> = slices.iter().collect();
    let ty = TensorType::new(element.dtype, &with_dim(&shape, axis, values.len()));
    join(&slices, axis, &ty)
}

pub(super) fn present<'a>(
    inputs: &Inputs<'a>,
    from: usize,
    name: &'static str,
) -> Result<Vec<Input<'a>>, OpError> {
    let input = |position| {
        inputs.require(position, name)?;
        inputs.get(position).ok_or_else(|| OpError::MissingInput { name: name.to_owned() })
    };
    (from..inputs.len()).map(input).collect()
}

/// Runs one of two subgraphs, <https://onnx.ai/onnx/operators/onnx__If.html>.
#[derive(Debug)]
struct If {
    then_branch: usize,
    else_branch: usize,
}

impl If {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let mut body = |name: &str| {
            attrs.opt_body(name)?.ok_or(OpError::MissingAttribute { name: name.to_owned() })
        };
        let then_branch = body("then_branch")?;
        Ok(Box::new(If { then_branch, else_branch: body("else_branch")? }))
    }

    fn branch(&self, cond: &Tensor) -> Result<usize, OpError> {
        Ok(if flag(cond, "cond")? { self.then_branch } else { self.else_branch })
    }
}

impl Operator for If {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        let cond = inputs.require(0, "cond")?;
        expect_flag(&cond)?;
        inputs.expect_at_most(1)?;
        for body in [self.then_branch, self.else_branch] {
            let made = expect_arity(inputs, body, 0, |_| true, "any")?;
            expect_outputs(inputs.n_outputs(), made)?;
        }
        if let Some(cond) = inputs.get(0).and_then(|cond| cond.value) {
            return inputs.body_types(self.branch(cond)?, &[]);
        }
        // A branch that is not taken need not fit the inputs, so its errors are none.
        let then_types = inputs.body_types(self.then_branch, &[]);
        let else_types = inputs.body_types(self.else_branch, &[]);
        then_types.ok().filter(|types| else_types.as_ref() == Ok(types)).ok_or(OpError::NeedsRun)
    }

    fn eval(&self, inputs: &Inputs<'_>, bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        bodies.run(self.branch(inputs.tensor(0))?, Vec::new())
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        stays_float()
    }
}

const M: usize = 0;
const COND: usize = 1;
/// The position of the first carried value.
const CARRIED: usize = 2;

/// Runs a subgraph a number of times or while it says so,
/// <https://onnx.ai/onnx/operators/onnx__Loop.html>.
///
/// The subgraph takes the iteration, the condition and the carried values; it makes the condition,
/// the carried values, and what is stacked over the iterations.
#[derive(Debug)]
struct Loop {
    body: usize,
}

impl Loop {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let body = attrs.opt_body("body")?;
        let name = "body".to_owned();
        Ok(Box::new(Loop { body: body.ok_or(OpError::MissingAttribute { name })? }))
    }

    /// What the subgraph makes, given the types of the carried values.
    fn body_types(
        &self,
        inputs: &Inputs<'_>,
        carried: &[TensorType],
    ) -> Result<Vec<TensorType>, OpError> {
        let (iteration, cond) =
            (TensorType::new(DType::I64, &[]), TensorType::new(DType::Bool, &[]));
        let of_type = |ty| Some(Input { ty, value: None });
        let passed: Vec<Option<Input<'_>>> =
            [&iteration, &cond].into_iter().chain(carried).map(of_type).collect();
        inputs.body_types(self.body, &passed)
    }
}

impl Operator for Loop {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        if let Some(trip_count) = inputs.optional(M, "M") {
            trip_count.expect_dtype(DType::I64)?;
            if trip_count.ty().len() != 1 {
                return Err(trip_count.wrong_shape("one element"));
            }
        }
        if let Some(cond) = inputs.optional(COND, "cond") {
            expect_flag(&cond)?;
        }
        let carried = present(inputs, CARRIED, "v_initial")?;
        let makes = |made| made > carried.len();
        let expected = format!("at least {}", carried.len() + 1);
        let made = expect_arity(inputs, self.body, CARRIED + carried.len(), makes, &expected)?;
        expect_outputs(inputs.n_outputs(), made - 1)?;
        let carried: Vec<TensorType> = carried.iter().map(|input| input.ty.clone()).collect();
        let types = self.body_types(inputs, &carried).map_err(|_| OpError::NeedsRun)?;
        // Stacked outputs have as many elements as there are iterations.
        if types.len() == 1 + carried.len() && types[1..] == carried {
            Ok(carried)
        } else {
            Err(OpError::NeedsRun)
        }
    }

    fn eval(&self, inputs: &Inputs<'_>, bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let trip_count = inputs.get(M).map(|_| inputs.view::<i64>(M).iter().copied().sum());
        let trip_count: i64 = trip_count.unwrap_or(i64::MAX);
        let mut goes_on = inputs.get(COND).is_none_or(|_| inputs.tensor(COND).slice::<bool>()[0]);
        let carried_inputs = CARRIED.min(inputs.len())..inputs.len();
        let mut carried: Vec<Tensor> = carried_inputs.map(|i| inputs.tensor(i).clone()).collect();
        let n_carried = carried.len();
        let mut stacks = Stacks::new(inputs.n_outputs() - n_carried, bodies.limit_bytes());
        let mut iteration = 0_i64;
        while goes_on && iteration < trip_count {
            if MOST_ITERATIONS <= iteration.unsigned_abs() {
                return Err(OpError::Endless { limit: MOST_ITERATIONS });
            }
            let mut passed = vec![Tensor::scalar(iteration), Tensor::scalar(goes_on)];
            passed.append(&mut carried);
            let mut made = bodies.run(self.body, passed)?.into_iter();
            goes_on = made.next().map_or(Ok(false), |cond| flag(&cond, "cond_out"))?;
            carried = made.by_ref().take(n_carried).collect();
            stacks.push(made)?;
            iteration += 1;
        }
        let types: Vec<TensorType> = carried.iter().map(Tensor::ty).collect();
        let element =
            |index| Ok(self.body_types(inputs, &types)?.swap_remove(1 + n_carried + index));
        carried.extend(stacks.stacked(|_, _| Ok(0), element)?);
        Ok(carried)
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        stays_float()
    }
}
