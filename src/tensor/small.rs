//! Elements of fewer than 8 bits and the 8-bit floats: each is one byte in memory; only files pack them.
//!
//! A float of `e` exponent bits, `m` mantissa bits and a bias has the value
//! `2^(exponent - bias) * (1 + mantissa / 2^m)`, or `2^(1 - bias) * mantissa / 2^m` where the exponent
//! is 0. Everything else that tells these types apart stands in their [`Format`].

use std::fmt;

/// An element of up to 8 bits that is stored, moved and converted, but not calculated with.
pub trait Small: super::Element {
    /// From the low bits; what is above the type's width is ignored.
    fn from_bits(bits: u8) -> Self;
    /// The bits above the type's width are 0.
    fn to_bits(self) -> u8;
}

/// What a float cannot hold becomes the nearest end or, if not `saturate`, infinity or NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rounding {
    pub saturate: bool,
    /// Of [`F8E8M0`] alone; the others are rounded half to even.
    pub power: PowerRounding,
}

impl Rounding {
    /// What ONNX does where an operator says nothing else.
    pub const DEFAULT: Rounding = Rounding { saturate: true, power: PowerRounding::Up };
}

/// Which of two neighboring powers of two a number becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerRounding {
    Up,
    Down,
    /// The nearer; half way is up.
    Nearest,
}

/// How the bits of a float are laid out: sign, exponent, mantissa.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    exponent_bits: u32,
    mantissa_bits: u32,
    bias: i32,
    specials: Specials,
}

/// Which bits mean no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Specials {
    /// All ones in the exponent: infinities and NaN.
    Ieee,
    /// All ones but for the sign is NaN; there are no infinities.
    AllOnes,
    /// The bits of -0 are NaN; there are neither infinities nor a -0.
    NegativeZero,
    /// Every code is a finite number; NaN becomes 0.
    None,
    /// No sign, no zero, no infinities: powers of two alone, and all ones is NaN.
    Powers,
}

const fn format(exponent_bits: u32, mantissa_bits: u32, bias: i32, specials: Specials) -> Format {
    Format { exponent_bits, mantissa_bits, bias, specials }
}

impl Format {
    const E4M3FN: Format = format(4, 3, 7, Specials::AllOnes);
    const E4M3FNUZ: Format = format(4, 3, 8, Specials::NegativeZero);
    const E5M2: Format = format(5, 2, 15, Specials::Ieee);
    const E5M2FNUZ: Format = format(5, 2, 16, Specials::NegativeZero);
    const E8M0: Format = format(8, 0, 127, Specials::Powers);
    const E2M3: Format = format(2, 3, 1, Specials::None);
    const E3M2: Format = format(3, 2, 3, Specials::None);
    const E2M1: Format = format(2, 1, 1, Specials::None);

    /// Of one element in a file.
    const fn bits(self) -> u32 {
        match self.specials {
            Specials::Powers => self.exponent_bits,
            _ => 1 + self.exponent_bits + self.mantissa_bits,
        }
    }

    /// The code of the sign.
    fn sign(self) -> u8 {
        1 << (self.exponent_bits + self.mantissa_bits)
    }

    /// The code of the largest finite number.
    fn largest(self) -> u8 {
        let codes = 1_u16 << (self.exponent_bits + self.mantissa_bits);
        let n_special = match self.specials {
            Specials::Ieee => 1 << self.mantissa_bits,
            Specials::AllOnes | Specials::Powers => 1,
            Specials::NegativeZero | Specials::None => 0,
        };
        (codes - n_special - 1) as u8
    }

    /// Exact.
    fn decode(self, bits: u8) -> f32 {
        if self.specials == Specials::Powers {
            let power = power_of_two(i32::from(bits) - self.bias) as f32;
            return if bits <= self.largest() { power } else { f32::NAN };
        }
        let code = bits & (self.sign() - 1);
        let is_negative = bits & self.sign() != 0;
        let is_nan = match self.specials {
            Specials::NegativeZero => is_negative && code == 0,
            Specials::Ieee => self.largest() + 1 < code,
            _ => self.largest() < code,
        };
        let exponent = i32::from(code >> self.mantissa_bits);
        let mantissa = code & ((1 << self.mantissa_bits) - 1);
        let implied = if exponent == 0 { 0 } else { 1 << self.mantissa_bits };
        let unit = exponent.max(1) - self.bias - self.mantissa_bits as i32;
        let magnitude = match code {
            _ if is_nan => f32::NAN,
            _ if self.largest() < code => f32::INFINITY,
            _ => (f64::from(mantissa | implied) * power_of_two(unit)) as f32,
        };
        if is_negative { -magnitude } else { magnitude }
    }

