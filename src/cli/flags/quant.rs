//! What is quantized, to what, and how noise is judged: all that makes [`Settings`].

use std::collections::BTreeMap;

use anyhow::{bail, ensure};
use mpq::artifact::{self, Config};
use mpq::exec::EngineKind;
use mpq::metric::sqnr::Aggregation;
use mpq::pipeline::{Preparation, Settings};
use mpq::quant::{Bits, Candidate, Candidates, RangeMethod, RangeMethods, Rounding, Target};

use crate::cli::Ui;
use crate::cli::flags::RoundingArgs;
use crate::cli::flags::choice::{ChoiceArgs, read_target};
use crate::cli::flags::range::Ranges;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Quantization")]
pub(in crate::cli) struct QuantArgs {
    #[command(flatten)]
    choice: ChoiceArgs,

    /// Ranges: minmax, mse or percentile:P [default: mse]
    ///
    /// One method for all, or `weights=METHOD,activations=METHOD`.
    #[arg(long, value_name = "METHOD")]
    range: Option<Ranges>,

    /// Scales of weights [default: per-channel]
    #[arg(long, value_name = "KIND")]
    weights: Option<Granularity>,

    #[command(flatten)]
    pub(in crate::cli) rounding: RoundingArgs,

    /// Equalize channels across layers, for per-tensor scales
    ///
    /// Weights of a channel get the same range in the layer that makes it and in the one that reads
    /// it; the float network stays the same but for roundings.
    #[arg(long)]
    equalize: bool,

    /// Correct biases for the error of rounded weights
    ///
    /// What rounded weights add to the mean of a layer's output over the calibration samples is
    /// subtracted from its bias.
    #[arg(long)]
    bias_correction: bool,

    /// SQNR over samples: pooled, mean or db [default: pooled]
    #[arg(long, value_name = "HOW")]
    pub(in crate::cli) sqnr: Option<Aggregation>,

    /// Tensors to compare, by commas [default: float outputs]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    outputs: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Granularity {
    PerChannel,
    PerTensor,
}

impl QuantArgs {
    pub(in crate::cli) fn aggregation(&self) -> Aggregation {
        self.sqnr.unwrap_or(Aggregation::Pooled)
    }

    /// The tensors of --outputs.
    pub(in crate::cli) fn outputs(&self) -> &[String] {
        self.outputs.as_deref().unwrap_or_default()
    }

    /// What is done to the network before it is quantized.
    pub(in crate::cli) fn preparation(&self) -> Preparation {
        Preparation { equalize: self.equalize, correct_biases: self.bias_correction }
    }

