//! Files that may come through a pipe: `-` is stdin.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use mpq::artifact::{self, Artifact};

/// All of a file.
pub(super) fn read_bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path != Path::new("-") {
        return fs::read(path).with_context(|| format!("cannot read `{}`", path.display()));
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).context("cannot read stdin")?;
    Ok(bytes)
}

/// A file of a kind.
pub(super) fn read<A: Artifact>(path: &Path) -> anyhow::Result<A> {
    Ok(artifact::parse(&path.display().to_string(), &read_bytes(path)?)?)
}
