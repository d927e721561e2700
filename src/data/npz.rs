//! The directory of a `.npz` archive: a zip file whose members are `.npy` arrays.
//!
//! Members that are stored as they are (`numpy.savez`) are later read in place, row by row.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::data::DataError;

const END: [u8; 4] = *b"PK\x05\x06";
const END_64_LOCATOR: [u8; 4] = *b"PK\x06\x07";
const END_64: [u8; 4] = *b"PK\x06\x06";
const ENTRY: [u8; 4] = *b"PK\x01\x02";
const LOCAL: [u8; 4] = *b"PK\x03\x04";
const END_BYTES: usize = 22;
const ENTRY_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;
const MAX_COMMENT_BYTES: u64 = 0xffff;
/// A field that says: see the 64-bit one in the extra block.
const IN_EXTRA: u64 = 0xffff_ffff;

/// One array of the archive.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    /// Without `.npy`.
    pub(super) name: String,
    /// Where its bytes begin in the file.
    pub(super) at: u64,
    pub(super) stored_bytes: u64,
    pub(super) stored: Stored,
}

/// How the bytes of a member are stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stored {
    /// As they are.
    Plain,
    Deflated {
        crc: u32,
    },
}

/// The members in the order of the directory.
pub(super) fn members(path: &Path) -> Result<Vec<Member>, DataError> {
    let mut file = File::open(path).map_err(|source| DataError::read(path, source))?;
    read_directory(&mut file).map_err(|problem| DataError::Zip { path: path.to_owned(), problem })
}

type Found<T> = Result<T, &'static str>;

fn read_directory(file: &mut (impl Read + Seek)) -> Found<Vec<Member>> {
    let file_bytes = file.seek(SeekFrom::End(0)).map_err(|_| "its size is unknown")?;
    let (entries, at, directory_bytes) = find_directory(file, file_bytes)?;
    if at.checked_add(directory_bytes).is_none_or(|end| end > file_bytes) {
        return Err("its directory is cut off");
    }
    let directory = read_at(file, at, directory_bytes)?;
    let mut rest = &directory[..];
    let mut members = Vec::new();
    for _ in 0..entries {
        let entry = Entry::split_off(&mut rest)?;
        let at = entry.data_at(file)?;
        if at.checked_add(entry.stored_bytes).is_none_or(|end| end > file_bytes) {
            return Err("a member is cut off");
        }
        let name = entry.name.strip_suffix(".npy").unwrap_or(&entry.name).to_owned();
        let stored = match entry.method {
            0 => Stored::Plain,
            8 => Stored::Deflated { crc: entry.crc },
            _ => return Err("a member is compressed by another method than deflate"),
        };
        members.push(Member { name, at, stored_bytes: entry.stored_bytes, stored });
    }
    Ok(members)
}

/// Number of entries, offset and size of the central directory.
fn find_directory(file: &mut (impl Read + Seek), file_bytes: u64) -> Found<(u64, u64, u64)> {
    let missing = "it has no zip directory (not a zip file, or cut off)";
    let tail_bytes = file_bytes.min(MAX_COMMENT_BYTES + END_BYTES as u64);
    let tail_at = file_bytes - tail_bytes;
    let tail = read_at(file, tail_at, tail_bytes)?;
    let end = tail.windows(END_BYTES).rposition(|w| w[..4] == END).ok_or(missing)?;
    let record = &tail[end..];
    let short = (u64::from(u16_at(record, 10)), u32_at(record, 16), u32_at(record, 12));
    if short.0 != 0xffff && short.1 != IN_EXTRA && short.2 != IN_EXTRA {
        return Ok(short);
    }
    let locator_at = (tail_at + end as u64).checked_sub(20).ok_or(missing)?;
    let locator = read_at(file, locator_at, 20)?;
    if locator[..4] != END_64_LOCATOR {
        return Ok(short);
    }
    let record = read_at(file, u64_at(&locator, 8), 56)?;
    if record[..4] != END_64 {
        return Err(missing);
    }
    Ok((u64_at(&record, 32), u64_at(&record, 48), u64_at(&record, 40)))
}

