//! [`Attrs`]: a node's attributes, which notice what nobody read.

use std::collections::BTreeMap;
use std::fmt;

use crate::ops::OpError;
use crate::tensor::Tensor;

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum AttrValue {
    Int(i64),
    Float(f32),
    String(String),
    Tensor(Tensor),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Strings(Vec<String>),
    /// A subgraph, by its number within the node.
    Body(usize),
}

impl fmt::Display for AttrValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttrValue::Int(x) => write!(f, "{x}"),
            AttrValue::Float(x) => write!(f, "{x}"),
            AttrValue::String(x) => write!(f, "`{x}`"),
            AttrValue::Tensor(x) => write!(f, "a tensor of {}", x.ty()),
            AttrValue::Ints(x) => write!(f, "{x:?}"),
            AttrValue::Floats(x) => write!(f, "{x:?}"),
            AttrValue::Strings(x) => write!(f, "{x:?}"),
            AttrValue::Body(_) => write!(f, "a subgraph"),
        }
    }
}

/// The attributes of one node while its operator is being read.
#[derive(Debug, Clone, Default)]
pub struct Attrs {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    value: AttrValue,
    is_read: bool,
}

macro_rules! readers {
    ($($(#[$doc:meta])* $name:ident, $opt:ident: $variant:ident $ty:ty, $expected:literal;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(&mut self, name: &str, default: impl Into<$ty>) -> Result<$ty, OpError> {
                Ok(self.$opt(name)?.unwrap_or_else(|| default.into()))
            }

            /// The same, `None` if the attribute is absent.
            pub fn $opt(&mut self, name: &str) -> Result<Option<$ty>, OpError> {
                match self.take(name) {
                    None => Ok(None),
                    Some(AttrValue::$variant(value)) => Ok(Some(value.clone())),
                    Some(other) => Err(OpError::invalid_attribute(name, other, $expected)),
                }
            }
        )*
    };
}

impl Attrs {
    pub fn new(entries: impl IntoIterator<Item = (String, AttrValue)>) -> Attrs {
        let entries = entries.into_iter();
        let entries = entries.map(|(name, value)| (name, Entry { value, is_read: false }));
        Attrs { entries: entries.collect() }
    }

    readers! {
        /// An integer, `default` if the attribute is absent.
        int, opt_int: Int i64, "an integer";
        /// A float, `default` if the attribute is absent.
        float, opt_float: Float f32, "a float";
        /// A string, `default` if the attribute is absent.
        string, opt_string: String String, "a string";
        /// Integers, `default` if the attribute is absent.
        ints, opt_ints: Ints Vec<i64>, "a list of integers";
        /// Floats, `default` if the attribute is absent.
        floats, opt_floats: Floats Vec<f32>, "a list of floats";
        /// Strings, `default` if the attribute is absent.
        strings, opt_strings: Strings Vec<String>, "a list of strings";
        /// A tensor, `default` if the attribute is absent.
        tensor, opt_tensor: Tensor Tensor, "a tensor";
        /// The number of a subgraph, `default` if the attribute is absent.
        body, opt_body: Body usize, "a subgraph";
    }

    /// A 0 or 1.
    pub fn flag(&mut self, name: &str, default: bool) -> Result<bool, OpError> {
        match self.int(name, i64::from(default))? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(OpError::attribute(name, other, "0 or 1")),
        }
    }

    /// An integer that the specification demands.
    pub fn require_int(&mut self, name: &str) -> Result<i64, OpError> {
        self.opt_int(name)?.ok_or_else(|| OpError::MissingAttribute { name: name.to_owned() })
    }

    /// A list of sizes: integers that are at least `least`.
    pub fn opt_sizes(&mut self, name: &str, least: usize) -> Result<Option<Vec<usize>>, OpError> {
        let Some(ints) = self.opt_ints(name)? else { return Ok(None) };
        let sizes = ints.iter().map(|&x| usize::try_from(x).ok().filter(|&x| least <= x));
        let sizes: Option<Vec<usize>> = sizes.collect();
        let wrong =
            || OpError::invalid_attribute(name, format!("{ints:?}"), format!("at least {least}"));
        sizes.ok_or_else(wrong).map(Some)
    }

    /// A string that is one of `choices`, the first of which is the default.
    pub fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Result<T, OpError> {
        let Some(found) = self.opt_string(name)? else { return Ok(choices[0].1) };
        let known = choices.iter().find(|(choice, _)| *choice == found);
        known.map(|&(_, value)| value).ok_or_else(|| {
            let names: Vec<String> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
            OpError::attribute(name, format!("`{found}`"), names.join(", "))
        })
    }

    /// Whether the attribute is there; does not count as reading it.
    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Reads an attribute that has no meaning for the result (hints for training or storage).
    pub fn ignore(&mut self, name: &str) {
        self.take(name);
    }

    /// The error that an attribute was not read by anyone.
    pub(super) fn finish(self) -> Result<(), OpError> {
        match self.entries.into_iter().find(|(_, entry)| !entry.is_read) {
            None => Ok(()),
            Some((name, _)) => Err(OpError::UnknownAttribute { name }),
        }
    }

    fn take(&mut self, name: &str) -> Option<&AttrValue> {
        let entry = self.entries.get_mut(name)?;
        entry.is_read = true;
        Some(&entry.value)
    }
}
