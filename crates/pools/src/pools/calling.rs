//! Calls to launch that are not settled: made, made again, called off.

use std::{collections::BTreeSet, time::Duration};

use model::{InstanceId, Time};

use super::{Pools, entry::Entry, timers::Timer, waiting::ANSWER};
use crate::{
    Order, ReasonCode, State, Token,
    plan::Choice,
    provider::{ErrorKind, LaunchRequest, ProviderError},
};

/// A call whose outcome is not known is made again with the same token while the token is younger.
const TOKEN_AGE: Duration = Duration::from_secs(3600);

/// A call to launch that is not settled.
#[derive(Debug)]
pub(super) struct Call {
    /// The place of its pool.
    pub(super) pool: usize,
    /// What is asked for; `None` after a restart, when nobody knows the secrets any more.
    pub(super) request: Option<LaunchRequest>,
    /// Rows that have no machine yet.
    pub(super) members: BTreeSet<InstanceId>,
    /// Where it is.
    pub(super) status: CallStatus,
    /// What else to buy, the best first.
    pub(super) rest: Vec<Choice>,
    /// When it was first made.
    pub(super) first_at: Time,
    /// When it was last made.
    pub(super) sent_at: Time,
    /// How often it was made in vain.
    pub(super) tries: u32,
    /// Whether an earlier try may have taken effect, so that an error of a later one does not say that nothing was done.
    pub(super) doubtful: bool,
    /// When a complete listing was first asked for that had no machine of it.
    pub(super) absent: Option<Time>,
}

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallStatus {
    /// It is out.
    Out,
    /// Nothing was done: it is made again then. Until then it can be called off.
    Later(Time),
    /// What became of it is not known: it is made again then, with the same token.
    Unknown(Time),
    /// The provider took it, and looks for machines until then.
    Open(Time),
}

impl Pools {
    /// The call goes out, for the first time or again unchanged.
    pub(super) fn send(&mut self, now: Time, token: &Token) {
        let Some(call) = self.calls.get_mut(token) else { return };
        let Some(request) = call.request.clone() else { return };
        (call.status, call.sent_at) = (CallStatus::Out, now);
        let (at, members) = (call.pool, call.members.clone());
        for id in members {
            if matches!(self.state_of(id), State::Planned | State::Requested) {
                self.change(now, id, |entry| {
                    if entry.row.state == State::Planned {
                        entry.row.state = State::Requested;
                        entry.row.since = now;
                    }
                    entry.row.requested_at.get_or_insert(now);
                    entry.boot_from = now;
                });
            }
        }
        self.count_call(at, "launch");
        self.order(Order::Launch(Box::new(request)));
        self.watch(now, at);
        self.timers.set(Timer::Call(token.clone()), self.call_due(token));
    }

    /// Whether some row of a call still wants a machine that may be started.
    fn is_wanted(&self, token: &Token) -> bool {
        let Some(call) = self.calls.get(token) else { return false };
        let pool = &self.pools[call.pool];
        let wants = |id: &InstanceId| matches!(self.state_of(*id), State::Planned | State::Requested);
        !pool.removed && pool.state.paused.is_none() && call.members.iter().any(wants)
    }

    /// The call goes out again when the provider takes another one; else later.
    fn send_if_allowed(&mut self, now: Time, token: &Token) {
        let Some(call) = self.calls.get_mut(token) else { return };
        let calls = &mut self.pools[call.pool].calls;
        if calls.take(now, 1) {
            return self.send(now, token);
        }
        let next = calls.next(now);
        call.status = match call.status {
            CallStatus::Later(_) => CallStatus::Later(next),
            _ => CallStatus::Unknown(next),
        };
    }

    /// The call is not made again; what became of it shows in a listing.
    pub(super) fn look_up(&mut self, now: Time, token: &Token) {
        let Some(call) = self.calls.get_mut(token) else { return };
        (call.request, call.status) = (None, CallStatus::Unknown(now));
        let at = call.pool;
        self.timers.set(Timer::Call(token.clone()), None);
        self.list_by(at, now);
    }

    /// Until when a call waits as it is.
    pub(super) fn call_due(&self, token: &Token) -> Option<Time> {
        let call = self.calls.get(token)?;
        if !self.pools[call.pool].owned() {
            return None;
        }
        match call.status {
            CallStatus::Out => Some(call.sent_at + ANSWER),
            CallStatus::Unknown(_) if call.request.is_none() => None,
            CallStatus::Later(at) | CallStatus::Unknown(at) | CallStatus::Open(at) => Some(at),
        }
    }

