//! `FusedMatMul`, `FusedConv`, `FusedGemm`: a product with what comes right before or after it.

use crate::ops::attend::Real;
use crate::ops::floats::expect_same;
use crate::ops::microsoft::{apply, first, read_standard, standard, value};
use crate::ops::transpose::permuted;
use crate::ops::{
    AttrValue, Attrs, Bodies, Input, Inputs, OpDef, OpError, Operator, QuantRole, Weight,
};
use crate::tensor::{DType, Tensor, TensorType};

pub(in crate::ops) const OPS: &[OpDef] = &[
    OpDef::microsoft("FusedMatMul", FusedMatMul::read),
    OpDef::microsoft("TransposeMatMul", FusedMatMul::read),
    OpDef::microsoft("FusedConv", |attrs| {
        let params = attrs.floats("activation_params", [])?;
        Activated::read(attrs, "Conv", params)
    }),
    OpDef::microsoft("FusedGemm", |attrs| {
        let params = ["activation_alpha", "activation_beta", "activation_gamma"];
        let params: Result<Vec<_>, _> = params.iter().map(|name| attrs.opt_float(name)).collect();
        Activated::read(attrs, "Gemm", params?.into_iter().flatten().collect())
    }),
];

const A: usize = 0;
const B: usize = 1;

/// `alpha * op(A) * op(B)`, a product of stacks of matrices.
#[derive(Debug)]
struct FusedMatMul {
    alpha: f32,
    /// For each operand: whether the last two axes change places.
    trans: [bool; 2],
    /// For each operand: whether the first axis moves behind those of the stack.
    trans_batch: [bool; 2],
    matmul: Box<dyn Operator>,
    mul: Box<dyn Operator>,
}

impl FusedMatMul {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        Ok(Box::new(FusedMatMul {
            alpha: attrs.float("alpha", 1.)?,
            trans: [attrs.flag("transA", false)?, attrs.flag("transB", false)?],
            trans_batch: [attrs.flag("transBatchA", false)?, attrs.flag("transBatchB", false)?],
            matmul: standard("MatMul", &[])?,
            mul: standard("Mul", &[])?,
        }))
    }

    /// The axes of an operand, in the order in which `MatMul` reads them.
    fn perm(&self, operand: usize, rank: usize) -> Vec<usize> {
        let mut perm: Vec<usize> = (0..rank).collect();
        if 2 < rank && self.trans_batch[operand] {
            perm[..rank - 1].rotate_left(1);
        }
        if 2 <= rank && self.trans[operand] {
            perm.swap(rank - 2, rank - 1);
        }
        perm
    }

    /// The types of both operands as `MatMul` reads them.
    fn types(&self, inputs: &Inputs<'_>) -> Result<[TensorType; 2], OpError> {
        let permuted = |operand, name| {
            let ty = inputs.require(operand, name)?.ty();
            let perm = self.perm(operand, ty.shape.len());
            let shape: Vec<usize> = perm.iter().map(|&axis| ty.shape[axis]).collect();
            Ok(TensorType::new(ty.dtype, &shape))
        };
        Ok([permuted(A, "A")?, permuted(B, "B")?])
    }
}

fn as_inputs(types: &[TensorType; 2]) -> [Option<Input<'_>>; 2] {
    [A, B].map(|operand| Some(Input { ty: &types[operand], value: None }))
}

impl Operator for FusedMatMul {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(2)?;
        let types = self.types(inputs)?;
        inputs.require(A, "A")?.expect_dtype_that(DType::is_float, "a float type")?;
        self.matmul.infer(&Inputs::new(&as_inputs(&types), 1))
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let operand = |operand| {
            let x = inputs.tensor(operand);
            permuted(x, &self.perm(operand, x.rank()))
        };
        let y = apply(&*self.matmul, &[Some(&operand(A)), Some(&operand(B))])?;
        if self.alpha == 1. {
            return Ok(vec![y]);
        }
        let alpha = Real::tensor(y.dtype(), &[], vec![f64::from(self.alpha)]);
        Ok(vec![apply(&*self.mul, &[Some(&y), Some(&alpha)])?])
    }

    fn macs(&self, inputs: &Inputs<'_>, outputs: &[TensorType]) -> u64 {
        let Ok(types) = self.types(inputs) else { return 0 };
        self.matmul.macs(&Inputs::new(&as_inputs(&types), 1), outputs)
    }

    fn quant(&self, inputs: &Inputs<'_>) -> QuantRole {
        let Ok(types) = self.types(inputs) else { return QuantRole::OWN_RANGE };
        let mut role = self.matmul.quant(&Inputs::new(&as_inputs(&types), 1));
        for Weight { input, channel_axis } in &mut role.weights {
            let perm = self.perm(*input, inputs.shape(*input).len());
            *channel_axis = perm.get(*channel_axis).copied().unwrap_or(*channel_axis);
        }
        role
    }
}

