//! The end of an instance: asked for one by one, for as long as it takes.

use std::time::Duration;

use model::{InstanceId, Time};

use super::{Pools, books, entry::Ending};
use crate::{Ended, Order, ReasonCode, State, provider::ProviderError};

/// The first pause before an end is asked for again; each one is twice as long.
const PAUSE: Duration = Duration::from_secs(5);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

impl Pools {
    /// Ends an instance, whatever runs on it: what may not be cut off is drained first.
    pub(super) fn let_go(&mut self, now: Time, id: InstanceId, code: ReasonCode, text: String) {
        let Some(entry) = self.entries.get(&id) else { return };
        let (at, state) = (entry.pool, entry.state());
        match state {
            State::Gone | State::Terminating => return,
            State::Busy => {
                // Never: who wants this drains it first.
                return self.drain(now, id, code, text, None);
            }
            State::Planned => return self.gone(now, id, code, &text),
            _ if entry.is_guest() => {
                // Nobody ends a guest but its owner.
                if entry.connected {
                    self.order(Order::Disconnect { instance: id, why: text.clone() });
                }
                return self.gone(now, id, code, &text);
            }
            _ => {}
        }
        if matches!(state, State::Booting | State::Suspect | State::ReadyCheck) && !entry.ready {
            if is_fault(code) {
                self.boot_failed(now, id);
            }
            self.settle_boot(id);
        }
        self.note(now, id, code, format!("is ended: {text}"));
        self.burn(id);
        self.close(id, &text);
        self.change(now, id, |entry| {
            entry.row.state = State::Terminating;
            entry.row.since = now;
            entry.row.held_until = None;
            entry.row.ended = Some(Ended { code, text: text.clone() });
            entry.ending = Ending { next: Some(now), ..Ending::default() };
        });
        self.pools[at].endangered.remove(&id);
        if self.get(id).is_some_and(|entry| entry.connected) {
            self.order(Order::Disconnect { instance: id, why: text });
        }
        self.end_again(now, id);
        self.kick(now);
    }

    /// Nothing can log in as an instance any more.
    fn burn(&mut self, id: InstanceId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.row.verifier.take().is_some() {
            let pool = self.pools[entry.pool].name().to_owned();
            self.order(Order::Credential { instance: id, pool, verifier: None });
        }
    }

