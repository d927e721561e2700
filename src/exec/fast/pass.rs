//! [`Pass`]: one run of a plan, from the inputs on or from what is changed.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::exec::fast::Fast;
use crate::exec::fast::chain::Link;
use crate::exec::fast::plan::{Head, Plan, Step};
use crate::exec::fast::pool::Pool;
use crate::exec::fast::strip::Strip;
use crate::exec::prepared::Prepared;
use crate::exec::reference::hooked;
use crate::exec::values::Stored;
use crate::exec::{Changes, Keep, RunError, ValueHook, Values, Visit};
use crate::graph::ValueId;
use crate::kernels::Buffer;
use crate::tensor::Tensor;

/// What a pass begins with if not all is changed.
pub(super) struct Base<'a> {
    pub(super) values: &'a Values,
    /// What was changed in it, and what is changed in another way now.
    pub(super) before: &'a Changes<'a>,
    pub(super) different: BTreeSet<ValueId>,
}

pub(super) struct Pass<'a> {
    pub(super) engine: &'a Fast<'a>,
    pub(super) plan: &'a Plan,
    pub(super) changes: &'a Changes<'a>,
    base: Option<&'a Base<'a>>,
    pub(super) keep: Keep,
    pub(super) fresh: Vec<Option<Stored>>,
    /// Values in other layouts than the one they were made in.
    pub(super) converted: Vec<Vec<Stored>>,
    pub(super) pool: Pool,
    /// The result of the next step's product if it was computed together with other passes'.
    pub(super) row: Option<Buffer>,
}

/// Where a step has to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
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
        let (fresh, converted) = (vec![None; n_values], vec![Vec::new(); n_values]);
        let (pool, row) = (Pool::default(), None);
        Pass { engine, plan, changes, base, keep, fresh, converted, pool, row }
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

    pub(super) fn run(mut self, inputs: Vec<Tensor>) -> Result<Values, RunError> {
        self.pool = self.engine.pools.take();
        self.run_steps(None)?;
        Ok(self.finish(inputs))
    }

    /// Gives `visit` every float value that is stored, in parts.
    pub(super) fn run_observed(mut self, visit: Visit<'_>) -> Result<(), RunError> {
        for input in self.engine.graph.inputs() {
            self.show(input.value, visit);
        }
        self.pool = self.engine.pools.take();
        self.run_steps(Some(visit))?;
        self.finish(Vec::new());
        Ok(())
    }

    /// All steps of the plan, in order.
    fn run_steps(&mut self, mut visit: Option<Visit<'_>>) -> Result<(), RunError> {
        let starts = self.starts();
        let mut next = 0;
        while next < self.plan.steps.len() {
            let done = self.run_next(next..self.plan.steps.len(), &starts)?;
            if let Some(visit) = &mut visit {
                let made = self.plan.steps[done.clone()].iter().flat_map(|step| self.made(step));
                made.for_each(|made| self.show(made, visit));
            }
            self.free_read(done.clone());
            next = done.end;
        }
        Ok(())
    }

    /// Runs the first of some steps, or the strip that begins with it; returns which steps it ran.
    pub(super) fn run_next(
        &mut self,
        steps: Range<usize>,
        starts: &[Option<Start>],
    ) -> Result<Range<usize>, RunError> {
        let plan = self.plan;
        let is_next = |strip: &&Strip| {
            let is_whole =
                |starts: &[Option<Start>]| starts.iter().all(|s| *s == Some(Start::Head));
            strip.steps.start == steps.start
                && strip.steps.end <= steps.end
                && is_whole(&starts[strip.steps.clone()])
        };
        if let Some(strip) = plan.strips.iter().find(is_next) {
            self.run_strip(strip);
            return Ok(strip.steps.clone());
        }
        let index = steps.start;
        let step = &plan.steps[index];
        match starts[index] {
            Some(_) if matches!(step.head, Head::Reference) => self.evaluate(step)?,
            Some(start) => self.execute(index, step, start),
            None => {}
        }
        Ok(index..index + 1)
    }

    /// Bytes of values whose types the plan did not know.
    pub(super) fn held_beside_plan(&self) -> usize {
        let unknown = self.plan.unknown.iter().filter_map(|id| self.fresh[id.index()].as_ref());
        unknown.map(Stored::size_bytes).sum()
    }

    /// What is kept of a pass that ran all steps.
    fn finish(mut self, inputs: Vec<Tensor>) -> Values {
        self.finish_outputs();
        self.converted.drain(..).flatten().for_each(|stored| self.pool.reclaim(stored));
        self.engine.pools.give(self.pool);
        if let (Some(base), Keep::All) = (self.base, self.keep) {
            for (fresh, known) in self.fresh.iter_mut().zip(&base.values.values) {
                *fresh = fresh.take().or_else(|| known.clone());
            }
        }
        Values { values: self.fresh, inputs }
    }

    /// Gives all memory back that nothing else shares.
    pub(super) fn discard(self, pool: &mut Pool) {
        let converted = self.converted.into_iter().flatten();
        let left = self.fresh.into_iter().flatten().chain(converted);
        left.for_each(|stored| pool.reclaim(stored));
    }

    fn show(&self, id: ValueId, visit: Visit<'_>) {
        if let Some(stored) = &self.fresh[id.index()] {
            stored.for_each_part(&mut |part| visit(id, part));
        }
    }

    /// Frees what no step reads any more after some.
    pub(super) fn free_read(&mut self, steps: Range<usize>) {
        let plan = self.plan;
        for index in steps {
            for value in plan.steps[index].operands() {
                if plan.last_reader[value.index()] == Some(index) {
                    let converted = std::mem::take(&mut self.converted[value.index()]);
                    let dead = converted.into_iter().chain(self.take_dead(value));
                    dead.for_each(|stored| self.pool.reclaim(stored));
                }
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

    pub(super) fn value(&self, id: ValueId) -> Option<&Stored> {
        let base = || self.base.and_then(|base| base.values.values[id.index()].as_ref());
        self.fresh[id.index()].as_ref().or_else(base)
    }

    pub(super) fn constant(&self, id: ValueId) -> Option<&'a Prepared> {
        self.engine.constant(id, self.changes)
    }

    pub(super) fn hook(&self, id: ValueId) -> Option<&'a dyn ValueHook> {
        self.changes.hooks.get(&id).copied()
    }

    /// Where every step begins; `None` where nothing is to be done.
    pub(super) fn starts(&self) -> Vec<Option<Start>> {
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
        let is_hooked = |value: ValueId| base.different.contains(&value);
        let is_read = step.reads.iter().any(|value| is_changed[value.index()]);
        if is_read || step.hidden.iter().copied().any(is_hooked) {
            return Some(Start::Head);
        }
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
}
