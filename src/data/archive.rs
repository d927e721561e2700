//! An `.npz` archive as it is written, as `numpy.savez` makes it: a zip file of uncompressed `.npy` arrays.
//!
//! Every member is dated 1980-01-01, so equal arrays give equal bytes.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

use crate::data::npy::header_bytes;
use crate::data::{NpzError, bytes};
use crate::tensor::{Tensor, TensorType};

/// Version 2.0 of the format; names are UTF-8.
const VERSION: u16 = 20;
const UTF8: u16 = 1 << 11;
/// 1980-01-01, the first day that the format knows.
const DATE: u16 = 1 << 5 | 1;

/// The bytes of an archive of these arrays.
pub fn npz_bytes(arrays: &[(&str, &Tensor)]) -> Result<Vec<u8>, NpzError> {
    let mut archive = Archive::new(Cursor::new(Vec::new()));
    for &(name, tensor) in arrays {
        archive.add(name, &tensor.ty(), &mut bytes::encode(tensor).as_slice())?;
    }
    Ok(archive.finish()?.into_inner())
}

/// An archive that is written array by array.
pub(super) struct Archive<W> {
    out: W,
    at: u64,
    directory: Vec<u8>,
    n_members: usize,
}

/// Where a member's checksum is, from the start of its header.
const CRC_AT: u64 = 14;

impl<W: Write + Seek> Archive<W> {
    /// `out` is empty.
    pub(super) fn new(out: W) -> Archive<W> {
        Archive { out, at: 0, directory: Vec::new(), n_members: 0 }
    }

    /// `elements` gives as many bytes as `ty` has, little endian.
    pub(super) fn add(
        &mut self,
        name: &str,
        ty: &TensorType,
        elements: &mut dyn Read,
    ) -> Result<(), NpzError> {
        let unsupported = || NpzError::DType { name: name.to_owned(), dtype: ty.dtype };
        let header = header_bytes(ty).ok_or_else(unsupported)?;
        let too_large = || NpzError::TooLarge { name: name.to_owned() };
        let array_bytes = header.len().checked_add(ty.size_bytes()).ok_or_else(too_large)?;
        let at = u32::try_from(self.at).map_err(|_| too_large())?;
        let fields = |crc| member_fields(name, array_bytes, crc).ok_or_else(too_large);
        let write = |source| NpzError::Write { source };
        self.out.write_all(b"PK\x03\x04").map_err(write)?;
        let head = [fields(0)?, format!("{name}.npy").into_bytes()].concat();
        self.out.write_all(&head).map_err(write)?;
        let mut crc = Crc::of(&header);
        self.out.write_all(&header).map_err(write)?;
        copy(elements, &mut self.out, &mut crc).map_err(write)?;
        let end = self.out.stream_position().map_err(write)?;
        self.out.seek(SeekFrom::Start(self.at + CRC_AT)).map_err(write)?;
        self.out.write_all(&crc.value().to_le_bytes()).map_err(write)?;
        self.out.seek(SeekFrom::Start(end)).map_err(write)?;
        self.at = end;
        self.n_members += 1;
        self.directory.extend(b"PK\x01\x02");
        self.directory.extend(VERSION.to_le_bytes());
        self.directory.extend(fields(crc.value())?);
        // No comment, the first disk, no attributes.
        self.directory.extend([0; 10]);
        self.directory.extend(at.to_le_bytes());
        self.directory.extend(format!("{name}.npy").as_bytes());
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<W, NpzError> {
        let too_large = || NpzError::TooLarge { name: "the directory".to_owned() };
        let end = end_of_directory(self.n_members, self.directory.len(), self.at);
        self.directory.extend(end.ok_or_else(too_large)?);
        let written = self.out.write_all(&self.directory).and_then(|()| self.out.flush());
        written.map_err(|source| NpzError::Write { source })?;
        Ok(self.out)
    }
}

fn copy(from: &mut dyn Read, to: &mut impl Write, crc: &mut Crc) -> io::Result<()> {
    let mut block = vec![0; 1 << 16];
    loop {
        match from.read(&mut block)? {
            0 => return Ok(()),
            len => {
                crc.add(&block[..len]);
                to.write_all(&block[..len])?;
            }
        }
    }
}

/// What a member's own header and the directory have in common; `None` if it is too large.
fn member_fields(name: &str, array_bytes: usize, crc: u32) -> Option<Vec<u8>> {
    let size_bytes = u32::try_from(array_bytes).ok()?;
    let name_bytes = u16::try_from(name.len() + ".npy".len()).ok()?;
    let mut fields = Vec::new();
    // The method 0: stored as it is. The time of day is 0 as well.
    for field in [VERSION, UTF8, 0, 0, DATE] {
        fields.extend(field.to_le_bytes());
    }
    for field in [crc, size_bytes, size_bytes] {
        fields.extend(field.to_le_bytes());
    }
    fields.extend(name_bytes.to_le_bytes());
    fields.extend([0; 2]);
    Some(fields)
}

fn end_of_directory(n_members: usize, size_bytes: usize, at: u64) -> Option<Vec<u8>> {
    let n_members = u16::try_from(n_members).ok()?.to_le_bytes();
    let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
    end.extend(n_members);
    end.extend(n_members);
    end.extend(u32::try_from(size_bytes).ok()?.to_le_bytes());
    end.extend(u32::try_from(at).ok()?.to_le_bytes());
    end.extend([0; 2]);
    Some(end)
}

/// The remainder of the bits, the lowest of each byte first, divided by the polynomial of Ethernet.
pub(super) struct Crc(u32);

impl Default for Crc {
    fn default() -> Crc {
        Crc(!0)
    }
}

impl Crc {
    fn of(bytes: &[u8]) -> Crc {
        let mut crc = Crc::default();
        crc.add(bytes);
        crc
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        const REMAINDERS: [u32; 256] = remainders();
        let next = |crc: u32, &byte: &u8| REMAINDERS[usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
        self.0 = bytes.iter().fold(self.0, next);
    }

    pub(super) fn value(&self) -> u32 {
        !self.0
    }
}

const fn remainders() -> [u32; 256] {
    let mut remainders = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        remainders[byte] = crc;
        byte += 1;
    }
    remainders
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use ndarray::{Array2, ArrayD, array};
    use ndarray_npy::NpzReader;

