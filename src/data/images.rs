//! Samples from image files.
//!
//! Pixels are taken as they are stored: the orientation that a camera noted is not applied, as
//! Pillow does not apply it either. Alpha is dropped, 16 bits become 8.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use half::{bf16, f16};
use sha2::{Digest, Sha256};

use crate::data::folder::Entry;
use crate::data::preprocess::Padding;
use crate::data::resize::resize;
use crate::data::{
    Channels, Column, Crop, DataError, ImageOptions, InputSpec, Layout, Pad, Preprocessing, Resize,
    SampleKey,
};
use crate::pixels::{Pixels, decode, jpeg};
use crate::tensor::{DType, Tensor, TensorType};

/// Of an image after resizing.
const MAX_PIXELS: usize = 1 << 27;

/// What is done to images.
#[derive(Debug, Clone)]
pub enum ImageSettings {
    /// As asked for; what was not is chosen by the network's input.
    Resolve(ImageOptions),
    /// As written in an earlier configuration.
    Fixed(Preprocessing),
}

/// The samples of one input: an image each.
#[derive(Debug)]
pub(super) struct Images {
    input: InputSpec,
    files: Vec<Entry>,
    preprocessing: Preprocessing,
    /// The network's value for each pixel value, by channel in the network's order.
    values: Vec<[f32; 256]>,
    /// Of an image's pixels, and of what the network gets of it.
    limit_bytes: usize,
    held: Mutex<Held>,
}

/// Images that were decoded, as the network sees them.
#[derive(Debug, Default)]
struct Held {
    pixels: BTreeMap<usize, Arc<Pixels>>,
    room_bytes: usize,
}

impl Images {
    /// Reads no image. The second value names the options that were chosen by default.
    pub(super) fn new(
        input: &InputSpec,
        files: Vec<Entry>,
        settings: &ImageSettings,
        limit_bytes: usize,
    ) -> Result<(Images, Vec<String>), DataError> {
        let (preprocessing, defaults) = match settings {
            ImageSettings::Resolve(options) => Preprocessing::resolve(options, input)?,
            ImageSettings::Fixed(preprocessing) => {
                preprocessing.check(input)?;
                (preprocessing.clone(), Vec::new())
            }
        };
        let pairs = preprocessing.mean.iter().zip(&preprocessing.std);
        let values = pairs.map(|(mean, std)| {
            std::array::from_fn(|pixel| ((pixel as f64 / 255. - mean) / std) as f32)
        });
        let values = values.collect();
        Ok((
            Images {
                input: input.clone(),
                files,
                preprocessing,
                values,
                limit_bytes,
                held: Mutex::default(),
            },
            defaults,
        ))
    }

    /// What [`Images::see`] gives, from those that are held, or held from now on if there is room.
    fn seen(&self, index: usize) -> Result<Arc<Pixels>, DataError> {
        let held = || self.held.lock().expect("nothing that holds this panics");
        if let Some(pixels) = held().pixels.get(&index) {
            return Ok(pixels.clone());
        }
        let pixels = Arc::new(self.see(&self.files[index])?);
        let mut held = held();
        if let Some(room_bytes) = held.room_bytes.checked_sub(pixels.values.len())
            && held.pixels.insert(index, pixels.clone()).is_none()
        {
            held.room_bytes = room_bytes;
        }
        Ok(pixels)
    }

    /// The part of the image that the network sees, in its final size but for padding.
    fn see(&self, file: &Entry) -> Result<Pixels, DataError> {
        let Preprocessing { resize: resized, crop: cropped, .. } = self.preprocessing;
        let mut pixels = read(&file.path, self.preprocessing.channels, self.limit_bytes)?;
        let as_is = self.preprocessing.exact_size_as_is;
        if as_is && cropped.is_some_and(|Crop(size)| size == pixels.size) {
            return Ok(pixels);
        }
        if let Some(to) = resized {
            let side = self.preprocessing.pad.map_or(Pad::Center, |pad| pad.side);
            let size = resized_size(pixels.size, to, side);
            if size[0].saturating_mul(size[1]) > MAX_PIXELS {
                return Err(self.wrong_size(file, size));
            }
            self.expect_room(size, pixels.channels)?;
            pixels = resize(&pixels, size, self.preprocessing.filter);
        }
        match cropped {
            Some(Crop(size)) => crop(&pixels, size).ok_or_else(|| DataError::CropTooLarge {
                file: file.name.clone(),
                found: pixels.size,
                crop: size,
            }),
            None => Ok(pixels),
        }
    }

