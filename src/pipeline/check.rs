//! Does a network give what it should? Compares with ONNX test data: folders of `input_0.pb`,
//! `output_0.pb`, ...
//!
//! The ONNX project's data store bfloat16 as the uint16 of its bits: where the network has a bfloat16, such
//! a tensor is read as one. These bits are cut off, not rounded, so a step of bfloat16 is allowed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use half::bf16;

use crate::exec::{Changes, Engine, Keep, RunError};
use crate::graph::{Graph, ValueId};
use crate::onnx::{PbError, read_pb};
use crate::tensor::{DType, Tensor, TensorType};
use crate::{dispatch, dispatch_small_floats};

/// Values are equal if `|found - expected| <= atol + rtol |expected|`; NaN equals NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    pub rtol: f64,
    pub atol: f64,
}

/// The largest relative distance of neighbors.
const BFLOAT16_STEP: f64 = 1. / 128.;

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },

    #[error(
        "nothing was compared: `{}` has no `output_0.pb`, and no folder `test_data_set_*` with one",
        path.display()
    )]
    Nothing { path: PathBuf },

    #[error("`{}` is missing, the tensor of input `{input}`", path.display())]
    MissingInput { path: PathBuf, input: String },

    #[error("`{}` is one output too many: the network has {expected}", path.display())]
    UnknownOutput { path: PathBuf, expected: usize },

    #[error(transparent)]
    Pb(PbError),

    #[error("the network cannot run on `{}`", path.display())]
    Run { path: PathBuf, source: RunError },
}

/// One output compared with its file.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The folder's name.
    pub set: String,
    pub output: String,
    pub difference: Difference,
}

/// What differs between two tensors.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    Type {
        found: TensorType,
        expected: TensorType,
    },
    Values {
        ty: TensorType,
        /// How many are not equal.
        bad: usize,
        /// The first of these.
        first: Option<Spot>,
        /// Where the difference is the largest, measured by what the tolerance allows there; `None`
        /// if all values are the same.
        worst: Option<Spot>,
    },
}

impl Difference {
    pub fn is_equal(&self) -> bool {
        matches!(self, Difference::Values { bad: 0, .. })
    }
}

/// Two values at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    pub index: Vec<usize>,
    pub found: String,
    pub expected: String,
}

/// Runs the network on every set of `dir`: itself, or its folders `test_data_set_*`.
pub fn check(
    graph: &Graph,
    engine: &dyn Engine,
    changes: &Changes<'_>,
    dir: &Path,
    tolerance: Tolerance,
) -> Result<Vec<Checked>, CheckError> {
    let mut checked = Vec::new();
    for set in sets(dir)? {
        let expected = numbered(&set, "output");
        if expected.is_empty() {
            continue;
        }
        let inputs = inputs(graph, &set)?;
        let values = engine.run(&inputs, changes, Keep::Outputs);
        let values = values.map_err(|source| CheckError::Run { path: set.clone(), source })?;
        for (position, path) in expected.into_iter().enumerate() {
            let (name, expected) = read_pb(&path).map_err(CheckError::Pb)?;
            let output = by_name_or_position(graph, graph.outputs(), &name, position);
            let n_outputs = graph.outputs().len();
            let output = output.ok_or(CheckError::UnknownOutput { path, expected: n_outputs })?;
            let found = values.get(output).expect("a pass gives all outputs");
            let (given, expected) = (expected.dtype(), bfloat16_from_bits(expected, found.dtype()));
            let tolerance = match expected.dtype() == given {
                true => tolerance,
                false => Tolerance { rtol: tolerance.rtol.max(BFLOAT16_STEP), ..tolerance },
            };
            checked.push(Checked {
                set: set.file_name().unwrap_or(set.as_os_str()).to_string_lossy().into_owned(),
                output: graph.value_name(output).to_owned(),
                difference: compare(found, &expected, tolerance),
            });
        }
    }
    if checked.is_empty() {
        return Err(CheckError::Nothing { path: dir.to_owned() });
    }
    Ok(checked)
}

