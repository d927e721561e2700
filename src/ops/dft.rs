//! `DFT`: the discrete Fourier transform along an axis, or its inverse.
//!
//! <https://onnx.ai/onnx/operators/onnx__DFT.html>
//!
//! The last axis holds the real part, or the real and the imaginary part. Computed in f64.

use crate::ops::dims::{Along, checked_type, resolve, size_input};
use crate::ops::floats::{doubles, expect_any_float, rounded};
use crate::ops::fourier::{Complex, Fourier};
use crate::ops::generate::expect_single;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("DFT", 17, |attrs| {
        let axis = attrs.int("axis", 1)?;
        Dft::read(attrs, Some(axis))
    }),
    // The axis became an input, with another default.
    OpDef::onnx("DFT", 20, |attrs| Dft::read(attrs, None)),
];

#[derive(Debug)]
struct Dft {
    /// `None` if it is an input.
    axis: Option<i64>,
    inverse: bool,
    /// Whether the spectrum (result or input) holds only the first half, the other half being the
    /// conjugates of a real signal.
    onesided: bool,
}

const INPUT: usize = 0;
const DFT_LENGTH: usize = 1;
const AXIS: usize = 2;

/// What is transformed into what.
#[derive(Debug)]
struct Plan {
    axis: usize,
    /// The length of the transform.
    n: usize,
    ty: TensorType,
}

impl Dft {
    fn read(attrs: &mut Attrs, axis: Option<i64>) -> Result<Box<dyn Operator>, OpError> {
        let inverse = attrs.flag("inverse", false)?;
        Ok(Box::new(Dft { axis, inverse, onesided: attrs.flag("onesided", false)? }))
    }

    fn plan(&self, inputs: &Inputs<'_>) -> Result<Plan, OpError> {
        let input = inputs.require(INPUT, "input")?;
        let shape = expect_any_float(&input)?;
        let parts: &[usize] = match (self.onesided, self.inverse) {
            (false, _) => &[1, 2],
            (true, false) => &[1],
            (true, true) => &[2],
        };
        if shape.len() < 2 || !parts.contains(&shape[shape.len() - 1]) {
            let parts: Vec<String> = parts.iter().map(usize::to_string).collect();
            return Err(input.wrong_shape(format!("[..., n, {}]", parts.join(" or "))));
        }
        let axis = self.axis(inputs, shape.len())?;
        let is_real = self.inverse && self.onesided;
        let n = match inputs.get(DFT_LENGTH) {
            Some(_) => size_input(inputs, DFT_LENGTH, "dft_length", 1)?,
            None if is_real => shape[axis].saturating_sub(1).saturating_mul(2),
            None => shape[axis],
        };
        if n == 0 {
            let least = if is_real { 2 } else { 1 };
            return Err(input.wrong_shape(format!("at least {least} along axis {axis}")));
        }
        let mut output = shape.to_vec();
        output[axis] = if self.onesided && !self.inverse { n / 2 + 1 } else { n };
        output[shape.len() - 1] = if is_real { 1 } else { 2 };
        Ok(Plan { axis, n, ty: checked_type(input.dtype(), output)? })
    }

    /// The axis, which cannot be the last one.
    fn axis(&self, inputs: &Inputs<'_>, rank: usize) -> Result<usize, OpError> {
        let is_signal = |&axis: &usize| axis + 1 < rank;
        let expected = format!("from -{rank} to {}, but not the last axis", rank - 1);
        if let Some(axis) = self.axis {
            let resolved = resolve(axis, rank).filter(is_signal);
            return resolved.ok_or_else(|| OpError::invalid_attribute("axis", axis, expected));
        }
        let Some(input) = inputs.optional(AXIS, "axis") else { return Ok(rank - 2) };
        input.expect_dtype_that(|d| matches!(d, DType::I32 | DType::I64), "int32 or int64")?;
        expect_single(&input)?;
        let axis = input.i64s()?[0];
        resolve(axis, rank).filter(is_signal).ok_or_else(|| OpError::value("axis", axis, expected))
    }

    /// One lane, from its first elements; those beyond its end are 0.
    fn transform(&self, fourier: &Fourier, n: usize, lane: &[Complex]) -> Vec<Complex> {
        let at = |k: usize| lane.get(k).copied().unwrap_or([0., 0.]);
        if !(self.inverse && self.onesided) {
            let lane: Vec<Complex> = (0..n).map(at).collect();
            return if self.inverse { fourier.inverse(&lane) } else { fourier.transform(&lane) };
        }
        let element = |k: usize| match (at(k), at(n - k)) {
            // What is its own conjugate.
            ([re, _], _) if k == 0 || 2 * k == n => [re, 0.],
            (given, _) if 2 * k < n => given,
            (_, [re, im]) => [re, -im],
        };
        fourier.inverse(&(0..n).map(element).collect::<Vec<_>>())
    }
}

