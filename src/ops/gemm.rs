//! `Gemm`: matrix product with scaling, transposition and a bias.
//!
//! <https://onnx.ai/onnx/operators/onnx__Gemm.html>

use ndarray::{Array2, ArrayView, ArrayView2};

use crate::kernels::add_product;
use crate::ops::floats::{self, expect_float, expect_same, floats, optional_floats};
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole, Weight};
use crate::tensor::{Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("Gemm", 7, Gemm::read)];

/// `Y = alpha * op(A) * op(B) + beta * C`
///
/// `op(A)` is `[M, K]`, `op(B)` is `[K, N]`, and `C` broadcasts to `[M, N]`. `op` transposes when
/// the flag for that input is set.
#[derive(Debug)]
struct Gemm {
    alpha: f32,
    beta: f32,
    trans_a: bool,
    trans_b: bool,
}

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

impl Gemm {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(Gemm {
            alpha: attrs.float("alpha", 1.0)?,
            beta: attrs.float("beta", 1.0)?,
            trans_a: attrs.flag("transA", false)?,
            trans_b: attrs.flag("transB", false)?,
        }))
    }
}

impl Operator for Gemm {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(3)?;
        let a = inputs.require(A, "A")?;
        let b = inputs.require(B, "B")?;
        expect_float(&a)?;
        expect_same(&b, a.dtype(), "A")?;
        let [m, k] = transpose_dims_if(self.trans_a, a.expect_rank()?);
        let [k_b, n] = transpose_dims_if(self.trans_b, b.expect_rank()?);
        if k != k_b {
            return Err(b.wrong_shape(format!("inner dimension {k}, that of `A`")));
        }
        if let Some(c) = inputs.optional(C, "C")
            && !broadcasts_to(expect_same(&c, a.dtype(), "A")?, &[m, n])
        {
            return Err(c.wrong_shape(format!("broadcastable to [{m}, {n}]")));
        }
        Ok(vec![TensorType::new(a.dtype(), &[m, n])])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let output = &self.infer(inputs)?[0];
        let (a, b) = (floats(inputs, A), floats(inputs, B));
        let a = transpose_if(self.trans_a, matrix(&a, inputs.shape(A)));
        let b = transpose_if(self.trans_b, matrix(&b, inputs.shape(B)));
        let mut y = Array2::zeros((a.nrows(), b.ncols()));
        add_product(a, b, y.view_mut());
        if self.alpha != 1. {
            y *= self.alpha;
        }
        if let Some(c) = optional_floats(inputs, C) {
            let c = ArrayView::from_shape(inputs.shape(C), &c).expect("an input has its shape");
            let c = c.broadcast(y.dim()).expect("`infer` checked the broadcast");
            y.scaled_add(self.beta, &c);
        }
        Ok(vec![floats::tensor(output.dtype, &output.shape, y.into_raw_vec_and_offset().0)])
    }

    /// `M * N * K`: one per product; the bias is free, as in a hardware MAC array.
    fn macs(&self, inputs: &Inputs<'_>, outputs: &[TensorType]) -> u64 {
        let k = inputs.shape(A)[if self.trans_a { 0 } else { 1 }];
        outputs[0].len() as u64 * k as u64
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        let channel_axis = if self.trans_b { 0 } else { 1 };
        QuantRole::weighted(A, Weight { input: B, channel_axis }).with_bias(C)
    }
}

fn transpose_dims_if(flag: bool, [rows, cols]: [usize; 2]) -> [usize; 2] {
    if flag { [cols, rows] } else { [rows, cols] }
}

fn transpose_if(flag: bool, matrix: ArrayView2<'_, f32>) -> ArrayView2<'_, f32> {
    if flag { matrix.reversed_axes() } else { matrix }
}

fn matrix<'a>(x: &'a [f32], shape: &[usize]) -> ArrayView2<'a, f32> {
    ArrayView2::from_shape((shape[0], shape[1]), x).expect("an input has its shape")
}

fn broadcasts_to(from: &[usize], to: &[usize]) -> bool {
    from.len() <= to.len()
        && from.iter().rev().zip(to.iter().rev()).all(|(&from, &to)| from == 1 || from == to)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::testing::{counting, op};

    #[test]
    fn gemm() {
        let x = array![[1., 2., 3.]];
        let w = array![[1., 0.], [0., 1.], [1., 1.]];
        op("Gemm").input(&x).input(&w).macs(6).gives(array![[4., 5.]]);
        op("Gemm").input(&x.t()).input(&w).int("transA", 1).macs(6).gives(array![[4., 5.]]);
        op("Gemm").input(&x).input(&w.t()).int("transB", 1).macs(6).gives(array![[4., 5.]]);
        op("Gemm").input(&x).input(&w).float("alpha", 0.5).gives(array![[2., 2.5]]);
    }

    #[test]
    fn gemm_broadcasts_the_bias() {
        let x = array![[1.], [2.]];
        let w = array![[1., 10.]];
        let bias = array![100., 200.];
        let sum = array![[101., 210.], [102., 220.]];
        op("Gemm").input(&x).input(&w).input(&bias).gives(sum);
        op("Gemm").input(&x).input(&w).input(&bias).float("beta", 0.).gives(x.dot(&w));
    }

    #[test]
    fn nothing_in_nothing_out() {
        op("Gemm").tensor(counting(&[2, 0])).tensor(counting(&[0, 1])).gives(array![[0.], [0.]]);
        op("Gemm")
            .tensor(counting(&[0, 2]))
            .tensor(counting(&[2, 3]))
            .gives_tensor(counting(&[0, 3]));
    }

    #[test]
    fn gemm_refuses() {
        let x = array![[1., 2., 3.]];
        let w = array![[1.], [2.]];
        op("Gemm").input(&x).fails("input `B` is missing");
        op("Gemm")
            .input(&x)
            .input(&w)
            .fails("input `B` has shape [2, 1], expected inner dimension 3, that of `A`");
        op("Gemm")
            .tensor(counting(&[1, 3]))
            .i64s(&[1])
            .fails("input `B` is int64, expected float32, that of `A`");
        op("Gemm").int("transA", 2).fails("attribute `transA` is 2; supported: 0 or 1");
        op("Gemm").int("speed", 9).fails("attribute `speed` is not one this operator has");
    }
}
