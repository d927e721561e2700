//! `RNN`, `GRU` and `LSTM`: a state carried along a sequence, in one direction or both.
//!
//! <https://onnx.ai/onnx/operators/onnx__RNN.html>, <https://onnx.ai/onnx/operators/onnx__GRU.html>,
//! <https://onnx.ai/onnx/operators/onnx__LSTM.html>
//!
//! Everything between the inputs and the outputs is f64. Steps beyond the length of a sequence are 0 in
//! `Y`, and the last state is that at its end (its start for the reverse direction).
//!
//! Quantization: `W` and `R` are weights with a scale per row of a gate, which two directions share. `X`
//! is read as an activation; the state inside stays float, as do `initial_h`, `initial_c` and `P`. Each
//! output has a range of its own.

use ndarray::{Array1, Array3, Array4, ArrayD, ArrayViewMut3, Axis, s};

use crate::kernels::add_product;
use crate::ops::cell::{Cell, Kind, State};
use crate::ops::dims::checked_type;
use crate::ops::floats::{doubles, expect_any_float, expect_same, rounded};
use crate::ops::gate::Gate;
use crate::ops::{Attrs, Bodies, Inputs, OpDef, OpError, Operator, QuantRole, Reads, Weight};
use crate::tensor::{DType, Tensor, TensorType};

pub(super) const OPS: &[OpDef] = &[
    OpDef::onnx("RNN", 1, |attrs| Recurrent::read(attrs, Kind::Rnn)),
    OpDef::onnx("GRU", 1, |attrs| {
        // Any other number than 0 counts.
        let linear_before_reset = attrs.int("linear_before_reset", 0)? != 0;
        Recurrent::read(attrs, Kind::Gru { linear_before_reset })
    }),
    OpDef::onnx("LSTM", 1, |attrs| {
        let input_forget = attrs.flag("input_forget", false)?;
        Recurrent::read(attrs, Kind::Lstm { input_forget })
    }),
];

#[derive(Debug)]
struct Recurrent {
    kind: Kind,
    /// For every direction whether it runs from the end.
    reversed: &'static [bool],
    /// Those of the first direction first.
    gates: Vec<Gate>,
    hidden_size: Option<i64>,
    /// Whether the batch comes before the steps and the directions.
    batch_first: bool,
}

const X: usize = 0;
const W: usize = 1;
const R: usize = 2;
const B: usize = 3;
const SEQUENCE_LENS: usize = 4;
const INITIAL_H: usize = 5;
const INITIAL_C: usize = 6;
const P: usize = 7;

/// The sizes that the shapes of the inputs agree on.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    steps: usize,
    batch: usize,
    input: usize,
    hidden: usize,
}

impl Recurrent {
    fn read(attrs: &mut Attrs, kind: Kind) -> Result<Box<dyn Operator>, OpError> {
        let directions: [(&str, &[bool]); 3] =
            [("forward", &[false]), ("reverse", &[true]), ("bidirectional", &[false, true])];
        let reversed = attrs.choice("direction", &directions)?;
        let gates = Gate::read(attrs, kind.default_functions(), reversed.len())?;
        let hidden_size = attrs.opt_int("hidden_size")?;
        // Up to opset 6: whether `Y` is wanted, which the outputs tell as well.
        attrs.ignore("output_sequence");
        let batch_first = attrs.flag("layout", false)?;
        Ok(Box::new(Recurrent { kind, reversed, gates, hidden_size, batch_first }))
    }

    fn n_directions(&self) -> usize {
        self.reversed.len()
    }

    fn n_outputs(&self) -> usize {
        if matches!(self.kind, Kind::Lstm { .. }) { 3 } else { 2 }
    }

    fn sizes(&self, inputs: &Inputs<'_>) -> Result<Sizes, OpError> {
        let [a, b, input] = inputs.require(X, "X")?.expect_rank()?;
        let (steps, batch) = if self.batch_first { (b, a) } else { (a, b) };
        let [_, _, hidden] = inputs.require(R, "R")?.expect_rank()?;
        if let Some(found) = self.hidden_size.filter(|&size| usize::try_from(size) != Ok(hidden)) {
            let expected = format!("{hidden}, that of `R`");
            return Err(OpError::invalid_attribute("hidden_size", found, expected));
        }
        Ok(Sizes { steps, batch, input, hidden })
    }

    /// The shape of the state before and after the sequence.
    fn state_shape(&self, sizes: &Sizes) -> [usize; 3] {
        let (directions, batch) = (self.n_directions(), sizes.batch);
        match self.batch_first {
            false => [directions, batch, sizes.hidden],
            true => [batch, directions, sizes.hidden],
        }
    }

