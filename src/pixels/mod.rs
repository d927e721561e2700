//! Images from bytes: what a file holds, before a network sees it.

pub(crate) mod jpeg;

use std::io::Cursor;

use image::{ImageError, ImageReader, Limits};

/// The largest side of an image.
pub(crate) const MAX_SIDE: u32 = 32_768;

/// An 8-bit image, channels innermost: `[H, W, C]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pixels {
    /// Height and width.
    pub(crate) size: [usize; 2],
    pub(crate) channels: usize,
    pub(crate) values: Vec<u8>,
}

impl Pixels {
    /// One channel of an image of red, green and blue.
    pub(crate) fn to_gray(&self) -> Pixels {
        let pixels = self.values.chunks_exact(3);
        let values = pixels.map(|rgb| luma([rgb[0], rgb[1], rgb[2]])).collect();
        Pixels { size: self.size, channels: 1, values }
    }
}

/// Red, green and blue; alpha is dropped, 16 bits become 8. The format is told by the content.
pub(crate) fn decode(bytes: &[u8]) -> Result<Pixels, ImageError> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    if jpeg::is_jpeg(bytes) { jpeg::decode(bytes, &limits) } else { decode_other(bytes, limits) }
}

fn decode_other(bytes: &[u8], limits: Limits) -> Result<Pixels, ImageError> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    reader.limits(limits);
    let rgb = reader.decode()?.into_rgb8();
    let size = [rgb.height() as usize, rgb.width() as usize];
    Ok(Pixels { size, channels: 3, values: rgb.into_raw() })
}

/// ITU-R 601 in 16 fraction bits, as Pillow has it: `0.299 R + 0.587 G + 0.114 B`.
fn luma(rgb: [u8; 3]) -> u8 {
    let [r, g, b] = rgb.map(u32::from);
    ((19_595 * r + 38_470 * g + 7_471 * b + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gray() {
        assert_eq!([[0; 3], [255; 3], [77; 3]].map(luma), [0, 255, 77]);
        assert_eq!(luma([255, 0, 0]), 76);
    }
}
