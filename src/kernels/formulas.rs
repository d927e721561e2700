//! The formulas of [`Map`](super::map::Map) that are more than an operation, on [`Simd`] lanes.
//!
//! Each follows its reference operator step by step.

use super::math;
use super::simd::Simd;

#[inline(always)]
pub(super) fn affine<S: Simd>(s: S, x: S::V, scale: f32, shift: f32) -> S::V {
    s.add(s.mul(x, s.splat(scale)), s.splat(shift))
}

#[inline(always)]
pub(super) fn clip<S: Simd>(s: S, x: S::V, low: f32, high: f32) -> S::V {
    s.min(s.splat(high), s.max(s.splat(low), x))
}

#[inline(always)]
pub(super) fn floor<S: Simd>(s: S, x: S::V) -> S::V {
    let nearest = s.round(x);
    s.select_lt(x, nearest, s.sub(nearest, s.splat(1.)), nearest)
}

/// `-floor(-x)`, so that it keeps the sign of a zero.
#[inline(always)]
pub(super) fn ceil<S: Simd>(s: S, x: S::V) -> S::V {
    let zero = s.splat(-0.);
    s.sub(zero, floor(s, s.sub(zero, x)))
}

#[inline(always)]
pub(super) fn elu<S: Simd>(s: S, x: S::V, alpha: f32) -> S::V {
    s.select_lt(x, s.splat(0.), s.mul(s.splat(alpha), math::exp_m1(s, x)), x)
}

#[inline(always)]
pub(super) fn leaky_relu<S: Simd>(s: S, x: S::V, alpha: f32) -> S::V {
    s.select_lt(x, s.splat(0.), s.mul(s.splat(alpha), x), x)
}

#[inline(always)]
pub(super) fn gelu<S: Simd>(s: S, x: S::V) -> S::V {
    let erf = math::erf(s, s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2)));
    s.mul(s.mul(s.splat(0.5), x), s.add(s.splat(1.), erf))
}

#[inline(always)]
pub(super) fn gelu_tanh<S: Simd>(s: S, x: S::V) -> S::V {
    // sqrt(2 / pi)
    const SLOPE: f32 = std::f32::consts::FRAC_1_SQRT_2 * std::f32::consts::FRAC_2_SQRT_PI;
    let cube = s.mul(s.mul(s.mul(s.splat(0.044715), x), x), x);
    let tanh = math::tanh(s, s.mul(s.splat(SLOPE), s.add(x, cube)));
    s.mul(s.mul(s.splat(0.5), x), s.add(s.splat(1.), tanh))
}

#[inline(always)]
pub(super) fn hard_swish<S: Simd>(s: S, x: S::V) -> S::V {
    let gate = s.add(s.div(x, s.splat(6.)), s.splat(0.5));
    s.mul(x, clip(s, gate, 0., 1.))
}

/// `tanh(ln(1 + e)) = n / (n + 2)` with `n = e (e + 2)`.
#[inline(always)]
pub(super) fn mish<S: Simd>(s: S, x: S::V) -> S::V {
    // From 20 on the quotient is 1.
    let e = math::exp(s, s.min(s.splat(20.), x));
    let n = s.mul(e, s.add(e, s.splat(2.)));
    s.mul(x, s.div(n, s.add(n, s.splat(2.))))
}

#[inline(always)]
pub(super) fn round<S: Simd>(s: S, x: S::V, scale: f32, low: f32, high: f32) -> S::V {
    let scale = s.splat(scale);
    let step = clip(s, s.round(s.div(x, scale)), low, high);
    // A quotient of -0.3 rounds to -0; adding +0 gives it the sign an integer 0 has.
    s.mul(s.add(step, s.splat(0.)), scale)
}

#[inline(always)]
pub(super) fn softplus<S: Simd>(s: S, x: S::V) -> S::V {
    let zero = s.splat(0.);
    let e = math::exp(s, s.sub(zero, math::abs(s, x)));
    s.add(s.max(zero, x), math::ln_1p(s, e))
}

#[inline(always)]
pub(super) fn softsign<S: Simd>(s: S, x: S::V) -> S::V {
    s.div(x, s.add(s.splat(1.), math::abs(s, x)))
}

#[inline(always)]
pub(super) fn swish<S: Simd>(s: S, x: S::V, alpha: f32) -> S::V {
    s.div(x, math::one_plus_exp(s, s.mul(s.splat(-alpha), x)))
}
