//! One step of AdaRound's optimizer: rounding up is `h = clip(1.2 sigmoid(v) -
//! 0.1, 0, 1)`, and `v` moves by Adam along the gradient of the reconstruction error and of `lambda *
//! sum(1 - |2h - 1|^beta)`.

use super::math;
use super::simd::{Kernel, LANES, Simd, run};

/// Of the rectified sigmoid.
const ZETA: f32 = 1.1;
const GAMMA: f32 = -0.1;

/// Of Adam.
const DECAY: [f32; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-8;

/// Weights that are being rounded.
#[derive(Debug)]
pub struct SoftWeights<'a> {
    /// What the sigmoid is taken of.
    pub v: &'a mut [f32],
    /// Adam's two moments.
    pub moments: [&'a mut [f32]; 2],
    /// Where the weight lies between its floor, 0, and its ceiling, 1.
    pub target: &'a [f32],
    /// `h - target`
    pub difference: &'a [f32],
    /// Of the reconstruction error, by `h`, before it is multiplied with `scale`.
    pub gradient: &'a [f32],
}

/// What is the same for all elements of a step.
#[derive(Debug, Clone, Copy)]
pub struct SoftStep {
    /// Of the gradient.
    pub scale: f32,
    /// The weight of the regularizer; 0 leaves it out.
    pub lambda: f32,
    pub beta: f32,
    /// The learning rate over the first moment's correction for the steps so far.
    pub rate: f32,
    /// The second moment's correction.
    pub correction: f32,
}

/// `difference = h(v) - target`
///
/// # Panics
/// If the slices are not of one length.
pub fn soften(v: &[f32], target: &[f32], difference: &mut [f32]) {
    run(Soften { v, target, difference });
}

/// Moves `v`.
///
/// # Panics
/// If the slices are not of one length.
pub fn step_softly(weights: SoftWeights<'_>, step: &SoftStep) {
    run(Step { weights, step });
}

struct Soften<'a> {
    v: &'a [f32],
    target: &'a [f32],
    difference: &'a mut [f32],
}

impl Kernel for Soften<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Soften { v, target, difference } = self;
        assert!(v.len() == target.len() && v.len() == difference.len(), "one length");
        let parts = v.chunks(LANES).zip(target.chunks(LANES));
        for ((v, target), difference) in parts.zip(difference.chunks_mut(LANES)) {
            let sigmoid = math::sigmoid(s, s.load_part(v, 0.));
            let h = s.fma(sigmoid, s.splat(ZETA - GAMMA), s.splat(GAMMA));
            let h = s.max(s.splat(0.), s.min(s.splat(1.), h));
            s.store_part(difference, s.sub(h, s.load_part(target, 0.)));
        }
    }
}

struct Step<'a> {
    weights: SoftWeights<'a>,
    step: &'a SoftStep,
}

impl Kernel for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let SoftWeights { v, moments: [first, second], target, difference, gradient } =
            self.weights;
        let n = v.len();
        let lengths = [first.len(), second.len(), target.len(), difference.len(), gradient.len()];
        assert!(lengths.iter().all(|&len| len == n), "one length");
        for at in (0..n).step_by(LANES) {
            let part = at..(at + LANES).min(n);
            let load = |x: &[f32]| s.load_part(&x[part.clone()], 0.);
            let h = s.add(load(difference), load(target));
            let by_v = gradient_by_v(s, h, load(gradient), self.step);
            let blend = |old, new, decay| s.fma(s.sub(old, new), s.splat(decay), new);
            let m = blend(load(first), by_v, DECAY[0]);
            let u = blend(load(second), s.mul(by_v, by_v), DECAY[1]);
            let root = s.sqrt(s.mul(u, s.splat(self.step.correction)));
            let moved = s.div(s.mul(m, s.splat(self.step.rate)), s.add(root, s.splat(EPSILON)));
            s.store_part(&mut first[part.clone()], m);
            s.store_part(&mut second[part.clone()], u);
            let v = &mut v[part];
            s.store_part(v, s.sub(s.load_part(v, 0.), moved));
        }
    }
}

