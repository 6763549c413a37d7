//! Objects of the peer's that we may call.

use crate::RemoteId;
use crate::limits::LimitExceeded;
use std::collections::HashMap;

/// The peer's objects, and how many references to each we hold.
#[derive(Debug, Default)]
pub(super) struct Imports {
    held: HashMap<RemoteId, u64>,
}

impl Imports {
    pub(super) fn add(&mut self, id: RemoteId, limit: usize) -> Result<(), LimitExceeded> {
        if let Some(count) = self.held.get_mut(&id) {
            *count += 1;
            return Ok(());
        }
        LimitExceeded::check("references", self.held.len() + 1, limit)?;
        self.held.insert(id, 1);
        Ok(())
    }

    pub(super) fn is_held(&self, id: RemoteId) -> bool {
        self.held.contains_key(&id)
    }

    /// Takes one reference off the books; `false` if there is none.
    pub(super) fn remove(&mut self, id: RemoteId) -> bool {
        let Some(count) = self.held.get_mut(&id) else { return false };
        *count -= 1;
        if *count == 0 {
            self.held.remove(&id);
        }
        true
    }
}
