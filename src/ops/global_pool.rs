//! Pools over all spatial axes: `GlobalAveragePool`, `GlobalMaxPool`, `GlobalLpPool`.

use crate::kernels;
use crate::ops::floats::{expect_any_float, floats, rounded};
use crate::ops::number::Scalar;
use crate::ops::pool::read_norm_order;
use crate::ops::{Bodies, Inputs, Lowering, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("GlobalAveragePool", 1, |_| Ok(Box::new(GlobalPool::Average))),
    OpDef::onnx("GlobalLpPool", 1, |attrs| {
        Ok(Box::new(GlobalPool::Lp { p: read_norm_order(attrs)? }))
    }),
    OpDef::onnx("GlobalMaxPool", 1, |_| Ok(Box::new(GlobalPool::Max))),
];

/// `X` is `[N, C, ...]`, the result `[N, C, 1, ...]`.
#[derive(Debug)]
enum GlobalPool {
    Average,
    /// NaN wins.
    Max,
    /// `(sum of |x|^p)^(1/p)`
    Lp {
        p: i64,
    },
}

const X: usize = 0;

impl GlobalPool {
    fn pool<T: Scalar>(&self, x: &[T], sum: fn(&[T]) -> f64) -> f64 {
        match *self {
            GlobalPool::Average => sum(x) / x.len() as f64,
            GlobalPool::Max => {
                let x = x.iter().map(|x| x.to_f64());
                x.fold(f64::NEG_INFINITY, |y, x| if x > y || x.is_nan() { x } else { y })
            }
            GlobalPool::Lp { p } => {
                let powers = x.iter().map(|x| x.to_f64().abs().powf(p as f64));
                powers.sum::<f64>().powf((p as f64).recip())
            }
        }
    }
}

impl Operator for GlobalPool {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let x = inputs.require(X, "X")?;
        let mut shape = expect_any_float(&x)?.to_vec();
        if shape.len() < 3 || shape[2..].contains(&0) {
            return Err(x.wrong_shape("[N, C, ...] with elements along each spatial axis"));
        }
        shape[2..].fill(1);
        Ok(vec![TensorType { dtype: x.dtype(), shape }])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let output = &self.infer(inputs)?[0];
        let plane = inputs.shape(X)[2..].iter().product();
        let y = match inputs.tensor(X).try_slice::<f64>() {
            Some(x) => x.chunks_exact(plane).map(|x| self.pool(x, |x| x.iter().sum())).collect(),
            None => {
                let x = floats(inputs, X);
                x.chunks_exact(plane).map(|x| self.pool(x, kernels::sum)).collect()
            }
        };
        Ok(vec![rounded(output.dtype, &output.shape, y)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        match self {
            GlobalPool::Max => QuantRole::passes(X),
            GlobalPool::Average | GlobalPool::Lp { .. } => QuantRole::OWN_RANGE,
        }
    }

    fn lower(&self, _inputs: &Inputs<'_>) -> Option<Lowering> {
        matches!(self, GlobalPool::Average).then_some(Lowering::GlobalAveragePool)
    }

    fn proportional_to(&self) -> Option<usize> {
        Some(X)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::QuantRole;
    use crate::ops::testing::{counting, mixed, op};
    use crate::tensor::Tensor;

    #[test]
    fn global_pools() {
        let x = || counting(&[1, 2, 2, 2]);
        op("GlobalAveragePool").tensor(x()).macs(0).gives(array![[[[1.5]], [[5.5]]]]);
        op("GlobalMaxPool").tensor(x()).gives(array![[[[3.]], [[7.]]]]);
        op("GlobalMaxPool").tensor(mixed(&[2, 1, 3])).gives(array![[[2.]], [[1.]]]);
        op("GlobalLpPool").tensor(x()).gives(array![[[[14_f32.sqrt()]], [[126_f32.sqrt()]]]]);
        op("GlobalLpPool").tensor(mixed(&[1, 1, 3])).int("p", 1).gives(array![[[4.]]]);
        op("GlobalMaxPool").input(&array![[[1., f32::NAN, 2.]]]).gives(array![[[f32::NAN]]]);
        let x = || Tensor::from_vec(&[1, 1, 2], vec![16_777_217_f64, -16_777_216.]);
        let mean = Tensor::from_vec(&[1, 1, 1], vec![0.5_f64]);
        op("GlobalAveragePool").tensor(x()).gives_tensor(mean);
    }

    #[test]
    fn global_pools_refuse() {
        for shape in [&[1, 2][..], &[1, 2, 0]] {
            let expected = "[N, C, ...] with elements along each spatial axis";
            let message = format!("input `X` has shape {shape:?}, expected {expected}");
            op("GlobalAveragePool").tensor(counting(shape)).fails(&message);
        }
    }

    #[test]
    fn a_maximum_is_one_of_the_values() {
        assert_eq!(op("GlobalMaxPool").quant(), QuantRole::passes(0));
        assert_eq!(op("GlobalAveragePool").quant(), QuantRole::OWN_RANGE);
    }
}
