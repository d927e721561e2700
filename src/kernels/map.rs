//! Functions of one element: activations and the unary operators that are worth it.
//!
//! The formulas are those of the reference operators, in the same order and without fusing, so where
//! only `+ - * /`, roots, comparisons and rounding occur the result is the same to the last bit; the
//! others differ by the errors of [`math`]. NaN stays NaN.

use super::formulas;
use super::math;
use super::simd::{Kernel, LANES, Simd, run};

/// A function of one element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Map {
    Abs,
    /// `x * scale + shift`, rounded twice.
    Affine {
        scale: f32,
        shift: f32,
    },
    Ceil,
    /// No less than `low`, then no more than `high`. `Relu` is 0 and infinity.
    Clip {
        low: f32,
        high: f32,
    },
    /// `alpha (exp(x) - 1)` below 0.
    Elu {
        alpha: f32,
    },
    Erf,
    Exp,
    Floor,
    /// `0.5 x (1 + erf(x / sqrt(2)))`
    Gelu,
    /// `0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`
    GeluTanh,
    /// `clip(alpha x + beta, 0, 1)`
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    /// `x clip(x / 6 + 0.5, 0, 1)`
    HardSwish,
    /// `alpha x` below 0.
    LeakyRelu {
        alpha: f32,
    },
    Log,
    /// `x tanh(softplus(x))`
    Mish,
    Neg,
    Reciprocal,
    /// `clip(round_half_even(x / scale), low, high) * scale`, a zero always +0: as `fake_quantize`.
    Round {
        scale: f32,
        low: f32,
        high: f32,
    },
    /// To the nearest integer, ties to even.
    RoundEven,
    Sigmoid,
    /// `ln(1 + exp(x))`
    Softplus,
    /// `x / (1 + |x|)`
    Softsign,
    Sqrt,
    Square,
    /// `x sigmoid(alpha x)`
    Swish {
        alpha: f32,
    },
    Tanh,
}

/// `x[i] = f(x[i])`; NaN stays NaN.
pub fn map(x: &mut [f32], f: &Map) {
    run(Sweep { x, f });
}

struct Sweep<'a> {
    x: &'a mut [f32],
    f: &'a Map,
}

/// Four vectors at a time: the compiler then loads the constants of a formula once for the four.
macro_rules! sweep {
    ($s:ident, $x:ident, $y:expr) => {{
        let (chunks, rest) = $x.as_chunks_mut::<{ 4 * LANES }>();
        let mut last = [0.; 4 * LANES];
        last[..rest.len()].copy_from_slice(rest);
        let padded = if rest.is_empty() { None } else { Some(&mut last) };
        for chunk in chunks.iter_mut().chain(padded) {
            for lanes in chunk.as_chunks_mut::<LANES>().0 {
                let $x = $s.load(lanes);
                $s.store(lanes, $y);
            }
        }
        rest.copy_from_slice(&last[..rest.len()]);
    }};
}

