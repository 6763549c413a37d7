//! Schedulers: what turns changes and wishes into requests.

mod asking;
mod changes;
mod dependent;
mod force;
mod form;
mod index;
mod state;
mod timed;
mod trigger;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use config::{Basic, SchedulerKind};
use model::{BuilderId, Change, ChangeId, SchedulerId, Time};
use storage::ObjectStates;

pub use self::form::Values;
pub(super) use self::{dependent::Upstream, index::ChangeIndex, trigger::Waiting};
use super::Core;

/// One scheduler, of the configuration or (for what it still remembers) of an earlier one.
#[derive(Debug)]
pub(super) struct Scheduler {
    pub(super) name: String,
    /// `None` when it is no longer in the configuration: it does nothing.
    pub(super) config: Option<Arc<config::Scheduler>>,
    /// Its place in the configuration.
    pub(super) position: usize,
    /// Whether it acts on changes. Somebody may have switched it off.
    pub(super) enabled: bool,
    pub(super) timers: BTreeMap<TimerKey, Timer>,
    /// When it builds next by the clock.
    pub(super) due: Option<Time>,
    /// What it keeps between restarts.
    pub(super) states: ObjectStates,
}

impl Scheduler {
    pub(super) fn new(name: String, enabled: bool, states: ObjectStates) -> Self {
        Self { name, config: None, position: usize::MAX, enabled, timers: BTreeMap::new(), due: None, states }
    }
}

/// Which changes wait together for the tree to be stable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerKey {
    /// All of a `SingleBranchScheduler`.
    Only,
    /// Those of one branch, of an `AnyBranchScheduler`.
    Branch { codebase: String, project: String, repository: String, branch: Option<String> },
}

/// Changes that wait for the tree to be stable.
#[derive(Debug, Default)]
pub(super) struct Timer {
    /// `None` while none of them is important.
    pub(super) due: Option<Time>,
    pub(super) changes: BTreeMap<ChangeId, Remembered>,
}

/// A change that waits, and whether it is reason enough to build.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    pub(super) change: Arc<Change>,
    pub(super) important: bool,
}

/// What it builds changes by, if it does.
fn basic(config: &config::Scheduler) -> Option<&Basic> {
    match &config.kind {
        SchedulerKind::AnyBranch(basic) | SchedulerKind::SingleBranch(basic) => Some(basic),
        _ => None,
    }
}

/// How long a scheduler's tree has to be quiet; `None` is not at all.
fn tree_stable_timer(config: &config::Scheduler) -> Option<Duration> {
    basic(config)?.tree_stable_timer.filter(|timer| !timer.is_zero())
}

impl Core {
    /// Ids of builders by name, in the order given, each once.
    fn builders_named<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Vec<BuilderId> {
        let mut seen = BTreeSet::new();
        let ids = names.into_iter().filter_map(|name| self.builder_ids.get(name).copied());
        ids.filter(|id| seen.insert(*id)).collect()
    }

    /// Brings the index of who listens to what in line with the configuration.
    pub(super) fn index_schedulers(&mut self) {
        let schedulers = self.schedulers.iter();
        let active = schedulers.filter(|(_, scheduler)| scheduler.enabled);
        self.listeners = active
            .filter_map(|(id, scheduler)| Some((*id, scheduler.position, scheduler.config.as_deref()?)))
            .collect();
        self.dependents.clear();
        let mut enabled: Vec<_> = self.schedulers.iter().filter(|(_, scheduler)| scheduler.enabled).collect();
        enabled.sort_by_key(|(_, scheduler)| scheduler.position);
        for (id, scheduler) in enabled {
            if let Some(upstream) = scheduler.config.as_deref().and_then(dependent::upstream) {
                self.dependents.entry(upstream.to_owned()).or_default().push(*id);
            }
        }
    }

    /// Whether anything in the tables waits for this scheduler; for tests and status.
    pub(super) fn waiting_changes(&self, id: SchedulerId) -> usize {
        self.schedulers
            .get(&id)
            .map_or(0, |scheduler| scheduler.timers.values().map(|timer| timer.changes.len()).sum())
    }
}
