//! [`StoredArray`]: an array that stays in its file, read row by row.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, IxDyn, ShapeBuilder};
use ndarray_npy::{NpzReader, ReadNpyError, ReadNpzError};

use crate::data::npy::Header;
use crate::data::{DataError, NpyProblem, bytes, npz, pb};
use crate::dispatch;
use crate::tensor::{Tensor, TensorType};

/// An array whose type is known and whose elements are read on demand.
///
/// Compressed members of an archive and arrays in Fortran order cannot be read in part; they are
/// held in memory, once.
#[derive(Debug)]
pub(super) struct StoredArray {
    pub(super) ty: TensorType,
    storage: Storage,
}

#[derive(Debug)]
enum Storage {
    Raw { path: PathBuf, at: u64, big_endian: bool },
    Pb(PathBuf),
    Memory(Tensor),
}

impl StoredArray {
    pub(super) fn npy(path: &Path) -> Result<StoredArray, DataError> {
        let file_bytes = path.metadata().map_err(|source| DataError::read(path, source))?.len();
        StoredArray::raw(path, 0, file_bytes)
    }

    /// The arrays of an archive, by name.
    pub(super) fn npz(path: &Path) -> Result<Vec<(String, StoredArray)>, DataError> {
        let members = npz::members(path)?;
        let open = |member: npz::Member| {
            let array = match member.stored_at {
                Some(at) => StoredArray::raw(path, at, member.stored_bytes)?,
                None => StoredArray::memory(inflate(path, &member.name)?),
            };
            Ok((member.name, array))
        };
        members.into_iter().map(open).collect()
    }

    /// Whether a file is one of arrays, by its name.
    pub(super) fn is_array(path: &Path) -> bool {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        extension == "npy" || extension == "npz"
    }

    /// The array of an `.npy` file, or the only one of an `.npz`.
    pub(super) fn only(path: &Path) -> Result<StoredArray, DataError> {
        if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz")) {
            return StoredArray::npy(path);
        }
        let mut arrays = StoredArray::npz(path)?;
        match (arrays.pop(), arrays.is_empty()) {
            (Some((_, array)), true) => Ok(array),
            (last, _) => {
                let names = arrays.into_iter().chain(last).map(|(name, _)| name).collect();
                Err(DataError::NotOneArray { path: path.to_owned(), found: names })
            }
        }
    }

    /// The array of an ONNX tensor file, and its name.
    pub(super) fn pb(path: &Path) -> Result<(String, StoredArray), DataError> {
        let (name, tensor) = pb::read(path)?;
        Ok((name, StoredArray { ty: tensor.ty(), storage: Storage::Pb(path.to_owned()) }))
    }

    fn memory(tensor: Tensor) -> StoredArray {
        StoredArray { ty: tensor.ty(), storage: Storage::Memory(tensor) }
    }

    /// The `.npy` that begins at byte `at` of a file and has `array_bytes` bytes, header included.
    fn raw(path: &Path, at: u64, array_bytes: u64) -> Result<StoredArray, DataError> {
        let unreadable = |source| DataError::read(path, source);
        let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
        file.seek(SeekFrom::Start(at)).map_err(unreadable)?;
        let fail = |problem| DataError::Npy { path: path.to_owned(), problem };
        let header = Header::read(&mut file).map_err(fail)?;
        let expected_bytes = header.ty.size_bytes() as u64;
        let found_bytes = array_bytes.saturating_sub(header.len_bytes);
        if found_bytes < expected_bytes {
            return Err(fail(NpyProblem::Truncated { found_bytes, expected_bytes }));
        }
        if header.fortran_order {
            return Ok(StoredArray::memory(read_fortran(&mut file, &header).map_err(unreadable)?));
        }
        let at = at + header.len_bytes;
        let storage = Storage::Raw { path: path.to_owned(), at, big_endian: header.big_endian };
        Ok(StoredArray { ty: header.ty, storage })
    }

    /// The `index`-th part along the first axis, without that axis; `None` takes the whole.
    pub(super) fn read(&self, index: Option<usize>) -> Result<Tensor, DataError> {
        let shape = if index.is_some() { &self.ty.shape[1..] } else { &self.ty.shape[..] };
        let len_bytes = TensorType::new(self.ty.dtype, shape).size_bytes();
        let skipped = index.unwrap_or(0) * len_bytes;
        match &self.storage {
            Storage::Raw { path, at, big_endian } => {
                let elements = read_exact_at(path, at + skipped as u64, len_bytes)?;
                Ok(bytes::decode(self.ty.dtype, shape, &elements, *big_endian))
            }
            Storage::Pb(path) => self.part(&pb::read(path)?.1, index),
            Storage::Memory(tensor) => self.part(tensor, index),
        }
    }

    fn part(&self, whole: &Tensor, index: Option<usize>) -> Result<Tensor, DataError> {
        let Some(index) = index else { return Ok(whole.clone()) };
        let shape = &whole.shape()[1..];
        let len: usize = shape.iter().product();
        Ok(dispatch!(whole.dtype(), T => {
            Tensor::from_vec(shape, whole.slice::<T>()[index * len..][..len].to_vec())
        }))
    }
}

