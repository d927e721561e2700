//! [`Collected`]: the outputs of many samples, in files until they become one `.npz` archive.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::data::archive::Archive;
use crate::data::npy::header_bytes;
use crate::data::{NpzError, bytes};
use crate::tensor::{Tensor, TensorType};

/// Outputs by name; nothing of them is held but their types.
#[derive(Debug)]
pub struct Collected {
    folder: PathBuf,
    columns: Vec<Column>,
    size_bytes: u64,
}

/// One output: the elements of all samples, one after the other.
#[derive(Debug)]
struct Column {
    name: String,
    path: PathBuf,
    elements: File,
    types: Vec<TensorType>,
}

/// What an archive has room for.
const MAX_BYTES: u64 = u32::MAX as u64;

impl Collected {
    /// Makes the folder, which only the archive is to be read from.
    pub fn new(folder: &Path, names: &[&str]) -> Result<Collected, NpzError> {
        let write = |source| NpzError::Write { source };
        fs::create_dir_all(folder).map_err(write)?;
        let column = |(index, name): (usize, &&str)| {
            let path = folder.join(format!("{index}.raw"));
            let elements = File::create(&path).map_err(write)?;
            Ok(Column { name: (*name).to_owned(), path, elements, types: Vec::new() })
        };
        let columns = names.iter().enumerate().map(column).collect::<Result<_, _>>()?;
        Ok(Collected { folder: folder.to_owned(), columns, size_bytes: 0 })
    }

    /// One sample: a tensor for each name.
    pub fn add(&mut self, outputs: &[Tensor]) -> Result<(), NpzError> {
        for (column, output) in self.columns.iter_mut().zip(outputs) {
            let name = || column.name.clone();
            if header_bytes(&output.ty()).is_none() {
                return Err(NpzError::DType { name: name(), dtype: output.dtype() });
            }
            self.size_bytes = self.size_bytes.saturating_add(output.size_bytes() as u64);
            if MAX_BYTES < self.size_bytes {
                return Err(NpzError::TooLarge { name: name() });
            }
            let written = column.elements.write_all(&bytes::encode(output));
            written.map_err(|source| NpzError::Write { source })?;
            column.types.push(output.ty());
        }
        Ok(())
    }

    /// The archive: of an output that has one type and shape in all samples an array `NAME`, joined
    /// along the batch axis of 1 or, without one, along a new first axis; of any other an array
    /// `NAME/0`, `NAME/1`, ... for each sample.
    pub fn write(&self) -> Result<PathBuf, NpzError> {
        let write = |source| NpzError::Write { source };
        let path = self.folder.join("outputs.npz");
        let mut archive = Archive::new(BufWriter::new(File::create(&path).map_err(write)?));
        for column in &self.columns {
            let mut elements = BufReader::new(File::open(&column.path).map_err(write)?);
            if let Some(joined) = joined(&column.types) {
                archive.add(&column.name, &joined, &mut elements)?;
                continue;
            }
            for (index, ty) in column.types.iter().enumerate() {
                let mut part = (&mut elements).take(ty.size_bytes() as u64);
                archive.add(&format!("{}/{index}", column.name), ty, &mut part)?;
            }
        }
        archive.finish()?;
        Ok(path)
    }
}

/// The type of all samples together, if they can be.
fn joined(types: &[TensorType]) -> Option<TensorType> {
    let first = types.first()?;
    let row = if first.shape.first() == Some(&1) { &first.shape[1..] } else { &first.shape[..] };
    let is_same = types.iter().all(|ty| ty == first);
    is_same.then(|| TensorType { dtype: first.dtype, shape: [&[types.len()], row].concat() })
}

#[cfg(test)]
mod tests {
    use half::bf16;
    use ndarray::array;

    use super::*;
    use crate::data::stored::StoredArray;

    #[test]
    fn samples_become_arrays() {
        let dir = tempfile::tempdir().unwrap();
        let mut collected = Collected::new(&dir.path().join("in"), &["y", "boxes", "n"]).unwrap();
        for sample in 0..3 {
            let y = Tensor::from(array![[sample as f32, 0.5]]);
            let boxes = Tensor::full(&[1 + sample % 2, 2], sample as i64);
            collected.add(&[y, boxes, Tensor::scalar(sample as f64)]).unwrap();
        }
        let arrays = StoredArray::npz(&collected.write().unwrap(), 0).unwrap();
        let arrays: Vec<(String, Tensor)> =
            arrays.into_iter().map(|(name, array)| (name, array.read(None).unwrap())).collect();
        let expected = [
            ("y", Tensor::from(array![[0_f32, 0.5], [1., 0.5], [2., 0.5]])),
            ("boxes/0", Tensor::full(&[1, 2], 0_i64)),
            ("boxes/1", Tensor::full(&[2, 2], 1_i64)),
            ("boxes/2", Tensor::full(&[1, 2], 2_i64)),
            ("n", Tensor::from(array![0_f64, 1., 2.])),
        ];
        let expected = expected.map(|(name, tensor)| (name.to_owned(), tensor));
        assert_eq!(arrays, expected);
    }

    #[test]
    fn types_that_numpy_has_not_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut collected = Collected::new(dir.path(), &["y"]).unwrap();
        let error = collected.add(&[Tensor::scalar(bf16::ONE)]).unwrap_err().to_string();
        assert_eq!(error, "`y` is bfloat16, which is not supported in `.npz` files");
    }
}
