//! The pure core: all scheduling state, and every decision about it.
//!
//! No I/O, no clock, no tasks, no randomness, no order of a hash map: the same events at the same times give the same
//! batches.
//!
//! What an event costs does not grow with the number of builders, workers, requests or builds there are (but for the
//! logarithm of a tree look-up). Builders with the same set of workers share a *group*; a group has its builders that
//! wait ordered by their first request, and its workers that have room ordered by load. Nothing that could start is ever
//! left over by an event, so an event only looks at the pairs that it makes possible itself: those of the one worker
//! that got room, or of the one builder that got a request. `nextWorker`, `canStartBuild` and locks of workers are worth more
//! looks to whoever uses them (`dispatch`).

mod action;
mod builders;
mod builds;
mod canceller;
mod collapse;
mod demand;
mod dispatch;
mod event;
mod facts;
mod hiring;
mod ids;
mod locks;
mod properties;
mod reconfigure;
mod requests;
mod resting;
mod schedulers;
mod slots;
mod stamp;
mod status;
mod virtual_builders;
mod why;
mod widths;
mod workers;

#[cfg(test)]
pub(crate) mod tests;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    sync::Arc,
};

use config::Config;
use model::{
    BuildId, BuildRequestId, BuilderId, BuildsetId, Change, InstanceId, SchedulerId, Time, WorkerId,
};
use pools::{Mint, Pools, Setup};
use storage::{Restored, Write};

pub use action::{
    Action, Answer, Batch, BuildControl, BuildOrder, BuildWish, BuilderDir, Outcome, Refusal, TriggeredBuild,
    TriggeredScheduler,
};
pub use event::{Event, Force, ReplyId, SessionId, Trigger};
pub use ids::NewIds;
pub use reconfigure::{Known, KnownScheduler, Unknown};
pub use schedulers::Values;
pub use stamp::StampAsked;
pub use status::{
    BuildStatus, BuilderStatus, LinkStatus, PendingStatus, SchedulerStatus, Status, WorkerStatus,
};
pub use why::{Expected, Reason, ReasonCode};

use self::{
    builders::{Builder, Group, GroupId},
    builds::Running,
    canceller::Cancellers,
    hiring::{Loss, Refusals},
    locks::{Lock, LockKey},
    requests::{Buildset, Request},
    schedulers::{ChangeIndex, Scheduler, TimerKey, Upstream, Waiting},
    slots::Hirer,
    workers::Worker,
};
use crate::Notice;

/// All that is known about what is to be built, by whom and where. See the module.
#[derive(Debug)]
pub struct Core {
    ids: Box<dyn NewIds>,
    config: Arc<Config>,
    builders: BTreeMap<BuilderId, Builder>,
    builder_ids: BTreeMap<String, BuilderId>,
    groups: BTreeMap<GroupId, Group>,
    workers: BTreeMap<WorkerId, Worker>,
    worker_ids: BTreeMap<String, WorkerId>,
    /// Who is behind each connection: the one that counts, and one that wants to take its place.
    sessions: BTreeMap<SessionId, WorkerId>,
    schedulers: BTreeMap<SchedulerId, Scheduler>,
    scheduler_ids: BTreeMap<String, SchedulerId>,
    listeners: ChangeIndex,
    /// Schedulers that depend on another, by the name of that.
    dependents: BTreeMap<String, Vec<SchedulerId>>,
    /// Schedulers that wait for a buildset to be complete.
    downstream: BTreeMap<BuildsetId, BTreeSet<SchedulerId>>,
    /// Buildsets that are complete, and that others depend on, until the event at hand is done.
    upstream: VecDeque<Upstream>,
    /// Builds that wait for what they have triggered, by who hears of it.
    waiting: BTreeMap<ReplyId, Waiting>,
    /// Requests that wait or are being built.
    requests: BTreeMap<BuildRequestId, Request>,
    /// Buildsets with such requests.
    buildsets: BTreeMap<BuildsetId, Buildset>,
    builds: BTreeMap<BuildId, Running>,
    cancellers: Cancellers,
    /// Locks of the configuration, by name.
    lock_configs: BTreeMap<Arc<str>, config::Lock>,
    /// Whether any builder takes a lock of workers.
    has_worker_locks: bool,
    /// Locks that somebody has or waits for.
    locks: BTreeMap<LockKey, Lock>,
    /// Counts steps that waited for locks.
    last_ticket: u64,
    /// Locks of all workers that the event at hand may have freed.
    freed: BTreeSet<Arc<str>>,
    /// Workers that are kept for the first request of a group, because it wants locks of theirs.
    reserved: RefCell<BTreeMap<GroupId, BTreeSet<WorkerId>>>,
    /// Workers that the event at hand may have left for others.
    left: BTreeSet<WorkerId>,
    deadlines: BTreeSet<(Time, Deadline)>,
    drain: Drain,
    pools: Pools,
    /// Pools of the configuration.
    hirers: BTreeMap<Arc<str>, Hirer>,
    /// Groups with builders of pools.
    hiring_groups: BTreeSet<GroupId>,
    /// Which worker an instance is, from its first login until it is gone.
    instances: BTreeMap<InstanceId, WorkerId>,
    /// Slots that the tables know and that were not used since the start, with why they are paused.
    known_slots: BTreeMap<String, (WorkerId, Option<String>)>,
    /// Requests whose builds were lost with their machines.
    losses: BTreeMap<BuildRequestId, Loss>,
    refusals: Refusals,
    /// Connections of machines that are to be closed, and why.
    dismissed: Vec<(SessionId, String)>,
    /// Machines that may have builds again, and were not offered any yet.
    reopened: Vec<WorkerId>,
    /// The pools are left alone until then.
    pools_rest: Time,
    /// Counts starts of builds, so that of two workers with the same load the one that rested longer is taken.
    turn: u64,
    /// What the event at hand leads to.
    out: Batch,
    looked_at: Cell<u64>,
}