    /// A call has waited long enough.
    pub(super) fn fire_call(&mut self, now: Time, token: &Token) {
        let Some(call) = self.calls.get_mut(token) else { return };
        let at = call.pool;
        match call.status {
            CallStatus::Out => {
                let text = "there was no answer".to_owned();
                self.launch_failed(
                    now,
                    token,
                    &ProviderError { kind: ErrorKind::Transport, code: "NoAnswer".to_owned(), text },
                );
            }
            CallStatus::Later(due) | CallStatus::Unknown(due) if due <= now => {
                let undone = call.status == CallStatus::Later(due);
                let old = now.since(call.first_at) >= TOKEN_AGE;
                match self.is_wanted(token) {
                    false if undone => {
                        self.abandon(
                            now,
                            token,
                            ReasonCode::Cancelled,
                            "no machine is to be started any more",
                        );
                    }
                    true if !old => self.send_if_allowed(now, token),
                    _ => self.look_up(now, token),
                }
            }
            CallStatus::Open(until) if until <= now => {
                let offering = call.request.as_ref().map(|request| request.offering.clone());
                if let Some(offering) = offering {
                    self.pools[at].state.learned.offerings.unavailable(now, &offering);
                }
                self.withdraw(now, at, token);
                // It may have been served in the same moment. What is bought instead has rows and secrets of its own, and
                // a machine of this call is unknown from now on: no two have the same secret.
                self.abandon(now, token, ReasonCode::NoCapacity, "the market had none in three minutes");
            }
            _ => {}
        }
    }

    pub(super) fn pause_call(&mut self, now: Time, token: &Token, status: CallStatus) {
        let Some(call) = self.calls.get_mut(token) else { return };
        call.status = status;
        let members = call.members.clone();
        if matches!(status, CallStatus::Later(_)) {
            for id in members {
                if self.state_of(id) == State::Requested {
                    self.set(now, id, State::Planned);
                }
            }
        }
        self.timers.set(Timer::Call(token.clone()), self.call_due(token));
    }

    pub(super) fn settle_call(&mut self, token: &Token) {
        self.calls.remove(token);
        self.timers.set(Timer::Call(token.clone()), None);
    }

    /// An instance that is gone waits for no call.
    pub(super) fn leave_call(&mut self, id: InstanceId) {
        let Some(entry) = self.entries.get(&id) else { return };
        let token = entry.row.token.clone();
        if let Some(call) = self.calls.get_mut(&token) {
            call.members.remove(&id);
            if call.members.is_empty() && call.status != CallStatus::Out {
                self.settle_call(&token);
            }
        }
    }

    /// How many machines could still be called off.
    pub(super) fn open_members(&self, at: usize) -> u32 {
        let open = |call: &&Call| {
            call.pool == at && matches!(call.status, CallStatus::Later(_) | CallStatus::Open(_))
        };
        let members: usize = self.calls.values().filter(open).map(|call| call.members.len()).sum();
        u32::try_from(members).unwrap_or(u32::MAX)
    }

    /// Whether the provider still looks for a machine.
    pub(super) fn is_open(&self, entry: &Entry) -> bool {
        self.calls.get(&entry.row.token).is_some_and(|call| matches!(call.status, CallStatus::Open(_)))
    }

    /// Whether a master that is gone made the call, and a complete listing has no machine of it.
    pub(super) fn is_absent(&self, entry: &Entry) -> bool {
        entry.adopted && self.calls.get(&entry.row.token).is_some_and(|call| call.absent.is_some())
    }

    /// Calls off so many machines that nobody needs any more: whole calls, the latest first.
    pub(super) fn call_off(&mut self, now: Time, at: usize, mut count: u32) {
        let mut open: Vec<(Time, Token, u32)> = self
            .calls
            .iter()
            .filter(|(_, call)| {
                call.pool == at && matches!(call.status, CallStatus::Later(_) | CallStatus::Open(_))
            })
            .map(|(token, call)| {
                (call.first_at, token.clone(), u32::try_from(call.members.len()).unwrap_or(u32::MAX))
            })
            .collect();
        open.sort();
        for (_, token, members) in open.into_iter().rev() {
            if members <= count {
                count -= members;
                self.withdraw(now, at, &token);
                self.abandon(now, &token, ReasonCode::Cancelled, "nothing waits for it any more");
            }
        }
    }

    fn withdraw(&mut self, now: Time, at: usize, token: &Token) {
        let pool = self.pools[at].name().to_owned();
        // It may have been served in the same moment.
        self.watch(now, at);
        self.count_call(at, "cancel");
        self.order(Order::Cancel { pool, token: token.clone() });
    }
}
