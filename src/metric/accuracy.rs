//! `accuracy`: the part of the samples whose class is the one that the network says (see
//! [`classes`]); scikit-learn's `accuracy_score`. `accuracy=0.5` sets the threshold of a network with
//! one output.

use crate::metric::classes::{self, Classified, Counts};
use crate::metric::{Created, MetricDef, Setup, Unit};

pub(super) const ACCURACY: MetricDef = classes::def(NAME, Unit::Fraction, create);

const NAME: &str = "accuracy";

fn create(setup: Setup<'_>) -> Created {
    let share = |counts: &Counts| counts.right as f64 / counts.samples as f64;
    Ok(Box::new(Classified::new(NAME, classes::only_threshold(NAME, setup)?, share)))
}

#[cfg(test)]
mod tests {
    use crate::data::Label;
    use crate::metric::testing::value;
    use crate::tensor::Tensor;

    #[test]
    fn accuracy() {
        let scores = Tensor::from_vec(&[1, 3], vec![1_f32, 3., 2.]);
        let samples = [1, 1, 1, 0].map(|class| (scores.clone(), Label::Class(class)));
        assert_eq!(value("accuracy", &samples).unwrap(), Some(0.75));
        let error = value("accuracy=high", &[]).unwrap_err().to_string();
        let expected = "expected the threshold of a network with one output, such as `0.5`";
        assert_eq!(error, format!("found `high` as the option of metric `accuracy`, {expected}"));
    }
}
