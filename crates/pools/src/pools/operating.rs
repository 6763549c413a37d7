//! What people decide.

use std::time::Duration;

use model::{InstanceId, Time};

use super::{Pools, waiting::span};
use crate::{Drain, Operator, ReasonCode, State};

impl Pools {
    /// Somebody decides.
    pub(super) fn operate(&mut self, now: Time, operator: Operator) {
        match operator {
            Operator::Drain(id) => {
                self.drain(now, id, ReasonCode::Operator, "somebody asked for it".to_owned(), None);
            }
            Operator::Hold { instance, duration, reason } => self.hold(now, instance, duration, &reason),
            Operator::Release(id) => {
                if self.state_of(id) == State::Held {
                    let text = "it is no longer held".to_owned();
                    self.drain(now, id, ReasonCode::Operator, text, None);
                }
            }
            Operator::Pause { pool, reason } => {
                if let Some(at) = self.names.get(&pool).copied() {
                    self.note_pool(now, at, ReasonCode::Paused, format!("starts no more machines: {reason}"));
                    self.pools[at].state.paused = Some(reason);
                    self.out.pools.insert(at);
                    self.kick(now);
                }
            }
            Operator::Resume(pool) => {
                if let Some(at) = self.names.get(&pool).copied()
                    && self.pools[at].state.paused.take().is_some()
                {
                    self.note_pool(now, at, ReasonCode::Operator, "may start machines again");
                    self.out.pools.insert(at);
                    self.kick(now);
                }
            }
            Operator::Scale { pool, min } => {
                if let Some(at) = self.names.get(&pool).copied() {
                    let text = match min {
                        Some(min) => format!("has at least {min} machines, because somebody asked for it"),
                        None => "has as many machines as is configured".to_owned(),
                    };
                    self.note_pool(now, at, ReasonCode::Scaled, text);
                    self.pools[at].state.scaled = min;
                    self.out.pools.insert(at);
                    self.kick(now);
                }
            }
            Operator::Trust(pool) => {
                if let Some(at) = self.names.get(&pool).copied()
                    && !std::mem::replace(&mut self.pools[at].listing.complete, true)
                {
                    let text =
                        "starts machines though none were listed yet: somebody knows that there are none";
                    self.note_pool(now, at, ReasonCode::Operator, text);
                    self.kick(now);
                }
            }
        }
    }

    /// Somebody keeps an instance, for a while.
    fn hold(&mut self, now: Time, id: InstanceId, duration: Duration, reason: &str) {
        let Some(entry) = self.entries.get(&id) else { return };
        let duration = duration.min(self.pools[entry.pool].spec.max_hold);
        let holdable = matches!(
            entry.state(),
            State::Booting
                | State::Suspect
                | State::ReadyCheck
                | State::Idle
                | State::Busy
                | State::Draining
                | State::Lost
                | State::Quarantined
                | State::Held
        );
        // What the market takes back nobody can keep.
        let lost = entry.row.drain.as_ref().is_some_and(|drain| drain.deadline.is_some());
        if !holdable || lost {
            return;
        }
        let text = format!("somebody holds it for {}: {reason}", span(duration));
        self.close(id, &text);
        self.change(now, id, |entry| {
            entry.row.state = State::Held;
            entry.row.since = now;
            entry.row.held_until = Some(now + duration);
            entry.row.drain = Some(Drain { code: ReasonCode::Operator, text: text.clone(), deadline: None });
        });
        self.note(now, id, ReasonCode::Operator, text);
        self.kick(now);
    }
}
