//! `Gemm`: matrix product with scaling, transposition and a bias.
//!
//! <https://onnx.ai/onnx/operators/onnx__Gemm.html>

use std::ops::AddAssign;

use ndarray::{Array2, ArrayView, ArrayView2, ArrayViewD, LinalgScalar};

use crate::dispatch;
use crate::kernels::add_product;
use crate::ops::dims::checked_type;
use crate::ops::floats::expect_same;
use crate::ops::matmul::{expect_factor, wrapping};
use crate::ops::number::Scalar;
use crate::ops::real::{Real, dispatch_reals, optional_reals, reals};
use crate::ops::{
    Attrs, Bodies, Inputs, Lowering, OpDef, OpError, Operator, Product, QuantRole, Weight,
};
use crate::tensor::{Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("Gemm", 1, Gemm::read)];

/// `Y = alpha * op(A) * op(B) + beta * C`
///
/// `op(A)` is `[M, K]`, `op(B)` is `[K, N]`, and `C` broadcasts to `[M, N]`. `op` transposes when
/// the flag for that input is set. Integers wrap; where `alpha` or `beta` is no whole number, the scaled
/// sum is computed in f64 and truncated.
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

    /// `op(A) * op(B)`
    fn product<T: LinalgScalar + AddAssign>(
        &self,
        a: &[T],
        b: &[T],
        inputs: &Inputs<'_>,
    ) -> Array2<T> {
        let a = transpose_if(self.trans_a, matrix(a, inputs.shape(A)));
        let b = transpose_if(self.trans_b, matrix(b, inputs.shape(B)));
        let mut y = Array2::zeros((a.nrows(), b.ncols()));
        add_product(a, b, y.view_mut());
        y
    }

    fn eval_reals<T: Real>(&self, inputs: &Inputs<'_>) -> Vec<T> {
        let mut y = self.product::<T>(&reals(inputs, A), &reals(inputs, B), inputs);
        if self.alpha != 1. {
            let alpha = T::nearest(self.alpha.into());
            y.map_inplace(|y| *y = *y * alpha);
        }
        if let Some(c) = optional_reals::<T>(inputs, C) {
            let c = ArrayView::from_shape(inputs.shape(C), &c).expect("an input has its shape");
            let c = c.broadcast(y.dim()).expect("`infer` checked the broadcast");
            y.scaled_add(T::nearest(self.beta.into()), &c);
        }
        y.into_raw_vec_and_offset().0
    }

    /// From the wrapped product of integers.
    fn scale_integers<T: Scalar>(&self, mut y: Array2<T>, c: Option<ArrayViewD<'_, T>>) -> Vec<T> {
        let (alpha, beta) = (f64::from(self.alpha), f64::from(self.beta));
        let is_whole = alpha.fract() == 0. && beta.fract() == 0.;
        let scaled = |y: T, c: T| match is_whole {
            true => {
                let y = y.to_i128().wrapping_mul(alpha as i128);
                T::wrapped(y.wrapping_add(c.to_i128().wrapping_mul(beta as i128)))
            }
            false => T::nearest(alpha * y.to_f64() + beta * c.to_f64()),
        };
        match c {
            None => y.map_inplace(|y| *y = scaled(*y, T::default())),
            Some(c) => {
                let c = c.broadcast(y.dim()).expect("`infer` checked the broadcast");
                y.zip_mut_with(&c, |y, &c| *y = scaled(*y, c));
            }
        }
        y.into_raw_vec_and_offset().0
    }
}

impl Operator for Gemm {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(3)?;
        let a = inputs.require(A, "A")?;
        let b = inputs.require(B, "B")?;
        expect_factor(&a)?;
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
        Ok(vec![checked_type(a.dtype(), vec![m, n])?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let output = &self.infer(inputs)?[0];
        Ok(vec![dispatch!(
            output.dtype,
            T in [I32 i32, I64 i64, U32 u32, U64 u64] => {
                let y = self.product(&wrapping::<T>(inputs.tensor(A)), &wrapping(inputs.tensor(B)), inputs);
                let c = inputs.get(C).map(|_| inputs.view::<T>(C));
                Tensor::from_vec(&output.shape, self.scale_integers(y.mapv(|y| y.0), c))
            },
            _ => dispatch_reals!(output.dtype, T => {
                T::tensor(output.dtype, &output.shape, self.eval_reals(inputs))
            })
        )])
    }

    /// `M * N * K`: one per product; the bias is free, as in a hardware MAC array.
    fn macs(&self, inputs: &Inputs<'_>, outputs: &[TensorType]) -> u64 {
        let k = inputs.shape(A)[if self.trans_a { 0 } else { 1 }];
        (outputs[0].len() as u64).saturating_mul(k as u64)
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        let channel_axis = if self.trans_b { 0 } else { 1 };
        QuantRole::weighted(A, Weight { input: B, channel_axis }).with_bias(C)
    }

    fn lower(&self, inputs: &Inputs<'_>) -> Option<Lowering> {
        let dims = |position| <[usize; 2]>::try_from(inputs.shape(position)).ok();
        let [m, k] = transpose_dims_if(self.trans_a, dims(A)?);
        let [_, n] = transpose_dims_if(self.trans_b, dims(B)?);
        Some(Lowering::Product(Product {
            m,
            k,
            n,
            stack: vec![[0, 0]],
            is_transposed: [self.trans_a, self.trans_b],
            alpha: self.alpha,
            beta: inputs.get(C).map(|_| self.beta),
        }))
    }
}

fn transpose_dims_if(flag: bool, [rows, cols]: [usize; 2]) -> [usize; 2] {
    if flag { [cols, rows] } else { [rows, cols] }
}

fn transpose_if<T>(flag: bool, matrix: ArrayView2<'_, T>) -> ArrayView2<'_, T> {
    if flag { matrix.reversed_axes() } else { matrix }
}

fn matrix<'a, T>(x: &'a [T], shape: &[usize]) -> ArrayView2<'a, T> {
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
    fn other_types() {
        let base = || op("Gemm").tensor(array![[1., 2.]]).tensor(array![[1e-9], [3.]]);
        base().tensor(array![0.5]).gives_tensor(array![[6.5 + 1e-9]]);
        let base =
            || op("Gemm").tensor(array![[1_i64, -2], [3, 4]]).tensor(array![[1], [i64::MAX]]);
        base().gives_tensor(array![[3_i64], [-1]]);
        let small = || op("Gemm").tensor(array![[3, 4]]).tensor(array![[1], [1]]);
        small()
            .tensor(array![-10])
            .float("alpha", 2.)
            .float("beta", 3.)
            .gives_tensor(array![[-16]]);
        small().tensor(array![-10]).float("beta", 0.25).gives_tensor(array![[4]]);
        small().float("alpha", 0.5).gives_tensor(array![[3]]);
        op("Gemm")
            .tensor(array![[u32::MAX]])
            .tensor(array![[2_u32]])
            .tensor(array![3_u32])
            .gives_tensor(array![[1_u32]]);
        op("Gemm")
            .tensor(array![[1_u8]])
            .tensor(array![[1_u8]])
            .fails("input `A` is uint8, expected a float type or an integer type of 32 or 64 bits");
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
