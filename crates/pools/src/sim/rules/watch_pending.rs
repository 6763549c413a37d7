//! Mozilla's watch_pending.

use std::time::Duration;

use model::Time;

use super::{Rule, View};

/// Mozilla's build-cloud-tools (49a9e98, `cloudtools/scripts/aws_watch_pending.py`), run by cron, here every 5 min:
/// *need = pending − everything started less than 20 min ago − 10 % of what is older and runs*. `aws_stop_idle.py` ends a
/// spot machine that is idle for 5 min, only between the minutes 45 and 60 of each hour that is paid,
/// and looks every 5 min.
#[derive(Debug, Default)]
pub(super) struct WatchPending {}

const FRESH: Duration = Duration::from_secs(20 * 60);

impl Rule for WatchPending {
    fn period(&self) -> Duration {
        Duration::from_secs(300)
    }

    fn wanted(&mut self, view: &View<'_>) -> u32 {
        let (mut fresh, mut older) = (0, 0);
        for asked_at in view.members.asked_at() {
            if view.now.since(asked_at) < FRESH { fresh += 1 } else { older += 1 }
        }
        view.pending.saturating_sub(fresh + older / 10)
    }

    fn leaves_at(&self, asked_at: Time, idle_since: Time) -> Time {
        let mut at = idle_since + Duration::from_secs(300);
        at = at + Duration::from_secs(300 - at.since(asked_at).as_secs() % 300);
        while at.since(asked_at).as_secs() % 3600 < 45 * 60 {
            at = at + Duration::from_secs(300);
        }
        at
    }
}
