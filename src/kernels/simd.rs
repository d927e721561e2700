//! [`Simd`]: sixteen float lanes, what the kernels of the fast engine are written in.
//!
//! A kernel is a [`Kernel`] whose `run` is generic over the level; [`run`] compiles it once per level
//! and picks one when it is called. A value of a `Simd` type is the proof that the machine has the
//! instructions, so its methods are safe: only the modules here make one. Every method gives the same
//! bits at each level.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use super::dispatch::Level;

/// Lanes of a vector, and channels of a block.
pub const LANES: usize = 16;

/// Operations on 16 lanes of f32 (`V`) and of their bits as i32 (`I`).
pub(crate) trait Simd: Copy {
    type V: Copy;
    type I: Copy;

    /// Whether there are 32 registers of 16 lanes.
    const IS_WIDE: bool;

    fn splat(self, x: f32) -> Self::V;
    fn load(self, x: &[f32; LANES]) -> Self::V;
    fn store(self, to: &mut [f32; LANES], x: Self::V);
    /// # Safety
    /// `x` may be read for 16 elements.
    unsafe fn load_at(self, x: *const f32) -> Self::V;
    /// # Safety
    /// `to` may be written for 16 elements.
    unsafe fn store_at(self, to: *mut f32, x: Self::V);
    /// Asks for the cache line at `at`, which need not be there.
    fn prefetch(self, _at: *const f32) {}
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    fn sqrt(self, a: Self::V) -> Self::V;
    /// `b` where it is not below `a`, also where one is NaN: `max(low, x)` passes on a NaN `x`.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `b` where it is not above `a`, also where one is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// To the nearest integer, ties to even.
    fn round(self, x: Self::V) -> Self::V;
    /// `x` where `a < b`, else `y` (also where one is NaN).
    fn select_lt(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    fn bits(self, x: Self::V) -> Self::I;
    /// The floats that have these bits.
    fn with_bits(self, x: Self::I) -> Self::V;
    fn splat_int(self, x: i32) -> Self::I;
    fn add_int(self, a: Self::I, b: Self::I) -> Self::I;
    fn and(self, a: Self::I, b: Self::I) -> Self::I;
    fn or(self, a: Self::I, b: Self::I) -> Self::I;
    fn shift_left<const N: u32>(self, x: Self::I) -> Self::I;
    /// Filled with zeros from the left.
    fn shift_right<const N: u32>(self, x: Self::I) -> Self::I;
    /// The integers of lanes that hold integers below 2^31 in magnitude.
    fn to_int(self, x: Self::V) -> Self::I;
    fn to_float(self, x: Self::I) -> Self::V;

    /// `x * 2^n`, rounded once, for whole `n` between -200 and 200 and `x` between 1/2 and 2.
    #[inline(always)]
    fn scale(self, x: Self::V, n: Self::V) -> Self::V {
        // Two factors, as 2^n may be out of range; the first product is exact.
        let half = self.round(self.mul(n, self.splat(0.5)));
        let rest = self.sub(n, half);
        let first = self.add_int(self.to_int(half), self.splat_int(127));
        let second = self.add_int(self.to_int(rest), self.splat_int(127));
        let first = self.with_bits(self.shift_left::<23>(first));
        let second = self.with_bits(self.shift_left::<23>(second));
        self.mul(self.mul(x, first), second)
    }

    /// Lane `i` becomes lane `i ^ N`; `N` is 1, 2, 4 or 8.
    fn swap<const N: usize>(self, x: Self::V) -> Self::V;

    /// Lane `j` of row `i` becomes lane `i` of row `j`.
    #[inline(always)]
    fn transpose16(self, rows: [Self::V; LANES]) -> [Self::V; LANES] {
        let rows = rows.map(|row| self.array(row));
        std::array::from_fn(|j| self.load(&std::array::from_fn(|i| rows[i][j])))
    }

    #[inline(always)]
    fn array(self, x: Self::V) -> [f32; LANES] {
        let mut array = [0.; LANES];
        self.store(&mut array, x);
        array
    }

    /// The first lanes from `x`, of at most 16 elements, the others `fill`.
    #[inline(always)]
    fn load_part(self, x: &[f32], fill: f32) -> Self::V {
        let mut array = [fill; LANES];
        array[..x.len()].copy_from_slice(x);
        self.load(&array)
    }

    /// The first lanes to `to`, of at most 16 elements.
    #[inline(always)]
    fn store_part(self, to: &mut [f32], x: Self::V) {
        to.copy_from_slice(&self.array(x)[..to.len()]);
    }
}

/// A computation compiled for every level; mark `run` as `#[inline(always)]`.
pub(crate) trait Kernel {
    type Output;
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// Runs a kernel at the level of this machine.
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Output {
    match Level::current() {
        // SAFETY: the level is never above the one that this machine was found to have.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512::run(kernel) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::run(kernel) },
        _ => portable::run(kernel),
    }
}

/// A statement for each `r` below a constant of at most 14, without a loop: what stands in a loop may
/// not end up in registers.
macro_rules! unrolled {
    ($r:ident < $n:expr => $body:expr) => {
        unrolled!(@ $r ($n) $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13)
    };
    (@ $r:ident $n:tt $body:expr, $($value:literal)*) => {
        $(if $value < $n {
            let $r: usize = $value;
            $body;
        })*
    };
}

pub(super) use unrolled;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::at_each_level;

