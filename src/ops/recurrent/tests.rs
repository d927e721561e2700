//! Cells by hand, directions, lengths, refusals.

use half::{bf16, f16};
use ndarray::{Array3, array};

use crate::ops::testing::{OpTest, counting, op};
use crate::ops::{AttrValue, QuantRole, Reads, Weight};
use crate::tensor::Tensor;

fn column(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_vec(shape, values.to_vec())
}

fn strings(values: &[&str]) -> AttrValue {
    AttrValue::Strings(values.iter().map(|&value| value.to_owned()).collect())
}

/// Input and state of one element each, every function the identity unless told.
fn plain(name: &'static str, x: &[f32], w: &[f32], r: &[f32], n_functions: usize) -> OpTest {
    let n = w.len();
    op(name)
        .tensor(column(&[x.len(), 1, 1], x))
        .tensor(column(&[1, n, 1], w))
        .tensor(column(&[1, n, 1], r))
        .attr("activations", strings(&vec!["Affine"; n_functions]))
        .attr("activation_alpha", AttrValue::Floats(vec![1.; n_functions]))
        .attr("activation_beta", AttrValue::Floats(vec![0.; n_functions]))
}

#[test]
fn rnn() {
    let base = || plain("RNN", &[1., 1.], &[2.], &[0.5], 1);
    base().macs(4).gives(array![[[[2.]]], [[[3.]]]]);
    let biased = || base().tensor(column(&[1, 2], &[0.75, 0.25]));
    biased().gives(array![[[[3.]]], [[[4.5]]]]);
    biased().float("clip", 4.).gives(array![[[[3.]]], [[[4.]]]]);
    let started = base().absent().absent().input(&array![[[4.]]]);
    started
        .outputs(2)
        .gives_tensors(&[column(&[2, 1, 1, 1], &[4., 4.]), column(&[1, 1, 1], &[4.])]);
}

#[test]
fn gru() {
    // z = 0.25 and r = 0.5 by their biases; the product of the state is 2 * 4 + 1.
    let bias = array![[0.25, 0.5, 0., 0., 0., 1.]];
    let base = || {
        plain("GRU", &[3.], &[0., 0., 1.], &[0., 0., 2.], 2)
            .input(&bias)
            .absent()
            .input(&array![[[4.]]])
    };
    base().macs(6).gives(array![[[[7.]]]]);
    base().int("linear_before_reset", 1).gives(array![[[[6.625]]]]);
}

#[test]
fn lstm() {
    let one = array![[[1.]]];
    let base = || {
        plain("LSTM", &[1.], &[1., 2., 3., 4.], &[0., 1., 0., -1.], 3)
            .absent()
            .absent()
            .input(&one)
            .input(&one)
            .outputs(3)
    };
    let gives = |op: OpTest, h: f32, c: f32| {
        let state = |x: f32| column(&[1, 1, 1], &[x]);
        op.gives_tensors(&[column(&[1, 1, 1, 1], &[h]), state(h), state(c)]);
    };
    gives(base().macs(8), 18., 6.);
    // The cell itself is not clipped.
    gives(base().float("clip", 0.5), 0.375, 0.75);
    let peepholes = array![[0.5, 1., -2.]];
    gives(base().input(&peepholes), 46.75, 5.5);
    gives(base().input(&peepholes).int("input_forget", 1), 28., 4.);
}

#[test]
fn default_functions() {
    let x = array![[[1.]]];
    op("RNN").input(&x).input(&x).input(&x).gives(array![[[[0.761_594_2]]]]);
    let ones = |n: usize| Array3::<f32>::ones((1, n, 1));
    // (1 - sigmoid(1)) * tanh(1)
    op("GRU").input(&x).input(&ones(3)).input(&ones(3)).gives(array![[[[0.204_824_21]]]]);
    // sigmoid(1) * tanh(sigmoid(1) * tanh(1))
    op("LSTM").input(&x).input(&ones(4)).input(&ones(4)).gives(array![[[[0.369_606_4]]]]);
}

fn sums(direction: &str) -> OpTest {
    let n = if direction == "bidirectional" { 2 } else { 1 };
    op("RNN")
        .input(&array![[[1.], [10.]], [[2.], [20.]], [[4.], [40.]]])
        .input(&Array3::<f32>::ones((n, 1, 1)))
        .input(&Array3::<f32>::ones((n, 1, 1)))
        .string("direction", direction)
        .attr("activations", strings(&["Relu", "relu"]))
}

#[test]
fn directions() {
    let forward = [[1., 10.], [3., 30.], [7., 70.]];
    let backward = [[7., 70.], [6., 60.], [4., 40.]];
    let y = |of: [[f32; 2]; 3]| column(&[3, 1, 2, 1], of.as_flattened());
    sums("forward").gives_tensor(y(forward));
    sums("reverse").gives_tensor(y(backward));
    let both = [forward[0], backward[0], forward[1], backward[1], forward[2], backward[2]];
    sums("bidirectional").macs(24).outputs(2).gives_tensors(&[
        column(&[3, 2, 2, 1], both.as_flattened()),
        column(&[2, 2, 1], &[7., 70., 7., 70.]),
    ]);
}

