//! Two operands, element by element and in place: one is a whole tensor, the other that or less.
//!
//! The result is that of the reference operators to the last bit. NaN of either operand is passed on,
//! also by `Min` and `Max`, which of two equal operands (zeros of both signs) take the left one.

use super::simd::{Kernel, Simd, run};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zip {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
}

/// What meets the elements of a whole tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operand<'a> {
    /// As many elements.
    Same(&'a [f32]),
    Scalar(f32),
    /// Repeated along the last axis: the tensor is `[.., row.len()]`.
    Row(&'a [f32]),
}

/// Where an operand stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// `y[i] = op(y[i], b at i)`, or `op(b at i, y[i])` with `b` on the left.
///
/// # Panics
/// If `b` does not fit.
pub fn zip_in_place(op: Zip, y: &mut [f32], b: Operand<'_>, side: Side) {
    match (op, side) {
        (Zip::Add, _) => run(Sweep { y, b, join: Add }),
        (Zip::Sub, Side::Right) => run(Sweep { y, b, join: Sub }),
        (Zip::Sub, Side::Left) => run(Sweep { y, b, join: Flipped(Sub) }),
        (Zip::Mul, _) => run(Sweep { y, b, join: Mul }),
        (Zip::Div, Side::Right) => run(Sweep { y, b, join: Div }),
        (Zip::Div, Side::Left) => run(Sweep { y, b, join: Flipped(Div) }),
        (Zip::Min, Side::Right) => run(Sweep { y, b, join: Min }),
        (Zip::Min, Side::Left) => run(Sweep { y, b, join: Flipped(Min) }),
        (Zip::Max, Side::Right) => run(Sweep { y, b, join: Max }),
        (Zip::Max, Side::Left) => run(Sweep { y, b, join: Flipped(Max) }),
    }
}

/// An operation on lanes.
trait Join: Copy {
    fn join<S: Simd>(self, s: S, a: S::V, b: S::V) -> S::V;
}

macro_rules! joins {
    ($($name:ident: |$s:ident, $a:ident, $b:ident| $y:expr;)*) => {
        $(#[derive(Clone, Copy)]
        struct $name;

        impl Join for $name {
            #[inline(always)]
            fn join<S: Simd>(self, $s: S, $a: S::V, $b: S::V) -> S::V {
                $y
            }
        })*
    };
}

joins! {
    Add: |s, a, b| s.add(a, b);
    Sub: |s, a, b| s.sub(a, b);
    Mul: |s, a, b| s.mul(a, b);
    Div: |s, a, b| s.div(a, b);
    Min: |s, a, b| or_nan(s, s.min(b, a), b);
    Max: |s, a, b| or_nan(s, s.max(b, a), b);
}

/// `y`, but `b` where that is NaN.
#[inline(always)]
fn or_nan<S: Simd>(s: S, y: S::V, b: S::V) -> S::V {
    let infinity = s.splat(f32::INFINITY);
    let if_not_below = s.select_lt(s.splat(f32::NEG_INFINITY), b, y, b);
    s.select_lt(b, infinity, y, if_not_below)
}

#[derive(Clone, Copy)]
struct Flipped<J>(J);

impl<J: Join> Join for Flipped<J> {
    #[inline(always)]
    fn join<S: Simd>(self, s: S, a: S::V, b: S::V) -> S::V {
        self.0.join(s, b, a)
    }
}

struct Sweep<'a, J> {
    y: &'a mut [f32],
    b: Operand<'a>,
    join: J,
}

impl<J: Join> Kernel for Sweep<'_, J> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Sweep { y, b, join } = self;
        match b {
            Operand::Same(b) => along(s, join, y, b),
            Operand::Scalar(b) => constant(s, join, y, s.splat(b)),
            Operand::Row(row) => {
                let is_whole =
                    y.is_empty() || (!row.is_empty() && y.len().is_multiple_of(row.len()));
                assert!(is_whole, "the row divides the tensor");
                match row.try_into() {
                    Ok(row) => constant(s, join, y, s.load(row)),
                    Err(_) => {
                        y.chunks_exact_mut(row.len().max(1)).for_each(|y| along(s, join, y, row));
                    }
                }
            }
        }
    }
}

