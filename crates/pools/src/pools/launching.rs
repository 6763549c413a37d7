//! Calls to launch: rows first, then the call that names them; what it comes to; and what is called off.

use std::{collections::BTreeSet, time::Duration};

use model::{InstanceId, Time};

use super::{Pools, entry::Entry, timers::Timer, waiting::ANSWER};
use crate::{
    Instance, Order, Origin, ReasonCode, Slot, State, Token,
    plan::{Choice, Launch},
    provider::{ErrorKind, LaunchRequest, Launched, Machine, MachineStatus, Member, ProviderError},
};

/// How long a request that the market has not served stays open.
const OPEN: Duration = Duration::from_secs(180);
/// A call whose outcome is not known is made again with the same token while the token is younger.
const TOKEN_AGE: Duration = Duration::from_secs(3600);
/// The first pause before a call is made again.
const PAUSE: Duration = Duration::from_secs(2);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// A machine is looked for so long after a call whose outcome is not known.
const LOOK_AFTER: Duration = Duration::from_secs(5);
/// Causes that a row names.
const CAUSES: usize = 3;

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

/// Secrets of rows that have no machine, for another call.
pub(super) struct Orphans {
    members: Vec<Member>,
    image: String,
}

impl Pools {
    /// Starts machines as planned. Those of one kind share calls, whatever they are for.
    pub(super) fn launch(&mut self, now: Time, at: usize, launches: &[Launch]) {
        let (resumed, bought): (Vec<&Launch>, Vec<&Launch>) =
            launches.iter().partition(|launch| launch.resume);
        for launch in resumed {
            self.resume(now, at, launch);
        }
        for alike in bought.chunk_by(|a, b| a.candidates == b.candidates && a.image == b.image) {
            self.buy(now, at, alike);
        }
    }

    /// Starts new machines of one kind, in as many calls as it takes.
    fn buy(&mut self, now: Time, at: usize, launches: &[&Launch]) {
        let Some(first) = launches.first() else { return };
        let Some((choice, rest)) = first.candidates.split_first() else { return };
        let each = |launch: &Launch| {
            let causes = launch.causes.iter().copied().map(Some).chain(std::iter::repeat(None));
            causes.take(launch.count as usize).collect::<Vec<_>>()
        };
        let mut wanted =
            launches.iter().flat_map(|launch| each(launch).into_iter().map(|cause| (*launch, cause)));
        let mut left: u32 = launches.iter().map(|launch| launch.count).sum();
        while left > 0 {
            let pool = &mut self.pools[at];
            let batch = pool.capabilities.as_ref().map_or(1, |capabilities| capabilities.batch.max(1));
            let count = left.min(batch).min(pool.machines.has(now));
            if count == 0 || !pool.calls.take(now, 1) || !pool.machines.take(now, count) {
                return;
            }
            left -= count;
            pool.asked = pool.asked.saturating_add(count);
            let mut members = Vec::new();
            for (launch, cause) in wanted.by_ref().take(count as usize) {
                members.push(self.plan_instance(now, at, launch, choice, cause));
            }
            let learned = &mut self.pools[at].state.learned;
            learned.canary.launched(&first.image, count);
            for member in &members {
                learned.breaker.launched(member.instance, now);
            }
            self.call(now, at, Orphans { members, image: first.image.clone() }, choice, rest);
        }
    }

