//! `MatMul`: matrix product with the rules of `numpy.matmul`.
//!
//! <https://onnx.ai/onnx/operators/onnx__MatMul.html>

use std::num::Wrapping;
use std::ops::AddAssign;

use ndarray::{ArrayView2, ArrayViewMut2, LinalgScalar};

use crate::dispatch;
use crate::kernels::add_product;
use crate::ops::dims::checked_type;
use crate::ops::floats::expect_same;
use crate::ops::inputs::Named;
use crate::ops::real::{Real, dispatch_reals};
use crate::ops::{
    Attrs, Bodies, Inputs, Lowering, OpDef, OpError, Operator, OutputRange, Product, QuantRole,
    Reads, Weight,
};
use crate::tensor::{DType, Element, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("MatMul", 1, MatMul::read)];

/// `[..., M, K]` times `[..., K, N]`; a vector is one row of `A` or one column of `B`. Integers wrap.
#[derive(Debug)]
struct MatMul;

const A: usize = 0;
const B: usize = 1;

/// A product of `a` and `b` as stacks of matrices.
#[derive(Debug)]
struct Stacks {
    m: usize,
    k: usize,
    n: usize,
    /// The shape of the stack, and each operand's strides in it, in matrices; 0 repeats.
    batch: Vec<usize>,
    a_strides: Vec<usize>,
    b_strides: Vec<usize>,
    output: Vec<usize>,
}

impl MatMul {
    fn read(_attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(MatMul))
    }
}

impl Stacks {
    fn new(a: &[usize], b: &[usize]) -> Result<Stacks, OpError> {
        let (a_rows, m, k) = match *a {
            [] => return Err(OpError::shape("A", a, "at least rank 1")),
            [k] => (&a[..0], 1, k),
            [ref stack @ .., m, k] => (stack, m, k),
        };
        let (b_rows, k_b, n) = match *b {
            [] => return Err(OpError::shape("B", b, "at least rank 1")),
            [k] => (&b[..0], k, 1),
            [ref stack @ .., k, n] => (stack, k, n),
        };
        if k != k_b {
            return Err(OpError::shape("B", b, format!("inner dimension {k}, that of `A`")));
        }
        let wrong =
            || OpError::shape("B", b, format!("a stack that broadcasts with `A`'s {a_rows:?}"));
        let batch = broadcast(a_rows, b_rows).ok_or_else(wrong)?;
        let (a_strides, b_strides) = (strides(a_rows, &batch), strides(b_rows, &batch));
        let mut output = batch.clone();
        output.extend((1 < a.len()).then_some(m));
        output.extend((1 < b.len()).then_some(n));
        Ok(Stacks { m, k, n, batch, a_strides, b_strides, output })
    }

    /// With one matrix on the right, all rows of `a` make one product.
    fn merged(self) -> Stacks {
        if self.b_strides.iter().any(|&stride| stride != 0) || self.n == 0 {
            return self;
        }
        let repeats =
            self.batch.iter().zip(&self.a_strides).any(|(&n, &stride)| n != 1 && stride == 0);
        if repeats || self.batch.contains(&0) {
            return self;
        }
        let m = self.batch.iter().product::<usize>() * self.m;
        Stacks { m, batch: vec![], a_strides: vec![], b_strides: vec![], ..self }
    }

    fn product<T: LinalgScalar + AddAssign>(&self, a: &[T], b: &[T]) -> Vec<T> {
        let [m, k, n] = [self.m, self.k, self.n];
        let mut y = vec![T::zero(); self.output.iter().product()];
        if y.is_empty() || k == 0 {
            return y;
        }
        for (index, y) in y.chunks_exact_mut(m * n).enumerate() {
            let (i, j) = self.operands(index);
            let a = ArrayView2::from_shape((m, k), &a[i * m * k..][..m * k]);
            let b = ArrayView2::from_shape((k, n), &b[j * k * n..][..k * n]);
            let y = ArrayViewMut2::from_shape((m, n), y).expect("a chunk is a matrix");
            let (a, b) = (a.expect("sliced to size"), b.expect("sliced to size"));
            add_product(a, b, y);
        }
        y
    }

