//! `Einsum`: products of any number of operands, summed over the labels that the output does not have.
//!
//! <https://onnx.ai/onnx/operators/onnx__Einsum.html>

use ndarray::{ArrayView, IxDyn, ShapeBuilder};

use crate::dispatch;
use crate::ops::cast::cast;
use crate::ops::dims::{checked_type, strides};
use crate::ops::equation::{Equation, Label, Plan};
use crate::ops::inputs::Named;
use crate::ops::matmul;
use crate::ops::reduce::sum_axes;
use crate::ops::{
    Attrs, Bodies, Inputs, OpDef, OpError, Operator, OutputRange, QuantRole, Reads, Weight,
};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("Einsum", 12, Einsum::read)];

/// A dimension of 1 stretches to what the label is elsewhere. Integers wrap; the 16-bit floats compute in
/// float32 and are rounded once.
#[derive(Debug)]
struct Einsum {
    text: String,
    equation: Equation,
}

/// The most elements that a product of some of the operands may have, to be multiplied with the others.
const LARGEST: usize = 1 << 30;

impl Einsum {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        let missing = || OpError::MissingAttribute { name: "equation".to_owned() };
        let text = attrs.opt_string("equation")?.ok_or_else(missing)?;
        Ok(Box::new(Einsum { equation: Equation::parse(&text)?, text }))
    }

    fn plan(&self, inputs: &Inputs<'_>) -> Result<Plan, OpError> {
        let operands: Result<Vec<Named<'_>>, OpError> =
            (0..inputs.len()).map(|position| inputs.require(position, "Inputs")).collect();
        self.equation.plan(&self.text, &operands?)
    }
}

impl Operator for Einsum {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        let first = inputs.require(0, "Inputs")?;
        first.expect_dtype_that(is_number, "a numeric type")?;
        for position in 1..inputs.len() {
            inputs.require(position, "Inputs")?.expect_dtype(first.dtype())?;
        }
        Ok(vec![checked_type(first.dtype(), self.plan(inputs)?.output_shape())?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let plan = self.plan(inputs)?;
        let dtype = inputs.tensor(0).dtype();
        let wide = |x: &Tensor| cast(x, computed_in(dtype));
        let operands = plan.terms.iter().enumerate();
        let operands = operands.map(|(i, term)| Operand::new(term, &wide(inputs.tensor(i))));
        let product = multiply_all(operands.collect(), &plan.output)?;
        let ordered = product.summed_but(&plan.output).transposed(&plan.output);
        Ok(vec![cast(&ordered.tensor.reshaped(&plan.output_shape()), dtype)])
    }

    /// One for every product of an element of each operand; sums of one operand are free.
    fn macs(&self, inputs: &Inputs<'_>, _outputs: &[TensorType]) -> u64 {
        match self.plan(inputs) {
            Ok(plan) if 2 <= inputs.len() => plan.products(),
            _ => 0,
        }
    }

    /// With two operands, as `MatMul`: output channels are the labels that only the constant one has.
    fn quant(&self, inputs: &Inputs<'_>) -> QuantRole {
        let Ok(plan) = self.plan(inputs) else { return QuantRole::OWN_RANGE };
        match plan.terms.as_slice() {
            [x] if x.iter().all(|label| plan.output.contains(label)) => QuantRole::passes(0),
            [a, b] => {
                let channel = |input, own: &[Label], other: &[Label]| {
                    let channel_axis = channel_axis(own, other, &plan.output)?;
                    Some(Weight { input, channel_axis })
                };
                let weights = [channel(1, b, a), channel(0, a, b)].into_iter().flatten().collect();
                let reads = Reads::Only(vec![0, 1]);
                QuantRole { weights, reads, bias: None, product: true, output: OutputRange::Own }
            }
            _ => QuantRole::OWN_RANGE,
        }
    }
}

/// The floats and integers of whole bytes.
pub(super) fn is_number(dtype: DType) -> bool {
    let is_signed = matches!(dtype, DType::I8 | DType::I16 | DType::I32 | DType::I64);
    let is_unsigned = matches!(dtype, DType::U8 | DType::U16 | DType::U32 | DType::U64);
    dtype.is_float() || is_signed || is_unsigned
}

/// The type in which products are summed.
fn computed_in(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        DType::I8 | DType::I16 => DType::I32,
        DType::U8 | DType::U16 => DType::U32,
        _ => dtype,
    }
}

