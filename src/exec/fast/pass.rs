//! [`Pass`]: one run of a plan, from the inputs on or from what is changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::exec::fast::Fast;
use crate::exec::fast::chain::{Action, Bound, Chain, Floats, Link, Operand};
use crate::exec::fast::plan::{Filters, Head, Norm, Plan, Step};
use crate::exec::fast::pool::Pool;
use crate::exec::prepared::{Form, Prepared};
use crate::exec::reference::hooked;
use crate::exec::values::{Data, Layout, Stored, convert, image, stored_len};
use crate::exec::{Changes, Keep, RunError, ValueHook, Values, Visit};
use crate::graph::ValueId;
use crate::kernels::{self, Buffer, ConvInput, Gemm, LANES, Map};
use crate::ops::{Lowering, Product};
use crate::tensor::Tensor;

/// What a pass begins with if not all is changed.
pub(super) struct Base<'a> {
    pub(super) values: &'a Values,
    /// What was changed in it, and what is changed in another way now.
    pub(super) before: &'a Changes<'a>,
    pub(super) different: BTreeSet<ValueId>,
}

pub(super) struct Pass<'a> {
    engine: &'a Fast<'a>,
    plan: &'a Plan,
    changes: &'a Changes<'a>,
    base: Option<&'a Base<'a>>,
    keep: Keep,
    fresh: Vec<Option<Stored>>,
    /// Values in the other layout than the one they were made in.
    converted: Vec<Option<Stored>>,
    pool: Pool,
}

