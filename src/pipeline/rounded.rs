//! Folders of rounded weights: `rounding.json`, and the integers of each width in `W4.npz`, `W8.npz`, ...

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::artifact::{
    self, Artifact as _, ArtifactError, ROUNDING_FILE, RoundedEntry, RoundedSet, RoundingLoss,
};
use crate::data::{DEFAULT_LIMIT_BYTES, DataError, NpzError, npz_bytes, read_arrays};
use crate::pipeline::encoded::{read_weight, weight_encoding};
use crate::pipeline::{Head, Network, PipelineError};
use crate::quant::{
    Bits, Effort, Encodings, Loss, Rounded, RoundedWeight, Rounding, RoundingError,
};
use crate::tensor::{DType, Tensor};

#[derive(Debug, thiserror::Error)]
pub enum RoundedError {
    #[error(transparent)]
    Artifact(ArtifactError),

    #[error(transparent)]
    Data(DataError),

    #[error("`{}`: {source}", path.display())]
    Method { path: PathBuf, source: RoundingError },

    #[error("`{}` has no integers of `{name}` that fit its encoding", path.display())]
    Integers { path: PathBuf, name: String },

    #[error("the weights in `{}` have SHA-256 `{found}`, expected `{expected}`", path.display())]
    Changed { path: PathBuf, found: String, expected: String },
}

/// Integers with the shapes of their weights.
pub(super) struct Shaped<'a> {
    pub(super) rounded: &'a Rounded,
    pub(super) shape: &'a dyn Fn(&str) -> Option<Vec<usize>>,
}

/// The files of a folder, by name; `head` is that of the calibration.
pub fn rounded_files(
    network: &Network,
    head: Head,
    rounded: &Rounded,
    effort: Effort,
) -> Result<Vec<(String, Vec<u8>)>, NpzError> {
    let shape = |name: &str| network.weight_shape(name);
    whole_files(head, &Shaped { rounded, shape: &shape }, effort.iterations)
}

pub(super) fn whole_files(
    mut head: Head,
    shaped: &Shaped<'_>,
    iterations: u32,
) -> Result<Vec<(String, Vec<u8>)>, NpzError> {
    head.settings.rounding.sha256 = Some(shaped.rounded.sha256());
    let file = RoundedSet {
        schema: RoundedSet::schema(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        model: head.model,
        calibration: head.calibration,
        settings: head.settings,
        iterations,
        weights: shaped.entries(),
    };
    shaped.files(ROUNDING_FILE, file.to_json())
}

impl Network {
    pub(super) fn weight_shape(&self, name: &str) -> Option<Vec<usize>> {
        let constant = self.graph.find_value(name).and_then(|id| self.graph.constant(id));
        constant.map(|constant| constant.ty().shape.clone())
    }
}

impl Shaped<'_> {
    fn all(&self) -> impl Iterator<Item = (&String, Bits, &RoundedWeight)> {
        let of_weight = |(name, by_bits)| by_bits_of(name, by_bits);
        self.rounded.weights.iter().flat_map(of_weight)
    }

    pub(super) fn entries(&self) -> Vec<RoundedEntry> {
        let loss = |loss: Loss| RoundingLoss { nearest: loss.nearest, rounded: loss.rounded };
        let entry = |(name, _, weight): (&String, Bits, &RoundedWeight)| RoundedEntry {
            name: name.clone(),
            encoding: weight_encoding(&weight.encoding),
            loss: weight.loss.map(loss),
        };
        self.all().map(entry).collect()
    }

    /// The description, then the integers by width.
    pub(super) fn files(
        &self,
        name: &str,
        json: String,
    ) -> Result<Vec<(String, Vec<u8>)>, NpzError> {
        let mut files = vec![(name.to_owned(), json.into_bytes())];
        let widths: BTreeSet<Bits> = self.all().map(|(_, bits, _)| bits).collect();
        for width in widths {
            let of_width = self.all().filter(|(_, bits, _)| *bits == width);
            let tensors: Vec<(&str, Tensor)> = of_width
                .map(|(name, bits, weight)| (name.as_str(), self.integers(name, bits, weight)))
                .collect();
            let tensors: Vec<(&str, &Tensor)> =
                tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
            files.push((npz_name(width), npz_bytes(&tensors)?));
        }
        Ok(files)
    }

    /// Of 8 bits where they are enough.
    fn integers(&self, name: &str, bits: Bits, weight: &RoundedWeight) -> Tensor {
        let shape = (self.shape)(name).unwrap_or_else(|| vec![weight.integers.len()]);
        if bits.get() <= 8 {
            let narrow = weight.integers.iter().map(|&integer| integer as i8);
            return Tensor::from_vec(&shape, narrow.collect());
        }
        Tensor::from_vec(&shape, weight.integers.to_vec())
    }
}

