//! Elements picked by index tensors: `Gather`, `GatherElements`, `GatherND`.

use crate::dispatch;
use crate::ops::dims::{Along, axis_attribute, checked_type, resolve, strides};
use crate::ops::inputs::Named;
use crate::ops::take::take_axis;
use crate::ops::{
    Attrs, Bodies, Inputs, OpDef, OpError, Operator, OutputRange, QuantRole, Reads, Weight,
};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("Gather", 1, |attrs| Ok(Box::new(Gather { axis: attrs.int("axis", 0)? }))),
    OpDef::onnx("GatherElements", 11, |attrs| {
        Ok(Box::new(GatherElements { axis: attrs.int("axis", 0)? }))
    }),
    OpDef::onnx("GatherND", 11, GatherNd::read),
];

const DATA: usize = 0;
const INDICES: usize = 1;

/// Slices of `data` at `indices` along `axis`, which the shape of `indices` replaces.
#[derive(Debug)]
struct Gather {
    axis: i64,
}

impl Operator for Gather {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        let (data, indices) = data_and_indices(inputs)?;
        let axis = axis_attribute("axis", self.axis, data.rank())?;
        let shape = [&data.shape()[..axis], indices.shape(), &data.shape()[axis + 1..]].concat();
        Ok(vec![checked_type(data.dtype(), shape)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let shape = self.infer(inputs)?.remove(0).shape;
        let data = inputs.tensor(DATA);
        let axis = axis_attribute("axis", self.axis, data.rank())?;
        let picks = picks("indices", inputs.tensor(INDICES), data.shape()[axis])?;
        Ok(vec![take_axis(data, axis, &picks).reshaped(&shape)])
    }

    /// A constant `data` is an embedding table, a weight; any other is an activation passed on.
    fn quant(&self, inputs: &Inputs<'_>) -> QuantRole {
        let rank = inputs.shape(DATA).len();
        let is_table = resolve(self.axis, rank) == Some(0);
        let weights = is_table.then_some(Weight { input: DATA, channel_axis: 0 });
        QuantRole {
            weights: weights.into_iter().collect(),
            reads: Reads::Only(vec![DATA]),
            output: OutputRange::SameAsInput(DATA),
            ..QuantRole::OWN_RANGE
        }
    }
}

/// `output[i][j] = data[indices[i][j]][j]` for axis 0, and so on.
#[derive(Debug)]
struct GatherElements {
    axis: i64,
}

impl Operator for GatherElements {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        let (data, indices) = data_and_indices(inputs)?;
        let axis = axis_attribute("axis", self.axis, data.rank())?;
        expect_within(&indices, data.shape(), axis)?;
        Ok(vec![checked_type(data.dtype(), indices.shape().to_vec())?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let (data, indices) = (inputs.tensor(DATA), inputs.tensor(INDICES));
        let axis = axis_attribute("axis", self.axis, data.rank())?;
        let offsets = element_offsets(data.shape(), indices, axis)?;
        Ok(vec![take_offsets(data, &offsets, 1, indices.shape())])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::passes(DATA)
    }
}

/// The last axis of `indices` holds positions along the axes of `data` that follow the batch axes.
#[derive(Debug)]
struct GatherNd {
    batch_dims: i64,
}

impl GatherNd {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(GatherNd { batch_dims: attrs.int("batch_dims", 0)? }))
    }

    /// Checked by `infer` to be less than both ranks.
    fn n_batch(&self) -> usize {
        usize::try_from(self.batch_dims).unwrap_or(usize::MAX)
    }
}

