//! The factors of all links: each the best for what its two layers are under the others', until nothing
//! moves.

use crate::graph::Graph;
use crate::quant::equalize::MOST;
use crate::quant::equalize::layer::Layer;
use crate::quant::equalize::link::Link;

const MOST_SWEEPS: usize = 100;

/// Factors that change by less than this part are settled.
const SETTLED: f64 = 1e-3;

/// By link: a factor for each channel that its first layer makes.
pub(super) fn factors(graph: &Graph, layers: &[Layer], links: &[Link]) -> Vec<Vec<f64>> {
    let used = |index| links.iter().any(|link| link.from == index || link.to == index);
    let magnitudes = layers.iter().enumerate().map(|(index, layer)| match used(index) {
        true => layer.magnitudes(graph),
        false => Vec::new(),
    });
    let sides = Sides { layers, links, magnitudes: magnitudes.collect() };
    let ones = |link: &Link| vec![1.; layers[link.from].n_made()];
    let mut factors: Vec<Vec<f64>> = links.iter().map(ones).collect();
    for _ in 0..MOST_SWEEPS {
        let mut most_moved = 0_f64;
        for link in 0..links.len() {
            let [made, read] = sides.ranges(&factors, link);
            for (channel, factor) in factors[link].iter_mut().enumerate() {
                let best = best(made[channel], read[channel]);
                most_moved = most_moved.max((best / *factor).ln().abs());
                *factor = best;
            }
        }
        if most_moved < SETTLED {
            break;
        }
    }
    factors
}

/// 1 where a range is 0: there is nothing to equalize.
fn best(made: f64, read: f64) -> f64 {
    if 0. < made && 0. < read { (made / read).sqrt().clamp(MOST.recip(), MOST) } else { 1. }
}

struct Sides<'a> {
    layers: &'a [Layer],
    links: &'a [Link],
    /// By layer.
    magnitudes: Vec<Vec<(usize, usize, f64)>>,
}

impl Sides<'_> {
    /// For every channel of a link its ranges in the weights that make it and in those that read it, under
    /// the factors of the other links.
    fn ranges(&self, factors: &[Vec<f64>], link: usize) -> [Vec<f64>; 2] {
        let Link { from, to, .. } = self.links[link];
        let n = factors[link].len();
        let mut ranges = [vec![0_f64; n], vec![0_f64; n]];
        let before = self.links.iter().position(|other| other.to == from);
        let n_read = self.layers[from].n_read();
        for &(made, read, magnitude) in &self.magnitudes[from] {
            let factor =
                before.map_or(1., |link| factors[link][read * factors[link].len() / n_read]);
            ranges[0][made] = ranges[0][made].max(magnitude * factor);
        }
        let behind = self.links.iter().position(|other| other.from == to);
        let n_read = self.layers[to].n_read();
        for &(made, read, magnitude) in &self.magnitudes[to] {
            let factor = behind.map_or(1., |link| factors[link][made]);
            let channel = read * n / n_read;
            ranges[1][channel] = ranges[1][channel].max(magnitude / factor);
        }
        ranges
    }
}