fn by_bits_of<'a>(
    name: &'a String,
    by_bits: &'a BTreeMap<Bits, RoundedWeight>,
) -> impl Iterator<Item = (&'a String, Bits, &'a RoundedWeight)> {
    by_bits.iter().map(move |(&bits, weight)| (name, bits, weight))
}

fn npz_name(bits: Bits) -> String {
    format!("W{bits}.npz")
}

/// What is in a folder, if its integers are those that it says.
pub fn read_rounded(dir: &Path) -> Result<(RoundedSet, Rounded), RoundedError> {
    let file: RoundedSet =
        artifact::read(&dir.join(ROUNDING_FILE)).map_err(RoundedError::Artifact)?;
    let (rounded, _) = read_weights(dir, &dir.join(ROUNDING_FILE), &file.settings, &file.weights)?;
    let (found, expected) = (rounded.sha256(), file.settings.rounding.sha256.clone());
    match expected {
        Some(expected) if found != expected => {
            Err(RoundedError::Changed { path: dir.to_owned(), found, expected })
        }
        _ => Ok((file, rounded)),
    }
}

/// The integers of some entries, and the shapes of the weights.
pub(super) fn read_weights(
    dir: &Path,
    file: &Path,
    settings: &artifact::Settings,
    entries: &[RoundedEntry],
) -> Result<(Rounded, BTreeMap<String, Vec<usize>>), RoundedError> {
    let wrong_method = |source| RoundedError::Method { path: file.to_owned(), source };
    let method: Rounding = settings.rounding.method.parse().map_err(wrong_method)?;
    let mut arrays: BTreeMap<Bits, BTreeMap<String, Tensor>> = BTreeMap::new();
    let mut rounded = Rounded { method, weights: BTreeMap::new() };
    let mut shapes = BTreeMap::new();
    for entry in entries {
        let bits = entry.encoding.bits;
        let path = dir.join(npz_name(bits));
        let of_width = match arrays.entry(bits) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => {
                let read = read_arrays(&path, DEFAULT_LIMIT_BYTES).map_err(RoundedError::Data)?;
                free.insert(read.into_iter().collect())
            }
        };
        let tensor = of_width.remove(&entry.name);
        let name = entry.name.clone();
        shapes.extend(tensor.as_ref().map(|tensor| (name.clone(), tensor.shape().to_vec())));
        let weight = tensor.and_then(|tensor| read_entry(entry, &tensor));
        let weight = weight.ok_or(RoundedError::Integers { path, name })?;
        rounded.weights.entry(entry.name.clone()).or_default().insert(bits, weight);
    }
    Ok((rounded, shapes))
}

fn read_entry(entry: &RoundedEntry, tensor: &Tensor) -> Option<RoundedWeight> {
    let encoding = read_weight(&entry.encoding);
    let integers: Vec<i16> = match tensor.dtype() {
        DType::I8 => tensor.slice::<i8>().iter().map(|&integer| integer.into()).collect(),
        DType::I16 => tensor.slice::<i16>().to_vec(),
        _ => return None,
    };
    if !encoding.fits(tensor.shape()) {
        return None;
    }
    let (q_min, q_max) = encoding.scheme.limits(encoding.bits);
    let is_on_grid = integers.iter().all(|&integer| (q_min..=q_max).contains(&integer.into()));
    let loss = |loss: RoundingLoss| Loss { nearest: loss.nearest, rounded: loss.rounded };
    let integers = Arc::new(integers);
    is_on_grid.then(|| RoundedWeight { integers, encoding, loss: entry.loss.map(loss) })
}

impl Network {
    /// Refuses a set that lacks a weight or a width, or that was made for other scales.
    pub fn expect_rounded(
        &self,
        rounded: &Rounded,
        encodings: &Encodings,
    ) -> Result<(), PipelineError> {
        for (site, by_bits) in self.placement.weights.iter().zip(&encodings.weights) {
            let name = self.graph.value_name(site.value);
            for (&bits, encoding) in by_bits {
                let found = rounded.get(name, bits).ok_or_else(|| {
                    let widths = rounded.weights.get(name).into_iter().flat_map(BTreeMap::keys);
                    let widths: Vec<String> = widths.map(Bits::to_string).collect();
                    let (name, found) = (name.to_owned(), widths.join(", "));
                    PipelineError::NotRounded { name, found, expected: bits }
                })?;
                let shape = self.graph.constant(site.value).map_or(&[][..], |c| &c.ty().shape);
                if !found.fits(shape, encoding) {
                    return Err(PipelineError::OtherScales { name: name.to_owned(), bits });
                }
            }
        }
        Ok(())
    }
}
