//! What calls to launch come to: machines, fewer than were asked for, none, or nobody knows.

use std::{collections::BTreeSet, time::Duration};

use model::{InstanceId, Time};

use super::{Pools, calling::CallStatus, launching::Orphans, timers::Timer};
use crate::{
    ReasonCode, State, Token,
    provider::{ErrorKind, Launched, Machine, MachineStatus, Member, ProviderError},
};

/// How long a request that the market has not served stays open.
const OPEN: Duration = Duration::from_secs(180);
/// The first pause before a call is made again.
const PAUSE: Duration = Duration::from_secs(2);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// A machine is looked for so long after a call whose outcome is not known.
const LOOK_AFTER: Duration = Duration::from_secs(5);

impl Pools {
    /// The provider has answered a call.
    pub(super) fn launched(&mut self, now: Time, token: &Token, result: Result<Launched, ProviderError>) {
        let Some(call) = self.calls.get(token) else {
            // It was called off meanwhile. What it started is found by its tag.
            return;
        };
        let at = call.pool;
        let launched = match result {
            Ok(launched) => launched,
            Err(error) => return self.launch_failed(now, token, &error),
        };
        let offering = call.request.as_ref().map(|request| request.offering.clone()).unwrap_or_default();
        if launched.short.is_none() || !launched.machines.is_empty() {
            self.pools[at].state.learned.breaker.accepted();
        }
        let bought = launched.machines.iter().map(|machine| machine.offering.as_deref().unwrap_or(&offering));
        for bought in bought.collect::<BTreeSet<_>>() {
            self.had(at, bought);
        }
        for (refused, error) in &launched.refused {
            // What the whole call is short of is said below.
            if *refused != offering || launched.short.is_none() {
                self.not_sold(now, at, refused, error);
            }
        }
        for machine in &launched.machines {
            self.assign(now, token, machine);
        }
        let Some(call) = self.calls.get_mut(token) else { return };
        // The answer speaks for all tries before.
        call.doubtful = false;
        if call.members.is_empty() {
            return self.settle_call(token);
        }
        match launched.short {
            _ if launched.open => {
                call.status = CallStatus::Open(call.first_at + OPEN);
                self.timers.set(Timer::Call(token.clone()), self.call_due(token));
            }
            Some(error) => self.launch_failed(now, token, &error),
            None => {
                self.pools[at].state.learned.offerings.unavailable(now, &offering);
                self.next_offering(now, token, ReasonCode::NoCapacity, "the provider had no more");
            }
        }
    }

    /// Machines of an offering were had.
    fn had(&mut self, at: usize, offering: &str) {
        let family = self.pools[at].offering(offering).map(|offering| offering.family.clone());
        let offerings = &mut self.pools[at].state.learned.offerings;
        offerings.available(offering);
        if let Some(family) = family {
            offerings.quota_free(&family);
        }
    }

    /// Something stands against one offering: it rests, or its family where a quota is used up.
    fn not_sold(&mut self, now: Time, at: usize, offering: &str, error: &ProviderError) {
        let pool = &mut self.pools[at];
        let ErrorKind::Quota(name) = &error.kind else {
            return pool.state.learned.offerings.unavailable(now, offering);
        };
        let family =
            pool.offering(offering).map_or_else(|| offering.to_owned(), |offering| offering.family.clone());
        if pool.state.learned.offerings.quota(now, &family, name.as_deref()) {
            let quota = name.as_ref().map_or_else(|| "a quota".to_owned(), |name| format!("quota {name}"));
            let text = format!("{quota} is used up; nothing of family {family} is started for now: {error}");
            self.note_pool(now, at, ReasonCode::Quota, text);
        }
    }