#[test]
fn lengths() {
    let lengths = |of: [i32; 2]| Tensor::from_vec(&[2], of.to_vec());
    sums("forward").absent().tensor(lengths([2, 0])).outputs(2).gives_tensors(&[
        column(&[3, 1, 2, 1], &[1., 0., 3., 0., 0., 0.]),
        column(&[1, 2, 1], &[3., 0.]),
    ]);
    sums("reverse").absent().tensor(lengths([2, 3])).outputs(2).gives_tensors(&[
        column(&[3, 1, 2, 1], &[3., 70., 2., 60., 0., 40.]),
        column(&[1, 2, 1], &[3., 70.]),
    ]);
    sums("forward")
        .absent()
        .tensor(lengths([4, 3]))
        .fails("input `sequence_lens` is 4, expected from 0 to 3");
}

#[test]
fn batch_first() {
    op("RNN")
        .input(&array![[[1.], [2.]], [[10.], [20.]], [[4.], [40.]]])
        .input(&array![[[1.]]])
        .input(&array![[[1.]]])
        .absent()
        .absent()
        .input(&array![[[1.]], [[2.]], [[3.]]])
        .attr("activations", strings(&["Relu"]))
        .int("layout", 1)
        .outputs(2)
        .gives_tensors(&[
            column(&[3, 2, 1, 1], &[2., 4., 12., 32., 7., 47.]),
            column(&[3, 1, 1], &[4., 32., 47.]),
        ]);
}

#[test]
fn other_types() {
    let half = |x: f32| Tensor::from_vec(&[1, 1, 1], vec![f16::from_f32(x)]);
    let sums = || op("RNN").attr("activations", strings(&["Relu"]));
    let y = Tensor::from_vec(&[1, 1, 1, 1], vec![f16::from_f32(6.)]);
    sums().tensor(half(2.)).tensor(half(3.)).tensor(half(1.)).gives_tensor(y);
    let brain = || Tensor::from_vec(&[1, 1, 1], vec![bf16::from_f32(2.)]);
    let y = Tensor::from_vec(&[1, 1, 1, 1], vec![bf16::from_f32(4.)]);
    sums().tensor(brain()).tensor(brain()).tensor(brain()).gives_tensor(y);
    let double = || array![[[1e100_f64]]];
    sums().tensor(double()).tensor(double()).tensor(double()).gives_tensor(array![[[[1e200]]]]);
}

#[test]
fn nothing_in_nothing_out() {
    let rnn = |steps: usize, batch: usize, hidden: usize| {
        op("RNN")
            .tensor(counting(&[steps, batch, 3]))
            .tensor(counting(&[1, hidden, 3]))
            .tensor(counting(&[1, hidden, hidden]))
            .outputs(2)
            .gives_tensors(&[
                counting(&[steps, 1, batch, hidden]),
                Tensor::full(&[1, batch, hidden], 0_f32),
            ]);
    };
    rnn(0, 2, 2);
    rnn(2, 0, 2);
    rnn(2, 2, 0);
}

#[test]
fn refuses() {
    let one = array![[[1.]]];
    let base = || op("RNN").input(&one).input(&one);
    base().fails("input `R` is missing");
    let base = || base().input(&one);
    base().input(&array![[1.]]).fails("input `B` has shape [1, 1], expected [1, 2]");
    base().int("hidden_size", 2).fails("attribute `hidden_size` is 2, expected 1, that of `R`");
    base()
        .string("direction", "bidirectional")
        .fails("input `W` has shape [1, 1, 1], expected [2, 1, 1]");
    base()
        .absent()
        .tensor(array![1_i32, 1])
        .fails("input `sequence_lens` has shape [2], expected [1], the batch");
    base().float("clip", -1.).fails("attribute `clip` is -1, expected at least 0");
    let functions = |names: &[&str]| base().attr("activations", strings(names));
    functions(&["Relu"; 3])
        .fails("attribute `activations` is [\"Relu\", \"Relu\", \"Relu\"], expected a list of 1");
    functions(&["Affine"]).fails("attribute `activation_alpha` is missing");
    functions(&["Relu"]).attr("activation_alpha", AttrValue::Floats(vec![1.])).fails(
        "attribute `activation_alpha` is [1.0], expected 0 values, one per function that takes one",
    );
    functions(&["Gelu"]).fails(
        "attribute `activations` is `Gelu`; supported: `Relu`, `Tanh`, `Sigmoid`, `Affine`, \
         `LeakyRelu`, `ThresholdedRelu`, `ScaledTanh`, `HardSigmoid`, `Elu`, `Softsign`, `Softplus`",
    );
}

#[test]
fn quantization() {
    let weight = |input| Weight { input, channel_axis: 1 };
    let role = QuantRole {
        weights: vec![weight(1), weight(2)],
        reads: Reads::Only(vec![0]),
        bias: Some(3),
        ..QuantRole::OWN_RANGE
    };
    assert_eq!(sums("forward").quant(), role);
}
