//! Tensors made of little: `Constant`, `ConstantOfShape`, `Range`, `OneHot`.

use crate::dispatch;
use crate::ops::dims::{Along, axis_attribute, checked_type, resolve, sizes_input};
use crate::ops::inputs::Named;
use crate::ops::number::{Number, Scalar, dispatch_numbers};
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("Constant", 1, Constant::read),
    OpDef::onnx("ConstantOfShape", 9, ConstantOfShape::read),
    OpDef::onnx("Range", 11, |_| Ok(Box::new(Range))),
    OpDef::onnx("OneHot", 9, |attrs| Ok(Box::new(OneHot { axis: attrs.int("axis", -1)? }))),
];

#[derive(Debug)]
struct Constant {
    value: Tensor,
}

impl Constant {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        for name in ["value_string", "value_strings", "sparse_value"] {
            if attrs.has(name) {
                return Err(OpError::NotSupported { what: format!("attribute `{name}`") });
            }
        }
        let float = attrs.opt_float("value_float")?.map(Tensor::scalar);
        let floats = attrs.opt_floats("value_floats")?.map(|x| Tensor::from_vec(&[x.len()], x));
        let int = attrs.opt_int("value_int")?.map(Tensor::scalar);
        let ints = attrs.opt_ints("value_ints")?.map(|x| Tensor::from_vec(&[x.len()], x));
        let value = attrs.opt_tensor("value")?;
        let value = value.or(float).or(floats).or(int).or(ints);
        let missing = || OpError::MissingAttribute { name: "value".to_owned() };
        Ok(Box::new(Constant { value: value.ok_or_else(missing)? }))
    }
}

impl Operator for Constant {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(0)?;
        Ok(vec![self.value.ty()])
    }

    fn eval(&self, _inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        Ok(vec![self.value.clone()])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

/// One value, as often as `input` says.
#[derive(Debug)]
struct ConstantOfShape {
    value: Tensor,
}

const SHAPE: usize = 0;

impl ConstantOfShape {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let value = attrs.tensor("value", Tensor::scalar(0_f32))?;
        match value.len() {
            1 => Ok(Box::new(ConstantOfShape { value })),
            n => Err(OpError::invalid_attribute("value", format!("{n} elements"), "one element")),
        }
    }
}

