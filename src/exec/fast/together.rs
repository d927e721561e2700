//! Several passes of one plan by one thread: side by side where they read more constants than they
//! hold values, so that constants are brought into cache once for all of them.

use std::ops::Range;

use crate::exec::fast::pass::{Pass, Start};
use crate::exec::fast::pool::Pool;
use crate::exec::values::{Layout, convert, stored_len};
use crate::exec::{Difference, RunError, Values};
use crate::graph::ValueId;

/// A pass among others.
struct Member<'a> {
    pass: Pass<'a>,
    starts: Vec<Option<Start>>,
    result: Result<(), RunError>,
}

impl Member<'_> {
    /// Memory goes from pass to pass.
    fn run(&mut self, steps: Range<usize>, pool: &mut Pool) {
        std::mem::swap(&mut self.pass.pool, pool);
        for index in steps {
            if self.result.is_ok() {
                self.result = self.pass.run_step(index, self.starts[index]);
                self.pass.free_read(index, &self.pass.plan.steps[index]);
            }
        }
        std::mem::swap(&mut self.pass.pool, pool);
    }

    /// How the outputs differ from those of the base.
    fn differences(
        self,
        base: &Values,
        outputs: &[ValueId],
        n_parts: usize,
        pool: &mut Pool,
    ) -> Result<Vec<Difference>, RunError> {
        let difference = |&output: &ValueId| {
            let before = base.get(output).expect("a pass gives all outputs");
            let stored = self.pass.value(output).expect("a pass makes its outputs");
            let floats = stored.floats().expect("an output that is compared is float32");
            if stored.layout == Layout::Plain {
                return Difference::new(before, &stored.shape, floats, n_parts);
            }
            let mut plain = pool.take(stored_len(&stored.shape, Layout::Plain));
            convert(floats, &stored.shape, Layout::Plain, &mut plain);
            let difference = Difference::new(before, &stored.shape, &plain, n_parts);
            pool.give(plain);
            difference
        };
        let differences = self.result.map(|()| outputs.iter().map(difference).collect());
        self.pass.discard(pool);
        differences
    }
}

/// Runs passes of the same plan from different bases.
pub(super) fn run_together<'a>(
    passes: Vec<Pass<'a>>,
    bases: &[&Values],
    outputs: &[ValueId],
    n_parts: usize,
    pool: &mut Pool,
) -> Vec<Result<Vec<Difference>, RunError>> {
    let Some(plan) = passes.first().map(|pass| pass.plan) else { return Vec::new() };
    let member = |pass: Pass<'a>| Member { starts: pass.starts(), pass, result: Ok(()) };
    let mut members: Vec<Member<'a>> = passes.into_iter().map(member).collect();
    members.iter_mut().for_each(|member| member.run(0..plan.side_by_side, pool));
    for index in plan.side_by_side..plan.steps.len() {
        members.iter_mut().for_each(|member| member.run(index..index + 1, pool));
    }
    let differences =
        |(member, base): (Member<'a>, &&Values)| member.differences(base, outputs, n_parts, pool);
    members.into_iter().zip(bases).map(differences).collect()
}
