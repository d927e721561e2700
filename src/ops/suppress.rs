//! `NonMaxSuppression`: the best boxes of each class, without those that overlap a better one.
//!
//! <https://onnx.ai/onnx/operators/onnx__NonMaxSuppression.html>

use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("NonMaxSuppression", 10, NonMaxSuppression::read)];

/// `boxes` is `[batches, n, 4]`, `scores` is `[batches, classes, n]`; the result has a row of batch,
/// class and box for every box that is kept, the best of each class first.
#[derive(Debug)]
struct NonMaxSuppression {
    /// Whether boxes are center, width and height, not two corners.
    is_centered: bool,
}

const BOXES: usize = 0;
const SCORES: usize = 1;
const MAX_OUTPUT_BOXES: usize = 2;
const IOU_THRESHOLD: usize = 3;
const SCORE_THRESHOLD: usize = 4;

impl NonMaxSuppression {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(NonMaxSuppression { is_centered: attrs.flag("center_point_box", false)? }))
    }

    /// The rows of the result.
    fn kept(&self, inputs: &Inputs<'_>) -> Result<Vec<[i64; 3]>, OpError> {
        let limits = Limits::new(inputs)?;
        let boxes = inputs.require(BOXES, "boxes")?.value()?.slice::<f32>();
        let scores = inputs.require(SCORES, "scores")?.value()?.slice::<f32>();
        let &[batches, classes, n] = inputs.shape(SCORES) else { return Ok(Vec::new()) };
        let mut kept = Vec::new();
        if n == 0 || limits.most == 0 {
            return Ok(kept);
        }
        for batch in 0..batches {
            let boxes = boxes[batch * n * 4..][..n * 4].chunks_exact(4);
            let areas: Vec<Area> = boxes.map(|corners| self.area(corners)).collect();
            for class in 0..classes {
                let scores = &scores[(batch * classes + class) * n..][..n];
                let best = limits.best(&areas, scores).into_iter();
                kept.extend(best.map(|i| [batch as i64, class as i64, i as i64]));
            }
        }
        Ok(kept)
    }

    fn area(&self, numbers: &[f32]) -> Area {
        let &[a, b, c, d] = numbers else { return Area { x: [0.; 2], y: [0.; 2] } };
        if self.is_centered {
            let (width, height) = (c / 2., d / 2.);
            Area { x: [a - width, a + width], y: [b - height, b + height] }
        } else {
            Area { x: [b.min(d), b.max(d)], y: [a.min(c), a.max(c)] }
        }
    }
}

/// How many boxes are kept, and which.
#[derive(Debug)]
struct Limits {
    most: usize,
    iou: f32,
    score: f32,
}

impl Limits {
    fn new(inputs: &Inputs<'_>) -> Result<Limits, OpError> {
        let most = match inputs.optional(MAX_OUTPUT_BOXES, "max_output_boxes_per_class") {
            None => 0,
            Some(most) => usize::try_from(most.i64s()?[0]).unwrap_or(0),
        };
        let float = |position, name| -> Result<Option<f32>, OpError> {
            let input = inputs.optional(position, name);
            input.map(|input| Ok(input.value()?.slice::<f32>()[0])).transpose()
        };
        let iou = float(IOU_THRESHOLD, "iou_threshold")?.unwrap_or(0.);
        if !(0. ..=1.).contains(&iou) {
            return Err(OpError::value("iou_threshold", iou, "0 to 1"));
        }
        let score = float(SCORE_THRESHOLD, "score_threshold")?.unwrap_or(f32::NEG_INFINITY);
        Ok(Limits { most, iou, score })
    }

    /// The boxes of one class that are kept, best first; of equal ones the first.
    fn best(&self, areas: &[Area], scores: &[f32]) -> Vec<usize> {
        let is_candidate = |&i: &usize| {
            let score = scores[i];
            !score.is_nan() && (self.score == f32::NEG_INFINITY || self.score < score)
        };
        let mut order: Vec<usize> = (0..scores.len()).filter(is_candidate).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let mut kept: Vec<usize> = Vec::new();
        for i in order {
            if kept.len() == self.most {
                break;
            }
            if kept.iter().all(|&better| areas[i].overlap(&areas[better]) <= self.iou) {
                kept.push(i);
            }
        }
        kept
    }
}

/// A box by its edges.
#[derive(Debug, Clone, Copy)]
struct Area {
    x: [f32; 2],
    y: [f32; 2],
}

impl Area {
    fn size(&self) -> f32 {
        (self.x[1] - self.x[0]) * (self.y[1] - self.y[0])
    }

    /// Intersection over union, 0 if either has no size; in f32 as others do, for thresholds are
    /// often met exactly.
    fn overlap(&self, other: &Area) -> f32 {
        let common = |a: [f32; 2], b: [f32; 2]| [a[0].max(b[0]), a[1].min(b[1])];
        let both = Area { x: common(self.x, other.x), y: common(self.y, other.y) };
        if both.x[1] <= both.x[0] || both.y[1] <= both.y[0] {
            return 0.;
        }
        let (size, other) = (self.size(), other.size());
        let union = size + other - both.size();
        if size <= 0. || other <= 0. || union <= 0. || both.size() <= 0. {
            return 0.;
        }
        both.size() / union
    }
}

