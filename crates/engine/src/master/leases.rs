//! Leases: which pools are this master's to decide about.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pools::Event;
use storage::Lease;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Ledger;
use crate::Clock;

/// How long a lease lasts unless it is renewed.
pub(super) const TTL: Duration = Duration::from_secs(60);

/// The leases of all pools.
pub(super) struct Leases {
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    /// To each that is kept, the number that was found to be over.
    kept: BTreeMap<String, watch::Sender<u64>>,
    events: mpsc::Sender<Event>,
    heard: mpsc::Receiver<Event>,
    end: CancellationToken,
}

impl Leases {
    pub(super) fn new(ledger: Arc<dyn Ledger>, clock: Arc<dyn Clock>) -> Self {
        let (events, heard) = mpsc::channel(64);
        Self { ledger, clock, kept: BTreeMap::new(), events, heard, end: CancellationToken::new() }
    }

    /// Takes, or keeps, the lease of a pool from now on. `fence` is the number under which it is held already.
    pub(super) fn keep(&mut self, pool: String, fence: Option<u64>) {
        if self.kept.contains_key(&pool) {
            return;
        }
        // They are numbered from 1 on.
        let (lost, is_lost) = watch::channel(0);
        let (ledger, clock) = (Arc::clone(&self.ledger), Arc::clone(&self.clock));
        let keeping = keep(pool.clone(), fence, ledger, clock, self.events.clone(), is_lost);
        tokio::spawn(self.end.child_token().run_until_cancelled_owned(keeping));
        self.kept.insert(pool, lost);
    }

    /// The lease of this number was lost without our doing, and whoever says so knows it: another one is asked for, unless
    /// that is under way already. Nothing under way is cut off, as a number that nobody hears of would look like another
    /// master's.
    pub(super) fn lost(&self, pool: &str, fence: u64) {
        if let Some(lost) = self.kept.get(pool) {
            lost.send_replace(fence);
        }
    }

    /// Waits until a lease is taken or lost; for ever while nothing changes.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Event {
        match self.heard.recv().await {
            Some(event) => event,
            // Not while `events` is held here.
            None => std::future::pending().await,
        }
    }

    /// Keeps none any more.
    pub(super) fn end(&self) {
        self.end.cancel();
    }
}

/// Keeps a lease for ever, and tells when it comes and goes.
async fn keep(
    pool: String,
    mut fence: Option<u64>,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    events: mpsc::Sender<Event>,
    mut lost: watch::Receiver<u64>,
) {
    let mut good_until = Instant::now() + TTL;
    let mut told_of = String::new();
    // One that is held is renewed after a while, one that is not is taken at once.
    let mut wait = fence.is_some();
    loop {
        if wait {
            tokio::select! {
                () = sleep(TTL / 3) => {}
                told = lost.changed() => if told.is_err() { return },
            }
        }
        wait = true;
        if fence == Some(*lost.borrow_and_update()) {
            fence = None;
        }
        let asked = Instant::now();
        let before = fence;
        match fence {
            Some(number) => match ledger.renew_lease(pool.clone(), number, clock.now(), TTL).await {
                Ok(true) => good_until = asked + TTL,
                Ok(false) => {
                    warn!(pool, "another master has the pool now");
                    fence = None;
                }
                // While the database does not answer nobody else gets the lease, and nothing that needs one is written.
                Err(error) if Instant::now() >= good_until => {
                    warn!(
                        pool,
                        error = &error as &dyn std::error::Error,
                        "the lease of the pool has run out"
                    );
                    fence = None;
                }
                Err(_) => {}
            },
            None => match ledger.lease(pool.clone(), clock.now(), TTL).await {
                Ok(Lease::Ours(number)) => {
                    good_until = asked + TTL;
                    fence = Some(number);
                }
                Ok(Lease::Other { master, .. }) => {
                    if told_of != master {
                        info!(pool, master, "another master has the pool");
                        told_of = master;
                    }
                }
                Err(error) => {
                    warn!(
                        pool,
                        error = &error as &dyn std::error::Error,
                        "the lease of the pool cannot be taken"
                    );
                }
            },
        }
        let changed = fence != before;
        if changed && events.send(Event::Lease { pool: pool.clone(), fence }).await.is_err() {
            return;
        }
    }
}