impl Operator for GatherNd {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        let (data, indices) = data_and_indices(inputs)?;
        let n_batch = self.n_batch();
        if data.rank().min(indices.rank()) <= n_batch {
            let expected = format!("less than ranks {} and {}", data.rank(), indices.rank());
            return Err(OpError::invalid_attribute("batch_dims", self.batch_dims, expected));
        }
        if indices.shape()[..n_batch] != data.shape()[..n_batch] {
            let batch = &data.shape()[..n_batch];
            return Err(indices.wrong_shape(format!("to start with {batch:?}, as `data`")));
        }
        let depth = index_depth(&indices, data.rank() - n_batch)?;
        let index_shape = &indices.shape()[..indices.rank() - 1];
        let shape = [index_shape, &data.shape()[n_batch + depth..]].concat();
        Ok(vec![checked_type(data.dtype(), shape)?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let ty = self.infer(inputs)?.remove(0);
        let (data, indices) = (inputs.tensor(DATA), inputs.tensor(INDICES));
        let (offsets, block) = tuple_offsets(data.shape(), indices, self.n_batch())?;
        Ok(vec![take_offsets(data, &offsets, block, &ty.shape)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::passes(DATA)
    }
}

fn data_and_indices<'a>(inputs: &Inputs<'a>) -> Result<(Named<'a>, Named<'a>), OpError> {
    inputs.expect_at_most(2)?;
    let indices = inputs.require(INDICES, "indices")?;
    expect_indices(&indices)?;
    Ok((inputs.require(DATA, "data")?, indices))
}

pub(super) fn expect_indices(indices: &Named<'_>) -> Result<(), OpError> {
    let accepts = |dtype| matches!(dtype, DType::I32 | DType::I64);
    indices.expect_dtype_that(accepts, "int32 or int64").map(|_| ())
}

/// Indices of single elements may not reach beyond the data along the other axes.
pub(super) fn expect_within(
    indices: &Named<'_>,
    data: &[usize],
    axis: usize,
) -> Result<(), OpError> {
    let dims = indices.shape().iter().zip(data).enumerate();
    let mut dims = dims.map(|(at, (&index_dim, &dim))| at == axis || index_dim <= dim);
    if indices.rank() != data.len() || !dims.all(|is_within| is_within) {
        return Err(indices.wrong_shape(format!("at most {data:?} save axis {axis}")));
    }
    Ok(())
}

/// How many axes the tuples along the last axis of `indices` index.
pub(super) fn index_depth(indices: &Named<'_>, most: usize) -> Result<usize, OpError> {
    let depth = indices.shape().last().copied();
    let depth = depth.filter(|&depth| 1 <= depth && depth <= most);
    depth.ok_or_else(|| indices.wrong_shape(format!("a last dimension from 1 to {most}")))
}

/// Indices as positions in `0..n`.
pub(super) fn picks(name: &str, indices: &Tensor, n: usize) -> Result<Vec<usize>, OpError> {
    let indices = indices.to_i64().expect("`infer` checked that they are integers");
    indices.into_iter().map(|index| pick(name, index, n)).collect()
}

fn pick(name: &str, index: i64, n: usize) -> Result<usize, OpError> {
    resolve(index, n).ok_or_else(|| {
        let expected = match n {
            0 => "no index, as the dimension is 0".to_owned(),
            _ => format!("from -{n} to {}", n - 1),
        };
        OpError::value(name, index, expected)
    })
}

/// Where in `data` each element of `indices` points.
pub(super) fn element_offsets(
    data: &[usize],
    indices: &Tensor,
    axis: usize,
) -> Result<Vec<usize>, OpError> {
    let strides = strides(data);
    let mut offsets = picks("indices", indices, data[axis])?;
    for (position, offset) in offsets.iter_mut().enumerate() {
        *offset *= strides[axis];
        let mut rest = position;
        for (at, &dim) in indices.shape().iter().enumerate().rev() {
            if at != axis {
                *offset += rest % dim * strides[at];
            }
            rest /= dim;
        }
    }
    Ok(offsets)
}

/// Where in `data` the block of each index tuple starts, and the size of a block.
pub(super) fn tuple_offsets(
    data: &[usize],
    indices: &Tensor,
    n_batch: usize,
) -> Result<(Vec<usize>, usize), OpError> {
    let depth = *indices.shape().last().expect("`infer` checked the rank");
    let strides = strides(data);
    let values = indices.to_i64().expect("`infer` checked that they are integers");
    let per_batch = Along::new(indices.shape(), indices.rank() - 1);
    let n_batches: usize = data[..n_batch].iter().product();
    let tuples_per_batch = per_batch.outer / n_batches.max(1);
    let batch_size: usize = data[n_batch..].iter().product();
    let mut offsets = Vec::with_capacity(per_batch.outer);
    for (position, tuple) in values.chunks_exact(depth).enumerate() {
        let mut offset = position / tuples_per_batch * batch_size;
        for (&index, axis) in tuple.iter().zip(n_batch..) {
            offset += pick("indices", index, data[axis])? * strides[axis];
        }
        offsets.push(offset);
    }
    Ok((offsets, data[n_batch + depth..].iter().product()))
}

fn take_offsets(data: &Tensor, offsets: &[usize], block: usize, shape: &[usize]) -> Tensor {
    dispatch!(data.dtype(), T => {
        let from = data.slice::<T>();
        let blocks = offsets.iter().flat_map(|&offset| from[offset..offset + block].iter().copied());
        Tensor::from_vec(shape, blocks.collect())
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use crate::ops::testing::op;
    use crate::ops::{OutputRange, Weight};
    use crate::tensor::Tensor;

    #[test]
    fn gather() {
        let x = array![[1., 2.], [3., 4.], [5., 6.]];
        op("Gather").input(&x).i64s(&[0, -1]).gives(array![[1., 2.], [5., 6.]]);
        op("Gather").input(&x).i64s(&[1]).int("axis", -1).gives(array![[2.], [4.], [6.]]);
        op("Gather").input(&x).tensor(Tensor::scalar(1_i64)).gives(array![3., 4.]);
        op("Gather")
            .input(&x)
            .tensor(array![[0_i32, 1], [1, 2]])
            .gives(array![[[1., 2.], [3., 4.]], [[3., 4.], [5., 6.]]]);
        op("Gather").input(&x).i64s(&[]).gives(Array2::zeros((0, 2)));
        op("Gather").input(&x).i64s(&[3]).fails("input `indices` is 3, expected from -3 to 2");
        op("Gather")
            .input(&Array2::zeros((0, 2)))
            .i64s(&[0])
            .fails("input `indices` is 0, expected no index, as the dimension is 0");
        op("Gather")
            .input(&x)
            .input(&array![1.])
            .fails("input `indices` is float32, expected int32 or int64");
        op("Gather")
            .input(&ndarray::arr0(1.))
            .i64s(&[0])
            .fails("attribute `axis` is 0, expected none, as the input has rank 0");
    }

    #[test]
    fn gather_quant() {
        let gather = || op("Gather").input(&array![[1., 2.], [3., 4.]]).i64s(&[0]);
        let role = gather().int("axis", -2).quant();
        assert_eq!(role.weights, [Weight { input: 0, channel_axis: 0 }]);
        assert!(role.reads(0) && !role.reads(1));
        assert_eq!(role.output, OutputRange::SameAsInput(0));
        assert_eq!(gather().int("axis", 1).quant().weights, []);
    }

    #[test]
    fn gather_elements() {
        let x = array![[1., 2., 3.], [4., 5., 6.]];
        let rows = array![[1_i64, 0, -2], [0, 1, 1]];
        op("GatherElements").input(&x).tensor(rows).gives(array![[4., 2., 3.], [1., 5., 6.]]);
        let columns = array![[2_i32], [-3]];
        op("GatherElements").input(&x).tensor(columns).int("axis", 1).gives(array![[3.], [4.]]);
        op("GatherElements")
            .input(&x)
            .tensor(array![[0_i64, 0, 0, 0]])
            .fails("input `indices` has shape [1, 4], expected at most [2, 3] save axis 0");
        op("GatherElements")
            .input(&x)
            .tensor(array![[2_i64]])
            .fails("input `indices` is 2, expected from -2 to 1");
    }

    #[test]
    fn gather_nd() {
        let x = array![[1., 2.], [3., 4.]];
        op("GatherND").input(&x).tensor(array![[0_i64, 0], [1, -1]]).gives(array![1., 4.]);
        op("GatherND").input(&x).tensor(array![[1_i64], [0]]).gives(array![[3., 4.], [1., 2.]]);
        let cube = array![[[1., 2.], [3., 4.]], [[5., 6.], [7., 8.]]];
        op("GatherND")
            .input(&cube)
            .tensor(array![[1_i64], [0]])
            .int("batch_dims", 1)
            .gives(array![[3., 4.], [5., 6.]]);
        op("GatherND").input(&x).i64s(&[1, 0]).gives(ndarray::arr0(3.));
        op("GatherND")
            .input(&x)
            .tensor(array![[0_i64, 0, 0]])
            .fails("input `indices` has shape [1, 3], expected a last dimension from 1 to 2");
        op("GatherND")
            .input(&x)
            .tensor(array![[0_i64]])
            .int("batch_dims", 2)
            .fails("attribute `batch_dims` is 2, expected less than ranks 2 and 2");
    }
}
