//! [`Values`]: what a pass made, each value in the layout of the engine that made it.

use std::sync::Arc;

use crate::graph::ValueId;
use crate::kernels::{Buffer, LANES, blocked_len, permute, to_blocked, to_plain};
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
    /// Row-major after the axes were put in another order.
    Permuted(Order),
}

/// The axes of a value as they follow each other in memory, the slowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    axes: [u8; Order::MOST],
    rank: u8,
}

impl Order {
    const MOST: usize = 6;

    /// `None` for more axes than there is room for.
    fn new(axes: impl ExactSizeIterator<Item = usize>) -> Option<Order> {
        let rank = axes.len();
        let mut order = Order { axes: [0; Order::MOST], rank: u8::try_from(rank).ok()? };
        for (to, axis) in order.axes.get_mut(..rank)?.iter_mut().zip(axes) {
            *to = u8::try_from(axis).ok()?;
        }
        Some(order)
    }

    pub(super) fn axes(&self) -> Vec<usize> {
        self.axes[..usize::from(self.rank)].iter().map(|&axis| usize::from(axis)).collect()
    }

    fn shape(&self, shape: &[usize]) -> Vec<usize> {
        self.axes().into_iter().map(|axis| shape[axis]).collect()
    }
}

impl Layout {
    /// That of a value with the axes in this order.
    pub(super) fn ordered(axes: &[usize]) -> Option<Layout> {
        if axes.iter().copied().eq(0..axes.len()) {
            return Some(Layout::Plain);
        }
        Order::new(axes.iter().copied()).map(Layout::Permuted)
    }

    /// How the same elements lie under the axes of a permutation's result.
    pub(super) fn permuted(self, perm: &[usize]) -> Option<Layout> {
        let axes = match self {
            Layout::Plain => (0..perm.len()).collect(),
            Layout::Blocked => return None,
            Layout::Permuted(order) => order.axes(),
        };
        let new_axis = |axis: &usize| perm.iter().position(|from| from == axis);
        Layout::ordered(&axes.iter().map(new_axis).collect::<Option<Vec<usize>>>()?)
    }

    /// The distances of neighbors along each axis, of a value whose axes have any.
    pub(super) fn strides(self, shape: &[usize]) -> Vec<usize> {
        let axes = match self {
            Layout::Permuted(order) => order.axes(),
            Layout::Plain | Layout::Blocked => (0..shape.len()).collect(),
        };
        let mut strides = vec![1; shape.len()];
        let mut step = 1;
        for &axis in axes.iter().rev() {
            strides[axis] = step;
            step *= shape[axis];
        }
        strides
    }
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

    /// A value in row-major order, however it is stored.
    pub fn tensor(&self, id: ValueId) -> Option<Tensor> {
        self.values[id.index()].as_ref().map(Stored::tensor)
    }

    /// Gives `visit` all elements of a float32 value, in parts, in no particular order. Tells whether
    /// the value is there and float32.
    pub fn for_each_part(&self, id: ValueId, mut visit: impl FnMut(&[f32])) -> bool {
        self.values[id.index()].as_ref().is_some_and(|stored| stored.for_each_part(&mut visit))
    }

    /// Forgets all but some.
    pub fn retain(&mut self, ids: &[ValueId]) {
        for (index, value) in self.values.iter_mut().enumerate() {
            if !ids.iter().any(|id| id.index() == index) {
                *value = None;
            }
        }
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
            Layout::Plain | Layout::Permuted(_) => [0; 3],
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

    pub(super) fn size_bytes(&self) -> usize {
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
        if self.layout == Layout::Plain {
            return Tensor::from_vec(&self.shape, floats.to_vec());
        }
        let mut plain = vec![0.; self.shape.iter().product()];
        convert(floats, &self.shape, [self.layout, Layout::Plain], &mut plain);
        Tensor::from_vec(&self.shape, plain)
    }
}

/// Batch, channels and elements of a channel.
pub(super) fn image(shape: &[usize]) -> [usize; 3] {
    [shape[0], shape[1], shape[2..].iter().product()]
}

/// Elements that a value takes.
pub(super) fn stored_len(shape: &[usize], layout: Layout) -> usize {
    match layout {
        Layout::Plain | Layout::Permuted(_) => shape.iter().product(),
        Layout::Blocked => {
            let [batch, channels, plane] = image(shape);
            blocked_len(batch, channels, plane)
        }
    }
}

/// From one layout to another.
pub(super) fn convert(x: &[f32], shape: &[usize], layouts: [Layout; 2], y: &mut [f32]) {
    match layouts {
        [Layout::Plain, Layout::Blocked] => {
            let [batch, channels, plane] = image(shape);
            to_blocked(x, batch, channels, plane, y);
        }
        [Layout::Blocked, Layout::Plain] => {
            let [batch, channels, plane] = image(shape);
            to_plain(x, batch, channels, plane, y);
        }
        [Layout::Plain, Layout::Permuted(order)] => permute(x, shape, &order.axes(), y),
        [Layout::Permuted(order), Layout::Plain] => {
            let axes = order.axes();
            let place = |axis: usize| axes.iter().position(|&of| of == axis);
            let back: Option<Vec<usize>> = (0..axes.len()).map(place).collect();
            permute(x, &order.shape(shape), &back.expect("an order has all axes"), y);
        }
        [Layout::Plain, Layout::Plain] => y.copy_from_slice(x),
        [from, to] => {
            let mut plain = vec![0.; shape.iter().product()];
            convert(x, shape, [from, Layout::Plain], &mut plain);
            convert(&plain, shape, [Layout::Plain, to], y);
        }
    }
}
