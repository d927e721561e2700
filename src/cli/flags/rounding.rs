//! How weights become integers, and where those are that were rounded before.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use mpq::artifact::{self, Artifact as _, ROUNDING_FILE, RoundedSet};
use mpq::pipeline::read_rounded;
use mpq::quant::{Rounded, Rounding};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Quantization")]
pub(in crate::cli) struct RoundingArgs {
    /// Rounding of weights: nearest, adaround, gptq
    ///
    /// adaround learns for each weight whether up or down leaves what its layer puts out as it was;
    /// gptq rounds in one pass and makes up for each error by the weights still to come. Embedding
    /// tables, recurrent and fused-attention weights are rounded to nearest in any case. Default:
    /// nearest, for `mpq round` adaround.
    #[arg(long, value_name = "NAME")]
    rounding: Option<Rounding>,

    /// Take the weights that `mpq round` has rounded
    ///
    /// Without it they are rounded for this run alone.
    #[arg(long, value_name = "DIR")]
    rounded: Option<PathBuf>,
}

impl RoundingArgs {
    /// The way to round that was asked for.
    pub(in crate::cli) fn given(&self) -> Option<Rounding> {
        self.rounding
    }

    /// Whether there is a folder of rounded weights.
    pub(in crate::cli) fn has_rounded(&self) -> bool {
        self.rounded.is_some()
    }

    /// Takes the way of an earlier result unless flags tell one.
    pub(in crate::cli) fn like(&mut self, earlier: &artifact::Settings) -> anyhow::Result<()> {
        if self.rounding.is_none() && self.rounded.is_none() {
            self.rounding = Some(earlier.rounding.method.parse()?);
        }
        Ok(())
    }

    /// The way to round: that of a flag, else that of the folder.
    pub(in crate::cli) fn method(&self) -> anyhow::Result<Rounding> {
        match (self.rounding, &self.rounded) {
            (Some(rounding), _) => Ok(rounding),
            (None, None) => Ok(Rounding::NEAREST),
            (None, Some(dir)) => {
                let file: RoundedSet = artifact::read(&dir.join(ROUNDING_FILE))?;
                Ok(file.settings.rounding.method.parse()?)
            }
        }
    }

    /// The weights in the folder, if one is given; `sha256` is that of the model.
    pub(in crate::cli) fn rounded(&self, sha256: &str) -> anyhow::Result<Option<Rounded>> {
        let Some(dir) = &self.rounded else { return Ok(None) };
        let (file, rounded) = read_rounded(dir)?;
        file.expect_model(sha256).with_context(|| format!("cannot use `{}`", dir.display()))?;
        if let Some(method) = self.rounding.filter(|method| *method != rounded.method) {
            let (dir, found) = (dir.display(), rounded.method);
            bail!("`{dir}` was rounded by `{found}`, expected `{method}`, that of --rounding");
        }
        Ok(Some(rounded))
    }
}
