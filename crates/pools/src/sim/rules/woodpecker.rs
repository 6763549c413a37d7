//! Woodpecker's autoscaler.

use std::time::Duration;

use super::{Rule, View};

/// Woodpecker's autoscaler (9176b31, `engine/autoscaler.go`), every minute:
/// *⌈(pending + running) / w⌉ − ⌈(free + running) / w⌉*. What boots is in neither term: as long as it boots, each minute
/// starts the demand again, up to the maximum.
#[derive(Debug)]
pub(super) struct Woodpecker;

impl Rule for Woodpecker {
    fn period(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn wanted(&mut self, view: &View<'_>) -> u32 {
        view.pending.saturating_sub(view.idle)
    }
}