    /// The first flag that was given of those that lead to encodings.
    pub(in crate::cli) fn first_given(&self) -> Option<&'static str> {
        self.first_measured().or_else(|| self.choice.first_given())
    }

    /// The first flag that was given of those that are settled once Phase 1 is done.
    fn first_measured(&self) -> Option<&'static str> {
        let given = [
            ("--range", self.range.is_some()),
            ("--weights", self.weights.is_some()),
            ("--rounding", self.rounding.given().is_some()),
            ("--equalize", self.equalize),
            ("--bias-correction", self.bias_correction),
            ("--outputs", self.outputs.is_some()),
        ];
        given.iter().find(|(_, is_given)| *is_given).map(|(flag, _)| *flag)
    }

    /// Takes what an earlier result was made with, unless flags tell it; where sensitivities are
    /// `measured`, only what is not settled then.
    pub(in crate::cli) fn like(&mut self, config: &Config, measured: bool) -> anyhow::Result<()> {
        let settings = &config.settings;
        self.choice.like(config)?;
        if self.sqnr.is_none() {
            self.sqnr = Some(settings.sqnr.parse()?);
        }
        if measured {
            return Ok(());
        }
        self.rounding.like(settings)?;
        self.equalize |= settings.equalize;
        self.bias_correction |= settings.bias_correction;
        if self.range.is_none() {
            let weights = settings.range.weights.parse()?;
            self.range = Some(Ranges { weights, activations: settings.range.activations.parse()? });
        }
        let granularity = match settings.weights.as_str() {
            "per-channel" => Granularity::PerChannel,
            "per-tensor" => Granularity::PerTensor,
            other => {
                bail!("`--like` has weights `{other}`, expected `per-channel` or `per-tensor`")
            }
        };
        self.weights.get_or_insert(granularity);
        self.outputs.get_or_insert_with(|| settings.outputs.clone());
        Ok(())
    }

    pub(in crate::cli) fn settings(
        &self,
        dims: BTreeMap<String, usize>,
        seed: u64,
        engine: EngineKind,
        ui: &Ui,
    ) -> anyhow::Result<Settings> {
        self.settings_of(self.choice.candidates(), dims, seed, engine, ui)
    }

    fn settings_of(
        &self,
        candidates: Candidates,
        dims: BTreeMap<String, usize>,
        seed: u64,
        engine: EngineKind,
        ui: &Ui,
    ) -> anyhow::Result<Settings> {
        let mse = Ranges { weights: RangeMethod::Mse, activations: RangeMethod::Mse };
        let range = self.range.unwrap_or(mse);
        Ok(Settings {
            target: self.choice.target(&candidates, ui)?,
            candidates,
            ranges: RangeMethods {
                weights: range.weights,
                activations: range.activations,
                per_channel: self.weights != Some(Granularity::PerTensor),
            },
            rounding: self.rounding.method()?,
            preparation: self.preparation(),
            aggregation: self.aggregation(),
            outputs: self.outputs.clone(),
            pins: self.choice.pins(),
            cost_table: None,
            engine,
            seed,
            dims,
        })
    }

    /// Those of one candidate everywhere; `--candidates` lists what groups take that may not.
    pub(in crate::cli) fn uniform_settings(
        &self,
        uniform: Candidate,
        dims: BTreeMap<String, usize>,
        seed: u64,
        engine: EngineKind,
        ui: &Ui,
    ) -> anyhow::Result<Settings> {
        let listed = self.choice.candidates.as_ref().map_or(&[][..], Candidates::as_slice);
        let others = listed.iter().copied().filter(|&candidate| candidate != uniform);
        let candidates = Candidates::new(others.chain([uniform]).collect())?;
        self.settings_of(candidates, dims, seed, engine, ui)
    }

    /// Those of rounding weights to some widths, whatever activations have: of these, those that count
    /// are the finest, which keep biases within 32 bits.
    pub(in crate::cli) fn round_settings(
        &self,
        widths: &[Bits],
        dims: BTreeMap<String, usize>,
        seed: u64,
        engine: EngineKind,
        ui: &Ui,
    ) -> anyhow::Result<Settings> {
        for (flag, is_given) in [
            ("--candidates", self.choice.candidates.is_some()),
            ("--rounded", self.rounding.has_rounded()),
        ] {
            ensure!(!is_given, "`{flag}` is given, expected `--bits` alone");
        }
        ensure!(
            !self.bias_correction,
            "`--bias-correction` is given, but biases are corrected by what takes the weights, such as `mpq search --rounded`"
        );
        let activations = [8, 16].map(|bits| Bits::new(bits).expect("it is one")).into_iter();
        let activations = activations.chain([Bits::FLOAT]);
        let pairs = widths.iter().flat_map(|&weight| {
            activations.clone().map(move |activation| Candidate::pair(weight, activation))
        });
        let candidates = Candidates::new(pairs.collect())?;
        let settings = self.settings_of(candidates, dims, seed, engine, ui)?;
        let adaround = || "adaround".parse::<Rounding>();
        Ok(Settings { rounding: self.rounding.given().map_or_else(adaround, Ok)?, ..settings })
    }

    /// Those that sensitivities were measured with; flags may narrow the candidates, pin more, and
    /// sum the noise up in another way.
    pub(in crate::cli) fn measured_settings(
        &self,
        file: &artifact::Sensitivity,
        ui: &Ui,
    ) -> anyhow::Result<Settings> {
        if let Some(flag) = self.first_measured() {
            bail!("`{flag}` is given, but was settled when the sensitivities were measured");
        }
        let measured = &file.settings.target;
        let target = match self.choice.target.as_deref() {
            None if Target::names().all(|name| name != measured) => {
                bail!(
                    "they were measured for target `{measured}`\nhint: give its file with --target"
                );
            }
            given => read_target(given.unwrap_or(measured), ui)?,
        };
        if target.name != file.settings.target {
            let (found, expected) = (&target.name, &file.settings.target);
            bail!("target is `{found}`, the sensitivities were measured for `{expected}`");
        }
        let measured = &file.settings;
        let candidates = Candidates::new(file.candidates.clone())?;
        let dim = |(name, &size): (&str, &u64)| Ok((name.to_owned(), usize::try_from(size)?));
        Ok(Settings {
            candidates: self.choice.candidates.clone().unwrap_or(candidates),
            target,
            ranges: RangeMethods {
                weights: measured.range.weights.parse()?,
                activations: measured.range.activations.parse()?,
                per_channel: measured.weights == "per-channel",
            },
            rounding: measured.rounding.method.parse()?,
            preparation: Preparation::of(measured),
            aggregation: self.sqnr.map_or_else(|| measured.sqnr.parse(), Ok)?,
            outputs: Some(measured.outputs.clone()),
            pins: self.choice.pins(),
            cost_table: None,
            engine: measured.engine.parse()?,
            seed: measured.seed,
            dims: measured.dims.iter().map(dim).collect::<anyhow::Result<_>>()?,
        })
    }
}
