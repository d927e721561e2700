//! Groups of flags that several commands share.

mod cache;
mod choice;
mod data;
mod metric;
mod model;
mod quant;
mod range;
mod rounding;
mod run;

pub(super) use cache::{CacheArgs, FolderArgs};
pub(super) use choice::{ChoiceArgs, read_target};
pub(super) use data::{DataArgs, Defaults};
pub(super) use metric::{MetricArgs, Subject, metric_name};
pub(super) use model::ModelArgs;
pub(super) use quant::QuantArgs;
pub(super) use rounding::RoundingArgs;
pub(super) use run::RunArgs;

use std::str::FromStr;

/// `LEFT=RIGHT`, split at the last `=`: names of tensors may have one.
#[derive(Debug, Clone)]
pub(super) struct Pair<T> {
    pub(super) name: String,
    pub(super) value: T,
}

/// What is wrong with a [`Pair`].
#[derive(Debug, thiserror::Error)]
pub(super) enum PairError<E: std::error::Error> {
    #[error("found `{found}`, expected NAME=VALUE")]
    Form { found: String },

    #[error("{0}")]
    Value(E),
}

impl<T: FromStr<Err: std::error::Error>> FromStr for Pair<T> {
    type Err = PairError<T::Err>;

    fn from_str(text: &str) -> Result<Pair<T>, PairError<T::Err>> {
        let form = || PairError::Form { found: text.to_owned() };
        let (name, value) = text.rsplit_once('=').ok_or_else(form)?;
        if name.is_empty() {
            return Err(form());
        }
        Ok(Pair { name: name.to_owned(), value: value.parse().map_err(PairError::Value)? })
    }
}

/// A number of things, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count(pub(super) usize);

#[derive(Debug, thiserror::Error)]
#[error("found `{found}`, expected a whole number above 0")]
pub(super) struct CountError {
    found: String,
}

impl FromStr for Count {
    type Err = CountError;

    fn from_str(text: &str) -> Result<Count, CountError> {
        let count = text.parse().ok().filter(|&n: &usize| n > 0);
        count.map(Count).ok_or_else(|| CountError { found: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs() {
        let pair: Pair<Count> = "a=b=3".parse().unwrap();
        assert_eq!((pair.name.as_str(), pair.value), ("a=b", Count(3)));
        for (text, message) in [
            ("3", "found `3`, expected NAME=VALUE"),
            ("=3", "found `=3`, expected NAME=VALUE"),
            ("a=0", "found `0`, expected a whole number above 0"),
        ] {
            assert_eq!(text.parse::<Pair<Count>>().unwrap_err().to_string(), message);
        }
    }
}
