//! `QuantizeLinear`, `DequantizeLinear` and `DynamicQuantizeLinear`: floats as integers and back.
//!
//! `q = clamp(round_half_even(x / scale) + zero_point, q_min, q_max)`, `x = (q - zero_point) * scale`; to
//! floats of at most 8 bits `q = round(x / scale + zero_point)`. The quotient is rounded to the type of
//! the scale, or to `precision`. The product is computed in float32 and rounded once.
//!
//! <https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html>,
//! <https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html>

use crate::dispatch;
use crate::kernels::quantize;
use crate::ops::cast::{cast, opt_dtype, small_floats};
use crate::ops::floats;
use crate::ops::granularity::Granularity;
use crate::ops::inputs::Named;
use crate::ops::number::Scalar;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, I2, I4, Rounding, Tensor, TensorType, U2, U4};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("QuantizeLinear", 10, QuantizeLinear::read),
    OpDef::onnx("DequantizeLinear", 10, DequantizeLinear::read),
    OpDef::onnx("DynamicQuantizeLinear", 11, |_| Ok(Box::new(DynamicQuantizeLinear))),
    OpDef { domain: MICROSOFT, name: "QuantizeLinear", since: 1, read: QuantizeLinear::read },
    OpDef { domain: MICROSOFT, name: "DequantizeLinear", since: 1, read: DequantizeLinear::read },
];

/// Has the two under the same names, with the same meaning.
const MICROSOFT: &str = "com.microsoft";

const X: usize = 0;
const SCALE: usize = 1;
const ZERO_POINT: usize = 2;

/// The ends of an integer type that numbers are quantized to.
pub(super) fn integer_range(dtype: DType) -> Option<(i32, i32)> {
    Some(match dtype {
        DType::U8 => (0, 255),
        DType::I8 => (-128, 127),
        DType::U16 => (0, 65535),
        DType::I16 => (-32768, 32767),
        DType::U4 => (0, 15),
        DType::I4 => (-8, 7),
        DType::U2 => (0, 3),
        DType::I2 => (-2, 1),
        _ => return None,
    })
}

/// A tensor of a type that [`integer_range`] knows.
pub(super) fn integers(dtype: DType, shape: &[usize], elements: &[i32]) -> Tensor {
    dispatch!(
        dtype,
        T in [U8 u8, I8 i8, U16 u16, I16 i16, U4 U4, I4 I4, U2 U2, I2 I2] => {
            let elements = elements.iter().map(|&x| <T as Scalar>::wrapped(x.into())).collect();
            Tensor::from_vec::<T>(shape, elements)
        },
        _ => unreachable!("`infer` checked the type")
    )
}

/// A type that numbers are quantized to.
fn is_quantized(dtype: DType) -> bool {
    integer_range(dtype).is_some() || (dtype.is_small_float() && dtype != DType::F8E8M0)
}

/// A type by its number, where 0 stands for none.
fn read_dtype(attrs: &mut Attrs, name: &str) -> Result<Option<DType>, OpError> {
    match attrs.int(name, 0)? {
        0 => Ok(None),
        _ => opt_dtype(attrs, name),
    }
}

fn read_block_size(attrs: &mut Attrs) -> Result<usize, OpError> {
    let found = attrs.int("block_size", 0)?;
    let wrong = || OpError::invalid_attribute("block_size", found, "at least 0");
    usize::try_from(found).map_err(|_| wrong())
}

fn expect_scale(scale: &Named<'_>, more: &[DType]) -> Result<(), OpError> {
    let accepts =
        |dtype| matches!(dtype, DType::F32 | DType::F16 | DType::BF16) || more.contains(&dtype);
    scale.expect_dtype_that(accepts, "float32, float16, bfloat16 or float8e8m0").map(|_| ())
}

/// A zero point has a place for every scale.
fn expect_zero_point(zero_point: &Named<'_>, scale: &Named<'_>) -> Result<(), OpError> {
    let both_single = zero_point.ty().len() == 1 && scale.ty().len() == 1;
    if !both_single && zero_point.shape() != scale.shape() {
        return Err(zero_point.wrong_shape(format!("{:?}, that of the scale", scale.shape())));
    }
    Ok(())
}

fn numbers(x: &Tensor) -> Vec<f64> {
    dispatch!(x.dtype(), T => x.slice::<T>().iter().map(|x| x.to_f64()).collect())
}

fn as_f32(x: &Tensor) -> Tensor {
    cast(x, DType::F32)
}

