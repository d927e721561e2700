//! Arithmetic of two or more tensors that broadcast: `Add`, `Sub`, `Mul`, `Div`, `Min`, `Max`,
//! `Sum`, `Mean`.
//!
//! Integers wrap; their division truncates. NaN passes through `Min` and `Max`.

use crate::kernels::Zip;
use crate::ops::broadcast::{broadcast, broadcast_all, zip};
use crate::ops::dims::checked_type;
use crate::ops::inputs::Named;
use crate::ops::number::{Number, Scalar, dispatch_numbers};
use crate::ops::{Bodies, Inputs, Lowering, OpDef, OpError, Operator};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("Add", 7, |_| Ok(Box::new(Binary(Kind::Add)))),
    OpDef::onnx("Sub", 7, |_| Ok(Box::new(Binary(Kind::Sub)))),
    OpDef::onnx("Mul", 7, |_| Ok(Box::new(Binary(Kind::Mul)))),
    OpDef::onnx("Div", 7, |_| Ok(Box::new(Binary(Kind::Div)))),
    OpDef::onnx("Min", 1, |_| Ok(Box::new(Variadic { kind: Kind::Min, is_mean: false }))),
    OpDef::onnx("Max", 1, |_| Ok(Box::new(Variadic { kind: Kind::Max, is_mean: false }))),
    OpDef::onnx("Sum", 1, |_| Ok(Box::new(Variadic { kind: Kind::Add, is_mean: false }))),
    OpDef::onnx("Mean", 1, |_| Ok(Box::new(Variadic { kind: Kind::Add, is_mean: true }))),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
}

const A: usize = 0;
const B: usize = 1;

#[derive(Debug)]
struct Binary(Kind);

impl Operator for Binary {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        Ok(vec![same_numbers(&[inputs.require(A, "A")?, inputs.require(B, "B")?])?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let ty = self.infer(inputs)?.remove(0);
        let (a, b) = (inputs.tensor(A), inputs.tensor(B));
        if self.0 == Kind::Div && !ty.is_empty() {
            expect_no_zero(b)?;
        }
        Ok(vec![self.0.join(a, b, &ty.shape)])
    }

    fn lower(&self, _inputs: &Inputs<'_>) -> Option<Lowering> {
        Some(Lowering::Zip(self.0.kernel()))
    }
}

#[derive(Debug)]
struct Variadic {
    kind: Kind,
    is_mean: bool,
}

impl Operator for Variadic {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        let first = inputs.require(0, "data_0")?;
        let rest = (1..inputs.len()).map(|position| inputs.require(position, "data_i"));
        let all: Vec<Named<'_>> =
            std::iter::once(Ok(first)).chain(rest).collect::<Result<_, _>>()?;
        if self.kind == Kind::Add {
            first.expect_dtype_that(DType::is_float, "a float type")?;
        }
        Ok(vec![same_numbers(&all)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let shape = self.infer(inputs)?.remove(0).shape;
        let mut joined = inputs.tensor(0).clone();
        for position in 1..inputs.len() {
            let next = inputs.tensor(position);
            let partial = broadcast(joined.shape(), next.shape());
            let partial = partial.expect("`infer` checked the broadcast");
            joined = self.kind.join(&joined, next, &partial);
        }
        debug_assert_eq!(joined.shape(), shape);
        if self.is_mean {
            let n = dispatch_numbers!(joined.dtype(), T => {
                Tensor::scalar(T::nearest(inputs.len() as f64))
            });
            joined = Kind::Div.join(&joined, &n, &shape);
        }
        Ok(vec![joined])
    }

    fn lower(&self, inputs: &Inputs<'_>) -> Option<Lowering> {
        (inputs.len() == 2 && !self.is_mean).then(|| Lowering::Zip(self.kind.kernel()))
    }
}

impl Kind {
    fn kernel(self) -> Zip {
        match self {
            Kind::Add => Zip::Add,
            Kind::Sub => Zip::Sub,
            Kind::Mul => Zip::Mul,
            Kind::Div => Zip::Div,
            Kind::Min => Zip::Min,
            Kind::Max => Zip::Max,
        }
    }

    fn join(self, a: &Tensor, b: &Tensor, shape: &[usize]) -> Tensor {
        if a.dtype() == DType::F32 {
            return self.join_f32(a, b, shape);
        }
        dispatch_numbers!(a.dtype(), T => {
            let f: fn(T, T) -> T = match self {
                Kind::Add => T::plus,
                Kind::Sub => T::minus,
                Kind::Mul => T::times,
                Kind::Div => T::over,
                Kind::Min => T::lesser,
                Kind::Max => T::greater,
            };
            zip(a, b, shape, f)
        })
    }

