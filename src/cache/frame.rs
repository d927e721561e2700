//! How a file of a shelf is built: [`MAGIC`], then frames.
//!
//! A frame is what was written at once: the length of its contents (`u32`), a checksum, the contents. The
//! contents of the first frame are the subject, those of the others records: a key, the length of its value
//! (`u32`), the value. Numbers are little endian. A checksum is the start of a SHA-256 over the first
//! frame, the place in the file and the contents, so a frame counts where it was written and nowhere else.

use std::ops::Range;

use crate::cache::{Digest, Digester, Subject};

/// How every file begins; the number is the format's.
pub(super) const MAGIC: &[u8] = b"mpq cache 1\n";

/// The first half of a [`Digest`].
pub(super) type Key = [u8; 16];

const CHECKSUM_LEN: usize = 8;
const HEAD_LEN: usize = 4 + CHECKSUM_LEN;
const KEY_LEN: usize = 16;

pub(super) fn key(digest: &Digest) -> Key {
    let (key, _) = digest.0.split_first_chunk().expect("a digest is longer than a key");
    *key
}

/// What a file begins with.
pub(super) fn start(subject: &Subject) -> Vec<u8> {
    let text = serde_json::to_vec(subject).expect("plain texts");
    let mut bytes = MAGIC.to_vec();
    bytes.extend(frame(None, MAGIC.len(), &text));
    bytes
}

/// Adds a record to the contents of a frame; `false` if it is too large for one.
pub(super) fn push_record(contents: &mut Vec<u8>, key: &Key, value: &[u8]) -> bool {
    let end = contents.len() + KEY_LEN + 4 + value.len();
    let (Ok(len), Ok(_)) = (u32::try_from(value.len()), u32::try_from(end)) else { return false };
    contents.extend(key);
    contents.extend(len.to_le_bytes());
    contents.extend(value);
    true
}

/// A frame that is to stand `at` bytes from the start of a file; `file` is what [`read`] gives of it.
pub(super) fn frame(file: Option<&Digest>, at: usize, contents: &[u8]) -> Vec<u8> {
    let len = u32::try_from(contents.len()).expect("`push_record` sees to it");
    let mut bytes = len.to_le_bytes().to_vec();
    bytes.extend(checksum(file, at, contents));
    bytes.extend(contents);
    bytes
}

fn checksum(file: Option<&Digest>, at: usize, contents: &[u8]) -> [u8; CHECKSUM_LEN] {
    let file = file.map_or(&[][..], |file| &file.0);
    let digest = Digester::new("frame").bytes(file).number(at as u64).bytes(contents).finish();
    *digest.0.first_chunk().expect("a digest is longer than a checksum")
}

/// What is in a file.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) subject: Subject,
    /// What later frames are bound to.
    pub(super) file: Digest,
    /// Where values stand.
    pub(super) records: Vec<(Key, Range<usize>)>,
    /// The end of the last good frame.
    pub(super) end: usize,
    pub(super) rest: Rest,
}

/// What follows the last good frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Nothing,
    /// The start of a frame: its writer was stopped, or is just writing it.
    Torn,
    /// Something that was never written so.
    Damaged,
}

/// Why a file has no contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It ends before its subject does.
    Torn,
    Foreign,
}

pub(super) fn read(bytes: &[u8]) -> Result<Contents, Unreadable> {
    if !bytes.starts_with(MAGIC) {
        let is_start = MAGIC.starts_with(bytes);
        return Err(if is_start { Unreadable::Torn } else { Unreadable::Foreign });
    }
    let text = match next(None, bytes, MAGIC.len()) {
        Ok(Some(text)) => text,
        Ok(None) | Err(Rest::Torn) => return Err(Unreadable::Torn),
        Err(_) => return Err(Unreadable::Foreign),
    };
    let subject = serde_json::from_slice(&bytes[text.clone()]).map_err(|_| Unreadable::Foreign)?;
    let file = Digest::of("file", &[&bytes[text.clone()]]);
    let mut contents =
        Contents { subject, file, records: Vec::new(), end: text.end, rest: Rest::Nothing };
    loop {
        match next(Some(&file), bytes, contents.end) {
            Ok(Some(frame)) => {
                contents.records.extend(records(bytes, frame.clone()));
                contents.end = frame.end;
            }
            Ok(None) => return Ok(contents),
            Err(rest) => return Ok(Contents { rest, ..contents }),
        }
    }
}

/// Where the contents of the frame `at` stand; `None` at the end of the file.
fn next(file: Option<&Digest>, bytes: &[u8], at: usize) -> Result<Option<Range<usize>>, Rest> {
    let rest = &bytes[at..];
    if rest.is_empty() {
        return Ok(None);
    }
    let (len, rest) = rest.split_first_chunk().ok_or(Rest::Torn)?;
    let (expected, rest) = rest.split_first_chunk::<CHECKSUM_LEN>().ok_or(Rest::Torn)?;
    let len = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| Rest::Damaged)?;
    let contents = rest.get(..len).ok_or(Rest::Torn)?;
    if checksum(file, at, contents) != *expected {
        return Err(Rest::Damaged);
    }
    let start = at + HEAD_LEN;
    Ok(Some(start..start + len))
}

