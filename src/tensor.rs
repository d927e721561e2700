//! [`Tensor`]: a value of a network, and [`TensorType`]: its dtype and shape.
//!
//! Invariant: elements are always contiguous in row-major order, so [`Tensor::slice`] never fails
//! for layout. Storage is shared: a clone costs a reference count, a write copies only if shared.

mod small;

use std::fmt;

use half::{bf16, f16};
use ndarray::{ArcArray, ArrayD, ArrayViewD, IxDyn};

pub use small::{
    F4E2M1, F6E2M3, F6E3M2, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F8E8M0, I2, I4,
    PowerRounding, Rounding, Small, U2, U4,
};

/// The element type of a tensor; names as in ONNX `TensorProto.DataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    F32,
    F64,
    F16,
    BF16,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Bool,
    I4,
    U4,
    I2,
    U2,
    F8E4M3FN,
    F8E4M3FNUZ,
    F8E5M2,
    F8E5M2FNUZ,
    F8E8M0,
    F6E2M3,
    F6E3M2,
    F4E2M1,
}

impl DType {
    /// The name ONNX uses in `tensor(float)` and the like.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "float32",
            DType::F64 => "float64",
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            DType::I8 => "int8",
            DType::I16 => "int16",
            DType::I32 => "int32",
            DType::I64 => "int64",
            DType::U8 => "uint8",
            DType::U16 => "uint16",
            DType::U32 => "uint32",
            DType::U64 => "uint64",
            DType::Bool => "bool",
            DType::I4 => "int4",
            DType::U4 => "uint4",
            DType::I2 => "int2",
            DType::U2 => "uint2",
            DType::F8E4M3FN => "float8e4m3fn",
            DType::F8E4M3FNUZ => "float8e4m3fnuz",
            DType::F8E5M2 => "float8e5m2",
            DType::F8E5M2FNUZ => "float8e5m2fnuz",
            DType::F8E8M0 => "float8e8m0",
            DType::F6E2M3 => "float6e2m3",
            DType::F6E3M2 => "float6e3m2",
            DType::F4E2M1 => "float4e2m1",
        }
    }

    /// Size of one element in memory, in bytes.
    pub fn size_bytes(self) -> usize {
        match self {
            DType::F16 | DType::BF16 | DType::I16 | DType::U16 => 2,
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::F64 | DType::I64 | DType::U64 => 8,
            _ => 1,
        }
    }

    /// Size of one element in a file, in bits.
    pub fn packed_bits(self) -> usize {
        match self {
            DType::I2 | DType::U2 => 2,
            DType::I4 | DType::U4 | DType::F4E2M1 => 4,
            DType::F6E2M3 | DType::F6E3M2 => 6,
            _ => 8 * self.size_bytes(),
        }
    }

    /// A float type that operators calculate with; the small ones are none.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64 | DType::F16 | DType::BF16)
    }

    /// A [`Small`] type: below 8 bits, or an 8-bit float.
    pub fn is_small(self) -> bool {
        self.is_small_float() || matches!(self, DType::I4 | DType::U4 | DType::I2 | DType::U2)
    }

    /// A float of at most 8 bits.
    pub fn is_small_float(self) -> bool {
        use DType::*;
        matches!(
            self,
            F8E4M3FN | F8E4M3FNUZ | F8E5M2 | F8E5M2FNUZ | F8E8M0 | F6E2M3 | F6E3M2 | F4E2M1
        )
    }

    /// A type that operators calculate with: neither bool nor small.
    pub fn is_number(self) -> bool {
        self != DType::Bool && !self.is_small()
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Places that an empty array may have along its other axes. No data stands behind them, but what works
/// along an axis may take memory for each.
pub const MOST_PLACES_OF_EMPTY: usize = 1 << 28;

/// What is known of a tensor without its values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TensorType {
    pub dtype: DType,
    pub shape: Vec<usize>,
}

impl TensorType {
    pub fn new(dtype: DType, shape: &[usize]) -> TensorType {
        TensorType { dtype, shape: shape.to_vec() }
    }

    pub fn f32(shape: &[usize]) -> TensorType {
        TensorType::new(DType::F32, shape)
    }

    /// Whether there can be an array of it: strides are computed from the dimensions that are not 0, and
    /// have to fit in `isize`; an empty one has no more than [`MOST_PLACES_OF_EMPTY`].
    pub fn is_addressable(&self) -> bool {
        isize::try_from(self.span_bytes()).is_ok()
            && !(self.is_empty() && MOST_PLACES_OF_EMPTY < self.span())
    }

    /// Number of elements with every dimension that is 0 counted as 1, as what goes along the others of
    /// an empty array may still need memory for each place; saturates instead of overflowing.
    pub fn span(&self) -> usize {
        self.shape.iter().fold(1, |product: usize, &dim| product.saturating_mul(dim.max(1)))
    }

    /// The same in bytes.
    pub fn span_bytes(&self) -> usize {
        self.span().saturating_mul(self.dtype.size_bytes())
    }

