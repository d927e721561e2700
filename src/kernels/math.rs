//! Elementary functions on [`Simd`] lanes, with the same bits at every level.
//!
//! `exp(x) = 2^n exp(r)` with `n = round(x / ln 2)` and `|r| <= ln 2 / 2`, where `exp(r) - 1 =
//! r + r^2 P(r)`; `ln` is `n ln 2 + 2 atanh(f / (2 + f))`. The coefficients are minimax fits, rounded to
//! f32 one after the other. Largest errors found, in units of the last place: `exp` 1.02, `exp_m1` 1.5,
//! `tanh` 2.7, `sigmoid` 2.5, `erf` 3.8, `ln` 1.0, `ln_1p` 1.1. NaN stays NaN.

use super::simd::Simd;

const LOG2_E: f32 = std::f32::consts::LOG2_E;
const LN_2: f32 = std::f32::consts::LN_2;
/// What [`LN_2`] lacks.
const LN_2_REST: f32 = -1.904_654_3e-9;

/// `(exp(r) - 1 - r) / r^2`, highest power first.
const EXP: [f32; 5] = [0.001_382_073_4, 0.008_368_677, 0.041_668_266, 0.166_665_21, 0.499_999_94];

/// `(atanh(s) / s - 1) / s^2` in `s^2`, highest power first: over `|s| <= 0.172`, ...
const LN: [f32; 3] = [0.149_357_3, 0.199_887_84, 0.333_333_88];
/// ... and over `|s| <= 1 / 3`.
const LN_1P: [f32; 4] = [0.140_152_44, 0.139_990_24, 0.200_108_78, 0.333_332_06];

/// `erf(x) / x` in `u = 2 (x / ERF_END)^2 - 1`, highest power first.
const ERF: [f32; 16] = [
    -0.000_695_739_47,
    0.001_759_002_9,
    -0.001_278_723_4,
    0.001_882_265_4,
    -0.006_925_328_6,
    0.012_975_2,
    -0.018_878_283,
    0.028_561_564,
    -0.042_189_59,
    0.057_399_87,
    -0.073_554_46,
    0.090_728_64,
    -0.109_880_14,
    0.135_299_06,
    -0.181_921_33,
    0.364_449_95,
];
/// Where `ERF` ends and gives 1, less than a unit in the last place too much.
const ERF_END: f32 = 3.88;

/// 1.5 * 2^23: adding it leaves the nearest integer in the low bits.
const ROUND: f32 = 12_582_912.;
const SIGN: i32 = i32::MIN;
/// Bits of 1, and the place of the exponent.
const ONE: i32 = 0x3f80_0000;
const EXPONENT: u32 = 23;
/// Bits of the square root of a half.
const HALF_ROOT: i32 = 0x3f35_04f3;

#[inline(always)]
fn polynomial<S: Simd>(s: S, x: S::V, coefficients: &[f32]) -> S::V {
    let mut sum = s.splat(coefficients[0]);
    for &coefficient in &coefficients[1..] {
        sum = s.fma(sum, x, s.splat(coefficient));
    }
    sum
}

/// `n`, also in the low bits of another number, and `exp(r) - 1`, for `x` below 1e6 in magnitude.
#[inline(always)]
fn reduced_exp<S: Simd>(s: S, x: S::V) -> [S::V; 3] {
    let shifted = s.fma(x, s.splat(LOG2_E), s.splat(ROUND));
    let n = s.sub(shifted, s.splat(ROUND));
    let r = s.fma(n, s.splat(-LN_2), x);
    let r = s.fma(n, s.splat(-LN_2_REST), r);
    [n, shifted, s.fma(s.mul(r, r), polynomial(s, r, &EXP), r)]
}

/// `exp(x)`, subnormal results included.
#[inline(always)]
pub(super) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    // Beyond these the result is 0 or infinite.
    let x = s.max(s.splat(-104.), s.min(s.splat(89.), x));
    let [n, _, exp_m1] = reduced_exp(s, x);
    s.scale(s.add(exp_m1, s.splat(1.)), n)
}

