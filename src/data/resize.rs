//! Resizing of 8-bit images, to the bit as Pillow 12 does it.
//!
//! Pillow 13 takes the columns first where the height shrinks much more than the width; bilinear
//! results then differ by at most one level. The older order is that of the networks' training.
//!
//! Two passes, first along rows, then along columns, each rounded to 8 bits. An output pixel is the
//! weighted mean of the input pixels under a filter that is widened by the scale where the image
//! shrinks. The weights are normalized in f64, then held as integers of 22 fraction bits; sums begin
//! at one half.

use crate::data::Filter;
use crate::kernels::{FRACTION_BITS, PixelWindow, weighted_pixels, weighted_row};
use crate::pixels::Pixels;

impl Filter {
    /// Half the width at scale 1.
    fn support(self) -> f64 {
        match self {
            Filter::Bilinear => 1.,
            Filter::Bicubic => 2.,
        }
    }

    /// The triangle, or the cubic convolution with a = -1/2.
    fn weight(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Filter::Bilinear if x < 1. => 1. - x,
            Filter::Bicubic if x < 1. => (1.5 * x - 2.5) * x * x + 1.,
            Filter::Bicubic if x < 2. => ((-0.5 * x + 2.5) * x - 4.) * x + 2.,
            _ => 0.,
        }
    }
}

/// `size` is height and width, at least 1.
pub(super) fn resize(pixels: &Pixels, size: [usize; 2], filter: Filter) -> Pixels {
    let [height, width] = size;
    let wide = (pixels.size[1] != width).then(|| along_rows(pixels, width, filter));
    let wide = wide.as_ref().unwrap_or(pixels);
    if wide.size[0] == height { wide.clone() } else { along_columns(wide, height, filter) }
}

fn windows(from: usize, to: usize, filter: Filter) -> Vec<PixelWindow> {
    let scale = from as f64 / to as f64;
    let widened = scale.max(1.);
    let support = filter.support() * widened;
    let window = |i: usize| {
        let center = (i as f64 + 0.5) * scale;
        let first = (center - support + 0.5).max(0.) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        let weight = |x: usize| filter.weight((x as f64 - center + 0.5) / widened);
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let one = f64::from(1 << FRACTION_BITS);
        // Pillow rounds halves away from zero; so does `round`.
        let fixed = |weight: &f64| (weight / sum * one).round() as i32;
        PixelWindow { first, weights: weights.iter().map(fixed).collect() }
    };
    (0..to).map(window).collect()
}

fn along_rows(pixels: &Pixels, width: usize, filter: Filter) -> Pixels {
    let Pixels { size: [height, from], channels, ref values } = *pixels;
    let windows = windows(from, width, filter);
    let mut out = vec![0; height * width * channels];
    let rows = values.chunks_exact(from * channels).zip(out.chunks_exact_mut(width * channels));
    rows.for_each(|(row, out)| weighted_pixels(row, channels, &windows, out));
    Pixels { size: [height, width], channels, values: out }
}

fn along_columns(pixels: &Pixels, height: usize, filter: Filter) -> Pixels {
    let Pixels { size: [from, width], channels, ref values } = *pixels;
    let row_len = width * channels;
    let mut out = vec![0; height * row_len];
    let mut sums = vec![0; row_len];
    let windows = windows(from, height, filter);
    let rows = windows.iter().zip(out.chunks_exact_mut(row_len));
    rows.for_each(|(window, out)| weighted_row(values, window, &mut sums, out));
    Pixels { size: [height, width], channels, values: out }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image([height, width]: [usize; 2]) -> Pixels {
        let pixel = |i: usize| {
            let (x, y) = (i % width, i / width);
            ((x * 37 + y * 91 + x * y * 13) % 256) as u8
        };
        let values = (0..height * width).map(pixel).collect();
        Pixels { size: [height, width], channels: 1, values }
    }

    /// What Pillow 12.3 gives for the same image.
    #[test]
    fn as_pillow() {
        use Filter::{Bicubic, Bilinear};
        type Case = ([usize; 2], [usize; 2], Filter, &'static [u8]);
        let cases: &[Case] = &[
            (
                [5, 7],
                [3, 4],
                Bilinear,
                &[61, 128, 127, 163, 151, 142, 148, 140, 106, 125, 142, 131],
            ),
            (
                [3, 4],
                [5, 6],
                Bilinear,
                &[
                    0, 19, 43, 68, 93, 111, 36, 58, 85, 114, 142, 163, 91, 116, 149, 183, 216, 241,
                    146, 175, 187, 124, 137, 165, 182, 214, 213, 84, 84, 115,
                ],
            ),
            ([5, 7], [3, 4], Bicubic, &[57, 131, 126, 162, 155, 148, 148, 139, 103, 127, 143, 130]),
            (
                [3, 4],
                [5, 6],
                Bicubic,
                &[
                    0, 8, 35, 59, 87, 103, 27, 44, 77, 113, 146, 165, 88, 112, 149, 183, 220, 244,
                    150, 188, 203, 116, 131, 169, 185, 231, 231, 64, 63, 110,
                ],
            ),
            ([9, 2], [2, 3], Bicubic, &[85, 114, 142, 126, 139, 149]),
            ([1, 3], [1, 8], Bilinear, &[0, 2, 16, 30, 44, 58, 72, 74]),
        ];
        for (from, to, filter, expected) in cases {
            let resized = resize(&image(*from), *to, *filter);
            assert_eq!(&resized.values, expected, "{from:?} to {to:?}, {filter}");
        }
    }

    #[test]
    fn channels_do_not_mix() {
        let gray = image([6, 5]);
        let values = gray.values.iter().flat_map(|&x| [x, 255 - x, 0]).collect();
        let color =
            resize(&Pixels { channels: 3, values, ..gray.clone() }, [4, 3], Filter::Bicubic);
        let gray = resize(&gray, [4, 3], Filter::Bicubic);
        let red: Vec<u8> = color.values.iter().step_by(3).copied().collect();
        assert_eq!(red, gray.values);
        assert!(color.values.iter().skip(2).step_by(3).all(|&blue| blue == 0));
    }
}
