//! The end of AdaRound: turns weights the other way, alone or in pairs, while that lowers the error.
//!
//! With `g = H d`, turning weight `k` by one scale (`t = 1` or `-1`) changes `d H d` by `c_k = 2 t_k g_k +
//! H_kk`, and turning two by `c_k + c_l + 2 t_k t_l H_kl`. The best turn comes first. Pairs are looked at
//! where no single turn helps, and only those of which one is among the [`FIRST`] least harmful.

use crate::quant::rounding::gram::{Gram, difference};

/// More of them gain a thousandth.
const FIRST: usize = 16;

/// A change this small, relative to what it is the sum of, may be rounding.
const LEAST: f64 = 1e-9;

/// `steps` are floors and ceilings of `weights`; those of weights that are off the grid stay.
pub(super) fn descend(gram: &Gram, weights: &[f32], limits: [f32; 2], steps: &mut [f32]) {
    let mut state = State::new(gram, weights, limits, steps);
    // Every turn lowers the error, so there is an end; this many would be a sign of rounding.
    for _ in 0..8 * weights.len() {
        let Some(turned) = state.single().or_else(|| state.pair()) else { break };
        turned.into_iter().flatten().for_each(|k| state.turn(k));
    }
    for ((step, &weight), &turn) in steps.iter_mut().zip(weights).zip(&state.turns) {
        if turn != 0. {
            *step = if turn < 0. { weight.ceil() } else { weight.floor() };
        }
    }
}

struct State<'a> {
    gram: &'a Gram,
    /// By weight what a turn adds to the number of scales: 1, -1, or 0 where there is no choice.
    turns: Vec<f64>,
    /// `H d`
    product: Vec<f64>,
}

/// One weight, or two.
type Turned = [Option<usize>; 2];

impl<'a> State<'a> {
    fn new(gram: &'a Gram, weights: &[f32], limits: [f32; 2], steps: &[f32]) -> State<'a> {
        let turn = |(&weight, &step): (&f32, &f32)| {
            let (floor, ceiling) = (weight.floor(), weight.ceil());
            let is_free = limits[0] <= floor && ceiling <= limits[1] && floor != ceiling;
            match is_free {
                true if step == floor => 1.,
                true => -1.,
                false => 0.,
            }
        };
        let turns = weights.iter().zip(steps).map(turn).collect();
        State { gram, turns, product: gram.times(&difference(steps, weights)) }
    }

    fn turn(&mut self, k: usize) {
        let turn = self.turns[k];
        self.product.iter_mut().zip(self.gram.row(k)).for_each(|(g, h)| *g += turn * h);
        self.turns[k] = -turn;
    }

    /// What turning a weight does to the error, and of what size its terms are; `None` without a choice.
    fn change(&self, k: usize) -> Option<(f64, f64)> {
        let (slope, curvature) = (2. * self.turns[k] * self.product[k], self.gram.row(k)[k]);
        (self.turns[k] != 0.).then_some((slope + curvature, slope.abs() + curvature))
    }

    fn single(&self) -> Option<Turned> {
        let changes = (0..self.turns.len()).filter_map(|k| Some((k, self.change(k)?)));
        let (k, (change, size)) = changes.min_by(|(_, a), (_, b)| a.0.total_cmp(&b.0))?;
        (change < -LEAST * size).then_some([Some(k), None])
    }

    fn pair(&self) -> Option<Turned> {
        let changes = (0..self.turns.len()).filter_map(|k| Some((k, self.change(k)?)));
        let changes: Vec<(usize, (f64, f64))> = changes.collect();
        let mut first = changes.clone();
        first.sort_by(|(_, a), (_, b)| a.0.total_cmp(&b.0));
        first.truncate(FIRST);
        let mut best: Option<(f64, Turned)> = None;
        for &(k, (of_k, size_of_k)) in &first {
            let row = self.gram.row(k);
            for &(l, (of_l, size_of_l)) in changes.iter().filter(|(l, _)| *l != k) {
                let both = 2. * self.turns[k] * self.turns[l] * row[l];
                let change = of_k + of_l + both;
                let is_less = best.is_none_or(|(least, _)| change < least);
                if is_less && change < -LEAST * (size_of_k + size_of_l + both.abs()) {
                    best = Some((change, [Some(k), Some(l)]));
                }
            }
        }
        best.map(|(_, turned)| turned)
    }
}
