//! Back to the size before: `MaxUnpool`, `Col2Im`.
//!
//! <https://onnx.ai/onnx/operators/onnx__MaxUnpool.html>,
//! <https://onnx.ai/onnx/operators/onnx__Col2Im.html>

use crate::dispatch;
use crate::kernels::Axis;
use crate::ops::conv::expect_spatial;
use crate::ops::dims::{checked_type, sizes_input, strides};
use crate::ops::floats::{doubles, expect_any_float, rounded};
use crate::ops::number::{Number, dispatch_numbers};
use crate::ops::window::{Window, checked};
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] =
    &[OpDef::onnx("MaxUnpool", 9, MaxUnpool::read), OpDef::onnx("Col2Im", 18, Col2Im::read)];

/// Puts each element where `I` says, zeros everywhere else. The indices are those of the output that
/// the window implies; if `output_shape` is larger, the rest is zeros too.
#[derive(Debug)]
struct MaxUnpool {
    window: Window,
}

const X: usize = 0;
const INDICES: usize = 1;
const OUTPUT_SHAPE: usize = 2;

impl MaxUnpool {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let missing = || OpError::MissingAttribute { name: "kernel_shape".to_owned() };
        let kernel_shape = attrs.opt_sizes("kernel_shape", 1)?.ok_or_else(missing)?;
        let window = Window {
            kernel_shape: Some(kernel_shape),
            strides: attrs.opt_sizes("strides", 1)?,
            pads: attrs.opt_sizes("pads", 0)?,
            ..Window::UNSET
        };
        Ok(Box::new(MaxUnpool { window }))
    }

    /// The shape that the pool's input had.
    fn implied(&self, x: &[usize]) -> Result<Vec<usize>, OpError> {
        let rank = x.len() - 2;
        let (kernel, strides) = (self.window.kernel(rank)?, self.window.strides(rank)?);
        let pads = self.window.pads(rank)?;
        let mut shape = x[..2].to_vec();
        for axis in 0..rank {
            let steps = x[axis + 2].saturating_sub(1).checked_mul(strides[axis]);
            let reach = checked(steps.and_then(|steps| steps.checked_add(kernel[axis])))?;
            let padding = pads[axis][0].saturating_add(pads[axis][1]);
            let size = reach.checked_sub(padding);
            let wrong = || {
                let expected = format!("at most {reach} in all along axis {axis}");
                OpError::invalid_attribute("pads", format!("{:?}", pads[axis]), expected)
            };
            shape.push(size.ok_or_else(wrong)?);
        }
        Ok(shape)
    }
}

impl Operator for MaxUnpool {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(3)?;
        let x = inputs.require(X, "X")?;
        expect_any_float(&x)?;
        expect_spatial(x.shape())?;
        let indices = inputs.require(INDICES, "I")?;
        if indices.expect_dtype(DType::I64)? != x.shape() {
            return Err(indices.wrong_shape(format!("{:?}, that of `X`", x.shape())));
        }
        let implied = self.implied(x.shape())?;
        let Some(shape) = inputs.optional(OUTPUT_SHAPE, "output_shape") else {
            return Ok(vec![checked_type(x.dtype(), implied)?]);
        };
        let found = shape.i64s()?;
        let shape = sizes_input("output_shape", &found)?;
        let is_larger = shape.len() == implied.len()
            && shape[..2] == implied[..2]
            && shape.iter().zip(&implied).all(|(size, least)| least <= size);
        if !is_larger {
            let expected = format!("at least {implied:?}, which the window implies");
            return Err(OpError::value("output_shape", format!("{found:?}"), expected));
        }
        checked_type(x.dtype(), implied)?;
        Ok(vec![checked_type(x.dtype(), shape)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let output = &self.infer(inputs)?[0];
        let implied = self.implied(inputs.shape(X))?;
        let n = implied.iter().product::<usize>();
        let steps: Vec<_> =
            strides(&implied).into_iter().zip(strides(&output.shape)).zip(&implied).collect();
        let place = |&index: &i64| {
            let wrong = || OpError::value("I", index, format!("0 to less than {n}"));
            let index = usize::try_from(index).ok().filter(|&i| i < n).ok_or_else(wrong)?;
            Ok(steps.iter().map(|&((from, to), dim)| index / from % dim * to).sum())
        };
        let indices = inputs.tensor(INDICES).slice::<i64>();
        let places = indices.iter().map(place).collect::<Result<Vec<usize>, OpError>>()?;
        let x = inputs.tensor(X);
        Ok(vec![dispatch!(x.dtype(), T => {
            let mut y = vec![T::default(); output.len()];
            places.iter().zip(x.slice::<T>()).for_each(|(&place, &x)| y[place] = x);
            Tensor::from_vec(&output.shape, y)
        })])
    }

    /// Zero is in every encoding.
    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::passes(X)
    }
}