/// `y[i] = join(y[i], b[i])`
#[inline(always)]
fn along<S: Simd, J: Join>(s: S, join: J, y: &mut [f32], b: &[f32]) {
    assert_eq!(b.len(), y.len(), "as many elements");
    let Some((last, b_last)) = y.last_chunk().zip(b.last_chunk()) else {
        let y_part = join.join(s, s.load_part(y, 0.), s.load_part(b, 0.));
        return s.store_part(y, y_part);
    };
    // The last vector may overlap the one before; what it reads is taken before that is written.
    let last = join.join(s, s.load(last), s.load(b_last));
    for (y, b) in y.as_chunks_mut().0.iter_mut().zip(b.as_chunks().0) {
        s.store(y, join.join(s, s.load(y), s.load(b)));
    }
    s.store(y.last_chunk_mut().expect("as many elements"), last);
}

/// `y[i] = join(y[i], b)`; with lanes of `b` that differ, only of whole vectors.
#[inline(always)]
fn constant<S: Simd, J: Join>(s: S, join: J, y: &mut [f32], b: S::V) {
    let Some(last) = y.last_chunk() else {
        let y_part = join.join(s, s.load_part(y, 0.), b);
        return s.store_part(y, y_part);
    };
    let last = join.join(s, s.load(last), b);
    for y in y.as_chunks_mut().0 {
        s.store(y, join.join(s, s.load(y), b));
    }
    s.store(y.last_chunk_mut().expect("there is a last vector"), last);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;

    const OPS: [Zip; 6] = [Zip::Add, Zip::Sub, Zip::Mul, Zip::Div, Zip::Min, Zip::Max];
    const SIDES: [Side; 2] = [Side::Left, Side::Right];

    fn plain(op: Zip, a: f32, b: f32) -> f32 {
        match op {
            Zip::Add => a + b,
            Zip::Sub => a - b,
            Zip::Mul => a * b,
            Zip::Div => a / b,
            Zip::Min if a <= b || a.is_nan() => a,
            Zip::Max if b <= a || a.is_nan() => a,
            Zip::Min | Zip::Max => b,
        }
    }

    /// Numbers with zeros of both signs, infinities and NaN among them.
    fn values(n: usize, step: usize) -> Vec<f32> {
        let special = [0., -0., f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1., 1.];
        let value = |i: usize| match i % 3 {
            0 => special[i / 3 % special.len()],
            _ => (i as f32 * 0.7).sin() * 3.,
        };
        (0..n).map(|i| value(i * step + n)).collect()
    }

    fn at(b: Operand<'_>, i: usize) -> f32 {
        match b {
            Operand::Same(b) => b[i],
            Operand::Scalar(b) => b,
            Operand::Row(row) => row[i % row.len()],
        }
    }

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
    }

    /// All operations and sides of one operand at each level.
    fn check(a: &[f32], b: Operand<'_>) {
        for (op, side) in OPS.into_iter().flat_map(|op| SIDES.map(|side| (op, side))) {
            let expected = a.iter().enumerate().map(|(i, &a)| match side {
                Side::Left => plain(op, at(b, i), a),
                Side::Right => plain(op, a, at(b, i)),
            });
            let expected = bits(&expected.collect::<Vec<_>>());
            for (level, found) in at_each_level(|| {
                let mut y = a.to_vec();
                zip_in_place(op, &mut y, b, side);
                bits(&y)
            }) {
                assert_eq!(found, expected, "{op:?}, {side:?}, {level:?}, {b:?} with {a:?}");
            }
        }
    }

    #[test]
    fn same_and_scalar() {
        for n in (0..40).chain([100, 1000]) {
            let a = values(n, 1);
            check(&a, Operand::Same(&values(n, 5)));
            for b in [2.5, -0., f32::NAN, f32::INFINITY] {
                check(&a, Operand::Scalar(b));
            }
        }
    }

    #[test]
    fn rows() {
        for n in (1..40).chain([513]) {
            for repeats in [1, 2, 17] {
                check(&values(n * repeats, 1), Operand::Row(&values(n, 5)));
            }
        }
        check(&[], Operand::Row(&[]));
        check(&[], Operand::Row(&[1.]));
    }
}
