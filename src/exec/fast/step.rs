//! A pass's work on one step: what it reads in the layout it wants, the head, the chain behind it.

use std::sync::Arc;

use crate::exec::fast::chain::{Action, Bound, Chain, Floats, Link, Operand};
use crate::exec::fast::head::{in_place, load};
use crate::exec::fast::pass::{Pass, Start};
use crate::exec::fast::plan::{Head, Step};
use crate::exec::prepared::Form;
use crate::exec::reference::hooked;
use crate::exec::values::{Data, Layout, Stored, convert, image, stored_len};
use crate::exec::{Keep, RunError};
use crate::graph::ValueId;
use crate::kernels::{Buffer, LANES, Map};
use crate::ops::Lowering;
use crate::tensor::Tensor;

const UNBOUNDED: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

impl Pass<'_> {
    /// Makes sure that a value is there in a layout, which may be another than its own.
    pub(super) fn ensure(&mut self, id: ValueId, layout: Layout) {
        let Some(stored) = self.value(id) else { return };
        let mut known = std::iter::once(stored).chain(&self.converted[id.index()]);
        if known.any(|known| known.layout == layout) {
            return;
        }
        let shape = stored.shape.clone();
        let mut buffer = self.pool.take(stored_len(&shape, layout));
        let stored = self.value(id).expect("it was there before");
        let floats = stored.floats().expect("kernels read floats");
        convert(floats, &shape, [stored.layout, layout], &mut buffer);
        let data = Data::Floats(Arc::new(buffer));
        self.converted[id.index()].push(Stored { shape, layout, data });
    }

    /// A value that is there in a layout, or a constant.
    pub(super) fn floats(&self, id: ValueId, layout: Layout) -> Floats<'_> {
        if let Some(stored) = self.value(id) {
            let mut known = std::iter::once(stored).chain(&self.converted[id.index()]);
            let found = known.find(|known| known.layout == layout);
            let found = found.expect("a step ensures the layouts that it reads");
            return Floats::Borrowed(found.floats().expect("kernels read floats"));
        }
        let constant = self.constant(id).expect("what a step reads is there");
        let converted = |x: &Tensor| {
            let mut buffer = Buffer::zeros(stored_len(x.shape(), layout));
            convert(x.slice(), x.shape(), [Layout::Plain, layout], &mut buffer);
            buffer
        };
        Floats::Shared(match layout {
            Layout::Plain => constant.packed(Form::Whole, converted),
            Layout::Blocked => constant.packed(Form::Blocks, converted),
            Layout::Permuted(_) => Arc::new(converted(&constant.tensor())),
        })
    }

    /// A node by its operator.
    pub(super) fn evaluate(&mut self, step: &Step) -> Result<(), RunError> {
        let value = |id: ValueId| {
            let known = self.plan.known.get(&id).cloned();
            let stored = || self.value(id).map(Stored::tensor);
            let constant = || self.constant(id).map(|constant| constant.tensor().into_owned());
            known.or_else(stored).or_else(constant)
        };
        let outputs = self.engine.reference.node(step.node, self.held_beside_plan(), value)?;
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

    pub(super) fn execute(&mut self, index: usize, step: &Step, start: Start) {
        let first = match start {
            Start::Head => 0,
            Start::Link(first) => first,
        };
        let source = match (start, first) {
            (Start::Head, _) => None,
            (Start::Link(_), 0) => step.made,
            (Start::Link(_), first) => Some(step.links[first - 1].made),
        };
        if start == Start::Head && step.links.is_empty() && self.share(step) {
            return;
        }
        match source {
            Some(source) => self.ensure(source, step.layout),
            None => {
                let reads = step.reads.iter().enumerate();
                reads.for_each(|(index, &value)| self.ensure(value, step.wanted(index)));
            }
        }
        self.ensure_operands(step, first);
        let taken = if source.is_none() { self.take_read(index, step) } else { None };
        let is_in_place = taken.is_some();
        let len = stored_len(&step.shape, step.layout);
        let mut y = taken.unwrap_or_else(|| self.pool.take(len));
        let scratch_len = self.scratch_len(step);
        let mut scratch = self.pool.take(if source.is_some() { 0 } else { scratch_len });
        let slots = self.take_slots(step);
        let slots: Vec<Buffer> = {
            let (clamp, mut chain) = match source {
                None => self.chain_of_head(step, slots),
                Some(source) => (UNBOUNDED, self.chain(step, first, slots, Some(source))),
            };
            match source {
                Some(source) => {
                    let x = self.floats(source, step.layout);
                    load(&x, &mut y, &mut chain);
                }
                None if is_in_place => in_place(step, &mut y, &mut chain),
                None => self.head(step, clamp, &mut chain, &mut y, &mut scratch),
            }
            chain.into_slots().collect()
        };
        slots.into_iter().chain([scratch]).for_each(|buffer| self.pool.give(buffer));
        let data = Data::Floats(Arc::new(y));
        let stored = Stored { shape: step.shape.clone(), layout: step.layout, data };
        self.fresh[step.output.index()] = Some(stored);
    }

    /// The operands of the links from `first` on that lie as the step's values do.
    pub(super) fn ensure_operands(&mut self, step: &Step, first: usize) {
        for link in &step.links[first..] {
            if let Action::Zip(_, Operand::Whole(value), _) = link.action {
                self.ensure(value, step.layout);
            }
        }
    }

    /// What the links of a step need besides its result.
    pub(super) fn take_slots(&mut self, step: &Step) -> Vec<Buffer> {
        (0..step.n_slots).map(|_| self.pool.take(Chain::SLOT_LEN)).collect()
    }

    /// The bounds that a kernel applies itself, and the links behind it.
    pub(super) fn chain_of_head<'p>(
        &'p self,
        step: &'p Step,
        slots: Vec<Buffer>,
    ) -> ([f32; 2], Chain<'p>) {
        let (clamp, n_clamped) = self.clamp(step);
        let begin = match n_clamped {
            0 => step.made,
            n_clamped => Some(step.links[n_clamped - 1].made),
        };
        (clamp, self.chain(step, n_clamped, slots, begin))
    }

    /// The memory of what a head reads, if the head can work in place and nothing else needs it.
    fn take_read(&mut self, index: usize, step: &Step) -> Option<Buffer> {
        let is_able = matches!(
            step.head,
            Head::Load | Head::Relabel(_) | Head::Other(Lowering::Softmax { .. })
        );
        let &[read] = step.reads.as_slice() else { return None };
        let is_operand = step.links.iter().any(|link| link.operand() == Some(read));
        let is_last = self.plan.last_reader[read.index()] == Some(index);
        let is_kept = self.keep == Keep::All || self.engine.graph.is_output(read);
        let stored = self.fresh[read.index()].as_ref()?;
        let fits = is_able && is_last && !is_operand && !is_kept && stored.layout == step.wanted(0);
        let Data::Floats(floats) = &stored.data else { return None };
        if !fits || Arc::strong_count(floats) != 1 {
            return None;
        }
        let Data::Floats(floats) = self.fresh[read.index()].take()?.data else { return None };
        Arc::into_inner(floats)
    }

    /// Gives a value other axes without moving it, if that is all there is to do and it lies as wanted.
    fn share(&mut self, step: &Step) -> bool {
        let Head::Relabel(from) = step.head else { return false };
        let Some(value) = self.value(step.reads[0]).filter(|x| x.layout == from) else {
            return false;
        };
        let data = match &value.data {
            Data::Tensor(tensor) if step.layout == Layout::Plain => {
                Data::Tensor(tensor.reshaped(&step.shape))
            }
            Data::Tensor(_) => return false,
            shared => shared.clone(),
        };
        let mut stored = Stored { shape: step.shape.clone(), layout: step.layout, data };
        if let Some(hook) = self.hook(step.output) {
            let mut floats = Buffer::from(stored.floats().expect("a view of floats"));
            hook.apply(&mut floats);
            stored.data = Data::Floats(Arc::new(floats));
        }
        self.fresh[step.output.index()] = Some(stored);
        true
    }

    /// Bounds that a kernel applies itself, and how many links they replace.
    pub(super) fn clamp(&self, step: &Step) -> ([f32; 2], usize) {
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

    /// The links from `first` on with their operands, which begin with a value; the last of `slots` is
    /// for gathering.
    fn chain<'p>(
        &'p self,
        step: &'p Step,
        first: usize,
        mut slots: Vec<Buffer>,
        begin: Option<ValueId>,
    ) -> Chain<'p> {
        let gathered = slots.pop().unwrap_or_default();
        let links = &step.links[first..];
        Chain {
            links,
            bound: links.iter().map(|link| self.bind(step, link)).collect(),
            hooks: links.iter().map(|link| self.hook(link.made)).collect(),
            first_hook: begin.and_then(|begin| self.hook(begin)),
            slots,
            gathered,
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
}