    /// `[1, C, H, W]` or `[1, H, W, C]`.
    fn normalize(&self, pixels: &Pixels) -> (Vec<usize>, Vec<f32>) {
        let n = pixels.channels;
        let ([height, width], at, fill) = self.placed(pixels.size);
        let shape = match self.preprocessing.layout {
            Layout::Nchw => vec![1, n, height, width],
            Layout::Nhwc => vec![1, height, width, n],
        };
        let mut out = vec![fill; n * height * width];
        let from = |c| if self.preprocessing.channels == Channels::Bgr { n - 1 - c } else { c };
        let rows = pixels.values.chunks_exact(pixels.size[1] * n);
        for (y, row) in rows.enumerate() {
            let start = (at[0] + y) * width + at[1];
            for (c, values) in self.values.iter().enumerate() {
                let seen =
                    row[from(c)..].iter().step_by(n).map(|&pixel| values[usize::from(pixel)]);
                match self.preprocessing.layout {
                    Layout::Nchw => {
                        let out = &mut out[c * height * width + start..][..pixels.size[1]];
                        out.iter_mut().zip(seen).for_each(|(out, value)| *out = value);
                    }
                    Layout::Nhwc => {
                        let out = out[start * n + c..].iter_mut().step_by(n);
                        out.zip(seen).for_each(|(out, value)| *out = value);
                    }
                }
            }
        }
        (shape, out)
    }

    /// Final size, where the image's corner is in it, and what fills the rest.
    fn placed(&self, size: [usize; 2]) -> ([usize; 2], [usize; 2], f32) {
        match (self.preprocessing.pad, self.preprocessing.resize, self.preprocessing.crop) {
            (Some(Padding { side, value }), Some(Resize::Fit(full)), None) => {
                let at = match side {
                    Pad::Right => [0, 0],
                    Pad::Center => [0, 1].map(|axis| (full[axis] - size[axis]) / 2),
                };
                (full, at, value)
            }
            _ => (size, [0, 0], 0.),
        }
    }

    fn fits(&self, size: [usize; 2]) -> bool {
        let dims = &self.input.dims;
        let expected = match self.preprocessing.layout {
            Layout::Nchw => [dims[2], dims[3]],
            Layout::Nhwc => [dims[1], dims[2]],
        };
        expected.iter().zip(size).all(|(expected, found)| expected.is_none_or(|e| e == found))
    }

    fn expect_room(&self, size: [usize; 2], channels: usize) -> Result<(), DataError> {
        let found_bytes = TensorType::f32(&[size[0], size[1], channels]).size_bytes();
        if found_bytes <= self.limit_bytes {
            return Ok(());
        }
        let (name, limit_bytes) = (self.input.name.clone(), self.limit_bytes);
        Err(DataError::OverLimit { name, found_bytes, limit_bytes })
    }

    fn wrong_size(&self, file: &Entry, found: [usize; 2]) -> DataError {
        DataError::ImageSize { file: file.name.clone(), found, expected: self.input.clone() }
    }
}

impl Column for Images {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn key(&self, index: usize) -> SampleKey {
        let name = &self.files[index].name;
        SampleKey { name: name.clone(), file: Some(name.clone()), row: index }
    }

    fn read(&self, index: usize) -> Result<Tensor, DataError> {
        let file = &self.files[index];
        let pixels = self.seen(index)?;
        let (size, ..) = self.placed(pixels.size);
        if !self.fits(size) {
            return Err(self.wrong_size(file, size));
        }
        self.expect_room(size, pixels.channels)?;
        let (shape, values) = self.normalize(&pixels);
        Ok(match self.input.dtype {
            DType::F64 => convert(&shape, &values, f64::from),
            DType::F16 => convert(&shape, &values, f16::from_f32),
            DType::BF16 => convert(&shape, &values, bf16::from_f32),
            DType::U8 => convert(&shape, &values, |x| x.round() as u8),
            _ => Tensor::from_vec(&shape, values),
        })
    }

    fn hash(&self, index: usize, hasher: &mut Sha256) -> Result<(), DataError> {
        let path = &self.files[index].path;
        hasher.update(std::fs::read(path).map_err(|source| DataError::read(path, source))?);
        Ok(())
    }

    fn may_be_bad(&self) -> bool {
        true
    }

    fn preprocessing(&self) -> Option<&Preprocessing> {
        Some(&self.preprocessing)
    }

    fn hold(&self, bytes: usize) {
        let mut held = self.held.lock().expect("nothing that holds this panics");
        *held = Held { pixels: BTreeMap::new(), room_bytes: bytes };
    }
}

