//! [`Digest`]: SHA-256 over named contents, told apart whatever they are.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// 32 bytes that stand for a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// Makes a [`Digest`] of several contents, in their order. Each counts with its length, so that no two
/// lists of contents are the same bytes.
#[derive(Debug, Clone)]
pub struct Digester(Sha256);

impl Digest {
    /// Of the contents of one thing, which `kind` tells from others.
    pub fn of(kind: &str, contents: &[&[u8]]) -> Digest {
        let start = Digester::new(kind);
        contents.iter().fold(start, |digester, content| digester.bytes(content)).finish()
    }
}

/// From 64 hexadecimal digits.
impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let mut digest = Digest([0; 32]);
        let parse = |(byte, digits): (&mut u8, &[u8])| {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
            Some(())
        };
        let is_parsed = text.len() == 64
            && digest.0.iter_mut().zip(text.as_bytes().chunks(2)).all(|pair| parse(pair).is_some());
        is_parsed.then_some(digest).ok_or_else(|| DigestError { found: text.to_owned() })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found `{found}`, expected 64 hexadecimal digits")]
pub struct DigestError {
    pub found: String,
}

/// In hexadecimal.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Digester {
    /// `kind` says what the contents are of.
    pub fn new(kind: &str) -> Digester {
        Digester(Sha256::new()).text(kind)
    }

    pub fn bytes(mut self, bytes: &[u8]) -> Digester {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    pub fn text(self, text: &str) -> Digester {
        self.bytes(text.as_bytes())
    }

    pub fn number(self, number: u64) -> Digester {
        self.bytes(&number.to_le_bytes())
    }

    pub fn digest(self, digest: &Digest) -> Digester {
        self.bytes(&digest.0)
    }

    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_told_apart() {
        let all = [
            Digest::of("a", &[b"bc"]),
            Digest::of("ab", &[b"c"]),
            Digest::of("a", &[b"b", b"c"]),
            Digest::of("a", &[b"bc", b""]),
            Digester::new("a").finish(),
            Digester::new("a").number(0).finish(),
        ];
        let mut sorted = all.to_vec();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), all.len());
        assert_eq!(Digester::new("a").text("bc").finish(), all[0]);
    }

    #[test]
    fn text() {
        let digest = Digest::of("nothing", &[]).to_string();
        assert_eq!(digest.len(), 64);
        assert!(digest.bytes().all(|digit| digit.is_ascii_hexdigit()));
    }
}
