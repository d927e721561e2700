//! `HannWindow`, `HammingWindow`, `BlackmanWindow`: weights of the steps of a frame.
//!
//! <https://onnx.ai/onnx/operators/onnx__HannWindow.html>,
//! <https://onnx.ai/onnx/operators/onnx__HammingWindow.html>,
//! <https://onnx.ai/onnx/operators/onnx__BlackmanWindow.html>
//!
//! Sums of cosines of `2 pi k / n`, computed in f64; `n` is the size, or one less if the window is
//! symmetric.

use crate::ops::cast::opt_dtype;
use crate::ops::dims::{checked_type, size_input};
use crate::ops::floats::rounded;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("HannWindow", 17, |attrs| Window::read(attrs, [0.5, -0.5, 0.])),
    OpDef::onnx("HammingWindow", 17, |attrs| Window::read(attrs, [25. / 46., 25. / 46. - 1., 0.])),
    OpDef::onnx("BlackmanWindow", 17, |attrs| Window::read(attrs, [0.42, -0.5, 0.08])),
];

#[derive(Debug)]
struct Window {
    /// Of the cosines of 0, 1 and 2 times the angle.
    factors: [f64; 3],
    periodic: bool,
    dtype: DType,
}

const SIZE: usize = 0;

impl Window {
    fn read(attrs: &mut Attrs, factors: [f64; 3]) -> Result<Box<dyn Operator>, OpError> {
        let dtype = read_number_type(attrs)?;
        Ok(Box::new(Window { factors, periodic: attrs.flag("periodic", true)?, dtype }))
    }

    fn weight(&self, k: usize, size: usize) -> f64 {
        let n = if self.periodic { size } else { size - 1 };
        if n == 0 {
            // A symmetric window of one step is its peak.
            return 1.;
        }
        let angle = std::f64::consts::TAU * k as f64 / n as f64;
        // In this order the peak is 1 to the last bit, which an integer type shows.
        let [constant, once, twice] = self.factors;
        once * angle.cos() + twice * (2. * angle).cos() + constant
    }
}

/// The attribute `output_datatype`, which may be any type but bool.
pub(super) fn read_number_type(attrs: &mut Attrs) -> Result<DType, OpError> {
    match opt_dtype(attrs, "output_datatype")?.unwrap_or(DType::F32) {
        DType::Bool => Err(OpError::invalid_attribute("output_datatype", 9, "a numeric type")),
        dtype => Ok(dtype),
    }
}

impl Operator for Window {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        Ok(vec![checked_type(self.dtype, vec![size_input(inputs, SIZE, "size", 0)?])?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let size = size_input(inputs, SIZE, "size", 0)?;
        let weights = (0..size).map(|k| self.weight(k, size)).collect();
        Ok(vec![rounded(self.dtype, &[size], weights)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, array};

    use crate::ops::QuantRole;
    use crate::ops::testing::{OpTest, op};
    use crate::tensor::Tensor;

    fn window(name: &'static str, size: i64) -> OpTest {
        op(name).tensor(Tensor::scalar(size))
    }

    #[test]
    fn periodic() {
        window("HannWindow", 4).gives(array![0., 0.5, 1., 0.5]);
        window("HammingWindow", 4).gives(array![0.086_956_52, 0.543_478_25, 1., 0.543_478_25]);
        window("BlackmanWindow", 4).gives(array![0., 0.34, 1., 0.34]);
        window("HannWindow", 1).gives(array![0.]);
        window("HannWindow", 0).gives(Array1::zeros(0));
    }

    #[test]
    fn symmetric() {
        let base = |name| window(name, 5).int("periodic", 0);
        base("HannWindow").gives(array![0., 0.5, 1., 0.5, 0.]);
        base("HammingWindow").gives(array![
            0.086_956_52,
            0.543_478_25,
            1.,
            0.543_478_25,
            0.086_956_52
        ]);
        base("BlackmanWindow").gives(array![0., 0.34, 1., 0.34, 0.]);
        window("HannWindow", 1).int("periodic", 0).gives(array![1.]);
    }

    #[test]
    fn types() {
        let base = |dtype| window("HannWindow", 4).int("output_datatype", dtype);
        base(11).gives_tensor(array![0_f64, 0.5, 1., 0.5]);
        base(7).gives_tensor(array![0_i64, 0, 1, 0]);
        let peak = window("BlackmanWindow", 2).int("output_datatype", 2);
        peak.gives_tensor(array![0_u8, 1]);
        base(9).fails("attribute `output_datatype` is 9, expected a numeric type");
        window("HannWindow", -1).fails("input `size` is -1, expected at least 0");
        op("HannWindow").i64s(&[1, 2]).fails("input `size` has shape [2], expected one element");
        assert_eq!(window("HannWindow", 4).quant(), QuantRole::NOT_QUANTIZED);
    }
}