fn convert<T: crate::tensor::Element>(
    shape: &[usize],
    values: &[f32],
    to: impl Fn(f32) -> T,
) -> Tensor {
    Tensor::from_vec(shape, values.iter().map(|&x| to(x)).collect())
}

fn read(path: &Path, channels: Channels, limit_bytes: usize) -> Result<Pixels, DataError> {
    let bytes = std::fs::read(path).map_err(|source| DataError::read(path, source))?;
    if jpeg::is_cut_off(&bytes) {
        return Err(DataError::CutOff { path: path.to_owned() });
    }
    let rgb = decode(&bytes, limit_bytes)
        .map_err(|source| DataError::Image { path: path.to_owned(), source })?;
    Ok(match channels {
        Channels::Gray => rgb.to_gray(),
        Channels::Rgb | Channels::Bgr => rgb,
    })
}

/// Long sides are rounded down where the short side is given (as in torchvision).
fn resized_size([height, width]: [usize; 2], resize: Resize, side: Pad) -> [usize; 2] {
    let scaled = |side: usize, to: usize, from: usize| (side.saturating_mul(to) / from).max(1);
    let nearest = |side: usize, to: usize, from: usize| {
        ((2 * side).saturating_mul(to).saturating_add(from) / (2 * from)).max(1)
    };
    match (resize, side) {
        (Resize::Short(to), _) if height <= width => [to, scaled(width, to, height)],
        (Resize::Short(to), _) => [scaled(height, to, width), to],
        (Resize::Stretch(size), _) => size,
        (Resize::Fit([h, w]), Pad::Right) => [h, width.saturating_mul(h).div_ceil(height).min(w)],
        (Resize::Fit([h, w]), Pad::Center)
            if h.saturating_mul(width) <= w.saturating_mul(height) =>
        {
            [h, nearest(width, h, height).min(w)]
        }
        (Resize::Fit([h, w]), Pad::Center) => [nearest(height, w, width).min(h), w],
        (Resize::Cover([h, w]), _) if h.saturating_mul(width) >= w.saturating_mul(height) => {
            [h, nearest(width, h, height).max(w)]
        }
        (Resize::Cover([h, w]), _) => [nearest(height, w, width).max(h), w],
    }
}

