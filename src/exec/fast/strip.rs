//! [`Strip`]: convolutions one behind the other, computed a few rows of all of them at a time, so that
//! what lies between them stays in cache. Every value is computed once.

use std::ops::Range;
use std::sync::Arc;

use crate::exec::fast::chain::{Action, Chain, Floats, Operand};
use crate::exec::fast::pass::Pass;
use crate::exec::fast::plan::{Head, Step};
use crate::exec::values::{Data, Layout, Stored, stored_len};
use crate::kernels::{Axis, BlockedConv, BlockedDepthwise, Buffer, ConvInput, ConvShape, LANES};

/// Values below this are not worth it: they stay in cache anyway.
const LEAST_BYTES: usize = 1 << 18;

/// One of the values has to be larger than this: half of a usual second-level cache.
const LARGE_BYTES: usize = 1 << 19;

/// What the rows between the convolutions may take together.
const MOST_BYTES: usize = 3 << 17;

/// What the filters, which every strip reads, may take together.
const MOST_FILTER_BYTES: usize = 1 << 17;

/// Steps of a plan, cut into strips of rows.
#[derive(Debug)]
pub(super) struct Strip {
    pub(super) steps: Range<usize>,
    stages: Vec<Stage>,
}

/// One convolution.
#[derive(Debug)]
struct Stage {
    /// The different kernels that the parts need.
    kernels: Vec<(Axis, Kernel)>,
    /// For every strip what is computed; `None` for nothing.
    parts: Vec<Option<Part>>,
    /// Elements of a row of one block of channels, and of a block of what is held.
    row: usize,
    block: usize,
    n_blocks: usize,
}

#[derive(Debug)]
enum Kernel {
    Conv(BlockedConv),
    Depthwise(BlockedDepthwise),
}

/// Some rows of a convolution.
#[derive(Debug)]
struct Part {
    kernel: usize,
    /// The first element read and made.
    x: usize,
    y: usize,
    /// Rows that were made before and are still needed; they move to the front.
    kept: Range<usize>,
}

/// Which rows every strip makes.
struct Schedule {
    /// By strip and stage; `None` where nothing new is needed.
    turns: Vec<Vec<Option<Turn>>>,
    /// The most rows of each stage's result that are held at once.
    held: Vec<usize>,
}

/// One stage's work in a strip.
#[derive(Debug, Clone)]
struct Turn {
    /// Rows that are made.
    new: Range<usize>,
    /// Where what they read begins, from the first row held of it.
    read: usize,
    /// The first row held afterwards.
    base: usize,
    /// Rows that stay, counted from the first row held before.
    kept: Range<usize>,
}

impl Schedule {
    /// With `n_rows` of the last stage's result in each strip.
    fn new(axes: &[Axis], n_rows: usize) -> Schedule {
        let mut schedule = Schedule { turns: Vec::new(), held: vec![0; axes.len()] };
        // Rows that were made, and the first of them that is held.
        let mut held = vec![0..0; axes.len()];
        let end = axes.last().map_or(0, |axis| axis.output);
        for first in (0..end).step_by(n_rows) {
            let mut turns = vec![None; axes.len()];
            let mut wanted = first..(first + n_rows).min(end);
            for (stage, axis) in axes.iter().enumerate().rev() {
                let Range { start: base, end: done } = held[stage];
                if stage + 1 < axes.len() {
                    let behind: &mut Option<Turn> = &mut turns[stage + 1];
                    let read = if wanted.end <= done { base } else { wanted.start };
                    behind.iter_mut().for_each(|turn| turn.read = wanted.start - read);
                }
                let new = wanted.start.max(done)..wanted.end;
                if new.is_empty() {
                    break;
                }
                let kept = wanted.start.min(done) - base..done - base;
                schedule.held[stage] = schedule.held[stage].max(wanted.len());
                held[stage] = wanted.clone();
                let read = axis.part(new.clone()).0;
                turns[stage] = Some(Turn { new, read: read.start, base: wanted.start, kept });
                wanted = read;
            }
            schedule.turns.push(turns);
        }
        schedule
    }

    /// Elements that are made, and that are moved because they are needed again, of results with rows
    /// of this many.
    fn made_and_moved(&self, row_lens: &[usize]) -> [usize; 2] {
        let turns = self.turns.iter().flat_map(|turns| turns.iter().zip(row_lens));
        let elements = turns.filter_map(|(turn, len)| {
            let Turn { new, kept, .. } = turn.as_ref()?;
            let moved = if kept.start == 0 { 0 } else { kept.len() };
            Some([new.len() * len, moved * len])
        });
        elements.fold([0; 2], |sum, [made, moved]| [sum[0] + made, sum[1] + moved])
    }
}

