//! [`Buffer`]: floats in memory that begins at a cache line, so that no vector straddles two.

#![allow(unsafe_code)]

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::simd::LANES;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LANES]);

/// Floats at a multiple of 64 bytes.
#[derive(Clone, Default)]
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    pub fn zeros(len: usize) -> Buffer {
        Buffer { lines: vec![Line([0.; LANES]); len.div_ceil(LANES)], len }
    }

    /// Takes another length, with unspecified contents; memory is kept where it suffices.
    pub fn resize(&mut self, len: usize) {
        let n_lines = len.div_ceil(LANES);
        if self.lines.len() < n_lines {
            self.lines = vec![Line([0.; LANES]); n_lines];
        }
        self.len = len;
    }

    /// Elements that fit without more memory.
    pub fn capacity(&self) -> usize {
        self.lines.len() * LANES
    }
}

impl From<&[f32]> for Buffer {
    fn from(x: &[f32]) -> Buffer {
        let mut buffer = Buffer::zeros(x.len());
        buffer.copy_from_slice(x);
        buffer
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: a line is 16 floats, and there are at least `len` of them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above; the buffer is borrowed as a whole.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer of {}", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_at_a_line_and_keeps_its_memory() {
        let mut buffer = Buffer::from(&[1., 2., 3.][..]);
        assert_eq!(*buffer, [1., 2., 3.]);
        assert_eq!(buffer.as_ptr() as usize % 64, 0);
        buffer.resize(100);
        assert_eq!((buffer.len(), buffer.capacity() >= 100), (100, true));
        buffer.resize(0);
        assert!(buffer.is_empty() && buffer.capacity() >= 100);
    }

    #[test]
    fn is_a_slice() {
        for len in [0, 1, 15, 16, 17, 100] {
            let mut buffer = Buffer::zeros(len);
            assert_eq!(*buffer, vec![0.; len]);
            assert_eq!(buffer.as_ptr() as usize % 64, 0, "{len}");
            let before = buffer.clone();
            buffer.iter_mut().enumerate().for_each(|(i, x)| *x = i as f32 + 1.);
            assert_eq!(*buffer, (1..=len).map(|i| i as f32).collect::<Vec<_>>());
            assert_eq!(*before, vec![0.; len], "a clone has its own memory");
        }
        assert!(Buffer::default().is_empty());
    }
}