    /// A row for a machine that is to be.
    fn plan_instance(
        &mut self,
        now: Time,
        at: usize,
        launch: &Launch,
        choice: &Choice,
        cause: Option<model::BuildRequestId>,
    ) -> Member {
        let id = self.mint.next_instance();
        let secret = self.mint.secret();
        let verifier = self.mint.verifier(&secret);
        let pool = &mut self.pools[at];
        let name = pool.name().to_owned();
        let row = Instance {
            id,
            slot: Slot { pool: name.clone(), number: pool.slots.take() },
            origin: Origin::Hired,
            state: State::Planned,
            token: Token(String::new()),
            offering: choice.offering.clone(),
            market: choice.market,
            price: choice.price,
            provider_id: None,
            template: pool.spec.template.clone(),
            image: launch.image.clone(),
            verifier: Some(verifier.clone()),
            boot: None,
            causes: cause
                .into_iter()
                .chain(launch.causes.iter().copied().filter(|other| Some(*other) != cause))
                .take(CAUSES)
                .collect(),
            code: launch.code,
            text: launch.text.clone(),
            planned_at: now,
            requested_at: None,
            launched_at: None,
            connected_at: None,
            since: now,
            drain: None,
            held_until: None,
            builds: 0,
            failures: 0,
            ended: None,
            ended_at: None,
            cost: None,
            console: None,
        };
        *pool.totals.launches.entry(launch.code).or_default() += 1;
        let login = format!("{name}@{id}");
        self.add(now, Entry::new(row, at));
        self.order(Order::Credential { instance: id, pool: name, verifier: Some(verifier) });
        self.note(now, id, launch.code, format!("is started: {}", launch.text));
        Member { instance: id, login, secret: Some(secret) }
    }

    /// Makes a call for rows.
    fn call(&mut self, now: Time, at: usize, orphans: Orphans, choice: &Choice, rest: &[Choice]) {
        let token = self.mint.token();
        let pool = &self.pools[at];
        let request = LaunchRequest {
            token: token.clone(),
            pool: pool.name().to_owned(),
            deployment: self.deployment.clone(),
            members: orphans.members,
            offering: choice.offering.clone(),
            price_cap: choice.cap,
            template: pool.spec.template.clone(),
            image: orphans.image,
        };
        let members: BTreeSet<InstanceId> = request.members.iter().map(|member| member.instance).collect();
        for id in &members {
            self.change(now, *id, |entry| {
                entry.row.token = token.clone();
                entry.row.offering.clone_from(&choice.offering);
                entry.row.market = choice.market;
                entry.row.price = choice.price;
            });
        }
        let call = Call {
            pool: at,
            request: Some(request),
            members,
            status: CallStatus::Out,
            rest: rest.to_vec(),
            first_at: now,
            sent_at: now,
            tries: 0,
            doubtful: false,
            absent: None,
        };
        self.calls.insert(token.clone(), call);
        self.send(now, &token);
    }

    /// The call goes out, for the first time or again unchanged.
    fn send(&mut self, now: Time, token: &Token) {
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
    fn look_up(&mut self, now: Time, token: &Token) {
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
        let family = self.pools[at].offering(&offering).map(|offering| offering.family.clone());
        let learned = &mut self.pools[at].state.learned;
        learned.breaker.accepted();
        if !launched.machines.is_empty() {
            learned.offerings.available(&offering);
            if let Some(family) = family {
                learned.offerings.quota_free(&family);
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
    fn launch_failed(&mut self, now: Time, token: &Token, error: &ProviderError) {
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
            ErrorKind::Capacity => {
                pool.state.learned.offerings.unavailable(now, &offering);
                if !doubtful {
                    self.next_offering(now, token, ReasonCode::NoCapacity, &error.to_string());
                }
            }
            ErrorKind::Quota(name) => {
                let family = pool
                    .offering(&offering)
                    .map_or_else(|| offering.clone(), |offering| offering.family.clone());
                if pool.state.learned.offerings.quota(now, &family, name.as_deref()) {
                    let text = match name {
                        Some(name) => format!(
                            "quota {name} is used up; nothing of family {family} is started for now: {error}"
                        ),
                        None => format!(
                            "a quota is used up; nothing of family {family} is started for now: {error}"
                        ),
                    };
                    self.note_pool(now, at, ReasonCode::Quota, text);
                }
                if !doubtful {
                    self.next_offering(now, token, ReasonCode::Quota, &error.to_string());
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

    fn pause_call(&mut self, now: Time, token: &Token, status: CallStatus) {
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
