//! What pools decide stands under a lease: it is committed apart from everything else, so that a lease that is over stops
//! nothing but its pool.

use std::collections::BTreeMap;

use pools::{Decision, Order, Subject};
use storage::Write;
use tracing::info;

use crate::{Action, Answer, Batch, Notice};

/// Takes out of a batch what stands under the lease of each pool.
pub(super) fn split(batch: Batch) -> (Batch, BTreeMap<String, Batch>) {
    let mut pools: BTreeMap<String, Batch> = BTreeMap::new();
    // Most batches have nothing of a pool.
    if !(batch.writes.iter().any(|write| pool_of(write).is_some())
        || batch
            .actions
            .iter()
            .any(|action| matches!(action, Action::Provider(_) | Action::Credential { .. }))
        || batch.notices.iter().any(|notice| matches!(notice, Notice::Decision(_))))
    {
        return (batch, pools);
    }
    let mut rest = Batch::default();
    for write in batch.writes {
        match pool_of(&write).map(str::to_owned) {
            Some(pool) => pools.entry(pool).or_default().writes.push(write),
            None => rest.writes.push(write),
        }
    }
    for action in batch.actions {
        let pool = match &action {
            Action::Provider(order) => pool_of_order(order),
            // Who a machine's worker is must not be said before it is written.
            Action::Credential { pool, .. } | Action::Reply { answer: Answer::Enrolled { pool, .. }, .. } => {
                Some(&**pool)
            }
            _ => None,
        };
        match pool.map(str::to_owned) {
            Some(pool) => pools.entry(pool).or_default().actions.push(action),
            None => rest.actions.push(action),
        }
    }
    for notice in batch.notices {
        match notice {
            Notice::Decision(decision) => {
                let pool = decision.pool.clone();
                pools.entry(pool).or_default().notices.push(Notice::Decision(decision));
            }
            other => rest.notices.push(other),
        }
    }
    (rest, pools)
}

fn pool_of(write: &Write) -> Option<&str> {
    match write {
        Write::Instance(row) => Some(&row.pool),
        Write::PoolState { pool, .. } => Some(pool),
        Write::Decision(row) => Some(&row.pool),
        _ => None,
    }
}

fn pool_of_order(order: &Order) -> Option<&str> {
    match order {
        Order::Launch(request) => Some(&request.pool),
        Order::List { pool }
        | Order::Terminate { pool, .. }
        | Order::Reap { pool, .. }
        | Order::Cancel { pool, .. }
        | Order::Stop { pool, .. }
        | Order::Resume { pool, .. }
        | Order::Console { pool, .. }
        | Order::Credential { pool, .. } => Some(pool),
        Order::Close { .. }
        | Order::Open { .. }
        | Order::Interrupt { .. }
        | Order::Disconnect { .. }
        | Order::Shutdown { .. } => None,
    }
}

/// A decision as an event of the log, once it is durable.
pub(super) fn log(decision: &Decision) {
    let instance = match decision.subject {
        Subject::Instance(instance) => Some(instance.0),
        Subject::Pool | Subject::Request(_) => None,
    };
    let request = match decision.subject {
        Subject::Request(request) => Some(request.0),
        Subject::Pool | Subject::Instance(_) => None,
    };
    info!(
        target: "ganger::pools",
        pool = decision.pool,
        instance,
        request,
        code = ?decision.code,
        "{}",
        decision.text
    );
}
