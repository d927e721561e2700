//! `mpq export`: what the next tool in the pipe reads.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use mpq::artifact::{Artifact as _, Config};
use mpq::export::{self, Deployment, FORMATS, Format, Options};
use mpq::onnx;
use mpq::pipeline::{Configured, read_rounded};
use mpq::quant::Target;
use mpq::report;

use crate::cli::eval::dims;
use crate::cli::flags::{ModelArgs, read_target};
use crate::cli::output::Output;
use crate::cli::{ExitStatus, OutputArgs, Ui, input};

/// Write a configuration as other tools read it
///
/// All names are those of the float model. Where that is not the file's own network any more
/// (BatchNormalization folded, channels equalized, biases corrected), it is written as well: beside OUT, or to
/// --float-model.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// What `mpq search` has decided, `-` for stdin
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// What to write
    #[arg(long, value_name = "FORMAT", value_parser = format_names())]
    to: String,

    #[command(flatten)]
    output: OutputArgs,

    /// The weights that the configuration was made with
    ///
    /// A folder that `mpq round` wrote; needed where weights are not rounded to nearest.
    #[arg(long, value_name = "DIR")]
    rounded: Option<PathBuf>,

    /// The target's file, if it is no built-in one
    #[arg(long, value_name = "FILE")]
    target: Option<String>,

    /// Opset of the model that qdq writes, at least 13
    #[arg(long, value_name = "N")]
    opset: Option<u16>,

    /// Leave biases in float in the model that qdq writes
    ///
    /// TensorRT asks for it. Else they are int32 with the product of the scales.
    #[arg(long)]
    float_bias: bool,

    /// Tool that reads the exclude-list
    #[arg(long = "for", value_name = "TOOL", value_parser = export::EXCLUDE_FORMS.to_vec())]
    tool: Option<String>,

    /// Write the float model that the names are of here
    #[arg(long, value_name = "FILE")]
    float_model: Option<PathBuf>,
}

fn format_names() -> Vec<&'static str> {
    FORMATS.iter().map(|format| format.name).collect()
}

pub(super) fn run(args: Args, ui: &Ui) -> anyhow::Result<ExitStatus> {
    let format = FORMATS.iter().find(|format| format.name == args.to);
    let format = format.context("the flag takes names of formats only")?;
    args.check(format)?;
    let output = args.output.open()?;
    let config = input::read(&args.config)?;
    let mut sizes = dims(&config)?;
    sizes.extend(args.model.dims());
    let model = onnx::load(&args.model.model, &sizes)?;
    let unfit = || format!("cannot use `{}`", args.config.display());
    config.expect_model(&model.sha256).with_context(unfit)?;
    let target = target(args.target.as_deref(), &config, ui)?;
    let rounded = args.rounded.as_deref().map(read_rounded).transpose()?;
    let rounded = rounded.map(|(_, rounded)| rounded);
    let net = Configured::new(model.graph.clone(), &config, &target, rounded);
    let net = net.with_context(unfit)?;
    let options = Options { opset: args.opset, float_bias: args.float_bias, tool: args.tool() };
    let deployment = Deployment { net: &net, origin: &model.origin, opset: model.opset, options };
    let bytes = (format.write)(&deployment)?;
    let float_model =
        args.float_model(format, net.has_rounded() || net.is_rewritten(&model.graph), ui)?;
    if let Some(path) = float_model {
        let place = Output::open(&path)?;
        place.write(&export::float_model(&deployment)?, ui)?;
        ui.summary(&format!("wrote `{}`, the float model that the names are of", path.display()));
    }
    output.write(&bytes, ui)?;
    let conversions = net.conversions();
    if !conversions.is_empty() {
        ui.summary(&report::conversions(&conversions));
    }
    Ok(ExitStatus::Success)
}

impl Args {
    fn tool(&self) -> &'static str {
        let given = export::EXCLUDE_FORMS.iter().find(|form| self.tool.as_deref() == Some(form));
        given.unwrap_or(&export::EXCLUDE_FORMS[0])
    }

    fn check(&self, format: &Format) -> anyhow::Result<()> {
        let given = [
            ("--opset", self.opset.is_some(), "qdq"),
            ("--float-bias", self.float_bias, "qdq"),
            ("--for", self.tool.is_some(), "exclude-list"),
        ];
        for (flag, is_given, of) in given {
            ensure!(
                !is_given || format.name == of,
                "`{flag}` is for `--to {of}`, found `{}`",
                format.name
            );
        }
        if self.float_model.is_some() && !format.names_tensors {
            bail!(
                "`--to {}` writes a model that needs no other, found `--float-model`",
                format.name
            );
        }
        Ok(())
    }

    /// Where the float model goes, if it must be written.
    fn float_model(
        &self,
        format: &Format,
        is_rewritten: bool,
        ui: &Ui,
    ) -> anyhow::Result<Option<PathBuf>> {
        if self.float_model.is_some() || !format.names_tensors || !is_rewritten {
            return Ok(self.float_model.clone());
        }
        let Some(output) = self.output.path() else {
            ui.warn(&format!(
                "the names are those of a float model that is not `{}`\nhint: --float-model FILE writes it",
                self.model.model.display()
            ));
            return Ok(None);
        };
        let path = output.with_extension("float.onnx");
        let is_model = |path: &Path| {
            let real = [path, &self.model.model].map(std::fs::canonicalize);
            matches!(real, [Ok(a), Ok(b)] if a == b)
        };
        ensure!(
            !is_model(&path),
            "`{}` is the model itself\nhint: --float-model names another file",
            path.display()
        );
        Ok(Some(path))
    }
}

/// The target that the configuration was made for.
pub(super) fn target(file: Option<&str>, config: &Config, ui: &Ui) -> anyhow::Result<Target> {
    let expected = &config.settings.target;
    let target = match file {
        Some(file) => read_target(file, ui)?,
        None => Target::built_in(expected).with_context(|| {
            format!(
                "the configuration is for target `{expected}`\nhint: give its file with --target"
            )
        })?,
    };
    let found = &target.name;
    ensure!(found == expected, "target is `{found}`, the configuration is for `{expected}`");
    Ok(target)
}
