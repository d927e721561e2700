//! [`Packed`]: numbers, texts and bytes as the bytes of a value, and back bit for bit.

/// Contents one after the other; lengths come first, numbers are little endian.
#[derive(Debug, Clone, Default)]
pub struct Packed(pub Vec<u8>);

/// Takes them off again in the same order; `None` where there is nothing of that kind.
#[derive(Debug, Clone)]
pub struct Unpacked<'a>(&'a [u8]);

impl Packed {
    pub fn new() -> Packed {
        Packed::default()
    }

    pub fn number(&mut self, number: u64) -> &mut Packed {
        self.0.extend(number.to_le_bytes());
        self
    }

    pub fn float(&mut self, float: f64) -> &mut Packed {
        self.number(float.to_bits())
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Packed {
        self.number(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    pub fn text(&mut self, text: &str) -> &mut Packed {
        self.bytes(text.as_bytes())
    }
}

impl<'a> Unpacked<'a> {
    pub fn new(bytes: &'a [u8]) -> Unpacked<'a> {
        Unpacked(bytes)
    }

    pub fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    /// A number of things that follow.
    pub fn count(&mut self) -> Option<usize> {
        // None of them takes less than a byte: what is more is no count.
        usize::try_from(self.number()?).ok().filter(|&count| count <= self.0.len())
    }

    pub fn float(&mut self) -> Option<f64> {
        self.number().map(f64::from_bits)
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let mut packed = Packed::new();
        packed.number(2).text("a").text("").float(f64::NAN).float(-0.).bytes(&[1, 2, 3]);
        let mut unpacked = Unpacked::new(&packed.0);
        assert_eq!(unpacked.count(), Some(2));
        assert_eq!([unpacked.text(), unpacked.text()], [Some("a"), Some("")]);
        assert_eq!(unpacked.float().map(f64::to_bits), Some(f64::NAN.to_bits()));
        assert_eq!(unpacked.float().map(f64::to_bits), Some((-0_f64).to_bits()));
        assert!(!unpacked.is_empty());
        assert_eq!(unpacked.bytes(), Some(&[1, 2, 3][..]));
        assert!(unpacked.is_empty() && unpacked.number().is_none());
    }

    #[test]
    fn what_is_not_there_is_none() {
        assert_eq!(Unpacked::new(&[1; 7]).number(), None);
        assert_eq!(Unpacked::new(&[255; 9]).bytes(), None);
        assert_eq!(Unpacked::new(&[2, 0, 0, 0, 0, 0, 0, 0, 9]).count(), None);
        assert_eq!(Unpacked::new(&[1, 0, 0, 0, 0, 0, 0, 0, 255]).text(), None);
    }
}
