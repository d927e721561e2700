//! `Attention`: the products that make Q, K and V, and the attention of one to the other.

use ndarray::{Array2, ArrayView2, ArrayView4, s};

use crate::kernels;
use crate::ops::attend::{Mask, macs, read_heads};
use crate::ops::attention::by_head;
use crate::ops::dims::checked_type;
use crate::ops::floats::{self, expect_float, expect_same, floats, optional_floats};
use crate::ops::microsoft::heads::{Computed, Core, expect_bias, expect_padding};
use crate::ops::microsoft::value;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole, Weight};
use crate::tensor::{Tensor, TensorType};

pub(in crate::ops) const OPS: &[OpDef] = &[OpDef::microsoft("Attention", Attention::read)];

/// `input` is `[batch, length, hidden]`, `weights` the columns of Q, then K, then V.
#[derive(Debug)]
struct Attention {
    core: Core,
    heads: usize,
    /// Columns of Q, K, V; thirds unless told.
    columns: Option<[usize; 3]>,
}

const INPUT: usize = 0;
const WEIGHTS: usize = 1;
const BIAS: usize = 2;
const MASK_INDEX: usize = 3;
const PAST: usize = 4;
const ATTENTION_BIAS: usize = 5;
const PAST_SEQUENCE_LENGTH: usize = 6;

/// The sizes of one evaluation.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    batch: usize,
    length: usize,
    hidden: usize,
    /// Of one head of Q and K, and of V.
    size: usize,
    v_size: usize,
    past: usize,
}

impl Attention {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let heads = read_heads("num_heads", attrs.require_int("num_heads")?)?;
        for name in ["do_rotary", "past_present_share_buffer"] {
            if attrs.flag(name, false)? {
                return Err(OpError::attribute(name, 1, "0"));
            }
        }
        attrs.ignore("rotary_embedding_dim");
        let columns = attrs.opt_sizes("qkv_hidden_sizes", 0)?.filter(|columns| !columns.is_empty());
        let columns = columns.map(|columns| match *columns {
            [q, k, v] if q == k && q.is_multiple_of(heads) && v.is_multiple_of(heads) => {
                Ok([q, k, v])
            }
            _ => {
                let expected = format!("three multiples of {heads}, the first two equal");
                let found = format!("{columns:?}");
                Err(OpError::invalid_attribute("qkv_hidden_sizes", found, expected))
            }
        });
        Ok(Box::new(Attention { core: Core::read(attrs)?, heads, columns: columns.transpose()? }))
    }

    fn sizes(&self, inputs: &Inputs<'_>) -> Result<Sizes, OpError> {
        let input = inputs.require(INPUT, "input")?;
        expect_float(&input)?;
        let [batch, length, hidden] = input.expect_rank()?;
        let weights = inputs.require(WEIGHTS, "weights")?;
        expect_same(&weights, input.dtype(), "input")?;
        let [rows, columns] = weights.expect_rank()?;
        let [q, k, v] = self.columns.unwrap_or([columns / 3; 3]);
        let sum = q.checked_add(k).and_then(|sum| sum.checked_add(v));
        if rows != hidden || sum != Some(columns) || !q.is_multiple_of(self.heads) {
            let expected = match self.columns {
                Some(_) => format!("[{hidden}, {q} + {k} + {v}]"),
                None => format!("[{hidden}, a multiple of 3 * {}]", self.heads),
            };
            return Err(weights.wrong_shape(expected));
        }
        let (size, v_size) = (q / self.heads, v / self.heads);
        let past = match inputs.optional(PAST, "past") {
            None => 0,
            Some(past) => match *expect_same(&past, input.dtype(), "input")? {
                [2, b, n, length, h]
                    if [b, n, h] == [batch, self.heads, size] && size == v_size =>
                {
                    length
                }
                _ => {
                    let expected = format!("[2, {batch}, {}, length, {size}]", self.heads);
                    return Err(past.wrong_shape(expected));
                }
            },
        };
        Ok(Sizes { batch, length, hidden, size, v_size, past })
    }

    /// `[batch * length, columns]`
    fn project(inputs: &Inputs<'_>, sizes: &Sizes) -> Array2<f32> {
        let (rows, columns) = (sizes.batch * sizes.length, inputs.shape(WEIGHTS)[1]);
        let (x, w) = (floats(inputs, INPUT), floats(inputs, WEIGHTS));
        let x = ArrayView2::from_shape((rows, sizes.hidden), &x).expect("`infer` checked it");
        let w = ArrayView2::from_shape((sizes.hidden, columns), &w).expect("`infer` checked it");
        let mut y = Array2::zeros((rows, columns));
        if let Some(bias) = optional_floats(inputs, BIAS) {
            y.rows_mut().into_iter().for_each(|mut row| {
                row.iter_mut().zip(&*bias).for_each(|(y, &bias)| *y = bias);
            });
        }
        kernels::add_product(x, w, y.view_mut());
        y
    }

    fn masks(&self, inputs: &Inputs<'_>, sizes: &Sizes) -> Vec<Mask> {
        let keys = sizes.past + sizes.length;
        let padding = value(inputs, MASK_INDEX);
        let padding = padding.map(|mask| self.core.padding(mask, [sizes.batch, keys]));
        padding.into_iter().chain(value(inputs, ATTENTION_BIAS).map(Mask::new)).collect()
    }
}

