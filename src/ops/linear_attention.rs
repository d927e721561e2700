//! `LinearAttention`: attention without a softmax, as a state that every token updates and reads.
//!
//! <https://onnx.ai/onnx/operators/onnx__LinearAttention.html>

use crate::ops::attend::read_heads;
use crate::ops::dims::checked_type;
use crate::ops::floats::{self, expect_float, expect_same, floats, optional_floats};
use crate::ops::inputs::Named;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole, Reads};
use crate::tensor::{Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("LinearAttention", 27, LinearAttention::read)];

/// For every token `S = exp(decay) * S`, `S = S + beta * k (v - S^T k)^T`, `y = scale * S^T q`: `decay` and
/// `beta` where the rule has them; without `beta` it is `S + k v^T`.
///
/// `query` is `[batch, length, q_heads * k_size]`, `key` and `value` the same with their heads and sizes;
/// the state is `[batch, kv_heads, k_size, v_size]`.
#[derive(Debug)]
struct LinearAttention {
    q_heads: usize,
    kv_heads: usize,
    /// 0 for `1 / sqrt(k_size)`.
    scale: f32,
    rule: Rule,
}

#[derive(Debug, Clone, Copy)]
struct Rule {
    has_decay: bool,
    has_beta: bool,
}

const QUERY: usize = 0;
const KEY: usize = 1;
const VALUE: usize = 2;
const PAST_STATE: usize = 3;
const DECAY: usize = 4;
const BETA: usize = 5;

/// The sizes of one evaluation.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    batch: usize,
    length: usize,
    k_size: usize,
    v_size: usize,
}

impl LinearAttention {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        attrs.ignore("chunk_size");
        let mut heads = |name| read_heads(name, attrs.require_int(name)?);
        let (q_heads, kv_heads) = (heads("q_num_heads")?, heads("kv_num_heads")?);
        if !q_heads.is_multiple_of(kv_heads) {
            let expected = format!("a divisor of {q_heads}, `q_num_heads`");
            return Err(OpError::invalid_attribute("kv_num_heads", kv_heads, expected));
        }
        let rule = |has_decay, has_beta| Rule { has_decay, has_beta };
        let rules = [
            ("gated_delta", rule(true, true)),
            ("linear", rule(false, false)),
            ("gated", rule(true, false)),
            ("delta", rule(false, true)),
        ];
        Ok(Box::new(LinearAttention {
            q_heads,
            kv_heads,
            scale: attrs.float("scale", 0.)?,
            rule: attrs.choice("update_rule", &rules)?,
        }))
    }

    fn sizes(&self, inputs: &Inputs<'_>) -> Result<Sizes, OpError> {
        let query = inputs.require(QUERY, "query")?;
        expect_float(&query)?;
        let [batch, length, flat] = query.expect_rank()?;
        let size = |input: Named<'_>, heads: usize, flat: usize| {
            let is_whole = flat.is_multiple_of(heads);
            let wrong = || input.wrong_shape(format!("[{batch}, {length}, {heads} * size]"));
            is_whole.then(|| flat / heads).ok_or_else(wrong)
        };
        let k_size = size(query, self.q_heads, flat)?;
        let kv_size = |input: Named<'_>| match *expect_same(&input, query.dtype(), "query")? {
            [b, t, flat] if [b, t] == [batch, length] => size(input, self.kv_heads, flat),
            _ => Err(input.wrong_shape(format!("[{batch}, {length}, {} * size]", self.kv_heads))),
        };
        let key = inputs.require(KEY, "key")?;
        if kv_size(key)? != k_size {
            return Err(key.wrong_shape(format!("{} heads of {k_size}", self.kv_heads)));
        }
        let v_size = kv_size(inputs.require(VALUE, "value")?)?;
        Ok(Sizes { batch, length, k_size, v_size })
    }

    /// Checks an input that the rule needs: `[batch, length, n]`, `n` one of `sizes`.
    fn expect_gate(
        inputs: &Inputs<'_>,
        (position, name): (usize, &'static str),
        Sizes { batch, length, .. }: Sizes,
        sizes: [usize; 2],
    ) -> Result<(), OpError> {
        let gate = inputs.require(position, name)?;
        let dtype = inputs.require(QUERY, "query")?.dtype();
        match *expect_same(&gate, dtype, "query")? {
            [b, t, n] if [b, t] == [batch, length] && sizes.contains(&n) => Ok(()),
            _ => {
                let [a, b] = sizes;
                Err(gate
                    .wrong_shape(format!("[{batch}, {length}, {a}] or [{batch}, {length}, {b}]")))
            }
        }
    }

    /// Lets every token update the states, `[batch, kv_heads, k_size, v_size]`, and read them.
    fn run(&self, inputs: &Inputs<'_>, sizes: &Sizes, states: &mut [f64]) -> Vec<f32> {
        let Sizes { batch, length, k_size, v_size } = *sizes;
        let (q, k, v) = (floats(inputs, QUERY), floats(inputs, KEY), floats(inputs, VALUE));
        let decay = optional_floats(inputs, DECAY).filter(|_| self.rule.has_decay);
        let beta = optional_floats(inputs, BETA).filter(|_| self.rule.has_beta);
        let (n_tokens, n_state) = (batch * length, k_size * v_size);
        let scale = match self.scale {
            0. => 1. / (k_size as f64).sqrt(),
            scale => f64::from(scale),
        };
        let shared = self.q_heads / self.kv_heads;
        let mut y = vec![0.; n_tokens * self.q_heads * v_size];
        let heads = (0..n_tokens * self.kv_heads).filter(|_| n_state != 0);
        for at in heads {
            let (token, head) = (at / self.kv_heads, at % self.kv_heads);
            // One element for all heads, one for each, or one for each element of a head.
            let gate = |gates: &[f32]| match gates.len() / n_tokens / self.kv_heads {
                0 => token..token + 1,
                n => at * n..(at + 1) * n,
            };
            let state = token / length * self.kv_heads + head;
            let state = &mut states[state * n_state..][..n_state];
            let update = Token {
                key: &k[at * k_size..][..k_size],
                value: &v[at * v_size..][..v_size],
                decay: decay.as_deref().map(|decay| &decay[gate(decay)]),
                beta: beta.as_deref().map(|beta| beta[gate(beta)][0]),
            };
            update.update(state);
            for at in (0..shared).map(|query| token * self.q_heads + head * shared + query) {
                let read = read(state, &q[at * k_size..][..k_size], v_size);
                let to = y[at * v_size..][..v_size].iter_mut();
                to.zip(read).for_each(|(y, read)| *y = (read * scale) as f32);
            }
        }
        y
    }
}

