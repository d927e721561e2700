//! `Scan`, of today and of opset 8.

use crate::dispatch;
use crate::ops::concat::join;
use crate::ops::control::{Stacks, expect_arity, expect_outputs, present, stack, stays_float};
use crate::ops::dims::{axis_attribute, with_dim};
use crate::ops::take::take_axis;
use crate::ops::{Attrs, Bodies, Input, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{Tensor, TensorType};

pub(super) const OPS: &[OpDef] =
    &[OpDef::onnx("Scan", 8, BatchScan::read), OpDef::onnx("Scan", 9, Scan::read)];

/// Runs a subgraph over slices of its inputs, with carried values,
/// <https://onnx.ai/onnx/operators/onnx__Scan.html>.
#[derive(Debug)]
struct Scan {
    body: usize,
    n_scanned: usize,
    input_axes: Vec<i64>,
    input_directions: Vec<bool>,
    output_axes: Vec<i64>,
    output_directions: Vec<bool>,
}

fn directions(attrs: &mut Attrs, name: &str) -> Result<Vec<bool>, OpError> {
    let ints = attrs.opt_ints(name)?.unwrap_or_default();
    if ints.iter().all(|direction| matches!(direction, 0 | 1)) {
        return Ok(ints.iter().map(|&direction| direction == 1).collect());
    }
    Err(OpError::invalid_attribute(name, format!("{ints:?}"), "0 (forward) or 1 (reverse)"))
}

fn scan_body(attrs: &mut Attrs) -> Result<(usize, usize), OpError> {
    let body = attrs.opt_body("body")?;
    let body = body.ok_or_else(|| OpError::MissingAttribute { name: "body".to_owned() })?;
    let found = attrs.require_int("num_scan_inputs")?;
    let n_scanned = usize::try_from(found).ok().filter(|&n| 1 <= n);
    let wrong = || OpError::invalid_attribute("num_scan_inputs", found, "at least 1");
    Ok((body, n_scanned.ok_or_else(wrong)?))
}

/// One for each, or none at all, which is the default for all.
fn expect_count(name: &str, found: usize, expected: usize) -> Result<(), OpError> {
    if found == 0 || found == expected {
        return Ok(());
    }
    let expected = format!("none or {expected}");
    Err(OpError::invalid_attribute(name, format!("a list of {found}"), expected))
}

impl Scan {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let (body, n_scanned) = scan_body(attrs)?;
        Ok(Box::new(Scan {
            body,
            n_scanned,
            input_axes: attrs.opt_ints("scan_input_axes")?.unwrap_or_default(),
            input_directions: directions(attrs, "scan_input_directions")?,
            output_axes: attrs.opt_ints("scan_output_axes")?.unwrap_or_default(),
            output_directions: directions(attrs, "scan_output_directions")?,
        }))
    }

    fn n_carried(&self, n_inputs: usize) -> Result<usize, OpError> {
        let expected = || format!("at least {}", self.n_scanned);
        n_inputs.checked_sub(self.n_scanned).ok_or_else(|| OpError::Arity {
            what: "inputs",
            found: n_inputs,
            expected: expected(),
        })
    }

    fn input_axis(&self, index: usize, rank: usize) -> Result<usize, OpError> {
        axis_attribute("scan_input_axes", self.input_axes.get(index).copied().unwrap_or(0), rank)
    }

    fn output_axis(&self, index: usize, rank: usize) -> Result<usize, OpError> {
        axis_attribute("scan_output_axes", self.output_axes.get(index).copied().unwrap_or(0), rank)
    }

    /// The number of iterations, and the types of the slices.
    fn slices(&self, scanned: &[&TensorType]) -> Result<(usize, Vec<TensorType>), OpError> {
        let mut length = None;
        let mut slices = Vec::new();
        for (index, ty) in scanned.iter().enumerate() {
            let axis = self.input_axis(index, ty.shape.len())?;
            let mut shape = ty.shape.clone();
            let found = shape.remove(axis);
            if *length.get_or_insert(found) != found {
                let expected = format!("{} along the scanned axis {axis}", length.unwrap_or(0));
                return Err(OpError::shape("scan_inputs", &ty.shape, expected));
            }
            slices.push(TensorType { dtype: ty.dtype, shape });
        }
        Ok((length.unwrap_or(0), slices))
    }

    fn body_types(
        &self,
        inputs: &Inputs<'_>,
        carried: &[TensorType],
        slices: &[TensorType],
    ) -> Result<Vec<TensorType>, OpError> {
        let of_type = |ty| Some(Input { ty, value: None });
        let passed: Vec<Option<Input<'_>>> = carried.iter().chain(slices).map(of_type).collect();
        inputs.body_types(self.body, &passed)
    }

    /// What a whole scan makes of these values.
    fn scan(
        &self,
        inputs: &Inputs<'_>,
        mut carried: Vec<Tensor>,
        scanned: &[Tensor],
        bodies: &mut dyn Bodies,
    ) -> Result<Vec<Tensor>, OpError> {
        let n_carried = carried.len();
        let types: Vec<TensorType> = scanned.iter().map(Tensor::ty).collect();
        let (length, slices) = self.slices(&types.iter().collect::<Vec<_>>())?;
        let n_outputs = inputs.n_outputs() - n_carried;
        let mut stacks = Stacks::new(n_outputs, bodies.limit_bytes());
        for iteration in 0..length {
            let mut passed = std::mem::take(&mut carried);
            for (index, x) in scanned.iter().enumerate() {
                let is_reverse = self.input_directions.get(index).copied().unwrap_or(false);
                let step = if is_reverse { length - 1 - iteration } else { iteration };
                passed.push(slice_of(x, self.input_axis(index, x.rank())?, step));
            }
            let mut made = bodies.run(self.body, passed)?.into_iter();
            carried = made.by_ref().take(n_carried).collect();
            stacks.push(made)?;
        }
        for (index, values) in stacks.values.iter_mut().enumerate() {
            if self.output_directions.get(index).copied().unwrap_or(false) {
                values.reverse();
            }
        }
        let types: Vec<TensorType> = carried.iter().map(Tensor::ty).collect();
        let element =
            |index| Ok(self.body_types(inputs, &types, &slices)?.swap_remove(n_carried + index));
        carried.extend(stacks.stacked(|index, rank| self.output_axis(index, rank), element)?);
        Ok(carried)
    }
}

