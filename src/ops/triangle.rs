//! Matrices and their diagonals: `Trilu`, `EyeLike`.

use crate::dispatch;
use crate::ops::cast::opt_dtype;
use crate::ops::dims::Along;
use crate::ops::generate::expect_single;
use crate::ops::number::Scalar;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] =
    &[OpDef::onnx("Trilu", 14, Trilu::read), OpDef::onnx("EyeLike", 9, EyeLike::read)];

const INPUT: usize = 0;
const K: usize = 1;

/// Keeps what is on or above (or below) diagonal `k` of the last two axes, 0 elsewhere.
#[derive(Debug)]
struct Trilu {
    upper: bool,
}

impl Trilu {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(Trilu { upper: attrs.flag("upper", true)? }))
    }
}

impl Operator for Trilu {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let input = inputs.require(INPUT, "input")?;
        if input.rank() < 2 {
            return Err(input.wrong_shape("rank 2 or more"));
        }
        if let Some(k) = inputs.optional(K, "k") {
            k.expect_dtype(DType::I64)?;
            expect_single(&k)?;
        }
        Ok(vec![input.ty().clone()])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let mut x = inputs.tensor(INPUT).clone();
        let k = inputs.get(K).map_or(0, |_| inputs.tensor(K).slice::<i64>()[0]);
        let Along { n, inner, .. } = Along::new(x.shape(), x.rank() - 2);
        dispatch!(x.dtype(), T => {
            for (position, x) in x.slice_mut::<T>().iter_mut().enumerate() {
                let (row, column) = ((position / inner % n) as i64, (position % inner) as i64);
                let above = (column - row).cmp(&k);
                if if self.upper { above.is_lt() } else { above.is_gt() } {
                    *x = T::default();
                }
            }
        });
        Ok(vec![x])
    }

    /// 0 is in every encoding.
    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::passes(INPUT)
    }
}

/// 1 on diagonal `k`, 0 elsewhere, in the shape of the input.
#[derive(Debug)]
struct EyeLike {
    dtype: Option<DType>,
    k: i64,
}

impl EyeLike {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(EyeLike { dtype: opt_dtype(attrs, "dtype")?, k: attrs.int("k", 0)? }))
    }
}

impl Operator for EyeLike {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let input = inputs.require(INPUT, "input")?;
        let [rows, columns] = input.expect_rank()?;
        Ok(vec![TensorType::new(self.dtype.unwrap_or(input.dtype()), &[rows, columns])])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let ty = self.infer(inputs)?.remove(0);
        let columns = ty.shape[1];
        Ok(vec![dispatch!(ty.dtype, T => {
            let is_on = |at: usize| (at % columns) as i64 - (at / columns) as i64 == self.k;
            let eye = (0..ty.len()).map(|at| T::wrapped(is_on(at).into())).collect();
            Tensor::from_vec(&ty.shape, eye)
        })])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }

    fn reads_values(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use crate::ops::testing::op;
    use crate::tensor::Tensor;

    #[test]
    fn trilu() {
        let x = array![[1., 2., 3.], [4., 5., 6.]];
        let k = |k: i64| op("Trilu").input(&x).tensor(Tensor::scalar(k));
        op("Trilu").input(&x).gives(array![[1., 2., 3.], [0., 5., 6.]]);
        op("Trilu").input(&x).int("upper", 0).gives(array![[1., 0., 0.], [4., 5., 0.]]);
        k(1).gives(array![[0., 2., 3.], [0., 0., 6.]]);
        k(-1).int("upper", 0).gives(array![[0., 0., 0.], [4., 0., 0.]]);
        k(i64::MIN).gives(x.clone());
        op("Trilu")
            .input(&array![[[1., 2.], [3., 4.]], [[5., 6.], [7., 8.]]])
            .gives(array![[[1., 2.], [0., 4.]], [[5., 6.], [0., 8.]]]);
        op("Trilu").input(&Array2::zeros((0, 3))).gives(Array2::zeros((0, 3)));
        op("Trilu")
            .input(&array![1.])
            .fails("input `input` has shape [1], expected rank 2 or more");
    }

    #[test]
    fn eye_like() {
        let x = Array2::zeros((2, 3));
        op("EyeLike").input(&x).gives(array![[1., 0., 0.], [0., 1., 0.]]);
        op("EyeLike")
            .input(&x)
            .int("k", 1)
            .int("dtype", 7)
            .gives_tensor(array![[0_i64, 1, 0], [0, 0, 1]]);
        op("EyeLike")
            .input(&x)
            .int("k", -5)
            .int("dtype", 9)
            .gives_tensor(Array2::from_elem((2, 3), false));
        op("EyeLike").input(&Array2::zeros((0, 0))).gives(Array2::zeros((0, 0)));
        op("EyeLike").input(&array![1.]).fails("input `input` has shape [1], expected rank 2");
    }
}
