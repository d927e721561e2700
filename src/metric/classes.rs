//! Which class a network says, and how often which was right; what metrics of classes share.
//!
//! The highest of several scores says the class, of equal ones the lowest; a NaN never wins, and
//! where all are NaN no class is said. A single score says class 1 where it is above the threshold,
//! by default 0, that of a logit. An integer or bool is the class itself.

use std::collections::BTreeMap;

use crate::data::{Label, LabelKind};
use crate::metric::{Created, Metric, MetricDef, MetricError, Reference, Sample, Setup, Unit};
use crate::tensor::{DType, Tensor};

/// A threshold that nobody asked for.
pub(super) const LOGIT: f64 = 0.;

/// The class of the highest of `n_classes` scores at every place, `None` where all are NaN. Scores are
/// `[outer, n_classes, inner]`, places `[outer, inner]`.
pub(super) fn highest(scores: &[f32], n_classes: usize, inner: usize) -> Vec<Option<usize>> {
    let mut classes = Vec::new();
    for block in scores.chunks_exact((n_classes * inner).max(1)) {
        let mut best: Vec<Option<(usize, f32)>> = vec![None; inner];
        for (class, plane) in block.chunks_exact(inner).enumerate() {
            for (best, &score) in best.iter_mut().zip(plane) {
                if !score.is_nan() && best.is_none_or(|(_, highest)| highest < score) {
                    *best = Some((class, score));
                }
            }
        }
        classes.extend(best.into_iter().map(|best| best.map(|(class, _)| class)));
    }
    classes
}

/// What each of the scores says where there is one for two classes.
pub(super) fn above(scores: &[f32], threshold: f64) -> Vec<Option<usize>> {
    let class = |&score: &f32| (!score.is_nan()).then(|| usize::from(threshold < f64::from(score)));
    scores.iter().map(class).collect()
}

/// A finite number.
pub(super) fn threshold(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|x: &f64| x.is_finite())
}

/// The threshold of a metric that has no other option.
pub(super) fn only_threshold(metric: &'static str, setup: Setup<'_>) -> Result<f64, MetricError> {
    let expected = "the threshold of a network with one output, such as `0.5`";
    let read = |text| threshold(text).ok_or_else(|| MetricError::option(metric, text, expected));
    setup.option.map_or(Ok(LOGIT), read)
}

/// How a metric of classes makes a number of counts.
pub(super) type Score = fn(&Counts) -> f64;

/// The row of a metric of classes.
pub(super) const fn def(
    name: &'static str,
    unit: Unit,
    new: fn(Setup<'_>) -> Created,
) -> MetricDef {
    MetricDef { name, reference: Reference::Labels(LabelKind::Class), unit, new }
}

/// Samples by class.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) by_class: BTreeMap<usize, Count>,
    pub(super) right: u64,
    pub(super) samples: u64,
}

/// Samples of one class; `both` have it as label and were said to be of it.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) labelled: u64,
    pub(super) said: u64,
    pub(super) both: u64,
}

impl Counts {
    fn add(&mut self, label: usize, said: usize) {
        let is_right = u64::from(label == said);
        self.samples += 1;
        self.right += is_right;
        self.by_class.entry(said).or_default().said += 1;
        let count = self.by_class.entry(label).or_default();
        count.labelled += 1;
        count.both += is_right;
    }
}

/// What is counted where no class is said: no label has it.
const NO_CLASS: usize = usize::MAX;

/// A metric that is a number made of [`Counts`].
#[derive(Debug)]
pub(super) struct Classified {
    pub(super) metric: &'static str,
    pub(super) threshold: f64,
    /// Whether classes above 1 are refused.
    pub(super) is_binary: bool,
    pub(super) score: Score,
    pub(super) counts: Counts,
}

impl Classified {
    pub(super) fn new(metric: &'static str, threshold: f64, score: Score) -> Classified {
        Classified { metric, threshold, is_binary: false, score, counts: Counts::default() }
    }

    /// The class of one sample, and how many the network has if its output tells.
    fn said(&self, output: Option<&Tensor>) -> Result<(Option<usize>, Option<usize>), MetricError> {
        let fail = || {
            let expected = "the scores or the class of one sample";
            Err(MetricError::output(self.metric, output, expected))
        };
        let is_one_sample = |output: &&Tensor| output.rank() < 2 || output.shape()[0] == 1;
        let Some(output) = output.filter(is_one_sample) else { return fail() };
        if let (Some(classes), 1) = (classes_themselves(output), output.len()) {
            return Ok((classes[0], None));
        }
        match output.to_f32().as_deref() {
            None | Some([]) => fail(),
            Some(score @ [_]) => Ok((above(score, self.threshold)[0], Some(2))),
            Some(scores) => Ok((highest(scores, scores.len(), 1)[0], Some(scores.len()))),
        }
    }
}

