//! Whole arrays: the inputs of one pass as they are in their files.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::data::stored::StoredArray;
use crate::data::{DataError, InputSpec, source};
use crate::tensor::{DType, Tensor};

/// A tensor for each input, of exactly its type and shape.
///
/// A source is a `.npy`, `.npz` or `.pb` file, or `NAME=FILE` for one input.
///
/// # Errors
/// Also if an array would take more than `limit_bytes`.
pub fn read_inputs(
    sources: &[PathBuf],
    inputs: &[InputSpec],
    limit_bytes: usize,
) -> Result<Vec<Tensor>, DataError> {
    let mut tensors: Vec<Option<Tensor>> = inputs.iter().map(|_| None).collect();
    for (path, positions) in source::assign(sources, inputs)? {
        let arrays = read_arrays(&path, limit_bytes)?;
        for &at in &positions {
            let tensor = choose(&path, &arrays, &inputs[at], positions.len() == 1)?;
            tensors[at] = Some(checked(&path, tensor, &inputs[at])?);
        }
    }
    Ok(tensors.into_iter().map(|tensor| tensor.expect("`assign` feeds every input")).collect())
}

/// The arrays of a file, whatever it is called, with their names; that of an `.npy` has none.
///
/// # Errors
/// Also if what is compressed would take more than `limit_bytes`; other arrays are as large as their
/// file.
pub fn read_arrays(path: &Path, limit_bytes: usize) -> Result<Vec<(String, Tensor)>, DataError> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(6).read_to_end(&mut head));
    read.map_err(|source| DataError::read(path, source))?;
    let arrays = match head.as_slice() {
        b"\x93NUMPY" => vec![(String::new(), StoredArray::npy(path, limit_bytes)?)],
        [b'P', b'K', ..] => StoredArray::npz(path, limit_bytes)?,
        _ => vec![StoredArray::pb(path)?],
    };
    let read = |(name, array): (String, StoredArray)| Ok((name, array.read(None)?));
    arrays.into_iter().map(read).collect()
}

/// The array of an input's name, or the only one there is.
fn choose<'a>(
    path: &Path,
    arrays: &'a [(String, Tensor)],
    input: &InputSpec,
    is_for_one: bool,
) -> Result<&'a Tensor, DataError> {
    let named = arrays.iter().find(|(name, _)| *name == input.name);
    match (named, arrays) {
        (Some((_, tensor)), _) => Ok(tensor),
        (None, [(_, tensor)]) if is_for_one => Ok(tensor),
        _ => Err(DataError::NoMember {
            file: path.display().to_string(),
            input: input.name.clone(),
            found: arrays.iter().map(|(name, _)| name.clone()).collect(),
        }),
    }
}

fn checked(path: &Path, tensor: &Tensor, input: &InputSpec) -> Result<Tensor, DataError> {
    let shape = tensor.shape();
    let fits = |(&found, dim): (&usize, &Option<usize>)| dim.is_none_or(|size| size == found);
    let is_right = tensor.dtype() == input.dtype
        && shape.len() == input.dims.len()
        && shape.iter().zip(&input.dims).all(fits);
    if is_right {
        return Ok(tensor.clone());
    }
    let file = path.display().to_string();
    Err(DataError::Type { file, found: tensor.ty(), expected: input.clone() })
}

/// Why tensors cannot be put into an archive.
#[derive(Debug, thiserror::Error)]
pub enum NpzError {
    #[error("`{name}` is {dtype}, which is not supported in `.npz` files")]
    DType { name: String, dtype: DType },

    #[error(
        "`{name}` is too large for an `.npz` archive, which has at most 4 GiB and 65535 arrays"
    )]
    TooLarge { name: String },

    #[error("cannot write an archive")]
    Write { source: io::Error },
}

#[cfg(test)]
mod tests {
    use std::fs;

    use half::f16;

    use super::*;
    use crate::data::npz_bytes;

    fn spec(name: &str, dtype: DType, dims: &[Option<usize>]) -> InputSpec {
        InputSpec { name: name.to_owned(), dtype, dims: dims.to_vec() }
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.npz");
        let x = Tensor::from_vec(&[2, 3], vec![0.5_f32, 1., f32::NAN, 2., 3., 4.]);
        let ids = Tensor::from_vec(&[2], vec![i64::MIN, i64::MAX]);
        let scalar = Tensor::scalar(true);
        let half = Tensor::from_vec(&[2], [-0.5, 65504.].map(f16::from_f32).to_vec());
        let arrays = [("a/x", &x), ("ids", &ids), ("flag", &scalar), ("half", &half)];
        let bytes = npz_bytes(&arrays).unwrap();
        assert_eq!(bytes, npz_bytes(&arrays).unwrap());
        fs::write(&path, bytes).unwrap();
        let inputs = [
            spec("ids", DType::I64, &[None]),
            spec("a/x", DType::F32, &[None, Some(3)]),
            spec("flag", DType::Bool, &[]),
            spec("half", DType::F16, &[Some(2)]),
        ];
        let read = read_inputs(&[path], &inputs, 0).unwrap();
        assert_eq!(read[0], ids);
        assert_eq!(read[1].slice::<f32>()[3..], x.slice::<f32>()[3..]);
        assert_eq!(read[2], scalar);
        assert_eq!(read[3], half);
    }

    #[test]
    fn refusals() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.npz");
        let x = Tensor::from_vec(&[2], vec![0.5_f32, 1.]);
        fs::write(&path, npz_bytes(&[("x", &x), ("y", &x)]).unwrap()).unwrap();
        let float = |name, dims| spec(name, DType::F32, dims);
        for (inputs, expected) in [
            (
                vec![float("x", &[Some(3)])],
                "`in.npz` is float32 [2], expected float32 [3] for input `x`",
            ),
            (
                vec![spec("x", DType::F64, &[None])],
                "`in.npz` is float32 [2], expected float64 [?] for input `x`",
            ),
            (vec![float("z", &[None])], "`in.npz` has no array `z`; it has `x`, `y`"),
        ] {
            let error =
                read_inputs(std::slice::from_ref(&path), &inputs, 0).unwrap_err().to_string();
            assert_eq!(error.replace(&format!("{}/", dir.path().display()), ""), expected);
        }
    }
}