    fn check_parameters(&self, inputs: &Inputs<'_>, sizes: &Sizes) -> Result<(), OpError> {
        let (directions, hidden) = (self.n_directions(), sizes.hidden);
        let rows = hidden.saturating_mul(self.kind.n_blocks());
        let state = self.state_shape(sizes);
        let expected = [
            (W, "W", vec![directions, rows, sizes.input]),
            (R, "R", vec![directions, rows, hidden]),
            (B, "B", vec![directions, rows.saturating_mul(2)]),
            (INITIAL_H, "initial_h", state.to_vec()),
            (INITIAL_C, "initial_c", state.to_vec()),
            (P, "P", vec![directions, hidden.saturating_mul(3)]),
        ];
        let dtype = inputs.require(X, "X")?.dtype();
        for (position, name, shape) in expected {
            let Some(parameter) = inputs.optional(position, name) else { continue };
            if expect_same(&parameter, dtype, "X")? != shape {
                return Err(parameter.wrong_shape(format!("{shape:?}")));
            }
        }
        Ok(())
    }

    /// How many steps each sequence of the batch has.
    fn lengths(&self, inputs: &Inputs<'_>, sizes: &Sizes) -> Result<Vec<usize>, OpError> {
        if inputs.get(SEQUENCE_LENS).is_none() {
            return Ok(vec![sizes.steps; sizes.batch]);
        }
        let length = |&length: &i32| {
            let in_range = usize::try_from(length).ok().filter(|&n| n <= sizes.steps);
            let expected = format!("from 0 to {}", sizes.steps);
            in_range.ok_or_else(|| OpError::value("sequence_lens", length, expected))
        };
        inputs.tensor(SEQUENCE_LENS).slice::<i32>().iter().map(length).collect()
    }

    /// The state before the sequence as `[directions, batch, hidden]`.
    fn initial(&self, inputs: &Inputs<'_>, position: usize, sizes: &Sizes) -> Array3<f64> {
        let shape = self.state_shape(sizes);
        let given = inputs.get(position).map(|_| doubles(inputs.tensor(position)));
        self.swapped(given.map_or_else(|| Array3::zeros(shape), |given| cube(&shape, given)))
    }

    /// Exchanges the first two axes if the batch comes first.
    fn swapped(&self, mut x: Array3<f64>) -> Array3<f64> {
        if self.batch_first {
            x.swap_axes(0, 1);
        }
        x
    }

    /// Runs direction `d`; `y` is `[steps, batch, hidden]`, 0 where it is not written.
    fn run(
        &self,
        d: usize,
        inputs: &Inputs<'_>,
        lengths: &[usize],
        mut state: State,
        mut y: ArrayViewMut3<'_, f64>,
    ) -> State {
        // The specification leaves open where a sequence of no steps ends; onnxruntime gives 0.
        for b in (0..lengths.len()).filter(|&b| lengths[b] == 0) {
            state.h.row_mut(b).fill(0.);
            state.c.row_mut(b).fill(0.);
        }
        if y.is_empty() {
            return state;
        }
        let cell = self.cell(d, inputs);
        let x = self.products(d, inputs);
        let mut x_now = x.index_axis(Axis(0), 0).to_owned();
        for step in 0..lengths.iter().copied().max().unwrap_or(0) {
            let running: Vec<(usize, usize)> = (0..lengths.len())
                .filter(|&b| step < lengths[b])
                .map(|b| (b, if self.reversed[d] { lengths[b] - 1 - step } else { step }))
                .collect();
            running.iter().for_each(|&(b, at)| x_now.row_mut(b).assign(&x.slice(s![at, b, ..])));
            let next = cell.step(x_now.view(), &state);
            for (b, at) in running {
                state.h.row_mut(b).assign(&next.h.row(b));
                state.c.row_mut(b).assign(&next.c.row(b));
                y.slice_mut(s![at, b, ..]).assign(&next.h.row(b));
            }
        }
        state
    }

