//! [`Preprocessing`]: what is done to images, and how its defaults follow from the network's input.

use serde::{Deserialize, Serialize};

use crate::data::{
    Channels, Crop, DataError, Filter, ImageOptions, InputSpec, Pad, PerChannel, Preset, Resize,
};
use crate::tensor::DType;

const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];
const RAW_STD: f64 = 1. / 255.;

/// Everything between a decoded image and the network: `(x - mean) / std` with x = pixel / 255,
/// of an image that was resized, then cropped in the middle or padded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// One number for each channel, in the network's order; so is `std`.
    pub mean: Vec<f64>,
    pub std: Vec<f64>,
    pub resize: Option<Resize>,
    pub crop: Option<Crop>,
    pub filter: Filter,
    pub channels: Channels,
    /// An image that has the crop's size is neither resized nor cropped.
    pub exact_size_as_is: bool,
    pub pad: Option<Padding>,
    pub layout: Layout,
}

/// What fills the rest of a [`Resize::Fit`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Padding {
    pub side: Pad,
    /// In the network's units: it is not normalized.
    pub value: f32,
}

/// The order of an image input's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Layout {
    Nchw,
    Nhwc,
}

/// An input that takes images.
struct ImageInput<'a> {
    spec: &'a InputSpec,
    layout: Layout,
    channels: usize,
    /// Height and width, if the network says both.
    size: Option<[usize; 2]>,
}

impl<'a> ImageInput<'a> {
    /// The channels are the axis of size 1 or 3, the second rather than the last; if there is none,
    /// the one of free size is taken to be 3.
    fn new(spec: &'a InputSpec) -> Result<ImageInput<'a>, DataError> {
        let not_an_image = || DataError::NotAnImage { found: spec.clone() };
        let &[_, second, third, last] = &spec.dims[..] else { return Err(not_an_image()) };
        if !spec.dtype.is_float() && spec.dtype != DType::U8 {
            return Err(not_an_image());
        }
        let is_channels = |dim: Option<usize>| matches!(dim, Some(1 | 3));
        let (layout, channels) = match (second, last) {
            (dim, _) if is_channels(dim) => (Layout::Nchw, dim),
            (_, dim) if is_channels(dim) => (Layout::Nhwc, dim),
            (None, _) => (Layout::Nchw, None),
            (_, None) => (Layout::Nhwc, None),
            _ => return Err(not_an_image()),
        };
        let (height, width) = match layout {
            Layout::Nchw => (third, last),
            Layout::Nhwc => (second, third),
        };
        let size = height.zip(width).map(|(height, width)| [height, width]);
        Ok(ImageInput { spec, layout, channels: channels.unwrap_or(3), size })
    }
}

impl Preprocessing {
    /// Fills what `options` leave open, as the network's input asks for; the second value names
    /// what was filled, as options.
    pub fn resolve(
        options: &ImageOptions,
        input: &InputSpec,
    ) -> Result<(Preprocessing, Vec<String>), DataError> {
        let input = ImageInput::new(input)?;
        let mut defaults = Vec::new();
        let native = if input.channels == 1 { Channels::Gray } else { Channels::Rgb };
        let channels = options.channels.unwrap_or(native);
        let (mean, std) = resolve_normalization(options, &input, channels, &mut defaults)?;
        let (resize, crop, exact_size_as_is) = resolve_size(options, &input, &mut defaults);
        let pad = resolve_padding(options, resize, &mut defaults)?;
        let filter = options.filter.unwrap_or(Filter::Bilinear);
        let layout = input.layout;
        let preprocessing = Preprocessing {
            mean,
            std,
            resize,
            crop,
            filter,
            channels,
            exact_size_as_is,
            pad,
            layout,
        };
        preprocessing.check_input(&input)?;
        Ok((preprocessing, defaults))
    }

    /// Whether images treated so fit the input; needed for those that come from a file.
    pub fn check(&self, input: &InputSpec) -> Result<(), DataError> {
        self.check_input(&ImageInput::new(input)?)
    }

    fn check_input(&self, input: &ImageInput<'_>) -> Result<(), DataError> {
        let name = &input.spec.name;
        let wrong = |flag, problem| Err(DataError::Option { flag, problem });
        if (self.channels == Channels::Gray) != (input.channels == 1) {
            let (channels, found) = (input.channels, self.channels);
            return wrong(
                "--channels",
                format!("is `{found}`, input `{name}` has {channels} channels"),
            );
        }
        for (flag, numbers) in [("--mean", &self.mean), ("--std", &self.std)] {
            if numbers.len() != input.channels {
                let (found, expected) = (numbers.len(), input.channels);
                return wrong(
                    flag,
                    format!("has {found} numbers, input `{name}` has {expected} channels"),
                );
            }
        }
        if let Some(std) = self.std.iter().find(|&&std| std.is_nan() || std <= 0.) {
            return wrong("--std", format!("is {std}, expected a number above 0"));
        }
        if input.spec.dtype == DType::U8 && !self.is_raw() {
            let problem = format!("is not `raw`, and input `{name}` is uint8");
            return wrong("--preprocess", problem);
        }
        let (flag, size) = match (self.crop, self.resize) {
            (Some(Crop(size)), _) => ("--crop", size),
            (None, Some(Resize::Stretch(size) | Resize::Fit(size))) => ("--resize", size),
            _ => return Ok(()),
        };
        match input.size {
            Some(expected) if expected != size => {
                let [[height, width], [h, w]] = [size, expected];
                wrong(
                    flag,
                    format!("gives images of {height}x{width}, input `{name}` takes {h}x{w}"),
                )
            }
            _ => Ok(()),
        }
    }

