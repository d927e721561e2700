//! `Attention`: scaled dot-product attention, with heads that share keys and values, masks, windows
//! and a cache.
//!
//! <https://onnx.ai/onnx/operators/onnx__Attention.html>

use ndarray::{ArrayView4, Axis, Ix4, concatenate};

use crate::ops::attend::{Attended, Mask, Real, Rules, Stage, attend, in_real, macs, read_heads};
use crate::ops::dims::checked_type;
use crate::ops::floats::expect_same;
use crate::ops::inputs::Named;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole, Reads};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("Attention", 23, |attrs| Attention::read(attrs, false)),
    OpDef::onnx("Attention", 25, |attrs| Attention::read(attrs, true)),
];

/// `Q`, `K` and `V` are `[batch, heads, length, size]` or, with the heads in attributes,
/// `[batch, length, heads * size]`.
#[derive(Debug)]
struct Attention {
    q_heads: Option<usize>,
    kv_heads: Option<usize>,
    is_causal: bool,
    /// How far before and after its own position a query may look.
    window: [Option<i64>; 2],
    scale: Option<f32>,
    softcap: f32,
    precision: Option<DType>,
    stage: Stage,
}

const Q: usize = 0;
const K: usize = 1;
const V: usize = 2;
const ATTN_MASK: usize = 3;
const PAST_KEY: usize = 4;
const PAST_VALUE: usize = 5;
const NONPAD_KV_SEQLEN: usize = 6;

/// The sizes of one evaluation.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    batch: usize,
    q_heads: usize,
    kv_heads: usize,
    queries: usize,
    past: usize,
    /// Those of the cache included.
    keys: usize,
    size: usize,
    v_size: usize,
    /// Whether the heads lie side by side in the last axis.
    is_flat: bool,
}

impl Attention {
    fn read(attrs: &mut Attrs, has_window: bool) -> Result<Box<dyn Operator>, OpError> {
        let mut heads =
            |name| attrs.opt_int(name)?.map(|heads| read_heads(name, heads)).transpose();
        let (q_heads, kv_heads) = (heads("q_num_heads")?, heads("kv_num_heads")?);
        let mut window = |name| match attrs.int(name, -1)? {
            -1 => Ok(None),
            size if 0 <= size => Ok(Some(size)),
            other => Err(OpError::invalid_attribute(name, other, "-1 or more")),
        };
        let window = match has_window {
            true => [window("left_window_size")?, window("right_window_size")?],
            false => [None; 2],
        };
        Ok(Box::new(Attention {
            q_heads,
            kv_heads,
            is_causal: attrs.flag("is_causal", false)?,
            window,
            scale: attrs.opt_float("scale")?,
            softcap: attrs.float("softcap", 0.)?,
            precision: read_precision(attrs)?,
            stage: match attrs.int("qk_matmul_output_mode", 0)? {
                0 => Stage::Product,
                1 => Stage::Capped,
                2 => Stage::Biased,
                3 => Stage::Softmax,
                other => {
                    return Err(OpError::attribute("qk_matmul_output_mode", other, "0 to 3"));
                }
            },
        }))
    }

    fn sizes(&self, inputs: &Inputs<'_>) -> Result<Sizes, OpError> {
        let (q, k, v) = (inputs.require(Q, "Q")?, inputs.require(K, "K")?, inputs.require(V, "V")?);
        for input in [&q, &k, &v] {
            input.expect_dtype_that(DType::is_float, "a float type")?;
        }
        expect_same(&k, q.dtype(), "Q")?;
        let [batch, q_heads, queries, size] = heads(&q, "q_num_heads", self.q_heads, q.rank())?;
        let k_dims = heads(&k, "kv_num_heads", self.kv_heads, q.rank())?;
        let [_, kv_heads, new_keys, _] = k_dims;
        if [k_dims[0], k_dims[3]] != [batch, size] {
            return Err(k.wrong_shape(format!("batch {batch} and head size {size}, those of `Q`")));
        }
        let v_dims = heads(&v, "kv_num_heads", self.kv_heads, q.rank())?;
        if v_dims[..3] != k_dims[..3] {
            return Err(
                v.wrong_shape(format!("batch, heads and length {:?}, those of `K`", &k_dims[..3]))
            );
        }
        if kv_heads == 0 || !q_heads.is_multiple_of(kv_heads) {
            let expected = format!("a number of heads that divides {q_heads}, that of `Q`");
            return Err(k.wrong_shape(expected));
        }
        let v_size = v_dims[3];
        let past = past_length(inputs, [q.dtype(), v.dtype()], [batch, kv_heads, size, v_size])?;
        let keys = past.checked_add(new_keys);
        let keys =
            keys.ok_or_else(|| OpError::TooLarge { found: format!("{past} + {new_keys}") })?;
        let is_flat = q.rank() == 3;
        Ok(Sizes { batch, q_heads, kv_heads, queries, past, keys, size, v_size, is_flat })
    }

