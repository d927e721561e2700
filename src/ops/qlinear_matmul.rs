//! `MatMulInteger` and `QLinearMatMul`: matrix products of quantized numbers with 32-bit sums.
//!
//! `y = clamp(round_half_even(sum * (a_scale * b_scale / y_scale)) + y_zero_point, y_min, y_max)`, where
//! `sum` adds up `(a - a_zero_point) * (b - b_zero_point)`. The factor and the product with it are
//! float32, as in onnxruntime. Sums of 8-bit floats are not rounded to 32 bits.
//!
//! <https://onnx.ai/onnx/operators/onnx__QLinearMatMul.html>,
//! <https://onnx.ai/onnx/operators/onnx__MatMulInteger.html>

use crate::kernels;
use crate::ops::broadcast::{Rows, broadcast};
use crate::ops::centered::{
    centered, expect_operand, expect_single, is_byte, requantized, wrapped,
};
use crate::ops::dims::checked_type;
use crate::ops::floats::{expect_float, expect_same};
use crate::ops::inputs::Named;
use crate::ops::{Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("MatMulInteger", 10, |_| Ok(Box::new(MatMulInteger))),
    OpDef::onnx("QLinearMatMul", 10, |_| Ok(Box::new(QLinearMatMul))),
];

/// `[..., M, K]` times `[..., K, N]`; a vector is one row of `a` or one column of `b`.
#[derive(Debug)]
struct Product {
    /// M, K, N.
    dims: [usize; 3],
    /// The shape of the stack, and those of the operands'.
    stack: Vec<usize>,
    a_stack: Vec<usize>,
    b_stack: Vec<usize>,
    output: Vec<usize>,
}

impl Product {
    fn new(a: &Named<'_>, b: &Named<'_>) -> Result<Product, OpError> {
        let (a_stack, m, k) = match *a.shape() {
            [] => return Err(a.wrong_shape("at least rank 1")),
            [k] => (&[][..], None, k),
            [ref stack @ .., m, k] => (stack, Some(m), k),
        };
        let (b_stack, k_b, n) = match *b.shape() {
            [] => return Err(b.wrong_shape("at least rank 1")),
            [k] => (&[][..], k, None),
            [ref stack @ .., k, n] => (stack, k, Some(n)),
        };
        if k != k_b {
            return Err(b.wrong_shape(format!("inner dimension {k}, that of the first operand")));
        }
        let unfit = || b.wrong_shape(format!("a stack that broadcasts with {a_stack:?}"));
        let stack = broadcast(a_stack, b_stack).ok_or_else(unfit)?;
        let output = stack.iter().copied().chain(m).chain(n).collect();
        let dims = [m.unwrap_or(1), k, n.unwrap_or(1)];
        Ok(Product { dims, a_stack: a_stack.into(), b_stack: b_stack.into(), stack, output })
    }

    /// Matrices in the order of the stack.
    fn sums(&self, a: &[f64], b: &[f64]) -> Vec<f64> {
        let [m, k, n] = self.dims;
        let mut sums = Vec::with_capacity(self.output.iter().product());
        let rows = Rows::new(&self.stack, [&self.a_stack, &self.b_stack]);
        rows.for_each(|[i, j], [i_step, j_step], len| {
            for at in 0..len {
                let (a_start, b_start) = ((i + at * i_step) * m * k, (j + at * j_step) * k * n);
                let (a, b) = (&a[a_start..a_start + m * k], &b[b_start..b_start + k * n]);
                sums.extend(kernels::exact_product(a, b, self.dims));
            }
        });
        sums
    }

    fn macs(&self, outputs: &[TensorType]) -> u64 {
        (outputs[0].len() as u64).saturating_mul(self.dims[1] as u64)
    }
}

/// Which operand a scale or zero point belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    A,
    B,
}

