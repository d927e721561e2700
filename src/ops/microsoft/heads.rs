//! What `Attention`, `MultiHeadAttention` and `GroupQueryAttention` share.

use ndarray::{Array4, ArrayView4, Axis, concatenate};

use crate::ops::attend::{Attended, Mask, Rules, attend};
use crate::ops::floats::expect_same;
use crate::ops::inputs::Named;
use crate::ops::{Attrs, OpError};
use crate::tensor::{DType, Tensor};

/// The attributes they share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Core {
    pub(super) scale: Option<f32>,
    /// What is added to the scores of padding.
    pub(super) filter: f32,
    pub(super) is_causal: bool,
}

/// Attention computed in f32.
pub(super) struct Computed {
    /// `[batch, query, head, value size]`
    pub(super) y: Array4<f32>,
    /// `[batch, head, key, size]`, the past included.
    pub(super) keys: Array4<f32>,
    pub(super) values: Array4<f32>,
}

impl Core {
    pub(super) fn read(attrs: &mut Attrs) -> Result<Core, OpError> {
        // 0 means the default, as in onnxruntime.
        let scale = attrs.opt_float("scale")?.filter(|&scale| scale != 0.);
        let filter = attrs.float("mask_filter_value", -10_000.)?;
        Ok(Core { scale, filter, is_causal: attrs.flag("unidirectional", false)? })
    }

    /// `q`, `k`, `v` and `past` are `[batch, head, length, size]`.
    pub(super) fn compute(
        &self,
        [q, k, v]: [ArrayView4<'_, f32>; 3],
        past: [Option<ArrayView4<'_, f32>>; 2],
        masks: &[Mask],
    ) -> Computed {
        let join = |past: Option<ArrayView4<'_, f32>>, now| {
            let parts: Vec<_> = past.into_iter().chain([now]).collect();
            concatenate(Axis(2), &parts).expect("`infer` checked the shapes")
        };
        let n_past = past[0].map_or(0, |past| past.dim().2);
        let (keys, values) = (join(past[0], k), join(past[1], v));
        let default = || 1. / (q.dim().3 as f64).sqrt();
        let rules = Rules {
            scale: self.scale.map_or_else(default, f64::from),
            softcap: 0.,
            dtype: DType::F32,
            softmax: DType::F32,
            keep: None,
        };
        let bias = |at: [usize; 3], row: &mut [f64]| {
            masks.iter().for_each(|mask| mask.add(at, row));
            if self.is_causal {
                row.iter_mut().skip(n_past + at[2] + 1).for_each(|x| *x = f64::NEG_INFINITY);
            }
        };
        let Attended { y, .. } = attend(&rules, [q, keys.view(), values.view()], &bias);
        Computed { y, keys, values }
    }

    /// The mask of padding as what is added to scores `[batch, query, key]`; `infer` checked its shape.
    pub(super) fn padding(&self, mask: &Tensor, [batch, keys]: [usize; 2]) -> Mask {
        let filter = f64::from(self.filter);
        let mask_values = mask.to_i64().expect("`infer` checked that they are integers");
        let seen = |is_seen: bool| if is_seen { 0. } else { filter };
        match *mask.shape() {
            // Where the padding starts and, in a second half, where it ends.
            [_] => {
                let first = |b: usize| mask_values.get(batch + b).copied().unwrap_or(0);
                let is_seen = |b: usize, j: usize| (first(b)..mask_values[b]).contains(&(j as i64));
                let cells = (0..batch).flat_map(|b| (0..keys).map(move |j| (b, j)));
                let values = cells.map(|(b, j)| seen(is_seen(b, j))).collect();
                Mask::from_values(values, &[batch, 1, 1, keys])
            }
            ref shape => {
                let values = mask_values.iter().map(|&x| seen(0 < x)).collect();
                let n_queries = if shape.len() == 3 { shape[1] } else { 1 };
                Mask::from_values(values, &[shape[0], 1, n_queries, shape[shape.len() - 1]])
            }
        }
    }
}

/// Refuses a mask of padding that is none of the forms for `[batch, query, key]`.
pub(super) fn expect_padding(
    mask: &Named<'_>,
    [batch, queries, keys]: [usize; 3],
    forms_1d: &[usize],
) -> Result<(), OpError> {
    mask.expect_dtype(DType::I32)?;
    let fits = match *mask.shape() {
        [n] => forms_1d.iter().any(|form| form.checked_mul(batch) == Some(n)),
        [b, k] => [b, k] == [batch, keys],
        [b, q, k] => [b, q, k] == [batch, queries, keys],
        _ => false,
    };
    if fits {
        return Ok(());
    }
    if mask.rank() == 4
        || matches!(*mask.shape(), [n] if n == batch.saturating_mul(3).saturating_add(2))
    {
        return Err(OpError::NotSupported { what: format!("a mask of shape {:?}", mask.shape()) });
    }
    let expected = format!("[{batch}], [{batch}, {keys}] or [{batch}, {queries}, {keys}]");
    Err(mask.wrong_shape(expected))
}

/// Refuses what cannot be added to the scores, `[batch, head, query, key]`.
pub(super) fn expect_bias(bias: &Named<'_>, dtype: DType, to: [usize; 4]) -> Result<(), OpError> {
    let [batch, heads, queries, keys] = to;
    match *expect_same(bias, dtype, "the first input")? {
        [b, n, q, k]
            if (b == batch || b == 1) && (n == heads || n == 1) && [q, k] == [queries, keys] =>
        {
            Ok(())
        }
        _ => Err(bias.wrong_shape(format!("broadcastable to {to:?} along the first two axes"))),
    }
}
