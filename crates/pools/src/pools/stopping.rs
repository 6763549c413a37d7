//! Machines that are stopped rather than ended, and started again.

use std::time::Duration;

use model::{InstanceId, Time};

use super::{
    Pools, books,
    entry::{Again, Entry},
    waiting::span,
};
use crate::{
    Order, ReasonCode, State,
    plan::Launch,
    provider::{ErrorKind, ProviderError},
};

/// The first pause before a machine is asked to stop or to start again; each one is twice as long.
const PAUSE: Duration = Duration::from_secs(2);
/// It is asked so often again: about a minute. After that ending it and buying another one is quicker.
const TRIES: u32 = 5;

impl Pools {
    /// Whether one more machine of a pool may be stopped.
    pub(super) fn may_stop(&self, pool: usize) -> bool {
        let pool = &self.pools[pool];
        let stops = pool.capabilities.as_ref().is_some_and(|capabilities| capabilities.stops);
        let stopped = pool.count(State::Stopped) + pool.count(State::Stopping);
        stops && pool.spec.stopped.is_some_and(|most| stopped < most.max)
    }

    /// Stops a machine without work.
    pub(super) fn stop(&mut self, now: Time, id: InstanceId, text: &str) {
        let Some(entry) = self.entries.get(&id).filter(|entry| entry.state() == State::Idle) else { return };
        if entry.row.provider_id.is_none() {
            return;
        }
        self.close(id, text);
        self.change(now, id, |entry| {
            entry.row.state = State::Stopping;
            entry.row.since = now;
            entry.again = Again::default();
        });
        self.note(now, id, ReasonCode::Stopped, format!("is stopped: {text}"));
        self.order_power(id);
    }

    /// Asks the provider to stop a machine, or to start it again: as its state says.
    fn order_power(&mut self, id: InstanceId) {
        let Some(entry) = self.get(id) else { return };
        let (at, stops) = (entry.pool, entry.state() == State::Stopping);
        let Some(provider_id) = entry.row.provider_id.clone() else { return };
        let pool = self.pools[at].name().to_owned();
        self.count_call(at, if stops { "stop" } else { "resume" });
        self.order(if stops {
            Order::Stop { instance: id, pool, provider_id }
        } else {
            Order::Resume { instance: id, pool, provider_id }
        });
    }

    /// Whether a call to stop a machine or to start it again is made once more, later: the provider was busy, or nobody
    /// knows what became of it; and it was not made too often yet.
    fn retries(&mut self, now: Time, id: InstanceId, error: &ProviderError) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        let least = match &error.kind {
            ErrorKind::Throttled(after) => after.unwrap_or_default(),
            ErrorKind::Transport => Duration::ZERO,
            _ => return false,
        };
        if entry.again.tries >= TRIES {
            return false;
        }
        let pause = PAUSE.saturating_mul(1 << entry.again.tries).max(least);
        entry.again = Again { next: Some(now + pause), tries: entry.again.tries + 1 };
        let first = entry.again.tries == 1;
        if first {
            let text = format!("the provider did not do it yet, and is asked again: {error}");
            self.note(now, id, ReasonCode::Retried, text);
        }
        self.retime(now, id);
        true
    }

    /// When a call to stop a machine or to start it again is made once more.
    pub(super) fn again_at(&self, entry: &Entry) -> Option<Time> {
        entry.again.next.filter(|_| self.pools[entry.pool].owned())
    }

    /// A call to stop a machine or to start it again is made once more.
    pub(super) fn call_again(&mut self, now: Time, id: InstanceId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.again.next = None;
        if entry.state() != State::Stopping {
            entry.boot_from = now;
        }
        self.order_power(id);
    }

    /// The provider has stopped a machine, or not.
    pub(super) fn stopped(&mut self, now: Time, id: InstanceId, result: Result<(), ProviderError>) {
        let Some(entry) = self.entries.get(&id).filter(|entry| entry.state() == State::Stopping) else {
            return;
        };
        let (at, connected) = (entry.pool, entry.connected);
        match result {
            Ok(()) => {
                if connected {
                    self.order(Order::Disconnect { instance: id, why: "its machine is stopped".to_owned() });
                }
                let billing = self.pools[at].spec.billing;
                if let Some(entry) = self.entries.get(&id) {
                    self.pools[at].books.settle(&entry.row, billing, now);
                }
                self.change(now, id, |entry| {
                    entry.row.cost = Some(books::cost_so_far(&entry.row, billing, now));
                    entry.row.launched_at = None;
                    entry.row.state = State::Stopped;
                    entry.row.since = now;
                    entry.connected = false;
                });
                self.note(now, id, ReasonCode::Stopped, "is stopped, and can be started again");
            }
            Err(error) => {
                self.count_failed_call(at, "stop");
                if self.retries(now, id, &error) {
                    return;
                }
                self.let_go(now, id, ReasonCode::ProviderError, format!("it could not be stopped: {error}"));
            }
        }
    }

    /// Starts stopped machines again, the one that was stopped last first.
    pub(super) fn resume(&mut self, now: Time, at: usize, launch: &Launch) {
        let pool = &self.pools[at];
        let good = |id: &&InstanceId| self.entries.get(id).is_some_and(|entry| !pool.is_outdated(entry));
        let ids: Vec<InstanceId> =
            pool.stopped.iter().rev().filter(good).take(launch.count as usize).copied().collect();
        for id in ids {
            if self.get(id).is_none_or(|entry| entry.row.provider_id.is_none()) {
                continue;
            }
            self.change(now, id, |entry| {
                entry.row.state = State::Booting;
                entry.row.since = now;
                entry.row.launched_at = Some(now);
                // It boots anew, and nobody knows that boot yet.
                entry.row.boot = None;
                entry.boot_from = now;
                (entry.ready, entry.failed, entry.settled, entry.adopted) = (false, false, true, false);
                entry.resumed = true;
                // It may run on other hardware now.
                entry.impaired = None;
                entry.again = Again::default();
            });
            self.note(now, id, ReasonCode::Resumed, format!("is started again: {}", launch.text));
            *self.pools[at].totals.launches.entry(ReasonCode::Resumed).or_default() += 1;
            self.order_power(id);
        }
    }

    /// The provider has started a machine again, or not.
    pub(super) fn resumed(&mut self, now: Time, id: InstanceId, result: Result<(), ProviderError>) {
        let Some(entry) = self.entries.get(&id).filter(|entry| entry.resumed) else { return };
        let (at, state, since) = (entry.pool, entry.state(), entry.row.since);
        let Err(error) = result else { return };
        self.count_failed_call(at, "resume");
        let boots = matches!(state, State::Booting | State::Suspect);
        if state == State::Suspect {
            // It never began to.
            self.set(now, id, State::Booting);
        }
        if boots && !self.retries(now, id, &error) {
            let text = format!("it could not be started again after {}: {error}", span(now.since(since)));
            self.let_go(now, id, ReasonCode::ProviderError, text);
        }
    }
}