impl Operator for Attention {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(7)?;
        if inputs.get(PAST_SEQUENCE_LENGTH).is_some() {
            return Err(OpError::NotSupported { what: "a shared buffer of the past".to_owned() });
        }
        let Sizes { batch, length, size, v_size, past, .. } = self.sizes(inputs)?;
        let dtype = inputs.require(INPUT, "input")?.dtype();
        let columns = inputs.shape(WEIGHTS)[1];
        if let Some(bias) = inputs.optional(BIAS, "bias")
            && expect_same(&bias, dtype, "input")? != [columns]
        {
            return Err(bias.wrong_shape(format!("[{columns}]")));
        }
        let keys = past.checked_add(length);
        let keys = keys.ok_or_else(|| OpError::TooLarge { found: format!("{past} + {length}") })?;
        if let Some(mask) = inputs.optional(MASK_INDEX, "mask_index") {
            expect_padding(&mask, [batch, length, keys], &[1, 2])?;
        }
        if let Some(bias) = inputs.optional(ATTENTION_BIAS, "attention_bias") {
            expect_bias(&bias, dtype, [batch, self.heads, length, keys])?;
        }
        let mut types = vec![
            checked_type(dtype, vec![batch, length, self.heads * v_size])?,
            checked_type(dtype, vec![2, batch, self.heads, keys, size])?,
        ];
        checked_type(dtype, vec![batch, self.heads, length, keys])?;
        if 1 < inputs.n_outputs() && size != v_size {
            let what = "`present` with values of another size than keys".to_owned();
            return Err(OpError::NotSupported { what });
        }
        types.truncate(inputs.n_outputs().max(1));
        Ok(types)
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let types = self.infer(inputs)?;
        let sizes = self.sizes(inputs)?;
        let Sizes { batch, length, size, v_size, past, .. } = sizes;
        let projected = Attention::project(inputs, &sizes);
        let (q, v) = (self.heads * size, self.heads * v_size);
        let part = |from: usize, n: usize| -> Vec<f32> {
            projected.slice(s![.., from..from + n]).iter().copied().collect()
        };
        let parts = [part(0, q), part(q, q), part(2 * q, v)];
        let [q, k, v] = [(&parts[0], size), (&parts[1], size), (&parts[2], v_size)]
            .map(|(part, size)| by_head(part, [batch, self.heads, length, size], true));
        let past_values = optional_floats(inputs, PAST);
        let halves = past_values.as_deref().map(|values| values.split_at(values.len() / 2));
        let cached =
            |half| -> ArrayView4<'_, f32> { by_head(half, [batch, self.heads, past, size], false) };
        let past = [halves.map(|(keys, _)| cached(keys)), halves.map(|(_, values)| cached(values))];
        let Computed { y, keys, values } =
            self.core.compute([q, k, v], past, &self.masks(inputs, &sizes));
        let mut made = vec![y.into_raw_vec_and_offset().0];
        if 1 < types.len() {
            made.push(keys.iter().chain(&values).copied().collect());
        }
        let tensors = types.iter().zip(made);
        Ok(tensors.map(|(ty, made)| floats::tensor(ty.dtype, &ty.shape, made)).collect())
    }

    /// The product with the weights and the two of attention.
    fn macs(&self, inputs: &Inputs<'_>, _outputs: &[TensorType]) -> u64 {
        let Ok(sizes) = self.sizes(inputs) else { return 0 };
        let Sizes { batch, length, hidden, size, v_size, past } = sizes;
        let factors = [batch, length, hidden, inputs.shape(WEIGHTS)[1]];
        let product = factors.iter().fold(1, |product: u64, &n| product.saturating_mul(n as u64));
        product.saturating_add(macs([batch, self.heads, length, past + length], size, v_size))
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::weighted(INPUT, Weight { input: WEIGHTS, channel_axis: 1 }).with_bias(BIAS)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::testing::{OpTest, op};
    use crate::ops::{QuantRole, Weight};

    /// One head; Q is 0, K is the input, V ten times that.
    fn attention() -> OpTest {
        op("Attention")
            .domain("com.microsoft")
            .int("num_heads", 1)
            .input(&array![[[1.], [3.]]])
            .input(&array![[0., 1., 10.]])
    }

    #[test]
    fn projects_and_attends() {
        attention().macs(14).gives(array![[[20.], [20.]]]);
        attention().input(&array![0., 0., 1.]).gives(array![[[21.], [21.]]]);
        attention().int("unidirectional", 1).gives(array![[[10.], [20.]]]);
        attention().ints("qkv_hidden_sizes", &[1, 1, 1]).gives(array![[[20.], [20.]]]);
        // A query of 1 makes the scores 1 and 3, times the scale.
        attention()
            .input(&array![1., 0., 0.])
            .float("scale", 0.5)
            .gives(array![[[24.621_172], [24.621_172]]]);
    }

    #[test]
    fn masks() {
        let masked = || attention().absent().float("mask_filter_value", f32::NEG_INFINITY);
        masked().tensor(array![1_i32]).gives(array![[[10.], [10.]]]);
        masked().tensor(array![2_i32, 1]).gives(array![[[30.], [30.]]]);
        masked().tensor(array![[0_i32, 1]]).gives(array![[[30.], [30.]]]);
        masked().tensor(array![[[0_i32, 1], [1, 0]]]).gives(array![[[30.], [10.]]]);
        let bias = array![[[[0., -1e9], [-1e9, 0.]]]];
        attention().absent().absent().absent().input(&bias).gives(array![[[10.], [30.]]]);
    }

    #[test]
    fn the_past_comes_first() {
        attention()
            .absent()
            .absent()
            .input(&array![[[[[7.]]]], [[[[80.]]]]])
            .outputs(2)
            .macs(18)
            .gives_tensors(&[
                array![[[40_f32], [40.]]].into(),
                array![[[[[7_f32], [1.], [3.]]]], [[[[80.], [10.], [30.]]]]].into(),
            ]);
    }

    #[test]
    fn refuses() {
        attention().input(&array![1.]).fails("input `bias` has shape [1], expected [3]");
        attention()
            .absent()
            .tensor(array![1_i32, 1, 1])
            .fails("input `mask_index` has shape [3], expected [1], [1, 2] or [1, 2, 2]");
        attention().ints("qkv_hidden_sizes", &[1, 2, 1]).fails(
            "attribute `qkv_hidden_sizes` is [1, 2, 1], expected three multiples of 1, the first two equal",
        );
        attention().int("do_rotary", 1).fails("attribute `do_rotary` is 1; supported: 0");
        attention()
            .absent()
            .absent()
            .input(&array![1.])
            .fails("input `past` has shape [1], expected [2, 1, 1, length, 1]");
    }

    #[test]
    fn quantization() {
        let role = QuantRole::weighted(0, Weight { input: 1, channel_axis: 1 }).with_bias(2);
        assert_eq!(attention().quant(), role);
    }
}