impl Operator for Scan {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        let all = present(inputs, 0, "initial_state_and_scan_inputs")?;
        let n_carried = self.n_carried(all.len())?;
        expect_count("scan_input_axes", self.input_axes.len(), self.n_scanned)?;
        expect_count("scan_input_directions", self.input_directions.len(), self.n_scanned)?;
        let makes = |made| n_carried <= made;
        let expected = format!("at least {n_carried}");
        let made = expect_arity(inputs, self.body, all.len(), makes, &expected)?;
        expect_outputs(inputs.n_outputs(), made)?;
        expect_count("scan_output_axes", self.output_axes.len(), made - n_carried)?;
        expect_count("scan_output_directions", self.output_directions.len(), made - n_carried)?;
        let types: Vec<&TensorType> = all.iter().map(|input| input.ty).collect();
        let (length, slices) = self.slices(&types[n_carried..])?;
        let carried: Vec<TensorType> = types[..n_carried].iter().map(|&ty| ty.clone()).collect();
        let types = self.body_types(inputs, &carried, &slices).map_err(|_| OpError::NeedsRun)?;
        if types[..n_carried] != carried {
            return Err(OpError::NeedsRun);
        }
        let stacked = types[n_carried..].iter().enumerate().map(|(index, element)| {
            let mut shape = element.shape.clone();
            shape.insert(self.output_axis(index, shape.len() + 1)?, length);
            Ok(TensorType { dtype: element.dtype, shape })
        });
        carried.into_iter().map(Ok).chain(stacked).collect()
    }

    fn eval(&self, inputs: &Inputs<'_>, bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let all: Vec<Tensor> = (0..inputs.len()).map(|i| inputs.tensor(i).clone()).collect();
        let (carried, scanned) = all.split_at(self.n_carried(all.len())?);
        self.scan(inputs, carried.to_vec(), scanned, bodies)
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        stays_float()
    }
}

/// `Scan` of opset 8: every input has a batch axis first and the scanned axis second, and each
/// sequence of the batch may have a length of its own.
#[derive(Debug)]
struct BatchScan {
    one: Scan,
}

const SEQUENCE_LENS: usize = 0;