/// `state^T q`
fn read(state: &[f64], q: &[f32], v_size: usize) -> Vec<f64> {
    let mut read = vec![0.; v_size];
    for (row, &q) in state.chunks_exact(v_size).zip(q) {
        read.iter_mut().zip(row).for_each(|(y, x)| *y += f64::from(q) * x);
    }
    read
}

/// One token's part of one head; slices of one element count for all.
struct Token<'a> {
    key: &'a [f32],
    value: &'a [f32],
    decay: Option<&'a [f32]>,
    beta: Option<f32>,
}

impl Token<'_> {
    /// Updates the state, `[k_size, v_size]`.
    fn update(&self, state: &mut [f64]) {
        let v_size = self.value.len();
        if let Some(decay) = self.decay {
            for (i, row) in state.chunks_exact_mut(v_size).enumerate() {
                let factor = f64::from(decay[i.min(decay.len() - 1)]).exp();
                row.iter_mut().for_each(|x| *x *= factor);
            }
        }
        let mut step: Vec<f64> = self.value.iter().copied().map(f64::from).collect();
        if let Some(beta) = self.beta {
            for (row, &k) in state.chunks_exact(v_size).zip(self.key) {
                step.iter_mut().zip(row).for_each(|(step, x)| *step -= x * f64::from(k));
            }
            step.iter_mut().for_each(|step| *step *= f64::from(beta));
        }
        for (row, &k) in state.chunks_exact_mut(v_size).zip(self.key) {
            row.iter_mut().zip(&step).for_each(|(x, step)| *x += f64::from(k) * step);
        }
    }
}

