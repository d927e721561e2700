//! [`Target`]: what an output should be, an image or an array.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::cache::{Digest, Digester};
use crate::data::bytes::encode;
use crate::data::stored::StoredArray;
use crate::data::{DEFAULT_LIMIT_BYTES, DataError};
use crate::pixels::{Pixels, decode, jpeg};
use crate::tensor::Tensor;

/// What the network's output should be for one sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Target(Content);

#[derive(Debug, Clone, PartialEq)]
enum Content {
    Image(Pixels),
    /// With or without a batch axis of 1.
    Array(Tensor),
}

impl Target {
    /// An array is shaped as the output, with or without its batch axis.
    pub fn array(tensor: Tensor) -> Target {
        Target(Content::Array(tensor))
    }

    /// A `.npy` or `.npz` file, or else an image.
    pub(super) fn read(path: &Path) -> Result<Target, DataError> {
        if StoredArray::is_array(path) {
            return StoredArray::only(path, DEFAULT_LIMIT_BYTES)?.read(None).map(Target::array);
        }
        let bytes = fs::read(path).map_err(|source| DataError::read(path, source))?;
        if jpeg::is_cut_off(&bytes) {
            return Err(DataError::CutOff { path: path.to_owned() });
        }
        let image = decode(&bytes, DEFAULT_LIMIT_BYTES);
        let image = image.map_err(|source| DataError::Image { path: path.to_owned(), source })?;
        Ok(Target(Content::Image(image)))
    }

    pub(super) fn digest(&self) -> Digest {
        let digester = Digester::new("target");
        let digester = match &self.0 {
            Content::Image(Pixels { size, channels, values }) => {
                let digester = digester.number(*channels as u64).bytes(values);
                size.iter().fold(digester, |d, &size| d.number(size as u64))
            }
            Content::Array(tensor) => {
                digester.text(&tensor.ty().to_string()).bytes(&encode(tensor))
            }
        };
        digester.finish()
    }

    /// The values in the order of an output of this shape, `None` if they are of another.
    ///
    /// An array is taken as it is. Of an image a pixel of 255 is `peak`; it fits
    /// `[1, C, H, W]`, `[1, H, W, C]` (C is 3, red first, or 1 for gray) and `[1, H, W]`.
    pub fn values(&self, shape: &[usize], peak: f64) -> Option<Vec<f64>> {
        match &self.0 {
            Content::Array(array) => {
                let is_same = array.shape() == shape || [&[1], array.shape()].concat() == shape;
                if is_same { array.to_f64() } else { None }
            }
            Content::Image(image) => values_of_image(image, shape, peak),
        }
    }
}

fn values_of_image(rgb: &Pixels, shape: &[usize], peak: f64) -> Option<Vec<f64>> {
    let [height, width] = rgb.size;
    let (channels, planes) = match *shape {
        [1, c @ (1 | 3), h, w] if [h, w] == [height, width] => (c, true),
        [1, h, w, c @ (1 | 3)] if [h, w] == [height, width] => (c, false),
        [1, h, w] if [h, w] == [height, width] => (1, true),
        _ => return None,
    };
    let gray = (channels == 1).then(|| rgb.to_gray());
    let pixels = &gray.as_ref().unwrap_or(rgb).values;
    let value = |&pixel: &u8| f64::from(pixel) / 255. * peak;
    Some(match planes {
        false => pixels.iter().map(value).collect(),
        true => (0..channels)
            .flat_map(|channel| pixels[channel..].iter().step_by(channels).map(value))
            .collect(),
    })
}

/// As `an image of 48x64 (height x width)` or `float32 [3, 48, 64]`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Content::Image(Pixels { size: [height, width], .. }) => {
                write!(f, "an image of {height}x{width} (height x width)")
            }
            Content::Array(array) => write!(f, "{}", array.ty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn images() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        let image = image::RgbImage::from_raw(2, 1, vec![255, 0, 51, 102, 255, 0]).unwrap();
        image.save(&path).unwrap();
        let target = Target::read(&path).unwrap();
        assert_eq!(target.to_string(), "an image of 1x2 (height x width)");
        let planes = Some(vec![1., 0.4, 0., 1., 0.2, 0.]);
        assert_eq!(target.values(&[1, 3, 1, 2], 1.), planes);
        let innermost = Some(vec![255., 0., 51., 102., 255., 0.]);
        assert_eq!(target.values(&[1, 1, 2, 3], 255.), innermost);
        // 0.299 * 255 + 0.114 * 51 and 0.299 * 102 + 0.587 * 255, rounded.
        let gray = Some(vec![82., 180.]);
        for shape in [&[1, 1, 1, 2][..], &[1, 1, 2, 1], &[1, 1, 2]] {
            assert_eq!(target.values(shape, 255.), gray, "{shape:?}");
        }
        for shape in [&[1, 3, 2, 1][..], &[2, 3, 1, 2], &[1, 4, 1, 2], &[1, 6]] {
            assert_eq!(target.values(shape, 1.), None, "{shape:?}");
        }
        fs::write(&path, "no image").unwrap();
        assert!(matches!(Target::read(&path), Err(DataError::Image { .. })));
    }

    #[test]
    fn arrays() {
        let target = Target::array(Tensor::from(array![[1_u8, 2]]));
        assert_eq!(target.to_string(), "uint8 [1, 2]");
        assert_eq!(target.values(&[1, 2], 9.), Some(vec![1., 2.]));
        assert_eq!(target.values(&[1, 1, 2], 9.), Some(vec![1., 2.]));
        assert_eq!(target.values(&[2, 1], 9.), None);
    }
}
