//! Scaled dot-product attention, which every attention operator comes down to:
//! `softmax(softcap(scale * Q K^T) + bias) V`, head by head.
//!
//! The 16-bit floats compute in f32; where an operator is specified to compute in their precision, every
//! step is rounded to it. The sum of a softmax is an f64.

use std::borrow::Cow;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Array4, ArrayView2, ArrayView4, ArrayViewMut2, LinalgScalar, s};

use crate::kernels;
use crate::ops::OpError;
use crate::ops::floats;
use crate::ops::number::Scalar;
use crate::tensor::{DType, Tensor};

/// A type that attention computes in.
pub(super) trait Real: LinalgScalar + Scalar + PartialOrd {
    fn exp(self) -> Self;
    fn tanh(self) -> Self;
    /// `y += a * b`
    fn add_product(a: ArrayView2<'_, Self>, b: ArrayView2<'_, Self>, y: ArrayViewMut2<'_, Self>);
    /// The elements of a float tensor.
    fn elements(tensor: &Tensor) -> Cow<'_, [Self]>;
    /// A tensor of the float type `dtype`, the elements rounded to it.
    fn tensor(dtype: DType, shape: &[usize], elements: Vec<Self>) -> Tensor;
}

impl Real for f32 {
    fn exp(self) -> f32 {
        self.exp()
    }

    fn tanh(self) -> f32 {
        self.tanh()
    }

    fn add_product(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, y: ArrayViewMut2<'_, f32>) {
        kernels::add_product(a, b, y);
    }

    fn elements(tensor: &Tensor) -> Cow<'_, [f32]> {
        match tensor.try_slice() {
            Some(slice) => Cow::Borrowed(slice),
            None => Cow::Owned(tensor.to_f32().expect("`infer` checked that it is a float")),
        }
    }

    fn tensor(dtype: DType, shape: &[usize], elements: Vec<f32>) -> Tensor {
        floats::tensor(dtype, shape, elements)
    }
}

impl Real for f64 {
    fn exp(self) -> f64 {
        self.exp()
    }

    fn tanh(self) -> f64 {
        self.tanh()
    }

    fn add_product(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>, mut y: ArrayViewMut2<'_, f64>) {
        general_mat_mul(1., &a, &b, 1., &mut y);
    }

    fn elements(tensor: &Tensor) -> Cow<'_, [f64]> {
        match tensor.try_slice() {
            Some(slice) => Cow::Borrowed(slice),
            None => Cow::Owned(floats::doubles(tensor)),
        }
    }

    fn tensor(dtype: DType, shape: &[usize], elements: Vec<f64>) -> Tensor {
        floats::rounded(dtype, shape, elements)
    }
}

/// Runs an expression with the type name `$t` bound to the type that `$dtype` computes in.
macro_rules! in_real {
    ($is_wide:expr, $t:ident => $body:expr) => {
        if $is_wide {
            type $t = f64;
            $body
        } else {
            type $t = f32;
            $body
        }
    };
}
pub(super) use in_real;

/// What happens to the scores between the two products.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) scale: f64,
    /// `softcap * tanh(score / softcap)`, if positive.
    pub(super) softcap: f64,
    /// The type that every step is rounded to.
    pub(super) dtype: DType,
    /// The same within the softmax.
    pub(super) softmax: DType,
    /// The scores to give as well.
    pub(super) keep: Option<Stage>,
}

/// A point in the life of the scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Product,
    Capped,
    Biased,
    Softmax,
}

/// The result, `[batch, query, head, value size]`, and the scores asked for,
/// `[batch, head, query, key]`.
pub(super) struct Attended<T> {
    pub(super) y: Array4<T>,
    pub(super) scores: Option<Array4<T>>,
}

/// Adds to a row of scores, for query `i` of head `n` of batch `b`: called with `[b, n, i]`.
pub(super) type Bias<'a> = dyn Fn([usize; 3], &mut [f64]) + 'a;