impl Operator for LinearAttention {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(6)?;
        let sizes = self.sizes(inputs)?;
        let Sizes { batch, length, k_size, v_size } = sizes;
        let state = vec![batch, self.kv_heads, k_size, v_size];
        let dtype = inputs.require(QUERY, "query")?.dtype();
        let mut state_dtype = dtype;
        if let Some(past) = inputs.optional(PAST_STATE, "past_state") {
            if expect_float(&past)? != state {
                return Err(past.wrong_shape(format!("{state:?}")));
            }
            state_dtype = past.dtype();
        }
        if self.rule.has_decay {
            let n = [self.kv_heads, self.kv_heads.saturating_mul(k_size)];
            LinearAttention::expect_gate(inputs, (DECAY, "decay"), sizes, n)?;
        }
        if self.rule.has_beta {
            LinearAttention::expect_gate(inputs, (BETA, "beta"), sizes, [self.kv_heads, 1])?;
        }
        let y = vec![batch, length, self.q_heads.saturating_mul(v_size)];
        let mut types = vec![checked_type(dtype, y)?, checked_type(state_dtype, state)?];
        types.truncate(inputs.n_outputs().max(1));
        Ok(types)
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let types = self.infer(inputs)?;
        let sizes = self.sizes(inputs)?;
        let n_states = sizes.batch * self.kv_heads * sizes.k_size * sizes.v_size;
        let mut states = match optional_floats(inputs, PAST_STATE) {
            Some(past) => past.iter().copied().map(f64::from).collect(),
            None => vec![0.; n_states],
        };
        let y = self.run(inputs, &sizes, &mut states);
        let states = states.into_iter().map(|x| x as f32).collect();
        let tensors = types.iter().zip([y, states]);
        Ok(tensors.map(|(ty, made)| floats::tensor(ty.dtype, &ty.shape, made)).collect())
    }

    /// Of every token: the product that updates the state, the one that corrects it, those that read it.
    fn macs(&self, inputs: &Inputs<'_>, _outputs: &[TensorType]) -> u64 {
        let Ok(sizes) = self.sizes(inputs) else { return 0 };
        let n_updates = if self.rule.has_beta { 2 } else { 1 };
        let n_products = self.kv_heads.saturating_mul(n_updates).saturating_add(self.q_heads);
        let factors = [sizes.batch, sizes.length, sizes.k_size, sizes.v_size, n_products];
        factors.iter().fold(1, |product: u64, &n| product.saturating_mul(n as u64))
    }

    /// Gates and the state stay as they are.
    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        let reads = Reads::Only(vec![QUERY, KEY, VALUE]);
        QuantRole { reads, product: true, ..QuantRole::OWN_RANGE }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::testing::{OpTest, op};
    use crate::tensor::Tensor;

    /// Two tokens, one head of size 1.
    fn attention(rule: &str) -> OpTest {
        op("LinearAttention")
            .int("q_num_heads", 1)
            .int("kv_num_heads", 1)
            .string("update_rule", rule)
            .input(&array![[[1.], [2.]]])
            .input(&array![[[1.], [3.]]])
            .input(&array![[[10.], [20.]]])
    }

    #[test]
    fn rules() {
        let half = array![[[0.5_f32.ln()], [0.5_f32.ln()]]];
        let beta = array![[[1.], [0.5]]];
        attention("linear").macs(4).gives(array![[[10.], [140.]]]);
        attention("linear").float("scale", 0.5).gives(array![[[5.], [70.]]]);
        attention("gated").absent().input(&half).gives(array![[[10.], [130.]]]);
        attention("delta").absent().absent().input(&beta).macs(6).gives(array![[[10.], [-10.]]]);
        attention("gated_delta").absent().input(&half).input(&beta).gives(array![[[10.], [25.]]]);
    }

    #[test]
    fn the_state_goes_on() {
        attention("linear")
            .input(&array![[[[5.]]]])
            .outputs(2)
            .gives_tensors(&[array![[[15_f32], [150.]]].into(), array![[[[75_f32]]]].into()]);
    }

    #[test]
    fn heads_share_a_state() {
        op("LinearAttention")
            .int("q_num_heads", 2)
            .int("kv_num_heads", 1)
            .string("update_rule", "linear")
            .input(&array![[[1., 2.]]])
            .input(&array![[[1.]]])
            .input(&array![[[10., 20.]]])
            .macs(6)
            .gives(array![[[10., 20., 20., 40.]]]);
    }

    #[test]
    fn refuses() {
        attention("gated").fails("input `decay` is missing");
        attention("delta")
            .absent()
            .absent()
            .tensor(Tensor::full(&[1, 2, 2], 0_f32))
            .fails("input `beta` has shape [1, 2, 2], expected [1, 2, 1] or [1, 2, 1]");
        attention("linear")
            .int("kv_num_heads", 2)
            .fails("attribute `kv_num_heads` is 2, expected a divisor of 1, `q_num_heads`");
        attention("linear")
            .input(&array![1.])
            .fails("input `past_state` has shape [1], expected [1, 1, 1, 1]");
    }
}
