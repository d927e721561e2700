//! [`StoredArray`]: an array that stays in its file, read row by row.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::read::DeflateDecoder;
use ndarray::{ArrayD, IxDyn, ShapeBuilder};

use crate::data::archive::Crc;
use crate::data::npy::Header;
use crate::data::npz::{self, Member, Stored};
use crate::data::{DataError, NpyProblem, bytes, pb};
use crate::dispatch;
use crate::tensor::{Tensor, TensorType};

/// An array whose type is known and whose elements are read on demand.
///
/// Compressed members of an archive and arrays in Fortran order cannot be read in part; they are
/// held in memory, once, if they are not larger than the limit that is given where they are opened.
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
    pub(super) fn npy(path: &Path, limit_bytes: usize) -> Result<StoredArray, DataError> {
        let file_bytes = path.metadata().map_err(|source| DataError::read(path, source))?.len();
        StoredArray::raw(path, 0, file_bytes, limit_bytes)
    }

    /// The arrays of an archive, by name; the limit is for all that are held together.
    pub(super) fn npz(
        path: &Path,
        limit_bytes: usize,
    ) -> Result<Vec<(String, StoredArray)>, DataError> {
        let mut held_bytes = 0;
        let mut arrays = Vec::new();
        for member in npz::members(path)? {
            let room_bytes = limit_bytes.saturating_sub(held_bytes);
            let array = match member.stored {
                Stored::Plain => {
                    StoredArray::raw(path, member.at, member.stored_bytes, room_bytes)?
                }
                Stored::Deflated { crc } => {
                    StoredArray::memory(inflate(path, &member, crc, room_bytes)?)
                }
            };
            held_bytes += array.held_bytes();
            arrays.push((member.name, array));
        }
        Ok(arrays)
    }

    /// Whether a file is one of arrays, by its name.
    pub(super) fn is_array(path: &Path) -> bool {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        extension == "npy" || extension == "npz"
    }

    /// The array of an `.npy` file, or the only one of an `.npz`.
    pub(super) fn only(path: &Path, limit_bytes: usize) -> Result<StoredArray, DataError> {
        if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz")) {
            return StoredArray::npy(path, limit_bytes);
        }
        let mut arrays = StoredArray::npz(path, limit_bytes)?;
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

    /// What it takes of memory until it is dropped.
    pub(super) fn held_bytes(&self) -> usize {
        if let Storage::Memory(tensor) = &self.storage { tensor.size_bytes() } else { 0 }
    }

    /// The `.npy` that begins at byte `at` of a file and has `array_bytes` bytes, header included.
    fn raw(
        path: &Path,
        at: u64,
        array_bytes: u64,
        limit_bytes: usize,
    ) -> Result<StoredArray, DataError> {
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
            header.expect_room(limit_bytes).map_err(fail)?;
            let elements = read_exact(&mut file, header.ty.size_bytes()).map_err(unreadable)?;
            return Ok(StoredArray::memory(header.tensor(&elements)));
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
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(at))?;
        read_exact(&mut file, len_bytes)
    });
    read.map_err(|source| DataError::read(path, source))
}

