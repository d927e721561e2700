//! One-pass second-order rounding, as in OBQ and GPTQ (arXiv 2210.17323).
//!
//! Columns are rounded to nearest one after the other, and the error of each is made up for by the
//! columns that are still to come: with `H^-1 = U^T U`, `U` upper triangular, column `k`'s error over
//! `U_kk` times row `k` of `U` is taken off them. So a weight may end more than one scale from where it
//! was, unlike with AdaRound. `H` has a hundredth of its mean diagonal added to its diagonal.

use crate::quant::rounding::Effort;
use crate::quant::rounding::gram::{Gram, Rows};

/// What is added to the diagonal, as a fraction of its mean.
const DAMPING: f64 = 0.01;

/// `U` of a Gram matrix, row by row from the diagonal on.
pub(super) type Factor = Vec<Vec<f64>>;

pub(super) fn round(rows: &Rows<'_>, _effort: &Effort) -> Vec<f32> {
    let factor = rows.gram.factor();
    let mut all = Vec::with_capacity(rows.weights.len());
    for (weights, _) in rows.iter() {
        let mut w: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
        for (k, upper) in factor.iter().enumerate() {
            let step = rows.clamp(w[k].round_ties_even() as f32);
            let error = (w[k] - f64::from(step)) / upper[0];
            w[k..].iter_mut().zip(upper).for_each(|(w, u)| *w -= error * u);
            all.push(step + 0.);
        }
    }
    all
}

/// With `J` the reversal of rows and columns and `L` the Cholesky factor of `J H J`, `J L J` is upper
/// triangular with `H = (J L J) (J L J)^T`, so `U` is its inverse.
pub(super) fn factor(gram: &Gram) -> Factor {
    let n = gram.depth;
    let damping = DAMPING * gram.mean_diagonal();
    let damping = if 0. < damping { damping } else { 1. };
    let mut lower: Vec<Vec<f64>> = Vec::with_capacity(n);
    for i in 0..n {
        let mut row = Vec::with_capacity(i + 1);
        for j in 0..=i {
            let h = gram.row(n - 1 - i)[n - 1 - j] + if i == j { damping } else { 0. };
            let known = if i == j { &row } else { &lower[j] };
            let rest = h - dot(&row[..j], &known[..j]);
            // Rounding must not make a root of what is negative.
            let least = damping * 1e-9;
            row.push(if i == j { rest.max(least).sqrt() } else { rest / lower[j][j] });
        }
        lower.push(row);
    }
    // Row k of the inverse of the upper triangle, by solving `u R = e_k`.
    let upper = |i: usize, j: usize| lower[n - 1 - i][n - 1 - j];
    let solve = |k: usize| {
        let mut row = vec![0.; n - k];
        row[0] = 1.;
        for i in k..n {
            row[i - k] /= upper(i, i);
            let known = row[i - k];
            for j in i + 1..n {
                row[j - k] -= known * upper(i, j);
            }
        }
        row
    };
    (0..n).map(solve).collect()
}

/// In eight lanes, which are added up in order.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        lanes.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    lanes.iter().sum()
}
