//! Broadcasting as it was before opset 7: only the second input is stretched, and only where the
//! node says so: `broadcast = 1`, from dimension `axis` of the first input on.

use crate::ops::{
    self, Attrs, Bodies, Input, Inputs, OpDef, OpError, Operator, QuantRole, dims::axis_attribute,
};
use crate::tensor::{Tensor, TensorType};

/// The opset that aligned shapes at their last dimension instead.
const ALIGNED_LAST: u16 = 7;

macro_rules! rows {
    ($($name:literal $read:ident),* $(,)?) => {
        pub(super) const OPS: &[OpDef] = &[
            $(OpDef::onnx($name, 1, |attrs| $read(ops::find("", $name, ALIGNED_LAST), attrs)),)*
        ];
    };
}

rows! {
    "Add" read, "And" read, "Div" read, "Equal" read, "Greater" read, "Less" read, "Mul" read,
    "Or" read, "PRelu" read_channels, "Pow" read, "Sub" read, "Xor" read,
}

/// An operator of today whose second input is aligned first.
#[derive(Debug)]
struct Aligned {
    inner: Box<dyn Operator>,
    broadcast: Broadcast,
}

#[derive(Debug, Clone, Copy)]
enum Broadcast {
    /// The shapes are equal.
    No,
    /// The last dimensions meet.
    Last,
    /// The second input's dimensions are those of the first from this one on.
    From(i64),
    /// One number for each channel, or for all.
    Channels,
}

fn read(now: Option<&OpDef>, attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
    let is_on = attrs.flag("broadcast", false)?;
    let broadcast = match (is_on, attrs.opt_int("axis")?) {
        (false, _) => Broadcast::No,
        (true, None) => Broadcast::Last,
        (true, Some(axis)) => Broadcast::From(axis),
    };
    let inner = (now.ok_or(OpError::UnknownOperator)?.read)(attrs)?;
    Ok(Box::new(Aligned { inner, broadcast }))
}

fn read_channels(now: Option<&OpDef>, attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
    let inner = (now.ok_or(OpError::UnknownOperator)?.read)(attrs)?;
    Ok(Box::new(Aligned { inner, broadcast: Broadcast::Channels }))
}

const A: usize = 0;
const B: usize = 1;

impl Aligned {
    /// The shape that the second input gets.
    fn shape(&self, inputs: &Inputs<'_>) -> Result<Vec<usize>, OpError> {
        let (a, b) = (inputs.require(A, "A")?, inputs.require(B, "B")?);
        let (rank, found) = (a.rank(), b.shape());
        let axis = match self.broadcast {
            Broadcast::No if a.shape() != found => {
                return Err(b.wrong_shape(format!("{:?}, as `broadcast` is 0", a.shape())));
            }
            Broadcast::No | Broadcast::Last => return Ok(found.to_vec()),
            Broadcast::Channels if b.ty().len() == 1 => return Ok(vec![1; rank]),
            Broadcast::Channels if b.rank() == 1 && 1 < rank => 1,
            Broadcast::Channels => return Ok(found.to_vec()),
            Broadcast::From(axis) => axis_attribute("axis", axis, rank)?,
        };
        if rank < axis + found.len() {
            let expected = format!("at most {} dimensions from axis {axis} on", rank - axis);
            return Err(b.wrong_shape(expected));
        }
        let mut shape = found.to_vec();
        shape.resize(rank - axis, 1);
        Ok(shape)
    }

    /// Calls `f` with the second input in its new shape.
    fn aligned<R>(
        &self,
        inputs: &Inputs<'_>,
        f: impl FnOnce(&Inputs<'_>) -> R,
    ) -> Result<R, OpError> {
        let shape = self.shape(inputs)?;
        let b = inputs.require(B, "B")?;
        let ty = TensorType { dtype: b.dtype(), shape };
        let value = inputs.get(B).and_then(|b| b.value);
        let value = value.map(|value| value.reshaped(&ty.shape));
        let b = Some(Input { ty: &ty, value: value.as_ref() });
        Ok(f(&Inputs::new(&[inputs.get(A), b], inputs.n_outputs())))
    }
}

impl Operator for Aligned {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        self.aligned(inputs, |inputs| self.inner.infer(inputs))?
    }

    fn eval(&self, inputs: &Inputs<'_>, bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        self.aligned(inputs, |inputs| self.inner.eval(inputs, bodies))?
    }

    fn quant(&self, inputs: &Inputs<'_>) -> QuantRole {
        self.inner.quant(inputs)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, array};

    use crate::ops::testing::{counting, op};
    use crate::tensor::Tensor;

    #[test]
    fn the_second_input_is_aligned_where_the_node_says() {
        let x = counting(&[2, 3, 2]);
        let add = || op("Add").opset(6).tensor(x.clone());
        let by_channel =
            array![[[0., 1.], [12., 13.], [24., 25.]], [[6., 7.], [18., 19.], [30., 31.]]];
        let channels = array![0., 10., 20.];
        add().input(&channels).int("broadcast", 1).int("axis", 1).gives(by_channel.clone());
        add().input(&channels).int("broadcast", 1).int("axis", -2).gives(by_channel);
        let one = add().input(&array![1.]).int("broadcast", 1);
        one.gives(Array::from_shape_fn((2, 3, 2), |(i, j, k)| (6 * i + 2 * j + k + 1) as f32));
        add()
            .input(&channels)
            .fails("input `B` has shape [3], expected [2, 3, 2], as `broadcast` is 0");
        add()
            .input(&array![[1., 2.]])
            .int("broadcast", 1)
            .int("axis", 2)
            .fails("input `B` has shape [1, 2], expected at most 1 dimensions from axis 2 on");
    }

    #[test]
    fn slopes_are_of_channels() {
        let x = Tensor::from_vec(&[1, 2, 2], vec![-1_f32, 1., -1., 1.]);
        let prelu = || op("PRelu").opset(6).tensor(x.clone());
        prelu().input(&array![2., 3.]).gives(array![[[-2., 1.], [-3., 1.]]]);
        prelu().input(&array![5.]).gives(array![[[-5., 1.], [-5., 1.]]]);
    }
}
