//! Rust types for the elements of every [`DType`], and code that is the same for all: [`dispatch!`](crate::dispatch).

use std::fmt;

use half::{bf16, f16};
use ndarray::{ArcArray, IxDyn};

use crate::tensor::{
    DType, F4E2M1, F6E2M3, F6E3M2, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F8E8M0, I2, I4, U2, U4,
};

/// A Rust type that a tensor's elements may have.
pub trait Element: Copy + PartialEq + fmt::Debug + Send + Sync + Default + 'static {
    const DTYPE: DType;
    #[doc(hidden)]
    fn wrap(array: ArcArray<Self, IxDyn>) -> Data;
    #[doc(hidden)]
    fn unwrap(data: &Data) -> Option<&ArcArray<Self, IxDyn>>;
    #[doc(hidden)]
    fn unwrap_mut(data: &mut Data) -> Option<&mut ArcArray<Self, IxDyn>>;
}

macro_rules! elements {
    ($($variant:ident: $ty:ty),* $(,)?) => {
        /// The storage of a [`Tensor`]; only [`dispatch!`](crate::dispatch) looks at it.
        #[doc(hidden)]
        #[derive(Debug, Clone)]
        pub enum Data { $($variant(ArcArray<$ty, IxDyn>)),* }

        $(impl Element for $ty {
            const DTYPE: DType = DType::$variant;
            fn wrap(array: ArcArray<Self, IxDyn>) -> Data { Data::$variant(array) }
            fn unwrap(data: &Data) -> Option<&ArcArray<Self, IxDyn>> {
                if let Data::$variant(array) = data { Some(array) } else { None }
            }
            fn unwrap_mut(data: &mut Data) -> Option<&mut ArcArray<Self, IxDyn>> {
                if let Data::$variant(array) = data { Some(array) } else { None }
            }
        })*

        impl DType {
            /// Every one of them.
            pub const ALL: &[DType] = &[$(DType::$variant),*];
        }

        impl Data {
            pub(super) fn dtype(&self) -> DType { match self { $(Data::$variant(_) => DType::$variant),* } }
            pub(super) fn shape(&self) -> &[usize] { match self { $(Data::$variant(a) => a.shape()),* } }
        }
    };
}

elements! {
    F32: f32, F64: f64, F16: f16, BF16: bf16,
    I8: i8, I16: i16, I32: i32, I64: i64,
    U8: u8, U16: u16, U32: u32, U64: u64, Bool: bool,
    I4: I4, U4: U4, I2: I2, U2: U2,
    F8E4M3FN: F8E4M3FN, F8E4M3FNUZ: F8E4M3FNUZ, F8E5M2: F8E5M2, F8E5M2FNUZ: F8E5M2FNUZ,
    F8E8M0: F8E8M0, F6E2M3: F6E2M3, F6E3M2: F6E3M2, F4E2M1: F4E2M1,
}

