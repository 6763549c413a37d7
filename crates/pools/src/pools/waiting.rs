//! What instances wait for, and what happens when they have waited long enough.

use std::time::Duration;

use model::{InstanceId, Results, Time};

use super::{
    Pools,
    entry::{Console, Entry},
    timers::Timer,
};
use crate::{Order, ReasonCode, State};

/// From being connected to being ready to build.
const READY_CHECK: Duration = Duration::from_secs(60);
/// A lost connection may come back for so long before builds on it are given up.
const LOST_BUILDS: Duration = Duration::from_secs(30);
/// And for so long before the machine is.
const LOST: Duration = Duration::from_secs(120);
/// Workers that ran while the master did not wait longer and longer before they try again: up to five minutes.
const LOST_AT_START: Duration = Duration::from_secs(360);
/// A machine whose machinery fails is kept for so long, for somebody to look at it or to hold it.
const QUARANTINE: Duration = Duration::from_secs(600);
/// Builds are cut off so long before their machine goes.
const CUT_OFF: Duration = Duration::from_secs(15);
/// How long status checks may fail.
const IMPAIRED: Duration = Duration::from_secs(180);
/// A machine takes so long to stop at most.
const STOPPING: Duration = Duration::from_secs(300);
/// A provider answers within this time, or never.
pub(super) const ANSWER: Duration = Duration::from_secs(120);
/// A machine that is on its way out is gone by then, or it is asked to go again.
const ON_ITS_WAY: Duration = Duration::from_secs(300);
/// A guest that was asked to shut down has so long to do it.
const SHUTDOWN: Duration = Duration::from_secs(60);

impl Pools {
    /// Until when an instance waits as it is.
    pub(super) fn due(&self, now: Time, entry: &Entry) -> Option<Time> {
        let (pool, since) = (&self.pools[entry.pool], entry.row.since);
        match entry.state() {
            State::Planned | State::Requested | State::Gone => None,
            // It does not boot yet.
            State::Booting if self.again_at(entry).is_some() => self.again_at(entry),
            State::Booting => Some(self.suspect_at(entry).min(self.boot_timeout_at(now, entry))),
            State::Suspect => match entry.console {
                Console::Awaited(until) => Some(until),
                _ => Some(self.boot_timeout_at(now, entry)),
            },
            State::ReadyCheck => Some(since + READY_CHECK),
            State::Idle | State::Busy => {
                let old = self.too_old_at(entry);
                let unwell =
                    entry.impaired.filter(|_| entry.state() == State::Idle).map(|since| since + IMPAIRED);
                earliest([old, unwell])
            }
            State::Draining => self.drained_by(entry),
            State::Stopping => earliest([Some(since + STOPPING), self.again_at(entry)]),
            State::Stopped => pool.spec.stopped.map(|stopped| since + stopped.age).or(Some(since)),
            State::Lost if !entry.running.is_empty() && !entry.interrupted => Some(since + LOST_BUILDS),
            State::Lost => Some(since + lost_patience(entry)),
            State::Quarantined => entry.running.is_empty().then(|| since + QUARANTINE),
            State::Held => Some(entry.row.held_until.unwrap_or(since)),
            State::Terminating if !pool.owned() => None,
            State::Terminating => {
                let ending = &entry.ending;
                let unanswered = ending.asked.map(|asked| asked + ANSWER);
                unanswered.or(ending.next).or_else(|| ending.acked.map(|acked| acked + ON_ITS_WAY))
            }
        }
    }

    /// Timers that are due.
    pub(super) fn fire(&mut self, now: Time) {
        for timer in self.timers.due(now) {
            match &timer {
                Timer::Instance(id) => self.fire_instance(now, *id),
                Timer::Call(token) => self.fire_call(now, token),
                Timer::Listing(pool) => self.fire_listing(now, *pool),
            }
            self.rearm(now, timer);
        }
    }

    /// Whoever still waits for something is woken again, and never at once: what has not helped now helps no better
    /// a moment later.
    fn rearm(&mut self, now: Time, timer: Timer) {
        let at = match &timer {
            Timer::Instance(id) => self.entries.get(id).and_then(|entry| self.due(now, entry)),
            Timer::Call(token) => self.call_due(token),
            Timer::Listing(pool) => self.listing_due(*pool),
        };
        self.timers.set(timer, at.map(|at| at.max(now + Duration::from_millis(250))));
    }