    fn cell(&self, d: usize, inputs: &Inputs<'_>) -> Cell<'_> {
        let hidden = inputs.shape(R)[2];
        let rows = hidden * self.kind.n_blocks();
        let r = parameter(inputs, R, d, rows * hidden).into_shape_with_order((rows, hidden));
        let n_functions = self.kind.default_functions().len();
        Cell {
            kind: self.kind,
            gates: &self.gates[d * n_functions..][..n_functions],
            r: r.expect("`infer` checked the shape"),
            bias: parameter(inputs, B, d, 2 * rows).slice_move(s![rows..]),
            peepholes: parameter(inputs, P, d, 3 * hidden),
        }
    }

    /// `X * W^T + bias` for all steps of direction `d`, `[steps, batch, rows]`.
    fn products(&self, d: usize, inputs: &Inputs<'_>) -> Array3<f64> {
        let x = self.swapped(cube(inputs.shape(X), doubles(inputs.tensor(X))));
        let (steps, batch, input) = x.dim();
        let rows = inputs.shape(W)[1];
        let x = x.to_shape((steps * batch, input)).expect("as many elements");
        let w = parameter(inputs, W, d, rows * input).into_shape_with_order((rows, input));
        let w = w.expect("`infer` checked the shape");
        let bias = parameter(inputs, B, d, 2 * rows);
        let bias = bias.slice(s![..rows]);
        let sums = bias.broadcast((steps * batch, rows)).expect("a row for each step");
        let mut sums = sums.to_owned();
        add_product(x.view(), w.t(), sums.view_mut());
        sums.into_shape_with_order((steps, batch, rows)).expect("as many elements")
    }
}

/// The `len` elements of an input that belong to direction `d`; zeros if it is absent.
fn parameter(inputs: &Inputs<'_>, position: usize, d: usize, len: usize) -> Array1<f64> {
    match inputs.get(position) {
        None => Array1::zeros(len),
        Some(_) => Array1::from(doubles(inputs.tensor(position))[d * len..][..len].to_vec()),
    }
}

fn cube(shape: &[usize], elements: Vec<f64>) -> Array3<f64> {
    let shape = <[usize; 3]>::try_from(shape).expect("`infer` checked the rank");
    Array3::from_shape_vec(shape, elements).expect("a tensor has its shape")
}

impl Operator for Recurrent {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        let is_lstm = matches!(self.kind, Kind::Lstm { .. });
        inputs.expect_at_most(if is_lstm { 8 } else { 6 })?;
        let x = inputs.require(X, "X")?;
        expect_any_float(&x)?;
        inputs.require(W, "W")?;
        let sizes = self.sizes(inputs)?;
        self.check_parameters(inputs, &sizes)?;
        let Sizes { steps, batch, hidden, .. } = sizes;
        if let Some(lengths) = inputs.optional(SEQUENCE_LENS, "sequence_lens")
            && lengths.expect_dtype(DType::I32)? != [batch]
        {
            return Err(lengths.wrong_shape(format!("[{batch}], the batch")));
        }
        let y = match self.batch_first {
            false => vec![steps, self.n_directions(), batch, hidden],
            true => vec![batch, steps, self.n_directions(), hidden],
        };
        let state = checked_type(x.dtype(), self.state_shape(&sizes).to_vec())?;
        let mut types = vec![checked_type(x.dtype(), y)?, state.clone(), state];
        types.truncate(self.n_outputs().min(inputs.n_outputs()).max(1));
        Ok(types)
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let types = self.infer(inputs)?;
        let sizes = self.sizes(inputs)?;
        let lengths = self.lengths(inputs, &sizes)?;
        let Sizes { steps, batch, hidden, .. } = sizes;
        let mut y = Array4::zeros((self.n_directions(), steps, batch, hidden));
        let mut h = self.initial(inputs, INITIAL_H, &sizes);
        let mut c = self.initial(inputs, INITIAL_C, &sizes);
        for (d, y) in y.outer_iter_mut().enumerate() {
            let axis = Axis(0);
            let state =
                State { h: h.index_axis(axis, d).to_owned(), c: c.index_axis(axis, d).to_owned() };
            let last = self.run(d, inputs, &lengths, state, y);
            h.index_axis_mut(axis, d).assign(&last.h);
            c.index_axis_mut(axis, d).assign(&last.c);
        }
        let y = match self.batch_first {
            false => y.permuted_axes([1, 0, 2, 3]),
            true => y.permuted_axes([2, 1, 0, 3]),
        };
        let states = [h, c].map(|state| self.swapped(state).into_dyn());
        let values = [y.into_dyn()].into_iter().chain(states).zip(&types);
        let value = |(x, ty): (ArrayD<f64>, &TensorType)| {
            rounded(ty.dtype, &ty.shape, x.iter().copied().collect())
        };
        Ok(values.map(value).collect())
    }

    /// The products of `W` and of `R` at every step; peepholes and gates are element-wise.
    fn macs(&self, inputs: &Inputs<'_>, _outputs: &[TensorType]) -> u64 {
        let [a, b, input] = [0, 1, 2].map(|axis| inputs.shape(X)[axis] as u64);
        let w = inputs.shape(W);
        let rows = (w[0] as u64).saturating_mul(w[1] as u64);
        let columns = input.saturating_add(inputs.shape(R)[2] as u64);
        a.saturating_mul(b).saturating_mul(rows).saturating_mul(columns)
    }

    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        let weight = |input| Weight { input, channel_axis: 1 };
        QuantRole {
            weights: vec![weight(W), weight(R)],
            reads: Reads::Only(vec![X]),
            bias: Some(B),
            ..QuantRole::OWN_RANGE
        }
    }
}

#[cfg(test)]
mod tests;
