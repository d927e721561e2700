//! [`Gram`]: all that matters of a layer's inputs where no activation function follows.
//!
//! The error that rounding makes in an output, mean over all positions of all samples, is `d H d` with
//! `H = E[x x^T]` over the patches `x` and `d` the difference of the row of weights. So a method
//! sees `H` and not a single sample.

use std::sync::OnceLock;

use crate::kernels::{pack, packed_len};
use crate::quant::rounding::gptq::{Factor, factor};

/// `E[x x^T]` of the patches that a group of a layer sees, `[depth, depth]`.
#[derive(Debug)]
pub(super) struct Gram {
    pub(super) depth: usize,
    mean: Vec<f64>,
    packed: OnceLock<Vec<f32>>,
    factor: OnceLock<Factor>,
}

impl Gram {
    /// From the sum over `n` patches.
    pub(super) fn new(depth: usize, mut sum: Vec<f64>, n: u64) -> Gram {
        let n = n.max(1) as f64;
        sum.iter_mut().for_each(|sum| *sum /= n);
        Gram { depth, mean: sum, packed: OnceLock::new(), factor: OnceLock::new() }
    }

    pub(super) fn row(&self, k: usize) -> &[f64] {
        &self.mean[k * self.depth..][..self.depth]
    }

    pub(super) fn mean_diagonal(&self) -> f64 {
        (0..self.depth).map(|k| self.row(k)[k]).sum::<f64>() / self.depth.max(1) as f64
    }

    /// In f32, as the right factor of a product.
    pub(super) fn packed(&self) -> &[f32] {
        self.packed.get_or_init(|| {
            let plain: Vec<f32> = self.mean.iter().map(|&mean| mean as f32).collect();
            let mut packed = vec![0.; packed_len(self.depth, self.depth)];
            pack(&plain, self.depth, self.depth, [self.depth, 1], &mut packed);
            packed
        })
    }

    pub(super) fn factor(&self) -> &Factor {
        self.factor.get_or_init(|| factor(self))
    }

    /// `H d`
    pub(super) fn times(&self, d: &[f64]) -> Vec<f64> {
        let mut product = vec![0.; self.depth];
        for (k, &d) in d.iter().enumerate().filter(|(_, d)| **d != 0.) {
            product.iter_mut().zip(self.row(k)).for_each(|(sum, h)| *sum += d * h);
        }
        product
    }
}

/// Rows of a layer at one width.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) gram: &'a Gram,
    /// `[rows, depth]`, in scales: `w / scale`.
    pub(super) weights: &'a [f32],
    /// One a row.
    pub(super) scales: &'a [f32],
    /// The least and the largest number of scales.
    pub(super) limits: [f32; 2],
}

impl<'a> Rows<'a> {
    pub(super) fn depth(&self) -> usize {
        self.gram.depth
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a [f32], f32)> {
        self.weights.chunks_exact(self.depth()).zip(self.scales.iter().copied())
    }

    pub(super) fn clamp(&self, steps: f32) -> f32 {
        steps.clamp(self.limits[0], self.limits[1])
    }

    pub(super) fn nearest(&self) -> Vec<f32> {
        let round = |w: &f32| self.clamp(w.round_ties_even()) + 0.;
        self.weights.iter().map(round).collect()
    }

    /// The error of a row's output, squared, mean over all positions.
    pub(super) fn loss(&self, row: usize, steps: &[f32]) -> f64 {
        let weights = &self.weights[row * self.depth()..][..self.depth()];
        let scale = f64::from(self.scales[row]);
        let d = difference(steps, weights);
        let product = self.gram.times(&d);
        scale * scale * d.iter().zip(product).map(|(d, h)| d * h).sum::<f64>()
    }

    /// Of all rows.
    pub(super) fn total_loss(&self, steps: &[f32]) -> f64 {
        let rows = steps.chunks_exact(self.depth()).enumerate();
        rows.map(|(row, steps)| self.loss(row, steps)).sum()
    }
}

pub(super) fn difference(steps: &[f32], weights: &[f32]) -> Vec<f64> {
    let pairs = steps.iter().zip(weights);
    pairs.map(|(&step, &w)| f64::from(step) - f64::from(w)).collect()
}
