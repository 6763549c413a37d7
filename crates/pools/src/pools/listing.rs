//! Comparing the ledger with what the provider has: adopting, burying and reaping. Nothing is done on one sighting that
//! could not be undone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use model::{InstanceId, Time};

use super::{Pools, calling::CallStatus, pool::Sighting, timers::Timer};
use crate::{
    Market, Order, ReasonCode, State, Token,
    provider::{Look, Machine, MachineStatus, ProviderError},
};

/// While anything is live.
const EACH: Duration = Duration::from_secs(60);
/// Two sightings are at least so far apart.
const APART: Duration = Duration::from_secs(60);
/// What is younger may not have come to everybody's knowledge yet.
const YOUNG: Duration = Duration::from_secs(120);
/// A listing is answered within this time, or never.
const ANSWER: Duration = Duration::from_secs(300);
/// After the last call to launch machines are looked for so long though none is known.
const WATCHED: Duration = Duration::from_secs(600);
/// Unknown machines that are remembered.
const UNKNOWN: usize = 10_000;

impl Pools {
    /// Asks for a listing at this time at the latest.
    pub(super) fn list_by(&mut self, at: usize, by: Time) {
        let listing = &mut self.pools[at].listing;
        listing.due = Some(listing.due.map_or(by, |due| due.min(by)));
        self.timers.set(Timer::Listing(at), self.listing_due(at));
    }

    /// A call went out: for a while there may be machines that nobody knows.
    pub(super) fn watch(&mut self, now: Time, at: usize) {
        let listing = &mut self.pools[at].listing;
        listing.until = Some(now + WATCHED);
        let coming = self.look(at).coming;
        self.list_by(at, now + coming);
    }

    /// How often a pool's provider may be looked at.
    pub(super) fn look(&self, at: usize) -> Look {
        self.pools[at].capabilities.as_ref().map(|capabilities| capabilities.look).unwrap_or_default()
    }

    /// When the next listing is due.
    pub(super) fn listing_due(&self, at: usize) -> Option<Time> {
        let pool = &self.pools[at];
        if !pool.owned() {
            return None;
        }
        pool.listing.asked.map(|asked| asked + ANSWER).or(pool.listing.due)
    }

    /// A listing is due.
    pub(super) fn fire_listing(&mut self, now: Time, at: usize) {
        if self.listing_due(at).is_none_or(|due| due > now) {
            return;
        }
        let pool = &mut self.pools[at];
        (pool.listing.asked, pool.listing.due) = (Some(now), None);
        let pool = pool.name().to_owned();
        self.count_call(at, "list");
        self.order(Order::List { pool });
        self.timers.set(Timer::Listing(at), self.listing_due(at));
    }

    /// The provider has listed its machines, or not.
    pub(super) fn listed(
        &mut self,
        now: Time,
        at: usize,
        asked_at: Time,
        result: Result<Vec<Machine>, ProviderError>,
    ) {
        let pool = &mut self.pools[at];
        pool.listing.asked = None;
        match result {
            Err(error) => {
                let pause = Duration::from_secs(5 << pool.listing.failed.min(4)).min(EACH);
                pool.listing.failed = pool.listing.failed.saturating_add(1);
                let (first, text) = (pool.listing.failed == 1, error.to_string());
                pool.listing.error = Some(text.clone());
                self.count_failed_call(at, "list");
                if first {
                    let text = format!("the provider did not list its machines, and is asked again: {text}");
                    self.note_pool(now, at, ReasonCode::ProviderError, text);
                }
                self.list_by(at, now + pause);
            }
            Ok(machines) => {
                (pool.listing.failed, pool.listing.error) = (0, None);
                if pool.owned() {
                    self.compare(now, at, asked_at, &machines);
                }
                if !std::mem::replace(&mut self.pools[at].listing.complete, true) {
                    let text = format!(
                        "the ledger was compared with all {} machines of the provider",
                        machines.len()
                    );
                    self.note_pool(now, at, ReasonCode::Adopted, text);
                }
                self.list_on(now, at);
            }
        }
        self.timers.set(Timer::Listing(at), self.listing_due(at));
        self.kick(now);
    }

    fn list_on(&mut self, now: Time, at: usize) {
        let pool = &self.pools[at];
        let watched = pool.listing.until.is_some_and(|until| until > now);
        let look = self.look(at);
        if pool.count(State::Terminating) > 0 {
            self.list_by(at, now + look.going);
        } else if !pool.coming.is_empty() || pool.count(State::Suspect) > 0 {
            self.list_by(at, now + look.coming);
        } else if !pool.members.is_empty() || !pool.listing.unknown.is_empty() || watched {
            self.list_by(at, now + EACH);
        }
    }

