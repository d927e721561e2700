//! [`Chain`]: element-wise nodes applied to a part of a value while it is in cache.

use crate::exec::ValueHook;
use crate::graph::ValueId;
use crate::kernels::{self, Buffer, LANES, Map, Side, Zip, map};

/// One element-wise node.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) made: ValueId,
    /// The operand that is changed into the result.
    pub(super) from: ValueId,
    /// The slots of `from` and of the result; 0 is the part itself.
    pub(super) slot: usize,
    pub(super) to: usize,
    pub(super) action: Action,
}

#[derive(Debug, Clone)]
pub(super) enum Action {
    Map(Map),
    /// With another operand on this side.
    Zip(Zip, Operand, Side),
}

/// Where the other operand comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operand {
    /// An earlier result of the chain, and its slot.
    Slot(ValueId, usize),
    /// One element.
    Scalar(ValueId),
    /// As many elements as the chain's values, in the same layout.
    Whole(ValueId),
    /// The same elements over and over.
    Row(ValueId),
    /// One element for each channel of a value in blocks, for each sample or for all.
    Channels(ValueId),
}

impl Link {
    /// The value of another step, or constant, that is read.
    pub(super) fn operand(&self) -> Option<ValueId> {
        match self.action {
            Action::Zip(
                _,
                Operand::Scalar(value)
                | Operand::Whole(value)
                | Operand::Row(value)
                | Operand::Channels(value),
                _,
            ) => Some(value),
            _ => None,
        }
    }

    pub(super) fn reads(&self, value: ValueId) -> bool {
        let other = match self.action {
            Action::Zip(_, Operand::Slot(other, _), _) => Some(other),
            _ => None,
        };
        self.from == value || other == Some(value)
    }
}

/// Gives every result a slot, the last one slot 0 if it can be; returns the number of slots.
pub(super) fn assign_slots(start: ValueId, links: &mut [Link]) -> usize {
    let mut holds = vec![Some(start)];
    for index in 0..links.len() {
        let (done, later) = links.split_at_mut(index + 1);
        let link = &mut done[index];
        let is_needed = |value: ValueId| later.iter().any(|link| link.reads(value));
        let slot_of = |value: ValueId| {
            let slot = holds.iter().position(|held| *held == Some(value));
            slot.expect("what a link reads is held")
        };
        link.slot = slot_of(link.from);
        if let Action::Zip(_, Operand::Slot(other, slot), _) = &mut link.action {
            *slot = slot_of(*other);
        }
        let free = holds.iter().position(|held| held.is_none_or(|value| !is_needed(value)));
        link.to = match is_needed(link.from) {
            false => link.slot,
            // The operand's slot is free only behind this link.
            true => free.filter(|&free| {
                !matches!(link.action, Action::Zip(_, Operand::Slot(_, slot), _) if slot == free)
            }).unwrap_or(holds.len()),
        };
        if link.to == holds.len() {
            holds.push(None);
        }
        holds[link.to] = Some(link.made);
    }
    holds.len()
}

/// The other operand, found.
#[derive(Debug)]
pub(super) enum Bound<'a> {
    None,
    Scalar(f32),
    Whole(Floats<'a>),
    /// Repeated often enough for any part.
    Row {
        tiled: Buffer,
        n: usize,
    },
    /// Whole blocks of channels, and the elements of one block of the chain's values.
    Channels {
        values: Buffer,
        block: usize,
    },
}

/// Elements that are borrowed or shared.
#[derive(Debug, Clone)]
pub(super) enum Floats<'a> {
    Borrowed(&'a [f32]),
    Shared(std::sync::Arc<Buffer>),
}

impl std::ops::Deref for Floats<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Floats::Borrowed(floats) => floats,
            Floats::Shared(floats) => floats,
        }
    }
}

/// Parts are worked on in pieces of this many elements, which stay in the first-level cache.
const PIECE: usize = 1024;

impl Bound<'_> {
    pub(super) fn row(row: &[f32]) -> Bound<'static> {
        let mut tiled = Buffer::zeros((row.len() + PIECE).next_multiple_of(row.len()));
        tiled.chunks_exact_mut(row.len()).for_each(|to| to.copy_from_slice(row));
        Bound::Row { tiled, n: row.len() }
    }
}

/// Links with everything they need, ready to run.
pub(super) struct Chain<'a> {
    pub(super) links: &'a [Link],
    pub(super) bound: Vec<Bound<'a>>,
    /// Behind each link.
    pub(super) hooks: Vec<Option<&'a dyn ValueHook>>,
    /// Before the first link.
    pub(super) first_hook: Option<&'a dyn ValueHook>,
    pub(super) slots: Vec<Buffer>,
    /// Of [`Chain::SLOT_LEN`] elements.
    pub(super) gathered: Buffer,
}

