//! `SparseTensorProto` to a dense [`Tensor`].

use crate::dispatch;
use crate::onnx::external::External;
use crate::onnx::proto::{SparseTensorProto, TensorProto};
use crate::onnx::tensor::{TensorError, decode, shape};
use crate::tensor::{DType, Tensor, TensorType};

/// What is wrong with a sparse tensor.
#[derive(Debug, thiserror::Error)]
pub enum SparseError {
    #[error("sparse tensor is invalid: it has no `{field}`")]
    Missing { field: &'static str },

    #[error("`{field}` of a sparse tensor: {error}")]
    Part { field: &'static str, error: TensorError },

    #[error("sparse tensor: {error}")]
    Shape { error: TensorError },

    #[error("sparse tensor is invalid: `values` has shape {found:?}, expected one dimension")]
    Values { found: Vec<usize> },

    #[error(
        "sparse tensor is invalid: `indices` is {found}, expected int64 {linear:?} or {full:?}"
    )]
    Indices { found: TensorType, linear: [usize; 1], full: [usize; 2] },

    #[error("sparse tensor is invalid: index {index:?} is outside of shape {shape:?}")]
    Outside { index: Vec<i64>, shape: Vec<usize> },

    #[error("sparse tensor is invalid: index {index:?} is not above the one before it")]
    Order { index: Vec<i64> },

    #[error(
        "the dense form of a sparse tensor has {size_bytes} bytes, more than the limit of {limit_bytes}"
    )]
    TooLarge { size_bytes: usize, limit_bytes: usize },
}

/// The name of a sparse tensor is that of its values.
pub(crate) fn name(proto: &SparseTensorProto) -> &str {
    proto.values.as_ref().map_or("", TensorProto::name)
}

/// All elements of a sparse tensor; those that it does not list are 0.
pub(crate) fn decode_sparse(
    proto: &SparseTensorProto,
    external: &External,
    limit_bytes: usize,
) -> Result<Tensor, SparseError> {
    let part = |field, part: &Option<TensorProto>| {
        let part = part.as_ref().ok_or(SparseError::Missing { field })?;
        decode(part, external).map_err(|error| SparseError::Part { field, error })
    };
    let values = part("values", &proto.values)?;
    let indices = part("indices", &proto.indices)?;
    let &[count] = values.shape() else {
        return Err(SparseError::Values { found: values.shape().to_vec() });
    };
    let dtype = values.dtype();
    let shape = shape(&proto.dims, dtype).map_err(|error| SparseError::Shape { error })?;
    let ty = TensorType { dtype, shape };
    let places = places(&indices, count, &ty.shape)?;
    let size_bytes = ty.size_bytes();
    if size_bytes > limit_bytes {
        return Err(SparseError::TooLarge { size_bytes, limit_bytes });
    }
    Ok(dispatch!(dtype, T => {
        let mut dense = vec![T::default(); ty.len()];
        for (&place, &value) in places.iter().zip(values.slice::<T>()) {
            dense[place] = value;
        }
        Tensor::from_vec(&ty.shape, dense)
    }))
}

/// Where each value goes, in row-major order: strictly ascending, and inside.
fn places(indices: &Tensor, count: usize, shape: &[usize]) -> Result<Vec<usize>, SparseError> {
    let (linear, full) = ([count], [count, shape.len()]);
    let is_linear = indices.shape() == linear;
    if indices.dtype() != DType::I64 || !is_linear && indices.shape() != full {
        return Err(SparseError::Indices { found: indices.ty(), linear, full });
    }
    let len = TensorType::new(DType::U8, shape).len();
    let dims = if is_linear { std::slice::from_ref(&len) } else { shape };
    let all = indices.slice::<i64>();
    let mut places: Vec<usize> = Vec::with_capacity(count);
    for value in 0..count {
        let index = &all[value * dims.len()..][..dims.len()];
        let Some(place) = place(index, dims) else {
            return Err(SparseError::Outside { index: index.to_vec(), shape: shape.to_vec() });
        };
        if places.last().is_some_and(|&last| place <= last) {
            return Err(SparseError::Order { index: index.to_vec() });
        }
        places.push(place);
    }
    Ok(places)
}