/// The shape of a scale or zero point as it broadcasts to the operand: one for all, or one per row of `a`
/// or column of `b`, for all matrices or for each.
fn aligned(parameter: &Named<'_>, operand: &[usize], side: Side) -> Result<Vec<usize>, OpError> {
    if parameter.ty().len() == 1 {
        return Ok(Vec::new());
    }
    let mut shape = parameter.shape().to_vec();
    let is_vector = operand.len() == 1;
    if shape.len() == 1 && side == Side::A {
        shape.push(1);
    }
    let summed = match side {
        Side::A => shape.len().checked_sub(1),
        Side::B => shape.len().checked_sub(2),
    };
    let is_along_sum = summed.is_some_and(|axis| shape[axis] != 1);
    if is_vector || is_along_sum || broadcast(&shape, operand).as_deref() != Some(operand) {
        let line = if side == Side::A { "row" } else { "column" };
        return Err(parameter.wrong_shape(format!("one element, or one per {line} of {operand:?}")));
    }
    Ok(shape)
}

/// The operand at `x` minus its zero point, if there is one.
fn difference(
    inputs: &Inputs<'_>,
    x: usize,
    zero_point: usize,
    side: Side,
) -> Result<Vec<f64>, OpError> {
    let operand = inputs.tensor(x);
    let Some(zero_point) = inputs.optional(zero_point, "zero_point") else {
        return Ok(centered(operand, None));
    };
    let shape = aligned(&zero_point, operand.shape(), side)?;
    Ok(centered(operand, Some(&zero_point.value()?.reshaped(&shape))))
}

#[derive(Debug)]
struct MatMulInteger;

