//! `Slice`: evenly spaced positions along axes.

use crate::kernels::Positions;
use crate::ops::dims::{axes_input, with_dim};
use crate::ops::take::take_axis;
use crate::ops::{Bodies, Inputs, Lowering, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("Slice", 1, |_| Ok(Box::new(Slice)))];

/// As `data[start:end:step]` in numpy, for every axis listed.
#[derive(Debug)]
struct Slice;

const DATA: usize = 0;
const STARTS: usize = 1;
const ENDS: usize = 2;
const AXES: usize = 3;
const STEPS: usize = 4;

/// What is taken along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    axis: usize,
    start: usize,
    step: i64,
    n: usize,
}

impl Run {
    /// Out of range ends are moved to the nearest end; `step` is not 0.
    fn new(axis: usize, dim: usize, [start, end, step]: [i64; 3]) -> Run {
        let dim = dim as i64;
        let from_end = |x: i64| if x < 0 { x.saturating_add(dim) } else { x };
        // As the specification has it: unlike in numpy, a start before the first element is the first,
        // also when stepping backward.
        let (start, end) = match step < 0 {
            true => (from_end(start).max(0).min(dim - 1), from_end(end).clamp(-1, dim.max(1) - 1)),
            false => (from_end(start).clamp(0, dim), from_end(end).clamp(0, dim)),
        };
        let distance = if step < 0 { start - end } else { end - start };
        let n = usize::try_from(distance).unwrap_or(0) as u64;
        Run {
            axis,
            start: start.max(0) as usize,
            step,
            n: n.div_ceil(step.unsigned_abs()) as usize,
        }
    }

    fn picks(&self) -> Vec<usize> {
        let at = |k: usize| (self.start as i64 + k as i64 * self.step) as usize;
        (0..self.n).map(at).collect()
    }
}

impl Slice {
    fn runs(inputs: &Inputs<'_>) -> Result<Vec<Run>, OpError> {
        inputs.expect_at_most(5)?;
        let data = inputs.require(DATA, "data")?;
        let starts = inputs.require(STARTS, "starts")?.i64s()?;
        let list = |position, name, default: &dyn Fn() -> Vec<i64>| {
            let input = inputs.optional(position, name);
            let list = input.map_or_else(|| Ok(default()), |input| input.i64s())?;
            if list.len() != starts.len() {
                let expected = format!("{}, as many as `starts`", starts.len());
                return Err(OpError::value(name, format!("a list of {}", list.len()), expected));
            }
            Ok(list)
        };
        let ends = inputs.require(ENDS, "ends").and_then(|_| list(ENDS, "ends", &Vec::new))?;
        let axes = list(AXES, "axes", &|| (0..starts.len() as i64).collect())?;
        let steps = list(STEPS, "steps", &|| vec![1; starts.len()])?;
        if steps.contains(&0) {
            return Err(OpError::value("steps", format!("{steps:?}"), "no step of 0"));
        }
        let axes = axes_input("axes", &axes, data.rank())?;
        let run = |(k, axis): (usize, usize)| {
            Run::new(axis, data.shape()[axis], [starts[k], ends[k], steps[k]])
        };
        Ok(axes.into_iter().enumerate().map(run).collect())
    }
}

impl Operator for Slice {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        let data = inputs.require(DATA, "data")?;
        let runs = Slice::runs(inputs)?;
        let shape =
            runs.iter().fold(data.shape().to_vec(), |shape, run| with_dim(&shape, run.axis, run.n));
        Ok(vec![TensorType { dtype: data.dtype(), shape }])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let runs = Slice::runs(inputs)?;
        let data = inputs.tensor(DATA).clone();
        let changes = |data: &Tensor, run: &Run| run.step != 1 || run.n != data.shape()[run.axis];
        let taken = runs.iter().fold(data, |data, run| match changes(&data, run) {
            true => take_axis(&data, run.axis, &run.picks()),
            false => data,
        });
        Ok(vec![taken])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::passes(DATA)
    }

    fn lower(&self, inputs: &Inputs<'_>) -> Option<Lowering> {
        let whole = |&count: &usize| Positions { start: 0, step: 1, count };
        let mut positions: Vec<Positions> = inputs.shape(DATA).iter().map(whole).collect();
        for run in Slice::runs(inputs).ok()? {
            let step = isize::try_from(run.step).ok()?;
            positions[run.axis] = Positions { start: run.start, step, count: run.n };
        }
        Some(Lowering::Slice(positions))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2, array};

    use crate::ops::testing::op;

    #[test]
    fn slice() {
        let x = array![[0., 1., 2., 3.], [4., 5., 6., 7.]];
        let base = |starts: &[i64], ends: &[i64]| op("Slice").input(&x).i64s(starts).i64s(ends);
        base(&[0, 1], &[1, 3]).gives(array![[1., 2.]]);
        base(&[1], &[3]).i64s(&[-1]).gives(array![[1., 2.], [5., 6.]]);
        base(&[1], &[i64::MAX]).i64s(&[1]).i64s(&[2]).gives(array![[1., 3.], [5., 7.]]);
        base(&[-1], &[i64::MIN])
            .i64s(&[1])
            .i64s(&[-1])
            .gives(array![[3., 2., 1., 0.], [7., 6., 5., 4.]]);
        base(&[3], &[0]).i64s(&[1]).i64s(&[-2]).gives(array![[3., 1.], [7., 5.]]);
        base(&[i64::MAX], &[i64::MIN]).i64s(&[0]).i64s(&[i64::MIN]).gives(array![[4., 5., 6., 7.]]);
        base(&[2], &[1]).i64s(&[1]).gives(Array2::zeros((2, 0)));
        base(&[-9], &[-9]).i64s(&[1]).i64s(&[-1]).gives(array![[0.], [4.]]);
        base(&[0], &[9]).absent().i64s(&[1]).gives(x.clone());
        base(&[], &[]).gives(x.clone());
        op("Slice").input(&Array1::zeros(0)).i64s(&[0]).i64s(&[1]).gives(Array1::zeros(0));
        op("Slice")
            .input(&Array1::zeros(0))
            .i64s(&[-1])
            .i64s(&[i64::MIN])
            .i64s(&[0])
            .i64s(&[-1])
            .gives(Array1::zeros(0));
    }

    #[test]
    fn slice_refuses() {
        let base = || op("Slice").input(&array![1., 2.]).i64s(&[0]);
        base().fails("input `ends` is missing");
        base().i64s(&[1, 2]).fails("input `ends` is a list of 2, expected 1, as many as `starts`");
        base().i64s(&[1]).i64s(&[1]).fails("input `axes` is 1, expected axes from -1 to 0");
        base()
            .i64s(&[1])
            .i64s(&[0])
            .i64s(&[0])
            .fails("input `steps` is [0], expected no step of 0");
    }
}
