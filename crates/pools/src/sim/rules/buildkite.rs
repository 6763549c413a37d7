//! Buildkite's agent scaler.

use std::time::Duration;

use model::Time;

use super::{Rule, View};

/// Buildkite's buildkite-agent-scaler (49c4145, `scaler/scaling_calculator.go`) polls every 10 s and sets
/// *desired = scheduled + running*; elastic-ci-stack-for-aws (b4948d82, `templates/aws-stack.yml`) lets it scale out
/// only once in 300 s. Machines end themselves after 600 s without work.
#[derive(Debug, Default)]
pub(super) struct Buildkite {
    scaled_at: Option<Time>,
}

const COOL_DOWN: Duration = Duration::from_secs(300);

impl Rule for Buildkite {
    fn period(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn wanted(&mut self, view: &View<'_>) -> u32 {
        let wanted = (view.pending + view.busy).saturating_sub(view.live());
        if wanted == 0 || self.scaled_at.is_some_and(|at| view.now.since(at) < COOL_DOWN) {
            return 0;
        }
        self.scaled_at = Some(view.now);
        wanted
    }
}
