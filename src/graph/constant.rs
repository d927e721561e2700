//! [`Constant`]: a weight or another fixed tensor, decoded when it is first read.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::tensor::{Tensor, TensorType};

/// A tensor that may still lie undecoded in a mapped file; its type is known at once.
#[derive(Clone)]
pub struct Constant {
    ty: TensorType,
    lazy: Arc<Lazy>,
}

struct Lazy {
    tensor: OnceLock<Tensor>,
    decode: Option<Box<dyn Fn() -> Tensor + Send + Sync>>,
}

impl Constant {
    /// A constant that `decode` makes on first use; it must give a tensor of type `ty`.
    pub fn lazy(ty: TensorType, decode: impl Fn() -> Tensor + Send + Sync + 'static) -> Constant {
        let lazy = Lazy { tensor: OnceLock::new(), decode: Some(Box::new(decode)) };
        Constant { ty, lazy: Arc::new(lazy) }
    }

    pub fn ty(&self) -> &TensorType {
        &self.ty
    }

    /// Whether it is a clone of another, not only equal.
    pub fn is_same(&self, other: &Constant) -> bool {
        Arc::ptr_eq(&self.lazy, &other.lazy)
    }

    pub fn tensor(&self) -> &Tensor {
        self.lazy.tensor.get_or_init(|| {
            let decode = self.lazy.decode.as_ref().expect("undecoded constants can be decoded");
            decode()
        })
    }
}

impl From<Tensor> for Constant {
    fn from(tensor: Tensor) -> Constant {
        let ty = tensor.ty();
        Constant { ty, lazy: Arc::new(Lazy { tensor: OnceLock::from(tensor), decode: None }) }
    }
}

impl fmt::Debug for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Constant({})", self.ty)
    }
}
