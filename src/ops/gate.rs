//! [`Gate`]: what a gate of `RNN`, `GRU` or `LSTM` applies to its sum: a clip, then a function by name.

use crate::ops::unary::Special;
use crate::ops::{Attrs, OpError};

/// One of the functions that the attribute `activations` may name.
#[derive(Debug)]
struct Function {
    name: &'static str,
    /// The names in the specification's formula; `None` if it takes none.
    alpha: Option<Parameter>,
    beta: Option<Parameter>,
    f: fn(f64, f64, f64) -> f64,
}

/// Its default is that of the operator of the same name, where there is one.
#[derive(Debug, Clone, Copy)]
struct Parameter {
    default: Option<f32>,
}

const fn or(default: f32) -> Option<Parameter> {
    Some(Parameter { default: Some(default) })
}

/// No operator has the function's name, so there is no default.
const REQUIRED: Option<Parameter> = Some(Parameter { default: None });

const fn function(
    name: &'static str,
    alpha: Option<Parameter>,
    beta: Option<Parameter>,
    f: fn(f64, f64, f64) -> f64,
) -> Function {
    Function { name, alpha, beta, f }
}

const FUNCTIONS: &[Function] = &[
    function("Relu", None, None, |x, _, _| if x < 0. { 0. } else { x }),
    function("Tanh", None, None, |x, _, _| x.tanh()),
    function("Sigmoid", None, None, |x, _, _| 1. / (1. + (-x).exp())),
    function("Affine", REQUIRED, REQUIRED, |x, alpha, beta| alpha * x + beta),
    function("LeakyRelu", or(0.01), None, |x, alpha, _| if x < 0. { alpha * x } else { x }),
    function("ThresholdedRelu", or(1.), None, |x, alpha, _| if x < alpha { 0. } else { x }),
    function("ScaledTanh", REQUIRED, REQUIRED, |x, alpha, beta| alpha * (beta * x).tanh()),
    function("HardSigmoid", or(0.2), or(0.5), |x, alpha, beta| (alpha * x + beta).clamp(0., 1.)),
    function("Elu", or(1.), None, |x, alpha, _| if x < 0. { alpha * x.exp_m1() } else { x }),
    function("Softsign", None, None, |x, _, _| x / (1. + x.abs())),
    function("Softplus", None, None, |x, _, _| x.softplus()),
];

#[derive(Debug, Clone, Copy)]
pub(super) struct Gate {
    f: fn(f64, f64, f64) -> f64,
    alpha: f64,
    beta: f64,
    /// Sums are clipped to `[-clip, clip]`; infinity where they are not.
    clip: f64,
}

impl Gate {
    /// The gates of one or two directions, each direction with as many as `defaults`.
    pub(super) fn read(
        attrs: &mut Attrs,
        defaults: &[&str],
        n_directions: usize,
    ) -> Result<Vec<Gate>, OpError> {
        let names = match attrs.opt_strings("activations")? {
            Some(names) => names,
            None => defaults.repeat(n_directions).into_iter().map(str::to_owned).collect(),
        };
        // One direction may list functions for two: the default of `RNN` does.
        let counts = [defaults.len() * n_directions, defaults.len() * 2];
        if !counts.contains(&names.len()) {
            let expected = format!("a list of {}", counts[0]);
            return Err(OpError::invalid_attribute("activations", format!("{names:?}"), expected));
        }
        let clip = attrs.opt_float("clip")?.map_or(f64::INFINITY, f64::from);
        if clip.is_nan() || clip < 0. {
            return Err(OpError::invalid_attribute("clip", clip, "at least 0"));
        }
        let mut alphas = Values::read(attrs, "activation_alpha")?;
        let mut betas = Values::read(attrs, "activation_beta")?;
        let gate = |name: &String| {
            let Function { alpha, beta, f, .. } = find(name)?;
            Ok(Gate { f: *f, alpha: alphas.next(*alpha)?, beta: betas.next(*beta)?, clip })
        };
        let gates = names.iter().map(gate).collect::<Result<Vec<Gate>, OpError>>()?;
        alphas.finish()?;
        betas.finish()?;
        Ok(gates)
    }

    pub(super) fn without_clip(self) -> Gate {
        Gate { clip: f64::INFINITY, ..self }
    }

    pub(super) fn apply(&self, sum: f64) -> f64 {
        (self.f)(sum.clamp(-self.clip, self.clip), self.alpha, self.beta)
    }
}