/// 0 where `h` is clipped.
#[inline(always)]
fn gradient_by_v<S: Simd>(s: S, h: S::V, gradient: S::V, step: &SoftStep) -> S::V {
    let one = s.splat(1.);
    let mut by_h = s.mul(gradient, s.splat(step.scale));
    if 0. < step.lambda {
        let centered = s.sub(s.add(h, h), one);
        let log = math::ln(s, s.max(s.splat(1e-6), math::abs(s, centered)));
        let power = math::exp(s, s.mul(log, s.splat(step.beta - 1.)));
        let slope = s.mul(power, s.splat(2. * step.lambda * step.beta));
        by_h = s.sub(by_h, math::with_sign(s, slope, centered));
    }
    let sigmoid = s.mul(s.sub(h, s.splat(GAMMA)), s.splat(1. / (ZETA - GAMMA)));
    let slope = s.mul(s.mul(sigmoid, s.sub(one, sigmoid)), s.splat(ZETA - GAMMA));
    let by_v = s.mul(by_h, slope);
    // `h` has been rounded twice, by less than this.
    let edge = 1e-6;
    let by_v = s.select_lt(s.splat(edge), h, by_v, s.splat(0.));
    s.select_lt(h, s.splat(1. - edge), by_v, s.splat(0.))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::at_each_level;

    const N: usize = 37;

    fn series(factor: f32, shift: f32) -> Vec<f32> {
        (0..N).map(|i| (i as f32 * factor).sin() + shift).collect()
    }

    fn step(lambda: f32) -> SoftStep {
        SoftStep { scale: 0.5, lambda, beta: 3., rate: 0.01, correction: 1. }
    }

    /// `v` and the moments after two steps.
    fn stepped(lambda: f32) -> [Vec<f32>; 3] {
        let target = series(0.7, 0.5);
        let (mut v, mut first, mut second) = (series(1.3, 0.), vec![0.; N], vec![0.; N]);
        let gradient = series(2.1, 0.);
        for _ in 0..2 {
            let mut difference = vec![0.; N];
            soften(&v, &target, &mut difference);
            let moments = [&mut first[..], &mut second[..]];
            let (v, target) = (&mut v[..], &target[..]);
            let weights =
                SoftWeights { v, moments, target, difference: &difference, gradient: &gradient };
            step_softly(weights, &step(lambda));
        }
        [v, first, second]
    }

    #[test]
    fn the_same_bits_at_each_level() {
        let found =
            at_each_level(|| stepped(0.3).map(|x| x.into_iter().map(f32::to_bits).collect()));
        let found: Vec<(_, [Vec<u32>; 3])> = found;
        found.iter().for_each(|(level, bits)| assert_eq!(*bits, found[0].1, "{level:?}"));
    }

    /// The first moment after one step is a tenth of the gradient, which differences show as well.
    #[test]
    fn the_gradient_is_that_of_the_sum() {
        let (lambda, beta) = (0.3, 3.);
        let target = series(0.7, 0.5);
        let gradient = series(2.1, 0.);
        let v = series(1.3, 0.);
        let mut difference = vec![0.; N];
        soften(&v, &target, &mut difference);
        let mut moments = [vec![0.; N], vec![0.; N]];
        let [first, second] = &mut moments;
        let mut moved = v.clone();
        let weights = SoftWeights {
            v: &mut moved,
            moments: [first, second],
            target: &target,
            difference: &difference,
            gradient: &gradient,
        };
        step_softly(weights, &step(lambda));
        let h = |v: f64| (1.2 / (1. + (-v).exp()) - 0.1).clamp(0., 1.);
        for (i, &v) in v.iter().enumerate() {
            let cost = |v: f64| {
                let h = h(v);
                let slope = 0.5 * f64::from(gradient[i]);
                slope * h + f64::from(lambda) * (1. - (2. * h - 1.).abs().powf(beta))
            };
            let v = f64::from(v);
            let exact = (cost(v + 1e-4) - cost(v - 1e-4)) / 2e-4;
            let found = f64::from(moments[0][i]) * 10.;
            // The rounding of f32, and the second order of the difference.
            assert!((found - exact).abs() < 1e-4 * (1. + exact.abs()), "{found} {exact} at {v}");
            assert!((f64::from(difference[i]) - (h(v) - f64::from(target[i]))).abs() < 1e-5);
        }
    }
}
