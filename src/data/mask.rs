//! [`Mask`]: a class for every pixel, from an 8-bit gray or palette PNG.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, ImageReader};

use crate::data::{DEFAULT_LIMIT_BYTES, DataError};
use crate::pixels;

/// A class for every pixel, by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// Height and width.
    pub size: [usize; 2],
    pub classes: Vec<u8>,
}

const GRAY: u8 = 0;
const PALETTE: u8 = 3;
/// Signature, then the chunk `IHDR`: length, name, width, height, bit depth, color type.
const BIT_DEPTH_AT: usize = 24;
const COLOR_TYPE_AT: usize = 25;

impl Mask {
    /// Gray values are classes; of a palette the indices are, not the colors.
    pub fn read(path: &Path) -> Result<Mask, DataError> {
        let bytes = fs::read(path).map_err(|source| DataError::read(path, source))?;
        let fail =
            |problem: &str| DataError::Mask { path: path.to_owned(), problem: problem.to_owned() };
        let reader = ImageReader::with_format(Cursor::new(&bytes[..]), ImageFormat::Png);
        let image = pixels::decode_limited(reader, DEFAULT_LIMIT_BYTES)
            .map_err(|source| DataError::Image { path: path.to_owned(), source })?;
        let size = [image.height() as usize, image.width() as usize];
        let classes = match (bytes[COLOR_TYPE_AT], bytes[BIT_DEPTH_AT]) {
            (GRAY, 8) => image.into_luma8().into_raw(),
            (PALETTE, _) => {
                let palette = palette(&bytes).ok_or_else(|| fail("has no palette"))?;
                let rgb = image.into_rgb8().into_raw();
                let index = |color: &[u8]| palette.iter().position(|entry| entry == color);
                let classes = rgb.chunks_exact(3).map(|color| index(color).map(|at| at as u8));
                classes.collect::<Option<_>>().ok_or_else(|| fail("has no valid palette"))?
            }
            (color, depth) => {
                return Err(fail(&format!(
                    "has color type {color} of {depth} bits, expected 8-bit gray or a palette"
                )));
            }
        };
        Ok(Mask { size, classes })
    }
}

/// The chunk `PLTE` of a PNG file that was decoded.
fn palette(png: &[u8]) -> Option<Vec<[u8; 3]>> {
    let mut rest = png.get(8..)?;
    loop {
        let (len, after) = rest.split_first_chunk()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        let (name, after) = after.split_first_chunk::<4>()?;
        if name == b"PLTE" {
            return Some(after.get(..len)?.chunks_exact(3).map(|c| [c[0], c[1], c[2]]).collect());
        }
        rest = after.get(len.checked_add(4)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels 2, 0, 1 of the colors black, red, green and gray, as Pillow writes them.
    const PALETTE_PNG: &[u8] = &[
        137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 3, 0, 0, 0, 1, 2, 3,
        0, 0, 0, 102, 142, 252, 39, 0, 0, 0, 12, 80, 76, 84, 69, 0, 0, 0, 128, 0, 0, 0, 128, 0, 5,
        5, 5, 233, 140, 69, 106, 0, 0, 0, 10, 73, 68, 65, 84, 120, 156, 99, 104, 1, 0, 0, 134, 0,
        133, 188, 245, 205, 214, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
    ];

    #[test]
    fn indices_of_a_palette() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mask.png");
        fs::write(&path, PALETTE_PNG).unwrap();
        let mask = Mask::read(&path).unwrap();
        assert_eq!((mask.size, mask.classes), ([1, 3], vec![2, 0, 1]));
    }

    #[test]
    fn colors_are_no_classes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mask.png");
        image::RgbImage::new(2, 2).save(&path).unwrap();
        let error = Mask::read(&path).unwrap_err().to_string();
        let problem = "has color type 2 of 8 bits, expected 8-bit gray or a palette";
        assert!(error.ends_with(problem), "{error}");
        fs::write(&path, &PALETTE_PNG[..40]).unwrap();
        assert!(matches!(Mask::read(&path), Err(DataError::Image { .. })));
    }
}