impl Operator for MatMulInteger {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(4)?;
        let expected = "int8 or uint8";
        let names = [(0, "A"), (2, "a_zero_point")];
        let (a, a_zero_point) = expect_operand(inputs, names, is_byte, expected)?;
        let names = [(1, "B"), (3, "b_zero_point")];
        let (b, b_zero_point) = expect_operand(inputs, names, is_byte, expected)?;
        let product = Product::new(&a, &b)?;
        if let Some(zero_point) = a_zero_point {
            aligned(&zero_point, a.shape(), Side::A)?;
        }
        if let Some(zero_point) = b_zero_point {
            aligned(&zero_point, b.shape(), Side::B)?;
        }
        Ok(vec![checked_type(DType::I32, product.output)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let product = Product::new(&inputs.require(0, "A")?, &inputs.require(1, "B")?)?;
        let a = difference(inputs, 0, 2, Side::A)?;
        let b = difference(inputs, 1, 3, Side::B)?;
        let sums = product.sums(&a, &b).into_iter().map(wrapped).collect();
        Ok(vec![Tensor::from_vec::<i32>(&product.output, sums)])
    }

    fn macs(&self, inputs: &Inputs<'_>, outputs: &[TensorType]) -> u64 {
        let k = inputs.shape(0).last().copied().unwrap_or(0);
        (outputs[0].len() as u64).saturating_mul(k as u64)
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

#[derive(Debug)]
struct QLinearMatMul;

const A: usize = 0;
const A_SCALE: usize = 1;
const A_ZERO_POINT: usize = 2;
const B: usize = 3;
const B_SCALE: usize = 4;
const B_ZERO_POINT: usize = 5;
const Y_SCALE: usize = 6;
const Y_ZERO_POINT: usize = 7;

fn is_operand(dtype: DType) -> bool {
    let is_float8 = dtype.is_small_float() && dtype.packed_bits() == 8 && dtype != DType::F8E8M0;
    is_byte(dtype) || is_float8
}

impl QLinearMatMul {
    fn product(inputs: &Inputs<'_>) -> Result<Product, OpError> {
        Product::new(&inputs.require(A, "a")?, &inputs.require(B, "b")?)
    }

    /// `a_scale * b_scale / y_scale` for every element of the output.
    fn factors(inputs: &Inputs<'_>, product: &Product) -> Result<Vec<f32>, OpError> {
        let a_scale = inputs.require(A_SCALE, "a_scale")?;
        let b_scale = inputs.require(B_SCALE, "b_scale")?;
        let a_shape = aligned(&a_scale, inputs.shape(A), Side::A)?;
        let b_shape = aligned(&b_scale, inputs.shape(B), Side::B)?;
        let value = |scale: &Tensor| scale.to_f32().expect("`infer` checked that it is a float");
        let (a, b) = (value(a_scale.value()?), value(b_scale.value()?));
        let y = value(inputs.tensor(Y_SCALE))[0];
        let [m, _, n] = product.dims;
        let shape = [&product.stack[..], &[m, n]].concat();
        let mut factors = Vec::with_capacity(shape.iter().product());
        Rows::new(&shape, [&a_shape, &b_shape, &shape]).for_each(
            |[i, j, _], [i_step, j_step, _], len| {
                factors.extend((0..len).map(|at| a[i + at * i_step] * b[j + at * j_step] / y));
            },
        );
        Ok(factors)
    }
}

impl Operator for QLinearMatMul {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(8)?;
        let expected = "int8, uint8 or float8";
        let names = [(A, "a"), (A_ZERO_POINT, "a_zero_point")];
        let (a, _) = expect_operand(inputs, names, is_operand, expected)?;
        let names = [(B, "b"), (B_ZERO_POINT, "b_zero_point")];
        let (b, _) = expect_operand(inputs, names, is_operand, expected)?;
        let y_zero_point = inputs.require(Y_ZERO_POINT, "y_zero_point")?;
        y_zero_point.expect_dtype_that(is_operand, expected)?;
        let product = Product::new(&a, &b)?;
        let a_scale = inputs.require(A_SCALE, "a_scale")?;
        expect_float(&a_scale)?;
        aligned(&a_scale, a.shape(), Side::A)?;
        aligned(&inputs.require(A_ZERO_POINT, "a_zero_point")?, a.shape(), Side::A)?;
        let b_scale = inputs.require(B_SCALE, "b_scale")?;
        expect_same(&b_scale, a_scale.dtype(), "a_scale")?;
        aligned(&b_scale, b.shape(), Side::B)?;
        aligned(&inputs.require(B_ZERO_POINT, "b_zero_point")?, b.shape(), Side::B)?;
        let y_scale = inputs.require(Y_SCALE, "y_scale")?;
        expect_same(&y_scale, a_scale.dtype(), "a_scale")?;
        expect_single(&y_scale)?;
        expect_single(&y_zero_point)?;
        Ok(vec![checked_type(y_zero_point.dtype(), product.output)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let product = QLinearMatMul::product(inputs)?;
        let a = difference(inputs, A, A_ZERO_POINT, Side::A)?;
        let b = difference(inputs, B, B_ZERO_POINT, Side::B)?;
        let are_integers = [A, B].iter().all(|&at| is_byte(inputs.tensor(at).dtype()));
        let sum = |sum: f64| if are_integers { wrapped(sum) as f32 } else { sum as f32 };
        let factors = QLinearMatMul::factors(inputs, &product)?;
        let sums = product.sums(&a, &b);
        let quotients: Vec<f32> = sums.iter().zip(factors).map(|(&x, by)| sum(x) * by).collect();
        Ok(vec![requantized(&quotients, inputs.tensor(Y_ZERO_POINT), &product.output)])
    }

    fn macs(&self, inputs: &Inputs<'_>, outputs: &[TensorType]) -> u64 {
        QLinearMatMul::product(inputs).map_or(0, |product| product.macs(outputs))
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

#[cfg(test)]
mod tests {
    use half::f16;
    use ndarray::array;

    use crate::ops::QuantRole;
    use crate::ops::testing::{OpTest, op};
    use crate::tensor::{F8E4M3FN, Rounding, Tensor};

    fn integer(a: impl Into<Tensor>, b: impl Into<Tensor>) -> OpTest {
        op("MatMulInteger").tensor(a).tensor(b)
    }

    #[test]
    fn sums_of_integers() {
        let a = array![[11_u8, 7], [10, 6]];
        let b = array![[1_i8, 4], [2, -5]];
        integer(a.clone(), b.clone()).macs(8).gives_tensor(array![[25, 9], [22, 10]]);
        integer(a.clone(), b.clone())
            .tensor(Tensor::scalar(12_u8))
            .gives_tensor(array![[-11, 21], [-14, 22]]);
        integer(a.clone(), b.clone())
            .tensor(array![11_u8, 6])
            .tensor(array![1_i8, 4])
            .gives_tensor(array![[-4, 36], [0, 0]]);
        integer(a.clone(), array![1_i8, 2]).macs(4).gives_tensor(array![25, 22]);
        integer(array![1_u8, 2], array![1_u8, 2]).macs(2).gives_tensor(Tensor::scalar(5));
        let stack = array![[[1_u8, 1]], [[2, 2]]];
        integer(stack.clone(), b.clone()).macs(8).gives_tensor(array![[[3, -1]], [[6, -2]]]);
        let per_row = array![[[1_u8]], [[0]]];
        integer(stack, b).tensor(per_row).gives_tensor(array![[[0, 0]], [[6, -2]]]);
        let none = || Tensor::from_vec::<u8>(&[0, 2], vec![]);
        integer(none(), a.clone()).macs(0).gives_tensor(Tensor::from_vec::<i32>(&[0, 2], vec![]));
        integer(none().reshaped(&[2, 0]), none()).gives_tensor(array![[0, 0], [0, 0]]);
        assert_eq!(integer(a.clone(), a).quant(), QuantRole::NOT_QUANTIZED);
    }

    #[test]
    fn refuses() {
        let base = || integer(array![[1_u8, 2, 3]], array![[1_u8], [2], [3]]);
        base().tensor(array![1_u8, 2]).fails(
            "input `a_zero_point` has shape [2], expected one element, or one per row of [1, 3]",
        );
        base().absent().tensor(array![[1_u8], [1], [1]]).fails(
            "input `b_zero_point` has shape [3, 1], expected one element, or one per column of [3, 1]",
        );
        integer(array![1_u8], array![1_u8, 2]).fails(
            "input `B` has shape [2], expected inner dimension 1, that of the first operand",
        );
        integer(array![1_i32], array![1_u8]).fails("input `A` is int32, expected int8 or uint8");
    }

    fn qlinear(
        a: [impl Into<Tensor>; 3],
        b: [impl Into<Tensor>; 3],
        y: [impl Into<Tensor>; 2],
    ) -> OpTest {
        let inputs =
            a.map(Into::into).into_iter().chain(b.map(Into::into)).chain(y.map(Into::into));
        inputs.fold(op("QLinearMatMul"), |op, input: Tensor| op.tensor(input))
    }

    #[test]
    fn rescaled_sums() {
        let scalar = |x: f32| Tensor::scalar(x);
        let a = || [array![[3_u8, 1], [1, 5]].into(), scalar(0.5), Tensor::scalar(1_u8)];
        let b = || [array![[1_i8, -2], [2, 3]].into(), scalar(2.), Tensor::scalar(0_i8)];
        let y = || [scalar(4.), Tensor::scalar(10_u8)];
        // The sums are [[2, -4], [8, 12]], a quarter of them is what remains.
        qlinear(a(), b(), y()).macs(8).gives_tensor(array![[10_u8, 9], [12, 13]]);
        let per_column = || {
            let [x, _, _] = b();
            [x, array![2_f32, 4.].into(), array![0_i8, 0].into()]
        };
        qlinear(a(), per_column(), y()).gives_tensor(array![[10_u8, 8], [12, 16]]);
        let halves = |[x, scale, zero_point]: [Tensor; 3]| {
            [x, Tensor::scalar(f16::from_f32(scale.slice::<f32>()[0])), zero_point]
        };
        let [_, y_zero_point] = y();
        let y_scale = Tensor::scalar(f16::from_f32(4.));
        qlinear(halves(a()), halves(b()), [y_scale, y_zero_point])
            .gives_tensor(array![[10_u8, 9], [12, 13]]);
        qlinear(a(), halves(b()), y())
            .fails("input `b_scale` is float16, expected float32, that of `a_scale`");
    }

    #[test]
    fn eight_bit_floats() {
        let float8 = |x: f64| F8E4M3FN::from_f64(x, Rounding::DEFAULT);
        let row = Tensor::from_vec(&[1, 2], vec![float8(1.5), float8(-0.25)]);
        let column = row.reshaped(&[2, 1]);
        let one = || Tensor::scalar(1_f32);
        let zero = || Tensor::scalar(float8(0.));
        // 2.25 + 0.0625 lies between 2.25 and 2.5.
        qlinear([row, one(), zero()], [column, one(), zero()], [one(), zero()])
            .gives_tensor(Tensor::from_vec(&[1, 1], vec![float8(2.25)]));
    }
}
