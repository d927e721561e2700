//! [`multiversion!`]: one loop, compiled for several SIMD levels, chosen when it is called.
//!
//! A body must give the same bits at every level: no reassociation, and `mul_add` (or not) is
//! written out. Where the machine lacks fused multiply-add, `mul_add` is exact but slow.

#![allow(unsafe_code)]

/// The instructions that a kernel may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every machine of this architecture has.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, with the above.
    Avx512,
}

impl Level {
    /// The best level of this machine.
    pub fn detected() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 && is_x86_feature_detected!("avx512f") {
                return Level::Avx512;
            }
            if avx2 {
                return Level::Avx2;
            }
        }
        Level::Portable
    }

    /// The level that kernels run at: the best one, unless a test lowers it.
    pub(super) fn current() -> Level {
        #[cfg(test)]
        if let Some(level) = FORCED.get() {
            return level;
        }
        Level::detected()
    }
}

#[cfg(test)]
thread_local! {
    static FORCED: std::cell::Cell<Option<Level>> = const { std::cell::Cell::new(None) };
}

/// What `f` gives at each level that this machine has.
#[cfg(test)]
pub(crate) fn at_each_level<T>(f: impl Fn() -> T) -> Vec<(Level, T)> {
    let levels = [Level::Portable, Level::Avx2, Level::Avx512];
    let levels = levels.into_iter().filter(|&level| level <= Level::detected());
    let run = |level| {
        FORCED.set(Some(level));
        let result = f();
        FORCED.set(None);
        (level, result)
    };
    levels.map(run).collect()
}

/// Defines a function whose body is compiled once per [`Level`].
///
/// What the body calls must be `#[inline(always)]` to be compiled for the level too.
macro_rules! multiversion {
    ($(#[$attr:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$attr])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn portable($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                portable($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx2,fma")]
            fn avx512($($arg: $ty),*) $(-> $ret)? {
                portable($($arg),*)
            }

            match $crate::kernels::dispatch::Level::current() {
                // SAFETY: the level is never above the one that this machine was found to have.
                #[cfg(target_arch = "x86_64")]
                $crate::kernels::dispatch::Level::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::kernels::dispatch::Level::Avx2 => unsafe { avx2($($arg),*) },
                _ => portable($($arg),*),
            }
        }
    };
}

pub(super) use multiversion;