    /// Rounded once.
    fn encode(self, x: f64, rounding: Rounding) -> u8 {
        if self.specials == Specials::Powers {
            return self.encode_power(x, rounding);
        }
        let sign = if x.is_sign_negative() { self.sign() } else { 0 };
        if x.is_nan() {
            return match self.specials {
                Specials::None | Specials::Powers => 0,
                Specials::NegativeZero => self.sign(),
                Specials::AllOnes => sign | (self.largest() + 1),
                Specials::Ieee => sign | (self.sign() - 1),
            };
        }
        let code = self.round_magnitude(x.abs());
        let can_saturate = rounding.saturate || self.specials == Specials::None;
        match (self.specials, code.filter(|&code| code <= self.largest())) {
            (Specials::NegativeZero, Some(0)) => 0,
            (_, Some(code)) => sign | code,
            (_, None) if can_saturate => sign | self.largest(),
            (Specials::NegativeZero, None) => self.sign(),
            // The infinity of `Ieee`, the NaN of `AllOnes`.
            (_, None) => sign | (self.largest() + 1),
        }
    }

    /// The code of the nearest number if the exponents went on forever; `None` if it is far too large.
    ///
    /// Codes count numbers in ascending order, so a mantissa that is rounded up to the next power of
    /// two carries into the exponent by itself.
    fn round_magnitude(self, x: f64) -> Option<u8> {
        let lowest = 1 - self.bias;
        let exponent = exponent(x).max(lowest);
        if 64 <= exponent {
            return None;
        }
        let unit = power_of_two(exponent - self.mantissa_bits as i32);
        let steps = (x / unit).round_ties_even() as i32;
        u8::try_from(((exponent - lowest) << self.mantissa_bits) + steps).ok()
    }

    fn encode_power(self, x: f64, rounding: Rounding) -> u8 {
        let nan = self.largest() + 1;
        let (lowest, highest) = (-self.bias, i32::from(self.largest()) - self.bias);
        if x.is_nan() {
            return nan;
        }
        if x < power_of_two(lowest) {
            return if rounding.saturate { 0 } else { nan };
        }
        if power_of_two(highest) < x {
            return if rounding.saturate { self.largest() } else { nan };
        }
        let below = exponent(x);
        let fraction = x / power_of_two(below);
        let is_up = match rounding.power {
            PowerRounding::Up => 1. < fraction,
            PowerRounding::Down => false,
            PowerRounding::Nearest => 1.5 <= fraction,
        };
        u8::try_from(below - lowest + i32::from(is_up)).unwrap_or(nan)
    }
}

/// Of a normal `f64`, for exponents far from its ends.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

/// `floor(log2(x))` of a positive `x`; -1023 for 0 and what is subnormal, 1024 for infinity.
fn exponent(x: f64) -> i32 {
    ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023
}

macro_rules! integers {
    ($($(#[$doc:meta])* $name:ident: $bits:literal bits, $sign_shift:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name(u8);

        impl $name {
            pub const BITS: u32 = $bits;

            /// The low bits of a number.
            pub fn low_bits(x: i64) -> $name {
                $name(x as u8 & ((1 << $bits) - 1))
            }

            pub fn get(self) -> i8 {
                // A sign, if there is one, is spread over the byte.
                ((self.0 << $sign_shift) as i8) >> $sign_shift
            }
        }

        impl Small for $name {
            fn from_bits(bits: u8) -> $name { $name::low_bits(bits.into()) }
            fn to_bits(self) -> u8 { self.0 }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.get().fmt(f) }
        }
    )*};
}

integers! {
    /// -8 to 7.
    I4: 4 bits, 4;
    /// 0 to 15.
    U4: 4 bits, 0;
    /// -2 to 1.
    I2: 2 bits, 6;
    /// 0 to 3.
    U2: 2 bits, 0;
}

