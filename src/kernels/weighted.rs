//! Weighted sums of 8-bit pixels, rounded to 8 bits: what resizing an image comes to.
//!
//! Weights are integers of [`FRACTION_BITS`] fraction bits; sums begin at one half.

#![allow(unsafe_code)]

use super::dispatch::multiversion;

pub const FRACTION_BITS: u32 = 22;

/// The part of the input that one output pixel sees.
#[derive(Debug, Clone)]
pub struct PixelWindow {
    pub first: usize,
    pub weights: Vec<i32>,
}

multiversion! {
    /// The weighted sum of rows: those of the window, of an image with rows as long as `out`.
    pub fn weighted_row(image: &[u8], window: &PixelWindow, sums: &mut [i32], out: &mut [u8]) {
        sums.fill(HALF);
        let rows = image.chunks_exact(out.len()).skip(window.first);
        for (row, &weight) in rows.zip(&window.weights) {
            for (sum, &x) in sums.iter_mut().zip(row) {
                *sum += i32::from(x) * weight;
            }
        }
        for (out, &sum) in out.iter_mut().zip(&*sums) {
            *out = pixel(sum);
        }
    }
}

/// A row of pixels from another one, a pixel for each window.
pub fn weighted_pixels(row: &[u8], channels: usize, windows: &[PixelWindow], out: &mut [u8]) {
    match channels {
        1 => pixels_of::<1>(row, windows, out),
        3 => pixels_of::<3>(row, windows, out),
        _ => unreachable!("pixels have 1 or 3 channels"),
    }
}

fn pixels_of<const N: usize>(row: &[u8], windows: &[PixelWindow], out: &mut [u8]) {
    let (row, out) = (row.as_chunks::<N>().0, out.as_chunks_mut::<N>().0);
    for (window, out) in windows.iter().zip(out) {
        let mut sums = [HALF; N];
        for (x, &weight) in row[window.first..].iter().zip(&window.weights) {
            for (sum, &x) in sums.iter_mut().zip(x) {
                *sum += i32::from(x) * weight;
            }
        }
        *out = sums.map(pixel);
    }
}

const HALF: i32 = 1 << (FRACTION_BITS - 1);

#[inline(always)]
fn pixel(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;

    #[test]
    fn rows_as_pixels_at_each_level() {
        let (height, width) = (9, 77);
        let image: Vec<u8> = (0..height * width).map(|i| (i * i % 251) as u8).collect();
        let weights = [900_000, -500_000, 3_700_000, 94_304];
        let window = PixelWindow { first: 3, weights: weights.to_vec() };
        let column = |x: usize| (0..height).map(|y| image[y * width + x]).collect::<Vec<u8>>();
        let expected: Vec<u8> = (0..width)
            .map(|x| {
                let mut pixel = [0];
                weighted_pixels(&column(x), 1, std::slice::from_ref(&window), &mut pixel);
                pixel[0]
            })
            .collect();
        let found = at_each_level(|| {
            let mut out = vec![0; width];
            weighted_row(&image, &window, &mut vec![0; width], &mut out);
            out
        });
        assert!(found.iter().all(|(_, row)| *row == expected), "{found:?}, {expected:?}");
    }
}
