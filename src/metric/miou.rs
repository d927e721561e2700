//! `miou`: intersection over union of predicted and labelled pixels, over all samples together, the
//! mean over the classes that were predicted or labelled anywhere.
//!
//! Pixels labelled 255 do not count. `miou=6:1,7:1,*:0` maps the network's classes before they are
//! compared.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::data::{Label, LabelKind, Mask};
use crate::metric::{
    Created, Metric, MetricDef, MetricError, Reference, Sample, Setup, Unit, classes,
};
use crate::tensor::Tensor;

pub(super) const MIOU: MetricDef = MetricDef {
    name: NAME,
    reference: Reference::Labels(LabelKind::Mask),
    unit: Unit::Fraction,
    new: MeanIou::create,
};

const NAME: &str = "miou";
const IGNORED: u8 = 255;
const CLASSES: usize = 255;

/// The network's classes as those of the labels. Written `6:1,7:1,*:0`; a class that is not listed
/// stays what it is if there is no `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClassMap {
    listed: BTreeMap<usize, u8>,
    others: Option<u8>,
}

impl FromStr for ClassMap {
    type Err = MetricError;

    fn from_str(text: &str) -> Result<ClassMap, MetricError> {
        let fail = || MetricError::Option {
            metric: NAME,
            found: text.to_owned(),
            expected: "pairs such as `6:1,7:1,*:0`, each class once, mapped to at most 254",
        };
        let mut map = ClassMap::default();
        for pair in text.split(',') {
            let (from, to) = pair.split_once(':').ok_or_else(fail)?;
            let to = to.trim().parse().ok().filter(|&to| to != IGNORED).ok_or_else(fail)?;
            let earlier = match from.trim() {
                "*" => map.others.replace(to),
                from => map.listed.insert(from.parse().map_err(|_| fail())?, to),
            };
            if earlier.is_some() {
                return Err(fail());
            }
        }
        Ok(map)
    }
}

impl ClassMap {
    fn get(&self, class: usize) -> Option<u8> {
        let listed = self.listed.get(&class).copied().or(self.others);
        listed.or_else(|| u8::try_from(class).ok().filter(|&class| class != IGNORED))
    }
}

#[derive(Debug)]
struct MeanIou {
    map: ClassMap,
    /// Pixels by class; so are the others.
    both: Vec<u64>,
    predicted: Vec<u64>,
    labelled: Vec<u64>,
}

impl MeanIou {
    fn create(setup: Setup<'_>) -> Created {
        let map = setup.option.map_or(Ok(ClassMap::default()), ClassMap::from_str)?;
        let [both, predicted, labelled] = std::array::from_fn(|_| vec![0; CLASSES]);
        Ok(Box::new(MeanIou { map, both, predicted, labelled }))
    }

    fn count(&mut self, found: &[usize], mask: &Mask) -> Result<(), MetricError> {
        for (&found, &label) in found.iter().zip(&mask.classes) {
            if label == IGNORED {
                continue;
            }
            let none = MetricError::NoSuchClass { class: found, classes: CLASSES };
            let found = usize::from(self.map.get(found).ok_or(none)?);
            let label = usize::from(label);
            self.predicted[found] += 1;
            self.labelled[label] += 1;
            self.both[label] += u64::from(found == label);
        }
        Ok(())
    }
}

impl Metric for MeanIou {
    fn add(&mut self, sample: &Sample<'_>) -> Result<(), MetricError> {
        let Some(Label::Mask(mask)) = sample.label else {
            return Err(MetricError::Label { metric: NAME, expected: "masks" });
        };
        let output = sample.outputs.first();
        let Some((size, classes)) = output.and_then(pixels) else {
            return Err(MetricError::Output {
                metric: NAME,
                found: output.map(Tensor::ty),
                expected: "float scores [1, C, H, W] or integer classes [1, H, W] or [1, 1, H, W]",
            });
        };
        if size != mask.size {
            return Err(MetricError::MaskSize { output: size, mask: mask.size });
        }
        self.count(&classes, mask)
    }

    fn value(&self) -> Result<Option<f64>, MetricError> {
        let counts = self.both.iter().zip(&self.predicted).zip(&self.labelled);
        let ious: Vec<f64> = counts
            .map(|((&both, &predicted), &labelled)| (both, predicted + labelled - both))
            .filter(|&(_, union)| union > 0)
            .map(|(both, union)| both as f64 / union as f64)
            .collect();
        Ok((!ious.is_empty()).then(|| ious.iter().sum::<f64>() / ious.len() as f64))
    }
}

/// Height and width, and the class of every pixel: 0 where all scores are NaN.
fn pixels(output: &Tensor) -> Option<([usize; 2], Vec<usize>)> {
    if let Some(classes) = output.to_i64() {
        let &([1, height, width] | [1, 1, height, width]) = output.shape() else { return None };
        let classes = classes.into_iter().map(|class| usize::try_from(class).unwrap_or(usize::MAX));
        return Some(([height, width], classes.collect()));
    }
    let &[1, n_classes, height, width] = output.shape() else { return None };
    let highest = classes::highest(&output.to_f32()?, n_classes, height * width);
    Some(([height, width], highest.into_iter().map(Option::unwrap_or_default).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::testing::value;

    fn mask(classes: &[u8]) -> Label {
        Label::Mask(Mask { size: [1, classes.len()], classes: classes.to_vec() })
    }

    #[test]
    fn over_all_pixels() {
        // Classes 0, 1, 1, 0 by their scores.
        let scores = vec![1_f32, 0., 0., 5., 0., 1., 1., 5.];
        let output = Tensor::from_vec(&[1, 2, 1, 4], scores);
        let samples =
            [(output.clone(), mask(&[0, 1, 0, 255])), (output.clone(), mask(&[0, 1, 1, 0]))];
        assert_eq!(value("miou", &samples[..1]).unwrap(), Some(0.5));
        assert_eq!(value("miou", &samples).unwrap(), Some((3. / 4. + 3. / 4.) / 2.));
    }

    #[test]
    fn mapped_classes() {
        let output = Tensor::from_vec(&[1, 1, 4], vec![6_i64, 7, 300, 2]);
        let samples = [(output, mask(&[1, 1, 0, 2]))];
        assert_eq!(value("miou=6:1,7:1,2:2,*:0", &samples).unwrap(), Some(1.));
        let error = value("miou", &samples).unwrap_err().to_string();
        assert_eq!(error, "label is class 300, the network has 255 classes");
    }

    #[test]
    fn maps() {
        let map: ClassMap = "6:1, *:0".parse().unwrap();
        assert_eq!([6, 5].map(|class| map.get(class)), [Some(1), Some(0)]);
        for text in ["", "6", "6:255", "6:1,6:2", "*:0,*:1", "-1:2"] {
            assert!(text.parse::<ClassMap>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_must_agree() {
        let samples = [(Tensor::full(&[1, 2, 3, 4], 0_f32), mask(&[0; 4]))];
        let error = value("miou", &samples).unwrap_err().to_string();
        assert_eq!(error, "the output has 3x4 pixels, the mask 1x4 (height x width)");
    }
}
