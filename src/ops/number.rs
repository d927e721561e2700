//! [`Scalar`] and [`Number`]: arithmetic that is total over every element type.
//!
//! Integers wrap, floats follow IEEE 754; the 16-bit floats compute in f32 and round once.

use half::{bf16, f16};

use crate::tensor::{
    Element, F4E2M1, F6E2M3, F6E3M2, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F8E8M0, I2, I4,
    Rounding, U2, U4,
};

/// An element that converts to and from any other.
pub(super) trait Scalar: Element {
    fn to_f64(self) -> f64;
    /// Truncated toward zero; NaN is 0, what is out of range saturates.
    fn to_i128(self) -> i128;
    /// Rounded to the nearest float (half to even); for integers truncated toward zero, NaN is 0,
    /// and what is out of range saturates.
    fn nearest(x: f64) -> Self;
    /// Integers keep the low bits.
    fn wrapped(x: i128) -> Self;
}

/// An element to calculate with.
pub(super) trait Number: Scalar + PartialOrd {
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    /// Truncates for integers, for which a division by zero gives 0.
    fn over(self, other: Self) -> Self;
    /// NaN if either is.
    fn lesser(self, other: Self) -> Self;
    /// NaN if either is.
    fn greater(self, other: Self) -> Self;
}

macro_rules! integers {
    ($($ty:ty)*) => {$(
        impl Scalar for $ty {
            fn to_f64(self) -> f64 { self as f64 }
            fn to_i128(self) -> i128 { self.into() }
            fn nearest(x: f64) -> $ty { x as $ty }
            fn wrapped(x: i128) -> $ty { x as $ty }
        }

        impl Number for $ty {
            fn plus(self, other: $ty) -> $ty { self.wrapping_add(other) }
            fn minus(self, other: $ty) -> $ty { self.wrapping_sub(other) }
            fn times(self, other: $ty) -> $ty { self.wrapping_mul(other) }
            fn over(self, other: $ty) -> $ty {
                if other == 0 { 0 } else { self.wrapping_div(other) }
            }
            fn lesser(self, other: $ty) -> $ty { Ord::min(self, other) }
            fn greater(self, other: $ty) -> $ty { Ord::max(self, other) }
        }
    )*};
}

integers!(i8 i16 i32 i64 u8 u16 u32 u64);

macro_rules! floats {
    ($($ty:ty: $from_f64:expr, $from_i128:expr;)*) => {$(
        impl Scalar for $ty {
            fn to_f64(self) -> f64 { self.into() }
            fn to_i128(self) -> i128 { f64::from(self) as i128 }
            fn nearest(x: f64) -> $ty { $from_f64(x) }
            fn wrapped(x: i128) -> $ty { $from_i128(x) }
        }

        impl Number for $ty {
            fn plus(self, other: $ty) -> $ty { self + other }
            fn minus(self, other: $ty) -> $ty { self - other }
            fn times(self, other: $ty) -> $ty { self * other }
            fn over(self, other: $ty) -> $ty { self / other }
            fn lesser(self, other: $ty) -> $ty {
                if self <= other || self.is_nan() { self } else { other }
            }
            fn greater(self, other: $ty) -> $ty {
                if other <= self || self.is_nan() { self } else { other }
            }
        }
    )*};
}

floats! {
    f32: |x| x as f32, |x| x as f32;
    f64: |x| x, |x| x as f64;
    f16: |x| f16::from_f32(to_odd(x)), |x| f16::from_f32(to_odd(x as f64));
    bf16: |x| bf16::from_f32(to_odd(x)), |x| bf16::from_f32(to_odd(x as f64));
}

/// The nearest f32 toward zero, its last bit set if that is not exact: rounding it once more to 16 bits
/// gives what rounding `x` once does. (`half`'s own conversion rounds twice.)
fn to_odd(x: f64) -> f32 {
    let nearest = x as f32;
    if f64::from(nearest) == x || x.is_nan() {
        return nearest;
    }
    let bits = nearest.to_bits();
    let is_beyond = x.abs() < f64::from(nearest).abs();
    f32::from_bits((if is_beyond { bits - 1 } else { bits }) | 1)
}

impl Scalar for bool {
    fn to_f64(self) -> f64 {
        f64::from(u8::from(self))
    }

    fn to_i128(self) -> i128 {
        self.into()
    }

    fn nearest(x: f64) -> bool {
        x != 0.
    }

    fn wrapped(x: i128) -> bool {
        x != 0
    }
}

macro_rules! small_integers {
    ($($ty:ident: $least:literal, $most:literal;)*) => {$(
        impl Scalar for $ty {
            fn to_f64(self) -> f64 { self.get().into() }
            fn to_i128(self) -> i128 { self.get().into() }
            fn nearest(x: f64) -> $ty { $ty::low_bits((x as i64).clamp($least, $most)) }
            fn wrapped(x: i128) -> $ty { $ty::low_bits(x as i64) }
        }
    )*};
}

small_integers! { I4: -8, 7; U4: 0, 15; I2: -2, 1; U2: 0, 3; }

macro_rules! small_floats {
    ($($ty:ident)*) => {$(
        impl Scalar for $ty {
            fn to_f64(self) -> f64 { self.to_f32().into() }
            fn to_i128(self) -> i128 { self.to_f32() as i128 }
            fn nearest(x: f64) -> $ty { $ty::from_f64(x, Rounding::DEFAULT) }
            fn wrapped(x: i128) -> $ty { $ty::nearest(x as f64) }
        }
    )*};
}

small_floats!(F8E4M3FN F8E4M3FNUZ F8E5M2 F8E5M2FNUZ F8E8M0 F6E2M3 F6E3M2 F4E2M1);

/// As [`dispatch!`](crate::dispatch), over every [`Number`]; `infer` refused the others.
macro_rules! dispatch_numbers {
    ($dtype:expr, $t:ident => $body:expr) => {
        $crate::dispatch!($dtype, $t in [
            F32 f32, F64 f64, F16 ::half::f16, BF16 ::half::bf16,
            I8 i8, I16 i16, I32 i32, I64 i64, U8 u8, U16 u16, U32 u32, U64 u64,
        ] => $body, _ => unreachable!("`infer` refused what is no number"))
    };
}

pub(super) use dispatch_numbers;