    /// A loop of its own for each operator, so that the compiler vectorizes it.
    fn join_f32(self, a: &Tensor, b: &Tensor, shape: &[usize]) -> Tensor {
        match self {
            Kind::Add => zip(a, b, shape, |a: f32, b: f32| a + b),
            Kind::Sub => zip(a, b, shape, |a: f32, b: f32| a - b),
            Kind::Mul => zip(a, b, shape, |a: f32, b: f32| a * b),
            Kind::Div => zip(a, b, shape, |a: f32, b: f32| a / b),
            Kind::Min => zip(a, b, shape, f32::lesser),
            Kind::Max => zip(a, b, shape, f32::greater),
        }
    }
}

/// The type that inputs of one numeric type broadcast to.
pub(super) fn same_numbers(inputs: &[Named<'_>]) -> Result<TensorType, OpError> {
    let dtype = inputs[0].dtype();
    inputs[0].expect_dtype_that(DType::is_number, "a numeric type")?;
    for input in inputs {
        input.expect_dtype(dtype)?;
    }
    checked_type(dtype, broadcast_all(inputs)?)
}

/// Refuses a divisor that integers cannot be divided by.
pub(super) fn expect_no_zero(b: &Tensor) -> Result<(), OpError> {
    if !b.dtype().is_float()
        && dispatch_numbers!(b.dtype(), T => b.slice::<T>().contains(&T::default()))
    {
        return Err(OpError::value("B", 0, "no zero among divisors of integers"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use half::f16;
    use ndarray::{Array1, Array2, array};

    use crate::ops::testing::op;
    use crate::tensor::Tensor;

    #[test]
    fn floats() {
        let (a, b) = (array![[1., 2.], [3., 4.]], array![10., 20.]);
        op("Add").input(&a).input(&b).gives(array![[11., 22.], [13., 24.]]);
        op("Sub").input(&b).input(&a).gives(array![[9., 18.], [7., 16.]]);
        op("Mul").input(&a).input(&array![[2.], [3.]]).gives(array![[2., 4.], [9., 12.]]);
        op("Div").input(&a).input(&ndarray::arr0(2.)).gives(array![[0.5, 1.], [1.5, 2.]]);
        op("Div").input(&array![1., 0.]).input(&array![0.]).gives(array![f32::INFINITY, f32::NAN]);
        op("Add").input(&Array2::zeros((0, 2))).input(&b).gives(Array2::zeros((0, 2)));
        op("Add").input(&Array1::zeros(0)).input(&array![1.]).gives(Array1::zeros(0));
        let halves = array![f16::from_f32(1.5), f16::from_f32(65504.)];
        op("Add")
            .tensor(halves.clone())
            .tensor(halves)
            .gives_tensor(array![f16::from_f32(3.), f16::INFINITY]);
    }

    #[test]
    fn integers_wrap() {
        op("Add").i64s(&[i64::MAX]).i64s(&[1]).gives_tensor(array![i64::MIN]);
        op("Mul").tensor(array![200_u8]).tensor(array![2_u8]).gives_tensor(array![144_u8]);
        op("Div").i64s(&[-7, 7, i64::MIN]).i64s(&[2, -2, -1]).gives_tensor(array![
            -3,
            -3,
            i64::MIN
        ]);
        op("Div")
            .i64s(&[1, 2])
            .i64s(&[1, 0])
            .fails("input `B` is 0, expected no zero among divisors of integers");
        op("Div").i64s(&[]).i64s(&[0]).gives_tensor(Tensor::from_vec::<i64>(&[0], vec![]));
    }

    #[test]
    fn variadic() {
        let (a, b, c) = (array![[1.], [5.]], array![2., 9.], ndarray::arr0(3.));
        let three = |name| op(name).input(&a).input(&b).input(&c);
        three("Min").gives(array![[1., 1.], [2., 3.]]);
        three("Max").gives(array![[3., 9.], [5., 9.]]);
        three("Sum").gives(array![[6., 13.], [10., 17.]]);
        three("Mean").gives(array![[2., 13. / 3.], [10. / 3., 17. / 3.]]);
        op("Mean").input(&a).gives(a.clone());
        op("Max").i64s(&[1, 5]).i64s(&[3]).gives_tensor(array![3_i64, 5]);
        let (nan, x) = (array![f32::NAN, 1.], array![1., f32::NAN]);
        op("Min").input(&nan).input(&x).gives(array![f32::NAN, f32::NAN]);
        op("Max").input(&x).input(&nan).gives(array![f32::NAN, f32::NAN]);
    }

    #[test]
    fn arithmetic_refuses() {
        let x = array![1., 2.];
        op("Add").input(&x).fails("input `B` is missing");
        op("Add").input(&x).i64s(&[1]).fails("input `B` is int64, expected float32");
        op("Add")
            .input(&x)
            .input(&array![1., 2., 3.])
            .fails("input `B` has shape [3], expected broadcastable with [2]");
        op("Mul")
            .tensor(array![true])
            .tensor(array![true])
            .fails("input `A` is bool, expected a numeric type");
        op("Sum").i64s(&[1]).fails("input `data_0` is int64, expected a float type");
        op("Max").fails("input `data_0` is missing");
        op("Add")
            .input(&x)
            .input(&x)
            .int("axis", 1)
            .fails("attribute `axis` is not one this operator has");
    }
}
