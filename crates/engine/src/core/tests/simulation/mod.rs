//! A farm where everything goes wrong, by a seed. After each step the rules hold; in the end all is built.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use config::LockAccess;
use model::{BuildId, BuildRequestId, Results, Time};

use super::{
    Action, Batch, Coins, Core, Counters, Event, Hiring, ReplyId, START, SessionId, config, tables::Tables,
};

mod chance;
mod ledger;
mod rules;
mod worlds;

use chance::Dice;
use ledger::Ledger;
use worlds::World;

/// A worker's end of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Waiting,
    Admitted,
    Attached,
    Ready,
}

/// A build on a worker.
#[derive(Debug)]
struct Job {
    builder: String,
    worker: String,
    locks: Vec<LockAccess>,
    told: Option<Results>,
}

struct Sim {
    core: Core,
    now: Time,
    ids: Counters,
    tables: Tables,
    dice: Dice,
    world: World,
    current: usize,
    events: u64,
    sessions: BTreeMap<u64, (usize, Stage)>,
    probed: BTreeSet<u64>,
    last_session: u64,
    last_reply: u64,
    jobs: BTreeMap<BuildId, Job>,
    ledger: Ledger,
    last_step: i64,
    paused: BTreeSet<usize>,
}

impl Sim {
    fn new(world: World, seed: u64) -> Self {
        let ids = Counters::default();
        let config = config(&world.configs[0]);
        let hiring = Hiring::new(&config, Box::new(Coins::default()));
        let ledger = Ledger::new(Arc::clone(&config));
        let (core, batch) =
            Core::new(config, Default::default(), BTreeMap::new(), hiring, Box::new(ids.clone()), START);
        let mut sim = Self {
            core,
            now: START,
            ids,
            tables: Tables::default(),
            dice: Dice::new(seed),
            world,
            current: 0,
            events: 0,
            sessions: BTreeMap::new(),
            probed: BTreeSet::new(),
            last_session: 0,
            last_reply: 0,
            jobs: BTreeMap::new(),
            ledger,
            last_step: 0,
            paused: BTreeSet::new(),
        };
        sim.take(batch);
        sim
    }

    fn event(&mut self, event: Event) {
        let batch = self.core.handle(self.now, event);
        self.take(batch);
    }

    fn take(&mut self, batch: Batch) {
        self.events += 1;
        let is_checked = self.events.is_multiple_of(self.world.checked_every);
        let restarting = batch.actions.is_empty() && self.jobs.is_empty();
        let before: BTreeSet<BuildRequestId> =
            if is_checked { self.tables.requests.keys().copied().collect() } else { BTreeSet::new() };
        for write in &batch.writes {
            self.tables.apply(write);
        }
        self.check_superfluous(&batch);
        let mut started: VecDeque<BuildRequestId> =
            batch.actions.iter().filter_map(rules::first_request).collect();
        for action in batch.actions {
            if let Action::StartBuild(order) = &action {
                started.pop_front();
                if is_checked {
                    self.check_turn(order, &before, &started);
                }
            }
            match action {
                Action::Admit { session, .. } => self.set(session, Stage::Admitted),
                Action::Refuse { session, .. } => {
                    self.sessions.remove(&session.0);
                }
                Action::Probe { session } => {
                    self.probed.insert(session.0);
                }
                Action::Disconnect { session, .. } | Action::ShutdownWorker { session } => {
                    // The end is reported later, if at all before a restart.
                    self.probed.remove(&session.0);
                }
                Action::StartBuild(order) => {
                    let (worker, builder) = (order.worker.name.clone(), order.builder.name.clone());
                    assert!(order.builder.workers.contains(&worker));
                    assert_eq!(
                        self.sessions.get(&order.session.0).map(|(_, stage)| *stage),
                        Some(Stage::Ready)
                    );
                    let on_it: Vec<&Job> = self.jobs.values().filter(|job| job.worker == worker).collect();
                    assert!(on_it.iter().all(|job| job.builder != builder), "{builder} twice on {worker}");
                    let max = order.worker.max_builds.map_or(usize::MAX, |max| max.get() as usize);
                    assert!(on_it.len() < max, "too many builds on {worker}");
                    self.ledger.started(order.build, &worker, &order.builder.locks);
                    let job = Job { builder, worker, locks: order.builder.locks.clone(), told: None };
                    assert!(self.jobs.insert(order.build, job).is_none());
                }
                Action::InterruptBuild { build, results, .. } => {
                    if let Some(job) = self.jobs.get_mut(&build) {
                        job.told = Some(results);
                    }
                }
                Action::Locks { build, step, wait: None } => self.ledger.granted(build, step),
                Action::SetBuilders { .. }
                | Action::Reply { .. }
                | Action::Provider(_)
                | Action::Credential { .. }
                | Action::Locks { .. }
                | Action::Drained => {}
            }
        }
        if is_checked && !restarting {
            self.check();
        }
    }

