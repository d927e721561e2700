//! [`Simd`] in a register of 512 bits.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Kernel, LANES, Simd};

/// # Safety
/// The machine has these instructions.
#[target_feature(enable = "avx512f,avx2,fma")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512(());

/// Methods that are one intrinsic. SAFETY of all: a value of the type exists only where the
/// machine has the instructions.
macro_rules! avx512 {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $body:expr;)*) => {
        $(#[inline(always)]
        fn $name(self, $($arg: $ty),*) -> $ret {
            // SAFETY: see the macro.
            unsafe { $body }
        })*
    };
}

impl Simd for Avx512 {
    type V = __m512;
    type I = __m512i;
    const IS_WIDE: bool = true;

    avx512! {
        splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        load(x: &[f32; LANES]) -> __m512 = _mm512_loadu_ps(x.as_ptr());
        fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        sqrt(a: __m512) -> __m512 = _mm512_sqrt_ps(a);
        max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        round(x: __m512) -> __m512 =
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
        select_lt(a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 =
            _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x);
        bits(x: __m512) -> __m512i = _mm512_castps_si512(x);
        with_bits(x: __m512i) -> __m512 = _mm512_castsi512_ps(x);
        splat_int(x: i32) -> __m512i = _mm512_set1_epi32(x);
        add_int(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32(a, b);
        and(a: __m512i, b: __m512i) -> __m512i = _mm512_and_si512(a, b);
        or(a: __m512i, b: __m512i) -> __m512i = _mm512_or_si512(a, b);
        to_int(x: __m512) -> __m512i = _mm512_cvttps_epi32(x);
        to_float(x: __m512i) -> __m512 = _mm512_cvtepi32_ps(x);
        scale(x: __m512, n: __m512) -> __m512 = _mm512_scalef_ps(x, n);
    }

    #[inline(always)]
    fn transpose16(self, rows: [__m512; LANES]) -> [__m512; LANES] {
        // The 4 x 4 tiles of four rows, each transposed.
        macro_rules! quad {
            ($i:expr) => {{
                let ab_low = _mm512_unpacklo_ps(rows[$i], rows[$i + 1]);
                let ab_high = _mm512_unpackhi_ps(rows[$i], rows[$i + 1]);
                let cd_low = _mm512_unpacklo_ps(rows[$i + 2], rows[$i + 3]);
                let cd_high = _mm512_unpackhi_ps(rows[$i + 2], rows[$i + 3]);
                [
                    _mm512_shuffle_ps::<0x44>(ab_low, cd_low),
                    _mm512_shuffle_ps::<0xee>(ab_low, cd_low),
                    _mm512_shuffle_ps::<0x44>(ab_high, cd_high),
                    _mm512_shuffle_ps::<0xee>(ab_high, cd_high),
                ]
            }};
        }
        let mut columns = rows;
        // SAFETY: the machine has the instructions.
        unsafe {
            let [a, b, c, d] = [quad!(0), quad!(4), quad!(8), quad!(12)];
            for j in 0..4 {
                let ab_even = _mm512_shuffle_f32x4::<0x88>(a[j], b[j]);
                let ab_odd = _mm512_shuffle_f32x4::<0xdd>(a[j], b[j]);
                let cd_even = _mm512_shuffle_f32x4::<0x88>(c[j], d[j]);
                let cd_odd = _mm512_shuffle_f32x4::<0xdd>(c[j], d[j]);
                columns[j] = _mm512_shuffle_f32x4::<0x88>(ab_even, cd_even);
                columns[j + 4] = _mm512_shuffle_f32x4::<0x88>(ab_odd, cd_odd);
                columns[j + 8] = _mm512_shuffle_f32x4::<0xdd>(ab_even, cd_even);
                columns[j + 12] = _mm512_shuffle_f32x4::<0xdd>(ab_odd, cd_odd);
            }
        }
        columns
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES], x: __m512) {
        // SAFETY: 16 elements are there; the machine has the instruction.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), x) }
    }
    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        // SAFETY: a prefetch of any address does nothing worse than nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }
    #[inline(always)]
    unsafe fn load_at(self, x: *const f32) -> __m512 {
        // SAFETY: as the caller promises.
        unsafe { _mm512_loadu_ps(x) }
    }
    #[inline(always)]
    unsafe fn store_at(self, to: *mut f32, x: __m512) {
        // SAFETY: as the caller promises.
        unsafe { _mm512_storeu_ps(to, x) }
    }
    #[inline(always)]
    fn shift_left<const N: u32>(self, x: __m512i) -> __m512i {
        // SAFETY: the machine has the instruction.
        unsafe { _mm512_slli_epi32::<N>(x) }
    }
    #[inline(always)]
    fn shift_right<const N: u32>(self, x: __m512i) -> __m512i {
        // SAFETY: the machine has the instruction.
        unsafe { _mm512_srli_epi32::<N>(x) }
    }
    #[inline(always)]
    fn swap<const N: usize>(self, x: __m512) -> __m512 {
        // SAFETY: the machine has the instructions.
        unsafe {
            match N {
                8 => _mm512_shuffle_f32x4::<0x4e>(x, x),
                4 => _mm512_shuffle_f32x4::<0xb1>(x, x),
                2 => _mm512_permute_ps::<0x4e>(x),
                _ => _mm512_permute_ps::<0xb1>(x),
            }
        }
    }
    #[inline(always)]
    fn load_part(self, x: &[f32], fill: f32) -> __m512 {
        let lanes = first_lanes(x.len());
        // SAFETY: only elements of `x` are read; the machine has the instruction.
        unsafe { _mm512_mask_loadu_ps(_mm512_set1_ps(fill), lanes, x.as_ptr()) }
    }
    #[inline(always)]
    fn store_part(self, to: &mut [f32], x: __m512) {
        let n = to.len();
        if let Ok(to) = to.try_into() {
            return self.store(to, x);
        }
        assert!(n < LANES, "at most a vector");
        let (mut x, mut to) = (x, to.as_mut_ptr());
        // In pieces: after a masked store, a load of what lies behind it has to wait.
        // SAFETY: the pieces add up to `n`; the machine has the instructions.
        unsafe {
            if n & 8 != 0 {
                _mm256_storeu_ps(to, _mm512_castps512_ps256(x));
                (x, to) = (self.swap::<8>(x), to.add(8));
            }
            if n & 4 != 0 {
                _mm_storeu_ps(to, _mm512_castps512_ps128(x));
                (x, to) = (self.swap::<4>(x), to.add(4));
            }
            if n & 2 != 0 {
                _mm_storel_pd(to.cast(), _mm_castps_pd(_mm512_castps512_ps128(x)));
                (x, to) = (self.swap::<2>(x), to.add(2));
            }
            if n & 1 != 0 {
                _mm_store_ss(to, _mm512_castps512_ps128(x));
            }
        }
    }
}

/// The mask of the first `n` lanes.
#[inline(always)]
fn first_lanes(n: usize) -> __mmask16 {
    assert!(n <= LANES, "at most a vector");
    ((1_u32 << n) - 1) as __mmask16
}
