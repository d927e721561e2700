//! Elements of fewer than 8 bits side by side: the first in the lowest bits of the first byte.
//!
//! Elements of 6 bits run on over the ends of bytes; those of 2 and 4 bits never do.

/// The low `n_bits` of each element; the bits that are left over at the end are 0.
pub(super) fn pack(elements: impl ExactSizeIterator<Item = u8>, n_bits: usize) -> Vec<u8> {
    let mut packed = Vec::with_capacity((elements.len() * n_bits).div_ceil(8));
    let (mut waiting, mut n_waiting) = (0_u16, 0);
    for element in elements {
        waiting |= u16::from(element) << n_waiting;
        n_waiting += n_bits;
        if 8 <= n_waiting {
            packed.push(waiting.to_le_bytes()[0]);
            waiting >>= 8;
            n_waiting -= 8;
        }
    }
    packed.extend((0 < n_waiting).then_some(waiting.to_le_bytes()[0]));
    packed
}

/// `len` elements of `n_bits` each.
///
/// # Panics
/// If there are fewer than that in `bytes`.
pub(super) fn unpack(bytes: &[u8], n_bits: usize, len: usize) -> impl Iterator<Item = u8> {
    let mask = u8::MAX >> (8 - n_bits);
    (0..len).map(move |index| {
        let (byte, bit) = (index * n_bits / 8, index * n_bits % 8);
        let next = if 8 < bit + n_bits { bytes[byte + 1] } else { 0 };
        (u16::from_le_bytes([bytes[byte], next]) >> bit).to_le_bytes()[0] & mask
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_and_back() {
        let cases: [(usize, &[u8], &[u8]); 5] = [
            (2, &[1, 2, 3, 0, 2], &[0b0011_1001, 0b10]),
            (4, &[1, 15, 8], &[0xf1, 0x08]),
            (6, &[1, 2, 3, 4], &[0b1000_0001, 0b0011_0000, 0b0001_0000]),
            (6, &[63], &[63]),
            (8, &[255, 7], &[255, 7]),
        ];
        for (n_bits, elements, packed) in cases {
            assert_eq!(pack(elements.iter().copied(), n_bits), packed);
            assert!(unpack(packed, n_bits, elements.len()).eq(elements.iter().copied()));
        }
        assert!(pack([].into_iter(), 4).is_empty());
    }
}
