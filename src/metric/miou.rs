//! `miou`: intersection over union of predicted and labelled pixels, over all samples together, the
//! mean over the classes that were predicted or labelled anywhere.
//!
//! Pixels labelled 255 do not count. `miou=6:1,7:1,*:0` maps the network's classes before they are
//! compared.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::data::{Label, LabelKind, Mask};
use crate::metric::{Created, Metric, MetricDef, MetricError};
use crate::tensor::Tensor;

pub(super) const MIOU: MetricDef =
    MetricDef { name: NAME, labels: LabelKind::Mask, new: MeanIou::create };

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
    fn create(option: Option<&str>) -> Created {
        let map = option.map_or(Ok(ClassMap::default()), ClassMap::from_str)?;
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
    fn add(&mut self, outputs: &[Tensor], label: &Label) -> Result<(), MetricError> {
        let Label::Mask(mask) = label else {
            return Err(MetricError::Label { metric: NAME, expected: "masks" });
        };
        let output = outputs.first();
        let Some((size, classes)) = output.and_then(classes) else {
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

    fn value(&self) -> Option<f64> {
        let counts = self.both.iter().zip(&self.predicted).zip(&self.labelled);
        let ious: Vec<f64> = counts
            .map(|((&both, &predicted), &labelled)| (both, predicted + labelled - both))
            .filter(|&(_, union)| union > 0)
            .map(|(both, union)| both as f64 / union as f64)
            .collect();
        (!ious.is_empty()).then(|| ious.iter().sum::<f64>() / ious.len() as f64)
    }
}

/// Height and width, and the class of every pixel.
fn classes(output: &Tensor) -> Option<([usize; 2], Vec<usize>)> {
    if let Some(classes) = output.to_i64() {
        let &([1, height, width] | [1, 1, height, width]) = output.shape() else { return None };
        let classes = classes.into_iter().map(|class| usize::try_from(class).unwrap_or(usize::MAX));
        return Some(([height, width], classes.collect()));
    }
    let &[1, _, height, width] = output.shape() else { return None };
    let scores = output.to_f32()?;
    Some(([height, width], argmax(&scores, height * width)))
}

/// Of equal scores the lowest class; a NaN never wins. `scores` is `[C, pixels]`.
fn argmax(scores: &[f32], pixels: usize) -> Vec<usize> {
    let mut best = vec![(0, f32::NEG_INFINITY); pixels];
    for (class, plane) in scores.chunks_exact(pixels.max(1)).enumerate() {
        for (best, &score) in best.iter_mut().zip(plane) {
            if score > best.1 {
                *best = (class, score);
            }
        }
    }
    best.into_iter().map(|(class, _)| class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::create;

    fn mask(classes: &[u8]) -> Label {
        Label::Mask(Mask { size: [1, classes.len()], classes: classes.to_vec() })
    }

    #[test]
    fn over_all_pixels() {
        // Classes 0, 1, 1, 0 by their scores.
        let scores = vec![1_f32, 0., 0., 5., 0., 1., 1., 5.];
        let output = [Tensor::from_vec(&[1, 2, 1, 4], scores)];
        let mut miou = create("miou").unwrap();
        miou.add(&output, &mask(&[0, 1, 0, 255])).unwrap();
        assert_eq!(miou.value(), Some(0.5));
        miou.add(&output, &mask(&[0, 1, 1, 0])).unwrap();
        assert_eq!(miou.value(), Some((3. / 4. + 3. / 4.) / 2.));
    }

    #[test]
    fn mapped_classes() {
        let output = [Tensor::from_vec(&[1, 1, 4], vec![6_i64, 7, 300, 2])];
        let mut miou = create("miou=6:1,7:1,2:2,*:0").unwrap();
        miou.add(&output, &mask(&[1, 1, 0, 2])).unwrap();
        assert_eq!(miou.value(), Some(1.));
        let mut plain = create("miou").unwrap();
        let error = plain.add(&output, &mask(&[1, 1, 0, 2])).unwrap_err().to_string();
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
        let output = [Tensor::full(&[1, 2, 3, 4], 0_f32)];
        let error = create("miou").unwrap().add(&output, &mask(&[0; 4])).unwrap_err().to_string();
        assert_eq!(error, "the output has 3x4 pixels, the mask 1x4 (height x width)");
    }
}
