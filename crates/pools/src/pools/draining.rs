//! Instances that get no more builds, and go when the last one is done.

use std::time::Duration;

use model::{InstanceId, Time};

use super::{Pools, waiting::span};
use crate::{Drain, Order, ReasonCode, State, Warning};

/// An hour that is paid is used but for this last part of it.
pub(super) const LAST_OF_HOUR: Duration = Duration::from_secs(300);

impl Pools {
    /// Lets an instance go: at once when nothing runs on it, else when its builds are done, or at a deadline.
    pub(super) fn drain(
        &mut self,
        now: Time,
        id: InstanceId,
        code: ReasonCode,
        text: String,
        deadline: Option<Time>,
    ) {
        let Some(entry) = self.entries.get(&id) else { return };
        match entry.state() {
            State::Gone | State::Terminating => return,
            State::Draining => {
                // An earlier end is the news; the first reason stays otherwise.
                let before = entry.row.drain.as_ref().and_then(|drain| drain.deadline);
                let sooner = deadline.is_some_and(|at| before.is_none_or(|before| at < before));
                if sooner {
                    self.set_drain(now, id, code, text, deadline);
                    self.settle_drain(now, id);
                }
                return;
            }
            State::Planned
            | State::Requested
            | State::Booting
            | State::Suspect
            | State::Stopping
            | State::Stopped => {
                return self.let_go(now, id, code, text);
            }
            State::ReadyCheck
            | State::Idle
            | State::Busy
            | State::Lost
            | State::Quarantined
            | State::Held => {}
        }
        self.close(id, &text);
        self.set_drain(now, id, code, text, deadline);
        self.settle_drain(now, id);
    }

    fn set_drain(
        &mut self,
        now: Time,
        id: InstanceId,
        code: ReasonCode,
        text: String,
        deadline: Option<Time>,
    ) {
        self.note(now, id, code, format!("gets no more builds: {text}"));
        self.change(now, id, |entry| {
            entry.row.state = State::Draining;
            entry.row.since = now;
            entry.row.held_until = None;
            entry.row.drain = Some(Drain { code, text, deadline });
        });
        self.kick(now);
    }

    /// A draining instance goes when nothing runs on it.
    pub(super) fn settle_drain(&mut self, now: Time, id: InstanceId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if !entry.running.is_empty() || entry.state() != State::Draining {
            return self.touch(now, id);
        }
        let Some(Drain { code, text, .. }) = entry.row.drain.clone() else { return };
        if entry.is_guest() && entry.connected {
            if entry.shutdown.is_none() {
                entry.shutdown = Some(now);
                self.order(Order::Shutdown { instance: id });
            }
            return self.touch(now, id);
        }
        self.let_go(now, id, code, text);
    }

    /// The provider or the machine warns.
    pub(super) fn warned(&mut self, now: Time, id: InstanceId, warning: Warning) {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.state().is_live()) else { return };
        match warning {
            Warning::Interruption(at) => {
                let text = format!("the market takes it back in {}", span(at.since(now)));
                if !entry.running.is_empty() {
                    let pool = entry.pool;
                    self.pools[pool].endangered.insert(id);
                }
                self.drain(now, id, ReasonCode::Interrupted, text, Some(at));
                self.kick(now);
            }
            Warning::Rebalance => {
                if !std::mem::replace(&mut entry.rebalance, true) {
                    self.note(now, id, ReasonCode::Rebalance, "the market may take it back soon");
                }
            }
            Warning::Impaired(since) => {
                if entry.impaired.is_none() {
                    entry.impaired = Some(since.min(now));
                    self.note(now, id, ReasonCode::Impaired, "its status checks fail");
                    self.retime(now, id);
                }
            }
            Warning::Recovered => {
                if entry.impaired.take().is_some() {
                    self.note(now, id, ReasonCode::Impaired, "its status checks pass again");
                    self.retime(now, id);
                }
            }
        }
    }

    /// Machines of another template, or of an image that was given up, finish their builds and go.
    pub(super) fn drain_outdated(&mut self, now: Time, pool: usize) {
        let pool = &self.pools[pool];
        let old = |id: &InstanceId| {
            let entry = self.entries.get(id).filter(|entry| {
                matches!(entry.state(), State::Idle | State::Busy | State::Stopped) && pool.is_outdated(entry)
            })?;
            Some((*id, pool.why_outdated(entry)))
        };
        let outdated: Vec<(InstanceId, String)> = pool.members.iter().filter_map(old).collect();
        for (id, why) in outdated {
            self.drain(now, id, ReasonCode::OldTemplate, why, None);
        }
    }

    /// A pool is no longer in the configuration: all its machines finish their builds and go.
    pub(super) fn drain_all(&mut self, now: Time, pool: usize) {
        let members: Vec<InstanceId> = self.pools[pool].members.iter().copied().collect();
        for id in members {
            let text = "its pool is no longer in the configuration".to_owned();
            self.drain(now, id, ReasonCode::PoolGone, text, None);
        }
    }
}