/// Runs an expression with the type name `$t` bound to the Rust type of a [`DType`].
///
/// `dispatch!(x.dtype(), T => Tensor::new(x.view::<T>().to_owned()))`; a list restricts the types
/// and names what happens for the others: `dispatch!(d, T in [F32 f32, I64 i64] => a, _ => b)`.
#[macro_export]
macro_rules! dispatch {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            $crate::tensor::DType::F32 => { type $t = f32; $body }
            $crate::tensor::DType::F64 => { type $t = f64; $body }
            $crate::tensor::DType::F16 => { type $t = ::half::f16; $body }
            $crate::tensor::DType::BF16 => { type $t = ::half::bf16; $body }
            $crate::tensor::DType::I8 => { type $t = i8; $body }
            $crate::tensor::DType::I16 => { type $t = i16; $body }
            $crate::tensor::DType::I32 => { type $t = i32; $body }
            $crate::tensor::DType::I64 => { type $t = i64; $body }
            $crate::tensor::DType::U8 => { type $t = u8; $body }
            $crate::tensor::DType::U16 => { type $t = u16; $body }
            $crate::tensor::DType::U32 => { type $t = u32; $body }
            $crate::tensor::DType::U64 => { type $t = u64; $body }
            $crate::tensor::DType::Bool => { type $t = bool; $body }
            $crate::tensor::DType::I4 => { type $t = $crate::tensor::I4; $body }
            $crate::tensor::DType::U4 => { type $t = $crate::tensor::U4; $body }
            $crate::tensor::DType::I2 => { type $t = $crate::tensor::I2; $body }
            $crate::tensor::DType::U2 => { type $t = $crate::tensor::U2; $body }
            $crate::tensor::DType::F8E4M3FN => { type $t = $crate::tensor::F8E4M3FN; $body }
            $crate::tensor::DType::F8E4M3FNUZ => { type $t = $crate::tensor::F8E4M3FNUZ; $body }
            $crate::tensor::DType::F8E5M2 => { type $t = $crate::tensor::F8E5M2; $body }
            $crate::tensor::DType::F8E5M2FNUZ => { type $t = $crate::tensor::F8E5M2FNUZ; $body }
            $crate::tensor::DType::F8E8M0 => { type $t = $crate::tensor::F8E8M0; $body }
            $crate::tensor::DType::F6E2M3 => { type $t = $crate::tensor::F6E2M3; $body }
            $crate::tensor::DType::F6E3M2 => { type $t = $crate::tensor::F6E3M2; $body }
            $crate::tensor::DType::F4E2M1 => { type $t = $crate::tensor::F4E2M1; $body }
        }
    };
    ($dtype:expr, $t:ident in [$($variant:ident $ty:ty),* $(,)?] => $body:expr, _ => $other:expr) => {
        match $dtype {
            $($crate::tensor::DType::$variant => { type $t = $ty; $body })*
            #[allow(unreachable_patterns)]
            _ => $other,
        }
    };
}

/// As [`dispatch!`](crate::dispatch) over the [`Small`](crate::tensor::Small) types, with what happens for the others.
#[macro_export]
macro_rules! dispatch_small {
    ($dtype:expr, $t:ident => $body:expr, _ => $other:expr) => {
        $crate::dispatch!($dtype, $t in [
            I4 $crate::tensor::I4, U4 $crate::tensor::U4,
            I2 $crate::tensor::I2, U2 $crate::tensor::U2,
            F8E4M3FN $crate::tensor::F8E4M3FN, F8E4M3FNUZ $crate::tensor::F8E4M3FNUZ,
            F8E5M2 $crate::tensor::F8E5M2, F8E5M2FNUZ $crate::tensor::F8E5M2FNUZ,
            F8E8M0 $crate::tensor::F8E8M0, F6E2M3 $crate::tensor::F6E2M3,
            F6E3M2 $crate::tensor::F6E3M2, F4E2M1 $crate::tensor::F4E2M1,
        ] => $body, _ => $other)
    };
}

/// As [`dispatch!`](crate::dispatch) over the floats of at most 8 bits, which have `to_f32` and
/// `from_f64`, with what happens for the others.
#[macro_export]
macro_rules! dispatch_small_floats {
    ($dtype:expr, $t:ident => $body:expr, _ => $other:expr) => {
        $crate::dispatch!($dtype, $t in [
            F8E4M3FN $crate::tensor::F8E4M3FN, F8E4M3FNUZ $crate::tensor::F8E4M3FNUZ,
            F8E5M2 $crate::tensor::F8E5M2, F8E5M2FNUZ $crate::tensor::F8E5M2FNUZ,
            F8E8M0 $crate::tensor::F8E8M0, F6E2M3 $crate::tensor::F6E2M3,
            F6E3M2 $crate::tensor::F6E3M2, F4E2M1 $crate::tensor::F4E2M1,
        ] => $body, _ => $other)
    };
}
