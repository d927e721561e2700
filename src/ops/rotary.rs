//! `RotaryEmbedding`: turns pairs of elements by an angle that depends on the position.
//!
//! <https://onnx.ai/onnx/operators/onnx__RotaryEmbedding.html>; onnxruntime's older spelling has the
//! same meaning with the inputs in another order, the heads found from the tables, and one position for
//! the whole batch.

use crate::ops::attend::{Real, in_real, read_heads};
use crate::ops::floats::expect_same;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("RotaryEmbedding", 23, |attrs| RotaryEmbedding::read(attrs, ONNX)),
    OpDef::microsoft("RotaryEmbedding", |attrs| {
        attrs.ignore("scale");
        if attrs.flag("is_packed_batching", false)? {
            return Err(OpError::attribute("is_packed_batching", 1, "0"));
        }
        RotaryEmbedding::read(attrs, MICROSOFT)
    }),
];

/// Where the inputs are.
#[derive(Debug, Clone, Copy)]
struct Spelling {
    cos: usize,
    sin: usize,
    positions: usize,
    /// Whether the size of a head follows from the tables where no attribute tells.
    finds_heads: bool,
}

const X: usize = 0;
const ONNX: Spelling = Spelling { cos: 1, sin: 2, positions: 3, finds_heads: false };
const MICROSOFT: Spelling = Spelling { cos: 2, sin: 3, positions: 1, finds_heads: true };

/// `X` is `[batch, heads, length, size]` or `[batch, length, heads * size]`; of every head the first
/// `n_rotated` elements turn.
#[derive(Debug)]
struct RotaryEmbedding {
    spelling: Spelling,
    is_interleaved: bool,
    heads: Option<usize>,
    /// 0 for all.
    n_rotated: usize,
}

/// The sizes of one evaluation.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    batch: usize,
    heads: usize,
    length: usize,
    size: usize,
    n_rotated: usize,
    is_flat: bool,
}

impl RotaryEmbedding {
    fn read(attrs: &mut Attrs, spelling: Spelling) -> Result<Box<dyn Operator>, OpError> {
        let heads = match attrs.int("num_heads", 0)? {
            0 => None,
            heads => Some(read_heads("num_heads", heads)?),
        };
        let n_rotated = attrs.int("rotary_embedding_dim", 0)?;
        let wrong = || OpError::invalid_attribute("rotary_embedding_dim", n_rotated, "even");
        Ok(Box::new(RotaryEmbedding {
            spelling,
            is_interleaved: attrs.flag("interleaved", false)?,
            heads,
            n_rotated: usize::try_from(n_rotated)
                .ok()
                .filter(|n| n.is_multiple_of(2))
                .ok_or_else(wrong)?,
        }))
    }

    fn sizes(&self, inputs: &Inputs<'_>) -> Result<Sizes, OpError> {
        let x = inputs.require(X, if self.spelling.finds_heads { "input" } else { "X" })?;
        let half = inputs.require(self.spelling.cos, "cos_cache")?.shape().last().copied();
        let (batch, heads, length, size) = match *x.shape() {
            [batch, heads, length, size] => (batch, heads, length, size),
            [batch, length, flat_size] => {
                let found = half.filter(|&half| self.spelling.finds_heads && 0 < half);
                let found = found.filter(|_| self.n_rotated == 0);
                let found = found.map(|half| flat_size / half.saturating_mul(2));
                let missing = || OpError::MissingAttribute { name: "num_heads".to_owned() };
                let heads = found.or(self.heads).ok_or_else(missing)?;
                if heads == 0 || !flat_size.is_multiple_of(heads) {
                    return Err(x.wrong_shape(format!("{heads} heads along axis 2")));
                }
                (batch, heads, length, flat_size / heads)
            }
            _ => return Err(x.wrong_shape("rank 3 or 4")),
        };
        let n_rotated = if self.n_rotated == 0 { size } else { self.n_rotated };
        if size < n_rotated || !n_rotated.is_multiple_of(2) {
            return Err(x.wrong_shape(format!("heads of an even size, at least {n_rotated}")));
        }
        Ok(Sizes { batch, heads, length, size, n_rotated, is_flat: x.rank() == 3 })
    }