    fn compare(&mut self, now: Time, at: usize, asked_at: Time, machines: &[Machine]) {
        let mut seen = BTreeSet::new();
        let mut unknown = BTreeMap::new();
        for machine in machines {
            let ended = matches!(machine.status, MachineStatus::Terminated | MachineStatus::ShuttingDown);
            let id = match self.pools[at].by_provider_id.get(&machine.provider_id) {
                Some(id) => Some(*id),
                // It is known whose it was only when the provider keeps them apart.
                None if machine.status == MachineStatus::Terminated && machine.member.is_none() => None,
                None => self.adopt(now, at, machine),
            };
            match id {
                Some(id) => {
                    if machine.status != MachineStatus::Terminated {
                        seen.insert(id);
                    }
                    self.remember(id, machine);
                    self.seen(now, id, machine.status);
                }
                None if !ended && !self.is_of_another_pool(machine) => {
                    unknown.insert(machine.provider_id.clone(), machine.launched_at);
                }
                None => {}
            }
        }
        self.bury(now, at, asked_at, &seen);
        self.give_up_calls(now, at, asked_at);
        self.reap(now, at, asked_at, unknown);
    }

    /// Whether a row of any pool has a machine that one pool does not know: a listing may show too much.
    fn is_of_another_pool(&self, machine: &Machine) -> bool {
        let called = machine.token.as_ref().is_some_and(|token| self.calls.contains_key(token));
        called || self.pools.iter().any(|pool| pool.by_provider_id.contains_key(&machine.provider_id))
    }

    /// A machine whose name no row has: its row is found by its tag, when there is one that waits for a machine.
    fn adopt(&mut self, now: Time, at: usize, machine: &Machine) -> Option<InstanceId> {
        let token = machine.token.as_ref()?;
        if self.calls.get(token).is_some_and(|call| call.pool == at) {
            self.assign(now, token, machine);
            let done = self
                .calls
                .get(token)
                .is_some_and(|call| call.members.is_empty() && call.status != CallStatus::Out);
            if done {
                self.settle_call(token);
            }
        } else {
            let id = self.without_machine(at, token, machine.member)?;
            self.change(now, id, |entry| {
                entry.row.provider_id = Some(machine.provider_id.clone());
                // Without it, it would be taken for one that is stopped and costs nothing.
                let launched = machine.launched_at.or(entry.row.requested_at).unwrap_or(now).min(now);
                entry.row.launched_at.get_or_insert(launched);
            });
            self.pools[at].by_provider_id.insert(machine.provider_id.clone(), id);
        }
        let id = self.pools[at].by_provider_id.get(&machine.provider_id).copied()?;
        self.note(
            now,
            id,
            ReasonCode::Adopted,
            format!("machine {} was found by its tag", machine.provider_id),
        );
        Some(id)
    }

    /// An instance whose worker was there before the answer of the call, which then failed.
    fn without_machine(&self, at: usize, token: &Token, member: Option<InstanceId>) -> Option<InstanceId> {
        let fits = |id: &InstanceId| {
            self.entries.get(id).is_some_and(|entry| {
                entry.pool == at
                    && &entry.row.token == token
                    && entry.row.provider_id.is_none()
                    && !entry.is_guest()
                    && entry.state() != State::Gone
            })
        };
        match member {
            Some(id) => Some(id).filter(fits),
            None => self.pools[at].members.iter().copied().find(fits),
        }
    }