    use super::*;
    use crate::tensor::I4;

    #[test]
    fn another_reader_reads_it() {
        let x = array![[1.5_f32, -2.], [3., f32::INFINITY]];
        let flags = Tensor::scalar(true);
        let tensor = Tensor::from(x.clone());
        let bytes = npz_bytes(&[("a/x", &tensor), ("é", &flags)]).unwrap();
        assert_eq!(bytes, npz_bytes(&[("a/x", &tensor), ("é", &flags)]).unwrap());
        let mut reader = NpzReader::new(Cursor::new(bytes)).unwrap();
        assert_eq!(reader.names().unwrap(), ["a/x", "é"]);
        let read: Array2<f32> = reader.by_name("a/x").unwrap();
        assert_eq!(read, x);
        let read: ArrayD<bool> = reader.by_name("é").unwrap();
        assert_eq!(read, ndarray::arr0(true).into_dyn());
        assert!(NpzReader::new(Cursor::new(npz_bytes(&[]).unwrap())).unwrap().is_empty());
    }

    #[test]
    fn checksum() {
        assert_eq!(Crc::of(b"123456789").value(), 0xcbf4_3926);
        assert_eq!(Crc::of(b"").value(), 0);
    }

    #[test]
    fn types_that_numpy_has_not() {
        assert!(npz_bytes(&[("h", &Tensor::scalar(f16::ONE))]).is_ok());
        let refusal = |x: &Tensor| npz_bytes(&[("h", x)]).unwrap_err().to_string();
        let expected = "`h` is bfloat16, which is not supported in `.npz` files";
        assert_eq!(refusal(&Tensor::scalar(bf16::ONE)), expected);
        let expected = "`h` is int4, which is not supported in `.npz` files";
        assert_eq!(refusal(&Tensor::scalar(I4::low_bits(1))), expected);
    }
}
