//! Workers: who is connected, who may build, and which of two connections of the same name counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use model::{BuildId, BuilderId, Json, Results, Time, WorkerId};
use storage::Write;

use super::{
    Action, Answer, BuilderDir, Core, Deadline, Refusal, ReplyId, SessionId, builders::GroupId, slots::Place,
};
use crate::Notice;

/// Orders workers that can take a build. First those outside the pools, the one with the fewest builds first, then the one
/// that rested longest. Then machines of pools the other way round, so that those that are not needed stay without work.
pub(super) type FreeKey = (bool, usize, u64, WorkerId);

/// How long a worker is left alone after its machinery failed; doubles each time it fails again
/// (`buildbot/worker/base.py`, 4.3.0).
const QUARANTINE: Duration = Duration::from_secs(10);
const QUARANTINE_MAX: Duration = Duration::from_secs(3600);

/// One worker, of the configuration or (while something of it is left) of an earlier one.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: String,
    /// `None` when it is no longer in the configuration: it gets no builds.
    pub(super) config: Option<Arc<config::Worker>>,
    pub(super) link: Link,
    /// Another connection that wants to take the place of the one in `link`, which is being probed.
    pub(super) contender: Option<SessionId>,
    pub(super) paused: Option<String>,
    pub(super) graceful: bool,
    pub(super) quarantine: Quarantine,
    /// Until when its machine takes no builds, and why, if it says so.
    pub(super) resting: Option<(Time, String)>,
    pub(super) running: BTreeMap<BuilderId, BuildId>,
    pub(super) groups: BTreeSet<GroupId>,
    /// The key under which its groups have it as free.
    pub(super) free_key: Option<FreeKey>,
    /// When it last started a build; a machine of a pool: when it last became free.
    pub(super) last_turn: u64,
    /// What makes it the slot of a pool.
    pub(super) place: Option<Place>,
}

/// How far a worker's connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Gone,
    /// It is told its builders and asked what it is.
    Admitted(SessionId),
    /// It has said what it is.
    Attached(SessionId),
    /// It can build.
    Ready(SessionId),
}

impl Link {
    pub(super) fn session(self) -> Option<SessionId> {
        match self {
            Self::Gone => None,
            Self::Admitted(session) | Self::Attached(session) | Self::Ready(session) => Some(session),
        }
    }
}

/// Whether a worker is left alone for a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quarantine {
    pub(super) until: Option<Time>,
    next: Duration,
}

/// A build that is over, as its worker sees it.
#[derive(Debug)]
pub(super) struct Freed {
    pub(super) builder: BuilderId,
    /// The directory it ran in.
    pub(super) dir: String,
    pub(super) session: SessionId,
    pub(super) verdict: Verdict,
}

/// What a build has shown about its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It works.
    Sane,
    /// Its machinery failed.
    Failed,
    /// Nothing.
    None,
}

impl Worker {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            config: None,
            link: Link::Gone,
            contender: None,
            paused: None,
            graceful: false,
            quarantine: Quarantine { until: None, next: QUARANTINE },
            resting: None,
            running: BTreeMap::new(),
            groups: BTreeSet::new(),
            free_key: None,
            last_turn: 0,
            place: None,
        }
    }

    /// Whether it may be given one more build.
    pub(super) fn can_build(&self) -> bool {
        self.may_build() && !self.is_full()
    }

    /// Whether it could be given builds, had it room.
    pub(super) fn may_build(&self) -> bool {
        self.config.is_some()
            && matches!(self.link, Link::Ready(_))
            && self.paused.is_none()
            && !self.graceful
            && self.quarantine.until.is_none()
            && self.resting.is_none()
            && self.place.as_ref().is_none_or(Place::is_open)
    }

    /// The key under which it is found when a build needs a worker.
    pub(super) fn key(&self, id: WorkerId) -> FreeKey {
        let load = self.running.len();
        match self.place {
            None => (false, load, self.last_turn, id),
            Some(_) => (true, usize::MAX - load, u64::MAX - self.last_turn, id),
        }
    }

    /// Another machine is the worker now. Gives the time until which the one before was left alone.
    pub(super) fn forget_machine(&mut self) -> Option<Time> {
        self.graceful = false;
        self.resting = None;
        self.quarantine.next = QUARANTINE;
        self.quarantine.until.take()
    }

    /// Whether it runs as many builds as it may.
    pub(super) fn is_full(&self) -> bool {
        let limit = self.config.as_ref().and_then(|config| config.max_builds);
        limit.is_some_and(|limit| self.running.len() >= limit.get() as usize)
    }
}

