//! `MultiHeadAttention`: the attention of Q to K and V, with the biases of the products that made them.

use std::borrow::Cow;

use ndarray::{ArrayView4, ArrayView5, s};

use crate::ops::attend::{Mask, macs, read_heads};
use crate::ops::attention::by_head;
use crate::ops::dims::checked_type;
use crate::ops::floats::{self, expect_float, expect_same, floats, optional_floats};
use crate::ops::microsoft::heads::{Computed, Core, expect_bias, expect_padding};
use crate::ops::microsoft::value;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole, Reads};
use crate::tensor::{Tensor, TensorType};

pub(in crate::ops) const OPS: &[OpDef] =
    &[OpDef::microsoft("MultiHeadAttention", MultiHeadAttention::read)];

#[derive(Debug)]
struct MultiHeadAttention {
    core: Core,
    heads: usize,
}

const QUERY: usize = 0;
const KEY: usize = 1;
const VALUE: usize = 2;
const BIAS: usize = 3;
const KEY_PADDING_MASK: usize = 4;
const ATTENTION_BIAS: usize = 5;
const PAST_KEY: usize = 6;
const PAST_VALUE: usize = 7;

/// How Q, K and V come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Each `[batch, length, heads * size]`.
    Apart,
    /// K and V are `[batch, heads, length, size]`.
    ByHead,
    /// K and V are `[batch, length, heads, 2, size]`.
    PackedKv,
    /// All are `[batch, length, heads, 3, size]`.
    Packed,
}

/// The sizes of one evaluation.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    form: Form,
    batch: usize,
    length: usize,
    size: usize,
    v_size: usize,
    past: usize,
    /// Without the past.
    keys: usize,
}

impl MultiHeadAttention {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let heads = read_heads("num_heads", attrs.require_int("num_heads")?)?;
        Ok(Box::new(MultiHeadAttention { core: Core::read(attrs)?, heads }))
    }

    fn sizes(&self, inputs: &Inputs<'_>) -> Result<Sizes, OpError> {
        let query = inputs.require(QUERY, "query")?;
        expect_float(&query)?;
        let heads = self.heads;
        let mut sizes = match *query.shape() {
            [batch, length, flat] if flat.is_multiple_of(heads) => {
                let size = flat / heads;
                Sizes {
                    form: Form::Apart,
                    batch,
                    length,
                    size,
                    v_size: size,
                    past: 0,
                    keys: length,
                }
            }
            [batch, length, n, 3, size] if n == heads => Sizes {
                form: Form::Packed,
                batch,
                length,
                size,
                v_size: size,
                past: 0,
                keys: length,
            },
            _ => {
                let expected = format!(
                    "[batch, length, a multiple of {heads}] or [batch, length, {heads}, 3, size]"
                );
                return Err(query.wrong_shape(expected));
            }
        };
        if sizes.form == Form::Packed {
            return Ok(sizes);
        }
        let Sizes { batch, size, .. } = sizes;
        let key = inputs.require(KEY, "key")?;
        match *expect_same(&key, query.dtype(), "query")? {
            [b, keys, flat] if b == batch && flat == heads * size => sizes.keys = keys,
            [b, keys, n, 2, h] if [b, n, h] == [batch, heads, size] => {
                sizes.keys = keys;
                sizes.form = Form::PackedKv;
                return Ok(sizes);
            }
            [b, n, keys, h] if [b, n, h] == [batch, heads, size] => {
                sizes.keys = keys;
                sizes.form = Form::ByHead;
            }
            _ => return Err(key.wrong_shape(format!("batch {batch} and {heads} heads of {size}"))),
        }
        let keys = sizes.keys;
        let value = inputs.require(VALUE, "value")?;
        sizes.v_size = match (sizes.form, expect_same(&value, query.dtype(), "query")?) {
            (Form::Apart, &[b, n, flat])
                if [b, n] == [batch, keys] && flat.is_multiple_of(heads) =>
            {
                flat / heads
            }
            (Form::ByHead, &[b, n, k, v_size]) if [b, n, k] == [batch, heads, keys] => v_size,
            _ => {
                return Err(value.wrong_shape(format!(
                    "batch {batch}, {heads} heads and length {keys}, as `key`"
                )));
            }
        };
        Ok(sizes)
    }

    /// The sizes with those of the past.
    fn all_sizes(&self, inputs: &Inputs<'_>) -> Result<Sizes, OpError> {
        let mut sizes = self.sizes(inputs)?;
        let dtype = inputs.require(QUERY, "query")?.dtype();
        let past = [inputs.get(PAST_KEY), inputs.get(PAST_VALUE)];
        if past.iter().all(Option::is_none) {
            return Ok(sizes);
        }
        let key = inputs.require(PAST_KEY, "past_key")?;
        let value = inputs.require(PAST_VALUE, "past_value")?;
        let [_, _, length, _] = key.expect_rank()?;
        for (input, size) in [(key, sizes.size), (value, sizes.v_size)] {
            let expected = [sizes.batch, self.heads, length, size];
            if expect_same(&input, dtype, "query")? != expected {
                return Err(input.wrong_shape(format!("{expected:?}")));
            }
        }
        sizes.past = length;
        Ok(sizes)
    }

    fn columns(&self, sizes: &Sizes) -> [usize; 3] {
        [sizes.size, sizes.size, sizes.v_size].map(|size| self.heads.saturating_mul(size))
    }

    /// Q, K and V as `[batch, length, heads, size]`, or K and V by head first, their biases added.
    fn operands<'a>(&self, inputs: &Inputs<'a>, sizes: &Sizes) -> [Cow<'a, [f32]>; 3] {
        let all = |position: usize| floats(inputs, position);
        let unpack = |position, of: usize, n: usize| {
            let x = all(position);
            let length = if position == QUERY { sizes.length } else { sizes.keys };
            let shape = (sizes.batch, length, self.heads, of, sizes.size);
            let x = ArrayView5::from_shape(shape, &x).expect("`infer` checked it");
            Cow::Owned(x.slice(s![.., .., .., n, ..]).iter().copied().collect())
        };
        let mut operands: [Cow<'a, [f32]>; 3] = match sizes.form {
            Form::Apart | Form::ByHead => [all(QUERY), all(KEY), all(VALUE)],
            Form::PackedKv => [all(QUERY), unpack(KEY, 2, 0), unpack(KEY, 2, 1)],
            Form::Packed => [unpack(QUERY, 3, 0), unpack(QUERY, 3, 1), unpack(QUERY, 3, 2)],
        };
        if let Some(bias) = optional_floats(inputs, BIAS) {
            let mut rest = &*bias;
            let n_biased = if sizes.form == Form::ByHead { 1 } else { 3 };
            for (x, n) in operands.iter_mut().zip(self.columns(sizes)).take(n_biased) {
                let (bias, after) = rest.split_at(n);
                rest = after;
                for row in x.to_mut().chunks_exact_mut(n.max(1)) {
                    row.iter_mut().zip(bias).for_each(|(x, &bias)| *x += bias);
                }
            }
        }
        operands
    }

    fn masks(&self, inputs: &Inputs<'_>, sizes: &Sizes) -> Vec<Mask> {
        let padding = value(inputs, KEY_PADDING_MASK);
        let keys = sizes.past + sizes.keys;
        let padding = padding.map(|mask| self.core.padding(mask, [sizes.batch, keys]));
        padding.into_iter().chain(value(inputs, ATTENTION_BIAS).map(Mask::new)).collect()
    }
}