/// Where the elements of a piece are in the head's result: rows of `width`, `step` apart.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: usize,
    width: usize,
    step: usize,
}

impl Place {
    fn gather(&self, x: &[f32], piece: &mut [f32]) {
        for (row, piece) in piece.chunks_exact_mut(self.width).enumerate() {
            piece.copy_from_slice(&x[self.at + row * self.step..][..self.width]);
        }
    }
}

impl Chain<'_> {
    /// What the slots take.
    pub(super) const SLOT_LEN: usize = PIECE;

    /// The memory that it was given.
    pub(super) fn into_slots(self) -> impl Iterator<Item = Buffer> {
        self.slots.into_iter().chain([self.gathered])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty() && self.first_hook.is_none()
    }

    /// Changes a part of the head's result, which begins at `offset`, into that of the last link.
    pub(super) fn apply(&mut self, part: &mut [f32], offset: usize) {
        if self.is_empty() {
            return;
        }
        let mut done = 0;
        while done < part.len() {
            let at = offset + done;
            let mut len = PIECE.min(part.len() - done);
            for bound in &self.bound {
                if let Bound::Channels { block, .. } = bound {
                    len = len.min(block - at % block);
                }
            }
            let place = Place { at, width: len, step: len };
            self.apply_piece(&mut part[done..done + len], place);
            done += len;
        }
    }

    /// The same for rows of `width` elements that lie `step` apart in the head's result.
    pub(super) fn apply_rows(&mut self, part: &mut [f32], at: usize, width: usize, step: usize) {
        // A row operand has to begin anew with every row.
        let is_even = |bound: &Bound<'_>| match bound {
            Bound::Row { n, .. } => step.is_multiple_of(*n),
            Bound::Channels { .. } => false,
            Bound::None | Bound::Scalar(_) | Bound::Whole(_) => true,
        };
        if part.len() <= PIECE && self.bound.iter().all(is_even) {
            return self.apply_piece(part, Place { at, width, step });
        }
        for (row, part) in part.chunks_exact_mut(width).enumerate() {
            self.apply(part, at + row * step);
        }
    }

    fn apply_piece(&mut self, piece: &mut [f32], place: Place) {
        let Place { at, width, .. } = place;
        if let Some(hook) = self.first_hook {
            hook.apply(piece);
        }
        let n = piece.len();
        for ((link, bound), hook) in self.links.iter().zip(&self.bound).zip(&self.hooks) {
            // The result's slot is taken out, so that others can be read beside it.
            let mut taken = match link.to {
                0 => None,
                slot => Some(std::mem::take(&mut self.slots[slot - 1])),
            };
            let other = match &link.action {
                Action::Zip(_, Operand::Slot(_, slot), _) => *slot,
                _ => usize::MAX,
            };
            {
                let (to, rest): (&mut [f32], &[f32]) = match &mut taken {
                    None => (&mut *piece, &[]),
                    Some(slot) => (&mut slot[..n], &*piece),
                };
                let read = |slot: usize| if slot == 0 { rest } else { &self.slots[slot - 1][..n] };
                if link.slot != link.to {
                    to.copy_from_slice(read(link.slot));
                }
                match &link.action {
                    Action::Map(f) => map(to, f),
                    Action::Zip(zip, _, side) => {
                        let operand = match bound {
                            Bound::None => kernels::Operand::Same(read(other)),
                            Bound::Scalar(x) => kernels::Operand::Scalar(*x),
                            Bound::Whole(x) if width == n => kernels::Operand::Same(&x[at..at + n]),
                            Bound::Whole(x) => {
                                place.gather(x, &mut self.gathered[..n]);
                                kernels::Operand::Same(&self.gathered[..n])
                            }
                            Bound::Row { tiled, n: row } => {
                                kernels::Operand::Row(&tiled[at % row..][..width])
                            }
                            Bound::Channels { values, block } => {
                                let first = at / block * LANES % values.len();
                                kernels::Operand::Row(&values[first..first + LANES])
                            }
                        };
                        kernels::zip_in_place(*zip, to, operand, *side);
                    }
                }
                if let Some(hook) = hook {
                    hook.apply(to);
                }
            }
            if let (Some(slot), to) = (taken, link.to)
                && 0 < to
            {
                self.slots[to - 1] = slot;
            }
        }
        if let Some(last) = self.links.last().filter(|link| link.to != 0) {
            piece.copy_from_slice(&self.slots[last.to - 1][..n]);
        }
    }
}
