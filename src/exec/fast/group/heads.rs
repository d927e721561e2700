//! What a step begins with: the kernel of a node, what it reads, and the layout of what it makes.

use crate::exec::fast::group::Grouping;
use crate::exec::fast::multiply::Multiply;
use crate::exec::fast::plan::{Filters, Head, Norm};
use crate::exec::values::Layout;
use crate::graph::patterns::Normalization;
use crate::graph::{Node, NodeId, ValueId};
use crate::kernels::{
    BlockedConv, BlockedDepthwise, ConvInput, ConvShape, LANES, Positions, can_concat,
};
use crate::ops::{Lowering, Product};

/// Fewer channels than this are not worth a block of 16.
const FEW_CHANNELS: usize = 8;

impl Grouping<'_> {
    pub(super) fn lower(&self, node: &Node) -> Option<Lowering> {
        // What is too large is refused by the operator's own evaluation.
        let fits = self.ty(node.output(0)?)?.size_bytes() <= self.limit_bytes;
        if !fits
            || !self.types.errors.is_empty()
            || !node.bodies.is_empty()
            || node.present_outputs().count() != 1
        {
            return None;
        }
        self.ty(node.input(0)?)?;
        let lowering = self.types.with_inputs(node, |inputs| node.operator.lower(inputs))??;
        let is_changed = |(_, value): (usize, ValueId)| {
            self.graph.constant(value).is_some() && self.visible.seen.contains(&value)
        };
        let is_fixed = reads_constants(&lowering) || !node.present_inputs().any(is_changed);
        is_fixed.then_some(lowering)
    }

    /// The kernel of a node, what it reads, and the layout of what it makes.
    pub(super) fn head(&self, id: NodeId, node: &Node) -> Option<(Head, Vec<ValueId>, Layout)> {
        if let Some(normalization) = self.normalizations.get(&id) {
            let Normalization { x, n, epsilon, .. } = *normalization;
            let norm = Norm { n, epsilon, is_centered: true };
            let head = Head::Norm(norm, [None, None]);
            return Some((head, vec![x], Layout::Plain));
        }
        let x = node.input(0)?;
        let lowering = self.lower(node)?;
        let layout = self.layout(x);
        // A constant too large to fold has no shape of a value; it is computed once a pass by `eval`.
        if self.graph.constant(x).is_some() && !reads_constants(&lowering) {
            return None;
        }
        match lowering {
            Lowering::Conv(shape) => self.convolution(node, &shape),
            Lowering::ConvTranspose(_) => None,
            Lowering::Product(product) => self.product(node, product),
            Lowering::Map(_) | Lowering::Zip(_) => self.element_wise(node),
            Lowering::Norm { n, epsilon, is_centered } => {
                let norm = Norm { n, epsilon, is_centered };
                let parameters = [node.input(1), node.input(2)];
                let reads = std::iter::once(x).chain(parameters.into_iter().flatten()).collect();
                Some((Head::Norm(norm, parameters), reads, Layout::Plain))
            }
            Lowering::View => Some((Head::Relabel(Layout::Plain), vec![x], Layout::Plain)),
            Lowering::Permute(ref perm) => {
                let relabeled = self.relabeled(node, x, perm);
                let relabeled = relabeled.map(|layout| (Head::Relabel(self.layout(x)), layout));
                let (head, layout) = relabeled.unwrap_or((Head::Other(lowering), Layout::Plain));
                Some((head, vec![x], layout))
            }
            Lowering::Softmax { .. } => Some((Head::Other(lowering), vec![x], Layout::Plain)),
            Lowering::MaxPool(_)
            | Lowering::AveragePool { .. }
            | Lowering::GlobalAveragePool
            | Lowering::Resize { .. } => {
                let channels = self.ty(x)?.shape[1];
                let is_worth_it = layout == Layout::Blocked || FEW_CHANNELS <= channels;
                is_worth_it.then_some((Head::Other(lowering), vec![x], Layout::Blocked))
            }
            Lowering::Concat(axis) => {
                let inputs: Vec<ValueId> = node.present_inputs().map(|(_, value)| value).collect();
                let are_blocked = inputs.iter().all(|&x| self.layout(x) == Layout::Blocked);
                let channels: Option<Vec<usize>> =
                    inputs.iter().map(|&x| self.ty(x)?.shape.get(1).copied()).collect();
                let fits = axis == 1 && are_blocked && can_concat(&channels?);
                fits.then_some((Head::Other(lowering), inputs, Layout::Blocked))
            }
            Lowering::Slice(ref positions) => {
                let shape = &self.ty(x)?.shape;
                let is_whole = |axis: usize| {
                    positions[axis] == Positions { start: 0, step: 1, count: shape[axis] }
                };
                let fits = layout == Layout::Blocked && shape.len() == 4;
                let fits = fits && is_whole(0) && is_whole(1);
                fits.then_some((Head::Other(lowering), vec![x], Layout::Blocked))
            }
            Lowering::Pad { ref pads, value } => {
                let fits = layout == Layout::Blocked && pads.len() == 4 && pads[0] == [0, 0];
                let (channels, spatial) = (pads.get(1)?, pads.get(2..)?);
                let is_spatial = *channels == [0, 0];
                let is_channels = value == 0. && spatial.iter().all(|pads| *pads == [0, 0]);
                let fits = fits && (is_spatial || is_channels);
                fits.then_some((Head::Other(lowering), vec![x], Layout::Blocked))
            }
        }
    }

    fn convolution(&self, node: &Node, shape: &ConvShape) -> Option<(Head, Vec<ValueId>, Layout)> {
        let (x, w, bias) = (node.input(0)?, node.input(1)?, node.input(2));
        let is_constant = |value: ValueId| self.graph.constant(value).is_some();
        if !is_constant(w) || !bias.is_none_or(is_constant) {
            return None;
        }
        let filters = Filters { w, bias, groups: shape.groups };
        let reads = std::iter::once(x).chain([w]).chain(bias).collect();
        if 1 < shape.groups
            && let Some(plan) = BlockedDepthwise::new(shape)
        {
            return Some((Head::Depthwise(plan, filters), reads, Layout::Blocked));
        }
        let is_plain = self.layout(x) == Layout::Plain && shape.c_in < LANES && shape.groups == 1;
        let input = if is_plain { ConvInput::Plain } else { ConvInput::Blocked };
        let plan = BlockedConv::new(shape, input)?;
        Some((Head::Conv(plan, filters), reads, Layout::Blocked))
    }

    fn product(&self, node: &Node, product: Product) -> Option<(Head, Vec<ValueId>, Layout)> {
        let (a, b) = (node.input(0)?, node.input(1)?);
        let c = node.input(2).filter(|_| product.beta.is_some());
        let is_row = |c: ValueId| {
            let ty = self.ty(c).filter(|ty| ty.shape.last() == Some(&ty.len()));
            self.graph.constant(c).is_some() && ty.is_some_and(|ty| ty.len() == product.n)
        };
        if !c.is_none_or(is_row) {
            return None;
        }
        let made = node.output(0)?;
        let shapes = [&self.ty(a)?.shape[..], &self.ty(b)?.shape, &self.ty(made)?.shape];
        let layout = self.layout_behind(made);
        let layouts = [self.layout(a), self.layout(b), layout];
        let reads = [a, b].into_iter().chain(c).collect();
        Some((Head::Product(Multiply::new(product, c, shapes, layouts)?), reads, layout))
    }

    /// The layout in which a product's result needs no copy for the permutation that reads it.
    fn layout_behind(&self, made: ValueId) -> Layout {
        let &[reader] = &self.readers[made.index()][..] else { return Layout::Plain };
        match self.lower(self.graph.node(reader)) {
            Some(Lowering::Permute(perm)) if perm.last() == Some(&(perm.len() - 1)) => {
                Layout::ordered(&perm).unwrap_or(Layout::Plain)
            }
            _ => Layout::Plain,
        }
    }

    /// The layout of a permutation's result if nothing has to be moved: it is in order, or only
    /// products read it, which take any order.
    fn relabeled(&self, node: &Node, x: ValueId, perm: &[usize]) -> Option<Layout> {
        let layout = self.layout(x).permuted(perm)?;
        let is_fine = layout == Layout::Plain || self.is_multiplied(node.output(0)?, layout);
        is_fine.then_some(layout)
    }

    /// Whether a value in such a layout is read by products alone, or by element-wise nodes whose
    /// results are.
    fn is_multiplied(&self, value: ValueId, layout: Layout) -> bool {
        let reads = |&reader: &NodeId| {
            let node = self.graph.node(reader);
            let made = node.output(0)?;
            match self.lower(node)? {
                Lowering::Product(product) => {
                    let (a, b) = (node.input(0)?, node.input(1)?);
                    let layouts = [a, b].map(|x| if x == value { layout } else { Layout::Plain });
                    let shapes =
                        [&self.ty(a)?.shape[..], &self.ty(b)?.shape, &self.ty(made)?.shape];
                    let layouts = [layouts[0], layouts[1], Layout::Plain];
                    Multiply::new(product, None, shapes, layouts).map(|_| true)
                }
                Lowering::Map(_) | Lowering::Zip(_) => {
                    Some(self.is_scaled(node, value) && self.is_multiplied(made, layout))
                }
                _ => None,
            }
        };
        let readers = &self.readers[value.index()];
        let is_read = !readers.is_empty() && !self.graph.is_output(value);
        is_read && readers.iter().all(|reader| reads(reader) == Some(true))
    }

    /// Whether all else that an element-wise node reads is one element.
    fn is_scaled(&self, node: &Node, x: ValueId) -> bool {
        let is_one = |value: ValueId| self.ty(value).is_some_and(|ty| ty.len() == 1);
        node.present_inputs().all(|(_, value)| value == x || is_one(value))
    }

    /// Begins with the operand that has the shape of the result.
    fn element_wise(&self, node: &Node) -> Option<(Head, Vec<ValueId>, Layout)> {
        let shape = &self.ty(node.output(0)?)?.shape;
        let is_whole = |&(_, value): &(usize, ValueId)| {
            self.graph.constant(value).is_none()
                && self.ty(value).is_some_and(|ty| ty.shape == *shape)
        };
        let whole: Vec<ValueId> =
            node.present_inputs().filter(is_whole).map(|(_, value)| value).collect();
        let blocked = whole.iter().find(|&&value| self.layout(value) == Layout::Blocked);
        let x = *blocked.or(whole.first())?;
        let layout = match self.layout(x) {
            Layout::Permuted(_) if !self.is_scaled(node, x) => Layout::Plain,
            layout => layout,
        };
        Some((Head::Load, vec![x], layout))
    }
}

/// Whether float constants are read when a step runs, not when it is planned.
pub(super) fn reads_constants(lowering: &Lowering) -> bool {
    match lowering {
        Lowering::Conv(_)
        | Lowering::ConvTranspose(_)
        | Lowering::Product(_)
        | Lowering::Zip(_)
        | Lowering::Norm { .. }
        | Lowering::Concat(_) => true,
        Lowering::Map(_)
        | Lowering::View
        | Lowering::Permute(_)
        | Lowering::Slice(_)
        | Lowering::Pad { .. }
        | Lowering::Softmax { .. }
        | Lowering::MaxPool(_)
        | Lowering::AveragePool { .. }
        | Lowering::GlobalAveragePool
        | Lowering::Resize { .. } => false,
    }
}
