//! [`Tensor`]: a value of a network, and [`TensorType`]: its dtype and shape.
//!
//! Invariant: elements are always contiguous in row-major order, so [`Tensor::slice`] never fails
//! for layout. Storage is shared: a clone costs a reference count, a write copies only if shared.

mod dtype;
mod element;
mod small;
mod ty;

use half::{bf16, f16};
use ndarray::{ArrayD, ArrayViewD, IxDyn};

pub use dtype::DType;
pub use element::{Data, Element};
pub use small::{
    F4E2M1, F6E2M3, F6E3M2, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F8E8M0, I2, I4,
    PowerRounding, Rounding, Small, U2, U4,
};
pub use ty::{MOST_PLACES_OF_EMPTY, TensorType};

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
        crate::dispatch!(self.dtype(), T => {
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
            && crate::dispatch!(self.dtype(), T => self.slice::<T>() == other.slice::<T>())
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
}
