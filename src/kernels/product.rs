//! Matrix product, with ways of its own for vectors, where packing would cost more than it gains.

use std::ops::AddAssign;

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, LinalgScalar};

/// `y += a * b`
pub fn add_product<T: LinalgScalar + AddAssign>(
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    mut y: ArrayViewMut2<'_, T>,
) {
    if b.ncols() == 1 {
        let b = b.column(0);
        y.column_mut(0).iter_mut().zip(a.rows()).for_each(|(y, a)| *y += a.dot(&b));
    } else if a.nrows() == 1 {
        add_row_product(a, b, y);
    } else {
        general_mat_mul(T::one(), &a, &b, T::one(), &mut y);
    }
}

/// The same for one row `a`, along whichever axis of `b` is contiguous.
fn add_row_product<T: LinalgScalar + AddAssign>(
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    mut y: ArrayViewMut2<'_, T>,
) {
    let (a, mut y) = (a.row(0), y.row_mut(0));
    if b.strides()[0] == 1 {
        y.iter_mut().zip(b.columns()).for_each(|(y, b)| *y += a.dot(&b));
    } else {
        a.iter().zip(b.rows()).for_each(|(&a, b)| y.scaled_add(a, &b));
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use super::*;

    /// Small integers, so that every order of summation gives the same.
    #[test]
    fn every_shape_and_layout() {
        let a = Array2::from_shape_fn((4, 5), |(i, j)| (7 * i + 3 * j) as f32 % 5. - 2.);
        let b = Array2::from_shape_fn((5, 6), |(i, j)| (5 * i + 2 * j) as f32 % 7. - 3.);
        let b_columns = b.t().as_standard_layout().into_owned();
        for (m, n) in [(4, 6), (1, 6), (4, 1), (1, 1), (0, 6), (4, 0)] {
            let a = a.slice(s![..m, ..]);
            for b in [b.view(), b_columns.t()] {
                let b = b.slice(s![.., ..n]);
                let mut y = Array2::ones((m, n));
                add_product(a, b, y.view_mut());
                let plain = |(i, j)| 1. + (0..5).map(|k| a[[i, k]] * b[[k, j]]).sum::<f32>();
                assert_eq!(y, Array2::from_shape_fn((m, n), plain));
            }
        }
    }
}