macro_rules! floats {
    ($($(#[$doc:meta])* $name:ident: $format:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Default)]
        pub struct $name(u8);

        impl $name {
            pub const BITS: u32 = Format::$format.bits();

            /// Exact.
            pub fn to_f32(self) -> f32 {
                Format::$format.decode(self.0)
            }

            /// Rounded once.
            pub fn from_f64(x: f64, rounding: Rounding) -> $name {
                $name(Format::$format.encode(x, rounding))
            }
        }

        impl Small for $name {
            fn from_bits(bits: u8) -> $name { $name(bits & (u8::MAX >> (8 - $name::BITS))) }
            fn to_bits(self) -> u8 { self.0 }
        }

        /// As numbers: NaN is not equal to NaN, and -0 is 0.
        impl PartialEq for $name {
            fn eq(&self, other: &$name) -> bool { self.to_f32() == other.to_f32() }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.to_f32().fmt(f) }
        }
    )*};
}

floats! {
    /// To 448, with NaN.
    F8E4M3FN: E4M3FN;
    /// To 240, with NaN, without -0.
    F8E4M3FNUZ: E4M3FNUZ;
    /// To 57344, with infinities and NaN.
    F8E5M2: E5M2;
    /// To 57344, with NaN, without -0.
    F8E5M2FNUZ: E5M2FNUZ;
    /// Powers of two from 2^-127 to 2^127, and NaN.
    F8E8M0: E8M0;
    /// To 7.5.
    F6E2M3: E2M3;
    /// To 28.
    F6E3M2: E3M2;
    /// To 6: 0, 0.5, 1, 1.5, 2, 3, 4, 6.
    F4E2M1: E2M1;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<T: Small>(to_f32: impl Fn(T) -> f32, codes: &[u8]) -> Vec<f32> {
        codes.iter().map(|&code| to_f32(T::from_bits(code))).collect()
    }

    #[test]
    fn codes_and_their_values() {
        let nan = f32::NAN.to_bits();
        let same = |found: Vec<f32>, expected: &[f32]| {
            let bits = |x: &f32| if x.is_nan() { nan } else { x.to_bits() };
            let all = |x: &[f32]| x.iter().map(bits).collect::<Vec<_>>();
            assert_eq!(all(&found), all(expected), "{found:?}");
        };
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let smallest = 1. / 512.;
        let found = values(F8E4M3FN::to_f32, &[0, 0x80, 1, 8, 0x38, 0x7e, 0xfe, 0x7f, 0xff]);
        same(found, &[0., -0., smallest, 0.015625, 1., 448., -448., nan, nan]);
        let found = values(F8E4M3FNUZ::to_f32, &[0, 0x80, 1, 0x40, 0x7f, 0xff]);
        same(found, &[0., nan, smallest / 2., 1., 240., -240.]);
        let found = values(F8E5M2::to_f32, &[1, 0x3c, 0x7b, 0x7c, 0xfc, 0x7d, 0xff]);
        same(found, &[1. / 65536., 1., 57344., inf, -inf, nan, nan]);
        let found = values(F8E5M2FNUZ::to_f32, &[1, 0x40, 0x7f, 0x80]);
        same(found, &[1. / 131072., 1., 57344., nan]);
        let found = values(F8E8M0::to_f32, &[0, 126, 127, 254, 255]);
        same(found, &[f32::MIN_POSITIVE / 2., 0.5, 1., 1.701_411_8e38, nan]);
        let found = values(F6E2M3::to_f32, &[1, 8, 0x1f, 0x3f, 0x20]);
        same(found, &[0.125, 1., 7.5, -7.5, -0.]);
        same(values(F6E3M2::to_f32, &[1, 0xc, 0x1f, 0x3f]), &[0.0625, 1., 28., -28.]);
        let found = values(F4E2M1::to_f32, &[0, 1, 2, 3, 4, 5, 6, 7, 0xf]);
        same(found, &[0., 0.5, 1., 1.5, 2., 3., 4., 6., -6.]);
    }

    #[test]
    fn every_number_is_itself() {
        macro_rules! check {
            ($($ty:ident)*) => {$(
                for bits in 0..=u8::MAX >> (8 - $ty::BITS) {
                    let number = $ty::from_bits(bits);
                    let x = f64::from(number.to_f32());
                    if !x.is_nan() {
                        for saturate in [false, true] {
                            let rounding = Rounding { saturate, ..Rounding::DEFAULT };
                            let back = $ty::from_f64(x, rounding);
                            let is_held = !saturate || x.is_finite();
                            assert!(!is_held || back.to_bits() == bits, "{number:?}");
                        }
                    }
                }
            )*};
        }
        check!(F8E4M3FN F8E4M3FNUZ F8E5M2 F8E5M2FNUZ F8E8M0 F6E2M3 F6E3M2 F4E2M1);
    }

    #[test]
    fn halves_go_to_even() {
        let cases = [
            (0.25, 0.),
            (0.250_001, 0.5),
            (0.75, 1.),
            (1.75, 2.),
            (2.5, 2.),
            (3.5, 4.),
            (5., 4.),
            (5.1, 6.),
            (7., 6.),
            (f64::INFINITY, 6.),
            (f64::NAN, 0.),
        ];
        for (x, expected) in cases {
            let round = |x| F4E2M1::from_f64(x, Rounding::DEFAULT).to_f32();
            assert_eq!((round(x), round(-x)), (expected, -expected), "{x}");
        }
        // Rounding through f32 would end on the tie, and at 1.
        let above = 1.0625 + 1e-12;
        assert_eq!(F8E4M3FN::from_f64(above, Rounding::DEFAULT).to_f32(), 1.125);
        assert_eq!(F8E5M2::from_f64(1e-300, Rounding::DEFAULT).to_bits(), 0);
    }

    #[test]
    fn what_is_out_of_range() {
        let bits = |x, saturate| {
            let rounding = Rounding { saturate, ..Rounding::DEFAULT };
            let x: f64 = x;
            [
                F8E4M3FN::from_f64(x, rounding).to_bits(),
                F8E4M3FNUZ::from_f64(x, rounding).to_bits(),
                F8E5M2::from_f64(x, rounding).to_bits(),
                F8E5M2FNUZ::from_f64(x, rounding).to_bits(),
            ]
        };
        assert_eq!(bits(-0., true), [0x80, 0, 0x80, 0]);
        assert_eq!(bits(f64::NAN.copysign(-1.), true), [0xff, 0x80, 0xff, 0x80]);
        for x in [f64::INFINITY, 1e6, 1e300] {
            assert_eq!(bits(x, true), [0x7e, 0x7f, 0x7b, 0x7f]);
            assert_eq!(bits(-x, true), [0xfe, 0xff, 0xfb, 0xff]);
            assert_eq!(bits(x, false), [0x7f, 0x80, 0x7c, 0x80]);
            assert_eq!(bits(-x, false), [0xff, 0x80, 0xfc, 0x80]);
        }
        // What rounds to the largest is not out of range.
        let largest = |x| F8E4M3FN::from_f64(x, Rounding { saturate: false, ..Rounding::DEFAULT });
        assert_eq!(largest(464.).to_f32(), 448.);
        assert!(largest(464.001).to_f32().is_nan());
    }

    #[test]
    fn powers_of_two() {
        use PowerRounding::{Down, Nearest, Up};
        let code = |x, saturate, power| F8E8M0::from_f64(x, Rounding { saturate, power }).to_bits();
        for (x, up, down, nearest) in
            [(1., 127, 127, 127), (1.1, 128, 127, 127), (1.5, 128, 127, 128), (0.2, 125, 124, 125)]
        {
            assert_eq!([Up, Down, Nearest].map(|power| code(x, true, power)), [up, down, nearest]);
        }
        let too_large = 1.000_1 * power_of_two(127);
        for (x, saturated) in
            [(0., 0), (1e-40, 0), (-1., 0), (too_large, 254), (f64::INFINITY, 254)]
        {
            assert_eq!((code(x, true, Up), code(x, false, Nearest)), (saturated, 255), "{x}");
        }
        assert_eq!(code(f64::NAN, true, Up), 255);
    }

    #[test]
    fn integers() {
        let i4: Vec<i8> = [-9, -8, -1, 7, 8, 15].map(|x| I4::low_bits(x).get()).to_vec();
        assert_eq!(i4, [7, -8, -1, 7, -8, -1]);
        assert_eq!([-1, 15, 16].map(|x| U4::low_bits(x).get()), [15, 15, 0]);
        assert_eq!([-3, -2, 1, 2].map(|x| I2::low_bits(x).get()), [1, -2, 1, -2]);
        assert_eq!([-1, 3, 4].map(|x| U2::low_bits(x).get()), [3, 3, 0]);
        assert_eq!(format!("{:?} {:?}", I4::low_bits(-1), F4E2M1::from_bits(1)), "-1 0.5");
    }
}