    /// The numbers of the matrices that make matrix `index` of the result.
    fn operands(&self, mut index: usize) -> (usize, usize) {
        let (mut i, mut j) = (0, 0);
        for axis in (0..self.batch.len()).rev() {
            let position = index % self.batch[axis];
            index /= self.batch[axis];
            i += position * self.a_strides[axis];
            j += position * self.b_strides[axis];
        }
        (i, j)
    }
}

/// The common shape of two that broadcast.
fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim = |shape: &[usize], axis: usize| {
        (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis])
    };
    let dims = (0..rank).map(|axis| match (dim(a, axis), dim(b, axis)) {
        (a, b) if a == b || b == 1 => Some(a),
        (1, b) => Some(b),
        _ => None,
    });
    dims.collect()
}

/// Row-major strides of `shape` as it is read from the shape `to`, 0 where it repeats.
fn strides(shape: &[usize], to: &[usize]) -> Vec<usize> {
    let mut strides = vec![0; to.len()];
    let mut stride = 1;
    for (axis, &dim) in shape.iter().enumerate().rev() {
        strides[to.len() - shape.len() + axis] = if dim == 1 { 0 } else { stride };
        stride *= dim;
    }
    strides
}

impl Operator for MatMul {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let a = inputs.require(A, "A")?;
        let b = inputs.require(B, "B")?;
        expect_factor(&a)?;
        expect_same(&b, a.dtype(), "A")?;
        let stacks = Stacks::new(a.shape(), b.shape())?;
        Ok(vec![checked_type(a.dtype(), stacks.output)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        self.infer(inputs)?;
        Ok(vec![product(inputs.tensor(A), inputs.tensor(B))?])
    }

    fn macs(&self, inputs: &Inputs<'_>, outputs: &[TensorType]) -> u64 {
        let k = inputs.shape(A).last().copied().unwrap_or(0);
        (outputs[0].len() as u64).saturating_mul(k as u64)
    }

    /// Output channels are the columns of `B` or the rows of `A`, whichever is the constant one.
    fn quant(&self, inputs: &Inputs<'_>) -> QuantRole {
        let (a, b) = (inputs.shape(A).len(), inputs.shape(B).len());
        let weights = vec![
            Weight { input: B, channel_axis: b.saturating_sub(1) },
            Weight { input: A, channel_axis: a.saturating_sub(2) },
        ];
        let reads = Reads::Only(vec![A, B]);
        QuantRole { weights, reads, bias: None, product: true, output: OutputRange::Own }
    }

    fn lower(&self, inputs: &Inputs<'_>) -> Option<Lowering> {
        let stacks = Stacks::new(inputs.shape(A), inputs.shape(B)).ok()?.merged();
        let n_stacks = stacks.batch.iter().product();
        Some(Lowering::Product(Product {
            m: stacks.m,
            k: stacks.k,
            n: stacks.n,
            stack: (0..n_stacks).map(|index| <[usize; 2]>::from(stacks.operands(index))).collect(),
            is_transposed: [false, false],
            alpha: 1.,
            beta: None,
        }))
    }
}

/// The types that matrix products are defined for.
pub(super) fn expect_factor<'a>(input: &Named<'a>) -> Result<&'a [usize], OpError> {
    let is_factor = |dtype: DType| {
        dtype.is_float() || matches!(dtype, DType::I32 | DType::I64 | DType::U32 | DType::U64)
    };
    input.expect_dtype_that(is_factor, "a float type or an integer type of 32 or 64 bits")
}

/// The product as `MatMul` has it, of two tensors of a type that [`expect_factor`] accepts.
pub(super) fn product(a: &Tensor, b: &Tensor) -> Result<Tensor, OpError> {
    let stacks = Stacks::new(a.shape(), b.shape())?.merged();
    let shape = &stacks.output;
    Ok(dispatch!(
        a.dtype(),
        T in [I32 i32, I64 i64, U32 u32, U64 u64] => {
            let y = stacks.product(&wrapping::<T>(a), &wrapping(b));
            Tensor::from_vec(shape, unwrapped::<T>(y))
        },
        _ => dispatch_reals!(a.dtype(), T => {
            let y = stacks.product(&T::elements(a), &T::elements(b));
            T::tensor(a.dtype(), shape, y)
        })
    ))
}

