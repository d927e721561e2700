//! `Det`: determinants of square matrices.
//!
//! <https://onnx.ai/onnx/operators/onnx__Det.html>

use crate::ops::floats::{doubles, expect_any_float, rounded};
use crate::ops::{Bodies, Inputs, OpDef, OpError, Operator};
use crate::tensor::{Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("Det", 11, |_| Ok(Box::new(Det)))];

/// Over the last two axes.
#[derive(Debug)]
struct Det;

const X: usize = 0;

impl Operator for Det {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let x = inputs.require(X, "X")?;
        match expect_any_float(&x)? {
            [batches @ .., rows, columns] if rows == columns => {
                Ok(vec![TensorType::new(x.dtype(), batches)])
            }
            _ => Err(x.wrong_shape("square matrices along the last two axes")),
        }
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let output = &self.infer(inputs)?[0];
        let n = *inputs.shape(X).last().expect("`infer` checked the rank");
        let mut x = doubles(inputs.tensor(X));
        let y = match n {
            0 => vec![1.; output.len()],
            _ => x.chunks_exact_mut(n * n).map(|matrix| determinant(matrix, n)).collect(),
        };
        Ok(vec![rounded(output.dtype, &output.shape, y)])
    }
}

/// By elimination with the largest pivot of each column; overwrites the matrix.
fn determinant(a: &mut [f64], n: usize) -> f64 {
    let mut product = 1.;
    for k in 0..n {
        let larger = |best: usize, i: usize| {
            if a[i * n + k].abs() > a[best * n + k].abs() { i } else { best }
        };
        let pivot_row = (k..n).fold(k, larger);
        let pivot = a[pivot_row * n + k];
        if pivot == 0. {
            return 0.;
        }
        if pivot_row != k {
            (k..n).for_each(|j| a.swap(k * n + j, pivot_row * n + j));
            product = -product;
        }
        product *= pivot;
        let (above, below) = a.split_at_mut((k + 1) * n);
        let pivots = &above[k * n..];
        for row in below.chunks_exact_mut(n) {
            let factor = row[k] / pivot;
            row[k..].iter_mut().zip(&pivots[k..]).for_each(|(x, p)| *x -= factor * p);
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use ndarray::{arr0, array};

    use crate::ops::QuantRole;
    use crate::ops::testing::{counting, op};

    #[test]
    fn determinants() {
        op("Det").input(&array![[1., 2.], [3., 4.]]).gives(arr0(-2.));
        op("Det").input(&array![[0., 2., 0.], [0., 0., 3.], [5., 0., 0.]]).gives(arr0(30.));
        op("Det").input(&array![[[2.]], [[-3.]]]).gives(array![2., -3.]);
        op("Det").tensor(counting(&[4, 4])).gives(arr0(0.));
        op("Det").input(&array![[f32::NAN, 0.], [0., 1.]]).gives(arr0(f32::NAN));
        op("Det").tensor(counting(&[2, 0, 0])).gives(array![1., 1.]);
        op("Det")
            .tensor(counting(&[2, 3]))
            .fails("input `X` has shape [2, 3], expected square matrices along the last two axes");
        assert_eq!(op("Det").quant(), QuantRole::OWN_RANGE);
    }
}
