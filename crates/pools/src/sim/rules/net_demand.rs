//! Net demand: what waits less what is there or coming.

use std::time::Duration;

use model::Time;

use super::{Rule, View};

/// Jenkins' ec2-plugin (05f9d511, `NoDelayProvisionerStrategy.java`): on each evaluation of the queue,
/// *launch = queued − (idle + connecting + planned)*. Its retention strategy ends what is idle for as long as the user says.
/// Taskcluster's estimator means the same.
#[derive(Debug)]
pub(super) struct NetDemand {
    /// How long a machine without work is kept.
    pub(super) idle: Duration,
}

impl Rule for NetDemand {
    fn period(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn wanted(&mut self, view: &View<'_>) -> u32 {
        view.pending.saturating_sub(view.idle + view.booting)
    }

    fn leaves_at(&self, _asked_at: Time, idle_since: Time) -> Time {
        idle_since + self.idle
    }
}