impl Operator for NonMaxSuppression {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(5)?;
        let boxes = inputs.require(BOXES, "boxes")?;
        let scores = inputs.require(SCORES, "scores")?;
        boxes.expect_f32()?;
        scores.expect_f32()?;
        let [batches, n, numbers] = boxes.expect_rank()?;
        if numbers != 4 {
            return Err(boxes.wrong_shape("4 numbers per box along axis 2"));
        }
        let [scored_batches, _, scored] = scores.expect_rank()?;
        if [scored_batches, scored] != [batches, n] {
            return Err(
                scores.wrong_shape(format!("[{batches}, classes, {n}], to go with `boxes`"))
            );
        }
        let parameters = [
            (MAX_OUTPUT_BOXES, "max_output_boxes_per_class", DType::I64),
            (IOU_THRESHOLD, "iou_threshold", DType::F32),
            (SCORE_THRESHOLD, "score_threshold", DType::F32),
        ];
        for (position, name, dtype) in parameters {
            let Some(parameter) = inputs.optional(position, name) else { continue };
            parameter.expect_dtype(dtype)?;
            if parameter.ty().len() != 1 {
                return Err(parameter.wrong_shape("one element"));
            }
        }
        Ok(vec![TensorType::new(DType::I64, &[self.kept(inputs)?.len(), 3])])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let kept = self.kept(inputs)?;
        Ok(vec![Tensor::from_vec(&[kept.len(), 3], kept.concat())])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};

    use crate::ops::QuantRole;
    use crate::ops::testing::{OpTest, op};
    use crate::tensor::Tensor;

    /// Squares of side 2 at 0, 1 and 4; the first two share a third of their union.
    fn corners() -> Array3<f32> {
        array![[[0., 0., 2., 2.], [0., 3., 2., 1.], [4., 4., 6., 6.]]]
    }

    fn suppress(boxes: &Array3<f32>, scores: &Array3<f32>, most: i64, iou: f32) -> OpTest {
        op("NonMaxSuppression").input(boxes).input(scores).i64s(&[most]).input(&array![iou])
    }

    fn kept(rows: &[[i64; 3]]) -> Tensor {
        Tensor::from_vec(&[rows.len(), 3], rows.concat())
    }

    #[test]
    fn best_first_without_overlaps() {
        let scores = array![[[0.5, 0.7, 0.6]]];
        let base = |most, iou| suppress(&corners(), &scores, most, iou);
        base(9, 0.3).gives_tensor(kept(&[[0, 0, 1], [0, 0, 2]]));
        // Overlapping just so much is allowed.
        base(9, 1. / 3.).gives_tensor(kept(&[[0, 0, 1], [0, 0, 2], [0, 0, 0]]));
        base(1, 0.5).gives_tensor(kept(&[[0, 0, 1]]));
        base(0, 0.5).gives_tensor(kept(&[]));
        base(-1, 0.5).gives_tensor(kept(&[]));
        base(9, 1.).input(&array![0.6]).gives_tensor(kept(&[[0, 0, 1]]));
        op("NonMaxSuppression").input(&corners()).input(&scores).gives_tensor(kept(&[]));
    }

    #[test]
    fn batches_classes_and_ties() {
        let boxes = ndarray::concatenate![ndarray::Axis(0), corners(), corners()];
        let scores = array![[[1., 1., 0.], [0., 0.5, 1.]], [[0., 0., 1.], [1., 0., 0.]]];
        suppress(&boxes, &scores, 1, 0.).gives_tensor(kept(&[
            [0, 0, 0],
            [0, 1, 2],
            [1, 0, 2],
            [1, 1, 0],
        ]));
    }

    #[test]
    fn centers() {
        let boxes = array![[[1., 1., 2., 2.], [2., 1., 2., 2.], [5., 5., 2., 2.]]];
        let scores = array![[[0.5, 0.7, 0.6]]];
        let base = suppress(&boxes, &scores, 9, 0.3).int("center_point_box", 1);
        base.gives_tensor(kept(&[[0, 0, 1], [0, 0, 2]]));
    }

    #[test]
    fn refuses() {
        let scores = array![[[0.5, 0.7]]];
        suppress(&corners(), &scores, 1, 0.).fails(
            "input `scores` has shape [1, 1, 2], expected [1, classes, 3], to go with `boxes`",
        );
        let scores = array![[[0.5, 0.7, 0.6]]];
        suppress(&corners(), &scores, 1, 1.5)
            .fails("input `iou_threshold` is 1.5, expected 0 to 1");
        op("NonMaxSuppression")
            .input(&corners())
            .input(&scores)
            .i64s(&[1, 2])
            .fails("input `max_output_boxes_per_class` has shape [2], expected one element");
        assert_eq!(suppress(&corners(), &scores, 1, 0.).quant(), QuantRole::NOT_QUANTIZED);
    }
}
