//! Which model, and what binds its free dimensions.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mpq::artifact;
use mpq::onnx::{self, LoadError, Model};

use crate::cli::flags::{Count, Pair};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ModelArgs {
    /// The ONNX model
    #[arg(value_name = "MODEL")]
    pub(in crate::cli) model: PathBuf,

    /// Give a free dimension of the inputs its size
    #[arg(long = "dim", value_name = "NAME=N")]
    pub(in crate::cli) dims: Vec<Pair<Count>>,
}

impl ModelArgs {
    /// The last one counts where a dimension is given twice.
    pub(in crate::cli) fn dims(&self) -> BTreeMap<String, usize> {
        self.dims.iter().map(|dim| (dim.name.clone(), dim.value.0)).collect()
    }

    /// Takes the sizes of an earlier result; those of --dim come after and count.
    pub(in crate::cli) fn like(&mut self, earlier: &artifact::Settings) -> anyhow::Result<()> {
        for (name, &size) in earlier.dims.iter() {
            let value = Count(usize::try_from(size)?);
            self.dims.insert(0, Pair { name: name.to_owned(), value });
        }
        Ok(())
    }

    /// A model that is to run.
    pub(in crate::cli) fn load(&self) -> Result<Model, LoadError> {
        onnx::load(&self.model, &self.dims())
    }

    /// The same for another --memory than that by default.
    pub(in crate::cli) fn load_within(&self, memory_bytes: usize) -> Result<Model, LoadError> {
        onnx::load_within(&self.model, &self.dims(), memory_bytes)
    }
}