/// Of an output of integers or bools; a negative one is no class.
pub(super) fn classes_themselves(output: &Tensor) -> Option<Vec<Option<usize>>> {
    if output.dtype() == DType::Bool {
        return Some(output.slice::<bool>().iter().map(|&x| Some(usize::from(x))).collect());
    }
    let integers = output.to_i64()?;
    Some(integers.into_iter().map(|class| usize::try_from(class).ok()).collect())
}

impl Metric for Classified {
    fn add(&mut self, sample: &Sample<'_>) -> Result<(), MetricError> {
        let Some(&Label::Class(label)) = sample.label else {
            return Err(MetricError::Label { metric: self.metric, expected: "classes" });
        };
        let (said, n_classes) = self.said(sample.outputs.first())?;
        if let Some(classes) = n_classes.filter(|&n| n <= label) {
            return Err(MetricError::NoSuchClass { class: label, classes });
        }
        if let Some(class) = [Some(label), said].into_iter().flatten().find(|&class| class > 1)
            && self.is_binary
        {
            return Err(MetricError::NotBinary { metric: self.metric, class });
        }
        self.counts.add(label, said.unwrap_or(NO_CLASS));
        Ok(())
    }

    fn value(&self) -> Result<Option<f64>, MetricError> {
        Ok((self.counts.samples > 0).then(|| (self.score)(&self.counts)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::testing::value;

    #[test]
    fn the_highest_score() {
        let nan = f32::NAN;
        let cases = [
            (&[0.1, 0.7, 0.2][..], Some(1)),
            (&[3., 3., 1.], Some(0)),
            (&[nan, 1., 2.], Some(2)),
            (&[f32::NEG_INFINITY; 2], Some(0)),
            (&[nan, nan], None),
        ];
        for (scores, expected) in cases {
            assert_eq!(highest(scores, scores.len(), 1), [expected], "{scores:?}");
        }
        let planes = [1., 0., 0., 5., 0., 1., 1., 6.];
        assert_eq!(highest(&planes, 2, 4), [Some(0), Some(1), Some(1), Some(1)]);
        assert_eq!(highest(&planes, 2, 1), [Some(0), Some(1), Some(1), Some(1)]);
        assert_eq!(highest(&[], 3, 0), []);
    }

    /// The share of these outputs that are said to be of class 1.
    fn ones(metric: &str, outputs: &[Tensor]) -> Option<f64> {
        let samples: Vec<(Tensor, Label)> =
            outputs.iter().map(|output| (output.clone(), Label::Class(1))).collect();
        value(metric, &samples).unwrap()
    }

    #[test]
    fn outputs_that_say_a_class() {
        let scores =
            [-0.5_f32, 0., 0.25, f32::NAN].map(|score| Tensor::from_vec(&[1, 1], vec![score]));
        assert_eq!(ones("accuracy", &scores), Some(0.25));
        assert_eq!(ones("accuracy=0.25", &scores), Some(0.));
        assert_eq!(ones("accuracy=-1", &scores), Some(0.75));
        let themselves = [
            Tensor::from_vec(&[1], vec![1_i64]),
            Tensor::from_vec(&[1, 1], vec![-1_i32]),
            Tensor::scalar(true),
            Tensor::from_vec(&[1], vec![7_i64]),
        ];
        assert_eq!(ones("accuracy", &themselves), Some(0.5));
        let scores =
            [Tensor::from_vec(&[1, 2, 1, 1], vec![f64::MIN, 0.]), Tensor::full(&[1, 2], f32::NAN)];
        assert_eq!(ones("accuracy", &scores), Some(0.5));
    }

    #[test]
    fn refusals() {
        let fails = |metric: &str, output: Tensor, class| {
            value(metric, &[(output, Label::Class(class))]).unwrap_err().to_string()
        };
        let expected = "expected the scores or the class of one sample";
        for (output, found) in [
            (Tensor::full(&[2, 3], 0_f32), "float32 [2, 3]"),
            (Tensor::full(&[1, 3], 0_i64), "int64 [1, 3]"),
            (Tensor::full(&[1, 0], 0_f32), "float32 [1, 0]"),
        ] {
            let message = format!("metric `accuracy` found an output of {found}, {expected}");
            assert_eq!(fails("accuracy", output, 0), message);
        }
        let one = Tensor::full(&[1, 1], 0_f32);
        let message = "label is class 2, the network has 2 classes";
        assert_eq!(fails("accuracy", one.clone(), 2), message);
        let labels = [(one, Label::Real(1.))];
        let error = value("accuracy", &labels).unwrap_err().to_string();
        assert_eq!(error, "metric `accuracy` needs classes as labels");
    }
}
