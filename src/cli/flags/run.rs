//! What a result does not depend on: threads, memory, batch; and the engine.

use std::fmt;
use std::str::FromStr;

use anyhow::Context as _;
use mpq::artifact;
use mpq::exec::{Engine, EngineKind};
use mpq::graph::Graph;
use mpq::pipeline::Resources;

use crate::cli::flags::Count;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Resources")]
pub(in crate::cli) struct RunArgs {
    /// Engine that runs it: fast, reference [default: fast]
    #[arg(long, value_name = "NAME")]
    engine: Option<EngineKind>,

    /// Hold the activations of N passes [default: by --memory]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    batch: Option<Count>,

    /// Threads to use [default: one per core]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    threads: Option<Count>,

    /// Memory to use besides the model's own size
    #[arg(long, value_name = "SIZE", default_value_t = Size(1 << 30))]
    memory: Size,
}

impl RunArgs {
    pub(in crate::cli) fn engine(&self) -> EngineKind {
        self.engine.unwrap_or(EngineKind::Fast)
    }

    /// Takes the engine of an earlier result unless a flag names one.
    pub(in crate::cli) fn like(&mut self, earlier: &artifact::Settings) -> anyhow::Result<()> {
        if self.engine.is_none() {
            self.engine = Some(earlier.engine.parse()?);
        }
        Ok(())
    }

    /// What may be held besides the model itself.
    pub(in crate::cli) fn memory_bytes(&self) -> usize {
        self.memory.0
    }

    pub(in crate::cli) fn resources(&self) -> Resources {
        Resources { batch: self.batch.map(|batch| batch.0), memory_bytes: self.memory_bytes() }
    }

    /// An engine for a graph whose inner values no one asks for.
    pub(in crate::cli) fn start_engine<'g>(&self, graph: &'g Graph) -> Box<dyn Engine + 'g> {
        self.engine().start(graph, self.memory.0, &[])
    }

    /// Does `work` on as many threads as were asked for.
    pub(in crate::cli) fn install<T: Send>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        let threads = self.threads.map_or(0, |threads| threads.0);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.with_context(|| format!("cannot start {threads} threads"))?.install(work)
    }
}

/// Bytes, written with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size(usize);

#[derive(Debug, thiserror::Error)]
#[error("size is `{found}`, expected a number above 0 with a unit, such as `512MiB` or `2GB`")]
struct SizeError {
    found: String,
}

/// Longer names first: each ends with `B`.
const UNITS: &[(&str, f64)] = &[
    ("KiB", 1024.),
    ("MiB", 1_048_576.),
    ("GiB", 1_073_741_824.),
    ("TiB", 1_099_511_627_776.),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("B", 1.),
];

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Size, SizeError> {
        let mut units = UNITS.iter();
        let bytes = units.find_map(|&(unit, scale)| {
            let number = text.strip_suffix(unit)?.trim().parse::<f64>().ok()?;
            Some(number * scale)
        });
        match bytes {
            Some(bytes) if 1. <= bytes && bytes < usize::MAX as f64 => Ok(Size(bytes as usize)),
            _ => Err(SizeError { found: text.to_owned() }),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = UNITS[..4].iter().rev().find(|(_, scale)| self.0 as f64 % scale == 0.);
        match binary {
            Some((unit, scale)) => write!(f, "{}{unit}", self.0 as f64 / scale),
            None => write!(f, "{}B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("1GiB", 1 << 30), ("0.5KiB", 512), ("3 MB", 3_000_000), ("7B", 7), ("2kB", 2000)]
        {
            assert_eq!(text.parse::<Size>().unwrap(), Size(bytes), "{text}");
        }
        for text in ["", "1", "0B", "-1MiB", "NaNB", "infB", "1e99TB", "1G", "GiB"] {
            let message = text.parse::<Size>().unwrap_err().to_string();
            let expected = "expected a number above 0 with a unit, such as `512MiB` or `2GB`";
            assert_eq!(message, format!("size is `{text}`, {expected}"));
        }
        assert_eq!(Size(1 << 30).to_string(), "1GiB");
        assert_eq!(Size(1500).to_string(), "1500B");
    }
}