fn sets(dir: &Path) -> Result<Vec<PathBuf>, CheckError> {
    let read = |source| CheckError::Read { path: dir.to_owned(), source };
    let mut sets = Vec::new();
    for entry in fs::read_dir(dir).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("test_data_set_") && path.is_dir() {
            sets.push(path);
        }
    }
    // `test_data_set_10` comes after `test_data_set_9`.
    sets.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    sets.insert(0, dir.to_owned());
    Ok(sets)
}

/// The files `KIND_0.pb`, `KIND_1.pb`, ... of a folder, as far as the numbers go on.
fn numbered(set: &Path, kind: &str) -> Vec<PathBuf> {
    let paths = (0..).map(|number| set.join(format!("{kind}_{number}.pb")));
    paths.take_while(|path| path.exists()).collect()
}

fn inputs(graph: &Graph, set: &Path) -> Result<Vec<Tensor>, CheckError> {
    let ids: Vec<ValueId> = graph.inputs().iter().map(|input| input.value).collect();
    let mut tensors: Vec<Option<Tensor>> = vec![None; ids.len()];
    for (position, path) in numbered(set, "input").iter().enumerate() {
        let (name, tensor) = read_pb(path).map_err(CheckError::Pb)?;
        let id = by_name_or_position(graph, &ids, &name, position);
        if let Some(at) = id.and_then(|id| ids.iter().position(|&other| other == id)) {
            let declared = graph.inputs()[at].dtype;
            tensors[at] = Some(bfloat16_from_bits(tensor, declared));
        }
    }
    let missing = |at: usize| CheckError::MissingInput {
        path: set.join(format!("input_{at}.pb")),
        input: graph.value_name(ids[at]).to_owned(),
    };
    let tensors = tensors.into_iter().enumerate();
    tensors.map(|(at, tensor)| tensor.ok_or_else(|| missing(at))).collect()
}

/// The same bits as bfloat16, if they are uint16 and a bfloat16 is `wanted`.
fn bfloat16_from_bits(tensor: Tensor, wanted: DType) -> Tensor {
    if (tensor.dtype(), wanted) != (DType::U16, DType::BF16) {
        return tensor;
    }
    let elements = tensor.slice::<u16>().iter().map(|&bits| bf16::from_bits(bits)).collect();
    Tensor::from_vec(tensor.shape(), elements)
}

/// Names in such files are often empty.
fn by_name_or_position(
    graph: &Graph,
    ids: &[ValueId],
    name: &str,
    position: usize,
) -> Option<ValueId> {
    let named = ids.iter().find(|&&id| graph.value_name(id) == name);
    named.or(ids.get(position)).copied()
}

