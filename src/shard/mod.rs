//! [`Shard`]: one of N shares of some work, and how work is shared out by its cost.
//!
//! Shares follow from the work and N alone, so that machines that never speak to each other agree.

mod line;
mod lots;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use line::{Line, Stretch};
pub use lots::lots;

/// Share `index` of `count`, written `index/count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Shard {
    index: u64,
    count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found `{found}`, expected I/N, from 0/N to below N/N")]
pub struct ShardError {
    pub found: String,
}

impl Shard {
    /// All of it.
    pub const WHOLE: Shard = Shard { index: 0, count: 1 };

    /// `None` unless `index` is below `count`.
    pub fn new(index: u64, count: u64) -> Option<Shard> {
        (index < count).then_some(Shard { index, count })
    }

    pub fn index(&self) -> u64 {
        self.index
    }

    pub fn count(&self) -> u64 {
        self.count
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Shard, ShardError> {
        let parse = || {
            let (index, count) = text.split_once('/')?;
            Shard::new(index.parse().ok()?, count.parse().ok()?)
        };
        parse().ok_or_else(|| ShardError { found: text.to_owned() })
    }
}

/// How a shard stands in files.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    index: u64,
    count: u64,
}

impl From<Shard> for Written {
    fn from(shard: Shard) -> Written {
        Written { index: shard.index, count: shard.count }
    }
}

impl TryFrom<Written> for Shard {
    type Error = ShardError;

    fn try_from(written: Written) -> Result<Shard, ShardError> {
        let Written { index, count } = written;
        Shard::new(index, count).ok_or_else(|| ShardError { found: format!("{index}/{count}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for text in ["0/1", "0/4", "3/4", "255/256"] {
            assert_eq!(text.parse::<Shard>().unwrap().to_string(), text);
        }
        for text in ["", "1", "4/4", "1/0", "-1/4", "1/4/4", "a/b", "0.5/2"] {
            let message = text.parse::<Shard>().unwrap_err().to_string();
            assert_eq!(message, format!("found `{text}`, expected I/N, from 0/N to below N/N"));
        }
    }

    #[test]
    fn files() {
        let shard: Shard = serde_json::from_str(r#"{"index":2,"count":3}"#).unwrap();
        assert_eq!(shard, "2/3".parse().unwrap());
        assert_eq!(serde_json::to_string(&shard).unwrap(), r#"{"index":2,"count":3}"#);
        assert!(serde_json::from_str::<Shard>(r#"{"index":3,"count":3}"#).is_err());
    }
}