impl Core {
    pub(super) fn logged_in(&mut self, session: SessionId, name: &str) {
        if self.sessions.contains_key(&session) {
            return;
        }
        let known = self.worker_ids.get(name).copied();
        let Some((id, worker)) = known.and_then(|id| Some((id, self.workers.get_mut(&id)?))) else {
            let why = format!("no worker is called {name:?}");
            return self.act(Action::Refuse { session, why });
        };
        if worker.config.is_none() || worker.place.is_some() {
            let why = format!("worker {name} is no longer in the configuration");
            return self.act(Action::Refuse { session, why });
        }
        let Some(old) = worker.link.session() else {
            return self.admit(id, session);
        };
        if worker.contender.is_some() {
            let why =
                format!("another connection of worker {name} is already waiting for the first one to answer");
            return self.act(Action::Refuse { session, why });
        }
        worker.contender = Some(session);
        self.sessions.insert(session, id);
        self.act(Action::Probe { session: old });
    }

    pub(super) fn probe_answered(&mut self, now: Time, session: SessionId, alive: bool) {
        let Some(id) = self.sessions.get(&session).copied() else { return };
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.link.session() != Some(session) {
            return;
        }
        let name = worker.name.clone();
        match (worker.contender, alive) {
            (Some(contender), true) => {
                worker.contender = None;
                let place = worker.place.as_ref();
                let instance = place.and_then(|place| Some((place.pool.to_string(), place.instance?)));
                self.sessions.remove(&contender);
                let why = format!("worker {name} is connected already, and that connection answers");
                match instance {
                    Some((pool, instance)) => self.refuse_instance(now, contender, &pool, instance, why),
                    None => self.act(Action::Refuse { session: contender, why }),
                }
            }
            (Some(_), false) => {
                let why = format!("worker {name} logged in again, and this connection did not answer");
                self.act(Action::Disconnect { session, why: why.clone() });
                self.lost(now, session, &why);
                self.offer_worker(now, id);
            }
            (None, _) => {}
        }
    }

    pub(super) fn admit(&mut self, id: WorkerId, session: SessionId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.link = Link::Admitted(session);
        self.sessions.insert(session, id);
        let builders = self.builders_of(id);
        self.act(Action::Admit { session, builders });
    }

    pub(super) fn attached(&mut self, now: Time, session: SessionId, info: Json, boot: Option<String>) {
        let Some(id) = self.sessions.get(&session).copied() else { return };
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.link != Link::Admitted(session) {
            return;
        }
        worker.link = Link::Attached(session);
        let name = worker.name.clone();
        let version = info.get("version").and_then(Json::as_str).map(str::to_owned);
        self.write(Write::WorkerConnected { worker: id, info });
        self.notify(Notice::WorkerConnected { worker: id, name });
        self.instance_attached(now, id, boot, version);
    }

    pub(super) fn ready(&mut self, now: Time, session: SessionId) {
        let Some(id) = self.sessions.get(&session).copied() else { return };
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.link != Link::Attached(session) {
            return;
        }
        worker.link = Link::Ready(session);
        if worker.place.is_some() {
            self.turn += 1;
            worker.last_turn = self.turn;
            self.instance_ready(now, id);
        } else {
            self.kick_groups(now, id);
        }
        self.refresh_worker(id);
        self.offer_worker(now, id);
    }

