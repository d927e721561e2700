//! `f1`: the harmonic mean of precision and recall, scikit-learn's `f1_score`.
//!
//! Of one class `2 both / (labelled + said)`, counts of samples. `f1` is that of class 1, and takes
//! classes 0 and 1 alone; `f1=macro` is the mean over the classes that were labelled or said
//! anywhere, `f1=weighted` the mean over the labels, `f1=micro` counts all classes together. A number
//! in the option, as in `f1=0.5` or `f1=macro,0.5`, is the threshold of a network with one output.

use crate::metric::classes::{self, Classified, Count, Counts, LOGIT, Score};
use crate::metric::{Created, MetricDef, MetricError, Setup, Unit};

pub(super) const F1: MetricDef = classes::def(NAME, Unit::Fraction, create);

const NAME: &str = "f1";

const AVERAGES: [(&str, Score); 4] =
    [(BINARY, of_class_1), ("macro", of_classes), ("micro", of_all), ("weighted", of_labels)];

const BINARY: &str = "binary";

fn create(setup: Setup<'_>) -> Created {
    let (mut average, mut threshold) = (None, None);
    for word in setup.option.into_iter().flat_map(|text| text.split(',')) {
        let known = AVERAGES.into_iter().find(|(name, _)| *name == word.trim());
        let is_new = match (known, classes::threshold(word)) {
            (Some(known), _) => average.replace(known).is_none(),
            (None, Some(number)) => threshold.replace(number).is_none(),
            (None, None) => false,
        };
        if !is_new {
            let expected =
                "`binary`, `macro`, `micro` or `weighted`, a threshold, or both with a comma";
            return Err(MetricError::option(NAME, setup.option.unwrap_or_default(), expected));
        }
    }
    let (name, score) = average.unwrap_or(AVERAGES[0]);
    let classified = Classified::new(NAME, threshold.unwrap_or(LOGIT), score);
    Ok(Box::new(Classified { is_binary: name == BINARY, ..classified }))
}

/// 0 where the class was never labelled and never said.
fn of_one(count: &Count) -> f64 {
    match count.labelled + count.said {
        0 => 0.,
        total => 2. * count.both as f64 / total as f64,
    }
}

fn of_class_1(counts: &Counts) -> f64 {
    counts.by_class.get(&1).map_or(0., of_one)
}

fn of_classes(counts: &Counts) -> f64 {
    counts.by_class.values().map(of_one).sum::<f64>() / counts.by_class.len() as f64
}

/// With one label a sample, what is wrongly said of one class is missed by another.
fn of_all(counts: &Counts) -> f64 {
    counts.right as f64 / counts.samples as f64
}

fn of_labels(counts: &Counts) -> f64 {
    let weighted = counts.by_class.values().map(|count| count.labelled as f64 * of_one(count));
    weighted.sum::<f64>() / counts.samples as f64
}

#[cfg(test)]
mod tests {
    use crate::metric::testing::{labelled, logits, value};

    /// The figures are those of scikit-learn 1.9's `f1_score`.
    #[test]
    fn averages() {
        let samples = labelled(&[0, 1, 2, 2, 1, 0, 2, 1], &[0, 2, 2, 2, 1, 1, 0, 1]);
        for (metric, expected) in
            [("f1=macro", 0.611_111_111_111_111), ("f1=micro", 0.625), ("f1=weighted", 0.625)]
        {
            let found = value(metric, &samples).unwrap().unwrap();
            assert!((found - expected).abs() < 1e-12, "{metric}: {found}");
        }
        // A class that is said but never labelled counts in the mean; one that does not occur does not.
        let samples = labelled(&[0, 0, 3, 3], &[0, 1, 3, 3]);
        let found = value("f1=macro", &samples).unwrap().unwrap();
        assert!((found - 5. / 9.).abs() < 1e-12, "{found}");
    }

    #[test]
    fn binary() {
        let samples = logits(&[-1., 2., 3., -4., 0.25], &[0, 1, 0, 1, 1]);
        let two_thirds = 2. / 3.;
        assert_eq!(value("f1", &samples).unwrap(), Some(two_thirds));
        assert_eq!(value("f1=binary", &samples).unwrap(), Some(two_thirds));
        assert_eq!(value("f1=0.5", &samples).unwrap(), Some(0.4));
        assert_eq!(value("f1=macro, 0.5", &samples).unwrap(), Some(0.4));
        assert_eq!(value("f1", &logits(&[-1.], &[0])).unwrap(), Some(0.));
    }

    #[test]
    fn refusals() {
        let error = value("f1", &labelled(&[2], &[0])).unwrap_err().to_string();
        let hint = "hint: `f1=macro`, `f1=micro` and `f1=weighted` take any number of classes";
        assert_eq!(error, format!("metric `f1` found class 2, expected 0 or 1\n{hint}"));
        for option in ["", "mean", "macro,micro", "0.5,0.5", "nan"] {
            let error = value(&format!("f1={option}"), &[]).unwrap_err().to_string();
            assert!(error.contains("expected `binary`, `macro`, `micro` or `weighted`"), "{error}");
        }
    }
}