/// The records of a good frame.
fn records(bytes: &[u8], frame: Range<usize>) -> Vec<(Key, Range<usize>)> {
    let mut records = Vec::new();
    let mut at = frame.start;
    while let Some((key, rest)) = bytes[at..frame.end].split_first_chunk::<KEY_LEN>() {
        let Some((len, _)) = rest.split_first_chunk() else { break };
        let start = at + KEY_LEN + 4;
        let len = u32::from_le_bytes(*len) as usize;
        at = start.saturating_add(len);
        if frame.end < at {
            break;
        }
        records.push((*key, start..at));
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        let [kind, version, build, file, sha256] =
            ["noise", "1", "b", "m.onnx", "ab"].map(str::to_owned);
        Subject { kind, version, build, file, sha256 }
    }

    const KEYS: [Key; 3] = [[1; 16], [2; 16], [3; 16]];

    /// Two frames, of two records and of one; where each begins.
    fn file() -> (Vec<u8>, [usize; 2]) {
        let mut bytes = start(&subject());
        let file = read(&bytes).unwrap().file;
        let mut starts = [0; 2];
        for (at, keys) in [&KEYS[..2], &KEYS[2..]].into_iter().enumerate() {
            let mut contents = Vec::new();
            for key in keys {
                assert!(push_record(&mut contents, key, &[key[0]; 5]));
            }
            starts[at] = bytes.len();
            bytes.extend(frame(Some(&file), bytes.len(), &contents));
        }
        (bytes, starts)
    }

    fn keys(bytes: &[u8], contents: &Contents) -> Vec<Key> {
        let records = contents.records.iter();
        assert!(records.clone().all(|(key, at)| bytes[at.clone()] == [key[0]; 5]));
        records.map(|(key, _)| *key).collect()
    }

    #[test]
    fn there_and_back() {
        let (bytes, _) = file();
        let contents = read(&bytes).unwrap();
        assert_eq!(contents.subject, subject());
        assert_eq!((keys(&bytes, &contents), contents.rest), (KEYS.to_vec(), Rest::Nothing));
        assert_eq!(contents.end, bytes.len());
    }

    /// Of a file that ends at any byte, the whole frames are good and the rest is torn.
    #[test]
    fn torn_at_every_byte() {
        let (bytes, [first, second]) = file();
        for len in 0..bytes.len() {
            let torn = &bytes[..len];
            if len < first {
                assert_eq!(read(torn).unwrap_err(), Unreadable::Torn, "{len}");
                continue;
            }
            let contents = read(torn).unwrap();
            let (n, end) = if len < second { (0, first) } else { (2, second) };
            assert_eq!(keys(torn, &contents), KEYS[..n], "{len}");
            let rest = if len == end { Rest::Nothing } else { Rest::Torn };
            assert_eq!((contents.end, contents.rest), (end, rest), "{len}");
        }
    }

    /// Any bit that is another costs its frame and what follows, and gives nothing wrong.
    #[test]
    fn every_bit_flipped() {
        let (bytes, [first, second]) = file();
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if bit / 8 < first {
                assert!(read(&flipped).is_err(), "{bit}");
                continue;
            }
            let contents = read(&flipped).unwrap();
            let (n, end) = if bit / 8 < second { (0, first) } else { (2, second) };
            assert_eq!(keys(&flipped, &contents), KEYS[..n], "{bit}");
            assert_eq!(contents.end, end);
            assert_ne!(contents.rest, Rest::Nothing, "{bit}");
        }
    }

    /// A frame is no frame of another file, nor of another place.
    #[test]
    fn frames_stay_where_they_are() {
        let (bytes, [first, second]) = file();
        let moved = [&bytes[..first], &bytes[second..]].concat();
        let twice = [&bytes[..], &bytes[second..]].concat();
        let renamed = Subject { file: "n.onnx".to_owned(), ..subject() };
        let other = [&start(&renamed), &bytes[first..]].concat();
        for (bytes, n) in [(moved, 0), (twice, 3), (other, 0)] {
            let contents = read(&bytes).unwrap();
            assert_eq!((contents.records.len(), contents.rest), (n, Rest::Damaged));
        }
    }

    #[test]
    fn foreign_files() {
        let later = [b"mpq cache 2\n", &file().0[MAGIC.len()..]].concat();
        for bytes in [&b"{\"schema\":\"mpq/config/1\"}"[..], &later, &[0; 64]] {
            assert_eq!(read(bytes).unwrap_err(), Unreadable::Foreign);
        }
        let mut no_subject = MAGIC.to_vec();
        no_subject.extend(frame(None, MAGIC.len(), b"{}"));
        assert_eq!(read(&no_subject).unwrap_err(), Unreadable::Foreign);
    }
}
