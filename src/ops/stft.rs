//! `STFT`: the Fourier transforms of overlapping frames of a signal.
//!
//! <https://onnx.ai/onnx/operators/onnx__STFT.html>
//!
//! Computed in f64.

use crate::ops::dims::{checked_type, size_input};
use crate::ops::floats::{doubles, expect_any_float, expect_same, rounded};
use crate::ops::fourier::{Complex, Fourier};
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("STFT", 17, Stft::read)];

/// `[batch, length, 1 or 2]` to `[batch, frames, bins, 2]`
#[derive(Debug)]
struct Stft {
    /// Whether only the first half of a spectrum is put out.
    onesided: bool,
}

const SIGNAL: usize = 0;
const FRAME_STEP: usize = 1;
const WINDOW: usize = 2;
const FRAME_LENGTH: usize = 3;

#[derive(Debug)]
struct Frames {
    step: usize,
    length: usize,
    ty: TensorType,
}

impl Stft {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(Stft { onesided: attrs.flag("onesided", true)? }))
    }

    fn frames(&self, inputs: &Inputs<'_>) -> Result<Frames, OpError> {
        let signal = inputs.require(SIGNAL, "signal")?;
        let (batch, n, parts) = match *expect_any_float(&signal)? {
            // onnxruntime takes a real signal without its last axis.
            [batch, n] => (batch, n, 1),
            [batch, n, parts @ 1..=2] => (batch, n, parts),
            _ => return Err(signal.wrong_shape("[batch, length, 1 or 2]")),
        };
        if parts == 2 && self.onesided {
            return Err(OpError::invalid_attribute("onesided", 1, "0 for a complex signal"));
        }
        let step = size_input(inputs, FRAME_STEP, "frame_step", 1)?;
        let window = inputs.optional(WINDOW, "window");
        let length = match (inputs.get(FRAME_LENGTH), window) {
            (Some(_), _) => size_input(inputs, FRAME_LENGTH, "frame_length", 1)?,
            (None, Some(window)) => window.expect_rank::<1>()?[0],
            (None, None) => n,
        };
        if let Some(window) = window
            && expect_same(&window, signal.dtype(), "signal")? != [length]
        {
            return Err(window.wrong_shape(format!("[{length}], the length of a frame")));
        }
        if length == 0 || n < length {
            let expected = format!("a frame of {length} steps, at least 1");
            return Err(signal.wrong_shape(expected));
        }
        let bins = if self.onesided { length / 2 + 1 } else { length };
        let shape = vec![batch, (n - length) / step + 1, bins, 2];
        Ok(Frames { step, length, ty: checked_type(signal.dtype(), shape)? })
    }
}

impl Operator for Stft {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(4)?;
        Ok(vec![self.frames(inputs)?.ty])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let Frames { step, length, ty } = self.frames(inputs)?;
        let (signal, n) = (doubles(inputs.tensor(SIGNAL)), inputs.shape(SIGNAL)[1]);
        let parts = inputs.shape(SIGNAL).get(2).copied().unwrap_or(1);
        let window = inputs.get(WINDOW).map(|_| doubles(inputs.tensor(WINDOW)));
        let window = window.unwrap_or_else(|| vec![1.; length]);
        let fourier = Fourier::new(length);
        let mut y = Vec::with_capacity(ty.len());
        for signal in signal.chunks_exact(n * parts) {
            for frame in 0..ty.shape[1] {
                let frame = &signal[frame * step * parts..][..length * parts];
                let weighted = |(x, w): (&[f64], &f64)| -> Complex {
                    [x[0] * w, if parts == 2 { x[1] * w } else { 0. }]
                };
                let frame: Vec<Complex> =
                    frame.chunks_exact(parts).zip(&window).map(weighted).collect();
                y.extend(fourier.transform(&frame).into_iter().take(ty.shape[2]).flatten());
            }
        }
        Ok(vec![rounded(ty.dtype, &ty.shape, y)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::reads_only(SIGNAL)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};

    use crate::ops::QuantRole;
    use crate::ops::testing::{OpTest, op};
    use crate::tensor::Tensor;

    fn stft(signal: &[f32], step: i64) -> OpTest {
        let signal = Tensor::from_vec(&[1, signal.len(), 1], signal.to_vec());
        op("STFT").tensor(signal).tensor(Tensor::scalar(step))
    }

    #[test]
    fn frames() {
        // Two steps a frame: their sum and their difference.
        let frames = array![[[[3., 0.], [-1., 0.]], [[12., 0.], [-4., 0.]]]];
        let base = || stft(&[1., 2., 4., 8., 9.], 2);
        base().absent().i64s(&[2]).gives(frames.clone());
        base().input(&array![1., 1.]).gives(frames);
        let weighted = array![[[[5., 0.], [-3., 0.]], [[20., 0.], [-12., 0.]]]];
        base().input(&array![1., 2.]).i64s(&[2]).gives(weighted);
        stft(&[1., 2., 3., 4.], 1).gives(array![[[[10., 0.], [-2., 2.], [-2., 0.]]]]);
        op("STFT")
            .input(&array![[1., 2.], [5., 9.]])
            .tensor(Tensor::scalar(1_i32))
            .gives(array![[[[3., 0.], [-1., 0.]]], [[[14., 0.], [-4., 0.]]]]);
    }

    #[test]
    fn both_sides() {
        let real = stft(&[1., 2., 3., 4.], 1).int("onesided", 0);
        real.gives(array![[[[10., 0.], [-2., 2.], [-2., 0.], [-2., -2.]]]]);
        let complex = || op("STFT").input(&array![[[1., 1.], [0., 1.]]]).i64s(&[1]);
        complex().int("onesided", 0).gives(array![[[[1., 2.], [1., 0.]]]]);
        complex().fails("attribute `onesided` is 1, expected 0 for a complex signal");
    }

    #[test]
    fn refuses() {
        let base = || stft(&[1., 2.], 1);
        base()
            .absent()
            .i64s(&[3])
            .fails("input `signal` has shape [1, 2, 1], expected a frame of 3 steps, at least 1");
        base()
            .input(&array![1., 2.])
            .i64s(&[1])
            .fails("input `window` has shape [2], expected [1], the length of a frame");
        stft(&[1., 2.], 0).fails("input `frame_step` is 0, expected at least 1");
        op("STFT")
            .input(&Array3::zeros((1, 2, 3)))
            .fails("input `signal` has shape [1, 2, 3], expected [batch, length, 1 or 2]");
        assert_eq!(base().quant(), QuantRole::reads_only(0));
    }
}
