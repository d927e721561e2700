//! `MelWeightMatrix`: from the bins of a spectrum to bands that lie evenly on the mel scale.
//!
//! <https://onnx.ai/onnx/operators/onnx__MelWeightMatrix.html>
//!
//! `mel(f) = 2595 * log10(1 + f / 700)`. Each band is a triangle over the bins between the centers of its
//! neighbors, 1 at its own center; edges are bins, so a band of no width is 1 at one bin. Computed in f64.

use crate::ops::dims::{checked_type, size_input};
use crate::ops::floats::{doubles, expect_any_float, rounded};
use crate::ops::generate::expect_single;
use crate::ops::signal_window::read_number_type;
use crate::ops::{Bodies, Inputs, OpDef, OpError, Operator, QuantRole};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[OpDef::onnx("MelWeightMatrix", 17, |attrs| {
    Ok(Box::new(MelWeightMatrix { dtype: read_number_type(attrs)? }))
})];

/// `[dft_length / 2 + 1, num_mel_bins]`
#[derive(Debug)]
struct MelWeightMatrix {
    dtype: DType,
}

const NUM_MEL_BINS: usize = 0;
const DFT_LENGTH: usize = 1;
const SAMPLE_RATE: usize = 2;
const LOWER_EDGE_HERTZ: usize = 3;
const UPPER_EDGE_HERTZ: usize = 4;

/// The bins where the bands begin: band `i` rises from edge `i` to `i + 1` and falls to `i + 2`.
fn edges(inputs: &Inputs<'_>, n_bins: usize, n_bands: usize) -> Result<Vec<usize>, OpError> {
    let dft_length = size_input(inputs, DFT_LENGTH, "dft_length", 1)?;
    let sample_rate = size_input(inputs, SAMPLE_RATE, "sample_rate", 1)? as f64;
    let hertz = [LOWER_EDGE_HERTZ, UPPER_EDGE_HERTZ].map(|k| doubles(inputs.tensor(k))[0]);
    let [low, high] = hertz.map(|hertz| 2595. * (1. + hertz / 700.).log10());
    // One step more than there are centers and outer edges, as the specification's example has it.
    let step = (high - low) / (n_bands + 2) as f64;
    let edge = |i: usize| {
        let hertz = 700. * (10_f64.powf((low + step * i as f64) / 2595.) - 1.);
        let bin = ((dft_length + 1) as f64 * hertz / sample_rate).floor();
        // The last edge is the only one that may lie behind the last bin.
        let n_allowed = if i == n_bands + 1 { n_bins + 1 } else { n_bins };
        let is_bin = 0. <= bin && bin < n_allowed as f64;
        let expected = || format!("edges in bins 0 to {}", n_bins - 1);
        let wrong =
            || OpError::value("upper_edge_hertz", format!("{} Hz", hertz.round()), expected());
        is_bin.then_some(bin as usize).ok_or_else(wrong)
    };
    (0..n_bands + 2).map(edge).collect()
}

impl Operator for MelWeightMatrix {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(5)?;
        let n_bands = size_input(inputs, NUM_MEL_BINS, "num_mel_bins", 0)?;
        let n_bins = size_input(inputs, DFT_LENGTH, "dft_length", 1)? / 2 + 1;
        size_input(inputs, SAMPLE_RATE, "sample_rate", 1)?;
        let lower = inputs.require(LOWER_EDGE_HERTZ, "lower_edge_hertz")?;
        for edge in [lower, inputs.require(UPPER_EDGE_HERTZ, "upper_edge_hertz")?] {
            expect_any_float(&edge)?;
            expect_single(&edge)?;
        }
        Ok(vec![checked_type(self.dtype, vec![n_bins, n_bands])?])
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let shape = self.infer(inputs)?.remove(0).shape;
        let [n_bins, n_bands] = [shape[0], shape[1]];
        let mut weights = vec![0.; n_bins * n_bands];
        for (band, edges) in edges(inputs, n_bins, n_bands)?.windows(3).enumerate() {
            let [start, center, end] = [edges[0], edges[1], edges[2]];
            let rising = (start..center).map(|bin| (bin, (bin - start) as f64, center - start));
            let falling = (center..end).map(|bin| (bin, (end - bin) as f64, end - center));
            for (bin, height, width) in rising.chain(falling) {
                weights[bin * n_bands + band] = height / width as f64;
            }
            weights[center * n_bands + band] = 1.;
        }
        Ok(vec![rounded(self.dtype, &shape, weights)])
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        QuantRole::NOT_QUANTIZED
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::QuantRole;
    use crate::ops::testing::{OpTest, op};
    use crate::tensor::Tensor;

    fn mel(n_bands: i64, dft_length: i64, edges: [f32; 2]) -> OpTest {
        let op = op("MelWeightMatrix").tensor(Tensor::scalar(n_bands));
        let op = op.tensor(Tensor::scalar(dft_length)).tensor(Tensor::scalar(8000_i64));
        edges.into_iter().fold(op, |op, edge| op.tensor(Tensor::scalar(edge)))
    }

    #[test]
    fn bands() {
        // Edges at 0, 458, 1217, 2470 Hz of 4540: bins 0, 0, 2, 5 of 17 / 8000 per Hz.
        mel(2, 16, [0., 4540.]).gives(array![
            [1., 0.],
            [0.5, 0.5],
            [0., 1.],
            [0., 2. / 3.],
            [0., 1. / 3.],
            [0., 0.],
            [0., 0.],
            [0., 0.],
            [0., 0.]
        ]);
        mel(1, 2, [0., 100.]).gives(array![[1.], [0.]]);
        mel(1, 2, [0., 100.]).int("output_datatype", 7).gives_tensor(array![[1_i64], [0]]);
    }

    #[test]
    fn refuses() {
        mel(1, 2, [0., 1e6])
            .fails("input `upper_edge_hertz` is 7186 Hz, expected edges in bins 0 to 1");
        mel(1, 0, [0., 1.]).fails("input `dft_length` is 0, expected at least 1");
        mel(1, 2, [f32::NAN, 1.])
            .fails("input `upper_edge_hertz` is NaN Hz, expected edges in bins 0 to 1");
        assert_eq!(mel(1, 2, [0., 1.]).quant(), QuantRole::NOT_QUANTIZED);
    }
}