    /// Asks the provider to end an instance (again), if it can be asked now.
    pub(super) fn end_again(&mut self, now: Time, id: InstanceId) {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.state() == State::Terminating)
        else {
            return;
        };
        let pool = &mut self.pools[entry.pool];
        if !pool.owned() {
            return self.retime(now, id);
        }
        if let Some(asked) = entry.ending.asked.take() {
            // No answer: as if it had failed.
            entry.ending.tries = entry.ending.tries.saturating_add(1);
            entry.ending.next = Some(asked.max(now));
        }
        let Some(provider_id) = entry.row.provider_id.clone() else {
            entry.ending.next = None;
            if self.calls.contains_key(&entry.row.token) {
                // Whether there is a machine is not known yet.
                return self.retime(now, id);
            }
            let Ended { code, text } = entry.row.ended.clone().unwrap_or_else(|| Ended {
                code: ReasonCode::Cancelled,
                text: "there is no machine".to_owned(),
            });
            return self.gone(now, id, code, &text);
        };
        if !pool.ends.take(now, 1) {
            entry.ending.next = Some(pool.ends.next(now));
            return self.retime(now, id);
        }
        (entry.ending.next, entry.ending.asked) = (None, Some(now));
        let (at, pool) = (entry.pool, pool.name().to_owned());
        self.count_call(at, "terminate");
        self.order(Order::Terminate { instance: id, pool, provider_id });
        self.retime(now, id);
    }

    /// The provider has answered.
    pub(super) fn terminated(&mut self, now: Time, id: InstanceId, result: Result<(), ProviderError>) {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.state() == State::Terminating)
        else {
            return;
        };
        entry.ending.asked = None;
        let at = entry.pool;
        match result {
            Ok(()) => {
                (entry.ending.acked, entry.ending.next, entry.ending.tries) = (Some(now), None, 0);
                let going = self.look(at).going;
                self.list_by(at, now + going);
            }
            Err(error) => {
                let pause = PAUSE.saturating_mul(1 << entry.ending.tries.min(10)).min(LONGEST_PAUSE);
                entry.ending.next = Some(now + pause);
                entry.ending.tries = entry.ending.tries.saturating_add(1);
                let first = entry.ending.tries == 1;
                self.count_failed_call(at, "terminate");
                if first {
                    let text =
                        format!("the provider did not end it, and is asked again until it does: {error}");
                    self.note(now, id, ReasonCode::NotEnded, text);
                }
            }
        }
        self.retime(now, id);
    }

    /// An instance is gone: its row stays for the books.
    pub(super) fn gone(&mut self, now: Time, id: InstanceId, code: ReasonCode, text: &str) {
        let Some(entry) = self.entries.get(&id).filter(|entry| entry.state() != State::Gone) else { return };
        let (at, state, used) = (entry.pool, entry.state(), entry.row.builds > 0);
        let (guest, launched) = (entry.is_guest(), entry.row.launched_at);
        let booting = matches!(state, State::Booting | State::Suspect | State::ReadyCheck);
        if !guest && !entry.ready && booting && is_fault(code) {
            self.boot_failed(now, id);
        }
        self.burn(id);
        if self.get(id).is_some_and(|entry| entry.connected) && !guest {
            self.order(Order::Disconnect { instance: id, why: text.to_owned() });
        }
        let billing = self.pools[at].spec.billing;
        let (mut ended, mut cost) = (None, model::pool::Money::default());
        self.change(now, id, |entry| {
            let acked = entry.ending.acked.unwrap_or(now).min(now);
            cost = books::plus(
                entry.row.cost.unwrap_or_default(),
                if entry.row.state == State::Stopped {
                    model::pool::Money::default()
                } else {
                    books::cost_of_run(&entry.row, billing, acked)
                },
            );
            if entry.row.ended.is_none() {
                entry.row.ended = Some(Ended { code, text: text.to_owned() });
            }
            ended.clone_from(&entry.row.ended);
        });
        if let Some(entry) = self.entries.get(&id) {
            self.pools[at].books.settle(&entry.row, billing, now);
        }
        self.settle_boot(id);
        self.leave_call(id);
        self.change(now, id, |entry| {
            entry.row.state = State::Gone;
            entry.row.since = now;
            entry.row.ended_at = Some(now);
            entry.row.cost = Some(cost);
            entry.connected = false;
        });
        let code = ended.map_or(code, |ended| ended.code);
        self.note(now, id, code, format!("is gone: {text}"));
        let Some(entry) = self.entries.get(&id) else { return };
        let pool = &mut self.pools[at];
        pool.members.remove(&id);
        pool.endangered.remove(&id);
        pool.withheld.remove(&id);
        pool.slots.release(entry.row.slot.number);
        if let Some(provider_id) = &entry.row.provider_id
            && pool.by_provider_id.get(provider_id) == Some(&id)
        {
            pool.by_provider_id.remove(provider_id);
        }
        *pool.totals.ends.entry(code).or_default() += 1;
        pool.totals.never_used += u64::from(!guest && launched.is_some() && !used);
        pool.totals.cost = books::plus(pool.totals.cost, cost);
        if let Some(launched) = launched.filter(|_| !guest) {
            let lost = code == ReasonCode::Interrupted;
            pool.state.learned.offerings.ran(&entry.row.offering, now.since(launched), lost);
            pool.unsaved = true;
        }
        pool.gone.push_back(id);
        if pool.gone.len() > super::pool::GONE_KEPT {
            self.overfull.insert(at);
        }
        self.kick(now);
    }

    /// What the end of an instance says about booting: nothing when there never was a machine, or when it was not its
    /// fault.
    fn settle_boot(&mut self, id: InstanceId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.ready || entry.is_guest() || std::mem::replace(&mut entry.settled, true) {
            return;
        }
        let learned = &mut self.pools[entry.pool].state.learned;
        if entry.failed {
            learned.breaker.failed(id);
            learned.boots.failed(entry.boot_from);
        } else {
            learned.breaker.forget(id);
            learned.canary.forget(&entry.row.image);
        }
    }
}

/// Whether an end while it boots is the machine's own fault.
fn is_fault(code: ReasonCode) -> bool {
    use ReasonCode::{BootTimeout, ConnectionLost, DiedBooting, Impaired, Left, Vanished, WrongIdentity};
    matches!(code, BootTimeout | ConnectionLost | DiedBooting | Impaired | Left | Vanished | WrongIdentity)
}
