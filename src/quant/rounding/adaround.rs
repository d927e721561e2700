//! AdaRound (arXiv 2004.10568): whether each weight is rounded up or down is learned, by a soft `h`
//! between 0 and 1 that a regularizer drives to its ends.
//!
//! Minimised is `d H d / h + lambda sum(1 - |2h - 1|^beta)` with `d = h - (w / scale - floor)` and `h`
//! the mean of H's diagonal, for each row on its own. `beta` falls from 20 to 2, after a fifth of the steps without the
//! regularizer. A row whose every `h` has come to an end is done.
//!
//! Differs from the paper in three ways. The error is that over all samples, not over a few drawn for
//! each step, so nothing is random, and a fifth of the paper's 10,000 steps is enough. It is taken
//! relative to `scale^2 h`, so that `lambda` does not depend on the units of a layer. And whole steps are
//! improved by turning single weights, see [`descend`](super::descend()), from the better one of what was
//! learned and rounding to nearest.

use crate::kernels::{Gemm, Map, SoftStep, SoftWeights, map, soften, step_softly};
use crate::quant::rounding::Effort;
use crate::quant::rounding::descend::descend;
use crate::quant::rounding::gram::Rows;

const LAMBDA: f32 = 0.2;
const RATE: f32 = 0.01;
const WARM_UP: f64 = 0.2;
const BETA: [f64; 2] = [20., 2.];
/// Steps between two looks at what is done.
const LOOK: u32 = 50;
/// The `v` of an `h` that stays 0.
const FIXED: f32 = -100.;

pub(super) fn round(rows: &Rows<'_>, effort: &Effort) -> Vec<f32> {
    let learned = Soft::new(rows).learn(effort);
    let nearest = rows.nearest();
    let mut all = Vec::with_capacity(learned.len());
    let depth = rows.depth();
    for (row, (weights, _)) in rows.iter().enumerate() {
        let [learned, nearest] = [&learned, &nearest].map(|steps| &steps[row * depth..][..depth]);
        let is_better = rows.loss(row, learned) < rows.loss(row, nearest);
        let mut steps = if is_better { learned } else { nearest }.to_vec();
        descend(rows.gram, weights, rows.limits, &mut steps);
        all.extend(steps);
    }
    all
}

/// Rows that are being rounded; those that are done are taken out.
struct Soft<'a> {
    rows: &'a Rows<'a>,
    /// Twice the inverse of the mean of H's diagonal.
    scale: f32,
    /// The rows that are left.
    left: Vec<usize>,
    /// `[left, depth]`, as all that follows.
    base: Vec<f32>,
    target: Vec<f32>,
    v: Vec<f32>,
    moments: [Vec<f32>; 2],
    difference: Vec<f32>,
    gradient: Vec<f32>,
    done: Vec<f32>,
}

impl<'a> Soft<'a> {
    fn new(rows: &'a Rows<'a>) -> Soft<'a> {
        let n = rows.weights.len();
        let [low, high] = rows.limits;
        let base: Vec<f32> = rows.weights.iter().map(|&w| rows.clamp(w.floor())).collect();
        let target: Vec<f32> = rows.weights.iter().zip(&base).map(|(w, base)| w - base).collect();
        // `h` begins where the weight lies.
        let odds = |(&target, &base): (&f32, &f32)| {
            let is_free = 0. < target && target < 1. && low <= base && base < high;
            if is_free { 1.2 / (target + 0.1) - 1. } else { f32::INFINITY }
        };
        let mut v: Vec<f32> = target.iter().zip(&base).map(odds).collect();
        map(&mut v, &Map::Log);
        v.iter_mut().for_each(|v| *v = (-*v).max(FIXED));
        let mean = rows.gram.mean_diagonal();
        Soft {
            rows,
            scale: if 0. < mean { (2. / mean) as f32 } else { 0. },
            left: (0..n.checked_div(rows.depth()).unwrap_or(0)).collect(),
            v,
            base,
            target,
            moments: [vec![0.; n], vec![0.; n]],
            difference: vec![0.; n],
            gradient: vec![0.; n],
            done: vec![0.; n],
        }
    }

    fn learn(mut self, effort: &Effort) -> Vec<f32> {
        let total = effort.iterations;
        let warm = (f64::from(total) * WARM_UP) as u32;
        let mut first = 0;
        self.soften();
        if self.difference.iter().all(|d| d.abs() < 1e-5) {
            // Nothing is off the grid, so the error is 0 until the regularizer pulls.
            first = warm;
        }
        for step in first..total {
            if self.left.is_empty() {
                break;
            }
            self.step(&SoftStep {
                scale: self.scale,
                lambda: if step < warm { 0. } else { LAMBDA },
                beta: beta(step, warm, total),
                rate: RATE / (1. - 0.9_f32.powi(count(step - first))),
                correction: 1. / (1. - 0.999_f32.powi(count(step - first))),
            });
            if warm <= step && (step + 1).is_multiple_of(LOOK) {
                self.take_out(|h| h <= 0. || 1. <= h);
            }
        }
        self.take_out(|_| true);
        self.done
    }

    fn soften(&mut self) {
        soften(&self.v, &self.target, &mut self.difference);
    }

    fn step(&mut self, step: &SoftStep) {
        let depth = self.rows.depth();
        let n_rows = self.left.len();
        let gemm = Gemm { rows: n_rows, depth, columns: depth, x_step: depth, y_step: depth };
        let unclamped = [f32::NEG_INFINITY, f32::INFINITY];
        let packed = self.rows.gram.packed();
        gemm.run(&self.difference, packed, &[], unclamped, &mut self.gradient, None);
        let [first, second] = &mut self.moments;
        let weights = SoftWeights {
            v: &mut self.v,
            moments: [first, second],
            target: &self.target,
            difference: &self.difference,
            gradient: &self.gradient,
        };
        step_softly(weights, step);
        self.soften();
    }

    /// Writes down the rows whose every `h` is as wanted, and goes on without them.
    fn take_out(&mut self, is_end: impl Fn(f32) -> bool) {
        let depth = self.rows.depth();
        let mut kept = 0;
        for at in 0..self.left.len() {
            let place = at * depth..(at + 1) * depth;
            let h = |at: usize| self.difference[at] + self.target[at];
            if place.clone().all(|at| is_end(h(at))) {
                let row = self.left[at] * depth;
                for (k, at) in place.enumerate() {
                    self.done[row + k] = self.base[at] + if h(at) < 0.5 { 0. } else { 1. };
                }
                continue;
            }
            self.left[kept] = self.left[at];
            let [first, second] = &mut self.moments;
            let lists = [
                &mut self.base,
                &mut self.target,
                &mut self.v,
                &mut self.difference,
                first,
                second,
            ];
            lists.into_iter().for_each(|list| list.copy_within(place.clone(), kept * depth));
            kept += 1;
        }
        self.left.truncate(kept);
        let [first, second] = &mut self.moments;
        let lists = [
            &mut self.base,
            &mut self.target,
            &mut self.v,
            &mut self.difference,
            &mut self.gradient,
            first,
            second,
        ];
        lists.into_iter().for_each(|list| list.truncate(kept * depth));
    }
}

fn beta(step: u32, warm: u32, total: u32) -> f32 {
    let progress = f64::from(step.saturating_sub(warm)) / f64::from((total - warm).max(1));
    (BETA[0] + (BETA[1] - BETA[0]) * progress) as f32
}

/// Of steps so far, this one included.
fn count(step: u32) -> i32 {
    i32::try_from(step).unwrap_or(i32::MAX - 1) + 1
}
