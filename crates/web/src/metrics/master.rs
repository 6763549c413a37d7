//! Figures of the master as a whole.

use engine::{
    core::{LinkStatus, WorkerStatus},
    master::Health,
};
use model::Time;

use super::{Figures, number, truth};
use crate::exposition::{Page, whole};

pub(super) fn put(page: &mut Page, figures: &Figures) {
    page.gauge("ganger_build_info", "Always 1; the label has the version of the program.")
        .put(&[("version", figures.version)], 1.0);
    page.gauge("ganger_start_time_seconds", "When the master was started, in seconds since 1970.")
        .put(&[], figures.started_at.since(Time::default()).as_secs_f64());
    page.gauge("ganger_database_up", "Whether the database takes what the master writes.")
        .put(&[], truth(figures.health != Health::Stalled));
    page.counter(
        "ganger_turns",
        "How often the core was woken because a pass of the pools or a timer was due.",
    )
    .put(&[], whole(figures.turns.count));
    page.counter("ganger_turn_seconds", "How long that took; nothing else is decided meanwhile.")
        .put(&[], figures.turns.took.as_secs_f64());
    let Some(status) = &figures.status else { return };
    page.gauge("ganger_draining", "Whether the master starts no more builds because it is about to end.")
        .put(&[], truth(status.draining));
    // Nobody misses the worker of a slot that is empty.
    let is_vacant = |worker: &WorkerStatus| {
        let slot = worker.name.rsplit_once('-').filter(|(_, number)| number.parse::<u32>().is_ok());
        worker.link == LinkStatus::Disconnected
            && slot.is_some_and(|(name, _)| figures.pools.iter().any(|pool| pool.name == name))
    };
    let mut workers = page.gauge(
        "ganger_workers",
        "Workers by the state of their connection; those of pools only while there is one.",
    );
    for (name, link) in [
        ("connected", LinkStatus::Connected),
        ("connecting", LinkStatus::Connecting),
        ("disconnected", LinkStatus::Disconnected),
    ] {
        let count = status.workers.iter().filter(|worker| worker.link == link && !is_vacant(worker)).count();
        workers.put(&[("state", name)], number(count));
    }
    page.gauge("ganger_workers_paused", "Workers that somebody paused.")
        .put(&[], number(status.workers.iter().filter(|worker| worker.paused.is_some()).count()));
    page.gauge("ganger_builds_running", "Builds that run.").put(&[], number(status.running.len()));
    page.gauge("ganger_requests_pending", "Build requests that wait, of all builders.")
        .put(&[], number(status.pending.len()));
}
