//! What the master needs of storage, so that tests can stand in for it.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::FutureExt as _;
use model::{BuildNumber, BuildsetId, Change};
use storage::{BuildFilter, BuildOrder, Identities, Restored, StorageError, Store, Write};

use super::ports::Boxed;
use crate::core::{Known, KnownScheduler};

/// Where rows go.
pub trait Ledger: Send + Sync + 'static {
    /// Queues rows, in the order of the calls. The future is ready when they are durable, or never will be.
    fn enqueue(&self, writes: Vec<Write>) -> Boxed<Result<(), StorageError>>;
    /// What the tables know of these names.
    fn known(&self, names: Identities) -> Boxed<Result<Known, StorageError>>;
}

impl Ledger for Store {
    fn enqueue(&self, writes: Vec<Write>) -> Boxed<Result<(), StorageError>> {
        self.enqueue(writes).boxed()
    }

    fn known(&self, names: Identities) -> Boxed<Result<Known, StorageError>> {
        let store = self.clone();
        async move { look_up(&store, &names).await }.boxed()
    }
}

async fn look_up(store: &Store, names: &Identities) -> Result<Known, StorageError> {
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
    if !names.workers.is_empty() {
        for row in store.workers().await?.into_iter().filter(|row| names.workers.contains(&row.name)) {
            let paused = row.paused.then(|| row.pause_reason.unwrap_or_default());
            known.workers.insert(row.name, (row.id, paused));
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
            known.schedulers.insert(row.name, KnownScheduler { id: row.id, enabled: row.enabled, changes });
        }
    }
    Ok(known)
}

/// The changes that are the source stamps of each buildset that is not complete.
pub(super) async fn changes_of(
    store: &Store,
    restored: &Restored,
) -> Result<BTreeMap<BuildsetId, Vec<Arc<Change>>>, StorageError> {
    let mut found = BTreeMap::new();
    let mut by_buildset = BTreeMap::new();
    for (id, buildset) in &restored.buildsets {
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
