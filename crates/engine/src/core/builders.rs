//! Builders, and the groups that share a set of workers.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{BuildId, BuildNumber, BuildRequestId, BuilderId, WorkerId};

use super::{Core, workers::FreeKey};

/// Orders requests: the highest priority first, then the oldest. Whole seconds, as the tables hold them, so that the
/// order is the same after a restart.
pub(super) type QueueKey = (Reverse<i64>, i64, BuildRequestId);

/// One builder, of the configuration or (while something of it is left) of an earlier one.
#[derive(Debug)]
pub(super) struct Builder {
    pub(super) name: Arc<str>,
    /// `None` when it is no longer in the configuration: nothing of it is started.
    pub(super) config: Option<Arc<config::Builder>>,
    /// Its place in the configuration.
    pub(super) position: usize,
    pub(super) group: Option<GroupId>,
    /// The pools that it names, in its order.
    pub(super) pools: Vec<Arc<str>>,
    pub(super) last_number: BuildNumber,
    /// Requests that wait.
    pub(super) pending: BTreeSet<QueueKey>,
    /// Builds that run, and where.
    pub(super) running: BTreeMap<BuildId, WorkerId>,
}

impl Builder {
    pub(super) fn new(name: &str, last_number: BuildNumber) -> Self {
        Self {
            name: name.into(),
            config: None,
            position: usize::MAX,
            group: None,
            pools: Vec::new(),
            last_number,
            pending: BTreeSet::new(),
            running: BTreeMap::new(),
        }
    }
}

/// Names a group while a configuration is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupId(pub(super) usize);

/// Builders that have the same set of workers and pools.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The workers outside the pools.
    pub(super) workers: BTreeSet<WorkerId>,
    pub(super) members: BTreeSet<BuilderId>,
    /// Members that have requests waiting, by the first of those.
    pub(super) heads: BTreeSet<(QueueKey, BuilderId)>,
    /// Workers that can take a build, the least loaded first.
    pub(super) free: BTreeSet<FreeKey>,
}

impl Core {
    /// Puts a request into its builder's queue.
    pub(super) fn enqueue(&mut self, builder: BuilderId, key: QueueKey) {
        let Some(state) = self.builders.get_mut(&builder) else { return };
        let before = state.pending.first().copied();
        state.pending.insert(key);
        let after = state.pending.first().copied();
        let group = state.group;
        self.move_head(builder, group, before, after);
    }

    /// Takes a request out of its builder's queue.
    pub(super) fn dequeue(&mut self, builder: BuilderId, key: QueueKey) {
        let Some(state) = self.builders.get_mut(&builder) else { return };
        let before = state.pending.first().copied();
        state.pending.remove(&key);
        let after = state.pending.first().copied();
        let group = state.group;
        self.move_head(builder, group, before, after);
    }

    fn move_head(
        &mut self,
        builder: BuilderId,
        group: Option<GroupId>,
        before: Option<QueueKey>,
        after: Option<QueueKey>,
    ) {
        if before == after {
            return;
        }
        let Some(group) = group.and_then(|group| self.groups.get_mut(&group)) else { return };
        self.looked_at += 1;
        if let Some(before) = before {
            group.heads.remove(&(before, builder));
        }
        if let Some(after) = after {
            group.heads.insert((after, builder));
        }
    }
}
