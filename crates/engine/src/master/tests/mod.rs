//! The master, with connections, builds and (mostly) storage that tests stand in for.

mod durable;
mod hands;
mod leases;
mod life;
mod pools;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    mem,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use ::pools::Verifier;
use config::Config;
use model::{BuildId, InstanceId, Json, Results, Time};
use storage::{Lease, StorageError, Store, Write};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Connections, Ended, Ledger, Limits, Master, NoProviders, Owner, Parts, Providers, Runner, ports::Boxed,
    start,
};
use crate::{
    BuildControl, BuildOrder, Core, Event, NoticeSender, Outcome, SessionId,
    build::Line,
    clock::TestClock,
    core::{
        BuilderDir, Force, Hiring, Known, Unknown,
        tests::{Coins, Counters, START, config},
    },
    worker::Report,
};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// Waits until something is so; a test that waits too long fails.
async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..20_000 {
        if let Some(found) = look() {
            return found;
        }
        tokio::task::yield_now().await;
        std::thread::sleep(Duration::from_micros(200));
    }
    panic!("waited too long for {what}");
}

/// Everything that leaves the master, in order, and the ends of builds.
#[derive(Default)]
struct World {
    left: Mutex<String>,
    builds: Mutex<BTreeMap<BuildId, oneshot::Sender<Outcome>>>,
    panics: bool,
}

impl World {
    fn note(&self, what: impl AsRef<str>) {
        writeln!(lock(&self.left), "{}", what.as_ref()).unwrap();
    }

    /// What left since the last time.
    fn left(&self) -> String {
        mem::take(&mut *lock(&self.left)).trim_end().to_owned()
    }

    async fn expect(&self, expect: &str) {
        let lines = expect.lines().count();
        until(expect, || (lock(&self.left).lines().count() >= lines).then_some(())).await;
        assert_eq!(self.left(), expect);
    }

    fn finish(&self, build: i64, results: Results) {
        let build = lock(&self.builds).remove(&BuildId(build)).expect("the build runs");
        build.send(Outcome { results, state_string: format!("build {results}") }).unwrap();
    }
}

struct Sessions(Arc<World>);

impl Connections for Sessions {
    fn admit(&self, session: SessionId, builders: Vec<BuilderDir>) {
        self.0.note(format!("admit {session} with {} builders", builders.len()));
    }
    fn refuse(&self, session: SessionId, _why: String) {
        self.0.note(format!("refuse {session}"));
    }
    fn probe(&self, session: SessionId) {
        self.0.note(format!("probe {session}"));
    }
    fn set_builders(&self, session: SessionId, builders: Vec<BuilderDir>) {
        self.0.note(format!("{} builders for {session}", builders.len()));
    }
    fn disconnect(&self, session: SessionId, _why: String) {
        self.0.note(format!("disconnect {session}"));
    }
    fn shutdown_worker(&self, session: SessionId) {
        self.0.note(format!("shut down {session}"));
    }
    fn credential(&self, instance: InstanceId, pool: String, verifier: Option<&Verifier>) {
        let what = if verifier.is_some() { "a secret" } else { "nothing" };
        self.0.note(format!("{pool}@{instance} proves {what}"));
    }
}

struct Builds(Arc<World>);

impl Runner for Builds {
    fn run(&self, order: Box<BuildOrder>, mut line: Line) -> Boxed<Outcome> {
        let world = Arc::clone(&self.0);
        let (end, mut ended) = oneshot::channel();
        world.note(format!("start {}: {} #{}", order.build, order.builder.name, order.number));
        assert!(lock(&world.builds).insert(order.build, end).is_none());
        Box::pin(async move {
            assert!(!world.panics, "a bug in a step");
            loop {
                tokio::select! {
                    outcome = &mut ended => return outcome.unwrap(),
                    Some(BuildControl::Stop { results, .. }) = line.control.recv() => {
                        world.note(format!("stop {} as {results}", order.build));
                    }
                }
            }
        })
    }
}

/// Storage that is as slow and as broken as a test wants.
#[derive(Default)]
struct Disk {
    /// Whether rows wait until `go`.
    slow: Mutex<bool>,
    waiting: Mutex<Vec<oneshot::Sender<Result<(), StorageError>>>>,
    rows: Mutex<Vec<Write>>,
    /// A pool that another master has got.
    fenced: Mutex<Option<String>>,
}

impl Disk {
    fn slow(&self) {
        *lock(&self.slow) = true;
    }

    /// All that waits is durable, and what comes is at once.
    fn go(&self) {
        *lock(&self.slow) = false;
        for reply in mem::take(&mut *lock(&self.waiting)) {
            reply.send(Ok(())).ok();
        }
    }

    fn fail(&self) {
        for reply in mem::take(&mut *lock(&self.waiting)) {
            reply.send(Err(StorageError::Closed)).ok();
        }
    }
}

struct OnDisk(Arc<Disk>);