/// A `Conv` or `Gemm` and an activation; in a `Conv` a fourth input is added before it.
#[derive(Debug)]
struct Activated {
    product: Box<dyn Operator>,
    add: Box<dyn Operator>,
    activation: Option<Activation>,
}

#[derive(Debug)]
struct Activation {
    operator: Box<dyn Operator>,
    /// Those of a `Clip`.
    bounds: Vec<f32>,
}

const Z: usize = 3;

impl Activated {
    fn read(
        attrs: &mut Attrs,
        product: &str,
        params: Vec<f32>,
    ) -> Result<Box<dyn Operator>, OpError> {
        let activation = match attrs.opt_string("activation")? {
            Some(name) if !name.is_empty() => Some(Activation::new(&name, params)?),
            _ => None,
        };
        let product = read_standard(product, attrs)?;
        Ok(Box::new(Activated { product, add: standard("Add", &[])?, activation }))
    }
}

impl Activation {
    fn new(name: &str, params: Vec<f32>) -> Result<Activation, OpError> {
        let (names, bounds): (&[&str], Vec<f32>) = match name {
            "Relu" | "Tanh" | "Sigmoid" | "Softplus" | "Softsign" => (&[], vec![]),
            "LeakyRelu" | "Elu" | "ThresholdedRelu" => (&["alpha"], vec![]),
            "HardSigmoid" => (&["alpha", "beta"], vec![]),
            "Selu" => (&["alpha", "gamma"], vec![]),
            "Clip" => (&[], params.clone()),
            other => {
                let supported = "`Relu`, `Tanh`, `Sigmoid`, `LeakyRelu`, `Clip`, `HardSigmoid`, `Elu`, \
                     `Selu`, `Softplus`, `Softsign`, `ThresholdedRelu`";
                return Err(OpError::attribute("activation", format!("`{other}`"), supported));
            }
        };
        let attrs =
            names.iter().zip(&params).map(|(name, &value)| (*name, AttrValue::Float(value)));
        let operator = standard(name, &attrs.collect::<Vec<_>>())?;
        Ok(Activation { operator, bounds })
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor, OpError> {
        let bounds = self.bounds.iter().take(2);
        let bounds = bounds.map(|&bound| Real::tensor(x.dtype(), &[], vec![f64::from(bound)]));
        let bounds: Vec<Tensor> = bounds.collect();
        let inputs: Vec<_> = std::iter::once(x).chain(&bounds).map(Some).collect();
        apply(&*self.operator, &inputs)
    }
}

impl Operator for Activated {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(4)?;
        let types = self.product.infer(&Inputs::new(&first(inputs, Z), 1))?;
        inputs.require(0, "X")?.expect_dtype_that(DType::is_float, "a float type")?;
        if let Some(z) = inputs.optional(Z, "Z")
            && expect_same(&z, types[0].dtype, "X")? != types[0].shape
        {
            return Err(z.wrong_shape(format!("{:?}, that of the result", types[0].shape)));
        }
        Ok(types)
    }

    fn eval(&self, inputs: &Inputs<'_>, bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let mut y = self.product.eval(&Inputs::new(&first(inputs, Z), 1), bodies)?.remove(0);
        if let Some(z) = value(inputs, Z) {
            y = apply(&*self.add, &[Some(&y), Some(z)])?;
        }
        match &self.activation {
            Some(activation) => Ok(vec![activation.apply(&y)?]),
            None => Ok(vec![y]),
        }
    }