    pub(super) fn lost(&mut self, now: Time, session: SessionId, why: &str) {
        let Some(id) = self.sessions.remove(&session) else { return };
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.contender == Some(session) {
            worker.contender = None;
            return;
        }
        if worker.link.session() != Some(session) {
            return;
        }
        let was_attached = !matches!(worker.link, Link::Admitted(_));
        worker.link = Link::Gone;
        let was_graceful = std::mem::take(&mut worker.graceful);
        let name = worker.name.clone();
        let running: Vec<BuildId> = worker.running.values().copied().collect();
        let contender = worker.contender.take();
        if was_attached {
            self.write(Write::WorkerDisconnected { worker: id });
            self.notify(Notice::WorkerDisconnected { worker: id, name: name.clone(), why: why.to_owned() });
        }
        if was_graceful {
            self.worker_state_changed(id);
        }
        for build in running {
            if self.builds.get(&build).is_some_and(|running| running.session == session) {
                self.interrupt(now, build, format!("worker {name} was lost: {why}"), Results::Retry);
            }
        }
        self.refresh_worker(id);
        let place = self.workers.get_mut(&id).and_then(|worker| worker.place.as_mut());
        let Some(place) = place else {
            self.kick_groups(now, id);
            if let Some(contender) = contender {
                self.admit(id, contender);
            }
            return;
        };
        let (pool, instance, peer) =
            (place.pool.to_string(), place.instance, std::mem::take(&mut place.contender));
        self.instance_lost(now, id, session, why);
        if let Some(contender) = contender {
            self.sessions.remove(&contender);
            self.pool_logged_in(now, contender, &pool, instance, &peer);
        }
    }

    pub(super) fn worker_shutdown_requested(&mut self, now: Time, session: SessionId) {
        let Some(id) = self.sessions.get(&session).copied() else { return };
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.link.session() != Some(session) || worker.graceful {
            return;
        }
        worker.graceful = true;
        self.worker_state_changed(id);
        self.refresh_worker(id);
        if let Some(instance) = self.instance_of(id) {
            self.tell(now, pools::Event::Leaving { instance });
        }
        self.shut_down_if_idle(id);
    }

    pub(super) fn pause_worker(&mut self, now: Time, name: &str, reason: String, reply: ReplyId) {
        let known = self.worker_ids.get(name).copied();
        let Some((id, worker)) = known.and_then(|id| Some((id, self.workers.get_mut(&id)?))) else {
            return self.refuse(reply, Refusal::NoSuchWorker(name.to_owned()));
        };
        if worker.paused.as_ref() != Some(&reason) {
            worker.paused = Some(reason);
            self.worker_state_changed(id);
            self.refresh_worker(id);
            self.tell_whether_withheld(now, id);
        }
        self.reply(reply, Answer::Done);
    }

    pub(super) fn unpause_worker(&mut self, now: Time, name: &str, reply: ReplyId) {
        let known = self.worker_ids.get(name).copied();
        let Some((id, worker)) = known.and_then(|id| Some((id, self.workers.get_mut(&id)?))) else {
            return self.refuse(reply, Refusal::NoSuchWorker(name.to_owned()));
        };
        let was_paused = worker.paused.take().is_some();
        let until = worker.quarantine.until.take();
        worker.quarantine.next = QUARANTINE;
        if let Some(until) = until {
            self.deadlines.remove(&(until, Deadline::Quarantine(id)));
        }
        if was_paused {
            self.worker_state_changed(id);
        }
        self.refresh_worker(id);
        self.tell_whether_withheld(now, id);
        self.offer_worker(now, id);
        self.reply(reply, Answer::Done);
    }