/// Takes no more memory than there are bytes.
fn read_exact(file: &mut impl Read, len_bytes: usize) -> std::io::Result<Vec<u8>> {
    let mut elements = Vec::new();
    file.by_ref().take(len_bytes as u64).read_to_end(&mut elements)?;
    if elements.len() < len_bytes {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(elements)
}

impl Header {
    fn expect_room(&self, limit_bytes: usize) -> Result<(), NpyProblem> {
        let expected_bytes = self.ty.size_bytes();
        if expected_bytes <= limit_bytes {
            return Ok(());
        }
        Err(NpyProblem::OverLimit { expected_bytes, limit_bytes })
    }

    /// The array of these elements.
    fn tensor(&self, elements: &[u8]) -> Tensor {
        let TensorType { dtype, shape } = &self.ty;
        if !self.fortran_order {
            return bytes::decode(*dtype, shape, elements, self.big_endian);
        }
        let flat = bytes::decode(*dtype, &[self.ty.len()], elements, self.big_endian);
        dispatch!(*dtype, T => {
            let flat = flat.slice::<T>().to_vec();
            let array = ArrayD::from_shape_vec(IxDyn(shape).f(), flat);
            Tensor::new(array.expect("as many elements as the shape says"))
        })
    }
}

/// A compressed member. Its header says how much there is: no more than that is ever decompressed.
fn inflate(
    path: &Path,
    member: &Member,
    crc: u32,
    limit_bytes: usize,
) -> Result<Tensor, DataError> {
    let unreadable = |source| DataError::read(path, source);
    let mut file = File::open(path).map_err(unreadable)?;
    file.seek(SeekFrom::Start(member.at)).map_err(unreadable)?;
    let packed = BufReader::new(file).take(member.stored_bytes);
    let mut found = Checked { from: DeflateDecoder::new(packed), crc: Crc::default() };
    let fail = |problem| DataError::Npy { path: path.to_owned(), problem };
    let damaged =
        |source| DataError::Inflate { path: path.to_owned(), member: member.name.clone(), source };
    let header = Header::read(&mut found).map_err(fail)?;
    header.expect_room(limit_bytes).map_err(fail)?;
    let elements = read_exact(&mut found, header.ty.size_bytes()).map_err(damaged)?;
    let is_at_end = found.read(&mut [0]).map_err(damaged)? == 0;
    if !is_at_end || found.crc.value() != crc {
        let what = if is_at_end { "its checksum is wrong" } else { "it has more elements" };
        return Err(damaged(std::io::Error::other(what)));
    }
    Ok(header.tensor(&elements))
}

/// What is read, with its checksum.
struct Checked<R> {
    from: R,
    crc: Crc,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let len = self.from.read(bytes)?;
        self.crc.add(&bytes[..len]);
        Ok(len)
    }
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

        let last = |path: &Path| StoredArray::npz(path, 24).unwrap().pop().unwrap().1;
        let npy = |path: &Path| StoredArray::npy(path, 24).unwrap();
        for array in [npy(&plain), npy(&fortran), last(&stored), last(&packed)] {
            assert_eq!(array.read(Some(1)).unwrap(), Tensor::from(array![4, 5, 6]), "{array:?}");
            assert_eq!(array.read(None).unwrap(), Tensor::from(x.clone()), "{array:?}");
        }
        assert!(matches!(npy(&fortran).storage, Storage::Memory(_)));
        assert!(matches!(last(&stored).storage, Storage::Raw { .. }));
    }

    fn refusal(path: &Path, limit_bytes: usize) -> String {
        let error = StoredArray::npz(path, limit_bytes).unwrap_err();
        let text = std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string);
        text.replace(&format!("`{}` is not a readable `.npy` array: ", path.display()), "")
    }

    /// A kilobyte that says it is a megabyte, and is.
    #[test]
    fn an_archive_bomb_is_refused_before_it_is_unpacked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.npz");
        let mut writer = NpzWriter::new_compressed(File::create(&path).unwrap());
        writer.add_array("a", &ndarray::Array1::<u8>::zeros(1 << 20)).unwrap();
        writer.add_array("b", &ndarray::Array1::<u8>::zeros(1 << 20)).unwrap();
        writer.finish().unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() < 4096);
        let hint = "\nhint: a larger --memory holds them";
        let text = |limit| {
            format!(
                "its header says 1048576 bytes of elements, more than the limit of {limit}{hint}"
            )
        };
        assert_eq!(refusal(&path, (1 << 20) - 1), text((1 << 20) - 1));
        // The second has what the first leaves.
        assert_eq!(refusal(&path, (1 << 21) - 1), text((1 << 20) - 1));
        assert!(StoredArray::npz(&path, 1 << 21).is_ok());
    }

    #[test]
    fn what_is_compressed_is_as_long_as_its_header_says_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.npz");
        let write = |array: &[u8], damage: fn(&mut Vec<u8>)| {
            let mut encoder =
                flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::none());
            std::io::Write::write_all(&mut encoder, array).unwrap();
            let packed = encoder.finish().unwrap();
            let mut crc = Crc::default();
            crc.add(array);
            let sizes = [packed.len(), array.len()].map(|len| (len as u32).to_le_bytes()).concat();
            let fields = [&[20, 0, 0, 0, 8, 0, 0, 0, 0, 0][..], &crc.value().to_le_bytes(), &sizes];
            let head = [&fields.concat()[..], &[5, 0, 0, 0]].concat();
            let local = [b"PK\x03\x04", &head[..], b"x.npy", &packed].concat();
            let entry = [b"PK\x01\x02\x14\0", &head[..], &[0; 14], b"x.npy"].concat();
            let at = (local.len() as u32).to_le_bytes();
            let len = (entry.len() as u32).to_le_bytes();
            let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0", &len[..], &at, &[0; 2]].concat();
            let mut bytes = [local, entry, end].concat();
            damage(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
        };
        let array = npy::array("<f4", "(1,)", &[0; 4]);
        write(&array, |_| ());
        assert!(StoredArray::npz(&path, 4).is_ok());
        write(&npy::array("<f4", "(1,)", &[0; 5]), |_| ());
        assert_eq!(refusal(&path, 4), "it has more elements");
        write(&npy::array("<f4", "(1,)", &[0; 3]), |_| ());
        assert_eq!(refusal(&path, 4), "unexpected end of file");
        write(&array, |bytes| {
            let element = bytes.windows(2).position(|pair| pair == b"}\n").unwrap() + 2;
            bytes[element] = 1;
        });
        assert_eq!(refusal(&path, 4), "its checksum is wrong");
    }

    #[test]
    fn a_truncated_array_is_refused_when_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.npy");
        std::fs::write(&path, npy::array("<f4", "(2, 2)", &[0; 15])).unwrap();
        let error = StoredArray::npy(&path, 16).unwrap_err().to_string();
        let problem = "its header says 16 bytes of elements, it has 15";
        assert!(error.ends_with(problem), "{error}");
    }
}