impl Kernel for Sweep<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Sweep { x, f } = self;
        match *f {
            Map::Abs => sweep!(s, x, math::abs(s, x)),
            Map::Affine { scale, shift } => sweep!(s, x, formulas::affine(s, x, scale, shift)),
            Map::Ceil => sweep!(s, x, formulas::ceil(s, x)),
            Map::Clip { low, high } => sweep!(s, x, formulas::clip(s, x, low, high)),
            Map::Elu { alpha } => sweep!(s, x, formulas::elu(s, x, alpha)),
            Map::Erf => sweep!(s, x, math::erf(s, x)),
            Map::Exp => sweep!(s, x, math::exp(s, x)),
            Map::Floor => sweep!(s, x, formulas::floor(s, x)),
            Map::Gelu => sweep!(s, x, formulas::gelu(s, x)),
            Map::GeluTanh => sweep!(s, x, formulas::gelu_tanh(s, x)),
            Map::HardSigmoid { alpha, beta } => {
                sweep!(s, x, formulas::clip(s, formulas::affine(s, x, alpha, beta), 0., 1.))
            }
            Map::HardSwish => sweep!(s, x, formulas::hard_swish(s, x)),
            Map::LeakyRelu { alpha } => sweep!(s, x, formulas::leaky_relu(s, x, alpha)),
            Map::Log => sweep!(s, x, math::ln(s, x)),
            Map::Mish => sweep!(s, x, formulas::mish(s, x)),
            Map::Neg => sweep!(s, x, s.sub(s.splat(-0.), x)),
            Map::Reciprocal => sweep!(s, x, s.div(s.splat(1.), x)),
            Map::Round { scale, low, high } => {
                sweep!(s, x, formulas::round(s, x, scale, low, high))
            }
            Map::RoundEven => sweep!(s, x, s.round(x)),
            Map::Sigmoid => sweep!(s, x, math::sigmoid(s, x)),
            Map::Softplus => sweep!(s, x, formulas::softplus(s, x)),
            Map::Softsign => sweep!(s, x, formulas::softsign(s, x)),
            Map::Sqrt => sweep!(s, x, s.sqrt(x)),
            Map::Square => sweep!(s, x, s.mul(x, x)),
            Map::Swish { alpha } => sweep!(s, x, formulas::swish(s, x, alpha)),
            Map::Tanh => sweep!(s, x, math::tanh(s, x)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;
    use crate::kernels::math::tests::plain_erf;

    /// How near a result is to that of the reference.
    #[derive(Debug, Clone, Copy)]
    enum Bound {
        Exact,
        /// In units of 2^-24 of the result.
        Relative(f64),
        /// In units of 2^-24 of the argument: what is left of a difference.
        OfArgument(f64),
    }
    use Bound::{Exact, OfArgument, Relative};

    const CASES: [(Map, Bound); 29] = [
        (Map::Abs, Exact),
        (Map::Affine { scale: 1.7, shift: -0.3 }, Exact),
        (Map::Ceil, Exact),
        (Map::Clip { low: 0., high: f32::INFINITY }, Exact),
        (Map::Clip { low: 5., high: 3. }, Exact),
        (Map::Elu { alpha: 0.7 }, Relative(4.)),
        (Map::Erf, Relative(8.)),
        (Map::Exp, Relative(2.1)),
        (Map::Floor, Exact),
        (Map::Gelu, OfArgument(3.)),
        (Map::GeluTanh, OfArgument(3.)),
        (Map::HardSigmoid { alpha: 0.2, beta: 0.5 }, Exact),
        (Map::HardSwish, Exact),
        (Map::LeakyRelu { alpha: 0.01 }, Exact),
        (Map::Log, Relative(2.)),
        (Map::Mish, Relative(8.)),
        (Map::Neg, Exact),
        (Map::Reciprocal, Exact),
        (Map::Round { scale: 0.25, low: -8., high: 7. }, Exact),
        (Map::Round { scale: 1e-3, low: 0., high: 255. }, Exact),
        (Map::RoundEven, Exact),
        (Map::Sigmoid, Relative(5.)),
        (Map::Softplus, Relative(5.)),
        (Map::Softsign, Exact),
        (Map::Sqrt, Exact),
        (Map::Square, Exact),
        (Map::Swish { alpha: 1. }, Relative(5.)),
        (Map::Swish { alpha: 1.3 }, OfArgument(3.)),
        (Map::Tanh, Relative(5.5)),
    ];

    fn softplus(x: f64) -> f64 {
        x.max(0.) + (-x.abs()).exp().ln_1p()
    }

    /// The formulas of the reference: in f32 where they are met to the last bit, else in f64.
    fn plain(f: Map, x: f32) -> f64 {
        let wide = f64::from(x);
        let exact = match f {
            Map::Abs => x.abs(),
            Map::Affine { scale, shift } => x * scale + shift,
            Map::Ceil => x.ceil(),
            Map::Clip { low, high } => {
                let x = if x < low { low } else { x };
                if high < x { high } else { x }
            }
            Map::Floor => x.floor(),
            Map::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0., 1.),
            Map::HardSwish => x * (x / 6. + 0.5).clamp(0., 1.),
            Map::LeakyRelu { alpha } if x < 0. => alpha * x,
            Map::LeakyRelu { .. } => x,
            Map::Neg => -x,
            Map::Reciprocal => x.recip(),
            Map::Round { scale, low, high } => {
                ((x / scale).round_ties_even().clamp(low, high) + 0.) * scale
            }
            Map::RoundEven => x.round_ties_even(),
            Map::Softsign => x / (1. + x.abs()),
            Map::Sqrt => x.sqrt(),
            Map::Square => x * x,
            Map::Elu { alpha } if x < 0. => return f64::from(alpha) * wide.exp_m1(),
            Map::Elu { .. } => x,
            Map::Erf => return plain_erf(wide),
            Map::Exp => return wide.exp(),
            Map::Gelu => {
                return 0.5 * wide * (1. + plain_erf(wide * std::f64::consts::FRAC_1_SQRT_2));
            }
            Map::GeluTanh => {
                let slope = (2. / std::f64::consts::PI).sqrt();
                let tanh = (slope * (wide + 0.044715 * wide * wide * wide)).tanh();
                return 0.5 * wide * (1. + tanh);
            }
            Map::Log => return wide.ln(),
            Map::Mish => return wide * softplus(wide).tanh(),
            Map::Sigmoid => return 1. / (1. + (-wide).exp()),
            Map::Softplus => return softplus(wide),
            Map::Swish { alpha } => return wide / (1. + (-f64::from(alpha) * wide).exp()),
            Map::Tanh => return wide.tanh(),
        };
        exact.into()
    }

    fn values() -> Vec<f32> {
        let special = [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE, 1e-45, 0., 0.5, 1.5];
        let mut values: Vec<f32> = special.into_iter().flat_map(|x| [x, -x]).collect();
        values.extend((-40_000..40_000).map(|i| i as f32 / 256.));
        let mut state = 1_u32;
        values.extend((0..50_000).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(state)
        }));
        values
    }

    fn mapped(x: &[f32], f: Map) -> Vec<f32> {
        let mut y = x.to_vec();
        map(&mut y, &f);
        y
    }

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
    }

    #[test]
    fn near_the_reference() {
        let x = values();
        for (f, bound) in CASES {
            for (&x, y) in x.iter().zip(mapped(&x, f)) {
                let expected = plain(f, x);
                let (nearest, off) = (expected as f32, (f64::from(y) - expected).abs());
                // Where the result is tiny, exp(-x) is out of range.
                let is_near = |unit: f64| off <= unit / 2_f64.powi(24) + 1e-36;
                let is_right = match bound {
                    _ if bits(&[y]) == bits(&[nearest]) => true,
                    Exact => false,
                    Relative(units) => is_near(units * expected.abs()),
                    OfArgument(units) => is_near(units * f64::from(x.abs())),
                };
                assert!(is_right, "{f:?} of {x} is {y}, expected {expected}");
            }
        }
    }

    #[test]
    fn the_same_bits_at_each_level() {
        let x = values();
        for (f, _) in CASES {
            let found = at_each_level(|| bits(&mapped(&x, f)));
            for (level, y) in &found[1..] {
                assert!(*y == found[0].1, "{f:?} at {level:?}");
            }
        }
    }

    #[test]
    fn every_length() {
        let x = &values()[20_000..];
        for (f, _) in CASES {
            let all = mapped(&x[..2000], f);
            for n in (0..140).chain([1023, 1041]) {
                assert_eq!(bits(&mapped(&x[..n], f)), bits(&all[..n]), "{f:?}, {n}");
            }
        }
    }
}
