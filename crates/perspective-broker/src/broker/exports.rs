//! Objects of ours that the peer may call.

use super::login::Challenge;
use crate::LocalId;
use std::collections::{BTreeMap, HashMap};

/// Our objects, and how many references to each the peer holds.
#[derive(Debug, Default)]
pub(super) struct Exports {
    last: i64,
    live: HashMap<LocalId, Export>,
    /// Retired objects to which the peer still holds references.
    tombstones: BTreeMap<LocalId, u64>,
    /// Tombstones up to here may have been forgotten.
    forgotten: Option<LocalId>,
}

#[derive(Debug, Default)]
struct Export {
    count: u64,
    owner: Owner,
}

/// Who answers for an object.
#[derive(Debug, Default)]
enum Owner {
    /// The broker's owner.
    #[default]
    Program,
    /// The broker; the challenge is taken away by the first response.
    Broker(Option<Challenge>),
}

/// What a `decref` came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decref {
    /// It was one of several, or of no interest.
    Counted,
    /// It was the last one of an object of the owner's.
    Released,
    /// The peer holds no such reference.
    Unknown,
}

impl Exports {
    pub(super) fn add(&mut self) -> LocalId {
        self.insert(Export::default())
    }

    pub(super) fn add_challenge(&mut self, challenge: Challenge) -> LocalId {
        self.insert(Export { count: 0, owner: Owner::Broker(Some(challenge)) })
    }

    fn insert(&mut self, export: Export) -> LocalId {
        self.last += 1;
        let id = LocalId::new(self.last);
        self.live.insert(id, export);
        id
    }

    /// Whether the object can be sent.
    pub(super) fn contains(&self, id: LocalId) -> bool {
        self.live.contains_key(&id)
    }

    /// Whether the peer can call the object.
    pub(super) fn is_held(&self, id: LocalId) -> bool {
        self.live.get(&id).is_some_and(|export| export.count > 0)
    }

    pub(super) fn is_challenge(&self, id: LocalId) -> bool {
        self.live.get(&id).is_some_and(|export| matches!(export.owner, Owner::Broker(_)))
    }

    pub(super) fn take_challenge(&mut self, id: LocalId) -> Option<Challenge> {
        match &mut self.live.get_mut(&id)?.owner {
            Owner::Broker(challenge) => challenge.take(),
            Owner::Program => None,
        }
    }

    pub(super) fn count(&mut self, id: LocalId) {
        if let Some(export) = self.live.get_mut(&id) {
            export.count += 1;
        }
    }

    pub(super) fn decref(&mut self, id: LocalId) -> Decref {
        if let Some(export) = self.live.get_mut(&id) {
            if export.count == 0 {
                return Decref::Unknown;
            }
            export.count -= 1;
            if export.count > 0 {
                return Decref::Counted;
            }
            if matches!(export.owner, Owner::Broker(_)) {
                self.live.remove(&id);
                return Decref::Counted;
            }
            return Decref::Released;
        }
        if let Some(count) = self.tombstones.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                self.tombstones.remove(&id);
            }
            return Decref::Counted;
        }
        let forgotten = id.get() > 0 && self.forgotten.is_some_and(|last| id <= last);
        if forgotten { Decref::Counted } else { Decref::Unknown }
    }

    pub(super) fn retire(&mut self, id: LocalId, tombstones: usize) {
        let Some(export) = self.live.remove(&id) else { return };
        if export.count == 0 {
            return;
        }
        self.tombstones.insert(id, export.count);
        while self.tombstones.len() > tombstones {
            let oldest = self.tombstones.pop_first().map(|(id, _)| id);
            self.forgotten = self.forgotten.max(oldest);
        }
    }
}
