//! How good outputs are: against labels ([`Metric`]), against the float network ([`sqnr`]), and how
//! alike two rankings are ([`kendall`]).
//!
//! A metric is a file with a [`MetricDef`], and two lines here.

use std::fmt;

use crate::data::{Label, LabelKind};
use crate::tensor::{Tensor, TensorType};

pub mod kendall;
mod miou;
pub mod sqnr;
mod topk;

pub use miou::ClassMap;

/// Every metric. The one list to extend.
const METRICS: &[MetricDef] = &[topk::TOP1, topk::TOP5, miou::MIOU];

/// One row of the table of metrics.
#[derive(Debug)]
pub struct MetricDef {
    /// As on the command line, and as the key in files.
    pub name: &'static str,
    pub labels: LabelKind,
    /// Takes what follows `NAME=`, if anything does.
    pub new: fn(option: Option<&str>) -> Created,
}

/// A metric without samples, or what is wrong with its option.
pub type Created = Result<Box<dyn Metric>, MetricError>;

/// Collects the samples of a data set; more is better, 1 is perfect.
pub trait Metric: fmt::Debug + Send {
    /// One sample: the network's outputs, with a batch axis of 1, and the right answer.
    fn add(&mut self, outputs: &[Tensor], label: &Label) -> Result<(), MetricError>;

    /// In [0, 1]; `None` before there is anything to tell.
    fn value(&self) -> Option<f64>;
}

/// Why a metric cannot be computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MetricError {
    #[error("found metric `{found}`, expected one of {}", names())]
    Unknown { found: String },

    #[error("found `{found}` as the option of metric `{metric}`, expected {expected}")]
    Option { metric: &'static str, found: String, expected: &'static str },

    #[error("metric `{metric}` found {}, expected {expected}", Found(found))]
    Output { metric: &'static str, found: Option<TensorType>, expected: &'static str },

    #[error("metric `{metric}` needs {expected} as labels")]
    Label { metric: &'static str, expected: &'static str },

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

/// The row of a metric that is written `NAME` or `NAME=OPTION`, and its option.
pub fn find(text: &str) -> Result<(&'static MetricDef, Option<&str>), MetricError> {
    let (name, option) = match text.split_once('=') {
        Some((name, option)) => (name, Some(option)),
        None => (text, None),
    };
    let def = METRICS.iter().find(|def| def.name == name);
    let def = def.ok_or_else(|| MetricError::Unknown { found: name.to_owned() })?;
    Ok((def, option))
}

/// An empty metric, from `NAME` or `NAME=OPTION`.
pub fn create(text: &str) -> Created {
    let (def, option) = find(text)?;
    (def.new)(option)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name() {
        for def in METRICS {
            assert_eq!(find(def.name).unwrap().0.name, def.name);
            assert_eq!(create(def.name).unwrap().value(), None);
        }
        let error = create("f2").unwrap_err().to_string();
        assert_eq!(error, "found metric `f2`, expected one of `top1`, `top5`, `miou`");
        let error = create("top1=3").unwrap_err().to_string();
        assert_eq!(error, "found `3` as the option of metric `top1`, expected none");
        assert!(create("miou=1:x").is_err());
    }
}