    /// How many keys come before the first query, for every batch.
    fn offsets(&self, inputs: &Inputs<'_>, sizes: &Sizes) -> Result<Vec<i64>, OpError> {
        let Some(lengths) = lengths(inputs, sizes)? else {
            return Ok(vec![sizes.past as i64; sizes.batch]);
        };
        Ok(lengths.into_iter().map(|length| length - sizes.queries as i64).collect())
    }

    fn rules(&self, inputs: &Inputs<'_>, sizes: &Sizes) -> Rules {
        let dtype = inputs.tensor(Q).dtype();
        let default = || 1. / (sizes.size as f64).sqrt();
        Rules {
            scale: self.scale.map_or_else(default, f64::from),
            softcap: f64::from(self.softcap),
            dtype,
            softmax: self.precision.unwrap_or(dtype),
            keep: (3 < inputs.n_outputs()).then_some(self.stage),
        }
    }

    fn compute<T: Real>(&self, inputs: &Inputs<'_>, sizes: &Sizes) -> Result<Vec<Tensor>, OpError> {
        let elements = [Q, K, V].map(|input| T::elements(inputs.tensor(input)));
        let dims = |heads, length, size| [sizes.batch, heads, length, size];
        let new_keys = sizes.keys - sizes.past;
        let view = |index: usize, dims| by_head(&elements[index], dims, sizes.is_flat);
        let q = view(Q, dims(sizes.q_heads, sizes.queries, sizes.size));
        let k = view(K, dims(sizes.kv_heads, new_keys, sizes.size));
        let v = view(V, dims(sizes.kv_heads, new_keys, sizes.v_size));
        let past = |input, now, size| {
            let past = inputs.get(input).map(|_| T::elements(inputs.tensor(input)));
            let dims = dims(sizes.kv_heads, sizes.past, size);
            let past = past.as_deref().map(|past| by_head(past, dims, false));
            let parts: Vec<_> = past.into_iter().chain([now]).collect();
            concatenate(Axis(2), &parts).expect("`infer` checked the shapes")
        };
        let (k, v) = (past(PAST_KEY, k, sizes.size), past(PAST_VALUE, v, sizes.v_size));
        let mask = inputs.get(ATTN_MASK).map(|_| Mask::new(inputs.tensor(ATTN_MASK)));
        let (offsets, lengths) = (self.offsets(inputs, sizes)?, lengths(inputs, sizes)?);
        let bias = |at: [usize; 3], row: &mut [f64]| {
            let [b, _, i] = at;
            if let Some(mask) = &mask {
                mask.add(at, row);
            }
            let length = lengths.as_ref().map_or(i64::MAX, |lengths| lengths[b]);
            self.exclude(row, offsets[b] + i as i64, length);
        };
        let rules = self.rules(inputs, sizes);
        let Attended { y, scores } = attend(&rules, [q, k.view(), v.view()], &bias);
        let y = if sizes.is_flat { y.into_dyn() } else { y.permuted_axes([0, 2, 1, 3]).into_dyn() };
        let scores = scores.map(|scores| scores.into_dyn());
        let values = [Some(y), Some(k.into_dyn()), Some(v.into_dyn()), scores];
        let types = self.infer(inputs)?;
        Ok(types.iter().zip(values).filter_map(|(ty, value)| Some(tensor(ty, value?))).collect())
    }

    /// Excludes the keys that a query at a position may not see.
    fn exclude(&self, row: &mut [f64], position: i64, length: i64) {
        let [left, right] = self.window;
        let first = left.map_or(i64::MIN, |left| position.saturating_sub(left));
        let last = right.map_or(i64::MAX, |right| position.saturating_add(right));
        let last = if self.is_causal { last.min(position) } else { last };
        let is_seen = |j: i64| first <= j && j <= last && j < length;
        let excluded = row.iter_mut().zip(0..).filter(|(_, j)| !is_seen(*j));
        excluded.for_each(|(x, _)| *x = f64::NEG_INFINITY);
    }
}

