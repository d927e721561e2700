//! `agreement`: the part of the samples of which the network says the class that the float network
//! says, per position where there are several (segmentation, tokens), all positions counted together.
//!
//! The class axis is axis 1, of an output with three axes the last; `agreement=axis:N` names another
//! one, counted from the end if negative. Along an axis of size 1 classes are told by the threshold
//! (see [`classes`]), which `agreement=0.5` sets; `agreement=axis:3,0.5` sets both. Integers and bools
//! are compared as they are.

use crate::metric::classes::{self, LOGIT};
use crate::metric::{Created, Metric, MetricDef, MetricError, Reference, Sample, Setup, Unit};
use crate::tensor::Tensor;

pub(super) const AGREEMENT: MetricDef =
    MetricDef { name: NAME, reference: Reference::Float, unit: Unit::Fraction, new: create };

const NAME: &str = "agreement";

#[derive(Debug)]
struct Agreement {
    axis: Option<isize>,
    threshold: f64,
    equal: u64,
    positions: u64,
}

fn create(setup: Setup<'_>) -> Created {
    let (mut axis, mut threshold) = (None, None);
    for word in setup.option.into_iter().flat_map(|text| text.split(',')) {
        let is_new = match word.trim().strip_prefix("axis:") {
            Some(number) => number.parse().is_ok_and(|number| axis.replace(number).is_none()),
            None => classes::threshold(word).is_some_and(|x| threshold.replace(x).is_none()),
        };
        if !is_new {
            let expected = "`axis:N`, a threshold, or both with a comma";
            return Err(MetricError::option(NAME, setup.option.unwrap_or_default(), expected));
        }
    }
    let threshold = threshold.unwrap_or(LOGIT);
    Ok(Box::new(Agreement { axis, threshold, equal: 0, positions: 0 }))
}

impl Agreement {
    /// The class at every position; `None` for an output that has no such axis.
    fn said(&self, output: &Tensor) -> Option<Vec<Option<usize>>> {
        if let Some(classes) = classes::classes_themselves(output) {
            return Some(classes);
        }
        let (scores, shape) = (output.to_f32()?, output.shape());
        let axis = match (self.axis, shape.len()) {
            (None, 0) => return Some(classes::above(&scores, self.threshold)),
            (None, 1) => 0,
            (None, 3) => 2,
            (None, _) => 1,
            (Some(axis), rank) => {
                let rank = isize::try_from(rank).ok()?;
                let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
                usize::try_from(axis).ok().filter(|&axis| axis < shape.len())?
            }
        };
        match shape[axis] {
            0 => None,
            1 => Some(classes::above(&scores, self.threshold)),
            n_classes => {
                let inner = shape[axis + 1..].iter().product();
                Some(classes::highest(&scores, n_classes, inner))
            }
        }
    }
}

impl Metric for Agreement {
    fn add(&mut self, sample: &Sample<'_>) -> Result<(), MetricError> {
        let fail = |output, expected| Err(MetricError::output(NAME, output, expected));
        let [output, float] = [sample.outputs.first(), sample.float.first()];
        let [Some(said), Some(expected)] =
            [output, float].map(|output| output.and_then(|output| self.said(output)))
        else {
            return fail(output, "scores with a class axis, or integers");
        };
        if output.map(Tensor::shape) != float.map(Tensor::shape) {
            return fail(output, "the shape that the float network's output has");
        }
        self.positions += said.len() as u64;
        self.equal += said.iter().zip(&expected).filter(|(a, b)| a == b).count() as u64;
        Ok(())
    }

    fn value(&self) -> Result<Option<f64>, MetricError> {
        Ok((self.positions > 0).then(|| self.equal as f64 / self.positions as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::testing::agreement;

    fn tensor(shape: &[usize], scores: &[f32]) -> Tensor {
        Tensor::from_vec(shape, scores.to_vec())
    }

    #[test]
    fn positions() {
        let float = [1., 2., 3., 4., 4., 3., 2., 1.];
        let other = [1., 2., 3., 4., 0., 3., 4., 1.];
        for (metric, shape, expected) in [
            // One sample of eight classes; the classes 0 1 1 1 1 1 0 0 against 0 0 0 1 1 0 0 0 by fours.
            ("agreement", &[1, 8][..], 1.),
            ("agreement", &[8], 1.),
            // Over planes: float 1 1 0 0, other 0 1 1 0.
            ("agreement", &[1, 2, 2, 2], 0.5),
            ("agreement=axis:-3", &[1, 2, 2, 2], 0.5),
            // Over neighbors: float 1 1 0 0, other 1 1 1 0.
            ("agreement", &[1, 4, 2], 0.75),
            ("agreement=axis:2", &[1, 4, 2], 0.75),
            ("agreement=axis:1", &[1, 4, 2], 0.5),
            // Above 2.5 or not: 0 0 1 1 1 1 0 0 against 0 0 1 1 0 1 1 0.
            ("agreement=2.5", &[1, 1, 2, 4], 0.75),
            ("agreement=axis:3, 2.5", &[1, 2, 4, 1], 0.75),
        ] {
            let found = agreement(metric, &tensor(shape, &other), &tensor(shape, &float)).unwrap();
            assert_eq!(found, Some(expected), "{metric} {shape:?}");
        }
        let [a, b] = [[1, 5], [1, 6]].map(|classes| Tensor::from_vec(&[1, 2], classes.to_vec()));
        assert_eq!(agreement("agreement", &a, &b).unwrap(), Some(0.5));
        let nan = tensor(&[1, 2], &[f32::NAN; 2]);
        assert_eq!(agreement("agreement", &nan, &nan).unwrap(), Some(1.));
        assert_eq!(agreement("agreement", &nan, &tensor(&[1, 2], &[1., 2.])).unwrap(), Some(0.));
    }

    #[test]
    fn refusals() {
        let fails = |metric: &str, a: &[usize], b: &[usize]| {
            let [a, b] = [a, b].map(|shape| Tensor::full(shape, 0_f32));
            agreement(metric, &a, &b).unwrap_err().to_string()
        };
        let found = "metric `agreement` found an output of float32";
        let class_axis = "expected scores with a class axis, or integers";
        let shape = "expected the shape that the float network's output has";
        assert_eq!(
            fails("agreement=axis:2", &[1, 2], &[1, 2]),
            format!("{found} [1, 2], {class_axis}")
        );
        assert_eq!(
            fails("agreement=axis:-3", &[1, 2], &[1, 2]),
            format!("{found} [1, 2], {class_axis}")
        );
        assert_eq!(fails("agreement", &[1, 0], &[1, 0]), format!("{found} [1, 0], {class_axis}"));
        assert_eq!(fails("agreement", &[1, 2], &[1, 3]), format!("{found} [1, 2], {shape}"));
        for option in ["", "axis:x", "axis:1,axis:1", "x", "1,2"] {
            assert!(
                fails(&format!("agreement={option}"), &[1], &[1]).contains("a threshold"),
                "{option}"
            );
        }
    }
}