impl BatchScan {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let (body, n_scanned) = scan_body(attrs)?;
        let input_directions = directions(attrs, "directions")?;
        let one = Scan {
            body,
            n_scanned,
            input_axes: Vec::new(),
            input_directions,
            output_axes: Vec::new(),
            output_directions: Vec::new(),
        };
        Ok(Box::new(BatchScan { one }))
    }

    fn n_batch(inputs: &Inputs<'_>) -> Result<usize, OpError> {
        let all = present(inputs, SEQUENCE_LENS + 1, "initial_state_and_scan_inputs")?;
        let mut n_batch = None;
        for input in all {
            let found = input.ty.shape.first().copied();
            if found.is_none() || *n_batch.get_or_insert(found) != found {
                let name = "initial_state_and_scan_inputs";
                return Err(OpError::shape(name, &input.ty.shape, "one size of the first axis"));
            }
        }
        Ok(n_batch.flatten().unwrap_or(0))
    }

    fn lengths(inputs: &Inputs<'_>, n_batch: usize) -> Result<Option<Vec<usize>>, OpError> {
        let Some(lens) = inputs.optional(SEQUENCE_LENS, "sequence_lens") else { return Ok(None) };
        let found = lens.i64s()?;
        let lengths: Option<Vec<usize>> =
            found.iter().map(|&length| usize::try_from(length).ok()).collect();
        let lengths = lengths.filter(|lengths| lengths.len() == n_batch);
        let expected = || format!("{n_batch} lengths, at least 0");
        let wrong = || OpError::value("sequence_lens", format!("{found:?}"), expected());
        lengths.ok_or_else(wrong).map(Some)
    }
}

impl Operator for BatchScan {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        Self::n_batch(inputs)?;
        let n_own = inputs.len().saturating_sub(SEQUENCE_LENS + 1);
        let n_carried = self.one.n_carried(n_own)?;
        let makes = |made| n_carried <= made;
        let expected = format!("at least {n_carried}");
        let made = expect_arity(inputs, self.one.body, n_own, makes, &expected)?;
        expect_outputs(inputs.n_outputs(), made)?;
        expect_count("directions", self.one.input_directions.len(), self.one.n_scanned)?;
        Err(OpError::NeedsRun)
    }

    fn eval(&self, inputs: &Inputs<'_>, bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let n_batch = Self::n_batch(inputs)?;
        let lengths = Self::lengths(inputs, n_batch)?;
        let own = SEQUENCE_LENS + 1..inputs.len();
        let n_carried = self.one.n_carried(own.len())?;
        let mut made: Vec<Vec<Tensor>> = vec![Vec::new(); inputs.n_outputs()];
        for batch in 0..n_batch {
            let of_batch = |position| slice_of(inputs.tensor(position), 0, batch);
            let all: Vec<Tensor> = own.clone().map(of_batch).collect();
            let (carried, scanned) = all.split_at(n_carried);
            let full = scanned.first().and_then(|x| x.shape().first().copied()).unwrap_or(0);
            let length = lengths.as_ref().map_or(full, |lengths| lengths[batch]);
            if full < length {
                let expected = format!("at most {full}, the length of the inputs");
                return Err(OpError::value("sequence_lens", length, expected));
            }
            let steps: Vec<usize> = (0..length).collect();
            let scanned: Vec<Tensor> = scanned.iter().map(|x| take_axis(x, 0, &steps)).collect();
            let outputs = self.one.scan(inputs, carried.to_vec(), &scanned, bodies)?;
            for (index, (output, of_batches)) in outputs.into_iter().zip(&mut made).enumerate() {
                let is_carried = index < n_carried;
                of_batches.push(if is_carried { output } else { lengthened(&output, full) });
            }
        }
        let stacked = made.into_iter().map(|values| match values.first().map(Tensor::ty) {
            Some(ty) if values.iter().all(|value| value.ty() == ty) => Ok(stack(&values, 0, &ty)),
            _ => Err(OpError::NotSupported { what: "a batch of different or no types".to_owned() }),
        });
        stacked.collect()
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        stays_float()
    }
}

/// `x` with zeros behind it along the first axis.
fn lengthened(x: &Tensor, length: usize) -> Tensor {
    let missing = length.saturating_sub(x.shape()[0]);
    let rest = TensorType::new(x.dtype(), &with_dim(x.shape(), 0, missing));
    let zeros = dispatch!(x.dtype(), T => Tensor::full(&rest.shape, T::default()));
    join(&[x, &zeros], 0, &TensorType::new(x.dtype(), &with_dim(x.shape(), 0, length)))
}

/// One slice of `x`, without the axis.
fn slice_of(x: &Tensor, axis: usize, index: usize) -> Tensor {
    let mut shape = x.shape().to_vec();
    shape.remove(axis);
    take_axis(x, axis, &[index]).reshaped(&shape)
}