/// The elements of an integer tensor, so that their sums wrap.
pub(super) fn wrapping<T: Element>(x: &Tensor) -> Vec<Wrapping<T>> {
    x.slice::<T>().iter().map(|&x| Wrapping(x)).collect()
}

fn unwrapped<T>(elements: Vec<Wrapping<T>>) -> Vec<T> {
    elements.into_iter().map(|x| x.0).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::testing::{OpTest, counting, op};
    use crate::tensor::Tensor;

    fn product(a: &[usize], b: &[usize]) -> OpTest {
        op("MatMul").tensor(counting(a)).tensor(counting(b))
    }

    #[test]
    fn vectors_and_matrices() {
        product(&[2, 3], &[3, 2]).macs(12).gives(array![[10., 13.], [28., 40.]]);
        product(&[3], &[3, 2]).macs(6).gives(array![10., 13.]);
        product(&[2, 3], &[3]).macs(6).gives(array![5., 14.]);
        product(&[3], &[3]).macs(3).gives_tensor(Tensor::scalar(5_f32));
    }

    #[test]
    fn stacks_broadcast() {
        product(&[2, 1, 2], &[2, 1]).macs(4).gives(array![[[1.]], [[3.]]]);
        product(&[1, 2], &[2, 2, 1]).macs(4).gives(array![[[1.]], [[3.]]]);
        product(&[2, 1, 1, 2], &[2, 2, 1])
            .macs(8)
            .gives(array![[[[1.]], [[3.]]], [[[3.]], [[13.]]]]);
        product(&[2, 1, 2], &[2]).gives(array![[1.], [3.]]);
        product(&[2], &[2, 2, 1]).gives(array![[1.], [3.]]);
    }

    #[test]
    fn nothing_in_nothing_out() {
        product(&[2, 0], &[0, 1]).macs(0).gives(array![[0.], [0.]]);
        product(&[0, 2], &[2, 3]).gives_tensor(counting(&[0, 3]));
        product(&[0, 1, 2], &[2, 3]).gives_tensor(counting(&[0, 1, 3]));
    }

    #[test]
    fn other_types() {
        let base = |a: Tensor, b: Tensor| op("MatMul").tensor(a).tensor(b);
        let product = array![[1e-9 + 4., 6.]];
        base(array![[1e-9, 2.]].into(), array![[1., 0.], [2., 3.]].into()).gives_tensor(product);
        base(array![[-1, 2], [3, 4]].into(), array![5, 6].into()).gives_tensor(array![7, 39]);
        let most = array![[i64::MAX, 1]];
        base(most.into(), array![[1_i64, 2], [1, 0]].into()).gives_tensor(array![[i64::MIN, -2]]);
        base(array![[u32::MAX]].into(), array![[2_u32]].into())
            .gives_tensor(array![[u32::MAX - 1]]);
        base(array![[3_u64, 4]].into(), array![[1_u64], [2]].into()).gives_tensor(array![[11_u64]]);
        base(array![1_i8].into(), array![1_i8].into())
            .fails("input `A` is int8, expected a float type or an integer type of 32 or 64 bits");
    }

    #[test]
    fn refuses() {
        product(&[2, 3], &[2, 3])
            .fails("input `B` has shape [2, 3], expected inner dimension 3, that of `A`");
        product(&[2, 1, 3], &[3, 3, 1]).fails(
            "input `B` has shape [3, 3, 1], expected a stack that broadcasts with `A`'s [2]",
        );
        product(&[], &[1]).fails("input `A` has shape [], expected at least rank 1");
    }

    #[test]
    fn quantization() {
        let role = product(&[4, 2, 3], &[3, 2]).quant();
        assert!(role.product);
        let weights: Vec<_> = role.weights.iter().map(|w| (w.input, w.channel_axis)).collect();
        assert_eq!(weights, [(1, 1), (0, 1)]);
    }
}
