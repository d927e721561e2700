//! How good outputs are: against labels or the float network ([`Metric`]), by their SQNR ([`sqnr`]),
//! and how alike two rankings are ([`kendall`]).
//!
//! A metric is a file with a [`MetricDef`], and two lines here. A network's first output is the one
//! that counts, save for `command`.

use std::fmt;
use std::path::Path;

use crate::data::{Label, LabelKind};
use crate::tensor::{Tensor, TensorType};

mod accuracy;
mod agreement;
mod classes;
mod command;
mod f1;
pub mod kendall;
mod matthews;
mod miou;
mod pairs;
mod pearson;
mod psnr;
mod spearman;
pub mod sqnr;
mod topk;

pub use command::CommandError;
pub use miou::ClassMap;

/// Every metric. The one list to extend.
const METRICS: &[MetricDef] = &[
    topk::TOP1,
    topk::TOP5,
    miou::MIOU,
    accuracy::ACCURACY,
    f1::F1,
    matthews::MATTHEWS,
    pearson::PEARSON,
    spearman::SPEARMAN,
    psnr::PSNR,
    agreement::AGREEMENT,
    command::COMMAND,
];

/// One row of the table of metrics.
#[derive(Debug)]
pub struct MetricDef {
    /// As on the command line, and as the key in files.
    pub name: &'static str,
    pub reference: Reference,
    pub unit: Unit,
    pub new: fn(Setup<'_>) -> Created,
}

/// What a metric looks at besides the network's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    Labels(LabelKind),
    /// The float network's outputs.
    Float,
    /// What only the user's command knows, which reads the outputs from files.
    Command,
}

/// What a value is measured in; more is better in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// In [0, 1]; 1 is perfect.
    Fraction,
    /// In [-1, 1]; 1 is perfect, 0 is chance.
    Coefficient,
    /// In (-inf, inf); there is no value where nothing differs.
    Decibels,
    /// A finite number that the user knows the meaning of.
    Number,
}

/// What a new metric is told.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// What follows `NAME=`, if anything does.
    pub option: Option<&'a str>,
    /// For files of this metric alone; made by the metric if it needs it.
    pub folder: &'a Path,
}

/// A metric without samples, or what is wrong with its option.
pub type Created = Result<Box<dyn Metric>, MetricError>;

/// Collects the samples of a data set; more is better.
pub trait Metric: fmt::Debug + Send {
    fn add(&mut self, sample: &Sample<'_>) -> Result<(), MetricError>;

    /// In the range of the metric's [`Unit`]; `None` before there is anything to tell, and where the
    /// value is not finite.
    fn value(&self) -> Result<Option<f64>, MetricError>;
}

/// What one sample came to; every output has a batch axis of 1.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// As in messages of [`data`](crate::data).
    pub name: &'a str,
    pub outputs: &'a [Tensor],
    pub output_names: &'a [&'a str],
    /// The float network's outputs: the same ones if it is the network that is judged.
    pub float: &'a [Tensor],
    /// Of the kind that the metric takes; `None` for metrics without labels.
    pub label: Option<&'a Label>,
}

/// Why a metric cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum MetricError {
    #[error("found metric `{found}`, expected one of {}", names())]
    Unknown { found: String },

    #[error("found `{found}` as the option of metric `{metric}`, expected {expected}")]
    Option { metric: &'static str, found: String, expected: &'static str },

    #[error("metric `{metric}` found {}, expected {expected}", Found(found))]
    Output { metric: &'static str, found: Option<TensorType>, expected: &'static str },

    #[error("metric `{metric}` needs {expected} as labels")]
    Label { metric: &'static str, expected: &'static str },

    #[error(
        "metric `{metric}` found class {class}, expected 0 or 1\nhint: `{metric}=macro`, `{metric}=micro` and `{metric}=weighted` take any number of classes"
    )]
    NotBinary { metric: &'static str, class: usize },

    #[error("the output is {output}, the target {target}, expected one shape")]
    Target { output: TensorType, target: String },

    #[error("metric `command:{command}` has no value")]
    Command { command: String, source: CommandError },

    #[error("metric `{metric}` found values that are not finite")]
    NotFinite { metric: &'static str },

    #[error("label is class {class}, the network has {classes} classes")]
    NoSuchClass { class: usize, classes: usize },

    #[error(
        "the output has {}x{} pixels, the mask {}x{} (height x width)",
        output[0],
        output[1],
        mask[0],
        mask[1]
    )]
    MaskSize { output: [usize; 2], mask: [usize; 2] },
}

struct Found<'a>(&'a Option<TensorType>);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(ty) => write!(f, "an output of {ty}"),
            None => f.write_str("no output"),
        }
    }
}

fn names() -> String {
    METRICS.iter().map(|def| format!("`{}`", def.name)).collect::<Vec<_>>().join(", ")
}

/// The row of a metric that is written `NAME`, `NAME=OPTION` or `NAME:OPTION`, and its option.
pub fn find(text: &str) -> Result<(&'static MetricDef, Option<&str>), MetricError> {
    let (name, option) = match text.split_once(['=', ':']) {
        Some((name, option)) => (name, Some(option)),
        None => (text, None),
    };
    let def = METRICS.iter().find(|def| def.name == name);
    let def = def.ok_or_else(|| MetricError::Unknown { found: name.to_owned() })?;
    Ok((def, option))
}

/// An empty metric from its text; see [`Setup`] for `folder`.
pub fn create(text: &str, folder: &Path) -> Created {
    let (def, option) = find(text)?;
    (def.new)(Setup { option, folder })
}

/// For metrics that take none.
fn no_option(metric: &'static str, setup: Setup<'_>) -> Result<(), MetricError> {
    let wrong = |found: &str| MetricError::option(metric, found, "none");
    setup.option.map_or(Ok(()), |found| Err(wrong(found)))
}

impl MetricError {
    fn option(metric: &'static str, found: &str, expected: &'static str) -> MetricError {
        MetricError::Option { metric, found: found.to_owned(), expected }
    }

    fn output(metric: &'static str, found: Option<&Tensor>, expected: &'static str) -> MetricError {
        MetricError::Output { metric, found: found.map(Tensor::ty), expected }
    }
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name() {
        for def in METRICS {
            let text = if def.reference == Reference::Command { "command:x" } else { def.name };
            assert_eq!(find(text).unwrap().0.name, def.name);
            let metric = create(text, Path::new("")).unwrap();
            assert_eq!(metric.value().unwrap(), None, "{text}");
        }
        let fails = |text| create(text, Path::new("")).unwrap_err().to_string();
        let known = METRICS.iter().map(|def| format!("`{}`", def.name)).collect::<Vec<_>>();
        let known = known.join(", ");
        assert_eq!(fails("f2"), format!("found metric `f2`, expected one of {known}"));
        assert_eq!(fails("top1=3"), "found `3` as the option of metric `top1`, expected none");
        assert!(create("miou=1:x", Path::new("")).is_err());
    }
}