    /// The tables are `[positions, n_rotated / 2]`, or `[batch, length, n_rotated / 2]` without positions.
    fn expect_tables(&self, inputs: &Inputs<'_>, sizes: &Sizes) -> Result<(), OpError> {
        let Sizes { batch, length, n_rotated, .. } = *sizes;
        let dtype = inputs.require(X, "X")?.dtype();
        let positions = inputs.optional(self.spelling.positions, "position_ids");
        let cos = inputs.require(self.spelling.cos, "cos_cache")?;
        let sin = inputs.require(self.spelling.sin, "sin_cache")?;
        let half = n_rotated / 2;
        for table in [cos, sin] {
            expect_same(&table, dtype, "X")?;
            if positions.is_some() && (table.rank() != 2 || table.shape()[1] != half) {
                return Err(table.wrong_shape(format!("[positions, {half}]")));
            }
            if positions.is_none() && table.shape() != [batch, length, half] {
                return Err(table.wrong_shape(format!("[{batch}, {length}, {half}]")));
            }
        }
        if sin.shape() != cos.shape() {
            return Err(sin.wrong_shape(format!("{:?}, that of `cos_cache`", cos.shape())));
        }
        let Some(positions) = positions else { return Ok(()) };
        let shape = positions.expect_dtype(DType::I64)?;
        if shape != [batch, length] && !(self.spelling.finds_heads && shape == [1]) {
            return Err(positions.wrong_shape(format!("[{batch}, {length}]")));
        }
        Ok(())
    }

    /// The row of the tables for every position of every batch.
    fn rows(&self, inputs: &Inputs<'_>, sizes: &Sizes) -> Result<Vec<usize>, OpError> {
        let n = sizes.batch * sizes.length;
        if inputs.get(self.spelling.positions).is_none() {
            return Ok((0..n).collect());
        }
        let positions = inputs.tensor(self.spelling.positions).slice::<i64>();
        let n_rows = inputs.shape(self.spelling.cos)[0];
        let position = |i: usize| match *positions {
            // One position is that of the first element of every sequence.
            [first]
                if self.spelling.finds_heads
                    && inputs.shape(self.spelling.positions).len() == 1 =>
            {
                first.saturating_add((i % sizes.length) as i64)
            }
            _ => positions[i],
        };
        let row = |i| {
            let row = usize::try_from(position(i)).ok().filter(|&row| row < n_rows);
            let expected = || format!("less than {n_rows} and not negative");
            row.ok_or_else(|| OpError::value("position_ids", position(i), expected()))
        };
        (0..n).map(row).collect()
    }

    fn compute<T: Real>(&self, inputs: &Inputs<'_>, sizes: &Sizes) -> Result<Vec<Tensor>, OpError> {
        let Sizes { heads, length, size, n_rotated, .. } = *sizes;
        let rows = self.rows(inputs, sizes)?;
        let x = inputs.tensor(X);
        let mut y = T::elements(x).into_owned();
        let cos = T::elements(inputs.tensor(self.spelling.cos));
        let sin = T::elements(inputs.tensor(self.spelling.sin));
        let half = n_rotated / 2;
        for (i, head) in y.chunks_exact_mut(size.max(1)).enumerate() {
            let position = match sizes.is_flat {
                true => i / heads,
                false => i / (heads * length) * length + i % length,
            };
            let table = rows[position] * half..(rows[position] + 1) * half;
            turn(head, &cos[table.clone()], &sin[table], self.is_interleaved);
        }
        Ok(vec![T::tensor(x.dtype(), x.shape(), y)])
    }
}

/// Turns the pairs of a head, as many as there are angles: neighbors if `is_interleaved`, else elements
/// of its two halves.
pub(super) fn turn<T: Real>(head: &mut [T], cos: &[T], sin: &[T], is_interleaved: bool) {
    let half = cos.len();
    for (k, (&cos, &sin)) in cos.iter().zip(sin).enumerate() {
        let (i, j) = if is_interleaved { (2 * k, 2 * k + 1) } else { (k, k + half) };
        let (re, im) = (head[i], head[j]);
        head[i] = cos * re - sin * im;
        head[j] = sin * re + cos * im;
    }
}

