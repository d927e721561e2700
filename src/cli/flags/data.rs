//! How samples are chosen and what is done to images.

use std::path::PathBuf;

use mpq::artifact::Config;
use mpq::data::{
    Channels, Crop, DEFAULT_LIMIT_BYTES, DataError, Dataset, Filter, ImageOptions, ImageSettings,
    InputSpec, Options, Pad, PerChannel, Preprocessing, Preset, Resize,
};

use crate::cli::Ui;
use crate::cli::flags::Count;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Samples")]
pub(in crate::cli) struct DataArgs {
    /// Take N samples evenly [default: 256 to calibrate, else all]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    samples: Option<Count>,

    /// Mean and std, such as imagenet [default: by input]
    ///
    /// `imagenet`, `inception` ((x - 0.5) / 0.5), `unit` (x) or `raw` (255 x), where x is pixel / 255.
    /// By default `imagenet` for three channels, `unit` for one, `raw` for a uint8 input.
    #[arg(long, value_name = "NAME")]
    preprocess: Option<Preset>,

    /// Subtract this from pixel / 255, one number or three
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    mean: Option<PerChannel>,

    /// Divide by this, one number or three
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    std: Option<PerChannel>,

    /// Resize images: N (short side), HxW, fit:HxW or cover:HxW
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    resize: Option<Resize>,

    /// Cut N or HxW out of the middle [default: by input]
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    crop: Option<Crop>,

    /// Where `fit` pads: right or center [default: center]
    #[arg(long, value_name = "SIDE")]
    pad: Option<Pad>,

    /// What `fit` pads with, in the network's units [default: 0]
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    pad_value: Option<f32>,

    /// Interpolation: bilinear or bicubic [default: bilinear]
    #[arg(long, value_name = "NAME")]
    filter: Option<Filter>,

    /// The network's channel order: rgb or bgr [default: rgb]
    #[arg(long, value_name = "ORDER")]
    channels: Option<Channels>,

    /// Skip images that cannot be read, and count them
    #[arg(long)]
    skip_bad: bool,

    /// Seed of `noise` [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// What an earlier result did to images; counts unless a flag speaks of them.
    #[arg(skip)]
    earlier: Option<Preprocessing>,
}

/// What counts where no flag says otherwise.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Defaults<'a> {
    /// `None` takes all.
    pub(in crate::cli) samples: Option<usize>,
    /// What an earlier run did to images; counts unless a flag speaks of them.
    pub(in crate::cli) preprocessing: Option<&'a Preprocessing>,
    pub(in crate::cli) seed: u64,
    /// The most that a sample may take.
    pub(in crate::cli) limit_bytes: usize,
}

impl Defaults<'_> {
    pub(in crate::cli) const CALIBRATION: Defaults<'static> =
        Defaults { samples: Some(256), ..Defaults::EVALUATION };
    pub(in crate::cli) const EVALUATION: Defaults<'static> =
        Defaults { samples: None, preprocessing: None, seed: 0, limit_bytes: DEFAULT_LIMIT_BYTES };
}

impl<'a> Defaults<'a> {
    /// The same for another --memory than that by default.
    pub(in crate::cli) fn within(self, memory_bytes: usize) -> Defaults<'a> {
        Defaults { limit_bytes: memory_bytes, ..self }
    }
}

impl DataArgs {
    fn images(&self) -> ImageOptions {
        ImageOptions {
            preprocess: self.preprocess,
            mean: self.mean.clone(),
            std: self.std.clone(),
            resize: self.resize,
            crop: self.crop,
            pad: self.pad,
            pad_value: self.pad_value,
            filter: self.filter,
            channels: self.channels,
        }
    }

    /// The seed where nothing earlier has one.
    pub(in crate::cli) fn seed(&self) -> u64 {
        self.seed.unwrap_or(Defaults::CALIBRATION.seed)
    }

    /// Takes the number of samples, the seed and what is done to images from an earlier result,
    /// unless flags tell them.
    pub(in crate::cli) fn like(&mut self, config: &Config) -> anyhow::Result<()> {
        let samples = Count(usize::try_from(config.calibration.samples)?);
        self.samples.get_or_insert(samples);
        self.seed.get_or_insert(config.settings.seed);
        self.earlier = config.calibration.preprocessing.clone();
        Ok(())
    }

    /// Opens `sources` for a network.
    pub(in crate::cli) fn open(
        &self,
        sources: &[PathBuf],
        inputs: &[InputSpec],
        defaults: Defaults<'_>,
        ui: &Ui,
    ) -> Result<Dataset, DataError> {
        let samples = self.samples.map(|samples| samples.0).or(defaults.samples);
        self.open_some(samples, sources, inputs, defaults, ui)
    }

    /// The same with all samples, whatever --samples says of others.
    pub(in crate::cli) fn open_whole(
        &self,
        sources: &[PathBuf],
        inputs: &[InputSpec],
        defaults: Defaults<'_>,
        ui: &Ui,
    ) -> Result<Dataset, DataError> {
        self.open_some(None, sources, inputs, defaults, ui)
    }

    fn open_some(
        &self,
        samples: Option<usize>,
        sources: &[PathBuf],
        inputs: &[InputSpec],
        defaults: Defaults<'_>,
        ui: &Ui,
    ) -> Result<Dataset, DataError> {
        let asked = self.images();
        let images = match self.earlier.as_ref().or(defaults.preprocessing) {
            Some(earlier) if asked == ImageOptions::UNSET => ImageSettings::Fixed(earlier.clone()),
            _ => ImageSettings::Resolve(asked),
        };
        let options = Options {
            images,
            samples,
            seed: self.seed.unwrap_or(defaults.seed),
            skip_bad: self.skip_bad,
            limit_bytes: defaults.limit_bytes,
        };
        let data = Dataset::open(sources, inputs, &options, ui)?;
        report_bad(&data, ui);
        Ok(data)
    }
}

fn report_bad(data: &Dataset, ui: &Ui) {
    let Some(first) = data.bad().first() else { return };
    let n = data.bad().len();
    let plural = if n == 1 { "" } else { "s" };
    ui.warn(&format!("{n} unreadable image{plural} skipped, the first is `{}`", first.name));
    for bad in data.bad() {
        ui.detail(format_args!("skipped: {}", bad.error));
    }
}