    /// Number of elements; saturates instead of overflowing.
    pub fn len(&self) -> usize {
        self.shape.iter().fold(1, |product: usize, &dim| product.saturating_mul(dim))
    }

    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// In memory.
    pub fn size_bytes(&self) -> usize {
        self.len().saturating_mul(self.dtype.size_bytes())
    }

    /// In a file, where elements of fewer than 8 bits lie side by side.
    pub fn packed_bytes(&self) -> usize {
        match self.dtype.packed_bits() {
            bits @ (2 | 4) => self.len().div_ceil(8 / bits),
            6 => (self.len() / 4).saturating_mul(3) + self.len() % 4,
            _ => self.size_bytes(),
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.dtype, self.shape)
    }
}

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
            fn dtype(&self) -> DType { match self { $(Data::$variant(_) => DType::$variant),* } }
            fn shape(&self) -> &[usize] { match self { $(Data::$variant(a) => a.shape()),* } }
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

/// As [`dispatch!`](crate::dispatch) over the [`Small`] types, with what happens for the others.
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

/// An n-dimensional array of one of the [`DType`]s; cheap to clone.
#[derive(Debug, Clone)]
pub struct Tensor {
    data: Data,
}

impl Tensor {
    /// Takes an array of any layout; it becomes row-major.
    pub fn new<T: Element>(array: ArrayD<T>) -> Tensor {
        let array = if array.is_standard_layout() {
            array
        } else {
            array.as_standard_layout().into_owned()
        };
        Tensor { data: T::wrap(array.into_shared()) }
    }

    /// From elements in row-major order.
    ///
    /// # Panics
    /// If the number of elements is not the product of `shape`.
    pub fn from_vec<T: Element>(shape: &[usize], elements: Vec<T>) -> Tensor {
        let array = ArrayD::from_shape_vec(IxDyn(shape), elements)
            .expect("the caller counted the elements");
        Tensor { data: T::wrap(array.into_shared()) }
    }

    /// A tensor of rank 0.
    pub fn scalar<T: Element>(value: T) -> Tensor {
        Tensor::from_vec(&[], vec![value])
    }

    /// Panics if the type has elements.
    pub fn empty(ty: &TensorType) -> Tensor {
        crate::dispatch!(ty.dtype, T => Tensor::from_vec::<T>(&ty.shape, Vec::new()))
    }

    pub fn full<T: Element>(shape: &[usize], value: T) -> Tensor {
        Tensor::new(ArrayD::from_elem(IxDyn(shape), value))
    }

    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    pub fn shape(&self) -> &[usize] {
        self.data.shape()
    }

    pub fn rank(&self) -> usize {
        self.shape().len()
    }

    pub fn len(&self) -> usize {
        self.shape().iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn ty(&self) -> TensorType {
        TensorType { dtype: self.dtype(), shape: self.shape().to_vec() }
    }

    /// In memory.
    pub fn size_bytes(&self) -> usize {
        self.len() * self.dtype().size_bytes()
    }

    /// What it takes in memory: some bytes however few elements it has.
    pub fn held_bytes(&self) -> usize {
        self.size_bytes().saturating_add(size_of::<Tensor>())
    }

    /// The elements, if they are of type `T`.
    pub fn try_slice<T: Element>(&self) -> Option<&[T]> {
        let array = T::unwrap(&self.data)?;
        Some(array.as_slice().expect("tensors are row-major"))
    }

    /// The elements in row-major order.
    ///
    /// # Panics
    /// If the elements are not of type `T`.
    #[track_caller]
    pub fn slice<T: Element>(&self) -> &[T] {
        let Some(slice) = self.try_slice() else { wrong_dtype(T::DTYPE, self.dtype()) };
        slice
    }

    /// The elements for writing; copied first if another tensor shares them.
    ///
    /// # Panics
    /// If the elements are not of type `T`.
    #[track_caller]
    pub fn slice_mut<T: Element>(&mut self) -> &mut [T] {
        let found = self.dtype();
        let Some(array) = T::unwrap_mut(&mut self.data) else { wrong_dtype(T::DTYPE, found) };
        array.as_slice_mut().expect("tensors are row-major")
    }

    /// # Panics
    /// If the elements are not of type `T`.
    #[track_caller]
    pub fn view<T: Element>(&self) -> ArrayViewD<'_, T> {
        let Some(array) = T::unwrap(&self.data) else { wrong_dtype(T::DTYPE, self.dtype()) };
        array.view()
    }

    /// The same elements with another shape.
    ///
    /// # Panics
    /// If the number of elements differs.
    pub fn reshaped(&self, shape: &[usize]) -> Tensor {
        dispatch!(self.dtype(), T => {
            let array = T::unwrap(&self.data).expect("dispatched on its dtype").clone();
            let array = array.into_shape_with_order(IxDyn(shape)).expect("as many elements");
            Tensor { data: T::wrap(array) }
        })
    }