/// The middle; where a margin is odd, its smaller half is above and to the left. `None` if the image
/// is smaller.
fn crop(pixels: &Pixels, size: [usize; 2]) -> Option<Pixels> {
    let top = pixels.size[0].checked_sub(size[0])? / 2;
    let left = pixels.size[1].checked_sub(size[1])? / 2;
    let n = pixels.channels;
    let mut values = Vec::with_capacity(size[0] * size[1] * n);
    for row in pixels.values.chunks_exact(pixels.size[1] * n).skip(top).take(size[0]) {
        values.extend_from_slice(&row[left * n..][..size[1] * n]);
    }
    Some(Pixels { size, channels: n, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let fit = Resize::Fit([48, 192]);
        let cases = [
            ([300, 400], Resize::Short(256), Pad::Center, [256, 341]),
            ([400, 300], Resize::Short(256), Pad::Center, [341, 256]),
            ([1, 32768], Resize::Short(1), Pad::Center, [1, 32768]),
            ([9, 9], Resize::Stretch([2, 3]), Pad::Center, [2, 3]),
            ([54, 362], fit, Pad::Right, [48, 192]),
            ([44, 101], fit, Pad::Right, [48, 111]),
            ([54, 362], fit, Pad::Center, [29, 192]),
            ([44, 101], fit, Pad::Center, [48, 110]),
            ([1, 9999], fit, Pad::Center, [1, 192]),
            ([1024, 2048], Resize::Cover([585, 1170]), Pad::Center, [585, 1170]),
            ([100, 50], Resize::Cover([10, 20]), Pad::Center, [40, 20]),
        ];
        for (from, resize, side, expected) in cases {
            assert_eq!(resized_size(from, resize, side), expected, "{from:?} {resize}");
        }
    }

    #[test]
    fn crops() {
        let pixels = Pixels { size: [1, 8], channels: 1, values: (0..8).collect() };
        let cut = |width| crop(&pixels, [1, width]).map(|pixels| pixels.values);
        assert_eq!(cut(2), Some(vec![3, 4]));
        assert_eq!(cut(7), Some((0..7).collect()));
        assert_eq!(cut(5), Some((1..6).collect()));
        assert_eq!(cut(9), None);
        assert_eq!(crop(&pixels, [2, 2]), None);
    }

    fn images(dir: &Path, dims: [usize; 4], options: ImageOptions) -> Images {
        let Ok(crate::data::folder::Files::Images(files)) = crate::data::folder::find(dir) else {
            panic!("no images")
        };
        let dims = dims.map(|dim| (dim > 0).then_some(dim)).to_vec();
        let input = InputSpec { name: "x".to_owned(), dtype: DType::F32, dims };
        Images::new(&input, files, &ImageSettings::Resolve(options), 1 << 20).unwrap().0
    }

    fn raw() -> ImageOptions {
        ImageOptions { preprocess: Some(crate::data::Preset::Raw), ..ImageOptions::UNSET }
    }

    /// Two pixels: red 1, green 2, blue 3 and 4, 5, 6.
    fn two_pixels() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let image = image::RgbImage::from_raw(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        image.save(dir.path().join("a.png")).unwrap();
        dir
    }

    #[test]
    fn held_images_are_not_decoded_again() {
        let dir = two_pixels();
        std::fs::copy(dir.path().join("a.png"), dir.path().join("b.png")).unwrap();
        let images = images(dir.path(), [0, 3, 1, 2], raw());
        let first = images.read(0).unwrap();
        // Room for one of two images of six bytes.
        images.hold(11);
        assert_eq!(
            [0, 1, 0].map(|index| images.read(index).unwrap()),
            [0; 3].map(|_| first.clone())
        );
        for name in ["a.png", "b.png"] {
            std::fs::remove_file(dir.path().join(name)).unwrap();
        }
        assert_eq!(images.read(0).unwrap(), first);
        assert!(images.read(1).is_err());
        images.hold(0);
        assert!(images.read(0).is_err());
    }

    #[test]
    fn layouts_and_channel_orders() {
        let dir = two_pixels();
        let read = |dims, options| images(dir.path(), dims, options).read(0).unwrap();
        let bgr = ImageOptions { channels: Some(Channels::Bgr), ..raw() };
        let cases = [
            ([0, 3, 1, 2], raw(), [1., 4., 2., 5., 3., 6.]),
            ([0, 3, 1, 2], bgr.clone(), [3., 6., 2., 5., 1., 4.]),
            ([0, 1, 2, 3], raw(), [1., 2., 3., 4., 5., 6.]),
            ([0, 1, 2, 3], bgr, [3., 2., 1., 6., 5., 4.]),
        ];
        for (dims, options, expected) in cases {
            // A second axis of 1 counts as channels, so NHWC is asked for with a free height.
            let dims = if dims[1] == 1 { [0, 0, 2, 3] } else { dims };
            let x = read(dims, options);
            assert_eq!(x.slice::<f32>(), expected, "{dims:?}");
        }
    }

    #[test]
    fn padding_is_in_the_networks_units() {
        let dir = two_pixels();
        let options = |pad| ImageOptions {
            resize: Some(Resize::Fit([1, 4])),
            pad: Some(pad),
            pad_value: Some(-1.),
            ..raw()
        };
        let red = |pad| {
            let x = images(dir.path(), [0, 3, 1, 4], options(pad)).read(0).unwrap();
            x.slice::<f32>()[..4].to_vec()
        };
        assert_eq!(red(Pad::Right), [1., 4., -1., -1.]);
        assert_eq!(red(Pad::Center), [-1., 1., 4., -1.]);
    }

    #[test]
    fn refusals() {
        let dir = two_pixels();
        std::fs::write(dir.path().join("b.jpg"), "no image").unwrap();
        let crop = ImageOptions { crop: Some(Crop([2, 2])), ..raw() };
        let fails = |dims, options, index| {
            images(dir.path(), dims, options).read(index).unwrap_err().to_string()
        };
        assert_eq!(
            fails([0, 3, 0, 0], crop, 0),
            "image `a.png` is 1x2, smaller than the crop 2x2 (height x width)"
        );
        assert_eq!(
            fails([0, 3, 5, 0], raw(), 0),
            "image `a.png` is 1x2 after preprocessing, which does not fit float32 [?, 3, 5, ?], input `x`"
        );
        std::fs::write(dir.path().join("c.jpg"), [0xff, 0xd8, 0xff, 0xd9]).unwrap();
        std::fs::write(dir.path().join("d.jpg"), [0xff, 0xd8, 0xff]).unwrap();
        for (index, name) in [(1, "b.jpg"), (2, "c.jpg"), (3, "d.jpg")] {
            let message = fails([0, 3, 0, 0], raw(), index);
            assert!(message.contains(name), "{message}");
        }
    }
}
