//! The task that owns the core.

use std::{collections::BTreeMap, sync::Arc};

use config::Config;
use model::ChangeId;
use pools::Event as PoolEvent;
use storage::{Identities, StorageError, Store, Write};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use super::{
    Ended, Health, Ledger, Limits, Master, Providers, Request,
    builds::{Builds, Told},
    hiring::{self, Held},
    leased,
    leases::Leases,
    ledger,
    pipe::{Pipe, Refused},
    ports::{Connections, Runner},
    providers::{self, Hands, Suppliers},
    turns::Meter,
};
use crate::{
    Action, Answer, Batch, BuildWish, Clock, Core, Event, Notice, NoticeSender, Outcome, ReplyId,
    build::TriggerCall, worker::Report,
};

/// What the master is made of.
pub struct Parts {
    /// What to build, where, when.
    pub config: Arc<Config>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What workers' connections have to tell.
    pub reports: mpsc::Receiver<Report>,
    /// Workers' connections.
    pub connections: Arc<dyn Connections>,
    /// Runs builds.
    pub runner: Arc<dyn Runner>,
    /// Makes providers of machines for pools.
    pub providers: Arc<dyn Providers>,
    /// Who hears what happens.
    pub notices: NoticeSender,
    /// Where the tasks of builds belong.
    pub tasks: TaskTracker,
    /// Cancelled when the master is to stop; by the master itself when it cannot go on.
    pub stop: CancellationToken,
    /// Bounds.
    pub limits: Limits,
}

/// Takes up what the tables hold: what an earlier life left open is closed or queued again.
///
/// # Errors
/// The tables cannot be read or written.
pub async fn start(store: &Store, parts: Parts) -> Result<(Master, Owner), StorageError> {
    let now = parts.clock.now();
    let suppliers = providers::make_what_can_be(&parts.providers, &parts.config);
    let identities = Identities {
        builders: parts.config.builders.iter().map(|builder| builder.name.clone()).collect(),
        workers: parts.config.workers.iter().map(|worker| worker.name.clone()).collect(),
        schedulers: parts.config.schedulers.iter().map(|scheduler| scheduler.name.clone()).collect(),
    };
    let restored = store.restore(identities, now).await?;
    for lost in &restored.interrupted {
        let (build, builder) = (lost.build.0, lost.builder.0);
        info!(
            build.id = build,
            builder.id = builder,
            "a build was cut off when the master last ended; it is done again"
        );
    }
    let changes = ledger::changes_of(store, &restored).await?;
    let (hiring, held) = hiring::take_up(store, &parts.config, now).await?;
    let config = Arc::clone(&parts.config);
    let (core, batch) = Core::new(config, restored, changes, hiring, Box::new(store.clone()), now);
    Ok(Owner::new(core, batch, Arc::new(store.clone()), suppliers, held, parts))
}

/// What may leave when rows are durable.
enum Leaving {
    Batch(Vec<Notice>, Vec<Action>),
    /// What a pool decided under a lease.
    Pool(String, Vec<Notice>, Vec<Action>),
    /// An answer to somebody who only looks.
    Look(Box<dyn FnOnce() + Send>),
}

/// Who waits for an answer.
enum Waiter {
    Caller(oneshot::Sender<Answer>),
    Client(oneshot::Sender<Result<ChangeId, String>>),
    /// A build that has triggered something: it hears several answers.
    Build(mpsc::UnboundedSender<Answer>),
}

/// The owner of the core; [`run`](Self::run) it as a task.
pub struct Owner {
    core: Core,
    meter: Arc<Meter>,
    clock: Arc<dyn Clock>,
    ledger: Arc<dyn Ledger>,
    connections: Arc<dyn Connections>,
    builds: Builds,
    /// What builds trigger.
    triggers: mpsc::Receiver<TriggerCall>,
    hands: Hands,
    leases: Leases,
    /// The leases that are held.
    held: Held,
    notices: NoticeSender,
    reports: mpsc::Receiver<Report>,
    requests: mpsc::Receiver<Request>,
    health: watch::Sender<Health>,
    drained: watch::Sender<bool>,
    pipe: Pipe<Leaving>,
    waiters: BTreeMap<ReplyId, Waiter>,
    last_reply: u64,
    stop: CancellationToken,
    limits: Limits,
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owner").field("under_way", &self.pipe.len()).finish_non_exhaustive()
    }
}