/// Adds up columns, each a block of the image: `[N, C * block, L]` becomes `[N, C, ...]`.
#[derive(Debug)]
struct Col2Im {
    window: Window,
}

const IMAGE_SHAPE: usize = 1;
const BLOCK_SHAPE: usize = 2;

impl Col2Im {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let window = Window {
            strides: attrs.opt_sizes("strides", 1)?,
            dilations: attrs.opt_sizes("dilations", 1)?,
            pads: attrs.opt_sizes("pads", 0)?,
            ..Window::UNSET
        };
        Ok(Box::new(Col2Im { window }))
    }

    /// How the block slides over the image.
    fn axes(&self, inputs: &Inputs<'_>) -> Result<Vec<Axis>, OpError> {
        let found = inputs.require(IMAGE_SHAPE, "image_shape")?.i64s()?;
        let image = sizes_input("image_shape", &found)?;
        let block = inputs.require(BLOCK_SHAPE, "block_shape")?.i64s()?;
        let sizes = sizes_input("block_shape", &block)?;
        if sizes.len() != image.len() || sizes.contains(&0) {
            let expected = format!("{} sizes of at least 1, those of a block", image.len());
            return Err(OpError::value("block_shape", format!("{block:?}"), expected));
        }
        self.window.axis_list(&image, &sizes).map_err(|error| match error {
            OpError::Shape { .. } => {
                let expected = format!("a block of {block:?} to fit, padding included");
                OpError::value("image_shape", format!("{found:?}"), expected)
            }
            other => other,
        })
    }
}

/// For every tap of the block and every position of it, the element of the image, if any.
fn places(axes: &[Axis]) -> Vec<Option<usize>> {
    let each = |n: fn(&Axis) -> usize| {
        axes.iter().fold(vec![Vec::new()], |lists, axis| {
            let longer = |list: &Vec<usize>, i| [list.as_slice(), &[i]].concat();
            lists.iter().flat_map(|list| (0..n(axis)).map(move |i| longer(list, i))).collect()
        })
    };
    let (taps, outputs) = (each(|axis| axis.kernel), each(|axis| axis.output));
    let place = |tap: &[usize], output: &[usize]| {
        axes.iter().zip(tap.iter().zip(output)).try_fold(0, |place, (axis, (&tap, &output))| {
            Some(place * axis.input + axis.source(output, tap)?)
        })
    };
    taps.iter().flat_map(|tap| outputs.iter().map(|output| place(tap, output))).collect()
}

fn add_up<T: Copy>(
    places: &[Option<usize>],
    plane: usize,
    zero: T,
    x: &[T],
    plus: fn(T, T) -> T,
) -> Vec<T> {
    let mut y = Vec::new();
    for x in x.chunks_exact(places.len()) {
        let start = y.len();
        y.resize(start + plane, zero);
        for (&x, place) in x.iter().zip(places) {
            if let Some(place) = place {
                y[start + place] = plus(y[start + place], x);
            }
        }
    }
    y
}