/// `exp(x) - 1` for `x <= 88`, small results as exact as large ones.
#[inline(always)]
pub(super) fn exp_m1<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.max(s.splat(-30.), x);
    let [_, shifted, exp_m1] = reduced_exp(s, x);
    let power = s.add_int(s.shift_left::<EXPONENT>(s.bits(shifted)), s.splat_int(ONE));
    let power = s.with_bits(power);
    s.fma(power, exp_m1, s.sub(power, s.splat(1.)))
}

/// `1 + exp(x)`
#[inline(always)]
pub(super) fn one_plus_exp<S: Simd>(s: S, x: S::V) -> S::V {
    s.add(exp(s, x), s.splat(1.))
}

/// `1 / (1 + exp(-x))`; 0 where `exp(-x)` overflows.
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    s.div(s.splat(1.), one_plus_exp(s, s.sub(s.splat(0.), x)))
}

/// The sum of all lanes, in each of them: `i` and `i + 8` are added first, then `i + 4`, ...
#[inline(always)]
pub(super) fn sum<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.add(x, s.swap::<8>(x));
    let x = s.add(x, s.swap::<4>(x));
    let x = s.add(x, s.swap::<2>(x));
    s.add(x, s.swap::<1>(x))
}

/// The largest of all lanes, in each of them; no lane is NaN.
#[inline(always)]
pub(super) fn largest<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.max(x, s.swap::<8>(x));
    let x = s.max(x, s.swap::<4>(x));
    let x = s.max(x, s.swap::<2>(x));
    s.max(x, s.swap::<1>(x))
}

#[inline(always)]
pub(super) fn abs<S: Simd>(s: S, x: S::V) -> S::V {
    s.with_bits(s.and(s.bits(x), s.splat_int(!SIGN)))
}

/// `y`, which is not negative, with the sign of `x`.
#[inline(always)]
pub(super) fn with_sign<S: Simd>(s: S, y: S::V, x: S::V) -> S::V {
    s.with_bits(s.or(s.bits(y), s.and(s.bits(x), s.splat_int(SIGN))))
}

/// `(exp(2 |x|) - 1) / (exp(2 |x|) + 1)` with the sign of `x`.
#[inline(always)]
pub(super) fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let magnitude = s.min(s.splat(9.1), abs(s, x));
    let exp_m1 = exp_m1(s, s.add(magnitude, magnitude));
    with_sign(s, s.div(exp_m1, s.add(exp_m1, s.splat(2.))), x)
}

#[inline(always)]
pub(super) fn erf<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.max(s.splat(-ERF_END), s.min(s.splat(ERF_END), x));
    let scale = s.splat(2. / (ERF_END * ERF_END));
    let u = s.fma(s.mul(x, x), scale, s.splat(-1.));
    // Near its end the polynomial may round to more than 1.
    s.max(s.splat(-1.), s.min(s.splat(1.), s.mul(x, polynomial(s, u, &ERF))))
}

/// `ln(x)`; -inf of a zero, NaN of what is negative.
#[inline(always)]
pub(super) fn ln<S: Simd>(s: S, x: S::V) -> S::V {
    let (tiny, up) = (s.splat(f32::MIN_POSITIVE), s.splat(8_388_608.));
    let scaled = s.select_lt(x, tiny, s.mul(x, up), x);
    let bias = s.select_lt(x, tiny, s.splat(127. + 23.), s.splat(127.));
    // The mantissa is taken between the roots of 1/2 and of 2.
    let bits = s.add_int(s.bits(scaled), s.splat_int(ONE - HALF_ROOT));
    let n = s.sub(s.to_float(s.shift_right::<EXPONENT>(bits)), bias);
    let mantissa = s.and(bits, s.splat_int((1 << EXPONENT) - 1));
    let mantissa = s.with_bits(s.add_int(mantissa, s.splat_int(HALF_ROOT)));
    let of_mantissa = ln_of_sum(s, s.sub(mantissa, s.splat(1.)), &LN);
    let y = s.fma(n, s.splat(LN_2), s.fma(n, s.splat(LN_2_REST), of_mantissa));
    let y = s.select_lt(x, s.splat(f32::INFINITY), y, x);
    let y = s.select_lt(x, s.splat(f32::from_bits(1)), s.splat(f32::NEG_INFINITY), y);
    s.select_lt(x, s.splat(0.), s.splat(f32::NAN), y)
}