impl Owner {
    pub(super) fn new(
        core: Core,
        first: Batch,
        ledger: Arc<dyn Ledger>,
        suppliers: Suppliers,
        held: Held,
        parts: Parts,
    ) -> (Master, Self) {
        let Parts { clock, reports, connections, runner, providers, notices, tasks, stop, limits, .. } =
            parts;
        let (sender, requests) = mpsc::channel(limits.requests);
        let (health, healthy) = watch::channel(Health::Good);
        let (drained, is_drained) = watch::channel(false);
        let (trigger, triggers) = mpsc::channel(limits.requests);
        let meter = Arc::new(Meter::default());
        let master = Master {
            requests: sender,
            health: healthy,
            drained: is_drained,
            notices: notices.clone(),
            ledger: Arc::clone(&ledger),
            providers,
            suppliers: Arc::new(tokio::sync::Mutex::new(suppliers.clone())),
            meter: Arc::clone(&meter),
        };
        let hands = Hands::new(suppliers, Arc::clone(&clock), limits.providers);
        let leases = Leases::new(Arc::clone(&ledger), Arc::clone(&clock));
        let mut owner = Self {
            core,
            meter,
            clock,
            ledger,
            connections,
            builds: Builds::new(runner, tasks, trigger),
            triggers,
            hands,
            leases,
            held: Held::new(),
            notices,
            reports,
            requests,
            health,
            drained,
            pipe: Pipe::new(),
            waiters: BTreeMap::new(),
            last_reply: 0,
            stop,
            limits,
        };
        owner.put(first);
        for (pool, fence) in held {
            owner.leases.keep(pool.clone(), fence);
            owner.lease(PoolEvent::Lease { pool, fence });
        }
        (master, owner)
    }

    /// Runs until `stop`, and then until all builds have ended (or the grace is over) and all rows are durable.
    ///
    /// Let connections live until this has returned: builds that are stopped still have to tell their workers.
    ///
    /// # Errors
    /// Storage gave up; see the module's documentation. `stop` is then cancelled from here.
    pub async fn run(mut self) -> Result<(), Ended> {
        let result = self.serve().await;
        self.health.send_replace(Health::Ending);
        self.builds.abandon();
        self.leases.end();
        match result {
            Ok(()) => self.close().await,
            Err(error) => {
                self.hands.cut_off();
                error!(
                    error = &error as &dyn std::error::Error,
                    "the database cannot be kept in line; the master ends"
                );
                self.stop.cancel();
                Err(Ended::Storage(error))
            }
        }
    }