/// What is due at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deadline {
    /// A worker that failed may try again.
    Quarantine(WorkerId),
    /// A machine has rested for as long as it may.
    Rested(WorkerId),
    /// The tree was quiet for long enough.
    Stable(SchedulerId, TimerKey),
    /// It is time for a scheduler to build.
    Timed(SchedulerId),
}

/// What the pools begin with.
#[derive(Debug)]
pub struct Hiring {
    /// What the tables know, and what is configured.
    pub setup: Setup,
    /// Makes ids and secrets.
    pub mint: Box<dyn Mint>,
    /// Workers in the tables that are slots of pools, by name, with why they are paused (if they are).
    pub slots: BTreeMap<String, (WorkerId, Option<String>)>,
}

impl Hiring {
    /// The pools of a configuration about which nothing is known yet.
    pub fn new(config: &Config, mint: Box<dyn Mint>) -> Self {
        let pools = config.pools.iter().map(|pool| Arc::clone(&pool.spec)).collect();
        let setup = Setup { pools, limits: config.pool_limits, ..Setup::default() };
        Self { setup, mint, slots: BTreeMap::new() }
    }
}

/// Whether builds are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    /// As they come.
    Off,
    /// No more; some still run.
    Draining,
    /// No more, and none runs.
    Drained,
}

impl Core {
    /// Takes up work where the tables left it. The batch brings the tables in line with the configuration; nothing is
    /// started before workers log in. `changes` are those of the source stamps of each restored buildset, oldest first.
    pub fn new(
        config: Arc<Config>,
        restored: Restored,
        changes: BTreeMap<BuildsetId, Vec<Arc<Change>>>,
        hiring: Hiring,
        ids: Box<dyn NewIds>,
        now: Time,
    ) -> (Self, Batch) {
        let Hiring { setup, mint, slots } = hiring;
        let (pools, begun) = Pools::new(setup, mint, now);
        let mut core = Self {
            ids,
            config: Arc::clone(&config),
            builders: BTreeMap::new(),
            builder_ids: BTreeMap::new(),
            groups: BTreeMap::new(),
            workers: BTreeMap::new(),
            worker_ids: BTreeMap::new(),
            sessions: BTreeMap::new(),
            schedulers: BTreeMap::new(),
            scheduler_ids: BTreeMap::new(),
            listeners: ChangeIndex::default(),
            dependents: BTreeMap::new(),
            downstream: BTreeMap::new(),
            upstream: VecDeque::new(),
            waiting: BTreeMap::new(),
            requests: BTreeMap::new(),
            buildsets: BTreeMap::new(),
            builds: BTreeMap::new(),
            cancellers: Cancellers::default(),
            lock_configs: BTreeMap::new(),
            has_worker_locks: false,
            locks: BTreeMap::new(),
            last_ticket: 0,
            freed: BTreeSet::new(),
            reserved: RefCell::default(),
            left: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            drain: Drain::Off,
            pools,
            hirers: BTreeMap::new(),
            hiring_groups: BTreeSet::new(),
            instances: BTreeMap::new(),
            known_slots: slots,
            losses: BTreeMap::new(),
            refusals: Refusals::new(now),
            dismissed: Vec::new(),
            reopened: Vec::new(),
            pools_rest: now,
            turn: 0,
            out: Batch::default(),
            looked_at: Cell::new(0),
        };
        core.write(Write::MasterActive { at: now });
        core.restore(config, restored, changes, now);
        core.fold(now, begun);
        core.handle_timeout_into(now);
        let batch = mem::take(&mut core.out);
        (core, batch)
    }