fn read_exact_at(path: &Path, at: u64, len_bytes: usize) -> Result<Vec<u8>, DataError> {
    let mut elements = vec![0; len_bytes];
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut elements)
    });
    read.map_err(|source| DataError::read(path, source))?;
    Ok(elements)
}

fn read_fortran(file: &mut impl Read, header: &Header) -> std::io::Result<Tensor> {
    let TensorType { dtype, shape } = &header.ty;
    let mut elements = vec![0; header.ty.size_bytes()];
    file.read_exact(&mut elements)?;
    let flat = bytes::decode(*dtype, &[header.ty.len()], &elements, header.big_endian);
    Ok(dispatch!(*dtype, T => {
        let flat = flat.slice::<T>().to_vec();
        let array = ArrayD::from_shape_vec(IxDyn(shape).f(), flat);
        Tensor::new(array.expect("as many elements as the shape says"))
    }))
}

/// A compressed member, of whatever type it has.
fn inflate(path: &Path, member: &str) -> Result<Tensor, DataError> {
    let fail = |source: ReadNpzError| DataError::Inflate {
        path: path.to_owned(),
        member: member.to_owned(),
        source: Box::new(source),
    };
    let file = File::open(path).map_err(|source| DataError::read(path, source))?;
    let mut archive = NpzReader::new(BufReader::new(file)).map_err(fail)?;
    macro_rules! first_that_fits {
        ($last:ty $(, $ty:ty)*) => {{
            $(match archive.by_name::<ndarray::OwnedRepr<$ty>, IxDyn>(member) {
                Ok(array) => return Ok(Tensor::new(array)),
                Err(ReadNpzError::Npy(ReadNpyError::WrongDescriptor(_))) => {}
                Err(error) => return Err(fail(error)),
            })*
            archive.by_name::<ndarray::OwnedRepr<$last>, IxDyn>(member).map(Tensor::new).map_err(fail)
        }};
    }
    first_that_fits!(bool, f32, f64, i64, i32, i16, i8, u64, u32, u16, u8)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use ndarray_npy::NpzWriter;

    use super::*;
    use crate::data::npy;

    #[test]
    fn rows_of_every_storage() {
        let dir = tempfile::tempdir().unwrap();
        let x: Array2<i32> = array![[1, 2, 3], [4, 5, 6]];
        let plain = dir.path().join("plain.npy");
        ndarray_npy::write_npy(&plain, &x).unwrap();
        let fortran = dir.path().join("fortran.npy");
        ndarray_npy::write_npy(&fortran, &array![[1, 4], [2, 5], [3, 6]].reversed_axes()).unwrap();
        let stored = dir.path().join("stored.npz");
        let mut writer = NpzWriter::new(File::create(&stored).unwrap());
        writer.add_array("first", &array![true]).unwrap();
        writer.add_array("x", &x).unwrap();
        writer.finish().unwrap();
        let packed = dir.path().join("packed.npz");
        let mut writer = NpzWriter::new_compressed(File::create(&packed).unwrap());
        writer.add_array("x", &x).unwrap();
        writer.finish().unwrap();

        let last = |path: &Path| StoredArray::npz(path).unwrap().pop().unwrap().1;
        let npy = |path: &Path| StoredArray::npy(path).unwrap();
        for array in [npy(&plain), npy(&fortran), last(&stored), last(&packed)] {
            assert_eq!(array.read(Some(1)).unwrap(), Tensor::from(array![4, 5, 6]), "{array:?}");
            assert_eq!(array.read(None).unwrap(), Tensor::from(x.clone()), "{array:?}");
        }
        assert!(matches!(npy(&fortran).storage, Storage::Memory(_)));
        assert!(matches!(last(&stored).storage, Storage::Raw { .. }));
    }

    #[test]
    fn a_truncated_array_is_refused_when_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.npy");
        std::fs::write(&path, npy::array("<f4", "(2, 2)", &[0; 15])).unwrap();
        let error = StoredArray::npy(&path).unwrap_err().to_string();
        let problem = "its header says 16 bytes of elements, it has 15";
        assert!(error.ends_with(problem), "{error}");
    }
}