/// Attention of `q` `[batch, q_heads, query, size]` to `k` `[batch, kv_heads, key, size]` and `v`
/// `[batch, kv_heads, key, value size]`; neighboring heads of `q` share one of `k` and `v`.
///
/// A row whose bias is -inf everywhere becomes zeros.
pub(super) fn attend<T: Real>(
    rules: &Rules,
    [q, k, v]: [ArrayView4<'_, T>; 3],
    bias: &Bias<'_>,
) -> Attended<T> {
    let (batch, q_heads, n_queries, _) = q.dim();
    let (_, kv_heads, n_keys, v_size) = v.dim();
    let mut y = Array4::zeros((batch, n_queries, q_heads, v_size));
    let mut kept = rules.keep.map(|_| Array4::zeros((batch, q_heads, n_queries, n_keys)));
    let mut bias_row = vec![0.; n_keys];
    // Before a product that is rounded to 16 bits both operands are scaled, as specified.
    let is_narrow = matches!(rules.dtype, DType::F16 | DType::BF16);
    let factor = T::nearest(rules.scale.sqrt());
    let scaled = |x: ArrayView4<'_, T>| {
        is_narrow.then(|| x.mapv(|x| rounded(x * rounded(factor, rules.dtype), rules.dtype)))
    };
    let (scaled_q, scaled_k) = (scaled(q), scaled(k));
    let q = scaled_q.as_ref().map_or(q, |q| q.view());
    let k = scaled_k.as_ref().map_or(k, |k| k.view());
    let rules = &Rules { scale: if is_narrow { 1. } else { rules.scale }, ..*rules };
    for b in 0..batch {
        for n in 0..q_heads {
            let kv_head = n * kv_heads / q_heads;
            let mut scores = Array2::zeros((n_queries, n_keys));
            let k = k.slice(s![b, kv_head, .., ..]);
            T::add_product(q.slice(s![b, n, .., ..]), k.reversed_axes(), scores.view_mut());
            for i in 0..n_queries {
                bias_row.fill(0.);
                bias([b, n, i], &mut bias_row);
                let row = &mut scores.as_slice_mut().expect("just made")[i * n_keys..][..n_keys];
                let stage = weigh(rules, row, &bias_row);
                if let (Some(kept), Some(stage)) = (&mut kept, stage) {
                    let kept_row = kept.slice_mut(s![b, n, i, ..]);
                    kept_row.into_iter().zip(stage).for_each(|(to, from)| *to = from);
                }
            }
            let v = v.slice(s![b, kv_head, .., ..]);
            T::add_product(scores.view(), v, y.slice_mut(s![b, .., n, ..]));
        }
    }
    Attended { y, scores: kept }
}

/// Turns a row of products into weights; gives the stage that is kept.
fn weigh<T: Real>(rules: &Rules, row: &mut [T], bias: &[f64]) -> Option<Vec<T>> {
    let mut kept = None;
    let mut keep = |stage, row: &mut [T]| {
        round(row, rules.dtype);
        if rules.keep == Some(stage) {
            kept = Some(row.to_vec());
        }
    };
    let scale = T::nearest(rules.scale);
    row.iter_mut().for_each(|x| *x = *x * scale);
    keep(Stage::Product, row);
    if 0. < rules.softcap {
        let cap = T::nearest(rules.softcap);
        row.iter_mut().for_each(|x| *x = cap * (*x / cap).tanh());
    }
    keep(Stage::Capped, row);
    row.iter_mut().zip(bias).for_each(|(x, &bias)| *x = *x + T::nearest(bias));
    keep(Stage::Biased, row);
    if bias.iter().all(|&bias| bias == f64::NEG_INFINITY) {
        row.fill(T::zero());
    } else {
        softmax(row, rules.softmax);
    }
    keep(Stage::Softmax, row);
    kept
}

/// `exp(x - max) / sum of exp(x - max)`; zeros if the largest is -inf.
fn softmax<T: Real>(row: &mut [T], dtype: DType) {
    round(row, dtype);
    let lowest = T::nearest(f64::NEG_INFINITY);
    let max = row.iter().copied().fold(lowest, |max, x| if max < x { x } else { max });
    if row.iter().all(|&x| x == lowest) {
        return row.fill(T::zero());
    }
    row.iter_mut().for_each(|x| *x = rounded(*x - max, dtype).exp());
    round(row, dtype);
    let sum = match dtype {
        // The reference adds bfloat16 one by one, each sum rounded; of float16 only the last.
        DType::BF16 => row.iter().fold(T::zero(), |sum, &x| rounded(sum + x, dtype)),
        _ => rounded(T::nearest(row.iter().map(|x| x.to_f64()).sum()), dtype),
    };
    row.iter_mut().for_each(|x| *x = *x / sum);
    round(row, dtype);
}

fn round<T: Real>(row: &mut [T], dtype: DType) {
    if dtype != T::DTYPE {
        row.iter_mut().for_each(|x| *x = rounded(*x, dtype));
    }
}

/// To the nearest of a float type; unchanged if that is `T` or holds more.
fn rounded<T: Real>(x: T, dtype: DType) -> T {
    match dtype {
        DType::F16 => T::nearest(half::f16::nearest(x.to_f64()).to_f64()),
        DType::BF16 => T::nearest(half::bf16::nearest(x.to_f64()).to_f64()),
        DType::F32 => T::nearest(f64::from(f32::nearest(x.to_f64()))),
        _ => x,
    }
}

