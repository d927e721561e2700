//! Images from bytes: what a file holds, before a network sees it.

pub(crate) mod jpeg;

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder as _, ImageError, ImageFormat, ImageReader, Limits};

/// The largest side of an image.
const MAX_SIDE: usize = 32_768;

/// Why there are no pixels.
#[derive(Debug, thiserror::Error)]
pub enum PixelError {
    #[error(transparent)]
    Image(#[from] ImageError),

    #[error("it is {found:?}, expected PNG, JPEG, WebP or BMP")]
    Format { found: ImageFormat },

    #[error(
        "it is {height}x{width}, expected at most {MAX_SIDE} a side and {limit_bytes} bytes of pixels"
    )]
    TooLarge { height: usize, width: usize, limit_bytes: usize },
}

/// Refuses an image of that many pixels before there is memory for them.
fn check_size([height, width]: [usize; 2], limit_bytes: usize) -> Result<(), PixelError> {
    let found_bytes = height.saturating_mul(width).saturating_mul(3);
    if height <= MAX_SIDE && width <= MAX_SIDE && found_bytes <= limit_bytes {
        return Ok(());
    }
    Err(PixelError::TooLarge { height, width, limit_bytes })
}

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

/// Red, green and blue; alpha is dropped, 16 bits become 8. The format, of those of samples, is told by
/// the content.
///
/// # Errors
/// Also if the pixels would take more than `limit_bytes`.
pub(crate) fn decode(bytes: &[u8], limit_bytes: usize) -> Result<Pixels, PixelError> {
    match image::guess_format(bytes) {
        // Reading the directory of a TIFF file may take 256 MiB before there are any limits.
        Ok(found @ (ImageFormat::Tiff | ImageFormat::Pnm)) => Err(PixelError::Format { found }),
        _ => decode_any(bytes, limit_bytes),
    }
}

/// The same for every format there is.
pub(crate) fn decode_any(bytes: &[u8], limit_bytes: usize) -> Result<Pixels, PixelError> {
    if jpeg::is_jpeg(bytes) {
        return jpeg::decode(bytes, limit_bytes);
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let rgb = decode_limited(reader.map_err(ImageError::IoError)?, limit_bytes)?.into_rgb8();
    let size = [rgb.height() as usize, rgb.width() as usize];
    Ok(Pixels { size, channels: 3, values: rgb.into_raw() })
}

/// An image whose red, green and blue take no more than `limit_bytes`; decoding may take twice that.
pub(crate) fn decode_limited(
    mut reader: ImageReader<Cursor<&[u8]>>,
    limit_bytes: usize,
) -> Result<DynamicImage, PixelError> {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some((limit_bytes as u64).saturating_mul(2));
    reader.limits(limits);
    let decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    check_size([height as usize, width as usize], limit_bytes)?;
    Ok(DynamicImage::from_decoder(decoder)?)
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
    fn what_is_no_format_of_samples() {
        let text = decode(b"II*\0\x08\0\0\0\0\0", 1 << 20).unwrap_err().to_string();
        assert_eq!(text, "it is Tiff, expected PNG, JPEG, WebP or BMP");
        assert!(decode(b"P6 1 1 255 abc", 1 << 20).is_err());
        assert!(decode_any(b"P6 1 1 255 abc", 1 << 20).is_ok());
    }

    /// A file of 60 bytes that claims 4 GB of pixels.
    #[test]
    fn sizes_are_refused_before_there_is_memory_for_them() {
        let mut png = Vec::new();
        let image = image::RgbImage::from_pixel(2, 1, image::Rgb([9; 3]));
        image.write_to(&mut Cursor::new(&mut png), image::ImageFormat::Png).unwrap();
        let refusal = |png: &[u8], limit| decode(png, limit).unwrap_err().to_string();
        assert!(decode(&png, 6).is_ok());
        let expected = "expected at most 32768 a side and";
        assert_eq!(refusal(&png, 5), format!("it is 1x2, {expected} 5 bytes of pixels"));
        let ihdr = 16;
        for (side, found) in [(32_000_u32, "32000x32000"), (40_000, "40000x40000")] {
            png[ihdr..ihdr + 4].copy_from_slice(&side.to_be_bytes());
            png[ihdr + 4..ihdr + 8].copy_from_slice(&side.to_be_bytes());
            let mut crc = flate2::Crc::new();
            crc.update(&png[12..29]);
            png[29..33].copy_from_slice(&crc.sum().to_be_bytes());
            let text = format!("it is {found}, {expected} 1073741824 bytes of pixels");
            assert_eq!(refusal(&png, 1 << 30), text);
        }
    }

    #[test]
    fn gray() {
        assert_eq!([[0; 3], [255; 3], [77; 3]].map(luma), [0, 255, 77]);
        assert_eq!(luma([255, 0, 0]), 76);
    }
}
