//! An `.npz` archive in memory, as `numpy.savez` makes it: a zip file of uncompressed `.npy` arrays.
//!
//! Every member is dated 1980-01-01, so equal arrays give equal bytes.

use crate::data::npy::header_bytes;
use crate::data::{NpzError, bytes};
use crate::tensor::Tensor;

/// Version 2.0 of the format; names are UTF-8.
const VERSION: u16 = 20;
const UTF8: u16 = 1 << 11;
/// 1980-01-01, the first day that the format knows.
const DATE: u16 = 1 << 5 | 1;

/// The bytes of an archive of these arrays.
pub fn npz_bytes(arrays: &[(&str, &Tensor)]) -> Result<Vec<u8>, NpzError> {
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for &(name, tensor) in arrays {
        let unsupported = || NpzError::DType { name: name.to_owned(), dtype: tensor.dtype() };
        let mut array = header_bytes(&tensor.ty()).ok_or_else(unsupported)?;
        array.extend(bytes::encode(tensor));
        let too_large = || NpzError::TooLarge { name: name.to_owned() };
        let at = u32::try_from(archive.len()).map_err(|_| too_large())?;
        let fields = member_fields(name, &array).ok_or_else(too_large)?;
        archive.extend(b"PK\x03\x04");
        archive.extend(&fields);
        archive.extend(format!("{name}.npy").as_bytes());
        archive.extend(array);
        directory.extend(b"PK\x01\x02");
        directory.extend(VERSION.to_le_bytes());
        directory.extend(&fields);
        // No comment, the first disk, no attributes.
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(format!("{name}.npy").as_bytes());
    }
    let last = arrays.last().map_or("", |(name, _)| name);
    let too_large = || NpzError::TooLarge { name: last.to_owned() };
    let end = end_of_directory(arrays.len(), directory.len(), archive.len());
    let end = end.ok_or_else(too_large)?;
    archive.extend(directory);
    archive.extend(end);
    Ok(archive)
}

/// What a member's own header and the directory have in common; `None` if it is too large.
fn member_fields(name: &str, array: &[u8]) -> Option<Vec<u8>> {
    let size_bytes = u32::try_from(array.len()).ok()?;
    let name_bytes = u16::try_from(name.len() + ".npy".len()).ok()?;
    let mut fields = Vec::new();
    // The method 0: stored as it is. The time of day is 0 as well.
    for field in [VERSION, UTF8, 0, 0, DATE] {
        fields.extend(field.to_le_bytes());
    }
    for field in [crc32(array), size_bytes, size_bytes] {
        fields.extend(field.to_le_bytes());
    }
    fields.extend(name_bytes.to_le_bytes());
    fields.extend([0; 2]);
    Some(fields)
}

fn end_of_directory(n_members: usize, size_bytes: usize, at: usize) -> Option<Vec<u8>> {
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
fn crc32(bytes: &[u8]) -> u32 {
    const REMAINDERS: [u32; 256] = remainders();
    !bytes.iter().fold(!0, |crc: u32, &byte| REMAINDERS[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
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
    use std::io::Cursor;

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
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
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