impl Strip {
    /// The strips of a plan. None where other steps need nearly as much memory as what lies inside of
    /// strips: then the cache that the ones save is cold for the others.
    pub(super) fn all(steps: &[Step], is_inner: impl Fn(usize) -> bool) -> Vec<Strip> {
        let strips = Strip::possible(steps, is_inner);
        let is_inside = |index: usize| {
            strips.iter().any(|strip| (strip.steps.start..strip.steps.end - 1).contains(&index))
        };
        let largest = |is_wanted: &dyn Fn(usize) -> bool| {
            let made = steps.iter().enumerate().filter(|(index, _)| is_wanted(*index));
            made.map(|(_, step)| step.made_len()).max().unwrap_or(0)
        };
        let [inside, outside] = [largest(&is_inside), largest(&|index| !is_inside(index))];
        if 2 * outside <= inside { strips } else { Vec::new() }
    }

    fn possible(steps: &[Step], is_inner: impl Fn(usize) -> bool) -> Vec<Strip> {
        let mut strips = Vec::new();
        let mut first = 0;
        while first < steps.len() {
            let last = last_in_row(steps, first, &is_inner);
            let found =
                (first + 1..=last).rev().find_map(|last| Strip::new(steps, first..last + 1));
            first = found.as_ref().map_or(first + 1, |strip| strip.steps.end);
            strips.extend(found);
        }
        strips
    }

    /// `None` if the steps are better run one after the other.
    fn new(steps: &[Step], range: Range<usize>) -> Option<Strip> {
        let shapes: Option<Vec<&ConvShape>> = steps[range.clone()].iter().map(shape).collect();
        let shapes = shapes?;
        let (_, inner) = shapes.split_last()?;
        let bytes = |shape: &&ConvShape| 4 * row_len(shape) * shape.axes[1].output;
        if !inner.iter().any(|shape| LARGE_BYTES < bytes(shape)) {
            return None;
        }
        let filters = |shape: &&ConvShape| {
            let window: usize = shape.axes.iter().map(|axis| axis.kernel).product();
            4 * shape.c_out * shape.c_in / shape.groups * window
        };
        if MOST_FILTER_BYTES < shapes.iter().map(filters).sum() {
            return None;
        }
        let axes: Vec<Axis> = shapes.iter().map(|shape| shape.axes[1]).collect();
        let held_bytes = |schedule: &Schedule| {
            let held = inner.iter().zip(&schedule.held);
            held.map(|(shape, rows)| 4 * row_len(shape) * rows).sum::<usize>()
        };
        let schedules = (1..=axes.last()?.output).map(|n_rows| Schedule::new(&axes, n_rows));
        let schedule =
            schedules.take_while(|schedule| held_bytes(schedule) <= MOST_BYTES).last()?;
        // Moving rows to the front should cost little beside making rows.
        let row_lens: Vec<usize> = inner.iter().map(|shape| row_len(shape)).collect();
        let [made, moved] = schedule.made_and_moved(&row_lens);
        if made < 2 * moved {
            return None;
        }
        let stages = (0..shapes.len())
            .map(|stage| Stage::new(&steps[range.start + stage], stage, &shapes, &schedule));
        Some(Strip { stages: stages.collect::<Option<_>>()?, steps: range })
    }
}

impl Stage {
    fn new(step: &Step, index: usize, shapes: &[&ConvShape], schedule: &Schedule) -> Option<Stage> {
        let shape = shapes[index];
        let [_, rows, columns] = shape.axes;
        let is_last = index + 1 == shapes.len();
        let lanes = if step.wanted(0) == Layout::Plain { 1 } else { LANES };
        let before = index.checked_sub(1).map(|before| schedule.held[before]);
        let input_height = before.unwrap_or(rows.input);
        let height = if is_last { rows.output } else { schedule.held[index] };
        let planes = [input_height * columns.input, height * columns.output];
        let mut stage = Stage {
            kernels: Vec::new(),
            parts: Vec::new(),
            row: columns.output * LANES,
            block: planes[1] * LANES,
            n_blocks: shape.c_out.div_ceil(LANES),
        };
        for turns in &schedule.turns {
            let Some(turn) = &turns[index] else {
                stage.parts.push(None);
                continue;
            };
            let (_, axis) = rows.part(turn.new.clone());
            let known = stage.kernels.iter().position(|(known, _)| *known == axis);
            let kernel = known.unwrap_or(stage.kernels.len());
            if known.is_none() {
                stage.kernels.push((axis, Kernel::new(step, axis, planes)?));
            }
            // The last stage's result is whole.
            let (base, kept) = match is_last {
                true => (0, 0..0),
                false => (turn.base, turn.kept.clone()),
            };
            let x = turn.read * columns.input * lanes;
            let y = (turn.new.start - base) * stage.row;
            stage.parts.push(Some(Part { kernel, x, y, kept }));
        }
        Some(stage)
    }

    /// Elements of what is held of the result.
    fn len(&self) -> usize {
        self.block * self.n_blocks
    }

    fn keep(&self, part: &Part, y: &mut [f32]) {
        let Range { start, end } = part.kept;
        if start == 0 || start == end {
            return;
        }
        for block in y.chunks_exact_mut(self.block) {
            block.copy_within(start * self.row..end * self.row, 0);
        }
    }
}

