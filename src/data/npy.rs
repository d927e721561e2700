//! The header of NumPy's `.npy` format, versions 1 to 3.
//!
//! Six bytes of signature, two of version, the header's length (`u16`, from version 2 on `u32`,
//! little endian), a Python dictionary as text, then the elements.

use std::io::Read;

use crate::data::NpyProblem;
use crate::tensor::{DType, TensorType};

const SIGNATURE: &[u8] = b"\x93NUMPY";
/// Longer than any header that a tensor of 32 axes needs.
const MAX_HEADER_BYTES: usize = 1 << 16;

/// What `descr` calls a type, behind the order of its bytes.
const TYPES: [(&str, DType); 12] = [
    ("f2", DType::F16),
    ("f4", DType::F32),
    ("f8", DType::F64),
    ("i1", DType::I8),
    ("i2", DType::I16),
    ("i4", DType::I32),
    ("i8", DType::I64),
    ("u1", DType::U8),
    ("u2", DType::U16),
    ("u4", DType::U32),
    ("u8", DType::U64),
    ("b1", DType::Bool),
];

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Header {
    pub(super) ty: TensorType,
    pub(super) big_endian: bool,
    pub(super) fortran_order: bool,
    /// Where the elements begin, from the start of the array.
    pub(super) len_bytes: u64,
}

impl Header {
    pub(super) fn read(file: &mut impl Read) -> Result<Header, NpyProblem> {
        let [s0, s1, s2, s3, s4, s5, major, _minor] = take(file, NpyProblem::Signature)?;
        if [s0, s1, s2, s3, s4, s5] != SIGNATURE {
            return Err(NpyProblem::Signature);
        }
        let (text_bytes, prefix) = match major {
            1 => (usize::from(u16::from_le_bytes(take(file, NpyProblem::Header("length"))?)), 10),
            2 | 3 => (u32::from_le_bytes(take(file, NpyProblem::Header("length"))?) as usize, 12),
            other => return Err(NpyProblem::Version(other)),
        };
        if text_bytes > MAX_HEADER_BYTES {
            return Err(NpyProblem::Header("length"));
        }
        let mut text = vec![0; text_bytes];
        file.read_exact(&mut text).map_err(|_| NpyProblem::Header("length"))?;
        let text = String::from_utf8_lossy(&text);
        let (dtype, big_endian) = parse_descr(&text)?;
        let shape = parse_shape(&text).ok_or(NpyProblem::Header("shape"))?;
        let ty = TensorType { dtype, shape };
        if !ty.is_addressable() {
            return Err(NpyProblem::Header("shape"));
        }
        let fortran_order = match value(&text, "fortran_order") {
            Some(text) if text.starts_with("False") => false,
            Some(text) if text.starts_with("True") => true,
            _ => return Err(NpyProblem::Header("fortran_order")),
        };
        Ok(Header { ty, big_endian, fortran_order, len_bytes: (prefix + text_bytes) as u64 })
    }
}

/// The header that `numpy.save` writes, up to where the elements begin, little endian; `None` if numpy has
/// no such type.
pub(super) fn header_bytes(ty: &TensorType) -> Option<Vec<u8>> {
    let kind = TYPES.iter().find(|(_, dtype)| *dtype == ty.dtype)?.0;
    let order = if ty.dtype.size_bytes() == 1 { '|' } else { '<' };
    let dims: String = ty.shape.iter().map(|dim| format!("{dim}, ")).collect();
    let shape = if ty.shape.len() == 1 { dims.trim_end() } else { dims.trim_end_matches(", ") };
    let mut text =
        format!("{{'descr': '{order}{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    let prefix = SIGNATURE.len() + 4;
    let len_bytes = (prefix + text.len() + 1).next_multiple_of(64);
    text.extend(std::iter::repeat_n(' ', len_bytes - prefix - text.len() - 1));
    text.push('\n');
    let text_bytes = u16::try_from(text.len()).ok()?.to_le_bytes();
    Some([SIGNATURE, &[1, 0], &text_bytes, text.as_bytes()].concat())
}

fn take<const N: usize>(file: &mut impl Read, missing: NpyProblem) -> Result<[u8; N], NpyProblem> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes).map_err(|_| missing)?;
    Ok(bytes)
}

