//! Pixels of JPEG files, equal to libjpeg-turbo's to the last bit.
//!
//! Networks are trained on what libjpeg decodes; a decoder that rounds or upsamples chroma in
//! another way moves pixels by up to 9 levels, and predictions with them.

use image::error::DecodingError;
use image::{ImageError, ImageFormat};
use libjpeg_turbo_rs::{DecodeLimits, Decoder, JpegError, PixelFormat};

use crate::pixels::{PixelError, Pixels, check_size};

const START: u8 = 0xd8;
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;

/// Whether the bytes begin as those of a JPEG file.
pub(super) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, START, 0xff])
}

/// RGB, also of gray and CMYK files.
pub(super) fn decode(bytes: &[u8], limit_bytes: usize) -> Result<Pixels, PixelError> {
    let damaged =
        |source| ImageError::Decoding(DecodingError::new(ImageFormat::Jpeg.into(), source));
    let mut decoder =
        Decoder::new_with_limits(bytes, decode_limits(limit_bytes)).map_err(damaged)?;
    let header = decoder.header();
    check_size([header.height(), header.width()], limit_bytes)?;
    check_header(&decoder).map_err(damaged)?;
    decoder.set_output_format(PixelFormat::Rgb);
    let image = decoder.decode_image().map_err(damaged)?;
    Ok(Pixels { size: [image.height, image.width], channels: 3, values: image.data })
}

/// The coefficients of a progressive file are held besides its pixels. Each scan goes over all of them:
/// 500 are more than any writer makes.
fn decode_limits(limit_bytes: usize) -> DecodeLimits {
    let max_memory = Some((limit_bytes as u64).saturating_mul(4));
    DecodeLimits { max_memory, max_scans: 500, ..DecodeLimits::default() }
}

/// Refuses what the decoder panics at: an image of no rows, and four components (CMYK, YCCK) of
/// which the last is not as large as the first, or the others are not a whole fraction of it.
fn check_header(decoder: &Decoder) -> Result<(), JpegError> {
    let header = decoder.header();
    if header.height() == 0 {
        return Err(JpegError::Unsupported("image without rows".to_owned()));
    }
    let components = header.components.iter();
    let sampling: Vec<[u8; 2]> =
        components.map(|one| [one.horizontal_sampling, one.vertical_sampling]).collect();
    let &[first, second, third, last] = &sampling[..] else { return Ok(()) };
    let are_whole = first.iter().zip(second).all(|(first, second)| first.is_multiple_of(second));
    if first == last && second == third && are_whole {
        return Ok(());
    }
    Err(JpegError::Unsupported(format!("sampling factors {sampling:?} of four components")))
}