impl Operator for RotaryEmbedding {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(4)?;
        let x = inputs.require(X, if self.spelling.finds_heads { "input" } else { "X" })?;
        x.expect_dtype_that(DType::is_float, "a float type")?;
        if self.spelling.finds_heads {
            inputs.require(self.spelling.positions, "position_ids")?;
        }
        let sizes = self.sizes(inputs)?;
        self.expect_tables(inputs, &sizes)?;
        Ok(vec![x.ty().clone()])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let sizes = self.sizes(inputs)?;
        let is_wide = inputs.tensor(X).dtype() == DType::F64;
        in_real!(is_wide, T => self.compute::<T>(inputs, &sizes))
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::reads_only(X)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};

    use crate::ops::QuantRole;
    use crate::ops::testing::{OpTest, counting, op};
    use crate::tensor::Tensor;

    /// Angles of 0, a quarter and a half turn.
    fn tables(op: OpTest) -> OpTest {
        op.input(&array![[1.], [0.], [-1.]]).input(&array![[0.], [1.], [0.]])
    }

    #[test]
    fn turns_by_position() {
        let base = |x: Tensor| tables(op("RotaryEmbedding").tensor(x));
        let positions = array![[1_i64, 2]];
        let x = counting(&[1, 1, 2, 2]);
        base(x).tensor(positions.clone()).macs(0).gives(array![[[[-1., 0.], [-2., -3.]]]]);
        base(counting(&[1, 2, 4]))
            .tensor(positions.clone())
            .int("num_heads", 2)
            .gives(array![[[-1., 0., -3., 2.], [-4., -5., -6., -7.]]]);
        base(counting(&[1, 2, 1, 2]))
            .tensor(array![[1_i64]])
            .gives(array![[[[-1., 0.]], [[-3., 2.]]]]);
    }

    #[test]
    fn pairs_are_neighbors_or_halves() {
        let base = |n_rotated: usize| {
            op("RotaryEmbedding")
                .tensor(counting(&[1, 1, 1, 4]))
                .tensor(Tensor::full(&[1, 1, n_rotated / 2], 0_f32))
                .tensor(Tensor::full(&[1, 1, n_rotated / 2], 1_f32))
                .int("rotary_embedding_dim", n_rotated as i64)
        };
        base(4).gives(array![[[[-2., -3., 0., 1.]]]]);
        base(4).int("interleaved", 1).gives(array![[[[-1., 0., -3., 2.]]]]);
        base(2).gives(array![[[[-1., 0., 2., 3.]]]]);
    }

    #[test]
    fn microsoft() {
        let base = |x: Tensor, positions: Tensor| {
            tables(op("RotaryEmbedding").domain("com.microsoft").tensor(x).tensor(positions))
        };
        base(counting(&[1, 2, 4]), array![1_i64].into())
            .gives(array![[[-1., 0., -3., 2.], [-4., -5., -6., -7.]]]);
        base(counting(&[1, 1, 2, 2]), array![[2_i64, 0]].into())
            .gives(array![[[[0., -1.], [2., 3.]]]]);
        base(counting(&[1, 2, 4]), array![2_i64].into())
            .fails("input `position_ids` is 3, expected less than 3 and not negative");
    }

    #[test]
    fn refuses() {
        let x = || op("RotaryEmbedding").input(&Array3::<f32>::zeros((1, 1, 4)));
        tables(x()).tensor(array![[0_i64]]).fails("attribute `num_heads` is missing");
        tables(x())
            .tensor(array![[0_i64]])
            .int("num_heads", 1)
            .fails("input `cos_cache` has shape [3, 1], expected [positions, 2]");
        tables(x())
            .int("num_heads", 2)
            .fails("input `cos_cache` has shape [3, 1], expected [1, 1, 1]");
        tables(x())
            .int("num_heads", 3)
            .fails("input `X` has shape [1, 1, 4], expected 3 heads along axis 2");
        tables(x())
            .int("rotary_embedding_dim", 3)
            .fails("attribute `rotary_embedding_dim` is 3, expected even");
    }

    #[test]
    fn quantization() {
        let role = tables(op("RotaryEmbedding").tensor(counting(&[1, 1, 2, 2]))).quant();
        assert_eq!(role, QuantRole::reads_only(0));
    }
}
