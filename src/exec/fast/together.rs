//! Several passes of one plan by one thread: side by side where they read more constants than they
//! hold values, so that constants are brought into cache once for all of them.

use std::ops::Range;

use crate::exec::fast::multiply::multiply_rows;
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
    /// Whether a step is run from its head on.
    fn begins(&self, index: usize) -> bool {
        self.result.is_ok() && self.starts[index] == Some(Start::Head)
    }

    /// Memory goes from pass to pass.
    fn run(&mut self, mut steps: Range<usize>, pool: &mut Pool) {
        std::mem::swap(&mut self.pass.pool, pool);
        while self.result.is_ok() && !steps.is_empty() {
            match self.pass.run_next(steps.clone(), &self.starts) {
                Ok(done) => {
                    steps.start = done.end;
                    self.pass.free_read(done);
                }
                Err(error) => self.result = Err(error),
            }
            self.pass.row = None;
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
            convert(floats, &stored.shape, [stored.layout, Layout::Plain], &mut plain);
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
    let member = |pass: Pass<'a>| Member { starts: pass.starts(), pass, result: Ok(()) };
    let n_steps = passes.first().map_or(0, |pass| pass.plan.steps.len());
    let apart = passes.first().map_or(0, |pass| pass.plan.side_by_side);
    let mut members: Vec<Member<'a>> = Vec::with_capacity(passes.len());
    let mut differences = Vec::with_capacity(passes.len());
    for (pass, base) in passes.into_iter().zip(bases) {
        let mut member = member(pass);
        member.run(0..apart, pool);
        if apart == n_steps {
            differences.push(member.differences(base, outputs, n_parts, pool));
        } else {
            members.push(member);
        }
    }
    for index in apart..n_steps {
        if members.iter().all(|member| member.begins(index)) {
            multiply_rows(members.iter_mut().map(|member| &mut member.pass), index);
        }
        members.iter_mut().for_each(|member| member.run(index..index + 1, pool));
    }
    for (member, base) in members.into_iter().zip(bases) {
        differences.push(member.differences(base, outputs, n_parts, pool));
    }
    differences
}