/// The last axis of a weight that the output has, rather one that the other operand does not have.
fn channel_axis(own: &[Label], other: &[Label], output: &[Label]) -> Option<usize> {
    let alone = own.iter().rposition(|label| output.contains(label) && !other.contains(label));
    alone.or_else(|| own.iter().rposition(|label| output.contains(label)))
}

/// A tensor with a label for every axis, none twice and none of length 1.
#[derive(Debug)]
struct Operand {
    labels: Vec<Label>,
    tensor: Tensor,
}

impl Operand {
    /// Axes of length 1 stretch, so they say nothing; of axes with one label only the diagonal counts.
    fn new(term: &[Label], tensor: &Tensor) -> Operand {
        let (mut labels, mut dims, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        let axes = tensor.shape().iter().zip(strides(tensor.shape()));
        for (&label, (&dim, stride)) in term.iter().zip(axes).filter(|(_, (dim, _))| **dim != 1) {
            match labels.iter().position(|&known| known == label) {
                Some(axis) => steps[axis] += stride,
                None => {
                    labels.push(label);
                    dims.push(dim);
                    steps.push(stride);
                }
            }
        }
        if tensor.len() == dims.iter().product::<usize>() {
            return Operand { labels, tensor: tensor.reshaped(&dims) };
        }
        let tensor = dispatch!(tensor.dtype(), T => {
            let shape = IxDyn(&dims).strides(IxDyn(&steps));
            let view = ArrayView::from_shape(shape, tensor.slice::<T>());
            Tensor::new(view.expect("a diagonal lies within its tensor").to_owned())
        });
        Operand { labels, tensor }
    }

    fn size(&self, label: Label) -> Option<usize> {
        let axis = self.labels.iter().position(|&own| own == label)?;
        Some(self.tensor.shape()[axis])
    }

    /// Summed over all labels that are not in `kept`.
    fn summed_but(self, kept: &[Label]) -> Operand {
        let is_reduced: Vec<bool> = self.labels.iter().map(|label| !kept.contains(label)).collect();
        if !is_reduced.contains(&true) {
            return self;
        }
        let labels = self.labels.into_iter().filter(|label| kept.contains(label)).collect();
        Operand { labels, tensor: sum_axes(&self.tensor, &is_reduced) }
    }

    /// In the order of `order`, which holds all its labels.
    fn transposed(self, order: &[Label]) -> Operand {
        let labels: Vec<Label> =
            order.iter().copied().filter(|label| self.labels.contains(label)).collect();
        if labels == self.labels {
            return self;
        }
        let axes: Vec<usize> = labels
            .iter()
            .filter_map(|label| self.labels.iter().position(|own| own == label))
            .collect();
        let tensor = dispatch!(self.tensor.dtype(), T => {
            Tensor::new(self.tensor.view::<T>().permuted_axes(IxDyn(&axes)).to_owned())
        });
        Operand { labels, tensor }
    }
}

/// The product of all, summed as far as `output` allows; the pair with the smallest product goes first.
fn multiply_all(mut operands: Vec<Operand>, output: &[Label]) -> Result<Operand, OpError> {
    loop {
        let n = operands.len();
        let pairs = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
        let sized = pairs.map(|(i, j)| (product_len(&operands, i, j, output), i, j));
        let Some((len, i, j)) = sized.min() else { break };
        if 2 < n && LARGEST < len {
            return Err(OpError::NotSupported {
                what: format!("an intermediate product of {len} elements"),
            });
        }
        let kept = needed(&operands, i, j, output);
        let (b, a) = (operands.remove(j), operands.remove(i));
        operands.insert(i, multiply(a, b, &kept)?);
    }
    Ok(operands.remove(0))
}

/// The labels that the output or operands other than `i` and `j` have.
fn needed(operands: &[Operand], i: usize, j: usize, output: &[Label]) -> Vec<Label> {
    let others = operands.iter().enumerate().filter(|(k, _)| *k != i && *k != j);
    let others = others.flat_map(|(_, operand)| operand.labels.iter().copied());
    output.iter().copied().chain(others).collect()
}

fn product_len(operands: &[Operand], i: usize, j: usize, output: &[Label]) -> usize {
    let mut labels = needed(operands, i, j, output);
    labels.sort_unstable();
    labels.dedup();
    let (a, b) = (&operands[i], &operands[j]);
    let sizes = labels.iter().filter_map(|&label| a.size(label).or_else(|| b.size(label)));
    sizes.fold(1, |product: usize, size| product.saturating_mul(size))
}

/// A matrix product for every element of the labels that both have and that are kept.
fn multiply(a: Operand, b: Operand, kept: &[Label]) -> Result<Operand, OpError> {
    let for_a: Vec<Label> = kept.iter().chain(&b.labels).copied().collect();
    let for_b: Vec<Label> = kept.iter().chain(&a.labels).copied().collect();
    let (a, b) = (a.summed_but(&for_a), b.summed_but(&for_b));
    let split = |own: &Operand, other: &Operand| -> [Vec<Label>; 3] {
        let (mut batch, mut inner, mut alone) = (Vec::new(), Vec::new(), Vec::new());
        for &label in &own.labels {
            match (other.labels.contains(&label), kept.contains(&label)) {
                (true, true) => batch.push(label),
                (true, false) => inner.push(label),
                (false, _) => alone.push(label),
            }
        }
        [batch, inner, alone]
    };
    let ([batch, inner, rows], [_, _, columns]) = (split(&a, &b), split(&b, &a));
    let a = a.transposed(&[&*batch, &*rows, &*inner].concat());
    let b = b.transposed(&[&*batch, &*inner, &*columns].concat());
    let len = |operand: &Operand, labels: &[Label]| -> usize {
        labels.iter().filter_map(|&label| operand.size(label)).product()
    };
    let [n_batch, k] = [&batch, &inner].map(|labels| len(&a, labels));
    let [m, n] = [len(&a, &rows), len(&b, &columns)];
    let labels = [batch, rows, columns].concat();
    let size = |&label: &Label| a.size(label).or_else(|| b.size(label));
    let dims: Vec<usize> = labels.iter().filter_map(size).collect();
    let (a, b) = (a.tensor.reshaped(&[n_batch, m, k]), b.tensor.reshaped(&[n_batch, k, n]));
    Ok(Operand { labels, tensor: matmul::product(&a, &b)?.reshaped(&dims) })
}

#[cfg(test)]
mod tests {
    use half::f16;
    use ndarray::array;

