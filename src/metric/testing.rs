//! The door that tests of metrics go through.

use std::path::Path;

use crate::data::Label;
use crate::metric::{MetricError, Sample, create};
use crate::tensor::Tensor;

/// What a metric says of samples with one output each.
pub(super) fn value(metric: &str, samples: &[(Tensor, Label)]) -> Result<Option<f64>, MetricError> {
    let mut metric = create(metric, Path::new(""))?;
    for (output, label) in samples {
        metric.add(&Sample {
            name: "x",
            outputs: std::slice::from_ref(output),
            output_names: &["y"],
            float: &[],
            label: Some(label),
        })?;
    }
    metric.value()
}

/// Samples of a network that says a class each, and their labels.
pub(super) fn labelled(labels: &[usize], said: &[i64]) -> Vec<(Tensor, Label)> {
    let sample = |(&label, &said)| (Tensor::from_vec(&[1], vec![said]), Label::Class(label));
    labels.iter().zip(said).map(sample).collect()
}

/// Samples of a network with one output, and their labels.
pub(super) fn logits(scores: &[f32], labels: &[usize]) -> Vec<(Tensor, Label)> {
    let sample = |(&score, &label)| (Tensor::from_vec(&[1, 1], vec![score]), Label::Class(label));
    scores.iter().zip(labels).map(sample).collect()
}

/// Samples of a network of regression, and their labels.
pub(super) fn numbers(said: &[f64], labels: &[f64]) -> Vec<(Tensor, Label)> {
    let sample = |(&said, &label)| (Tensor::from_vec(&[1, 1], vec![said]), Label::Real(label));
    said.iter().zip(labels).map(sample).collect()
}

/// What a metric that needs no labels says of one output beside the float network's.
pub(super) fn agreement(
    metric: &str,
    output: &Tensor,
    float: &Tensor,
) -> Result<Option<f64>, MetricError> {
    let mut metric = create(metric, Path::new(""))?;
    let [outputs, float] = [output, float].map(std::slice::from_ref);
    metric.add(&Sample { name: "x", outputs, output_names: &["y"], float, label: None })?;
    metric.value()
}
