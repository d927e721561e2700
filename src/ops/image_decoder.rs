//! `ImageDecoder`: pixels of an encoded image, <https://onnx.ai/onnx/operators/onnx__ImageDecoder.html>.

use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::pixels::{Pixels, decode_any};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("ImageDecoder", 20, ImageDecoder::read)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PixelFormat {
    Rgb,
    Bgr,
    Gray,
}

const STREAM: usize = 0;

/// The shape of the result is known only when it is decoded: this much is believed.
const MAX_BYTES: usize = 1 << 28;

/// From the bytes of a BMP, JPEG, PNG, PNM, TIFF or WebP file to `[H, W, C]` of uint8.
#[derive(Debug)]
struct ImageDecoder {
    format: PixelFormat,
}

impl ImageDecoder {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let format = attrs.choice(
            "pixel_format",
            &[
                ("RGB", PixelFormat::Rgb),
                ("BGR", PixelFormat::Bgr),
                ("Grayscale", PixelFormat::Gray),
            ],
        )?;
        Ok(Box::new(ImageDecoder { format }))
    }

    fn pixels(&self, stream: &Tensor) -> Result<Pixels, OpError> {
        let rgb =
            decode_any(stream.slice::<u8>(), MAX_BYTES).map_err(|error| OpError::NotSupported {
                what: format!("the content of input `encoded_stream` ({error})"),
            })?;
        Ok(match self.format {
            PixelFormat::Rgb => rgb,
            PixelFormat::Gray => rgb.to_gray(),
            PixelFormat::Bgr => {
                let mut bgr = rgb;
                bgr.values.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
                bgr
            }
        })
    }
}

impl Operator for ImageDecoder {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(1)?;
        let stream = inputs.require(STREAM, "encoded_stream")?;
        stream.expect_dtype(DType::U8)?;
        stream.expect_rank::<1>()?;
        let pixels = self.pixels(stream.value()?)?;
        let [height, width] = pixels.size;
        Ok(vec![TensorType::new(DType::U8, &[height, width, pixels.channels])])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let Pixels { size: [height, width], channels, values } =
            self.pixels(inputs.tensor(STREAM))?;
        Ok(vec![Tensor::from_vec(&[height, width, channels], values)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::testing::op;
    use crate::tensor::Tensor;

    /// One row of two pixels, red and gray, without compression.
    const PPM: &[u8] = b"P6 2 1 255\n\xff\x00\x00\x80\x80\x80";

    fn stream(bytes: &[u8]) -> Tensor {
        Tensor::from_vec(&[bytes.len()], bytes.to_vec())
    }

    #[test]
    fn pixels_in_three_formats() {
        let decoder =
            |format| op("ImageDecoder").tensor(stream(PPM)).string("pixel_format", format);
        let pixels = |values: &[u8]| Tensor::from_vec(&[1, 2, 3], values.to_vec());
        decoder("RGB").gives_tensor(pixels(&[255, 0, 0, 128, 128, 128]));
        decoder("BGR").gives_tensor(pixels(&[0, 0, 255, 128, 128, 128]));
        decoder("Grayscale").gives_tensor(Tensor::from_vec(&[1, 2, 1], vec![76_u8, 128]));
    }

    #[test]
    fn no_image() {
        op("ImageDecoder").tensor(stream(b"text")).fails(
            "the content of input `encoded_stream` (The image format could not be determined) is not supported",
        );
    }
}
