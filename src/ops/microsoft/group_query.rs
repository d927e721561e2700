//! `GroupQueryAttention`: causal attention with heads that share keys and values, a cache, and the turn
//! of `RotaryEmbedding`.

use ndarray::{Array4, ArrayView4, s};

use crate::ops::attend::{Attended, Mask, Rules, attend, macs, read_heads};
use crate::ops::attention::by_head;
use crate::ops::dims::checked_type;
use crate::ops::floats::{self, expect_float, expect_same, floats, optional_floats};
use crate::ops::microsoft::heads::expect_bias;
use crate::ops::microsoft::value;
use crate::ops::rotary::turn;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole, Reads};
use crate::tensor::{DType, Tensor, TensorType};

pub(in crate::ops) const OPS: &[OpDef] =
    &[OpDef::microsoft("GroupQueryAttention", GroupQueryAttention::read)];

/// `query` is `[batch, length, heads * size]`, `key` and `value` the same with fewer heads; without them
/// they are the last columns of `query`.
#[derive(Debug)]
struct GroupQueryAttention {
    heads: usize,
    kv_heads: usize,
    scale: Option<f32>,
    softcap: f32,
    is_causal: bool,
    /// How many keys, its own included, a query sees.
    window: Option<i64>,
    /// Whether the pairs that turn are neighbors.
    rotary: Option<bool>,
}

const QUERY: usize = 0;
const KEY: usize = 1;
const VALUE: usize = 2;
const PAST_KEY: usize = 3;
const PAST_VALUE: usize = 4;
const SEQLENS_K: usize = 5;
const TOTAL_SEQUENCE_LENGTH: usize = 6;
const COS_CACHE: usize = 7;
const SIN_CACHE: usize = 8;
const POSITION_IDS: usize = 9;
const ATTENTION_BIAS: usize = 10;

/// The sizes of one evaluation.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    batch: usize,
    length: usize,
    size: usize,
    is_packed: bool,
    /// Rows of the cache that comes in.
    past: usize,
}

