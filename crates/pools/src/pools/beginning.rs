//! The start with rows of a master that is gone, other configurations, and leases.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{
    InstanceId, Time,
    pool::{PoolLimits, PoolSpec},
};

use super::{
    PoolState, Pools, Setup,
    calling::{Call, CallStatus},
    entry::{Ending, Entry},
    pool::{GONE_KEPT, Pool},
    timers::Timer,
};
use crate::{Ended, Instance, Order, ReasonCode, State, Token};

impl Pools {
    /// Takes over what was configured and kept.
    pub(super) fn begin(&mut self, now: Time, setup: Setup) {
        let mut states = setup.states;
        for spec in setup.pools {
            let state = states.remove(&spec.name).unwrap_or_default();
            self.add_pool(now, spec, state);
        }
        for (builder, durations) in setup.durations {
            for duration in durations {
                self.jobs.took(builder, duration);
            }
        }
        let mut rows = setup.instances;
        rows.sort_by_key(|row| (row.ended_at, row.id));
        for row in rows {
            self.restore(now, row, &mut states);
        }
        self.absent = states;
        for at in 0..self.pools.len() {
            let pool = &mut self.pools[at];
            pool.lease.others = setup.others.contains(pool.name());
            (pool.allowance, pool.rate_allowance) = (pool.live(), pool.rate());
            if pool.removed {
                self.drain_all(now, at);
            } else {
                self.drain_outdated(now, at);
            }
        }
        self.kick(now);
    }

    fn add_pool(&mut self, now: Time, spec: Arc<PoolSpec>, state: PoolState) {
        if let Some(at) = self.names.get(&spec.name) {
            self.pools[*at].spec = spec;
            return;
        }
        self.names.insert(spec.name.clone(), self.pools.len());
        self.pools.push(Pool::new(spec, state, now));
    }

