//! The numbers that a network says beside those it should say; what metrics of regression share.

use crate::data::{Label, LabelKind};
use crate::metric::{
    Created, Metric, MetricDef, MetricError, Reference, Sample, Setup, Unit, no_option,
};

/// How a metric of regression makes a number of what was found and what was expected, each as long
/// as the other and none of them empty; NaN where there is no value.
pub(super) type Score = fn(found: &[f64], expected: &[f64]) -> f64;

/// The row of a metric of regression.
pub(super) const fn def(name: &'static str, new: fn(Setup<'_>) -> Created) -> MetricDef {
    let reference = Reference::Labels(LabelKind::Real);
    MetricDef { name, reference, unit: Unit::Coefficient, new }
}

/// A metric that is a number made of pairs.
#[derive(Debug)]
pub(super) struct Pairs {
    metric: &'static str,
    score: Score,
    found: Vec<f64>,
    expected: Vec<f64>,
}

impl Pairs {
    pub(super) fn create(metric: &'static str, score: Score, setup: Setup<'_>) -> Created {
        no_option(metric, setup)?;
        Ok(Box::new(Pairs { metric, score, found: Vec::new(), expected: Vec::new() }))
    }
}

impl Metric for Pairs {
    fn add(&mut self, sample: &Sample<'_>) -> Result<(), MetricError> {
        let Some(&Label::Real(expected)) = sample.label else {
            return Err(MetricError::Label { metric: self.metric, expected: "numbers" });
        };
        let output = sample.outputs.first();
        let is_float = output.filter(|output| output.dtype().is_float());
        match is_float.and_then(|output| output.to_f64()).as_deref() {
            Some(&[found]) => {
                self.found.push(found);
                self.expected.push(expected);
                Ok(())
            }
            _ => Err(MetricError::output(self.metric, output, "one float for one sample")),
        }
    }

    fn value(&self) -> Result<Option<f64>, MetricError> {
        let score = (!self.found.is_empty()).then(|| (self.score)(&self.found, &self.expected));
        Ok(score.filter(|score| score.is_finite()))
    }
}