impl GroupQueryAttention {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let mut heads = |name| read_heads(name, attrs.require_int(name)?);
        let (heads, kv_heads) = (heads("num_heads")?, heads("kv_num_heads")?);
        if !heads.is_multiple_of(kv_heads) {
            let expected = format!("a divisor of {heads}, `num_heads`");
            return Err(OpError::invalid_attribute("kv_num_heads", kv_heads, expected));
        }
        for (name, default) in
            [("smooth_softmax", -1), ("sliding_window_cache", 0), ("qk_output", 0)]
        {
            let found = attrs.int(name, default)?;
            if found != 0 && found != default {
                return Err(OpError::attribute(name, found, "0"));
            }
        }
        for name in ["k_quant_type", "v_quant_type"] {
            attrs.choice(name, &[("NONE", ())])?;
        }
        for name in ["kv_cache_bit_width", "qk_norm_epsilon", "q_norm_epsilon", "k_norm_epsilon"] {
            attrs.ignore(name);
        }
        let is_interleaved = attrs.flag("rotary_interleaved", false)?;
        Ok(Box::new(GroupQueryAttention {
            heads,
            kv_heads,
            scale: attrs.opt_float("scale")?.filter(|&scale| scale != 0.),
            softcap: attrs.float("softcap", 0.)?,
            is_causal: attrs.flag("causal", true)?,
            window: Some(attrs.int("local_window_size", -1)?).filter(|&window| 0 < window),
            rotary: attrs.flag("do_rotary", false)?.then_some(is_interleaved),
        }))
    }

    fn sizes(&self, inputs: &Inputs<'_>) -> Result<Sizes, OpError> {
        let query = inputs.require(QUERY, "query")?;
        expect_float(&query)?;
        let [batch, length, flat] = query.expect_rank()?;
        let is_packed = inputs.get(KEY).is_none();
        let n_heads = if is_packed { self.heads + 2 * self.kv_heads } else { self.heads };
        if !flat.is_multiple_of(n_heads) {
            return Err(query.wrong_shape(format!("{n_heads} heads along axis 2")));
        }
        let size = flat / n_heads;
        if !is_packed {
            let expected = [batch, length, self.kv_heads * size];
            for (position, name) in [(KEY, "key"), (VALUE, "value")] {
                let input = inputs.require(position, name)?;
                if expect_same(&input, query.dtype(), "query")? != expected {
                    return Err(input.wrong_shape(format!("{expected:?}")));
                }
            }
        }
        let mut past = 0;
        if inputs.get(PAST_KEY).is_some() || inputs.get(PAST_VALUE).is_some() {
            let key = inputs.require(PAST_KEY, "past_key")?;
            let [_, _, rows, _] = key.expect_rank()?;
            for input in [key, inputs.require(PAST_VALUE, "past_value")?] {
                let expected = [batch, self.kv_heads, rows, size];
                if expect_same(&input, query.dtype(), "query")? != expected {
                    return Err(input.wrong_shape(format!("{expected:?}")));
                }
            }
            past = rows;
        }
        Ok(Sizes { batch, length, size, is_packed, past })
    }

    /// The longest of all sequences, with the cache.
    fn total(inputs: &Inputs<'_>, sizes: &Sizes) -> Result<usize, OpError> {
        let input = inputs.require(TOTAL_SEQUENCE_LENGTH, "total_sequence_length")?;
        input.expect_dtype(DType::I32)?;
        if !matches!(input.shape(), [] | [1]) {
            return Err(input.wrong_shape("[] or [1]"));
        }
        let total = input.i64s()?[0];
        let fits = |&total: &usize| {
            sizes.length <= total && total.saturating_sub(sizes.length) <= sizes.past
        };
        usize::try_from(total).ok().filter(fits).ok_or_else(|| {
            let most = sizes.past.saturating_add(sizes.length);
            let expected = format!("from {} to {most}", sizes.length);
            OpError::value("total_sequence_length", total, expected)
        })
    }

    /// Of every batch: how many rows of the cache come first, and how many keys there are in all.
    fn lengths(
        inputs: &Inputs<'_>,
        sizes: &Sizes,
        total: usize,
    ) -> Result<Vec<[usize; 2]>, OpError> {
        let seqlens = inputs.tensor(SEQLENS_K).slice::<i32>();
        let lengths = seqlens.iter().map(|&last| {
            // The first step may be padded on the right; later ones may not.
            let keys = usize::try_from(i64::from(last) + 1).ok().filter(|keys| *keys <= total);
            let past = match keys {
                Some(keys) if total == sizes.length && 0 < keys => Some(0),
                Some(keys) => keys.checked_sub(sizes.length),
                None => None,
            };
            let expected = || format!("from {} to {}", sizes.length as i64 - 1, total as i64 - 1);
            let wrong = || OpError::value("seqlens_k", last, expected());
            Ok([past.ok_or_else(wrong)?, keys.ok_or_else(wrong)?])
        });
        lengths.collect()
    }

    /// Turns the heads of `x`, `[batch, heads, length, size]`.
    fn turn(
        &self,
        x: ArrayView4<'_, f32>,
        inputs: &Inputs<'_>,
        lengths: &[[usize; 2]],
    ) -> Result<Array4<f32>, OpError> {
        let mut x = x.as_standard_layout().into_owned();
        let Some(is_interleaved) = self.rotary else { return Ok(x) };
        let (cos, sin) = (floats(inputs, COS_CACHE), floats(inputs, SIN_CACHE));
        let &[rows, half] = inputs.shape(COS_CACHE) else { return Ok(x) };
        let positions = value(inputs, POSITION_IDS).map(|positions| positions.slice::<i64>());
        let (_, heads, length, size) = x.dim();
        let elements = x.as_slice_mut().expect("in standard layout");
        for (at, head) in elements.chunks_exact_mut(size.max(1)).enumerate() {
            let (b, i) = (at / (heads * length), at % length);
            let position = match positions {
                Some(positions) => positions[b * length + i],
                None => (lengths[b][0] + i) as i64,
            };
            let row = usize::try_from(position).ok().filter(|&row| row < rows);
            let expected = || format!("less than {rows} and not negative");
            let row = row.ok_or_else(|| OpError::value("position_ids", position, expected()))?;
            let table = row * half..(row + 1) * half;
            turn(head, &cos[table.clone()], &sin[table], is_interleaved);
        }
        Ok(x)
    }

    fn expect_tables(&self, inputs: &Inputs<'_>, sizes: &Sizes) -> Result<(), OpError> {
        if self.rotary.is_none() {
            return Ok(());
        }
        let dtype = inputs.require(QUERY, "query")?.dtype();
        let cos = inputs.require(COS_CACHE, "cos_cache")?;
        let sin = inputs.require(SIN_CACHE, "sin_cache")?;
        let [rows, half] = cos.expect_rank()?;
        for table in [cos, sin] {
            if expect_same(&table, dtype, "query")? != [rows, half]
                || sizes.size < half.saturating_mul(2)
            {
                return Err(table.wrong_shape(format!("[{rows}, at most {}]", sizes.size / 2)));
            }
        }
        match inputs.optional(POSITION_IDS, "position_ids") {
            Some(positions)
                if positions.expect_dtype(DType::I64)? != [sizes.batch, sizes.length] =>
            {
                Err(positions.wrong_shape(format!("[{}, {}]", sizes.batch, sizes.length)))
            }
            _ => Ok(()),
        }
    }

    /// The cache and what is new behind it, `[batch, heads, rows, size]`; rows beyond are 0.
    fn joined(
        past: Option<ArrayView4<'_, f32>>,
        new: ArrayView4<'_, f32>,
        lengths: &[[usize; 2]],
        rows: usize,
    ) -> Array4<f32> {
        let (batch, heads, length, size) = new.dim();
        let mut joined = Array4::zeros((batch, heads, rows, size));
        for (b, &[n_past, _]) in lengths.iter().enumerate() {
            if let Some(past) = past {
                let from = past.slice(s![b, .., ..n_past, ..]);
                joined.slice_mut(s![b, .., ..n_past, ..]).assign(&from);
            }
            joined.slice_mut(s![b, .., n_past..n_past + length, ..]).assign(&new.slice(s![
                b,
                ..,
                ..,
                ..
            ]));
        }
        joined
    }

    /// Q, K and V by head.
    fn operands(&self, inputs: &Inputs<'_>, sizes: &Sizes) -> [Array4<f32>; 3] {
        let Sizes { batch, length, size, is_packed, .. } = *sizes;
        let split = |position: usize, n: usize, from: usize, heads: usize| {
            let x = floats(inputs, position);
            let x = by_head(&x, [batch, n, length, size], true);
            x.slice(s![.., from..from + heads, .., ..]).to_owned()
        };
        let (n, kv) = (self.heads, self.kv_heads);
        match is_packed {
            true => {
                let all = n + 2 * kv;
                [split(QUERY, all, 0, n), split(QUERY, all, n, kv), split(QUERY, all, n + kv, kv)]
            }
            false => [split(QUERY, n, 0, n), split(KEY, kv, 0, kv), split(VALUE, kv, 0, kv)],
        }
    }

    /// Excludes the keys that a query at a position may not see.
    fn exclude(&self, row: &mut [f64], position: usize, keys: usize) {
        let last = if self.is_causal { position + 1 } else { keys };
        let first = match self.window {
            Some(window) => last.saturating_sub(usize::try_from(window).unwrap_or(usize::MAX)),
            None => 0,
        };
        let seen = first..last;
        let excluded = row.iter_mut().enumerate().filter(|(j, _)| !seen.contains(j));
        excluded.for_each(|(_, x)| *x = f64::NEG_INFINITY);
    }
}