/// `ln(1 + x)` for `0 <= x <= 1`, small results as exact as large ones.
#[inline(always)]
pub(super) fn ln_1p<S: Simd>(s: S, x: S::V) -> S::V {
    ln_of_sum(s, x, &LN_1P)
}

/// `ln(1 + f) = 2 atanh(t) = f - t (f - 2 t^2 P(t^2))` with `t = f / (2 + f)`.
#[inline(always)]
fn ln_of_sum<S: Simd>(s: S, f: S::V, coefficients: &[f32]) -> S::V {
    let t = s.div(f, s.add(f, s.splat(2.)));
    let square = s.mul(t, t);
    let twice = s.mul(s.add(square, square), polynomial(s, square, coefficients));
    s.fma(s.sub(twice, f), t, f)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;
    use crate::kernels::simd::{Kernel, LANES, run};

    #[derive(Debug, Clone, Copy)]
    enum Function {
        Exp,
        ExpM1,
        Sigmoid,
        Tanh,
        Erf,
        Ln,
        Ln1p,
    }

    struct Each<'a>(Function, &'a [[f32; LANES]]);

    impl Kernel for Each<'_> {
        type Output = Vec<f32>;

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<f32> {
            let mut y = Vec::new();
            for x in self.1 {
                let x = s.load(x);
                y.extend(s.array(match self.0 {
                    Function::Exp => exp(s, x),
                    Function::ExpM1 => exp_m1(s, x),
                    Function::Sigmoid => sigmoid(s, x),
                    Function::Tanh => tanh(s, x),
                    Function::Erf => erf(s, x),
                    Function::Ln => ln(s, x),
                    Function::Ln1p => ln_1p(s, x),
                }));
            }
            y
        }
    }

    /// `erf` in f64: the series `2 / sqrt(pi) exp(-x^2) sum of 2^n x^(2n+1) / (1 * 3 * ... * (2n+1))`.
    pub(in super::super) fn plain_erf(x: f64) -> f64 {
        if x.is_nan() || 6. < x.abs() {
            return if x.is_nan() { x } else { x.signum() };
        }
        let (mut term, mut sum, mut n) = (x, x, 1.);
        while sum.abs() * 1e-17 < term.abs() {
            n += 2.;
            term *= 2. * x * x / n;
            sum += term;
        }
        std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
    }

    fn plain(function: Function, x: f64) -> f64 {
        match function {
            Function::Exp => x.exp(),
            Function::ExpM1 => x.exp_m1(),
            Function::Sigmoid => 1. / (1. + (-x).exp()),
            Function::Tanh => x.tanh(),
            Function::Erf => plain_erf(x),
            Function::Ln => x.ln(),
            Function::Ln1p => x.ln_1p(),
        }
    }

    /// Error in units of the last place of the exact result, 0 for the same infinity and for two NaNs.
    fn units(found: f32, exact: f64) -> f64 {
        let nearest = exact as f32;
        if found.to_bits() == nearest.to_bits() || (found.is_nan() && exact.is_nan()) {
            return 0.;
        }
        let unit = f64::from(nearest.abs().next_up()) - f64::from(nearest.abs());
        // The unit of an infinite result is that of the numbers just below.
        let unit = if nearest.is_infinite() { 2_f64.powi(104) } else { unit };
        let found = f64::from(found).clamp(-2_f64.powi(128), 2_f64.powi(128));
        (found - exact).abs() / unit
    }

    /// Every `step`th float of both signs between two magnitudes, and what is special.
    fn scan(low: f32, high: f32, step: usize) -> Vec<[f32; LANES]> {
        let magnitudes = (low.to_bits()..=high.to_bits()).step_by(step).map(f32::from_bits);
        let mut x: Vec<f32> = magnitudes.flat_map(|x| [x, -x]).collect();
        let special = [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE, 1e-45, 1e-40, 0.];
        x.extend(special.into_iter().flat_map(|x| [x, -x]));
        x.resize(x.len().next_multiple_of(LANES), 0.);
        x.as_chunks().0.to_vec()
    }

    /// The largest error, and where it is.
    fn worst(function: Function, x: &[[f32; LANES]], skip: impl Fn(f32) -> bool) -> (f64, f32) {
        let y = run(Each(function, x));
        let errors = x.as_flattened().iter().zip(y).filter(|(x, _)| !skip(**x));
        let errors = errors.map(|(&x, y)| (units(y, plain(function, x.into())), x));
        errors.fold(
            (0., 0.),
            |worst, error| if worst.0 < error.0 || error.0.is_nan() { error } else { worst },
        )
    }

    #[test]
    fn errors_in_units_of_the_last_place() {
        // The exact sigmoid is not 0 where that of f32 is: below 2^-127.
        let lost = |x: f32| x.is_finite() && x < -88.;
        let above = |x: f32| 88. < x;
        let outside = |x: f32| !(0. ..=1.).contains(&x);
        type Skip<'a> = &'a dyn Fn(f32) -> bool;
        let cases: [(Function, f64, Skip<'_>); 7] = [
            (Function::Exp, 1.1, &|_| false),
            (Function::ExpM1, 1.5, &above),
            (Function::Sigmoid, 2.5, &lost),
            (Function::Tanh, 2.7, &|_| false),
            (Function::Erf, 3.8, &|_| false),
            (Function::Ln, 1., &|_| false),
            (Function::Ln1p, 1.1, &outside),
        ];
        for (function, bound, skip) in cases {
            let dense = scan(1e-3, 120., 23);
            let wide = scan(1e-45, f32::MAX, 1009);
            for x in [dense, wide] {
                let (error, at) = worst(function, &x, skip);
                assert!(error <= bound, "{function:?}({at}) is off by {error} units");
            }
        }
    }

    #[test]
    fn the_same_bits_at_each_level() {
        let x = scan(1e-45, f32::MAX, 50_021);
        use Function::*;
        for function in [Exp, ExpM1, Sigmoid, Tanh, Erf, Ln, Ln1p] {
            let bits = |x: f32| if x.is_nan() { 0 } else { x.to_bits() };
            let found =
                at_each_level(|| run(Each(function, &x)).into_iter().map(bits).collect::<Vec<_>>());
            for (level, y) in &found[1..] {
                assert!(*y == found[0].1, "{function:?} at {level:?}");
            }
        }
    }

    #[test]
    fn limits() {
        let mut x = [0.; LANES];
        x[..5].copy_from_slice(&[f32::NEG_INFINITY, f32::INFINITY, -0., 0., -1.]);
        let of = |function| run(Each(function, &[x]));
        let bits = |function| of(function)[..5].iter().map(|y| y.to_bits()).collect::<Vec<_>>();
        assert_eq!(of(Function::Exp)[..4], [0., f32::INFINITY, 1., 1.]);
        assert_eq!(of(Function::Sigmoid)[..4], [0., 1., 0.5, 0.5]);
        assert_eq!(bits(Function::Tanh)[..4], [-1_f32, 1., -0., 0.].map(f32::to_bits));
        assert_eq!(bits(Function::Erf)[..4], [-1_f32, 1., -0., 0.].map(f32::to_bits));
        assert_eq!(of(Function::Ln)[1..4], [f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY]);
        assert!(of(Function::Ln)[0].is_nan() && of(Function::Ln)[4].is_nan());
        let erf = run(Each(Function::Erf, &scan(3., 5., 1)));
        assert!(erf.iter().all(|y| y.is_nan() || y.abs() <= 1.));
    }
}