fn find(name: &str) -> Result<&'static Function, OpError> {
    // onnxruntime takes them in any case.
    let found = FUNCTIONS.iter().find(|function| function.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| {
        let names: Vec<String> =
            FUNCTIONS.iter().map(|function| format!("`{}`", function.name)).collect();
        OpError::attribute("activations", format!("`{name}`"), names.join(", "))
    })
}

/// Values that the functions which take one consume in order.
struct Values {
    attribute: &'static str,
    given: Vec<f32>,
    n_taken: usize,
}

impl Values {
    fn read(attrs: &mut Attrs, attribute: &'static str) -> Result<Values, OpError> {
        Ok(Values { attribute, given: attrs.floats(attribute, [])?, n_taken: 0 })
    }

    fn next(&mut self, parameter: Option<Parameter>) -> Result<f64, OpError> {
        let Some(Parameter { default }) = parameter else { return Ok(0.) };
        let given = self.given.get(self.n_taken).copied();
        self.n_taken += 1;
        let missing = || OpError::MissingAttribute { name: self.attribute.to_owned() };
        given.or(default).map(f64::from).ok_or_else(missing)
    }

    /// Refuses values left over: they may have been meant for other functions.
    fn finish(self) -> Result<(), OpError> {
        if self.given.len() <= self.n_taken {
            return Ok(());
        }
        let expected = format!("{} values, one per function that takes one", self.n_taken);
        Err(OpError::invalid_attribute(self.attribute, format!("{:?}", self.given), expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::AttrValue;

    fn gate(name: &str, alpha: &[f32], beta: &[f32]) -> Gate {
        let names = AttrValue::Strings(vec![name.to_owned()]);
        let floats = |values: &[f32]| AttrValue::Floats(values.to_vec());
        let mut attrs = Attrs::new([
            ("activations".to_owned(), names),
            ("activation_alpha".to_owned(), floats(alpha)),
            ("activation_beta".to_owned(), floats(beta)),
        ]);
        Gate::read(&mut attrs, &["Tanh"], 1).unwrap()[0]
    }

    #[test]
    fn functions() {
        for (name, alpha, beta, [below, above]) in [
            ("Relu", &[][..], &[][..], [0., 2.]),
            ("Tanh", &[], &[], [-0.964_027_580, 0.964_027_580]),
            ("Sigmoid", &[], &[], [0.119_202_922, 0.880_797_078]),
            ("Affine", &[3.], &[1.], [-5., 7.]),
            ("LeakyRelu", &[], &[], [-0.02, 2.]),
            ("LeakyRelu", &[0.5], &[], [-1., 2.]),
            ("ThresholdedRelu", &[], &[], [0., 2.]),
            ("ThresholdedRelu", &[2.5], &[], [0., 0.]),
            ("ScaledTanh", &[2.], &[0.5], [-1.523_188_312, 1.523_188_312]),
            ("HardSigmoid", &[], &[], [0.1, 0.9]),
            ("HardSigmoid", &[0.5], &[0.25], [0., 1.]),
            ("Elu", &[], &[], [-0.864_664_717, 2.]),
            ("Softsign", &[], &[], [-2. / 3., 2. / 3.]),
            ("Softplus", &[], &[], [0.126_928_011, 2.126_928_011]),
        ] {
            let gate = gate(name, alpha, beta);
            for (x, y) in [(-2., below), (2., above)] {
                assert!((gate.apply(x) - y).abs() < 1e-7, "{name}({x}) is {}", gate.apply(x));
            }
            assert!(gate.apply(f64::NAN).is_nan() || name == "ThresholdedRelu", "{name}");
        }
    }

    #[test]
    fn values_are_consumed_in_order() {
        let mut attrs = Attrs::new([
            ("activation_alpha".to_owned(), AttrValue::Floats(vec![0.5])),
            ("clip".to_owned(), AttrValue::Float(2.)),
        ]);
        let gates = Gate::read(&mut attrs, &["LeakyRelu", "Relu", "LeakyRelu"], 1).unwrap();
        let of = |gate: &Gate| gate.apply(-4.);
        assert_eq!(gates.iter().map(of).collect::<Vec<_>>(), [-1., 0., f64::from(-0.02_f32)]);
        assert_eq!(gates[0].without_clip().apply(-4.), -2.);
    }
}