/// What follows `'key':` in the dictionary.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let after = [format!("'{key}'"), format!("\"{key}\"")]
        .iter()
        .find_map(|quoted| text.find(quoted.as_str()).map(|at| &text[at + quoted.len()..]))?;
    Some(after.trim_start().strip_prefix(':')?.trim_start())
}

fn parse_descr(text: &str) -> Result<(DType, bool), NpyProblem> {
    let text = value(text, "descr").ok_or(NpyProblem::Header("descr"))?;
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let Some(quote) = quote else {
        let shown: String = text.chars().take(40).collect();
        return Err(NpyProblem::Descr(shown));
    };
    let descr = text[1..].split(quote).next().ok_or(NpyProblem::Header("descr"))?;
    let unsupported = || NpyProblem::Descr(descr.to_owned());
    let order = descr.chars().next().filter(char::is_ascii).ok_or_else(unsupported)?;
    let known = TYPES.iter().find(|(kind, _)| *kind == &descr[1..]);
    let dtype = known.ok_or_else(unsupported)?.1;
    match order {
        '<' | '|' => Ok((dtype, false)),
        '>' => Ok((dtype, true)),
        _ => Err(unsupported()),
    }
}

fn parse_shape(text: &str) -> Option<Vec<usize>> {
    let inside = value(text, "shape")?.strip_prefix('(')?.split_once(')')?.0;
    let dims = inside.split(',').map(str::trim).filter(|dim| !dim.is_empty());
    dims.map(|dim| dim.parse().ok()).collect()
}

#[cfg(test)]
pub(super) fn array(descr: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = [SIGNATURE, &[1, 0], &(text.len() as u16).to_le_bytes()].concat();
    bytes.extend_from_slice(text.as_bytes());
    bytes.extend_from_slice(elements);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let cases = [
            ("<f4", "(2, 3)", DType::F32, vec![2, 3], false),
            (">i8", "(5,)", DType::I64, vec![5], true),
            ("|u1", "()", DType::U8, vec![], false),
            ("<f2", "(0, 4)", DType::F16, vec![0, 4], false),
        ];
        for (descr, text, dtype, shape, big_endian) in cases {
            let header = Header::read(&mut &array(descr, text, &[])[..]).unwrap();
            assert_eq!(header.ty, TensorType { dtype, shape });
            assert_eq!(header.big_endian, big_endian);
        }
    }

    #[test]
    fn written_and_read() {
        for (_, dtype) in TYPES {
            for shape in [vec![], vec![3], vec![2, 0, 5]] {
                let ty = TensorType { dtype, shape };
                let bytes = header_bytes(&ty).unwrap();
                assert!(bytes.len().is_multiple_of(64));
                let len_bytes = bytes.len() as u64;
                let header = Header { ty, big_endian: false, fortran_order: false, len_bytes };
                assert_eq!(Header::read(&mut &bytes[..]), Ok(header));
            }
        }
        assert!(header_bytes(&TensorType::new(DType::BF16, &[1])).is_none());
    }

    #[test]
    fn refusals() {
        let version = [SIGNATURE, &[9, 0, 0, 0]].concat();
        let cases = [
            (b"PK".to_vec(), NpyProblem::Signature),
            (b"\x93NUMPX\x01\x00\x00\x00".to_vec(), NpyProblem::Signature),
            (version, NpyProblem::Version(9)),
            (array("<c8", "(1,)", &[]), NpyProblem::Descr("<c8".to_owned())),
            (array("é", "(1,)", &[]), NpyProblem::Descr("é".to_owned())),
            (array("<f4", "(-1,)", &[]), NpyProblem::Header("shape")),
            (array("<f4", "(9999999999999999, 9999)", &[]), NpyProblem::Header("shape")),
            (array("<f4", "(0, 11111111111111111112)", &[]), NpyProblem::Header("shape")),
            (array("<f4", "(1", &[]), NpyProblem::Header("shape")),
        ];
        for (bytes, problem) in cases {
            assert_eq!(Header::read(&mut &bytes[..]), Err(problem));
        }
    }
}
