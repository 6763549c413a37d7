//! Requests that are cancelled, waiting or running, because there is no use in them any more.
//!
//! As in Buildbot 4.3.0: `OldBuildCanceller` (`buildbot/schedulers/canceller.py`): the first request that comes after a
//! change cancels those of the same builder and branch that came before that change. A change alone cancels nothing: nobody
//! may want it built. `FailingBuildsetCanceller` (`buildbot/schedulers/canceller_buildset.py`): a build that fails cancels
//! the others of its buildset.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use config::CancelFilter;
use model::{BuildRequestId, BuilderId, Change, Results, SourceStamp, Time};

use super::Core;

const OBSOLETE: &str = "Build request has been obsoleted by a newer commit";
const FAILED: &str = "Build has been cancelled because another build in the same buildset failed";

/// Project, codebase, repository and branch.
type BranchKey = (String, String, String, String);

/// What is watched.
#[derive(Debug, Default)]
pub(super) struct Cancellers {
    /// By builder: of whose code requests are watched. That of all cancellers: who of them watches makes no difference.
    old: BTreeMap<String, Vec<Arc<CancelFilter>>>,
    /// By builder: what its failures cancel.
    failing: BTreeMap<String, Vec<Arc<CancelFilter>>>,
    /// Counts changes.
    turn: u64,
    /// Branches that requests are watched for.
    branches: BTreeMap<BranchKey, Branch>,
    /// Those of each request that is watched, and the turn in which it came.
    watched: BTreeMap<BuildRequestId, (u64, Vec<BranchKey>)>,
}

/// A branch that requests are watched for.
#[derive(Debug, Default)]
struct Branch {
    /// The turn of its last change, as far as somebody watched.
    changed: u64,
    /// Requests of each builder, by the turn in which they came.
    requests: BTreeSet<(BuilderId, u64, BuildRequestId)>,
}

impl Cancellers {
    fn note_change(&mut self, change: &Change) {
        if self.branches.is_empty() {
            return;
        }
        self.turn += 1;
        if let Some(branch) = key_of(&change.source_stamp()).and_then(|key| self.branches.get_mut(&key)) {
            branch.changed = self.turn;
        }
    }

    /// What a new request of a builder makes obsolete.
    fn obsolete(&self, builder: BuilderId, stamps: &[SourceStamp]) -> BTreeSet<BuildRequestId> {
        let mut all = BTreeSet::new();
        for branch in stamps.iter().filter_map(key_of).filter_map(|key| self.branches.get(&key)) {
            let first = BuildRequestId(i64::MIN);
            let before = branch.requests.range((builder, 0, first)..(builder, branch.changed, first));
            all.extend(before.map(|(_, _, id)| *id));
        }
        all
    }

    fn watch(&mut self, id: BuildRequestId, (builder, name): (BuilderId, &str), stamps: &[SourceStamp]) {
        let Some(filters) = self.old.get(name) else { return };
        // Buildbot leaves alone what builds a default branch anywhere.
        if self.watched.contains_key(&id) || stamps.iter().any(|stamp| stamp.branch.is_none()) {
            return;
        }
        let is_watched = |stamp: &&SourceStamp| filters.iter().any(|filter| accepts(filter, stamp));
        let keys: Vec<BranchKey> = stamps.iter().filter(is_watched).filter_map(key_of).collect();
        if keys.is_empty() {
            return;
        }
        for key in &keys {
            self.branches.entry(key.clone()).or_default().requests.insert((builder, self.turn, id));
        }
        self.watched.insert(id, (self.turn, keys));
    }

    fn forget(&mut self, builder: BuilderId, id: BuildRequestId) {
        let Some((since, keys)) = self.watched.remove(&id) else { return };
        for key in keys {
            if let Some(branch) = self.branches.get_mut(&key) {
                branch.requests.remove(&(builder, since, id));
                if branch.requests.is_empty() {
                    self.branches.remove(&key);
                }
            }
        }
    }
}

impl Core {
    /// A change has come, and schedulers have not heard of it yet.
    pub(super) fn note_change_for_cancellers(&mut self, change: &Change) {
        self.cancellers.note_change(change);
    }

