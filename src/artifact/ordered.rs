//! [`Ordered`]: a JSON object that keeps the order it was made in.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Keys, each once, and their values, in file order: that of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Ordered<T>(Vec<(String, T)>);

impl<T> Ordered<T> {
    pub fn new() -> Ordered<T> {
        Ordered(Vec::new())
    }

    /// Appends; a key that is there already keeps its place and gets the new value.
    pub fn insert(&mut self, key: String, value: T) {
        match self.0.iter_mut().find(|(existing, _)| *existing == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    pub fn get(&self, key: &str) -> Option<&T> {
        self.0.iter().find(|(existing, _)| existing == key).map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &T)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Default for Ordered<T> {
    fn default() -> Ordered<T> {
        Ordered::new()
    }
}

/// The first of equal keys gives the place, the last the value.
impl<K: Into<String>, T> FromIterator<(K, T)> for Ordered<T> {
    fn from_iter<I: IntoIterator<Item = (K, T)>>(items: I) -> Ordered<T> {
        let mut places = std::collections::BTreeMap::new();
        let mut ordered: Vec<(String, T)> = Vec::new();
        for (key, value) in items {
            let key = key.into();
            match places.get(&key) {
                Some(&place) => ordered[place] = (key, value),
                None => {
                    places.insert(key.clone(), ordered.len());
                    ordered.push((key, value));
                }
            }
        }
        Ordered(ordered)
    }
}

impl<T: Serialize> Serialize for Ordered<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ordered<T>, D::Error> {
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

struct Entries<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
    type Value = Ordered<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<T>, A::Error> {
        let mut entries: Vec<(String, T)> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        while let Some((key, value)) = map.next_entry::<String, T>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format_args!("key `{key}` is given more than once")));
            }
            entries.push((key, value));
        }
        Ok(Ordered(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept() {
        let json = r#"{"z":1,"a":2,"m":3}"#;
        let ordered: Ordered<u32> = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&ordered).unwrap(), json);
        assert_eq!(ordered.get("a"), Some(&2));
        assert_eq!(ordered.get("b"), None);
        assert_eq!(ordered, [("z", 1), ("a", 2), ("m", 3)].into_iter().collect());
    }

    #[test]
    fn keys_are_distinct() {
        let error = serde_json::from_str::<Ordered<u32>>(r#"{"a":1,"b":2,"a":3}"#).unwrap_err();
        assert!(error.to_string().starts_with("key `a` is given more than once"), "{error}");
        let mut ordered: Ordered<u32> = [("a", 1), ("b", 2), ("a", 3)].into_iter().collect();
        ordered.insert("b".to_owned(), 4);
        assert_eq!(serde_json::to_string(&ordered).unwrap(), r#"{"a":3,"b":4}"#);
    }
}
