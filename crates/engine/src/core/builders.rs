//! Builders, and the groups that share a set of workers.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use config::{NextBuild, PrioritizeBuilders};
use model::{BuildId, BuildNumber, BuildRequestId, BuilderId, WorkerId};

use super::{Core, facts::Rank, locks::GroupLocks, virtual_builders::VirtualBuilder, workers::FreeKey};

/// Orders requests: the highest priority first, then the oldest. Whole seconds, as the tables hold them, so that the
/// order is the same after a restart.
pub(super) type QueueKey = (Reverse<i64>, i64, BuildRequestId);

/// Orders builders that have requests waiting.
pub(super) type HeadKey = (Rank, QueueKey);

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
    /// What was said of it last, where it is virtual.
    pub(super) virtual_as: Option<VirtualBuilder>,
    /// Requests that wait.
    pub(super) pending: BTreeSet<QueueKey>,
    /// The same, the oldest first.
    pub(super) ages: BTreeSet<BuildRequestId>,
    /// The same by its expression `nextBuild`, if it has one.
    pub(super) scores: BTreeSet<(Rank, QueueKey)>,
    /// The same by what makes newer ones take the place of older ones.
    pub(super) alike: BTreeMap<Arc<str>, BTreeSet<BuildRequestId>>,
    /// Where it stands among builders; `None` while nothing waits.
    pub(super) head: Option<HeadKey>,
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
            virtual_as: None,
            pending: BTreeSet::new(),
            ages: BTreeSet::new(),
            scores: BTreeSet::new(),
            alike: BTreeMap::new(),
            head: None,
            running: BTreeMap::new(),
        }
    }
}

/// Names a group while a configuration is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupId(pub(super) usize);

/// Builders that have the same set of workers and pools, and take the same locks.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The workers outside the pools.
    pub(super) workers: BTreeSet<WorkerId>,
    pub(super) members: BTreeSet<BuilderId>,
    /// Members that have requests waiting, by the first of those.
    pub(super) heads: BTreeSet<(HeadKey, BuilderId)>,
    /// Workers that can take a build and have its locks free, the least loaded first.
    pub(super) free: BTreeSet<FreeKey>,
    pub(super) locks: GroupLocks,
}

impl Core {
    /// Puts a request into its builder's queue.
    pub(super) fn enqueue(&mut self, id: BuilderId, key: QueueKey) {
        let score = self.score_of(id, key.2);
        let Some(request) = self.requests.get_mut(&key.2) else { return };
        request.score = score.unwrap_or(Rank::NONE);
        let alike = self.buildsets.get(&request.buildset).and_then(|buildset| buildset.alike.clone());
        let Some(builder) = self.builders.get_mut(&id) else { return };
        builder.pending.insert(key);
        builder.ages.insert(key.2);
        builder.scores.extend(score.map(|score| (score, key)));
        if let Some(alike) = alike {
            builder.alike.entry(alike).or_default().insert(key.2);
        }
        self.move_head(id);
    }

    /// Takes a request out of its builder's queue.
    pub(super) fn dequeue(&mut self, id: BuilderId, key: QueueKey) {
        let Some(request) = self.requests.get(&key.2) else { return };
        let alike = self.buildsets.get(&request.buildset).and_then(|buildset| buildset.alike.clone());
        let Some(builder) = self.builders.get_mut(&id) else { return };
        builder.pending.remove(&key);
        builder.ages.remove(&key.2);
        builder.scores.remove(&(request.score, key));
        if let Some(alike) = alike
            && let Entry::Occupied(mut entry) = builder.alike.entry(alike)
        {
            entry.get_mut().remove(&key.2);
            if entry.get().is_empty() {
                entry.remove();
            }
        }
        self.move_head(id);
    }

    /// How urgent a request is by the expression of its builder, if that has one.
    fn score_of(&self, id: BuilderId, request: BuildRequestId) -> Option<Rank> {
        let config = self.builders.get(&id)?.config.as_ref()?;
        match &config.next_build {
            NextBuild::Score(expression) => Some(self.rank_of_request(expression, id, request)),
            NextBuild::Priority | NextBuild::Oldest | NextBuild::Newest => None,
        }
    }

    /// Where a builder stands among those that want the same workers.
    fn head_of(&self, id: BuilderId) -> Option<HeadKey> {
        let builder = self.builders.get(&id)?;
        let first = *builder.pending.first()?;
        let rank = match &self.config.master.prioritize_builders {
            PrioritizeBuilders::Priority => Rank::NONE,
            PrioritizeBuilders::Oldest => {
                let oldest = self.requests.get(builder.ages.first()?)?;
                Rank::of_age(oldest.submitted_at.epoch_seconds())
            }
            PrioritizeBuilders::Listed(names) => {
                let position = names.iter().position(|name| **name == *builder.name);
                position.map_or(Rank::LAST, Rank::of_position)
            }
            PrioritizeBuilders::Score(expression) => self.rank_of_builder(expression, id, first.2),
        };
        Some((rank, first))
    }

    /// A configuration has come into force: all that waits stands where that puts it. Groups are made anew after this.
    pub(super) fn rank_anew(&mut self) {
        let waiting = |(id, builder): (&BuilderId, &Builder)| (!builder.pending.is_empty()).then_some(*id);
        for id in self.builders.iter().filter_map(waiting).collect::<Vec<_>>() {
            let Some(builder) = self.builders.get_mut(&id) else { continue };
            builder.scores.clear();
            for key in builder.pending.iter().copied().collect::<Vec<_>>() {
                let Some(score) = self.score_of(id, key.2) else { break };
                if let Some(request) = self.requests.get_mut(&key.2) {
                    request.score = score;
                }
                if let Some(builder) = self.builders.get_mut(&id) {
                    builder.scores.insert((score, key));
                }
            }
            let head = self.head_of(id);
            if let Some(builder) = self.builders.get_mut(&id) {
                builder.head = head;
            }
        }
    }

    /// Brings a builder's place in its group in line with its queue.
    fn move_head(&mut self, id: BuilderId) {
        let now = self.head_of(id);
        let Some(builder) = self.builders.get_mut(&id) else { return };
        let before = std::mem::replace(&mut builder.head, now);
        if before == now {
            return;
        }
        let Some(group_id) = builder.group else { return };
        self.look();
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        if let Some(before) = before {
            group.heads.remove(&(before, id));
        }
        if let Some(now) = now {
            group.heads.insert((now, id));
        }
        if let Some(before) = before {
            self.recheck_blocked(group_id);
            if now.is_none_or(|now| now > before) {
                let kept = self.reserved.get_mut().remove(&group_id);
                self.left.extend(kept.into_iter().flatten());
            }
        }
    }
}