impl Operator for ConstantOfShape {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let shape = sizes_input("input", &inputs.require(SHAPE, "input")?.i64s()?)?;
        Ok(vec![checked_type(self.value.dtype(), shape)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let shape = self.infer(inputs)?.remove(0).shape;
        Ok(vec![dispatch!(self.value.dtype(), T => {
            Tensor::full(&shape, self.value.slice::<T>()[0])
        })])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

/// `start + k * delta` for k in `0..n`, `n = max(ceil((limit - start) / delta), 0)`
#[derive(Debug)]
struct Range;

const START: usize = 0;
const LIMIT: usize = 1;
const DELTA: usize = 2;

impl Range {
    fn count(start: &Tensor, limit: &Tensor, delta: &Tensor) -> Result<usize, OpError> {
        let zero = || OpError::value("delta", 0, "not 0");
        let is_float = start.dtype().is_float();
        dispatch_numbers!(start.dtype(), T => {
            let [start, limit, delta] = [start, limit, delta].map(|x| x.slice::<T>()[0]);
            if delta == T::default() {
                return Err(zero());
            }
            if is_float {
                let n = (limit.minus(start).to_f64() / delta.to_f64()).ceil();
                if n.is_nan() {
                    let found = format!("{start:?} to {limit:?} by {delta:?}");
                    return Err(OpError::value("delta", found, "finite numbers"));
                }
                return Ok(n as usize);
            }
            let [start, limit, delta] = [start, limit, delta].map(Scalar::to_i128);
            let distance = if delta < 0 { start - limit } else { limit - start };
            let n = distance.max(0).unsigned_abs().div_ceil(delta.unsigned_abs());
            Ok(usize::try_from(n).unwrap_or(usize::MAX))
        })
    }
}

impl Operator for Range {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(3)?;
        let start = inputs.require(START, "start")?;
        let (limit, delta) = (inputs.require(LIMIT, "limit")?, inputs.require(DELTA, "delta")?);
        start.expect_dtype_that(DType::is_number, "a numeric type")?;
        for input in [start, limit, delta] {
            input.expect_dtype(start.dtype())?;
            expect_single(&input)?;
        }
        let n = Range::count(start.value()?, limit.value()?, delta.value()?)?;
        Ok(vec![checked_type(start.dtype(), vec![n])?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let ty = self.infer(inputs)?.remove(0);
        let n = ty.shape[0];
        Ok(vec![dispatch_numbers!(ty.dtype, T => {
            let [start, delta] = [START, DELTA].map(|k| inputs.tensor(k).slice::<T>()[0]);
            let at = |k: usize| start.plus(T::wrapped(k as i128).times(delta));
            Tensor::from_vec(&[n], (0..n).map(at).collect())
        })])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

pub(super) fn expect_single(input: &Named<'_>) -> Result<(), OpError> {
    match input.ty().len() {
        1 => Ok(()),
        _ => Err(input.wrong_shape("one element")),
    }
}

/// A new axis of `depth` elements, "on" at the index and "off" elsewhere; an index out of range is on
/// nowhere.
#[derive(Debug)]
struct OneHot {
    axis: i64,
}

const INDICES: usize = 0;
const DEPTH: usize = 1;
/// `[off, on]`
const VALUES: usize = 2;

impl Operator for OneHot {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(3)?;
        let indices = inputs.require(INDICES, "indices")?;
        let depth = inputs.require(DEPTH, "depth")?;
        let values = inputs.require(VALUES, "values")?;
        for input in [indices, depth] {
            input.expect_dtype_that(DType::is_number, "a numeric type")?;
        }
        expect_single(&depth)?;
        if values.shape() != [2] {
            return Err(values.wrong_shape("[2]"));
        }
        let n = depth.value()?;
        let n = dispatch_numbers!(n.dtype(), T => n.slice::<T>()[0].to_i128());
        let n = usize::try_from(n).map_err(|_| OpError::value("depth", n, "at least 0"))?;
        let mut shape = indices.shape().to_vec();
        shape.insert(axis_attribute("axis", self.axis, indices.rank() + 1)?, n);
        Ok(vec![checked_type(values.dtype(), shape)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let ty = self.infer(inputs)?.remove(0);
        let axis = axis_attribute("axis", self.axis, ty.shape.len())?;
        let Along { n, inner, .. } = Along::new(&ty.shape, axis);
        let indices = inputs.tensor(INDICES);
        let indices: Vec<i128> = dispatch_numbers!(indices.dtype(), T => {
            indices.slice::<T>().iter().map(|x| x.to_i128()).collect()
        });
        Ok(vec![dispatch!(ty.dtype, T => {
            let values = inputs.tensor(VALUES).slice::<T>();
            let mut hot = vec![values[0]; ty.len()];
            for (position, &index) in indices.iter().enumerate() {
                let index = i64::try_from(index).ok().and_then(|index| resolve(index, n));
                if let Some(index) = index {
                    let (outer, inner_idx) = (position / inner, position % inner);
                    hot[(outer * n + index) * inner + inner_idx] = values[1];
                }
            }
            Tensor::from_vec(&ty.shape, hot)
        })])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use crate::ops::AttrValue;
    use crate::ops::testing::op;
    use crate::tensor::Tensor;

    #[test]
    fn constant() {
        let value = Tensor::from(array![1_i64, 2]);
        op("Constant").attr("value", AttrValue::Tensor(value.clone())).gives_tensor(value.clone());
        op("Constant").ints("value_ints", &[1, 2]).gives_tensor(value);
        op("Constant").int("value_int", 7).gives_tensor(Tensor::scalar(7_i64));
        op("Constant").float("value_float", 0.5).gives(ndarray::arr0(0.5));
        op("Constant").attr("value_floats", AttrValue::Floats(vec![0.5])).gives(array![0.5]);
        op("Constant").fails("attribute `value` is missing");
        op("Constant")
            .string("value_string", "a")
            .fails("attribute `value_string` is not supported");
    }

    #[test]
    fn constant_of_shape() {
        op("ConstantOfShape").i64s(&[2, 1]).gives(array![[0.], [0.]]);
        op("ConstantOfShape").i64s(&[]).gives(ndarray::arr0(0.));
        op("ConstantOfShape").i64s(&[0, 3]).gives(Array2::zeros((0, 3)));
        let value = |value: Tensor| {
            op("ConstantOfShape").i64s(&[2]).attr("value", AttrValue::Tensor(value))
        };
        value(array![7_i64].into()).gives_tensor(array![7_i64, 7]);
        value(array![7_i64, 8].into())
            .fails("attribute `value` is 2 elements, expected one element");
        op("ConstantOfShape").i64s(&[-1]).fails("input `input` is [-1], expected no negative size");
        op("ConstantOfShape").i64s(&[1 << 40, 1 << 40]).fails(
            "the output would have 1099511627776 x 1099511627776 elements, more than can be addressed",
        );
    }

    #[test]
    fn range() {
        let ints = |start: i64, limit: i64, delta: i64| {
            [start, limit, delta]
                .into_iter()
                .fold(op("Range"), |op, x| op.tensor(Tensor::scalar(x)))
        };
        ints(1, 8, 3).gives_tensor(array![1_i64, 4, 7]);
        ints(5, 0, -2).gives_tensor(array![5_i64, 3, 1]);
        ints(5, 0, 2).gives_tensor(Tensor::from_vec::<i64>(&[0], vec![]));
        ints(i64::MIN, i64::MAX, i64::MAX).gives_tensor(array![i64::MIN, -1, i64::MAX - 1]);
        ints(0, 1, 0).fails("input `delta` is 0, expected not 0");
        ints(i64::MIN, i64::MAX, 1).fails(
            "the output would have 18446744073709551615 elements, more than can be addressed",
        );
        let floats = |start: f32, limit: f32, delta: f32| {
            [start, limit, delta]
                .into_iter()
                .fold(op("Range"), |op, x| op.tensor(Tensor::scalar(x)))
        };
        floats(0., 1., 0.4).gives(array![0., 0.4, 0.8]);
        floats(0., f32::NAN, 1.)
            .fails("input `delta` is 0.0 to NaN by 1.0, expected finite numbers");
    }

    #[test]
    fn one_hot() {
        let base = |depth: i64| {
            op("OneHot").i64s(&[0, -1, 5]).tensor(Tensor::scalar(depth)).input(&array![2., 9.])
        };
        base(3).gives(array![[9., 2., 2.], [2., 2., 9.], [2., 2., 2.]]);
        base(2).int("axis", 0).gives(array![[9., 2., 2.], [2., 9., 2.]]);
        base(0).gives(Array2::zeros((3, 0)));
        base(-1).fails("input `depth` is -1, expected at least 0");
        base(2).int("axis", 2).fails("attribute `axis` is 2, expected from -2 to 1");
        let floats = op("OneHot").input(&ndarray::arr0(1.)).input(&array![2.]);
        floats.tensor(array![false, true]).gives_tensor(array![false, true]);
    }
}
