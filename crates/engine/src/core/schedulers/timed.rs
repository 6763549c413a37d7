//! `Periodic`, `Nightly` and `NightlyTriggerable`: builds at their times (`buildbot/schedulers/timed.py`, 4.3.0).
//!
//! A time that was missed while the master was down is made up for at once, once. Unlike Buildbot, which reckons with the
//! distance to UTC at the last time, times of the day are right when clocks are set forward or back.

use config::{Clockwork, SchedulerKind, Timed};
use model::{Json, SchedulerId, SourceStamp, Time};
use storage::{Classified, Write};

use super::{TimerKey, asking::Wish};
use crate::core::{Core, Deadline};

/// When it was last time for a build, in seconds since 1970.
const LAST_BUILD: &str = "last_build";
/// Whether it was to build only what had changed, the last time it built.
const LAST_ONLY_IF_CHANGED: &str = "last_only_if_changed";

impl Core {
    /// Sets the timer of a scheduler that builds by the clock; the timer of any other is stopped.
    pub(in crate::core) fn set_timer(&mut self, now: Time, id: SchedulerId) {
        let last = self.kept(id, LAST_BUILD).and_then(Json::as_f64).and_then(time);
        let Some(scheduler) = self.schedulers.get_mut(&id) else { return };
        if let Some(due) = scheduler.due.take() {
            self.deadlines.remove(&(due, Deadline::Timed(id)));
        }
        let enabled = scheduler.enabled;
        let timed = scheduler.config.as_ref().filter(|_| enabled).and_then(|config| config.kind.timed());
        let due = timed.and_then(|timed| next(timed, last, now)).map(|due| due.max(now));
        scheduler.due = due;
        self.deadlines.extend(due.map(|due| (due, Deadline::Timed(id))));
    }

    /// It is time for a build.
    pub(in crate::core) fn time_has_come(&mut self, now: Time, id: SchedulerId) {
        let Some(scheduler) = self.schedulers.get_mut(&id) else { return };
        let Some(due) = scheduler.due.take() else { return };
        let Some(config) = scheduler.config.clone() else { return };
        let Some(timed) = config.kind.timed() else { return };
        let is_first = self.kept(id, LAST_BUILD).is_none();
        self.keep(id, LAST_BUILD, seconds(due));
        if let SchedulerKind::NightlyTriggerable(_) = config.kind {
            self.build_last_trigger(now, id, &config, &timed.reason);
        } else {
            self.build_timed(now, id, &config, timed, due, is_first);
        }
        self.set_timer(now, id);
    }

    fn build_timed(
        &mut self,
        now: Time,
        id: SchedulerId,
        config: &config::Scheduler,
        timed: &Timed,
        due: Time,
        is_first: bool,
    ) {
        let last_only_if_changed = self.kept(id, LAST_ONLY_IF_CHANGED).is_none_or(model::template::is_true);
        let Some(scheduler) = self.schedulers.get_mut(&id) else { return };
        let waiting = scheduler.timers.get(&TimerKey::Only);
        let important = waiting.is_some_and(|timer| timer.changes.values().any(|change| change.important));
        let forced = timed.force_at.as_ref().is_some_and(|times| times.is_on(due));
        if last_only_if_changed && timed.only_if_changed && !important && !is_first && !forced {
            return;
        }
        let changes = scheduler.timers.remove(&TimerKey::Only).unwrap_or_default().changes;
        if last_only_if_changed != timed.only_if_changed {
            self.keep(id, LAST_ONLY_IF_CHANGED, timed.only_if_changed.into());
        }
        if changes.is_empty() {
            let stamps: Vec<SourceStamp> =
                config.codebases.iter().map(|codebase| self.default_stamp(id, codebase)).collect();
            let new = self.wished(config, Wish::of(timed.reason.clone(), stamps));
            self.add_buildset(now, new);
            return;
        }
        self.build_changes(now, id, config, &timed.reason, &changes);
        let done = changes.keys().copied().collect();
        self.write(Write::SchedulerChangesDone { scheduler: id, changes: Classified::These(done) });
    }
}

/// When it is time again; `None` is never.
fn next(timed: &Timed, last: Option<Time>, now: Time) -> Option<Time> {
    match (&timed.clockwork, last) {
        (Clockwork::Every(_), None) => Some(now),
        (Clockwork::Every(time), Some(last)) => Some(last + *time),
        (Clockwork::At(times), last) => times.next(last.unwrap_or(now)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of centuries are exact")]
fn seconds(at: Time) -> Json {
    Json::from(at.micros() as f64 / 1e6)
}

/// What a table says may be anything.
#[expect(clippy::cast_possible_truncation, reason = "it is bounded just before")]
fn time(seconds: f64) -> Option<Time> {
    (0.0..1e11).contains(&seconds).then(|| Time::from_micros((seconds * 1e6) as i64))
}