    /// A machine of an instance is there.
    fn seen(&mut self, now: Time, id: InstanceId, status: MachineStatus) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.missing = None;
        }
        match (status, self.state_of(id)) {
            (MachineStatus::Terminated, _) => self.died(now, id),
            (MachineStatus::ShuttingDown, State::Terminating) => {
                // It is on its way out, whatever became of the call.
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.ending.next = None;
                    entry.ending.acked.get_or_insert(now);
                }
                self.retime(now, id);
            }
            (MachineStatus::ShuttingDown, _) => self.died(now, id),
            (MachineStatus::Stopped, State::Stopping) => self.stopped(now, id, Ok(())),
            _ => {}
        }
    }

    /// A machine is gone, or is just going, and not because it was asked to.
    pub(super) fn died(&mut self, now: Time, id: InstanceId) {
        let Some(entry) = self.entries.get(&id) else { return };
        let market = entry.row.market == Market::Spot;
        match entry.state() {
            State::Gone => {}
            State::Terminating => {
                let (code, text) = match &entry.row.ended {
                    Some(ended) => (ended.code, ended.text.clone()),
                    None => (ReasonCode::Vanished, "its machine is gone".to_owned()),
                };
                self.gone(now, id, code, &text);
            }
            State::Planned | State::Requested | State::Booting | State::Suspect => {
                self.ask_console(now, id);
                self.gone(now, id, ReasonCode::DiedBooting, "its machine died while it booted");
            }
            _ => {
                let drained = entry.row.drain.as_ref().filter(|drain| drain.code == ReasonCode::Interrupted);
                let (code, text) = match drained {
                    Some(drain) => (drain.code, drain.text.clone()),
                    None if market => {
                        (ReasonCode::Interrupted, "the market took its machine back".to_owned())
                    }
                    None => (ReasonCode::Vanished, "the provider no longer has its machine".to_owned()),
                };
                if !entry.running.is_empty() && !entry.interrupted {
                    self.interrupt(now, id, text.clone());
                }
                self.gone(now, id, code, &text);
            }
        }
    }

    /// Instances without a machine are gone: at once when they were told to go, else at the second listing.
    fn bury(&mut self, now: Time, at: usize, asked_at: Time, seen: &BTreeSet<InstanceId>) {
        let members: Vec<InstanceId> =
            self.pools[at].members.iter().copied().filter(|id| !seen.contains(id)).collect();
        for id in members {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            if entry.is_guest() || entry.row.provider_id.is_none() {
                continue;
            }
            let told = entry.state() == State::Terminating
                && entry.ending.acked.is_some_and(|acked| acked <= asked_at);
            // A worker that is connected is there, whatever the provider says.
            let alive = entry.connected && entry.state() != State::Terminating;
            let young = asked_at < entry.row.launched_at.unwrap_or(entry.row.planned_at) + YOUNG;
            let first = *entry.missing.get_or_insert(asked_at);
            let twice = asked_at.since(first) >= APART;
            if told || (twice && !alive && !young) {
                self.died(now, id);
            }
        }
    }

    /// Calls whose outcome is not known, and of which no machine shows, came to nothing.
    fn give_up_calls(&mut self, now: Time, at: usize, asked_at: Time) {
        let unknown = |status| matches!(status, CallStatus::Unknown(_));
        let mut lost = Vec::new();
        for (token, call) in self.calls.iter_mut().filter(|(_, call)| call.pool == at && unknown(call.status))
        {
            let first = *call.absent.get_or_insert(asked_at);
            // A call that is made again may still come to something.
            let first = first.max(call.sent_at);
            if asked_at.since(first) >= APART && asked_at.since(call.sent_at) >= YOUNG {
                lost.push(token.clone());
            }
        }
        for token in lost {
            self.abandon(now, &token, ReasonCode::LaunchFailed, "no machine of its call was ever seen");
        }
    }

    /// Machines that no row knows are ended, once they were seen twice and are not young.
    fn reap(&mut self, now: Time, at: usize, asked_at: Time, unknown: BTreeMap<String, Option<Time>>) {
        let before = std::mem::take(&mut self.pools[at].listing.unknown);
        for (provider_id, launched_at) in unknown.into_iter().take(UNKNOWN) {
            let mut sighting =
                before.get(&provider_id).copied().unwrap_or(Sighting { first: asked_at, reaped: None });
            let known_for = asked_at.since(sighting.first);
            let age = launched_at.map_or(known_for, |at| asked_at.since(at)).max(known_for);
            let again = sighting.reaped.is_none_or(|reaped| asked_at.since(reaped) >= APART);
            // What the provider takes no calls for now has its turn at the next listing.
            if known_for >= APART && age >= YOUNG && again && self.pools[at].ends.take(now, 1) {
                if sighting.reaped.is_none() {
                    let text = format!("machine {provider_id} is ended: no row knows it");
                    self.note_pool(now, at, ReasonCode::Unknown, text);
                }
                sighting.reaped = Some(asked_at);
                let pool = self.pools[at].name().to_owned();
                self.count_call(at, "terminate");
                self.order(Order::Reap { pool, provider_id: provider_id.clone() });
            }
            self.pools[at].listing.unknown.insert(provider_id, sighting);
        }
    }
}
