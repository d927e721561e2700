//! The fast engine: a plan of kernels with what follows them element by element, images in blocks
//! of channels, wide convolutions in strips of rows, constants packed once, memory used again.
//!
//! What kernels compute is the same to the last bit at every SIMD level and however many threads run.
//! Where there is no kernel for a node, its operator's `eval` runs, which may use the platform's
//! functions.

mod chain;
mod group;
mod head;
mod multiply;
mod pass;
mod plan;
mod pool;
#[cfg(test)]
mod random_tests;
mod step;
mod strip;
#[cfg(test)]
mod tests;
mod together;

use std::sync::{Arc, Mutex, OnceLock};

use crate::exec::fast::pass::{Base, Pass};
use crate::exec::fast::plan::{Plan, Visible};
use crate::exec::fast::pool::Pools;
use crate::exec::fast::together::run_together;
use crate::exec::reference::check_inputs;
use crate::exec::{
    Changes, Difference, Engine, Keep, Prepared, Reference, RunError, Values, Visit,
};
use crate::graph::{Graph, ValueId, infer};
use crate::tensor::{Tensor, TensorType};

/// Runs a graph as fast as it can.
#[derive(Debug)]
pub struct Fast<'g> {
    graph: &'g Graph,
    reference: Reference<'g>,
    limit_bytes: usize,
    /// Values that a pass with [`Keep::All`] stores.
    observed: Vec<ValueId>,
    constants: Vec<OnceLock<Prepared>>,
    plans: Mutex<Vec<(Key, Arc<Plan>)>>,
    pools: Pools,
}

/// Samples may all have sizes of their own; old plans are made again if they are wanted.
const MOST_PLANS: usize = 64;

/// What a plan depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    inputs: Vec<TensorType>,
    keep: Keep,
    /// Changed values that would be hidden otherwise.
    hooked: Vec<ValueId>,
}

impl<'g> Fast<'g> {
    /// A pass may not hold more than `limit_bytes` at once of what its nodes make. What is `observed` is there after a pass
    /// that keeps all, besides whatever else the engine stores.
    pub fn new(graph: &'g Graph, limit_bytes: usize, observed: &[ValueId]) -> Fast<'g> {
        Fast {
            graph,
            reference: Reference::new(graph, limit_bytes),
            limit_bytes,
            observed: observed.to_vec(),
            constants: (0..graph.n_values()).map(|_| OnceLock::new()).collect(),
            plans: Mutex::default(),
            pools: Pools::default(),
        }
    }

    fn constant<'a>(&'a self, id: ValueId, changes: &'a Changes<'_>) -> Option<&'a Prepared> {
        if let Some(changed) = changes.constants.get(&id) {
            return Some(changed);
        }
        let constant = self.graph.constant(id)?;
        let slot = &self.constants[id.index()];
        Some(slot.get_or_init(|| Prepared::new(constant.tensor().clone())))
    }

    fn plan(&self, inputs: Vec<TensorType>, keep: Keep, changes: &Changes<'_>) -> Arc<Plan> {
        let plain = self.find_plan(Key { inputs: inputs.clone(), keep, hooked: Vec::new() });
        let changed = changes.hooks.keys().chain(changes.constants.keys()).copied();
        let hooked: Vec<ValueId> = changed.filter(|id| plain.is_hidden[id.index()]).collect();
        if hooked.is_empty() { plain } else { self.find_plan(Key { inputs, keep, hooked }) }
    }

    fn expect_room(&self, plan: &Plan, keep: Keep) -> Result<(), RunError> {
        let (found, limit) = (plan.most_bytes[usize::from(keep == Keep::All)], self.limit_bytes);
        if found <= limit { Ok(()) } else { Err(RunError::OverLimit { found, limit }) }
    }

    fn find_plan(&self, key: Key) -> Arc<Plan> {
        let mut plans = self.plans.lock().expect("no planning panics");
        if let Some((_, plan)) = plans.iter().find(|(known, _)| *known == key) {
            return Arc::clone(plan);
        }
        let types = infer(self.graph, &key.inputs);
        // What is observed is never hidden, or a pass that keeps it would round differently.
        let seen = key.hooked.iter().chain(&self.observed).copied().collect();
        let is_kept = key.keep == Keep::All;
        let mut visible = Visible { seen, is_kept, ..Visible::default() };
        if is_kept {
            visible.stored.extend(self.observed.iter().copied());
        }
        let plan = Arc::new(Plan::new(self.graph, &types, &visible, self.limit_bytes));
        if MOST_PLANS <= plans.len() {
            plans.remove(0);
        }
        plans.push((key, Arc::clone(&plan)));
        plan
    }
}

impl Engine for Fast<'_> {
    fn run(
        &self,
        inputs: &[Tensor],
        changes: &Changes<'_>,
        keep: Keep,
    ) -> Result<Values, RunError> {
        check_inputs(self.graph, inputs)?;
        let types = inputs.iter().map(Tensor::ty).collect();
        let plan = self.plan(types, keep, changes);
        self.expect_room(&plan, keep)?;
        let mut pass = Pass::new(self, &plan, changes, None, keep);
        pass.set_inputs(inputs);
        pass.run(inputs.to_vec())
    }

    fn observe(&self, inputs: &[Tensor], visit: Visit<'_>) -> Result<(), RunError> {
        check_inputs(self.graph, inputs)?;
        let (types, changes) = (inputs.iter().map(Tensor::ty).collect(), Changes::default());
        let plan = self.plan(types, Keep::All, &changes);
        self.expect_room(&plan, Keep::Outputs)?;
        let mut pass = Pass::new(self, &plan, &changes, None, Keep::Outputs);
        pass.set_inputs(inputs);
        pass.run_observed(visit)
    }

    fn rerun(
        &self,
        base: &Values,
        before: &Changes<'_>,
        changes: &Changes<'_>,
        keep: Keep,
    ) -> Result<Values, RunError> {
        let types = base.inputs.iter().map(Tensor::ty).collect();
        let plan = self.plan(types, keep, changes);
        let base = Base { values: base, before, different: changes.differences(before) };
        let mut pass = Pass::new(self, &plan, changes, Some(&base), keep);
        pass.set_different_inputs();
        pass.run(base.values.inputs.clone())
    }

    fn differences(
        &self,
        bases: &[&Values],
        changes: &Changes<'_>,
        outputs: &[ValueId],
        n_parts: usize,
    ) -> Vec<Result<Vec<Difference>, RunError>> {
        let types = |base: &Values| base.inputs.iter().map(Tensor::ty).collect::<Vec<_>>();
        let before = Changes::default();
        let different = changes.differences(&before);
        let mut pool = self.pools.take();
        let mut differences = Vec::with_capacity(bases.len());
        for alike in bases.chunk_by(|a, b| types(a) == types(b)) {
            let plan = self.plan(types(alike[0]), Keep::Outputs, changes);
            let base = |&values| Base { values, before: &before, different: different.clone() };
            let all: Vec<Base<'_>> = alike.iter().map(base).collect();
            let passes = all.iter().map(|base| {
                let mut pass = Pass::new(self, &plan, changes, Some(base), Keep::Outputs);
                pass.set_different_inputs();
                pass
            });
            let passes = passes.collect();
            differences.extend(run_together(passes, alike, outputs, n_parts, &mut pool));
        }
        self.pools.give(pool);
        differences
    }
}
