//! What the master needs of storage, so that tests can stand in for it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use model::{BuildNumber, BuildsetId, Change, Time, WorkerId};
use storage::{BuildFilter, BuildOrder, Lease, Restored, StorageError, Store, WorkerRow, Write};

use super::ports::Boxed;
use crate::core::{Known, KnownScheduler, Unknown};

/// Where rows go.
pub trait Ledger: Send + Sync + 'static {
    /// Queues rows, in the order of the calls. The future is ready when they are durable, or never will be.
    fn enqueue(&self, writes: Vec<Write>) -> Boxed<Result<(), StorageError>>;
    /// What the tables know of these names.
    fn known(&self, names: Unknown) -> Boxed<Result<Known, StorageError>>;
    /// Takes a pool for this master.
    fn lease(&self, pool: String, at: Time, ttl: Duration) -> Boxed<Result<Lease, StorageError>>;
    /// Makes a lease last longer; `false` when it is this master's no more.
    fn renew_lease(
        &self,
        pool: String,
        fence: u64,
        at: Time,
        ttl: Duration,
    ) -> Boxed<Result<bool, StorageError>>;
    /// Gives a pool back.
    fn release_lease(&self, pool: String, fence: u64) -> Boxed<Result<(), StorageError>>;
}

impl Ledger for Store {
    fn enqueue(&self, writes: Vec<Write>) -> Boxed<Result<(), StorageError>> {
        self.enqueue(writes).boxed()
    }

    fn known(&self, names: Unknown) -> Boxed<Result<Known, StorageError>> {
        let store = self.clone();
        async move { look_up(&store, &names).await }.boxed()
    }

    fn lease(&self, pool: String, at: Time, ttl: Duration) -> Boxed<Result<Lease, StorageError>> {
        let store = self.clone();
        async move { store.lease(&pool, at, ttl).await }.boxed()
    }

    fn renew_lease(
        &self,
        pool: String,
        fence: u64,
        at: Time,
        ttl: Duration,
    ) -> Boxed<Result<bool, StorageError>> {
        let store = self.clone();
        async move { store.renew_lease(&pool, fence, at, ttl).await }.boxed()
    }

    fn release_lease(&self, pool: String, fence: u64) -> Boxed<Result<(), StorageError>> {
        let store = self.clone();
        async move { store.release_lease(&pool, fence).await }.boxed()
    }
}

async fn look_up(store: &Store, names: &Unknown) -> Result<Known, StorageError> {
    let Unknown { identities: names, pools } = names;
    let mut known = Known::default();
    if !names.builders.is_empty() {
        let wanted = |name: &String| names.builders.contains(name);
        for row in store.builders().await?.into_iter().filter(|row| wanted(&row.name)) {
            let filter = BuildFilter {
                builder: Some(row.id),
                order: BuildOrder::NumberDescending,
                limit: 1,
                ..BuildFilter::default()
            };
            let last = store.builds(filter).await?.first().map_or(BuildNumber(0), |build| build.number);
            known.builders.insert(row.name, (row.id, last));
        }
    }
    if !names.workers.is_empty() || !pools.is_empty() {
        for row in store.workers().await? {
            if names.workers.contains(&row.name) {
                let (name, known_as) = worker(row);
                known.workers.insert(name, known_as);
            } else if row.name.rsplit_once('-').is_some_and(|(pool, _)| pools.iter().any(|name| name == pool))
            {
                let (name, known_as) = worker(row);
                known.slots.insert(name, known_as);
            }
        }
    }
    if !names.schedulers.is_empty() {
        for row in store.schedulers().await?.into_iter().filter(|row| names.schedulers.contains(&row.name)) {
            let mut changes = Vec::new();
            for (id, important) in store.scheduler_changes(row.id).await? {
                // A change may have been pruned since.
                let change = store.change(id).await?;
                changes.extend(change.map(|found| (id, Arc::new(found.change), important)));
            }
            let states = store.object_states(&*row.name).await?;
            let scheduler = KnownScheduler { id: row.id, enabled: row.enabled, changes, states };
            known.schedulers.insert(row.name, scheduler);
        }
    }
    Ok(known)
}

/// What a worker's row says: its name, its id, and why it is paused (if it is).
pub(super) fn worker(row: WorkerRow) -> (String, (WorkerId, Option<String>)) {
    let paused = row.paused.then(|| row.pause_reason.unwrap_or_default());
    (row.name, (row.id, paused))
}

/// The changes that are the source stamps of each buildset that is not complete, or that somebody has not heard of.
pub(super) async fn changes_of(
    store: &Store,
    restored: &Restored,
) -> Result<BTreeMap<BuildsetId, Vec<Arc<Change>>>, StorageError> {
    let mut found = BTreeMap::new();
    let mut by_buildset = BTreeMap::new();
    for (id, buildset) in restored.buildsets.iter().chain(&restored.upstream) {
        let mut changes = Vec::new();
        for stamp in &buildset.row.sourcestamps {
            if !found.contains_key(stamp) {
                let row = store.change_of_sourcestamp(*stamp).await?;
                found.insert(*stamp, row.map(|row| Arc::new(row.change)));
            }
            changes.extend(found.get(stamp).cloned().flatten());
        }
        by_buildset.insert(*id, changes);
    }
    Ok(by_buildset)
}
