//! Properties: named values that travel with a build, each with a word on where it came from.

use std::collections::{BTreeMap, btree_map};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A value and its source (`"Scheduler"`, `"Worker"`, `"SetPropertyFromCommand Step"`, …).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Property {
    /// Any JSON value.
    pub value: Value,
    /// Where the value came from, for people.
    pub source: String,
}

/// A set of properties by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Properties(BTreeMap<String, Property>);

impl Properties {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of `name`, if it is set.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).map(|property| &property.value)
    }

    /// The value and source of `name`, if it is set.
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.0.get(name)
    }

    /// Sets `name`, replacing an earlier value.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>, source: impl Into<String>) {
        self.0.insert(name.into(), Property { value: value.into(), source: source.into() });
    }

    /// Sets all of `others`; theirs win.
    pub fn update(&mut self, others: &Self) {
        self.0.extend(others.0.iter().map(|(name, property)| (name.clone(), property.clone())));
    }

    /// Keeps those whose names pass.
    pub fn retain(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| is_kept(name));
    }

    /// The values alone, by name, as one JSON table.
    pub fn values(&self) -> Value {
        self.0.iter().map(|(name, property)| (name.clone(), property.value.clone())).collect()
    }

    /// All properties, by name.
    pub fn iter(&self) -> btree_map::Iter<'_, String, Property> {
        self.0.iter()
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are set.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'a> IntoIterator for &'a Properties {
    type Item = (&'a String, &'a Property);
    type IntoIter = btree_map::Iter<'a, String, Property>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<(String, Property)> for Properties {
    fn from_iter<I: IntoIterator<Item = (String, Property)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}