impl Operator for GroupQueryAttention {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        if (ATTENTION_BIAS + 1..inputs.len()).any(|position| inputs.get(position).is_some()) {
            let what = "an input after `attention_bias`".to_owned();
            return Err(OpError::NotSupported { what });
        }
        if 3 < inputs.n_outputs() {
            return Err(OpError::NotSupported { what: "the output `output_qk`".to_owned() });
        }
        let sizes = self.sizes(inputs)?;
        let Sizes { batch, length, size, past, .. } = sizes;
        let dtype = inputs.require(QUERY, "query")?.dtype();
        let seqlens = inputs.require(SEQLENS_K, "seqlens_k")?;
        if !matches!(*seqlens.expect_dtype(DType::I32)?, [n] | [n, 1] if n == batch) {
            return Err(seqlens.wrong_shape(format!("[{batch}]")));
        }
        self.expect_tables(inputs, &sizes)?;
        let total = GroupQueryAttention::total(inputs, &sizes)?;
        if let Some(bias) = inputs.optional(ATTENTION_BIAS, "attention_bias") {
            expect_bias(&bias, dtype, [batch, self.heads, length, total])?;
        }
        checked_type(dtype, vec![batch, self.heads, length, total])?;
        let cache = checked_type(dtype, vec![batch, self.kv_heads, past.max(total), size])?;
        let y = checked_type(dtype, vec![batch, length, self.heads * size])?;
        let mut types = vec![y, cache.clone(), cache];
        types.truncate(inputs.n_outputs().max(1));
        Ok(types)
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let types = self.infer(inputs)?;
        let sizes = self.sizes(inputs)?;
        let total = GroupQueryAttention::total(inputs, &sizes)?;
        let lengths = GroupQueryAttention::lengths(inputs, &sizes, total)?;
        let [q, k, v] = self.operands(inputs, &sizes);
        let q = self.turn(q.view(), inputs, &lengths)?;
        let k = self.turn(k.view(), inputs, &lengths)?;
        let past = [PAST_KEY, PAST_VALUE].map(|input| optional_floats(inputs, input));
        let dims = [sizes.batch, self.kv_heads, sizes.past, sizes.size];
        let join = |index: usize, new: Array4<f32>| {
            let past = past[index].as_deref().map(|past| by_head(past, dims, false));
            GroupQueryAttention::joined(past, new.view(), &lengths, sizes.past.max(total))
        };
        let (keys, values) = (join(0, k), join(1, v));
        let mask = value(inputs, ATTENTION_BIAS).map(Mask::new);
        let bias = |at: [usize; 3], row: &mut [f64]| {
            mask.iter().for_each(|mask| mask.add(at, row));
            let [n_past, n_keys] = lengths[at[0]];
            self.exclude(row, n_past + at[2], n_keys);
        };
        let rules = Rules {
            scale: self.scale.map_or_else(|| 1. / (sizes.size as f64).sqrt(), f64::from),
            softcap: f64::from(self.softcap),
            dtype: DType::F32,
            softmax: DType::F32,
            keep: None,
        };
        let seen = |x: &Array4<f32>| x.slice(s![.., .., ..total, ..]).to_owned();
        let (k, v) = (seen(&keys), seen(&values));
        let Attended { y, .. } = attend(&rules, [q.view(), k.view(), v.view()], &bias);
        let tensors = types.iter().zip([y, keys, values]);
        let tensors = tensors
            .map(|(ty, made)| floats::tensor(ty.dtype, &ty.shape, made.iter().copied().collect()));
        Ok(tensors.collect())
    }

    fn macs(&self, inputs: &Inputs<'_>, _outputs: &[TensorType]) -> u64 {
        let Ok(sizes) = self.sizes(inputs) else { return 0 };
        let total = GroupQueryAttention::total(inputs, &sizes).unwrap_or(sizes.length);
        macs([sizes.batch, self.heads, sizes.length, total], sizes.size, sizes.size)
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        let reads = Reads::Only(vec![QUERY, KEY, VALUE, PAST_KEY, PAST_VALUE]);
        QuantRole { reads, product: true, ..QuantRole::OWN_RANGE }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::testing::{OpTest, counting, op};
    use crate::tensor::Tensor;

    /// Two heads of size 1 that share keys; all scores are 0, so that the weights are equal.
    fn packed() -> OpTest {
        op("GroupQueryAttention")
            .domain("com.microsoft")
            .int("num_heads", 2)
            .int("kv_num_heads", 1)
            .input(&array![[[0., 0., 1., 4.], [0., 0., 1., 6.]]])
            .absent()
            .absent()
    }

    fn lengths(op: OpTest, last: i32, total: i32) -> OpTest {
        op.tensor(array![last]).tensor(Tensor::scalar(total))
    }

    #[test]
    fn first_step() {
        let base = |op: OpTest| lengths(op.absent().absent(), 1, 2);
        base(packed()).macs(16).gives(array![[[4., 4.], [5., 5.]]]);
        base(packed()).int("local_window_size", 1).gives(array![[[4., 4.], [6., 6.]]]);
        base(packed()).outputs(3).gives_tensors(&[
            array![[[4_f32, 4.], [5., 5.]]].into(),
            array![[[[1_f32], [1.]]]].into(),
            array![[[[4_f32], [6.]]]].into(),
        ]);
    }

    #[test]
    fn later_step_with_room() {
        let past = Tensor::full(&[1, 1, 4, 1], 1_f32);
        let op = packed().tensor(past.clone()).tensor(past);
        lengths(op, 2, 3).outputs(3).gives_tensors(&[
            array![[[2.5_f32, 2.5], [11. / 3., 11. / 3.]]].into(),
            array![[[[1_f32], [1.], [1.], [0.]]]].into(),
            array![[[[1_f32], [4.], [6.], [0.]]]].into(),
        ]);
    }

    #[test]
    fn refuses() {
        let base = || packed().absent().absent();
        lengths(base(), 2, 2).fails("input `seqlens_k` is 2, expected from 1 to 1");
        lengths(base(), 2, 3).fails("input `total_sequence_length` is 3, expected from 2 to 2");
        lengths(base(), 1, 2).int("do_rotary", 1).fails("input `cos_cache` is missing");
        lengths(base(), 1, 2)
            .int("smooth_softmax", 1)
            .fails("attribute `smooth_softmax` is 1; supported: 0");
        assert!(lengths(base(), 1, 2).quant().product);
        lengths(base(), 1, 2)
            .int("do_rotary", 1)
            .tensor(counting(&[2, 1]))
            .tensor(counting(&[2, 1]))
            .fails("input `cos_cache` has shape [2, 1], expected [2, at most 0]");
    }
}
