//! One machine for each event.

use std::{collections::HashMap, time::Duration};

use model::Time;

use super::{Rule, View};

/// The way of terraform-aws-github-runner (4475534a9, `lambdas/functions/control-plane/src/scale-runners/scale-up.ts`):
/// a webhook puts a job in a queue that hands it out after 30 s; when the job still waits, one machine is started, and
/// neither what is idle nor what boots counts. A call that is turned away is made again after 30 s, and so is one for
/// a job that still waits. Machines run one job.
#[derive(Debug, Default)]
pub(super) struct Edge {
    asked: HashMap<usize, Time>,
}

const DELAY: Duration = Duration::from_secs(30);

impl Rule for Edge {
    fn period(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn batch(&self) -> u32 {
        1
    }

    fn wanted(&mut self, view: &View<'_>) -> u32 {
        let mut wanted = 0;
        for request in view.farm.queue() {
            let seen = self.asked.get(&request).copied();
            let since = seen.unwrap_or_else(|| view.farm.request(request).submitted_at);
            if view.now.since(since) >= DELAY {
                self.asked.insert(request, view.now);
                wanted += 1;
            }
        }
        wanted
    }
}
