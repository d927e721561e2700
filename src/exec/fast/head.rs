//! The kernels behind the heads of steps.

use std::sync::Arc;

use crate::exec::fast::chain::{Chain, Floats};
use crate::exec::fast::pass::Pass;
use crate::exec::fast::plan::{Head, Norm, Step};
use crate::exec::prepared::Form;
use crate::exec::values::{Layout, image};
use crate::graph::ValueId;
use crate::kernels::{self, Buffer, ConvInput, LANES};
use crate::ops::Lowering;

impl Pass<'_> {
    /// Elements of memory that a head needs besides its result.
    pub(super) fn scratch_len(&self, step: &Step) -> usize {
        match &step.head {
            Head::Product(multiply) => self.product_scratch_len(step, multiply),
            _ => 0,
        }
    }

    pub(super) fn head(
        &self,
        step: &Step,
        clamp: [f32; 2],
        chain: &mut Chain<'_>,
        y: &mut [f32],
        scratch: &mut Buffer,
    ) {
        let x = self.floats(step.reads[0], step.wanted(0));
        match &step.head {
            Head::Reference => unreachable!("a pass evaluates these itself"),
            Head::Load | Head::Relabel(_) => load(&x, y, chain),
            Head::Conv(conv, _) => {
                let (w, bias) = self.filters(step);
                conv.run(&x, &w, &bias, clamp, y, |part, at| chain.apply(part, at));
            }
            Head::Depthwise(conv, _) => {
                let (w, bias) = self.filters(step);
                conv.run(&x, &w, &bias, clamp, y, |part, at| chain.apply(part, at));
            }
            Head::Product(product) => self.multiply(step, product, clamp, chain, y, scratch),
            Head::Norm(norm, parameters) => {
                let Norm { n, epsilon, is_centered } = *norm;
                let parameters =
                    parameters.map(|value| value.map(|value| self.floats(value, Layout::Plain)));
                let [scale, shift] = parameters.each_ref().map(|floats| floats.as_deref());
                match is_centered {
                    true => kernels::layer_norm_rows(&x, y, n, scale, shift, epsilon),
                    false => kernels::rms_norm_rows(&x, y, n, scale, epsilon),
                }
                chain.apply(y, 0);
            }
            Head::Other(lowering) => {
                self.other(step, lowering, &x, y);
                chain.apply(y, 0);
            }
        }
    }

    pub(super) fn packed(
        &self,
        id: ValueId,
        form: Form,
        pack: impl FnOnce(&[f32]) -> Vec<f32>,
    ) -> Arc<Buffer> {
        let constant = self.constant(id).expect("a plan packs constants");
        constant.packed(form, |x| Buffer::from(pack(x.slice()).as_slice()))
    }

    /// A constant with zeros up to whole blocks.
    pub(super) fn filled_up(&self, id: ValueId) -> Arc<Buffer> {
        self.packed(id, Form::FilledUp, |x| {
            let mut filled = x.to_vec();
            filled.resize(x.len().next_multiple_of(LANES), 0.);
            filled
        })
    }

    /// The filters of a convolution, packed, and its bias.
    pub(super) fn filters(&self, step: &Step) -> (Arc<Buffer>, Floats<'_>) {
        let (w, filters) = match &step.head {
            Head::Conv(conv, filters) => {
                let form = match conv.input() {
                    ConvInput::Plain => Form::PlainFilters,
                    ConvInput::Blocked => Form::BlockedFilters(filters.groups),
                };
                (self.packed(filters.w, form, |w| conv.pack(w)), filters)
            }
            Head::Depthwise(conv, filters) => {
                (self.packed(filters.w, Form::DepthwiseFilters, |w| conv.pack(w)), filters)
            }
            _ => unreachable!("only convolutions have filters"),
        };
        let bias = filters.bias.map(|bias| Floats::Shared(self.filled_up(bias)));
        (w, bias.unwrap_or(Floats::Borrowed(&[])))
    }

    fn other(&self, step: &Step, lowering: &Lowering, x: &[f32], y: &mut [f32]) {
        let shape = &self.value(step.reads[0]).expect("what a step reads is there").shape;
        let planes = || {
            let [batch, channels, _] = image(shape);
            batch * channels.div_ceil(LANES)
        };
        match lowering {
            Lowering::Permute(perm) => kernels::permute(x, shape, perm, y),
            Lowering::Softmax { is_log } => {
                y.copy_from_slice(x);
                softmax(y, step, *is_log);
            }
            Lowering::MaxPool(axes) => kernels::max_pool(x, planes(), axes, y),
            Lowering::AveragePool { axes, count_include_pad } => {
                kernels::average_pool(x, planes(), axes, *count_include_pad, y);
            }
            Lowering::GlobalAveragePool => {
                kernels::global_average_pool(x, planes(), image(shape)[2], y);
            }
            Lowering::Resize { rows, columns } => {
                kernels::resize(x, planes(), [shape[2], shape[3]], rows, columns, y);
            }
            Lowering::Concat(_) => {
                let channels = |&id: &ValueId| self.value(id).map_or(0, |stored| stored.shape[1]);
                let pieces: Vec<(Floats<'_>, usize)> = step
                    .reads
                    .iter()
                    .map(|id| (self.floats(*id, Layout::Blocked), channels(id)))
                    .collect();
                let pieces: Vec<(&[f32], usize)> =
                    pieces.iter().map(|(piece, channels)| (&**piece, *channels)).collect();
                let [batch, _, plane] = image(&step.shape);
                kernels::concat_channels(&pieces, batch, plane, y);
            }
            Lowering::Slice(positions) => {
                let positions = [positions[2], positions[3]];
                kernels::slice_spatial(x, planes(), [shape[2], shape[3]], &positions, y);
            }
            Lowering::Pad { pads, value } if pads[1] == [0, 0] => {
                let pads = [pads[2], pads[3]];
                kernels::pad_spatial(x, planes(), [shape[2], shape[3]], pads, *value, y);
            }
            Lowering::Pad { pads, .. } => {
                let [batch, channels, plane] = image(shape);
                kernels::pad_channels(x, batch, channels, plane, pads[1], y);
            }
            Lowering::Conv(_)
            | Lowering::ConvTranspose(_)
            | Lowering::Product(_)
            | Lowering::View
            | Lowering::Map(_)
            | Lowering::Zip(_)
            | Lowering::Norm { .. } => unreachable!("these are heads of their own, or of none"),
        }
    }
}

/// A head that changes what it reads, in `y` already.
pub(super) fn in_place(step: &Step, y: &mut [f32], chain: &mut Chain<'_>) {
    if let Head::Other(Lowering::Softmax { is_log }) = step.head {
        softmax(y, step, is_log);
    }
    chain.apply(y, 0);
}

fn softmax(y: &mut [f32], step: &Step, is_log: bool) {
    let n = step.shape[step.shape.len() - 1];
    match is_log {
        true => kernels::log_softmax_rows(y, n),
        false => kernels::softmax_rows(y, n),
    }
}

/// Copies piece by piece, each changed while it is in cache.
pub(super) fn load(x: &[f32], y: &mut [f32], chain: &mut Chain<'_>) {
    let len = Chain::SLOT_LEN;
    for (index, (x, y)) in x.chunks(len).zip(y.chunks_mut(len)).enumerate() {
        y.copy_from_slice(x);
        chain.apply(y, index * len);
    }
}
