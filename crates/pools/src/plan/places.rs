//! Machines and workers that run builds and have room for more: a builder once on each.

use std::sync::Arc;

/// A machine or worker with room.
#[derive(Debug)]
struct Host {
    room: u32,
    /// Builders that run on it, or were placed on it, as indices.
    runs: Vec<usize>,
    /// Builders that it serves; `None` is all.
    serves: Option<Arc<[usize]>>,
}

/// Hosts with room, in the order in which they are filled.
#[derive(Debug, Default)]
pub(super) struct Places {
    hosts: Vec<Host>,
    /// For each host, the first host from it on that has room (as far as was found out).
    next: Vec<usize>,
    /// For each builder, the first host that could still take it.
    cursors: Vec<usize>,
}

impl Places {
    /// Adds a host, after those that are there.
    pub(super) fn add(&mut self, room: u32, runs: Vec<usize>, serves: Option<Arc<[usize]>>) {
        if room > 0 {
            self.next.push(self.hosts.len());
            self.hosts.push(Host { room, runs, serves });
        }
    }

    /// Places one request of a builder, if there is room for it.
    pub(super) fn take(&mut self, builder: usize) -> bool {
        if self.hosts.is_empty() {
            return false;
        }
        if self.cursors.len() <= builder {
            self.cursors.resize(builder + 1, 0);
        }
        // A host that cannot take this builder now cannot take it later in this plan: the cursor never goes back.
        let mut at = self.with_room(self.cursors[builder]);
        while let Some(host) = self.hosts.get_mut(at) {
            let serves = host.serves.as_ref().is_none_or(|serves| serves.binary_search(&builder).is_ok());
            if serves && !host.runs.contains(&builder) {
                host.room -= 1;
                host.runs.push(builder);
                if host.room == 0 {
                    self.next[at] = at + 1;
                }
                self.cursors[builder] = at + 1;
                return true;
            }
            at = self.with_room(at + 1);
        }
        self.cursors[builder] = at;
        false
    }

    /// The first host from `at` on that has room, or their number.
    fn with_room(&mut self, at: usize) -> usize {
        let mut found = at;
        while let Some(next) = self.next.get(found)
            && *next != found
        {
            found = *next;
        }
        // What was walked over is not walked over again.
        let mut walked = at;
        while let Some(next) = self.next.get_mut(walked)
            && *next != walked
        {
            walked = std::mem::replace(next, found);
        }
        found
    }
}
