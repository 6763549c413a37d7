//! Workers that come, say who they are, and go.

use model::{InstanceId, Time};

use super::{Admission, Login, LoginRefusal, Pools, entry::Entry, waiting::span};
use crate::{
    Decision, Enrolled, Identity, Instance, Market, Order, Origin, ReasonCode, Slot, State, Subject, Token,
};

impl Pools {
    /// See [`Pools::log_in`].
    pub(super) fn admit(&mut self, now: Time, login: &Login<'_>) -> Result<Admission, LoginRefusal> {
        let known = self
            .names
            .get(login.pool)
            .copied()
            .filter(|pool| !self.pools[*pool].removed || login.instance.is_some());
        let Some(pool) = known else {
            return Err(LoginRefusal::NoSuchPool(login.pool.to_owned()));
        };
        match login.instance {
            Some(id) => self.admit_hired(now, pool, id, login),
            None => self.admit_guest(now, pool, login),
        }
        .inspect_err(|refusal| {
            self.refused(now, pool, login.instance, &format!("{refusal} (from {})", login.peer))
        })
    }

    fn admit_hired(
        &mut self,
        now: Time,
        pool: usize,
        id: InstanceId,
        login: &Login<'_>,
    ) -> Result<Admission, LoginRefusal> {
        let unknown = || LoginRefusal::NoSuchInstance { pool: login.pool.to_owned(), instance: id };
        let entry = self.entries.get(&id).ok_or_else(unknown)?;
        if entry.pool != pool {
            let owner = self.pools[entry.pool].name().to_owned();
            return Err(LoginRefusal::OtherPool { pool: login.pool.to_owned(), instance: id, owner });
        }
        let state = entry.state();
        if matches!(
            state,
            State::Planned | State::Stopping | State::Stopped | State::Terminating | State::Gone
        ) {
            return Err(LoginRefusal::State { instance: id, state });
        }
        if entry.row.verifier.is_none() || entry.is_guest() {
            return Err(LoginRefusal::Burnt(id));
        }
        if entry.row.enrolled == Enrolled::Awaited {
            return Err(LoginRefusal::NotEnrolled(id));
        }
        let admission = Admission { instance: id, slot: entry.row.slot.clone(), connected: entry.connected };
        if entry.connected {
            return Ok(admission);
        }
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.connected = true;
            // It runs, whatever the provider said.
            entry.again.next = None;
            if state == State::Lost {
                // Only a worker that can build is back: one that comes again and again must not be waited for for ever.
                entry.disconnected.get_or_insert(entry.row.since);
            }
            entry.row.connected_at.get_or_insert(now);
        }
        match state {
            State::Requested | State::Booting | State::Suspect | State::Lost => {
                self.set(now, id, State::ReadyCheck);
                self.note(
                    now,
                    id,
                    ReasonCode::Connected,
                    format!("its worker is connected from {}", login.peer),
                );
            }
            // It gets no more builds; but what it has to say of its last ones is heard.
            _ => self.touch(now, id),
        }
        Ok(admission)
    }

    fn admit_guest(&mut self, now: Time, at: usize, login: &Login<'_>) -> Result<Admission, LoginRefusal> {
        let pool = &mut self.pools[at];
        let (live, max) = (pool.live(), pool.spec.max);
        if live >= max {
            return Err(LoginRefusal::Full { pool: login.pool.to_owned(), live, max });
        }
        if let Some(max) = self.limits.max {
            let live = self.pools.iter().map(super::pool::Pool::live).sum();
            if live >= max {
                return Err(LoginRefusal::Full { pool: login.pool.to_owned(), live, max });
            }
        }
        let pool = &mut self.pools[at];
        let id = self.mint.next_instance();
        let slot = Slot { pool: pool.name().to_owned(), number: pool.slots.take() };
        pool.totals.guests += 1;
        let text = format!("it logged in by itself, from {}", login.peer);
        let row = Instance {
            id,
            slot: slot.clone(),
            origin: Origin::Guest,
            state: State::ReadyCheck,
            token: Token(String::new()),
            offering: String::new(),
            market: Market::OnDemand,
            price: model::pool::Money::default(),
            provider_id: None,
            template: String::new(),
            image: String::new(),
            verifier: None,
            enrolled: Enrolled::Never,
            boot: None,
            causes: Vec::new(),
            code: ReasonCode::Guest,
            text: text.clone(),
            planned_at: now,
            requested_at: None,
            launched_at: Some(now),
            connected_at: Some(now),
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
        let mut entry = Entry::new(row, at);
        entry.connected = true;
        self.add(now, entry);
        self.note(now, id, ReasonCode::Guest, text);
        Ok(Admission { instance: id, slot, connected: false })
    }

    /// Somebody was turned away: counted always, put on record as often as is worth it.
    pub(super) fn refused(&mut self, now: Time, at: usize, instance: Option<InstanceId>, why: &str) {
        self.turned_away(now, at, instance, format!("a login was refused: {why}"));
    }

    /// The same of somebody who names a pool that is not there.
    pub(super) fn stranger(&mut self, at: Time, pool: String, text: String) {
        if self.strangers.take(at, 1) {
            let (subject, code) = (Subject::Pool, ReasonCode::LoginRefused);
            self.out.decisions.push(Decision { at, pool, subject, code, text });
        }
    }

    /// The same, in these words.
    pub(super) fn turned_away(&mut self, now: Time, at: usize, instance: Option<InstanceId>, text: String) {
        let pool = &mut self.pools[at];
        pool.totals.refused += 1;
        if !pool.refusals.take(now, 1) {
            return;
        }
        match instance.filter(|id| self.entries.get(id).is_some_and(|entry| entry.pool == at)) {
            Some(id) => self.note(now, id, ReasonCode::LoginRefused, text),
            None => self.note_pool(now, at, ReasonCode::LoginRefused, text),
        }
    }

    /// A worker said what it is.
    pub(super) fn identified(&mut self, now: Time, id: InstanceId, identity: &Identity) {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.connected) else { return };
        if let (Some(first), said) = (&entry.row.boot, &identity.boot)
            && said.as_ref() != Some(first)
        {
            // Not which boot it should be: that is not for whoever reads this.
            let why = match said {
                Some(_) => "its worker belongs to another boot of the machine",
                None => "its worker does not say which boot of the machine it belongs to",
            };
            return self.is_another_boot(now, id, why);
        }
        if entry.row.boot.is_none() && identity.boot.is_some() && !entry.ready {
            entry.row.boot.clone_from(&identity.boot);
            self.touch(now, id);
        }
        if let Some(fault) = &identity.fault {
            let text = format!("its worker is not what it should be: {fault}");
            self.let_go(now, id, ReasonCode::WrongIdentity, text);
        }
    }

    /// A worker has the secret of an instance and is not the one that had it before: somebody else, or the machine was
    /// started again. It is turned away, and the right one is waited for no longer than if nobody had come.
    fn is_another_boot(&mut self, now: Time, id: InstanceId, why: &str) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.stranger = true;
        let pool = &mut self.pools[entry.pool];
        pool.totals.refused += 1;
        if pool.refusals.take(now, 1) {
            self.note(now, id, ReasonCode::WrongIdentity, format!("a worker was turned away: {why}"));
        }
        self.order(Order::Disconnect { instance: id, why: why.to_owned() });
    }

    /// A worker can build.
    pub(super) fn ready(&mut self, now: Time, id: InstanceId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if !entry.state().is_live()
            || matches!(entry.state(), State::Terminating | State::Stopping | State::Planned)
        {
            return;
        }
        entry.connected = true;
        entry.disconnected = None;
        entry.stranger = false;
        let first = !std::mem::replace(&mut entry.ready, true);
        let back = std::mem::replace(&mut entry.adopted, false);
        // Also one that somebody holds has come up.
        if first && !entry.is_guest() {
            self.booted(now, id, !back);
        }
        match self.state_of(id) {
            State::ReadyCheck | State::Lost | State::Booting | State::Suspect | State::Requested => {
                if back {
                    self.note(now, id, ReasonCode::Adopted, "its worker is back");
                }
                self.settle_ready(now, id);
            }
            // What it is closed for still holds.
            State::Draining | State::Quarantined | State::Held => self.close_again(id),
            _ => {}
        }
        self.kick(now);
    }

    /// Where an instance goes whose worker can build.
    fn settle_ready(&mut self, now: Time, id: InstanceId) {
        let Some(entry) = self.entries.get(&id) else { return };
        let pool = &self.pools[entry.pool];
        let state = if entry.running.is_empty() { State::Idle } else { State::Busy };
        let leave = if pool.removed {
            Some((ReasonCode::PoolGone, "its pool is no longer in the configuration".to_owned()))
        } else if pool.is_outdated(entry) {
            Some((ReasonCode::OldTemplate, pool.why_outdated(entry)))
        } else if self.too_old_at(entry).is_some_and(|at| at <= now) {
            Some((ReasonCode::MaxAge, "it is as old as it may be".to_owned()))
        } else if self.builds_left(entry) == Some(0) {
            Some((ReasonCode::MaxBuilds, format!("it has run {} builds", entry.row.builds)))
        } else {
            None
        };
        self.change(now, id, |entry| {
            entry.row.state = state;
            entry.row.since = now;
            entry.interrupted = false;
        });
        match leave {
            Some((code, text)) => self.drain(now, id, code, text, None),
            None => self.open(id),
        }
    }

    /// A machine came up: that is something to learn from, unless the master was away meanwhile.
    fn booted(&mut self, now: Time, id: InstanceId, learn: bool) {
        let Some(entry) = self.entries.get(&id) else { return };
        let took = now.since(entry.boot_from);
        let (at, image, offering) = (entry.pool, entry.row.image.clone(), entry.row.offering.clone());
        let pool = &mut self.pools[at];
        pool.unsaved = true;
        let learned = &mut pool.state.learned;
        if learn {
            learned.boots.connected(now, &image, &offering, took);
            pool.totals.boot.add(took);
        }
        learned.breaker.connected(id);
        let verdict = learned.canary.connected(&image);
        self.note(now, id, ReasonCode::Connected, format!("can build, {} after the call", span(took)));
        self.image_verdict(now, at, verdict);
        self.judge(now, at);
    }

    /// The connection of a worker is gone.
    pub(super) fn disconnected(&mut self, now: Time, id: InstanceId, why: &str) {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.connected) else { return };
        entry.connected = false;
        let lost = *entry.disconnected.get_or_insert(now);
        if entry.state() == State::Gone {
            return;
        }
        if entry.is_guest() {
            let (code, text) = match (&entry.row.ended, &entry.row.drain) {
                (Some(ended), _) => (ended.code, ended.text.clone()),
                (None, Some(drain)) => (drain.code, drain.text.clone()),
                (None, None) => (ReasonCode::Left, format!("its connection is gone: {why}")),
            };
            return self.gone(now, id, code, &text);
        }
        match entry.state() {
            State::ReadyCheck if !entry.ready => {
                self.set(now, id, State::Booting);
                self.note(
                    now,
                    id,
                    ReasonCode::ConnectionLost,
                    format!("its connection was gone before it was ready: {why}"),
                );
            }
            State::ReadyCheck | State::Idle | State::Busy => {
                self.change(now, id, |entry| {
                    entry.row.state = State::Lost;
                    entry.row.since = lost;
                });
                self.note(now, id, ReasonCode::ConnectionLost, format!("its connection is gone: {why}"));
            }
            State::Draining if entry.running.is_empty() => self.settle_drain(now, id),
            _ => self.retime(now, id),
        }
        self.kick(now);
    }

    /// A worker wants to shut down.
    pub(super) fn leaving(&mut self, now: Time, id: InstanceId) {
        if self.get(id).is_some_and(|entry| entry.connected) {
            self.drain(now, id, ReasonCode::Left, "its worker asked to shut down".to_owned(), None);
        }
    }

    /// The dispatcher gives an instance no more builds, from this moment.
    pub(super) fn close(&mut self, id: InstanceId, why: &str) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if !std::mem::replace(&mut entry.closed, true) {
            self.order(Order::Close { instance: id, why: why.to_owned() });
        }
    }

    fn close_again(&mut self, id: InstanceId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.closed = false;
        let why =
            entry.row.drain.as_ref().map_or_else(|| "it is held".to_owned(), |drain| drain.text.clone());
        self.close(id, &why);
    }

    /// The dispatcher may give it builds again.
    fn open(&mut self, id: InstanceId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if std::mem::replace(&mut entry.closed, false) {
            self.order(Order::Open { instance: id });
        }
    }
}
