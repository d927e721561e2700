//! `Pad`: elements before and after, constant or taken from the input; negative pads cut.

use crate::dispatch;
use crate::ops::dims::{Along, axes_input, checked_type, with_dim};
use crate::ops::inputs::Named;
use crate::ops::number::Scalar;
use crate::ops::take::take_axis;
use crate::ops::{Attrs, Bodies, Inputs, Lowering, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("Pad", 1, Pad::read)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Constant,
    /// Mirrored, the edge itself not repeated.
    Reflect,
    /// The edge repeated.
    Edge,
    /// From the other end.
    Wrap,
}

#[derive(Debug)]
struct Pad {
    mode: Mode,
}

const DATA: usize = 0;
const PADS: usize = 1;
const VALUE: usize = 2;
const AXES: usize = 3;

impl Pad {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let modes = [
            ("constant", Mode::Constant),
            ("reflect", Mode::Reflect),
            ("edge", Mode::Edge),
            ("wrap", Mode::Wrap),
        ];
        Ok(Box::new(Pad { mode: attrs.choice("mode", &modes)? }))
    }

    /// For each axis padded: axis, how many before, how many after.
    fn pads(inputs: &Inputs<'_>) -> Result<Vec<(usize, i64, i64)>, OpError> {
        let rank = inputs.require(DATA, "data")?.rank();
        let pads = inputs.require(PADS, "pads")?.i64s()?;
        let axes = match inputs.optional(AXES, "axes") {
            Some(axes) => axes_input("axes", &axes.i64s()?, rank)?,
            None => (0..rank).collect(),
        };
        if pads.len() != 2 * axes.len() {
            let expected = format!("two for each of {} axes", axes.len());
            return Err(OpError::value("pads", format!("{pads:?}"), expected));
        }
        let (before, after) = pads.split_at(axes.len());
        Ok(axes.into_iter().zip(before).zip(after).map(|((axis, &b), &a)| (axis, b, a)).collect())
    }

    /// The position in the input that an element at `position` (0 is the input's first) repeats.
    fn source(&self, position: i64, n: i64) -> usize {
        let source = match self.mode {
            Mode::Constant | Mode::Edge => position.clamp(0, n - 1),
            Mode::Wrap => position.rem_euclid(n),
            Mode::Reflect if n == 1 => 0,
            Mode::Reflect => {
                let period = 2 * (n - 1);
                let along = position.rem_euclid(period);
                along.min(period - along)
            }
        };
        source as usize
    }
}