/// Whether the end marker is missing, as it is of a progressive file that lost its last scans. It is
/// looked for over the segments, which tell their lengths, and through the scans, where 0xff is
/// followed by 0 or a restart marker.
pub(crate) fn is_cut_off(bytes: &[u8]) -> bool {
    let Some(mut rest) = bytes.strip_prefix(&[0xff, START]) else { return false };
    loop {
        let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff);
        let Some(at) = rest.windows(2).position(is_marker) else { return true };
        let marker = rest[at + 1];
        rest = &rest[at + 2..];
        if marker == END {
            return false;
        }
        let len =
            rest.first_chunk().map_or(usize::MAX, |len| usize::from(u16::from_be_bytes(*len)));
        if marker != SCAN {
            rest = rest.get(len..).unwrap_or(&[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use libjpeg_turbo_rs::{Subsampling, compress};

    use super::*;

    const LIMIT: usize = 1 << 20;

    /// 4:2:0, quality 50, written by libjpeg-turbo.
    const BASELINE: &str = "\
        ffd8ffe000104a46494600010100000100010000ffdb004300100b0c0e0c0a100e0d0e1211101318281a1816\
        16183123251d283a333d3c3933383740485c4e404457453738506d51575f626768673e4d71797064785c6567\
        63ffdb0043011112121815182f1a1a2f63423842636363636363636363636363636363636363636363636363\
        6363636363636363636363636363636363636363636363636363ffc000110800040006030122000211010311\
        01ffc4001500010100000000000000000000000000000005ffc4001c10000202020300000000000000000000\
        00010200031131051221ffc40014010100000000000000000000000000000004ffc4001d1100010305010000\
        000000000000000000010002110304122151f0ffda000c03010002110311003f009bcb165a8a97b1fb38b32c\
        ec4827208debc111111409c3dc0916c03992ed995fffd9";
    /// The same image, progressive.
    const PROGRESSIVE: &str = "\
        ffd8ffe000104a46494600010100000100010000ffdb004300100b0c0e0c0a100e0d0e1211101318281a1816\
        16183123251d283a333d3c3933383740485c4e404457453738506d51575f626768673e4d71797064785c6567\
        63ffdb0043011112121815182f1a1a2f63423842636363636363636363636363636363636363636363636363\
        6363636363636363636363636363636363636363636363636363ffc200110800040006030122000211010311\
        01ffc4001500010100000000000000000000000000000004ffc4001401010000000000000000000000000000\
        0003ffda000c0301000210031000000198227fffc4001510010100000000000000000000000000000331ffda\
        000801010001050259ffc40017110003010000000000000000000000000000012103ffda0008010301013f01\
        ceaa7fffc400161100030000000000000000000000000000000231ffda0008010201013f01487fffc4001610\
        00030000000000000000000000000000004151ffda0008010100063f0274ffc4001710010101010000000000\
        0000000000000001110031ffda0008010100013f21b22aaf4bbfffda000c0301000200030000001003ffc400\
        17110003010000000000000000000000000000011121ffda0008010301013f10555d3a7fffc4001711010003\
        00000000000000000000000000010061f0ffda0008010201013f106ed13fffc4001810010003010000000000\
        000000000000000100113121ffda0008010100013f1049555b2916c4dce13fffd9";
    /// What libjpeg-turbo decodes of both, 4 rows of 6 pixels.
    const RGB: [[u8; 18]; 4] = [
        [255, 194, 178, 203, 147, 150, 141, 106, 148, 205, 190, 229, 117, 117, 109, 80, 87, 56],
        [135, 83, 61, 52, 11, 7, 16, 0, 33, 124, 118, 152, 97, 103, 93, 9, 20, 0],
        [161, 141, 106, 92, 80, 64, 67, 73, 97, 133, 149, 172, 170, 189, 170, 60, 81, 42],
        [134, 131, 88, 124, 128, 105, 98, 116, 136, 43, 68, 88, 110, 135, 113, 37, 62, 20],
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn pixels_are_those_of_libjpeg_turbo() {
        for hex in [BASELINE, PROGRESSIVE] {
            let pixels = decode(&bytes(hex), LIMIT).unwrap();
            assert_eq!((pixels.size, pixels.channels), ([4, 6], 3));
            assert_eq!(pixels.values, RGB.concat());
        }
    }

    #[test]
    fn gray_and_cmyk_become_rgb() {
        let cases = [
            (PixelFormat::Grayscale, vec![77; 64], [77; 3]),
            (PixelFormat::Cmyk, [255, 255, 0, 255].repeat(64), [255, 255, 0]),
        ];
        for (format, pixels, expected) in cases {
            let bytes = compress(&pixels, 8, 8, format, 100, Subsampling::S444).unwrap();
            let pixels = decode(&bytes, LIMIT).unwrap();
            assert_eq!((pixels.size, pixels.channels), ([8, 8], 3));
            assert_eq!(pixels.values, expected.repeat(64), "{format:?}");
        }
    }

    #[test]
    fn cut_off_files_are_noticed() {
        for hex in [BASELINE, PROGRESSIVE] {
            let bytes = bytes(hex);
            assert!(!is_cut_off(&bytes));
            for len in 2..bytes.len() {
                assert!(is_cut_off(&bytes[..len]), "cut to {len} of {}", bytes.len());
            }
        }
        assert!(!is_cut_off(b"no JPEG"));
    }

    #[test]
    fn refusals() {
        let whole = bytes(BASELINE);
        let pixels: Vec<u8> = (0..3 * 64 * 48).map(|i| (i * i % 251) as u8).collect();
        let mut short = compress(&pixels, 64, 48, PixelFormat::Rgb, 90, Subsampling::S420).unwrap();
        short.truncate(short.len() / 2);
        short.extend([0xff, END]);
        let mut cmyk = compress(&[9; 256], 8, 8, PixelFormat::Cmyk, 90, Subsampling::S444).unwrap();
        let frame = cmyk.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        let last_sampling = frame + 20;
        cmyk[last_sampling] = 0x21;
        let mut flat = cmyk.clone();
        flat[frame + 5..frame + 7].fill(0);
        let error = |bytes: &[u8], limit| decode(bytes, limit).unwrap_err().to_string();
        assert_eq!(
            error(&whole, 71),
            "it is 4x6, expected at most 32768 a side and 71 bytes of pixels"
        );
        let cases = [
            (short, "unexpected end of data"),
            (
                cmyk,
                "unsupported feature: sampling factors [[1, 1], [1, 1], [1, 1], [2, 1]] of four components",
            ),
            (flat, "unsupported feature: image without rows"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(error(&bytes, LIMIT), format!("Format error decoding Jpeg: {expected}"));
        }
    }
}
