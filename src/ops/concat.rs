//! `Concat` and its inverse, `Split`.

use crate::dispatch;
use crate::ops::dims::{Along, axis_attribute, checked_type, sizes_input, with_dim};
use crate::ops::inputs::Named;
use crate::ops::take::take_axis;
use crate::ops::{Attrs, Bodies, Inputs, Lowering, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{Tensor, TensorType};

pub(super) const OPS: &[OpDef] =
    &[OpDef::onnx("Concat", 1, Concat::read), OpDef::onnx("Split", 1, Split::read)];

/// Joins inputs along `axis`; the other dimensions are equal.
#[derive(Debug)]
struct Concat {
    axis: i64,
}

impl Concat {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(Concat { axis: attrs.require_int("axis")? }))
    }
}

impl Operator for Concat {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        let first = inputs.require(0, "inputs")?;
        let axis = axis_attribute("axis", self.axis, first.rank())?;
        let mut n = 0_usize;
        for position in 0..inputs.len() {
            let next = inputs.require(position, "inputs")?;
            next.expect_dtype(first.dtype())?;
            if next.rank() != first.rank()
                || with_dim(next.shape(), axis, 0) != with_dim(first.shape(), axis, 0)
            {
                let expected = format!("that of the first, {:?}, save axis {axis}", first.shape());
                return Err(next.wrong_shape(expected));
            }
            n = n.saturating_add(next.shape()[axis]);
        }
        Ok(vec![checked_type(first.dtype(), with_dim(first.shape(), axis, n))?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let ty = self.infer(inputs)?.remove(0);
        let axis = axis_attribute("axis", self.axis, ty.shape.len())?;
        let parts: Vec<&Tensor> = (0..inputs.len()).map(|i| inputs.tensor(i)).collect();
        Ok(vec![join(&parts, axis, &ty)])
    }

    fn lower(&self, inputs: &Inputs<'_>) -> Option<Lowering> {
        axis_attribute("axis", self.axis, inputs.shape(0).len()).ok().map(Lowering::Concat)
    }
}

/// Joins tensors of one type along `axis`; `ty` is that of the result.
pub(super) fn join(parts: &[&Tensor], axis: usize, ty: &TensorType) -> Tensor {
    dispatch!(ty.dtype, T => {
        let parts: Vec<(&[T], usize)> = parts
            .iter()
            .map(|part| {
                let Along { n, inner, .. } = Along::new(part.shape(), axis);
                (part.slice::<T>(), n * inner)
            })
            .collect();
        let mut joined = Vec::with_capacity(ty.len());
        for block in 0..Along::new(&ty.shape, axis).outer {
            for (part, n) in &parts {
                joined.extend_from_slice(&part[block * n..(block + 1) * n]);
            }
        }
        Tensor::from_vec(&ty.shape, joined)
    })
}

const INPUT: usize = 0;
const SPLIT: usize = 1;

/// Cuts along `axis`: into the given sizes, or into parts of equal size, of which the last may be
/// smaller if the number of outputs is given as an attribute.
#[derive(Debug)]
struct Split {
    axis: i64,
    num_outputs: Option<i64>,
}

impl Split {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let axis = attrs.int("axis", 0)?;
        Ok(Box::new(Split { axis, num_outputs: attrs.opt_int("num_outputs")? }))
    }

    fn sizes(&self, inputs: &Inputs<'_>, axis: usize) -> Result<Vec<usize>, OpError> {
        let input = inputs.require(INPUT, "input")?;
        let (n, n_outputs) = (input.shape()[axis], inputs.n_outputs());
        if let Some(split) = inputs.optional(SPLIT, "split") {
            return given_sizes(&split, n, n_outputs);
        }
        let size = match self.num_outputs {
            Some(declared) if usize::try_from(declared) == Ok(n_outputs) => n.div_ceil(n_outputs),
            Some(declared) => {
                let expected = format!("{n_outputs}, the outputs of the node");
                return Err(OpError::invalid_attribute("num_outputs", declared, expected));
            }
            None => n / n_outputs,
        };
        let last = n.checked_sub(size * (n_outputs - 1));
        let last = last.filter(|&last| last == size || self.num_outputs.is_some());
        let wrong = || input.wrong_shape(format!("{n_outputs} parts along axis {axis}"));
        let mut sizes = vec![size; n_outputs - 1];
        sizes.push(last.ok_or_else(wrong)?);
        Ok(sizes)
    }
}