struct Entry {
    name: String,
    method: u16,
    crc: u32,
    stored_bytes: u64,
    local_at: u64,
}

impl Entry {
    fn split_off(rest: &mut &[u8]) -> Found<Entry> {
        let bad = "its directory is damaged";
        if rest.len() < ENTRY_BYTES || rest[..4] != ENTRY {
            return Err(bad);
        }
        let (head, tail) = rest.split_at(ENTRY_BYTES);
        let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(u16_at(head, at)));
        if tail.len() < name + extra + comment {
            return Err(bad);
        }
        *rest = &tail[name + extra + comment..];
        if u16_at(head, 8) & 1 == 1 {
            return Err("a member is encrypted, which is not supported");
        }
        let mut fields = [24, 20, 42].map(|at| u32_at(head, at));
        widen(&mut fields, &tail[name..name + extra]);
        let [_, stored_bytes, local_at] = fields;
        let name = String::from_utf8_lossy(&tail[..name]).into_owned();
        let crc = u32::from_le_bytes([head[16], head[17], head[18], head[19]]);
        Ok(Entry { name, method: u16_at(head, 10), crc, stored_bytes, local_at })
    }

    /// The local header repeats the name, with an extra block of its own length.
    fn data_at(&self, file: &mut (impl Read + Seek)) -> Found<u64> {
        let local = read_at(file, self.local_at, LOCAL_BYTES as u64)?;
        if local[..4] != LOCAL {
            return Err("a member is not where its directory says");
        }
        let skipped = u64::from(u16_at(&local, 26)) + u64::from(u16_at(&local, 28));
        let at = self.local_at.checked_add(LOCAL_BYTES as u64 + skipped);
        at.ok_or("a member is not where its directory says")
    }
}

/// Replaces the fields that are all ones by those of the zip64 extra block, which holds only them.
fn widen(fields: &mut [u64; 3], mut extra: &[u8]) {
    while extra.len() >= 4 {
        let (id, len) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let body = &extra[4..];
        let body_len = len.min(body.len());
        if id == 1 {
            let mut wide = body[..body_len].chunks_exact(8).map(|bytes| u64_at(bytes, 0));
            for field in fields.iter_mut().filter(|field| **field == IN_EXTRA) {
                *field = wide.next().unwrap_or(IN_EXTRA);
            }
        }
        extra = &body[body_len..];
    }
}

fn read_at(file: &mut (impl Read + Seek), at: u64, len_bytes: u64) -> Found<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = file.seek(SeekFrom::Start(at)).and_then(|_| {
        let mut part = file.take(len_bytes);
        part.read_to_end(&mut bytes)
    });
    match read {
        Ok(found) if found as u64 == len_bytes => Ok(bytes),
        _ => Err("it is cut off"),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u16_at(bytes, at)) | u64::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u32_at(bytes, at) | u32_at(bytes, at + 4) << 32
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use ndarray::array;
    use ndarray_npy::NpzWriter;

    use super::*;

    fn archive() -> Vec<u8> {
        let mut writer = NpzWriter::new(Cursor::new(Vec::new()));
        writer.add_array("a", &array![1_f32, 2.]).unwrap();
        writer.add_array("b", &array![[1_i64]]).unwrap();
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn directory() {
        let bytes = archive();
        let members = read_directory(&mut Cursor::new(&bytes)).unwrap();
        let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        for member in members {
            assert_eq!(member.stored, Stored::Plain);
            let at = member.at as usize;
            assert_eq!(&bytes[at..at + 6], b"\x93NUMPY");
        }
    }

    #[test]
    fn no_cut_panics_or_passes() {
        let bytes = archive();
        for len in 0..bytes.len() {
            assert!(read_directory(&mut Cursor::new(&bytes[..len])).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn wide_fields() {
        let extra = [&[9, 0, 1, 0, 7, 1, 0, 16, 0][..], &[5; 8], &[6; 8]].concat();
        let mut fields = [IN_EXTRA, 3, IN_EXTRA];
        widen(&mut fields, &extra);
        assert_eq!(fields, [0x0505_0505_0505_0505, 3, 0x0606_0606_0606_0606]);
    }
}
