//! `top1`, `top5`: the part of the samples whose class is among the k highest scores.
//!
//! Of equal scores the lower class comes first. A NaN is below every number, and a class whose own
//! score is NaN is never among the highest.

use crate::data::{Label, LabelKind};
use crate::metric::{
    Created, Metric, MetricDef, MetricError, Reference, Sample, Setup, Unit, no_option,
};
use crate::tensor::Tensor;

pub(super) const TOP1: MetricDef = def("top1", |setup| top("top1", 1, setup));

pub(super) const TOP5: MetricDef = def("top5", |setup| top("top5", 5, setup));

const fn def(name: &'static str, new: fn(Setup<'_>) -> Created) -> MetricDef {
    MetricDef { name, reference: Reference::Labels(LabelKind::Class), unit: Unit::Fraction, new }
}

#[derive(Debug)]
struct TopK {
    name: &'static str,
    k: usize,
    right: u64,
    samples: u64,
}

fn top(name: &'static str, k: usize, setup: Setup<'_>) -> Created {
    no_option(name, setup)?;
    Ok(Box::new(TopK { name, k, right: 0, samples: 0 }))
}

impl Metric for TopK {
    fn add(&mut self, sample: &Sample<'_>) -> Result<(), MetricError> {
        let Some(&Label::Class(class)) = sample.label else {
            return Err(MetricError::Label { metric: self.name, expected: "classes" });
        };
        let one_sample = |output: &&Tensor| output.rank() < 2 || output.shape()[0] == 1;
        let output = sample.outputs.first();
        let scores = output.filter(one_sample).and_then(Tensor::to_f32);
        let Some(scores) = scores else {
            return Err(MetricError::Output {
                metric: self.name,
                found: output.map(Tensor::ty),
                expected: "float scores of one sample",
            });
        };
        let Some(rank) = rank(&scores, class) else {
            return Err(MetricError::NoSuchClass { class, classes: scores.len() });
        };
        self.samples += 1;
        self.right += u64::from(rank < self.k);
        Ok(())
    }

    fn value(&self) -> Result<Option<f64>, MetricError> {
        Ok((self.samples > 0).then(|| self.right as f64 / self.samples as f64))
    }
}

/// How many classes come before this one.
fn rank(scores: &[f32], class: usize) -> Option<usize> {
    let &score = scores.get(class)?;
    if score.is_nan() {
        return Some(scores.len());
    }
    let before = |&(other, s): &(usize, f32)| s > score || (s == score && other < class);
    Some(scores.iter().copied().enumerate().filter(before).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::testing::value;

    #[test]
    fn ranks() {
        let nan = f32::NAN;
        let cases = [
            (&[0.1, 0.7, 0.2][..], 1, Some(0)),
            (&[0.1, 0.7, 0.2], 0, Some(2)),
            (&[3., 3., 3.], 0, Some(0)),
            (&[3., 3., 3.], 2, Some(2)),
            (&[nan, 1.], 1, Some(0)),
            (&[nan, 1.], 0, Some(2)),
            (&[1., 2.], 2, None),
        ];
        for (scores, class, expected) in cases {
            assert_eq!(rank(scores, class), expected, "{scores:?}, class {class}");
        }
    }

    #[test]
    fn parts_of_the_samples() {
        let scores = Tensor::from_vec(&[1, 3, 1, 1], vec![1_f32, 3., 2.]);
        let labels = [1, 1, 1, 0].map(|class| (scores.clone(), Label::Class(class)));
        assert_eq!(value("top1", &labels).unwrap(), Some(0.75));
        assert_eq!(value("top5", &labels[3..]).unwrap(), Some(1.));
    }

    #[test]
    fn refusals() {
        let fails = |output: Tensor, class| {
            value("top1", &[(output, Label::Class(class))]).unwrap_err().to_string()
        };
        assert_eq!(
            fails(Tensor::full(&[2, 3], 0_f32), 0),
            "metric `top1` found an output of float32 [2, 3], expected float scores of one sample"
        );
        assert_eq!(
            fails(Tensor::full(&[1, 3], 0_f32), 3),
            "label is class 3, the network has 3 classes"
        );
    }
}