    /// Takes note of `event` and decides what follows from it.
    ///
    /// An event that is late, repeated or about something unknown changes nothing.
    pub fn handle(&mut self, now: Time, event: Event) -> Batch {
        match event {
            Event::LoggedIn { session, worker } => self.logged_in(session, &worker),
            Event::PoolLoggedIn { session, pool, instance, peer } => {
                self.pool_logged_in(now, session, &pool, instance, &peer);
            }
            Event::PoolLoginRefused { pool, instance, why } => {
                self.tell(now, pools::Event::LoginRefused { pool, instance, why });
            }
            Event::ProbeAnswered { session, alive } => self.probe_answered(now, session, alive),
            Event::Attached { session, info, boot } => self.attached(now, session, info, boot),
            Event::Ready { session } => self.ready(now, session),
            Event::Lost { session, why } => self.lost(now, session, &why),
            Event::WorkerShutdownRequested { session } => self.worker_shutdown_requested(now, session),
            Event::BuildFinished { build, results, state_string } => {
                self.build_finished(now, build, results, state_string);
            }
            Event::TakeLocks { build, step, locks } => self.take_locks(now, build, step, &locks),
            Event::ReturnLocks { build, step } => self.return_locks(now, build, step),
            Event::Change { change, reply } => self.change(now, change, reply),
            Event::Force { force, reply } => self.force(now, &force, reply),
            Event::Trigger { trigger, reply } => self.trigger(now, &trigger, reply),
            Event::StopBuild { build, reason, reply } => self.stop_build(now, build, reason, reply),
            Event::CancelRequest { request, reason, reply } => {
                self.cancel_request(now, request, reason, reply)
            }
            Event::PauseWorker { worker, reason, reply } => self.pause_worker(now, &worker, reason, reply),
            Event::UnpauseWorker { worker, reply } => self.unpause_worker(now, &worker, reply),
            Event::Reconfigure { config, known, reply } => self.reconfigure(now, config, &known, reply),
            Event::Pools(event) => self.pools_event(now, event),
            Event::Operate { operator, reply } => self.operate(now, operator, reply),
            Event::Enroll { applicant, verifier, reply } => self.enroll(now, &applicant, verifier, reply),
            Event::Warned { instance, warning, reply } => {
                self.tell(now, pools::Event::Warned { instance, warning });
                self.reply(reply, Answer::Done);
            }
            Event::Rest { instance, rest, reply } => self.rest(now, instance, rest, reply),
            Event::Drain { reply } => {
                self.start_draining();
                self.reply(reply, Answer::Done);
            }
            Event::Stop => self.stop(now),
        }
        self.handle_timeout_into(now);
        mem::take(&mut self.out)
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Time) -> Batch {
        self.handle_timeout_into(now);
        mem::take(&mut self.out)
    }

    /// When [`Self::handle_timeout`] is to be called next, unless an event comes before that.
    pub fn next_deadline(&self) -> Option<Time> {
        let own = self.deadlines.first().map(|(at, _)| *at);
        [own, self.pools_deadline()].into_iter().flatten().min()
    }

    /// How many builders, workers, groups and schedulers were looked at since the start; for tests of scale.
    pub fn looked_at(&self) -> u64 {
        self.looked_at.get()
    }

    fn handle_timeout_into(&mut self, now: Time) {
        self.build_downstream(now);
        self.settle_locks(now);
        while self.deadlines.first().is_some_and(|(at, _)| *at <= now) {
            match self.deadlines.pop_first() {
                Some((_, Deadline::Quarantine(worker))) => self.quarantine_over(now, worker),
                Some((_, Deadline::Rested(worker))) => self.rested(now, worker),
                Some((_, Deadline::Stable(scheduler, timer))) => self.tree_is_stable(now, scheduler, &timer),
                Some((_, Deadline::Timed(scheduler))) => self.time_has_come(now, scheduler),
                None => {}
            }
            self.build_downstream(now);
        }
        self.settle_locks(now);
        self.run_pools(now);
        self.build_downstream(now);
        self.settle_locks(now);
    }

    fn start_draining(&mut self) {
        if self.drain == Drain::Off {
            self.drain = Drain::Draining;
            self.pools.start_none();
            let connected: BTreeSet<WorkerId> = self.sessions.values().copied().collect();
            for worker in connected {
                self.refresh_worker(worker);
            }
        }
        self.note_drained();
    }

    fn stop(&mut self, now: Time) {
        self.start_draining();
        for build in self.builds.keys().copied().collect::<Vec<_>>() {
            self.interrupt(now, build, "the master is shutting down".to_owned(), model::Results::Retry);
        }
    }

    fn note_drained(&mut self) {
        if self.drain == Drain::Draining && self.builds.is_empty() {
            self.drain = Drain::Drained;
            self.out.actions.push(Action::Drained);
        }
    }

    fn write(&mut self, write: Write) {
        self.out.writes.push(write);
    }

    fn act(&mut self, action: Action) {
        self.out.actions.push(action);
    }

    fn notify(&mut self, notice: Notice) {
        self.out.notices.push(notice);
    }

    fn reply(&mut self, to: ReplyId, answer: Answer) {
        self.out.actions.push(Action::Reply { to, answer });
    }

    fn refuse(&mut self, to: ReplyId, refusal: Refusal) {
        self.reply(to, Answer::Refused(refusal));
    }
}