    use crate::ops::testing::{OpTest, counting, op};
    use crate::ops::{QuantRole, Weight};
    use crate::tensor::Tensor;

    fn einsum(equation: &str, shapes: &[&[usize]]) -> OpTest {
        let base = op("Einsum").string("equation", equation);
        shapes.iter().fold(base, |test, shape| test.tensor(counting(shape)))
    }

    #[test]
    fn one_operand() {
        einsum("ij->ji", &[&[2, 2]]).macs(0).gives(array![[0., 2.], [1., 3.]]);
        einsum("ij->i", &[&[2, 2]]).gives(array![1., 5.]);
        einsum("ij->", &[&[2, 2]]).gives(ndarray::arr0(6.));
        einsum("ii->i", &[&[3, 3]]).gives(array![0., 4., 8.]);
        einsum("ii", &[&[3, 3]]).gives(ndarray::arr0(12.));
        einsum("iji->ji", &[&[2, 2, 2]]).gives(array![[0., 5.], [2., 7.]]);
        einsum("...ii->...i", &[&[2, 2, 2]]).gives(array![[0., 3.], [4., 7.]]);
        einsum("b...->...", &[&[2, 2]]).gives(array![2., 4.]);
        einsum("->", &[&[]]).gives(ndarray::arr0(0.));
    }

    #[test]
    fn two_operands() {
        einsum("ij,jk", &[&[2, 2], &[2, 2]]).macs(8).gives(array![[2., 3.], [6., 11.]]);
        einsum("ij,jk->ki", &[&[2, 2], &[2, 2]]).gives(array![[2., 6.], [3., 11.]]);
        einsum("i,i", &[&[3], &[3]]).macs(3).gives(ndarray::arr0(5.));
        einsum("i,j->ij", &[&[2], &[2]]).gives(array![[0., 0.], [0., 1.]]);
        einsum("bij,bj->bi", &[&[2, 1, 2], &[2, 2]]).macs(4).gives(array![[1.], [13.]]);
        einsum("ij,kl->il", &[&[2, 2], &[2, 2]]).macs(16).gives(array![[2., 4.], [10., 20.]]);
        einsum(",i->i", &[&[], &[2]]).gives(array![0., 0.]);
    }