    fn is_raw(&self) -> bool {
        self.mean.iter().all(|&mean| mean == 0.) && self.std.iter().all(|&std| std == RAW_STD)
    }
}

/// `--mean` alone divides by 1, `--std` alone subtracts nothing.
fn resolve_normalization(
    options: &ImageOptions,
    input: &ImageInput<'_>,
    channels: Channels,
    defaults: &mut Vec<String>,
) -> Result<(Vec<f64>, Vec<f64>), DataError> {
    let n = input.channels;
    if options.mean.is_some() || options.std.is_some() {
        if let Some(preset) = options.preprocess {
            let problem = format!("`{preset}` stands for a mean and a std, and others are given");
            return Err(DataError::Option { flag: "--preprocess", problem });
        }
        let spread = |numbers: &Option<PerChannel>, otherwise: f64| match numbers {
            Some(PerChannel(numbers)) if numbers.len() == 1 => vec![numbers[0]; n],
            Some(PerChannel(numbers)) => numbers.clone(),
            None => vec![otherwise; n],
        };
        return Ok((spread(&options.mean, 0.), spread(&options.std, 1.)));
    }
    let preset = options.preprocess.unwrap_or_else(|| {
        let preset = match (input.spec.dtype, n) {
            (DType::U8, _) => Preset::Raw,
            (_, 1) => Preset::Unit,
            _ => Preset::Imagenet,
        };
        defaults.push(format!("--preprocess {preset}"));
        preset
    });
    let (mean, std) = match preset {
        Preset::Imagenet if n != 3 => {
            let problem =
                format!("`imagenet` is for 3 channels, input `{}` has {n}", input.spec.name);
            return Err(DataError::Option { flag: "--preprocess", problem });
        }
        Preset::Imagenet => (IMAGENET_MEAN.to_vec(), IMAGENET_STD.to_vec()),
        Preset::Inception => (vec![0.5; n], vec![0.5; n]),
        Preset::Unit => (vec![0.; n], vec![1.; n]),
        Preset::Raw => (vec![0.; n], vec![RAW_STD; n]),
    };
    let in_order = |mut numbers: Vec<f64>| {
        if channels == Channels::Bgr {
            numbers.reverse();
        }
        numbers
    };
    Ok((in_order(mean), in_order(std)))
}

/// A crop without a resize cuts the images as they are; a resize to a short side is followed by a
/// crop to the input's size.
fn resolve_size(
    options: &ImageOptions,
    input: &ImageInput<'_>,
    defaults: &mut Vec<String>,
) -> (Option<Resize>, Option<Crop>, bool) {
    match (options.resize, options.crop, input.size) {
        (Some(Resize::Short(_) | Resize::Cover(_)), None, Some(size)) => {
            defaults.push(format!("--crop {}", Crop(size)));
            (options.resize, Some(Crop(size)), false)
        }
        (None, None, Some(size)) => {
            let [height, width] = size.map(|side| (side.saturating_mul(256) / 112).div_ceil(2));
            let resize = match height == width {
                true => Resize::Short(height),
                false => Resize::Cover([height, width]),
            };
            defaults.push(format!("--resize {resize}"));
            defaults.push(format!("--crop {}", Crop(size)));
            (Some(resize), Some(Crop(size)), true)
        }
        (resize, crop, _) => (resize, crop, false),
    }
}

fn resolve_padding(
    options: &ImageOptions,
    resize: Option<Resize>,
    defaults: &mut Vec<String>,
) -> Result<Option<Padding>, DataError> {
    if !matches!(resize, Some(Resize::Fit(_))) {
        let flag = match (options.pad, options.pad_value) {
            (None, None) => return Ok(None),
            (Some(_), _) => "--pad",
            (None, Some(_)) => "--pad-value",
        };
        let problem = "needs `--resize fit:HxW`".to_owned();
        return Err(DataError::Option { flag, problem });
    }
    let side = options.pad.unwrap_or_else(|| {
        defaults.push(format!("--pad {}", Pad::Center));
        Pad::Center
    });
    Ok(Some(Padding { side, value: options.pad_value.unwrap_or(0.) }))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn spec(dtype: DType, dims: [usize; 4]) -> InputSpec {
        let dims = dims.map(|dim| (dim > 0).then_some(dim)).to_vec();
        InputSpec { name: "x".to_owned(), dtype, dims }
    }

    fn resolve(options: &ImageOptions, dtype: DType, dims: [usize; 4]) -> String {
        match Preprocessing::resolve(options, &spec(dtype, dims)) {
            Ok((found, defaults)) => {
                let json = serde_json::to_string(&found).unwrap();
                assert_eq!(serde_json::from_str::<Preprocessing>(&json).unwrap(), found);
                format!("{json}\n{}", defaults.join(" "))
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn defaults() {
        let unset = |dtype, dims| resolve(&ImageOptions::UNSET, dtype, dims);
        expect![[r#"
            {"mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225],"resize":256,"crop":[224,224],"filter":"bilinear","channels":"rgb","exact_size_as_is":true,"pad":null,"layout":"NCHW"}
            --preprocess imagenet --resize 256 --crop 224"#]]
        .assert_eq(&unset(DType::F32, [0, 3, 224, 224]));
        expect![[r#"
            {"mean":[0.0],"std":[1.0],"resize":32,"crop":[28,28],"filter":"bilinear","channels":"gray","exact_size_as_is":true,"pad":null,"layout":"NHWC"}
            --preprocess unit --resize 32 --crop 28"#]]
        .assert_eq(&unset(DType::F32, [0, 28, 28, 1]));
        expect![[r#"
            {"mean":[0.0,0.0,0.0],"std":[0.00392156862745098,0.00392156862745098,0.00392156862745098],"resize":"cover:585x1170","crop":[512,1024],"filter":"bilinear","channels":"rgb","exact_size_as_is":true,"pad":null,"layout":"NHWC"}
            --preprocess raw --resize cover:585x1170 --crop 512x1024"#]]
        .assert_eq(&unset(DType::U8, [1, 512, 1024, 3]));
        expect![[r#"
            {"mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225],"resize":null,"crop":null,"filter":"bilinear","channels":"rgb","exact_size_as_is":false,"pad":null,"layout":"NCHW"}
            --preprocess imagenet"#]]
        .assert_eq(&unset(DType::F32, [0, 3, 0, 0]));
    }

    #[test]
    fn text_lines() {
        let options = ImageOptions {
            preprocess: Some(Preset::Inception),
            resize: Some(Resize::Fit([48, 192])),
            pad: Some(Pad::Right),
            channels: Some(Channels::Bgr),
            ..ImageOptions::UNSET
        };
        expect![[r#"
            {"mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5],"resize":"fit:48x192","crop":null,"filter":"bilinear","channels":"bgr","exact_size_as_is":false,"pad":{"side":"right","value":0.0},"layout":"NCHW"}
        "#]]
        .assert_eq(&resolve(&options, DType::F32, [0, 3, 48, 192]));
    }

    #[test]
    fn the_named_means_follow_the_channel_order() {
        let options = ImageOptions { channels: Some(Channels::Bgr), ..ImageOptions::UNSET };
        let (found, _) = Preprocessing::resolve(&options, &spec(DType::F32, [0, 3, 8, 8])).unwrap();
        assert_eq!(found.mean, [0.406, 0.456, 0.485]);
    }

    #[test]
    fn refusals() {
        let unset = ImageOptions::UNSET;
        let float = (DType::F32, [0, 3, 224, 224]);
        let cases = [
            (
                ImageOptions { crop: Some(Crop([300, 300])), ..unset.clone() },
                float,
                "option `--crop` gives images of 300x300, input `x` takes 224x224",
            ),
            (
                ImageOptions { resize: Some(Resize::Stretch([8, 9])), ..unset.clone() },
                float,
                "option `--resize` gives images of 8x9, input `x` takes 224x224",
            ),
            (
                ImageOptions { mean: Some(PerChannel(vec![0.; 3])), ..unset.clone() },
                (DType::F32, [0, 1, 8, 8]),
                "option `--mean` has 3 numbers, input `x` has 1 channels",
            ),
            (
                ImageOptions { std: Some(PerChannel(vec![0.])), ..unset.clone() },
                float,
                "option `--std` is 0, expected a number above 0",
            ),
            (
                ImageOptions { pad: Some(Pad::Right), ..unset.clone() },
                float,
                "option `--pad` needs `--resize fit:HxW`",
            ),
            (
                ImageOptions { preprocess: Some(Preset::Imagenet), ..unset.clone() },
                (DType::F32, [0, 1, 8, 8]),
                "option `--preprocess` `imagenet` is for 3 channels, input `x` has 1",
            ),
            (
                ImageOptions { preprocess: Some(Preset::Unit), ..unset.clone() },
                (DType::U8, [0, 3, 8, 8]),
                "option `--preprocess` is not `raw`, and input `x` is uint8",
            ),
            (
                ImageOptions { channels: Some(Channels::Bgr), ..unset.clone() },
                (DType::F32, [0, 1, 8, 8]),
                "option `--channels` is `bgr`, input `x` has 1 channels",
            ),
            (
                unset,
                (DType::I64, [0, 3, 8, 8]),
                "input `x` is int64 [?, 3, 8, 8]; images need a float or uint8 input of [N, C, H, W] or [N, H, W, C] with 1 or 3 channels",
            ),
        ];
        for (options, (dtype, dims), message) in cases {
            assert_eq!(resolve(&options, dtype, dims), message);
        }
    }
}