#[derive(Debug)]
struct QuantizeLinear {
    axis: i64,
    block_size: usize,
    output_dtype: Option<DType>,
    precision: Option<DType>,
    rounding: Rounding,
}

impl QuantizeLinear {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let operator = QuantizeLinear {
            axis: attrs.int("axis", 1)?,
            block_size: read_block_size(attrs)?,
            output_dtype: read_dtype(attrs, "output_dtype")?,
            precision: read_dtype(attrs, "precision")?,
            rounding: Rounding { saturate: attrs.flag("saturate", true)?, ..Rounding::DEFAULT },
        };
        let wrong =
            |name, dtype: DType, expected| OpError::invalid_attribute(name, dtype, expected);
        if let Some(dtype) = operator.output_dtype.filter(|&dtype| !is_quantized(dtype)) {
            return Err(wrong("output_dtype", dtype, "a type of at most 16 bits to quantize to"));
        }
        let is_float = |dtype: &DType| matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
        if let Some(dtype) = operator.precision.filter(|dtype| !is_float(dtype)) {
            return Err(wrong("precision", dtype, "float32, float16 or bfloat16"));
        }
        Ok(Box::new(operator))
    }

    fn granularity(&self, inputs: &Inputs<'_>) -> Result<Granularity, OpError> {
        let scale = inputs.require(SCALE, "y_scale")?;
        Granularity::new(inputs.shape(X), &scale, self.axis, self.block_size)
    }

    /// `x` and the scales as float32, such that dividing them is all that is left to do.
    fn operands(&self, inputs: &Inputs<'_>) -> Result<(Tensor, Tensor), OpError> {
        let (x, scale) = (inputs.tensor(X), inputs.tensor(SCALE));
        let precision = self.precision.unwrap_or(match scale.dtype() {
            dtype @ (DType::F16 | DType::BF16) => dtype,
            _ => DType::F32,
        });
        let (x, scale) = (cast(x, precision), as_f32(&cast(scale, precision)));
        if precision == DType::F32 {
            return Ok((x, scale));
        }
        // A quotient of two 16-bit floats that is rounded to f32 and then to 16 bits is rounded right.
        let mut x = as_f32(&x);
        let (len, elements) = (x.len(), x.slice_mut::<f32>());
        self.granularity(inputs)?.for_each_run(len, |at, range| {
            elements[range].iter_mut().for_each(|x| *x /= scale.slice::<f32>()[at]);
        });
        Ok((as_f32(&cast(&x, precision)), Tensor::full(scale.shape(), 1_f32)))
    }
}