    /// A request has come: what it makes obsolete is cancelled, and it is watched itself.
    pub(super) fn cancel_obsolete(&mut self, now: Time, id: BuildRequestId) {
        if self.cancellers.old.is_empty() {
            return;
        }
        let Some(request) = self.requests.get(&id) else { return };
        let builder = request.builder;
        let stamps = self.buildsets.get(&request.buildset).map(|set| Arc::clone(&set.sourcestamps));
        let name = self.builders.get(&builder).map(|builder| Arc::clone(&builder.name));
        let (Some(stamps), Some(name)) = (stamps, name) else { return };
        for old in self.cancellers.obsolete(builder, &stamps) {
            self.look();
            self.cancellers.forget(builder, old);
            self.withdraw(now, old, OBSOLETE);
        }
        self.cancellers.watch(id, (builder, &name), &stamps);
    }

    /// A request is complete.
    pub(super) fn forget_watched(&mut self, builder: BuilderId, id: BuildRequestId) {
        self.cancellers.forget(builder, id);
    }

    /// A build of this request has ended.
    pub(super) fn cancel_after_failure(&mut self, now: Time, failed: BuildRequestId, results: Results) {
        if results != Results::Failure || self.cancellers.failing.is_empty() {
            return;
        }
        let Some(request) = self.requests.get(&failed) else { return };
        let Some(builder) = self.builders.get(&request.builder) else { return };
        let Some(filters) = self.cancellers.failing.get(&*builder.name) else { return };
        let Some(buildset) = self.buildsets.get(&request.buildset) else { return };
        let wanted =
            |filter: &&Arc<CancelFilter>| buildset.sourcestamps.iter().any(|stamp| accepts(filter, stamp));
        let filters: Vec<&Arc<CancelFilter>> = filters.iter().filter(wanted).collect();
        let is_cancelled = |id: &BuildRequestId| {
            let builder = self.requests.get(id).and_then(|request| self.builders.get(&request.builder));
            builder.is_some_and(|builder| {
                filters.iter().any(|filter| match &filter.builders_to_cancel {
                    None => true,
                    Some(names) => names.iter().any(|name| **name == *builder.name),
                })
            })
        };
        let others = buildset.open.iter().copied().filter(|id| *id != failed);
        for other in others.filter(is_cancelled).collect::<Vec<_>>() {
            self.withdraw(now, other, FAILED);
        }
    }

    /// Takes the cancellers of the configuration that is in force now. What was watched is watched as it was; what was not
    /// is looked at.
    pub(super) fn take_cancellers(&mut self) {
        let config = Arc::clone(&self.config);
        self.cancellers.old = by_builder(config.old_build_cancellers.iter().flat_map(|one| &one.filters));
        self.cancellers.failing =
            by_builder(config.failing_buildset_cancellers.iter().flat_map(|one| &one.filters));
        if self.cancellers.old.is_empty() {
            self.cancellers.branches.clear();
            self.cancellers.watched.clear();
            return;
        }
        for (id, request) in &self.requests {
            let Some(set) = self.buildsets.get(&request.buildset) else { continue };
            let Some(builder) = self.builders.get(&request.builder) else { continue };
            self.cancellers.watch(*id, (request.builder, &builder.name), &set.sourcestamps);
        }
    }
}

fn by_builder<'a>(
    filters: impl Iterator<Item = &'a Arc<CancelFilter>>,
) -> BTreeMap<String, Vec<Arc<CancelFilter>>> {
    let mut by_builder: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for filter in filters {
        for builder in &filter.builders {
            by_builder.entry(builder.clone()).or_default().push(Arc::clone(filter));
        }
    }
    by_builder
}

/// An expression without a value lets nothing pass: what is not meant must not be cancelled.
fn accepts(filter: &CancelFilter, stamp: &SourceStamp) -> bool {
    filter.filter.accepts(stamp).unwrap_or_else(|error| {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "it cannot be told whether a canceller means a source stamp; it is left alone");
        false
    })
}

/// Whose successor makes it obsolete. All patch sets of a change in Gerrit are one branch, as in Buildbot.
fn key_of(stamp: &SourceStamp) -> Option<BranchKey> {
    let branch = stamp.branch.as_deref()?;
    let of_gerrit = branch.strip_prefix("refs/changes/").and_then(|rest| {
        let mut parts = rest.split('/');
        let mut number = || parts.next().filter(|part| part.starts_with(|c: char| c.is_ascii_digit()));
        let (shard, change, _) = (number()?, number()?, number()?);
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        (is_number(shard) && is_number(change)).then(|| format!("refs/changes/{shard}/{change}"))
    });
    let branch = of_gerrit.unwrap_or_else(|| branch.to_owned());
    Some((stamp.project.clone(), stamp.codebase.clone(), stamp.repository.clone(), branch))
}
