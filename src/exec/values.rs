//! [`Values`]: what a pass made, each value in the layout of the engine that made it.

use std::sync::Arc;

use crate::graph::ValueId;
use crate::kernels::{Buffer, LANES, blocked_len, to_blocked, to_plain};
use crate::tensor::Tensor;

/// The values of one pass, by id.
#[derive(Debug, Clone)]
pub struct Values {
    pub(super) values: Vec<Option<Stored>>,
    /// The inputs of the pass, before any hook.
    pub(super) inputs: Vec<Tensor>,
}

/// How the elements of a value lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Row-major.
    Plain,
    /// `[N, ceil(C / 16), ..., 16]` for `[N, C, ...]`.
    Blocked,
}

/// One value.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) shape: Vec<usize>,
    pub(super) layout: Layout,
    pub(super) data: Data,
}

#[derive(Debug, Clone)]
pub(super) enum Data {
    Tensor(Tensor),
    Floats(Arc<Buffer>),
}

impl Values {
    /// A value that a caller may look at: inputs, outputs, and what the reference engine makes.
    pub fn get(&self, id: ValueId) -> Option<&Tensor> {
        match &self.values[id.index()].as_ref()?.data {
            Data::Tensor(tensor) => Some(tensor),
            Data::Floats(_) => None,
        }
    }

    /// Gives `visit` all elements of a float32 value, in parts, in no particular order. Tells whether
    /// the value is there and float32.
    pub fn for_each_part(&self, id: ValueId, mut visit: impl FnMut(&[f32])) -> bool {
        self.values[id.index()].as_ref().is_some_and(|stored| stored.for_each_part(&mut visit))
    }

    /// Bytes held; values that share storage count each.
    pub fn size_bytes(&self) -> usize {
        self.values.iter().flatten().map(Stored::size_bytes).sum()
    }
}

impl From<Tensor> for Stored {
    fn from(tensor: Tensor) -> Stored {
        let shape = tensor.shape().to_vec();
        Stored { shape, layout: Layout::Plain, data: Data::Tensor(tensor) }
    }
}

impl Stored {
    pub(super) fn floats(&self) -> Option<&[f32]> {
        match &self.data {
            Data::Tensor(tensor) => tensor.try_slice::<f32>(),
            Data::Floats(floats) => Some(floats),
        }
    }

    /// As [`Values::for_each_part`].
    pub(super) fn for_each_part(&self, visit: &mut dyn FnMut(&[f32])) -> bool {
        let Some(floats) = self.floats() else { return false };
        let [batch, channels, plane] = match self.layout {
            Layout::Plain => [0; 3],
            Layout::Blocked => image(&self.shape),
        };
        if channels.is_multiple_of(LANES) {
            visit(floats);
            return true;
        }
        let mut plain = vec![0.; batch * channels * plane];
        to_plain(floats, batch, channels, plane, &mut plain);
        visit(&plain);
        true
    }

    fn size_bytes(&self) -> usize {
        match &self.data {
            Data::Tensor(tensor) => tensor.size_bytes(),
            Data::Floats(floats) => 4 * floats.len(),
        }
    }

    /// The elements in row-major order.
    pub(super) fn tensor(&self) -> Tensor {
        let floats = match &self.data {
            Data::Tensor(tensor) => return tensor.clone(),
            Data::Floats(floats) => floats,
        };
        match self.layout {
            Layout::Plain => Tensor::from_vec(&self.shape, floats.to_vec()),
            Layout::Blocked => {
                let [batch, channels, plane] = image(&self.shape);
                let mut plain = vec![0.; batch * channels * plane];
                to_plain(floats, batch, channels, plane, &mut plain);
                Tensor::from_vec(&self.shape, plain)
            }
        }
    }
}

/// Batch, channels and elements of a channel.
pub(super) fn image(shape: &[usize]) -> [usize; 3] {
    [shape[0], shape[1], shape[2..].iter().product()]
}

/// Elements that a value takes.
pub(super) fn stored_len(shape: &[usize], layout: Layout) -> usize {
    match layout {
        Layout::Plain => shape.iter().product(),
        Layout::Blocked => {
            let [batch, channels, plane] = image(shape);
            blocked_len(batch, channels, plane)
        }
    }
}

/// From one layout to the other.
pub(super) fn convert(x: &[f32], shape: &[usize], to: Layout, y: &mut [f32]) {
    let [batch, channels, plane] = image(shape);
    match to {
        Layout::Plain => to_plain(x, batch, channels, plane, y),
        Layout::Blocked => to_blocked(x, batch, channels, plane, y),
    }
}