    /// Integer elements widened to `i64`; `None` for floats and bool.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        macro_rules! widen {
            ($($variant:ident $ty:ty),*) => {
                match self.dtype() {
                    $(DType::$variant => Some(self.slice::<$ty>().iter().map(|&x| x as i64).collect()),)*
                    DType::I4 => Some(self.slice::<I4>().iter().map(|x| x.get().into()).collect()),
                    DType::U4 => Some(self.slice::<U4>().iter().map(|x| x.get().into()).collect()),
                    DType::I2 => Some(self.slice::<I2>().iter().map(|x| x.get().into()).collect()),
                    DType::U2 => Some(self.slice::<U2>().iter().map(|x| x.get().into()).collect()),
                    _ => None,
                }
            };
        }
        widen!(I8 i8, I16 i16, I32 i32, I64 i64, U8 u8, U16 u16, U32 u32, U64 u64)
    }

    /// Elements of types that operators calculate with, `is_float`, as `f32`, rounded to nearest from
    /// `f64`; `None` for other types.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        match self.dtype() {
            DType::F32 => Some(self.slice::<f32>().to_vec()),
            DType::F64 => Some(self.slice::<f64>().iter().map(|&x| x as f32).collect()),
            DType::F16 => Some(self.slice::<f16>().iter().map(|x| x.to_f32()).collect()),
            DType::BF16 => Some(self.slice::<bf16>().iter().map(|x| x.to_f32()).collect()),
            _ => None,
        }
    }

    /// Elements of the types that operators calculate with as `f64`, exact but for integers beyond 2^53;
    /// `None` for others.
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        let integers = || Some(self.to_i64()?.into_iter().map(|x| x as f64).collect());
        match self.dtype() {
            DType::F64 => Some(self.slice::<f64>().to_vec()),
            DType::U64 => Some(self.slice::<u64>().iter().map(|&x| x as f64).collect()),
            dtype if dtype.is_float() => Some(self.to_f32()?.into_iter().map(f64::from).collect()),
            _ => integers(),
        }
    }
}

/// Equal type, shape and elements; NaN is not equal to NaN.
impl PartialEq for Tensor {
    fn eq(&self, other: &Tensor) -> bool {
        self.ty() == other.ty()
            && dispatch!(self.dtype(), T => self.slice::<T>() == other.slice::<T>())
    }
}

impl<T: Element, D: ndarray::Dimension> From<ndarray::Array<T, D>> for Tensor {
    fn from(array: ndarray::Array<T, D>) -> Tensor {
        Tensor::new(array.into_dyn())
    }
}

#[track_caller]
fn wrong_dtype(expected: DType, found: DType) -> ! {
    panic!("a tensor of {found} was read as {expected}: `infer` let it pass")
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn any_layout_becomes_row_major() {
        let x = array![[1_f32, 2., 3.], [4., 5., 6.]];
        let t = Tensor::new(x.reversed_axes().into_dyn());
        assert_eq!(t.shape(), [3, 2]);
        assert_eq!(t.slice::<f32>(), [1., 4., 2., 5., 3., 6.]);
    }

    #[test]
    fn writing_leaves_clones_alone() {
        let a = Tensor::from_vec(&[2], vec![1_i64, 2]);
        let mut b = a.clone();
        b.slice_mut::<i64>()[0] = 9;
        assert_eq!(a.slice::<i64>(), [1, 2]);
        assert_eq!(b.slice::<i64>(), [9, 2]);
    }

    #[test]
    fn widening() {
        assert_eq!(Tensor::from_vec(&[2], vec![-1_i8, 7]).to_i64(), Some(vec![-1, 7]));
        assert_eq!(Tensor::scalar(1.5_f32).to_i64(), None);
        assert_eq!(
            Tensor::from_vec(&[2], [-8, 7].map(I4::low_bits).to_vec()).to_i64(),
            Some(vec![-8, 7])
        );
        assert_eq!(Tensor::scalar(1.5_f64).to_f32(), Some(vec![1.5]));
        assert_eq!(Tensor::scalar(0.1_f64).to_f64(), Some(vec![0.1]));
        assert_eq!(Tensor::scalar(0.5_f32).to_f64(), Some(vec![0.5]));
        assert_eq!(Tensor::scalar(u64::MAX).to_f64(), Some(vec![2_f64.powi(64)]));
        assert_eq!(Tensor::scalar(-3_i32).to_f64(), Some(vec![-3.]));
        assert_eq!(Tensor::scalar(true).to_f64(), None);
    }

    #[test]
    fn huge_shapes_do_not_overflow() {
        let ty = TensorType::f32(&[usize::MAX, 2]);
        assert_eq!(ty.size_bytes(), usize::MAX);
        assert!(!ty.is_addressable());
    }

    #[test]
    fn the_span_of_an_empty_array() {
        let ty = TensorType::f32(&[0, 1 << 50, 3]);
        assert_eq!((ty.size_bytes(), ty.span_bytes()), (0, 12 << 50));
        let is_addressable = |places: usize| TensorType::f32(&[places, 0]).is_addressable();
        let most = MOST_PLACES_OF_EMPTY;
        assert_eq!([most, most + 1, 1 << 62].map(is_addressable), [true, false, false]);
        assert!(TensorType::f32(&[most + 1]).is_addressable());
    }
}