impl Kernel {
    fn new(step: &Step, rows: Axis, planes: [usize; 2]) -> Option<Kernel> {
        match &step.head {
            Head::Conv(conv, _) => Some(Kernel::Conv(conv.rows(rows, planes))),
            Head::Depthwise(conv, _) => conv.rows(rows, planes).map(Kernel::Depthwise),
            _ => None,
        }
    }
}

/// The geometry of a convolution over the rows of one image.
fn shape(step: &Step) -> Option<&ConvShape> {
    let shape = match &step.head {
        Head::Conv(conv, _) => conv.shape(),
        Head::Depthwise(conv, _) => conv.shape(),
        _ => return None,
    };
    let is_image = shape.batch == 1 && shape.axes[0] == Axis::UNIT;
    let is_whole = shape.groups == 1 || matches!(step.head, Head::Depthwise(..));
    (is_image && is_whole).then_some(shape)
}

/// Elements of a row of the result, all blocks of channels.
fn row_len(shape: &ConvShape) -> usize {
    shape.c_out.div_ceil(LANES) * LANES * shape.axes[2].output
}

/// The last of the convolutions from `first` on of which each but the last is read by the next alone
/// and has links that do not mind where an element is.
fn last_in_row(steps: &[Step], first: usize, is_inner: &impl Fn(usize) -> bool) -> usize {
    let mut last = first;
    while let Some(next) = steps.get(last + 1) {
        let step = &steps[last];
        let is_free = |link: &super::chain::Link| match &link.action {
            Action::Map(_) => true,
            Action::Zip(_, operand, _) => matches!(operand, Operand::Scalar(_) | Operand::Slot(..)),
        };
        let is_blocked =
            !matches!(&next.head, Head::Conv(conv, _) if conv.input() == ConvInput::Plain);
        let follows = next.reads.first() == Some(&step.output) && is_blocked;
        let fits = shape(step)
            .is_some_and(|shape| LEAST_BYTES <= 4 * row_len(shape) * shape.axes[1].output)
            && shape(next).is_some();
        if !(fits && follows && is_inner(last) && step.links.iter().all(is_free)) {
            break;
        }
        last += 1;
    }
    last
}

/// A step's part in a strip, ready to run.
struct Work<'a> {
    w: Arc<Buffer>,
    bias: Floats<'a>,
    clamp: [f32; 2],
    chain: Chain<'a>,
}

impl Pass<'_> {
    /// Runs all steps of a strip, from their heads on.
    pub(super) fn run_strip(&mut self, strip: &Strip) {
        let steps = &self.plan.steps[strip.steps.clone()];
        let (Some(first), Some(last)) = (steps.first(), steps.last()) else { return };
        self.ensure(first.reads[0], first.wanted(0));
        self.ensure_operands(last, 0);
        let (_, inner) = strip.stages.split_last().expect("a strip has stages");
        let mut held: Vec<Buffer> = inner.iter().map(|stage| self.pool.take(stage.len())).collect();
        let mut y = self.pool.take(stored_len(&last.shape, last.layout));
        let slots: Vec<Vec<Buffer>> = steps.iter().map(|step| self.take_slots(step)).collect();
        let slots = {
            let x = self.floats(first.reads[0], first.wanted(0));
            let mut works: Vec<Work<'_>> =
                steps.iter().zip(slots).map(|(step, slots)| self.work(step, slots)).collect();
            for index in 0..strip.stages[0].parts.len() {
                for (number, (stage, work)) in strip.stages.iter().zip(&mut works).enumerate() {
                    let Some(part) = &stage.parts[index] else { continue };
                    let (before, rest) = held.split_at_mut(number);
                    let x = before.last().map_or(&x[..], |held| &held[..]);
                    let y = match rest.first_mut() {
                        Some(held) => &mut held[..],
                        None => &mut y[..],
                    };
                    stage.keep(part, y);
                    work.run(&stage.kernels[part.kernel].1, part, x, y);
                }
            }
            works.into_iter().flat_map(|work| work.chain.into_slots()).collect::<Vec<_>>()
        };
        slots.into_iter().chain(held).for_each(|buffer| self.pool.give(buffer));
        let data = Data::Floats(Arc::new(y));
        let stored = Stored { shape: last.shape.clone(), layout: last.layout, data };
        self.fresh[last.output.index()] = Some(stored);
    }

    fn work<'p>(&'p self, step: &'p Step, slots: Vec<Buffer>) -> Work<'p> {
        let (clamp, chain) = self.chain_of_head(step, slots);
        let (w, bias) = self.filters(step);
        Work { w, bias, clamp, chain }
    }
}

impl Work<'_> {
    fn run(&mut self, kernel: &Kernel, part: &Part, x: &[f32], y: &mut [f32]) {
        let Work { w, bias, clamp, chain } = self;
        let (x, y, start) = (&x[part.x..], &mut y[part.y..], part.y);
        let finish = |part: &mut [f32], at: usize| chain.apply(part, start + at);
        match kernel {
            Kernel::Conv(conv) => conv.run(x, w, bias, *clamp, y, finish),
            Kernel::Depthwise(conv) => conv.run(x, w, bias, *clamp, y, finish),
        }
    }
}