impl Operator for QuantizeLinear {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(3)?;
        let x = inputs.require(X, "x")?;
        let accepts = |dtype| matches!(dtype, DType::F32 | DType::F16 | DType::BF16 | DType::I32);
        x.expect_dtype_that(accepts, "float32, float16, bfloat16 or int32")?;
        let scale = inputs.require(SCALE, "y_scale")?;
        expect_scale(&scale, &[DType::F8E8M0, DType::I32])?;
        self.granularity(inputs)?;
        let mut dtype = self.output_dtype.unwrap_or(DType::U8);
        if let Some(zero_point) = inputs.optional(ZERO_POINT, "y_zero_point") {
            zero_point.expect_dtype_that(is_quantized, "a type to quantize to")?;
            if let Some(output) = self.output_dtype {
                zero_point.expect_dtype(output)?;
            }
            expect_zero_point(&zero_point, &scale)?;
            dtype = zero_point.dtype();
        }
        Ok(vec![TensorType::new(dtype, x.shape())])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let ty = self.infer(inputs)?.remove(0);
        let (x, scale) = self.operands(inputs)?;
        let (x, scale) = (x.slice::<f32>(), scale.slice::<f32>());
        let zero_points = match inputs.get(ZERO_POINT) {
            Some(_) => numbers(inputs.tensor(ZERO_POINT)),
            None => vec![0.; scale.len()],
        };
        let granularity = self.granularity(inputs)?;
        let Some((q_min, q_max)) = integer_range(ty.dtype) else {
            let mut q = vec![0.; x.len()];
            granularity.for_each_run(x.len(), |at, range| {
                for (q, x) in q[range.clone()].iter_mut().zip(&x[range]) {
                    *q = f64::from(x / scale[at]) + zero_points[at];
                }
            });
            return Ok(vec![small_floats(&ty.shape, &q, ty.dtype, self.rounding)]);
        };
        let mut q = vec![0; x.len()];
        granularity.for_each_run(x.len(), |at, range| {
            let zero_point = zero_points[at] as i32;
            quantize(&x[range.clone()], scale[at], zero_point, q_min, q_max, &mut q[range]);
        });
        Ok(vec![integers(ty.dtype, &ty.shape, &q)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

#[derive(Debug)]
struct DequantizeLinear {
    axis: i64,
    block_size: usize,
    output_dtype: Option<DType>,
}

impl DequantizeLinear {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let operator = DequantizeLinear {
            axis: attrs.int("axis", 1)?,
            block_size: read_block_size(attrs)?,
            output_dtype: read_dtype(attrs, "output_dtype")?,
        };
        let is_float = |dtype: &DType| matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
        if let Some(dtype) = operator.output_dtype.filter(|dtype| !is_float(dtype)) {
            let expected = "float32, float16 or bfloat16";
            return Err(OpError::invalid_attribute("output_dtype", dtype, expected));
        }
        Ok(Box::new(operator))
    }
}

impl Operator for DequantizeLinear {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(3)?;
        let x = inputs.require(X, "x")?;
        let accepts = |dtype| is_quantized(dtype) || dtype == DType::I32;
        x.expect_dtype_that(accepts, "a quantized type or int32")?;
        let scale = inputs.require(SCALE, "x_scale")?;
        expect_scale(&scale, &[DType::F8E8M0])?;
        Granularity::new(x.shape(), &scale, self.axis, self.block_size)?;
        if let Some(zero_point) = inputs.optional(ZERO_POINT, "x_zero_point") {
            zero_point.expect_dtype(x.dtype())?;
            expect_zero_point(&zero_point, &scale)?;
        }
        let dtype = match (self.output_dtype, scale.dtype()) {
            (Some(dtype), _) => dtype,
            (None, DType::F8E8M0) => {
                return Err(OpError::MissingAttribute { name: "output_dtype".to_owned() });
            }
            (None, dtype) => dtype,
        };
        Ok(vec![TensorType::new(dtype, x.shape())])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let ty = self.infer(inputs)?.remove(0);
        let scale = inputs.require(SCALE, "x_scale")?;
        let granularity = Granularity::new(&ty.shape, &scale, self.axis, self.block_size)?;
        let scale = as_f32(scale.value()?);
        let scale = scale.slice::<f32>();
        let zero_points = match inputs.get(ZERO_POINT) {
            Some(_) => numbers(inputs.tensor(ZERO_POINT)),
            None => vec![0.; scale.len()],
        };
        let x = inputs.tensor(X);
        let mut y = Vec::with_capacity(x.len());
        dispatch!(x.dtype(), T => {
            let x = x.slice::<T>();
            granularity.for_each_run(x.len(), |at, range| {
                let (scale, zero_point) = (scale[at], zero_points[at]);
                y.extend(x[range].iter().map(|q| (q.to_f64() - zero_point) as f32 * scale));
            });
        });
        Ok(vec![floats::tensor(ty.dtype, &ty.shape, y)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

/// To uint8, with the range of the values at hand, 0 included; a NaN does not count in it.
#[derive(Debug)]
struct DynamicQuantizeLinear;

impl Operator for DynamicQuantizeLinear {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let shape = inputs.require(X, "x")?.expect_f32()?;
        let types = [
            TensorType::new(DType::U8, shape),
            TensorType::f32(&[]),
            TensorType::new(DType::U8, &[]),
        ];
        Ok(types.into_iter().take(inputs.n_outputs()).collect())
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let tensor = inputs.tensor(X);
        let x = tensor.slice::<f32>();
        let low = x.iter().fold(0_f32, |low, &x| if x < low { x } else { low });
        let high = x.iter().fold(0_f32, |high, &x| if high < x { x } else { high });
        // With nothing but zeros any scale will do; onnxruntime has 1.
        let scale = if low < high { (high - low) / 255. } else { 1. };
        let mut zero_point = [0];
        quantize(&[-low], scale, 0, 0, 255, &mut zero_point);
        let mut q = vec![0; x.len()];
        quantize(x, scale, zero_point[0], 0, 255, &mut q);
        let outputs = [
            integers(DType::U8, tensor.shape(), &q),
            Tensor::scalar(scale),
            integers(DType::U8, &[], &zero_point),
        ];
        Ok(outputs.into_iter().take(inputs.n_outputs()).collect())
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

#[cfg(test)]
mod tests {
    use half::f16;
    use ndarray::array;

    use crate::ops::QuantRole;
    use crate::ops::testing::{OpTest, op};
    use crate::tensor::{F4E2M1, F8E4M3FN, F8E8M0, I4, Rounding, Small, Tensor, U2};

    fn quantize(x: impl Into<Tensor>, scale: impl Into<Tensor>) -> OpTest {
        op("QuantizeLinear").tensor(x).tensor(scale)
    }

    fn dequantize(x: impl Into<Tensor>, scale: impl Into<Tensor>) -> OpTest {
        op("DequantizeLinear").tensor(x).tensor(scale)
    }

    #[test]
    fn per_tensor() {
        let x = array![0_f32, 1., 3., 1000., -254., -1000., f32::NAN];
        let two = || Tensor::scalar(2_f32);
        quantize(x.clone(), two()).gives_tensor(array![0_u8, 0, 2, 255, 0, 0, 0]);
        quantize(x.clone(), two())
            .tensor(Tensor::scalar(128_u8))
            .gives_tensor(array![128_u8, 128, 130, 255, 1, 0, 0]);
        quantize(x.clone(), array![2_f32])
            .tensor(array![-1_i8])
            .gives_tensor(array![-1_i8, -1, 1, 127, -128, -128, -128]);
        quantize(x, two())
            .tensor(Tensor::scalar(3_i16))
            .gives_tensor(array![3_i16, 3, 5, 503, -124, -497, -32768]);
        quantize(array![7_i32, -9], two()).int("output_dtype", 3).gives_tensor(array![4_i8, -4]);
        dequantize(array![0_u8, 128, 255], two())
            .tensor(Tensor::scalar(128_u8))
            .gives(array![-256., 0., 254.]);
        dequantize(array![i32::MIN, 3], Tensor::scalar(0.5_f32))
            .gives(array![-1_073_741_824., 1.5]);
    }

    #[test]
    fn along_an_axis() {
        let x = array![[1_f32, 2., 3.], [-4., -5., -6.]];
        let base = |axis, scale: Tensor| quantize(x.clone(), scale).int("axis", axis);
        base(0, array![1_f32, 2.].into())
            .tensor(array![0_i8, 10])
            .gives_tensor(array![[1_i8, 2, 3], [8, 8, 7]]);
        base(-1, array![1_f32, 2., 3.].into())
            .int("output_dtype", 3)
            .gives_tensor(array![[1_i8, 1, 1], [-4, -2, -2]]);
        dequantize(array![[1_i8, 2], [3, 4]], array![1_f32, 10.])
            .tensor(array![0_i8, 1])
            .gives(array![[1., 10.], [3., 30.]]);
        base(0, array![1_f32, 2., 3.].into())
            .fails("input `y_scale` has shape [3], expected [] or [2], one per place along axis 0");
        base(2, array![1_f32, 2.].into()).fails("attribute `axis` is 2, expected from -2 to 1");
    }

    #[test]
    fn in_blocks() {
        let scale = array![[1_f32, 2.], [4., 8.]];
        let x = array![[8_f32, 8., 8.], [8., 8., 8.]];
        let base = || quantize(x.clone(), scale.clone());
        base().int("block_size", 2).gives_tensor(array![[8_u8, 8, 4], [2, 2, 1]]);
        dequantize(array![[1_i8, 1, 1], [1, 1, 1]], scale.clone())
            .int("block_size", 2)
            .gives(array![[1., 1., 2.], [4., 4., 8.]]);
        base()
            .int("block_size", 3)
            .fails("input `y_scale` has shape [2, 2], expected [2, 1], blocks of 3 along axis 1");
        base().int("block_size", -1).fails("attribute `block_size` is -1, expected at least 0");
        base().fails(
            "input `y_scale` has shape [2, 2], expected [] or [3], one per place along axis 1",
        );
    }

    #[test]
    fn small_types() {
        let x = array![-20_f32, -1.5, 2.5, 20.];
        let one = || Tensor::scalar(1_f32);
        let i4 = [-8, -2, 2, 7].map(I4::low_bits).to_vec();
        let i4 = Tensor::from_vec(&[4], i4);
        quantize(x.clone(), one()).int("output_dtype", 22).gives_tensor(i4.clone());
        dequantize(i4, one()).gives(array![-8., -2., 2., 7.]);
        let u2 = [0, 0, 3, 3].map(U2::low_bits).to_vec();
        let zero_point = Tensor::scalar(U2::low_bits(1));
        quantize(x.clone(), one()).tensor(zero_point).gives_tensor(Tensor::from_vec(&[4], u2));
        let f4 = [-6., -1.5, 2., 6.].map(|x| F4E2M1::from_f64(x, Rounding::DEFAULT)).to_vec();
        let f4 = Tensor::from_vec(&[4], f4);
        quantize(x, one()).int("output_dtype", 23).gives_tensor(f4.clone());
        let power = Tensor::scalar(F8E8M0::from_bits(128));
        dequantize(f4.clone(), power.clone())
            .int("output_dtype", 1)
            .gives(array![-12., -3., 4., 12.]);
        dequantize(f4, power).fails("attribute `output_dtype` is missing");
        let f8 = [0x7e_u8, 0x38].map(F8E4M3FN::from_bits).to_vec();
        quantize(array![1e6_f32, 1.], one())
            .tensor(Tensor::scalar(F8E4M3FN::default()))
            .gives_tensor(Tensor::from_vec(&[2], f8));
    }

    #[test]
    fn sixteen_bit_floats() {
        let half = |x: [f32; 2]| Tensor::from_vec(&[2], x.map(f16::from_f32).to_vec());
        let tenth = || Tensor::scalar(f16::from_f32(0.1));
        // 0.05 / 0.1 of these types is 0.5 exactly once it is rounded.
        quantize(half([0.05, 0.15]), tenth()).gives_tensor(array![0_u8, 2]);
        quantize(array![0.5_f32, 1.5], Tensor::scalar(1_f32))
            .int("precision", 10)
            .gives_tensor(array![0_u8, 2]);
        dequantize(array![2_u8, 3], Tensor::scalar(f16::from_f32(0.5)))
            .gives_tensor(half([1., 1.5]));
        dequantize(array![2_u8, 3], Tensor::scalar(0.5_f32))
            .int("output_dtype", 10)
            .gives_tensor(half([1., 1.5]));
    }

    #[test]
    fn dynamic() {
        let base =
            |x: Vec<f32>| op("DynamicQuantizeLinear").input(&ndarray::Array::from(x)).outputs(3);
        let outputs = |q: Vec<u8>, scale: f32, zero_point: u8| {
            [ndarray::Array::from(q).into(), Tensor::scalar(scale), Tensor::scalar(zero_point)]
        };
        base(vec![0., 255., 3.]).gives_tensors(&outputs(vec![0, 255, 3], 1., 0));
        base(vec![-1., 1.55]).gives_tensors(&outputs(vec![0, 255], 0.01, 100));
        base(vec![-5., -2.]).gives_tensors(&outputs(vec![0, 153], 5. / 255., 255));
        base(vec![0., 0.]).gives_tensors(&outputs(vec![0, 0], 1., 0));
        base(vec![]).gives_tensors(&outputs(vec![], 1., 0));
    }

    #[test]
    fn refuses() {
        let base = || quantize(array![1_f32, 2.], Tensor::scalar(1_f32));
        base()
            .tensor(Tensor::scalar(1_i32))
            .fails("input `y_zero_point` is int32, expected a type to quantize to");
        base()
            .int("output_dtype", 3)
            .tensor(Tensor::scalar(1_u8))
            .fails("input `y_zero_point` is uint8, expected int8");
        base()
            .tensor(array![1_u8, 2])
            .fails("input `y_zero_point` has shape [2], expected [], that of the scale");
        base().int("output_dtype", 1).fails("attribute `output_dtype` is float32, expected a type of at most 16 bits to quantize to");
        base()
            .int("precision", 6)
            .fails("attribute `precision` is int32, expected float32, float16 or bfloat16");
        quantize(array![true], Tensor::scalar(1_f32))
            .fails("input `x` is bool, expected float32, float16, bfloat16 or int32");
        dequantize(array![1_u8], Tensor::scalar(1_f32))
            .tensor(Tensor::scalar(1_i8))
            .fails("input `x_zero_point` is int8, expected uint8");
        dequantize(array![1_i64], Tensor::scalar(1_f32))
            .fails("input `x` is int64, expected a quantized type or int32");
    }

    #[test]
    fn quantization() {
        assert_eq!(
            quantize(array![1_f32], Tensor::scalar(1_f32)).quant(),
            QuantRole::NOT_QUANTIZED
        );
        let microsoft =
            dequantize(array![1_u8], Tensor::scalar(2_f32)).domain("com.microsoft").opset(1);
        microsoft.gives(array![2.]);
    }
}
