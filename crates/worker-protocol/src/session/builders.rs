//! The builders that a worker has, and the references to them.

use std::collections::{HashMap, HashSet};

use bytestring::ByteString;
use perspective_broker::{Broker, RemoteId, Value};

use super::give_back;
use crate::error::{BuildersError, SessionError, StartError};
use crate::event::CommandId;
use crate::text::{StringKind, lossy};

#[derive(Debug, Default)]
pub(super) struct Builders {
    /// By name: the one reference to each that we hold.
    remotes: HashMap<ByteString, RemoteId>,
    /// By name: what runs there.
    running: HashMap<ByteString, CommandId>,
    /// Builders that one of the lists on their way to the worker lacks: they end when the worker reads it.
    leaving: HashSet<ByteString>,
    unanswered_lists: usize,
}

impl Builders {
    /// The argument of `setBuilderList`, unless the list must not be sent now.
    pub(super) fn propose<N, D>(
        &mut self,
        builders: &[(N, D)],
        kind: StringKind,
    ) -> Result<Value, BuildersError>
    where
        N: AsRef<str>,
        D: AsRef<str>,
    {
        let stay: HashSet<&str> = builders.iter().map(|(name, _)| name.as_ref()).collect();
        if let Some(busy) = self.running.keys().find(|name| !stay.contains(&***name)) {
            return Err(BuildersError::Busy { name: busy.to_string() });
        }
        // One that an earlier list on its way lacks ends too, and comes back as another object.
        self.leaving.extend(self.remotes.keys().filter(|name| !stay.contains(&***name)).cloned());
        let pair = |(name, dir): &(N, D)| {
            Value::Tuple(vec![
                kind.text(ByteString::from(name.as_ref())),
                kind.text(ByteString::from(dir.as_ref())),
            ])
        };
        Ok(Value::List(builders.iter().map(pair).collect()))
    }

    pub(super) fn proposed(&mut self) {
        self.unanswered_lists += 1;
    }

    /// The worker answered with one reference for each builder: they replace those we held.
    pub(super) fn accepted(&mut self, broker: &mut Broker, answer: Value) -> Result<(), SessionError> {
        let malformed = SessionError::Malformed {
            what: "an answer to setBuilderList that holds something else",
            expected: "a dictionary of references by builder name",
        };
        let Some(entries) = answer.into_dict() else { return Err(malformed) };
        let old = std::mem::take(&mut self.remotes);
        for (name, value) in entries {
            let Some(remote) = value.as_remote() else { return Err(malformed) };
            let Some(name) = lossy(&name) else { return Err(malformed) };
            // The same name as text and as bytes would be two keys there, and is one builder here.
            if let Some(twin) = self.remotes.insert(name, remote) {
                give_back(broker, twin)?;
            }
        }
        // Also for those that stay: the worker counts the reference in each answer.
        for remote in old.into_values() {
            give_back(broker, remote)?;
        }
        self.list_closed();
        Ok(())
    }

    pub(super) fn refused(&mut self) {
        self.list_closed();
    }

    fn list_closed(&mut self) {
        self.unanswered_lists = self.unanswered_lists.saturating_sub(1);
        if self.unanswered_lists == 0 {
            self.leaving.clear();
        }
    }

    /// A builder that the worker has, and will have after the lists on their way.
    pub(super) fn usable(&self, name: &str) -> Result<RemoteId, StartError> {
        match self.remotes.get(name) {
            Some(remote) if !self.leaving.contains(name) => Ok(*remote),
            _ => Err(StartError::NoBuilder { name: name.to_owned() }),
        }
    }

    /// A builder that runs nothing.
    pub(super) fn free(&self, name: &str) -> Result<RemoteId, StartError> {
        let remote = self.usable(name)?;
        match self.running.get(name) {
            Some(running) => Err(StartError::Busy { name: name.to_owned(), running: *running }),
            None => Ok(remote),
        }
    }

    pub(super) fn any(&self) -> Option<RemoteId> {
        self.remotes.values().next().copied()
    }

    pub(super) fn remote(&self, name: &str) -> Option<RemoteId> {
        self.remotes.get(name).copied()
    }

    pub(super) fn occupy(&mut self, name: ByteString, command: CommandId) {
        self.running.insert(name, command);
    }

    #[cfg(test)]
    pub(super) fn running_names(&self) -> Vec<String> {
        self.running.keys().map(ToString::to_string).collect()
    }

    pub(super) fn vacate(&mut self, name: &str) {
        self.running.remove(name);
    }
}