impl Operator for Dft {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(if self.axis.is_some() { 2 } else { 3 })?;
        Ok(vec![self.plan(inputs)?.ty])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let Plan { axis, n, ty } = self.plan(inputs)?;
        let (x, fourier) = (doubles(inputs.tensor(INPUT)), Fourier::new(n));
        let (from, to) = (Along::new(inputs.shape(INPUT), axis), Along::new(&ty.shape, axis));
        let (parts_in, parts_out) = (inputs.shape(INPUT)[ty.shape.len() - 1], *last(&ty.shape));
        let mut y = vec![0.; ty.len()];
        for lane in 0..from.outer * (from.inner / parts_in) {
            let (outer, inner) = (lane / (from.inner / parts_in), lane % (from.inner / parts_in));
            let element = |k: usize| {
                let at = (outer * from.n + k) * from.inner + inner * parts_in;
                [x[at], if parts_in == 2 { x[at + 1] } else { 0. }]
            };
            let signal: Vec<Complex> = (0..from.n.min(n)).map(element).collect();
            let result = self.transform(&fourier, n, &signal);
            for (k, element) in result.iter().enumerate().take(to.n) {
                let at = (outer * to.n + k) * to.inner + inner * parts_out;
                y[at..at + parts_out].copy_from_slice(&element[..parts_out]);
            }
        }
        Ok(vec![rounded(ty.dtype, &ty.shape, y)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::reads_only(INPUT)
    }
}

fn last(shape: &[usize]) -> &usize {
    shape.last().expect("`infer` checked the rank")
}

#[cfg(test)]
mod tests {
    use half::f16;
    use ndarray::{Array2, Array3, array};

    use crate::ops::QuantRole;
    use crate::ops::testing::{OpTest, op};
    use crate::tensor::Tensor;

    const ROOT: f32 = 0.866_025_4;

    fn dft(signal: &[f32]) -> OpTest {
        op("DFT").tensor(Tensor::from_vec(&[1, signal.len(), 1], signal.to_vec()))
    }

    #[test]
    fn forward() {
        dft(&[1., 2., 4.]).gives(array![[[7., 0.], [-2., 2. * ROOT], [-2., -2. * ROOT]]]);
        let half = array![[[10., 0.], [-2., 2.], [-2., 0.]]];
        dft(&[1., 2., 3., 4.]).int("onesided", 1).gives(half);
        op("DFT").input(&array![[1., 1.], [0., 1.]]).gives(array![[1., 2.], [1., 0.]]);
    }

    #[test]
    fn lengths() {
        dft(&[1., 2.]).i64s(&[3]).gives(array![[[3., 0.], [0., -2. * ROOT], [0., 2. * ROOT]]]);
        dft(&[1., 2., 9.]).tensor(Tensor::scalar(2_i32)).gives(array![[[3., 0.], [-1., 0.]]]);
    }

    #[test]
    fn axes() {
        let x = array![[[1.], [2.]], [[5.], [9.]]];
        let columns = array![[[6., 0.], [11., 0.]], [[-4., 0.], [-7., 0.]]];
        let rows = array![[[3., 0.], [-1., 0.]], [[14., 0.], [-4., 0.]]];
        let base = || op("DFT").input(&x).absent();
        base().tensor(Tensor::scalar(0_i64)).gives(columns.clone());
        base().tensor(Tensor::scalar(-2_i64)).gives(rows.clone());
        base().gives(rows.clone());
        op("DFT").opset(17).input(&x).gives(rows);
        op("DFT").opset(19).input(&x).int("axis", -3).gives(columns);
        // Of rank 2, the defaults differ.
        op("DFT")
            .opset(17)
            .input(&array![[1.]])
            .fails("attribute `axis` is 1, expected from -2 to 1, but not the last axis");
        base()
            .tensor(Tensor::scalar(2_i64))
            .fails("input `axis` is 2, expected from -3 to 2, but not the last axis");
    }

    #[test]
    fn inverse() {
        let spectrum = array![[[7., 0.], [-2., 2. * ROOT], [-2., -2. * ROOT]]];
        let y = array![[[1., 0.], [2., 0.], [4., 0.]]];
        op("DFT").input(&spectrum).int("inverse", 1).gives(y);
        let half = array![[[10., 0.], [-2., 2.], [-2., 0.]]];
        let real = || op("DFT").int("inverse", 1).int("onesided", 1);
        real().input(&half).gives(array![[[1.], [2.], [3.], [4.]]]);
        real().input(&spectrum).i64s(&[3]).gives(array![[[1.], [2.], [4.]]]);
    }

    #[test]
    fn half_precision() {
        let halves =
            |x: [f32; 4], shape: &[usize]| Tensor::from_vec(shape, x.map(f16::from_f32).to_vec());
        op("DFT")
            .tensor(halves([1., 1., 0., 1.], &[1, 2, 2]))
            .gives_tensor(halves([1., 2., 1., 0.], &[1, 2, 2]));
    }

    #[test]
    fn refuses() {
        op("DFT")
            .input(&Array2::zeros((2, 3)))
            .fails("input `input` has shape [2, 3], expected [..., n, 1 or 2]");
        op("DFT")
            .input(&Array2::zeros((2, 2)))
            .int("onesided", 1)
            .fails("input `input` has shape [2, 2], expected [..., n, 1]");
        op("DFT")
            .input(&Array2::zeros((1, 2)))
            .int("onesided", 1)
            .int("inverse", 1)
            .fails("input `input` has shape [1, 2], expected at least 2 along axis 0");
        dft(&[1.]).i64s(&[0]).fails("input `dft_length` is 0, expected at least 1");
        op("DFT").input(&Array3::zeros((0, 2, 1))).gives(Array3::zeros((0, 2, 2)));
        assert_eq!(dft(&[1.]).quant(), QuantRole::reads_only(0));
    }
}
