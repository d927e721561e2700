//! What the machine could do at best, which kernels and networks are held against.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use std::hint::black_box;

use mpq::kernels::Level;

/// Multiply-accumulates in a second by one thread on registers alone, with the instructions that the
/// kernels use; `None` where those are not known here.
pub(crate) fn peak_macs_per_s() -> Option<f64> {
    match Level::detected() {
        // SAFETY: the level is the one that this machine was found to have.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => Some(best_rate(|| unsafe { avx512() })),
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => Some(best_rate(|| unsafe { avx2() })),
        _ => None,
    }
}

/// Chains that do not wait for each other: more than two units of five stages need, few enough to
/// stay in 16 registers.
#[cfg(target_arch = "x86_64")]
const CHAINS: usize = 12;
#[cfg(target_arch = "x86_64")]
const STEPS: usize = 200_000;

/// The best of many runs: whatever else the machine does only slows it down.
#[cfg(target_arch = "x86_64")]
fn best_rate(run: impl Fn() -> usize) -> f64 {
    let rate = |_| {
        let start = std::time::Instant::now();
        let lanes = run();
        (lanes * CHAINS * STEPS) as f64 / start.elapsed().as_secs_f64()
    };
    (0..50).map(rate).fold(0., f64::max)
}

/// Lanes of a vector.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512() -> usize {
    use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_set1_ps};

    let (a, b) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
    let mut chains = [b; CHAINS];
    for _ in 0..STEPS {
        chains.iter_mut().for_each(|y| *y = _mm512_fmadd_ps(*y, a, b));
    }
    black_box(chains);
    16
}

/// Lanes of a vector.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2() -> usize {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps};

    let (a, b) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(0.001)));
    let mut chains = [b; CHAINS];
    for _ in 0..STEPS {
        chains.iter_mut().for_each(|y| *y = _mm256_fmadd_ps(*y, a, b));
    }
    black_box(chains);
    8
}
