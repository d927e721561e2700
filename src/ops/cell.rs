//! [`Cell`]: what `RNN`, `GRU` and `LSTM` do with the state at one step, for all sequences of a batch.

use ndarray::{Array1, Array2, ArrayView2, Axis, Zip, s};

use crate::kernels::add_product;
use crate::ops::gate::Gate;

/// Which of the three operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rnn,
    Gru {
        /// Whether the reset gate multiplies the product of the state instead of the state.
        linear_before_reset: bool,
    },
    Lstm {
        /// Whether the forget gate is what the input gate leaves.
        input_forget: bool,
    },
}

impl Kind {
    /// How many blocks of `hidden_size` rows the weights have.
    pub(super) fn n_blocks(self) -> usize {
        match self {
            Kind::Rnn => 1,
            Kind::Gru { .. } => 3,
            Kind::Lstm { .. } => 4,
        }
    }

    /// The functions of a direction, where the attribute does not name them.
    pub(super) fn default_functions(self) -> &'static [&'static str] {
        match self {
            Kind::Rnn => &["Tanh"],
            Kind::Gru { .. } => &["Sigmoid", "Tanh"],
            Kind::Lstm { .. } => &["Sigmoid", "Tanh", "Tanh"],
        }
    }
}

/// What a direction carries from step to step, `[batch, hidden]` each.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) h: Array2<f64>,
    /// Only `LSTM` changes it.
    pub(super) c: Array2<f64>,
}

/// The parameters of one direction that the state meets. Blocks of rows: `i`; `z, r, h`; `i, o, f, c`.
#[derive(Debug)]
pub(super) struct Cell<'a> {
    pub(super) kind: Kind,
    pub(super) gates: &'a [Gate],
    /// `[blocks * hidden, hidden]`
    pub(super) r: Array2<f64>,
    /// `[blocks * hidden]`
    pub(super) bias: Array1<f64>,
    /// `[3 * hidden]`: `i, o, f`
    pub(super) peepholes: Array1<f64>,
}

impl Cell<'_> {
    /// The next state; `x` is `[batch, blocks * hidden]`, the products of the input with its bias.
    pub(super) fn step(&self, x: ArrayView2<'_, f64>, state: &State) -> State {
        match self.kind {
            Kind::Rnn => {
                let h = (self.recurrent(0, 1, &state.h) + x).mapv(|sum| self.gates[0].apply(sum));
                State { h, c: state.c.clone() }
            }
            Kind::Gru { linear_before_reset } => self.gru(linear_before_reset, x, state),
            Kind::Lstm { input_forget } => self.lstm(input_forget, x, state),
        }
    }

    fn gru(&self, linear_before_reset: bool, x: ArrayView2<'_, f64>, state: &State) -> State {
        let size = state.h.ncols();
        let gates = self.recurrent(0, 2, &state.h) + x.slice(s![.., ..2 * size]);
        let gates = gates.mapv(|sum| self.gates[0].apply(sum));
        let (z, reset) = gates.view().split_at(Axis(1), size);
        let product = match linear_before_reset {
            true => self.recurrent(2, 1, &state.h) * reset,
            false => self.recurrent(2, 1, &(&state.h * &reset)),
        };
        let mut h = (product + x.slice(s![.., 2 * size..])).mapv(|sum| self.gates[1].apply(sum));
        Zip::from(&mut h).and(z).and(&state.h).for_each(|h, &z, &old| *h = (1. - z) * *h + z * old);
        State { h, c: state.c.clone() }
    }

    fn lstm(&self, input_forget: bool, x: ArrayView2<'_, f64>, state: &State) -> State {
        let size = state.h.ncols();
        // The specification clips the input of every function; onnxruntime leaves the cell as it is.
        let (gate, input, output) = (self.gates[0], self.gates[1], self.gates[2].without_clip());
        let sums = self.recurrent(0, 4, &state.h) + x;
        let mut next = state.clone();
        for (index, c) in next.c.indexed_iter_mut() {
            let (row, k) = index;
            let sum = |block: usize| sums[[row, block * size + k]];
            let peephole = |block: usize| self.peepholes[block * size + k];
            let i = gate.apply(sum(0) + peephole(0) * *c);
            let f = match input_forget {
                true => 1. - i,
                false => gate.apply(sum(2) + peephole(2) * *c),
            };
            *c = f * *c + i * input.apply(sum(3));
            let o = gate.apply(sum(1) + peephole(1) * *c);
            next.h[index] = o * output.apply(*c);
        }
        next
    }

    /// Blocks `first..first + n` of the state's products, with their bias.
    fn recurrent(&self, first: usize, n: usize, h: &Array2<f64>) -> Array2<f64> {
        let rows = first * h.ncols()..(first + n) * h.ncols();
        let bias = self.bias.slice(s![rows.clone()]);
        let bias = bias.broadcast((h.nrows(), rows.len())).expect("a row for each sequence");
        let mut sums = bias.to_owned();
        add_product(h.view(), self.r.slice(s![rows, ..]).reversed_axes(), sums.view_mut());
        sums
    }
}