impl Operator for Attention {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(7)?;
        let sizes = self.sizes(inputs)?;
        let Sizes { batch, q_heads, kv_heads, queries, keys, size, v_size, .. } = sizes;
        expect_mask(inputs, [batch, q_heads, queries, keys])?;
        expect_lengths(inputs, batch)?;
        let flat_size = q_heads.saturating_mul(v_size);
        let y = match sizes.is_flat {
            true => vec![batch, queries, flat_size],
            false => vec![batch, q_heads, queries, v_size],
        };
        let (dtype, v_dtype) = (inputs.require(Q, "Q")?.dtype(), inputs.require(V, "V")?.dtype());
        let mut types = vec![
            checked_type(dtype, y)?,
            checked_type(dtype, vec![batch, kv_heads, keys, size])?,
            checked_type(v_dtype, vec![batch, kv_heads, keys, v_size])?,
            checked_type(dtype, vec![batch, q_heads, queries, keys])?,
        ];
        types.truncate(inputs.n_outputs().max(1));
        Ok(types)
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let sizes = self.sizes(inputs)?;
        let is_wide = [Q, V].iter().any(|&input| inputs.tensor(input).dtype() == DType::F64);
        in_real!(is_wide, T => self.compute::<T>(inputs, &sizes))
    }

    /// Both products; what a mask excludes counts.
    fn macs(&self, inputs: &Inputs<'_>, _outputs: &[TensorType]) -> u64 {
        let Ok(sizes) = self.sizes(inputs) else { return 0 };
        macs([sizes.batch, sizes.q_heads, sizes.queries, sizes.keys], sizes.size, sizes.v_size)
    }

    /// Masks are no activations.
    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        let reads = Reads::Only(vec![Q, K, V, PAST_KEY, PAST_VALUE]);
        QuantRole { reads, product: true, ..QuantRole::OWN_RANGE }
    }
}

fn read_precision(attrs: &mut Attrs) -> Result<Option<DType>, OpError> {
    let Some(precision) = attrs.opt_int("softmax_precision")? else { return Ok(None) };
    match precision {
        1 => Ok(Some(DType::F32)),
        10 => Ok(Some(DType::F16)),
        11 => Ok(Some(DType::F64)),
        16 => Ok(Some(DType::BF16)),
        other => {
            let supported = "1, float32; 10, float16; 11, float64; 16, bfloat16";
            Err(OpError::attribute("softmax_precision", other, supported))
        }
    }
}

/// `[batch, heads, length, size]`, with the heads of an attribute if the rank is 3.
fn heads(
    input: &Named<'_>,
    name: &'static str,
    n_heads: Option<usize>,
    rank: usize,
) -> Result<[usize; 4], OpError> {
    match (rank, input.shape()) {
        (4, &[batch, heads, length, size]) => match n_heads {
            Some(n_heads) if n_heads != heads => {
                Err(input.wrong_shape(format!("{n_heads} heads along axis 1, as `{name}` says")))
            }
            _ => Ok([batch, heads, length, size]),
        },
        (3, &[batch, length, flat_size]) => {
            let missing = || OpError::MissingAttribute { name: name.to_owned() };
            let n_heads = n_heads.ok_or_else(missing)?;
            if !flat_size.is_multiple_of(n_heads) {
                let expected = format!("a multiple of {n_heads}, `{name}`, along axis 2");
                return Err(input.wrong_shape(expected));
            }
            Ok([batch, n_heads, length, flat_size / n_heads])
        }
        (3 | 4, _) => Err(input.wrong_shape(format!("rank {rank}, that of `Q`"))),
        _ => Err(input.wrong_shape("rank 3 or 4")),
    }
}

/// Length of the cache.
fn past_length(
    inputs: &Inputs<'_>,
    dtypes: [DType; 2],
    [batch, heads, size, v_size]: [usize; 4],
) -> Result<usize, OpError> {
    if inputs.get(PAST_KEY).is_none() && inputs.get(PAST_VALUE).is_none() {
        return Ok(0);
    }
    let key = inputs.require(PAST_KEY, "past_key")?;
    let value = inputs.require(PAST_VALUE, "past_value")?;
    expect_same(&key, dtypes[0], "Q")?;
    expect_same(&value, dtypes[1], "V")?;
    let [_, _, past, _] = key.expect_rank()?;
    for (input, size) in [(key, size), (value, v_size)] {
        if input.shape() != [batch, heads, past, size] {
            return Err(input.wrong_shape(format!("[{batch}, {heads}, {past}, {size}]")));
        }
    }
    if inputs.get(NONPAD_KV_SEQLEN).is_some() {
        let what = "`past_key` together with `nonpad_kv_seqlen`".to_owned();
        return Err(OpError::NotSupported { what });
    }
    Ok(past)
}

