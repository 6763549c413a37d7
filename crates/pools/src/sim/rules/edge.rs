//! One machine for each event.

use std::{collections::HashMap, time::Duration};

use model::Time;

use super::{Rule, View};

/// The way of terraform-aws-github-runner (4475534a9, `lambdas/functions/control-plane/src/scale-runners/scale-up.ts`):
/// a webhook puts a job in a queue that hands it out after 30 s; when the job still waits, one machine is started, and
/// neither what is idle nor what boots counts. A call that is turned away is made again after 30 s if the job still waits;
/// one that worked never is. `scale-down.ts` looks every 5 min and ends what has no work and is older than 5 min.
#[derive(Debug, Default)]
pub(super) struct Edge {
    /// When to look at a job (again); `None` once a machine was started for it.
    looks_at: HashMap<usize, Option<Time>>,
    due: Vec<usize>,
}

const DELAY: Duration = Duration::from_secs(30);
const SCALE_DOWN: i64 = 300_000_000;

impl Rule for Edge {
    fn period(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn batch(&self) -> u32 {
        1
    }

    fn is_blind(&self) -> bool {
        true
    }

    fn wanted(&mut self, view: &View<'_>) -> u32 {
        self.due.clear();
        for request in view.farm.queue() {
            let first = view.farm.request(request).submitted_at + DELAY;
            let looks_at = self.looks_at.entry(request).or_insert(Some(first));
            if looks_at.is_some_and(|at| at <= view.now) {
                *looks_at = Some(view.now + DELAY);
                self.due.push(request);
            }
        }
        u32::try_from(self.due.len()).unwrap_or(u32::MAX)
    }

    fn started(&mut self, machines: usize) {
        for request in self.due.iter().take(machines) {
            self.looks_at.insert(*request, None);
        }
    }

    fn leaves_at(&self, asked_at: Time, idle_since: Time) -> Time {
        let earliest = idle_since.max(asked_at + Duration::from_secs(300)).micros();
        Time::from_micros((earliest / SCALE_DOWN + 1) * SCALE_DOWN)
    }
}
