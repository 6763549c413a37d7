//! What the pools begin with: from the tables, and with the leases that this master has got.

use std::collections::{BTreeMap, btree_map::Entry};

use config::Config;
use model::Time;
use pools::{Instance, PoolState, Setup};
use storage::{InstanceRow, Lease, RestoredPools, StorageError, Store};
use tracing::{error, warn};

use super::{leases, ledger, mint::StoreMint};
use crate::core::Hiring;

/// The leases of pools, by name; `None` for those that another master has.
pub(super) type Held = BTreeMap<String, Option<u64>>;

/// Takes the leases of the pools, and takes them up where the tables left them: in this order, so that nobody else writes
/// what was read.
pub(super) async fn take_up(
    store: &Store,
    config: &Config,
    now: Time,
) -> Result<(Hiring, Held), StorageError> {
    let names: Vec<String> = config.pools.iter().map(|pool| pool.spec.name.clone()).collect();
    let with_machines = store.live_pools().await?;
    for pool in with_machines.iter().filter(|pool| !names.contains(pool)) {
        error!(
            pool,
            "the pool is no longer in the configuration, but has machines that nobody can end: put it back with max = 0 \
             until they are gone"
        );
    }
    let mut held = Held::new();
    for pool in names.iter().chain(&with_machines).cloned() {
        let Entry::Vacant(entry) = held.entry(pool) else { continue };
        let lease = store.lease(entry.key(), now, leases::TTL).await?;
        if let Lease::Other { master, .. } = &lease {
            let pool = entry.key();
            warn!(
                pool,
                master,
                "another master has the pool; it is left alone, also when that one gives it up, until this one is started again"
            );
        }
        entry.insert(lease.fence());
    }
    let restored = store.restore_pools(names).await?;
    let RestoredPools { instances, states, durations, slots } = restored;
    let instances: Vec<Instance> = instances.into_iter().filter_map(instance).collect();
    let states =
        states.into_iter().filter_map(|(pool, state)| match serde_json::from_value::<PoolState>(state) {
            Ok(state) => Some((pool, state)),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(pool, error, "what the pool has learned cannot be read; it learns anew");
                None
            }
        });
    let others = held.iter().filter(|(_, fence)| fence.is_none()).map(|(pool, _)| pool.clone()).collect();
    let hiring = Hiring {
        setup: Setup {
            deployment: store.deployment().to_owned(),
            pools: config.pools.iter().map(|pool| std::sync::Arc::clone(&pool.spec)).collect(),
            limits: config.pool_limits,
            instances,
            others,
            states: states.collect(),
            durations,
        },
        mint: Box::new(StoreMint::new(store.clone())),
        slots: slots.into_values().map(ledger::worker).collect(),
    };
    Ok((hiring, held))
}

/// A row that cannot be read is as good as none: its machine, if there is one, is found among those that nobody knows.
fn instance(row: InstanceRow) -> Option<Instance> {
    serde_json::from_value(row.data)
        .inspect_err(|error| {
            let (instance, error) = (row.id.0, error as &dyn std::error::Error);
            error!(pool = row.pool, instance, error, "a row of the ledger of machines cannot be read");
        })
        .ok()
}
