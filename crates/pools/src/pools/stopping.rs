//! Machines that are stopped rather than ended, and started again.

use model::{InstanceId, Time};

use super::{Pools, books, waiting::span};
use crate::{Order, ReasonCode, State, plan::Launch, provider::ProviderError};

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
        let (at, name) = (entry.pool, self.pools[entry.pool].name().to_owned());
        let Some(provider_id) = entry.row.provider_id.clone() else { return };
        self.close(id, text);
        self.set(now, id, State::Stopping);
        self.note(now, id, ReasonCode::Stopped, format!("is stopped: {text}"));
        self.count_call(at, "stop");
        self.order(Order::Stop { instance: id, pool: name, provider_id });
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
            let name = self.pools[at].name().to_owned();
            let Some(provider_id) = self.get(id).and_then(|entry| entry.row.provider_id.clone()) else {
                continue;
            };
            self.change(now, id, |entry| {
                entry.row.state = State::Booting;
                entry.row.since = now;
                entry.row.launched_at = Some(now);
                // It boots anew, and nobody knows that boot yet.
                entry.row.boot = None;
                entry.boot_from = now;
                (entry.ready, entry.failed, entry.settled, entry.adopted) = (false, false, true, false);
                entry.resumed = true;
            });
            self.note(now, id, ReasonCode::Resumed, format!("is started again: {}", launch.text));
            self.count_call(at, "resume");
            *self.pools[at].totals.launches.entry(ReasonCode::Resumed).or_default() += 1;
            self.order(Order::Resume { instance: id, pool: name, provider_id });
        }
    }

    /// The provider has started a machine again, or not.
    pub(super) fn resumed(&mut self, now: Time, id: InstanceId, result: Result<(), ProviderError>) {
        let Some(entry) = self.entries.get(&id).filter(|entry| entry.resumed) else { return };
        let (at, state, since) = (entry.pool, entry.state(), entry.row.since);
        let Err(error) = result else { return };
        self.count_failed_call(at, "resume");
        if state == State::Booting {
            let text = format!("it could not be started again after {}: {error}", span(now.since(since)));
            self.let_go(now, id, ReasonCode::ProviderError, text);
        }
    }
}