impl Operator for Pad {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(4)?;
        let data = inputs.require(DATA, "data")?;
        if let Some(value) = inputs.optional(VALUE, "constant_value") {
            expect_scalar_like(&value, data.dtype())?;
        }
        let mut shape = data.shape().to_vec();
        for (axis, before, after) in Pad::pads(inputs)? {
            let dim = shape[axis] as i128;
            let padded = dim + i128::from(before) + i128::from(after);
            // Cutting comes first, so no pad may cut more than there is.
            let kept = dim + i128::from(before.min(0)) + i128::from(after.min(0));
            let is_possible = 0 <= kept && (self.mode == Mode::Constant || 0 < kept || padded == 0);
            if !is_possible {
                let expected = format!("enough for pads {before}, {after} at axis {axis}");
                return Err(data.wrong_shape(expected));
            }
            shape[axis] = usize::try_from(padded).unwrap_or(usize::MAX);
        }
        Ok(vec![checked_type(data.dtype(), shape)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let mut x = inputs.tensor(DATA).clone();
        let value = inputs.get(VALUE).map(|_| scalar_as(inputs.tensor(VALUE), x.dtype()));
        let pads = Pad::pads(inputs)?;
        // Cutting first: what lies between is then never larger than the result or the input.
        for &(axis, before, after) in
            pads.iter().filter(|&&(_, before, after)| before < 0 || after < 0)
        {
            let kept = (-before).max(0)..x.shape()[axis] as i64 + after.min(0);
            let kept: Vec<usize> = kept.map(|position| position as usize).collect();
            x = take_axis(&x, axis, &kept);
        }
        for (axis, before, after) in pads {
            let (before, after) = (before.max(0), after.max(0));
            let n = x.shape()[axis] as i64;
            if (before, after) == (0, 0) {
                continue;
            }
            if self.mode == Mode::Constant {
                x = pad_axis(&x, axis, [before as usize, after as usize], value.as_ref());
                continue;
            }
            // With nothing to repeat there is nothing to put out: `infer` checked.
            let positions = if n == 0 { 0..0 } else { -before..n + after };
            let sources: Vec<usize> = positions.map(|position| self.source(position, n)).collect();
            x = take_axis(&x, axis, &sources);
        }
        Ok(vec![x])
    }

    fn lower(&self, inputs: &Inputs<'_>) -> Option<Lowering> {
        let mut pads = vec![[0, 0]; inputs.shape(DATA).len()];
        for (axis, before, after) in Pad::pads(inputs).ok()? {
            pads[axis] = [usize::try_from(before).ok()?, usize::try_from(after).ok()?];
        }
        let value = match inputs.get(VALUE) {
            None => 0.,
            Some(value) => *value.value?.try_slice::<f32>()?.first()?,
        };
        (self.mode == Mode::Constant).then_some(Lowering::Pad { pads, value })
    }

    /// A constant is representable in the input's encoding if it is 0.
    fn quant(&self, inputs: &Inputs<'_>) -> QuantRole {
        let is_zero = match inputs.get(VALUE).map(|input| input.value) {
            None => true,
            Some(None) => false,
            Some(Some(value)) => dispatch!(value.dtype(), T => {
                value.slice::<T>().iter().all(|x| x.to_f64() == 0.)
            }),
        };
        if self.mode != Mode::Constant || is_zero {
            QuantRole::passes(DATA)
        } else {
            QuantRole::reads_only(DATA)
        }
    }
}

/// Models older than the input of this name had a float32 attribute in its place, whatever the type
/// of the data; so a float32 goes with every float type.
pub(super) fn expect_scalar_like(input: &Named<'_>, dtype: DType) -> Result<(), OpError> {
    if !(input.dtype() == DType::F32 && dtype.is_float()) {
        input.expect_dtype(dtype)?;
    }
    match input.ty().len() {
        1 => Ok(()),
        _ => Err(input.wrong_shape("one element")),
    }
}

/// A tensor of one element as one of another type.
pub(super) fn scalar_as(x: &Tensor, dtype: DType) -> Tensor {
    if x.dtype() == dtype {
        return x.reshaped(&[]);
    }
    let x = f64::from(x.to_f32().expect("`infer` checked that it is a float")[0]);
    dispatch!(dtype, T => Tensor::scalar(T::nearest(x)))
}

fn pad_axis(
    x: &Tensor,
    axis: usize,
    [before, after]: [usize; 2],
    value: Option<&Tensor>,
) -> Tensor {
    let Along { outer, n, inner } = Along::new(x.shape(), axis);
    let shape = with_dim(x.shape(), axis, before + n + after);
    dispatch!(x.dtype(), T => {
        let value = value.map_or_else(T::default, |value| value.slice::<T>()[0]);
        let from = x.slice::<T>();
        let mut padded = Vec::with_capacity(outer * (before + n + after) * inner);
        for block in 0..outer {
            padded.extend(std::iter::repeat_n(value, before * inner));
            padded.extend_from_slice(&from[block * n * inner..(block + 1) * n * inner]);
            padded.extend(std::iter::repeat_n(value, after * inner));
        }
        Tensor::from_vec(&shape, padded)
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, array};

    use crate::ops::QuantRole;
    use crate::ops::testing::op;
    use crate::tensor::Tensor;

    #[test]
    fn pad_constant() {
        let x = array![[1., 2.], [3., 4.]];
        op("Pad").input(&x).i64s(&[0, 1, 0, 0]).gives(array![[0., 1., 2.], [0., 3., 4.]]);
        let nines = array![[1., 2.], [3., 4.], [9., 9.]];
        op("Pad").input(&x).i64s(&[0, 0, 1, 0]).tensor(Tensor::scalar(9_f32)).gives(nines);
        op("Pad").input(&x).i64s(&[0, -1, 1, 0]).gives(array![[2.], [4.], [0.]]);
        op("Pad").input(&x).i64s(&[1, -1]).absent().i64s(&[-1]).gives(array![[0., 1.], [0., 3.]]);
        op("Pad").input(&Array1::zeros(0)).i64s(&[1, 1]).gives(array![0., 0.]);
        op("Pad")
            .i64s(&[5])
            .i64s(&[1, 0])
            .tensor(Tensor::scalar(7_i64))
            .gives_tensor(array![7_i64, 5]);
    }

    #[test]
    fn pad_from_the_input() {
        let x = array![1., 2., 3., 4.];
        let pad = |mode: &str, pads: &[i64]| op("Pad").input(&x).i64s(pads).string("mode", mode);
        pad("edge", &[2, 1]).gives(array![1., 1., 1., 2., 3., 4., 4.]);
        pad("reflect", &[2, 1]).gives(array![3., 2., 1., 2., 3., 4., 3.]);
        pad("wrap", &[2, 1]).gives(array![3., 4., 1., 2., 3., 4., 1.]);
        pad("wrap", &[5, 0]).gives(array![4., 1., 2., 3., 4., 1., 2., 3., 4.]);
        pad("reflect", &[-1, 2]).gives(array![2., 3., 4., 3., 2.]);
        pad("edge", &[1, -2]).gives(array![1., 1., 2.]);
        let table = array![[1., 2.], [3., 4.]];
        let both = op("Pad").input(&table).i64s(&[1, -1, 0, 0]).string("mode", "edge");
        both.gives(array![[2.], [2.], [4.]]);
        op("Pad")
            .input(&array![5.])
            .i64s(&[2, 0])
            .string("mode", "reflect")
            .gives(array![5., 5., 5.]);
    }

    #[test]
    fn pad_refuses() {
        let x = array![1., 2.];
        op("Pad")
            .input(&x)
            .i64s(&[1])
            .fails("input `pads` is [1], expected two for each of 1 axes");
        op("Pad")
            .input(&x)
            .i64s(&[-3, 5])
            .fails("input `data` has shape [2], expected enough for pads -3, 5 at axis 0");
        op("Pad")
            .input(&Array1::zeros(0))
            .i64s(&[1, 0])
            .string("mode", "edge")
            .fails("input `data` has shape [0], expected enough for pads 1, 0 at axis 0");
        op("Pad").input(&x).i64s(&[i64::MAX, i64::MAX]).fails(
            "the output would have 18446744073709551615 elements, more than can be addressed",
        );
        op("Pad")
            .input(&x)
            .i64s(&[1, 1])
            .i64s(&[1])
            .fails("input `constant_value` is int64, expected float32");
        op("Pad").input(&x).string("mode", "mirror").fails(
            "attribute `mode` is `mirror`; supported: `constant`, `reflect`, `edge`, `wrap`",
        );
    }

    #[test]
    fn pad_quant() {
        let pad = || op("Pad").input(&array![1.]).i64s(&[1, 1]);
        assert_eq!(pad().quant(), QuantRole::passes(0));
        assert_eq!(pad().tensor(Tensor::scalar(0_f32)).quant(), QuantRole::passes(0));
        assert_eq!(pad().tensor(Tensor::scalar(1_f32)).quant(), QuantRole::reads_only(0));
        let edge = pad().tensor(Tensor::scalar(1_f32)).string("mode", "edge");
        assert_eq!(edge.quant(), QuantRole::passes(0));
    }
}
