//! How far scores are from labels: `NegativeLogLikelihoodLoss`, `SoftmaxCrossEntropyLoss`.
//!
//! <https://onnx.ai/onnx/operators/onnx__NegativeLogLikelihoodLoss.html>,
//! <https://onnx.ai/onnx/operators/onnx__SoftmaxCrossEntropyLoss.html>

use crate::ops::dims::Along;
use crate::ops::floats::{doubles, expect_any_float, expect_same, rounded};
use crate::ops::lanes::for_each_lane;
use crate::ops::softmax::log_softmax;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("NegativeLogLikelihoodLoss", 12, |attrs| Loss::read(attrs, &LIKELIHOOD)),
    OpDef::onnx("SoftmaxCrossEntropyLoss", 12, |attrs| Loss::read(attrs, &CROSS_ENTROPY)),
];

/// `-log_probability[label] * weight[label]`, for classes along axis 1; 0 where the label is to be ignored.
#[derive(Debug)]
struct Loss {
    names: &'static Names,
    reduction: Reduction,
    ignored: Option<i64>,
}

/// How the specification calls the inputs.
#[derive(Debug)]
struct Names {
    scores: &'static str,
    labels: &'static str,
    weights: &'static str,
    /// Whether the scores are not yet logarithms of probabilities.
    has_softmax: bool,
}

const LIKELIHOOD: Names =
    Names { scores: "input", labels: "target", weights: "weight", has_softmax: false };
const CROSS_ENTROPY: Names =
    Names { scores: "scores", labels: "labels", weights: "weights", has_softmax: true };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reduction {
    Mean,
    Sum,
    None,
}

const SCORES: usize = 0;
const LABELS: usize = 1;
const WEIGHTS: usize = 2;
/// Along which the classes lie.
const AXIS: usize = 1;

impl Loss {
    fn read(attrs: &mut Attrs, names: &'static Names) -> Result<Box<dyn Operator>, OpError> {
        let reductions =
            [("mean", Reduction::Mean), ("sum", Reduction::Sum), ("none", Reduction::None)];
        let reduction = attrs.choice("reduction", &reductions)?;
        Ok(Box::new(Loss { names, reduction, ignored: attrs.opt_int("ignore_index")? }))
    }

    /// The loss of every label, and the weight that it counts with.
    fn terms(&self, inputs: &Inputs<'_>, log_p: &[f64]) -> Result<Vec<[f64; 2]>, OpError> {
        let labels = inputs.tensor(LABELS).to_i64().expect("`infer` checked the type");
        let weights = inputs.get(WEIGHTS).map(|_| doubles(inputs.tensor(WEIGHTS)));
        let Along { n, inner, .. } = Along::new(inputs.shape(SCORES), AXIS);
        let term = |(position, &label): (usize, &i64)| {
            if self.ignored == Some(label) {
                return Ok([0., 0.]);
            }
            let class = usize::try_from(label).ok().filter(|&class| class < n);
            let class = class.ok_or_else(|| {
                OpError::value(self.names.labels, label, format!("classes, of which there are {n}"))
            })?;
            let weight = weights.as_ref().map_or(1., |weights| weights[class]);
            let log_p = log_p[(position / inner * n + class) * inner + position % inner];
            Ok([-log_p * weight, weight])
        };
        labels.iter().enumerate().map(term).collect()
    }

    fn reduce(&self, terms: &[[f64; 2]]) -> Vec<f64> {
        let sum = |i: usize| terms.iter().map(|term| term[i]).sum::<f64>();
        match self.reduction {
            Reduction::Mean => vec![sum(0) / sum(1)],
            Reduction::Sum => vec![sum(0)],
            Reduction::None => terms.iter().map(|term| term[0]).collect(),
        }
    }
}