/// Where a step has to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Head,
    /// With a value that is known and this link.
    Link(usize),
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        engine: &'a Fast<'a>,
        plan: &'a Plan,
        changes: &'a Changes<'a>,
        base: Option<&'a Base<'a>>,
        keep: Keep,
    ) -> Pass<'a> {
        let n_values = engine.graph.n_values();
        let (fresh, converted) = (vec![None; n_values], vec![None; n_values]);
        Pass { engine, plan, changes, base, keep, fresh, converted, pool: engine.pools.take() }
    }

    pub(super) fn set_inputs(&mut self, inputs: &[Tensor]) {
        for (input, tensor) in self.engine.graph.inputs().iter().zip(inputs) {
            let value = hooked(input.value, tensor.clone(), self.changes);
            self.fresh[input.value.index()] = Some(value.into());
        }
    }

    /// Inputs of the base that are changed in another way.
    pub(super) fn set_different_inputs(&mut self) {
        let Some(base) = self.base else { return };
        for (input, tensor) in self.engine.graph.inputs().iter().zip(&base.values.inputs) {
            if base.different.contains(&input.value) {
                let value = hooked(input.value, tensor.clone(), self.changes);
                self.fresh[input.value.index()] = Some(value.into());
            }
        }
    }

    pub(super) fn run(self, inputs: Vec<Tensor>) -> Result<Values, RunError> {
        Ok(Values { values: self.run_steps(None)?, inputs })
    }

    /// Gives `visit` every float value that is stored, in parts.
    pub(super) fn run_observed(self, visit: Visit<'_>) -> Result<(), RunError> {
        for input in self.engine.graph.inputs() {
            self.show(input.value, visit);
        }
        self.run_steps(Some(visit)).map(|_| ())
    }

    fn run_steps(mut self, mut visit: Option<Visit<'_>>) -> Result<Vec<Option<Stored>>, RunError> {
        let starts = self.starts();
        for (index, (step, start)) in self.plan.steps.iter().zip(starts).enumerate() {
            match start {
                Some(_) if matches!(step.head, Head::Reference) => self.evaluate(step)?,
                Some(start) => self.execute(step, start),
                None => {}
            }
            if let Some(visit) = &mut visit {
                self.made(step).for_each(|made| self.show(made, visit));
            }
            self.free_read(index, step);
        }
        self.finish_outputs();
        self.converted.drain(..).flatten().for_each(|stored| self.pool.reclaim(stored));
        self.engine.pools.give(self.pool);
        if let (Some(base), Keep::All) = (self.base, self.keep) {
            for (fresh, known) in self.fresh.iter_mut().zip(&base.values.values) {
                *fresh = fresh.take().or_else(|| known.clone());
            }
        }
        Ok(self.fresh)
    }

    fn show(&self, id: ValueId, visit: Visit<'_>) {
        if let Some(stored) = &self.fresh[id.index()] {
            stored.for_each_part(&mut |part| visit(id, part));
        }
    }

    /// Frees what no later step reads.
    fn free_read(&mut self, index: usize, step: &Step) {
        let operands = step.links.iter().filter_map(Link::operand);
        for value in step.reads.iter().copied().chain(operands) {
            if self.plan.last_reader[value.index()] == Some(index) {
                let dead = [self.converted[value.index()].take(), self.take_dead(value)];
                dead.into_iter().flatten().for_each(|stored| self.pool.reclaim(stored));
            }
        }
    }

    fn take_dead(&mut self, value: ValueId) -> Option<Stored> {
        let is_kept = self.keep == Keep::All || self.engine.graph.is_output(value);
        if is_kept { None } else { self.fresh[value.index()].take() }
    }

    /// Outputs are tensors; those that did not change are the base's.
    fn finish_outputs(&mut self) {
        for &output in self.engine.graph.outputs() {
            let value = self.value(output).map(|stored| stored.tensor());
            let constant = || self.constant(output).map(|constant| constant.tensor().into_owned());
            let known = || self.plan.known.get(&output).cloned();
            let tensor = value.or_else(constant).or_else(known);
            let slot = &mut self.fresh[output.index()];
            if let Some(stored) = std::mem::replace(slot, tensor.map(Stored::from)) {
                self.pool.reclaim(stored);
            }
        }
    }

    fn value(&self, id: ValueId) -> Option<&Stored> {
        let base = || self.base.and_then(|base| base.values.values[id.index()].as_ref());
        self.fresh[id.index()].as_ref().or_else(base)
    }

    fn constant(&self, id: ValueId) -> Option<&'a Prepared> {
        self.engine.constant(id, self.changes)
    }

    fn hook(&self, id: ValueId) -> Option<&'a dyn ValueHook> {
        self.changes.hooks.get(&id).copied()
    }

    /// Where every step begins; `None` where nothing is to be done.
    fn starts(&self) -> Vec<Option<Start>> {
        let Some(base) = self.base else {
            return self.plan.steps.iter().map(|_| Some(Start::Head)).collect();
        };
        let mut is_changed: Vec<bool> = self.fresh.iter().map(Option::is_some).collect();
        for constant in &base.different {
            is_changed[constant.index()] |= self.engine.graph.constant(*constant).is_some();
        }
        let mut starts: Vec<Option<Start>> = Vec::with_capacity(self.plan.steps.len());
        for step in &self.plan.steps {
            let start = self.start(step, base, &is_changed);
            for made in self.made(step) {
                is_changed[made.index()] |= start.is_some();
            }
            starts.push(start);
        }
        // What a step reads and the base does not have is made again.
        let mut is_missing = vec![false; is_changed.len()];
        for (step, start) in self.plan.steps.iter().zip(&mut starts).rev() {
            if start.is_none() && self.made(step).any(|made| is_missing[made.index()]) {
                *start = Some(Start::Head);
            }
            let (reads, links) = match *start {
                None => continue,
                Some(Start::Head) => (&step.reads[..], &step.links[..]),
                Some(Start::Link(first)) => (&[][..], &step.links[first..]),
            };
            let operands = links.iter().filter_map(Link::operand);
            for read in reads.iter().copied().chain(operands) {
                is_missing[read.index()] |= base.values.values[read.index()].is_none();
            }
        }
        starts
    }

    /// The values that are there behind a step.
    fn made(&self, step: &'a Step) -> impl Iterator<Item = ValueId> + use<'a> {
        let node = self.engine.graph.node(step.node);
        let all = matches!(step.head, Head::Reference).then(|| node.present_outputs());
        let last = all.is_none().then_some(step.output);
        all.into_iter().flatten().chain(last)
    }

    /// Where a step begins because of what is changed.
    fn start(&self, step: &Step, base: &Base<'_>, is_changed: &[bool]) -> Option<Start> {
        if step.reads.iter().any(|value| is_changed[value.index()]) {
            return Some(Start::Head);
        }
        let is_hooked = |value: ValueId| base.different.contains(&value);
        let is_first = |(index, link): (usize, &Link)| {
            if link.operand().is_some_and(|value| is_changed[value.index()]) {
                return Some(index);
            }
            is_hooked(link.made).then_some(index + 1)
        };
        if matches!(step.head, Head::Reference) {
            return self.made(step).any(is_hooked).then_some(Start::Head);
        }
        let first_link = step.links.iter().enumerate().find_map(is_first);
        let first = if step.made.is_some_and(is_hooked) { Some(0) } else { first_link };
        // All results that are still needed have to be known: with several slots that is the first.
        let first = if 1 < step.n_slots { first.map(|_| 0) } else { first }?;
        let value_before = |index: usize| match index {
            0 => step.made,
            _ => Some(step.links[index - 1].made),
        };
        let is_known = |index: &usize| {
            // What a hook changed is no longer known as it was made.
            value_before(*index).is_some_and(|value| {
                let is_there = base.values.values[value.index()].is_some();
                is_there && !base.before.hooks.contains_key(&value)
            })
        };
        Some((0..=first).rev().find(is_known).map_or(Start::Head, Start::Link))
    }

    /// Makes sure that a value is there in a layout, which may be another than its own.
    fn ensure(&mut self, id: ValueId, layout: Layout) {
        let Some(stored) = self.value(id) else { return };
        if stored.layout == layout || self.converted[id.index()].is_some() {
            return;
        }
        let shape = stored.shape.clone();
        let mut buffer = self.pool.take(stored_len(&shape, layout));
        let stored = self.value(id).and_then(Stored::floats).expect("kernels read floats");
        convert(stored, &shape, layout, &mut buffer);
        let data = Data::Floats(Arc::new(buffer));
        self.converted[id.index()] = Some(Stored { shape, layout, data });
    }

    /// A value that is there in a layout, or a constant.
    fn floats(&self, id: ValueId, layout: Layout) -> Floats<'_> {
        if let Some(stored) = self.value(id) {
            let converted = self.converted[id.index()].as_ref();
            let found = if stored.layout == layout { stored } else { converted.unwrap_or(stored) };
            return Floats::Borrowed(found.floats().expect("kernels read floats"));
        }
        let constant = self.constant(id).expect("what a step reads is there");
        match layout {
            Layout::Plain => Floats::Shared(constant.packed(Form::Whole, |x| x.slice().into())),
            Layout::Blocked => Floats::Shared(constant.packed(Form::Blocks, |x| {
                let mut buffer = Buffer::zeros(stored_len(x.shape(), Layout::Blocked));
                convert(x.slice(), x.shape(), Layout::Blocked, &mut buffer);
                buffer
            })),
        }
    }

    /// A node by its operator.
    fn evaluate(&mut self, step: &Step) -> Result<(), RunError> {
        let value = |id: ValueId| {
            let known = self.plan.known.get(&id).cloned();
            let stored = || self.value(id).map(Stored::tensor);
            let constant = || self.constant(id).map(|constant| constant.tensor().into_owned());
            known.or_else(stored).or_else(constant)
        };
        let outputs = self.engine.reference.node(step.node, value)?;
        let node = self.engine.graph.node(step.node);
        for (output, tensor) in node.outputs.iter().zip(outputs) {
            let Some(output) = *output else { continue };
            let is_needed = self.plan.last_reader[output.index()].is_some()
                || self.keep == Keep::All
                || self.engine.graph.is_output(output);
            let tensor = hooked(output, tensor, self.changes);
            self.fresh[output.index()] = is_needed.then(|| tensor.into());
        }
        Ok(())
    }

    fn execute(&mut self, step: &Step, start: Start) {
        let first = match start {
            Start::Head => 0,
            Start::Link(first) => first,
        };
        let source = match (start, first) {
            (Start::Head, _) => None,
            (Start::Link(_), 0) => step.made,
            (Start::Link(_), first) => Some(step.links[first - 1].made),
        };
        let is_view = matches!(step.head, Head::Other(Lowering::View)) && step.links.is_empty();
        if start == Start::Head && is_view && self.share(step) {
            return;
        }
        match (source, step.wanted()) {
            (Some(source), _) => self.ensure(source, step.layout),
            (None, wanted) => {
                let wanted = wanted.unwrap_or(Layout::Plain);
                step.reads.iter().for_each(|&value| self.ensure(value, wanted));
            }
        }
        for link in &step.links[first..] {
            if let Action::Zip(_, Operand::Whole(value), _) = link.action {
                self.ensure(value, step.layout);
            }
        }
        let mut y = self.pool.take(stored_len(&step.shape, step.layout));
        let scratch_len = self.scratch_len(step);
        let mut scratch = self.pool.take(if source.is_some() { 0 } else { scratch_len });
        let slots: Vec<Buffer> =
            (1..step.n_slots).map(|_| self.pool.take(Chain::SLOT_LEN)).collect();
        let slots = {
            let (clamp, n_clamped) = match source {
                None => self.clamp(step),
                Some(_) => (UNBOUNDED, 0),
            };
            let mut chain = self.chain(step, first + n_clamped, slots);
            // A hook on what the links begin with.
            let begin = match (source, n_clamped) {
                (Some(source), _) => Some(source),
                (None, 0) => step.made,
                (None, n_clamped) => Some(step.links[n_clamped - 1].made),
            };
            chain.first_hook = begin.and_then(|begin| self.hook(begin));
            match source {
                Some(source) => {
                    let x = self.floats(source, step.layout);
                    load(&x, &mut y, &mut chain);
                }
                None => self.head(step, clamp, &mut chain, &mut y, &mut scratch),
            }
            chain.slots
        };
        slots.into_iter().chain([scratch]).for_each(|buffer| self.pool.give(buffer));
        let data = Data::Floats(Arc::new(y));
        let stored = Stored { shape: step.shape.clone(), layout: step.layout, data };
        self.fresh[step.output.index()] = Some(stored);
    }

    /// Gives a value another shape without moving it, if it lies in order.
    fn share(&mut self, step: &Step) -> bool {
        let Some(stored) = self.value(step.reads[0]).filter(|x| x.layout == Layout::Plain) else {
            return false;
        };
        let data = match &stored.data {
            Data::Tensor(tensor) => Data::Tensor(tensor.reshaped(&step.shape)),
            shared => shared.clone(),
        };
        let mut stored = Stored { shape: step.shape.clone(), layout: Layout::Plain, data };
        if let Some(hook) = self.hook(step.output) {
            let mut floats = Buffer::from(stored.floats().expect("a view of floats"));
            hook.apply(&mut floats);
            stored.data = Data::Floats(Arc::new(floats));
        }
        self.fresh[step.output.index()] = Some(stored);
        true
    }

    /// Bounds that a kernel applies itself, and how many links they replace.
    fn clamp(&self, step: &Step) -> ([f32; 2], usize) {
        let is_able = matches!(step.head, Head::Conv(..) | Head::Depthwise(..) | Head::Product(..));
        let is_hooked = step.made.is_some_and(|made| self.hook(made).is_some());
        match step.links.first() {
            Some(Link { action: Action::Map(Map::Clip { low, high }), slot: 0, to: 0, .. })
                if is_able && !is_hooked =>
            {
                ([*low, *high], 1)
            }
            _ => (UNBOUNDED, 0),
        }
    }

    /// The links from `first` on with their operands.
    fn chain<'p>(&'p self, step: &'p Step, first: usize, slots: Vec<Buffer>) -> Chain<'p> {
        let links = &step.links[first..];
        Chain {
            links,
            bound: links.iter().map(|link| self.bind(step, link)).collect(),
            hooks: links.iter().map(|link| self.hook(link.made)).collect(),
            first_hook: None,
            slots,
        }
    }

    fn bind(&self, step: &Step, link: &Link) -> Bound<'_> {
        let Action::Zip(_, operand, _) = link.action else { return Bound::None };
        match operand {
            Operand::Slot(..) => Bound::None,
            Operand::Scalar(value) => Bound::Scalar(self.element(value)),
            Operand::Whole(value) => Bound::Whole(self.floats(value, step.layout)),
            Operand::Row(value) => Bound::row(&self.plain(value)),
            Operand::Channels(value) => {
                let [_, channels, plane] = image(&step.shape);
                let plain = self.plain(value);
                let blocks = channels.div_ceil(LANES) * LANES;
                let mut values = Buffer::zeros(plain.len() / channels * blocks);
                let samples = values.chunks_exact_mut(blocks).zip(plain.chunks_exact(channels));
                samples.for_each(|(to, from)| to[..channels].copy_from_slice(from));
                Bound::Channels { values, block: plane * LANES }
            }
        }
    }

    /// The first element, whatever the layout.
    fn element(&self, id: ValueId) -> f32 {
        let layout = self.value(id).map_or(Layout::Plain, |stored| stored.layout);
        self.floats(id, layout)[0]
    }

    /// The elements of a small value in row-major order.
    fn plain(&self, id: ValueId) -> Vec<f32> {
        match self.value(id) {
            Some(stored) => stored.tensor().slice::<f32>().to_vec(),
            None => self.floats(id, Layout::Plain).to_vec(),
        }
    }

    /// Elements of memory that a head needs besides its result.
    fn scratch_len(&self, step: &Step) -> usize {
        match &step.head {
            Head::Product(product, _) if self.constant(step.reads[1]).is_none() => {
                kernels::packed_len(product.k, product.n) * n_factors(product)
            }
            _ => 0,
        }
    }

    fn head(
        &self,
        step: &Step,
        clamp: [f32; 2],
        chain: &mut Chain<'_>,
        y: &mut [f32],
        scratch: &mut Buffer,
    ) {
        let read =
            |index: usize| self.floats(step.reads[index], step.wanted().unwrap_or(Layout::Plain));
        let x = read(0);
        match &step.head {
            Head::Reference => unreachable!("a pass evaluates these itself"),
            Head::Load => load(&x, y, chain),
            Head::Conv(conv, filters) => {
                let form = match conv.input() {
                    ConvInput::Plain => Form::PlainFilters,
                    ConvInput::Blocked => Form::BlockedFilters(filters.groups),
                };
                let w = self.packed(filters.w, form, |w| conv.pack(w));
                let bias = self.bias(filters);
                conv.run(&x, &w, &bias, clamp, y, |part, at| chain.apply(part, at));
            }
            Head::Depthwise(conv, filters) => {
                let w = self.packed(filters.w, Form::DepthwiseFilters, |w| conv.pack(w));
                let bias = self.bias(filters);
                conv.run(&x, &w, &bias, clamp, y, |part, at| chain.apply(part, at));
            }
            Head::Product(product, c) => {
                let c = c.map(|c| self.filled_up(c));
                let c = c.as_deref().map_or(&[][..], |c| c);
                self.product(step, product, &x, c, clamp, chain, y, scratch);
            }
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

    fn packed(
        &self,
        id: ValueId,
        form: Form,
        pack: impl FnOnce(&[f32]) -> Vec<f32>,
    ) -> Arc<Buffer> {
        let constant = self.constant(id).expect("a plan packs constants");
        constant.packed(form, |x| Buffer::from(pack(x.slice()).as_slice()))
    }

    /// A constant with zeros up to whole blocks.
    fn filled_up(&self, id: ValueId) -> Arc<Buffer> {
        self.packed(id, Form::FilledUp, |x| {
            let mut filled = x.to_vec();
            filled.resize(x.len().next_multiple_of(LANES), 0.);
            filled
        })
    }

    fn bias(&self, filters: &Filters) -> Floats<'_> {
        filters.bias.map_or(Floats::Borrowed(&[]), |bias| Floats::Shared(self.filled_up(bias)))
    }

    #[expect(clippy::too_many_arguments, reason = "one call site, all of it is the product's")]
    fn product(
        &self,
        step: &Step,
        product: &Product,
        a: &[f32],
        bias: &[f32],
        clamp: [f32; 2],
        chain: &mut Chain<'_>,
        y: &mut [f32],
        scratch: &mut Buffer,
    ) {
        let Product { m, k, n, ref stack, is_transposed, .. } = *product;
        let packed_len = kernels::packed_len(k, n);
        let strides = if is_transposed[1] { [1, k] } else { [n, 1] };
        let pack = |b: &[f32], packed: &mut [f32]| {
            for (b, packed) in b.chunks_exact(k * n).zip(packed.chunks_exact_mut(packed_len)) {
                kernels::pack(b, k, n, strides, packed);
            }
        };
        let b = match self.constant(step.reads[1]) {
            Some(_) => {
                Floats::Shared(self.packed(step.reads[1], Form::Factor(is_transposed[1]), |b| {
                    let mut packed = vec![0.; packed_len * n_factors(product)];
                    pack(b, &mut packed);
                    packed
                }))
            }
            None => {
                pack(&self.floats(step.reads[1], Layout::Plain), scratch);
                Floats::Borrowed(scratch)
            }
        };
        let gemm = Gemm { rows: m, depth: k, columns: n, x_step: k, y_step: n };
        for (index, ([i, j], y)) in stack.iter().zip(y.chunks_exact_mut(m * n)).enumerate() {
            let (a, b) = (&a[i * m * k..][..m * k], &b[j * packed_len..][..packed_len]);
            let mut finish = |part: &mut [f32], row: usize, column: usize| {
                chain.apply(part, (index * m + row) * n + column);
            };
            gemm.run(a, b, bias, clamp, y, Some(&mut finish));
        }
    }

    fn other(&self, step: &Step, lowering: &Lowering, x: &[f32], y: &mut [f32]) {
        let shape = &self.value(step.reads[0]).expect("what a step reads is there").shape;
        let planes = || {
            let [batch, channels, _] = image(shape);
            batch * channels.div_ceil(LANES)
        };
        match lowering {
            Lowering::View => y.copy_from_slice(x),
            Lowering::Permute(perm) => kernels::permute(x, shape, perm, y),
            Lowering::Softmax { is_log } => {
                y.copy_from_slice(x);
                let n = step.shape[step.shape.len() - 1];
                match is_log {
                    true => kernels::log_softmax_rows(y, n),
                    false => kernels::softmax_rows(y, n),
                }
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
            | Lowering::Product(_)
            | Lowering::Map(_)
            | Lowering::Zip(_)
            | Lowering::Norm { .. } => unreachable!("these are heads of their own"),
        }
    }
}

const UNBOUNDED: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

/// How many different matrices the right factors are.
fn n_factors(product: &Product) -> usize {
    product.stack.iter().map(|[_, j]| j + 1).max().unwrap_or(0)
}

/// Copies piece by piece, each changed while it is in cache.
fn load(x: &[f32], y: &mut [f32], chain: &mut Chain<'_>) {
    let len = Chain::SLOT_LEN;
    for (index, (x, y)) in x.chunks(len).zip(y.chunks_mut(len)).enumerate() {
        y.copy_from_slice(x);
        chain.apply(y, index * len);
    }
}
