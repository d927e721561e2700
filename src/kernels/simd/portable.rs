//! [`Simd`] for every machine: arrays, of which the compiler makes what the architecture has.

#![allow(unsafe_code)]

use super::{Kernel, LANES, Simd};

#[inline(always)]
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Portable(()))
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable(());

#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Array<T>([T; LANES]);

impl Portable {
    #[inline(always)]
    fn map<T: Copy, U>(a: Array<T>, f: impl Fn(T) -> U) -> Array<U> {
        Array(a.0.map(f))
    }

    #[inline(always)]
    fn zip<T: Copy, U>(a: Array<T>, b: Array<T>, f: impl Fn(T, T) -> U) -> Array<U> {
        Array(std::array::from_fn(|i| f(a.0[i], b.0[i])))
    }
}

impl Simd for Portable {
    type V = Array<f32>;
    type I = Array<i32>;
    const IS_WIDE: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        Array([x; LANES])
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::V {
        Array(*x)
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES], x: Self::V) {
        *to = x.0;
    }
    #[inline(always)]
    unsafe fn load_at(self, x: *const f32) -> Self::V {
        // SAFETY: as the caller promises.
        Array(unsafe { x.cast::<[f32; LANES]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store_at(self, to: *mut f32, x: Self::V) {
        // SAFETY: as the caller promises.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(x.0) }
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        Array(std::array::from_fn(|i| a.0[i].mul_add(b.0[i], c.0[i])))
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        Self::map(a, f32::sqrt)
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn round(self, x: Self::V) -> Self::V {
        Self::map(x, f32::round_ties_even)
    }
    #[inline(always)]
    fn select_lt(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
        Array(std::array::from_fn(|i| if a.0[i] < b.0[i] { x.0[i] } else { y.0[i] }))
    }
    #[inline(always)]
    fn bits(self, x: Self::V) -> Self::I {
        Self::map(x, |x| x.to_bits() as i32)
    }
    #[inline(always)]
    fn with_bits(self, x: Self::I) -> Self::V {
        Self::map(x, |x| f32::from_bits(x as u32))
    }
    #[inline(always)]
    fn splat_int(self, x: i32) -> Self::I {
        Array([x; LANES])
    }
    #[inline(always)]
    fn add_int(self, a: Self::I, b: Self::I) -> Self::I {
        Self::zip(a, b, i32::wrapping_add)
    }
    #[inline(always)]
    fn and(self, a: Self::I, b: Self::I) -> Self::I {
        Self::zip(a, b, |a, b| a & b)
    }
    #[inline(always)]
    fn or(self, a: Self::I, b: Self::I) -> Self::I {
        Self::zip(a, b, |a, b| a | b)
    }
    #[inline(always)]
    fn shift_left<const N: u32>(self, x: Self::I) -> Self::I {
        Self::map(x, |x| x << N)
    }
    #[inline(always)]
    fn shift_right<const N: u32>(self, x: Self::I) -> Self::I {
        Self::map(x, |x| ((x as u32) >> N) as i32)
    }
    #[inline(always)]
    fn to_int(self, x: Self::V) -> Self::I {
        Self::map(x, |x| x as i32)
    }
    #[inline(always)]
    fn to_float(self, x: Self::I) -> Self::V {
        Self::map(x, |x| x as f32)
    }
    #[inline(always)]
    fn swap<const N: usize>(self, x: Self::V) -> Self::V {
        Array(std::array::from_fn(|i| x.0[i ^ N]))
    }
}