fn given_sizes(split: &Named<'_>, n: usize, n_outputs: usize) -> Result<Vec<usize>, OpError> {
    let found = split.i64s()?;
    let sizes = sizes_input("split", &found)?;
    let sum = sizes.iter().try_fold(0_usize, |sum, &size| sum.checked_add(size));
    if sizes.len() != n_outputs || sum != Some(n) {
        let expected = format!("{n_outputs} sizes with the sum {n}");
        return Err(OpError::value("split", format!("{found:?}"), expected));
    }
    Ok(sizes)
}

impl Operator for Split {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let input = inputs.require(INPUT, "input")?;
        let axis = axis_attribute("axis", self.axis, input.rank())?;
        if inputs.n_outputs() == 0 {
            let expected = "at least 1".to_owned();
            return Err(OpError::Arity { what: "outputs", found: 0, expected });
        }
        let sizes = self.sizes(inputs, axis)?.into_iter();
        let part =
            |size| TensorType { dtype: input.dtype(), shape: with_dim(input.shape(), axis, size) };
        Ok(sizes.map(part).collect())
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let input = inputs.tensor(INPUT);
        let axis = axis_attribute("axis", self.axis, input.rank())?;
        let mut start = 0;
        let parts = self.sizes(inputs, axis)?.into_iter().map(|size| {
            let picks: Vec<usize> = (start..start + size).collect();
            start += size;
            take_axis(input, axis, &picks)
        });
        Ok(parts.collect())
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::passes(INPUT)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use crate::ops::testing::op;
    use crate::tensor::Tensor;

    #[test]
    fn concat() {
        let (a, b) = (array![[1., 2.], [3., 4.]], array![[5.], [6.]]);
        let joined = array![[1., 2., 5.], [3., 4., 6.]];
        op("Concat").input(&a).input(&b).int("axis", 1).gives(joined.clone());
        op("Concat").input(&a).input(&b).int("axis", -1).gives(joined);
        op("Concat").input(&a).input(&a).int("axis", 0).gives(array![
            [1., 2.],
            [3., 4.],
            [1., 2.],
            [3., 4.]
        ]);
        op("Concat").input(&a).input(&Array2::zeros((2, 0))).int("axis", 1).gives(a.clone());
        op("Concat").i64s(&[1]).i64s(&[2, 3]).int("axis", 0).gives_tensor(array![1_i64, 2, 3]);
    }

    #[test]
    fn concat_refuses() {
        let (a, b) = (array![[1., 2.], [3., 4.]], array![[5.], [6.]]);
        let message =
            "input `inputs` has shape [2, 1], expected that of the first, [2, 2], save axis 0";
        op("Concat").input(&a).input(&b).int("axis", 0).fails(message);
        op("Concat").input(&a).int("axis", 2).fails("attribute `axis` is 2, expected from -2 to 1");
        op("Concat").input(&a).fails("attribute `axis` is missing");
        op("Concat")
            .input(&array![1.])
            .i64s(&[1])
            .int("axis", 0)
            .fails("input `inputs` is int64, expected float32");
    }

    #[test]
    fn split() {
        let x = array![[1., 2., 3., 4., 5.]];
        let parts: [Tensor; 2] = [array![[1_f32, 2., 3.]].into(), array![[4_f32, 5.]].into()];
        let base = || op("Split").input(&x).int("axis", -1).outputs(2);
        base().i64s(&[3, 2]).gives_tensors(&parts);
        base().int("num_outputs", 2).gives_tensors(&parts);
        base().fails("input `input` has shape [1, 5], expected 2 parts along axis 1");
        base().i64s(&[3, 3]).fails("input `split` is [3, 3], expected 2 sizes with the sum 5");
        base().i64s(&[6, -1]).fails("input `split` is [6, -1], expected no negative size");
        base()
            .int("num_outputs", 3)
            .fails("attribute `num_outputs` is 3, expected 2, the outputs of the node");
        let rows: [Tensor; 2] = [array![1_f32, 2.].into(), array![3_f32, 4.].into()];
        op("Split").input(&array![1., 2., 3., 4.]).outputs(2).gives_tensors(&rows);
    }
}