    #[test]
    fn several_operands() {
        einsum("i,i,i->i", &[&[3], &[3], &[3]]).macs(3).gives(array![0., 1., 8.]);
        let chain: [&[usize]; 3] = [&[2, 2], &[2, 2], &[2, 1]];
        einsum("ij,jk,kl->il", &chain).macs(8).gives(array![[3.], [11.]]);
    }

    #[test]
    fn ones_stretch() {
        einsum("ij,ij->ij", &[&[1, 2], &[2, 1]]).macs(4).gives(array![[0., 0.], [0., 1.]]);
        einsum("...i,...i->...", &[&[2, 1, 2], &[1, 2, 2]])
            .gives(array![[[1., 3.]], [[3., 13.]]].into_shape_with_order((2, 2)).unwrap());
        einsum("ij,jk->ik", &[&[1, 1], &[2, 1]]).gives(array![[0.]]);
        einsum("ij->ij", &[&[1, 2]]).gives(array![[0., 1.]]);
        einsum("ii->i", &[&[1, 3]]).gives(array![0., 1., 2.]);
    }

    #[test]
    fn nothing_in_nothing_out() {
        einsum("ij,jk", &[&[2, 0], &[0, 1]]).macs(0).gives(array![[0.], [0.]]);
        einsum("ii->i", &[&[0, 0]]).gives_tensor(counting(&[0]));
        einsum("i,j->ij", &[&[0], &[1]]).gives_tensor(counting(&[0, 1]));
    }

    #[test]
    fn types() {
        let base = || op("Einsum").string("equation", "i,i");
        let halves = array![f16::from_f32(2048.), f16::ONE, f16::ONE];
        let ones = array![f16::ONE, f16::ONE, f16::ONE];
        base().tensor(halves).tensor(ones).gives_tensor(Tensor::scalar(f16::from_f32(2050.)));
        base()
            .tensor(array![100_i8, 1])
            .tensor(array![3_i8, 1])
            .gives_tensor(Tensor::scalar(45_i8));
        base().i64s(&[i64::MAX, 1]).i64s(&[1, 1]).gives_tensor(Tensor::scalar(i64::MIN));
        let double = Tensor::scalar(1e-9 + 2.);
        base().tensor(array![1e-9, 1.]).tensor(array![1_f64, 2.]).gives_tensor(double);
    }

    #[test]
    fn quantization() {
        let weights = |equation, shapes: &[&[usize]]| {
            let role = einsum(equation, shapes).quant();
            assert!(role.product);
            role.weights
        };
        let weight = |input, channel_axis| Weight { input, channel_axis };
        let found = weights("bsd,dhk->bshk", &[&[1; 3], &[1; 3]]);
        assert_eq!(found, [weight(1, 2), weight(0, 1)]);
        assert_eq!(weights("bi,bi->b", &[&[1; 2], &[1; 2]]), [weight(1, 0), weight(0, 0)]);
        assert_eq!(weights("i,i->", &[&[1], &[1]]), []);
        assert_eq!(einsum("ij->ji", &[&[1, 1]]).quant(), QuantRole::passes(0));
        assert_eq!(einsum("ij->j", &[&[1, 1]]).quant(), QuantRole::OWN_RANGE);
    }

    #[test]
    fn refuses() {
        einsum("i,i", &[&[2]]).fails("has 1 inputs, expected 2, one per term of `i,i`");
        einsum("ij", &[&[2]]).fails("input `Inputs` has shape [2], expected a term of `ij`");
        einsum("...i,...i", &[&[2, 3], &[3]])
            .fails("input `Inputs` has shape [3], expected a term of `...i,...i`, `...` of rank 1");
        einsum("ij,jk", &[&[2, 3], &[2, 2]])
            .fails("input `Inputs` has shape [2, 2], expected 3 or 1 where `j` is");
        einsum("...i->i", &[&[2, 3]]).fails(
            "attribute `equation` is `...i->i`, expected `...` after the `->`, as before it",
        );
        op("Einsum").fails("attribute `equation` is missing");
        einsum("i,i", &[&[2]]).i64s(&[1, 2]).fails("input `Inputs` is int64, expected float32");
    }
}