impl Operator for MultiHeadAttention {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        if 8 < inputs.len() && (8..inputs.len()).any(|position| inputs.get(position).is_some()) {
            return Err(OpError::NotSupported { what: "a shared buffer of the past".to_owned() });
        }
        if 3 < inputs.n_outputs() {
            return Err(OpError::NotSupported { what: "the output `qk`".to_owned() });
        }
        let sizes = self.all_sizes(inputs)?;
        let Sizes { batch, length, size, v_size, past, .. } = sizes;
        if self.core.is_causal && sizes.keys != length {
            let what = "`unidirectional` with another number of keys than queries".to_owned();
            return Err(OpError::NotSupported { what });
        }
        let dtype = inputs.require(QUERY, "query")?.dtype();
        let columns = self.columns(&sizes);
        if let Some(bias) = inputs.optional(BIAS, "bias") {
            let n = columns.iter().fold(0, |sum: usize, &n| sum.saturating_add(n));
            if expect_same(&bias, dtype, "query")? != [n] {
                return Err(bias.wrong_shape(format!("[{n}]")));
            }
        }
        let keys = past.checked_add(sizes.keys);
        let keys =
            keys.ok_or_else(|| OpError::TooLarge { found: format!("{past} + {}", sizes.keys) })?;
        if let Some(mask) = inputs.optional(KEY_PADDING_MASK, "key_padding_mask") {
            expect_padding(&mask, [batch, length, keys], &[1])?;
        }
        if let Some(bias) = inputs.optional(ATTENTION_BIAS, "attention_bias") {
            expect_bias(&bias, dtype, [batch, self.heads, length, keys])?;
        }
        checked_type(dtype, vec![batch, self.heads, length, keys])?;
        let mut types = vec![
            checked_type(dtype, vec![batch, length, columns[2]])?,
            checked_type(dtype, vec![batch, self.heads, keys, size])?,
            checked_type(dtype, vec![batch, self.heads, keys, v_size])?,
        ];
        types.truncate(inputs.n_outputs().max(1));
        Ok(types)
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let types = self.infer(inputs)?;
        let sizes = self.all_sizes(inputs)?;
        let dims = |length, size| [sizes.batch, self.heads, length, size];
        let operands = self.operands(inputs, &sizes);
        let is_flat = sizes.form != Form::ByHead;
        let q = by_head(&operands[QUERY], dims(sizes.length, sizes.size), true);
        let k = by_head(&operands[KEY], dims(sizes.keys, sizes.size), is_flat);
        let v = by_head(&operands[VALUE], dims(sizes.keys, sizes.v_size), is_flat);
        let (past_k, past_v) =
            (optional_floats(inputs, PAST_KEY), optional_floats(inputs, PAST_VALUE));
        let past = |x, size| -> ArrayView4<'_, f32> { by_head(x, dims(sizes.past, size), false) };
        let past = [
            past_k.as_deref().map(|x| past(x, sizes.size)),
            past_v.as_deref().map(|x| past(x, sizes.v_size)),
        ];
        let Computed { y, keys, values } =
            self.core.compute([q, k, v], past, &self.masks(inputs, &sizes));
        let made = [y, keys, values].map(|made| made.iter().copied().collect());
        let tensors = types.iter().zip(made);
        Ok(tensors.map(|(ty, made)| floats::tensor(ty.dtype, &ty.shape, made)).collect())
    }

    fn macs(&self, inputs: &Inputs<'_>, _outputs: &[TensorType]) -> u64 {
        let Ok(sizes) = self.all_sizes(inputs) else { return 0 };
        let Sizes { batch, length, size, v_size, past, keys, .. } = sizes;
        macs([batch, self.heads, length, past + keys], size, v_size)
    }

    /// Masks and biases are no activations.
    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        let reads = Reads::Only(vec![QUERY, KEY, VALUE, PAST_KEY, PAST_VALUE]);
        QuantRole { reads, product: true, ..QuantRole::OWN_RANGE }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array4, array};

    use crate::ops::testing::{OpTest, counting, op};
    use crate::tensor::Tensor;

    /// One head of size 1; all scores are 0, so that the weights are equal.
    fn equal(queries: usize, keys: usize) -> OpTest {
        op("MultiHeadAttention")
            .domain("com.microsoft")
            .int("num_heads", 1)
            .tensor(Tensor::full(&[1, queries, 1], 0_f32))
            .tensor(Tensor::full(&[1, keys, 1], 1_f32))
            .tensor(counting(&[1, keys, 1]))
    }

    #[test]
    fn forms() {
        equal(2, 3).macs(12).gives(array![[[1.], [1.]]]);
        let packed = array![[[[[0.], [1.], [0.]]], [[[0.], [1.], [1.]]]]];
        let base = || op("MultiHeadAttention").domain("com.microsoft").int("num_heads", 1);
        base().input(&packed).macs(8).gives(array![[[0.5], [0.5]]]);
        let query = array![[[0.]]];
        base().input(&query).input(&array![[[[[1.], [3.]]]]]).gives(array![[[3.]]]);
        base()
            .input(&query)
            .input(&Array4::zeros((1, 1, 2, 1)))
            .input(&array![[[[1.], [3.]]]])
            .gives(array![[[2.]]]);
    }

    #[test]
    fn biases_masks_and_the_past() {
        // A bias makes the scores 0 * 1, 0 * 1 and adds 5 to the values.
        equal(1, 2).input(&array![0., 0., 5.]).gives(array![[[5.5]]]);
        let padded = || equal(1, 3).absent().float("mask_filter_value", f32::NEG_INFINITY);
        padded().tensor(array![[1_i32, 0, 1]]).gives(array![[[1.]]]);
        padded().tensor(array![2_i32]).gives(array![[[0.5]]]);
        equal(1, 2)
            .absent()
            .absent()
            .input(&array![[[[0., f32::NEG_INFINITY]]]])
            .gives(array![[[0.]]]);
        equal(2, 2).int("unidirectional", 1).gives(array![[[0.], [0.5]]]);
        equal(1, 1)
            .absent()
            .absent()
            .absent()
            .tensor(Tensor::full(&[1, 1, 1, 1], 1_f32))
            .tensor(Tensor::full(&[1, 1, 1, 1], 6_f32))
            .outputs(3)
            .macs(4)
            .gives_tensors(&[
                array![[[3_f32]]].into(),
                array![[[[1_f32], [1.]]]].into(),
                array![[[[6_f32], [0.]]]].into(),
            ]);
    }

    #[test]
    fn refuses() {
        equal(1, 2)
            .int("unidirectional", 1)
            .fails("`unidirectional` with another number of keys than queries is not supported");
        equal(1, 2).input(&array![1.]).fails("input `bias` has shape [1], expected [3]");
        equal(1, 2)
            .absent()
            .tensor(array![1_i32, 1])
            .fails("input `key_padding_mask` has shape [2], expected [1], [1, 2] or [1, 1, 2]");
        op("MultiHeadAttention").domain("com.microsoft").fails("attribute `num_heads` is missing");
    }

    #[test]
    fn quantization() {
        let role = equal(1, 2).quant();
        assert!(role.product && role.reads(0) && role.reads(2) && role.reads(7) && !role.reads(5));
    }
}