/// Types and shapes exactly, values within the tolerance.
pub fn compare(found: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Difference {
    if found.ty() != expected.ty() {
        return Difference::Type { found: found.ty(), expected: expected.ty() };
    }
    let (mut bad, mut first, mut worst) = (0, None, None);
    let mut largest = 0.;
    for (at, (&x, &y)) in numbers(found).iter().zip(&numbers(expected)).enumerate() {
        let excess = excess(x, y, tolerance);
        if 1. < excess {
            bad += 1;
            first.get_or_insert(at);
        }
        if largest < excess {
            (largest, worst) = (excess, Some(at));
        }
    }
    let spot = |at: usize| Spot {
        index: index(found.shape(), at),
        found: value_text(found, at),
        expected: value_text(expected, at),
    };
    Difference::Values { ty: found.ty(), bad, first: first.map(spot), worst: worst.map(spot) }
}

/// The difference as a multiple of what is allowed: equal up to 1.
fn excess(found: f64, expected: f64, tolerance: Tolerance) -> f64 {
    if found == expected || (found.is_nan() && expected.is_nan()) {
        return 0.;
    }
    let excess = (found - expected).abs() / (tolerance.atol + tolerance.rtol * expected.abs());
    // A NaN or an infinity on one side alone, or nothing is allowed.
    if excess.is_finite() && expected.is_finite() { excess } else { f64::INFINITY }
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    match tensor.dtype() {
        DType::F64 => tensor.slice::<f64>().to_vec(),
        DType::Bool => tensor.slice::<bool>().iter().map(|&x| f64::from(x)).collect(),
        dtype if dtype.is_small_float() => {
            dispatch_small_floats!(
                dtype,
                T => tensor.slice::<T>().iter().map(|x| x.to_f32().into()).collect(),
                _ => unreachable!("all small floats are listed")
            )
        }
        _ => match tensor.to_f32() {
            Some(floats) => floats.into_iter().map(f64::from).collect(),
            None => {
                let integers = tensor.to_i64().expect("what is no float and no bool is an integer");
                integers.into_iter().map(|x| x as f64).collect()
            }
        },
    }
}

fn value_text(tensor: &Tensor, at: usize) -> String {
    dispatch!(tensor.dtype(), T => format!("{:?}", tensor.slice::<T>()[at]))
}

/// The place of an element in row-major order.
fn index(shape: &[usize], mut at: usize) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (place, &size) in index.iter_mut().zip(shape).rev() {
        *place = at % size;
        at /= size;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Tolerance = Tolerance { rtol: 1e-3, atol: 1e-7 };

    fn spot(index: &[usize], found: &str, expected: &str) -> Option<Spot> {
        Some(Spot { index: index.to_vec(), found: found.to_owned(), expected: expected.to_owned() })
    }

    #[test]
    fn values_within_the_tolerance_are_equal() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let expected = Tensor::from_vec(&[2, 2], vec![nan, inf, 1., 0.]);
        let found = Tensor::from_vec(&[2, 2], vec![nan, inf, 1.0009, 0.]);
        let Difference::Values { bad, first, worst, .. } = compare(&found, &expected, TOLERANCE)
        else {
            panic!("equal types")
        };
        assert_eq!((bad, first), (0, None));
        assert_eq!(worst, spot(&[1, 0], "1.0009", "1.0"));
    }

    #[test]
    fn the_first_and_the_worst_are_named() {
        let inf = f32::INFINITY;
        let expected = Tensor::from_vec(&[5], vec![1., 1., 1., inf, 0.]);
        let found = Tensor::from_vec(&[5], vec![1_f32, 1.1, 3., 2., 1e-8]);
        let difference = compare(&found, &expected, TOLERANCE);
        assert!(!difference.is_equal());
        let Difference::Values { bad, first, worst, .. } = difference else { panic!("values") };
        assert_eq!((bad, first), (3, spot(&[1], "1.1", "1.0")));
        assert_eq!(worst, spot(&[3], "2.0", "inf"));
    }

    #[test]
    fn bfloat16_stored_as_bits() {
        let bits = Tensor::from_vec(&[2], vec![0x3f80_u16, 0xc000]);
        let floats = Tensor::from_vec(&[2], [1., -2.].map(bf16::from_f32).to_vec());
        assert_eq!(bfloat16_from_bits(bits.clone(), DType::BF16), floats);
        assert_eq!(bfloat16_from_bits(bits.clone(), DType::F16), bits);
        assert_eq!(bfloat16_from_bits(floats.clone(), DType::BF16), floats);
    }

    #[test]
    fn types_and_shapes_are_compared_exactly() {
        let a = Tensor::from_vec(&[2], vec![1_i64, 2]);
        let b = Tensor::from_vec(&[1, 2], vec![1_i64, 2]);
        let c = Tensor::from_vec(&[2], vec![1_i32, 2]);
        assert!(compare(&a, &a, TOLERANCE).is_equal());
        assert!(matches!(compare(&a, &b, TOLERANCE), Difference::Type { .. }));
        assert!(matches!(compare(&a, &c, TOLERANCE), Difference::Type { .. }));
    }
}