impl Operator for Loss {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(3)?;
        let scores = inputs.require(SCORES, self.names.scores)?;
        let shape = expect_any_float(&scores)?;
        let [batch, classes, positions @ ..] = shape else {
            return Err(scores.wrong_shape("[N, C, ...]"));
        };
        let labels = inputs.require(LABELS, self.names.labels)?;
        let is_label = |dtype| matches!(dtype, DType::I32 | DType::I64);
        let expected = [&[*batch], positions].concat();
        if labels.expect_dtype_that(is_label, "int32 or int64")? != expected {
            return Err(labels.wrong_shape(format!("{expected:?}, one per position")));
        }
        if let Some(weights) = inputs.optional(WEIGHTS, self.names.weights)
            && expect_same(&weights, scores.dtype(), self.names.scores)? != [*classes]
        {
            return Err(weights.wrong_shape(format!("[{classes}], one per class")));
        }
        let output = if self.reduction == Reduction::None { expected } else { vec![] };
        let mut types = vec![TensorType { dtype: scores.dtype(), shape: output }];
        if self.names.has_softmax && 2 <= inputs.n_outputs() {
            types.push(scores.ty().clone());
        }
        Ok(types)
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let types = self.infer(inputs)?;
        let mut log_p = doubles(inputs.tensor(SCORES));
        if self.names.has_softmax {
            for_each_lane(&mut log_p, inputs.shape(SCORES), AXIS, log_softmax);
        }
        let loss = self.reduce(&self.terms(inputs, &log_p)?);
        let values = [loss, log_p].into_iter().zip(&types);
        Ok(values.map(|(values, ty)| rounded(ty.dtype, &ty.shape, values)).collect())
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::reads_only(SCORES)
    }
}

#[cfg(test)]
mod tests {
    use std::f32::consts::LN_2;

    use ndarray::{arr0, array};

    use crate::ops::QuantRole;
    use crate::ops::testing::{OpTest, counting, op};
    use crate::tensor::Tensor;

    fn likelihood() -> OpTest {
        let scores = array![[[1., 2.], [2., 2.], [3., 2.]], [[0., 1.], [2., 2.], [1., 2.]]];
        op("NegativeLogLikelihoodLoss").input(&scores)
    }

    #[test]
    fn reductions() {
        let base = |how| likelihood().tensor(array![[2_i64, 1], [0, 2]]).string("reduction", how);
        base("none").gives(array![[-3., -2.], [0., -2.]]);
        base("sum").gives(arr0(-7.));
        base("mean").gives(arr0(-1.75));
        let weighted = |how| base(how).input(&array![0.25, 0.5, 1.]);
        weighted("none").gives(array![[-3., -1.], [0., -2.]]);
        weighted("mean").gives(arr0(-6. / 2.75));
        weighted("mean").int("ignore_index", 2).gives(arr0(-1. / 0.75));
        base("mean").int("ignore_index", 2).gives(arr0(-1.));
        assert_eq!(base("sum").quant(), QuantRole::reads_only(0));
    }

    /// Labels that are ignored need not be classes.
    #[test]
    fn ignored() {
        let base = |labels| likelihood().tensor(labels).int("ignore_index", -1);
        base(array![[-1_i32, 1], [-1, -1]]).gives(arr0(-2.));
        base(array![[-1, -1], [-1, -1]]).gives(arr0(f32::NAN));
        base(array![[-1, 3], [0, 0]])
            .fails("input `target` is 3, expected classes, of which there are 3");
    }

    #[test]
    fn cross_entropy() {
        let base =
            || op("SoftmaxCrossEntropyLoss").input(&array![[0., 0.], [1., 1.]]).i64s(&[0, 1]);
        base().gives(arr0(LN_2));
        let log_p = array![[-LN_2, -LN_2], [-LN_2, -LN_2]];
        base()
            .string("reduction", "none")
            .outputs(2)
            .gives_tensors(&[array![LN_2, LN_2].into(), log_p.into()]);
        let doubles = op("SoftmaxCrossEntropyLoss").tensor(array![[0_f64, 0.]]).i64s(&[1]);
        doubles.gives_tensor(Tensor::scalar(std::f64::consts::LN_2));
    }

    #[test]
    fn refuses() {
        likelihood()
            .i64s(&[1, 2])
            .fails("input `target` has shape [2], expected [2, 2], one per position");
        likelihood()
            .tensor(array![[0_i64, 0], [0, 0]])
            .input(&array![1.])
            .fails("input `weight` has shape [1], expected [3], one per class");
        likelihood()
            .input(&array![[0., 0.], [0., 0.]])
            .fails("input `target` is float32, expected int32 or int64");
        op("SoftmaxCrossEntropyLoss")
            .tensor(counting(&[2]))
            .fails("input `scores` has shape [2], expected [N, C, ...]");
        likelihood()
            .string("reduction", "max")
            .fails("attribute `reduction` is `max`; supported: `mean`, `sum`, `none`");
        likelihood()
            .tensor(array![[0_i64, 0], [-1, 0]])
            .fails("input `target` is -1, expected classes, of which there are 3");
    }
}