impl Operator for Col2Im {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(3)?;
        let x = inputs.require(X, "input")?;
        x.expect_dtype_that(DType::is_number, "a numeric type")?;
        let [n, rows, columns] = x.expect_rank()?;
        let axes = self.axes(inputs)?;
        let product = |n: fn(&Axis) -> usize| {
            axes.iter().try_fold(1_usize, |product, axis| product.checked_mul(n(axis)))
        };
        let block = checked(product(|axis| axis.kernel))?;
        let positions = checked(product(|axis| axis.output))?;
        if !rows.is_multiple_of(block) || columns != positions {
            let expected = format!("[N, a multiple of {block}, {positions}], blocks by positions");
            return Err(x.wrong_shape(expected));
        }
        let mut shape = vec![n, rows / block];
        shape.extend(axes.iter().map(|axis| axis.input));
        Ok(vec![checked_type(x.dtype(), shape)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let TensorType { dtype, shape } = self.infer(inputs)?.remove(0);
        let plane = shape[2..].iter().product();
        let places = places(&self.axes(inputs)?);
        if dtype.is_float() {
            let y = add_up(&places, plane, 0., &doubles(inputs.tensor(X)), |a, b| a + b);
            return Ok(vec![rounded(dtype, &shape, y)]);
        }
        Ok(vec![dispatch_numbers!(dtype, T => {
            let x = inputs.tensor(X).slice::<T>();
            Tensor::from_vec(&shape, add_up(&places, plane, T::default(), x, T::plus))
        })])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::reads_only(X)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::QuantRole;
    use crate::ops::testing::{OpTest, counting, op};
    use crate::tensor::{I4, Tensor};

    fn unpool(indices: [i64; 2]) -> OpTest {
        op("MaxUnpool")
            .input(&array![[[1., 2.]]])
            .tensor(Tensor::from_vec(&[1, 1, 2], indices.to_vec()))
            .ints("kernel_shape", &[2])
            .ints("strides", &[2])
    }

    #[test]
    fn max_unpool() {
        unpool([1, 2]).gives(array![[[0., 1., 2., 0.]]]);
        unpool([1, 2]).ints("pads", &[0, 1]).gives(array![[[0., 1., 2.]]]);
        unpool([1, 2]).i64s(&[1, 1, 6]).gives(array![[[0., 1., 2., 0., 0., 0.]]]);
        assert_eq!(unpool([1, 2]).quant(), QuantRole::passes(0));
    }

    /// The indices count in the implied plane, here 2 x 2.
    #[test]
    fn max_unpool_into_a_larger_plane() {
        op("MaxUnpool")
            .input(&array![[[[5.]]]])
            .tensor(Tensor::from_vec(&[1, 1, 1, 1], vec![3_i64]))
            .i64s(&[1, 1, 3, 3])
            .ints("kernel_shape", &[2, 2])
            .gives(array![[[[0., 0., 0.], [0., 5., 0.], [0., 0., 0.]]]]);
    }

    #[test]
    fn max_unpool_refuses() {
        unpool([1, 4]).fails("input `I` is 4, expected 0 to less than 4");
        unpool([-1, 0]).fails("input `I` is -1, expected 0 to less than 4");
        unpool([1, 2])
            .ints("pads", &[4, 1])
            .fails("attribute `pads` is [4, 1], expected at most 4 in all along axis 0");
        unpool([1, 2]).i64s(&[1, 1, 3]).fails(
            "input `output_shape` is [1, 1, 3], expected at least [1, 1, 4], which the window implies",
        );
        op("MaxUnpool").fails("attribute `kernel_shape` is missing");
    }

    fn fold(x: Tensor, image: &[i64], block: &[i64]) -> OpTest {
        op("Col2Im").tensor(x).i64s(image).i64s(block)
    }

    #[test]
    fn col2im() {
        fold(counting(&[1, 2, 2]), &[1, 3], &[1, 2]).gives(array![[[[0., 3., 3.]]]]);
        fold(counting(&[1, 2, 2]), &[1, 4], &[1, 2])
            .ints("strides", &[1, 2])
            .gives(array![[[[0., 2., 1., 3.]]]]);
        fold(counting(&[1, 2, 2]), &[1, 4], &[1, 2])
            .ints("dilations", &[1, 2])
            .gives(array![[[[0., 1., 2., 3.]]]]);
        fold(counting(&[1, 2, 3]), &[1, 2], &[1, 2])
            .ints("pads", &[0, 1, 0, 1])
            .gives(array![[[[4., 6.]]]]);
        // Two channels of one element per block, a line.
        fold(counting(&[1, 2, 2]), &[2], &[1]).gives(array![[[0., 1.], [2., 3.]]]);
        fold(Tensor::from_vec(&[1, 2, 2], vec![100_u8, 100, 200, 7]), &[1, 3], &[1, 2])
            .gives_tensor(Tensor::from_vec(&[1, 1, 1, 3], vec![100_u8, 44, 7]));
    }

    #[test]
    fn col2im_refuses() {
        let nibbles = Tensor::full(&[1, 2, 2], I4::default());
        fold(nibbles, &[1, 3], &[1, 2]).fails("input `input` is int4, expected a numeric type");
        fold(counting(&[1, 3, 2]), &[1, 3], &[1, 2]).fails(
            "input `input` has shape [1, 3, 2], expected [N, a multiple of 2, 2], blocks by positions",
        );
        fold(counting(&[1, 2, 2]), &[1, 1], &[1, 2]).fails(
            "input `image_shape` is [1, 1], expected a block of [1, 2] to fit, padding included",
        );
        fold(counting(&[1, 2, 2]), &[1, 3], &[2])
            .fails("input `block_shape` is [2], expected 2 sizes of at least 1, those of a block");
        fold(counting(&[1, 2, 2]), &[1, -3], &[1, 2])
            .fails("input `image_shape` is [1, -3], expected no negative size");
        assert_eq!(fold(counting(&[1, 2, 2]), &[1, 3], &[1, 2]).quant(), QuantRole::reads_only(0));
    }
}