    fn fire_instance(&mut self, now: Time, id: InstanceId) {
        let Some(entry) = self.entries.get(&id) else { return };
        // What was learned since may have moved the time.
        if self.due(now, entry).is_none_or(|at| at > now) {
            return;
        }
        let since = entry.row.since;
        match entry.state() {
            State::Planned | State::Requested | State::Gone => {}
            State::Booting | State::Stopping if self.again_at(entry).is_some_and(|at| at <= now) => {
                self.call_again(now, id);
            }
            State::Booting => self.boot_is_late(now, id),
            State::Suspect => self.boot_is_over(now, id),
            State::ReadyCheck => {
                let text =
                    format!("its worker was connected for {} and never ready to build", span(READY_CHECK));
                self.let_go(now, id, ReasonCode::BootTimeout, text);
            }
            State::Idle | State::Busy if self.too_old_at(entry).is_some_and(|at| at <= now) => {
                let text = format!(
                    "it is {} old",
                    span(now.since(entry.row.launched_at.unwrap_or(entry.row.planned_at)))
                );
                self.drain(now, id, ReasonCode::MaxAge, text, None);
            }
            State::Idle | State::Busy => {
                let text = format!("its status checks have failed for {}", span(IMPAIRED));
                self.drain(now, id, ReasonCode::Impaired, text, None);
            }
            State::Draining => self.drain_is_late(now, id),
            State::Stopping => {
                let text = format!("it did not stop within {}", span(STOPPING));
                self.let_go(now, id, ReasonCode::ProviderError, text);
            }
            State::Stopped => {
                let text = format!("it was stopped for {}", span(now.since(since)));
                self.let_go(now, id, ReasonCode::StoppedExpired, text);
            }
            State::Lost if !entry.running.is_empty() && !entry.interrupted => {
                self.interrupt(now, id, format!("its worker was gone for {}", span(LOST_BUILDS)));
            }
            State::Lost if entry.stranger => {
                let gone = span(now.since(since));
                let text = format!("its worker was gone for {gone}, and only one of another boot came");
                self.let_go(now, id, ReasonCode::WrongIdentity, text);
            }
            State::Lost => {
                let text = format!("its worker was gone for {}", span(now.since(since)));
                self.let_go(now, id, ReasonCode::ConnectionLost, text);
            }
            State::Quarantined => {
                let text = entry.row.drain.as_ref().map_or_else(String::new, |drain| drain.text.clone());
                self.let_go(now, id, ReasonCode::Unhealthy, text);
            }
            State::Held => {
                self.drain(
                    now,
                    id,
                    ReasonCode::HoldExpired,
                    "it was held for as long as it should be".to_owned(),
                    None,
                );
            }
            State::Terminating => self.end_again(now, id),
        }
    }

    /// When an instance is too old for more builds.
    pub(super) fn too_old_at(&self, entry: &Entry) -> Option<Time> {
        let from = entry.row.launched_at.unwrap_or(entry.row.planned_at);
        self.pools[entry.pool].spec.max_age.map(|age| from + age)
    }

    fn drained_by(&self, entry: &Entry) -> Option<Time> {
        let busy = !entry.running.is_empty();
        let deadline = entry.row.drain.as_ref().and_then(|drain| drain.deadline);
        let deadline = deadline.map(|at| if busy && !entry.interrupted { at - CUT_OFF } else { at });
        let lost = entry.disconnected.filter(|_| busy && !entry.connected);
        let lost = lost.map(|since| since + if entry.interrupted { LOST } else { LOST_BUILDS });
        let shutdown = entry.shutdown.map(|at| at + SHUTDOWN);
        earliest([deadline, lost, shutdown])
    }

    fn drain_is_late(&mut self, now: Time, id: InstanceId) {
        let Some(entry) = self.entries.get(&id) else { return };
        let (code, text, deadline) = match &entry.row.drain {
            Some(drain) => (drain.code, drain.text.clone(), drain.deadline),
            None => (ReasonCode::Operator, String::new(), None),
        };
        if entry.running.is_empty() {
            if entry.is_guest() && entry.shutdown.is_some() && deadline.is_none_or(|at| at > now) {
                let why = format!("it was asked to shut down {} ago", span(SHUTDOWN));
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.shutdown = Some(now);
                }
                self.order(Order::Disconnect { instance: id, why });
                return self.retime(now, id);
            }
            return self.let_go(now, id, code, text);
        }
        if entry.interrupted {
            return self.let_go(now, id, code, text);
        }
        let why = match deadline {
            Some(at) if at - CUT_OFF <= now => format!("{text}: its builds are done elsewhere"),
            _ => format!("its worker was gone for {}", span(LOST_BUILDS)),
        };
        self.interrupt(now, id, why);
    }

    /// Ends the builds of an instance, for others to do them again.
    pub(super) fn interrupt(&mut self, now: Time, id: InstanceId, why: String) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.interrupted = true;
        let code = entry.row.drain.as_ref().map_or(ReasonCode::ConnectionLost, |drain| drain.code);
        self.note(now, id, code, format!("ends its builds, to be done again: {why}"));
        self.order(Order::Interrupt { instance: id, why, results: Results::Retry });
        self.retime(now, id);
    }
}

fn lost_patience(entry: &Entry) -> Duration {
    if entry.adopted { LOST_AT_START } else { LOST }
}

fn earliest<const N: usize>(times: [Option<Time>; N]) -> Option<Time> {
    times.into_iter().flatten().min()
}

/// A duration for people: `2 min`, `1 h 20 min`.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        120..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ if seconds % 3600 < 60 => format!("{} h", seconds / 3600),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
