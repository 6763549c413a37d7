//! Evergreen's allocator.

use std::time::Duration;

use super::{Rule, View};

/// Evergreen (953ae910a5, `scheduler/utilization_based_host_allocator.go`), every 15 s
/// (`units/crons_remote_fifteen_second.go`): *new = Σ (expected duration of tasks shorter than T) / T + (tasks longer
/// than T) − free − ⌊0.4 × Σ partial credit of busy hosts⌋*; a host that will be free within T gives the share of T that
/// is then left; one that is overdue by three deviations gives none. T is 30 min by default.
#[derive(Debug)]
pub(super) struct Evergreen {
    /// T.
    pub(super) threshold: Duration,
}

impl Rule for Evergreen {
    fn period(&self) -> Duration {
        Duration::from_secs(15)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut off at the bounds")]
    fn wanted(&mut self, view: &View<'_>) -> u32 {
        let threshold = self.threshold.as_secs_f64();
        // A task that was never run counts as one of 10 min (`model/task/task.go`, defaultTaskDuration).
        let (expected, deviation) = view.members.durations().unwrap_or((600.0, 0.0));
        let pending = f64::from(view.pending);
        let needed = if expected >= threshold { pending } else { pending * expected / threshold };
        let credit: f64 = view
            .members
            .busy_since()
            .map(|since| {
                let left = expected - view.now.since(since).as_secs_f64();
                let is_overdue = left < -3.0 * deviation;
                if is_overdue { 0.0 } else { ((threshold - left.max(0.0)) / threshold).max(0.0) }
            })
            .sum();
        let free = f64::from(view.idle + view.booting);
        let new = (needed - free - (0.4 * credit).floor()).round();
        (new.max(0.0) as u32).min(view.pending)
    }
}