    /// A machine of a call: it gets the row that it was started for, or any that has none.
    pub(super) fn assign(&mut self, now: Time, token: &Token, machine: &Machine) {
        let Some(call) = self.calls.get_mut(token) else { return };
        let at = call.pool;
        if self.pools[at].by_provider_id.contains_key(&machine.provider_id) {
            return;
        }
        let id = match machine.member {
            Some(id) if call.members.contains(&id) => id,
            Some(_) => return,
            None => match call.members.first() {
                Some(id) => *id,
                None => return,
            },
        };
        call.members.remove(&id);
        let open = matches!(call.status, CallStatus::Open(_));
        // Whoever handles an answer settles its call; one that was open is settled here.
        let settled = open && call.members.is_empty();
        if let Some(launched) = machine.launched_at {
            self.mind_skew(now, at, launched);
        }
        let (offering, price) = (machine.offering.clone(), machine.price);
        self.change(now, id, |entry| {
            entry.row.provider_id = Some(machine.provider_id.clone());
            entry.row.launched_at.get_or_insert(now);
            if let Some(offering) = offering.filter(|offering| !offering.is_empty()) {
                entry.row.offering = offering;
            }
            if let Some(price) = price {
                entry.row.price = price;
            }
            if open {
                entry.boot_from = now;
            }
            if matches!(entry.row.state, State::Planned | State::Requested) {
                entry.row.state = State::Booting;
                entry.row.since = now;
            }
        });
        let pool = &mut self.pools[at];
        // What it really costs is not ours to choose.
        pool.rate_allowance = pool.rate_allowance.max(pool.rate());
        pool.by_provider_id.insert(machine.provider_id.clone(), id);
        self.remember(id, machine);
        self.note(
            now,
            id,
            ReasonCode::Launched,
            format!("the provider has a machine for it: {}", machine.provider_id),
        );
        if settled {
            self.settle_call(token);
        }
        if self.state_of(id) == State::Terminating {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.ending.next = Some(now);
            }
            self.end_again(now, id);
        } else if matches!(machine.status, MachineStatus::Terminated | MachineStatus::ShuttingDown) {
            self.died(now, id);
        }
    }

    /// A call came to nothing, wholly or in part.
    pub(super) fn launch_failed(&mut self, now: Time, token: &Token, error: &ProviderError) {
        let Some(call) = self.calls.get_mut(token) else { return };
        let at = call.pool;
        let pause = PAUSE
            .saturating_mul(1 << call.tries.min(10))
            .min(LONGEST_PAUSE)
            .mul_f64(jitter(token, call.tries));
        call.tries = call.tries.saturating_add(1);
        let (tries, doubtful) = (call.tries, call.doubtful);
        call.doubtful |= error.kind == ErrorKind::Transport;
        self.count_failed_call(at, "launch");
        let offering = self
            .calls
            .get(token)
            .and_then(|call| call.request.as_ref())
            .map(|request| request.offering.clone());
        let offering = offering.unwrap_or_default();
        let pool = &mut self.pools[at];
        pool.unsaved = true;
        match &error.kind {
            ErrorKind::Capacity | ErrorKind::Quota(_) => {
                self.not_sold(now, at, &offering, error);
                if !doubtful {
                    let code = match error.kind {
                        ErrorKind::Quota(_) => ReasonCode::Quota,
                        _ => ReasonCode::NoCapacity,
                    };
                    self.next_offering(now, token, code, &error.to_string());
                }
            }
            ErrorKind::Throttled(after) => {
                let pause = after.unwrap_or(pause).max(pause);
                if tries == 1 {
                    self.note_pool(
                        now,
                        at,
                        ReasonCode::ApiTokens,
                        format!("the provider wants fewer calls: {error}"),
                    );
                }
                let again = now + pause;
                let status = if doubtful { CallStatus::Unknown(again) } else { CallStatus::Later(again) };
                self.pause_call(now, token, status);
            }
            ErrorKind::Transport => {
                if tries == 1 {
                    let text = format!(
                        "what became of a call is not known; it is made again, and looked after: {error}"
                    );
                    self.note_pool(now, at, ReasonCode::Retried, text);
                }
                self.list_by(at, now + LOOK_AFTER);
                self.pause_call(now, token, CallStatus::Unknown(now + pause));
            }
            ErrorKind::Config | ErrorKind::Unsupported => {
                let first = pool.state.learned.breaker.next_probe().is_none();
                pool.state.learned.breaker.refused(now, &error.to_string());
                if first {
                    let text = format!(
                        "the provider refuses what is configured, and is asked every five minutes: {error}"
                    );
                    self.note_pool(now, at, ReasonCode::ConfigError, text);
                }
                if !doubtful {
                    self.abandon(now, token, ReasonCode::ConfigError, &error.to_string());
                }
            }
        }
        let retried = matches!(error.kind, ErrorKind::Throttled(_) | ErrorKind::Transport);
        if doubtful && !retried {
            self.look_up(now, token);
        }
    }

    /// Rows without a machine try the next best offering at once, with a call of their own; when there is none, they are
    /// gone.
    fn next_offering(&mut self, now: Time, token: &Token, code: ReasonCode, why: &str) {
        let Some(call) = self.calls.get_mut(token) else { return };
        let at = call.pool;
        let mut rest = std::mem::take(&mut call.rest);
        let first = call.members.first().and_then(|id| self.entries.get(id));
        let old = first.map_or(0, |entry| entry.row.price.0);
        let count = i64::try_from(call.members.len()).unwrap_or(i64::MAX);
        let pool = &self.pools[at];
        let room = self.hour_room(at);
        rest.retain(|choice| {
            let open = pool
                .offering(&choice.offering)
                .is_some_and(|offering| pool.state.learned.offerings.closed_until(now, offering).is_none());
            // What it replaces counts already; only what is dearer must still fit.
            let more = choice.price.0.saturating_sub(old).saturating_mul(count);
            let fits = more <= 0 || room.is_none_or(|room| more <= room.0);
            open && fits
        });
        let wanted = !pool.removed && pool.state.paused.is_none() && pool.owned();
        let Some((choice, rest)) = rest.split_first().filter(|_| wanted) else {
            return self.abandon(now, token, code, why);
        };
        if !self.pools[at].calls.take(now, 1) {
            return self.abandon(
                now,
                token,
                ReasonCode::ApiTokens,
                "the provider takes no more calls for now",
            );
        }
        let Some(call) = self.calls.remove(token) else { return };
        self.timers.set(Timer::Call(token.clone()), None);
        let Some(request) = call.request else { return };
        // Those that were ended meanwhile need no machine.
        let (wanted, ended): (Vec<Member>, Vec<Member>) =
            request.members.into_iter().filter(|member| call.members.contains(&member.instance)).partition(
                |member| matches!(self.state_of(member.instance), State::Planned | State::Requested),
            );
        for member in ended {
            self.end_again(now, member.instance);
        }
        if !wanted.is_empty() {
            for member in &wanted {
                self.note(now, member.instance, code, format!("tries {} instead: {why}", choice.offering));
            }
            let (choice, rest) = (choice.clone(), rest.to_vec());
            self.call(now, at, Orphans { members: wanted, image: request.image }, &choice, &rest);
        }
    }

    /// Rows without a machine are gone.
    pub(super) fn abandon(&mut self, now: Time, token: &Token, code: ReasonCode, why: &str) {
        let Some(call) = self.calls.get(token) else { return };
        let members: Vec<InstanceId> = call.members.iter().copied().collect();
        self.settle_call(token);
        for id in members {
            match self.state_of(id) {
                State::Planned | State::Requested => self.gone(now, id, code, why),
                State::Terminating => self.end_again(now, id),
                // A worker of it is connected: there is a machine, and a listing finds it.
                _ => {}
            }
        }
        self.kick(now);
    }

    /// The provider's clock may be wrong, or ours: said once.
    fn mind_skew(&mut self, now: Time, at: usize, launched: Time) {
        const MOST: Duration = Duration::from_secs(120);
        if launched.since(now) > MOST && !std::mem::replace(&mut self.pools[at].skew_told, true) {
            let ahead = super::waiting::span(launched.since(now));
            self.note_pool(
                now,
                at,
                ReasonCode::ClockSkew,
                format!("the provider's clock is {ahead} ahead of this machine's"),
            );
        }
    }
}

/// Between a half and one and a half, always the same for the same try.
fn jitter(token: &Token, tries: u32) -> f64 {
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
    let hash = token.0.bytes().chain(tries.to_le_bytes()).fold(2_166_136_261, mix);
    0.5 + f64::from(hash % 1024) / 1024.0
}
