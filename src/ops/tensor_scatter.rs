//! `TensorScatter`: new steps written into a cache of keys or values.
//!
//! <https://onnx.ai/onnx/operators/onnx__TensorScatter.html>

use crate::dispatch;
use crate::ops::dims::{Along, axis_attribute, with_dim};
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole, Reads};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("TensorScatter", 24, TensorScatter::read)];

/// `past_cache` with `update` from step `write_indices[b]` of batch element `b` on.
#[derive(Debug)]
struct TensorScatter {
    axis: i64,
    /// Whether what is written behind the end goes on at the start.
    is_circular: bool,
}

const PAST_CACHE: usize = 0;
const UPDATE: usize = 1;
const WRITE_INDICES: usize = 2;

impl TensorScatter {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let is_circular = attrs.choice("mode", &[("linear", false), ("circular", true)])?;
        Ok(Box::new(TensorScatter { axis: attrs.int("axis", -2)?, is_circular }))
    }

    /// The step at which each batch element is written: less than `n`, or `n` if nothing is written.
    fn starts(
        &self,
        inputs: &Inputs<'_>,
        n: usize,
        n_written: usize,
    ) -> Result<Vec<usize>, OpError> {
        let start = |&index: &i64| {
            if self.is_circular {
                return Ok((i128::from(index).rem_euclid(n.max(1) as i128)) as usize);
            }
            let last = n - n_written;
            let in_range = usize::try_from(index).ok().filter(|&start| start <= last);
            let wrong = || OpError::value("write_indices", index, format!("from 0 to {last}"));
            in_range.ok_or_else(wrong)
        };
        match inputs.get(WRITE_INDICES) {
            None => Ok(vec![0; inputs.shape(PAST_CACHE)[0]]),
            Some(_) => inputs.tensor(WRITE_INDICES).slice::<i64>().iter().map(start).collect(),
        }
    }
}

impl Operator for TensorScatter {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(3)?;
        let cache = inputs.require(PAST_CACHE, "past_cache")?;
        let update = inputs.require(UPDATE, "update")?;
        update.expect_dtype(cache.dtype())?;
        let axis = axis_attribute("axis", self.axis, cache.rank())?;
        if axis == 0 {
            return Err(OpError::invalid_attribute("axis", self.axis, "not the batch axis"));
        }
        let n = cache.shape()[axis];
        let n_written = update.shape().get(axis).copied().unwrap_or(0).min(n);
        let expected = with_dim(cache.shape(), axis, n_written);
        if update.shape() != expected {
            let expected =
                format!("{:?}, that of `past_cache`, or less along axis {axis}", cache.shape());
            return Err(update.wrong_shape(expected));
        }
        if let Some(indices) = inputs.optional(WRITE_INDICES, "write_indices")
            && indices.expect_dtype(DType::I64)? != [cache.shape()[0]]
        {
            return Err(indices.wrong_shape(format!("[{}], the batch", cache.shape()[0])));
        }
        Ok(vec![cache.ty().clone()])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let (mut cache, update) = (inputs.tensor(PAST_CACHE).clone(), inputs.tensor(UPDATE));
        let axis = axis_attribute("axis", self.axis, cache.rank())?;
        let Along { outer, n, inner } = Along::new(cache.shape(), axis);
        let (batch, n_written) = (cache.shape()[0], update.shape()[axis]);
        let starts = self.starts(inputs, n, n_written)?;
        let n_writes = if inner == 0 { 0 } else { outer * n_written };
        dispatch!(cache.dtype(), T => {
            let (cache, update) = (cache.slice_mut::<T>(), update.slice::<T>());
            for write in 0..n_writes {
                let (row, step) = (write / n_written, write % n_written);
                let to = row * n + (starts[row / (outer / batch)] + step) % n;
                let new = &update[write * inner..][..inner];
                cache[to * inner..][..inner].copy_from_slice(new);
            }
        });
        Ok(vec![cache])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole { reads: Reads::Only(vec![PAST_CACHE, UPDATE]), ..QuantRole::OWN_RANGE }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};

    use crate::ops::testing::{OpTest, op};
    use crate::ops::{QuantRole, Reads};
    use crate::tensor::Tensor;

    /// Two batch elements of three steps, two of which are written.
    fn base() -> OpTest {
        op("TensorScatter")
            .input(&array![[[1.], [2.], [3.]], [[4.], [5.], [6.]]])
            .input(&array![[[10.], [20.]], [[30.], [40.]]])
    }

    #[test]
    fn linear() {
        base().gives(array![[[10.], [20.], [3.]], [[30.], [40.], [6.]]]);
        base().i64s(&[1, 0]).gives(array![[[1.], [10.], [20.]], [[30.], [40.], [6.]]]);
        base().i64s(&[2, 0]).fails("input `write_indices` is 2, expected from 0 to 1");
        base().i64s(&[-1, 0]).fails("input `write_indices` is -1, expected from 0 to 1");
    }

    #[test]
    fn circular() {
        let circular = || base().string("mode", "circular");
        circular().i64s(&[2, 3]).gives(array![[[20.], [2.], [10.]], [[30.], [40.], [6.]]]);
        let wrapped = array![[[1.], [10.], [20.]], [[4.], [30.], [40.]]];
        circular().i64s(&[i64::MAX, i64::MIN]).gives(wrapped);
    }

    #[test]
    fn axes_and_types() {
        op("TensorScatter")
            .tensor(Tensor::from_vec(&[1, 2, 2], vec![1_u8, 2, 3, 4]))
            .tensor(Tensor::from_vec(&[1, 2, 1], vec![8_u8, 9]))
            .i64s(&[1])
            .int("axis", 2)
            .gives_tensor(Tensor::from_vec(&[1, 2, 2], vec![1_u8, 8, 3, 9]));
        let empty = Array3::zeros((2, 0, 3));
        op("TensorScatter").input(&empty).input(&empty).string("mode", "circular").gives(empty);
    }

    #[test]
    fn refuses() {
        let x = array![[1., 2.]];
        op("TensorScatter")
            .input(&x)
            .input(&x)
            .fails("attribute `axis` is -2, expected not the batch axis");
        op("TensorScatter").input(&x).input(&array![[1., 2., 3.]]).int("axis", 1).fails(
            "input `update` has shape [1, 3], expected [1, 2], that of `past_cache`, or less along axis 1",
        );
        base().i64s(&[1]).fails("input `write_indices` has shape [1], expected [2], the batch");
        let role = QuantRole { reads: Reads::Only(vec![0, 1]), ..QuantRole::OWN_RANGE };
        assert_eq!(base().quant(), role);
    }
}