fn place(index: &[i64], dims: &[usize]) -> Option<usize> {
    index.iter().zip(dims).try_fold(0, |place, (&index, &dim)| {
        let index = usize::try_from(index).ok().filter(|&index| index < dim)?;
        Some(place * dim + index)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use expect_test::expect;

    use super::*;
    use crate::onnx::tensor::encode;

    fn read(dims: &[i64], values: &[f32], indices: &Tensor) -> Result<Tensor, SparseError> {
        let values = Tensor::from_vec(&[values.len()], values.to_vec());
        let proto = SparseTensorProto {
            values: Some(encode("w", &values)),
            indices: Some(encode("", indices)),
            dims: dims.to_vec(),
        };
        assert_eq!(name(&proto), "w");
        decode_sparse(&proto, &External::beside(Path::new("m.onnx")), 1 << 20)
    }

    #[test]
    fn both_forms_of_indices() {
        let dense = Tensor::from_vec(&[2, 3], vec![0_f32, 5., 0., 0., 0., 7.]);
        let linear = Tensor::from_vec(&[2], vec![1_i64, 5]);
        assert_eq!(read(&[2, 3], &[5., 7.], &linear).unwrap(), dense);
        let full = Tensor::from_vec(&[2, 2], vec![0_i64, 1, 1, 2]);
        assert_eq!(read(&[2, 3], &[5., 7.], &full).unwrap(), dense);
        let none = Tensor::from_vec(&[0], Vec::<i64>::new());
        assert_eq!(read(&[2], &[], &none).unwrap(), Tensor::full(&[2], 0_f32));
    }

    #[test]
    fn sparse_tensors_that_are_refused() {
        let refusal = |dims: &[i64], indices: Tensor| {
            read(dims, &[5., 7.], &indices).unwrap_err().to_string()
        };
        let linear = |indices: [i64; 2]| Tensor::from_vec(&[2], indices.to_vec());
        expect!["sparse tensor is invalid: index [6] is outside of shape [2, 3]"]
            .assert_eq(&refusal(&[2, 3], linear([1, 6])));
        expect!["sparse tensor is invalid: index [-1] is outside of shape [2, 3]"]
            .assert_eq(&refusal(&[2, 3], linear([-1, 2])));
        expect!["sparse tensor is invalid: index [2] is not above the one before it"]
            .assert_eq(&refusal(&[2, 3], linear([2, 2])));
        let full = Tensor::from_vec(&[2, 2], vec![0_i64, 3, 1, 0]);
        expect!["sparse tensor is invalid: index [0, 3] is outside of shape [2, 3]"]
            .assert_eq(&refusal(&[2, 3], full));
        expect!["sparse tensor is invalid: `indices` is int64 [1], expected int64 [2] or [2, 2]"]
            .assert_eq(&refusal(&[2, 3], Tensor::from_vec(&[1], vec![0_i64])));
        expect!["sparse tensor is invalid: `indices` is int32 [2], expected int64 [2] or [2, 2]"]
            .assert_eq(&refusal(&[2, 3], Tensor::from_vec(&[2], vec![0_i32, 1])));
        expect!["sparse tensor: shape [-2] is invalid: dimension 0 is negative"]
            .assert_eq(&refusal(&[-2], linear([0, 1])));
        expect!["the dense form of a sparse tensor has 4398046511104 bytes, more than the limit of 1048576"].assert_eq(&refusal(&[1 << 40], linear([0, 1])));
        let empty = SparseTensorProto::default();
        let external = External::beside(Path::new("m.onnx"));
        let error = decode_sparse(&empty, &external, 0).unwrap_err();
        expect!["sparse tensor is invalid: it has no `values`"].assert_eq(&error.to_string());
    }
}
