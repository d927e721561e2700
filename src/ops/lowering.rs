//! [`Lowering`]: an operator in the terms of the kernels, for engines that do better than `eval`.

use crate::kernels::{Axis, ConvShape, Map, Positions, ResizeTaps, Zip};

/// What a node computes from float32 inputs, where there is a kernel for it.
#[derive(Debug, Clone, PartialEq)]
pub enum Lowering {
    /// Input 0 convolved with the filters of input 1, plus the bias of input 2 if it is there.
    Conv(ConvShape),
    /// The same with a transposed convolution.
    ConvTranspose(ConvShape),
    /// Matrices of inputs 0 and 1 multiplied.
    Product(Product),
    /// Every element of input 0 on its own.
    Map(Map),
    /// Inputs 0 and 1 element by element, broadcast.
    Zip(Zip),
    /// The elements of input 0 in the same order under another shape.
    View,
    /// Axis `k` of the output is axis `perm[k]` of input 0.
    Permute(Vec<usize>),
    /// All inputs one after the other along an axis.
    Concat(usize),
    /// Evenly spaced positions of every axis of input 0.
    Slice(Vec<Positions>),
    /// Elements before and after, of one value, on every axis of input 0.
    Pad {
        pads: Vec<[usize; 2]>,
        value: f32,
    },
    /// Over the last axis of input 0, or its logarithm.
    Softmax {
        is_log: bool,
    },
    /// Over the last `n` elements of input 0; the scale is input 1, the shift input 2. What is not
    /// centered is divided by the root of the mean square.
    Norm {
        n: usize,
        epsilon: f32,
        is_centered: bool,
    },
    /// Windows over the axes behind the first two of input 0.
    MaxPool([Axis; 3]),
    AveragePool {
        axes: [Axis; 3],
        count_include_pad: bool,
    },
    /// Over all axes of input 0 behind the first two.
    GlobalAveragePool,
    /// The last two axes of input 0, of rank 4.
    Resize {
        rows: ResizeTaps,
        columns: ResizeTaps,
    },
}

/// A stack of `[m, k]` times `[k, n]`, times `alpha`, plus `beta` times input 2 if there is a `beta`.
#[derive(Debug, Clone, PartialEq)]
pub struct Product {
    pub m: usize,
    pub k: usize,
    pub n: usize,
    /// The numbers of the matrices of inputs 0 and 1 that make each matrix of the result.
    pub stack: Vec<[usize; 2]>,
    /// Whether the matrices of an input lie transposed, `[k, m]` and `[n, k]`.
    pub is_transposed: [bool; 2],
    pub alpha: f32,
    pub beta: Option<f32>,
}
