//! The image options as they are written on the command line and in files.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A value that an option does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found `{found}`, expected {expected}")]
pub struct ParseOptionError {
    pub found: String,
    pub expected: &'static str,
}

/// What the user asked for; what is `None` is chosen by the network's input.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageOptions {
    pub preprocess: Option<Preset>,
    pub mean: Option<PerChannel>,
    pub std: Option<PerChannel>,
    pub resize: Option<Resize>,
    pub crop: Option<Crop>,
    pub pad: Option<Pad>,
    /// In the network's units: it is not normalized.
    pub pad_value: Option<f32>,
    pub filter: Option<Filter>,
    pub channels: Option<Channels>,
}

impl ImageOptions {
    /// Nothing asked for.
    pub const UNSET: ImageOptions = ImageOptions {
        preprocess: None,
        mean: None,
        std: None,
        resize: None,
        crop: None,
        pad: None,
        pad_value: None,
        filter: None,
        channels: None,
    };
}

/// An enum whose variants have names, in options and in files.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident, $expected:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl FromStr for $name {
            type Err = ParseOptionError;

            fn from_str(text: &str) -> Result<$name, ParseOptionError> {
                match text {
                    $($text => Ok($name::$variant),)*
                    _ => Err(ParseOptionError { found: text.to_owned(), expected: $expected }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($name::$variant => $text),* })
            }
        }
    };
}

named! {
    /// Mean and standard deviation by name; x is pixel / 255.
    Preset, "`imagenet`, `inception`, `unit` or `raw`" {
        /// `(x - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]`, red first
        Imagenet = "imagenet",
        /// `(x - 0.5) / 0.5`
        Inception = "inception",
        /// `x`
        Unit = "unit",
        /// `255 x`
        Raw = "raw",
    }
}

named! {
    /// Where an image is padded that was resized to fit.
    Pad, "`right` or `center`" {
        /// The height is filled and the width is at most the target's: what is wider is squeezed.
        Right = "right",
        /// Both sides keep their ratio; the image is in the middle.
        Center = "center",
    }
}

named! {
    /// How pixels are interpolated.
    Filter, "`bilinear` or `bicubic`" { Bilinear = "bilinear", Bicubic = "bicubic" }
}

named! {
    /// The network's channel order.
    Channels, "`rgb`, `bgr` or `gray`" { Rgb = "rgb", Bgr = "bgr", Gray = "gray" }
}

/// One number for all channels, or one for each.
#[derive(Debug, Clone, PartialEq)]
pub struct PerChannel(pub Vec<f64>);

impl FromStr for PerChannel {
    type Err = ParseOptionError;

    fn from_str(text: &str) -> Result<PerChannel, ParseOptionError> {
        let numbers: Option<Vec<f64>> = text
            .split(',')
            .map(|part| part.trim().parse().ok().filter(|x: &f64| x.is_finite()))
            .collect();
        match numbers {
            Some(numbers) if matches!(numbers.len(), 1 | 3) => Ok(PerChannel(numbers)),
            _ => Err(ParseOptionError {
                found: text.to_owned(),
                expected: "one number, or three separated by commas",
            }),
        }
    }
}

/// The size that an image gets before it is cropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ResizeJson", into = "ResizeJson")]
pub enum Resize {
    /// The short side, in pixels; the ratio is kept. Written `N`.
    Short(usize),
    /// Height and width, whatever the ratio was. Written `HxW`.
    Stretch([usize; 2]),
    /// The largest that fits in height and width; the rest is padded. Written `fit:HxW`.
    Fit([usize; 2]),
    /// The smallest that covers height and width. Written `cover:HxW`.
    Cover([usize; 2]),
}

impl FromStr for Resize {
    type Err = ParseOptionError;

    fn from_str(text: &str) -> Result<Resize, ParseOptionError> {
        let resize = match text.split_once(':') {
            Some(("fit", size)) => parse_size(size).map(Resize::Fit),
            Some(("cover", size)) => parse_size(size).map(Resize::Cover),
            Some(_) => None,
            None => parse_size(text).map(Resize::Stretch).or(parse_side(text).map(Resize::Short)),
        };
        resize.ok_or(ParseOptionError {
            found: text.to_owned(),
            expected: "`N`, `HxW`, `fit:HxW` or `cover:HxW` in pixels",
        })
    }
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resize::Short(side) => write!(f, "{side}"),
            Resize::Stretch([height, width]) => write!(f, "{height}x{width}"),
            Resize::Fit([height, width]) => write!(f, "fit:{height}x{width}"),
            Resize::Cover([height, width]) => write!(f, "cover:{height}x{width}"),
        }
    }
}