    async fn serve(&mut self) -> Result<(), StorageError> {
        let mut stopping: Option<Instant> = None;
        let life = self.limits.sign_of_life;
        let mut sign_of_life = interval_at(Instant::now() + life, life);
        sign_of_life.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if stopping.is_some() && *self.drained.borrow() && self.pipe.is_empty() {
                return Ok(());
            }
            let room = self.pipe.len() < self.limits.under_way;
            let due = self.core.next_deadline().map(|due| due.since(self.clock.now()));
            let stall = self.pipe.stuck_since().map(|since| since + self.limits.stall);
            let good = *self.health.borrow() == Health::Good;
            tokio::select! {
                leaving = self.pipe.next(), if !self.pipe.is_empty() => {
                    self.leaves(leaving)?;
                }
                () = sleep_until(stall.unwrap_or_else(Instant::now)), if good && stall.is_some() => self.stalled(),
                () = self.stop.cancelled(), if stopping.is_none() => {
                    stopping = Some(Instant::now() + self.limits.grace);
                    self.hands.start_none();
                    self.handle(Event::Stop);
                }
                () = sleep_until(stopping.unwrap_or_else(Instant::now)), if stopping.is_some() => {
                    warn!("builds did not end in time; they are cut off, and done again at the next start");
                    return Ok(());
                }
                Some((trigger, answers)) = self.triggers.recv(), if room => {
                    let reply = self.waiter(Waiter::Build(answers));
                    self.handle(Event::Trigger { trigger, reply });
                }
                told = self.builds.next(), if room => self.told(told),
                event = self.hands.next(), if room => self.handle(Event::Pools(event)),
                event = self.leases.next(), if room => self.lease(event),
                Some(report) = self.reports.recv(), if room => self.report(report),
                Some(request) = self.requests.recv(), if room => self.request(request),
                () = sleep(due.unwrap_or_default()), if room && due.is_some() => {
                    let begun = Instant::now();
                    let batch = self.core.handle_timeout(self.clock.now());
                    self.meter.add(begun.elapsed());
                    self.put(batch);
                }
                _ = sign_of_life.tick(), if room => {
                    let writes = vec![Write::MasterActive { at: self.clock.now() }];
                    self.put(Batch { writes, ..Batch::default() });
                }
            }
        }
    }

    /// The last rows of this life.
    async fn close(mut self) -> Result<(), Ended> {
        while !self.pipe.is_empty() {
            let leaving = self.pipe.next().await;
            self.leaves(leaving).map_err(Ended::Storage)?;
        }
        self.hands.end().await;
        for (pool, fence) in std::mem::take(&mut self.held) {
            if let Some(fence) = fence {
                self.ledger.release_lease(pool, fence).await.map_err(Ended::Storage)?;
            }
        }
        let at = self.clock.now();
        self.ledger.enqueue(vec![Write::MasterStopped { at }]).await.map_err(Ended::Storage)
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Event(event) => self.handle(event),
            Report::Change { change, stored } => {
                let reply = self.waiter(Waiter::Client(stored));
                self.handle(Event::Change { change, reply });
            }
        }
    }

    fn told(&mut self, told: Told) {
        self.handle(match told {
            Told::Ended(build, Outcome { results, state_string }) => {
                Event::BuildFinished { build, results, state_string }
            }
            Told::Wish(build, BuildWish::TakeLocks { step, locks }) => {
                Event::TakeLocks { build, step, locks }
            }
            Told::Wish(build, BuildWish::ReturnLocks { step }) => Event::ReturnLocks { build, step },
        });
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Ask { event, answer } => {
                let reply = self.waiter(Waiter::Caller(answer));
                self.handle(event(reply));
            }
            Request::Status(look) => {
                let status = self.core.status();
                self.show(move || drop(look.send(status)));
            }
            Request::Why(request, look) => {
                let why = self.core.why(request);
                self.show(move || drop(look.send(why)));
            }
            Request::Provide(suppliers) => {
                for pool in suppliers.keys() {
                    self.leases.keep(pool.clone(), None);
                }
                self.hands.provide(suppliers);
            }
            Request::Pools(look) => {
                let pools = self.core.pools(self.clock.now());
                self.show(move || drop(look.send(pools)));
            }
            Request::PlanPools(look) => {
                let plan = self.core.plan_pools(self.clock.now());
                self.show(move || drop(look.send(plan)));
            }
            Request::Instance(id, look) => {
                let row = self.core.instance(id).cloned().map(Box::new);
                self.show(move || drop(look.send(row)));
            }
            Request::Unknown(config, look) => {
                let unknown = self.core.unknown(&config);
                self.show(move || drop(look.send(unknown)));
            }
        }
    }

    fn waiter(&mut self, waiter: Waiter) -> ReplyId {
        self.last_reply += 1;
        let reply = ReplyId(self.last_reply);
        self.waiters.insert(reply, waiter);
        reply
    }

    fn handle(&mut self, event: Event) {
        let batch = self.core.handle(self.clock.now(), event);
        self.put(batch);
    }

    /// Sends rows on their way; what rests on them leaves later.
    fn put(&mut self, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        let (batch, pools) = leased::split(batch);
        let Batch { writes, actions, notices } = batch;
        let committed = (!writes.is_empty()).then(|| self.ledger.enqueue(writes));
        self.pipe.push(committed, Leaving::Batch(notices, actions));
        for (pool, Batch { writes, actions, notices }) in pools {
            let committed = (!writes.is_empty()).then(|| self.ledger.enqueue(writes));
            self.pipe.push(committed, Leaving::Pool(pool, notices, actions));
        }
    }

    /// A lease came, or went.
    fn lease(&mut self, event: PoolEvent) {
        if let PoolEvent::Lease { pool, fence } = &event {
            self.held.insert(pool.clone(), *fence);
        }
        self.handle(Event::Pools(event));
    }

    /// Lets out what is durable. What a pool decided under a lease that is over was never decided.
    fn leaves(&mut self, leaving: Result<Leaving, Refused<Leaving>>) -> Result<(), StorageError> {
        match leaving {
            Ok(leaving) => {
                self.recovered();
                self.let_out(leaving);
            }
            Err((error @ StorageError::Fenced { fence, .. }, Leaving::Pool(pool, _, actions))) => {
                for action in &actions {
                    // Whoever waits for it hears that there is no answer.
                    if let Action::Reply { to, .. } = action {
                        self.waiters.remove(to);
                    }
                }
                warn!(pool, error = &error as &dyn std::error::Error, "the pool is no longer this master's");
                self.leases.lost(&pool, fence);
                // With a newer one, what was refused is written again already.
                if self.held.get(&pool) == Some(&Some(fence)) {
                    self.lease(PoolEvent::Lease { pool, fence: None });
                }
            }
            Err((error, _)) => return Err(error),
        }
        Ok(())
    }

    /// What somebody saw may rest on rows that are not durable yet: it leaves in its turn.
    fn show(&mut self, answer: impl FnOnce() + Send + 'static) {
        self.pipe.push(None, Leaving::Look(Box::new(answer)));
    }

    fn let_out(&mut self, leaving: Leaving) {
        match leaving {
            Leaving::Batch(notices, actions) | Leaving::Pool(_, notices, actions) => {
                for notice in notices {
                    if let Notice::Decision(decision) = &notice {
                        leased::log(decision);
                    }
                    self.notices.send(notice);
                }
                for action in actions {
                    self.act(action);
                }
            }
            Leaving::Look(answer) => answer(),
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Admit { session, builders } => self.connections.admit(session, builders),
            Action::Refuse { session, why } => self.connections.refuse(session, why),
            Action::Probe { session } => self.connections.probe(session),
            Action::SetBuilders { session, builders } => self.connections.set_builders(session, builders),
            Action::Disconnect { session, why } => self.connections.disconnect(session, why),
            Action::ShutdownWorker { session } => self.connections.shutdown_worker(session),
            Action::StartBuild(order) => self.builds.start(order),
            Action::InterruptBuild { build, reason, results } => {
                self.builds.interrupt(build, reason, results)
            }
            Action::Locks { build, step, wait } => self.builds.locks(build, step, wait),
            Action::Provider(order) => self.hands.carry_out(order),
            Action::Credential { instance, pool, verifier } => {
                self.connections.credential(instance, pool, verifier.as_ref());
            }
            Action::Reply { to, answer } => self.answer(to, answer),
            Action::Drained => {
                self.drained.send_replace(true);
            }
        }
    }

    /// Whoever asked may have gone: then nobody hears it.
    fn answer(&mut self, to: ReplyId, answer: Answer) {
        match self.waiters.remove(&to) {
            Some(Waiter::Caller(caller)) => drop(caller.send(answer)),
            Some(Waiter::Client(client)) => drop(client.send(match answer {
                Answer::Change(id) => Ok(id),
                Answer::Refused(refusal) => Err(refusal.to_string()),
                _ => Err("the master did not record it".to_owned()),
            })),
            Some(Waiter::Build(build)) => {
                let more = matches!(answer, Answer::Triggered(_) | Answer::TriggeredRequest { .. });
                build.send(answer).ok();
                if more {
                    self.waiters.insert(to, Waiter::Build(build));
                }
            }
            None => {}
        }
    }

    fn stalled(&mut self) {
        let after = self.limits.stall;
        error!(
            after_ms = after.as_millis(),
            "the database does not answer; nothing new is taken until it does"
        );
        self.health.send_replace(Health::Stalled);
    }

    fn recovered(&mut self) {
        if *self.health.borrow() == Health::Stalled {
            info!("the database answers again");
            self.health.send_replace(Health::Good);
        }
    }
}