    /// A build on a worker is over.
    pub(super) fn worker_freed(&mut self, now: Time, id: WorkerId, freed: Freed) {
        let Freed { builder, dir, session, verdict } = freed;
        self.turn += 1;
        let turn = self.turn;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.running.remove(&builder);
        if worker.place.is_some() {
            worker.last_turn = turn;
        }
        let same_connection = worker.link.session() == Some(session);
        match verdict {
            // Let others have a try, and never spin.
            Verdict::Failed if same_connection => self.quarantine(now, id),
            Verdict::Failed | Verdict::None => {}
            Verdict::Sane => worker.quarantine.next = QUARANTINE,
        }
        self.refresh_worker(id);
        let Some(worker) = self.workers.get(&id) else { return };
        if worker.config.is_none() {
            return self.let_go_if_idle(id);
        }
        // What a reload changed for this builder could not be told while it ran.
        let configured = self
            .builders
            .get(&builder)
            .and_then(|builder| Some((builder.group.as_ref()?, &builder.config.as_ref()?.workerbuilddir)));
        if configured.is_none_or(|(group, now)| !worker.groups.contains(group) || *now != dir) {
            self.send_builders(id);
        }
        self.shut_down_if_idle(id);
    }

    /// A worker that is not in the configuration any more is let go when it has nothing left to do; machines of a pool are
    /// let go by that.
    pub(super) fn let_go_if_idle(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id).filter(|worker| worker.place.is_none()) else { return };
        if let (None, Some(session), true) =
            (&worker.config, worker.link.session(), worker.running.is_empty())
        {
            let why = format!("worker {} is no longer in the configuration", worker.name);
            self.act(Action::Disconnect { session, why });
        }
    }

    /// What a worker outside the pools can do has changed for their builders.
    fn kick_groups(&mut self, now: Time, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        if worker.groups.iter().any(|group| self.hiring_groups.contains(group)) {
            self.pools.kick(now);
        }
    }

    fn shut_down_if_idle(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        if let (true, true, Some(session)) =
            (worker.graceful, worker.running.is_empty(), worker.link.session())
        {
            self.act(Action::ShutdownWorker { session });
        }
    }

    fn quarantine(&mut self, now: Time, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.quarantine.until.is_some() {
            return;
        }
        let until = now + worker.quarantine.next;
        worker.quarantine.until = Some(until);
        worker.quarantine.next = worker.quarantine.next.saturating_mul(2).min(QUARANTINE_MAX);
        self.deadlines.insert((until, Deadline::Quarantine(id)));
        self.tell_whether_withheld(now, id);
    }

    pub(super) fn quarantine_over(&mut self, now: Time, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.quarantine.until = None;
        self.refresh_worker(id);
        self.tell_whether_withheld(now, id);
        self.offer_worker(now, id);
    }

    /// Gives an attached worker its builders anew.
    pub(super) fn send_builders(&mut self, id: WorkerId) {
        let Some(session) = self.workers.get(&id).and_then(|worker| worker.link.session()) else { return };
        let builders = self.builders_of(id);
        self.act(Action::SetBuilders { session, builders });
    }

    /// All builders that a worker has to know: those configured for it in their order, and those that run on it.
    pub(super) fn builders_of(&self, id: WorkerId) -> Vec<BuilderDir> {
        let Some(worker) = self.workers.get(&id) else { return Vec::new() };
        let members =
            worker.groups.iter().filter_map(|group| self.groups.get(group)).flat_map(|group| &group.members);
        let ids: BTreeSet<BuilderId> = members.chain(worker.running.keys()).copied().collect();
        let mut builders: Vec<(usize, BuilderDir)> = ids
            .into_iter()
            .filter_map(|id| {
                let builder = self.builders.get(&id)?;
                let running = worker.running.get(&id).and_then(|build| self.builds.get(build));
                let configured = || builder.config.as_ref().map(|config| &config.workerbuilddir);
                let dir = running.map(|running| &running.dir).or_else(configured)?.clone();
                Some((builder.position, BuilderDir { name: builder.name.to_string(), dir }))
            })
            .collect();
        builders.sort_by(|(a, x), (b, y)| (a, &x.name).cmp(&(b, &y.name)));
        builders.into_iter().map(|(_, builder)| builder).collect()
    }

    pub(super) fn worker_state_changed(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        let (paused, graceful) = (worker.paused.is_some(), worker.graceful);
        let pause_reason = worker.paused.clone();
        let name = worker.name.clone();
        self.write(Write::WorkerState { worker: id, paused, pause_reason, graceful });
        self.notify(Notice::WorkerState { worker: id, name, paused, graceful });
    }
}