    type Lanes = [f32; LANES];

    fn bits(x: Lanes) -> [u32; LANES] {
        x.map(f32::to_bits)
    }

    /// With one NaN for all: which of two is passed on is up to the machine.
    fn value(x: Lanes) -> [u32; LANES] {
        x.map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() })
    }

    /// Methods of lanes, each with its plain form of a lane.
    macro_rules! methods {
        (|$s:ident, $a:ident, $b:ident, $c:ident| $($name:literal: $y:expr, $plain:expr;)*) => {
            fn plain() -> Vec<(&'static str, fn(f32, f32, f32) -> f32)> {
                vec![$(($name, $plain)),*]
            }

            struct Methods([Lanes; 3]);

            impl Kernel for Methods {
                type Output = Vec<Lanes>;

                #[inline(always)]
                fn run<S: Simd>(self, $s: S) -> Vec<Lanes> {
                    let [$a, $b, $c] = self.0.map(|x| $s.load(&x));
                    vec![$($s.array($y)),*]
                }
            }
        };
    }

    fn join(a: f32, b: f32, f: impl Fn(u32, u32) -> u32) -> f32 {
        f32::from_bits(f(a.to_bits(), b.to_bits()))
    }

    methods! { |s, a, b, c|
        "splat": s.splat(1.5), |_, _, _| 1.5;
        "fma": s.fma(a, b, c), f32::mul_add;
        "add": s.add(a, b), |a, b, _| a + b;
        "sub": s.sub(a, b), |a, b, _| a - b;
        "mul": s.mul(a, b), |a, b, _| a * b;
        "div": s.div(a, b), |a, b, _| a / b;
        "sqrt": s.sqrt(a), |a, _, _| a.sqrt();
        "max": s.max(a, b), |a, b, _| if a > b { a } else { b };
        "min": s.min(a, b), |a, b, _| if a < b { a } else { b };
        "round": s.round(a), |a, _, _| a.round_ties_even();
        "select_lt": s.select_lt(a, b, c, a), |a, b, c| if a < b { c } else { a };
        "bits": s.with_bits(s.bits(a)), |a, _, _| a;
        "splat_int": s.with_bits(s.splat_int(7)), |_, _, _| f32::from_bits(7);
        "add_int": s.with_bits(s.add_int(s.bits(a), s.bits(b))),
            |a, b, _| join(a, b, u32::wrapping_add);
        "and": s.with_bits(s.and(s.bits(a), s.bits(b))), |a, b, _| join(a, b, |a, b| a & b);
        "or": s.with_bits(s.or(s.bits(a), s.bits(b))), |a, b, _| join(a, b, |a, b| a | b);
        "shift_left": s.with_bits(s.shift_left::<23>(s.bits(a))),
            |a, _, _| join(a, a, |a, _| a << 23);
        "shift_right": s.with_bits(s.shift_right::<9>(s.bits(a))),
            |a, _, _| join(a, a, |a, _| a >> 9);
        "to_float": s.to_float(s.bits(a)), |a, _, _| a.to_bits() as i32 as f32;
    }

    fn special() -> Vec<f32> {
        let magnitudes = [0., 1e-45, 1e-40, f32::MIN_POSITIVE, 0.5, 1.5, 2.5, 3.1, 8_388_609.];
        let large = [f32::MAX, f32::INFINITY, f32::NAN, f32::from_bits(0x7fc0_1234)];
        magnitudes.into_iter().chain(large).flat_map(|x| [x, -x]).collect()
    }

    #[test]
    fn lane_by_lane_at_each_level() {
        let x = special();
        for turn in 0..x.len() * x.len() {
            let at = |i: usize| x[i % x.len()];
            let a = std::array::from_fn(|i| at(i + turn));
            let b = std::array::from_fn(|i| at(i + turn / x.len()));
            let c = std::array::from_fn(|i| at(i * 5 + turn));
            for (level, found) in at_each_level(|| run(Methods([a, b, c]))) {
                for ((name, plain), y) in plain().into_iter().zip(found) {
                    let expected = std::array::from_fn(|i| plain(a[i], b[i], c[i]));
                    let case = format!("{name} at {level:?} of {a:?}, {b:?}, {c:?}");
                    match name {
                        "fma" | "add" | "sub" | "mul" | "div" | "sqrt" | "round" => {
                            assert_eq!(value(y), value(expected), "{case}");
                        }
                        _ => assert_eq!(bits(y), bits(expected), "{case}"),
                    }
                }
            }
        }
    }

    struct Scale(Lanes, Lanes);

    impl Kernel for Scale {
        type Output = [Lanes; 2];

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> [Lanes; 2] {
            let (x, n) = (s.load(&self.0), s.load(&self.1));
            [s.array(s.scale(x, n)), s.array(s.with_bits(s.to_int(n)))]
        }
    }

    #[test]
    fn powers_of_two_and_integers() {
        for first in (-200..=184).step_by(LANES) {
            let n: Lanes = std::array::from_fn(|i| (first + i as i32) as f32);
            for x in [0.5, 0.7, 1., 1.234_567_8, 1.999_999_9, -1.1, f32::NAN] {
                let expected: Lanes = n.map(|n| (f64::from(x) * 2_f64.powi(n as i32)) as f32);
                for (level, [y, integers]) in at_each_level(|| run(Scale([x; LANES], n))) {
                    assert_eq!(value(y), value(expected), "{level:?}, {x} * 2^{n:?}");
                    assert_eq!(bits(integers), n.map(|n| n as i32 as u32), "{level:?}");
                }
            }
        }
        let n = [2_147_483_520., -2_147_483_520., 1.9, -1.9].repeat(4);
        let n: Lanes = n.try_into().expect("16 lanes");
        for (level, [_, integers]) in at_each_level(|| run(Scale([1.; LANES], n))) {
            assert_eq!(bits(integers), n.map(|n| n as i32 as u32), "{level:?}");
        }
    }

    struct Moves([Lanes; LANES]);

    impl Kernel for Moves {
        type Output = ([Lanes; 4], [Lanes; LANES], Lanes);

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Self::Output {
            let x = s.load(&self.0[0]);
            let swapped = [s.swap::<1>(x), s.swap::<2>(x), s.swap::<4>(x), s.swap::<8>(x)];
            let columns = s.transpose16(self.0.map(|row| s.load(&row)));
            let mut to = [0.; LANES + 1];
            // SAFETY: both are 16 elements of more.
            unsafe {
                let second = s.load_at(self.0.as_flattened().as_ptr().add(1));
                s.store_at(to.as_mut_ptr().add(1), second);
            }
            let mut second = [0.; LANES];
            s.store(&mut second, s.load(to.last_chunk().expect("16 of 17")));
            (swapped.map(|x| s.array(x)), columns.map(|x| s.array(x)), second)
        }
    }

    #[test]
    fn moves_at_each_level() {
        // Bits of all kinds, NaNs with payloads among them.
        let element = |i: usize| f32::from_bits((i as u32).wrapping_mul(0x9e37_79b1) | 0x7f80_0001);
        let rows: [Lanes; LANES] =
            std::array::from_fn(|i| std::array::from_fn(|j| element(i * LANES + j)));
        for (level, (swapped, columns, second)) in at_each_level(|| run(Moves(rows))) {
            for (n, y) in [1, 2, 4, 8].into_iter().zip(swapped) {
                let expected = std::array::from_fn(|i| rows[0][i ^ n]);
                assert_eq!(bits(y), bits(expected), "swap {n} at {level:?}");
            }
            for (j, y) in columns.into_iter().enumerate() {
                assert_eq!(bits(y), bits(rows.map(|row| row[j])), "column {j} at {level:?}");
            }
            assert_eq!(bits(second), bits(std::array::from_fn(|i| element(i + 1))), "{level:?}");
        }
    }

    struct Part<'a>(&'a [f32], &'a mut [f32]);

    impl Kernel for Part<'_> {
        type Output = Lanes;

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Lanes {
            let y = s.load_part(self.0, 9.);
            s.store_part(self.1, y);
            s.array(y)
        }
    }

    #[test]
    fn parts_at_each_level() {
        let x: Lanes = std::array::from_fn(|i| i as f32 + 1.);
        for n in 0..=LANES {
            for (level, (y, stored)) in at_each_level(|| {
                let mut stored = [0.; LANES + 1];
                (run(Part(&x[..n], &mut stored[..n])), stored)
            }) {
                assert_eq!(y, std::array::from_fn(|i| if i < n { x[i] } else { 9. }), "{level:?}");
                assert_eq!(stored[..n], x[..n], "{level:?}, {n}");
                assert_eq!(stored[n..], [0.; LANES + 1][n..], "{level:?}, {n}");
            }
        }
    }

    #[test]
    fn unrolls_as_often_as_asked() {
        fn count<const N: usize>() -> Vec<usize> {
            let mut seen = Vec::new();
            unrolled!(r < N => seen.push(r));
            seen
        }
        assert!(count::<0>().is_empty());
        assert_eq!(count::<5>(), [0, 1, 2, 3, 4]);
        assert_eq!(count::<12>(), (0..12).collect::<Vec<_>>());
    }
}
