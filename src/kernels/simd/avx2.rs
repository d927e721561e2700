//! [`Simd`] in two registers of 256 bits.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Kernel, LANES, Simd};

/// # Safety
/// The machine has these instructions.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

/// Methods that are one intrinsic for each half.
macro_rules! avx2 {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $f:expr;)*) => {
        $(#[inline(always)]
        fn $name(self, $($arg: $ty),*) -> $ret {
            // SAFETY: a value of the type exists only where the machine has the instructions.
            unsafe { [$f($($arg[0]),*), $f($($arg[1]),*)] }
        })*
    };
}

impl Simd for Avx2 {
    type V = [__m256; 2];
    type I = [__m256i; 2];
    const IS_WIDE: bool = false;

    avx2! {
        fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V = _mm256_fmadd_ps;
        add(a: Self::V, b: Self::V) -> Self::V = _mm256_add_ps;
        sub(a: Self::V, b: Self::V) -> Self::V = _mm256_sub_ps;
        mul(a: Self::V, b: Self::V) -> Self::V = _mm256_mul_ps;
        div(a: Self::V, b: Self::V) -> Self::V = _mm256_div_ps;
        sqrt(a: Self::V) -> Self::V = _mm256_sqrt_ps;
        max(a: Self::V, b: Self::V) -> Self::V = _mm256_max_ps;
        min(a: Self::V, b: Self::V) -> Self::V = _mm256_min_ps;
        round(x: Self::V) -> Self::V =
            _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>;
        bits(x: Self::V) -> Self::I = _mm256_castps_si256;
        with_bits(x: Self::I) -> Self::V = _mm256_castsi256_ps;
        add_int(a: Self::I, b: Self::I) -> Self::I = _mm256_add_epi32;
        and(a: Self::I, b: Self::I) -> Self::I = _mm256_and_si256;
        or(a: Self::I, b: Self::I) -> Self::I = _mm256_or_si256;
        to_int(x: Self::V) -> Self::I = _mm256_cvttps_epi32;
        to_float(x: Self::I) -> Self::V = _mm256_cvtepi32_ps;
    }

    #[inline(always)]
    fn transpose16(self, rows: [Self::V; LANES]) -> [Self::V; LANES] {
        let mut columns = rows;
        for (row, column) in [(0, 0), (0, 8), (8, 0), (8, 8)] {
            let (from, to) = (column / 8, row / 8);
            // The 4 x 4 tiles of four rows, each transposed.
            macro_rules! quad {
                ($i:expr) => {{
                    let [a, b] = [rows[row + $i][from], rows[row + $i + 1][from]];
                    let [c, d] = [rows[row + $i + 2][from], rows[row + $i + 3][from]];
                    let ab_low = _mm256_unpacklo_ps(a, b);
                    let ab_high = _mm256_unpackhi_ps(a, b);
                    let cd_low = _mm256_unpacklo_ps(c, d);
                    let cd_high = _mm256_unpackhi_ps(c, d);
                    [
                        _mm256_shuffle_ps::<0x44>(ab_low, cd_low),
                        _mm256_shuffle_ps::<0xee>(ab_low, cd_low),
                        _mm256_shuffle_ps::<0x44>(ab_high, cd_high),
                        _mm256_shuffle_ps::<0xee>(ab_high, cd_high),
                    ]
                }};
            }
            // SAFETY: the machine has the instructions.
            unsafe {
                let [a, b] = [quad!(0), quad!(4)];
                for j in 0..4 {
                    columns[column + j][to] = _mm256_permute2f128_ps::<0x20>(a[j], b[j]);
                    columns[column + j + 4][to] = _mm256_permute2f128_ps::<0x31>(a[j], b[j]);
                }
            }
        }
        columns
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        // SAFETY: the machine has the instruction.
        unsafe { [_mm256_set1_ps(x); 2] }
    }
    #[inline(always)]
    fn splat_int(self, x: i32) -> Self::I {
        // SAFETY: the machine has the instruction.
        unsafe { [_mm256_set1_epi32(x); 2] }
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::V {
        // SAFETY: 16 elements are there; the machine has the instruction.
        unsafe { self.load_at(x.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES], x: Self::V) {
        // SAFETY: 16 elements are there; the machine has the instruction.
        unsafe { self.store_at(to.as_mut_ptr(), x) }
    }
    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        // SAFETY: a prefetch of any address does nothing worse than nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }
    #[inline(always)]
    unsafe fn load_at(self, x: *const f32) -> Self::V {
        // SAFETY: as the caller promises.
        unsafe { [_mm256_loadu_ps(x), _mm256_loadu_ps(x.add(8))] }
    }
    #[inline(always)]
    unsafe fn store_at(self, to: *mut f32, x: Self::V) {
        // SAFETY: as the caller promises.
        unsafe {
            _mm256_storeu_ps(to, x[0]);
            _mm256_storeu_ps(to.add(8), x[1]);
        }
    }
    #[inline(always)]
    fn select_lt(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
        let half = |i: usize| {
            // SAFETY: the machine has the instructions.
            unsafe { _mm256_blendv_ps(y[i], x[i], _mm256_cmp_ps::<_CMP_LT_OQ>(a[i], b[i])) }
        };
        [half(0), half(1)]
    }
    #[inline(always)]
    fn shift_left<const N: u32>(self, x: Self::I) -> Self::I {
        // SAFETY: the machine has the instruction.
        x.map(|x| unsafe { _mm256_sll_epi32(x, _mm_cvtsi32_si128(N as i32)) })
    }
    #[inline(always)]
    fn shift_right<const N: u32>(self, x: Self::I) -> Self::I {
        // SAFETY: the machine has the instruction.
        x.map(|x| unsafe { _mm256_srl_epi32(x, _mm_cvtsi32_si128(N as i32)) })
    }
    #[inline(always)]
    fn swap<const N: usize>(self, x: Self::V) -> Self::V {
        // SAFETY: the machine has the instructions.
        unsafe {
            let [a, b] = x;
            match N {
                8 => [b, a],
                4 => [_mm256_permute2f128_ps::<1>(a, a), _mm256_permute2f128_ps::<1>(b, b)],
                2 => [_mm256_permute_ps::<0x4e>(a), _mm256_permute_ps::<0x4e>(b)],
                _ => [_mm256_permute_ps::<0xb1>(a), _mm256_permute_ps::<0xb1>(b)],
            }
        }
    }
}