/// The last dimension of a mask may be shorter than the keys, all others broadcast.
fn expect_mask(inputs: &Inputs<'_>, to: [usize; 4]) -> Result<(), OpError> {
    let Some(mask) = inputs.optional(ATTN_MASK, "attn_mask") else { return Ok(()) };
    let fits = match mask.shape() {
        [outer @ .., keys] if outer.len() < 4 => {
            let dims = outer.iter().zip(&to[3 - outer.len()..]);
            *keys <= to[3] && dims.into_iter().all(|(&dim, &to)| dim == 1 || dim == to)
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(mask.wrong_shape(format!("broadcastable to {to:?}"))) }
}

fn expect_lengths(inputs: &Inputs<'_>, batch: usize) -> Result<(), OpError> {
    let Some(lengths) = inputs.optional(NONPAD_KV_SEQLEN, "nonpad_kv_seqlen") else {
        return Ok(());
    };
    if lengths.expect_dtype(DType::I64)? != [batch] {
        return Err(lengths.wrong_shape(format!("[{batch}]")));
    }
    Ok(())
}

/// How many keys of every batch are no padding.
fn lengths(inputs: &Inputs<'_>, sizes: &Sizes) -> Result<Option<Vec<i64>>, OpError> {
    if inputs.get(NONPAD_KV_SEQLEN).is_none() {
        return Ok(None);
    }
    let lengths = inputs.tensor(NONPAD_KV_SEQLEN).slice::<i64>().to_vec();
    let is_outside = |&length: &i64| length < 0 || (sizes.keys as i64) < length;
    match lengths.iter().copied().find(is_outside) {
        Some(length) => {
            let expected = format!("from 0 to {}, the number of keys", sizes.keys);
            Err(OpError::value("nonpad_kv_seqlen", length, expected))
        }
        None => Ok(Some(lengths)),
    }
}

/// Elements as `[batch, heads, length, size]`; where `is_flat` they lie as `[batch, length, heads, size]`.
pub(super) fn by_head<T>(
    elements: &[T],
    [batch, heads, length, size]: [usize; 4],
    is_flat: bool,
) -> ArrayView4<'_, T> {
    let shape = match is_flat {
        true => Ix4(batch, length, heads, size),
        false => Ix4(batch, heads, length, size),
    };
    let view = ArrayView4::from_shape(shape, elements).expect("`infer` checked the shape");
    if is_flat { view.permuted_axes([0, 2, 1, 3]) } else { view }
}

/// A tensor of a type, the elements in its row-major order.
pub(super) fn tensor<T: Real>(ty: &TensorType, array: ndarray::ArrayD<T>) -> Tensor {
    let array = array.as_standard_layout().into_owned();
    T::tensor(ty.dtype, &ty.shape, array.into_raw_vec_and_offset().0)
}

#[cfg(test)]
mod tests {
    use half::f16;
    use ndarray::array;

    use crate::ops::Reads;
    use crate::ops::testing::{OpTest, counting, op};
    use crate::tensor::Tensor;

    /// One head of size 1; all scores are 0, so that the weights are equal.
    fn equal(queries: usize, keys: usize) -> OpTest {
        op("Attention")
            .tensor(Tensor::full(&[1, 1, queries, 1], 0_f32))
            .tensor(Tensor::full(&[1, 1, keys, 1], 1_f32))
            .tensor(counting(&[1, 1, keys, 1]))
    }

    #[test]
    fn weighs_values() {
        equal(2, 3).macs(12).gives(array![[[[1.], [1.]]]]);
        // Weights 1 : e, e^2 with a scale of 2.
        let base = || {
            op("Attention")
                .input(&array![[[[1.]]]])
                .input(&array![[[[0.], [1.]]]])
                .input(&array![[[[0.], [1.]]]])
        };
        base().gives(array![[[[0.731_058_6]]]]);
        base().float("scale", 2.).gives(array![[[[0.880_797_1]]]]);
        base().float("scale", 1e9).float("softcap", 1.).gives(array![[[[0.731_058_6]]]]);
    }