/// A number for the short side, as it always was in configurations, else text.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ResizeJson {
    Short(usize),
    Text(String),
}

impl TryFrom<ResizeJson> for Resize {
    type Error = ParseOptionError;

    fn try_from(json: ResizeJson) -> Result<Resize, ParseOptionError> {
        match json {
            ResizeJson::Short(side) => side.to_string().parse(),
            ResizeJson::Text(text) => text.parse(),
        }
    }
}

impl From<Resize> for ResizeJson {
    fn from(resize: Resize) -> ResizeJson {
        match resize {
            Resize::Short(side) => ResizeJson::Short(side),
            other => ResizeJson::Text(other.to_string()),
        }
    }
}

/// Height and width of what is cut out of the middle. Written `N` or `HxW`, in files `[H, W]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "[usize; 2]", into = "[usize; 2]")]
pub struct Crop(pub [usize; 2]);

const CROP_EXPECTED: &str = "`N` or `HxW` in pixels";

impl FromStr for Crop {
    type Err = ParseOptionError;

    fn from_str(text: &str) -> Result<Crop, ParseOptionError> {
        let size = parse_size(text).or(parse_side(text).map(|side| [side, side]));
        size.map(Crop).ok_or(ParseOptionError { found: text.to_owned(), expected: CROP_EXPECTED })
    }
}

impl fmt::Display for Crop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [height, width] = self.0;
        if height == width { write!(f, "{height}") } else { write!(f, "{height}x{width}") }
    }
}

impl TryFrom<[usize; 2]> for Crop {
    type Error = ParseOptionError;

    fn try_from([height, width]: [usize; 2]) -> Result<Crop, ParseOptionError> {
        format!("{height}x{width}").parse()
    }
}

impl From<Crop> for [usize; 2] {
    fn from(crop: Crop) -> [usize; 2] {
        crop.0
    }
}

/// No network takes larger images, and a slip of the keyboard must not ask for terabytes.
const MAX_SIDE: usize = 16_384;

fn parse_side(text: &str) -> Option<usize> {
    text.parse().ok().filter(|side| (1..=MAX_SIDE).contains(side))
}

fn parse_size(text: &str) -> Option<[usize; 2]> {
    let (height, width) = text.split_once('x')?;
    Some([parse_side(height)?, parse_side(width)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resize() {
        for text in ["256", "48x192", "fit:48x192", "cover:1x2"] {
            let resize: Resize = text.parse().unwrap();
            assert_eq!(resize.to_string(), text);
            let json = serde_json::to_string(&resize).unwrap();
            assert_eq!(serde_json::from_str::<Resize>(&json).unwrap(), resize, "{json}");
        }
        for text in ["", "0", "x", "1x", "fit:3", "fill:3x3", "-1", "3x99999", "1e3"] {
            assert!(text.parse::<Resize>().is_err(), "{text}");
        }
        assert_eq!(serde_json::to_string(&Resize::Short(256)).unwrap(), "256");
        assert!(serde_json::from_str::<Resize>("0").is_err());
    }

    #[test]
    fn crop() {
        assert_eq!("224".parse(), Ok(Crop([224, 224])));
        assert_eq!("1x2".parse(), Ok(Crop([1, 2])));
        assert_eq!(serde_json::to_string(&Crop([1, 2])).unwrap(), "[1,2]");
        assert!(serde_json::from_str::<Crop>("[0,2]").is_err());
    }

    #[test]
    fn numbers() {
        assert_eq!("0.5".parse(), Ok(PerChannel(vec![0.5])));
        assert_eq!("1, 2,3".parse(), Ok(PerChannel(vec![1., 2., 3.])));
        for text in ["", "1,2", "nan", "inf", "a"] {
            assert!(text.parse::<PerChannel>().is_err(), "{text}");
        }
    }

    #[test]
    fn names() {
        assert_eq!("bicubic".parse(), Ok(Filter::Bicubic));
        assert_eq!(serde_json::to_string(&Channels::Bgr).unwrap(), "\"bgr\"");
        let error = "left".parse::<Pad>().unwrap_err().to_string();
        assert_eq!(error, "found `left`, expected `right` or `center`");
    }
}