    fn macs(&self, inputs: &Inputs<'_>, outputs: &[TensorType]) -> u64 {
        self.product.macs(&Inputs::new(&first(inputs, Z), 1), outputs)
    }

    /// What is added is no partner of the weight: it has the encoding its other readers give it.
    fn quant(&self, inputs: &Inputs<'_>) -> QuantRole {
        self.product.quant(&Inputs::new(&first(inputs, Z), 1))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::testing::{OpTest, counting, mixed, op};
    use crate::ops::{QuantRole, Weight};

    fn microsoft(name: &'static str) -> OpTest {
        op(name).domain("com.microsoft")
    }

    #[test]
    fn products_of_transposed() {
        let product = |a: &[usize], b: &[usize]| {
            microsoft("FusedMatMul").tensor(counting(a)).tensor(counting(b))
        };
        let y = array![[10., 13.], [28., 40.]];
        product(&[2, 3], &[3, 2]).macs(12).gives(y.clone());
        product(&[2, 3], &[3, 2]).float("alpha", 2.).gives(2. * y);
        product(&[3, 2], &[3, 2]).int("transA", 1).macs(12).gives(array![[20., 26.], [26., 35.]]);
        product(&[1, 2], &[3, 2]).int("transB", 1).macs(6).gives(array![[1., 3., 5.]]);
        product(&[2, 3, 1], &[1, 1]).int("transBatchA", 1).gives(array![
            [[0.], [0.]],
            [[0.], [0.]],
            [[0.], [0.]]
        ]);
        product(&[2, 3, 1], &[3, 2, 1])
            .int("transBatchA", 1)
            .int("transA", 1)
            .macs(6)
            .gives(array![[[3.]], [[14.]], [[33.]]]);
        product(&[2, 3], &[2, 2])
            .fails("input `B` has shape [2, 2], expected inner dimension 3, that of `A`");
    }

    #[test]
    fn channels_of_transposed() {
        let axes =
            |op: OpTest| op.quant().weights.iter().map(|w| w.channel_axis).collect::<Vec<_>>();
        let base = || microsoft("FusedMatMul").tensor(counting(&[2, 3])).tensor(counting(&[3, 3]));
        assert_eq!(axes(base()), [1, 0]);
        assert_eq!(axes(base().int("transB", 1)), [0, 0]);
        assert_eq!(axes(base().int("transA", 1)), [1, 1]);
    }

    #[test]
    fn conv_and_what_follows() {
        let base =
            || microsoft("FusedConv").tensor(counting(&[1, 1, 3, 4])).tensor(mixed(&[1, 1, 2, 2]));
        base().macs(24).gives(array![[[[3., 2., 1.], [-1., -2., -3.]]]]);
        base().string("activation", "Relu").gives(array![[[[3., 2., 1.], [0., 0., 0.]]]]);
        base()
            .input(&array![1.])
            .tensor(counting(&[1, 1, 2, 3]))
            .string("activation", "Clip")
            .attr("activation_params", crate::ops::AttrValue::Floats(vec![3.5, 4.]))
            .gives(array![[[[4., 4., 4.], [3.5, 3.5, 3.5]]]]);
        let role = QuantRole::weighted(0, Weight { input: 1, channel_axis: 0 }).with_bias(2);
        assert_eq!(base().quant(), role);
        base().string("activation", "Erf").fails(
            "attribute `activation` is `Erf`; supported: `Relu`, `Tanh`, `Sigmoid`, `LeakyRelu`, `Clip`, \
             `HardSigmoid`, `Elu`, `Selu`, `Softplus`, `Softsign`, `ThresholdedRelu`",
        );
    }

    #[test]
    fn gemm_and_what_follows() {
        let base = || microsoft("FusedGemm").input(&array![[1., -2.]]).input(&array![[1.], [2.]]);
        base().macs(2).gives(array![[-3.]]);
        base()
            .string("activation", "LeakyRelu")
            .float("activation_alpha", 0.5)
            .gives(array![[-1.5]]);
        base()
            .int("transB", 1)
            .fails("input `B` has shape [2, 1], expected inner dimension 2, that of `A`");
    }
}
