//! Taskcluster's estimator.

use std::time::Duration;

use super::{Rule, View};

/// Taskcluster's worker-manager (9d59eb59f6, `services/worker-manager/src/estimator.js`), every 10 s:
/// *idle = max(0, existing − claimed); adjusted = max(0, pending − idle); desired = adjusted + existing;
/// spawn = max(0, desired − existing) − requested*. As it reads, `existing` has the requested workers in it already
/// (`data.js`, `updateFromWorker`), so what boots is taken off twice.
#[derive(Debug)]
pub(super) struct Taskcluster;

impl Rule for Taskcluster {
    fn period(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn wanted(&mut self, view: &View<'_>) -> u32 {
        let existing = view.live();
        let idle = existing.saturating_sub(view.busy);
        let adjusted = view.pending.saturating_sub(idle);
        let desired = (adjusted + existing).min(view.members.max());
        desired.saturating_sub(existing).saturating_sub(view.booting)
    }
}