    fn all_attach(&mut self) {
        for worker in 0..self.world.workers {
            self.login(worker);
        }
        for session in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.advance(session);
            self.advance(session);
        }
    }

    fn set(&mut self, session: SessionId, stage: Stage) {
        if let Some(state) = self.sessions.get_mut(&session.0) {
            state.1 = stage;
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        let batch = self.core.handle_timeout(self.now);
        self.take(batch);
    }

    /// The master dies, and starts again from the tables.
    fn crash(&mut self) {
        let (restored, changes) = self.tables.restart();
        self.sessions.clear();
        self.probed.clear();
        self.jobs.clear();
        let config = config(&self.world.configs[self.current]);
        self.ledger = Ledger::new(Arc::clone(&config));
        let hiring = Hiring::new(&config, Box::new(Coins::default()));
        let (core, batch) =
            Core::new(config, restored, changes, hiring, Box::new(self.ids.clone()), self.now);
        self.core = core;
        self.take(batch);
    }

    /// All goes well from here: everything comes to its end.
    fn settle(&mut self) {
        self.current = 0;
        self.reload();
        for index in std::mem::take(&mut self.paused) {
            self.event(Event::UnpauseWorker { worker: format!("w{index}"), reply: ReplyId(0) });
        }
        // Workers that were leaving leave, and come back.
        for session in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.lose(session);
        }
        self.all_attach();
        for _ in 0..10_000 {
            while let Some(build) = self.jobs.keys().next().copied() {
                self.finish(build, Results::Success);
            }
            let Some(due) = self.core.next_deadline() else { break };
            self.pass(due.since(self.now));
        }
        let open = self.tables.requests.iter().filter(|(_, request)| request.results.is_none());
        assert_eq!(open.map(|(id, _)| *id).collect::<Vec<_>>(), []);
        assert!(self.tables.buildsets.values().all(|buildset| buildset.results.is_some()));
        assert!(self.ledger.nobody_waits());
        assert!(self.tables.builds.values().all(|build| build.results.is_some()));
        assert!(self.tables.pending.is_empty(), "{:?}", self.tables.pending);
        assert_eq!(self.core.next_deadline(), None);
    }
}

/// Runs a world from each seed on for so many steps, and then to its end; returns how many builds there were.
fn live(world: fn() -> World, seeds: u64, steps: usize, all_there: bool) -> usize {
    let mut builds = 0;
    for seed in 1..=seeds {
        let run = std::panic::catch_unwind(|| {
            let mut sim = Sim::new(world(), seed);
            if all_there {
                sim.all_attach();
            }
            for _ in 0..steps {
                sim.step();
            }
            sim.settle();
            sim.tables.builds.len()
        });
        match run {
            Ok(built) => builds += built,
            Err(failure) => {
                let seed = format!("seed {seed}");
                panic!("{seed}: {}", failure.downcast_ref::<String>().map_or("see above", String::as_str));
            }
        }
    }
    builds
}

/// More with `GANGER_SEEDS=5000`.
fn seeds(usual: u64) -> u64 {
    std::env::var("GANGER_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(usual)
}

#[test]
fn whatever_happens_everything_is_built_once_and_in_order() {
    let seeds = seeds(60);
    let builds = live(worlds::village, seeds, 300, false);
    assert!(builds > 20 * seeds as usize, "the simulation did too little: {builds} builds");
}

#[test]
fn whatever_happens_among_thousands_everything_is_built_once_and_in_order() {
    let seeds = seeds(1000) / 1000;
    let builds = live(worlds::city, seeds, 3000, true);
    assert!(builds > 500 * seeds as usize, "the simulation did too little: {builds} builds");
}

#[test]
fn the_same_seed_gives_the_same_batches() {
    let run = || {
        let mut sim = Sim::new(worlds::village(), 7);
        for _ in 0..300 {
            sim.step();
        }
        sim.settle();
        format!("{:?}", sim.tables)
    };
    assert_eq!(run(), run());
}