    #[test]
    fn heads_side_by_side() {
        let base = || {
            op("Attention")
                .tensor(Tensor::full(&[1, 1, 4], 0_f32))
                .tensor(Tensor::full(&[1, 2, 2], 0_f32))
                .tensor(counting(&[1, 2, 4]))
                .int("kv_num_heads", 2)
        };
        base()
            .int("q_num_heads", 2)
            .fails("input `K` has shape [1, 2, 2], expected batch 1 and head size 2, those of `Q`");
        let y = array![[[2., 3., 2., 3., 4., 5., 4., 5.]]];
        base().int("q_num_heads", 4).macs(24).gives(y);
        base().fails("attribute `q_num_heads` is missing");
    }

    #[test]
    fn masks_and_windows() {
        equal(2, 3)
            .tensor(array![[true, false, true], [false, false, false]])
            .gives(array![[[[1.], [0.]]]]);
        equal(1, 3).input(&array![[0., 0.]]).gives(array![[[[0.5]]]]);
        equal(2, 3).int("is_causal", 1).gives(array![[[[0.], [0.5]]]]);
        equal(1, 4).absent().absent().absent().i64s(&[3]).gives(array![[[[1.]]]]);
        equal(1, 4)
            .absent()
            .absent()
            .absent()
            .i64s(&[3])
            .int("is_causal", 1)
            .gives(array![[[[1.]]]]);
        equal(3, 3).int("left_window_size", 0).int("right_window_size", 1).gives(array![[[
            [0.5],
            [1.5],
            [2.]
        ]]]);
    }

    #[test]
    fn cache_comes_first() {
        equal(1, 1)
            .absent()
            .tensor(Tensor::full(&[1, 1, 2, 1], 2_f32))
            .tensor(Tensor::full(&[1, 1, 2, 1], 6_f32))
            .int("is_causal", 1)
            .int("qk_matmul_output_mode", 3)
            .outputs(4)
            .macs(6)
            .gives_tensors(&[
                array![[[[4_f32]]]].into(),
                array![[[[2_f32], [2.], [1.]]]].into(),
                array![[[[6_f32], [6.], [0.]]]].into(),
                array![[[[1_f32 / 3., 1. / 3., 1. / 3.]]]].into(),
            ]);
    }

    #[test]
    fn other_types() {
        let x = array![[[[f16::from_f32(2.)]]]];
        op("Attention").tensor(x.clone()).tensor(x.clone()).tensor(x.clone()).gives_tensor(x);
        let x = array![[[[1e-300_f64]]]];
        op("Attention").tensor(x.clone()).tensor(x.clone()).tensor(x.clone()).gives_tensor(x);
    }

    #[test]
    fn nothing_in() {
        equal(0, 2).gives_tensor(counting(&[1, 1, 0, 1]));
        equal(1, 0).gives(array![[[[0.]]]]);
    }

    #[test]
    fn refuses() {
        equal(1, 2)
            .tensor(counting(&[1, 3]))
            .fails("input `attn_mask` has shape [1, 3], expected broadcastable to [1, 1, 1, 2]");
        equal(1, 2).absent().tensor(counting(&[1, 1, 2, 1])).fails("input `past_value` is missing");
        equal(1, 2)
            .absent()
            .absent()
            .absent()
            .i64s(&[3])
            .fails("input `nonpad_kv_seqlen` is 3, expected from 0 to 2, the number of keys");
        equal(1, 2)
            .int("left_window_size", -2)
            .fails("attribute `left_window_size` is -2, expected -1 or more");
        equal(1, 2)
            .opset(24)
            .int("left_window_size", 2)
            .fails("attribute `left_window_size` is not one this operator has");
        op("Attention")
            .tensor(counting(&[1, 3, 1, 1]))
            .tensor(counting(&[1, 2, 1, 1]))
            .tensor(counting(&[1, 2, 1, 1]))
            .fails("input `K` has shape [1, 2, 1, 1], expected a number of heads that divides 3, that of `Q`");
    }

    #[test]
    fn quantization() {
        let role = equal(1, 2).quant();
        assert!(role.product);
        assert_eq!(role.reads, Reads::Only(vec![0, 1, 2, 4, 5]));
    }
}
