//! Which schedulers a change may concern, without asking all of them.
//!
//! A filter that names the values of an attribute is found by them; the rest of it is looked at afterwards. Filters that
//! name the same attributes have the same *shape*: a change is looked up once for each shape that there is, of which
//! there are at most 16.

use std::collections::BTreeMap;

use model::{Change, SchedulerId, filter::Attribute};

/// Place in the configuration, then the scheduler: changes go to schedulers in the order of the configuration.
type Listener = (usize, SchedulerId);

/// The attributes that schedulers are found by, beside the codebase.
const FOUND_BY: [Attribute; 4] =
    [Attribute::Branch, Attribute::Repository, Attribute::Project, Attribute::Category];

/// A scheduler is found by at most so many combinations of values.
const MAX_KEYS: usize = 256;

/// Which of the attributes a filter names, as bits.
type Shape = u8;

/// The codebase, and the values of the attributes of a shape; the others are not set.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    codebase: String,
    values: [Option<Option<String>>; FOUND_BY.len()],
}

/// Schedulers by what they listen to.
#[derive(Debug, Default)]
pub(in crate::core) struct ChangeIndex(BTreeMap<Shape, BTreeMap<Key, Vec<Listener>>>);

impl<'a> FromIterator<(SchedulerId, usize, &'a config::Scheduler)> for ChangeIndex {
    fn from_iter<I: IntoIterator<Item = (SchedulerId, usize, &'a config::Scheduler)>>(iter: I) -> Self {
        let mut index = Self::default();
        for (id, position, config) in iter {
            index.add((position, id), config);
        }
        index
    }
}

impl ChangeIndex {
    fn add(&mut self, listener: Listener, config: &config::Scheduler) {
        let Some(interest) = config.kind.interest() else { return };
        let wanted = interest.filter.only(&Attribute::Codebase);
        let codebases = config.codebases.iter().map(|codebase| &codebase.name);
        let codebases = codebases.filter(|name| {
            wanted.is_none_or(|wanted| wanted.iter().any(|one| one.as_deref().unwrap_or("") == **name))
        });
        let mut keys: Vec<Key> =
            codebases.map(|name| Key { codebase: name.clone(), ..Key::default() }).collect();
        let mut shape: Shape = 0;
        for (at, attribute) in FOUND_BY.iter().enumerate() {
            let Some(values) = interest.filter.only(attribute) else { continue };
            if keys.len().saturating_mul(values.len()) > MAX_KEYS {
                continue;
            }
            shape |= 1 << at;
            let all = keys.iter().flat_map(|key| {
                values.iter().map(move |value| {
                    let mut key = key.clone();
                    key.values[at] = Some(found_as(attribute, value.as_deref()));
                    key
                })
            });
            keys = all.collect();
        }
        let of_shape = self.0.entry(shape).or_default();
        for key in keys {
            of_shape.entry(key).or_default().push(listener);
        }
    }

    /// Schedulers that a change may concern, in the order of the configuration, each once.
    pub(in crate::core) fn of(&self, change: &Change) -> Vec<SchedulerId> {
        let values = [
            change.branch.as_deref(),
            Some(&*change.repository),
            Some(&*change.project),
            change.category.as_deref(),
        ];
        let mut listeners: Vec<Listener> = Vec::new();
        for (shape, keys) in &self.0 {
            let mut key = Key { codebase: change.codebase.clone(), ..Key::default() };
            for (at, attribute) in FOUND_BY.iter().enumerate().filter(|(at, _)| shape & (1 << at) != 0) {
                key.values[at] = Some(found_as(attribute, values[at]));
            }
            listeners.extend(keys.get(&key).into_iter().flatten());
        }
        listeners.sort_unstable();
        listeners.dedup();
        listeners.into_iter().map(|(_, id)| id).collect()
    }
}

/// The value of an attribute in a key: only branches and categories may be missing, the others are then empty.
fn found_as(attribute: &Attribute, value: Option<&str>) -> Option<String> {
    match attribute {
        Attribute::Branch | Attribute::Category => value.map(str::to_owned),
        _ => Some(value.unwrap_or_default().to_owned()),
    }
}