    /// A row of the master before.
    fn restore(&mut self, now: Time, row: Instance, states: &mut BTreeMap<String, PoolState>) {
        let at = match self.names.get(&row.slot.pool) {
            Some(at) => *at,
            None => {
                let mut pool = Pool::unconfigured(&row.slot.pool, now);
                pool.resume(states.remove(&row.slot.pool).unwrap_or_default());
                self.names.insert(row.slot.pool.clone(), self.pools.len());
                self.pools.push(pool);
                self.pools.len() - 1
            }
        };
        if self.entries.contains_key(&row.id) {
            return;
        }
        let pool = &mut self.pools[at];
        if row.state == State::Gone {
            // What was kept has it already.
            if pool.state.books.is_none() {
                let billing = pool.spec.billing;
                pool.books.settle(&row, billing, now);
            }
            pool.gone.push_back(row.id);
            self.entries.insert(row.id, Entry::new(row, at));
            while self.pools[at].gone.len() > GONE_KEPT {
                if let Some(id) = self.pools[at].gone.pop_front() {
                    self.entries.remove(&id);
                }
            }
            return;
        }
        let mut entry = Entry::new(row, at);
        if !pool.slots.claim(entry.row.slot.number) {
            entry.row.slot.number = pool.slots.take();
        }
        entry.adopted = true;
        // One that was being checked has come up before, or is about to.
        let checked = entry.row.state == State::ReadyCheck;
        let awaited = pool.state.learned.breaker.awaits(entry.id());
        entry.ready = entry.row.connected_at.is_some() && !(checked && awaited);
        entry.failed = entry.row.state == State::Suspect;
        // A machine that was started again has been connected before.
        if entry.row.state == State::Booting && entry.ready {
            (entry.ready, entry.resumed, entry.settled) = (false, true, true);
            entry.boot_from = entry.row.launched_at.unwrap_or(entry.boot_from);
        }
        let (id, state, guest) = (entry.id(), entry.state(), entry.is_guest());
        let (token, provider_id) = (entry.row.token.clone(), entry.row.provider_id.clone());
        let (pool_name, verifier) = (pool.name().to_owned(), entry.row.credential().cloned());
        self.add(now, entry);
        // Nothing has changed but what is in memory, until something does.
        self.out.rows.remove(&id);
        if verifier.is_some() {
            self.order(Order::Credential { instance: id, pool: pool_name, verifier });
        }
        if guest {
            return self.gone(now, id, ReasonCode::Left, "the master was started again; it may log in again");
        }
        match state {
            State::Planned | State::Requested => self.restore_call(now, at, id, token),
            State::ReadyCheck | State::Idle | State::Busy if provider_id.is_none() => {
                self.restore_call(now, at, id, token);
                self.set(now, id, State::Lost);
            }
            State::ReadyCheck | State::Idle | State::Busy => self.set(now, id, State::Lost),
            State::Lost => self.change(now, id, |entry| entry.row.since = now),
            State::Draining => self.settle_drain(now, id),
            State::Terminating => {
                if provider_id.is_none() {
                    self.restore_call(now, at, id, token);
                }
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.ending = Ending { next: Some(now), ..Ending::default() };
                    entry.row.ended.get_or_insert_with(|| Ended {
                        code: ReasonCode::Vanished,
                        text: "it was on its way out".to_owned(),
                    });
                }
                self.retime(now, id);
            }
            _ => {}
        }
    }

    /// A row that waits for a machine of a call: whether there is one shows in a listing. The secret went with the call;
    /// a machine that has it can log in, and the call cannot be made again.
    fn restore_call(&mut self, now: Time, at: usize, id: InstanceId, token: Token) {
        if token.0.is_empty() {
            return self.gone(now, id, ReasonCode::Cancelled, "it was never asked for");
        }
        let call = self.calls.entry(token).or_insert_with(|| Call {
            pool: at,
            request: None,
            members: BTreeSet::new(),
            status: CallStatus::Unknown(now),
            rest: Vec::new(),
            first_at: now,
            sent_at: now,
            tries: 0,
            doubtful: true,
            absent: None,
        });
        if call.pool == at {
            call.members.insert(id);
        }
    }

    /// See [`Pools::reconfigure`].
    pub(super) fn configure(&mut self, now: Time, specs: Vec<Arc<PoolSpec>>, limits: PoolLimits) {
        self.limits = limits;
        let mut gone: BTreeMap<String, usize> = self.names.clone();
        for spec in specs {
            gone.remove(&spec.name);
            let Some(at) = self.names.get(&spec.name).copied() else {
                let state = self.absent.remove(&spec.name).unwrap_or_default();
                self.add_pool(now, spec, state);
                continue;
            };
            let pool = &mut self.pools[at];
            let changed = pool.removed || pool.spec != spec;
            let remade = pool.spec.template != spec.template || pool.spec.image != spec.image;
            pool.removed = false;
            pool.spec = spec;
            (pool.allowance, pool.rate_allowance) = (pool.live(), pool.rate());
            if !changed {
                continue;
            }
            // What was refused may be right now.
            pool.state.learned.breaker.accepted();
            pool.set_image(pool.spec.image.clone());
            self.out.pools.insert(at);
            if remade {
                self.note_pool(now, at, ReasonCode::OldTemplate, "is made from another template from now on");
                self.drain_outdated(now, at);
            }
            let members: Vec<InstanceId> = self.pools[at].members.iter().copied().collect();
            for id in members {
                self.retime(now, id);
            }
        }
        for at in gone.into_values() {
            if !std::mem::replace(&mut self.pools[at].removed, true) {
                self.pools[at].allowance = self.pools[at].live();
                self.note_pool(
                    now,
                    at,
                    ReasonCode::PoolGone,
                    "is no longer in the configuration: its machines finish and go",
                );
                self.call_off(now, at, u32::MAX);
                self.drain_all(now, at);
            }
        }
        self.kick(now);
    }

    /// This master has a pool, or has lost it.
    pub(super) fn leased(&mut self, now: Time, at: usize, fence: Option<u64>) {
        let lease = &mut self.pools[at].lease;
        if lease.fence == fence {
            return;
        }
        if let Some(fence) = fence {
            // Every lease has a higher number than the one before: with one in between, somebody else has had the pool.
            lease.stale |= lease.others || lease.last.is_some_and(|last| fence > last.saturating_add(1));
        }
        let again = lease.last.is_some();
        lease.fence = fence;
        lease.last = fence.or(lease.last);
        let stale = lease.stale;
        let pool = &mut self.pools[at];
        match fence {
            Some(number) => {
                pool.listing.complete &= !again;
                let text = format!("this master has it, by lease {number}");
                if stale {
                    let text = "another master had it in between; nothing is started or ended until this one is started again";
                    self.note_pool(now, at, ReasonCode::NotOwner, text);
                } else {
                    self.note_pool(now, at, ReasonCode::Operator, text);
                    self.list_by(at, now);
                    self.fire_listing(now, at);
                }
            }
            None => {
                pool.listing.asked = None;
                self.note_pool(
                    now,
                    at,
                    ReasonCode::NotOwner,
                    "this master has lost its lease, and starts and ends nothing",
                );
            }
        }
        // What needs the provider waits for the lease.
        let members: Vec<InstanceId> = self.pools[at].members.iter().copied().collect();
        for id in members {
            self.retime(now, id);
        }
        if again && self.pools[at].owned() {
            // The last rows under the lease before may have been refused, with all that rested on them.
            let pool = &self.pools[at];
            self.out.rows.extend(pool.members.iter().chain(&pool.gone));
            self.out.pools.insert(at);
            let name = pool.name().to_owned();
            let verifiers: Vec<_> = pool
                .members
                .iter()
                .filter_map(|id| Some((*id, self.entries.get(id)?.row.credential()?.clone())))
                .collect();
            for (instance, verifier) in verifiers {
                let (pool, verifier) = (name.clone(), Some(verifier));
                self.order(Order::Credential { instance, pool, verifier });
            }
        }
        let calls: Vec<Token> =
            self.calls.iter().filter(|(_, call)| call.pool == at).map(|(token, _)| token.clone()).collect();
        for token in calls {
            let due = self.call_due(&token);
            self.timers.set(Timer::Call(token), due);
        }
        self.timers.set(Timer::Listing(at), self.listing_due(at));
        self.kick(now);
    }

    /// What a provider sells.
    pub(super) fn offers(&mut self, now: Time, at: usize, capabilities: crate::Capabilities) {
        let pool = &mut self.pools[at];
        let api = capabilities.api;
        pool.calls.resize(api.calls.max(1), api.calls_per_second, now);
        pool.machines.resize(api.instances.max(1), api.instances_per_second, now);
        pool.asked = 0;
        let to_find = pool.spec.image.is_empty();
        let found =
            capabilities.image.clone().filter(|image| to_find && !image.is_empty() && *image != pool.image);
        pool.capabilities = Some(capabilities);
        if let Some(image) = found {
            self.image_found(now, at, image);
        }
        self.kick(now);
    }

    /// The provider found another image than before to be the configured one.
    fn image_found(&mut self, now: Time, at: usize, image: String) {
        let pool = &mut self.pools[at];
        let before = std::mem::take(&mut pool.image);
        pool.set_image(image);
        pool.unsaved = true;
        if pool.state.learned.canary.trial() == Some(&*pool.image) {
            let text = format!("image {} is the newest now, and is tried by a few machines", pool.image);
            self.note_pool(now, at, ReasonCode::OldTemplate, text);
        }
        if !before.is_empty() {
            self.drain_outdated(now, at);
        }
    }
}
