//! [`Entry`]: a value of a file, with the keys that lead to it.

use serde_json::{Map, Value};

use crate::quant::TargetError;

/// A value with the keys that lead to it, by dots.
pub(super) struct Entry<'a> {
    pub(super) key: String,
    pub(super) value: &'a Value,
}

impl<'a> Entry<'a> {
    pub(super) fn wrong(&self, expected: &'static str) -> TargetError {
        TargetError::Aimet {
            key: self.key.clone(),
            found: self.value.to_string(),
            expected: expected.to_owned(),
        }
    }

    pub(super) fn truth(&self) -> Result<bool, TargetError> {
        match (self.value.as_str(), self.value.as_bool()) {
            (Some("True" | "true"), _) | (_, Some(true)) => Ok(true),
            (Some("False" | "false"), _) | (_, Some(false)) => Ok(false),
            _ => Err(self.wrong("`True` or `False`")),
        }
    }

    pub(super) fn number(&self) -> Result<f32, TargetError> {
        self.value.as_f64().map(|x| x as f32).ok_or_else(|| self.wrong("a number"))
    }

    pub(super) fn items(&self) -> Result<Vec<Entry<'a>>, TargetError> {
        let items = self.value.as_array().ok_or_else(|| self.wrong("a list"))?.iter().enumerate();
        Ok(items
            .map(|(index, value)| Entry { key: format!("{}[{index}]", self.key), value })
            .collect())
    }

    pub(super) fn entries(&self) -> Result<Vec<(&'a str, Entry<'a>)>, TargetError> {
        let map: &'a Map<String, Value> =
            self.value.as_object().ok_or_else(|| self.wrong("an object"))?;
        let entry = |(name, value): (&'a String, &'a Value)| {
            let key = match self.key.as_str() {
                "" => name.clone(),
                key => format!("{key}.{name}"),
            };
            (name.as_str(), Entry { key, value })
        };
        Ok(map.iter().map(entry).collect())
    }

    /// An entry of an object; `None` if it is left out.
    pub(super) fn get(&self, name: &str) -> Result<Option<Entry<'a>>, TargetError> {
        Ok(self.entries()?.into_iter().find(|(key, _)| *key == name).map(|(_, entry)| entry))
    }
}