impl Ledger for OnDisk {
    fn enqueue(&self, writes: Vec<Write>) -> Boxed<Result<(), StorageError>> {
        let fenced = lock(&self.0.fenced).clone();
        let of_pool =
            |write: &Write| matches!(write, Write::Instance(row) if Some(&row.pool) == fenced.as_ref());
        if let Some(pool) = fenced.clone()
            && writes.iter().any(of_pool)
        {
            let (write, fence, master) = ("instance".to_owned(), 1, Some("another".to_owned()));
            return Box::pin(async move { Err(StorageError::Fenced { write, pool, fence, master }) });
        }
        lock(&self.0.rows).extend(writes);
        let (reply, answer) = oneshot::channel();
        if *lock(&self.0.slow) {
            lock(&self.0.waiting).push(reply);
        } else {
            reply.send(Ok(())).unwrap();
        }
        Box::pin(async { answer.await.unwrap_or(Err(StorageError::Closed)) })
    }

    fn known(&self, _names: Unknown) -> Boxed<Result<Known, StorageError>> {
        Box::pin(async { Ok(Known::default()) })
    }

    fn lease(&self, _pool: String, _at: Time, _ttl: Duration) -> Boxed<Result<Lease, StorageError>> {
        let other = lock(&self.0.fenced).is_some();
        Box::pin(async move {
            Ok(match other {
                true => Lease::Other { master: "another".to_owned(), expires_at: START },
                false => Lease::Ours(3),
            })
        })
    }

    fn renew_lease(
        &self,
        _pool: String,
        _fence: u64,
        _at: Time,
        _ttl: Duration,
    ) -> Boxed<Result<bool, StorageError>> {
        Box::pin(async { Ok(true) })
    }

    fn release_lease(&self, _pool: String, _fence: u64) -> Boxed<Result<(), StorageError>> {
        Box::pin(async { Ok(()) })
    }
}

/// A master that runs.
struct Running {
    master: Master,
    world: Arc<World>,
    reports: mpsc::Sender<Report>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), Ended>>,
}

impl Running {
    fn with_disk(text: &str, disk: &Arc<Disk>, world: World) -> Self {
        Self::with_pools(config(text), Arc::new(NoProviders), disk, world)
    }

    /// A master with the leases of all its pools.
    fn with_pools(
        config: Arc<Config>,
        providers: Arc<dyn Providers>,
        disk: &Arc<Disk>,
        world: World,
    ) -> Self {
        let (parts, world, reports, stop) = parts(config, providers, world);
        let suppliers = super::providers::make_what_can_be(&parts.providers, &parts.config);
        let held = parts.config.pools.iter().map(|pool| (pool.spec.name.clone(), Some(1))).collect();
        let (config, ids) = (Arc::clone(&parts.config), Box::new(Counters::default()));
        let hiring = Hiring::new(&config, Box::new(Coins::default()));
        let (core, batch) = Core::new(config, Default::default(), BTreeMap::new(), hiring, ids, START);
        let ledger = Arc::new(OnDisk(Arc::clone(disk)));
        let (master, owner) = Owner::new(core, batch, ledger, suppliers, held, parts);
        Self { master, world, reports, stop, task: tokio::spawn(owner.run()) }
    }

    async fn with_store(text: &str, store: &Store) -> Self {
        Self::with_pools_and_store(config(text), Arc::new(NoProviders), store).await
    }

    async fn with_pools_and_store(config: Arc<Config>, providers: Arc<dyn Providers>, store: &Store) -> Self {
        let (parts, world, reports, stop) = parts(config, providers, World::default());
        let (master, owner) = start(store, parts).await.unwrap();
        Self { master, world, reports, stop, task: tokio::spawn(owner.run()) }
    }

    async fn event(&self, event: Event) {
        self.reports.send(Report::Event(event)).await.unwrap();
    }

    async fn connect(&self, session: u64, worker: &str) {
        let id = SessionId(session);
        self.event(Event::LoggedIn { session: id, worker: worker.to_owned() }).await;
        self.event(Event::Attached { session: id, info: Json::Object(serde_json::Map::new()), boot: None })
            .await;
        self.event(Event::Ready { session: id }).await;
    }

    async fn stop(self) -> Result<(), Ended> {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

fn parts(
    config: Arc<Config>,
    providers: Arc<dyn Providers>,
    world: World,
) -> (Parts, Arc<World>, mpsc::Sender<Report>, CancellationToken) {
    let world = Arc::new(world);
    let (reports, heard) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let parts = Parts {
        config,
        clock: Arc::new(TestClock::starting_at(START)),
        reports: heard,
        connections: Arc::new(Sessions(Arc::clone(&world))),
        runner: Arc::new(Builds(Arc::clone(&world))),
        providers,
        notices: NoticeSender::new(),
        tasks: TaskTracker::new(),
        stop: stop.clone(),
        limits: Limits::default(),
    };
    (parts, world, reports, stop)
}

fn forcing(builder: &str) -> Force {
    Force { scheduler: "force".to_owned(), builder_names: vec![builder.to_owned()], ..Force::default() }
}