/// Multiply-accumulates of both products.
pub(super) fn macs([batch, heads, queries, keys]: [usize; 4], size: usize, v_size: usize) -> u64 {
    let factors = [batch, heads, queries, keys, size.saturating_add(v_size)];
    factors.iter().fold(1, |product: u64, &factor| product.saturating_mul(factor as u64))
}

/// What is added to the scores: a tensor that broadcasts to `[batch, head, query, key]`.
#[derive(Debug)]
pub(super) struct Mask {
    values: Vec<f64>,
    strides: [usize; 3],
    n_keys: usize,
}

impl Mask {
    /// Numbers are added as they are; `false` excludes, as do keys that the mask does not reach.
    pub(super) fn new(tensor: &Tensor) -> Mask {
        let excluded = |&is_allowed: &bool| if is_allowed { 0. } else { f64::NEG_INFINITY };
        let values = match tensor.try_slice::<bool>() {
            Some(bools) => bools.iter().map(excluded).collect(),
            None => floats::doubles(tensor),
        };
        Mask::from_values(values, tensor.shape())
    }

    pub(super) fn from_values(values: Vec<f64>, shape: &[usize]) -> Mask {
        let n_keys = shape.last().copied().unwrap_or(1);
        let (mut strides, mut stride) = ([0; 3], n_keys);
        let outer = &shape[..shape.len().saturating_sub(1)];
        for (slot, &dim) in strides.iter_mut().rev().zip(outer.iter().rev()) {
            *slot = if dim == 1 { 0 } else { stride };
            stride *= dim;
        }
        Mask { values, strides, n_keys }
    }

    pub(super) fn add(&self, at: [usize; 3], row: &mut [f64]) {
        let start: usize = at.iter().zip(self.strides).map(|(i, stride)| i * stride).sum();
        let values = self.values[start..].iter().take(self.n_keys).copied();
        let values = values.chain(std::iter::repeat(f64::NEG_INFINITY));
        row.iter_mut().zip(values).for_each(|(x, value)| *x += value);
    }
}

/// The positive integer that an attribute gives: how many heads there are.
pub(super) fn read_heads(name: &str, heads: i64) -> Result<usize, OpError> {
    let wrong = || OpError::invalid_attribute(name, heads, "at least 1");
    usize::try_from(heads).ok().filter(|&heads| 0 < heads).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    const RULES: Rules =
        Rules { scale: 1., softcap: 0., dtype: DType::F64, softmax: DType::F64, keep: None };

    #[test]
    fn weights_are_a_softmax() {
        let mut row = [0_f32, 0., 5.];
        weigh(&RULES, &mut row, &[0., 0., f64::NEG_INFINITY]);
        assert_eq!(row, [0.5, 0.5, 0.]);
        weigh(&RULES, &mut row, &[f64::NEG_INFINITY; 3]);
        assert_eq!(row, [0.; 3]);
        let kept = |keep| {
            let rules = Rules { scale: 2., softcap: 1., keep: Some(keep), ..RULES };
            weigh(&rules, &mut [0_f64, 1e9], &[0., -1.]).unwrap()
        };
        assert_eq!(kept(Stage::Product), [0., 2e9]);
        assert_eq!(kept(Stage::Capped), [0., 1.]);
        assert_eq!(kept(Stage::Biased), [0., 0.]);
        assert_eq!(kept(Stage::Softmax), [0.5, 0.5]);
    }

    #[test]
    fn precision_rounds() {
        let mut row = [0_f32, 1e-4];
        weigh(&Rules { softmax: DType::F16, ..RULES }, &mut row, &[1., 1.]);
        assert_eq!(row, [0.5, 0.5]);
    }

    #[test]
    fn heads_share_keys() {
        let q = Array4::<f32>::zeros((1, 4, 1, 1));
        let k = Array4::zeros((1, 2, 1, 1));
        let v = array![[[[1.]], [[2.]]]];
        let attended = attend(&RULES, [q.view(), k.view(), v.view()], &|_, _| {});
        assert_eq!(attended.y.into_raw_vec_and_offset().0, [1., 1., 2., 2.]);
    }

    #[test]
    fn masks_broadcast_and_end() {
        let row = |mask: &Mask, at| {
            let mut row = [0.; 3];
            mask.add(at, &mut row);
            row
        };
        let mask = Mask::new(&Tensor::from(array![[true, false], [true, true]]));
        assert_eq!(row(&mask, [5, 5, 0]), [0., f64::NEG_INFINITY, f64::NEG_INFINITY]);
        assert_eq!(row(&mask, [5, 5, 1]), [0., 0., f64::NEG_INFINITY]);
        let mask = Mask::new(&Tensor::from(array![[[1_f32, 2., 3.]], [[4., 5., 6.]]]));
        assert_eq!(row(&mask, [7, 1, 7]), [4., 5., 6.]);
    }
}
